/*
 * The guest's state: between the VMCS and the neutral struct x86_state, and the two control
 * registers of which the guest sees a shadow.
 */
#include <string.h>

#include "vtx/core/injection.h"
#include "vtx/core/internal.h"
#include "x86/control_rules.h"

/* ---- control registers ---- */

/* "Guest/Host Masks and Read Shadows for CR0 and CR4": bits that no guest may have for itself. */
static uint64_t cr0_owned_always(const struct vtx_vcpu *vcpu)
{
    const struct vtx_capabilities *capabilities = vcpu->vm->capabilities;
    uint64_t fixed = capabilities->cr0_fixed0 & ~(X86_CR0_PE | X86_CR0_PG);
    return X86_CR0_NE | X86_CR0_NW | X86_CR0_CD | fixed | ~capabilities->cr0_fixed1;
}

static uint64_t cr4_owned_always(const struct vtx_vcpu *vcpu)
{
    return X86_CR4_VMXE | X86_CR4_MCE | vcpu->vm->capabilities->cr4_fixed0 | ~vcpu->cr4_allowed;
}

void vtx_vcpu_set_views(struct vtx_vcpu *vcpu, const struct vtx_register_view *cr0,
                        const struct vtx_register_view *cr4)
{
    uint64_t cr0_now = vtx_guest_cr0(vcpu), cr4_now = vtx_guest_cr4(vcpu);
    uint64_t all = vcpu->vm->policy == VTX_TRAP_ALL ? UINT64_MAX : 0;
    vcpu->cr0_view = *cr0;
    vcpu->cr4_view = *cr4;
    vcpu->cr0_view.owned |= cr0_owned_always(vcpu) | cr0->faked | all;
    vcpu->cr4_view.owned |= cr4_owned_always(vcpu) | cr4->faked | all;
    vtx_set(vcpu, VMCS_CR0_GUEST_HOST_MASK, vcpu->cr0_view.owned);
    vtx_set(vcpu, VMCS_CR4_GUEST_HOST_MASK, vcpu->cr4_view.owned);
    vtx_put_cr0(vcpu, cr0_now);
    vtx_put_cr4(vcpu, cr4_now);
}

/* An owned bit is as its shadow has it; of a faked one the guest's own is in the register. */
static uint64_t seen(const struct vtx_register_view *view, uint64_t real, uint64_t shadow)
{
    uint64_t shadowed = view->owned & ~view->faked;
    return (shadow & shadowed) | (real & ~shadowed);
}

static uint64_t shadow_for(const struct vtx_register_view *view, uint64_t value)
{
    return (value & ~view->faked) | (view->fake_value & view->faked);
}

uint64_t vtx_guest_cr0(struct vtx_vcpu *vcpu)
{
    return seen(&vcpu->cr0_view, vtx_get(vcpu, VMCS_GUEST_CR0),
                vtx_get(vcpu, VMCS_CR0_READ_SHADOW));
}

uint64_t vtx_guest_cr4(struct vtx_vcpu *vcpu)
{
    return seen(&vcpu->cr4_view, vtx_get(vcpu, VMCS_GUEST_CR4),
                vtx_get(vcpu, VMCS_CR4_READ_SHADOW));
}

void vtx_put_cr0(struct vtx_vcpu *vcpu, uint64_t value)
{
    uint64_t cached = value & ~(X86_CR0_NW | X86_CR0_CD);
    vtx_set(vcpu, VMCS_GUEST_CR0, vtx_cr0_adjust(vcpu->vm->capabilities, cached, true));
    vtx_set(vcpu, VMCS_CR0_READ_SHADOW, shadow_for(&vcpu->cr0_view, value));
}

void vtx_put_cr4(struct vtx_vcpu *vcpu, uint64_t value)
{
    vtx_set(vcpu, VMCS_GUEST_CR4, vtx_cr4_adjust(vcpu->vm->capabilities, value | X86_CR4_MCE));
    vtx_set(vcpu, VMCS_CR4_READ_SHADOW, shadow_for(&vcpu->cr4_view, value));
}

void vtx_put_efer(struct vtx_vcpu *vcpu, uint64_t value)
{
    uint32_t controls = vcpu->controls[VTX_CONTROLS_ENTRY];
    vtx_set(vcpu, VMCS_GUEST_IA32_EFER, value);
    vtx_set(vcpu, VMCS_VM_ENTRY_CONTROLS,
            (value & X86_EFER_LMA) != 0 ? controls | ENTRY_IA32E_MODE_GUEST : controls);
}

/* ---- other questions ---- */

unsigned int vtx_guest_cpl(struct vtx_vcpu *vcpu)
{
    return (unsigned int)(vtx_get(vcpu, VMCS_GUEST_SS_ACCESS_RIGHTS) & X86_SEGMENT_DPL) >>
           X86_SEGMENT_DPL_SHIFT;
}

bool vtx_guest_is_64bit(struct vtx_vcpu *vcpu)
{
    return (vtx_get(vcpu, VMCS_GUEST_IA32_EFER) & X86_EFER_LMA) != 0 &&
           (vtx_get(vcpu, VMCS_GUEST_CS_ACCESS_RIGHTS) & X86_SEGMENT_L) != 0;
}

