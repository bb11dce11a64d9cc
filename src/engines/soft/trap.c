#include "engines/soft/trap.h"

#include "x86/sensitive.h"

bool soft_must_trap(enum x86_operation operation)
{
    const struct x86_sensitive *row = x86_sensitive_find(operation);
    return row != NULL && !row->always_leaves;
}

void soft_trap(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    if (!cpu->trapped) {
        cpu->trapped = true;
        cpu->exit->reason = EXIT_INSTRUCTION;
        cpu->exit->instruction.operation = in->decoded.operation;
        soft_leave_and_restart(cpu);
    }
    soft_execute_table[in->decoded.operation].execute(cpu, in);
}
