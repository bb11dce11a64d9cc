/*
 * The timer host of a running VM: devices' timers on the event thread.
 *
 * Purpose: implements struct timer_host (vm/timer.h) with clock_now_ns and the event loop's one
 *          deadline. Expired timers are called with the device lock held.
 * Owner:   the VM.
 * Thread:  create and destroy while the event thread does not run; the rest as timer.h says.
 */
#ifndef TRAPEZE_VM_VM_TIMERS_H
#define TRAPEZE_VM_VM_TIMERS_H

#include <pthread.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/event_loop.h"
#include "vm/timer.h"

struct vm_timers;

/* device_lock is taken around every expired(); both outlive the timers. */
int vm_timers_create(struct event_loop *events, pthread_mutex_t *device_lock,
                     struct vm_timers **out, struct error *error);
void vm_timers_destroy(struct vm_timers *timers);

/* While they are held none expires; those that came due do when they are let go. */
void vm_timers_hold(struct vm_timers *timers, bool hold);

struct timer_host *vm_timers_host(struct vm_timers *timers);

#endif
