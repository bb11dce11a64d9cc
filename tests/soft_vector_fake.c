#include "soft_vector_fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engines/soft/memory.h"
#include "engines/soft/native_fault.h"
#include "engines/soft/tlb.h"
#include "engines/soft/vector.h"
#include "engines/soft/x87.h"
#include "engines/soft/xsave.h"

struct fake fake;

uint64_t fake_random(void)
{
    static uint64_t state = UINT64_C(0x853c49e6748fea9b);
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * UINT64_C(0x2545f4914f6cdd1d);
}

void fake_setup(void)
{
    struct error error;
    memset(&fake, 0, sizeof(fake));
    fake.memory = aligned_alloc(4096, FAKE_MEMORY_SIZE);
    if (fake.memory == NULL || thunk_cache_create(&fake.thunks, &error) != 0 ||
        soft_fpu_create(fake.thunks, &fake.cpu.fpu, &error) != 0 ||
        native_fault_enter(thunk_cache_memory(fake.thunks), &fake.fault_thread, &error) != 0) {
        fprintf(stderr, "cannot set up: %s\n", error.text);
        exit(1);
    }
    memset(fake.memory, 0, FAKE_MEMORY_SIZE);
    fake.cpu.tlb = calloc(1, sizeof(*fake.cpu.tlb));
    if (fake.cpu.tlb == NULL) {
        exit(1);
    }
    for (unsigned int i = 0; i < SOFT_TLB_ENTRIES; i++) {
        struct soft_tlb_entry *entry = &fake.cpu.tlb->entry[i];
        entry->read_tag = entry->write_tag = soft_tlb_empty_tag(i);
    }
    for (unsigned int i = 0; i < 2; i++) {
        uint8_t *page = fake.memory + 4096 * i;
        uint64_t linear = (uint64_t)(uintptr_t)page;
        fake.cpu.tlb->entry[soft_tlb_index(linear)] =
            (struct soft_tlb_entry){.read_tag = linear, .write_tag = linear, .host = page};
    }
    fake.cpu.mode = X86_DECODE_64 | SOFT_MODE_FAST;
    fake.cpu.address_mask = UINT64_MAX;
    fake.cpu.flags = X86_FLAGS_ONE;
    fake.cpu.cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_MP | X86_CR0_NE;
    fake.cpu.cr4 = X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE;
    fake.cpu.xcr0 = X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX;
    fake.cpu.features = UINT64_MAX;
    fake.cpu.efer = X86_EFER_LME | X86_EFER_LMA;
}

void fake_teardown(void)
{
    soft_fpu_destroy(fake.cpu.fpu);
    native_fault_leave(fake.fault_thread);
    thunk_cache_destroy(fake.thunks);
    free(fake.cpu.tlb);
    free(fake.memory);
}

/* --- leaving --- */

_Noreturn void soft_raise_error(struct soft_cpu *cpu, enum x86_vector vector, uint32_t error)
{
    cpu->exception_vector = (uint8_t)vector;
    cpu->exception_error = error;
    siglongjmp(cpu->escape, SOFT_ESCAPE_EXCEPTION);
}

_Noreturn void soft_raise(struct soft_cpu *cpu, enum x86_vector vector)
{
    soft_raise_error(cpu, vector, 0);
}

void soft_undefined(struct soft_cpu *cpu, const struct soft_instruction *instruction)
{
    (void)instruction;
    soft_raise(cpu, X86_VECTOR_UD);
}

/* --- memory --- */

static void check(struct soft_cpu *cpu, uint64_t linear, size_t length, bool leaves)
{
    uint64_t offset = linear - (uint64_t)(uintptr_t)fake.memory;
    if (offset >= FAKE_MEMORY_SIZE || length > FAKE_MEMORY_SIZE - offset ||
        (offset < FAKE_ABSENT + 4096 && offset + length > FAKE_ABSENT)) {
        cpu->cr2 = linear;
        soft_raise(cpu, X86_VECTOR_PF);
    }
    if (leaves && offset + length > FAKE_MMIO && fake.restarts == 0) {
        fake.restarts++;
        siglongjmp(cpu->escape, SOFT_ESCAPE_RESTART);
    }
}

void soft_read_bytes(struct soft_cpu *cpu, uint64_t linear, void *buffer, size_t length)
{
    check(cpu, linear, length, true);
    memcpy(buffer, (const void *)(uintptr_t)linear, length);
}

void soft_write_bytes(struct soft_cpu *cpu, uint64_t linear, const void *buffer, size_t length)
{
    check(cpu, linear, length, true);
    memcpy((void *)(uintptr_t)linear, buffer, length);
}

uint64_t soft_read(struct soft_cpu *cpu, uint64_t linear, unsigned int size)
{
    uint64_t value = 0;
    soft_read_bytes(cpu, linear, &value, size);
    return value;
}

