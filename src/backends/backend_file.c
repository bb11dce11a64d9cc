/* --console file:PATH: output to a file, no input. */
#include "backends/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

static int file_open(struct backend *backend, const char *argument, struct error *error)
{
    snprintf(backend->name, sizeof(backend->name), "the file '%s'", argument);
    /* O_NONBLOCK is for a FIFO: one that nobody reads is an error, not a wait without end. */
    int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    backend->output = open(argument, flags, 0666);
    if (backend->output < 0) {
        return error_set_errno(error, errno, "cannot write the console's output to '%s'", argument);
    }
    return 0;
}

static void file_close(struct backend *backend)
{
    backend_close_descriptor(&backend->output);
}

const struct backend_ops backend_file = {
    .name = "file",
    .syntax = "file:PATH",
    .summary = "output to a file, which is emptied first; no input",
    .needs_argument = true,
    .open = file_open,
    .close = file_close,
};
