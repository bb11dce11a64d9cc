/*
 * A VM: guest memory, doorbells, and what its vCPUs share.
 *
 * Purpose: the descriptor that TRAPEZE_VTX_CREATE_VM returns.
 * Owner:   references: the descriptor has one, each vCPU another; the last one frees all.
 * Thread:  any of the process that made it. What `lock` guards is noted.
 */
#ifndef TRAPEZE_VTX_LINUX_VM_H
#define TRAPEZE_VTX_LINUX_VM_H

#include "vtx/linux/core.h"

#include <linux/kref.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>

#include "trapeze/vtx.h"

#define DOORBELLS_MAX 16

struct eventfd_ctx;
struct mm_struct;

struct doorbell {
    struct eventfd_ctx *event;
    u16 port;
    u8 size; /* bytes */
    bool has_value;
    u32 value;
};

struct vm {
    struct kref references;
    struct mm_struct *mm; /* the process whose memory the guest has */
    struct mmu_notifier process_end;
    struct vtx_vm core;
    uint64_t tsc_origin; /* the host's TSC when the guest's was 0 */

    struct mutex lock; /* guards the rest, and the EPT */
    u64 vcpus;         /* a bit for each index that is taken */
    bool is_started;   /* a vCPU was made: slots stay as they are */
    struct vtx_memory_slot slots[TRAPEZE_VTX_SLOTS_MAX];
    unsigned long user_address[TRAPEZE_VTX_SLOTS_MAX];
    unsigned int slot_count;
    u64 pages_small, pages_large; /* mapped, and pinned */
    /* Written under the lock while no vCPU has been made, so that those need none to read. */
    struct doorbell doorbells[DOORBELLS_MAX];
    unsigned int doorbell_count;
};

/* The call TRAPEZE_VTX_CREATE_VM: a descriptor or -errno. */
long vm_create(struct trapeze_vtx_vm __user *argument);

void vm_get(struct vm *vm);
void vm_put(struct vm *vm);

/* Whether the calling process is the one whose memory the guest has. */
bool vm_is_of_caller(const struct vm *vm);

#endif
