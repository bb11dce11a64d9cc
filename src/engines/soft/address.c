/*
 * Segmented addresses, operands and the stack: the upper half of memory.h.
 */
#include "engines/soft/memory.h"

static _Noreturn void raise_limit(struct soft_cpu *cpu, unsigned int segment)
{
    soft_raise_error(cpu, segment == X86_SS ? X86_VECTOR_SS : X86_VECTOR_GP, 0);
}

/* "Alignment Check Exception (#AC)": only at CPL 3, for operands of 2, 4, 8 … bytes. */
static void check_alignment(struct soft_cpu *cpu, uint64_t linear, unsigned int size)
{
    /* The manual promises it for up to 8 bytes; beyond, processors stop at 16. */
    bool power = (size & (size - 1)) == 0;
    unsigned int unit = size > 16 ? 16 : size;
    if (!power) { /* double extended precision; far pointers, x87 environments */
        unit = size == 10 ? 8 : size % 4 == 0 ? 4 : 2;
    }
    if ((cpu->cr0 & X86_CR0_AM) != 0 && (cpu->flags & X86_FLAGS_AC) != 0 && cpu->cpl == 3 &&
        (linear & (unit - 1)) != 0) {
        soft_raise_error(cpu, X86_VECTOR_AC, 0);
    }
}

/* "Type Checking": may a segment of this type be read or written through? */
static bool type_allows(const struct x86_segment *segment, enum soft_access access)
{
    uint32_t type = segment->attributes & X86_SEGMENT_TYPE;
    bool code = (type & X86_TYPE_CODE) != 0;
    switch (access) {
    case SOFT_READ:
        return !code || (type & X86_TYPE_READABLE) != 0;
    case SOFT_WRITE:
        return !code && (type & X86_TYPE_WRITABLE) != 0;
    default:
        return code;
    }
}

/* "Limit Checking", expand-down segments included. */
static bool within_limit(const struct x86_segment *segment, uint64_t offset, unsigned int size)
{
    uint64_t last = offset + size - 1;
    uint32_t type = segment->attributes & X86_SEGMENT_TYPE;
    bool expand_down = (type & (X86_TYPE_CODE | X86_TYPE_EXPAND_DOWN)) == X86_TYPE_EXPAND_DOWN;
    if (!expand_down) {
        return last <= segment->limit;
    }
    uint64_t top = (segment->attributes & X86_SEGMENT_DB) != 0 ? 0xffffffff : 0xffff;
    return offset > segment->limit && last <= top;
}

uint64_t soft_linear(struct soft_cpu *cpu, unsigned int segment, uint64_t offset, unsigned int size,
                     enum soft_access access)
{
    if (soft_64bit(cpu)) {
        uint64_t linear = offset + cpu->address_base[segment];
        if (!soft_canonical(cpu, linear) || !soft_canonical(cpu, linear + size - 1)) {
            raise_limit(cpu, segment);
        }
        check_alignment(cpu, linear, size);
        return linear;
    }
    const struct x86_segment *descriptor = &cpu->segment[segment];
    if (!soft_real_or_v86(cpu) && ((descriptor->attributes & X86_SEGMENT_UNUSABLE) != 0 ||
                                   !type_allows(descriptor, access))) {
        raise_limit(cpu, segment);
    }
    if (!within_limit(descriptor, offset, size)) {
        raise_limit(cpu, segment);
    }
    uint64_t linear = (offset + descriptor->base) & 0xffffffff;
    check_alignment(cpu, linear, size);
    return linear;
}

static uint64_t cut(uint64_t value, unsigned int size)
{
    return size == 8 ? value : size == 4 ? value & 0xffffffff : value & 0xffff;
}

uint64_t soft_effective_address(const struct soft_cpu *cpu, const struct x86_instruction *in)
{
    uint64_t address = (uint64_t)(int64_t)in->displacement;
    if (in->base == X86_REGISTER_RIP) {
        address += cpu->next_rip;
    } else {
        address += cpu->gpr[in->base];
    }
    address += cpu->gpr[in->index] << in->scale;
    return cut(address, in->address_size);
}

uint64_t soft_operand_linear(struct soft_cpu *cpu, const struct x86_instruction *in,
                             unsigned int size, enum soft_access access)
{
    return soft_linear(cpu, in->segment, soft_effective_address(cpu, in), size, access);
}

uint64_t soft_read_rm(struct soft_cpu *cpu, const struct x86_instruction *in, unsigned int size)
{
    if (!x86_has_memory_operand(in)) {
        return soft_get_register(cpu, in->rm, size, (in->flags & X86_INSTRUCTION_REX) != 0);
    }
    return soft_read(cpu, soft_operand_linear(cpu, in, size, SOFT_READ), size);
}

void soft_write_rm(struct soft_cpu *cpu, const struct x86_instruction *in, unsigned int size,
                   uint64_t value)
{
    if (!x86_has_memory_operand(in)) {
        soft_set_register(cpu, in->rm, size, (in->flags & X86_INSTRUCTION_REX) != 0, value);
        return;
    }
    soft_write(cpu, soft_operand_linear(cpu, in, size, SOFT_WRITE), value, size);
}

/* --- stack --- */

unsigned int soft_stack_width(const struct soft_cpu *cpu)
{
    if (soft_64bit(cpu)) {
        return 8;
    }
    return (cpu->segment[X86_SS].attributes & X86_SEGMENT_DB) != 0 ? 4 : 2;
}

static uint64_t stack_offset(const struct soft_cpu *cpu, uint64_t displacement)
{
    return cut(cpu->gpr[X86_RSP] + displacement, soft_stack_width(cpu));
}

void soft_add_rsp(struct soft_cpu *cpu, int64_t delta)
{
    unsigned int width = soft_stack_width(cpu);
    soft_set_register(cpu, X86_RSP, width, true, cpu->gpr[X86_RSP] + (uint64_t)delta);
}

void soft_push(struct soft_cpu *cpu, uint64_t value, unsigned int size)
{
    uint64_t offset = stack_offset(cpu, (uint64_t) - (int64_t)size);
    soft_write(cpu, soft_linear(cpu, X86_SS, offset, size, SOFT_WRITE), value, size);
    soft_add_rsp(cpu, -(int64_t)size);
}

uint64_t soft_stack_peek(struct soft_cpu *cpu, uint64_t displacement, unsigned int size)
{
    uint64_t offset = stack_offset(cpu, displacement);
    return soft_read(cpu, soft_linear(cpu, X86_SS, offset, size, SOFT_READ), size);
}

uint64_t soft_pop(struct soft_cpu *cpu, unsigned int size)
{
    uint64_t value = soft_stack_peek(cpu, 0, size);
    soft_add_rsp(cpu, (int64_t)size);
    return value;
}
