/*
 * A vCPU's state in a text file: one line a register, "name value".
 *
 * Purpose: `trapeze run --dump-state` writes what a vCPU was like when it ended, a person may write
 *          or change one by hand, `trapeze check-state` reads it. docs/entry-checks.md describes
 *          the format; the names are those of x86/entry_state.h, and of a few registers besides.
 * Owner:   the caller; plain data.
 * Thread:  one.
 */
#ifndef TRAPEZE_CLI_STATE_FILE_H
#define TRAPEZE_CLI_STATE_FILE_H

#include <stdio.h>

#include "base/error.h"
#include "x86/entry_state.h"

#define STATE_FILE_MAX 65536 /* bytes; a state as it is written has some 6000 */

struct saved_state {
    struct entry_guest_state entry;
    /* What VM entry does not load: for people. The RSP in gpr is not used, entry.rsp is. */
    uint64_t gpr[X86_GPR_COUNT];
    uint64_t cr2, cr8;
    uint64_t dr[4], dr6;
};

/* From what an engine knows of a vCPU. */
void saved_state_from_x86(const struct x86_state *from, struct saved_state *to);

/*
 * Reads a state from text that may hold anything. What it leaves out is as after RESET.
 * Returns 0, or -EINVAL with "line N: what is wrong"; nothing at all is wrong, too.
 */
int state_file_parse(const char *text, size_t length, struct saved_state *state,
                     struct error *error);

/* The same from a regular file. Errors: those of host_file_read, -EINVAL; the text names the file.
 */
int state_file_read(const char *path, struct saved_state *state, struct error *error);

/*
 * Writes it so that state_file_parse reads the same. title: a comment for the first line, without a
 * newline. Whether all could be written, ferror tells.
 */
void state_file_write(const struct saved_state *state, const char *title, FILE *out);

#endif
