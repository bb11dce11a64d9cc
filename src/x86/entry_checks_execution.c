/*
 * Intel SDM volume 3, "Checks on Guest Descriptor-Table Registers", "Checks on Guest RIP, RFLAGS,
 * and SSP", "Checks on Guest Page-Directory-Pointer-Table Entries".
 */
#include "x86/entry_checks_sections.h"

#define ALL_OF(count)   ((1u << (count)) - 1)
#define RFLAGS_RESERVED (entry_bits_from(22) | (1u << 15) | (1u << 5) | (1u << 3))
#define SSP_LOW         UINT64_C(3)
#define PDPTE_PRESENT   UINT64_C(1)
#define PDPTE_RESERVED  UINT64_C(0x1e6) /* bits 8:5 and 2:1 */

#define RULES(table) .rules = (table), .rule_count = sizeof(table) / sizeof((table)[0])

/* ---- GDTR and IDTR ---- */

static bool table_base(const struct entry_guest_state *state, unsigned int instance)
{
    return entry_canonical(state, state->table[instance].base);
}

static bool table_limit(const struct entry_guest_state *state, unsigned int instance)
{
    return state->table[instance].limit >> 16 == 0;
}

static const struct entry_rule table_rules[] = {
    {"table-base-canonical", "its base is a canonical address", ENTRY_TABLES,
     ALL_OF(ENTRY_TABLE_COUNT), table_base,
     .fields = {ENTRY_FIELD_TABLE_BASE, ENTRY_FIELD_LINEAR_ADDRESS_BITS}},
    {"table-limit-high", "bits 31:16 of its limit are 0", ENTRY_TABLES, ALL_OF(ENTRY_TABLE_COUNT),
     table_limit, .fields = {ENTRY_FIELD_TABLE_LIMIT}},
};

const struct entry_section entry_table_section = {
    .title = "Checks on Guest Descriptor-Table Registers",
    RULES(table_rules),
};

/* ---- RIP, RFLAGS, SSP ---- */

static bool in_64_bit_code(const struct entry_guest_state *state)
{
    return entry_ia32e(state) && (state->segment[X86_CS].attributes & X86_SEGMENT_L) != 0;
}

static bool rip_high(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return in_64_bit_code(state) || state->rip >> 32 == 0;
}

/*
 * Not quite "canonical": the bit below need not agree. RIP is there after the last instruction of
 * the lower half.
 */
static bool rip_identical(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !in_64_bit_code(state) ||
           entry_identical_from(state->rip, state->processor.linear_address_bits);
}

static bool rflags_reserved(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return (state->rflags & RFLAGS_RESERVED) == 0;
}

static bool rflags_one(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return (state->rflags & X86_FLAGS_ONE) != 0;
}

static bool rflags_vm(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return (state->rflags & X86_FLAGS_VM) == 0 ||
           (!entry_ia32e(state) && (state->cr0 & X86_CR0_PE) != 0);
}

static bool rflags_if(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !entry_injects(state, ENTRY_EXTERNAL_INTERRUPT) || (state->rflags & X86_FLAGS_IF) != 0;
}

static bool ssp_aligned(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !entry_control(state, ENTRY_LOAD_CET_STATE) || (state->ssp & SSP_LOW) == 0;
}

static bool ssp_identical(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !entry_control(state, ENTRY_LOAD_CET_STATE) ||
           entry_identical_from(state->ssp, state->processor.linear_address_bits);
}

static const struct entry_rule execution_rules[] = {
    {"rip-high", "RIP has bits 63:32 clear outside 64-bit code (IA-32e mode with CS.L set)",
     .holds = rip_high,
     .fields = {ENTRY_FIELD_RIP, ENTRY_OF(ENTRY_FIELD_ACCESS_RIGHTS, X86_CS), ENTRY_FIELD_ENTRY}},
    {"rip-linear-width", "in 64-bit code the bits of RIP beyond the linear-address width are equal",
     .holds = rip_identical,
     .fields = {ENTRY_FIELD_RIP, ENTRY_FIELD_LINEAR_ADDRESS_BITS,
                ENTRY_OF(ENTRY_FIELD_ACCESS_RIGHTS, X86_CS), ENTRY_FIELD_ENTRY}},
    {"rflags-reserved", "RFLAGS bits 63:22, 15, 5 and 3 are 0", .holds = rflags_reserved,
     .fields = {ENTRY_FIELD_RFLAGS}},
    {"rflags-one", "RFLAGS bit 1 is 1", .holds = rflags_one, .fields = {ENTRY_FIELD_RFLAGS}},
    {"rflags-vm", "RFLAGS.VM is 0 in IA-32e mode and where CR0.PE is 0", .holds = rflags_vm,
     .fields = {ENTRY_FIELD_RFLAGS, ENTRY_FIELD_CR0, ENTRY_FIELD_ENTRY}},
    {"rflags-if", "RFLAGS.IF is 1 if an external interrupt is injected", .holds = rflags_if,
     .fields = {ENTRY_FIELD_RFLAGS, ENTRY_FIELD_INTERRUPTION}},
    {"ssp-aligned", "SSP, where \"load CET state\" loads it, has bits 1:0 clear",
     .holds = ssp_aligned, .fields = {ENTRY_FIELD_SSP, ENTRY_FIELD_ENTRY}},
    {"ssp-linear-width",
     "the bits of SSP beyond the linear-address width are equal where \"load CET state\" loads it",
     .holds = ssp_identical,
     .fields = {ENTRY_FIELD_SSP, ENTRY_FIELD_LINEAR_ADDRESS_BITS, ENTRY_FIELD_ENTRY}},
};

const struct entry_section entry_execution_section = {
    .title = "Checks on Guest RIP, RFLAGS, and SSP",
    RULES(execution_rules),
};

/* ---- PDPTEs ---- */

/* Without EPT the processor reads them from memory, and checks the same. */
static bool pdpte_reserved(const struct entry_guest_state *state, unsigned int instance)
{
    bool pae_paging =
        (state->cr0 & X86_CR0_PG) != 0 && (state->cr4 & X86_CR4_PAE) != 0 && !entry_ia32e(state);
    uint64_t entry = state->pdpte[instance];
    uint64_t reserved = PDPTE_RESERVED | entry_bits_from(state->processor.physical_address_bits);
    return !pae_paging || (entry & PDPTE_PRESENT) == 0 || (entry & reserved) == 0;
}

static const struct entry_rule pdpte_rules[] = {
    {"pdpte-reserved",
     "with PAE paging, no reserved bit (2:1, 8:5, beyond the physical-address width) is set in it "
     "if it is present",
     ENTRY_PAGE_POINTERS, ALL_OF(ENTRY_PDPTES), pdpte_reserved,
     .fields = {ENTRY_FIELD_PDPTE, ENTRY_FIELD_PHYSICAL_ADDRESS_BITS, ENTRY_FIELD_CR0,
                ENTRY_FIELD_CR4, ENTRY_FIELD_ENTRY}},
};

const struct entry_section entry_pdpte_section = {
    .title = "Checks on Guest Page-Directory-Pointer-Table Entries",
    RULES(pdpte_rules),
};
