/* Intel SDM volume 3, "Checks on Guest Non-Register State". */
#include "x86/entry_checks_sections.h"

#include "x86/descriptor.h"

#define SHADOWS                  (ENTRY_BLOCKING_STI | ENTRY_BLOCKING_MOV_SS)
#define INTERRUPTIBILITY_DEFINED 0x1fu
#define PENDING_RESERVED         (entry_bits_from(17) | UINT64_C(0xa7f0)) /* 15, 13, 10:4 */
/* With RTM all bits but RTM itself and "enabled breakpoint" are clear. */
#define PENDING_NOT_WITH_RTM (~(ENTRY_PENDING_RTM | ENTRY_PENDING_BREAKPOINT))
#define VMCS_ALIGNMENT       UINT64_C(0xfff)
#define VMCS_REVISION        0x7fffffffu
#define VMCS_SHADOW          (1u << 31)

/* ---- activity state ---- */

static bool activity_known(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return state->activity < ENTRY_ACTIVITY_COUNT;
}

static bool activity_supported(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return state->activity == ENTRY_ACTIVE || state->activity >= ENTRY_ACTIVITY_COUNT ||
           (state->processor.activity_states & (1u << (state->activity - 1))) != 0;
}

static bool hlt_dpl(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return state->activity != ENTRY_HLT || x86_segment_dpl(&state->segment[X86_SS]) == 0;
}

static bool activity_shadow(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return state->activity == ENTRY_ACTIVE || (state->interruptibility & SHADOWS) == 0;
}

/* A hardware exception with this vector is injected. */
static bool injects_exception(const struct entry_guest_state *state, uint8_t vector)
{
    return entry_injects(state, ENTRY_HARDWARE_EXCEPTION) &&
           (state->interruption & ENTRY_INTERRUPTION_VECTOR) == vector;
}

static bool injects_nothing(const struct entry_guest_state *state)
{
    return (state->interruption & ENTRY_INTERRUPTION_VALID) == 0;
}

static bool injection_hlt(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    bool pending_mtf = entry_injects(state, ENTRY_OTHER_EVENT) &&
                       (state->interruption & ENTRY_INTERRUPTION_VECTOR) == 0;
    return state->activity != ENTRY_HLT || injects_nothing(state) ||
           entry_injects(state, ENTRY_EXTERNAL_INTERRUPT) || entry_injects(state, ENTRY_NMI) ||
           injects_exception(state, X86_VECTOR_DB) || injects_exception(state, X86_VECTOR_MC) ||
           pending_mtf;
}

static bool injection_shutdown(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return state->activity != ENTRY_SHUTDOWN || injects_nothing(state) ||
           entry_injects(state, ENTRY_NMI) || injects_exception(state, X86_VECTOR_MC);
}

static bool injection_sipi(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return state->activity != ENTRY_WAIT_FOR_SIPI || injects_nothing(state);
}

static bool sipi_smm(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return state->activity != ENTRY_WAIT_FOR_SIPI || !entry_control(state, ENTRY_TO_SMM);
}

/* ---- interruptibility state ---- */

static bool blocks(const struct entry_guest_state *state, uint32_t bit)
{
    return (state->interruptibility & bit) != 0;
}

static bool interruptibility_reserved(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return (state->interruptibility & ~INTERRUPTIBILITY_DEFINED) == 0;
}

static bool one_shadow(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return (state->interruptibility & SHADOWS) != SHADOWS;
}

static bool sti_if(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !blocks(state, ENTRY_BLOCKING_STI) || (state->rflags & X86_FLAGS_IF) != 0;
}

static bool external_shadow(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !entry_injects(state, ENTRY_EXTERNAL_INTERRUPT) ||
           (state->interruptibility & SHADOWS) == 0;
}

static bool nmi_mov_ss(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !entry_injects(state, ENTRY_NMI) || !blocks(state, ENTRY_BLOCKING_MOV_SS);
}

static bool smi_outside_smm(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return state->processor.in_smm != 0 || !blocks(state, ENTRY_BLOCKING_SMI);
}

static bool smi_to_smm(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !entry_control(state, ENTRY_TO_SMM) || blocks(state, ENTRY_BLOCKING_SMI);
}

