/* VT-x: events into the guest, their windows, what was interrupted in its delivery, the timer. */
#include <string.h>

#include "check.h"
#include "vtx/core/injection.h"
#include "vtx_fake.h"

static struct fake_machine machine;

#define EVENT(type, vector) (0x80000000u | (uint32_t)(type) << 8 | (vector))
#define WITH_ERROR          0x800u

static void set_flags(uint64_t flags)
{
    fake_set_field(VMCS_GUEST_RFLAGS, X86_FLAGS_ONE | flags);
}

static void set_blocking(uint64_t blocking)
{
    fake_set_field(VMCS_GUEST_INTERRUPTIBILITY_STATE, blocking);
}

static bool has(uint32_t encoding, uint32_t control)
{
    return (fake_field(encoding) & control) != 0;
}

static void test_interrupts(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    struct vtx_vcpu *vcpu = machine.vcpu;
    CHECK(!vtx_can_interrupt(vcpu));
    set_flags(X86_FLAGS_IF);
    CHECK(vtx_can_interrupt(vcpu));
    set_blocking(ENTRY_BLOCKING_STI);
    CHECK(!vtx_can_interrupt(vcpu));
    set_blocking(ENTRY_BLOCKING_MOV_SS);
    CHECK(!vtx_can_interrupt(vcpu));
    set_blocking(0);
    vtx_inject_interrupt(vcpu, 0x41);
    CHECK(vtx_event_pending(vcpu) && !vtx_can_interrupt(vcpu));
    CHECK_EQUAL(vtx_vcpu_run(vcpu), VTX_INTERRUPT);
    CHECK_EQUAL(fake.injected, EVENT(ENTRY_EXTERNAL_INTERRUPT, 0x41));
    CHECK(!vtx_event_pending(vcpu));
    CHECK_EQUAL(vtx_vcpu_run(vcpu), VTX_INTERRUPT);
    CHECK_EQUAL(fake.injected, 0); /* once */
    CHECK(fake_machine_stop(&machine));
}

static void test_interrupt_window(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    struct vtx_vcpu *vcpu = machine.vcpu;
    vtx_want_interrupt_window(vcpu, true);
    CHECK(has(VMCS_PRIMARY_CONTROLS, VMX_PRIMARY_INTERRUPT_WINDOW));
    CHECK_EQUAL(fake_run(&machine, (struct fake_exit){.reason = VMX_REASON_INTERRUPT_WINDOW}),
                VTX_EXIT);
    CHECK_EQUAL(vcpu->exit.reason, EXIT_INTERRUPT_WINDOW);
    CHECK(!has(VMCS_PRIMARY_CONTROLS, VMX_PRIMARY_INTERRUPT_WINDOW));
    vtx_want_interrupt_window(vcpu, true);
    vtx_want_interrupt_window(vcpu, false);
    CHECK(!has(VMCS_PRIMARY_CONTROLS, VMX_PRIMARY_INTERRUPT_WINDOW));
    CHECK(fake_machine_stop(&machine));
}

