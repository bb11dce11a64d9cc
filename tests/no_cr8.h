/*
 * The CR8 of interrupt sources that have no priorities, for tests.
 *
 * Owner, thread: none.
 */
#ifndef TRAPEZE_TESTS_NO_CR8_H
#define TRAPEZE_TESTS_NO_CR8_H

#include <stdint.h>

static inline uint8_t no_get_cr8(void *context)
{
    (void)context;
    return 0;
}

static inline void no_set_cr8(void *context, uint8_t value)
{
    (void)context;
    (void)value;
}

#endif
