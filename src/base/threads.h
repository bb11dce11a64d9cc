/*
 * Threads with names and with the signals sorted out.
 *
 * Purpose: every thread but the first blocks all signals (the first one handles SIGTERM and its
 *          kin), except those that its own instructions raise, and for vCPU threads the kick
 *          signal, whose only work is to interrupt a system call.
 * Owner:   whoever started a thread joins it.
 * Thread:  any.
 */
#ifndef TRAPEZE_BASE_THREADS_H
#define TRAPEZE_BASE_THREADS_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

struct thread_options {
    const char *name; /* shown by ps and debuggers; cut to 15 characters */
    bool takes_kicks; /* the kick signal is not blocked */
    bool is_pinned;   /* it runs on the host's processor `cpu` alone */
    unsigned int cpu;
    void *(*run)(void *context);
    void *context;
};

/* Errors: the host's; -EINVAL when there is no such processor for this process. */
int thread_start(pthread_t *thread, const struct thread_options *options, struct error *error);

/*
 * Installs the handler of the kick signal (one that does nothing). To be called before a thread
 * is kicked; harmless when repeated.
 */
void thread_prepare_kicks(void);

/* The number of the kick signal. */
int thread_kick_signal(void);

/* The calling thread's id, for thread_kick. */
pid_t thread_id(void);

/* Interrupts the thread's system call, if it is in one. Async-signal-safe. */
void thread_kick(pid_t thread);

#endif
