/*
 * What the soft engine tells for --stats, in the words and proportions that people ask for.
 *
 * Owner:   no state.
 * Thread:  the vCPU's, which adds to what is read here.
 */
#ifndef TRAPEZE_ENGINES_SOFT_STATISTICS_H
#define TRAPEZE_ENGINES_SOFT_STATISTICS_H

#include "engines/soft/block.h"
#include "engines/soft/translate/statistics.h"
#include "vm/engine.h"

/* One vCPU's. */
struct soft_statistics_source {
    const struct soft_block_statistics *blocks;
    const struct translate_statistics *translator;
    uint64_t instructions; /* executed, by all tiers; 0 if they are not counted */
};

/* Writes at most max lines, those about translated code only if there was any. Returns how many. */
unsigned int soft_statistics_rows(const struct soft_statistics_source *source,
                                  struct engine_counter *counters, unsigned int max);

#endif
