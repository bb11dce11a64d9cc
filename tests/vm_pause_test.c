/* VMs that stand still and go on, on the scripted engine and on those that run code. */
#include <sched.h>

#include "engines/kvm/kvm.h"
#include "engines/kvm/kvm_guest.h"
#include "engines/null/null.h"
#include "engines/soft/soft.h"
#include "scripted_engine.h"

/* Long enough for a thread that should not run to be seen running. */
static void give_way(void)
{
    for (unsigned int i = 0; i < 200; i++) {
        sched_yield();
    }
}

/* ---- the scripted engine ---- */

static void test_stands_still(void)
{
    struct vm *vm = make_scripted(2);
    for (unsigned int i = 0; i < 2; i++) {
        vm->vcpus[i].initial.activity = X86_ACTIVE;
        script.steps[i][0] = exit_step(EXIT_INTERRUPT_WINDOW);
        script.steps[i][1].kind = STEP_REPEAT;
    }
    start(vm);
    for (unsigned int round = 1; round <= 50; round++) {
        wait_until(&script.runs[0], round * 10);
        wait_until(&script.runs[1], round * 10);
        CHECK(vm_pause(vm));
        unsigned int first = atomic_load(&script.runs[0]), second = atomic_load(&script.runs[1]);
        give_way();
        CHECK_EQUAL(atomic_load(&script.runs[0]), first);
        CHECK_EQUAL(atomic_load(&script.runs[1]), second);
        CHECK_EQUAL(atomic_load(&script.standstills[0]), round - 1);
        vm_resume(vm);
        wait_until(&script.runs[0], first + 1);
        CHECK_EQUAL(atomic_load(&script.standstills[0]), round);
    }
    vm_destroy(vm);
}

/* Each pause needs its resume; one resume too many is harmless. */
static void test_pauses_nest(void)
{
    struct vm *vm = make_scripted(1);
    script.steps[0][0] = exit_step(EXIT_INTERRUPT_WINDOW);
    script.steps[0][1].kind = STEP_REPEAT;
    start(vm);
    CHECK(vm_pause(vm));
    CHECK(vm_pause(vm));
    unsigned int runs = atomic_load(&script.runs[0]);
    vm_resume(vm);
    give_way();
    CHECK_EQUAL(atomic_load(&script.runs[0]), runs);
    CHECK(vm_pause(vm));
    vm_resume(vm);
    vm_resume(vm);
    wait_until(&script.runs[0], runs + 1);
    vm_resume(vm);
    wait_until(&script.runs[0], runs + 2);
    CHECK(vm_pause(vm));
    vm_resume(vm);
    vm_destroy(vm);
}

static void write_io(void *device, struct bus_access *access)
{
    (void)access;
    atomic_fetch_add((atomic_uint *)device, 1);
    event_count_signal(&script.progress);
}

/* An exit is served and completed, by a run, before the vCPU stands still. */
static void test_exits_are_completed(void)
{
    static uint8_t data;
    struct vm *vm = make_scripted(1);
    atomic_uint writes = 0;
    bus_map(&vm->ports, 0x10, 1, "count", write_io, &writes);
    script.steps[0][0] = exit_step(EXIT_PIO);
    script.steps[0][0].exit.pio.port = 0x10;
    script.steps[0][0].exit.pio.size = 1;
    script.steps[0][0].exit.pio.count = 1;
    script.steps[0][0].exit.pio.is_write = true;
    script.steps[0][0].exit.pio.data = &data;
    start(vm);
    wait_until(&writes, 1);
    CHECK(vm_pause(vm));
    CHECK(atomic_load(&script.runs[0]) >= 2);
    CHECK_EQUAL(script.served[0][0].reason, EXIT_PIO);
    CHECK_EQUAL(vm->vcpus[0].exit.reason, EXIT_KICKED);
    vm_destroy(vm); /* which ends the pause, too */
}

struct source {
    atomic_bool pending;
    struct interrupt_source interface;
};

static bool source_pending(void *context)
{
    return atomic_load(&((struct source *)context)->pending);
}

static const struct interrupt_source *platform_interrupts(void *context, unsigned int vcpu)
{
    return vcpu == 0 ? &((struct source *)context)->interface : NULL;
}

/* HLT and the wait for SIPI go on after a pause; an interrupt that came meanwhile is not lost. */
static void test_waiting_vcpus(void)
{
    struct vm *vm = make_scripted(2);
    struct source source = {.interface = {.pending = source_pending, .context = &source}};
    vm->platform.interrupts = platform_interrupts;
    vm->platform.context = &source;
    script.steps[0][0] = exit_step(EXIT_HLT);
    start(vm);
    wait_until(&script.runs[0], 1);
    for (unsigned int i = 0; i < 20; i++) {
        CHECK(vm_pause(vm));
        vm_resume(vm);
    }
    give_way();
    CHECK_EQUAL(atomic_load(&script.runs[0]), 1);
    CHECK_EQUAL(atomic_load(&script.runs[1]), 0);
    CHECK(vm_pause(vm));
    atomic_store(&source.pending, true);
    vm_signal_interrupt(vm, 0);
    vm_signal_sipi(vm, 1, 0x12);
    give_way();
    CHECK_EQUAL(atomic_load(&script.runs[0]), 1);
    CHECK_EQUAL(atomic_load(&script.runs[1]), 0);
    vm_resume(vm);
    wait_until(&script.runs[0], 2);
    wait_until(&script.runs[1], 1);
    vm_destroy(vm);
}

