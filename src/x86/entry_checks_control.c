/* Intel SDM volume 3, "Checks on Guest Control Registers, Debug Registers, and MSRs". */
#include "x86/entry_checks_sections.h"

#define CR3_LAM          (UINT64_C(3) << 61) /* LAM_U57, LAM_U48 */
#define DR7_HIGH         UINT64_C(0xffffffff00000000)
#define BNDCFGS_RESERVED UINT64_C(0xffc)
#define BNDCFGS_ADDRESS  (~UINT64_C(0xfff))
#define S_CET_RESERVED   UINT64_C(0x3c0)
#define S_CET_SUPPRESS   (UINT64_C(1) << 10)
#define S_CET_TRACKER    (UINT64_C(1) << 11)
#define PKRS_HIGH        UINT64_C(0xffffffff00000000)
#define UINV_HIGH        0xff00u

/*
 * "Restrictions on VMX Operation", and its exceptions at VM entry: CD and NW are not changed by it,
 * PE and PG are free for an unrestricted guest.
 */
static bool cr0_fixed(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    uint64_t free = X86_CR0_CD | X86_CR0_NW;
    if (entry_unrestricted(state)) {
        free |= X86_CR0_PE | X86_CR0_PG;
    }
    uint64_t missing = state->processor.cr0_fixed0 & ~state->cr0;
    uint64_t excess = state->cr0 & ~state->processor.cr0_fixed1;
    return ((missing | excess) & ~free) == 0;
}

static bool cr0_paging(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return (state->cr0 & X86_CR0_PG) == 0 || (state->cr0 & X86_CR0_PE) != 0;
}

static bool cr4_fixed(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return (state->processor.cr4_fixed0 & ~state->cr4) == 0 &&
           (state->cr4 & ~state->processor.cr4_fixed1) == 0;
}

static bool cr4_cet(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return (state->cr4 & X86_CR4_CET) == 0 || (state->cr0 & X86_CR0_WP) != 0;
}

static bool debugctl_reserved(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !entry_control(state, ENTRY_LOAD_DEBUG_CONTROLS) ||
           (state->debugctl & ~state->processor.debugctl_valid) == 0;
}

static bool ia32e_paging(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !entry_ia32e(state) || (state->cr0 & X86_CR0_PG) != 0;
}

static bool ia32e_pae(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !entry_ia32e(state) || (state->cr4 & X86_CR4_PAE) != 0;
}

static bool pcide_ia32e(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return entry_ia32e(state) || (state->cr4 & X86_CR4_PCIDE) == 0;
}

static bool cr3_width(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    uint64_t free = state->processor.has_lam != 0 ? CR3_LAM : 0;
    uint64_t reserved =
        entry_bits_from(state->processor.physical_address_bits) | entry_bits_from(52);
    return (state->cr3 & reserved & ~free) == 0;
}

static bool dr7_high(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !entry_control(state, ENTRY_LOAD_DEBUG_CONTROLS) || (state->dr7 & DR7_HIGH) == 0;
}

static bool sysenter_esp_canonical(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return entry_canonical(state, state->sysenter_esp);
}

static bool sysenter_eip_canonical(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return entry_canonical(state, state->sysenter_eip);
}

static bool s_cet_canonical(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !entry_control(state, ENTRY_LOAD_CET_STATE) || entry_canonical(state, state->s_cet);
}

static bool ssp_table_canonical(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !entry_control(state, ENTRY_LOAD_CET_STATE) ||
           entry_canonical(state, state->interrupt_ssp_table);
}

static bool perf_global_ctrl_reserved(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !entry_control(state, ENTRY_LOAD_PERF_GLOBAL_CTRL) ||
           (state->perf_global_ctrl & ~state->processor.perf_global_ctrl_valid) == 0;
}

/* "Page Attribute Table (PAT)": 2, 3 and all above 7 are no memory types. */
static bool pat_types(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    if (!entry_control(state, ENTRY_LOAD_PAT)) {
        return true;
    }
    for (unsigned int i = 0; i < 8; i++) {
        unsigned int type = (unsigned int)(state->pat >> (8 * i)) & 0xff;
        if (type > 7 || type == 2 || type == 3) {
            return false;
        }
    }
    return true;
}

static bool efer_reserved(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !entry_control(state, ENTRY_LOAD_EFER) ||
           (state->efer & ~state->processor.efer_valid) == 0;
}

static bool efer_lma_ia32e(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !entry_control(state, ENTRY_LOAD_EFER) ||
           ((state->efer & X86_EFER_LMA) != 0) == entry_ia32e(state);
}

static bool efer_lma_lme(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !entry_control(state, ENTRY_LOAD_EFER) || (state->cr0 & X86_CR0_PG) == 0 ||
           ((state->efer & X86_EFER_LMA) != 0) == ((state->efer & X86_EFER_LME) != 0);
}

