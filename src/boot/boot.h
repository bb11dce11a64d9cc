/*
 * The one way to boot: load what the request names and say in which state vCPU 0 starts.
 *
 * Purpose: hides the protocols. Every file is hostile input; what is wrong with one is told in a
 *          sentence that says what to do.
 * Owner:   nothing is kept: files are closed on return.
 * Thread:  one, before the vCPUs run.
 */
#ifndef TRAPEZE_BOOT_BOOT_H
#define TRAPEZE_BOOT_BOOT_H

#include "base/error.h"
#include "boot/request.h"
#include "vm/guestmem.h"
#include "x86/state.h"

/*
 * Loads kernel, initrd or modules, command line, tables and boot information.
 *
 * memory:    fresh (all zeroes), with the slots of request->layout. Zero-filled parts of images
 *            (.bss) are not touched, so that they cost no host memory.
 * bootstrap: vCPU 0's complete starting state: that after RESET, then what the protocol says.
 *
 * Errors, each with its text: open(2)'s and read(2)'s, -EINVAL (the request), -ENOEXEC (no kernel,
 * or a broken one), -ENOSPC (does not fit in guest memory), -E2BIG (command line too long).
 */
int boot_load(const struct boot_request *request, struct guestmem *memory,
              struct x86_state *bootstrap, struct error *error);

/*
 * What firmware leaves in the MSRs of every CPU before it hands over: memory type write-back by
 * default, fast strings. boot_load applies it to vCPU 0; the machine applies it to the others, as
 * guests complain about CPUs that differ.
 */
void boot_firmware_msrs(struct x86_msrs *msr);

#endif
