/*
 * The checks that RET and IRET share when they return to a code segment, perhaps an outer one.
 *
 * Source:  Intel SDM volume 2, "RET—Return From Procedure", "IRET—Interrupt Return".
 * Owner, thread: the vCPU's.
 */
#ifndef TRAPEZE_ENGINES_SOFT_FAR_RETURN_H
#define TRAPEZE_ENGINES_SOFT_FAR_RETURN_H

#include "engines/soft/cpu.h"
#include "engines/soft/segment_load.h"

/* The code segment that a protected-mode return loads. Its privilege level is the selector's RPL,
 * which is the CPL or an outer level. */
struct soft_load soft_check_return_code(struct soft_cpu *cpu, uint16_t selector);

/*
 * The stack segment that goes with it. A null one is good in 64-bit mode below level 3.
 * code: what the above returned.
 */
struct soft_load soft_check_return_stack(struct soft_cpu *cpu, uint16_t selector,
                                         const struct x86_segment *code);

/* After a return to an outer level: data segments that it must not see become null. */
void soft_hide_inner_segments(struct soft_cpu *cpu, unsigned int cpl);

#endif