/* cli; hlt is still found to be the end when the pause is over, and not before. */
static void test_stuck_after_a_pause(void)
{
    struct vm *vm = make_scripted(2);
    vm->vcpus[1].initial.activity = X86_ACTIVE;
    script.steps[1][0] = exit_step(EXIT_HLT);
    script.steps[1][0].rflags = X86_FLAGS_ONE;
    start(vm);
    wait_until(&script.runs[1], 1);
    CHECK(vm_pause(vm));
    give_way();
    CHECK_EQUAL(vm->outcome, VM_RUNNING);
    vm_resume(vm);
    vm_signal_init(vm, 0);
    vm_stop(vm, VM_QUIT, 0, NULL);
    CHECK_EQUAL(vm_wait(vm), VM_QUIT);
    vm_destroy(vm);
}

/* Before the start: the vCPUs are made, and stand still at once. After the end it says so. */
static void test_before_and_after(void)
{
    struct vm *vm = make_scripted(2);
    CHECK(vm_pause(vm));
    start(vm);
    give_way();
    CHECK_EQUAL(atomic_load(&script.runs[0]), 0);
    vm_resume(vm);
    wait_until(&script.runs[0], 1);
    CHECK(vm_pause(vm));
    vm_stop(vm, VM_QUIT, 0, NULL);
    CHECK_EQUAL(vm_wait(vm), VM_QUIT);
    CHECK(!vm_pause(vm));
    vm_resume(vm);
    vm_destroy(vm);
}

static void *pause_again_and_again(void *context)
{
    struct vm *vm = context;
    bool stands_still = true;
    while (stands_still) {
        stands_still = vm_pause(vm);
        vm_resume(vm);
        sched_yield(); /* a vCPU gets on only where nobody pauses */
    }
    return NULL;
}

/* Two that pause, one that stops: nobody waits for ever. */
static void test_races(void)
{
    for (unsigned int i = 0; i < check_rounds(200); i++) {
        struct vm *vm = make_scripted(2);
        pthread_t threads[2];
        if (i % 2 == 0) {
            script.steps[0][0] = exit_step(EXIT_INTERRUPT_WINDOW);
            script.steps[0][1].kind = STEP_REPEAT;
        }
        for (unsigned int j = 0; j < 2; j++) {
            CHECK_EQUAL(pthread_create(&threads[j], NULL, pause_again_and_again, vm), 0);
        }
        start(vm);
        if (i % 3 != 0) {
            wait_until(&script.runs[0], i % 7);
        }
        vm_signal_nmi(vm, 0);
        vm_stop(vm, VM_QUIT, 0, NULL);
        CHECK_EQUAL(vm_wait(vm), VM_QUIT);
        for (unsigned int j = 0; j < 2; j++) {
            pthread_join(threads[j], NULL);
        }
        vm_destroy(vm);
    }
}

/* ---- timers, on the engine without a CPU ---- */

struct alarm {
    struct vm *vm;
    struct timer timer;
    atomic_uint rings;
};

static void ring(void *context)
{
    struct alarm *alarm = context;
    atomic_fetch_add(&alarm->rings, 1);
    event_count_signal(&script.progress);
}

static void arm(struct alarm *alarm)
{
    struct timer_host *host = vm_timer_host(alarm->vm);
    pthread_mutex_lock(&alarm->vm->device_lock);
    host->arm(host, &alarm->timer, host->now(host));
    pthread_mutex_unlock(&alarm->vm->device_lock);
}

static void test_timers_are_held(void)
{
    struct vm *vm = make_vm(&null_engine, 2);
    struct alarm alarm = {.vm = vm};
    timer_init(&alarm.timer, ring, &alarm);
    start(vm);
    arm(&alarm);
    wait_until(&alarm.rings, 1);
    for (unsigned int i = 2; i < 20; i++) {
        CHECK(vm_pause(vm));
        arm(&alarm);
        give_way();
        CHECK_EQUAL(atomic_load(&alarm.rings), i - 1);
        vm_resume(vm);
        wait_until(&alarm.rings, i);
    }
    vm_destroy(vm);
}

/* ---- engines that run code ---- */

/* inc ax; out 0x10, al; jmp back: exits all the time. */
static const uint8_t exits_code[] = {0x40, 0xe6, 0x10, 0xeb, 0xfb};

/* out 0x10, al; sti; hlt: for good, as nothing interrupts, and within the engine if it can. */
static const uint8_t halts_code[] = {0xe6, 0x10, 0xfb, 0xf4, 0xeb, 0xfe};

