#include "backends/backend.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const struct backend_ops *const backend_table[] = {
    &backend_stdio, &backend_none, &backend_pty, &backend_file, NULL,
};

static int none_open(struct backend *backend, const char *argument, struct error *error)
{
    (void)argument;
    (void)error;
    snprintf(backend->name, sizeof(backend->name), "none");
    return 0;
}

static void none_close(struct backend *backend)
{
    (void)backend;
}

const struct backend_ops backend_none = {
    .name = "none",
    .syntax = "none",
    .summary = "no input; output is thrown away",
    .open = none_open,
    .close = none_close,
};

void backend_close_descriptor(int *descriptor)
{
    if (*descriptor >= 0) {
        close(*descriptor);
        *descriptor = -1;
    }
}

static const struct backend_ops *backend_find(const char *name, size_t length)
{
    for (unsigned int i = 0; backend_table[i] != NULL; i++) {
        const char *candidate = backend_table[i]->name;
        if (strlen(candidate) == length && memcmp(candidate, name, length) == 0) {
            return backend_table[i];
        }
    }
    return NULL;
}

int backend_open(const char *text, struct backend *backend, struct error *error)
{
    const char *colon = strchr(text, ':');
    const char *argument = colon != NULL ? colon + 1 : NULL;
    const struct backend_ops *ops =
        backend_find(text, colon != NULL ? (size_t)(colon - text) : strlen(text));
    *backend = (struct backend){.ops = ops, .input = -1, .output = -1, .kept = -1};
    if (ops == NULL) {
        return error_set(error, EINVAL,
                         "no console is called '%s'; there are stdio, none, pty "
                         "and file:PATH",
                         text);
    }
    if (ops->needs_argument != (argument != NULL && argument[0] != '\0')) {
        return error_set(error, EINVAL, "the console '%s' is written %s", text, ops->syntax);
    }
    return ops->open(backend, argument, error);
}

void backend_close(struct backend *backend)
{
    if (backend->ops != NULL) {
        backend->ops->close(backend);
    }
}
