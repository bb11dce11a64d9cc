/*
 * The guest's time-stamp counter: the host's and an offset.
 *
 * Owner, thread: the vCPU.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TIME_STAMP_H
#define TRAPEZE_ENGINES_SOFT_TIME_STAMP_H

#include "engines/soft/cpu.h"

/*
 * Ordered after everything before it, as the guest's LFENCE; RDTSC would be: a guest compares the
 * TSCs of two CPUs under a spin lock.
 */
static inline uint64_t soft_host_tsc(void)
{
    __builtin_ia32_lfence();
    return __builtin_ia32_rdtsc();
}

static inline uint64_t soft_guest_tsc(const struct soft_cpu *cpu)
{
    return soft_host_tsc() + cpu->tsc_offset;
}

#endif
