/*
 * Stack frames that the processor itself writes: far calls, gates, interrupts.
 *
 * Purpose: a frame goes to the current stack or to one whose SS is not loaded yet. All of it is
 *          checked before its first byte is written and before any register changes.
 * Source:  Intel SDM volume 3, "Stack Switching", "Stack Switching in IA-32e Mode", "Exception- or
 *          Interrupt-Handler Procedures".
 * Owner, thread: the vCPU's.
 */
#ifndef TRAPEZE_ENGINES_SOFT_FRAME_H
#define TRAPEZE_ENGINES_SOFT_FRAME_H

#include "engines/soft/cpu.h"
#include "engines/soft/segment_load.h"

#define SOFT_FRAME_MAX 40 /* a call gate's 31 parameters and SS, ESP, CS, EIP; else fewer */

struct soft_stack {
    struct soft_load load;
    uint64_t rsp;
    uint64_t mask;     /* how wide the stack pointer is: 16, 32 or 64 bits of ones */
    bool user;         /* written as level 3 */
    bool selected;     /* an inner stack: #SS names its selector */
    uint32_t external; /* EXT of the error code of #SS */
};

/* The current stack. */
struct soft_stack soft_current_stack(const struct soft_cpu *cpu, uint32_t external);

/* A stack that is about to be loaded for privilege level cpl; 64-bit if is_64bit. */
struct soft_stack soft_inner_stack(const struct soft_load *load, uint64_t rsp, unsigned int cpl,
                                   bool is_64bit, uint32_t external);

/* Raises #SS or #PF unless `count` items of `size` bytes can be pushed. */
void soft_check_frame(struct soft_cpu *cpu, const struct soft_stack *stack, unsigned int count,
                      unsigned int size);

/*
 * Pushes the items, first one first; the frame was checked. Returns what RSP is to hold.
 */
uint64_t soft_write_frame(struct soft_cpu *cpu, const struct soft_stack *stack,
                          const uint64_t *items, unsigned int count, unsigned int size);

/* The new value of RSP when a stack pointer is loaded that is only as wide as the stack. */
static inline uint64_t soft_merge_rsp(uint64_t old_rsp, uint64_t new_rsp, uint64_t mask)
{
    return mask == 0xffff ? (old_rsp & ~mask) | (new_rsp & mask) : new_rsp & mask;
}

/* 16, 32 or 64 ones: how wide the stack pointer is with this SS. */
static inline uint64_t soft_stack_mask(const struct x86_segment *segment, bool is_64bit)
{
    if (is_64bit) {
        return ~UINT64_C(0);
    }
    return (segment->attributes & X86_SEGMENT_DB) != 0 ? 0xffffffff : 0xffff;
}

#endif
