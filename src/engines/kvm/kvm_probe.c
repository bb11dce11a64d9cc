/*
 * What this host's KVM can do, found out with guests of a few instructions.
 *
 * A thread runs the trials, one after the other; the caller is the watchdog that kicks a trial
 * whose time is over. So however slow or broken the host's KVM is, the probe ends.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/threads.h"
#include "engines/kvm/kvm_guest.h"
#include "engines/kvm/kvm_internal.h"

#define MODE_TIME_NS  UINT64_C(2000000) /* each of the four modes */
#define SPEED_TIME_NS UINT64_C(4000000) /* the loop that measures instructions */
#define EXIT_TIME_NS  UINT64_C(2000000) /* the loop that measures exits */
#define EXITS_MAX     1000u
/* Once more for so long if nothing came of a trial: a busy host may not have run it at all. */
#define PATIENCE 10u

#define TRIAL_PORT 0x10u

enum trial_result { TRIAL_NOT_RUN, TRIAL_WORKS, TRIAL_TIMED_OUT, TRIAL_FAILED };

struct trial {
    enum trial_result result;
    char words[160]; /* of a failure */
};

struct probe_run {
    struct guestmem *memory;
    struct engine_vm *vm;
    struct cpuid_table cpuid;
    unsigned int vcpus; /* made so far; each trial has a new one */
    struct trial modes[KVM_GUEST_MODES];
    double mips, exit_us;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct engine_vcpu *running; /* to be kicked at the deadline */
    uint64_t deadline;
    bool done;
};

/* The trial thread */

