#include "vm/vm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/event_loop.h"
#include "base/threads.h"
#include "vm/exit_stats.h"
#include "vm/exit_trace.h"
#include "vm/halt_watch.h"
#include "vm/vcpu.h"
#include "vm/vm_timers.h"

#define APIC_BASE_BOOTSTRAP_PROCESSOR (UINT64_C(1) << 8)

/* Creation */

static int prepare_vcpu(struct vm *vm, unsigned int index, struct error *error)
{
    struct vcpu *vcpu = &vm->vcpus[index];
    vcpu->stats = exit_stats_create();
    if (vcpu->stats == NULL) {
        return error_set(error, ENOMEM, "no memory for the statistics of vCPU %u", index);
    }
    x86_state_reset(&vcpu->initial);
    if (index != 0) {
        vcpu->initial.activity = X86_WAIT_FOR_SIPI;
        vcpu->initial.msr.apic_base &= ~APIC_BASE_BOOTSTRAP_PROCESSOR;
    }
    return 0;
}

/* Everything that can fail; vm_destroy takes back what was done, wherever it stopped. */
static int build(struct vm *vm, const struct vm_options *options, struct error *error)
{
    int code = event_loop_create(&vm->events, error);
    if (code == 0) {
        code = vm_timers_create(vm->events, &vm->device_lock, &vm->timers, error);
    }
    for (unsigned int i = 0; i < vm->vcpu_count && code == 0; i++) {
        code = prepare_vcpu(vm, i, error);
    }
    if (code != 0) {
        return code;
    }
    struct engine_vm_options engine_options = {
        .memory = options->memory,
        .vcpu_count = options->vcpu_count,
        .tsc_hz = options->tsc_hz,
        .trap = options->trap,
        .arguments = options->engine_arguments,
    };
    code = vm->engine->vm_create(&engine_options, &vm->engine_vm, error);
    if (code != 0) {
        return code;
    }
    vm->engine_features = vm->engine->features(vm->engine_vm);
    return vm->engine->cpuid_supported(vm->engine_vm, vm->cpuid, error);
}

int vm_create(const struct vm_options *options, struct vm **out, struct error *error)
{
    if (options->vcpu_count < 1 || options->vcpu_count > VM_VCPUS_MAX) {
        return error_set(error, EINVAL, "a VM has 1 to %d vCPUs, not %u", VM_VCPUS_MAX,
                         options->vcpu_count);
    }
    struct vm *vm = calloc(1, sizeof(*vm));
    if (vm == NULL) {
        return error_set(error, ENOMEM, "no memory for the VM");
    }
    vm->engine = options->engine;
    vm->ns_of_ticks = (UINT64_C(1000000000) << 32) / (options->tsc_hz + (options->tsc_hz == 0));
    vm->vcpu_count = options->vcpu_count;
    vm->trace = options->trace;
    vm->outcome_vcpu = VM_VCPUS_MAX;
    for (unsigned int i = 0; i < vm->vcpu_count; i++) {
        vm->vcpus[i].vm = vm; /* vm_destroy stops all of them, however few were prepared */
        vm->vcpus[i].index = i;
        if (options->affinity_count != 0) {
            vm->vcpus[i].is_pinned = true;
            vm->vcpus[i].host_cpu = options->affinity[i % options->affinity_count];
        }
    }
    bus_init(&vm->ports, "port");
    bus_init(&vm->mmio, "memory");
    pthread_mutex_init(&vm->device_lock, NULL);
    pthread_mutex_init(&vm->lock, NULL);
    pthread_cond_init(&vm->changed, NULL);
    thread_prepare_kicks();
    int code = build(vm, options, error);
    if (code != 0) {
        vm_destroy(vm);
        return code;
    }
    vm->memory = options->memory;
    *out = vm;
    return 0;
}

