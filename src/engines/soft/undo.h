/*
 * A log of stores to guest memory, so that what the interpreter has done can be taken back.
 *
 * Purpose: the lockstep check (translate/lockstep.h) runs instructions to see what comes of them.
 *          While cpu->undo points at a log, memory.h notes here what each store is about to change,
 *          and vector instructions store through memory.h only.
 * Owner:   the checker. Thread: the vCPU's.
 */
#ifndef TRAPEZE_ENGINES_SOFT_UNDO_H
#define TRAPEZE_ENGINES_SOFT_UNDO_H

#include "engines/soft/cpu.h"

#define SOFT_UNDO_MAX       4096
#define SOFT_UNDO_BYTES_MAX 16

struct soft_undo_entry {
    uint8_t *host;
    uint64_t linear, physical;
    uint8_t size;                        /* bytes, 1 to SOFT_UNDO_BYTES_MAX; within a page */
    uint8_t before[SOFT_UNDO_BYTES_MAX]; /* what was there before the store */
    uint8_t after[SOFT_UNDO_BYTES_MAX];  /* what soft_undo_collect found */
};

struct soft_undo {
    unsigned int count;
    struct soft_undo_entry entry[SOFT_UNDO_MAX]; /* in the order of the stores; they may overlap */
};

/*
 * Notes that [host, host + size), which is guest memory at a linear address, is about to be stored
 * to. Leaves the instruction by soft_restart(), before anything has changed, when the store could
 * not be taken back: it would hit decoded code, or the log is full.
 */
void soft_undo_note(struct soft_cpu *cpu, void *host, uint64_t linear, unsigned int size);

/*
 * A page walk is about to read the entry at host (and may set its accessed and dirty flags, which
 * nobody takes back). Leaves likewise if the log has a store to it.
 */
void soft_undo_note_walk(struct soft_cpu *cpu, const void *host);

/* Fills in `after` from memory as it is now. */
void soft_undo_collect(struct soft_undo *undo);

/* Puts back what was there before the first store. */
void soft_undo_take_back(const struct soft_undo *undo);

/* Puts `after` into memory: the opposite. */
void soft_undo_put_again(const struct soft_undo *undo);

#endif
