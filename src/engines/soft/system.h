/*
 * System instructions that stand alone: counters, random numbers, protection keys, halting, caches,
 * fences, hypercalls, and those that are there only to raise #UD.
 *
 * Source:  Intel SDM volume 2, "Instruction Set Reference".
 * Owner, thread: the vCPU.
 */
#ifndef TRAPEZE_ENGINES_SOFT_SYSTEM_H
#define TRAPEZE_ENGINES_SOFT_SYSTEM_H

#include "engines/soft/execute.h"

soft_execute soft_rdtsc; /* RDTSC RDTSCP */
soft_execute soft_rdpmc;
soft_execute soft_rdpid;
soft_execute soft_random; /* RDRAND RDSEED */
soft_execute soft_rdpkru;
soft_execute soft_wrpkru;
soft_execute soft_clac_stac;
soft_execute soft_hlt;
soft_execute soft_cache_control; /* INVD WBINVD */
soft_execute soft_clflush;
soft_execute soft_fence;
soft_execute soft_nop;
soft_execute soft_hypercall; /* VMCALL VMMCALL */

/* Finishes an EXIT_HYPERCALL that has been served: the result goes to rAX. Does not raise. */
void soft_hypercall_complete(struct soft_cpu *cpu);

#endif
