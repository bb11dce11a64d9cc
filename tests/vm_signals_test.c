/* The run loop: INIT, SIPI and NMI from other threads, HLT, and a VM that nothing can wake. */
#include <sched.h>

#include "scripted_engine.h"

/* Waits until the vCPU's thread has taken all its requests. */
static void wait_until_taken(struct vcpu *vcpu)
{
    while (atomic_load(&vcpu->requests) != 0) {
        sched_yield();
    }
}

static void test_sipi_starts_a_processor(void)
{
    struct vm *vm = make_scripted(2);
    start(vm);
    wait_until(&script.runs[0], 1);
    vm_signal_sipi(vm, 1, 0x9a);
    wait_until(&script.runs[1], 1);
    vm_signal_sipi(vm, 1, 0x55); /* the second of the protocol: ignored while it runs */
    wait_until_taken(&vm->vcpus[1]);
    vm_stop(vm, VM_QUIT, 0, NULL);
    vm_wait(vm);
    CHECK_EQUAL(vm->vcpus[1].final.segment[X86_CS].selector, 0x9a00);
    CHECK_EQUAL(vm->vcpus[1].final.segment[X86_CS].base, 0x9a000);
    CHECK_EQUAL(vm->vcpus[1].final.rip, 0);
    CHECK_EQUAL(vm->vcpus[1].final.activity, X86_ACTIVE);
    vm_destroy(vm);
}

static void test_init_and_sipi_restart_a_processor(void)
{
    struct vm *vm = make_scripted(2);
    vm->vcpus[1].initial.activity = X86_ACTIVE;
    start(vm);
    wait_until(&script.runs[1], 1);
    vm_signal_init(vm, 1);
    vm_signal_sipi(vm, 1, 0x12);
    vm_signal_sipi(vm, 1, 0x12);
    wait_until(&script.runs[1], 2);
    wait_until_taken(&vm->vcpus[1]);
    vm_signal_init(vm, 1); /* and now it waits again: no run follows */
    vm_signal_nmi(vm, 1);  /* which a processor that waits for SIPI does not take */
    wait_until_taken(&vm->vcpus[1]);
    vm_stop(vm, VM_QUIT, 0, NULL);
    vm_wait(vm);
    CHECK_EQUAL(atomic_load(&script.nmis[1]), 0);
    CHECK(vm->vcpus[1].waiting_for_sipi);
    vm_destroy(vm);
}

/* INIT on the bootstrap processor starts it over; it does not wait. */
static void test_init_of_bootstrap_processor(void)
{
    struct vm *vm = make_scripted(1);
    start(vm);
    wait_until(&script.runs[0], 1);
    vm_signal_init(vm, 0);
    wait_until(&script.runs[0], 2);
    vm_stop(vm, VM_QUIT, 0, NULL);
    vm_wait(vm);
    CHECK(!vm->vcpus[0].waiting_for_sipi);
    vm_destroy(vm);
}

/*
 * INIT that comes while an exit is being served: the engine completes the old instruction first,
 * and only then the state is read and written.
 */
static void init_io(void *device, struct bus_access *access)
{
    struct vm *vm = device;
    access->value = 0x5a;
    vm_signal_init(vm, access->vcpu);
}

static unsigned int states_at_completion;

static void note_states_io(void *device, struct bus_access *access)
{
    (void)device;
    (void)access;
    states_at_completion = atomic_load(&script.states_set[0]);
}

static struct step in_step(uint16_t port, uint8_t *data)
{
    struct step step = exit_step(EXIT_PIO);
    step.exit.pio.port = port;
    step.exit.pio.size = 1;
    step.exit.pio.count = 1;
    step.exit.pio.data = data;
    return step;
}

