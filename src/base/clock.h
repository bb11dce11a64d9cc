/*
 * The host's monotonic clock and its time-stamp counter.
 *
 * Owner:  none. Thread: any; no state.
 */
#ifndef TRAPEZE_BASE_CLOCK_H
#define TRAPEZE_BASE_CLOCK_H

#include <stdint.h>

/* Nanoseconds of CLOCK_MONOTONIC. */
uint64_t clock_now_ns(void);

/* The host's time-stamp counter. */
uint64_t clock_tsc(void);

/*
 * The frequency of the host's time-stamp counter in hertz, never 0.
 *
 * Asked once when a VM is made: the kernel's own calibration where perf_event shows it, else what
 * CPUID says, else a measurement of at most 2 ms (good to some 20 parts in a million).
 * source, if not NULL, is set to a phrase that says which it was.
 */
uint64_t clock_tsc_hz(const char **source);

#endif
