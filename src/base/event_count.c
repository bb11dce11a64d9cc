#include "base/event_count.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

unsigned int event_count_ticket(struct event_count *count)
{
    return atomic_load(&count->value);
}

void event_count_wait(struct event_count *count, unsigned int ticket)
{
    /*
     * Sequentially consistent on both sides: either the signaller sees the waiter, or the
     * kernel's comparison sees the signaller's new value.
     */
    atomic_fetch_add(&count->waiters, 1);
    if (atomic_load(&count->value) == ticket) {
        syscall(SYS_futex, &count->value, FUTEX_WAIT_PRIVATE, ticket, NULL, NULL, 0);
    }
    atomic_fetch_sub(&count->waiters, 1);
}

void event_count_signal(struct event_count *count)
{
    atomic_fetch_add(&count->value, 1);
    if (atomic_load(&count->waiters) != 0) {
        int saved = errno;
        syscall(SYS_futex, &count->value, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
        errno = saved;
    }
}
