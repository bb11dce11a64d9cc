/*
 * How eagerly code is translated while the code cache is too small for what runs.
 *
 * Purpose: when regions turn over faster than their blocks are used, translating costs more than it
 *          gains. Then only one in 2 to the power of `level` of the places without a translation
 *          that control comes to is considered at all: what runs most often is found soonest, and
 *          all else costs what it costs in the interpreter.
 * Owner:   the vCPU's translator. Thread: its own.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TRANSLATE_PRESSURE_H
#define TRAPEZE_ENGINES_SOFT_TRANSLATE_PRESSURE_H

#include <stdbool.h>
#include <stdint.h>

struct translate_pressure {
    unsigned int level, places;
    uint64_t since;  /* time stamp: when the level was looked at last */
    uint64_t making; /* time stamp cycles that went into blocks since then */
};

/* A region has been emptied to make room. now: the host's time stamp counter. */
void translate_pressure_evicted(struct translate_pressure *pressure, uint64_t now);

/* Without evictions the level goes down again. */
void translate_pressure_relax(struct translate_pressure *pressure, uint64_t now);

/* Is it this place's turn? */
static inline bool translate_pressure_considers(struct translate_pressure *pressure)
{
    return (pressure->places++ & ((1u << pressure->level) - 1)) == 0;
}

#endif
