/*
 * The image's command line: a command and words name=value.
 *
 *   test [NAME]                  the small guests; with a name those that begin so
 *   linux [OPTION]… [append=…]   the first module is a kernel, the second an initrd
 *   flat [OPTION]…               each module is a flat image; its line: mode=MODE exit=CODE
 *
 * Options: memory=MIB trap=all|shadow trace=ENTRIES timeout=SECONDS exits=1 verbose=1. append takes
 * the rest of the line. Without a command it is `linux` if there is a module, else `test`.
 *
 * Owner:   plain data; strings point into the line.
 * Thread:  the first processor, once.
 */
#ifndef TRAPEZE_VTX_BARE_COMMAND_LINE_H
#define TRAPEZE_VTX_BARE_COMMAND_LINE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum bare_command { BARE_DEFAULT, BARE_TEST, BARE_LINUX, BARE_FLAT };

struct bare_options {
    enum bare_command command;
    const char *name;   /* of tests; NULL: all */
    const char *append; /* "" if there is none */
    unsigned int memory_mib;
    unsigned int trace; /* how many entries and exits are shown */
    unsigned int timeout;
    bool trap_all, exits, verbose;
};

/* Splits the line in place. False, with a sentence, for what is none of the above. */
bool command_line_parse(char *line, struct bare_options *options, struct error *error);

/*
 * The value of name=value in a module's line, up to the next blank, copied; "" if it is not there.
 */
void command_line_value(const char *line, const char *name, char *value, size_t size);

/* A decimal number that begins and ends the text, at most `maximum`; false otherwise. */
bool command_line_number(const char *text, unsigned int maximum, unsigned int *number);

#endif
