#include "backends/terminal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "base/log.h"

static int terminal_descriptor = -1; /* set once, before is_raw is */
static struct termios settings_before, settings_raw;
static struct termios settings_made; /* what the terminal made of settings_raw */
static atomic_bool is_raw;

/* Whoever changes the settings has it; only a crash does without. */
static pthread_mutex_t settings_lock = PTHREAD_MUTEX_INITIALIZER;

/* Signals that mean a bug, ours or a library's. */
static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP};

bool terminal_is_ours(int descriptor)
{
    pid_t foreground = tcgetpgrp(descriptor);
    /* Another session's, nobody's (a serial line) or gone: there is no job control to stop us. */
    return foreground < 0 || foreground == getpgrp();
}

/* In the background: it has come to the shell, not to another program, and is as we left it. */
static bool is_left_to_the_shell(void)
{
    struct termios now;
    return tcgetpgrp(terminal_descriptor) == getsid(0) &&
           tcgetattr(terminal_descriptor, &now) == 0 && now.c_iflag == settings_made.c_iflag &&
           now.c_oflag == settings_made.c_oflag && now.c_cflag == settings_made.c_cflag &&
           now.c_lflag == settings_made.c_lflag;
}

/* Async-signal-safe. At once: a terminal that is stopped would be waited for without end. */
static void put_back(void)
{
    if (atomic_exchange(&is_raw, false)) {
        if (terminal_is_ours(terminal_descriptor) || is_left_to_the_shell()) {
            tcsetattr(terminal_descriptor, TCSANOW, &settings_before);
        }
        log_set_raw_terminal(false);
    }
}

/* In the background it is noted only: whoever hears of the terminal's return calls again. */
static void make_raw(void)
{
    if (terminal_descriptor >= 0) {
        atomic_store(&is_raw, true);
        log_set_raw_terminal(true);
        if (terminal_is_ours(terminal_descriptor)) {
            tcsetattr(terminal_descriptor, TCSANOW, &settings_raw);
            tcgetattr(terminal_descriptor, &settings_made);
        }
    }
}

void terminal_restore(void)
{
    pthread_mutex_lock(&settings_lock);
    put_back();
    pthread_mutex_unlock(&settings_lock);
}

void terminal_make_raw(void)
{
    pthread_mutex_lock(&settings_lock);
    make_raw();
    pthread_mutex_unlock(&settings_lock);
}

bool terminal_lend(void)
{
    pthread_mutex_lock(&settings_lock);
    bool was_raw = atomic_load(&is_raw);
    put_back();
    return was_raw;
}

void terminal_return(bool raw)
{
    if (raw) {
        make_raw();
    }
    pthread_mutex_unlock(&settings_lock);
}

bool terminal_is_raw(void)
{
    return atomic_load(&is_raw);
}

static void crashed(int number)
{
    put_back();
    signal(number, SIG_DFL);
    raise(number);
}

int terminal_keep(int descriptor, struct error *error)
{
    if (tcgetattr(descriptor, &settings_before) != 0) {
        return error_set_errno(error, errno, "cannot read the terminal's settings");
    }
    settings_raw = settings_before;
    cfmakeraw(&settings_raw);
    struct sigaction action = {.sa_handler = crashed, .sa_flags = SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    for (unsigned int i = 0; i < sizeof(crash_signals) / sizeof(crash_signals[0]); i++) {
        sigaction(crash_signals[i], &action, NULL);
    }
    atexit(terminal_restore);
    terminal_descriptor = descriptor;
    return 0;
}
