#include "vtx/core/injection.h"

#include "vtx/core/internal.h"
#include "x86/control_rules.h"
#include "x86/msr.h"

#define EVENT(type, vector)                                                                        \
    (ENTRY_INTERRUPTION_VALID | (uint32_t)(type) << ENTRY_INTERRUPTION_TYPE_SHIFT | (vector))
#define EVENT_FORMAT                                                                               \
    (ENTRY_INTERRUPTION_VALID | ENTRY_INTERRUPTION_ERROR | ENTRY_INTERRUPTION_TYPE |               \
     ENTRY_INTERRUPTION_VECTOR)

bool vtx_event_pending(const struct vtx_vcpu *vcpu)
{
    return (vcpu->event & ENTRY_INTERRUPTION_VALID) != 0;
}

bool vtx_event_is(const struct vtx_vcpu *vcpu, enum entry_interruption_type type)
{
    return vtx_event_pending(vcpu) && entry_interruption_type_of(vcpu->event) == type;
}

bool vtx_exception_pending(const struct vtx_vcpu *vcpu)
{
    return vtx_event_is(vcpu, ENTRY_HARDWARE_EXCEPTION) ||
           vtx_event_is(vcpu, ENTRY_SOFTWARE_EXCEPTION);
}

/* ---- interrupts ---- */

/* An NMI goes first; but one that waits for the end of another's handler holds nothing back. */
bool vtx_can_interrupt(struct vtx_vcpu *vcpu)
{
    uint64_t blocking = vtx_get(vcpu, VMCS_GUEST_INTERRUPTIBILITY_STATE);
    bool nmi_comes = vcpu->nmi_pending && (blocking & ENTRY_BLOCKING_NMI) == 0;
    return !vtx_event_pending(vcpu) && !nmi_comes && !vtx_is_shadowed(vcpu) &&
           (vtx_get(vcpu, VMCS_GUEST_RFLAGS) & X86_FLAGS_IF) != 0;
}

void vtx_inject_interrupt(struct vtx_vcpu *vcpu, uint8_t vector)
{
    vcpu->event = EVENT(ENTRY_EXTERNAL_INTERRUPT, vector);
}

void vtx_want_interrupt_window(struct vtx_vcpu *vcpu, bool wanted)
{
    vtx_set_controls(vcpu, VTX_CONTROLS_PRIMARY, VMX_PRIMARY_INTERRUPT_WINDOW, wanted);
}

enum vtx_step vtx_exit_interrupt_window(struct vtx_vcpu *vcpu)
{
    vtx_want_interrupt_window(vcpu, false);
    return vtx_leave(vcpu, EXIT_INTERRUPT_WINDOW);
}

/* ---- NMIs ---- */

void vtx_inject_nmi(struct vtx_vcpu *vcpu)
{
    vcpu->nmi_pending = true;
}

enum vtx_step vtx_exit_nmi_window(struct vtx_vcpu *vcpu)
{
    vtx_set_controls(vcpu, VTX_CONTROLS_PRIMARY, VMX_PRIMARY_NMI_WINDOW, false);
    return VTX_STEP_RESUME; /* the next entry injects it */
}

/*
 * Some processors refuse an NMI into blocking by STI, and open an NMI window in it all the same:
 * the shadow ends, as a processor may end it for an NMI.
 */
static bool take_nmi(struct vtx_vcpu *vcpu)
{
    uint64_t blocking = vtx_get(vcpu, VMCS_GUEST_INTERRUPTIBILITY_STATE);
    if (vtx_event_pending(vcpu) || (blocking & (ENTRY_BLOCKING_NMI | ENTRY_BLOCKING_MOV_SS)) != 0) {
        vtx_set_controls(vcpu, VTX_CONTROLS_PRIMARY, VMX_PRIMARY_NMI_WINDOW, true);
        return false;
    }
    if ((blocking & ENTRY_BLOCKING_STI) != 0) {
        vtx_set(vcpu, VMCS_GUEST_INTERRUPTIBILITY_STATE, blocking & ~ENTRY_BLOCKING_STI);
    }
    return true;
}

/* ---- exceptions ---- */

/*
 * "VM-Entry Controls for Event Injection": real mode has no error codes, and the bit that says
 * there is one must be 0 there.
 */
static bool is_protected(struct vtx_vcpu *vcpu)
{
    return (vtx_get(vcpu, VMCS_GUEST_CR0) & X86_CR0_PE) != 0;
}

