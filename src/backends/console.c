#include "backends/console.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "backends/backend.h"
#include "backends/escape.h"
#include "backends/panic_watcher.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/threads.h"

#define OUTPUT_SIZE        65536u
#define INPUT_SIZE         4096u
#define WRITE_AT_ONCE      4096u /* what a pipe that is ready takes without blocking */
#define GATHER_NS          2000000u
#define RETRY_INPUT_MS     100
#define FINISH_PATIENCE_MS 2000 /* for a reader that does not read, at the end of a run */

struct console {
    struct backend backend;
    struct console_events events;
    pthread_t thread;
    bool started, finished;
    int wake; /* eventfd: there is output, room for input, or the end */

    pthread_mutex_t lock;        /* guards what follows */
    uint8_t output[OUTPUT_SIZE]; /* a ring */
    unsigned int output_start, output_count;
    uint64_t output_since; /* when the oldest byte came, ns */
    bool ending;
    bool lost_warned;
    int failure; /* 0 or -errno: why output was lost */
    struct error failure_text;
    struct panic_watcher watcher;

    /* The thread's own. */
    struct escape escape;
    uint8_t input[INPUT_SIZE];
    unsigned int input_count;
    bool input_ended, input_waits, input_dropped_warned;
};

static void wake_thread(struct console *console)
{
    uint64_t one = 1;
    /* Fails only when the counter is full, and then the thread wakes anyway. */
    if (write(console->wake, &one, sizeof(one)) < 0) {
        return;
    }
}

/* ---- output: the device's side ---- */

/* Copies into the ring what fits; returns how much that was. The lock is held. */
static size_t put_output(struct console *console, const uint8_t *bytes, size_t count)
{
    size_t room = OUTPUT_SIZE - console->output_count;
    if (count > room) {
        count = room;
    }
    for (size_t i = 0; i < count; i++) {
        unsigned int end = (console->output_start + console->output_count) % OUTPUT_SIZE;
        console->output[end] = bytes[i];
        console->output_count++;
    }
    return count;
}

static size_t console_write(void *context, const uint8_t *bytes, size_t count)
{
    struct console *console = context;
    pthread_mutex_lock(&console->lock);
    size_t taken = count;
    bool warn = false;
    bool was_empty = console->output_count == 0;
    if (console->backend.output >= 0 && console->failure == 0) {
        taken = put_output(console, bytes, count);
    }
    if (taken < count && console->backend.may_drop) {
        warn = !console->lost_warned;
        console->lost_warned = true;
        taken = count;
    }
    panic_watcher_see(&console->watcher, bytes, taken);
    bool wake = was_empty && console->output_count != 0;
    if (wake) {
        console->output_since = clock_now_ns();
    }
    pthread_mutex_unlock(&console->lock);
    if (wake) {
        wake_thread(console);
    }
    if (warn) {
        log_warn("the console %s takes no more: output is dropped", console->backend.name);
    }
    return taken;
}

static void console_room_available(void *context)
{
    wake_thread(context);
}

struct character_backend console_character_backend(struct console *console)
{
    return (struct character_backend){
        .write = console_write, .room_available = console_room_available, .context = console};
}

const char *console_panic_words(struct console *console)
{
    pthread_mutex_lock(&console->lock);
    const char *words = panic_watcher_words(&console->watcher);
    pthread_mutex_unlock(&console->lock);
    return words;
}

/* ---- output: the thread's side ---- */

static void output_failed(struct console *console, int code)
{
    struct error text;
    error_set_errno(&text, code, "the guest's output is lost: cannot write to %s",
                    console->backend.name);
    pthread_mutex_lock(&console->lock);
    console->failure = code > 0 ? -code : code;
    console->failure_text = text;
    console->output_count = 0;
    pthread_mutex_unlock(&console->lock);
    console->events.failed(console->events.context, text.text);
}

