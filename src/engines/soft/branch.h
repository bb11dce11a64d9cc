/*
 * Near control transfer: jumps, calls, returns and loops.
 *
 * Source:  Intel SDM volume 2, "Instruction Set Reference".
 * Owner, thread: the vCPU. A target outside CS's limit, or not canonical, is #GP(0) before
 *          anything changes.
 */
#ifndef TRAPEZE_ENGINES_SOFT_BRANCH_H
#define TRAPEZE_ENGINES_SOFT_BRANCH_H

#include "engines/soft/execute.h"

soft_execute soft_jcc;
soft_execute soft_jmp;
soft_execute soft_jmp_indirect;
soft_execute soft_call;
soft_execute soft_call_indirect;
soft_execute soft_ret;
soft_execute soft_loop; /* LOOP LOOPE LOOPNE */
soft_execute soft_jcxz;

/* Raises #GP(0) if execution can't go on at this offset into the current CS. */
void soft_check_target(struct soft_cpu *cpu, uint64_t target);

#endif
