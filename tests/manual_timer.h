/*
 * A timer_host whose time passes only when a test says so.
 *
 * Use:    manual_timer_init(&host); device gets &host.host; manual_timer_advance(&host, ns).
 * Owner:  the test. Thread: one.
 */
#ifndef TRAPEZE_TESTS_MANUAL_TIMER_H
#define TRAPEZE_TESTS_MANUAL_TIMER_H

#include <stddef.h>
#include <stdint.h>

#include "vm/timer.h"

struct manual_timer {
    struct timer_host host; /* first: the functions get a pointer to it */
    uint64_t time;
    struct timer *first; /* sorted by deadline */
    uint64_t fired;      /* how many timers have expired so far */
};

static inline uint64_t manual_timer_now(struct timer_host *host)
{
    return ((struct manual_timer *)(void *)host)->time;
}

static inline void manual_timer_cancel(struct timer_host *host, struct timer *timer)
{
    struct manual_timer *manual = (struct manual_timer *)(void *)host;

    for (struct timer **link = &manual->first; *link != NULL; link = &(*link)->next) {
        if (*link == timer) {
            *link = timer->next;
            break;
        }
    }
    timer->armed = false;
    timer->next = NULL;
}

static inline void manual_timer_arm(struct timer_host *host, struct timer *timer, uint64_t deadline)
{
    struct manual_timer *manual = (struct manual_timer *)(void *)host;
    struct timer **link = &manual->first;

    manual_timer_cancel(host, timer);
    timer->deadline = deadline;
    timer->armed = true;
    while (*link != NULL && (*link)->deadline <= deadline) {
        link = &(*link)->next;
    }
    timer->next = *link;
    *link = timer;
}

static inline void manual_timer_init(struct manual_timer *manual)
{
    *manual = (struct manual_timer){
        .host = {manual_timer_now, manual_timer_arm, manual_timer_cancel}, .time = 1000000};
}

/* Lets time pass, running each timer at its deadline. */
static inline void manual_timer_advance(struct manual_timer *manual, uint64_t ns)
{
    uint64_t end = manual->time + ns;

    while (manual->first != NULL && manual->first->deadline <= end) {
        struct timer *timer = manual->first;

        if (timer->deadline > manual->time) {
            manual->time = timer->deadline;
        }
        manual_timer_cancel(&manual->host, timer);
        manual->fired++;
        timer->expired(timer->context);
    }
    manual->time = end;
}

/* Lets time pass as on a host that was asleep: the timers run late, all at the end. */
static inline void manual_timer_oversleep(struct manual_timer *manual, uint64_t ns)
{
    manual->time += ns;
    manual_timer_advance(manual, 0);
}

#endif
