#include "base/event_loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/threads.h"

#define NS_PER_SECOND   UINT64_C(1000000000)
#define EVENTS_PER_WAIT 16

/*
 * What an epoll event carries: the slot in the low half and the slot's generation in the high
 * half, so that an event fetched before a remove never reaches whoever took the slot next.
 */
struct watch {
    int fd; /* -1: free */
    uint32_t generation;
    event_ready_fn *ready;
    void *context;
};

#define TAG_TIMER UINT64_MAX
#define TAG_WAKE  (UINT64_MAX - 1)

struct event_loop {
    int epoll_fd, wake_fd, timer_fd;
    pthread_t thread;
    bool started;         /* the owner's: there is a thread to join */
    atomic_int thread_id; /* set by the event thread itself; 0 when there is none */
    atomic_bool stopping;
    event_deadline_fn *deadline_reached;
    void *deadline_context;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t idle;  /* no callback runs */
    struct watch watches[EVENT_LOOP_FDS_MAX];
    int calling; /* the slot whose callback runs now, -1 if none */
};

static uint64_t watch_tag(const struct event_loop *loop, unsigned int slot)
{
    return (uint64_t)loop->watches[slot].generation << 32 | slot;
}

static int add_internal(struct event_loop *loop, int fd, uint64_t tag)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = tag};
    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void close_if_open(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

int event_loop_create(struct event_loop **out, struct error *error)
{
    struct event_loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL) {
        return error_set(error, ENOMEM, "no memory for the event loop");
    }
    loop->calling = -1;
    for (unsigned int i = 0; i < EVENT_LOOP_FDS_MAX; i++) {
        loop->watches[i].fd = -1;
    }
    pthread_mutex_init(&loop->lock, NULL);
    pthread_cond_init(&loop->idle, NULL);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (loop->epoll_fd < 0 || loop->wake_fd < 0 || loop->timer_fd < 0 ||
        add_internal(loop, loop->wake_fd, TAG_WAKE) < 0 ||
        add_internal(loop, loop->timer_fd, TAG_TIMER) < 0) {
        int code = error_set_errno(error, errno, "can't create the event loop");
        event_loop_destroy(loop);
        return code;
    }
    *out = loop;
    return 0;
}

void event_loop_destroy(struct event_loop *loop)
{
    if (loop == NULL) {
        return;
    }
    event_loop_stop(loop);
    close_if_open(loop->timer_fd);
    close_if_open(loop->wake_fd);
    close_if_open(loop->epoll_fd);
    pthread_cond_destroy(&loop->idle);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}

static void call_watch(struct event_loop *loop, uint64_t tag, uint32_t events)
{
    unsigned int slot = (unsigned int)(tag & UINT32_MAX);
    pthread_mutex_lock(&loop->lock);
    struct watch watch = loop->watches[slot];
    if (watch.fd < 0 || watch_tag(loop, slot) != tag) {
        pthread_mutex_unlock(&loop->lock);
        return;
    }
    loop->calling = (int)slot;
    pthread_mutex_unlock(&loop->lock);

    watch.ready(watch.context, watch.fd, events);

    pthread_mutex_lock(&loop->lock);
    loop->calling = -1;
    pthread_cond_broadcast(&loop->idle);
    pthread_mutex_unlock(&loop->lock);
}

/* Empties a counter; false when it held nothing. */
static bool drain(int fd)
{
    uint64_t count;
    return read(fd, &count, sizeof(count)) == (ssize_t)sizeof(count);
}

static void dispatch(struct event_loop *loop, const struct epoll_event *event)
{
    uint64_t tag = event->data.u64;
    if (tag == TAG_WAKE) {
        drain(loop->wake_fd);
    } else if (tag == TAG_TIMER) {
        /* Nothing to read when the deadline was moved after epoll had seen it pass. */
        if (drain(loop->timer_fd) && loop->deadline_reached != NULL) {
            loop->deadline_reached(loop->deadline_context);
        }
    } else {
        call_watch(loop, tag, event->events);
    }
}

