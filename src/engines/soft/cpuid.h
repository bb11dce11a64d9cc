/*
 * CPUID: the instruction, and what the soft engine can offer.
 *
 * Source:  Intel SDM volume 2, "CPUID—CPU Identification".
 * Owner, thread: noted at each function.
 */
#ifndef TRAPEZE_ENGINES_SOFT_CPUID_H
#define TRAPEZE_ENGINES_SOFT_CPUID_H

#include "engines/soft/execute.h"

/* Answers from cpu->cpuid, with the bits that depend on the vCPU's state. The vCPU's thread. */
soft_execute soft_cpuid;

/*
 * Fills *table with all that this engine on this host can show a guest: what the interpreter
 * implements by itself, and of what it hands to the host's processor that which the host has. The
 * machine adds topology (leaves 1, 4, 0BH) and the hypervisor's leaves. Any thread.
 */
void soft_cpuid_supported(struct cpuid_table *table);

#endif