void vm_destroy(struct vm *vm)
{
    if (vm == NULL) {
        return;
    }
    if (vm->events != NULL) {
        vm_stop(vm, VM_QUIT, 0, NULL);
        vm_wait(vm);
    }
    if (vm->engine_vm != NULL) {
        vm->engine->vm_destroy(vm->engine_vm);
    }
    vm_timers_destroy(vm->timers);
    event_loop_destroy(vm->events);
    for (unsigned int i = 0; i < vm->vcpu_count; i++) {
        exit_stats_destroy(vm->vcpus[i].stats);
    }
    guestmem_destroy(vm->memory);
    pthread_cond_destroy(&vm->changed);
    pthread_mutex_destroy(&vm->lock);
    pthread_mutex_destroy(&vm->device_lock);
    free(vm);
}

/* Start and end */

/* Lets the vCPU threads that are there go once all of them have been created, or failed. */
static void wait_for_creation(struct vm *vm, unsigned int started)
{
    pthread_mutex_lock(&vm->lock);
    while (vm->created < started) {
        pthread_cond_wait(&vm->changed, &vm->lock);
    }
    vm->go = true;
    pthread_cond_broadcast(&vm->changed);
    pthread_mutex_unlock(&vm->lock);
}

/* The first vCPU that could not be created says why. */
static int report_creation(struct vm *vm, struct error *error)
{
    for (unsigned int i = 0; i < vm->vcpu_count; i++) {
        const struct vcpu *vcpu = &vm->vcpus[i];
        if (vcpu->creation != 0) {
            return error_set(error, vcpu->creation, "can't create vCPU %u: %s", i,
                             vcpu->error.text);
        }
    }
    return 0;
}

/* By now every device is mapped and has its name. */
static int start_trace(struct vm *vm, struct error *error)
{
    if (vm->trace == NULL) {
        return 0;
    }
    for (unsigned int i = 0; i < vm->vcpu_count; i++) {
        vm->vcpus[i].trace = exit_trace_lane(vm->trace, i);
    }
    return exit_trace_start(vm->trace, vm->engine->name, &vm->ports, &vm->mmio, error);
}

int vm_start(struct vm *vm, struct error *error)
{
    int code = event_loop_start(vm->events, error);
    if (code == 0) {
        code = start_trace(vm, error);
    }
    unsigned int started = 0;
    while (code == 0 && started < vm->vcpu_count) {
        code = vcpu_start(&vm->vcpus[started], error);
        started += code == 0 ? 1 : 0;
    }
    if (code != 0) {
        vm_stop(vm, VM_ENGINE_FAILED, code, error == NULL ? NULL : error->text);
    }
    wait_for_creation(vm, started);
    if (code == 0) {
        code = report_creation(vm, error);
    }
    if (code != 0) {
        vm_wait(vm);
    }
    if (code == 0) {
        halt_watch_start(vm);
    }
    return code;
}

void vm_stop_by(struct vm *vm, unsigned int vcpu, enum vm_outcome outcome, int code,
                const char *text)
{
    pthread_mutex_lock(&vm->lock);
    if (vm->outcome == VM_RUNNING) {
        vm->outcome = outcome;
        vm->outcome_code = code;
        vm->outcome_vcpu = vcpu;
        snprintf(vm->outcome_text, sizeof(vm->outcome_text), "%s", text == NULL ? "" : text);
        pthread_cond_broadcast(&vm->changed);
    }
    pthread_mutex_unlock(&vm->lock);
    for (unsigned int i = 0; i < vm->vcpu_count; i++) {
        vcpu_request(&vm->vcpus[i], VCPU_REQUEST_STOP);
    }
}

void vm_stop(struct vm *vm, enum vm_outcome outcome, int code, const char *text)
{
    vm_stop_by(vm, VM_VCPUS_MAX, outcome, code, text);
}

enum vm_outcome vm_wait(struct vm *vm)
{
    pthread_mutex_lock(&vm->lock);
    while (vm->outcome == VM_RUNNING) {
        pthread_cond_wait(&vm->changed, &vm->lock);
    }
    enum vm_outcome outcome = vm->outcome;
    pthread_mutex_unlock(&vm->lock);
    for (unsigned int i = 0; i < vm->vcpu_count; i++) {
        vcpu_join(&vm->vcpus[i]);
    }
    exit_trace_finish(vm->trace);
    event_loop_stop(vm->events);
    return outcome;
}

