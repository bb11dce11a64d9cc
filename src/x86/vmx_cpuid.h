/*
 * What a monitor that runs guests on the processor itself may show them of its CPUID.
 *
 * Source:  Intel SDM volume 2, "CPUID—CPU Identification".
 * Owner:   the caller's table. Thread: any. Freestanding.
 */
#ifndef TRAPEZE_X86_VMX_CPUID_H
#define TRAPEZE_X86_VMX_CPUID_H

#include "x86/cpuid.h"

/* What the processor has, but a guest cannot use here. */
struct vmx_cpuid_limits {
    bool lacks_xsave;   /* the host has not set CR4.OSXSAVE */
    bool lacks_invpcid; /* VT-x has no control for it; likewise */
    bool lacks_rdtscp;
};

/*
 * Fills in the table: the processor's leaves without what such a monitor does not do, and with
 * x2APIC, TSC-deadline and the hypervisor bit, which are its machine's.
 *
 * cpuid: runs CPUID.
 */
void vmx_pass_cpuid_on(struct cpuid_table *table,
                       struct cpuid_registers (*cpuid)(uint32_t leaf, uint32_t subleaf),
                       const struct vmx_cpuid_limits *limits);

#endif
