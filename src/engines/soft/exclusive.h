/*
 * The exclusive section: one vCPU works while all others stand still between two instructions.
 *
 * Purpose: a LOCKed operation whose operand crosses a page (two host pages that no host instruction
 *          can lock together).
 * Owner:   the VM. Thread: vCPU threads. Must not be entered twice.
 */
#ifndef TRAPEZE_ENGINES_SOFT_EXCLUSIVE_H
#define TRAPEZE_ENGINES_SOFT_EXCLUSIVE_H

#include "engines/soft/vm.h"

/* Around the execution of guest code: between them the vCPU may be waited for. */
void soft_exclusive_enter_guest(struct soft_cpu *cpu);
void soft_exclusive_leave_guest(struct soft_cpu *cpu);

/* On SOFT_ATTENTION_EXCLUSIVE: stand still until the other has done. */
void soft_exclusive_yield(struct soft_cpu *cpu);

void soft_exclusive_begin(struct soft_cpu *cpu);
void soft_exclusive_end(struct soft_cpu *cpu);

#endif