uint64_t vtx_read_gpr(struct vtx_vcpu *vcpu, unsigned int number)
{
    number %= X86_GPR_COUNT;
    return number == X86_RSP ? vtx_get(vcpu, VMCS_GUEST_RSP) : vcpu->registers.gpr[number];
}

void vtx_write_gpr(struct vtx_vcpu *vcpu, unsigned int number, uint64_t value)
{
    number %= X86_GPR_COUNT;
    if (number == X86_RSP) {
        vtx_set(vcpu, VMCS_GUEST_RSP, value);
    } else {
        vcpu->registers.gpr[number] = value;
    }
}

/* Without a VPID every entry flushes. */
void vtx_flush_linear(struct vtx_vcpu *vcpu)
{
    if (vcpu->vpid != 0) {
        vtx_invvpid(VMX_INVVPID_SINGLE, vcpu->vpid, 0);
    }
}

/* ---- between VMCS and neutral state ---- */

/* The fields that the processor is sure to have, and the group that each is in. */
static const struct {
    uint8_t field; /* enum entry_field_id */
    uint8_t group; /* enum x86_state_group */
} kept_fields[] = {
    {ENTRY_FIELD_RSP, X86_STATE_GENERAL},
    {ENTRY_FIELD_RIP, X86_STATE_GENERAL},
    {ENTRY_FIELD_RFLAGS, X86_STATE_GENERAL},
    {ENTRY_FIELD_SELECTOR, X86_STATE_SYSTEM},
    {ENTRY_FIELD_BASE, X86_STATE_SYSTEM},
    {ENTRY_FIELD_LIMIT, X86_STATE_SYSTEM},
    {ENTRY_FIELD_ACCESS_RIGHTS, X86_STATE_SYSTEM},
    {ENTRY_FIELD_TABLE_BASE, X86_STATE_SYSTEM},
    {ENTRY_FIELD_TABLE_LIMIT, X86_STATE_SYSTEM},
    {ENTRY_FIELD_CR3, X86_STATE_SYSTEM},
    {ENTRY_FIELD_PDPTE, X86_STATE_SYSTEM},
    {ENTRY_FIELD_EFER, X86_STATE_SYSTEM},
    {ENTRY_FIELD_DR7, X86_STATE_DEBUG},
    {ENTRY_FIELD_DEBUGCTL, X86_STATE_DEBUG},
    {ENTRY_FIELD_SYSENTER_CS, X86_STATE_MSRS},
    {ENTRY_FIELD_SYSENTER_ESP, X86_STATE_MSRS},
    {ENTRY_FIELD_SYSENTER_EIP, X86_STATE_MSRS},
    {ENTRY_FIELD_PAT, X86_STATE_MSRS},
    {ENTRY_FIELD_INTERRUPTIBILITY, X86_STATE_EVENTS},
    {ENTRY_FIELD_PENDING_DEBUG, X86_STATE_EVENTS},
    {ENTRY_FIELD_ACTIVITY, X86_STATE_EVENTS},
};

static void move_fields(struct vtx_vcpu *vcpu, unsigned int groups, bool write)
{
    for (size_t i = 0; i < sizeof(kept_fields) / sizeof(kept_fields[0]); i++) {
        enum entry_field_id id = (enum entry_field_id)kept_fields[i].field;
        if ((kept_fields[i].group & groups) == 0) {
            continue;
        }
        const struct entry_field *field = &entry_fields[id];
        for (unsigned int k = 0; k < entry_instance_count(field->instances); k++) {
            uint32_t encoding = field->encoding + k * ENTRY_ENCODING_STRIDE;
            if (write) {
                vtx_set(vcpu, encoding, entry_field_get(&vcpu->entry_state, id, k));
            } else {
                entry_field_set(&vcpu->entry_state, id, k, vtx_get(vcpu, encoding));
            }
        }
    }
}

/* They go into the host's processor, which does not forgive: each is made one that it takes. */
static void set_msrs(struct vtx_vcpu *vcpu, const struct x86_msrs *from)
{
    vcpu->msr = *from;
    vcpu->msr.lstar = x86_make_canonical(from->lstar);
    vcpu->msr.cstar = x86_make_canonical(from->cstar);
    vcpu->msr.kernel_gs_base = x86_make_canonical(from->kernel_gs_base);
    vcpu->msr.fmask = (uint32_t)from->fmask;
    vcpu->msr.tsc_aux = (uint32_t)from->tsc_aux;
}

static void set_extended_state(struct vtx_vcpu *vcpu, const struct x86_state *from)
{
    uint64_t may = vcpu->vm->capabilities->xcr0_host;
    memcpy(vcpu->xsave, from->xsave, sizeof(vcpu->xsave));
    x86_xsave_clean(vcpu->xsave, may);
    vcpu->xcr0 = x86_is_xcr0(may, from->xcr0) ? from->xcr0 : X86_XCR0_X87;
}

/*
 * An interrupt that the guest has yet to get is not in the neutral state, but the embedder's local
 * APIC counts on its delivery: it stays where the new state takes it. After a reset, it does not.
 */
