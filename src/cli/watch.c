#include "cli/watch.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

#include "backends/terminal.h"
#include "base/clock.h"
#include "base/threads.h"

#define STOP_WATCHING        SIGUSR2
#define NANOSECONDS_A_SECOND UINT64_C(1000000000)

static void fill_signals(sigset_t *set)
{
    static const int watched[] = {SIGINT,  SIGTERM, SIGHUP,       SIGQUIT,
                                  SIGUSR1, SIGTSTP, STOP_WATCHING};
    sigemptyset(set);
    for (unsigned int i = 0; i < sizeof(watched) / sizeof(watched[0]); i++) {
        sigaddset(set, watched[i]);
    }
}

void watch_block_signals(void)
{
    sigset_t set;
    fill_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* Waits for one of the signals; returns 0 when the deadline has come first. */
static int wait_for_signal(const struct watch *watch, const sigset_t *set)
{
    for (;;) {
        int number;
        if (watch->deadline == 0) {
            number = sigwaitinfo(set, NULL);
        } else {
            uint64_t now = clock_now_ns();
            uint64_t left = now < watch->deadline ? watch->deadline - now : 0;
            struct timespec limit = {.tv_sec = (time_t)(left / NANOSECONDS_A_SECOND),
                                     .tv_nsec = (long)(left % NANOSECONDS_A_SECOND)};
            number = sigtimedwait(set, NULL, &limit);
        }
        if (number > 0) {
            return number;
        }
        if (errno == EAGAIN) {
            return 0;
        }
    }
}

/* As the default action would, but the terminal is the shell's meanwhile. */
static void stop_and_continue(void)
{
    bool was_raw = terminal_is_raw();
    terminal_restore();
    /* To this thread: sent to the process, another one might take it and this one run on. */
    raise(SIGSTOP);
    if (was_raw) {
        terminal_make_raw();
    }
}

static void *watch_thread(void *context)
{
    struct watch *watch = context;
    sigset_t set;
    fill_signals(&set);
    for (;;) {
        int number = wait_for_signal(watch, &set);
        switch (number) {
        case STOP_WATCHING:
            return NULL;
        case 0:
            watch->deadline = 0;
            watch->timed_out(watch->context);
            break;
        case SIGUSR1:
            watch->print_stats(watch->context);
            break;
        case SIGTSTP:
            stop_and_continue();
            break;
        default:
            watch->ended(watch->context, number);
            break;
        }
    }
}

int watch_start(struct watch *watch, struct error *error)
{
    watch->deadline = watch->timeout_ns != 0 ? clock_now_ns() + watch->timeout_ns : 0;
    struct thread_options options = {.name = "watch", .run = watch_thread, .context = watch};
    return thread_start(&watch->thread, &options, error);
}

void watch_stop(struct watch *watch)
{
    pthread_kill(watch->thread, STOP_WATCHING);
    pthread_join(watch->thread, NULL);
}