static bool nmi_sti(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return state->processor.nmi_needs_no_sti == 0 || !entry_injects(state, ENTRY_NMI) ||
           !blocks(state, ENTRY_BLOCKING_STI);
}

static bool nmi_blocked(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return (state->pin_based & VMX_PIN_VIRTUAL_NMIS) == 0 || !entry_injects(state, ENTRY_NMI) ||
           !blocks(state, ENTRY_BLOCKING_NMI);
}

static bool enclave_mov_ss(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !blocks(state, ENTRY_ENCLAVE) || !blocks(state, ENTRY_BLOCKING_MOV_SS);
}

static bool enclave_sgx(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !blocks(state, ENTRY_ENCLAVE) || state->processor.has_sgx != 0;
}

/* ---- pending debug exceptions ---- */

static bool pending_reserved(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return (state->pending_debug & PENDING_RESERVED) == 0;
}

/* "OS Bus-Lock Detection". Before there was that, bit 11 was one of those that are reserved. */
static bool pending_bus_lock(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return (state->pending_debug & ENTRY_PENDING_BLD) == 0 ||
           (state->processor.debugctl_valid & ENTRY_DEBUGCTL_BLD) != 0;
}

/* States in which a single-step trap would have been delivered, were it not held back. */
static bool holds_back_traps(const struct entry_guest_state *state)
{
    return (state->interruptibility & SHADOWS) != 0 || state->activity == ENTRY_HLT;
}

static bool steps(const struct entry_guest_state *state)
{
    return (state->rflags & X86_FLAGS_TF) != 0 && (state->debugctl & ENTRY_DEBUGCTL_BTF) == 0;
}

static bool pending_bs_set(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !holds_back_traps(state) || !steps(state) ||
           (state->pending_debug & ENTRY_PENDING_BS) != 0;
}

static bool pending_bs_clear(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !holds_back_traps(state) || steps(state) ||
           (state->pending_debug & ENTRY_PENDING_BS) == 0;
}

static bool pending_rtm(const struct entry_guest_state *state)
{
    return (state->pending_debug & ENTRY_PENDING_RTM) != 0;
}

static bool rtm_alone(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !pending_rtm(state) || (state->pending_debug & PENDING_NOT_WITH_RTM) == 0;
}

static bool rtm_breakpoint(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !pending_rtm(state) || (state->pending_debug & ENTRY_PENDING_BREAKPOINT) != 0;
}

static bool rtm_supported(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !pending_rtm(state) || state->processor.has_rtm != 0;
}

static bool rtm_mov_ss(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !pending_rtm(state) || !blocks(state, ENTRY_BLOCKING_MOV_SS);
}

/* ---- VMCS link pointer ---- */

static bool linked(const struct entry_guest_state *state)
{
    return state->vmcs_link != ENTRY_NO_VMCS_LINK;
}

static bool link_aligned(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !linked(state) || (state->vmcs_link & VMCS_ALIGNMENT) == 0;
}

static bool link_width(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !linked(state) ||
           (state->vmcs_link & entry_bits_from(state->processor.physical_address_bits)) == 0;
}

static bool link_revision(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    uint32_t difference = state->processor.linked_vmcs_revision ^ state->processor.vmcs_revision;
    return !linked(state) || (difference & VMCS_REVISION) == 0;
}

static bool link_shadow(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    bool is_shadow = (state->processor.linked_vmcs_revision & VMCS_SHADOW) != 0;
    return !linked(state) || is_shadow == entry_secondary(state, VMX_SECONDARY_VMCS_SHADOWING);
}

static bool leaves_smm(const struct entry_guest_state *state)
{
    return state->processor.in_smm != 0 && !entry_control(state, ENTRY_TO_SMM);
}

static bool link_current(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !linked(state) || leaves_smm(state) || state->vmcs_link != state->processor.current_vmcs;
}

static bool link_executive(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return !linked(state) || !leaves_smm(state) || state->vmcs_link != state->executive_vmcs;
}

/* ---- the table ---- */

