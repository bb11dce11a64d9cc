#include "vm/vcpu.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/threads.h"
#include "vm/exit_stats.h"
#include "vm/exit_trace.h"
#include "vm/halt_watch.h"
#include "vm/pause.h"
#include "vm/vcpu_exit.h"

static const struct engine_ops *engine_of(const struct vcpu *vcpu)
{
    return vcpu->vm->engine;
}

static bool has_feature(const struct vcpu *vcpu, unsigned int feature)
{
    return (vcpu->vm->engine_features & feature) != 0;
}

static void fail(struct vcpu *vcpu, int code)
{
    char text[sizeof(vcpu->error.text) + 32];
    if (vcpu->error.text[0] == '\0') {
        error_set_errno(&vcpu->error, code, "the engine %s failed", engine_of(vcpu)->name);
    }
    snprintf(text, sizeof(text), "vCPU %u: %s", vcpu->index, vcpu->error.text);
    vm_stop_by(vcpu->vm, vcpu->index, VM_ENGINE_FAILED, code, text);
}

/* Requests from other threads */

void vcpu_request(struct vcpu *vcpu, unsigned int requests)
{
    struct vm *vm = vcpu->vm;
    atomic_fetch_or(&vcpu->requests, requests);
    event_count_signal(&vcpu->wake);
    /*
     * The lock keeps the engine's vCPU from being destroyed under the kick. When it is not there
     * yet its thread will see the request before it runs.
     */
    pthread_mutex_lock(&vm->lock);
    if (vcpu->engine_vcpu != NULL) {
        vm->engine->kick(vcpu->engine_vcpu);
    }
    pthread_mutex_unlock(&vm->lock);
}

void vcpu_interrupt(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    event_count_signal(&vcpu->wake);
    pthread_mutex_lock(&vm->lock);
    if (vcpu->engine_vcpu != NULL) {
        if (vm->engine->interrupt_changed != NULL) {
            vm->engine->interrupt_changed(vcpu->engine_vcpu);
        } else {
            vm->engine->kick(vcpu->engine_vcpu);
        }
    }
    pthread_mutex_unlock(&vm->lock);
}

/* INIT, SIPI, NMI */

/*
 * Whether the engine still has to complete the instruction of the last exit. Requests wait for
 * that, so that what is read and written is the state between two instructions; it takes one run,
 * or for string instructions a few, as a request kicks.
 */
static bool is_unfinished(const struct vcpu *vcpu)
{
    switch (vcpu->exit.reason) {
    case EXIT_PIO:
    case EXIT_MMIO:
    case EXIT_RDMSR:
    case EXIT_WRMSR:
    case EXIT_HYPERCALL:
        return true;
    default:
        return false;
    }
}

/* Intel SDM volume 3, "MP Initialization Protocol Algorithm": INIT, as the vCPU takes it. */
static int take_init(struct vcpu *vcpu, struct x86_state *state)
{
    /* MSRs, the TSC among them, and the FPU live through INIT: they are not even read. */
    unsigned int groups = X86_STATE_GENERAL | X86_STATE_SYSTEM | X86_STATE_DEBUG | X86_STATE_EVENTS;
    int code = engine_of(vcpu)->get_state(vcpu->engine_vcpu, groups, state, &vcpu->error);
    if (code != 0) {
        return code;
    }
    x86_state_init(state);
    vcpu->halted = false;
    vcpu->exit.reason = EXIT_NONE; /* what the engine may still hold of its instruction is void */
    /* The bootstrap processor goes on at the reset vector, the others wait. */
    vcpu->waiting_for_sipi = vcpu->index != 0;
    return engine_of(vcpu)->set_state(vcpu->engine_vcpu, groups, state, &vcpu->error);
}

