#include "engines/soft/branch.h"

#include "engines/soft/alu.h"
#include "engines/soft/memory.h"

void soft_check_target(struct soft_cpu *cpu, uint64_t target)
{
    bool good =
        soft_64bit(cpu) ? soft_canonical(cpu, target) : target <= cpu->segment[X86_CS].limit;
    if (!good) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
}

/* The target of a relative branch, cut to the operand size and checked. */
static uint64_t relative_target(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    uint64_t target = cpu->next_rip + (uint64_t)in->decoded.immediate;
    target &= soft_size_mask(in->decoded.operand_size);
    soft_check_target(cpu, target);
    return target;
}

void soft_jcc(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    if (soft_condition(cpu->arithmetic, in->decoded.condition)) {
        cpu->next_rip = relative_target(cpu, in);
    }
}

void soft_jmp(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    cpu->next_rip = relative_target(cpu, in);
}

void soft_jmp_indirect(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    uint64_t target = soft_read_rm(cpu, &in->decoded, in->decoded.operand_size);
    soft_check_target(cpu, target);
    cpu->next_rip = target;
}

void soft_call(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    uint64_t target = relative_target(cpu, in);
    soft_push(cpu, cpu->next_rip, in->decoded.operand_size);
    cpu->next_rip = target;
}

void soft_call_indirect(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    uint64_t target = soft_read_rm(cpu, &in->decoded, in->decoded.operand_size);
    soft_check_target(cpu, target);
    soft_push(cpu, cpu->next_rip, in->decoded.operand_size);
    cpu->next_rip = target;
}

void soft_ret(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int size = in->decoded.operand_size;
    uint64_t target = soft_stack_peek(cpu, 0, size);
    soft_check_target(cpu, target);
    soft_add_rsp(cpu, (int64_t)size + (in->decoded.immediate & 0xffff));
    cpu->next_rip = target;
}

void soft_loop(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int width = in->decoded.address_size;
    uint64_t count = (cpu->gpr[X86_RCX] - 1) & soft_size_mask(width);
    bool zero = (cpu->arithmetic & SOFT_ARITHMETIC_ZF) != 0;
    bool taken = count != 0;
    if (in->decoded.operation == X86_OP_LOOPE) {
        taken = taken && zero;
    } else if (in->decoded.operation == X86_OP_LOOPNE) {
        taken = taken && !zero;
    }
    uint64_t target = taken ? relative_target(cpu, in) : cpu->next_rip;
    soft_set_register(cpu, X86_RCX, width, true, count);
    cpu->next_rip = target;
}

void soft_jcxz(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    if ((cpu->gpr[X86_RCX] & soft_size_mask(in->decoded.address_size)) == 0) {
        cpu->next_rip = relative_target(cpu, in);
    }
}
