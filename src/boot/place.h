/*
 * Putting small things and whole files into guest memory on behalf of the loaders.
 *
 * Owner:   no state. Thread: any, one at a time for a guest memory.
 */
#ifndef TRAPEZE_BOOT_PLACE_H
#define TRAPEZE_BOOT_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "boot/kernel_file.h"
#include "boot/request.h"

/* Copies bytes to a guest physical address; -ENOSPC when it is not RAM. */
int place_bytes(struct guestmem *memory, uint64_t address, const void *bytes, size_t length,
                struct error *error);

/*
 * Copies the request's command line with its NUL to BOOT_STRINGS_BASE.
 *
 * maximum: the most characters, without the NUL, that the kernel takes.
 * Errors:  -E2BIG, when the line is longer or has no room.
 */
int place_command_line(const struct boot_context *context, uint64_t maximum, struct error *error);

/* Where a file went. Length 0: there was none. */
struct placed_file {
    uint64_t address;
    uint64_t length;
};

/*
 * Loads the request's initrd, if any, page-aligned and as high as it can be in RAM below 4 GiB.
 *
 * floor:   it must lie at or above this (the kernel's end).
 * ceiling: and end at or below this (exclusive).
 * Errors:  the file's; -ENOSPC when it does not fit in between.
 */
int place_initrd(const struct boot_context *context, uint64_t floor, uint64_t ceiling,
                 struct placed_file *placed, struct error *error);

/* True if [base, base + length) touches what the loaders themselves write below 1 MiB. */
bool place_collides(const struct boot_context *context, uint64_t base, uint64_t length);

#endif
