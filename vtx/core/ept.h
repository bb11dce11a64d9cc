/*
 * Extended page tables: from guest physical to physical addresses.
 *
 * Source:  Intel SDM volume 3, "The Extended Page Table Mechanism (EPT)".
 * Owner:   the VM; the tables' pages are the host's.
 * Thread:  one at a time; the caller locks. Processors may walk the tables meanwhile: each entry is
 *          written at once, upper levels last. Freestanding.
 */
#ifndef TRAPEZE_VTX_CORE_EPT_H
#define TRAPEZE_VTX_CORE_EPT_H

#include <stdbool.h>
#include <stdint.h>

#include "vtx/core/capabilities.h"
#include "vtx/core/host.h"

#define VTX_EPT_READ    (1u << 0)
#define VTX_EPT_WRITE   (1u << 1)
#define VTX_EPT_EXECUTE (1u << 2)
#define VTX_EPT_ALL     (VTX_EPT_READ | VTX_EPT_WRITE | VTX_EPT_EXECUTE)

enum vtx_memory_type { VTX_UNCACHEABLE = 0, VTX_WRITE_BACK = 6 };

#define VTX_SIZE_4K (UINT64_C(1) << 12)
#define VTX_SIZE_2M (UINT64_C(1) << 21)
#define VTX_SIZE_1G (UINT64_C(1) << 30)

struct vtx_ept {
    const struct vtx_host *host;
    const struct vtx_capabilities *capabilities;
    struct vtx_page root;
    uint64_t pointer; /* the EPT pointer as VMCS and INVEPT want it */
};

struct vtx_ept_entry {
    uint64_t physical;
    uint64_t size; /* VTX_SIZE_…: of the page that maps it, or of the hole */
    unsigned int permissions;
    enum vtx_memory_type type;
};

/* Allocates the root. VTX_NO_MEMORY. */
enum vtx_status vtx_ept_create(struct vtx_ept *ept, const struct vtx_host *host,
                               const struct vtx_capabilities *capabilities);

/* Frees the tables, not what they map. No processor may be using them. */
void vtx_ept_destroy(struct vtx_ept *ept);

/*
 * Maps [guest, guest + length) to physical memory, with the largest pages that alignment and
 * processor allow and that are not larger than size_max. What was mapped there is replaced; a
 * larger page that is partly covered is split.
 *
 * guest, physical, length: multiples of 4 KiB. Allocates.
 * VTX_INVALID: alignment, or beyond the processor's address width. VTX_NO_MEMORY: a part may be
 * mapped.
 */
enum vtx_status vtx_ept_map(struct vtx_ept *ept, uint64_t guest, uint64_t physical, uint64_t length,
                            unsigned int permissions, enum vtx_memory_type type, uint64_t size_max);

/* Takes away whatever is mapped in the range, splitting pages at its ends. Allocates for that. */
enum vtx_status vtx_ept_unmap(struct vtx_ept *ept, uint64_t guest, uint64_t length);

/* What a guest physical address leads to. False: nothing; entry->size is that of the hole. */
bool vtx_ept_walk(const struct vtx_ept *ept, uint64_t guest, struct vtx_ept_entry *entry);

/*
 * INVEPT: this processor forgets what it remembers of the tables. After unmapping, and after
 * permissions were taken away, on each processor that may have run the VM. In root mode.
 */
void vtx_ept_invalidate(const struct vtx_ept *ept);

#endif
