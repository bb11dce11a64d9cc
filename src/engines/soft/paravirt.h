/*
 * The KVM paravirtual clock: stock Linux takes time and the TSC's frequency from it.
 *
 * Purpose: structures in guest memory that map the TSC to nanoseconds, the same for every vCPU and
 *          marked stable, so that the guest reads them without looking at the other vCPUs.
 * Source:  Linux, Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW,
 *          MSR_KVM_WALL_CLOCK_NEW.
 * Owner, thread: the vCPU.
 */
#ifndef TRAPEZE_ENGINES_SOFT_PARAVIRT_H
#define TRAPEZE_ENGINES_SOFT_PARAVIRT_H

#include "engines/soft/cpu.h"

/* nanoseconds = (ticks << shift, or >> -shift) * multiplier >> 32. */
struct soft_clock_scale {
    uint32_t multiplier;
    int8_t shift;
};

/* The scale for a counter of this frequency in Hz (not 0). */
struct soft_clock_scale soft_clock_scale(uint64_t hz);
uint64_t soft_clock_nanoseconds(struct soft_clock_scale scale, uint64_t ticks);

/* WRMSR to the clock MSRs; false is #GP(0). */
bool soft_write_system_time(struct soft_cpu *cpu, uint64_t value);
bool soft_write_wall_clock(struct soft_cpu *cpu, uint64_t value);

/* Fills the vCPU's structure in again, after its TSC was written. */
void soft_update_system_time(struct soft_cpu *cpu);

/* The same with the mark for the guest's watchdogs that it has stood still. */
void soft_note_standstill(struct soft_cpu *cpu);

#endif
