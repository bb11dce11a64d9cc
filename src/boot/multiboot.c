#include "boot/multiboot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "boot/bytes.h"
#include "boot/cpu_state.h"
#include "boot/elf.h"
#include "boot/layout.h"
#include "boot/place.h"

/* "The layout of Multiboot header" */
#define SEARCH_LENGTH    8192
#define HEADER_SIZE      12
#define HEADER_ADDRESSES 32 /* with the address fields */
#define HEADER_MAGIC     0x1badb002u
#define FLAG_PAGE_ALIGN  (1u << 0)
#define FLAG_MEMORY_INFO (1u << 1)
#define FLAG_VIDEO_MODE  (1u << 2)
#define FLAGS_MANDATORY  0xffffu
#define FLAG_ADDRESSES   (1u << 16)

/* "Boot information format" */
#define INFO_SIZE          116
#define INFO_MEMORY        (1u << 0)
#define INFO_COMMAND_LINE  (1u << 2)
#define INFO_MODULES       (1u << 3)
#define INFO_MEMORY_MAP    (1u << 6)
#define INFO_LOADER_NAME   (1u << 9)
#define MODULE_ENTRY       16
#define MEMORY_MAP_ENTRY   24
#define LOADER_MAGIC       0x2badb002u
#define LOADER_NAME        "Trapeze"
#define MODULES_BASE       BOOT_LISTS_BASE
#define MODULE_ENTRIES_MAX (BOOT_MODULES_MAX + 1)
#define MEMORY_MAP_BASE    (BOOT_LISTS_BASE + 0x800)

_Static_assert(MODULE_ENTRIES_MAX *MODULE_ENTRY <= 0x800, "the module list fits");
_Static_assert(E820_ENTRIES_MAX *MEMORY_MAP_ENTRY <= 0x800, "the memory map fits");

#define PAGE_SIZE UINT64_C(4096)

struct header {
    uint64_t offset; /* in the file */
    uint32_t flags;
    uint32_t header_address, load_address, load_end, bss_end, entry; /* FLAG_ADDRESSES */
};

/* Strings go to BOOT_STRINGS_BASE one after the other. */
struct strings {
    char bytes[BOOT_STRINGS_SIZE];
    size_t length;
};

static int broken(const struct kernel_file *kernel, const char *what, struct error *error)
{
    return error_set(error, ENOEXEC,
                     "the multiboot kernel '%s' is broken (%s): get it or build it again",
                     kernel->path, what);
}

static bool is_header(const uint8_t *at)
{
    return bytes_get32(at) == HEADER_MAGIC &&
           bytes_get32(at) + bytes_get32(at + 4) + bytes_get32(at + 8) == 0;
}

/* Returns 1 when found, 0 when not, or an error. */
static int find_header(const struct kernel_file *kernel, struct header *header, struct error *error)
{
    uint8_t start[SEARCH_LENGTH + HEADER_ADDRESSES] = {0};
    size_t there = kernel->length < SEARCH_LENGTH ? (size_t)kernel->length : SEARCH_LENGTH;
    int status = kernel_file_read(kernel, 0, start, there, error);
    if (status != 0) {
        return status;
    }
    for (size_t offset = 0; offset + HEADER_SIZE <= there; offset += 4) {
        const uint8_t *at = start + offset;
        if (!is_header(at)) {
            continue;
        }
        *header = (struct header){.offset = offset, .flags = bytes_get32(at + 4)};
        if ((header->flags & FLAG_ADDRESSES) != 0) {
            if (offset + HEADER_ADDRESSES > there) {
                return broken(kernel, "its header is cut off", error);
            }
            header->header_address = bytes_get32(at + 12);
            header->load_address = bytes_get32(at + 16);
            header->load_end = bytes_get32(at + 20);
            header->bss_end = bytes_get32(at + 24);
            header->entry = bytes_get32(at + 28);
        }
        return 1;
    }
    return 0;
}

bool multiboot_recognise(const struct kernel_file *file)
{
    struct header header;
    return find_header(file, &header, NULL) > 0;
}

static int check_flags(const struct kernel_file *kernel, const struct header *header,
                       struct error *error)
{
    uint32_t mandatory = header->flags & FLAGS_MANDATORY;
    if ((mandatory & FLAG_VIDEO_MODE) != 0) {
        return error_set(error, ENOEXEC,
                         "the multiboot kernel '%s' asks for a video mode and there is no "
                         "display: build it for a text console",
                         kernel->path);
    }
    if ((mandatory & ~(FLAG_PAGE_ALIGN | FLAG_MEMORY_INFO)) != 0) {
        return error_set(error, ENOEXEC,
                         "the multiboot kernel '%s' asks for features that multiboot 1 does not "
                         "have (flags 0x%" PRIx32 "): build it without them",
                         kernel->path, header->flags);
    }
    return 0;
}

/* Where a flat image's parts are in the file and in memory. */
struct flat_image {
    uint64_t file_offset, load_address, load_length;
    struct loaded_range range;
};

