/*
 * Buses: which device answers at which port or guest physical address.
 *
 * Purpose: one sorted table for ports, one for MMIO. An access that no device claims is logged
 *          once an address and answered as hardware would: all ones; writes vanish.
 * Owner:   the VM; mapped at machine construction, and by devices that move (BARs) under the
 *          device lock.
 * Thread:  bus_access under the VM's device lock. Freestanding but for the log of unclaimed ones.
 */
#ifndef TRAPEZE_VM_BUS_H
#define TRAPEZE_VM_BUS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * One access. offset is relative to the base of the mapping. size is 1, 2, 4 or 8 bytes.
 * A read fills *value with size bytes, zero-extended; a write takes them from there.
 */
struct bus_access {
    uint64_t offset;
    uint64_t value;
    unsigned int vcpu; /* index of the vCPU that does it */
    uint8_t size;
    bool is_write;
};

typedef void bus_io_fn(void *device, struct bus_access *access);

struct bus_mapping {
    uint64_t base;
    uint64_t length;
    bus_io_fn *io;
    void *device;
    const char *name; /* for the log and statistics; a string constant */
};

#define BUS_MAPPINGS_MAX         64
#define BUS_UNCLAIMED_LOGGED_MAX 64

struct bus {
    const char *name;                              /* "port" or "memory" */
    struct bus_mapping mappings[BUS_MAPPINGS_MAX]; /* sorted by base */
    unsigned int count;
    uint64_t unclaimed[BUS_UNCLAIMED_LOGGED_MAX]; /* addresses that were logged already */
    unsigned int unclaimed_count;
};

void bus_init(struct bus *bus, const char *name);

/* Returns 0, -EINVAL for length 0 or wrap-around, -EEXIST on overlap, -ENOSPC when full. */
int bus_map(struct bus *bus, uint64_t base, uint64_t length, const char *name, bus_io_fn *io,
            void *device);
void bus_unmap(struct bus *bus, uint64_t base);

/*
 * Serves an access at an absolute address (access->offset is overwritten). An access that begins
 * in one mapping and ends beyond it is split into bytes, each served by whoever claims it.
 * Returns the mapping that took it (the first, if split), NULL if none did.
 */
const struct bus_mapping *bus_serve(struct bus *bus, uint64_t address, struct bus_access *access);

#endif
