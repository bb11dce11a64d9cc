/* The VM object and the run loop: exits, errors, endings, the null engine, timers, statistics. */
#include "vm/halt_watch.h"
#include "vm/vm.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "engines/null/null.h"
#include "scripted_engine.h"
#include "vm/exit_stats.h"

/* A device that keeps what it is told, counts, and can end the run. */
struct latch {
    struct vm *vm;
    uint64_t value;
    unsigned int reads, writes;
    uint64_t sizes; /* of all accesses, a hexadecimal digit each */
};

static void latch_io(void *device, struct bus_access *access)
{
    struct latch *latch = device;
    latch->sizes = latch->sizes << 4 | access->size;
    if (access->is_write) {
        latch->value = access->value;
        latch->writes++;
    } else {
        latch->reads++;
        access->value = 0x11 * (uint64_t)latch->reads;
    }
    if (access->offset == 7) {
        vm_stop(latch->vm, VM_DEBUG_EXIT, (int)access->value, "from the port");
    }
}

static void test_options(void)
{
    memset(&script, 0, sizeof(script));
    struct vm_options options = {.engine = &script_engine, .memory = make_memory()};
    struct vm *vm = NULL;
    struct error error;
    CHECK_EQUAL(vm_create(&options, &vm, &error), -EINVAL);
    options.vcpu_count = VM_VCPUS_MAX + 1;
    CHECK_EQUAL(vm_create(&options, &vm, &error), -EINVAL);
    options.vcpu_count = 1;
    script.vm_create_code = -ENODEV;
    CHECK_EQUAL(vm_create(&options, &vm, &error), -ENODEV);
    CHECK(strcmp(error.text, "the script refuses") == 0);
    CHECK(vm == NULL);
    guestmem_destroy(options.memory); /* still ours after a failure */
    vm_destroy(NULL);
}

static void test_never_started(void)
{
    struct vm *vm = make_scripted(2);
    CHECK_EQUAL(vm->cpuid[0].entries[0].leaf, 0x1234);
    CHECK_EQUAL(vm->vcpus[0].initial.activity, X86_ACTIVE);
    CHECK_EQUAL(vm->vcpus[1].initial.activity, X86_WAIT_FOR_SIPI);
    vm_destroy(vm);
}

static void test_vcpu_creation_fails(void)
{
    struct vm *vm = make_scripted(3);
    struct error error;
    script.create_code[1] = -EMFILE;
    CHECK_EQUAL(vm_start(vm, &error), -EMFILE);
    CHECK(strstr(error.text, "vCPU 1: the script refuses") != NULL);
    CHECK_EQUAL(vm_wait(vm), VM_ENGINE_FAILED);
    CHECK_EQUAL(atomic_load(&script.alive), 0);
    vm_destroy(vm);
}

static void test_pio(void)
{
    struct vm *vm = make_scripted(1);
    struct latch latch = {.vm = vm};
    bus_map(&vm->ports, 0x100, 8, "latch", latch_io, &latch);
    uint8_t out[6] = {1, 2, 3, 4, 5, 6}, in[3] = {0}, wide[4], unclaimed[2] = {0};
    struct step *steps = script.steps[0];
    steps[0] = exit_step(EXIT_PIO);
    steps[0].exit.pio.port = 0x100;
    steps[0].exit.pio.size = 2;
    steps[0].exit.pio.count = 3;
    steps[0].exit.pio.is_write = true;
    steps[0].exit.pio.data = out;
    steps[1] = steps[0];
    steps[1].exit.pio.size = 1;
    steps[1].exit.pio.is_write = false;
    steps[1].exit.pio.data = in;
    steps[2] = steps[1];
    steps[2].exit.pio.port = 0x200;
    steps[2].exit.pio.size = 2;
    steps[2].exit.pio.count = 1;
    steps[2].exit.pio.data = unclaimed;
    memset(wide, 0x42, sizeof(wide));
    steps[3] = steps[0];
    steps[3].exit.pio.port = 0x107;
    steps[3].exit.pio.size = 1;
    steps[3].exit.pio.count = 1;
    steps[3].exit.pio.data = wide;
    start(vm);
    CHECK_EQUAL(vm_wait(vm), VM_DEBUG_EXIT);
    CHECK_EQUAL(vm->outcome_code, 0x42);
    CHECK(strcmp(vm->outcome_text, "from the port") == 0);
    CHECK_EQUAL(latch.sizes, 0x2221111);
    CHECK_EQUAL(latch.writes, 4);
    CHECK_EQUAL(in[0], 0x11);
    CHECK_EQUAL(in[2], 0x33);
    CHECK_EQUAL(unclaimed[0], 0xff);
    CHECK_EQUAL(unclaimed[1], 0xff);
    CHECK_EQUAL(exit_stats_total(vm->vcpus[0].stats, EXIT_PIO), 4);
    CHECK_EQUAL(atomic_load(&vm->vcpus[0].instructions), 4000);
    CHECK_EQUAL(atomic_load(&script.alive), 0);
    vm_destroy(vm);
}

