#include "cli/watch.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#include "backends/terminal.h"
#include "base/clock.h"
#include "base/threads.h"
#include "cli/notice.h"
#include "cli/outcome_report.h"

#define STOP_WATCHING        SIGUSR2
#define NANOSECONDS_A_SECOND UINT64_C(1000000000)
#define PATIENCE_NS          NANOSECONDS_A_SECOND

static const int ending_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
#define ENDING_SIGNALS (sizeof(ending_signals) / sizeof(ending_signals[0]))

/*
 * Whoever started us may have asked that a signal be ignored (nohup does with SIGHUP). Blocking it
 * and waiting for it would undo that: a blocked signal is kept even if it is ignored.
 */
static bool is_ignored(int number)
{
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

static void add_signals(sigset_t *set, const int *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_ignored(numbers[i])) {
            sigaddset(set, numbers[i]);
        }
    }
}

static void fill_signals(sigset_t *set)
{
    static const int others[] = {SIGUSR1, SIGTSTP};
    sigemptyset(set);
    add_signals(set, ending_signals, ENDING_SIGNALS);
    add_signals(set, others, sizeof(others) / sizeof(others[0]));
    sigaddset(set, SIGCONT);
    sigaddset(set, STOP_WATCHING);
}

void watch_block_signals(void)
{
    sigset_t set;
    fill_signals(&set);
    /* Not waited for: who sets the terminal looks whose it is first, and must not stop there. */
    sigaddset(&set, SIGTTOU);
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

static bool is_pending(int number)
{
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, number) == 1;
}

static bool is_ending(const struct watch *watch)
{
    if (watch->ended_at != 0) {
        return true;
    }
    for (unsigned int i = 0; i < ENDING_SIGNALS; i++) {
        if (is_pending(ending_signals[i])) {
            return true;
        }
    }
    return false;
}

/*
 * SIGCONT is blocked, so what continued us waits until it is taken. Where SIGSTOP stops nobody (the
 * first process of a container) there is none, and a moment passes.
 */
static void take_continue(void)
{
    static const struct timespec moment = {.tv_nsec = 100000000};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCONT);
    sigtimedwait(&set, NULL, &moment);
}

/*
 * As the default action of SIGTSTP would, but the terminal is the shell's meanwhile. A guest that
 * has the terminal can't go on in the background, where reading is an error: it stops again, as
 * editors do. SIGSTOP takes back a SIGCONT that has come since the last stop, so one is looked for
 * before; what is left is the time between the look and the call.
 */
static void stop_and_continue(const struct watch *watch)
{
    watch->pause(watch->context, true);
    notice_print("trapeze: the guest is paused until SIGCONT\n");
    bool was_raw = terminal_lend();
    bool is_ours;
    do {
        if (!is_pending(SIGCONT)) {
            /* To this thread: sent to the process, another might take it and this one run on. */
            raise(SIGSTOP);
        }
        take_continue();
        is_ours = terminal_is_ours(STDIN_FILENO);
    } while (was_raw && !is_ours && !is_ending(watch));
    terminal_return(was_raw && is_ours);
    watch->pause(watch->context, false);
}

/*
 * After SIGSTOP, which nobody can wait for, this is all that we hear of it: the shell may have
 * changed the terminal, or kept it, and the guest has stood still without being told.
 */
static void continued(const struct watch *watch)
{
    if (is_ending(watch)) {
        return;
    }
    if (terminal_is_raw()) {
        if (!terminal_is_ours(STDIN_FILENO)) {
            stop_and_continue(watch);
            return;
        }
        terminal_make_raw();
    }
    watch->pause(watch->context, true);
    watch->pause(watch->context, false);
}

/*
 * The first one asks the guest's run to end. If that takes long (a terminal that takes no more
 * output can make it last for ever) another one ends the process; one that follows at once is the
 * same request once more, as when both kernel and shell tell that the terminal is gone.
 */
static void end(struct watch *watch, int number)
{
    uint64_t now = clock_now_ns();
    if (watch->ended_at == 0) {
        watch->ended_at = now;
        watch->ended(watch->context, number);
    } else if (now - watch->ended_at > PATIENCE_NS) {
        terminal_restore();
        _exit(EXIT_CODE_QUIT);
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
            if (atomic_load(&watch->stopping)) {
                return NULL;
            }
            break; /* somebody else's */
        case 0:
            watch->deadline = 0;
            watch->timed_out(watch->context);
            break;
        case SIGUSR1:
            if (!is_ending(watch)) {
                watch->print_stats(watch->context);
            }
            break;
        case SIGTSTP:
            stop_and_continue(watch);
            break;
        case SIGCONT:
            continued(watch);
            break;
        default:
            end(watch, number);
            break;
        }
    }
}

int watch_start(struct watch *watch, struct error *error)
{
    watch->ended_at = 0;
    atomic_init(&watch->stopping, false);
    watch->deadline = watch->timeout_ns != 0 ? clock_now_ns() + watch->timeout_ns : 0;
    struct thread_options options = {.name = "watch", .run = watch_thread, .context = watch};
    return thread_start(&watch->thread, &options, error);
}

void watch_stop(struct watch *watch)
{
    atomic_store(&watch->stopping, true);
    pthread_kill(watch->thread, STOP_WATCHING);
    pthread_join(watch->thread, NULL);
}
