/*
 * Tier 1's operands: registers by predecoded number, addresses, and lowering them.
 *
 * Owner, thread: the vCPU.
 */
#ifndef TRAPEZE_ENGINES_SOFT_FAST_OPERAND_H
#define TRAPEZE_ENGINES_SOFT_FAST_OPERAND_H

#include "engines/soft/dispatch.h"
#include "engines/soft/fast.h"
#include "engines/soft/fast_memory.h"

/* The linear address of an op's memory operand. */
static inline uint64_t fast_address(const struct soft_cpu *cpu, const struct soft_op *op)
{
    uint64_t offset = cpu->gpr[op->base] + (cpu->gpr[op->index] << op->scale) +
                      (uint64_t)(int64_t)op->displacement;
    return (offset + cpu->address_base[op->segment]) & cpu->address_mask;
}

/*
 * Registers. Bytes are numbered by their offset into gpr (AH is 1). Narrow ones are merged into the
 * whole register, so that a later full read is served from one store.
 */
static inline uint64_t fast_get(const struct soft_cpu *cpu, unsigned int number, unsigned int size)
{
    switch (size) {
    case 1:
        return cpu->gpr[number >> 3] >> ((number & 7) * 8) & 0xff;
    case 2:
        return cpu->gpr[number] & 0xffff;
    case 4:
        return cpu->gpr[number] & 0xffffffff;
    default:
        return cpu->gpr[number];
    }
}

static inline void fast_set(struct soft_cpu *cpu, unsigned int number, unsigned int size,
                            uint64_t value)
{
    unsigned int shift;
    uint64_t *whole;
    switch (size) {
    case 1:
        shift = (number & 7) * 8;
        whole = &cpu->gpr[number >> 3];
        *whole = (*whole & ~(UINT64_C(0xff) << shift)) | (value & 0xff) << shift;
        break;
    case 2:
        cpu->gpr[number] = (cpu->gpr[number] & ~UINT64_C(0xffff)) | (value & 0xffff);
        break;
    case 4:
        cpu->gpr[number] = (uint32_t)value;
        break;
    default:
        cpu->gpr[number] = value;
        break;
    }
}

static inline uint64_t fast_load(struct soft_cpu *cpu, const struct soft_op *op, unsigned int size)
{
    return soft_load(cpu, op, fast_address(cpu, op), size);
}

/* Goes on after a store, unless it changed decoded code. */
static inline const struct soft_op *fast_stored(struct soft_cpu *cpu, const struct soft_op *op,
                                                bool changed)
{
    if (__builtin_expect(changed, 0)) {
        soft_sync(cpu, op);
        cpu->rip = cpu->next_rip & cpu->address_mask;
        cpu->code_changed = false;
        return NULL;
    }
    return soft_next(cpu, op);
}

/* Runs the instruction in tier 2 instead, and leaves the block. */
const struct soft_op *fast_give_up(struct soft_cpu *cpu, const struct soft_op *op);

/*
 * The host address for changing an operand in place, or NULL: then give up. Raises what a write
 * would raise.
 */
static inline uint8_t *fast_modify(struct soft_cpu *cpu, const struct soft_op *op, uint64_t linear,
                                   unsigned int size, const struct soft_tlb_entry **entry)
{
    uint8_t *host = soft_tlb_write(cpu, linear, size, entry);
    if (__builtin_expect(host == NULL, 0)) {
        soft_modify_slow(cpu, op, linear, size);
        host = soft_tlb_write(cpu, linear, size, entry);
    }
    return host;
}

/* --- lowering --- */

/* Fills in base, index, scale, displacement, segment; false if the form is not for tier 1. */
bool fast_lower_memory(const struct soft_cpu *cpu, const struct x86_instruction *in,
                       struct soft_op *op);

/* The number of a register operand as fast_get takes it. */
static inline uint8_t fast_register(const struct x86_instruction *in, unsigned int number,
                                    unsigned int size)
{
    if (size != 1) {
        return (uint8_t)number;
    }
    bool high = (in->flags & X86_INSTRUCTION_REX) == 0 && number >= 4 && number < 8;
    return (uint8_t)(high ? (number - 4) * 8 + 1 : number * 8);
}

/* One a family; each takes the operations of its own table and says NONE to the rest. */
enum soft_fast_kind fast_lower_alu(const struct soft_cpu *cpu, const struct x86_instruction *in,
                                   struct soft_op *op);
enum soft_fast_kind fast_lower_move(const struct soft_cpu *cpu, const struct x86_instruction *in,
                                    struct soft_op *op);
enum soft_fast_kind fast_lower_branch(const struct soft_cpu *cpu, const struct x86_instruction *in,
                                      struct soft_op *op);

#endif