static void test_nmi(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    struct vtx_vcpu *vcpu = machine.vcpu;
    vtx_inject_nmi(vcpu);
    CHECK_EQUAL(vtx_vcpu_run(vcpu), VTX_INTERRUPT);
    CHECK_EQUAL(fake.injected, EVENT(ENTRY_NMI, 2));
    /* Blocked: the window, in which it comes. */
    set_blocking(ENTRY_BLOCKING_NMI);
    set_flags(X86_FLAGS_IF);
    vtx_inject_nmi(vcpu);
    CHECK(vtx_can_interrupt(vcpu)); /* interrupts do not wait for the other handler's end */
    CHECK_EQUAL(vtx_vcpu_run(vcpu), VTX_INTERRUPT);
    CHECK_EQUAL(fake.injected, 0);
    set_blocking(0);
    CHECK(!vtx_can_interrupt(vcpu)); /* the NMI goes first */
    CHECK(has(VMCS_PRIMARY_CONTROLS, VMX_PRIMARY_NMI_WINDOW));
    set_blocking(ENTRY_BLOCKING_MOV_SS);
    CHECK_EQUAL(vtx_vcpu_run(vcpu), VTX_INTERRUPT);
    set_blocking(ENTRY_BLOCKING_STI); /* ends with the NMI */
    CHECK_EQUAL(vtx_vcpu_run(vcpu), VTX_INTERRUPT);
    CHECK_EQUAL(fake.injected, EVENT(ENTRY_NMI, 2));
    CHECK_EQUAL(fake_field(VMCS_GUEST_INTERRUPTIBILITY_STATE), 0);
    CHECK(!vcpu->nmi_pending);
    /* Another event goes first. */
    set_flags(X86_FLAGS_IF);
    vtx_inject_exception(vcpu, X86_VECTOR_UD, 0);
    vtx_inject_nmi(vcpu);
    CHECK_EQUAL(vtx_vcpu_run(vcpu), VTX_INTERRUPT);
    CHECK_EQUAL(fake.injected, EVENT(ENTRY_HARDWARE_EXCEPTION, X86_VECTOR_UD));
    CHECK_EQUAL(vtx_vcpu_run(vcpu), VTX_INTERRUPT);
    CHECK_EQUAL(fake.injected, EVENT(ENTRY_NMI, 2));
    CHECK(fake_machine_stop(&machine));
}

static void unblock(void)
{
    set_blocking(0);
}

/* The window's exit closes it, and the same run injects. */
static void test_nmi_window(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    set_blocking(ENTRY_BLOCKING_NMI);
    vtx_inject_nmi(machine.vcpu);
    fake.guest = unblock;
    CHECK_EQUAL(fake_run(&machine, (struct fake_exit){.reason = VMX_REASON_NMI_WINDOW}),
                VTX_INTERRUPT);
    CHECK_EQUAL(fake.entries, 2);
    CHECK_EQUAL(fake.injected, EVENT(ENTRY_NMI, 2));
    CHECK(!has(VMCS_PRIMARY_CONTROLS, VMX_PRIMARY_NMI_WINDOW));
    CHECK(fake_machine_stop(&machine));
}

static void test_exceptions(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    for (uint8_t vector = 0; vector < 32; vector++) {
        if (vector == X86_VECTOR_NMI || vector == 9 || vector > X86_VECTOR_XM || vector == 15) {
            continue;
        }
        vtx_inject_exception(machine.vcpu, vector, 0x10);
        CHECK_EQUAL(vtx_vcpu_run(machine.vcpu), VTX_INTERRUPT);
        bool error = vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
        CHECK_EQUAL(fake.injected,
                    EVENT(ENTRY_HARDWARE_EXCEPTION, vector) | (error ? WITH_ERROR : 0));
        CHECK(!error || fake.injected_error == 0x10);
    }
    CHECK(fake_machine_stop(&machine));
}

/* Exceptions have no error codes in real mode, and VM entry refuses them there. */
static void test_exception_in_real_mode(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    fake.vmcs[VMCS_GUEST_CR0] &= ~X86_CR0_PE;
    vtx_inject_exception(machine.vcpu, X86_VECTOR_GP, 0x10);
    CHECK_EQUAL(machine.vcpu->event, EVENT(ENTRY_HARDWARE_EXCEPTION, X86_VECTOR_GP));
    CHECK(fake_machine_stop(&machine));
}

