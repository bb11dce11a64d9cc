/*
 * Any instruction on device memory, with any registers and segments: accesses stay within what the
 * header promises, and what is refused has changed nothing.
 *
 * Input: a byte (bits 1:0 the mode, 2 real mode, 3 five-level paging), 15 bytes of code, and as
 * much as there is of registers, segments and values read.
 */
#include <stdlib.h>
#include <string.h>

#include "x86/mmio_access.h"

struct input {
    uint8_t mode;
    uint8_t code[X86_INSTRUCTION_MAX];
    struct mmio_registers registers;
    struct x86_segment segments[X86_SEGMENT_COUNT];
    uint64_t values[MMIO_READS_MAX];
};

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static bool is_canonical(const struct mmio_mode *mode, uint64_t linear)
{
    uint64_t above = linear >> (mode->linear_bits - 1);
    return above == 0 || above == UINT64_MAX >> (mode->linear_bits - 1);
}

static void check_operand(const struct mmio_mode *mode, const struct mmio_operand *operand)
{
    require(operand->size == 1 || operand->size == 2 || operand->size == 4 || operand->size == 8);
    require(mode->code == X86_DECODE_64 ? is_canonical(mode, operand->linear)
                                        : operand->linear <= UINT32_MAX);
}

static void check_complete(const struct mmio_mode *mode, const struct x86_instruction *in,
                           const struct mmio_registers *before, const struct mmio_access *access)
{
    const struct mmio_registers *after = &access->after;
    uint64_t next = before->rip + in->length;
    bool repeats = (in->flags & (X86_INSTRUCTION_REP | X86_INSTRUCTION_REPNE)) != 0;
    if (mode->code != X86_DECODE_64) {
        next &= UINT32_MAX;
    }
    require(after->rip == next || (repeats && after->rip == before->rip));
    uint64_t may_change = X86_FLAGS_ARITHMETIC | X86_FLAGS_RF;
    require(((after->rflags ^ before->rflags) & ~may_change) == 0);
    if (access->has_write && access->write.size < 8) {
        require(access->write_value >> (8 * access->write.size) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input;
    struct x86_instruction in;
    struct mmio_access access;
    memset(&input, 0, sizeof(input));
    memcpy(&input, data, size < sizeof(input) ? size : sizeof(input));
    struct mmio_mode mode = {.code = (enum x86_decode_mode)((input.mode & 3) % 3),
                             .real_or_v86 = (input.mode & 4) != 0,
                             .linear_bits = (input.mode & 8) != 0 ? 57 : 48,
                             .segment = input.segments};
    if (x86_decode(mode.code, input.code, sizeof(input.code), &in) != X86_DECODE_OK) {
        return 0;
    }
    enum mmio_access_result result = mmio_access_plan(&mode, &in, &input.registers, &access);
    require(memcmp(&access.after, &input.registers, sizeof(access.after)) == 0);
    require(access.read_count <= MMIO_READS_MAX);
    if (result == MMIO_ACCESS_UNSERVED) {
        require(access.why != NULL && access.read_count == 0 && !access.has_write);
        return 0;
    }
    if (result == MMIO_ACCESS_FAULT) {
        require(access.vector == X86_VECTOR_GP || access.vector == X86_VECTOR_SS);
        return 0;
    }
    for (unsigned int i = 0; i < access.read_count; i++) {
        check_operand(&mode, &access.read[i]);
        access.value[i] = input.values[i];
    }
    if (access.has_write) {
        check_operand(&mode, &access.write);
    }
    mmio_access_compute(&mode, &in, &access);
    check_complete(&mode, &in, &input.registers, &access);
    return 0;
}
