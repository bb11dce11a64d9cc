/*
 * The clock MSRs of the soft engine: vm/paravirt_clock.h.
 *
 * Owner, thread: the vCPU.
 */
#ifndef TRAPEZE_ENGINES_SOFT_PARAVIRT_H
#define TRAPEZE_ENGINES_SOFT_PARAVIRT_H

#include "engines/soft/cpu.h"

/* WRMSR to the clock MSRs; false is #GP(0). */
bool soft_write_system_time(struct soft_cpu *cpu, uint64_t value);
bool soft_write_wall_clock(struct soft_cpu *cpu, uint64_t value);

/* Fills the vCPU's structure in again, after its TSC was written. */
void soft_update_system_time(struct soft_cpu *cpu);

/* The same with the mark for the guest's watchdogs that it has stood still. */
void soft_note_standstill(struct soft_cpu *cpu);

#endif
