/*
 * The run loop of one vCPU.
 *
 * Owner, thread: the vCPU's.
 */
#ifndef TRAPEZE_ENGINES_SOFT_RUN_H
#define TRAPEZE_ENGINES_SOFT_RUN_H

#include "engines/soft/cpu.h"

/* Completes *exit as served, runs the guest until the next one and fills that in. */
void soft_run(struct soft_cpu *cpu, struct vcpu_exit *exit);

#endif