static bool bndcfgs_reserved(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !entry_control(state, ENTRY_LOAD_BNDCFGS) || (state->bndcfgs & BNDCFGS_RESERVED) == 0;
}

static bool bndcfgs_canonical(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !entry_control(state, ENTRY_LOAD_BNDCFGS) ||
           entry_canonical(state, state->bndcfgs & BNDCFGS_ADDRESS);
}

static bool rtit_ctl_reserved(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !entry_control(state, ENTRY_LOAD_RTIT_CTL) ||
           (state->rtit_ctl & ~state->processor.rtit_ctl_valid) == 0;
}

static bool s_cet_reserved(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !entry_control(state, ENTRY_LOAD_CET_STATE) || (state->s_cet & S_CET_RESERVED) == 0;
}

static bool s_cet_suppress(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !entry_control(state, ENTRY_LOAD_CET_STATE) || (state->s_cet & S_CET_SUPPRESS) == 0 ||
           (state->s_cet & S_CET_TRACKER) == 0;
}

static bool lbr_ctl_reserved(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !entry_control(state, ENTRY_LOAD_LBR_CTL) ||
           (state->lbr_ctl & ~state->processor.lbr_ctl_valid) == 0;
}

static bool pkrs_high(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !entry_control(state, ENTRY_LOAD_PKRS) || (state->pkrs & PKRS_HIGH) == 0;
}

static bool uinv_high(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !entry_control(state, ENTRY_LOAD_UINV) || (state->uinv & UINV_HIGH) == 0;
}

