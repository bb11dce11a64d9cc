/*
 * Character backends: where a console's bytes come from and go to on the host.
 *
 * Purpose: turn what `--console` says into at most two file descriptors and the manners to use
 *          them with. The console (console.h) does the buffering, so a backend is open and close.
 * Owner:   the console.
 * Thread:  open and close on one thread; the descriptors are used by the console's thread.
 */
#ifndef TRAPEZE_BACKENDS_BACKEND_H
#define TRAPEZE_BACKENDS_BACKEND_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct backend_ops;

struct backend {
    const struct backend_ops *ops;
    int input;        /* to read from, or -1 */
    int output;       /* to write to, or -1: output is thrown away */
    int kept;         /* a descriptor that only close needs, or -1 */
    bool has_escapes; /* a person types: Ctrl-A x quits */
    bool may_drop;    /* nobody may be listening: output that finds no room is dropped */
    char name[128];   /* for messages: "standard output", "file console.log" */
};

struct backend_ops {
    const char *name;    /* as --console spells it, up to the colon */
    const char *syntax;  /* for help texts: "file:PATH" */
    const char *summary; /* a phrase for help texts */
    bool needs_argument; /* something must follow the colon */

    /* argument: what follows the colon, or NULL. Fills in all of *backend but ops. */
    int (*open)(struct backend *backend, const char *argument, struct error *error);
    /* The run begins: take the terminal. NULL: nothing to do. */
    void (*start)(struct backend *backend);
    /* Closes what open opened. Harmless after a failed open. */
    void (*close)(struct backend *backend);
};

/* Every kind there is; ends with NULL. */
extern const struct backend_ops *const backend_table[];

extern const struct backend_ops backend_stdio;
extern const struct backend_ops backend_none;
extern const struct backend_ops backend_pty;
extern const struct backend_ops backend_file;

/*
 * Finds and opens the backend that a text such as "file:console.log" names.
 *
 * Errors: -EINVAL for a text that names none; what opening says.
 */
int backend_open(const char *text, struct backend *backend, struct error *error);
void backend_close(struct backend *backend);

/* Closes a descriptor that is not -1 and forgets it. */
void backend_close_descriptor(int *descriptor);

#endif
