/* --console stdio: this process's own standard input and output. */
#include "backends/backend.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "backends/terminal.h"
#include "base/host_file.h"

static int stdio_open(struct backend *backend, const char *argument, struct error *error)
{
    (void)argument;
    snprintf(backend->name, sizeof(backend->name), "standard output");
    backend->output = host_file_again_without_blocking(STDOUT_FILENO);
    if (backend->output < 0) {
        return error_set_errno(error, errno, "cannot use standard output as the console");
    }
    backend->input = STDIN_FILENO;
    if (isatty(STDIN_FILENO)) {
        if (terminal_is_ours(STDIN_FILENO)) {
            backend->has_escapes = true;
            return terminal_keep(STDIN_FILENO, error);
        }
        backend->input = -1; /* in the background reading would stop us */
    }
    return 0;
}

static void stdio_start(struct backend *backend)
{
    if (backend->has_escapes) {
        terminal_make_raw();
        if (!terminal_is_ours(STDIN_FILENO)) {
            /* Put into the background meanwhile: as if continued there, which stops it again. */
            kill(getpid(), SIGCONT);
        }
    }
}

static void stdio_close(struct backend *backend)
{
    terminal_restore();
    backend->input = -1;
    backend_close_descriptor(&backend->output);
}

const struct backend_ops backend_stdio = {
    .name = "stdio",
    .syntax = "stdio",
    .summary = "this terminal, or standard input and output",
    .open = stdio_open,
    .start = stdio_start,
    .close = stdio_close,
};
