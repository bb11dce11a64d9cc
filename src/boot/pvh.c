#include "boot/pvh.h"

#include <errno.h>
#include <inttypes.h>

#include "boot/bytes.h"
#include "boot/cpu_state.h"
#include "boot/layout.h"
#include "boot/place.h"

#define NOTE_NAME         "Xen"
#define NOTE_PHYS32_ENTRY 18

/* struct hvm_start_info, version 1, and what it points at. */
#define START_INFO_SIZE    56
#define START_INFO_MAGIC   0x336ec578u
#define START_INFO_VERSION 1
#define MODULE_SIZE        32
#define MEMORY_MAP_ENTRY   24
#define MODULES_BASE       BOOT_LISTS_BASE
#define MEMORY_MAP_BASE    (BOOT_LISTS_BASE + MODULE_SIZE)

int pvh_find_entry(const struct kernel_file *file, const struct elf_image *image, uint64_t *entry,
                   struct error *error)
{
    return elf_find_note(file, image, NOTE_NAME, NOTE_PHYS32_ENTRY, entry, error);
}

static int place_module(const struct boot_context *context, const struct placed_file *initrd,
                        struct error *error)
{
    uint8_t module[MODULE_SIZE] = {0};
    bytes_put64(module, initrd->address);
    bytes_put64(module + 8, initrd->length);
    return place_bytes(context->memory, MODULES_BASE, module, sizeof(module), error);
}

static int place_memory_map(const struct boot_context *context, struct error *error)
{
    const struct e820_map *map = &context->layout->map;
    uint8_t entries[E820_ENTRIES_MAX * MEMORY_MAP_ENTRY] = {0};
    for (unsigned int i = 0; i < map->count; i++) {
        uint8_t *entry = entries + MEMORY_MAP_ENTRY * i;
        bytes_put64(entry, map->entries[i].base);
        bytes_put64(entry + 8, map->entries[i].length);
        bytes_put32(entry + 16, map->entries[i].type);
    }
    return place_bytes(context->memory, MEMORY_MAP_BASE, entries,
                       (size_t)map->count * MEMORY_MAP_ENTRY, error);
}

static int place_start_info(const struct boot_context *context, const struct placed_file *initrd,
                            struct error *error)
{
    uint8_t info[START_INFO_SIZE] = {0};
    bytes_put32(info, START_INFO_MAGIC);
    bytes_put32(info + 4, START_INFO_VERSION);
    bytes_put32(info + 12, initrd->length != 0 ? 1 : 0);
    bytes_put64(info + 16, initrd->length != 0 ? MODULES_BASE : 0);
    bytes_put64(info + 24, BOOT_STRINGS_BASE);
    bytes_put64(info + 32, context->rsdp);
    bytes_put64(info + 40, MEMORY_MAP_BASE);
    bytes_put32(info + 48, context->layout->map.count);
    return place_bytes(context->memory, BOOT_INFORMATION_BASE, info, sizeof(info), error);
}

static int place_everything(const struct boot_context *context, uint64_t kernel_end,
                            struct error *error)
{
    struct placed_file initrd;
    int status = place_command_line(context, BOOT_STRINGS_SIZE - 1, error);
    if (status == 0) {
        status = place_initrd(context, kernel_end, BOOT_FOUR_GIB, &initrd, error);
    }
    if (status == 0) {
        status = place_module(context, &initrd, error);
    }
    if (status == 0) {
        status = place_memory_map(context, error);
    }
    if (status == 0) {
        status = place_start_info(context, &initrd, error);
    }
    return status;
}

/* The entry point and that it lies in what the image itself brings. */
static int find_checked_entry(const struct kernel_file *kernel, const struct elf_image *image,
                              uint64_t *entry, struct error *error)
{
    int found = pvh_find_entry(kernel, image, entry, error);
    if (found < 0) {
        return found;
    }
    if (found == 0) {
        return error_set(error, ENOEXEC,
                         "the ELF kernel '%s' has no PVH entry point: use the bzImage, or build "
                         "it with CONFIG_PVH=y",
                         kernel->path);
    }
    for (unsigned int i = 0; i < image->segment_count; i++) {
        const struct elf_segment *segment = &image->segments[i];
        if (segment->type == ELF_SEGMENT_LOAD && *entry >= segment->physical_address &&
            *entry - segment->physical_address < segment->file_size) {
            return 0;
        }
    }
    return error_set(error, ENOEXEC,
                     "the ELF kernel '%s' is broken (its PVH entry point 0x%" PRIx64
                     " is outside of it): get it or build it again",
                     kernel->path, *entry);
}

int pvh_load(const struct boot_context *context, const struct kernel_file *kernel,
             struct x86_state *bootstrap, struct error *error)
{
    struct elf_image image;
    struct loaded_range range;
    uint64_t entry;

    int status = elf_parse(kernel, &image, error);
    if (status == 0) {
        status = find_checked_entry(kernel, &image, &entry, error);
    }
    if (status == 0) {
        status = elf_load(context, kernel, &image, &range, error);
    }
    if (status == 0) {
        status = place_everything(context, range.end, error);
    }
    if (status == 0) {
        status = cpu_state_protected(context->memory, entry, bootstrap, error);
        bootstrap->gpr[X86_RBX] = BOOT_INFORMATION_BASE;
    }
    return status;
}
