#include "vtx/bare/boot_information.h"

#include <stddef.h>
#include <string.h>

#include "boot/bytes.h"
#include "vtx/bare/start.h"

#define MAPPED_END UINT64_C(0x100000000)

/* The multiboot information, by offset. */
#define MULTIBOOT_FLAGS        0
#define MULTIBOOT_COMMAND_LINE 16
#define MULTIBOOT_MODULES      20 /* count, address */
#define MULTIBOOT_MAP          44 /* length, address */
#define MULTIBOOT_HAS_LINE     (1u << 2)
#define MULTIBOOT_HAS_MODULES  (1u << 3)
#define MULTIBOOT_HAS_MAP      (1u << 6)
#define MULTIBOOT_MODULE_SIZE  16
#define MAP_ENTRY_SIZE_MIN     20

/* struct hvm_start_info, by offset; entries of its two lists. */
#define PVH_VERSION        4
#define PVH_MODULE_COUNT   12
#define PVH_MODULES        16
#define PVH_COMMAND_LINE   24
#define PVH_MAP            40
#define PVH_MAP_COUNT      48
#define PVH_MODULE_SIZE    32
#define PVH_MAP_ENTRY_SIZE 24

#define MEMORY_USABLE 1u

/* Where physical memory can be looked at: all of it, as it is mapped to itself. NULL: nowhere. */
static const uint8_t *at(uint64_t physical, uint64_t length)
{
    bool is_mapped = physical != 0 && physical < MAPPED_END && length <= MAPPED_END - physical;
    return is_mapped ? (const uint8_t *)physical : NULL;
}

/* Copies a line of the loader's; what is too long for the copy is cut off. */
static void copy_line(char *copy, size_t size, uint64_t physical)
{
    size_t length = 0;
    for (const uint8_t *byte; length + 1 < size; length++) {
        byte = at(physical + length, 1);
        if (byte == NULL || *byte == 0) {
            break;
        }
        copy[length] = (char)*byte;
    }
    copy[length] = 0;
}

/*
 * Some loaders put the file's path before the line. A first word with a slash or a dot and no
 * equals sign is one.
 */
static void drop_path(char *line)
{
    bool is_path = false;
    char *rest = line;
    for (; *rest != 0 && *rest != ' '; rest++) {
        if (*rest == '=') {
            return;
        }
        is_path |= *rest == '/' || *rest == '.';
    }
    while (*rest == ' ') {
        rest++;
    }
    if (is_path) {
        memmove(line, rest, strlen(rest) + 1);
    }
}

static void add_memory(struct boot_information *information, uint64_t base, uint64_t length)
{
    if (information->memory_count == BOOT_RANGES_MAX || base >= MAPPED_END || length == 0) {
        return;
    }
    uint64_t end = length > MAPPED_END - base ? MAPPED_END : base + length;
    information->memory[information->memory_count++] = (struct memory_range){base, end};
}

static void add_module(struct boot_information *information, uint64_t begin, uint64_t end,
                       uint64_t line)
{
    if (information->module_count == BOOT_INFO_MODULES_MAX || begin >= end || end > MAPPED_END) {
        return;
    }
    struct boot_module_file *module = &information->modules[information->module_count++];
    module->at = (struct memory_range){begin, end};
    copy_line(module->line, sizeof(module->line), line);
    drop_path(module->line);
}

static void read_multiboot_map(struct boot_information *information, uint32_t address,
                               uint32_t length)
{
    for (uint32_t offset = 0; offset + 4 + MAP_ENTRY_SIZE_MIN <= length;) {
        const uint8_t *entry = at((uint64_t)address + offset, 4 + MAP_ENTRY_SIZE_MIN);
        if (entry == NULL) {
            return;
        }
        uint32_t size = bytes_get32(entry); /* of what follows */
        if (bytes_get32(entry + 20) == MEMORY_USABLE) {
            add_memory(information, bytes_get64(entry + 4), bytes_get64(entry + 12));
        }
        if (size < MAP_ENTRY_SIZE_MIN || size > length) {
            return;
        }
        offset += 4 + size;
    }
}

static void read_multiboot(struct boot_information *information, const uint8_t *header)
{
    uint32_t flags = bytes_get32(header + MULTIBOOT_FLAGS);
    if ((flags & MULTIBOOT_HAS_LINE) != 0) {
        copy_line(information->command_line, sizeof(information->command_line),
                  bytes_get32(header + MULTIBOOT_COMMAND_LINE));
    }
    if ((flags & MULTIBOOT_HAS_MAP) != 0) {
        read_multiboot_map(information, bytes_get32(header + MULTIBOOT_MAP + 4),
                           bytes_get32(header + MULTIBOOT_MAP));
    }
    uint32_t count = bytes_get32(header + MULTIBOOT_MODULES);
    uint64_t list = bytes_get32(header + MULTIBOOT_MODULES + 4);
    for (uint32_t i = 0; (flags & MULTIBOOT_HAS_MODULES) != 0 && i < count; i++) {
        const uint8_t *entry =
            at(list + (uint64_t)i * MULTIBOOT_MODULE_SIZE, MULTIBOOT_MODULE_SIZE);
        if (entry == NULL || i == BOOT_INFO_MODULES_MAX) {
            return;
        }
        add_module(information, bytes_get32(entry), bytes_get32(entry + 4), bytes_get32(entry + 8));
    }
}

static void read_pvh(struct boot_information *information, const uint8_t *header)
{
    copy_line(information->command_line, sizeof(information->command_line),
              bytes_get64(header + PVH_COMMAND_LINE));
    uint64_t map = bytes_get64(header + PVH_MAP);
    uint32_t entries =
        bytes_get32(header + PVH_VERSION) >= 1 ? bytes_get32(header + PVH_MAP_COUNT) : 0;
    for (uint32_t i = 0; i < entries && i < BOOT_RANGES_MAX; i++) {
        const uint8_t *entry = at(map + (uint64_t)i * PVH_MAP_ENTRY_SIZE, PVH_MAP_ENTRY_SIZE);
        if (entry != NULL && bytes_get32(entry + 16) == MEMORY_USABLE) {
            add_memory(information, bytes_get64(entry), bytes_get64(entry + 8));
        }
    }
    uint64_t list = bytes_get64(header + PVH_MODULES);
    uint32_t count = bytes_get32(header + PVH_MODULE_COUNT);
    for (uint32_t i = 0; i < count && i < BOOT_INFO_MODULES_MAX; i++) {
        const uint8_t *entry = at(list + (uint64_t)i * PVH_MODULE_SIZE, PVH_MODULE_SIZE);
        if (entry != NULL) {
            uint64_t begin = bytes_get64(entry);
            add_module(information, begin, begin + bytes_get64(entry + 8), bytes_get64(entry + 16));
        }
    }
}

bool boot_information_read(uint32_t magic, uint32_t address, struct boot_information *information)
{
    memset(information, 0, sizeof(*information));
    const uint8_t *header = at(address, 120);
    if (header == NULL) {
        return false;
    }
    if (magic == BOOT_MAGIC_MULTIBOOT) {
        read_multiboot(information, header);
    } else if (magic == BOOT_MAGIC_PVH) {
        read_pvh(information, header);
    }
    drop_path(information->command_line);
    return information->memory_count != 0;
}