void soft_write(struct soft_cpu *cpu, uint64_t linear, uint64_t value, unsigned int size)
{
    soft_write_bytes(cpu, linear, &value, size);
}

void soft_check_write(struct soft_cpu *cpu, uint64_t linear, size_t length)
{
    check(cpu, linear, length, false);
}

uint64_t soft_linear(struct soft_cpu *cpu, unsigned int segment, uint64_t offset, unsigned int size,
                     enum soft_access access)
{
    (void)size;
    (void)access;
    return cpu->address_base[segment] + offset;
}

uint64_t soft_effective_address(const struct soft_cpu *cpu, const struct x86_instruction *in)
{
    return cpu->gpr[in->base] + (cpu->gpr[in->index] << in->scale) +
           (uint64_t)(int64_t)in->displacement;
}

uint64_t soft_operand_linear(struct soft_cpu *cpu, const struct x86_instruction *in,
                             unsigned int size, enum soft_access access)
{
    return soft_linear(cpu, in->segment, soft_effective_address(cpu, in), size, access);
}

void soft_chunk_written(struct soft_cpu *cpu, uint64_t linear, uint64_t length)
{
    (void)cpu;
    (void)linear;
    (void)length;
}

void soft_tlb_flush_all(struct soft_cpu *cpu)
{
    (void)cpu;
}

/* --- running --- */

struct family {
    enum x86_operation operation;
    struct soft_execute_entry entry;
};

/* The rows of execute_table.c that are tried here; the table itself would pull in the rest. */
static const struct family families[] = {
    {X86_OP_X87, {soft_execute_x87, 0, soft_prepare_x87}},
    {X86_OP_FWAIT, {soft_execute_fwait, 0, NULL}},
    {X86_OP_MMX, {soft_execute_mmx, 0, soft_prepare_vector}},
    {X86_OP_SSE, {soft_execute_sse, 0, soft_prepare_vector}},
    {X86_OP_AVX, {soft_execute_avx, 0, soft_prepare_vector}},
    {X86_OP_EMMS, {soft_execute_emms, 0, NULL}},
    {X86_OP_VZERO, {soft_execute_vzero, 0, NULL}},
    {X86_OP_LDMXCSR, {soft_execute_ldmxcsr, 0, NULL}},
    {X86_OP_STMXCSR, {soft_execute_stmxcsr, 0, NULL}},
    {X86_OP_MASKMOV, {soft_execute_maskmov, 0, NULL}},
    {X86_OP_VMASKMOV, {soft_execute_vmaskmov, 0, NULL}},
    {X86_OP_GATHER, {soft_execute_gather, 0, NULL}},
    {X86_OP_FXSAVE, {soft_execute_fxsave, 0, NULL}},
    {X86_OP_FXRSTOR, {soft_execute_fxrstor, 0, NULL}},
    {X86_OP_XSAVE, {soft_execute_xsave, 0, NULL}},
    {X86_OP_XSAVEOPT, {soft_execute_xsaveopt, 0, NULL}},
    {X86_OP_XSAVEC, {soft_execute_xsavec, 0, NULL}},
    {X86_OP_XSAVES, {soft_execute_xsaves, 0, NULL}},
    {X86_OP_XRSTOR, {soft_execute_xrstor, 0, NULL}},
    {X86_OP_XRSTORS, {soft_execute_xrstors, 0, NULL}},
    {X86_OP_XGETBV, {soft_execute_xgetbv, 0, NULL}},
    {X86_OP_XSETBV, {soft_execute_xsetbv, 0, NULL}},
};

bool fake_decode(const uint8_t *bytes, size_t length, struct soft_instruction *in)
{
    memset(in, 0, sizeof(*in));
    enum x86_decode_mode mode = (enum x86_decode_mode)(fake.cpu.mode & SOFT_MODE_DECODE);
    if (x86_decode(mode, bytes, length, &in->decoded) != X86_DECODE_OK) {
        return false;
    }
    memcpy(in->bytes, bytes, in->decoded.length);
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        if (families[i].operation == in->decoded.operation) {
            in->execute = families[i].entry.execute;
            if (families[i].entry.prepare != NULL) {
                families[i].entry.prepare(&fake.cpu, in);
            }
            return true;
        }
    }
    return false;
}

int fake_execute(const struct soft_instruction *in)
{
    fake.restarts = 0;
    switch (sigsetjmp(fake.cpu.escape, 0)) {
    case SOFT_ESCAPE_EXCEPTION:
        return fake.cpu.exception_vector;
    default: /* the first time, and after leaving for MMIO */
        in->execute(&fake.cpu, in);
        return FAKE_NO_EXCEPTION;
    }
}

int fake_run(const uint8_t *bytes, size_t length)
{
    struct soft_instruction in;
    if (!fake_decode(bytes, length, &in)) {
        return X86_VECTOR_UD;
    }
    return fake_execute(&in);
}
