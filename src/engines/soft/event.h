/*
 * What may enter the guest's handlers, and how far on its way in it is.
 *
 * Purpose: an event's frame, the tables on its way and the stack of a new task may lie in a device.
 *          Each access there leaves the run loop; what is kept here lets the next run go on, so
 *          that an interrupt that was acknowledged, a trap or an error code is not lost.
 * Owner, thread: the vCPU's.
 */
#ifndef TRAPEZE_ENGINES_SOFT_EVENT_H
#define TRAPEZE_ENGINES_SOFT_EVENT_H

#include <stdbool.h>
#include <stdint.h>

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
 * The second half of a task switch: registers are the new task's already, segment registers have
 * their selectors only, and the switch can't be repeated.
 */
struct soft_task_rest {
    bool pending;
    bool pushes_error;
    bool traps;   /* the T flag of the new TSS */
    uint8_t size; /* of a stack item: 2 or 4 */
    uint32_t error;
    uint32_t external; /* EXT for error codes */
};

#endif
