/*
 * Memory operands that a thunk may touch where they are.
 *
 * Purpose: when the TLB has the page and the operand lies within it, the native instruction works
 *          on the guest's memory itself: no copy, and one access, as on hardware. Anything else
 *          (misses, page crossings, MMIO, watched pages, segments with limits) is for memory.h.
 * Owner, thread: the vCPU.
 */
#ifndef TRAPEZE_ENGINES_SOFT_VECTOR_MEMORY_H
#define TRAPEZE_ENGINES_SOFT_VECTOR_MEMORY_H

#include "engines/soft/cpu.h"
#include "engines/soft/debug.h"
#include "engines/soft/fast_memory.h"
#include "engines/soft/memory.h"

/* True if soft_direct_linear gives the operand's address: flat, no breakpoints to check. */
static inline bool soft_direct_possible(const struct soft_cpu *cpu)
{
    return (cpu->mode & ~SOFT_MODE_USER) == (X86_DECODE_64 | SOFT_MODE_FAST) &&
           !soft_debug_armed(cpu);
}

static inline uint64_t soft_direct_linear(const struct soft_cpu *cpu,
                                          const struct x86_instruction *in)
{
    uint64_t base = in->base == X86_REGISTER_RIP ? cpu->next_rip : cpu->gpr[in->base];
    uint64_t offset =
        base + (cpu->gpr[in->index] << in->scale) + (uint64_t)(int64_t)in->displacement;
    if (in->address_size == 4) {
        offset &= 0xffffffff;
    }
    return offset + cpu->address_base[in->segment];
}

/* Where the operand's bytes are for reading, or NULL. */
static inline uint8_t *soft_direct_read(const struct soft_cpu *cpu,
                                        const struct x86_instruction *in, unsigned int size)
{
    if (!soft_direct_possible(cpu)) {
        return NULL;
    }
    return soft_tlb_read(cpu, soft_direct_linear(cpu, in), size);
}

/* A store in progress. */
struct soft_direct_write {
    uint8_t *host; /* NULL: not this way */
    uint64_t linear;
    const struct soft_tlb_entry *entry;
};

static inline struct soft_direct_write soft_direct_write_begin(const struct soft_cpu *cpu,
                                                               const struct x86_instruction *in,
                                                               unsigned int size)
{
    struct soft_direct_write write = {NULL, 0, NULL};
    if (soft_direct_possible(cpu) && cpu->undo == NULL) { /* undo.h: else noted by memory.h */
        write.linear = soft_direct_linear(cpu, in);
        write.host = soft_tlb_write(cpu, write.linear, size, &write.entry);
    }
    return write;
}

/* After the bytes are there: another vCPU may have begun to execute the page meanwhile. */
static inline void soft_direct_write_end(struct soft_cpu *cpu,
                                         const struct soft_direct_write *write, unsigned int size)
{
    if (!soft_tlb_still_writable(write->entry, write->linear)) {
        soft_chunk_written(cpu, write->linear, size);
    }
}

/*
 * 16 or 32 bytes between guest memory and a register, 16 at a time. In assembly, as host_access.h
 * is and for its reasons.
 */
static inline void soft_direct_copy(void *to, const void *from, unsigned int size)
{
    __asm__ volatile("movups (%1), %%xmm0\n\tmovups %%xmm0, (%0)"
                     :
                     : "r"(to), "r"(from)
                     : "xmm0", "memory");
    if (size == 32) {
        __asm__ volatile("movups 16(%1), %%xmm0\n\tmovups %%xmm0, 16(%0)"
                         :
                         : "r"(to), "r"(from)
                         : "xmm0", "memory");
    }
}

#endif
