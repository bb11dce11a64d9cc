/*
 * Tier 1: handlers of their own for the hot integer instructions.
 *
 * Purpose: lower a decoded instruction to an op with resolved operands. Only in SOFT_MODE_FAST
 *          (flat segments, 32- or 64-bit code) and only for forms without LOCK, odd prefixes or
 *          address sizes: whatever is not lowered goes to tier 2, which is complete.
 * Owner, thread: the vCPU.
 */
#ifndef TRAPEZE_ENGINES_SOFT_FAST_H
#define TRAPEZE_ENGINES_SOFT_FAST_H

#include "engines/soft/op.h"

enum soft_fast_kind {
    SOFT_FAST_NONE, /* not lowered */
    SOFT_FAST_NEXT, /* the block goes on */
    SOFT_FAST_LAST  /* the block ends here */
};

/*
 * count: this op's position in the block, from 1: the instructions executed when it leaves.
 * op->offset and op->length are filled in already.
 */
enum soft_fast_kind soft_fast_lower(const struct soft_cpu *cpu, const struct x86_instruction *in,
                                    struct soft_op *op, unsigned int count);

#endif
