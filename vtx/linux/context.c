/* Source: Intel SDM volume 3, "Loading Host Segment and Descriptor-Table Registers". */
#include "vtx/linux/context.h"

#include <asm/cpufeature.h>
#include <asm/desc.h>
#include <asm/msr.h>
#include <asm/segment.h>
#include <asm/special_insns.h>

/*
 * A record of a sampled instruction goes to a linear address of the host's ("Processor Event-Based
 * Sampling"): not while the guest's page tables are in use.
 */
static u64 stop_records(void)
{
    u64 value = 0;
    if (boot_cpu_has(X86_FEATURE_PEBS) && rdmsrl_safe(MSR_IA32_PEBS_ENABLE, &value) == 0 &&
        value != 0) {
        wrmsrl(MSR_IA32_PEBS_ENABLE, 0);
    }
    return value;
}

void context_enter(struct vcpu *vcpu, struct host_context *host)
{
    savesegment(fs, host->fs);
    savesegment(gs, host->gs);
    if (host->fs != 0) {
        rdmsrl(MSR_FS_BASE, host->fs_base);
    }
    if (host->gs != 0) {
        rdmsrl(MSR_KERNEL_GS_BASE, host->user_gs_base);
    }
    host->pebs = stop_records();
    vtx_vcpu_enter_context(&vcpu->core);
}

/*
 * The program's own selectors may not stand in the VMCS, so that the exit left 0. Loading one also
 * loads a base out of its descriptor, which need not be the one that the program had.
 */
static void restore_selectors(const struct host_context *host)
{
    if (host->fs != 0) {
        loadsegment(fs, host->fs);
        wrmsrl(MSR_FS_BASE, host->fs_base);
    }
    if (host->gs != 0) {
        load_gs_index(host->gs);
        wrmsrl(MSR_KERNEL_GS_BASE, host->user_gs_base);
    }
}

void context_leave(struct vcpu *vcpu, const struct host_context *host)
{
    vtx_vcpu_leave_context(&vcpu->core);
    restore_selectors(host);
    /* TR's limit is 67H after an exit: no room for the bitmap of who may use ports (ioperm). */
    invalidate_tss_limit();
    if (host->pebs != 0) {
        wrmsrl(MSR_IA32_PEBS_ENABLE, host->pebs);
    }
}
