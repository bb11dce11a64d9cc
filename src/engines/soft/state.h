/*
 * Between the software CPU's own layout and the neutral struct x86_state.
 *
 * Owner, thread: the vCPU's.
 */
#ifndef TRAPEZE_ENGINES_SOFT_STATE_H
#define TRAPEZE_ENGINES_SOFT_STATE_H

#include "engines/soft/cpu.h"

/* groups: a mask of enum x86_state_group. */
void soft_get_state(struct soft_cpu *cpu, unsigned int groups, struct x86_state *state);

/* Returns 0, or -EINVAL for an XSAVE image or PAE tables that no CPU would load. */
int soft_set_state(struct soft_cpu *cpu, unsigned int groups, const struct x86_state *state,
                   struct error *error);

#endif
