#include "vm/vm_timers.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"

struct vm_timers {
    struct timer_host host; /* first: the functions below get a pointer to it */
    struct event_loop *events;
    pthread_mutex_t *device_lock; /* guards what follows */
    struct timer *first;          /* armed timers, the earliest first */
    /*
     * What the event loop was told. It is only moved forward in time when it fires: a guest
     * kernel re-arms its timer to a later time at almost every tick, and a system call for each
     * would cost more than the rare early wake-up.
     */
    uint64_t programmed;
    bool held;      /* none expires, and nothing is programmed */
    uint64_t round; /* the time up to which expired timers were last called */
};

static uint64_t host_now(struct timer_host *host)
{
    (void)host;
    return clock_now_ns();
}

static void unlink_timer(struct vm_timers *timers, struct timer *timer)
{
    for (struct timer **link = &timers->first; *link != NULL; link = &(*link)->next) {
        if (*link == timer) {
            *link = timer->next;
            break;
        }
    }
    timer->next = NULL;
    timer->armed = false;
}

static void program(struct vm_timers *timers)
{
    if (!timers->held && timers->first != NULL && timers->first->deadline < timers->programmed) {
        timers->programmed = timers->first->deadline;
        event_loop_set_deadline(timers->events, timers->programmed);
    }
}

static void host_cancel(struct timer_host *host, struct timer *timer)
{
    if (timer->armed) {
        unlink_timer((struct vm_timers *)host, timer);
    }
}

static void host_arm(struct timer_host *host, struct timer *timer, uint64_t deadline)
{
    struct vm_timers *timers = (struct vm_timers *)host;
    host_cancel(host, timer);
    /*
     * Never into a round that is over or under way: a device that arms itself for the past each
     * time it expires (a guest may program such a period) waits for its turn like the others.
     */
    if (deadline <= timers->round) {
        deadline = timers->round + 1;
    }
    struct timer **link = &timers->first;
    while (*link != NULL && (*link)->deadline <= deadline) {
        link = &(*link)->next;
    }
    timer->deadline = deadline;
    timer->armed = true;
    timer->next = *link;
    *link = timer;
    program(timers);
}

/* The event thread: the deadline that was programmed has come. */
static void deadline_reached(void *context)
{
    struct vm_timers *timers = context;
    pthread_mutex_lock(timers->device_lock);
    timers->programmed = EVENT_LOOP_NEVER;
    timers->round = clock_now_ns();
    while (!timers->held && timers->first != NULL && timers->first->deadline <= timers->round) {
        struct timer *timer = timers->first;
        unlink_timer(timers, timer);
        timer->expired(timer->context);
    }
    program(timers);
    pthread_mutex_unlock(timers->device_lock);
}

void vm_timers_hold(struct vm_timers *timers, bool hold)
{
    timers->held = hold;
    program(timers);
}

int vm_timers_create(struct event_loop *events, pthread_mutex_t *device_lock,
                     struct vm_timers **out, struct error *error)
{
    struct vm_timers *timers = calloc(1, sizeof(*timers));
    if (timers == NULL) {
        return error_set(error, ENOMEM, "no memory for the timers");
    }
    timers->host = (struct timer_host){.now = host_now, .arm = host_arm, .cancel = host_cancel};
    timers->events = events;
    timers->device_lock = device_lock;
    timers->programmed = EVENT_LOOP_NEVER;
    event_loop_on_deadline(events, deadline_reached, timers);
    *out = timers;
    return 0;
}

void vm_timers_destroy(struct vm_timers *timers)
{
    free(timers);
}

struct timer_host *vm_timers_host(struct vm_timers *timers)
{
    return &timers->host;
}
