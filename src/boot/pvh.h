/*
 * ELF kernels that start by the PVH protocol: Linux's vmlinux, unikernels.
 *
 * Source:  Xen, "x86/HVM direct boot ABI" and the public header arch-x86/hvm/start_info.h.
 * Owner:   no state. Thread: any, one at a time for a guest memory.
 */
#ifndef TRAPEZE_BOOT_PVH_H
#define TRAPEZE_BOOT_PVH_H

#include "base/error.h"
#include "boot/elf.h"
#include "boot/kernel_file.h"
#include "boot/request.h"
#include "x86/state.h"

/*
 * Looks for the note with the 32-bit entry point (XEN_ELFNOTE_PHYS32_ENTRY).
 * Returns 1 and the physical address, 0 when there is no such note, -ENOEXEC.
 */
int pvh_find_entry(const struct kernel_file *file, const struct elf_image *image, uint64_t *entry,
                   struct error *error);

/* Loads it. Errors: as boot_load's. */
int pvh_load(const struct boot_context *context, const struct kernel_file *kernel,
             struct x86_state *bootstrap, struct error *error);

#endif
