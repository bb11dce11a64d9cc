/*
 * Guest physical memory: typed addresses, slots, and copies with their bounds checked.
 *
 * Purpose: the only way from a guest physical address to bytes. Devices and loaders copy in and
 *          out; engines map the slots. A writer other than a CPU (device, loader, debugger) always
 *          goes through guestmem_write or guestmem_written, so that engines drop decoded code.
 * Owner:   struct guestmem belongs to the VM; slots are added before vCPUs run.
 * Thread:  lookups and copies from any thread (slots are immutable while vCPUs run).
 */
#ifndef TRAPEZE_VM_GUESTMEM_H
#define TRAPEZE_VM_GUESTMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* A guest physical address, in bytes. A type of its own so that it is never taken for a pointer. */
typedef struct {
    uint64_t v;
} gpa_t;

static inline gpa_t gpa(uint64_t value)
{
    return (gpa_t){.v = value};
}

static inline gpa_t gpa_add(gpa_t address, uint64_t bytes)
{
    return (gpa_t){.v = address.v + bytes};
}

#define GUESTMEM_SLOTS_MAX 16

#define GUESTMEM_READ_ONLY 1u /* the guest sees ROM: its writes go to the bus as MMIO */

struct memory_slot {
    unsigned int index; /* position in the guestmem's array, stable */
    gpa_t base;         /* page-aligned */
    uint64_t length;    /* bytes, a multiple of 4096 */
    uint8_t *host;      /* page-aligned */
    unsigned int flags; /* GUESTMEM_READ_ONLY */
};

struct guestmem;

/*
 * How memory is obtained. shared: from a memfd, so that another process can map it (else private
 * anonymous memory). huge pages are asked for (madvise) where the size pays.
 */
struct guestmem_options {
    bool shared;
};

int guestmem_create(const struct guestmem_options *options, struct guestmem **out,
                    struct error *error);
void guestmem_destroy(struct guestmem *memory);

/* Adds RAM or ROM of zeroes. Errors: -EINVAL (alignment, overlap), -ENOSPC (slots), -ENOMEM. */
int guestmem_add(struct guestmem *memory, gpa_t base, uint64_t length, unsigned int flags,
                 struct error *error);

unsigned int guestmem_slot_count(const struct guestmem *memory);
const struct memory_slot *guestmem_slot(const struct guestmem *memory, unsigned int index);

/*
 * The file that holds a slot of shared memory (from offset 0), for another process to map; -1
 * for private memory. It stays the guestmem's to close.
 */
int guestmem_file(const struct guestmem *memory, unsigned int index);

/* The slot that holds an address, or NULL. */
const struct memory_slot *guestmem_find(const struct guestmem *memory, gpa_t address);

/*
 * The host address of [address, address + length), or NULL when the range is not within one slot.
 * For engines and loaders; a device uses the copies below.
 */
void *guestmem_pointer(const struct guestmem *memory, gpa_t address, uint64_t length);

/*
 * Copies; -EFAULT when any byte is outside RAM (then nothing has been copied). ROM can be read but
 * not written: whoever loads it uses guestmem_pointer and guestmem_written.
 */
int guestmem_read(const struct guestmem *memory, gpa_t address, void *buffer, size_t length);
int guestmem_write(struct guestmem *memory, gpa_t address, const void *buffer, size_t length);

/* Tells listeners that a writer other than a CPU changed [address, address + length). */
void guestmem_written(struct guestmem *memory, gpa_t address, uint64_t length);

/* At most one listener: the engine's. Set before vCPUs run. Called from the writer's thread. */
void guestmem_set_listener(struct guestmem *memory,
                           void (*written)(void *context, gpa_t address, uint64_t length),
                           void *context);

/* Bytes of guest memory in all slots. */
uint64_t guestmem_total(const struct guestmem *memory);

#endif
