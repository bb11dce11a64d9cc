/* --console pty: a pseudo-terminal of its own, for a terminal program to connect to. */
#include "backends/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

/*
 * The other side is opened here, too, and kept: without anyone on it every read and write on our
 * side would fail. Raw, because its echo would come back to the guest as input.
 */
static int open_other_side(struct backend *backend, const char *path)
{
    backend->kept = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (backend->kept < 0) {
        return -errno;
    }
    struct termios settings;
    if (tcgetattr(backend->kept, &settings) != 0) {
        return -errno;
    }
    cfmakeraw(&settings);
    return tcsetattr(backend->kept, TCSANOW, &settings) != 0 ? -errno : 0;
}

static void pty_close(struct backend *backend)
{
    if (backend->output >= 0) {
        backend->input = -1; /* one descriptor for both directions */
    }
    backend_close_descriptor(&backend->output);
    backend_close_descriptor(&backend->kept);
}

static int pty_open(struct backend *backend, const char *argument, struct error *error)
{
    (void)argument;
    char path[64];
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (master < 0) {
        return error_set_errno(error, errno, "cannot open a pseudo-terminal");
    }
    backend->input = backend->output = master;
    int result = grantpt(master) != 0 || unlockpt(master) != 0 ? -errno : 0;
    if (result == 0) {
        result = -ptsname_r(master, path, sizeof(path));
    }
    if (result == 0) {
        result = open_other_side(backend, path);
    }
    if (result != 0) {
        pty_close(backend);
        return error_set_errno(error, result, "cannot set up a pseudo-terminal");
    }
    backend->may_drop = true;
    snprintf(backend->name, sizeof(backend->name), "%s", path);
    fprintf(stderr, "trapeze: the console is %s\n", path);
    return 0;
}

const struct backend_ops backend_pty = {
    .name = "pty",
    .syntax = "pty",
    .summary = "a new pseudo-terminal; its path is printed",
    .open = pty_open,
    .close = pty_close,
};
