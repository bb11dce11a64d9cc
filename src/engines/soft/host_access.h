/*
 * Guest memory touched by single host instructions.
 *
 * In assembly, so that no compiler splits, merges or repeats an access: a store by one vCPU is seen
 * whole by another, as on hardware, and its order among others is the host's, which is the guest's.
 *
 * Owner: none. Thread: any.
 */
#ifndef TRAPEZE_ENGINES_SOFT_HOST_ACCESS_H
#define TRAPEZE_ENGINES_SOFT_HOST_ACCESS_H

#include <stdint.h>

/* size: 1, 2, 4 or 8 bytes; any alignment. */
static inline uint64_t soft_host_load(const void *host, unsigned int size)
{
    uint64_t value;
    switch (size) {
    case 1:
        __asm__ volatile("movzbl (%1), %k0" : "=r"(value) : "r"(host) : "memory");
        return value;
    case 2:
        __asm__ volatile("movzwl (%1), %k0" : "=r"(value) : "r"(host) : "memory");
        return value;
    case 4:
        __asm__ volatile("movl (%1), %k0" : "=r"(value) : "r"(host) : "memory");
        return value;
    default:
        __asm__ volatile("movq (%1), %0" : "=r"(value) : "r"(host) : "memory");
        return value;
    }
}

static inline void soft_host_store(void *host, uint64_t value, unsigned int size)
{
    switch (size) {
    case 1:
        __asm__ volatile("movb %b0, (%1)" ::"q"(value), "r"(host) : "memory");
        break;
    case 2:
        __asm__ volatile("movw %w0, (%1)" ::"r"(value), "r"(host) : "memory");
        break;
    case 4:
        __asm__ volatile("movl %k0, (%1)" ::"r"(value), "r"(host) : "memory");
        break;
    default:
        __asm__ volatile("movq %0, (%1)" ::"r"(value), "r"(host) : "memory");
        break;
    }
}

/* Orders everything before with everything after; C's fences know nothing of the above. */
static inline void soft_host_fence(void)
{
    __asm__ volatile("mfence" ::: "memory");
}

#endif
