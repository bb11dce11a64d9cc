/*
 * Tier 1's loads and stores: the inline TLB lookup.
 *
 * A hit costs one compare that tests the tag and page crossing together. Guest memory is touched by
 * single host instructions (asm, so that no compiler splits, merges or repeats them): a store by
 * one vCPU is seen whole by another, as on hardware.
 *
 * Owner, thread: the vCPU.
 */
#ifndef TRAPEZE_ENGINES_SOFT_FAST_MEMORY_H
#define TRAPEZE_ENGINES_SOFT_FAST_MEMORY_H

#include "engines/soft/host_access.h"
#include "engines/soft/memory.h"
#include "engines/soft/op.h"
#include "engines/soft/tlb.h"

/* The host address for reading size bytes at linear, or NULL when the slow path must look. */
static inline uint8_t *soft_tlb_read(const struct soft_cpu *cpu, uint64_t linear, unsigned int size)
{
    const struct soft_tlb_entry *entry = &cpu->tlb->entry[soft_tlb_index(linear)];
    uint64_t offset = linear - entry->read_tag;
    return __builtin_expect(offset <= SOFT_PAGE_SIZE - size, 1) ? entry->host + offset : NULL;
}

static inline uint8_t *soft_tlb_write(const struct soft_cpu *cpu, uint64_t linear,
                                      unsigned int size, const struct soft_tlb_entry **used)
{
    const struct soft_tlb_entry *entry = &cpu->tlb->entry[soft_tlb_index(linear)];
    uint64_t offset = linear - __atomic_load_n(&entry->write_tag, __ATOMIC_RELAXED);
    *used = entry;
    return __builtin_expect(offset <= SOFT_PAGE_SIZE - size, 1) ? entry->host + offset : NULL;
}

/* After a store through a write tag: true if it is still there (code.h). */
static inline bool soft_tlb_still_writable(const struct soft_tlb_entry *entry, uint64_t linear)
{
    __asm__ volatile("" ::: "memory");
    uint64_t tag = __atomic_load_n(&entry->write_tag, __ATOMIC_RELAXED);
    return __builtin_expect(linear - tag < SOFT_PAGE_SIZE, 1);
}

/* Makes cpu->rip and next_rip those of an op, for everything that may leave it. */
static inline void soft_sync(struct soft_cpu *cpu, const struct soft_op *op)
{
    cpu->rip = soft_op_rip(cpu, op);
    cpu->next_rip = cpu->rip + op->length;
}

/* The slow halves: everything but a plain hit. segment matters for #SS against #GP only. */
uint64_t soft_load_slow(struct soft_cpu *cpu, const struct soft_op *op, uint64_t linear,
                        unsigned int size);
/* True when the store hit decoded code: leave the block after this instruction. */
bool soft_store_slow(struct soft_cpu *cpu, const struct soft_op *op, uint64_t linear,
                     uint64_t value, unsigned int size);
/* The same for a push, whose op may hold another operand's segment. */
bool soft_push_slow(struct soft_cpu *cpu, const struct soft_op *op, uint64_t linear, uint64_t value,
                    unsigned int size);
/* Before a read-modify-write: raises what the write would. */
void soft_modify_slow(struct soft_cpu *cpu, const struct soft_op *op, uint64_t linear,
                      unsigned int size);
bool soft_store_raced(struct soft_cpu *cpu, uint64_t linear, unsigned int size);

static inline uint64_t soft_load(struct soft_cpu *cpu, const struct soft_op *op, uint64_t linear,
                                 unsigned int size)
{
    const uint8_t *host = soft_tlb_read(cpu, linear, size);
    if (__builtin_expect(host == NULL, 0)) {
        return soft_load_slow(cpu, op, linear, size);
    }
    return soft_host_load(host, size);
}

/* slow: soft_store_slow or soft_push_slow */
static inline __attribute__((always_inline)) bool
soft_store_or(struct soft_cpu *cpu, const struct soft_op *op, uint64_t linear, uint64_t value,
              unsigned int size, __typeof__(soft_store_slow) *slow)
{
    const struct soft_tlb_entry *entry;
    uint8_t *host = soft_tlb_write(cpu, linear, size, &entry);
    if (__builtin_expect(host == NULL, 0)) {
        return slow(cpu, op, linear, value, size);
    }
    soft_host_store(host, value, size);
    if (__builtin_expect(!soft_tlb_still_writable(entry, linear), 0)) {
        return soft_store_raced(cpu, linear, size);
    }
    return false;
}

static inline bool soft_store(struct soft_cpu *cpu, const struct soft_op *op, uint64_t linear,
                              uint64_t value, unsigned int size)
{
    return soft_store_or(cpu, op, linear, value, size, soft_store_slow);
}

static inline bool soft_push_store(struct soft_cpu *cpu, const struct soft_op *op, uint64_t linear,
                                   uint64_t value, unsigned int size)
{
    return soft_store_or(cpu, op, linear, value, size, soft_push_slow);
}

#endif