/* Writes one contiguous piece. Returns false when the backend takes nothing now. */
static bool write_piece(struct console *console)
{
    uint8_t piece[WRITE_AT_ONCE];
    pthread_mutex_lock(&console->lock);
    unsigned int start = console->output_start;
    unsigned int count = console->output_count;
    if (count > OUTPUT_SIZE - start) {
        count = OUTPUT_SIZE - start;
    }
    if (count > WRITE_AT_ONCE) {
        count = WRITE_AT_ONCE;
    }
    memcpy(piece, console->output + start, count);
    pthread_mutex_unlock(&console->lock);
    if (count == 0) {
        return false;
    }
    ssize_t written = write(console->backend.output, piece, count);
    if (written < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            output_failed(console, errno);
        }
        return false;
    }
    pthread_mutex_lock(&console->lock);
    console->output_start = (start + (unsigned int)written) % OUTPUT_SIZE;
    console->output_count -= (unsigned int)written;
    console->output_since = clock_now_ns();
    pthread_mutex_unlock(&console->lock);
    return true;
}

/* ---- input, all on the thread ---- */

static void add_input(struct console *console, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (console->input_count < INPUT_SIZE) {
            console->input[console->input_count++] = bytes[i];
        } else if (!console->input_dropped_warned) {
            console->input_dropped_warned = true;
            log_warn("the guest does not read its console: what is typed is dropped");
        }
    }
}

/* A line for the person who types, on a terminal that is raw. */
static void tell(const char *text)
{
    char line[160];
    int length = snprintf(line, sizeof(line), "\r\ntrapeze: %s\r\n", text);
    if (write(STDERR_FILENO, line, (size_t)length) < 0) {
        return;
    }
}

static void toggle_pause(struct console *console)
{
    bool stands_still = console->events.pause(console->events.context);
    tell(stands_still ? "paused; Ctrl-A p lets the guest go on" : "the guest goes on");
}

static void typed(struct console *console, uint8_t byte)
{
    uint8_t bytes[2];
    size_t count;
    switch (escape_filter(&console->escape, byte, bytes, &count)) {
    case ESCAPE_NONE:
        add_input(console, bytes, count);
        break;
    case ESCAPE_QUIT:
        console->events.quit(console->events.context);
        break;
    case ESCAPE_PAUSE:
        toggle_pause(console);
        break;
    case ESCAPE_HELP:
        tell("Ctrl-A x quits, Ctrl-A p pauses, Ctrl-A Ctrl-A sends one Ctrl-A, Ctrl-A h prints "
             "this");
        break;
    }
}

/* A person may always type (the escape keys must work); a pipe waits until there is room. */
static bool wants_to_read(const struct console *console)
{
    return console->backend.input >= 0 && !console->input_ended &&
           (console->backend.has_escapes || console->input_count < INPUT_SIZE);
}

static void read_input(struct console *console)
{
    uint8_t bytes[512];
    size_t room = console->backend.has_escapes ? sizeof(bytes) : INPUT_SIZE - console->input_count;
    ssize_t count =
        read(console->backend.input, bytes, room < sizeof(bytes) ? room : sizeof(bytes));
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (count < 0 && errno == EIO && console->backend.has_escapes &&
        tcgetpgrp(console->backend.input) >= 0) {
        console->input_waits = true; /* in the background; a terminal that is gone has no group */
        return;
    }
    if (count <= 0) {
        console->input_ended = true; /* no more will come; the guest need not care */
        return;
    }
    if (!console->backend.has_escapes) {
        add_input(console, bytes, (size_t)count);
        return;
    }
    for (ssize_t i = 0; i < count; i++) {
        typed(console, bytes[i]);
    }
}

static void deliver_input(struct console *console)
{
    if (console->input_count == 0) {
        return;
    }
    size_t taken =
        console->events.deliver(console->events.context, console->input, console->input_count);
    console->input_count -= (unsigned int)taken;
    memmove(console->input, console->input + taken, console->input_count);
}

/* ---- the thread ---- */

/* What the thread has to wait for. */
struct plan {
    struct pollfd fds[3]; /* wake, input, output */
    int timeout_ms;       /* -1: no limit */
    bool ending;
};

