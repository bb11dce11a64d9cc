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

enum soft_event_kind {
    SOFT_EVENT_EXTERNAL, /* a maskable interrupt: EXT set in error codes raised on the way */
    SOFT_EVENT_NMI,
    SOFT_EVENT_EXCEPTION, /* raised by the processor */
    SOFT_EVENT_SOFTWARE,  /* INT n, INT3, INTO: gate DPL is checked */
    SOFT_EVENT_INT1       /* INT1: a privileged software exception */
};

struct soft_event {
    enum soft_event_kind kind;
    uint8_t vector;
    bool has_error;
    uint32_t error;
    uint64_t return_rip; /* pushed as RIP */
};

/*
 * Transfers control through the IVT or IDT. May raise (soft_raise…) when that itself faults: the
 * caller, soft_deliver_exception, turns this into double and triple faults.
 */
void soft_enter_event(struct soft_cpu *cpu, const struct soft_event *event);

/*
 * Delivers what soft_raise… recorded in cpu->exception_*; the run loop calls it each time that
 * cpu->escape is reached with SOFT_ESCAPE_EXCEPTION. While cpu->delivering is set, soft_enter_event
 * for cpu->delivering_vector is under way; when that raises, the jump leads back here with
 * delivering still set, which is how a second exception is told from a first. Who leaves the run
 * loop for MMIO in the middle of a delivery clears cpu->delivering: the instruction runs again.
 *
 * Handles contributory exceptions, page
 * faults and double faults by the table in "Interrupt 8—Double Fault Exception (#DF)". Returns
 * false when the CPU went into shutdown (triple fault): cpu->chain then tells how.
 */
bool soft_deliver_exception(struct soft_cpu *cpu);

/* interrupt_software.c */
soft_execute soft_int, soft_int1, soft_int3, soft_into;

/* interrupt_return.c */
soft_execute soft_iret;

#endif
