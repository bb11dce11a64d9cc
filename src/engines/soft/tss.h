/*
 * The task-state segment: where inner stacks, interrupt stacks and the I/O map are found.
 *
 * Source:  Intel SDM volume 3, "Task-State Segment (TSS)", "16-Bit Task-State Segment (TSS)",
 *          "Task Management in 64-bit Mode", "Interrupt Stack Table".
 * Owner, thread: the vCPU's.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TSS_H
#define TRAPEZE_ENGINES_SOFT_TSS_H

#include "engines/soft/cpu.h"
#include "engines/soft/frame.h"

/* Field offsets of the 32-bit TSS. */
#define SOFT_TSS_IO_MAP_BASE 102u

/* True for a TSS of the 32-bit (in IA-32e mode 64-bit) format. */
static inline bool soft_tss_is_32bit(const struct x86_segment *tss)
{
    return (tss->attributes & 0x8u) != 0;
}

/* Reads a field of the current TSS; the caller has checked the limit. */
uint64_t soft_tss_read(struct soft_cpu *cpu, unsigned int offset, unsigned int size);

/*
 * The stack for privilege level `level` (0..2) outside IA-32e mode. Raises #TS, #NP, #SS as
 * "INT n" and "CALL" list them.
 */
struct soft_stack soft_tss_inner_stack(struct soft_cpu *cpu, unsigned int level, uint32_t external);

/*
 * The same in IA-32e mode: SS becomes null. With `ist` (1..7) RSP comes from the interrupt stack
 * table. Not aligned yet.
 */
struct soft_stack soft_tss_inner_stack64(struct soft_cpu *cpu, unsigned int level, unsigned int ist,
                                         uint32_t external);

#endif
