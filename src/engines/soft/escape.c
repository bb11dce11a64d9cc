/*
 * Leaving an instruction in the middle: exceptions, exits, restarts (the rules are in cpu.h).
 */
#include "engines/soft/cpu.h"

static _Noreturn void escape(struct soft_cpu *cpu, enum soft_escape how)
{
    siglongjmp(cpu->escape, (int)how);
}

static _Noreturn void raise(struct soft_cpu *cpu, enum x86_vector vector, bool has_error,
                            uint32_t error)
{
    cpu->exception_vector = (uint8_t)vector;
    cpu->exception_has_error = has_error;
    cpu->exception_error = error;
    cpu->exception_is_software = false;
    escape(cpu, SOFT_ESCAPE_EXCEPTION);
}

void soft_raise(struct soft_cpu *cpu, enum x86_vector vector)
{
    raise(cpu, vector, false, 0);
}

void soft_raise_error(struct soft_cpu *cpu, enum x86_vector vector, uint32_t error)
{
    raise(cpu, vector, true, error);
}

void soft_raise_page_fault(struct soft_cpu *cpu, uint64_t linear, uint32_t error)
{
    cpu->cr2 = linear;
    raise(cpu, X86_VECTOR_PF, true, error);
}

void soft_leave_and_restart(struct soft_cpu *cpu)
{
    escape(cpu, SOFT_ESCAPE_EXIT);
}

void soft_restart(struct soft_cpu *cpu)
{
    escape(cpu, SOFT_ESCAPE_RESTART);
}

void soft_leave_after(struct soft_cpu *cpu)
{
    soft_attend(cpu, SOFT_ATTENTION_LEAVE);
}
