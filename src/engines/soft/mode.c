/*
 * What follows from CR0, EFER, RFLAGS and the segment registers: the mode of execution, the
 * privilege level, the bases that addresses get, the translation regime.
 */
#include "engines/soft/block.h"
#include "engines/soft/translate.h"

static bool is_flat(const struct x86_segment *segment)
{
    const uint32_t wanted = X86_SEGMENT_P | X86_SEGMENT_S | X86_TYPE_WRITABLE;
    const uint32_t unwanted = X86_SEGMENT_UNUSABLE | X86_TYPE_EXPAND_DOWN;
    uint32_t attributes = segment->attributes;
    return segment->base == 0 && segment->limit == UINT32_MAX &&
           (attributes & (wanted | unwanted)) == wanted;
}

/* 32-bit code with a flat address space, as tier 1 wants it; CS may be read through, too. */
static bool flat_32(const struct soft_cpu *cpu)
{
    const struct x86_segment *cs = &cpu->segment[X86_CS], *ss = &cpu->segment[X86_SS];
    bool data = (cpu->segment[X86_DS].attributes & X86_TYPE_CODE) == 0 &&
                (cpu->segment[X86_ES].attributes & X86_TYPE_CODE) == 0;
    return data && cs->base == 0 && cs->limit == UINT32_MAX &&
           (cs->attributes & X86_TYPE_READABLE) != 0 && is_flat(ss) &&
           (ss->attributes & X86_SEGMENT_DB) != 0 && is_flat(&cpu->segment[X86_DS]) &&
           is_flat(&cpu->segment[X86_ES]);
}

static uint8_t current_mode(const struct soft_cpu *cpu)
{
    unsigned int user = cpu->cpl == 3 ? SOFT_MODE_USER : 0;
    const struct x86_segment *cs = &cpu->segment[X86_CS];
    bool aligned =
        cpu->cpl == 3 && (cpu->cr0 & X86_CR0_AM) != 0 && (cpu->flags & X86_FLAGS_AC) != 0;
    if (soft_long_mode(cpu) && (cs->attributes & X86_SEGMENT_L) != 0) {
        return (uint8_t)(X86_DECODE_64 | user | (aligned ? 0 : SOFT_MODE_FAST));
    }
    unsigned int real = soft_real_or_v86(cpu) ? SOFT_MODE_REAL : 0;
    bool code32 = !soft_virtual_8086(cpu) && (cs->attributes & X86_SEGMENT_DB) != 0;
    if (!code32) {
        return (uint8_t)(X86_DECODE_16 | user | real);
    }
    bool fast = real == 0 && flat_32(cpu) && !aligned;
    return (uint8_t)(X86_DECODE_32 | user | real | (fast ? SOFT_MODE_FAST : 0));
}

/* "The privilege level of the current code": SS.DPL in protected mode. */
static uint8_t current_privilege(const struct soft_cpu *cpu)
{
    if (!soft_protected(cpu)) {
        return 0;
    }
    if (soft_virtual_8086(cpu)) {
        return 3;
    }
    return (uint8_t)((cpu->segment[X86_SS].attributes & X86_SEGMENT_DPL) >> X86_SEGMENT_DPL_SHIFT);
}

void soft_mode_changed(struct soft_cpu *cpu)
{
    uint64_t code_base = cpu->code_base;
    cpu->cpl = current_privilege(cpu);
    cpu->mode = current_mode(cpu);
    bool code64 = soft_64bit(cpu);
    for (unsigned int i = 0; i < X86_SEGMENT_COUNT; i++) {
        bool has_base = !code64 || i == X86_FS || i == X86_GS;
        cpu->address_base[i] = has_base ? cpu->segment[i].base : 0;
    }
    cpu->address_mask = code64 ? UINT64_MAX : UINT32_MAX;
    cpu->tlb = cpu->tlbs[soft_current_regime(cpu)];
    cpu->code_base = code64 ? 0 : cpu->segment[X86_CS].base;
    if (cpu->code_base != code_base) {
        soft_block_cache_forget_addresses(cpu); /* a RIP now names another linear address */
    }
}

void soft_set_rflags(struct soft_cpu *cpu, uint64_t rflags)
{
    uint64_t before = cpu->flags;
    soft_set_arithmetic_flags(cpu, rflags);
    cpu->flags = (rflags & ~X86_FLAGS_ARITHMETIC) | X86_FLAGS_ONE;
    uint64_t changed = before ^ cpu->flags;
    if ((cpu->flags & X86_FLAGS_IF) != 0 && cpu->interrupt_waiting) {
        cpu->interrupt_waiting = false;
        soft_attend(cpu, SOFT_ATTENTION_INTERRUPT);
    }
    if ((cpu->flags & (X86_FLAGS_TF | X86_FLAGS_RF)) != 0) {
        soft_attend(cpu, SOFT_ATTENTION_STEP);
    }
    if ((changed & (X86_FLAGS_AC | X86_FLAGS_VM)) != 0) {
        soft_mode_changed(cpu);
    }
}
