/*
 * One difference after the other, for testers that compare two outcomes.
 *
 * Owner: the caller's frame. Thread: any.
 */
#ifndef TRAPEZE_TESTS_COMPARISON_H
#define TRAPEZE_TESTS_COMPARISON_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

struct comparison {
    FILE *to; /* where differences are told; NULL: nowhere */
    bool equal;
};

/* Tells a difference. */
__attribute__((format(printf, 2, 3))) static inline void differ(struct comparison *comparison,
                                                                const char *format, ...)
{
    va_list arguments;
    comparison->equal = false;
    if (comparison->to != NULL) {
        va_start(arguments, format);
        vfprintf(comparison->to, format, arguments);
        va_end(arguments);
    }
}

#endif
