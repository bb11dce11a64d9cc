/*
 * One table of the software TLB: from linear pages to host memory.
 *
 * Purpose: a load or store of the guest costs one compare. Read, write and fetch have tags of their
 *          own, so that a hit means "allowed": a write tag is there only when the page may be
 *          written, its dirty flag is set, it is RAM, and no vCPU has decoded code from it.
 *          MMIO and ROM never get write tags (MMIO no tags at all). Which table serves whom is told
 *          in tlb_set.h.
 * Owner:   one vCPU. Other vCPUs may *clear* write tags (code.h); nobody else sets any.
 * Thread:  the vCPU's own, but for that.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TLB_H
#define TRAPEZE_ENGINES_SOFT_TLB_H

#include <stdbool.h>
#include <stddef.h>
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
    uint64_t physical;  /* of the page */
    uint64_t page_size; /* of the mapping that the page is a piece of */
    bool global;
    uint8_t logged; /* bit n: its index is in logs[n] */
};

/* Entries that may hold something: a flush need not see the rest. */
struct soft_tlb_log {
    unsigned int count;
    uint16_t index[SOFT_TLB_ENTRIES]; /* each at most once */
};

/* A set of numbers that may answer yes where no would be right: a bit for each hash. */
struct soft_tlb_filter {
    uint64_t words[64];
    bool used;
};

struct soft_tlb {
    struct soft_tlb_entry entry[SOFT_TLB_ENTRIES]; /* first: translated code counts on it */
    struct soft_tlb_detail detail[SOFT_TLB_ENTRIES];
    struct soft_tlb_log logs[2];   /* [1]: of global pages */
    uint64_t large_sizes;          /* the sizes, each a bit, of the large pages that were filled */
    uint8_t global_halves;         /* bit n: a global page with bit 63 = n was filled */
    struct soft_tlb_filter large;  /* which large pages may have pieces here */
    struct soft_tlb_filter stores; /* host pages that may have a write tag; others read it */
};

_Static_assert(sizeof(struct soft_tlb_entry) == 32, "translated code shifts by five");
_Static_assert(offsetof(struct soft_tlb, entry) == 0, "translated code adds the index alone");

static inline unsigned int soft_tlb_index(uint64_t linear)
{
    return (unsigned int)(linear >> 12) & (SOFT_TLB_ENTRIES - 1);
}

/* A tag for an empty entry: a page that never falls into this index, so nothing matches it. */
static inline uint64_t soft_tlb_empty_tag(unsigned int index)
{
    return (uint64_t)(~index & (SOFT_TLB_ENTRIES - 1)) << 12;
}

/* --- a table as a whole; tlb_set.h has what instructions call --- */

/* NULL when the host has no memory. */
struct soft_tlb *soft_tlb_table_create(void);
void soft_tlb_table_destroy(struct soft_tlb *table); /* NULL is none */

void soft_tlb_table_flush(struct soft_tlb *table, bool keep_global);

/* Drops the page that linear lies in, all pieces of a large one. only_global: if it is global. */
void soft_tlb_table_flush_page(struct soft_tlb *table, uint64_t linear, bool only_global);

/* Takes the write tags of the page at that host address. Any thread. */
void soft_tlb_table_take_write_tags(struct soft_tlb *table, const uint8_t *page_host);

#endif
