/*
 * Tier 1: jumps, calls and returns.
 *
 * A direct branch remembers where it led (block.c links it); one that leads back is a place where
 * the vCPU looks whether somebody wants its attention.
 */
#include "engines/soft/alu.h"
#include "engines/soft/block.h"
#include "engines/soft/fast_operand.h"

#define HANDLER(name)                                                                              \
    static const struct soft_op *name(struct soft_cpu *cpu, const struct soft_op *op)

static inline bool attention(const struct soft_cpu *cpu)
{
    return __builtin_expect(atomic_load_explicit(&cpu->attention, memory_order_relaxed) != 0, 0);
}

static inline uint64_t branch_target(const struct soft_cpu *cpu, const struct soft_op *op)
{
    return (cpu->gpr[SOFT_GPR_CODE] + (uint64_t)(int64_t)op->displacement) & cpu->address_mask;
}

/* Leaves for a target that is not linked (or somebody wants attention). */
static const struct soft_op *leave_by_branch(struct soft_cpu *cpu, const struct soft_op *op)
{
    cpu->rip = branch_target(cpu, op);
    /* The op lies in this vCPU's arena; a link is the one thing that changes in it. */
    cpu->link_from = (struct soft_op *)(uintptr_t)op;
    return NULL;
}

static inline const struct soft_op *branch_local(struct soft_cpu *cpu, const struct soft_op *op)
{
    cpu->instructions += op->count;
    if (__builtin_expect(op->target == NULL, 0) || attention(cpu)) {
        return leave_by_branch(cpu, op);
    }
    return soft_continue(cpu, op->target);
}

static inline const struct soft_op *branch_remote(struct soft_cpu *cpu, const struct soft_op *op)
{
    cpu->instructions += op->count;
    uint64_t rip = branch_target(cpu, op);
    const struct soft_op *target = op->target;
    bool linked = target != NULL && soft_block_is_at(cpu, target, rip);
    if (__builtin_expect(!linked, 0) || attention(cpu)) {
        return leave_by_branch(cpu, op);
    }
    cpu->gpr[SOFT_GPR_CODE] = rip - target->offset;
    return soft_continue(cpu, target);
}

HANDLER(jump_local)
{
    return branch_local(cpu, op);
}

HANDLER(jump_remote)
{
    return branch_remote(cpu, op);
}

/* The end of a block that just goes on behind it: a jump of no bytes. */
const struct soft_op *soft_op_end(struct soft_cpu *cpu, const struct soft_op *op)
{
    return op->displacement < (int32_t)SOFT_PAGE_SIZE ? branch_local(cpu, op)
                                                      : branch_remote(cpu, op);
}