/* A SIPI with vector V starts the processor in real mode at V000:0000 (hexadecimal). */
static int take_sipi(struct vcpu *vcpu, struct x86_state *state)
{
    if (!vcpu->waiting_for_sipi) {
        return 0; /* the second one of the protocol, or a stray: ignored, as by hardware */
    }
    unsigned int groups = X86_STATE_GENERAL | X86_STATE_SYSTEM | X86_STATE_EVENTS;
    int code = engine_of(vcpu)->get_state(vcpu->engine_vcpu, groups, state, &vcpu->error);
    if (code != 0) {
        return code;
    }
    unsigned int vector = atomic_load(&vcpu->sipi_vector) & 0xff;
    state->segment[X86_CS].selector = (uint16_t)(vector << 8);
    state->segment[X86_CS].base = (uint64_t)vector << 12;
    state->rip = 0;
    state->activity = X86_ACTIVE;
    vcpu->waiting_for_sipi = false;
    return engine_of(vcpu)->set_state(vcpu->engine_vcpu, groups, state, &vcpu->error);
}

/*
 * "Handling Multiple NMIs": one runs and one more is latched, so that two can come before we look;
 * of more the rest are lost. One that is blocked is latched, too, and does not end HLT.
 */
static int take_nmis(struct vcpu *vcpu, struct x86_state *state)
{
    unsigned int count = atomic_exchange(&vcpu->nmis, 0);
    int code = 0;
    for (unsigned int i = 0; code == 0 && i < count && i < 2 && !vcpu->waiting_for_sipi; i++) {
        code = engine_of(vcpu)->nmi(vcpu->engine_vcpu);
    }
    if (code == 0 && vcpu->halted) {
        code = engine_of(vcpu)->get_state(vcpu->engine_vcpu, X86_STATE_EVENTS, state, &vcpu->error);
        vcpu->halted = code == 0 && state->nmi_blocked;
    }
    return code;
}

/* Whether it has halted where no interrupt can wake it, or waits for SIPI, within the engine. */
static int answer_halt_watch(struct vcpu *vcpu, struct x86_state *state)
{
    unsigned int groups = X86_STATE_GENERAL | X86_STATE_EVENTS;
    int code = engine_of(vcpu)->get_state(vcpu->engine_vcpu, groups, state, &vcpu->error);
    if (code == 0) {
        bool is_halted = state->activity == X86_HALTED && (state->rflags & X86_FLAGS_IF) == 0 &&
                         !state->nmi_pending;
        halt_watch_answer(vcpu, is_halted || state->activity == X86_WAIT_FOR_SIPI, state->rip);
    }
    return code;
}

static int serve_requests(struct vcpu *vcpu)
{
    unsigned int requests = atomic_exchange(&vcpu->requests, 0);
    if ((requests & VCPU_REQUEST_STOP) != 0) {
        return -ECANCELED;
    }
    struct x86_state state;
    int code = 0;
    if ((requests & VCPU_REQUEST_INIT) != 0) {
        code = take_init(vcpu, &state);
    }
    /* In this order: INIT and SIPI that come close together are the start of a processor. */
    if (code == 0 && (requests & VCPU_REQUEST_SIPI) != 0) {
        code = take_sipi(vcpu, &state);
    }
    if (code == 0 && (requests & VCPU_REQUEST_NMI) != 0) {
        code = take_nmis(vcpu, &state);
    }
    if (code == 0 && (requests & VCPU_REQUEST_HALT_WATCH) != 0) {
        code = answer_halt_watch(vcpu, &state);
    }
    if (code == 0 && (requests & VCPU_REQUEST_PAUSE) != 0) {
        pause_park(vcpu);
    }
    return code;
}

/* Statistics */

/* Copies what the engine has counted to where others may read it. */
static void note_counters(struct vcpu *vcpu)
{
    const struct engine_ops *engine = engine_of(vcpu);
    atomic_store_explicit(&vcpu->counters_wanted, false, memory_order_relaxed);
    if (engine->statistics == NULL) {
        return;
    }
    struct engine_counters now;
    now.count = engine->statistics(vcpu->engine_vcpu, now.each, ENGINE_COUNTERS_MAX);
    pthread_mutex_lock(&vcpu->vm->lock);
    vcpu->counters.count = now.count;
    memcpy(vcpu->counters.each, now.each, now.count * sizeof(now.each[0]));
    pthread_mutex_unlock(&vcpu->vm->lock);
}

