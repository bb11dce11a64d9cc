/*
 * How control goes from op to op, and from block to block.
 *
 * A handler ends by going on to the next op. In optimised builds that is a tail call (a jump in the
 * machine code), so that each handler has its own indirect jump for the host to predict; elsewhere
 * (sanitizers, debug builds) it returns the next op to the loop in run.c. Both mean the same.
 *
 * Owner, thread: the vCPU.
 */
#ifndef TRAPEZE_ENGINES_SOFT_DISPATCH_H
#define TRAPEZE_ENGINES_SOFT_DISPATCH_H

#include "engines/soft/op.h"

#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) &&    \
    !defined(TRAPEZE_NO_TAIL_CALLS)
#define SOFT_TAIL_CALLS 1
#else
#define SOFT_TAIL_CALLS 0
#endif

static inline const struct soft_op *soft_continue(struct soft_cpu *cpu, const struct soft_op *op)
{
#if SOFT_TAIL_CALLS
    return op->handler(cpu, op);
#else
    (void)cpu;
    return op;
#endif
}

static inline const struct soft_op *soft_next(struct soft_cpu *cpu, const struct soft_op *op)
{
    return soft_continue(cpu, op + 1);
}

/*
 * To an address known only now: the first op there if the jump cache has it and nobody wants
 * attention, else NULL; cpu->rip is set in any case.
 */
const struct soft_op *soft_jump(struct soft_cpu *cpu, uint64_t rip);

/* The handler for a tier 2 op. */
soft_handler *soft_op_tier2(const struct soft_cpu *cpu, bool last);

soft_handler soft_op_end;    /* falls through into the next block */
soft_handler soft_op_single; /* soft_run_single */

#endif
