/*
 * Multiboot 1: ELF and flat images, with modules.
 *
 * Source:  Multiboot Specification version 0.6.96, "OS image format", "Machine state", "Boot
 *          information format".
 * Owner:   no state. Thread: any, one at a time for a guest memory.
 */
#ifndef TRAPEZE_BOOT_MULTIBOOT_H
#define TRAPEZE_BOOT_MULTIBOOT_H

#include <stdbool.h>

#include "base/error.h"
#include "boot/kernel_file.h"
#include "boot/request.h"
#include "x86/state.h"

/* True if the file has a multiboot header with a correct checksum. */
bool multiboot_recognise(const struct kernel_file *file);

/*
 * Loads it. The initrd, if any, is the first module. Modules follow the image, at 1 MiB at the
 * lowest, each at a page's start. Errors: as boot_load's.
 */
int multiboot_load(const struct boot_context *context, const struct kernel_file *kernel,
                   struct x86_state *bootstrap, struct error *error);

#endif
