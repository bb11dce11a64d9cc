/*
 * Arithmetic on sizes and addresses that come from a guest or a file, with overflow as a value.
 *
 * Purpose: one spelling for "does it fit", so that no check is written as `a + b > c`.
 * Owner:   none; pure functions.
 * Thread:  any. Freestanding.
 */
#ifndef TRAPEZE_BASE_CHECKED_H
#define TRAPEZE_BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

/* Each returns false on overflow; *result is then unspecified. */
static inline bool checked_add(uint64_t left, uint64_t right, uint64_t *result)
{
    return !__builtin_add_overflow(left, right, result);
}

static inline bool checked_multiply(uint64_t left, uint64_t right, uint64_t *result)
{
    return !__builtin_mul_overflow(left, right, result);
}

/* True if [offset, offset + length) lies within [0, total); a length of 0 at total does. */
static inline bool range_within(uint64_t offset, uint64_t length, uint64_t total)
{
    return offset <= total && length <= total - offset;
}

/* True if [a, a + a_length) and [b, b + b_length) share a byte; neither may wrap around. */
static inline bool ranges_overlap(uint64_t a, uint64_t a_length, uint64_t b, uint64_t b_length)
{
    return a_length != 0 && b_length != 0 && a <= b + (b_length - 1) && b <= a + (a_length - 1);
}

/* alignment is a power of two. */
static inline uint64_t align_down(uint64_t value, uint64_t alignment)
{
    return value & ~(alignment - 1);
}

/* False when the next multiple does not fit in 64 bits. */
static inline bool checked_align_up(uint64_t value, uint64_t alignment, uint64_t *result)
{
    if (!checked_add(value, alignment - 1, result)) {
        return false;
    }
    *result = align_down(*result, alignment);
    return true;
}

#endif