static bool keeps_interrupt(const struct vtx_vcpu *vcpu, const struct x86_state *from)
{
    return vtx_event_is(vcpu, ENTRY_EXTERNAL_INTERRUPT) && !from->exception_pending &&
           (from->rflags & X86_FLAGS_IF) != 0 && !from->sti_shadow && !from->mov_ss_shadow &&
           from->activity <= X86_HALTED;
}

static void set_events(struct vtx_vcpu *vcpu, const struct x86_state *from)
{
    if (!keeps_interrupt(vcpu, from)) {
        vcpu->event = vcpu->entry_state.interruption;
    }
    vcpu->event_error = from->exception_error;
    vcpu->event_length = 1; /* of INT3 and INTO, should it be one of these */
    vcpu->nmi_pending = from->nmi_pending;
    vcpu->activity = from->activity;
    vcpu->entry_state.activity = ENTRY_ACTIVE;
}

static void set_control_registers(struct vtx_vcpu *vcpu, const struct x86_state *from)
{
    vtx_put_efer(vcpu, from->efer);
    vtx_put_cr0(vcpu, from->cr0);
    vtx_put_cr4(vcpu, from->cr4 & VMX_CR4_SUPPORTED);
    vcpu->cr2 = from->cr2;
    vcpu->cr8 = from->cr8 & 15;
    vcpu->pdptes_due = !from->pdptrs_known;
    vtx_flush_linear(vcpu);
}

void vtx_vcpu_set_state(struct vtx_vcpu *vcpu, unsigned int groups, const struct x86_state *state)
{
    entry_state_from_x86(state, &vcpu->entry_state);
    if ((groups & X86_STATE_EVENTS) != 0) {
        set_events(vcpu, state);
    }
    vcpu->entry_state.dr7 = (uint32_t)state->dr[7];
    move_fields(vcpu, groups, true);
    if ((groups & X86_STATE_GENERAL) != 0) {
        memcpy(vcpu->registers.gpr, state->gpr, sizeof(state->gpr));
    }
    if ((groups & X86_STATE_SYSTEM) != 0) {
        set_control_registers(vcpu, state);
    }
    if ((groups & X86_STATE_DEBUG) != 0) {
        memcpy(vcpu->dr, state->dr, sizeof(vcpu->dr));
        vcpu->dr6 = (uint32_t)state->dr[6];
    }
    if ((groups & X86_STATE_MSRS) != 0) {
        set_msrs(vcpu, &state->msr);
    }
    if ((groups & X86_STATE_FPU) != 0) {
        set_extended_state(vcpu, state);
    }
}

static void get_events(struct vtx_vcpu *vcpu, struct x86_state *to)
{
    to->activity = vcpu->activity;
    to->nmi_pending = vcpu->nmi_pending || vtx_event_is(vcpu, ENTRY_NMI);
    to->exception_pending = vtx_exception_pending(vcpu);
    to->exception_vector = to->exception_pending ? (uint8_t)vcpu->event : 0;
    to->exception_has_error =
        to->exception_pending && (vcpu->event & ENTRY_INTERRUPTION_ERROR) != 0;
    to->exception_error = to->exception_has_error ? vcpu->event_error : 0;
}

void vtx_vcpu_get_state(struct vtx_vcpu *vcpu, unsigned int groups, struct x86_state *state)
{
    if ((groups & X86_STATE_GENERAL) != 0) {
        memcpy(state->gpr, vcpu->registers.gpr, sizeof(state->gpr));
    }
    if ((groups & X86_STATE_SYSTEM) != 0) {
        state->cr2 = vcpu->cr2;
        state->cr8 = vcpu->cr8;
    }
    if ((groups & X86_STATE_DEBUG) != 0) {
        memcpy(state->dr, vcpu->dr, sizeof(vcpu->dr));
        state->dr[6] = vcpu->dr6;
    }
    if ((groups & X86_STATE_MSRS) != 0) {
        state->msr = vcpu->msr;
        state->msr.tsc = vtx_rdtsc() + vcpu->tsc_offset;
    }
    if ((groups & X86_STATE_FPU) != 0) {
        memcpy(state->xsave, vcpu->xsave, sizeof(state->xsave));
        state->xcr0 = vcpu->xcr0;
        state->pkru = 0;
    }
    if ((groups & X86_STATE_EVENTS) != 0) {
        get_events(vcpu, state);
    }
    move_fields(vcpu, groups, false);
    vcpu->entry_state.cr0 = vtx_guest_cr0(vcpu);
    vcpu->entry_state.cr4 = vtx_guest_cr4(vcpu);
    entry_state_to_x86(&vcpu->entry_state, groups, state);
    if ((groups & X86_STATE_SYSTEM) != 0) {
        state->pdptrs_known = !vcpu->pdptes_due;
    }
}

void vtx_vcpu_set_tsc_offset(struct vtx_vcpu *vcpu, uint64_t offset)
{
    vcpu->tsc_offset = offset;
    vtx_set(vcpu, VMCS_TSC_OFFSET, offset);
}
