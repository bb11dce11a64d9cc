/*
 * Linux bzImage by the 64-bit boot protocol.
 *
 * Source:  Linux, Documentation/arch/x86/boot.rst ("The Real-Mode Kernel Header", "64-bit Boot
 *          Protocol", "Details of Header Fields") and zero-page.rst.
 * Owner:   no state. Thread: any, one at a time for a guest memory.
 */
#ifndef TRAPEZE_BOOT_BZIMAGE_H
#define TRAPEZE_BOOT_BZIMAGE_H

#include <stdbool.h>

#include "base/error.h"
#include "boot/kernel_file.h"
#include "boot/request.h"
#include "x86/state.h"

/* True if the file has the signatures of a Linux setup header; nothing else is checked. */
bool bzimage_recognise(const struct kernel_file *file);

/* Loads it. Errors: as boot_load's. */
int bzimage_load(const struct boot_context *context, const struct kernel_file *kernel,
                 struct x86_state *bootstrap, struct error *error);

#endif
