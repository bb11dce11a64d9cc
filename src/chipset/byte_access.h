/*
 * Wide accesses to devices whose registers are bytes.
 *
 * Purpose: the ISA bus turns a word or doubleword access to an 8-bit device into byte cycles at
 *          consecutive addresses, lowest first ("outw" to 0x70 selects and writes a register).
 * Owner, thread: no state; under the device lock. Freestanding.
 */
#ifndef TRAPEZE_CHIPSET_BYTE_ACCESS_H
#define TRAPEZE_CHIPSET_BYTE_ACCESS_H

#include <stdint.h>

#include "vm/bus.h"

typedef uint8_t byte_read_fn(void *device, uint64_t offset);
typedef void byte_write_fn(void *device, uint64_t offset, uint8_t value);

/* Serves an access as 1 to 8 byte cycles. read and write must take any offset. */
static inline void byte_access(void *device, struct bus_access *access, byte_read_fn *read,
                               byte_write_fn *write)
{
    uint64_t value = 0;

    for (unsigned int i = 0; i < access->size && i < 8; i++) {
        if (access->is_write) {
            write(device, access->offset + i, (uint8_t)(access->value >> (8 * i)));
        } else {
            value |= (uint64_t)read(device, access->offset + i) << (8 * i);
        }
    }
    if (!access->is_write) {
        access->value = value;
    }
}

#endif
