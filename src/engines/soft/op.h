/*
 * Predecoded instructions: what a block is made of.
 *
 * Purpose: one 32-byte struct an instruction, the handler's address and its operands resolved, so
 *          that running it costs an indirect jump and its own work.
 * Owner:   the block cache of one vCPU. Thread: the vCPU's.
 */
#ifndef TRAPEZE_ENGINES_SOFT_OP_H
#define TRAPEZE_ENGINES_SOFT_OP_H

#include "engines/soft/cpu.h"
#include "engines/soft/execute.h"

struct soft_op;

/* Runs one op and returns the next, or NULL with cpu->rip set when the block is left. */
typedef const struct soft_op *soft_handler(struct soft_cpu *cpu, const struct soft_op *op);

struct soft_op {
    soft_handler *handler;
    union {
        int64_t immediate;
        const struct soft_instruction *instruction; /* tier 2 */
        const struct soft_op *target;               /* a direct branch once linked, else NULL */
    };
    int32_t displacement; /* of the memory operand; a branch: its target, relative to the page */
    uint16_t offset;      /* of the instruction within its page */
    uint8_t length;       /* of the instruction in bytes */
    /* An op that may leave the block: its position from 1, the instructions executed by then. */
    uint8_t count;
    union {
        struct {
            uint8_t
                destination; /* register number; a byte register: its offset into gpr in bytes */
            uint8_t source;  /* likewise */
            uint8_t base, index, scale, segment; /* of the memory operand */
        };
        bool branch_is_local; /* the target lies in the same page */
    };
};

_Static_assert(sizeof(struct soft_op) == 32, "two ops a cache line");

static inline uint64_t soft_op_rip(const struct soft_cpu *cpu, const struct soft_op *op)
{
    return cpu->gpr[SOFT_GPR_CODE] + op->offset;
}

#endif
