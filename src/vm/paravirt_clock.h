/*
 * The KVM paravirtual clock: stock Linux takes time and the TSC's frequency from it.
 *
 * Purpose: the two structures in guest memory that map the TSC to nanoseconds, for engines that
 *          serve the clock's MSRs themselves. System time is the host's TSC in nanoseconds: one
 *          base for all vCPUs, whatever a guest writes to its own counters. It is marked stable, so
 *          that a guest reads it without looking at the other vCPUs.
 * Source:  Linux, Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW,
 *          MSR_KVM_WALL_CLOCK_NEW.
 * Owner:   plain data. Thread: any.
 */
#ifndef TRAPEZE_VM_PARAVIRT_CLOCK_H
#define TRAPEZE_VM_PARAVIRT_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Bit of the system-time MSR; the others are the structure's guest physical address. */
#define PARAVIRT_SYSTEM_TIME_ON UINT64_C(1)

/* nanoseconds = (ticks << shift, or >> -shift) * multiplier >> 32. */
struct paravirt_clock_scale {
    uint32_t multiplier;
    int8_t shift;
};

/* Both structures as the guest's ABI has them. */
struct paravirt_system_time {
    uint32_t version, padding;
    uint64_t tsc_timestamp;
    uint64_t system_time;
    uint32_t tsc_to_system_multiplier;
    int8_t tsc_shift;
    uint8_t flags;
    uint8_t padding2[2];
};

struct paravirt_wall_clock {
    uint32_t version, seconds, nanoseconds;
};

/* The scale for a counter of this frequency in Hz (not 0). */
struct paravirt_clock_scale paravirt_clock_scale(uint64_t hz);
uint64_t paravirt_clock_nanoseconds(struct paravirt_clock_scale scale, uint64_t ticks);

/*
 * What is to be written where the MSR points: for a vCPU whose TSC is tsc_offset ahead of the
 * host's, which runs at tsc_hz and is at host_tsc now. stood_still: a mark for its watchdogs.
 */
struct paravirt_system_time paravirt_system_time(uint64_t tsc_hz, uint64_t host_tsc,
                                                 uint64_t tsc_offset, bool stood_still);

/* The wall clock at system time 0. */
struct paravirt_wall_clock paravirt_wall_clock(uint64_t tsc_hz, uint64_t host_tsc);

#endif
