/*
 * Below memory.h: misses of the TLB, physical memory, MMIO.
 *
 * Owner, thread: the vCPU.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TRANSLATE_H
#define TRAPEZE_ENGINES_SOFT_TRANSLATE_H

#include "engines/soft/memory.h"
#include "engines/soft/tlb.h"

struct soft_translation {
    uint64_t physical; /* of the byte asked for */
    uint8_t *host;     /* of that byte; NULL: MMIO */
    bool read_only;    /* ROM: stores go to the bus */
};

/*
 * Translates one access within a page in a regime, raising #PF; fills the TLB where a later access
 * may hit. user: the access counts as user-mode.
 */
struct soft_translation soft_translate(struct soft_cpu *cpu, enum soft_regime regime,
                                       uint64_t linear, enum soft_access access);

/* The regime of ordinary accesses at the current privilege. */
enum soft_regime soft_current_regime(const struct soft_cpu *cpu);

/* An access to no RAM, size 1..8: replayed, or leaves the run loop. */
uint64_t soft_mmio_read(struct soft_cpu *cpu, uint64_t physical, unsigned int size);
void soft_mmio_write(struct soft_cpu *cpu, uint64_t physical, uint64_t value, unsigned int size);

/* Takes over the answer of the MMIO exit that was served. */
void soft_mmio_complete(struct soft_cpu *cpu);

/* Appends an access that has been served; replay starts from the first again. */
void soft_mmio_record(struct soft_cpu *cpu, const struct soft_mmio_record *record);

static inline bool soft_mmio_log_is_full(const struct soft_cpu *cpu)
{
    return cpu->mmio_done == SOFT_MMIO_LOG_MAX;
}

/* Loads the PAE page-directory-pointer registers; false is #GP(0). */
bool soft_load_pdptes(struct soft_cpu *cpu, uint64_t cr3);

int soft_tlb_create(struct soft_cpu *cpu);
void soft_tlb_destroy(struct soft_cpu *cpu);

#endif