void vtx_inject_exception(struct vtx_vcpu *vcpu, uint8_t vector, uint32_t error)
{
    vcpu->event = EVENT(ENTRY_HARDWARE_EXCEPTION, vector);
    vcpu->event_error = 0;
    if (is_protected(vcpu) && x86_has_error_code(vector)) {
        vcpu->event |= ENTRY_INTERRUPTION_ERROR;
        vcpu->event_error = error;
    }
}

/* The processor does not tell which exceptions led there. */
enum vtx_step vtx_shut_down(struct vtx_vcpu *vcpu)
{
    vcpu->event = 0;
    vcpu->activity = X86_SHUTDOWN;
    vcpu->exit.shutdown.exception_count = 0;
    return vtx_leave(vcpu, EXIT_SHUTDOWN);
}

/* An exception while another one was being delivered; see vtx_requeue_event. */
static bool combine(struct vtx_vcpu *vcpu, uint8_t second, enum vtx_step *step)
{
    uint8_t first = (uint8_t)vcpu->event;
    if (!vtx_event_pending(vcpu) ||
        entry_interruption_type_of(vcpu->event) != ENTRY_HARDWARE_EXCEPTION) {
        return false;
    }
    if (first == X86_VECTOR_DF) {
        *step = vtx_shut_down(vcpu);
        return true;
    }
    if (x86_makes_double_fault(first, second)) {
        vtx_inject_exception(vcpu, X86_VECTOR_DF, 0);
        *step = VTX_STEP_RESUME;
        return true;
    }
    return false;
}

enum vtx_step vtx_raise(struct vtx_vcpu *vcpu, uint8_t vector, uint32_t error)
{
    enum vtx_step step;
    if (combine(vcpu, vector, &step)) {
        return step;
    }
    vtx_inject_exception(vcpu, vector, error);
    return VTX_STEP_RESUME;
}

enum vtx_step vtx_raise_page_fault(struct vtx_vcpu *vcpu, uint32_t error, uint64_t address)
{
    vcpu->cr2 = address;
    return vtx_raise(vcpu, X86_VECTOR_PF, error);
}

/* The exit's instruction is an IRET that ended blocking by NMI, and then faulted: it runs again. */
void vtx_restore_nmi_blocking(struct vtx_vcpu *vcpu, bool unblocked)
{
    if (unblocked && !vtx_event_pending(vcpu)) {
        vtx_set(vcpu, VMCS_GUEST_INTERRUPTIBILITY_STATE,
                vtx_get(vcpu, VMCS_GUEST_INTERRUPTIBILITY_STATE) | ENTRY_BLOCKING_NMI);
    }
}

/*
 * "Exit Qualification for Debug Exceptions": DR6 would have got these bits, DR7.GD been cleared.
 * BD and BS stay until software clears them. A single step after STI exits in STI's shadow, which
 * an entry takes only with the step still pending ("Checks on Guest Non-Register State").
 */
static void take_debug_exception(struct vtx_vcpu *vcpu)
{
    const uint64_t valid = X86_DR6_BREAKPOINTS | X86_DR6_BD | X86_DR6_BS;
    uint64_t causes = vtx_get(vcpu, VMCS_EXIT_QUALIFICATION) & valid;
    vtx_write_dr(6, (vtx_read_dr(6) & ~X86_DR6_BREAKPOINTS) | causes);
    vtx_set(vcpu, VMCS_GUEST_DR7, vtx_get(vcpu, VMCS_GUEST_DR7) & ~X86_DR7_GD);
    if (vtx_is_shadowed(vcpu)) {
        vtx_make_step_due(vcpu);
    }
}

/* One that the exception bitmap had asked for: the guest gets it all the same. */
static enum vtx_step pass_on(struct vtx_vcpu *vcpu, uint32_t information)
{
    uint8_t vector = (uint8_t)information;
    enum vtx_step step;
    if (vector == X86_VECTOR_MC) {
        uint64_t status = vtx_rdmsr(X86_MSR_IA32_MCG_STATUS);
        vtx_call_machine_check_handler();
        return vtx_leave_in_words(vcpu, "a machine check while the guest ran; IA32_MCG_STATUS was",
                                  status);
    }
    vtx_restore_nmi_blocking(vcpu, (information & VMX_INTERRUPTION_NMI_UNBLOCKED) != 0);
    if (combine(vcpu, vector, &step)) {
        return step;
    }
    if (vector == X86_VECTOR_PF) {
        vcpu->cr2 = vtx_get(vcpu, VMCS_EXIT_QUALIFICATION);
    } else if (vector == X86_VECTOR_DB) {
        take_debug_exception(vcpu);
    }
    vcpu->event = information & EVENT_FORMAT;
    if (!is_protected(vcpu)) { /* Bochs 2.7 tells an error code there, too */
        vcpu->event &= ~ENTRY_INTERRUPTION_ERROR;
    }
    vcpu->event_error = (uint32_t)vtx_get(vcpu, VMCS_VM_EXIT_INTERRUPTION_ERROR_CODE);
    vcpu->event_length = (uint32_t)vtx_get(vcpu, VMCS_VM_EXIT_INSTRUCTION_LENGTH);
    return VTX_STEP_RESUME;
}