static void test_init_after_the_exit_is_complete(void)
{
    struct vm *vm = make_scripted(1);
    uint8_t data[2] = {0};
    bus_map(&vm->ports, 0x10, 1, "init", init_io, vm);
    bus_map(&vm->ports, 0x11, 1, "note", note_states_io, NULL);
    script.steps[0][0] = in_step(0x10, &data[0]);
    script.steps[0][1] = in_step(0x11, &data[1]); /* the string instruction's next part */
    start(vm);
    wait_until(&script.runs[0], 4); /* those, the kick, and one after INIT */
    vm_stop(vm, VM_QUIT, 0, NULL);
    vm_wait(vm);
    CHECK_EQUAL(script.served[0][0].reason, EXIT_PIO);
    CHECK_EQUAL(data[0], 0x5a);
    CHECK_EQUAL(states_at_completion, 1); /* the initial one */
    CHECK_EQUAL(atomic_load(&script.states_set[0]), 2);
    CHECK_EQUAL(vm->vcpus[0].final.segment[X86_CS].base, 0xffff0000);
    vm_destroy(vm);
}

/* The state that is left behind is that after the last exit's instruction. */
static void stop_io(void *device, struct bus_access *access)
{
    (void)access;
    vm_stop(device, VM_DEBUG_EXIT, 0, NULL);
}

static void test_the_last_exit_is_completed(void)
{
    struct vm *vm = make_scripted(1);
    uint8_t data = 0;
    bus_map(&vm->ports, 0x10, 1, "stop", stop_io, vm);
    script.steps[0][0] = in_step(0x10, &data);
    start(vm);
    CHECK_EQUAL(vm_wait(vm), VM_DEBUG_EXIT);
    CHECK_EQUAL(atomic_load(&script.runs[0]), 2);
    CHECK_EQUAL(script.served[0][0].reason, EXIT_PIO);
    vm_destroy(vm);
}

/* Of NMIs that come before the vCPU looks, two count: see "Handling Multiple NMIs". */
static void test_nmis_together(void)
{
    struct vm *vm = make_scripted(1);
    for (unsigned int i = 0; i < 3; i++) {
        vm_signal_nmi(vm, 0);
    }
    start(vm);
    wait_until(&script.runs[0], 1);
    vm_stop(vm, VM_QUIT, 0, NULL);
    vm_wait(vm);
    CHECK_EQUAL(atomic_load(&script.nmis[0]), 2);
    vm_destroy(vm);
}

static void test_nmi_while_running(void)
{
    struct vm *vm = make_scripted(1);
    start(vm);
    for (unsigned int i = 1; i <= 100; i++) {
        wait_until(&script.runs[0], i);
        vm_signal_nmi(vm, 0);
    }
    wait_until(&script.runs[0], 101);
    vm_stop(vm, VM_QUIT, 0, NULL);
    vm_wait(vm);
    CHECK_EQUAL(atomic_load(&script.nmis[0]), 100);
    vm_destroy(vm);
}

/* HLT */

struct source {
    pthread_mutex_t *device_lock;
    atomic_bool pending;
    struct interrupt_source interface;
};

static bool source_pending(void *context)
{
    struct source *source = context;
    /* As the LAPIC does: an interrupt that is signalled with the lock held must not deadlock. */
    pthread_mutex_lock(source->device_lock);
    bool pending = atomic_exchange(&source->pending, false);
    pthread_mutex_unlock(source->device_lock);
    return pending;
}

static const struct interrupt_source *platform_interrupts(void *context, unsigned int vcpu)
{
    struct source *source = context;
    return vcpu == 0 ? &source->interface : NULL;
}

static bool may_always_wake(void *context)
{
    (void)context;
    return true;
}

static void use_source(struct vm *vm, struct source *source)
{
    source->device_lock = &vm->device_lock;
    source->interface = (struct interrupt_source){.pending = source_pending, .context = source};
    vm->platform.interrupts = platform_interrupts;
    vm->platform.context = source;
}

