/*
 * Fast system calls and the FS and GS bases.
 *
 * Source:  Intel SDM volume 2, "SYSCALL", "SYSRET", "SYSENTER", "SYSEXIT", "SWAPGS", "RDFSBASE";
 *          volume 3, "Performing Fast Calls to System Procedures with the SYSENTER and SYSEXIT
 *          Instructions".
 * Owner, thread: the vCPU.
 */
#ifndef TRAPEZE_ENGINES_SOFT_SYSCALL_H
#define TRAPEZE_ENGINES_SOFT_SYSCALL_H

#include "engines/soft/execute.h"

soft_execute soft_syscall;
soft_execute soft_sysret;
soft_execute soft_sysenter;
soft_execute soft_sysexit;
soft_execute soft_swapgs;
soft_execute soft_read_base;  /* RDFSBASE RDGSBASE */
soft_execute soft_write_base; /* WRFSBASE WRGSBASE */

#endif
