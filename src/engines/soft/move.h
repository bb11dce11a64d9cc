/*
 * Moves, extensions, flag bits and other instructions that compute little.
 *
 * Source:  Intel SDM volume 2, "Instruction Set Reference".
 * Owner, thread: the vCPU. All of them follow the rules in cpu.h.
 */
#ifndef TRAPEZE_ENGINES_SOFT_MOVE_H
#define TRAPEZE_ENGINES_SOFT_MOVE_H

#include "engines/soft/execute.h"

soft_execute soft_mov;
soft_execute soft_mov_moffs_load;
soft_execute soft_mov_moffs_store;
soft_execute soft_movbe;
soft_execute soft_movnti;
soft_execute soft_movzx8;
soft_execute soft_movzx16;
soft_execute soft_movsx8;
soft_execute soft_movsx16;
soft_execute soft_movsxd;
soft_execute soft_lea;
soft_execute soft_cmovcc;
soft_execute soft_setcc;
soft_execute soft_cbw;
soft_execute soft_cwd;
soft_execute soft_xlat;
soft_execute soft_salc;
soft_execute soft_carry; /* CLC STC CMC */
soft_execute soft_cld;
soft_execute soft_std;
soft_execute soft_lahf;
soft_execute soft_sahf;

#endif
