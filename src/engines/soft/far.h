/*
 * Far control transfers: JMP, CALL and RET that load CS, directly or through gates.
 *
 * Source:  Intel SDM volume 2, "JMP", "CALL", "RET"; volume 3, "Privilege Level Checking When
 *          Transferring Program Control Between Code Segments", "Returning from a Called
 * Procedure". Owner, thread: the vCPU's.
 */
#ifndef TRAPEZE_ENGINES_SOFT_FAR_H
#define TRAPEZE_ENGINES_SOFT_FAR_H

#include "engines/soft/execute.h"

/* far.c */
soft_execute soft_jmp_far, soft_jmp_far_indirect, soft_call_far, soft_call_far_indirect;

/* far_return.c */
soft_execute soft_ret_far;

#endif
