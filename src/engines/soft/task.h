/*
 * Hardware task switching, 32-bit and 16-bit.
 *
 * Source:  Intel SDM volume 3, "Task Management": "Task Switching", "Task Linking".
 * Owner, thread: the vCPU's.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TASK_H
#define TRAPEZE_ENGINES_SOFT_TASK_H

#include "engines/soft/cpu.h"

enum soft_task_reason { SOFT_TASK_JMP, SOFT_TASK_CALL, SOFT_TASK_EVENT, SOFT_TASK_IRET };

struct soft_task_switch {
    enum soft_task_reason reason;
    uint16_t selector;   /* of the new TSS */
    uint64_t return_rip; /* EIP that the old task resumes at */
    uint32_t external;   /* EXT for error codes */
    bool pushes_error;   /* an exception with an error code through a task gate */
    uint32_t error;
    bool faulted; /* a fault-class exception: RF is set in the old task's saved EFLAGS */
};

/*
 * Switches to the task. Not in IA-32e mode. Faults found before the switch is committed are the
 * old task's; later ones are raised in the new task, with its EIP.
 */
void soft_switch_task(struct soft_cpu *cpu, const struct soft_task_switch *task);

/* Loads and checks segments, pushes the error code, traps: what cpu->task_rest says is to come. */
void soft_finish_task_switch(struct soft_cpu *cpu);

/* IRET with NT set: back to the task that the link field names. */
void soft_return_to_linked_task(struct soft_cpu *cpu);

#endif
