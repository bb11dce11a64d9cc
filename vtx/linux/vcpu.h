/*
 * A vCPU: the core's, its place on a processor, and the area that it shares with its program.
 *
 * Purpose: the descriptor that TRAPEZE_VTX_CREATE_VCPU returns.
 * Owner:   the descriptor. It holds a reference to the VM.
 * Thread:  under `lock` any of the process that made the VM; what a processor writes with
 *          interrupts off is noted.
 */
#ifndef TRAPEZE_VTX_LINUX_VCPU_H
#define TRAPEZE_VTX_LINUX_VCPU_H

#include "vtx/linux/core.h"

#include <linux/list.h>
#include <linux/mutex.h>

#include "trapeze/vtx.h"
#include "vtx/linux/vm.h"

struct processor;

#define NO_PROCESSOR (-1)

struct vcpu {
    struct vtx_vcpu core; /* first, for its alignment: what vzalloc returns is aligned to a page */

    /*
     * Where the VMCS is active, NO_PROCESSOR: nowhere. Written on that processor with interrupts
     * off; `entry` is in that processor's list.
     */
    int processor;
    struct list_head entry;

    struct vm *vm;
    u32 index;
    uint16_t vpid;
    struct cpuid_table cpuid;
    struct mutex lock;              /* one call at a time; guards the rest */
    struct trapeze_vtx_run *shared; /* TRAPEZE_VTX_RUN_SIZE bytes; the program writes to it */
    bool answer_due;                /* the last run's exit is the program's to serve */
    bool interrupt_waits, window_wanted;
    bool interrupt_ready; /* after a run: one would be taken at the next entry */
    u8 interrupt;
    u64 returns, loads, doorbells;

    /* Too large for a stack. */
    struct x86_state state;
    struct trapeze_vtx_state transfer;
};

/* TRAPEZE_VTX_CREATE_VCPU: a descriptor or -errno. */
long vcpu_create(struct vm *vm, struct trapeze_vtx_vcpu __user *argument);

/*
 * Makes the VMCS current on this processor, wherever it was before. Preemption is off, interrupts
 * are on, and off when it returns 0. -EIO: this processor is not in root mode.
 */
int vcpu_load(struct vcpu *vcpu);

/* Loads it, acts with interrupts off, and lets it be. -EIO. */
int vcpu_with_loaded(struct vcpu *vcpu, void (*act)(struct vcpu *vcpu));

/* VMCLEAR, wherever it is active. Interrupts are on. */
void vcpu_unload(struct vcpu *vcpu);

/* VMCLEAR of all that are active on a processor: this one, interrupts off. */
void vcpus_unload_all(struct processor *processor);

#endif
