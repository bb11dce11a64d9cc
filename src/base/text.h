/*
 * Text for people, put together where there is no printf.
 *
 * Purpose: code that also links into a kernel module or a bare image says what went wrong in words,
 *          in a buffer of the caller's that is never overrun: what does not fit is cut.
 * Owner:   the caller; the buffer holds a string at all times.
 * Thread:  any. Freestanding.
 */
#ifndef TRAPEZE_BASE_TEXT_H
#define TRAPEZE_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct text {
    char *at;
    size_t left;         /* with the final 0 */
    unsigned int column; /* since the last newline */
};

/* Begins an empty string; size is not 0. */
struct text text_start(char *where, size_t size);

void text_put(struct text *text, const char *words);

/* 0x and at least `digits` (up to 16) hexadecimal digits. */
void text_put_hexadecimal(struct text *text, uint64_t value, unsigned int digits);

void text_put_decimal(struct text *text, uint64_t value);

#endif