static void test_halt_until_interrupt(void)
{
    struct vm *vm = make_scripted(1);
    struct source source = {0};
    use_source(vm, &source);
    script.steps[0][0] = exit_step(EXIT_HLT);
    script.steps[0][1].kind = STEP_REPEAT;
    start(vm);
    for (unsigned int i = 1; i <= 1000; i++) {
        wait_until(&script.runs[0], i);
        pthread_mutex_lock(&vm->device_lock);
        atomic_store(&source.pending, true);
        vm_signal_interrupt(vm, 0);
        pthread_mutex_unlock(&vm->device_lock);
    }
    wait_until(&script.runs[0], 1001);
    vm_stop(vm, VM_QUIT, 0, NULL);
    CHECK_EQUAL(vm_wait(vm), VM_QUIT);
    /* No polling: one run for each interrupt, and no more than one more for the stop. */
    CHECK(atomic_load(&script.runs[0]) <= 1002);
    vm_destroy(vm);
}

/* A SIPI that is ignored and an NMI that is blocked do not end HLT; an interrupt then does. */
static void test_what_does_not_end_a_halt(void)
{
    struct vm *vm = make_scripted(1);
    struct source source = {0};
    use_source(vm, &source);
    script.steps[0][0] = exit_step(EXIT_HLT);
    script.steps[0][0].nmi_blocked = true;
    start(vm);
    wait_until(&script.runs[0], 1);
    vm_signal_sipi(vm, 0, 0x12);
    wait_until_taken(&vm->vcpus[0]);
    vm_signal_nmi(vm, 0);
    wait_until(&script.nmis[0], 1);
    vm_signal_sipi(vm, 0, 0x12); /* taken after what the NMI led to */
    wait_until_taken(&vm->vcpus[0]);
    CHECK_EQUAL(atomic_load(&script.runs[0]), 1);
    atomic_store(&source.pending, true);
    vm_signal_interrupt(vm, 0);
    wait_until(&script.runs[0], 2);
    vm_destroy(vm);
}

/* INIT ends it; the processor starts over. */
static void test_init_ends_a_halt(void)
{
    struct vm *vm = make_scripted(1);
    script.steps[0][0] = exit_step(EXIT_HLT);
    script.steps[0][0].rflags = X86_FLAGS_ONE;
    vm->platform.may_wake_halted = may_always_wake;
    start(vm);
    wait_until(&script.runs[0], 1);
    vm_signal_init(vm, 0);
    wait_until(&script.runs[0], 2);
    CHECK_EQUAL(atomic_load(&script.states_set[0]), 2);
    vm_destroy(vm);
}

/* A running guest is told by interrupt_changed where the engine has it, else by a kick. */
static void test_interrupt_while_running(void)
{
    struct vm *vm = make_scripted(1);
    start(vm);
    wait_until(&script.runs[0], 1);
    vm_signal_interrupt(vm, 0);
    wait_until(&script.runs[0], 2);
    CHECK_EQUAL(atomic_load(&script.kicks[0]), 1);
    vm_destroy(vm);

    memset(&script, 0, sizeof(script));
    vm = make_vm(&attentive_engine, 1);
    start(vm);
    wait_until(&script.runs[0], 1);
    vm_signal_interrupt(vm, 0);
    wait_until(&script.interrupts_seen[0], 1);
    CHECK_EQUAL(atomic_load(&script.kicks[0]), 0);
    CHECK_EQUAL(atomic_load(&script.runs[0]), 1);
    vm_destroy(vm);
}

/* cli; hlt on every processor: nothing can wake it. */
static void test_stuck(void)
{
    struct vm *vm = make_scripted(2);
    struct source source = {0};
    use_source(vm, &source);
    script.steps[0][0] = exit_step(EXIT_HLT);
    script.steps[0][0].rflags = X86_FLAGS_ONE;
    start(vm);
    CHECK_EQUAL(vm_wait(vm), VM_STUCK);
    CHECK_EQUAL(vm->vcpus[0].final.rflags, X86_FLAGS_ONE);
    vm_destroy(vm);
}

