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
 * A device's periodic timer never fires more often than this, whatever its guest programs: the
 * host must not be flooded. Counters that the guest reads stay exact; ticks in between merge.
 */
#define TIMER_PERIOD_MIN_NS UINT64_C(20000)

/* How many ticks a late periodic timer makes up for, one by one; any more are skipped. */
#define TIMER_CATCH_UP_MAX 8

/*
 * The tick after the one that was due at previous, in any unit of time: exactly a period later, so
 * that nothing drifts, or, when that is long past, the last one that is due already.
 */
static inline uint64_t periodic_next(uint64_t previous, uint64_t period, uint64_t now)
{
    uint64_t next = previous + period;

    if (now > next && (now - next) / period > TIMER_CATCH_UP_MAX) {
        next += (now - next) / period * period;
    }
    return next;
}

#endif
