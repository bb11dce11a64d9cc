#include "engines/soft/memory.h"
#include "engines/soft/segment.h"
#include "engines/soft/segment_load.h"

/*
 * System types that LAR and LSL know, as bit masks: "LAR—Load Access Rights Byte" and "LSL—Load
 * Segment Limit", tables "Segment and Gate Types".
 */
#define TYPE(name)     (1u << X86_SYSTEM_##name)
#define LSL_TYPES_LONG (TYPE(LDT) | TYPE(TSS_AVAILABLE) | TYPE(TSS_BUSY))
#define LSL_TYPES      (LSL_TYPES_LONG | TYPE(TSS16_AVAILABLE) | TYPE(TSS16_BUSY))
#define LAR_TYPES_LONG (LSL_TYPES_LONG | TYPE(CALL_GATE))
#define LAR_TYPES      (LSL_TYPES | TYPE(CALL_GATE) | TYPE(CALL_GATE16) | TYPE(TASK_GATE))

static void set_zero_flag(struct soft_cpu *cpu, bool set)
{
    uint64_t flags = soft_arithmetic_flags(cpu) & ~X86_FLAGS_ZF;
    soft_set_arithmetic_flags(cpu, flags | (set ? X86_FLAGS_ZF : 0));
}

static void need_protected_mode(struct soft_cpu *cpu)
{
    if (soft_real_or_v86(cpu)) {
        soft_raise(cpu, X86_VECTOR_UD);
    }
}

/* True if CPL and RPL may see the segment; conforming code is visible to all. */
static bool is_visible(const struct soft_cpu *cpu, uint16_t selector, uint64_t descriptor)
{
    if (soft_descriptor_is_code(descriptor) && soft_descriptor_is_conforming(descriptor)) {
        return true;
    }
    unsigned int dpl = x86_descriptor_dpl(descriptor);
    return cpu->cpl <= dpl && soft_selector_rpl(selector) <= dpl;
}

/* Fetches what LAR and LSL may look at; false: ZF = 0 and nothing else. */
static bool look_at(struct soft_cpu *cpu, uint16_t selector, unsigned int system_types,
                    struct soft_descriptor *descriptor)
{
    if (soft_selector_is_null(selector) || !soft_fetch_descriptor(cpu, selector, descriptor)) {
        return false;
    }
    if (!x86_descriptor_is_segment(descriptor->low) &&
        ((system_types >> x86_descriptor_type(descriptor->low) & 1) == 0 ||
         !soft_fetch_high(cpu, selector, descriptor))) {
        return false;
    }
    return is_visible(cpu, selector, descriptor->low);
}

void soft_lar(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    need_protected_mode(cpu);
    uint16_t selector = (uint16_t)soft_read_rm(cpu, &in->decoded, 2);
    struct soft_descriptor descriptor;
    bool good =
        look_at(cpu, selector, soft_long_mode(cpu) ? LAR_TYPES_LONG : LAR_TYPES, &descriptor);
    if (good) {
        uint64_t rights = descriptor.low >> 32 & 0x00f0ff00;
        soft_set_register(cpu, in->decoded.reg, in->decoded.operand_size, true, rights);
    }
    set_zero_flag(cpu, good);
}

void soft_lsl(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    need_protected_mode(cpu);
    uint16_t selector = (uint16_t)soft_read_rm(cpu, &in->decoded, 2);
    struct soft_descriptor descriptor;
    bool good =
        look_at(cpu, selector, soft_long_mode(cpu) ? LSL_TYPES_LONG : LSL_TYPES, &descriptor);
    if (good) {
        uint64_t limit = x86_segment_from_descriptor(descriptor.low, selector).limit;
        soft_set_register(cpu, in->decoded.reg, in->decoded.operand_size, true, limit);
    }
    set_zero_flag(cpu, good);
}

/* "VERR/VERW—Verify a Segment for Reading or Writing". */
static bool fetch_visible_segment(struct soft_cpu *cpu, const struct soft_instruction *in,
                                  struct soft_descriptor *descriptor)
{
    need_protected_mode(cpu);
    uint16_t selector = (uint16_t)soft_read_rm(cpu, &in->decoded, 2);
    return !soft_selector_is_null(selector) && soft_fetch_descriptor(cpu, selector, descriptor) &&
           x86_descriptor_is_segment(descriptor->low) && is_visible(cpu, selector, descriptor->low);
}

void soft_verr(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    struct soft_descriptor descriptor;
    bool good = fetch_visible_segment(cpu, in, &descriptor);
    if (good && soft_descriptor_is_code(descriptor.low)) {
        good = (x86_descriptor_type(descriptor.low) & X86_TYPE_READABLE) != 0;
    }
    set_zero_flag(cpu, good);
}

void soft_verw(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    struct soft_descriptor descriptor;
    bool good = fetch_visible_segment(cpu, in, &descriptor) &&
                !soft_descriptor_is_code(descriptor.low) &&
                (x86_descriptor_type(descriptor.low) & X86_TYPE_WRITABLE) != 0;
    set_zero_flag(cpu, good);
}

/* "ARPL—Adjust RPL Field of Segment Selector". */
void soft_arpl(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    need_protected_mode(cpu);
    uint16_t selector = (uint16_t)soft_read_rm(cpu, &in->decoded, 2);
    unsigned int rpl = soft_get_register(cpu, in->decoded.reg, 2, true) & X86_SELECTOR_RPL;
    bool lower = soft_selector_rpl(selector) < rpl;
    if (lower) {
        soft_write_rm(cpu, &in->decoded, 2, (selector & ~X86_SELECTOR_RPL) | rpl);
    }
    set_zero_flag(cpu, lower);
}
