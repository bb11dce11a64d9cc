/*
 * Guest memory: slots of a process's memory, pinned and mapped as the guest touches them.
 *
 * Owner:   the VM.
 * Thread:  of the process that made the VM; may sleep.
 */
#ifndef TRAPEZE_VTX_LINUX_MEMORY_H
#define TRAPEZE_VTX_LINUX_MEMORY_H

#include "vtx/linux/vm.h"

/* TRAPEZE_VTX_SET_MEMORY. -EINVAL, -ENOSPC, -EBUSY (there are vCPUs), -EEXIST (overlap). */
int memory_add_slot(struct vm *vm, const struct trapeze_vtx_memory *memory);

/*
 * Maps the page at an address that lies in a slot. -EFAULT: the process has nothing there;
 * -EDQUOT: RLIMIT_MEMLOCK; -EOPNOTSUPP: a shared file that is written back to a disk; -ENOMEM;
 * others of pin_user_pages.
 */
int memory_map(struct vm *vm, u64 address);

/* Lets go of all pages and slots. No vCPU will run any more. */
void memory_release(struct vm *vm);

#endif
