#include "x86/control_rules.h"

#include <stddef.h>

#include "x86/state.h"

#define CR0_WRITABLE                                                                               \
    (X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM |    \
     X86_CR0_NW | X86_CR0_CD | X86_CR0_PG)
#define TSS_IS_32_OR_64_BIT 0x8u /* of the type */

bool x86_uses_pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    return (cr0 & X86_CR0_PG) != 0 && (cr4 & X86_CR4_PAE) != 0 && (efer & X86_EFER_LMA) == 0;
}

/* "Initializing IA-32e Mode": what setting PG with EFER.LME demands. */
static bool may_enter_ia32e(const struct x86_control_state *before)
{
    bool tss_is_16bit = (before->tr_attributes & X86_SEGMENT_UNUSABLE) == 0 &&
                        (before->tr_attributes & TSS_IS_32_OR_64_BIT) == 0;
    return (before->cr4 & X86_CR4_PAE) != 0 && (before->cs_attributes & X86_SEGMENT_L) == 0 &&
           !tss_is_16bit;
}

bool x86_next_cr0(const struct x86_control_state *before, uint64_t value, uint64_t *cr0,
                  uint64_t *efer)
{
    if (value >> 32 != 0) {
        return false;
    }
    value = (value & CR0_WRITABLE) | X86_CR0_ET;
    bool pg = (value & X86_CR0_PG) != 0, had_pg = (before->cr0 & X86_CR0_PG) != 0;
    bool is_64bit =
        (before->efer & X86_EFER_LMA) != 0 && (before->cs_attributes & X86_SEGMENT_L) != 0;
    if ((pg && (value & X86_CR0_PE) == 0) ||
        ((value & X86_CR0_NW) != 0 && (value & X86_CR0_CD) == 0)) {
        return false;
    }
    *cr0 = value;
    *efer = before->efer;
    if (pg && !had_pg && (before->efer & X86_EFER_LME) != 0) {
        *efer |= X86_EFER_LMA;
        return may_enter_ia32e(before);
    }
    if (!pg && had_pg) {
        *efer &= ~X86_EFER_LMA;
        return !is_64bit && (before->cr4 & X86_CR4_PCIDE) == 0;
    }
    return true;
}

bool x86_cr0_loads_pdptes(uint64_t changed)
{
    return (changed & (X86_CR0_PG | X86_CR0_CD | X86_CR0_NW)) != 0;
}

bool x86_cr4_loads_pdptes(uint64_t changed)
{
    return (changed & (X86_CR4_PAE | X86_CR4_PGE | X86_CR4_PSE | X86_CR4_SMEP)) != 0;
}

static uint32_t cpuid_bits(const struct cpuid_table *table, uint32_t leaf, char which)
{
    struct cpuid_registers answer = cpuid_get(table, leaf, 0);
    return which == 'b' ? answer.ebx : which == 'c' ? answer.ecx : answer.edx;
}

uint64_t x86_cr4_writable(const struct cpuid_table *cpuid)
{
    static const struct {
        uint64_t cr4;
        uint32_t leaf;
        char which; /* 'b', 'c', 'd': the register of that leaf */
        uint8_t bit;
    } rows[] = {
        {X86_CR4_VME | X86_CR4_PVI, 1, 'd', 1},
        {X86_CR4_DE, 1, 'd', 2},
        {X86_CR4_PSE, 1, 'd', 3},
        {X86_CR4_TSD, 1, 'd', 4},
        {X86_CR4_PAE, 1, 'd', 6},
        {X86_CR4_MCE, 1, 'd', 7},
        {X86_CR4_PGE, 1, 'd', 13},
        {X86_CR4_OSFXSR, 1, 'd', 24},
        {X86_CR4_OSXMMEXCPT, 1, 'd', 25},
        {X86_CR4_PCIDE, 1, 'c', 17},
        {X86_CR4_OSXSAVE, 1, 'c', 26},
        {X86_CR4_FSGSBASE, 7, 'b', 0},
        {X86_CR4_SMEP, 7, 'b', 7},
        {X86_CR4_SMAP, 7, 'b', 20},
        {X86_CR4_UMIP, 7, 'c', 2},
        {X86_CR4_PKE, 7, 'c', 3},
        {X86_CR4_LA57, 7, 'c', 16},
    };
    uint64_t writable = X86_CR4_PCE;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if ((cpuid_bits(cpuid, rows[i].leaf, rows[i].which) >> rows[i].bit & 1) != 0) {
            writable |= rows[i].cr4;
        }
    }
    return writable;
}