static const struct entry_rule rules[] = {
    {"cr0-fixed",
     "the bits of CR0 that VMX operation fixes have their fixed values, but for CD and NW, and "
     "with \"unrestricted guest\" PE and PG",
     .holds = cr0_fixed,
     .fields = {ENTRY_FIELD_CR0, ENTRY_FIELD_CR0_FIXED0, ENTRY_FIELD_CR0_FIXED1,
                ENTRY_FIELD_PRIMARY, ENTRY_FIELD_SECONDARY}},
    {"cr0-paging-needs-protection", "CR0.PG is set only together with CR0.PE", .holds = cr0_paging,
     .fields = {ENTRY_FIELD_CR0}},
    {"cr4-fixed", "the bits of CR4 that VMX operation fixes have their fixed values",
     .holds = cr4_fixed,
     .fields = {ENTRY_FIELD_CR4, ENTRY_FIELD_CR4_FIXED0, ENTRY_FIELD_CR4_FIXED1}},
    {"cr4-cet-needs-wp", "CR4.CET is set only together with CR0.WP", .holds = cr4_cet,
     .fields = {ENTRY_FIELD_CR4, ENTRY_FIELD_CR0}},
    {"debugctl-reserved",
     "no reserved bit of IA32_DEBUGCTL is set where \"load debug controls\" loads it",
     .holds = debugctl_reserved,
     .fields = {ENTRY_FIELD_DEBUGCTL, ENTRY_FIELD_DEBUGCTL_VALID, ENTRY_FIELD_ENTRY}},
    {"ia32e-needs-paging", "a guest in IA-32e mode has CR0.PG set", .holds = ia32e_paging,
     .fields = {ENTRY_FIELD_CR0, ENTRY_FIELD_ENTRY}},
    {"ia32e-needs-pae", "a guest in IA-32e mode has CR4.PAE set", .holds = ia32e_pae,
     .fields = {ENTRY_FIELD_CR4, ENTRY_FIELD_ENTRY}},
    {"pcide-needs-ia32e", "CR4.PCIDE is set only in IA-32e mode", .holds = pcide_ia32e,
     .fields = {ENTRY_FIELD_CR4, ENTRY_FIELD_ENTRY}},
    {"cr3-width", "CR3 has no bit beyond the physical-address width, but for those of LAM",
     .holds = cr3_width,
     .fields = {ENTRY_FIELD_CR3, ENTRY_FIELD_PHYSICAL_ADDRESS_BITS, ENTRY_FIELD_HAS_LAM}},
    {"dr7-high", "DR7 has bits 63:32 clear where \"load debug controls\" loads it",
     .holds = dr7_high, .fields = {ENTRY_FIELD_DR7, ENTRY_FIELD_ENTRY}},
    {"sysenter-esp-canonical", "IA32_SYSENTER_ESP is a canonical address",
     .holds = sysenter_esp_canonical,
     .fields = {ENTRY_FIELD_SYSENTER_ESP, ENTRY_FIELD_LINEAR_ADDRESS_BITS}},
    {"sysenter-eip-canonical", "IA32_SYSENTER_EIP is a canonical address",
     .holds = sysenter_eip_canonical,
     .fields = {ENTRY_FIELD_SYSENTER_EIP, ENTRY_FIELD_LINEAR_ADDRESS_BITS}},
    {"s-cet-canonical", "IA32_S_CET is a canonical address where \"load CET state\" loads it",
     .holds = s_cet_canonical,
     .fields = {ENTRY_FIELD_S_CET, ENTRY_FIELD_LINEAR_ADDRESS_BITS, ENTRY_FIELD_ENTRY}},
    {"ssp-table-canonical",
     "IA32_INTERRUPT_SSP_TABLE_ADDR is a canonical address where \"load CET state\" loads it",
     .holds = ssp_table_canonical,
     .fields = {ENTRY_FIELD_INTERRUPT_SSP_TABLE, ENTRY_FIELD_LINEAR_ADDRESS_BITS,
                ENTRY_FIELD_ENTRY}},
    {"perf-global-ctrl-reserved",
     "no reserved bit of IA32_PERF_GLOBAL_CTRL is set where it is loaded",
     .holds = perf_global_ctrl_reserved,
     .fields = {ENTRY_FIELD_PERF_GLOBAL_CTRL, ENTRY_FIELD_PERF_GLOBAL_CTRL_VALID,
                ENTRY_FIELD_ENTRY}},
    {"pat-types", "each byte of IA32_PAT, where it is loaded, is a memory type: 0, 1, 4, 5, 6 or 7",
     .holds = pat_types, .fields = {ENTRY_FIELD_PAT, ENTRY_FIELD_ENTRY}},
    {"efer-reserved", "no reserved bit of IA32_EFER is set where it is loaded",
     .holds = efer_reserved,
     .fields = {ENTRY_FIELD_EFER, ENTRY_FIELD_EFER_VALID, ENTRY_FIELD_ENTRY}},
    {"efer-lma-is-ia32e", "IA32_EFER.LMA, where it is loaded, is what \"IA-32e mode guest\" says",
     .holds = efer_lma_ia32e, .fields = {ENTRY_FIELD_EFER, ENTRY_FIELD_ENTRY}},
    {"efer-lma-is-lme",
     "IA32_EFER.LMA and LME, where they are loaded, are equal while CR0.PG is set",
     .holds = efer_lma_lme, .fields = {ENTRY_FIELD_EFER, ENTRY_FIELD_CR0, ENTRY_FIELD_ENTRY}},
    {"bndcfgs-reserved", "IA32_BNDCFGS, where it is loaded, has bits 11:2 clear",
     .holds = bndcfgs_reserved, .fields = {ENTRY_FIELD_BNDCFGS, ENTRY_FIELD_ENTRY}},
    {"bndcfgs-canonical",
     "the address in IA32_BNDCFGS bits 63:12, where it is loaded, is canonical",
     .holds = bndcfgs_canonical,
     .fields = {ENTRY_FIELD_BNDCFGS, ENTRY_FIELD_LINEAR_ADDRESS_BITS, ENTRY_FIELD_ENTRY}},
    {"rtit-ctl-reserved", "no reserved bit of IA32_RTIT_CTL is set where it is loaded",
     .holds = rtit_ctl_reserved,
     .fields = {ENTRY_FIELD_RTIT_CTL, ENTRY_FIELD_RTIT_CTL_VALID, ENTRY_FIELD_ENTRY}},
    {"s-cet-reserved", "IA32_S_CET, where it is loaded, has bits 9:6 clear",
     .holds = s_cet_reserved, .fields = {ENTRY_FIELD_S_CET, ENTRY_FIELD_ENTRY}},
    {"s-cet-suppress-or-tracker",
     "IA32_S_CET, where it is loaded, has at most one of SUPPRESS (bit 10) and TRACKER (bit 11) "
     "set",
     .holds = s_cet_suppress, .fields = {ENTRY_FIELD_S_CET, ENTRY_FIELD_ENTRY}},
    {"lbr-ctl-reserved", "no reserved bit of IA32_LBR_CTL is set where it is loaded",
     .holds = lbr_ctl_reserved,
     .fields = {ENTRY_FIELD_LBR_CTL, ENTRY_FIELD_LBR_CTL_VALID, ENTRY_FIELD_ENTRY}},
    {"pkrs-high", "IA32_PKRS, where it is loaded, has bits 63:32 clear", .holds = pkrs_high,
     .fields = {ENTRY_FIELD_PKRS, ENTRY_FIELD_ENTRY}},
    {"uinv-high", "UINV, where it is loaded, has bits 15:8 clear", .holds = uinv_high,
     .fields = {ENTRY_FIELD_UINV, ENTRY_FIELD_ENTRY}},
};

const struct entry_section entry_control_section = {
    .title = "Checks on Guest Control Registers, Debug Registers, and MSRs",
    .rules = rules,
    .rule_count = sizeof(rules) / sizeof(rules[0]),
};
