/*
 * What the translator counts, for --stats.
 *
 * Purpose: whoever does something adds to a number here; engines/soft/statistics.c makes of them
 *          what people read. Plain additions: nobody else looks while the vCPU runs.
 * Owner:   one in each struct soft_cpu, so that translated code reaches it by GS.
 * Thread:  the vCPU's.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TRANSLATE_STATISTICS_H
#define TRAPEZE_ENGINES_SOFT_TRANSLATE_STATISTICS_H

#include <stdint.h>

/* "With count": only when struct soft_options.count asks for it, else 0. */
struct translate_statistics {
    /* --- translating --- */
    uint64_t blocks_translated;
    uint64_t guest_instructions_translated;
    uint64_t guest_bytes, host_bytes; /* of these blocks */
    uint64_t translate_ns;            /* with count */

    /* --- the code cache --- */
    uint64_t blocks_dropped;  /* their guest code changed */
    uint64_t regions_evicted; /* to make room */

    /* --- how control flows --- */
    uint64_t links_made, links_unmade;
    uint64_t blocks_run;             /* entered, from wherever; with count */
    uint64_t translated_entries;     /* from C into translated code */
    uint64_t dispatches;             /* the run loop looked for the block at RIP */
    uint64_t dispatch_hits;          /* … and found it in the jump cache */
    uint64_t jump_hits, jump_misses; /* indirect jumps looked up inline; with count */
    uint64_t direct_exits;           /* left by a direct jump that was not linked (yet) */

    /* --- memory --- */
    uint64_t tlb_accesses;            /* inline checks; with count */
    uint64_t slow_reads, slow_writes; /* checks that went to C */
    uint64_t group_misses;            /* checks shared by several accesses that had to be redone */

    /* --- left to C --- */
    uint64_t callouts; /* instructions run by tier 2 from translated code */

    /* --- the other tiers --- */
    uint64_t interpreted_blocks;
    uint64_t interpreted_instructions; /* of struct soft_cpu's `instructions`; with count */
    uint64_t lockstep_blocks;          /* compared under check=lockstep */

    /* --- time by tier, with count --- */
    uint64_t ns_translated, ns_interpreter; /* without translate_ns */
};

#endif
