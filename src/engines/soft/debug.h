/*
 * The debug registers: MOV DR, and breakpoints on execution, data and ports.
 *
 * Source:  Intel SDM volume 3, "Debug Registers", "Debug Exceptions"; volume 2, "MOV—Move to/from
 *          Debug Registers".
 * Owner, thread: the vCPU.
 *
 * Data and port breakpoints are traps: they are collected in cpu->pending_dr6 and the run loop
 * raises #DB when the instruction has completed. Instruction breakpoints are faults: the run loop
 * asks before it runs an instruction while SOFT_ATTENTION_STEP is set.
 */
#ifndef TRAPEZE_ENGINES_SOFT_DEBUG_H
#define TRAPEZE_ENGINES_SOFT_DEBUG_H

#include "engines/soft/execute.h"

soft_execute soft_mov_from_dr;
soft_execute soft_mov_to_dr;

/*
 * Puts the conditions of a #DB into DR6: B0..B3 tell of this one only, the other bits stay until
 * software clears them ("Debug Status Register (DR6)").
 */
static inline void soft_debug_report(struct soft_cpu *cpu, uint64_t conditions)
{
    cpu->dr[6] = (cpu->dr[6] & ~X86_DR6_BREAKPOINTS) | conditions;
}

/* True if DR7 enables any breakpoint. */
static inline bool soft_debug_armed(const struct soft_cpu *cpu)
{
    return (cpu->dr[7] & X86_DR7_ENABLES) != 0;
}

/* After DR0..DR3 or DR7 changed: watched pages must miss in the TLB, breakpoints want steps. */
void soft_debug_changed(struct soft_cpu *cpu);

/*
 * The bits of DR6 (B0..B3) for enabled instruction breakpoints at a linear address, 0 if there is
 * none. The caller looks at RFLAGS.RF.
 */
uint64_t soft_debug_execute_hits(const struct soft_cpu *cpu, uint64_t linear);

/* Adds to cpu->pending_dr6 the enabled data breakpoints that [linear, linear + size) touches. */
void soft_debug_check_data(struct soft_cpu *cpu, uint64_t linear, uint64_t size, bool is_write);

/* The same for ports (CR4.DE). */
void soft_debug_check_io(struct soft_cpu *cpu, uint16_t port, unsigned int size);

#endif
