/*
 * Flat images: bytes at an address, entered there in a mode of the user's choice.
 *
 * Purpose: tiny guests without any boot protocol. The stack is the boot stack of boot/layout.h in
 *          every mode, all other general registers are zero, interrupts are off, there is no IDT.
 *          real:      CS = DS = ES = the address's top four bits (0 below 64 KiB)
 *          protected: flat 32-bit segments, no paging
 *          paged:     the same with 4 MiB pages, all 4 GiB mapped to themselves
 *          long:      64-bit, 2 MiB pages, the first 4 GiB mapped to themselves
 * Owner:   no state. Thread: any, one at a time for a guest memory.
 */
#ifndef TRAPEZE_BOOT_FLAT_H
#define TRAPEZE_BOOT_FLAT_H

#include "base/error.h"
#include "boot/kernel_file.h"
#include "boot/request.h"
#include "x86/state.h"

/* Loads it by request->flat_mode and request->flat_address. Errors: as boot_load's. */
int flat_load(const struct boot_context *context, const struct kernel_file *kernel,
              struct x86_state *bootstrap, struct error *error);

#endif
