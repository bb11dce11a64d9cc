/*
 * The commands of the program: `trapeze run`, `probe`, `report`, `check-state`.
 *
 * Owner:   constant tables. Thread: the first one.
 */
#ifndef TRAPEZE_CLI_COMMAND_H
#define TRAPEZE_CLI_COMMAND_H

#include <stdio.h>

#include "base/error.h"

struct command {
    const char *name;
    const char *summary; /* a phrase */
    /* arguments: those behind the command's name. Returns the exit code of the process. */
    int (*run)(char **arguments, int count);
    void (*help)(FILE *out);
};

extern const struct command run_command;
extern const struct command probe_command;
extern const struct command report_command;
extern const struct command check_state_command;

#endif