static void test_mmio(void)
{
    struct vm *vm = make_scripted(1);
    struct latch latch = {.vm = vm};
    bus_map(&vm->mmio, 0xd0000000, 0x1000, "latch", latch_io, &latch);
    struct step *steps = script.steps[0];
    steps[0] = exit_step(EXIT_MMIO);
    steps[0].exit.mmio.address = 0xd0000100;
    steps[0].exit.mmio.size = 8;
    steps[0].exit.mmio.is_write = true;
    memcpy(steps[0].exit.mmio.data, "\1\2\3\4\5\6\7\10", 8);
    steps[1] = steps[0];
    steps[1].exit.mmio.size = 3; /* part of an access that crosses a page */
    steps[2] = exit_step(EXIT_MMIO);
    steps[2].exit.mmio.address = 0xd0000100;
    steps[2].exit.mmio.size = 4;
    steps[3] = exit_step(EXIT_MMIO);
    steps[3].exit.mmio.address = 0xe0000000;
    steps[3].exit.mmio.size = 4;
    start(vm);
    wait_until(&script.runs[0], 5);
    vm_stop(vm, VM_QUIT, 0, NULL);
    CHECK_EQUAL(vm_wait(vm), VM_QUIT);
    CHECK_EQUAL(latch.sizes, 0x8214);
    CHECK_EQUAL(latch.value, 3);
    CHECK_EQUAL(script.served[0][2].mmio.data[0], 0x11);
    CHECK_EQUAL(script.served[0][2].mmio.data[1], 0);
    CHECK_EQUAL(script.served[0][3].mmio.data[3], 0xff);
    vm_destroy(vm);
}

static bool platform_rdmsr(void *context, unsigned int vcpu, uint32_t index, uint64_t *value)
{
    (void)context;
    *value = index + vcpu;
    return index == 0x10;
}

static bool platform_wrmsr(void *context, unsigned int vcpu, uint32_t index, uint64_t value)
{
    *(uint64_t *)context = value + vcpu;
    return index == 0x11;
}

static void test_msrs_and_hypercalls(void)
{
    struct vm *vm = make_scripted(1);
    uint64_t written = 0;
    vm->platform =
        (struct vm_platform){.rdmsr = platform_rdmsr, .wrmsr = platform_wrmsr, .context = &written};
    struct step *steps = script.steps[0];
    steps[0] = exit_step(EXIT_RDMSR);
    steps[0].exit.msr.index = 0x10;
    steps[1] = steps[0];
    steps[1].exit.msr.index = 0x20;
    steps[2] = exit_step(EXIT_WRMSR);
    steps[2].exit.msr.index = 0x11;
    steps[2].exit.msr.value = 77;
    steps[3] = exit_step(EXIT_HYPERCALL);
    start(vm);
    wait_until(&script.runs[0], 5);
    vm_stop(vm, VM_QUIT, 0, NULL);
    vm_wait(vm);
    CHECK_EQUAL(script.served[0][0].msr.value, 0x10);
    CHECK(!script.served[0][0].msr.refused);
    CHECK(script.served[0][1].msr.refused);
    CHECK(!script.served[0][2].msr.refused);
    CHECK_EQUAL(written, 77);
    CHECK_EQUAL(script.served[0][3].hypercall.result, (uint64_t)-1000);
    vm_destroy(vm);
}

