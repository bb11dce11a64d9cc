/*
 * An event count: a thread waits for a condition that others make true, without a lock and
 * without losing a wake-up.
 *
 * Use:    ticket = event_count_ticket(c); if (condition) …; else event_count_wait(c, ticket);
 *         the other side makes the condition true, then calls event_count_signal(c).
 *         A signal that comes after the ticket was drawn makes the wait return at once.
 * Owner:  embedded in what is waited for; all zeroes is a valid initial value.
 * Thread: any.
 */
#ifndef TRAPEZE_BASE_EVENT_COUNT_H
#define TRAPEZE_BASE_EVENT_COUNT_H

#include <stdatomic.h>

struct event_count {
    atomic_uint value;   /* how many signals so far; the futex word */
    atomic_uint waiters; /* so that a signal nobody waits for costs no system call */
};

unsigned int event_count_ticket(struct event_count *count);

/* Sleeps until a signal later than the ticket; may also return early, so loop. */
void event_count_wait(struct event_count *count, unsigned int ticket);

/* Async-signal-safe. */
void event_count_signal(struct event_count *count);

#endif
