#include "vm/bus.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "base/log.h"

void bus_init(struct bus *bus, const char *name)
{
    memset(bus, 0, sizeof(*bus));
    bus->name = name;
}

/* The index of the first mapping that ends after an address; bus->count if there is none. */
static unsigned int first_ending_after(const struct bus *bus, uint64_t address)
{
    unsigned int low = 0;
    unsigned int high = bus->count;

    while (low < high) {
        unsigned int middle = (low + high) / 2;
        const struct bus_mapping *mapping = &bus->mappings[middle];

        if (mapping->base + (mapping->length - 1) < address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static const struct bus_mapping *find(const struct bus *bus, uint64_t address)
{
    unsigned int index = first_ending_after(bus, address);

    if (index == bus->count || bus->mappings[index].base > address) {
        return NULL;
    }
    return &bus->mappings[index];
}

int bus_map(struct bus *bus, uint64_t base, uint64_t length, const char *name, bus_io_fn *io,
            void *device)
{
    if (length == 0 || base > UINT64_MAX - (length - 1)) {
        return -EINVAL;
    }

    unsigned int index = first_ending_after(bus, base);

    if (index < bus->count && bus->mappings[index].base <= base + (length - 1)) {
        return -EEXIST;
    }
    if (bus->count == BUS_MAPPINGS_MAX) {
        return -ENOSPC;
    }
    memmove(&bus->mappings[index + 1], &bus->mappings[index],
            (bus->count - index) * sizeof(bus->mappings[0]));
    bus->mappings[index] = (struct bus_mapping){
        .base = base, .length = length, .io = io, .device = device, .name = name};
    bus->count++;
    return 0;
}

void bus_unmap(struct bus *bus, uint64_t base)
{
    unsigned int index = first_ending_after(bus, base);

    if (index == bus->count || bus->mappings[index].base != base) {
        return;
    }
    bus->count--;
    memmove(&bus->mappings[index], &bus->mappings[index + 1],
            (bus->count - index) * sizeof(bus->mappings[0]));
}

/* All ones in as many bytes as an access has: what a bus nobody drives reads as. */
static uint64_t all_ones(uint8_t size)
{
    return size >= 8 ? UINT64_MAX : (UINT64_C(1) << (8 * size)) - 1;
}

/*
 * Says once an address that nothing answers there. At LOG_INFO: a stock kernel probes for dozens of
 * devices that are not there, and that is no reason to write on a person's terminal.
 */
static void log_unclaimed(struct bus *bus, uint64_t address, const struct bus_access *access)
{
    for (unsigned int i = 0; i < bus->unclaimed_count; i++) {
        if (bus->unclaimed[i] == address) {
            return;
        }
    }
    if (bus->unclaimed_count == BUS_UNCLAIMED_LOGGED_MAX) {
        return;
    }
    bus->unclaimed[bus->unclaimed_count++] = address;
    log_info("no device at %s 0x%" PRIx64 " (%u-byte %s)%s", bus->name, address, access->size,
             access->is_write ? "write" : "read",
             bus->unclaimed_count == BUS_UNCLAIMED_LOGGED_MAX ? "; no more of these are shown"
                                                              : "");
}

static void serve_whole(struct bus *bus, const struct bus_mapping *mapping, uint64_t address,
                        struct bus_access *access)
{
    if (mapping == NULL) {
        log_unclaimed(bus, address, access);
        if (!access->is_write) {
            access->value = all_ones(access->size);
        }
        return;
    }
    access->offset = address - mapping->base;
    mapping->io(mapping->device, access);
    if (!access->is_write) {
        access->value &= all_ones(access->size);
    }
}

/* True if one mapping, or none at all, answers for every byte of [address, last]. */
static bool is_undivided(const struct bus *bus, uint64_t address, uint64_t last)
{
    if (last < address) {
        return false;
    }

    unsigned int index = first_ending_after(bus, address);

    if (index == bus->count || bus->mappings[index].base > last) {
        return true;
    }
    return bus->mappings[index].base <= address && first_ending_after(bus, last) == index;
}

const struct bus_mapping *bus_serve(struct bus *bus, uint64_t address, struct bus_access *access)
{
    unsigned int size = access->size;
    bool natural = size == 1 || size == 2 || size == 4 || size == 8;

    access->offset = 0;
    if (natural && is_undivided(bus, address, address + (size - 1))) {
        const struct bus_mapping *mapping = find(bus, address);

        serve_whole(bus, mapping, address, access);
        return mapping;
    }

    /* Each byte goes to whoever claims it, lowest first. */
    const struct bus_mapping *first = NULL;
    uint64_t value = 0;

    for (unsigned int i = 0; i < size && i < 8; i++) {
        const struct bus_mapping *mapping = find(bus, address + i);
        struct bus_access byte = {.value = (access->value >> (8 * i)) & 0xff,
                                  .vcpu = access->vcpu,
                                  .size = 1,
                                  .is_write = access->is_write};

        serve_whole(bus, mapping, address + i, &byte);
        value |= byte.value << (8 * i);
        if (first == NULL) {
            first = mapping;
        }
    }
    if (!access->is_write) {
        access->value = value;
    }
    return first;
}