/* What was being delivered when the exit came is delivered again, whatever it was. */
static void test_delivered_again(void)
{
    static const struct {
        uint32_t event, error, length;
    } rows[] = {
        {EVENT(ENTRY_EXTERNAL_INTERRUPT, 0x33), 0, 0},
        {EVENT(ENTRY_NMI, 2), 0, 0},
        {EVENT(ENTRY_HARDWARE_EXCEPTION, X86_VECTOR_PF) | WITH_ERROR, 6, 0},
        {EVENT(ENTRY_SOFTWARE_INTERRUPT, 0x80), 0, 2},
        {EVENT(ENTRY_SOFTWARE_EXCEPTION, X86_VECTOR_BP), 0, 1},
        {EVENT(ENTRY_PRIVILEGED_SOFTWARE_EXCEPTION, X86_VECTOR_DB), 0, 1},
    };
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    set_flags(X86_FLAGS_IF);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool is_nmi = (rows[i].event >> 8 & 7) == ENTRY_NMI;
        set_blocking(is_nmi ? ENTRY_BLOCKING_NMI : 0); /* as the processor leaves it */
        struct fake_exit exit = {.reason = VMX_REASON_EPT_VIOLATION,
                                 .physical = 0x3000,
                                 .qualification = VMX_EPT_VIOLATION_READ,
                                 .length = rows[i].length,
                                 .vectoring = rows[i].event | 0x1000, /* bit 12 is undefined */
                                 .vectoring_error = rows[i].error};
        CHECK_EQUAL(fake_run(&machine, exit), VTX_MEMORY);
        CHECK(vtx_event_pending(machine.vcpu));
        CHECK_EQUAL(vtx_vcpu_run(machine.vcpu), VTX_INTERRUPT);
        CHECK_EQUAL(fake.injected, rows[i].event);
        CHECK_EQUAL(fake_field(VMCS_GUEST_INTERRUPTIBILITY_STATE), 0);
        if ((rows[i].event & WITH_ERROR) != 0) {
            CHECK_EQUAL(fake.injected_error, rows[i].error);
        }
        if (rows[i].length != 0) {
            CHECK_EQUAL(fake.injected_length, rows[i].length);
        }
    }
    CHECK(fake_machine_stop(&machine));
}

/* An interrupt or NMI on its way is not lost when an embedder looks at the guest and writes back.
 */
static void test_state_while_delivered(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    struct vtx_vcpu *vcpu = machine.vcpu;
    static struct x86_state state;
    struct fake_exit exit = {.reason = VMX_REASON_EPT_VIOLATION,
                             .physical = 0x3000,
                             .qualification = VMX_EPT_VIOLATION_READ,
                             .vectoring = EVENT(ENTRY_EXTERNAL_INTERRUPT, 0x33)};
    set_flags(X86_FLAGS_IF);
    CHECK_EQUAL(fake_run(&machine, exit), VTX_MEMORY);
    vtx_vcpu_leave_context(vcpu);
    vtx_vcpu_get_state(vcpu, X86_STATE_ALL, &state);
    vtx_vcpu_set_state(vcpu, X86_STATE_ALL, &state);
    CHECK_EQUAL(vcpu->event, EVENT(ENTRY_EXTERNAL_INTERRUPT, 0x33));
    fake_state(FAKE_REAL, &state); /* a reset */
    vtx_vcpu_set_state(vcpu, X86_STATE_ALL, &state);
    CHECK(!vtx_event_pending(vcpu));
    fake_machine_set_mode(&machine, FAKE_LONG);
    exit.vectoring = EVENT(ENTRY_NMI, 2);
    set_blocking(ENTRY_BLOCKING_NMI);
    CHECK_EQUAL(fake_run(&machine, exit), VTX_MEMORY);
    vtx_vcpu_leave_context(vcpu);
    vtx_vcpu_get_state(vcpu, X86_STATE_ALL, &state);
    CHECK(state.nmi_pending);
    vtx_vcpu_set_state(vcpu, X86_STATE_ALL, &state);
    vtx_vcpu_enter_context(vcpu);
    CHECK_EQUAL(vtx_vcpu_run(vcpu), VTX_INTERRUPT);
    CHECK_EQUAL(fake.injected, EVENT(ENTRY_NMI, 2));
    CHECK(fake_machine_stop(&machine));
}

