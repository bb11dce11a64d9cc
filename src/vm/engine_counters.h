/*
 * An engine's own counters, added up over vCPUs and printed.
 *
 * Purpose: --stats shows what an engine counts without knowing what it means (engine.h).
 * Owner:   the caller's arrays.
 * Thread:  any; what is read must not change meanwhile.
 */
#ifndef TRAPEZE_VM_ENGINE_COUNTERS_H
#define TRAPEZE_VM_ENGINE_COUNTERS_H

#include <stdio.h>

#include "vm/engine.h"

/* The counters of one vCPU, or of all. */
struct engine_counters {
    unsigned int count;
    struct engine_counter each[ENGINE_COUNTERS_MAX];
};

/*
 * Adds those of one vCPU to a sum that starts empty: by their names, new ones at the end. What is
 * more than there is room for is dropped.
 */
void engine_counters_add(struct engine_counters *sum, const struct engine_counters *more);

/* Prints a line for each under a title; nothing if there are none. */
void engine_counters_print(const struct engine_counters *counters, const char *title, FILE *out);

#endif