/* "The address fields of Multiboot header" */
static int plan_flat(const struct kernel_file *kernel, const struct header *header,
                     struct flat_image *image, struct error *error)
{
    uint64_t before = (uint64_t)header->header_address - header->load_address;
    if (header->load_address > header->header_address || before > header->offset) {
        return broken(kernel, "its load address is after its header", error);
    }
    image->file_offset = header->offset - before;
    image->load_address = header->load_address;
    image->load_length = kernel->length - image->file_offset;
    if (header->load_end != 0) {
        if (header->load_end <= header->load_address) {
            return broken(kernel, "it ends before it starts", error);
        }
        image->load_length = header->load_end - header->load_address;
        if (image->load_length > kernel->length - image->file_offset) {
            return broken(kernel, "truncated: it ends after the file", error);
        }
    }
    uint64_t end = image->load_address + image->load_length;
    if (header->entry < image->load_address || header->entry >= end) {
        return broken(kernel, "its entry point is outside of it", error);
    }
    if (header->bss_end != 0) {
        if (header->bss_end < end) {
            return broken(kernel, "its zero-filled part ends before its data", error);
        }
        end = header->bss_end;
    }
    image->range = (struct loaded_range){.start = image->load_address, .end = end};
    return 0;
}

static int load_flat(const struct boot_context *context, const struct kernel_file *kernel,
                     const struct header *header, struct loaded_range *range, struct error *error)
{
    struct flat_image image = {0};
    int status = plan_flat(kernel, header, &image, error);
    if (status != 0) {
        return status;
    }
    *range = image.range;
    if (range->end > context->layout->low_ram_end) {
        return error_set(error, ENOSPC,
                         "the multiboot kernel '%s' needs memory up to 0x%" PRIx64
                         " and the guest's ends at 0x%" PRIx64 ": give the guest more",
                         kernel->path, range->end, context->layout->low_ram_end);
    }
    if (place_collides(context, range->start, range->end - range->start)) {
        return error_set(error, ENOEXEC,
                         "the multiboot kernel '%s' covers 0x%" PRIx64 "..0x%" PRIx64
                         ", where the boot information goes: link it at 1 MiB or above",
                         kernel->path, range->start, range->end);
    }
    return kernel_file_load(kernel, image.file_offset, image.load_length, context->memory,
                            gpa(image.load_address), error);
}

static int load_elf(const struct boot_context *context, const struct kernel_file *kernel,
                    uint64_t *entry, struct loaded_range *range, struct error *error)
{
    struct elf_image image;
    int status = elf_parse(kernel, &image, error);
    if (status != 0) {
        return status;
    }
    status = elf_load(context, kernel, &image, range, error);
    if (status == 0 && !elf_physical_entry(&image, entry)) {
        status = broken(kernel, "its entry point is outside of it", error);
    }
    return status;
}

static int load_image(const struct boot_context *context, const struct kernel_file *kernel,
                      uint64_t *entry, struct loaded_range *range, struct error *error)
{
    struct header header;
    int found = find_header(kernel, &header, error);
    if (found < 0) {
        return found;
    }
    if (found == 0) {
        return error_set(error, ENOEXEC, "'%s' has no multiboot header", kernel->path);
    }
    int status = check_flags(kernel, &header, error);
    if (status != 0) {
        return status;
    }
    if ((header.flags & FLAG_ADDRESSES) == 0) {
        return load_elf(context, kernel, entry, range, error);
    }
    *entry = header.entry;
    return load_flat(context, kernel, &header, range, error);
}

/* Appends "path arguments" and gives its guest physical address. */
static int add_string(struct strings *strings, const char *path, const char *arguments,
                      uint32_t *address, struct error *error)
{
    bool has_arguments = arguments != NULL && arguments[0] != '\0';
    size_t room = sizeof(strings->bytes) - strings->length;
    int length = snprintf(strings->bytes + strings->length, room, "%s%s%s", path,
                          has_arguments ? " " : "", has_arguments ? arguments : "");
    if (length < 0 || (size_t)length >= room) {
        return error_set(error, E2BIG,
                         "the command lines of kernel and modules have more than %zu characters: "
                         "shorten them",
                         sizeof(strings->bytes));
    }
    *address = (uint32_t)(BOOT_STRINGS_BASE + strings->length);
    strings->length += (size_t)length + 1;
    return 0;
}