static enum vtx_outcome exception(uint32_t event, uint32_t error, uint64_t qualification,
                                  uint32_t vectoring)
{
    return fake_run(&machine, (struct fake_exit){.reason = VMX_REASON_EXCEPTION_OR_NMI,
                                                 .interruption = event,
                                                 .interruption_error = error,
                                                 .qualification = qualification,
                                                 .length = 1,
                                                 .vectoring = vectoring});
}

/* Exceptions that exit under VTX_TRAP_ALL reach the guest as if they had not. */
static void test_passed_on(void)
{
    fake_machine_begin(&machine, VTX_TRAP_ALL, FAKE_LONG);
    CHECK_EQUAL(fake_field(VMCS_EXCEPTION_BITMAP), UINT32_MAX);
    uint32_t fault = EVENT(ENTRY_HARDWARE_EXCEPTION, X86_VECTOR_PF) | WITH_ERROR;
    CHECK_EQUAL(exception(fault, 7, 0x1234567, 0), VTX_INTERRUPT);
    CHECK_EQUAL(fake.injected, fault);
    CHECK_EQUAL(fake.injected_error, 7);
    CHECK_EQUAL(fake.cr2, 0x1234567);
    uint32_t debug = EVENT(ENTRY_HARDWARE_EXCEPTION, X86_VECTOR_DB);
    fake_set_field(VMCS_GUEST_DR7, 0x2400);
    CHECK_EQUAL(exception(debug, 0, 0x4001, 0), VTX_INTERRUPT);
    CHECK_EQUAL(fake.injected, debug);
    CHECK_EQUAL(fake.dr[6], X86_DR6_ONES | 0x4001);
    CHECK_EQUAL(fake_field(VMCS_GUEST_DR7), 0x400);
    uint32_t breakpoint = EVENT(ENTRY_SOFTWARE_EXCEPTION, X86_VECTOR_BP);
    CHECK_EQUAL(exception(breakpoint, 0, 0, 0), VTX_INTERRUPT);
    CHECK_EQUAL(fake.injected, breakpoint);
    CHECK_EQUAL(fake.injected_length, 1);
    /* An IRET that unblocked NMIs and faulted runs again: they stay blocked. */
    CHECK_EQUAL(exception(fault | VMX_INTERRUPTION_NMI_UNBLOCKED, 2, 0x5000, 0), VTX_INTERRUPT);
    CHECK_EQUAL(fake.injected, fault);
    CHECK_EQUAL(fake_field(VMCS_GUEST_INTERRUPTIBILITY_STATE), ENTRY_BLOCKING_NMI);
    set_blocking(0);
    /* The host's own NMI is the host's; a machine check is told. */
    CHECK_EQUAL(exception(EVENT(ENTRY_NMI, 2), 0, 0, 0), VTX_INTERRUPT);
    CHECK_EQUAL(fake.nmi_count, 1);
    CHECK_EQUAL(fake.injected, 0);
    CHECK_EQUAL(exception(EVENT(ENTRY_HARDWARE_EXCEPTION, X86_VECTOR_MC), 0, 0, 0), VTX_EXIT);
    CHECK_EQUAL(machine.vcpu->exit.reason, EXIT_INTERNAL);
    CHECK(strstr(machine.vcpu->exit.internal.text, "machine check") != NULL);
    CHECK_EQUAL(fake.machine_check_count, 1); /* and the host's handler has run */
    const uint32_t failed = VMX_REASON_ENTRY_MACHINE_CHECK | VMX_REASON_ENTRY_FAILED;
    CHECK_EQUAL(fake_run(&machine, (struct fake_exit){.reason = failed}), VTX_EXIT);
    CHECK_EQUAL(machine.vcpu->exit.reason, EXIT_ENTRY_FAILED);
    CHECK_EQUAL(fake.machine_check_count, 2);
    CHECK(fake_machine_stop(&machine));
}

