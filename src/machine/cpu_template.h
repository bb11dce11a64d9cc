/*
 * What CPUID shows on each vCPU of a PC: the engine's abilities, less what this machine lacks,
 * plus topology and the hypervisor leaves.
 *
 * Source:  Intel SDM volume 2, "CPUID—CPU Identification"; AMD APM volume 3, "Obtaining Processor
 *          Information Via the CPUID Instruction"; the hypervisor leaves: Linux,
 *          Documentation/virt/kvm/x86/cpuid.rst.
 * Owner:   plain data. Thread: any.
 */
#ifndef TRAPEZE_MACHINE_CPU_TEMPLATE_H
#define TRAPEZE_MACHINE_CPU_TEMPLATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "x86/cpuid.h"

struct cpu_template {
    unsigned int vcpu_count;
    uint64_t tsc_hz;
    bool has_local_apic; /* the machine's own: what it offers is decided here */
    bool has_x2apic;     /* this and the next only looked at with has_local_apic */
    bool has_tsc_deadline;
    bool has_clock; /* the engine serves the KVM clock MSRs */
};

/*
 * Makes vCPU `index`'s table from what the engine supports.
 * Errors: -ENOSPC when the table has no room for the additions.
 */
int cpu_template_apply(const struct cpu_template *template, unsigned int index,
                       const struct cpuid_table *supported, struct cpuid_table *table,
                       struct error *error);

/* MAXPHYADDR as the table shows it. */
uint8_t cpu_template_physical_bits(struct cpuid_table *table);

#endif