enum vtx_step vtx_exit_exception_or_nmi(struct vtx_vcpu *vcpu)
{
    uint32_t information = (uint32_t)vtx_get(vcpu, VMCS_VM_EXIT_INTERRUPTION_INFORMATION);
    if (entry_interruption_type_of(information) == ENTRY_NMI) {
        vtx_call_nmi_handler();
        return VTX_STEP_RESUME;
    }
    return pass_on(vcpu, information);
}

/* ---- at entry and exit ---- */

static void inject(struct vtx_vcpu *vcpu)
{
    if ((vcpu->event & ENTRY_INTERRUPTION_ERROR) != 0) {
        vtx_set(vcpu, VMCS_VM_ENTRY_EXCEPTION_ERROR_CODE, vcpu->event_error);
    }
    if (entry_interruption_type_of(vcpu->event) >= ENTRY_SOFTWARE_INTERRUPT) {
        vtx_set(vcpu, VMCS_VM_ENTRY_INSTRUCTION_LENGTH, vcpu->event_length);
    }
    vtx_set(vcpu, VMCS_VM_ENTRY_INTERRUPTION_INFORMATION, vcpu->event);
    vcpu->event = 0;
}

void vtx_prepare_events(struct vtx_vcpu *vcpu)
{
    if (vcpu->nmi_pending && take_nmi(vcpu)) {
        vcpu->nmi_pending = false;
        vcpu->event = EVENT(ENTRY_NMI, X86_VECTOR_NMI);
    }
    if (vtx_event_pending(vcpu)) {
        inject(vcpu);
    }
}

/*
 * "Information for VM Exits That Occur During Event Delivery": the exit came in the middle, and the
 * event has yet to happen. An NMI on its way has blocked others already, which its injection does
 * again.
 */
void vtx_requeue_event(struct vtx_vcpu *vcpu)
{
    uint32_t information = (uint32_t)vtx_get(vcpu, VMCS_IDT_VECTORING_INFORMATION);
    if ((information & ENTRY_INTERRUPTION_VALID) == 0) {
        return;
    }
    vcpu->event = information & EVENT_FORMAT;
    if (!is_protected(vcpu)) {
        vcpu->event &= ~ENTRY_INTERRUPTION_ERROR;
    }
    vcpu->event_error = (uint32_t)vtx_get(vcpu, VMCS_IDT_VECTORING_ERROR_CODE);
    vcpu->event_length = (uint32_t)vtx_get(vcpu, VMCS_VM_EXIT_INSTRUCTION_LENGTH);
    if (entry_interruption_type_of(information) == ENTRY_NMI) {
        uint64_t blocking = vtx_get(vcpu, VMCS_GUEST_INTERRUPTIBILITY_STATE);
        vtx_set(vcpu, VMCS_GUEST_INTERRUPTIBILITY_STATE, blocking & ~ENTRY_BLOCKING_NMI);
    }
}

/* ---- the timer ---- */

bool vtx_set_timer(struct vtx_vcpu *vcpu, uint64_t tsc_ticks)
{
    const struct vtx_capabilities *capabilities = vcpu->vm->capabilities;
    if (!capabilities->has_preemption_timer) {
        return false;
    }
    uint64_t ticks = tsc_ticks >> capabilities->timer_shift;
    ticks += tsc_ticks != 0 && (ticks << capabilities->timer_shift) < tsc_ticks;
    vcpu->timer = ticks < UINT32_MAX ? (uint32_t)ticks : UINT32_MAX;
    uint32_t saves = capabilities->allowed[VTX_CONTROLS_EXIT].may & VMX_EXIT_SAVE_TIMER;
    vtx_set_controls(vcpu, VTX_CONTROLS_PIN_BASED, VMX_PIN_PREEMPTION_TIMER, vcpu->timer != 0);
    vtx_set_controls(vcpu, VTX_CONTROLS_EXIT, saves, vcpu->timer != 0);
    return true;
}
