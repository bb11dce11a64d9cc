/*
 * Exceptions and interrupts entering the guest, and IRET leaving them.
 *
 * Source:  Intel SDM volume 3, "Interrupt and Exception Handling"; volume 2, "INT n", "IRET".
 * Owner, thread: the vCPU.
 */
#ifndef TRAPEZE_ENGINES_SOFT_INTERRUPT_H
#define TRAPEZE_ENGINES_SOFT_INTERRUPT_H

#include "engines/soft/cpu.h"
#include "engines/soft/execute.h"

/*
 * Transfers control through the IVT or IDT, as part of an instruction. May raise (soft_raise…) when
 * that itself faults.
 */
void soft_enter_event(struct soft_cpu *cpu, const struct soft_event *event);

/*
 * The same between instructions. When it leaves the run loop for a device on the way,
 * cpu->event_pending stays set: soft_resume_event goes on with it (and with cpu->task_rest, which
 * an instruction may have left too).
 */
void soft_deliver_event(struct soft_cpu *cpu, const struct soft_event *event);
void soft_resume_event(struct soft_cpu *cpu);

/*
 * Delivers what soft_raise… recorded in cpu->exception_*; the run loop calls it each time that
 * cpu->escape is reached with SOFT_ESCAPE_EXCEPTION. While cpu->delivering is set,
 * soft_deliver_event for cpu->delivering_vector is under way; when that raises, the jump leads back
 * here with delivering still set, which is how a second exception is told from a first.
 *
 * Handles contributory exceptions, page faults and double faults by the table in "Interrupt
 * 8—Double Fault Exception (#DF)". Returns false when the CPU went into shutdown (triple fault):
 * cpu->chain then tells how.
 */
bool soft_deliver_exception(struct soft_cpu *cpu);

/* interrupt_software.c */
soft_execute soft_int, soft_int1, soft_int3, soft_into;

/* interrupt_return.c */
soft_execute soft_iret;

#endif