static void fail(struct trial *trial, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void fail(struct trial *trial, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(trial->words, sizeof(trial->words), format, arguments);
    va_end(arguments);
    trial->result = TRIAL_FAILED;
}

static struct engine_vcpu *make_vcpu(struct probe_run *run, enum kvm_guest_mode mode,
                                     const uint8_t *code, size_t length, struct trial *trial)
{
    struct engine_vcpu_options options = {.index = run->vcpus++, .cpuid = &run->cpuid};
    struct engine_vcpu *vcpu = NULL;
    struct x86_state state;
    struct error error = {""};
    unsigned int groups = X86_STATE_GENERAL | X86_STATE_SYSTEM;
    int result = kvm_vcpu_create(run->vm, &options, &vcpu, &error);
    if (result == 0) {
        result = kvm_vcpu_get_state(vcpu, groups, &state, &error);
    }
    if (result == 0) {
        result = kvm_guest_prepare(run->memory, mode, code, length, &state);
    }
    if (result == 0) {
        result = kvm_vcpu_set_state(vcpu, groups, &state, &error);
    }
    if (result == 0) {
        return vcpu;
    }
    fail(trial, "%.150s", error.text);
    if (vcpu != NULL) {
        kvm_vcpu_destroy(vcpu);
    }
    return NULL;
}

static void set_watch(struct probe_run *run, struct engine_vcpu *vcpu, uint64_t time_ns)
{
    pthread_mutex_lock(&run->lock);
    run->running = vcpu;
    run->deadline = clock_now_ns() + time_ns;
    pthread_cond_signal(&run->changed);
    pthread_mutex_unlock(&run->lock);
}

/* Runs to the next exit; false on a kick by the watchdog or an error, with words in trial. */
static bool run_to_exit(struct engine_vcpu *vcpu, struct vcpu_exit *exit, struct trial *trial)
{
    struct error error = {""};
    int code;
    do {
        code = kvm_vcpu_run(vcpu, exit, &error);
    } while (code == -EINTR || code == -EAGAIN);
    if (code != 0) {
        fail(trial, "%.150s", error.text);
        return false;
    }
    if (exit->reason == EXIT_KICKED) {
        trial->result = TRIAL_TIMED_OUT;
        return false;
    }
    return true;
}

static bool is_trial_port(const struct vcpu_exit *exit)
{
    return exit->reason == EXIT_PIO && exit->pio.is_write && exit->pio.port == TRIAL_PORT;
}

/* Writes to the port and halts; the same bytes in every mode. */
static const uint8_t mode_code[] = {
    0xb0, 0x5a,       /* mov al, 0x5a */
    0xe6, TRIAL_PORT, /* out TRIAL_PORT, al */
    0xf4,             /* hlt */
};

static void try_mode_for(struct probe_run *run, enum kvm_guest_mode mode, uint64_t time_ns)
{
    struct trial *trial = &run->modes[mode];
    struct engine_vcpu *vcpu = make_vcpu(run, mode, mode_code, sizeof(mode_code), trial);
    if (vcpu == NULL) {
        return;
    }
    struct vcpu_exit exit = {.reason = EXIT_NONE};
    set_watch(run, vcpu, time_ns);
    if (run_to_exit(vcpu, &exit, trial)) {
        if (!is_trial_port(&exit) || exit.pio.data[0] != 0x5a) {
            fail(trial, "%s",
                 exit.reason == EXIT_INTERNAL ? exit.internal.text : exit_reason_name(exit.reason));
        } else if (run_to_exit(vcpu, &exit, trial)) {
            trial->result = exit.reason == EXIT_HLT ? TRIAL_WORKS : TRIAL_FAILED;
            snprintf(trial->words, sizeof(trial->words), "%s", exit_reason_name(exit.reason));
        }
    }
    set_watch(run, NULL, 0);
    kvm_vcpu_destroy(vcpu);
}

static void try_mode(struct probe_run *run, enum kvm_guest_mode mode)
{
    try_mode_for(run, mode, MODE_TIME_NS);
    if (run->modes[mode].result == TRIAL_TIMED_OUT) {
        run->modes[mode] = (struct trial){TRIAL_NOT_RUN, ""};
        try_mode_for(run, mode, PATIENCE * MODE_TIME_NS);
    }
}

/* Counts ECX down until the watchdog kicks: two instructions each time around. */
static void measure_speed(struct probe_run *run, enum kvm_guest_mode mode, uint64_t time_ns)
{
    static const uint8_t real_loop[] = {0x66, 0x49, 0x75, 0xfc};  /* dec ecx; jnz */
    static const uint8_t other_loop[] = {0xff, 0xc9, 0x75, 0xfc}; /* the same */
    struct trial trial = {TRIAL_NOT_RUN, ""};
    const uint8_t *code = mode == KVM_GUEST_REAL ? real_loop : other_loop;
    struct engine_vcpu *vcpu = make_vcpu(run, mode, code, sizeof(real_loop), &trial);
    if (vcpu == NULL) {
        return;
    }
    struct vcpu_exit exit = {.reason = EXIT_NONE};
    struct x86_state state;
    set_watch(run, vcpu, time_ns);
    uint64_t start = clock_now_ns();
    run_to_exit(vcpu, &exit, &trial);
    uint64_t elapsed = clock_now_ns() - start;
    set_watch(run, NULL, 0);
    if (trial.result == TRIAL_TIMED_OUT && elapsed != 0 &&
        kvm_vcpu_get_state(vcpu, X86_STATE_GENERAL, &state, NULL) == 0) {
        uint32_t rounds = 0u - (uint32_t)state.gpr[X86_RCX];
        run->mips = 2.0 * (double)rounds * 1e3 / (double)elapsed;
    }
    kvm_vcpu_destroy(vcpu);
}

static void measure_exit(struct probe_run *run, enum kvm_guest_mode mode, uint64_t time_ns)
{
    static const uint8_t code[] = {0xe6, TRIAL_PORT, 0xeb, 0xfc}; /* out; jmp back to it */
    struct trial trial = {TRIAL_NOT_RUN, ""};
    struct engine_vcpu *vcpu = make_vcpu(run, mode, code, sizeof(code), &trial);
    if (vcpu == NULL) {
        return;
    }
    struct vcpu_exit exit = {.reason = EXIT_NONE};
    unsigned int exits = 0;
    set_watch(run, vcpu, time_ns);
    uint64_t start = clock_now_ns();
    while (exits < EXITS_MAX && run_to_exit(vcpu, &exit, &trial) && is_trial_port(&exit)) {
        exits++;
    }
    uint64_t elapsed = clock_now_ns() - start;
    set_watch(run, NULL, 0);
    if (exits != 0) {
        run->exit_us = (double)elapsed / 1e3 / exits;
    }
    kvm_vcpu_destroy(vcpu);
}

/* The mode to measure in: what kernels run in, if it works here. */
static enum kvm_guest_mode best_mode(const struct probe_run *run)
{
    static const enum kvm_guest_mode order[] = {KVM_GUEST_LONG, KVM_GUEST_PROTECTED,
                                                KVM_GUEST_REAL};
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        if (run->modes[order[i]].result == TRIAL_WORKS) {
            return order[i];
        }
    }
    return KVM_GUEST_MODES;
}

