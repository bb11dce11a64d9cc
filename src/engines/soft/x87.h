/*
 * x87 instructions, run natively on the guest's state in the host's own x87 registers.
 *
 * Purpose: D8 to DF and FWAIT. What is done in C: which of them may run, memory operands, the
 *          instruction and operand pointers, and environments (x87_environment.c).
 * Source:  Intel SDM volume 1, "Programming with the x87 FPU", "x87 FPU Exception Handling in
 *          Software"; volume 2, the instructions.
 * Owner, thread: the vCPU's.
 *
 * A pending unmasked exception is reported as #MF before the next waiting instruction whatever
 * CR0.NE says: the FERR# and IRQ 13 of machines from before the 486 are not there.
 */
#ifndef TRAPEZE_ENGINES_SOFT_X87_H
#define TRAPEZE_ENGINES_SOFT_X87_H

#include "engines/soft/cpu.h"
#include "engines/soft/execute.h"

/* Picks the function for the instruction's kind and finds its thunk. */
void soft_prepare_x87(struct soft_cpu *cpu, struct soft_instruction *in);

soft_execute soft_execute_fwait;

/* X86_OP_X87 as long as prepare has not run: #UD. */
soft_execute soft_execute_x87;

/* FLDENV, FNSTENV, FRSTOR, FNSAVE: x87_environment.c. */
soft_execute soft_execute_fldenv, soft_execute_fnstenv, soft_execute_frstor, soft_execute_fnsave;

/* CR0.EM or CR0.TS: #NM. */
void soft_require_x87(struct soft_cpu *cpu);
/* What a waiting instruction does first: #MF if an unmasked exception is pending. */
void soft_wait_x87(struct soft_cpu *cpu);

#endif
