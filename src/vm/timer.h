/*
 * One-shot timers for devices.
 *
 * Purpose: a device arms its timers through a timer_host and knows nothing of host clocks or
 *          threads. The VM's host runs them on its event thread with the device lock held; tests
 *          drive a manual one.
 * Owner:   a struct timer is embedded in its device, which initialises it with timer_init.
 * Thread:  arm, cancel and now under the device lock; expired is called with it held.
 * Freestanding.
 */
#ifndef TRAPEZE_VM_TIMER_H
#define TRAPEZE_VM_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer {
    void (*expired)(void *context);
    void *context;
    uint64_t deadline; /* ns of timer_host time */
    bool armed;
    struct timer *next; /* the host's list, sorted by deadline */
};

struct timer_host {
    uint64_t (*now)(struct timer_host *host); /* ns, monotonic, from an arbitrary origin */
    void (*arm)(struct timer_host *host, struct timer *timer, uint64_t deadline); /* re-arms too */
    void (*cancel)(struct timer_host *host, struct timer *timer); /* harmless when not armed */
};

static inline void timer_init(struct timer *timer, void (*expired)(void *context), void *context)
{
    *timer = (struct timer){.expired = expired, .context = context};
}

#endif