#define FAST_JCC(condition)                                                                        \
    HANDLER(jcc_local_##condition)                                                                 \
    {                                                                                              \
        return soft_condition(cpu->arithmetic, condition) ? branch_local(cpu, op)                  \
                                                          : soft_next(cpu, op);                    \
    }                                                                                              \
    HANDLER(jcc_remote_##condition)                                                                \
    {                                                                                              \
        return soft_condition(cpu->arithmetic, condition) ? branch_remote(cpu, op)                 \
                                                          : soft_next(cpu, op);                    \
    }

FAST_JCC(0)
FAST_JCC(1)
FAST_JCC(2)
FAST_JCC(3)
FAST_JCC(4)
FAST_JCC(5)
FAST_JCC(6)
FAST_JCC(7)
FAST_JCC(8)
FAST_JCC(9)
FAST_JCC(10)
FAST_JCC(11)
FAST_JCC(12)
FAST_JCC(13)
FAST_JCC(14)
FAST_JCC(15)

static soft_handler *const jcc_local[16] = {jcc_local_0,  jcc_local_1,  jcc_local_2,  jcc_local_3,
                                            jcc_local_4,  jcc_local_5,  jcc_local_6,  jcc_local_7,
                                            jcc_local_8,  jcc_local_9,  jcc_local_10, jcc_local_11,
                                            jcc_local_12, jcc_local_13, jcc_local_14, jcc_local_15};
static soft_handler *const jcc_remote[16] = {
    jcc_remote_0,  jcc_remote_1,  jcc_remote_2,  jcc_remote_3, jcc_remote_4,  jcc_remote_5,
    jcc_remote_6,  jcc_remote_7,  jcc_remote_8,  jcc_remote_9, jcc_remote_10, jcc_remote_11,
    jcc_remote_12, jcc_remote_13, jcc_remote_14, jcc_remote_15};

/* --- calls and returns, in the mode's own width --- */

/* The store may have changed the very code that is called: then the run loop looks it up anew. */
static inline const struct soft_op *called(struct soft_cpu *cpu, const struct soft_op *op,
                                           uint64_t stack, bool changed)
{
    cpu->gpr[X86_RSP] = stack;
    if (__builtin_expect(changed, 0)) {
        cpu->instructions += op->count;
        cpu->rip = branch_target(cpu, op);
        cpu->code_changed = false;
        return NULL;
    }
    return op->branch_is_local ? branch_local(cpu, op) : branch_remote(cpu, op);
}

#define FAST_CALLS(width)                                                                          \
    HANDLER(call_##width)                                                                          \
    {                                                                                              \
        uint64_t stack = (cpu->gpr[X86_RSP] - width) & cpu->address_mask;                          \
        uint64_t back = (soft_op_rip(cpu, op) + op->length) & cpu->address_mask;                   \
        bool changed = soft_push_store(cpu, op, stack, back, width);                               \
        return called(cpu, op, stack, changed);                                                    \
    }                                                                                              \
    static inline const struct soft_op *call_to_##width(struct soft_cpu *cpu,                      \
                                                        const struct soft_op *op, uint64_t target) \
    {                                                                                              \
        if (__builtin_expect(!soft_canonical(cpu, target), 0)) {                                   \
            return fast_give_up(cpu, op);                                                          \
        }                                                                                          \
        uint64_t stack = (cpu->gpr[X86_RSP] - width) & cpu->address_mask;                          \
        uint64_t back = (soft_op_rip(cpu, op) + op->length) & cpu->address_mask;                   \
        soft_push_store(cpu, op, stack, back, width);                                              \
        cpu->code_changed = false;                                                                 \
        cpu->gpr[X86_RSP] = stack;                                                                 \
        cpu->instructions += op->count;                                                            \
        const struct soft_op *next = soft_jump(cpu, target);                                       \
        return next == NULL ? NULL : soft_continue(cpu, next);                                     \
    }                                                                                              \
    HANDLER(call_register_##width)                                                                 \
    {                                                                                              \
        return call_to_##width(cpu, op, fast_get(cpu, op->source, width));                         \
    }                                                                                              \
    HANDLER(call_memory_##width)                                                                   \
    {                                                                                              \
        return call_to_##width(cpu, op, fast_load(cpu, op, width));                                \
    }                                                                                              \
    HANDLER(ret_##width)                                                                           \
    {                                                                                              \
        uint64_t from = cpu->gpr[X86_RSP] & cpu->address_mask;                                     \
        uint64_t target = soft_load(cpu, op, from, width);                                         \
        if (__builtin_expect(!soft_canonical(cpu, target), 0)) {                                   \
            return fast_give_up(cpu, op);                                                          \
        }                                                                                          \
        cpu->gpr[X86_RSP] = (from + width + (uint64_t)op->immediate) & cpu->address_mask;          \
        cpu->instructions += op->count;                                                            \
        const struct soft_op *next = soft_jump(cpu, target);                                       \
        return next == NULL ? NULL : soft_continue(cpu, next);                                     \
    }                                                                                              \
    static inline const struct soft_op *jump_to_##width(struct soft_cpu *cpu,                      \
                                                        const struct soft_op *op, uint64_t target) \
    {                                                                                              \
        if (__builtin_expect(!soft_canonical(cpu, target), 0)) {                                   \
            return fast_give_up(cpu, op);                                                          \
        }                                                                                          \
        cpu->instructions += op->count;                                                            \
        const struct soft_op *next = soft_jump(cpu, target);                                       \
        return next == NULL ? NULL : soft_continue(cpu, next);                                     \
    }                                                                                              \
    HANDLER(jump_register_##width)                                                                 \
    {                                                                                              \
        return jump_to_##width(cpu, op, fast_get(cpu, op->source, width));                         \
    }                                                                                              \
    HANDLER(jump_memory_##width)                                                                   \
    {                                                                                              \
        return jump_to_##width(cpu, op, fast_load(cpu, op, width));                                \
    }

FAST_CALLS(4)
FAST_CALLS(8)

/* --- lowering --- */

/* The branch's target relative to the page; false where tier 2 must truncate. */
static bool lower_target(const struct x86_instruction *in, struct soft_op *op, unsigned int width)
{
    int64_t target = (int64_t)op->offset + op->length + in->immediate;
    if (target != (int32_t)target || in->operand_size != width) {
        return false;
    }
    op->displacement = (int32_t)target;
    op->branch_is_local = target >= 0 && target < (int64_t)SOFT_PAGE_SIZE;
    op->target = NULL;
    return true;
}

static enum soft_fast_kind lower_indirect(const struct soft_cpu *cpu,
                                          const struct x86_instruction *in, struct soft_op *op)
{
    bool wide = soft_64bit(cpu), memory = x86_has_memory_operand(in);
    bool call = in->operation == X86_OP_CALL_INDIRECT;
    if (in->operand_size != (wide ? 8 : 4) || (memory && !fast_lower_memory(cpu, in, op))) {
        return SOFT_FAST_NONE;
    }
    op->source = in->rm;
    if (call) {
        op->handler = memory ? (wide ? call_memory_8 : call_memory_4)
                             : (wide ? call_register_8 : call_register_4);
    } else {
        op->handler = memory ? (wide ? jump_memory_8 : jump_memory_4)
                             : (wide ? jump_register_8 : jump_register_4);
    }
    return SOFT_FAST_LAST;
}

enum soft_fast_kind fast_lower_branch(const struct soft_cpu *cpu, const struct x86_instruction *in,
                                      struct soft_op *op)
{
    unsigned int width = soft_64bit(cpu) ? 8 : 4;
    switch ((enum x86_operation)in->operation) {
    case X86_OP_JCC:
        if (!lower_target(in, op, width)) {
            return SOFT_FAST_NONE;
        }
        op->handler = op->branch_is_local ? jcc_local[in->condition] : jcc_remote[in->condition];
        return SOFT_FAST_NEXT;
    case X86_OP_JMP:
        if (!lower_target(in, op, width)) {
            return SOFT_FAST_NONE;
        }
        op->handler = op->branch_is_local ? jump_local : jump_remote;
        return SOFT_FAST_LAST;
    case X86_OP_CALL:
        if (!lower_target(in, op, width)) {
            return SOFT_FAST_NONE;
        }
        op->segment = X86_SS;
        op->handler = width == 8 ? call_8 : call_4;
        return SOFT_FAST_LAST;
    case X86_OP_RET:
        if (in->operand_size != width) {
            return SOFT_FAST_NONE;
        }
        op->immediate = in->immediate;
        op->segment = X86_SS;
        op->handler = width == 8 ? ret_8 : ret_4;
        return SOFT_FAST_LAST;
    case X86_OP_JMP_INDIRECT:
    case X86_OP_CALL_INDIRECT:
        return lower_indirect(cpu, in, op);
    default:
        return SOFT_FAST_NONE;
    }
}
