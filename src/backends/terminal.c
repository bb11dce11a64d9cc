#include "backends/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "base/log.h"

static int terminal_descriptor = -1; /* set once, before is_raw is */
static struct termios settings_before, settings_raw;
static atomic_bool is_raw;

/* Signals that mean a bug, ours or a library's. */
static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP};

bool terminal_is_ours(int descriptor)
{
    pid_t foreground = tcgetpgrp(descriptor);
    /* Another session's terminal, or nobody's (a serial line): there is no job control to stop us.
     */
    return foreground < 0 ? errno == ENOTTY : foreground == getpgrp();
}

void terminal_restore(void)
{
    if (atomic_exchange(&is_raw, false)) {
        /* At once: to wait for output would be to wait for ever on a terminal that is stopped. */
        tcsetattr(terminal_descriptor, TCSANOW, &settings_before);
        log_set_raw_terminal(false);
    }
}

void terminal_make_raw(void)
{
    if (terminal_descriptor >= 0 && !atomic_exchange(&is_raw, true)) {
        tcsetattr(terminal_descriptor, TCSANOW, &settings_raw);
        log_set_raw_terminal(true);
    }
}

bool terminal_is_raw(void)
{
    return atomic_load(&is_raw);
}

static void crashed(int number)
{
    terminal_restore();
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
