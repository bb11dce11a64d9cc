#include "boot/place.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "boot/layout.h"

#define PAGE_SIZE UINT64_C(4096)

int place_bytes(struct guestmem *memory, uint64_t address, const void *bytes, size_t length,
                struct error *error)
{
    if (guestmem_write(memory, gpa(address), bytes, length) != 0) {
        return error_set(error, ENOSPC,
                         "there is no guest memory from 0x%" PRIx64 " to 0x%" PRIx64
                         " for the boot information: give the guest more memory",
                         address, address + length);
    }
    return 0;
}

int place_command_line(const struct boot_context *context, uint64_t maximum, struct error *error)
{
    const char *line = context->request->command_line;
    if (line == NULL) {
        line = "";
    }
    size_t length = strlen(line);
    if (maximum > BOOT_STRINGS_SIZE - 1) {
        maximum = BOOT_STRINGS_SIZE - 1;
    }
    if (length > maximum) {
        return error_set(error, E2BIG,
                         "the command line has %zu characters and the kernel takes at most "
                         "%" PRIu64 ": shorten it",
                         length, maximum);
    }
    return place_bytes(context->memory, BOOT_STRINGS_BASE, line, length + 1, error);
}

static int load_initrd(const struct boot_context *context, const struct kernel_file *file,
                       uint64_t floor, uint64_t ceiling, struct placed_file *placed,
                       struct error *error)
{
    uint64_t end = context->layout->low_ram_end;
    if (ceiling < end) {
        end = ceiling;
    }
    if (floor < BOOT_HIGH_BASE) {
        floor = BOOT_HIGH_BASE;
    }
    if (file->length > end || ((end - file->length) & ~(PAGE_SIZE - 1)) < floor) {
        uint64_t room = end > floor ? end - floor : 0;
        const char *advice = context->layout->low_ram_end < ceiling &&
                                     context->layout->low_ram_end < BOOT_LOW_RAM_MAX
                                 ? "give the guest more memory or use a smaller initrd"
                                 : "use a smaller initrd";
        return error_set(error, ENOSPC,
                         "the initrd '%s' of %" PRIu64 " KiB does not fit in the %" PRIu64
                         " KiB of guest memory that the kernel leaves: %s",
                         file->path, (file->length + 1023) / 1024, room / 1024, advice);
    }
    placed->length = file->length;
    placed->address = (end - file->length) & ~(PAGE_SIZE - 1);
    return kernel_file_load(file, 0, file->length, context->memory, gpa(placed->address), error);
}

int place_initrd(const struct boot_context *context, uint64_t floor, uint64_t ceiling,
                 struct placed_file *placed, struct error *error)
{
    *placed = (struct placed_file){0};
    if (context->request->initrd == NULL) {
        return 0;
    }
    struct kernel_file file;
    int status = kernel_file_open(context->request->initrd, "initrd", &file, error);
    if (status != 0) {
        return status;
    }
    status = load_initrd(context, &file, floor, ceiling, placed, error);
    kernel_file_close(&file);
    return status;
}

static bool overlaps(uint64_t base, uint64_t length, uint64_t other_base, uint64_t other_end)
{
    return base < other_end && other_base < base + length;
}

bool place_collides(const struct boot_context *context, uint64_t base, uint64_t length)
{
    if (overlaps(base, length, BOOT_STRUCTURES_BASE, BOOT_STRUCTURES_END)) {
        return true;
    }
    return context->rsdp != 0 &&
           overlaps(base, length, BOOT_ACPI_BASE, BOOT_ACPI_BASE + BOOT_ACPI_SIZE);
}