/* Waiting */

/*
 * With vm->lock held: true when no vCPU can ever run again by itself. A request that is still to
 * be served counts as a wake-up: its sender set the bit before it halted itself.
 */
static bool all_halted(struct vm *vm)
{
    if (vm->halted < vm->vcpu_count) {
        return false;
    }
    for (unsigned int i = 0; i < vm->vcpu_count; i++) {
        if (atomic_load(&vm->vcpus[i].requests) != 0) {
            return false;
        }
    }
    return true;
}

static bool may_wake_halted(struct vm *vm)
{
    if (vm->platform.may_wake_halted == NULL) {
        return false;
    }
    pthread_mutex_lock(&vm->device_lock);
    bool may = vm->platform.may_wake_halted(vm->platform.context);
    pthread_mutex_unlock(&vm->device_lock);
    return may;
}

/* This vCPU can't be woken by an interrupt: counts it, and ends a VM that nothing can wake. */
static void enter_deep_halt(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    pthread_mutex_lock(&vm->lock);
    vm->halted++;
    bool stuck = all_halted(vm);
    pthread_mutex_unlock(&vm->lock);
    if (stuck && !may_wake_halted(vm)) {
        vm_stop_by(vm, vcpu->index, VM_STUCK, 0, NULL);
    }
}

/*
 * Called before the requests that ended the wait are taken: all_halted then sees either the
 * request or the lower count.
 */
static void leave_deep_halt(struct vcpu *vcpu)
{
    pthread_mutex_lock(&vcpu->vm->lock);
    vcpu->vm->halted--;
    pthread_mutex_unlock(&vcpu->vm->lock);
}

/* Sleeps until a request comes or, if asked for, an interrupt is pending. Never polls. */
static void sleep_until_woken(struct vcpu *vcpu, bool for_interrupts)
{
    const struct interrupt_source *source = vcpu->interrupts;
    for (;;) {
        unsigned int ticket = event_count_ticket(&vcpu->wake);
        if (atomic_load(&vcpu->requests) != 0 ||
            (for_interrupts && source != NULL && source->pending(source->context))) {
            return;
        }
        event_count_wait(&vcpu->wake, ticket);
    }
}

/* Likewise, where no interrupt can end the wait. */
static void sleep_deeply(struct vcpu *vcpu)
{
    enter_deep_halt(vcpu);
    sleep_until_woken(vcpu, false);
    leave_deep_halt(vcpu);
}

/*
 * HLT: "Enter Halt State" until an enabled interrupt, an NMI that is not blocked, INIT or the end
 * of the run. Other requests are served meanwhile.
 */
static int wait_in_halt(struct vcpu *vcpu)
{
    if (has_feature(vcpu, ENGINE_RUNS_NOTHING)) {
        sleep_until_woken(vcpu, false); /* it takes no interrupts, so none can end the wait */
        return 0;
    }
    struct x86_state state;
    int code =
        engine_of(vcpu)->get_state(vcpu->engine_vcpu, X86_STATE_GENERAL, &state, &vcpu->error);
    bool takes_interrupts = (state.rflags & X86_FLAGS_IF) != 0 && vcpu->interrupts != NULL;
    vcpu->halted = true;
    while (code == 0 && vcpu->halted) {
        if (takes_interrupts) {
            sleep_until_woken(vcpu, true);
        } else {
            sleep_deeply(vcpu);
        }
        if (atomic_load(&vcpu->requests) != 0) {
            code = serve_requests(vcpu);
        } else {
            vcpu->halted = !takes_interrupts;
        }
    }
    return code;
}

/* The run loop */

