/*
 * The event thread: file descriptors that become ready, and one deadline.
 *
 * Purpose: backends (console, tap, sockets) and the timers of devices run here, apart from the
 *          vCPU threads.
 * Owner:   the VM.
 * Thread:  add, modify, remove and set_deadline from any thread; callbacks run on the event
 *          thread, without any lock held.
 */
#ifndef TRAPEZE_BASE_EVENT_LOOP_H
#define TRAPEZE_BASE_EVENT_LOOP_H

#include <stdint.h>

#include "base/error.h"

struct event_loop;

/* events: EPOLLIN, EPOLLOUT … of <sys/epoll.h>, those that are there. */
typedef void event_ready_fn(void *context, int fd, uint32_t events);
typedef void event_deadline_fn(void *context);

#define EVENT_LOOP_FDS_MAX 64

/* No deadline. */
#define EVENT_LOOP_NEVER UINT64_MAX

int event_loop_create(struct event_loop **out, struct error *error);
void event_loop_destroy(struct event_loop *loop); /* stops it first */

/* Starts the thread. Descriptors and the deadline may be set before and after. */
int event_loop_start(struct event_loop *loop, struct error *error);

/* Ends the thread and waits for it; not from a callback. It may be started again. */
void event_loop_stop(struct event_loop *loop);

/*
 * Watches a descriptor, level-triggered. It stays the caller's to close, after remove.
 * Errors: -EEXIST (watched already), -ENOSPC (EVENT_LOOP_FDS_MAX), -EPERM (a regular file: always
 * ready, nothing to wait for), and what epoll_ctl says.
 */
int event_loop_add(struct event_loop *loop, int fd, uint32_t events, event_ready_fn *ready,
                   void *context, struct error *error);

/* Changes what is waited for; 0 keeps the descriptor but waits only for errors. -ENOENT. */
int event_loop_modify(struct event_loop *loop, int fd, uint32_t events);

/*
 * Ends the watch. When it returns the callback is not running and never runs again, except
 * when the callback itself called it. So do not hold a lock that the callback takes.
 */
void event_loop_remove(struct event_loop *loop, int fd);

/* Who is called at the deadline. Before event_loop_start. */
void event_loop_on_deadline(struct event_loop *loop, event_deadline_fn *reached, void *context);

/*
 * Sets the one deadline, in ns of clock_now_ns; one that has passed is reached at once;
 * EVENT_LOOP_NEVER cancels. It is not repeated. A call to the callback that was under way may
 * still happen after a cancel.
 */
void event_loop_set_deadline(struct event_loop *loop, uint64_t deadline_ns);

#endif
