#include "base/threads.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * Enough for the largest functions (32 KiB a frame) many times over, and less than a huge page:
 * where the kernel gives those to every mapping that has room, a stack's first page would be one,
 * 2 MiB cleared and resident.
 */
#define STACK_SIZE ((size_t)1 << 20)

static void fill_blocked_signals(sigset_t *set, bool takes_kicks)
{
    /* A fault of the thread's own code must reach its handler, or the debugger. */
    static const int synchronous[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    sigfillset(set);
    for (size_t i = 0; i < sizeof(synchronous) / sizeof(synchronous[0]); i++) {
        sigdelset(set, synchronous[i]);
    }
    if (takes_kicks) {
        sigdelset(set, thread_kick_signal());
    }
}

/* The processor has to be set before the thread runs: what it touches first is then near it. */
static int create(pthread_t *thread, const struct thread_options *options)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    int code = 0;
    if (options->is_pinned) {
        cpu_set_t cpus;
        CPU_ZERO(&cpus);
        CPU_SET(options->cpu, &cpus);
        code = pthread_attr_setaffinity_np(&attributes, sizeof(cpus), &cpus);
    }
    if (code == 0) {
        code = pthread_create(thread, &attributes, options->run, options->context);
    }
    pthread_attr_destroy(&attributes);
    return code;
}

int thread_start(pthread_t *thread, const struct thread_options *options, struct error *error)
{
    /* The new thread inherits the mask, so there is no moment at which it has the wrong one. */
    sigset_t blocked, before;
    fill_blocked_signals(&blocked, options->takes_kicks);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int code = create(thread, options);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code == EINVAL && options->is_pinned) {
        return error_set(error, EINVAL,
                         "the thread %s can't run on CPU %u: this host has no such "
                         "CPU, or keeps this process off it",
                         options->name, options->cpu);
    }
    if (code != 0) {
        return error_set_errno(error, code, "can't start the thread %s", options->name);
    }
    char name[16] = {0};
    strncpy(name, options->name, sizeof(name) - 1);
    pthread_setname_np(*thread, name);
    return 0;
}

static void do_nothing(int signal)
{
    (void)signal;
}

void thread_prepare_kicks(void)
{
    /*
     * SA_RESTART spares every other system call of the thread; KVM_RUN comes back with EINTR
     * all the same. SA_ONSTACK because translated guest code may own the stack pointer.
     */
    struct sigaction action = {.sa_handler = do_nothing, .sa_flags = SA_RESTART | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    sigaction(thread_kick_signal(), &action, NULL);
}

int thread_kick_signal(void)
{
    return SIGRTMIN;
}

pid_t thread_id(void)
{
    return (pid_t)syscall(SYS_gettid);
}

void thread_kick(pid_t thread)
{
    int saved = errno;
    syscall(SYS_tgkill, getpid(), thread, thread_kick_signal());
    errno = saved;
}