#define ACTIVITY         ENTRY_FIELD_ACTIVITY
#define INTERRUPTIBILITY ENTRY_FIELD_INTERRUPTIBILITY
#define INTERRUPTION     ENTRY_FIELD_INTERRUPTION
#define PENDING          ENTRY_FIELD_PENDING_DEBUG
#define LINK             ENTRY_FIELD_VMCS_LINK

static const struct entry_rule rules[] = {
    {"activity-known",
     "the activity state is one of 0 (active), 1 (HLT), 2 (shutdown), 3 (wait-for-SIPI)",
     .holds = activity_known, .fields = {ACTIVITY}},
    {"activity-supported", "the processor supports the activity state", .holds = activity_supported,
     .fields = {ACTIVITY, ENTRY_FIELD_ACTIVITY_STATES}},
    {"activity-hlt-dpl", "the activity state is HLT only where SS has DPL 0", .holds = hlt_dpl,
     .fields = {ACTIVITY, ENTRY_OF(ENTRY_FIELD_ACCESS_RIGHTS, X86_SS)}},
    {"activity-shadow", "the activity state is active while STI or MOV SS blocks",
     .holds = activity_shadow, .fields = {ACTIVITY, INTERRUPTIBILITY}},
    {"activity-hlt-injection",
     "into HLT nothing is injected but external interrupts, NMIs, #DB, #MC and a pending MTF exit",
     .holds = injection_hlt, .fields = {ACTIVITY, INTERRUPTION}},
    {"activity-shutdown-injection", "into shutdown nothing is injected but NMIs and #MC",
     .holds = injection_shutdown, .fields = {ACTIVITY, INTERRUPTION}},
    {"activity-sipi-injection", "into wait-for-SIPI nothing is injected", .holds = injection_sipi,
     .fields = {ACTIVITY, INTERRUPTION}},
    {"activity-sipi-smm", "the activity state is not wait-for-SIPI with \"entry to SMM\"",
     .holds = sipi_smm, .fields = {ACTIVITY, ENTRY_FIELD_ENTRY}},
    {"interruptibility-reserved", "interruptibility state bits 31:5 are 0",
     .holds = interruptibility_reserved, .fields = {INTERRUPTIBILITY}},
    {"blocking-one-shadow", "not both STI and MOV SS block", .holds = one_shadow,
     .fields = {INTERRUPTIBILITY}},
    {"blocking-sti-needs-if", "STI blocks only while RFLAGS.IF is 1", .holds = sti_if,
     .fields = {INTERRUPTIBILITY, ENTRY_FIELD_RFLAGS}},
    {"blocking-external-interrupt", "no external interrupt is injected while STI or MOV SS blocks",
     .holds = external_shadow, .fields = {INTERRUPTIBILITY, INTERRUPTION}},
    {"blocking-nmi-mov-ss", "no NMI is injected while MOV SS blocks", .holds = nmi_mov_ss,
     .fields = {INTERRUPTIBILITY, INTERRUPTION}},
    {"blocking-smi-outside-smm", "SMIs are not blocked outside SMM", .holds = smi_outside_smm,
     .fields = {INTERRUPTIBILITY, ENTRY_FIELD_IN_SMM}},
    {"blocking-smi-to-smm", "SMIs are blocked with \"entry to SMM\"", .holds = smi_to_smm,
     .fields = {INTERRUPTIBILITY, ENTRY_FIELD_ENTRY}},
    {"blocking-nmi-sti", "no NMI is injected while STI blocks, on processors that insist on it",
     .holds = nmi_sti, .fields = {INTERRUPTIBILITY, INTERRUPTION, ENTRY_FIELD_NMI_NEEDS_NO_STI}},
    {"blocking-virtual-nmi", "with \"virtual NMIs\" no NMI is injected while NMIs are blocked",
     .holds = nmi_blocked, .fields = {INTERRUPTIBILITY, INTERRUPTION, ENTRY_FIELD_PIN_BASED}},
    {"enclave-mov-ss", "MOV SS does not block after an enclave was interrupted",
     .holds = enclave_mov_ss, .fields = {INTERRUPTIBILITY}},
    {"enclave-needs-sgx", "an enclave was interrupted only where there is SGX",
     .holds = enclave_sgx, .fields = {INTERRUPTIBILITY, ENTRY_FIELD_HAS_SGX}},
    {"pending-reserved", "pending debug exceptions bits 10:4, 13, 15 and 63:17 are 0",
     .holds = pending_reserved, .fields = {PENDING}},
    {"pending-bus-lock",
     "a bus lock (BLD, bit 11) is pending only where the processor detects them: BLD (bit 2) of "
     "IA32_DEBUGCTL is no reserved bit",
     .holds = pending_bus_lock, .fields = {PENDING, ENTRY_FIELD_DEBUGCTL_VALID}},
    {"pending-bs-set",
     "BS (bit 14) is pending where STI, MOV SS or HLT holds back a single step: RFLAGS.TF is 1 and "
     "IA32_DEBUGCTL.BTF 0",
     .holds = pending_bs_set,
     .fields = {PENDING, ENTRY_FIELD_RFLAGS, ENTRY_FIELD_DEBUGCTL, INTERRUPTIBILITY, ACTIVITY}},
    {"pending-bs-clear",
     "BS (bit 14) is not pending where STI or MOV SS blocks or HLT was executed with RFLAGS.TF 0 "
     "or IA32_DEBUGCTL.BTF 1",
     .holds = pending_bs_clear,
     .fields = {PENDING, ENTRY_FIELD_RFLAGS, ENTRY_FIELD_DEBUGCTL, INTERRUPTIBILITY, ACTIVITY}},
    {"pending-rtm-alone",
     "with RTM (bit 16) pending nothing is but \"enabled breakpoint\" (bit 12)", .holds = rtm_alone,
     .fields = {PENDING}},
    {"pending-rtm-breakpoint", "with RTM (bit 16) \"enabled breakpoint\" (bit 12) is pending",
     .holds = rtm_breakpoint, .fields = {PENDING}},
    {"pending-rtm-supported", "RTM (bit 16) is pending only where there is RTM",
     .holds = rtm_supported, .fields = {PENDING, ENTRY_FIELD_HAS_RTM}},
    {"pending-rtm-mov-ss", "RTM (bit 16) is not pending while MOV SS blocks", .holds = rtm_mov_ss,
     .fields = {PENDING, INTERRUPTIBILITY}},
    {"link-aligned", "the VMCS link pointer, unless it is all ones, has bits 11:0 clear",
     .holds = link_aligned, .fields = {LINK}},
    {"link-width",
     "the VMCS link pointer, unless it is all ones, has no bit beyond the physical-address width",
     .holds = link_width, .fields = {LINK, ENTRY_FIELD_PHYSICAL_ADDRESS_BITS}},
    {"link-revision", "the linked VMCS begins with the processor's VMCS revision identifier",
     .holds = link_revision,
     .fields = {LINK, ENTRY_FIELD_LINKED_VMCS_REVISION, ENTRY_FIELD_VMCS_REVISION}},
    {"link-shadow",
     "the linked VMCS is a shadow VMCS (bit 31 of its first four bytes) just if \"VMCS shadowing\" "
     "is 1",
     .holds = link_shadow,
     .fields = {LINK, ENTRY_FIELD_LINKED_VMCS_REVISION, ENTRY_FIELD_PRIMARY,
                ENTRY_FIELD_SECONDARY}},
    {"link-is-not-current",
     "the VMCS link pointer is not the current VMCS, but on VM entries that leave SMM",
     .holds = link_current,
     .fields = {LINK, ENTRY_FIELD_CURRENT_VMCS, ENTRY_FIELD_IN_SMM, ENTRY_FIELD_ENTRY}},
    {"link-is-not-executive",
     "the VMCS link pointer is not the executive-VMCS pointer on VM entries that leave SMM",
     .holds = link_executive,
     .fields = {LINK, ENTRY_FIELD_EXECUTIVE_VMCS, ENTRY_FIELD_IN_SMM, ENTRY_FIELD_ENTRY}},
};

const struct entry_section entry_event_section = {
    .title = "Checks on Guest Non-Register State",
    .rules = rules,
    .rule_count = sizeof(rules) / sizeof(rules[0]),
};
