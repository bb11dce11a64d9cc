/*
 * Tier 2: an instruction with its full decoder output and the function that runs it.
 *
 * Owner:   instructions live in their block's arena. Thread: the vCPU's.
 */
#ifndef TRAPEZE_ENGINES_SOFT_EXECUTE_H
#define TRAPEZE_ENGINES_SOFT_EXECUTE_H

#include "engines/soft/cpu.h"

struct soft_instruction;
typedef void soft_execute(struct soft_cpu *cpu, const struct soft_instruction *instruction);

struct soft_instruction {
    struct x86_instruction decoded;
    uint8_t bytes[X86_INSTRUCTION_MAX]; /* as fetched; decoded.length of them hold */
    soft_execute *execute;
    const void *thunk; /* vector.c: native code for this form */
};

/* What the block builder must know of an operation. */
#define SOFT_ENDS_BLOCK 1u /* may branch, change the mode, the address space or the shadows */

struct soft_execute_entry {
    soft_execute *execute; /* NULL: not there, #UD */
    unsigned int flags;
    /*
     * Called once when the instruction is decoded (may be NULL): prepares instruction->thunk or
     * replaces instruction->execute by a more special function. Must not raise.
     */
    void (*prepare)(struct soft_cpu *cpu, struct soft_instruction *instruction);
};

/* One entry an operation; in execute_table.c. */
extern const struct soft_execute_entry soft_execute_table[X86_OP_COUNT];

/* Raises #UD. */
soft_execute soft_undefined;

static inline bool soft_has_rex(const struct soft_instruction *in)
{
    return (in->decoded.flags & X86_INSTRUCTION_REX) != 0;
}

static inline bool soft_is_memory(const struct soft_instruction *in)
{
    return x86_has_memory_operand(&in->decoded);
}

#endif
