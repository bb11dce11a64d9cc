/*
 * RDMSR and WRMSR.
 *
 * Source:  Intel SDM volume 4, "Architectural MSRs"; volume 3, "Memory Type Range Registers",
 *          "Page Attribute Table", "Local APIC Status and Location".
 * Owner, thread: the vCPU. The local APIC's registers have another owner: they are exits.
 */
#ifndef TRAPEZE_ENGINES_SOFT_MSR_H
#define TRAPEZE_ENGINES_SOFT_MSR_H

#include "engines/soft/execute.h"

soft_execute soft_rdmsr;
soft_execute soft_wrmsr;

/*
 * Finishes an EXIT_RDMSR or EXIT_WRMSR that has been served; the run loop calls it when
 * cpu->completing is set, where it can take an exception: a refused access raises #GP(0).
 */
void soft_msr_complete(struct soft_cpu *cpu);

/* What RDMSR reads and WRMSR writes, but for the exits; false is #GP(0). */
bool soft_read_msr(struct soft_cpu *cpu, uint32_t index, uint64_t *value);
bool soft_write_msr(struct soft_cpu *cpu, uint32_t index, uint64_t value);

#endif