/* A machine that says nothing about MSRs refuses them all. */
static void test_no_platform(void)
{
    struct vm *vm = make_scripted(1);
    script.steps[0][0] = exit_step(EXIT_RDMSR);
    script.steps[0][1] = exit_step(EXIT_WRMSR);
    start(vm);
    wait_until(&script.runs[0], 3);
    vm_stop(vm, VM_QUIT, 0, NULL);
    vm_wait(vm);
    CHECK(script.served[0][0].msr.refused);
    CHECK(script.served[0][1].msr.refused);
    vm_destroy(vm);
}

/* EINTR and EAGAIN are no errors, and what was to be completed is still there afterwards. */
static void test_retries(void)
{
    struct vm *vm = make_scripted(1);
    struct step *steps = script.steps[0];
    steps[0] = exit_step(EXIT_RDMSR);
    steps[1] = (struct step){.kind = STEP_CODE, .code = -EINTR};
    steps[2] = (struct step){.kind = STEP_CODE, .code = -EAGAIN};
    start(vm);
    wait_until(&script.runs[0], 4);
    vm_stop(vm, VM_TIMED_OUT, 0, NULL);
    CHECK_EQUAL(vm_wait(vm), VM_TIMED_OUT);
    CHECK_EQUAL(script.served[0][1].reason, EXIT_RDMSR);
    CHECK_EQUAL(script.served[0][2].reason, EXIT_RDMSR);
    CHECK(script.served[0][2].msr.refused);
    CHECK_EQUAL(exit_stats_retries(vm->vcpus[0].stats), 2);
    vm_destroy(vm);
}

/* Each way in which an engine ends the run, and the words for it. */
static void test_endings(void)
{
    static const struct {
        struct step step;
        enum vm_outcome outcome;
        const char *text;
    } cases[] = {
        {{.kind = STEP_CODE, .code = -EIO}, VM_ENGINE_FAILED, "the script breaks down"},
        {{.kind = STEP_EXIT, .exit = {.reason = EXIT_SHUTDOWN}}, VM_TRIPLE_FAULT, ""},
        {{.kind = STEP_EXIT, .exit = {.reason = EXIT_INTERNAL, .internal = {.text = "oh dear"}}},
         VM_ENGINE_FAILED,
         "oh dear"},
        {{.kind = STEP_EXIT,
          .exit = {.reason = EXIT_ENTRY_FAILED, .entry_failed = {0x21, "refused"}}},
         VM_ENGINE_FAILED,
         "refused"},
        {{.kind = STEP_EXIT, .exit = {.reason = EXIT_SYSTEM_EVENT, .system_event = {1}}},
         VM_POWERED_OFF,
         ""},
        {{.kind = STEP_EXIT, .exit = {.reason = EXIT_SYSTEM_EVENT, .system_event = {2}}},
         VM_RESET,
         ""},
        {{.kind = STEP_EXIT, .exit = {.reason = EXIT_SYSTEM_EVENT, .system_event = {3}}},
         VM_PANICKED,
         ""},
        {{.kind = STEP_EXIT, .exit = {.reason = EXIT_SYSTEM_EVENT, .system_event = {99}}},
         VM_ENGINE_FAILED,
         "system-event"},
        {{.kind = STEP_EXIT, .exit = {.reason = EXIT_DEBUG}}, VM_ENGINE_FAILED, "debug"},
    };
    for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct vm *vm = make_scripted(2);
        script.steps[0][0] = cases[i].step;
        start(vm);
        CHECK_EQUAL(vm_wait(vm), cases[i].outcome);
        CHECK(strstr(vm->outcome_text, cases[i].text) != NULL);
        CHECK_EQUAL(vm->outcome_vcpu, 0);
        CHECK(vm->vcpus[0].final_known);
        CHECK_EQUAL(vm->vcpus[0].final.rflags & X86_FLAGS_IF,
                    cases[i].step.rflags == 0 ? X86_FLAGS_IF : 0);
        vm_destroy(vm);
    }
}

