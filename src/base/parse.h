/*
 * Numbers that people write: sizes, counts, seconds.
 *
 * Purpose: the command line and the engines' settings read them alike and refuse them alike.
 * Owner:   no state. Thread: any.
 *
 * Each returns 0, or -EINVAL with one line that says what is wrong with the text.
 */
#ifndef TRAPEZE_BASE_PARSE_H
#define TRAPEZE_BASE_PARSE_H

#include <stdint.h>

#include "base/error.h"

/* "512M", "2G", "0x1000": a number of bytes with an optional K, M, G or T (powers of 1024). */
int parse_size(const char *text, uint64_t *bytes, struct error *error);

/* A whole number, decimal or 0x…, from minimum to maximum. what: "a port", for the message. */
int parse_number(const char *text, const char *what, uint64_t minimum, uint64_t maximum,
                 uint64_t *number, struct error *error);

/* "1.5": a positive number of seconds, in nanoseconds. */
int parse_seconds(const char *text, uint64_t *nanoseconds, struct error *error);

#endif
