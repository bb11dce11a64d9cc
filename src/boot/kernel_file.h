/*
 * A file that is loaded into the guest: opened once, its length fixed, read with bounds checked.
 *
 * Purpose: kernels, initrds and modules go from the file straight into guest memory. The file is
 *          read, not mapped: if someone truncates it meanwhile that is an error, not a SIGBUS.
 * Owner:   the caller, who closes it.
 * Thread:  one.
 */
#ifndef TRAPEZE_BOOT_KERNEL_FILE_H
#define TRAPEZE_BOOT_KERNEL_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "vm/guestmem.h"

struct kernel_file {
    const char *role;     /* "kernel", "initrd", "module", "image": for messages */
    const char *path;     /* the caller's; outlives the file */
    int descriptor;       /* -1 when the contents are in memory */
    const uint8_t *bytes; /* the contents when they are in memory */
    uint64_t length;
};

/* Opens a regular file that is not empty. Errors: open(2)'s, -EINVAL (no file, or empty). */
int kernel_file_open(const char *path, const char *role, struct kernel_file *file,
                     struct error *error);

/* Contents that the caller has in memory (tests, fuzzers); nothing is copied. */
struct kernel_file kernel_file_from_memory(const char *name, const char *role, const uint8_t *bytes,
                                           size_t length);

void kernel_file_close(struct kernel_file *file);

/* Copies [offset, offset + length). -ENOEXEC when the file ends before; read(2)'s errors. */
int kernel_file_read(const struct kernel_file *file, uint64_t offset, void *buffer, size_t length,
                     struct error *error);

/*
 * Copies [offset, offset + length) to guest memory at `address`.
 * Errors: those of kernel_file_read, -ENOSPC when it is not all RAM there.
 */
int kernel_file_load(const struct kernel_file *file, uint64_t offset, uint64_t length,
                     struct guestmem *memory, gpa_t address, struct error *error);

/* How a kernel file wants to be booted. */
enum boot_protocol {
    BOOT_PROTOCOL_DETECT, /* in requests: find out */
    BOOT_PROTOCOL_BZIMAGE,
    BOOT_PROTOCOL_PVH,
    BOOT_PROTOCOL_MULTIBOOT,
    BOOT_PROTOCOL_FLAT /* never detected, only asked for */
};

/*
 * Decides by the file's first bytes and, for ELF, its notes.
 * Errors: -ENOEXEC for anything that can't be booted; the text says what the file looks like and
 * what to do about it.
 */
int boot_detect(const struct kernel_file *file, enum boot_protocol *protocol, struct error *error);

#endif