static void *event_thread(void *context)
{
    struct event_loop *loop = context;
    atomic_store(&loop->thread_id, thread_id());
    while (!atomic_load(&loop->stopping)) {
        struct epoll_event events[EVENTS_PER_WAIT];
        int count = epoll_wait(loop->epoll_fd, events, EVENTS_PER_WAIT, -1);
        for (int i = 0; i < count && !atomic_load(&loop->stopping); i++) {
            dispatch(loop, &events[i]);
        }
    }
    atomic_store(&loop->thread_id, 0);
    return NULL;
}

int event_loop_start(struct event_loop *loop, struct error *error)
{
    atomic_store(&loop->stopping, false);
    struct thread_options options = {.name = "events", .run = event_thread, .context = loop};
    int code = thread_start(&loop->thread, &options, error);
    loop->started = code == 0;
    return code;
}

void event_loop_stop(struct event_loop *loop)
{
    if (!loop->started) {
        return;
    }
    atomic_store(&loop->stopping, true);
    eventfd_write(loop->wake_fd, 1);
    pthread_join(loop->thread, NULL);
    loop->started = false;
}

/* With the lock held: the slot that watches fd (-1 finds a free one), or -1. */
static int find_slot(const struct event_loop *loop, int fd)
{
    for (int i = 0; i < EVENT_LOOP_FDS_MAX; i++) {
        if (loop->watches[i].fd == fd) {
            return i;
        }
    }
    return -1;
}

static int add_locked(struct event_loop *loop, int fd, uint32_t events, event_ready_fn *ready,
                      void *context, struct error *error)
{
    if (find_slot(loop, fd) >= 0) {
        return error_set(error, EEXIST, "descriptor %d is watched already", fd);
    }
    int slot = find_slot(loop, -1);
    if (slot < 0) {
        return error_set(error, ENOSPC, "more than %d descriptors to watch", EVENT_LOOP_FDS_MAX);
    }
    struct watch *watch = &loop->watches[slot];
    watch->generation++;
    watch->ready = ready;
    watch->context = context;
    struct epoll_event event = {.events = events, .data.u64 = watch_tag(loop, (unsigned int)slot)};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        return error_set_errno(error, errno, "can't watch descriptor %d", fd);
    }
    watch->fd = fd;
    return 0;
}

int event_loop_add(struct event_loop *loop, int fd, uint32_t events, event_ready_fn *ready,
                   void *context, struct error *error)
{
    if (fd < 0) {
        return error_set(error, EBADF, "descriptor %d can't be watched", fd);
    }
    pthread_mutex_lock(&loop->lock);
    int code = add_locked(loop, fd, events, ready, context, error);
    pthread_mutex_unlock(&loop->lock);
    return code;
}

int event_loop_modify(struct event_loop *loop, int fd, uint32_t events)
{
    int code = -ENOENT;
    pthread_mutex_lock(&loop->lock);
    int slot = fd < 0 ? -1 : find_slot(loop, fd);
    if (slot >= 0) {
        struct epoll_event event = {.events = events,
                                    .data.u64 = watch_tag(loop, (unsigned int)slot)};
        code = epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, fd, &event) < 0 ? -errno : 0;
    }
    pthread_mutex_unlock(&loop->lock);
    return code;
}

void event_loop_remove(struct event_loop *loop, int fd)
{
    pthread_mutex_lock(&loop->lock);
    int slot = fd < 0 ? -1 : find_slot(loop, fd);
    if (slot >= 0) {
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        loop->watches[slot].fd = -1;
        bool on_event_thread = atomic_load(&loop->thread_id) == thread_id();
        while (loop->calling == slot && !on_event_thread) {
            pthread_cond_wait(&loop->idle, &loop->lock);
        }
    }
    pthread_mutex_unlock(&loop->lock);
}

void event_loop_on_deadline(struct event_loop *loop, event_deadline_fn *reached, void *context)
{
    loop->deadline_reached = reached;
    loop->deadline_context = context;
}

void event_loop_set_deadline(struct event_loop *loop, uint64_t deadline_ns)
{
    struct itimerspec setting = {0};
    if (deadline_ns != EVENT_LOOP_NEVER) {
        /* All zeroes would disarm: time 0 has passed anyway, so 1 means the same. */
        uint64_t at = deadline_ns == 0 ? 1 : deadline_ns;
        setting.it_value.tv_sec = (time_t)(at / NS_PER_SECOND);
        setting.it_value.tv_nsec = (long)(at % NS_PER_SECOND);
    }
    timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &setting, NULL);
}
