/*
 * Which tables of the software TLB are in use: one for each regime, and for each live PCID.
 *
 * Purpose: an address space that comes back under its PCID finds its entries. The kernel's regime
 *          has one table for all PCIDs, in which global pages live on across switches; what is not
 *          global there goes with each switch, as entries carry no PCID. The other two regimes have
 *          a set of tables for each PCID. SOFT_TLB_SETS sets may be live; a further PCID takes the
 *          one that was left longest ago. With CR4.PCIDE = 0 there is one set, for PCID 0.
 *          cpu->tlbs are the current set's tables, so that nobody else needs to know of sets.
 * Source:  Intel SDM volume 3, "Process-Context Identifiers (PCIDs)", "Invalidation of TLBs and
 *          Paging-Structure Caches". No paging structures are cached.
 * Owner:   one vCPU. Thread: its own, but for soft_tlb_take_write_tags.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TLB_SET_H
#define TRAPEZE_ENGINES_SOFT_TLB_SET_H

#include <stdatomic.h>

#include "engines/soft/cpu.h"
#include "engines/soft/tlb.h"

#define SOFT_TLB_SETS 8

/* Pages, of any size, that code was fetched from, by a hash: others may seem to be among them. */
#define SOFT_CODE_PAGES_BITS 15
struct soft_code_pages {
    bool used; /* some bit is set */
    uint64_t words[1u << (SOFT_CODE_PAGES_BITS - 6)];
};

struct soft_tlb_set {
    /* Mapped when first needed, for as long as the vCPU lives; none for SOFT_REGIME_KERNEL. */
    _Atomic(struct soft_tlb *) table[SOFT_REGIME_COUNT];
    bool live; /* else its tables are empty, or not there */
    uint16_t pcid;
    uint64_t entered; /* when it became current last, counted in such events */
    /* In the lower half, since the tables were flushed last: flushes of other pages change no code.
     */
    struct soft_code_pages code_pages;
    /* While another set is current: code_generation[0], or 0 when it is to have a new number. */
    uint64_t code_generation;
};

struct soft_tlb_statistics {
    uint64_t fills[SOFT_REGIME_COUNT]; /* translations that the tables did not have */
    uint64_t switches;                 /* from one PCID to another */
    uint64_t returns;                  /* … whose set was live */
    uint64_t recycled;                 /* sets that were taken from their PCID for another */
};

struct soft_tlb_sets {
    struct soft_tlb_set set[SOFT_TLB_SETS];
    struct soft_tlb_set *current;
    uint64_t clock; /* of struct soft_tlb_set's `entered` */
    /*
     * Since everything was flushed last, code was fetched from a page of the upper half that is not
     * global, or from one of the lower half that is: what jumps remember of these halves' code
     * follows the kernel's habit, which is the opposite (cpu->code_generation).
     */
    bool upper_code_not_global, lower_code_global;
    struct soft_code_pages upper_code_pages; /* since everything was flushed */
    struct soft_tlb_statistics statistics;
};

/* Code was fetched there, from a page of that size. */
void soft_tlb_note_code(struct soft_cpu *cpu, uint64_t linear, uint64_t page_size, bool global);

/* Jumps into the lower half that other sets remember lead nowhere: their code may be gone. */
void soft_tlb_forget_code_of_others(struct soft_cpu *cpu);

/* Takes a page's write tags from all tables of that vCPU. Any thread, under cpus_lock. */
void soft_tlb_take_write_tags(struct soft_cpu *cpu, const uint8_t *page_host);

#endif