/* out 0x10, al; jmp to itself: no exit any more. */
static const uint8_t spins_code[] = {0xe6, 0x10, 0xeb, 0xfe};

static bool may_always_wake(void *context)
{
    (void)context;
    return true;
}

static struct vm *start_guest(const struct engine_ops *engine, const uint8_t *code, size_t length,
                              const char *arguments, atomic_uint *writes)
{
    struct guestmem_options memory_options = {.shared = false};
    struct vm_options options = {
        .engine = engine, .engine_arguments = arguments, .vcpu_count = 2, .tsc_hz = 1000000000};
    struct vm *vm = NULL;
    struct error error = {""};
    CHECK_EQUAL(guestmem_create(&memory_options, &options.memory, &error), 0);
    CHECK_EQUAL(guestmem_add(options.memory, gpa(0), 0x200000, 0, &error), 0);
    CHECK_EQUAL(vm_create(&options, &vm, &error), 0);
    vm->platform.may_wake_halted = may_always_wake;
    bus_map(&vm->ports, 0x10, 1, "count", write_io, writes);
    kvm_guest_prepare(vm->memory, KVM_GUEST_REAL, code, length, &vm->vcpus[0].initial);
    start(vm);
    wait_until(writes, 1);
    return vm;
}

static void pause_guest(const struct engine_ops *engine, const uint8_t *code, size_t length,
                        const char *arguments)
{
    atomic_uint writes = 0;
    struct vm *vm = start_guest(engine, code, length, arguments, &writes);
    for (unsigned int i = 0; i < 40; i++) {
        CHECK(vm_pause(vm));
        unsigned int before = atomic_load(&writes);
        sched_yield();
        CHECK_EQUAL(atomic_load(&writes), before);
        vm_resume(vm);
        if (code == exits_code) {
            wait_until(&writes, before + 1);
        }
    }
    vm_stop(vm, VM_QUIT, 0, NULL);
    CHECK_EQUAL(vm_wait(vm), VM_QUIT);
    CHECK(vm->vcpus[0].final_known);
    vm_destroy(vm);
}

/*
 * mov ecx, 0x4b564d01; mov eax, CLOCK | 1; xor edx, edx; wrmsr: KVM's clock is to be there; and
 * then as exits_code.
 */
#define CLOCK 0x1000u
static const uint8_t clock_code[] = {0x66, 0xb9, 0x01, 0x4d, 0x56, 0x4b, 0x66, 0xb8,
                                     0x01, 0x10, 0x00, 0x00, 0x66, 0x31, 0xd2, 0x0f,
                                     0x30, 0x40, 0xe6, 0x10, 0xeb, 0xfb};

#define CLOCK_FLAGS   29u /* where they are in the ABI's structure */
#define GUEST_STOPPED 2u

/* The guest's kernel is told that it stood still, in the flags of KVM's clock, and only then. */
static void test_the_guest_is_told(const struct engine_ops *engine, const char *arguments)
{
    uint8_t clock[32];
    atomic_uint writes = 0;
    struct vm *vm = start_guest(engine, clock_code, sizeof(clock_code), arguments, &writes);
    CHECK(vm_pause(vm));
    CHECK_EQUAL(guestmem_read(vm->memory, gpa(CLOCK), clock, sizeof(clock)), 0);
    CHECK(clock[0] != 0 && (clock[0] & 1) == 0); /* the version: there, and settled */
    CHECK_EQUAL(clock[CLOCK_FLAGS] & GUEST_STOPPED, 0);
    unsigned int before = atomic_load(&writes);
    vm_resume(vm);
    wait_until(&writes, before + 2);
    CHECK(vm_pause(vm));
    CHECK_EQUAL(guestmem_read(vm->memory, gpa(CLOCK), clock, sizeof(clock)), 0);
    CHECK_EQUAL(clock[CLOCK_FLAGS] & GUEST_STOPPED, GUEST_STOPPED);
    vm_destroy(vm);
}

static void test_guests(const struct engine_ops *engine, const char *arguments)
{
    pause_guest(engine, exits_code, sizeof(exits_code), arguments);
    pause_guest(engine, halts_code, sizeof(halts_code), arguments);
    pause_guest(engine, spins_code, sizeof(spins_code), arguments);
    test_the_guest_is_told(engine, arguments);
}

static void test_kvm(void)
{
    struct engine_probe probe;
    kvm_engine.probe(&probe);
    if (!probe.usable) {
        SKIP(probe.why);
        return;
    }
    test_guests(&kvm_engine, "irqchip=kernel");
    test_guests(&kvm_engine, "irqchip=split");
    test_guests(&kvm_engine, "irqchip=none");
}

int main(void)
{
    test_stands_still();
    test_pauses_nest();
    test_exits_are_completed();
    test_waiting_vcpus();
    test_stuck_after_a_pause();
    test_before_and_after();
    test_races();
    test_timers_are_held();
    test_guests(&soft_engine, NULL);
    test_kvm();
    return check_summary();
}
