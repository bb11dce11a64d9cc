#include "boot/e820.h"

#include <errno.h>
#include <inttypes.h>

#include "boot/layout.h"

#define PAGE_SIZE UINT64_C(4096)

static void add(struct e820_map *map, uint64_t base, uint64_t end, enum e820_type type)
{
    if (end > base && map->count < E820_ENTRIES_MAX) {
        map->entries[map->count++] =
            (struct e820_entry){.base = base, .length = end - base, .type = type};
    }
}

static int check_size(uint64_t ram, struct error *error)
{
    if (ram < BOOT_RAM_MIN) {
        return error_set(error, EINVAL,
                         "%" PRIu64 " KiB of guest memory is too little: give it at least 1 MiB",
                         ram / 1024);
    }
    if (ram > BOOT_RAM_MAX) {
        return error_set(error, EINVAL,
                         "%" PRIu64 " GiB of guest memory is too much: 512 GiB is the most",
                         ram >> 30);
    }
    if (ram % PAGE_SIZE != 0) {
        return error_set(
            error, EINVAL,
            "a guest memory size of %" PRIu64 " bytes is not a multiple of 4096: round it", ram);
    }
    return 0;
}

int boot_memory_layout_make(uint64_t ram, struct boot_memory_layout *layout, struct error *error)
{
    int status = check_size(ram, error);
    if (status != 0) {
        return status;
    }
    uint64_t low = ram < BOOT_LOW_RAM_MAX ? ram : BOOT_LOW_RAM_MAX;
    *layout = (struct boot_memory_layout){
        .slot_count = 1,
        .slots = {{.base = gpa(0), .length = low}},
        .low_ram_end = low,
        .high_ram_end = BOOT_FOUR_GIB + (ram - low),
    };
    if (ram > low) {
        layout->slots[layout->slot_count++] =
            (struct boot_memory_slot){.base = gpa(BOOT_FOUR_GIB), .length = ram - low};
    }

    struct e820_map *map = &layout->map;
    add(map, 0, BOOT_EBDA_BASE, E820_USABLE);
    add(map, BOOT_EBDA_BASE, BOOT_LEGACY_BASE, E820_RESERVED);
    add(map, BOOT_LEGACY_BASE, BOOT_HIGH_BASE, E820_RESERVED);
    add(map, BOOT_HIGH_BASE, low, E820_USABLE);
    add(map, BOOT_IOAPIC_BASE, BOOT_IOAPIC_BASE + PAGE_SIZE, E820_RESERVED);
    add(map, BOOT_LAPIC_BASE, BOOT_LAPIC_BASE + PAGE_SIZE, E820_RESERVED);
    add(map, BOOT_PCI_ECAM_BASE, BOOT_PCI_ECAM_BASE + BOOT_PCI_ECAM_SIZE, E820_RESERVED);
    add(map, BOOT_FOUR_GIB, layout->high_ram_end, E820_USABLE);
    return 0;
}