/* Without these a guest could keep the processor to itself for ever. */
static void test_endless_exceptions(void)
{
    const uint32_t step = EVENT(ENTRY_HARDWARE_EXCEPTION, X86_VECTOR_DB);
    const uint32_t alignment = EVENT(ENTRY_HARDWARE_EXCEPTION, X86_VECTOR_AC) | WITH_ERROR;
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    CHECK_EQUAL(fake_field(VMCS_EXCEPTION_BITMAP),
                1u << X86_VECTOR_MC | 1u << X86_VECTOR_DB | 1u << X86_VECTOR_AC);
    CHECK_EQUAL(exception(alignment, 0, 0, 0), VTX_INTERRUPT);
    CHECK_EQUAL(fake.injected, alignment);
    CHECK_EQUAL(exception(step, 0, X86_DR6_BS, 0), VTX_INTERRUPT);
    CHECK_EQUAL(fake.injected, step);
    CHECK_EQUAL(fake.dr[6], X86_DR6_ONES | X86_DR6_BS);
    CHECK_EQUAL(exception(step, 0, 2, 0), VTX_INTERRUPT);
    CHECK_EQUAL(fake.dr[6], X86_DR6_ONES | X86_DR6_BS | 2); /* BS is for software to clear */
    /* The step after an STI: the shadow is still there, and so is the step. */
    fake_set_field(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, ENTRY_PENDING_BS);
    set_flags(X86_FLAGS_IF | X86_FLAGS_TF);
    set_blocking(ENTRY_BLOCKING_STI);
    CHECK_EQUAL(exception(step, 0, X86_DR6_BS, 0), VTX_INTERRUPT);
    CHECK_EQUAL(fake.injected, step);
    CHECK_EQUAL(fake.entries, 8);
    CHECK(fake_machine_stop(&machine));
}

/* Real mode has no error codes, whatever the exit says. */
static void test_real_mode(void)
{
    const uint32_t fault = EVENT(ENTRY_HARDWARE_EXCEPTION, X86_VECTOR_GP);
    fake_machine_begin(&machine, VTX_TRAP_ALL, FAKE_REAL);
    CHECK_EQUAL(exception(fault | WITH_ERROR, 0x18, 0, 0), VTX_INTERRUPT);
    CHECK_EQUAL(fake.injected, fault);
    struct fake_exit exit = {.reason = VMX_REASON_EPT_VIOLATION,
                             .physical = 0x3000,
                             .qualification = VMX_EPT_VIOLATION_READ,
                             .vectoring = fault | WITH_ERROR};
    CHECK_EQUAL(fake_run(&machine, exit), VTX_MEMORY);
    CHECK_EQUAL(vtx_vcpu_run(machine.vcpu), VTX_INTERRUPT);
    CHECK_EQUAL(fake.injected, fault);
    CHECK(fake_machine_stop(&machine));
}

/* An exception in the delivery of another: "Conditions for Generating a Double Fault". */
static void test_double_faults(void)
{
    const uint32_t hardware = EVENT(ENTRY_HARDWARE_EXCEPTION, 0);
    static const struct {
        uint8_t first, second;
        bool makes_double;
    } rows[] = {
        {X86_VECTOR_GP, X86_VECTOR_NP, true},  {X86_VECTOR_PF, X86_VECTOR_PF, true},
        {X86_VECTOR_PF, X86_VECTOR_GP, true},  {X86_VECTOR_GP, X86_VECTOR_PF, false},
        {X86_VECTOR_DB, X86_VECTOR_GP, false}, {X86_VECTOR_DE, X86_VECTOR_SS, true},
        {X86_VECTOR_UD, X86_VECTOR_PF, false},
    };
    fake_machine_begin(&machine, VTX_TRAP_ALL, FAKE_LONG);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint32_t second = hardware | rows[i].second | WITH_ERROR;
        CHECK_EQUAL(exception(second, 0, 0, hardware | rows[i].first), VTX_INTERRUPT);
        CHECK_EQUAL((uint8_t)fake.injected, rows[i].makes_double ? X86_VECTOR_DF : rows[i].second);
    }
    /* An interrupt that could not be delivered is lost behind the exception. */
    CHECK_EQUAL(exception(hardware | X86_VECTOR_NP | WITH_ERROR, 0, 0,
                          EVENT(ENTRY_EXTERNAL_INTERRUPT, 0x30)),
                VTX_INTERRUPT);
    CHECK_EQUAL((uint8_t)fake.injected, X86_VECTOR_NP);
    CHECK_EQUAL(exception(hardware | X86_VECTOR_GP | WITH_ERROR, 0, 0,
                          hardware | X86_VECTOR_DF | WITH_ERROR),
                VTX_EXIT);
    CHECK_EQUAL(machine.vcpu->exit.reason, EXIT_SHUTDOWN);
    CHECK(fake_machine_stop(&machine));
}

