/*
 * Exit codes, and how a run ended in words.
 *
 * Purpose: one table for the codes, the sentences, the help text and the manual page.
 * Owner:   constants. Thread: any.
 */
#ifndef TRAPEZE_CLI_OUTCOME_REPORT_H
#define TRAPEZE_CLI_OUTCOME_REPORT_H

#include <stddef.h>
#include <stdio.h>

#include "vm/outcome.h"

enum exit_code {
    EXIT_CODE_OK = 0,           /* the guest powered off, or the command did what it was asked */
    EXIT_CODE_RULES_BROKEN = 1, /* check-state found something */
    EXIT_CODE_RESET = 120,      /* the guest asked for a reboot */
    EXIT_CODE_PANIC = 121,      /* the guest's kernel panicked */
    EXIT_CODE_TRIPLE_FAULT = 122,
    EXIT_CODE_STUCK = 123,         /* every vCPU halted for ever */
    EXIT_CODE_TIMEOUT = 124,       /* as timeout(1) has it */
    EXIT_CODE_MONITOR_ERROR = 125, /* the host or the engine failed */
    EXIT_CODE_USAGE = 126,         /* bad usage, or input that can't be used */
    EXIT_CODE_QUIT = 130           /* a person or a signal ended it */
};

#define DEBUG_EXIT_CODE_MAX 255 /* what an exit status can say; larger codes become this */

/* The exit code of an outcome; code is the guest's own for VM_DEBUG_EXIT. */
int outcome_exit_code(enum vm_outcome outcome, int code);

/*
 * The last line of a run, without "trapeze: " and newline.
 *
 * details: the panic's words, the engine's error; may be empty.
 */
void outcome_sentence(enum vm_outcome outcome, int code, const char *details, char *text,
                      size_t size);

/* Prints "trapeze: …" on stderr. */
void print_problem(const char *text);

/* Prints the table of exit codes, for help texts. */
void outcome_print_codes(FILE *out);

#endif
