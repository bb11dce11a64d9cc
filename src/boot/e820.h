/*
 * The memory map a PC's firmware would report, and the memory slots that go with it.
 *
 * Source:  ACPI specification, "System Address Map Interfaces" (INT 15h, E820h).
 * Owner:   plain values. Thread: any.
 */
#ifndef TRAPEZE_BOOT_E820_H
#define TRAPEZE_BOOT_E820_H

#include <stdint.h>

#include "base/error.h"
#include "vm/guestmem.h"

enum e820_type { E820_USABLE = 1, E820_RESERVED = 2, E820_ACPI = 3, E820_NVS = 4 };

struct e820_entry {
    uint64_t base;
    uint64_t length;
    enum e820_type type;
};

#define E820_ENTRIES_MAX 16

struct e820_map {
    unsigned int count;
    struct e820_entry entries[E820_ENTRIES_MAX]; /* ascending, no overlaps */
};

struct boot_memory_slot {
    gpa_t base;
    uint64_t length;
};

/* What a machine with so much RAM looks like. */
struct boot_memory_layout {
    unsigned int slot_count; /* pass each to guestmem_add */
    struct boot_memory_slot slots[2];
    uint64_t low_ram_end;  /* RAM is [0, low_ram_end) … */
    uint64_t high_ram_end; /* … and [4 GiB, high_ram_end); 4 GiB when there is none */
    struct e820_map map;
};

/*
 * Computes the layout for `ram` bytes: up to 3 GiB from address 0, the rest above 4 GiB.
 *
 * Errors: -EINVAL when ram is no multiple of 4096, below 1 MiB or above 512 GiB.
 */
int boot_memory_layout_make(uint64_t ram, struct boot_memory_layout *layout, struct error *error);

#endif