/* A triple fault leaves the exceptions that led to it with the vCPU. */
static void test_triple_fault_chain(void)
{
    struct vm *vm = make_scripted(1);
    struct step step = exit_step(EXIT_SHUTDOWN);
    step.exit.shutdown.exception_count = 2;
    step.exit.shutdown.exceptions[0] =
        (struct exit_exception){.vector = X86_VECTOR_PF, .has_error = true, .address = 0x1234};
    step.exit.shutdown.exceptions[1] = (struct exit_exception){.vector = X86_VECTOR_DF};
    script.steps[0][0] = step;
    start(vm);
    CHECK_EQUAL(vm_wait(vm), VM_TRIPLE_FAULT);
    CHECK_EQUAL(vm->vcpus[0].exit.reason, EXIT_SHUTDOWN);
    CHECK_EQUAL(vm->vcpus[0].exit.shutdown.exception_count, 2);
    CHECK_EQUAL(vm->vcpus[0].exit.shutdown.exceptions[0].address, 0x1234);
    vm_destroy(vm);
}

/* The first to end the run decides. */
static void test_first_outcome_wins(void)
{
    struct vm *vm = make_scripted(1);
    start(vm);
    vm_stop(vm, VM_TIMED_OUT, 5, "first");
    vm_stop(vm, VM_QUIT, 6, "second");
    CHECK_EQUAL(vm_wait(vm), VM_TIMED_OUT);
    CHECK_EQUAL(vm_wait(vm), VM_TIMED_OUT);
    CHECK_EQUAL(vm->outcome_code, 5);
    CHECK(strcmp(vm->outcome_text, "first") == 0);
    CHECK_EQUAL(vm->outcome_vcpu, VM_VCPUS_MAX);
    vm_destroy(vm);
}

/* vm_stop at every moment of a vCPU's life; a lost kick would hang. */
static void test_stop_races(void)
{
    for (unsigned int i = 0; i < 300; i++) {
        struct vm *vm = make_scripted(2);
        if (i % 3 == 0) {
            script.steps[0][0] = exit_step(EXIT_INTERRUPT_WINDOW);
            script.steps[0][1].kind = STEP_REPEAT;
        } else if (i % 3 == 1) {
            script.steps[0][0].kind = STEP_KICK_ITSELF;
        }
        start(vm);
        if (i % 5 == 0) {
            wait_until(&script.runs[0], 1);
        }
        vm_stop(vm, VM_QUIT, 0, NULL);
        CHECK_EQUAL(vm_wait(vm), VM_QUIT);
        CHECK_EQUAL(atomic_load(&script.alive), 0);
        vm_destroy(vm);
    }
}

/* Destroying a VM that runs stops it. */
static void test_destroy_while_running(void)
{
    struct vm *vm = make_scripted(2);
    start(vm);
    vm_destroy(vm);
    CHECK_EQUAL(atomic_load(&script.alive), 0);
}

/* The null engine */

static void test_null_engine(void)
{
    struct engine_probe probe;
    null_engine.probe(&probe);
    CHECK(probe.usable);
    struct vm *vm = make_vm(&null_engine, 2);
    struct latch latch = {.vm = vm};
    bus_map(&vm->ports, 0x100, 8, "latch", latch_io, &latch);
    vm->vcpus[0].initial.gpr[X86_RBX] = 0x1122334455667788;
    vm->vcpus[0].initial.rflags = X86_FLAGS_ONE; /* and yet not stuck: it runs nothing */
    start(vm);
    struct bus_access access = {.size = 1, .is_write = true, .value = 9};
    pthread_mutex_lock(&vm->device_lock);
    bus_serve(&vm->ports, 0x102, &access);
    pthread_mutex_unlock(&vm->device_lock);
    CHECK_EQUAL(latch.value, 9);
    vm_signal_interrupt(vm, 0);
    vm_signal_nmi(vm, 0);
    vm_stop(vm, VM_QUIT, 0, NULL);
    CHECK_EQUAL(vm_wait(vm), VM_QUIT);
    CHECK_EQUAL(vm->vcpus[0].final.gpr[X86_RBX], 0x1122334455667788);
    vm_destroy(vm);
}

