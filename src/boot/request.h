/*
 * What is to be booted, and what the loaders share while they do it.
 *
 * Owner:   the caller's plain data; strings and bytes outlive boot_load.
 * Thread:  one, before the vCPUs run.
 */
#ifndef TRAPEZE_BOOT_REQUEST_H
#define TRAPEZE_BOOT_REQUEST_H

#include <stddef.h>
#include <stdint.h>

#include "boot/acpi.h"
#include "boot/e820.h"
#include "boot/kernel_file.h"
#include "vm/guestmem.h"

/* The state a flat image is entered in. */
enum boot_mode { BOOT_MODE_REAL, BOOT_MODE_PROTECTED, BOOT_MODE_PAGED, BOOT_MODE_LONG };

#define BOOT_MODULES_MAX 32

struct boot_module {
    const char *path;
    const char *arguments; /* what follows the path in its command line; may be NULL */
};

struct boot_request {
    const char *kernel;                /* a path */
    const char *command_line;          /* NULL: empty */
    const char *initrd;                /* NULL: none; with multiboot it is the first module */
    const struct boot_module *modules; /* multiboot only */
    unsigned int module_count;

    enum boot_protocol protocol; /* usually BOOT_PROTOCOL_DETECT */
    enum boot_mode flat_mode;    /* BOOT_PROTOCOL_FLAT */
    uint64_t flat_address;       /* BOOT_PROTOCOL_FLAT: where it goes and is entered */

    const struct boot_memory_layout *layout; /* the one the memory slots were made from */
    const struct acpi_config *acpi;          /* NULL: no ACPI tables */

    const uint8_t *random_seed; /* fresh random bytes for the guest's generator; NULL: none */
    size_t random_seed_length;  /* at most 256 are used */
};

/* A request being carried out. */
struct boot_context {
    const struct boot_request *request;
    const struct boot_memory_layout *layout;
    struct guestmem *memory;
    uint64_t rsdp; /* guest physical; 0 without ACPI tables */
};

#endif