/* One processor is stuck, the other runs and wakes it by NMI. */
static void test_not_stuck_while_another_runs(void)
{
    struct vm *vm = make_scripted(2);
    vm->vcpus[1].initial.activity = X86_ACTIVE;
    script.steps[0][0] = exit_step(EXIT_HLT);
    script.steps[0][0].rflags = X86_FLAGS_ONE;
    start(vm);
    wait_until(&script.runs[0], 1);
    vm_signal_nmi(vm, 0);
    wait_until(&script.runs[0], 2);
    vm_stop(vm, VM_QUIT, 0, NULL);
    CHECK_EQUAL(vm_wait(vm), VM_QUIT);
    CHECK_EQUAL(atomic_load(&script.nmis[0]), 1);
    vm_destroy(vm);
}

static void test_not_stuck_while_a_device_may_wake(void)
{
    struct vm *vm = make_scripted(1);
    vm->platform.may_wake_halted = may_always_wake;
    script.steps[0][0] = exit_step(EXIT_HLT);
    script.steps[0][0].rflags = X86_FLAGS_ONE;
    start(vm);
    wait_until(&script.runs[0], 1);
    vm_signal_nmi(vm, 0);
    wait_until(&script.runs[0], 2);
    vm_stop(vm, VM_QUIT, 0, NULL);
    CHECK_EQUAL(vm_wait(vm), VM_QUIT);
    vm_destroy(vm);
}

/*
 * The last running processor signals another and halts for good: the signal counts, however
 * the threads are scheduled.
 */
static void sipi_io(void *device, struct bus_access *access)
{
    vm_signal_sipi(device, 1, (uint8_t)access->value);
}

static void test_signal_before_the_last_halt(void)
{
    for (unsigned int i = 0; i < 200; i++) {
        struct vm *vm = make_scripted(2);
        bus_map(&vm->ports, 0x10, 1, "sipi", sipi_io, vm);
        uint8_t vector = 8;
        script.steps[0][0] = exit_step(EXIT_PIO);
        script.steps[0][0].exit.pio.port = 0x10;
        script.steps[0][0].exit.pio.size = 1;
        script.steps[0][0].exit.pio.count = 1;
        script.steps[0][0].exit.pio.is_write = true;
        script.steps[0][0].exit.pio.data = &vector;
        script.steps[0][1] = exit_step(EXIT_HLT);
        script.steps[0][1].rflags = X86_FLAGS_ONE;
        start(vm);
        wait_until(&script.runs[1], 1);
        vm_stop(vm, VM_QUIT, 0, NULL);
        CHECK_EQUAL(vm_wait(vm), VM_QUIT);
        vm_destroy(vm);
    }
}

/* Engines with interrupt controllers wait for SIPI by themselves. */
static void test_engine_with_controllers(void)
{
    memset(&script, 0, sizeof(script));
    script.features = ENGINE_HAS_INTERRUPT_CONTROLLERS | ENGINE_HAS_LOCAL_APICS;
    struct vm *vm = make_vm(&script_engine, 2);
    start(vm);
    wait_until(&script.runs[1], 1);
    vm_stop(vm, VM_QUIT, 0, NULL);
    vm_wait(vm);
    CHECK_EQUAL(vm->vcpus[1].final.rflags & X86_FLAGS_IF, X86_FLAGS_IF);
    vm_destroy(vm);
}

int main(void)
{
    test_sipi_starts_a_processor();
    test_init_and_sipi_restart_a_processor();
    test_init_of_bootstrap_processor();
    test_init_after_the_exit_is_complete();
    test_the_last_exit_is_completed();
    test_nmis_together();
    test_nmi_while_running();
    test_halt_until_interrupt();
    test_what_does_not_end_a_halt();
    test_init_ends_a_halt();
    test_interrupt_while_running();
    test_stuck();
    test_not_stuck_while_another_runs();
    test_not_stuck_while_a_device_may_wake();
    test_signal_before_the_last_halt();
    test_engine_with_controllers();
    return check_summary();
}
