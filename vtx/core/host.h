/*
 * What the core asks of the program that it is linked into: memory.
 *
 * Purpose: a kernel module and a bare image have different ways to get a page; the core knows
 *          neither. Everything else (interrupts, time, devices) is asked the other way round: the
 *          embedder calls the core.
 * Owner:   the embedder; must live as long as what was made with it.
 * Thread:  called on the thread that called the core; allocate_page and free_page only from
 *          functions of the core whose comments say that they allocate, which are never called
 *          with interrupts off.
 */
#ifndef TRAPEZE_VTX_CORE_HOST_H
#define TRAPEZE_VTX_CORE_HOST_H

#include <stdint.h>

#define VTX_PAGE_SIZE UINT64_C(4096)

struct vtx_host {
    void *context;
    /* 4 KiB of zeroes, naturally aligned; their physical address goes to *physical. NULL: none. */
    void *(*allocate_page)(void *context, uint64_t *physical);
    void (*free_page)(void *context, void *page);
    /*
     * Where the byte at a physical address can be read and written: pages of allocate_page, and
     * those that were given to vtx_ept_map. The rest of its 4 KiB page follows. NULL: nowhere.
     */
    void *(*pointer)(void *context, uint64_t physical);
};

/* A page that the core has from its host. */
struct vtx_page {
    void *at;
    uint64_t physical;
};

#endif