/* Loads one module at *next, which moves to the page after it, and fills in its list entry. */
static int load_module(const struct boot_context *context, const struct boot_module *module,
                       struct strings *strings, uint64_t *next, uint8_t *entry, struct error *error)
{
    struct kernel_file file;
    uint32_t line = 0;
    int status = add_string(strings, module->path, module->arguments, &line, error);
    if (status == 0) {
        status = kernel_file_open(module->path, "module", &file, error);
    }
    if (status != 0) {
        return status;
    }
    uint64_t room = context->layout->low_ram_end > *next ? context->layout->low_ram_end - *next : 0;
    if (file.length > room) {
        status = error_set(error, ENOSPC,
                           "the module '%s' of %" PRIu64 " KiB does not fit in the %" PRIu64
                           " KiB of guest memory that are left: give the guest more",
                           file.path, (file.length + 1023) / 1024, room / 1024);
    } else {
        status = kernel_file_load(&file, 0, file.length, context->memory, gpa(*next), error);
    }
    bytes_put32(entry, (uint32_t)*next);
    bytes_put32(entry + 4, (uint32_t)(*next + file.length));
    bytes_put32(entry + 8, line);
    *next = (*next + file.length + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
    kernel_file_close(&file);
    return status;
}

/* Loads all modules after `end` and writes their list. */
static int load_modules(const struct boot_context *context, uint64_t end, struct strings *strings,
                        unsigned int *count, struct error *error)
{
    const struct boot_request *request = context->request;
    uint8_t list[MODULE_ENTRIES_MAX * MODULE_ENTRY] = {0};
    uint64_t next =
        end < BOOT_HIGH_BASE ? BOOT_HIGH_BASE : (end + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
    int status = 0;

    *count = 0;
    if (request->module_count > BOOT_MODULES_MAX) {
        return error_set(error, EINVAL, "%u modules are too many: %d is the most",
                         request->module_count, BOOT_MODULES_MAX);
    }
    if (request->initrd != NULL) {
        struct boot_module initrd = {.path = request->initrd};
        status = load_module(context, &initrd, strings, &next, list, error);
        *count = 1;
    }
    for (unsigned int i = 0; status == 0 && i < request->module_count; i++) {
        status = load_module(context, &request->modules[i], strings, &next,
                             list + (size_t)MODULE_ENTRY * *count, error);
        (*count)++;
    }
    if (status == 0) {
        status = place_bytes(context->memory, MODULES_BASE, list, sizeof(list), error);
    }
    return status;
}

static int place_memory_map(const struct boot_context *context, struct error *error)
{
    const struct e820_map *map = &context->layout->map;
    uint8_t entries[E820_ENTRIES_MAX * MEMORY_MAP_ENTRY] = {0};
    for (unsigned int i = 0; i < map->count; i++) {
        uint8_t *entry = entries + MEMORY_MAP_ENTRY * i;
        bytes_put32(entry, MEMORY_MAP_ENTRY - 4); /* the size field does not count itself */
        bytes_put64(entry + 4, map->entries[i].base);
        bytes_put64(entry + 12, map->entries[i].length);
        bytes_put32(entry + 20, map->entries[i].type);
    }
    return place_bytes(context->memory, MEMORY_MAP_BASE, entries,
                       (size_t)map->count * MEMORY_MAP_ENTRY, error);
}

static int place_information(const struct boot_context *context, uint32_t command_line,
                             uint32_t loader_name, unsigned int module_count, struct error *error)
{
    uint8_t info[INFO_SIZE] = {0};
    bytes_put32(info, INFO_MEMORY | INFO_COMMAND_LINE | INFO_MODULES | INFO_MEMORY_MAP |
                          INFO_LOADER_NAME);
    bytes_put32(info + 4, (uint32_t)(BOOT_EBDA_BASE / 1024));
    bytes_put32(info + 8, (uint32_t)((context->layout->low_ram_end - BOOT_HIGH_BASE) / 1024));
    bytes_put32(info + 16, command_line);
    bytes_put32(info + 20, module_count);
    bytes_put32(info + 24, (uint32_t)MODULES_BASE);
    bytes_put32(info + 44, context->layout->map.count * MEMORY_MAP_ENTRY);
    bytes_put32(info + 48, (uint32_t)MEMORY_MAP_BASE);
    bytes_put32(info + 64, loader_name);
    return place_bytes(context->memory, BOOT_INFORMATION_BASE, info, sizeof(info), error);
}

static int place_everything(const struct boot_context *context, const struct kernel_file *kernel,
                            uint64_t image_end, struct error *error)
{
    struct strings strings = {.length = 0};
    uint32_t command_line = 0;
    uint32_t loader_name = 0;
    unsigned int module_count = 0;

    int status = add_string(&strings, LOADER_NAME, NULL, &loader_name, error);
    if (status == 0) {
        status = add_string(&strings, kernel->path, context->request->command_line, &command_line,
                            error);
    }
    if (status == 0) {
        status = load_modules(context, image_end, &strings, &module_count, error);
    }
    if (status == 0) {
        status =
            place_bytes(context->memory, BOOT_STRINGS_BASE, strings.bytes, strings.length, error);
    }
    if (status == 0) {
        status = place_memory_map(context, error);
    }
    if (status == 0) {
        status = place_information(context, command_line, loader_name, module_count, error);
    }
    return status;
}

int multiboot_load(const struct boot_context *context, const struct kernel_file *kernel,
                   struct x86_state *bootstrap, struct error *error)
{
    struct loaded_range range;
    uint64_t entry;

    int status = load_image(context, kernel, &entry, &range, error);
    if (status == 0) {
        status = place_everything(context, kernel, range.end, error);
    }
    if (status == 0) {
        status = cpu_state_protected(context->memory, entry, bootstrap, error);
        bootstrap->gpr[X86_RAX] = LOADER_MAGIC;
        bootstrap->gpr[X86_RBX] = BOOT_INFORMATION_BASE;
    }
    return status;
}