bool x86_is_next_cr4(const struct x86_control_state *before, uint64_t value, uint64_t writable)
{
    uint64_t changed = before->cr4 ^ value;
    bool is_ia32e = (before->efer & X86_EFER_LMA) != 0;
    if ((value & ~writable) != 0 ||
        (is_ia32e && ((value & X86_CR4_PAE) == 0 || (changed & X86_CR4_LA57) != 0))) {
        return false;
    }
    if ((changed & value & X86_CR4_PCIDE) != 0) {
        return is_ia32e && (before->cr3 & X86_CR3_PCID_MASK) == 0;
    }
    return true;
}

bool x86_next_efer(const struct x86_control_state *before, const struct cpuid_table *cpuid,
                   uint64_t value, uint64_t *efer)
{
    uint32_t extended = cpuid_bits(cpuid, 0x80000001, 'd');
    uint64_t writable = 0;
    writable |= (extended >> 11 & 1) != 0 ? X86_EFER_SCE : 0;
    writable |= (extended >> 20 & 1) != 0 ? X86_EFER_NXE : 0;
    writable |= (extended >> 29 & 1) != 0 ? X86_EFER_LME : 0;
    if ((value & ~(writable | X86_EFER_LMA)) != 0) {
        return false;
    }
    if (((before->efer ^ value) & X86_EFER_LME) != 0 && (before->cr0 & X86_CR0_PG) != 0) {
        return false;
    }
    *efer = (value & writable) | (before->efer & X86_EFER_LMA); /* LMA is read-only */
    return true;
}

bool x86_is_xcr0(uint64_t supported, uint64_t value)
{
    bool avx_alone = (value & X86_XCR0_AVX) != 0 && (value & X86_XCR0_SSE) == 0;
    return (value & X86_XCR0_X87) != 0 && (value & ~supported) == 0 && !avx_alone;
}

uint64_t x86_make_canonical(uint64_t address)
{
    return (uint64_t)((int64_t)(address << 16) >> 16);
}

/* UC, WC, WT, WP, WB; the PAT knows UC- (7) too. */
static bool is_memory_type(uint64_t type, bool in_pat)
{
    return type == 0 || type == 1 || (type >= 4 && type <= 6) || (in_pat && type == 7);
}

bool x86_are_memory_types(uint64_t types, bool in_pat)
{
    for (unsigned int i = 0; i < 8; i++) {
        if (!is_memory_type(types >> (8 * i) & 0xff, in_pat)) {
            return false;
        }
    }
    return true;
}

bool x86_is_mtrr_type(uint64_t value)
{
    return is_memory_type(value & 0xff, false);
}

bool x86_msr_takes(enum x86_msr_kind kind, uint64_t bits, unsigned int linear_bits, uint64_t value)
{
    switch (kind) {
    case X86_MSR_CANONICAL:
        return x86_is_canonical(value, linear_bits);
    case X86_MSR_WITHIN_BITS:
        return (value & ~bits) == 0;
    case X86_MSR_PAT_TYPES:
        return x86_are_memory_types(value, true);
    case X86_MSR_FIXED_TYPES:
        return x86_are_memory_types(value, false);
    case X86_MSR_DEFAULT_TYPE:
        return (value & ~bits) == 0 && x86_is_mtrr_type(value);
    default:
        return kind == X86_MSR_ANY;
    }
}

static bool is_contributory(uint8_t vector)
{
    return vector == X86_VECTOR_DE || (vector >= X86_VECTOR_TS && vector <= X86_VECTOR_GP);
}

bool x86_makes_double_fault(uint8_t first, uint8_t second)
{
    return (is_contributory(first) && is_contributory(second)) ||
           (first == X86_VECTOR_PF && (second == X86_VECTOR_PF || is_contributory(second)));
}

bool x86_has_error_code(uint8_t vector)
{
    const uint32_t with = 1u << X86_VECTOR_DF | 1u << X86_VECTOR_TS | 1u << X86_VECTOR_NP |
                          1u << X86_VECTOR_SS | 1u << X86_VECTOR_GP | 1u << X86_VECTOR_PF |
                          1u << X86_VECTOR_AC;
    return vector < 32 && (with >> vector & 1) != 0;
}
