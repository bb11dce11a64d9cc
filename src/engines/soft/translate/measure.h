/*
 * Which tier a vCPU's time and instructions go to, and all of its counters together.
 *
 * Owner, thread: the vCPU; nothing here costs anything unless struct soft_options.count asks for
 *                it, but one test.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TRANSLATE_MEASURE_H
#define TRAPEZE_ENGINES_SOFT_TRANSLATE_MEASURE_H

#include "engines/soft/vm.h"

void translate_switch_tier(struct soft_cpu *cpu, enum translate_tier tier);

/* From now on it is this tier's time; TRANSLATE_TIER_NONE: nobody's. */
static inline void translate_measure(struct soft_cpu *cpu, enum translate_tier tier)
{
    if (cpu->vm->options.count && cpu->translate.tier != tier) {
        translate_switch_tier(cpu, tier);
    }
}

/* Time since `since` (base/clock.h) went to making translated code, and to no tier. */
void translate_measure_made(struct soft_cpu *cpu, uint64_t since);

/* What cpu->statistics and the translator's parts have counted. */
void translate_statistics(const struct soft_cpu *cpu, struct translate_statistics *statistics);

#endif
