/*
 * Which values the control registers, EFER, XCR0 and the memory-type MSRs take: the rules for
 * #GP(0).
 *
 * Purpose: engines that carry out MOV to CR, WRMSR and XSETBV for a guest ask here.
 * Source:  Intel SDM volume 3, "Control Registers", "Initializing IA-32e Mode", "PDPTE Registers",
 *          "Extended Feature Enable Register", "Extended Control Registers (Including XCR0)",
 *          "Conditions for Generating a Double Fault".
 * Owner:   values only. Thread: any. Freestanding.
 */
#ifndef TRAPEZE_X86_CONTROL_RULES_H
#define TRAPEZE_X86_CONTROL_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "x86/cpuid.h"
#include "x86/registers.h"

/* What the rules look at, as it is before. */
struct x86_control_state {
    uint64_t cr0, cr3, cr4, efer;
    uint32_t cs_attributes, tr_attributes; /* of struct x86_segment */
};

/* "PDPTE Registers": PAE paging is in use with these values. */
bool x86_uses_pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer);

/*
 * MOV to CR0: what CR0 and EFER (its LMA) become. False: #GP(0), for reasons other than the PDPTEs.
 */
bool x86_next_cr0(const struct x86_control_state *before, uint64_t value, uint64_t *cr0,
                  uint64_t *efer);

/* Whether a MOV to CR0 or CR4 that changes these bits loads the PDPTEs of PAE paging. */
bool x86_cr0_loads_pdptes(uint64_t changed);
bool x86_cr4_loads_pdptes(uint64_t changed);

/* Which bits of CR4 a guest that is shown this CPUID may set. */
uint64_t x86_cr4_writable(const struct cpuid_table *cpuid);

/* MOV to CR4 takes the value. */
bool x86_is_next_cr4(const struct x86_control_state *before, uint64_t value, uint64_t writable);

/* WRMSR of IA32_EFER: what it becomes. False: #GP(0). */
bool x86_next_efer(const struct x86_control_state *before, const struct cpuid_table *cpuid,
                   uint64_t value, uint64_t *efer);

/* XSETBV takes the value: only x87, SSE, AVX and PKRU are known here; supported: CPUID leaf 0DH. */
bool x86_is_xcr0(uint64_t supported, uint64_t value);

/* "Canonical Addressing": bits 63:(linear_bits - 1) are all equal. Inline for hot paths. */
static inline bool x86_is_canonical(uint64_t address, unsigned int linear_bits)
{
    unsigned int unused = 64 - linear_bits;
    return (uint64_t)((int64_t)(address << unused) >> unused) == address;
}

/* The nearest canonical address with 48 linear bits. */
uint64_t x86_make_canonical(uint64_t address);

/* Eight memory types, one a byte, as of IA32_PAT, or of a fixed-range MTRR (which has no UC-). */
bool x86_are_memory_types(uint64_t types, bool in_pat);

/* IA32_MTRR_DEF_TYPE, or the base of a variable range: bits 7:0 are a type of MTRRs. */
bool x86_is_mtrr_type(uint64_t value);

/* What WRMSR of a plain MSR takes. */
enum x86_msr_kind {
    X86_MSR_READ_ONLY,
    X86_MSR_ANY,
    X86_MSR_CANONICAL,
    X86_MSR_WITHIN_BITS,
    X86_MSR_PAT_TYPES,   /* IA32_PAT */
    X86_MSR_FIXED_TYPES, /* a fixed-range MTRR */
    X86_MSR_DEFAULT_TYPE /* IA32_MTRR_DEF_TYPE */
};

/* False: #GP(0). bits: those that may be set, of the kinds that look at it. */
bool x86_msr_takes(enum x86_msr_kind kind, uint64_t bits, unsigned int linear_bits, uint64_t value);

/* "Conditions for Generating a Double Fault": second, while first is being delivered. */
bool x86_makes_double_fault(uint8_t first, uint8_t second);

/* The exception pushes an error code. */
bool x86_has_error_code(uint8_t vector);

#endif