static void make_plan(struct console *console, struct plan *plan)
{
    pthread_mutex_lock(&console->lock);
    unsigned int pending = console->output_count;
    uint64_t age = pending != 0 ? clock_now_ns() - console->output_since : 0;
    plan->ending = console->ending;
    pthread_mutex_unlock(&console->lock);

    /* Gather for a moment: a guest that prints writes many bytes one by one. */
    bool write_now =
        pending >= WRITE_AT_ONCE || (pending != 0 && (age >= GATHER_NS || plan->ending));
    plan->timeout_ms = -1;
    if (console->input_count != 0 || console->input_waits) {
        plan->timeout_ms = RETRY_INPUT_MS;
    }
    if (pending != 0 && !write_now) {
        plan->timeout_ms = (int)(GATHER_NS / 1000000u);
    }
    plan->fds[0] = (struct pollfd){.fd = console->wake, .events = POLLIN};
    bool read_now = wants_to_read(console) && !console->input_waits;
    console->input_waits = false;
    plan->fds[1] = (struct pollfd){.fd = read_now ? console->backend.input : -1, .events = POLLIN};
    plan->fds[2] =
        (struct pollfd){.fd = write_now ? console->backend.output : -1, .events = POLLOUT};
}

static void *console_thread(void *context)
{
    struct console *console = context;
    struct plan plan;
    for (;;) {
        make_plan(console, &plan);
        bool nothing_left = plan.fds[2].fd < 0;
        if (plan.ending && nothing_left) {
            return NULL;
        }
        if (plan.ending) {
            plan.fds[0].fd = plan.fds[1].fd = -1;
            /* Where nobody may be listening nobody is waited for. */
            plan.timeout_ms = console->backend.may_drop ? 0 : FINISH_PATIENCE_MS;
        }
        int ready = poll(plan.fds, 3, plan.timeout_ms);
        if (ready == 0 && plan.ending) {
            if (!console->backend.may_drop) {
                output_failed(console, ETIMEDOUT);
            }
            return NULL;
        }
        if (ready > 0 && plan.fds[0].revents != 0) {
            uint64_t count;
            if (read(console->wake, &count, sizeof(count)) < 0 && errno != EAGAIN) {
                return NULL;
            }
        }
        if (ready > 0 && plan.fds[2].revents != 0) {
            write_piece(console);
        }
        if (ready > 0 && plan.fds[1].revents != 0) {
            read_input(console);
        }
        if (!plan.ending) {
            deliver_input(console);
        }
    }
}

/* ---- life ---- */

int console_open(const char *text, struct console **out, struct error *error)
{
    struct console *console = calloc(1, sizeof(*console));
    if (console == NULL) {
        return error_set(error, ENOMEM, "no memory for the console");
    }
    console->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (console->wake < 0) {
        int code = errno;
        free(console);
        return error_set_errno(error, code, "cannot make an eventfd for the console");
    }
    pthread_mutex_init(&console->lock, NULL);
    int result = backend_open(text, &console->backend, error);
    if (result != 0) {
        console_close(console);
        return result;
    }
    *out = console;
    return 0;
}

int console_start(struct console *console, const struct console_events *events, struct error *error)
{
    console->events = *events;
    struct thread_options options = {.name = "console", .run = console_thread, .context = console};
    int result = thread_start(&console->thread, &options, error);
    console->started = result == 0;
    if (result == 0 && console->backend.ops->start != NULL) {
        console->backend.ops->start(&console->backend);
    }
    return result;
}

int console_finish(struct console *console, struct error *error)
{
    if (!console->finished) {
        console->finished = true;
        pthread_mutex_lock(&console->lock);
        console->ending = true;
        pthread_mutex_unlock(&console->lock);
        if (console->started) {
            wake_thread(console);
            pthread_join(console->thread, NULL);
        }
        backend_close(&console->backend);
    }
    if (console->failure != 0) {
        *error = console->failure_text;
    }
    return console->failure;
}

void console_close(struct console *console)
{
    if (console == NULL) {
        return;
    }
    struct error ignored;
    console_finish(console, &ignored);
    close(console->wake);
    pthread_mutex_destroy(&console->lock);
    free(console);
}
