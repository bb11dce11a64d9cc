/*
 * Physical memory: single pages, and large pieces for guests.
 *
 * Purpose: of the memory that the firmware calls usable, the largest range without the image and
 *          the modules is handed out: pages from its beginning, pieces from its end.
 * Owner:   the image has one; pages belong to whoever asked for them.
 * Thread:  one processor at a time. All memory below 4 GiB is mapped to itself.
 */
#ifndef TRAPEZE_VTX_BARE_PAGES_H
#define TRAPEZE_VTX_BARE_PAGES_H

#include <stddef.h>
#include <stdint.h>

#include "vtx/bare/boot_information.h"
#include "vtx/core/host.h"

#define PAGE_SIZE UINT64_C(4096)

struct pages {
    uint64_t next;     /* pages below have been handed out at least once */
    uint64_t end;      /* pieces are from here on */
    void *free;        /* pages that came back; each begins with a pointer to the next */
    unsigned int used; /* pages that are handed out now */
};

/* Chooses the range. image: what the image itself covers. */
void pages_init(struct pages *pages, const struct boot_information *information,
                struct memory_range image);

/* A page of zeroes, or NULL. */
void *pages_allocate(struct pages *pages);
void pages_free(struct pages *pages, void *page);

/* Pages one after the other, aligned to a power of two, of zeroes; never given back. Or NULL. */
void *pages_allocate_piece(struct pages *pages, uint64_t length, uint64_t alignment);

/* Bytes that are left for a piece. */
uint64_t pages_left(const struct pages *pages);

/* The core's view of the same; context is the struct pages. */
struct vtx_host pages_host(struct pages *pages);

#endif