/*
 * Nanoseconds between two readings of clock_tsc(). Exits are timed by that: where the host's clock
 * is no time-stamp counter, a look at it is a system call and a slow device.
 */
static uint64_t nanoseconds(const struct vcpu *vcpu, uint64_t from, uint64_t to)
{
    if (to < from) {
        return 0; /* the thread has moved to a CPU whose counter is behind */
    }
    return (uint64_t)((unsigned __int128)(to - from) * vcpu->vm->ns_of_ticks >> 32);
}

static void trace_exit(struct vcpu *vcpu, enum exit_reason reason, uint64_t ns)
{
    static const struct vcpu_exit halt = {.reason = EXIT_HLT}; /* INIT may have ended it */
    uint64_t now = clock_now_ns();
    exit_trace_record(vcpu->trace, reason == EXIT_HLT ? &halt : &vcpu->exit, now - ns, now);
}

/* Runs the engine once and serves what it came back with; 0 or -errno. */
static int run_once(struct vcpu *vcpu)
{
    const struct engine_ops *engine = engine_of(vcpu);
    /* Where the last exit's service ended this run begins: one look at the counter less. */
    uint64_t entered = vcpu->served != 0 ? vcpu->served : clock_tsc();
    vcpu->served = 0;
    int code = engine->run(vcpu->engine_vcpu, &vcpu->exit, &vcpu->error);
    uint64_t left = clock_tsc();
    if (atomic_load_explicit(&vcpu->counters_wanted, memory_order_relaxed)) {
        note_counters(vcpu); /* before the run is counted, which is what is waited for */
    }
    exit_stats_count_run(vcpu->stats, nanoseconds(vcpu, entered, left));
    if (engine->instructions != NULL) {
        atomic_store_explicit(&vcpu->instructions, engine->instructions(vcpu->engine_vcpu),
                              memory_order_relaxed);
    }
    if (code == -EINTR || code == -EAGAIN) {
        exit_stats_count_retry(vcpu->stats);
        return 0;
    }
    if (code != 0) {
        return code;
    }
    enum exit_reason reason = vcpu->exit.reason;
    struct exit_account account = {0, NULL};
    if (reason == EXIT_HLT) {
        note_counters(vcpu); /* nobody can ask while it sleeps */
        code = wait_in_halt(vcpu);
    } else {
        account = vcpu_serve_exit(vcpu);
    }
    vcpu->served = clock_tsc();
    uint64_t ns = nanoseconds(vcpu, left, vcpu->served);
    exit_stats_count(vcpu->stats, reason, account.key, account.name, ns);
    if (__builtin_expect(vcpu->trace != NULL, 0)) {
        trace_exit(vcpu, reason, ns);
    }
    return code;
}

/*
 * For the state that is left behind. Once: of a string instruction that has more to do it is what
 * it is.
 */
static void complete_last_exit(struct vcpu *vcpu)
{
    const struct engine_ops *engine = engine_of(vcpu);
    struct error ignored;
    engine->kick(vcpu->engine_vcpu);
    engine->run(vcpu->engine_vcpu, &vcpu->exit, &ignored);
}

static void run_until_stopped(struct vcpu *vcpu)
{
    int code = 0;
    while (code == 0) {
        unsigned int requests = atomic_load(&vcpu->requests);
        bool is_stopped = (requests & VCPU_REQUEST_STOP) != 0;
        if (requests != 0 && (is_stopped || !is_unfinished(vcpu))) {
            vcpu->served = 0;
            code = serve_requests(vcpu);
        } else if (vcpu->waiting_for_sipi) {
            sleep_deeply(vcpu);
        } else {
            code = run_once(vcpu);
        }
    }
    if (code != -ECANCELED) {
        fail(vcpu, code);
    } else if (is_unfinished(vcpu)) {
        complete_last_exit(vcpu);
    }
}

/* Creation and end */