/* Timers */

struct alarm {
    struct vm *vm;
    struct timer timer;
    unsigned int rings, stop_after;
    uint64_t period, last;
    bool early;
};

static void ring(void *context)
{
    struct alarm *alarm = context;
    struct timer_host *host = vm_timer_host(alarm->vm);
    uint64_t now = host->now(host);
    alarm->early = alarm->early || now < alarm->timer.deadline;
    alarm->rings++;
    if (alarm->rings == alarm->stop_after) {
        vm_stop(alarm->vm, VM_TIMED_OUT, 0, NULL);
    } else {
        host->arm(host, &alarm->timer, alarm->period == 0 ? 0 : now + alarm->period);
    }
}

static void test_timers(void)
{
    struct vm *vm = make_vm(&null_engine, 1);
    struct timer_host *host = vm_timer_host(vm);
    struct alarm fast = {.vm = vm, .stop_after = 100, .period = 20000};
    struct alarm greedy = {.vm = vm, .stop_after = UINT32_MAX}; /* asks for the past each time */
    struct alarm never = {.vm = vm}, later = {.vm = vm};
    timer_init(&fast.timer, ring, &fast);
    timer_init(&greedy.timer, ring, &greedy);
    timer_init(&never.timer, ring, &never);
    timer_init(&later.timer, ring, &later);
    pthread_mutex_lock(&vm->device_lock);
    uint64_t now = host->now(host);
    host->cancel(host, &never.timer); /* harmless: not armed */
    host->arm(host, &never.timer, now + 1);
    host->arm(host, &later.timer, now + 1);
    host->arm(host, &later.timer, now + UINT64_C(3600000000000));
    host->arm(host, &fast.timer, now + 1000);
    host->arm(host, &greedy.timer, 0);
    host->cancel(host, &never.timer);
    CHECK(!never.timer.armed && fast.timer.armed);
    pthread_mutex_unlock(&vm->device_lock);
    start(vm);
    CHECK_EQUAL(vm_wait(vm), VM_TIMED_OUT);
    CHECK_EQUAL(fast.rings, 100);
    CHECK(!fast.early && !greedy.early);
    CHECK(greedy.rings > 1);
    CHECK_EQUAL(never.rings, 0);
    CHECK_EQUAL(later.rings, 0);
    vm_destroy(vm);
}

static void ring_once(void *context)
{
    ((struct alarm *)context)->rings++;
}

/* Nobody arms anything when the first rings: the second must become the clock's deadline anyway. */
static void test_timers_in_turn(void)
{
    struct vm *vm = make_vm(&null_engine, 1);
    struct timer_host *host = vm_timer_host(vm);
    struct alarm first = {.vm = vm};
    struct alarm second = {.vm = vm, .stop_after = 1};
    timer_init(&first.timer, ring_once, &first);
    timer_init(&second.timer, ring, &second);
    pthread_mutex_lock(&vm->device_lock);
    uint64_t now = host->now(host);
    host->arm(host, &second.timer, now + 30000000);
    host->arm(host, &first.timer, now + 1000);
    pthread_mutex_unlock(&vm->device_lock);
    start(vm);
    CHECK_EQUAL(vm_wait(vm), VM_TIMED_OUT);
    CHECK_EQUAL(first.rings, 1);
    CHECK_EQUAL(second.rings, 1);
    CHECK(!second.early);
    vm_destroy(vm);
}

/* Statistics */

