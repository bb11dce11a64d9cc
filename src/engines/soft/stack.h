/*
 * The stack: PUSH, POP, PUSHA, POPA, ENTER, LEAVE.
 *
 * Source:  Intel SDM volume 2, "Instruction Set Reference".
 * Owner, thread: the vCPU. RSP changes only when every access has succeeded.
 */
#ifndef TRAPEZE_ENGINES_SOFT_STACK_H
#define TRAPEZE_ENGINES_SOFT_STACK_H

#include "engines/soft/execute.h"

soft_execute soft_push_operand;
soft_execute soft_pop_operand;
soft_execute soft_pusha;
soft_execute soft_popa;
soft_execute soft_enter;
soft_execute soft_leave;

#endif
