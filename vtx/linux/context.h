/*
 * The host's state around a stay in the guest: what neither VM exit nor the core gives back.
 *
 * Purpose: selectors of FS and GS, the limit of TR, and events of the performance counters that
 *          write to memory.
 * Owner:   the caller's stack, for one stay.
 * Thread:  preemption off from the one call to the other.
 */
#ifndef TRAPEZE_VTX_LINUX_CONTEXT_H
#define TRAPEZE_VTX_LINUX_CONTEXT_H

#include "vtx/linux/vcpu.h"

struct host_context {
    u16 fs, gs;
    u64 fs_base, user_gs_base; /* if the selector is not 0 */
    u64 pebs;                  /* IA32_PEBS_ENABLE; 0: it was not changed */
};

/* The guest's context into the processor, and back. Loaded, interrupts off. */
void context_enter(struct vcpu *vcpu, struct host_context *host);
void context_leave(struct vcpu *vcpu, const struct host_context *host);

#endif
