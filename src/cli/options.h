/*
 * Command lines: a table of options, the values they take, and errors that help.
 *
 * Purpose: every command lists its options once; parsing, help and completion read that table.
 * Owner:   tables are constant; what the setters fill in belongs to the command.
 * Thread:  the first one.
 */
#ifndef TRAPEZE_CLI_OPTIONS_H
#define TRAPEZE_CLI_OPTIONS_H

#include <stdio.h>

#include "base/error.h"

/* The name of an option that is given without one: a file, say. Once a table, with a value. */
#define OPTION_PLAIN ""

struct option {
    const char *name;  /* without the dashes: "memory"; or OPTION_PLAIN */
    char letter;       /* of the short form, or 0 */
    const char *value; /* what help calls its value: "SIZE"; NULL if it takes none */
    const char *help;  /* one or more lines, separated by '\n' */
    /* value is NULL for an option that takes none. Returns 0 or -EINVAL and says why. */
    int (*set)(void *target, const char *value, struct error *error);
};

/*
 * Parses arguments[0 … count-1] by a table that ends with a NULL name, calling the setters with
 * target. "--name VALUE", "--name=VALUE", "-l VALUE", "-lm"; other arguments are for the option
 * OPTION_PLAIN, if there is one.
 *
 * Returns 0 or -EINVAL with one line that names what is wrong and, if a known option is near, it.
 */
int options_parse(const struct option *table, char **arguments, int count, void *target,
                  struct error *error);

/*
 * For setters of what is given once: keeps value in *place. -EINVAL if there is another already;
 * only_one says what there is one of: "there is one trace a report".
 */
int option_set_once(const char **place, const char *value, const char *only_one,
                    struct error *error);

/* Prints the table as help. */
void options_print(const struct option *table, FILE *out);

/*
 * The word of a NULL-terminated list that is nearest to a mistyped one, or NULL if none is near.
 */
const char *nearest_word(const char *word, const char *const *words);

#endif
