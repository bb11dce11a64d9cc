/* --console stdio: this process's own standard input and output. */
#include "backends/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/terminal.h"

/*
 * Opens what a descriptor refers to once more, so that O_NONBLOCK is ours alone: on the shared
 * description it would surprise whoever else holds the terminal or the pipe. Only where a new
 * description means the same (terminals and pipes; a file would start at its beginning).
 * Returns a descriptor to close, or a duplicate that may block.
 */
static int open_without_blocking(int descriptor)
{
    struct stat status;
    if (isatty(descriptor) || (fstat(descriptor, &status) == 0 && S_ISFIFO(status.st_mode))) {
        char path[32];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", descriptor);
        int again = open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
        if (again >= 0) {
            return again;
        }
    }
    return fcntl(descriptor, F_DUPFD_CLOEXEC, 3);
}

static int stdio_open(struct backend *backend, const char *argument, struct error *error)
{
    (void)argument;
    snprintf(backend->name, sizeof(backend->name), "standard output");
    backend->output = open_without_blocking(STDOUT_FILENO);
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
