/*
 * The page walk: from a linear address to a guest physical one, by the guest's own tables.
 *
 * Purpose: 32-bit, PAE, 4-level and 5-level paging with every permission check, exact page-fault
 *          error codes, and accessed/dirty bits set atomically. Used by the software CPU, the
 *          debugger and the diagnostics of the other engines.
 * Source:  Intel SDM volume 3, "Paging".
 * Owner:   the caller; nothing is kept between calls.
 * Thread:  any: several walks and guest stores may touch one table at a time. Freestanding.
 */
#ifndef TRAPEZE_X86_PAGING_H
#define TRAPEZE_X86_PAGING_H

#include <stdbool.h>
#include <stdint.h>

enum paging_access { PAGING_READ, PAGING_WRITE, PAGING_FETCH };

struct paging_context {
    uint64_t cr0, cr3, cr4, efer;
    uint32_t pkru;
    bool smap_lifted;      /* EFLAGS.AC = 1 and an explicit access */
    uint8_t physical_bits; /* MAXPHYADDR */
    const uint64_t *pdpte; /* the four PDPTE registers; used by PAE paging only */
    /*
     * The host address of the naturally aligned 4 or 8 bytes at a guest physical address, or NULL
     * where there is no RAM (reads as all ones, so the walk ends in a reserved-bit fault or, for an
     * entry without reserved bits set, is treated as not present).
     */
    void *(*entry)(void *context, uint64_t physical);
    void *context;
};

struct paging_result {
    uint64_t physical;  /* of the address itself, not only of its page */
    uint64_t page_size; /* 4K, 2M, 4M, 1G; with paging off 4K */
    uint32_t error;     /* page-fault error code, when the walk failed */
    bool writable;      /* a later write needs no walk: allowed, and the dirty flag is set */
    bool executable;    /* a fetch at this privilege is allowed */
    bool global;
    bool user; /* a user-mode page */
};

enum paging_outcome {
    PAGING_OK,
    PAGING_FAULT, /* result->error */
    PAGING_RETRY  /* the tables changed under the walk too often: run the instruction again */
};

/*
 * Walks for one access. update: set accessed and dirty flags (a debugger's look does not).
 * user: the access is a user-mode access (CPL = 3 and not implicit).
 */
enum paging_outcome paging_walk(const struct paging_context *context, uint64_t linear,
                                enum paging_access access, bool user, bool update,
                                struct paging_result *result);

/*
 * True if the four PDPTEs that CR3 points at are valid ("PDPTE Registers": reserved bits clear in
 * present entries); copies them out. False is #GP(0) for whoever loads CR3.
 */
bool paging_load_pdptes(const struct paging_context *context, uint64_t cr3, uint64_t pdptes[4]);

#endif
