/*
 * What the files of the entry checks share: each section's rules, and questions that several ask.
 *
 *   entry_checks.c           the table of sections, and the function that goes through it
 *   entry_checks_control.c   control registers, debug registers, MSRs
 *   entry_checks_segment.c   segment registers
 *   entry_checks_execution.c descriptor tables; RIP, RFLAGS and SSP; PDPTEs
 *   entry_checks_event.c     non-register state: what is blocked, pending, injected, linked
 *   entry_text.c             violations as text
 *
 * Owner:   constants. Thread: any. Freestanding.
 */
#ifndef TRAPEZE_X86_ENTRY_CHECKS_SECTIONS_H
#define TRAPEZE_X86_ENTRY_CHECKS_SECTIONS_H

#include "x86/entry_checks.h"

extern const struct entry_section entry_control_section;
extern const struct entry_section entry_segment_section;
extern const struct entry_section entry_table_section;
extern const struct entry_section entry_execution_section;
extern const struct entry_section entry_event_section;
extern const struct entry_section entry_pdpte_section;

/* The control is 0 if the secondary controls are not activated. */
static inline bool entry_secondary(const struct entry_guest_state *state, uint32_t control)
{
    return (state->primary & VMX_PRIMARY_SECONDARY) != 0 && (state->secondary & control) != 0;
}

static inline bool entry_unrestricted(const struct entry_guest_state *state)
{
    return entry_secondary(state, VMX_SECONDARY_UNRESTRICTED_GUEST);
}

static inline bool entry_control(const struct entry_guest_state *state, uint32_t control)
{
    return (state->entry & control) != 0;
}

static inline bool entry_ia32e(const struct entry_guest_state *state)
{
    return entry_control(state, ENTRY_IA32E_MODE_GUEST);
}

/* Bits from `width` on, none if it is 64 or more. */
static inline uint64_t entry_bits_from(unsigned int width)
{
    return width < 64 ? ~UINT64_C(0) << width : 0;
}

/* Bits 63:width are all equal. */
static inline bool entry_identical_from(uint64_t address, unsigned int width)
{
    uint64_t upper = entry_bits_from(width);
    return (address & upper) == 0 || (address & upper) == upper;
}

static inline bool entry_canonical(const struct entry_guest_state *state, uint64_t address)
{
    unsigned int width = state->processor.linear_address_bits;
    return entry_identical_from(address, width != 0 ? width - 1 : 0);
}

/* An event is injected that has this type. */
static inline bool entry_injects(const struct entry_guest_state *state,
                                 enum entry_interruption_type type)
{
    return (state->interruption & ENTRY_INTERRUPTION_VALID) != 0 &&
           (state->interruption & ENTRY_INTERRUPTION_TYPE) == (uint32_t)type
                                                                  << ENTRY_INTERRUPTION_TYPE_SHIFT;
}

#endif
