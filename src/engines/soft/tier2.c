/*
 * Tier 2 within blocks: the ops that call an instruction's soft_execute function.
 */
#include "engines/soft/block.h"
#include "engines/soft/dispatch.h"

static const struct soft_op *leave_to_next(struct soft_cpu *cpu, const struct soft_op *op)
{
    cpu->instructions += op->count;
    cpu->rip = soft_64bit(cpu) ? cpu->next_rip : cpu->next_rip & 0xffffffff;
    cpu->code_changed = false;
    return NULL;
}

static const struct soft_op *tier2(struct soft_cpu *cpu, const struct soft_op *op)
{
    const struct soft_instruction *instruction = op->instruction;
    cpu->rip = soft_op_rip(cpu, op);
    cpu->next_rip = cpu->rip + op->length;
    instruction->execute(cpu, instruction);
    /* A string instruction that was interrupted comes back with next_rip = rip. */
    if (cpu->code_changed || cpu->next_rip != cpu->rip + op->length) {
        return leave_to_next(cpu, op);
    }
    return soft_next(cpu, op);
}

static const struct soft_op *tier2_last(struct soft_cpu *cpu, const struct soft_op *op)
{
    const struct soft_instruction *instruction = op->instruction;
    cpu->rip = soft_op_rip(cpu, op);
    cpu->next_rip = cpu->rip + op->length;
    instruction->execute(cpu, instruction);
    return leave_to_next(cpu, op);
}

/* Where CS has a limit, each instruction must lie within it ("Limit Checking"). */
static void check_code_limit(struct soft_cpu *cpu, const struct soft_op *op)
{
    cpu->rip = soft_op_rip(cpu, op) & 0xffffffff;
    if (cpu->rip + op->length - 1 > cpu->segment[X86_CS].limit) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
}

static const struct soft_op *tier2_limited(struct soft_cpu *cpu, const struct soft_op *op)
{
    check_code_limit(cpu, op);
    return tier2(cpu, op);
}

static const struct soft_op *tier2_limited_last(struct soft_cpu *cpu, const struct soft_op *op)
{
    check_code_limit(cpu, op);
    return tier2_last(cpu, op);
}

soft_handler *soft_op_tier2(const struct soft_cpu *cpu, bool last)
{
    bool limited = !soft_64bit(cpu) && (cpu->mode & SOFT_MODE_FAST) == 0;
    if (limited) {
        return last ? tier2_limited_last : tier2_limited;
    }
    return last ? tier2_last : tier2;
}

const struct soft_op *soft_op_single(struct soft_cpu *cpu, const struct soft_op *op)
{
    (void)op;
    soft_run_single(cpu);
    return NULL;
}

void soft_undefined(struct soft_cpu *cpu, const struct soft_instruction *instruction)
{
    (void)instruction;
    soft_raise(cpu, X86_VECTOR_UD);
}