/* Not active: no entry, until an event wakes it. */
static void test_halted(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    machine.state.activity = X86_HALTED;
    machine.state.rflags |= X86_FLAGS_IF;
    vtx_vcpu_leave_context(machine.vcpu);
    vtx_vcpu_set_state(machine.vcpu, X86_STATE_EVENTS | X86_STATE_GENERAL, &machine.state);
    vtx_vcpu_enter_context(machine.vcpu);
    CHECK_EQUAL(vtx_vcpu_run(machine.vcpu), VTX_EXIT);
    CHECK_EQUAL(machine.vcpu->exit.reason, EXIT_HLT);
    CHECK_EQUAL(fake.entries, 0);
    CHECK(vtx_can_interrupt(machine.vcpu));
    vtx_inject_interrupt(machine.vcpu, 0x20);
    CHECK_EQUAL(vtx_vcpu_run(machine.vcpu), VTX_INTERRUPT);
    CHECK_EQUAL(fake.entries, 1);
    vtx_vcpu_get_state(machine.vcpu, X86_STATE_EVENTS, &machine.state);
    CHECK_EQUAL(machine.state.activity, X86_ACTIVE);
    CHECK(fake_machine_stop(&machine));
}

static void test_timer(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    CHECK(vtx_set_timer(machine.vcpu, 33)); /* the fake's counts at TSC / 1 */
    CHECK(has(VMCS_PIN_BASED_CONTROLS, VMX_PIN_PREEMPTION_TIMER));
    CHECK(has(VMCS_VM_EXIT_CONTROLS, VMX_EXIT_SAVE_TIMER));
    CHECK_EQUAL(fake_run(&machine, (struct fake_exit){.reason = VMX_REASON_PREEMPTION_TIMER}),
                VTX_EXIT);
    CHECK_EQUAL(machine.vcpu->exit.reason, EXIT_KICKED);
    CHECK_EQUAL(fake_field(VMCS_VMX_PREEMPTION_TIMER_VALUE), 33);
    machine.capabilities.timer_shift = 5;
    vtx_set_timer(machine.vcpu, 33); /* rounded up */
    CHECK_EQUAL(machine.vcpu->timer, 2);
    vtx_set_timer(machine.vcpu, UINT64_MAX);
    CHECK_EQUAL(machine.vcpu->timer, UINT32_MAX);
    CHECK(vtx_set_timer(machine.vcpu, 0));
    CHECK(!has(VMCS_PIN_BASED_CONTROLS, VMX_PIN_PREEMPTION_TIMER));
    CHECK(!has(VMCS_VM_EXIT_CONTROLS, VMX_EXIT_SAVE_TIMER));
    machine.capabilities.has_preemption_timer = false;
    CHECK(!vtx_set_timer(machine.vcpu, 5));
    CHECK(fake_machine_stop(&machine));
}

int main(void)
{
    test_interrupts();
    test_interrupt_window();
    test_nmi();
    test_nmi_window();
    test_exceptions();
    test_exception_in_real_mode();
    test_delivered_again();
    test_state_while_delivered();
    test_passed_on();
    test_endless_exceptions();
    test_real_mode();
    test_double_faults();
    test_halted();
    test_timer();
    return check_summary();
}
