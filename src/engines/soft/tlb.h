/*
 * The software TLB: from linear pages to host memory, one table for each translation regime.
 *
 * Purpose: a load or store of the guest costs one compare. Read, write and fetch have tags of their
 *          own, so that a hit means "allowed": a write tag is there only when the page may be
 *          written, its dirty flag is set, it is RAM, and no vCPU has decoded code from it.
 *          MMIO and ROM never get write tags (MMIO no tags at all).
 * Owner:   one vCPU. Other vCPUs may *clear* write tags (code.h); nobody else sets any.
 * Thread:  the vCPU's own, but for that.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TLB_H
#define TRAPEZE_ENGINES_SOFT_TLB_H

#include <stdbool.h>
#include <stdint.h>

#define SOFT_TLB_BITS    12
#define SOFT_TLB_ENTRIES (1u << SOFT_TLB_BITS)

struct soft_tlb_entry {
    uint64_t read_tag; /* the page's linear address, or a value that no address here can match */
    uint64_t write_tag;
    uint64_t fetch_tag;
    uint8_t *host; /* the page's first byte */
};

/* What only flushes and misses look at. */
struct soft_tlb_detail {
    uint64_t physical; /* of the page */
    uint64_t page_size;
    bool global;
    bool logged; /* its index is in the fill log */
};

struct soft_tlb {
    struct soft_tlb_entry entry[SOFT_TLB_ENTRIES];
    struct soft_tlb_detail detail[SOFT_TLB_ENTRIES];
    uint16_t log[SOFT_TLB_ENTRIES]; /* entries that hold something: a flush need not see the rest */
    unsigned int log_count;
    /* One bit for a hash of each 2-MByte region that has an entry of a large page. */
    uint64_t large_regions[4];
    bool has_wider_pages; /* of 4 MByte or 1 GByte: they span several regions */
};

static inline unsigned int soft_tlb_index(uint64_t linear)
{
    return (unsigned int)(linear >> 12) & (SOFT_TLB_ENTRIES - 1);
}

/* A tag for an empty entry: a page that never falls into this index, so nothing matches it. */
static inline uint64_t soft_tlb_empty_tag(unsigned int index)
{
    return (uint64_t)(~index & (SOFT_TLB_ENTRIES - 1)) << 12;
}

#endif
