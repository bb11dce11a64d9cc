/*
 * One logical processor: into root mode, and out of it.
 *
 * Source:  Intel SDM volume 3, "Enabling and Entering VMX Operation", "Restrictions on VMX
 *          Operation".
 * Owner:   the embedder keeps one struct for each processor.
 * Thread:  vtx_cpu_prepare and vtx_cpu_release anywhere, they allocate; enter and leave on the
 *          processor itself with interrupts off. Freestanding.
 */
#ifndef TRAPEZE_VTX_CORE_CPU_H
#define TRAPEZE_VTX_CORE_CPU_H

#include <stdbool.h>

#include "vtx/core/capabilities.h"
#include "vtx/core/host.h"

struct vtx_cpu {
    const struct vtx_host *host;
    const struct vtx_capabilities *capabilities;
    struct vtx_page region; /* the VMXON region */
    bool in_root;
    uint64_t cr0_before, cr4_before; /* for vtx_cpu_leave */
};

/* Allocates the VMXON region and writes the revision identifier into it. VTX_NO_MEMORY. */
enum vtx_status vtx_cpu_prepare(struct vtx_cpu *cpu, const struct vtx_host *host,
                                const struct vtx_capabilities *capabilities, struct error *error);

/*
 * CR4.VMXE, IA32_FEATURE_CONTROL, VMXON. VTX_ALREADY_ROOT: CR4.VMXE was set, so that another
 * monitor (KVM, VirtualBox …) has this processor; nothing is changed. VTX_LOCKED_OFF, VTX_FAILED.
 */
enum vtx_status vtx_cpu_enter(struct vtx_cpu *cpu, struct error *error);

/* VMXOFF, and CR0 and CR4 as they were. Every VMCS must have been unloaded. */
void vtx_cpu_leave(struct vtx_cpu *cpu);

/* Frees the region; not in root mode. */
void vtx_cpu_release(struct vtx_cpu *cpu);

#endif