/* Signals */

void vm_signal_interrupt(struct vm *vm, unsigned int vcpu)
{
    vcpu_interrupt(&vm->vcpus[vcpu]);
}

void vm_signal_init(struct vm *vm, unsigned int vcpu)
{
    vcpu_request(&vm->vcpus[vcpu], VCPU_REQUEST_INIT);
}

void vm_signal_sipi(struct vm *vm, unsigned int vcpu, uint8_t vector)
{
    atomic_store(&vm->vcpus[vcpu].sipi_vector, vector);
    vcpu_request(&vm->vcpus[vcpu], VCPU_REQUEST_SIPI);
}

void vm_signal_nmi(struct vm *vm, unsigned int vcpu)
{
    atomic_fetch_add(&vm->vcpus[vcpu].nmis, 1);
    vcpu_request(&vm->vcpus[vcpu], VCPU_REQUEST_NMI);
}

struct timer_host *vm_timer_host(struct vm *vm)
{
    return vm_timers_host(vm->timers);
}

#define STATS_PATIENCE_NS UINT64_C(20000000)
#define STATS_POLL_NS     1000000

/* Kicks a vCPU out of the engine; false when it is not in there to be kicked. */
static bool kick_for_stats(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    pthread_mutex_lock(&vm->lock);
    bool is_there = vcpu->engine_vcpu != NULL;
    if (is_there) {
        vm->engine->kick(vcpu->engine_vcpu);
    }
    pthread_mutex_unlock(&vm->lock);
    return is_there;
}

void vm_update_stats(struct vm *vm)
{
    uint64_t runs[VM_VCPUS_MAX];
    uint64_t give_up = clock_now_ns() + STATS_PATIENCE_NS;
    const struct timespec pause = {.tv_nsec = STATS_POLL_NS};
    for (unsigned int i = 0; i < vm->vcpu_count; i++) {
        runs[i] = exit_stats_runs(vm->vcpus[i].stats);
        atomic_store(&vm->vcpus[i].counters_wanted, true);
        if (!kick_for_stats(&vm->vcpus[i])) {
            runs[i] = UINT64_MAX; /* nothing to wait for */
        }
    }
    /* One that is halted does not notice, and has nothing to add: the time limit is for it. */
    for (unsigned int i = 0; i < vm->vcpu_count; i++) {
        while (exit_stats_runs(vm->vcpus[i].stats) == runs[i] && clock_now_ns() < give_up) {
            nanosleep(&pause, NULL);
        }
    }
}

static void print_counters(struct vm *vm, FILE *out)
{
    struct engine_counters sum = {.count = 0};
    char title[64];
    pthread_mutex_lock(&vm->lock);
    for (unsigned int i = 0; i < vm->vcpu_count; i++) {
        engine_counters_add(&sum, &vm->vcpus[i].counters);
    }
    pthread_mutex_unlock(&vm->lock);
    snprintf(title, sizeof(title), "engine %s:", vm->engine->name);
    engine_counters_print(&sum, title, out);
}

void vm_print_stats(struct vm *vm, FILE *out)
{
    const struct exit_stats *each[VM_VCPUS_MAX];
    for (unsigned int i = 0; i < vm->vcpu_count; i++) {
        each[i] = vm->vcpus[i].stats;
    }
    exit_stats_print(each, vm->vcpu_count, out);
    print_counters(vm, out);
    for (unsigned int i = 0; i < vm->vcpu_count; i++) {
        unsigned long long instructions =
            atomic_load_explicit(&vm->vcpus[i].instructions, memory_order_relaxed);
        uint64_t ns = exit_stats_run_ns(each[i]);
        fprintf(out, "vCPU %u: %.3f ms in the engine", i, (double)ns / 1e6);
        if (instructions != 0 && ns != 0) {
            fprintf(out, ", %llu instructions (%.1f million a second)", instructions,
                    (double)instructions * 1e3 / (double)ns);
        }
        fprintf(out, ", %" PRIu64 " runs, %" PRIu64 " of them with nothing to serve\n",
                exit_stats_runs(each[i]), exit_stats_retries(each[i]));
    }
}