static int create_engine_vcpu(struct vcpu *vcpu, struct engine_vcpu **out)
{
    struct vm *vm = vcpu->vm;
    const struct engine_ops *engine = vm->engine;
    if (!has_feature(vcpu, ENGINE_HAS_INTERRUPT_CONTROLLERS) && vm->platform.interrupts != NULL) {
        vcpu->interrupts = vm->platform.interrupts(vm->platform.context, vcpu->index);
    }
    struct engine_vcpu_options options = {
        .index = vcpu->index,
        .cpuid = vcpu->cpuid.count != 0 ? &vcpu->cpuid : vm->cpuid,
        .interrupts = vcpu->interrupts,
    };
    int code = engine->vcpu_create(vm->engine_vm, &options, out, &vcpu->error);
    if (code != 0) {
        return code;
    }
    /* An engine with the LAPIC in it waits for SIPI by itself. */
    vcpu->waiting_for_sipi =
        !has_feature(vcpu, ENGINE_HAS_LOCAL_APICS) && vcpu->initial.activity == X86_WAIT_FOR_SIPI;
    code = engine->set_state(*out, X86_STATE_ALL, &vcpu->initial, &vcpu->error);
    if (code != 0) {
        engine->vcpu_destroy(*out);
        *out = NULL;
    }
    return code;
}

/* Publishes the engine's vCPU, or that there is none, and waits until all have done so. */
static void report_and_wait_for_go(struct vcpu *vcpu, struct engine_vcpu *engine_vcpu)
{
    struct vm *vm = vcpu->vm;
    pthread_mutex_lock(&vm->lock);
    vcpu->engine_vcpu = engine_vcpu;
    vm->created++;
    vm->running += engine_vcpu != NULL ? 1 : 0;
    pthread_cond_broadcast(&vm->changed);
    while (!vm->go) {
        pthread_cond_wait(&vm->changed, &vm->lock);
    }
    pthread_mutex_unlock(&vm->lock);
}

static void withdraw_engine_vcpu(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    struct engine_vcpu *engine_vcpu = vcpu->engine_vcpu;
    note_counters(vcpu);
    pthread_mutex_lock(&vm->lock);
    vcpu->engine_vcpu = NULL;
    vm->running--;
    pthread_mutex_unlock(&vm->lock);
    struct error ignored;
    vcpu->final_known =
        vm->engine->get_state(engine_vcpu, X86_STATE_ALL, &vcpu->final, &ignored) == 0;
    vm->engine->vcpu_destroy(engine_vcpu);
}

static void *vcpu_thread(void *context)
{
    struct vcpu *vcpu = context;
    struct engine_vcpu *engine_vcpu = NULL;
    vcpu->creation = create_engine_vcpu(vcpu, &engine_vcpu);
    if (vcpu->creation != 0) {
        fail(vcpu, vcpu->creation);
    }
    report_and_wait_for_go(vcpu, engine_vcpu);
    if (engine_vcpu != NULL) {
        run_until_stopped(vcpu);
        if (vcpu->trace != NULL) {
            exit_trace_close_lane(vcpu->trace, exit_stats_run_ns(vcpu->stats));
        }
        withdraw_engine_vcpu(vcpu);
    }
    return NULL;
}

int vcpu_start(struct vcpu *vcpu, struct error *error)
{
    char name[16];
    snprintf(name, sizeof(name), "vcpu%u", vcpu->index);
    struct thread_options options = {.name = name,
                                     .takes_kicks = true,
                                     .is_pinned = vcpu->is_pinned,
                                     .cpu = vcpu->host_cpu,
                                     .run = vcpu_thread,
                                     .context = vcpu};
    int code = thread_start(&vcpu->thread, &options, error);
    vcpu->thread_started = code == 0;
    return code;
}

void vcpu_join(struct vcpu *vcpu)
{
    if (vcpu->thread_started) {
        pthread_join(vcpu->thread, NULL);
        vcpu->thread_started = false;
    }
}
