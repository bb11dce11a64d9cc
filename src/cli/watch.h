/*
 * Signals and the timeout of a run.
 *
 * Purpose: a thread waits for the signals that matter and the deadline, so that nothing of ours
 *          runs in a signal handler: SIGINT, SIGTERM, SIGHUP and SIGQUIT end the run (unless they
 *          were ignored from the start) and, after a second, the process; SIGUSR1 prints the
 *          statistics; SIGTSTP pauses the guest and gives the terminal back before stopping.
 * Owner:   the run command.
 * Thread:  block_signals on the first thread before there are others; the callbacks are called on
 *          the watching thread.
 */
#ifndef TRAPEZE_CLI_WATCH_H
#define TRAPEZE_CLI_WATCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct watch {
    uint64_t timeout_ns; /* 0: none; counted from watch_start */
    void (*ended)(void *context, int signal_number);
    void (*timed_out)(void *context);
    void (*print_stats)(void *context);
    void (*pause)(void *context, bool pause); /* calls come in pairs */
    void *context;

    pthread_t thread; /* the rest is the watch's own */
    uint64_t deadline;
    uint64_t ended_at; /* when the first ending signal came, 0: none has */
    atomic_bool stopping;
};

/* Blocks the signals in this thread and those that it starts. */
void watch_block_signals(void);

int watch_start(struct watch *watch, struct error *error);
void watch_stop(struct watch *watch);

#endif
