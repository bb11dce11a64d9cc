#include "engines/soft/tss.h"

#include "engines/soft/memory.h"
#include "engines/soft/segment_load.h"

/* RSP0 and IST1 in the 64-bit TSS, ESP0 in the 32-bit one, SP0 in the 16-bit one. */
#define TSS64_RSP0 4u
#define TSS64_IST1 36u
#define TSS32_ESP0 4u
#define TSS16_SP0  2u

uint64_t soft_tss_read(struct soft_cpu *cpu, unsigned int offset, unsigned int size)
{
    return soft_system_read(cpu, soft_table_address(cpu, cpu->segment[X86_TR].base + offset), size);
}

static void check_limit(struct soft_cpu *cpu, unsigned int last, uint32_t external)
{
    const struct x86_segment *tss = &cpu->segment[X86_TR];
    if (last > tss->limit) {
        soft_raise_error(cpu, X86_VECTOR_TS, soft_selector_error(tss->selector, external));
    }
}

struct soft_stack soft_tss_inner_stack(struct soft_cpu *cpu, unsigned int level, uint32_t external)
{
    bool is_32bit = soft_tss_is_32bit(&cpu->segment[X86_TR]);
    unsigned int offset = is_32bit ? TSS32_ESP0 + 8 * level : TSS16_SP0 + 4 * level;
    unsigned int size = is_32bit ? 4 : 2;
    check_limit(cpu, offset + size + 1, external);
    uint64_t rsp = soft_tss_read(cpu, offset, size);
    uint16_t selector = (uint16_t)soft_tss_read(cpu, offset + size, 2);
    struct soft_blame blame = {X86_VECTOR_TS, external};
    struct soft_load load = soft_check_stack_segment(cpu, selector, level, blame);
    return soft_inner_stack(&load, rsp, level, false, external);
}

struct soft_stack soft_tss_inner_stack64(struct soft_cpu *cpu, unsigned int level, unsigned int ist,
                                         uint32_t external)
{
    unsigned int offset = ist != 0 ? TSS64_IST1 + 8 * (ist - 1) : TSS64_RSP0 + 8 * level;
    check_limit(cpu, offset + 7, external);
    uint64_t rsp = soft_tss_read(cpu, offset, 8);
    struct soft_load load = soft_plain_load(soft_null_stack((uint16_t)level, level));
    struct soft_stack stack = soft_inner_stack(&load, rsp, level, true, external);
    stack.selected = false;
    if (!soft_canonical(cpu, rsp)) {
        soft_raise_error(cpu, X86_VECTOR_SS, external);
    }
    return stack;
}