static void *trial_thread(void *context)
{
    struct probe_run *run = context;
    for (unsigned int mode = 0; mode < KVM_GUEST_MODES; mode++) {
        try_mode(run, (enum kvm_guest_mode)mode);
    }
    enum kvm_guest_mode best = best_mode(run);
    if (best != KVM_GUEST_MODES) {
        measure_speed(run, best, SPEED_TIME_NS);
        if (run->mips <= 0) {
            measure_speed(run, best, PATIENCE * SPEED_TIME_NS);
        }
        measure_exit(run, best, EXIT_TIME_NS);
        if (run->exit_us <= 0) {
            measure_exit(run, best, PATIENCE * EXIT_TIME_NS);
        }
    }
    pthread_mutex_lock(&run->lock);
    run->done = true;
    pthread_cond_signal(&run->changed);
    pthread_mutex_unlock(&run->lock);
    return NULL;
}

/* The caller's side */

/* Kicks each trial at its deadline until the thread says that it is done. */
static void watch(struct probe_run *run)
{
    pthread_mutex_lock(&run->lock);
    while (!run->done) {
        if (run->running == NULL) {
            pthread_cond_wait(&run->changed, &run->lock);
            continue;
        }
        struct timespec until = {.tv_sec = (time_t)(run->deadline / 1000000000u),
                                 .tv_nsec = (long)(run->deadline % 1000000000u)};
        if (pthread_cond_timedwait(&run->changed, &run->lock, &until) == ETIMEDOUT &&
            run->running != NULL && clock_now_ns() >= run->deadline) {
            kvm_vcpu_kick(run->running);
            run->running = NULL;
        }
    }
    pthread_mutex_unlock(&run->lock);
}

static int run_trials(struct probe_run *run, struct error *error)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&run->lock, NULL);
    pthread_cond_init(&run->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_t thread;
    struct thread_options options = {
        .name = "kvm-probe", .takes_kicks = true, .run = trial_thread, .context = run};
    int code = thread_start(&thread, &options, error);
    if (code == 0) {
        watch(run);
        pthread_join(thread, NULL);
    }
    pthread_cond_destroy(&run->changed);
    pthread_mutex_destroy(&run->lock);
    return code;
}

static int make_vm(struct probe_run *run, struct error *error)
{
    struct guestmem_options memory = {.shared = false};
    int code = guestmem_create(&memory, &run->memory, error);
    if (code == 0) {
        code = guestmem_add(run->memory, gpa(0), KVM_GUEST_MEMORY, 0, error);
    }
    if (code == 0) {
        struct engine_vm_options options = {.memory = run->memory,
                                            .vcpu_count = 2 * (KVM_GUEST_MODES + 2),
                                            .arguments = "irqchip=none"};
        code = kvm_vm_create(&options, &run->vm, error);
    }
    return code == 0 ? kvm_cpuid_supported(run->vm, &run->cpuid, error) : code;
}