static void test_stats_table(void)
{
    struct exit_stats *first = exit_stats_create(), *second = exit_stats_create();
    exit_stats_count(first, EXIT_PIO, 0x3f8, "uart", 2000000);
    exit_stats_count(first, EXIT_MMIO, 0xfee000b0, NULL, 5000000);
    exit_stats_count(second, EXIT_PIO, 0x3f8, "uart", 4000000);
    for (unsigned int i = 0; i < 2 * EXIT_STATS_KEYS_MAX; i++) {
        exit_stats_count(second, EXIT_RDMSR, i, NULL, 1);
    }
    CHECK_EQUAL(exit_stats_total(second, EXIT_RDMSR), 2 * EXIT_STATS_KEYS_MAX);
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    const struct exit_stats *each[] = {first, second};
    exit_stats_print(each, 2, out);
    fclose(out);
    const char *uart = strstr(text, "0x3f8"), *lapic = strstr(text, "0xfee000b0");
    CHECK(uart != NULL && lapic != NULL && uart < lapic); /* 6 ms before 5 ms */
    CHECK(strstr(text, "         2        6.000    3000.00  uart") != NULL);
    CHECK(strstr(text, "others") != NULL);
    free(text);
    exit_stats_destroy(first);
    exit_stats_destroy(second);
    CHECK(strcmp(exit_reason_name(EXIT_MMIO), "mmio") == 0);
    CHECK(strcmp(exit_reason_name((enum exit_reason)1000), "unknown") == 0);
}

/* Printing must be possible while vCPUs count: the thread sanitizer watches. */
static void test_stats_while_running(void)
{
    struct vm *vm = make_scripted(1);
    struct latch latch = {.vm = vm};
    bus_map(&vm->mmio, 0x1000, 0x1000, "latch", latch_io, &latch);
    script.steps[0][0] = exit_step(EXIT_MMIO);
    script.steps[0][0].exit.mmio.address = 0x1000;
    script.steps[0][0].exit.mmio.size = 4;
    script.steps[0][1].kind = STEP_REPEAT;
    start(vm);
    for (unsigned int i = 0; i < 50; i++) {
        char *text = NULL;
        size_t length = 0;
        wait_until(&script.runs[0], i * 10 + 10);
        FILE *out = open_memstream(&text, &length);
        vm_print_stats(vm, out);
        fclose(out);
        CHECK(strstr(text, "mmio") != NULL && strstr(text, "latch") != NULL);
        CHECK(strstr(text, "vCPU 0") != NULL);
        free(text);
    }
    vm_destroy(vm);
}

/* Who does not answer a round is not asleep in it, whatever it answered before. */
static void test_halt_watch_rounds(void)
{
    struct vm *vm = make_scripted(2);
    for (vm->halt_round = 1; vm->halt_round <= 3; vm->halt_round++) {
        halt_watch_answer(&vm->vcpus[0], false, 0x100);
        halt_watch_answer(&vm->vcpus[1], true, 0x200);
    }
    for (; vm->halt_round <= 7; vm->halt_round++) {
        halt_watch_answer(&vm->vcpus[0], true, 0x100);
    }
    CHECK_EQUAL(vm->outcome, VM_RUNNING);
    halt_watch_answer(&vm->vcpus[0], true, 0x100);
    halt_watch_answer(&vm->vcpus[1], true, 0x200);
    CHECK_EQUAL(vm->outcome, VM_STUCK);
    vm_destroy(vm);
}

int main(void)
{
    test_halt_watch_rounds();
    test_options();
    test_never_started();
    test_vcpu_creation_fails();
    test_pio();
    test_mmio();
    test_msrs_and_hypercalls();
    test_no_platform();
    test_retries();
    test_endings();
    test_triple_fault_chain();
    test_first_outcome_wins();
    test_stop_races();
    test_destroy_while_running();
    test_null_engine();
    test_timers();
    test_timers_in_turn();
    test_stats_table();
    test_stats_while_running();
    return check_summary();
}
