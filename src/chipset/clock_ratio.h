/*
 * From nanoseconds to ticks of a device's clock and back.
 *
 * Purpose: exact conversions that do not overflow within the life of a VM and need no 128-bit
 *          division, which would drag in a compiler's run-time library.
 * Owner, thread: pure functions. Freestanding.
 */
#ifndef TRAPEZE_CHIPSET_CLOCK_RATIO_H
#define TRAPEZE_CHIPSET_CLOCK_RATIO_H

#include <stdint.h>

#define NANOSECONDS_PER_SECOND UINT64_C(1000000000)

/* Whole ticks that have passed after ns nanoseconds; hz is at most 2^32. */
static inline uint64_t ticks_from_ns(uint64_t ns, uint64_t hz)
{
    uint64_t seconds = ns / NANOSECONDS_PER_SECOND;
    uint64_t rest = ns % NANOSECONDS_PER_SECOND;

    return seconds * hz + rest * hz / NANOSECONDS_PER_SECOND;
}

/* The first nanosecond at which ticks ticks have passed; hz is at most 2^32 and not 0. */
static inline uint64_t ns_from_ticks(uint64_t ticks, uint64_t hz)
{
    uint64_t seconds = ticks / hz;
    uint64_t rest = ticks % hz;

    return seconds * NANOSECONDS_PER_SECOND + (rest * NANOSECONDS_PER_SECOND + hz - 1) / hz;
}

/*
 * A device's timer never fires more often than this, whatever its guest programs: the host must
 * not be flooded. Counters that the guest reads stay exact; ticks in between are merged into one.
 */
#define TIMER_PERIOD_MIN_NS UINT64_C(20000)

#endif