/* Words for people */

/* Text that is added to at the end; what does not fit is cut. */
static void append(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void append(char *text, size_t size, const char *format, ...)
{
    size_t used = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + used, size - used, format, arguments);
    va_end(arguments);
}

static void describe_extensions(const struct engine_vm *vm, char *text, size_t size)
{
    static const struct {
        int extension;
        const char *name;
    } shown[] = {
        {KVM_CAP_IRQCHIP, "irqchip"},
        {KVM_CAP_PIT2, "pit2"},
        {KVM_CAP_SIGNAL_MSI, "signal-msi"},
        {KVM_CAP_TSC_DEADLINE_TIMER, "tsc-deadline"},
        {KVM_CAP_X86_USER_SPACE_MSR, "user-space-msr"},
        {KVM_CAP_XSAVE2, "xsave2"},
        {KVM_CAP_READONLY_MEM, "read-only-memory"},
        {KVM_CAP_IMMEDIATE_EXIT, "immediate-exit"},
        {KVM_CAP_ADJUST_CLOCK, "clock"},
        {KVM_CAP_DIRTY_LOG_RING, "dirty-ring"},
    };
    append(text, size, "API version %d, at most %d vCPUs\nextensions:", KVM_API_VERSION,
           kvm_extension(vm->device, KVM_CAP_MAX_VCPUS));
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        bool there = kvm_extension(vm->fd, shown[i].extension) != 0;
        append(text, size, " %s%s", there ? "" : "no-", shown[i].name);
    }
    append(text, size, "\n");
}

static void describe_modes(const struct probe_run *run, char *text, size_t size)
{
    for (unsigned int mode = 0; mode < KVM_GUEST_MODES; mode++) {
        const struct trial *trial = &run->modes[mode];
        append(text, size, "%s: ", kvm_guest_mode_name((enum kvm_guest_mode)mode));
        switch (trial->result) {
        case TRIAL_WORKS:
            append(text, size, "works\n");
            break;
        case TRIAL_TIMED_OUT:
            append(text, size, "not done after %u ms\n",
                   (unsigned int)(PATIENCE * MODE_TIME_NS / 1000000));
            break;
        case TRIAL_FAILED:
            append(text, size, "fails (%s)\n", trial->words);
            break;
        case TRIAL_NOT_RUN:
        default:
            append(text, size, "not tried\n");
            break;
        }
    }
}

static void conclude(const struct probe_run *run, struct engine_probe *probe)
{
    probe->mips = run->mips;
    probe->exit_us = run->exit_us;
    describe_extensions(run->vm, probe->details, sizeof(probe->details));
    describe_modes(run, probe->details, sizeof(probe->details));
    probe->usable = best_mode(run) != KVM_GUEST_MODES;
    if (!probe->usable) {
        snprintf(probe->why, sizeof(probe->why),
                 "%s is there, but guests do not run in any CPU mode", KVM_DEVICE_PATH);
        return;
    }
    snprintf(probe->why, sizeof(probe->why),
             "%s runs %.4g million guest instructions a second, %.3g us for a port exit%s",
             KVM_DEVICE_PATH, run->mips, run->exit_us,
             run->modes[KVM_GUEST_LONG].result == TRIAL_WORKS ? "" : "; no 64-bit mode");
}

void kvm_probe(struct engine_probe *probe)
{
    *probe = (struct engine_probe){.usable = false};
    struct probe_run run = {0};
    struct error error = {""};
    int code = make_vm(&run, &error);
    if (code == 0) {
        code = run_trials(&run, &error);
    }
    if (code == 0) {
        conclude(&run, probe);
    } else {
        snprintf(probe->why, sizeof(probe->why), "%.255s", error.text);
    }
    if (run.vm != NULL) {
        kvm_vm_destroy(run.vm);
    }
    guestmem_destroy(run.memory);
}
