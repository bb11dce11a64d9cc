/* The base layer: checked arithmetic, the clock, event counts, the event loop, and files. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/event_count.h"
#include "base/event_loop.h"
#include "base/host_file.h"
#include "base/threads.h"
#include "check.h"

static void test_checked(void)
{
    uint64_t result;
    CHECK(checked_add(UINT64_MAX - 1, 1, &result) && result == UINT64_MAX);
    CHECK(!checked_add(UINT64_MAX, 1, &result));
    CHECK(checked_multiply(UINT64_C(1) << 32, (UINT64_C(1) << 32) - 1, &result));
    CHECK(!checked_multiply(UINT64_C(1) << 32, UINT64_C(1) << 32, &result));
    CHECK(range_within(10, 0, 10));
    CHECK(!range_within(11, 0, 10));
    CHECK(range_within(3, 7, 10));
    CHECK(!range_within(3, 8, 10));
    CHECK(!range_within(3, UINT64_MAX, 10));
    CHECK(ranges_overlap(0, 10, 9, 1));
    CHECK(!ranges_overlap(0, 10, 10, 1));
    CHECK(!ranges_overlap(5, 0, 0, 10));
    CHECK(ranges_overlap(UINT64_MAX, 1, UINT64_MAX - 5, 6));
    CHECK_EQUAL(align_down(0x1fff, 0x1000), 0x1000);
    CHECK(checked_align_up(0x1001, 0x1000, &result) && result == 0x2000);
    CHECK(checked_align_up(0x1000, 0x1000, &result) && result == 0x1000);
    CHECK(!checked_align_up(UINT64_MAX - 5, 0x1000, &result));
}

/* The frequency must agree with a stretch of time measured here, within a few percent. */
static void test_clock(void)
{
    const char *source = NULL;
    uint64_t hz = clock_tsc_hz(&source);
    CHECK(source != NULL && source[0] != '\0');
    uint64_t ns = clock_now_ns(), ticks = clock_tsc();
    struct timespec pause = {.tv_nsec = 20000000};
    nanosleep(&pause, NULL);
    ns = clock_now_ns() - ns;
    ticks = clock_tsc() - ticks;
    double measured = (double)ticks * 1e9 / (double)ns;
    CHECK(measured > (double)hz * 0.9 && measured < (double)hz * 1.1);
}

/* Two threads hand a turn back and forth; one lost wake-up and the test hangs. */
#define TURNS 20000u

struct ping_pong {
    struct event_count counts[2];
    atomic_uint turn;
};

static void play(struct ping_pong *game, unsigned int me)
{
    for (unsigned int i = me; i < TURNS; i += 2) {
        for (;;) {
            unsigned int ticket = event_count_ticket(&game->counts[me]);
            if (atomic_load(&game->turn) == i) {
                break;
            }
            event_count_wait(&game->counts[me], ticket);
        }
        atomic_store(&game->turn, i + 1);
        event_count_signal(&game->counts[1 - me]);
    }
}

static void *play_second(void *context)
{
    play(context, 1);
    return NULL;
}

/* Leaves 0 where it cannot tell: checks are the first thread's. */
static void *note_stack_size(void *context)
{
    pthread_attr_t attributes;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstacksize(&attributes, context);
        pthread_attr_destroy(&attributes);
    }
    return NULL;
}

/* Of 2 MiB or more the first page may become a huge one. */
static void test_thread_stack(void)
{
    size_t size = 0;
    pthread_t thread;
    struct thread_options options = {.name = "stack", .run = note_stack_size, .context = &size};
    CHECK_EQUAL(thread_start(&thread, &options, NULL), 0);
    pthread_join(thread, NULL);
    CHECK(size >= (512u << 10) && size < (2u << 20));
}

static void test_event_count(void)
{
    struct ping_pong game = {0};
    pthread_t thread;
    struct thread_options options = {.name = "second", .run = play_second, .context = &game};
    CHECK_EQUAL(thread_start(&thread, &options, NULL), 0);
    play(&game, 0);
    pthread_join(thread, NULL);
    CHECK_EQUAL(atomic_load(&game.turn), TURNS);
}

struct masks {
    bool term_blocked, kick_blocked, fault_blocked;
};

static void *read_masks(void *context)
{
    struct masks *masks = context;
    sigset_t set;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    masks->term_blocked = sigismember(&set, SIGTERM) == 1;
    masks->kick_blocked = sigismember(&set, thread_kick_signal()) == 1;
    masks->fault_blocked = sigismember(&set, SIGSEGV) == 1;
    return NULL;
}

static void test_thread_signals(void)
{
    for (unsigned int kicks = 0; kicks < 2; kicks++) {
        struct masks masks = {0};
        pthread_t thread;
        struct thread_options options = {.name = "a name that is too long for it",
                                         .takes_kicks = kicks != 0,
                                         .run = read_masks,
                                         .context = &masks};
        CHECK_EQUAL(thread_start(&thread, &options, NULL), 0);
        pthread_join(thread, NULL);
        CHECK(masks.term_blocked);
        CHECK_EQUAL(masks.kick_blocked, kicks == 0);
        CHECK(!masks.fault_blocked);
    }
    sigset_t set;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    CHECK(sigismember(&set, SIGTERM) == 0);
}

/* What the callbacks of the event loop report to the test. */
struct report {
    struct event_loop *loop;
    struct event_count changed;
    atomic_uint calls;
    atomic_uint events;
    bool removes_itself;
};

static void wait_for_calls(struct report *report, unsigned int calls)
{
    for (;;) {
        unsigned int ticket = event_count_ticket(&report->changed);
        if (atomic_load(&report->calls) >= calls) {
            return;
        }
        event_count_wait(&report->changed, ticket);
    }
}

static void called(struct report *report)
{
    atomic_fetch_add(&report->calls, 1);
    event_count_signal(&report->changed);
}

static void on_ready(void *context, int fd, uint32_t events)
{
    struct report *report = context;
    atomic_store(&report->events, events);
    uint64_t count;
    if (read(fd, &count, sizeof(count)) != (ssize_t)sizeof(count)) {
        return; /* the test then waits for this call for ever */
    }
    if (report->removes_itself) {
        event_loop_remove(report->loop, fd);
    }
    called(report);
}

static void on_deadline(void *context)
{
    called(context);
}

static void test_loop_descriptors(void)
{
    struct error error;
    struct report report = {0};
    CHECK_EQUAL(event_loop_create(&report.loop, &error), 0);
    int fd = eventfd(0, EFD_CLOEXEC);
    CHECK_EQUAL(event_loop_add(report.loop, fd, EPOLLIN, on_ready, &report, &error), 0);
    CHECK_EQUAL(event_loop_add(report.loop, fd, EPOLLIN, on_ready, &report, &error), -EEXIST);
    CHECK_EQUAL(event_loop_add(report.loop, -1, EPOLLIN, on_ready, &report, &error), -EBADF);
    CHECK_EQUAL(event_loop_start(report.loop, &error), 0);
    for (unsigned int i = 1; i <= 200; i++) {
        eventfd_write(fd, 1);
        wait_for_calls(&report, i);
    }
    CHECK_EQUAL(atomic_load(&report.events), EPOLLIN);

    /* Not waited for, then waited for again: the event was kept by the descriptor. */
    CHECK_EQUAL(event_loop_modify(report.loop, fd, 0), 0);
    eventfd_write(fd, 1);
    CHECK_EQUAL(event_loop_modify(report.loop, fd, EPOLLIN), 0);
    wait_for_calls(&report, 201);

    event_loop_remove(report.loop, fd);
    event_loop_remove(report.loop, fd);
    CHECK_EQUAL(event_loop_modify(report.loop, fd, EPOLLIN), -ENOENT);
    eventfd_write(fd, 1);
    event_loop_stop(report.loop);
    CHECK_EQUAL(atomic_load(&report.calls), 201);

    /* It can be started again, and a callback may remove itself. */
    report.removes_itself = true;
    CHECK_EQUAL(event_loop_add(report.loop, fd, EPOLLIN, on_ready, &report, &error), 0);
    CHECK_EQUAL(event_loop_start(report.loop, &error), 0);
    wait_for_calls(&report, 202);
    eventfd_write(fd, 1);
    event_loop_destroy(report.loop);
    CHECK_EQUAL(atomic_load(&report.calls), 202);
    close(fd);
}

/* Descriptors come and go while their events do: a context is never used after its removal. */
static void test_loop_remove_races(void)
{
    struct error error;
    struct report report = {0};
    CHECK_EQUAL(event_loop_create(&report.loop, &error), 0);
    CHECK_EQUAL(event_loop_start(report.loop, &error), 0);
    for (unsigned int i = 0; i < 500; i++) {
        struct report *mine = calloc(1, sizeof(*mine));
        int fd = eventfd(1, EFD_CLOEXEC);
        CHECK_EQUAL(event_loop_add(report.loop, fd, EPOLLIN, on_ready, mine, &error), 0);
        if (i % 2 == 0) {
            wait_for_calls(mine, 1);
        }
        event_loop_remove(report.loop, fd);
        close(fd);
        free(mine);
    }
    event_loop_destroy(report.loop);
}

/* A callback that takes its time. */
struct slow_report {
    struct report report; /* a call is counted when it begins */
    atomic_bool finished;
};

static void on_ready_slowly(void *context, int fd, uint32_t events)
{
    struct slow_report *slow = context;
    (void)fd;
    (void)events;
    called(&slow->report);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    atomic_store(&slow->finished, true);
}

/* Whoever removes a watch may free what its callback uses: so it waits for the end of a call. */
static void test_loop_remove_waits(void)
{
    struct error error;
    struct event_loop *loop;
    struct slow_report slow = {0};
    CHECK_EQUAL(event_loop_create(&loop, &error), 0);
    CHECK_EQUAL(event_loop_start(loop, &error), 0);
    int fd = eventfd(1, EFD_CLOEXEC);
    CHECK_EQUAL(event_loop_add(loop, fd, EPOLLIN, on_ready_slowly, &slow, &error), 0);
    wait_for_calls(&slow.report, 1);
    event_loop_remove(loop, fd);
    CHECK(atomic_load(&slow.finished));
    event_loop_destroy(loop);
    close(fd);
}

static void test_loop_full(void)
{
    struct error error;
    struct report report = {0};
    int fds[EVENT_LOOP_FDS_MAX + 1];
    CHECK_EQUAL(event_loop_create(&report.loop, &error), 0);
    for (unsigned int i = 0; i <= EVENT_LOOP_FDS_MAX; i++) {
        fds[i] = eventfd(0, EFD_CLOEXEC);
        CHECK_EQUAL(event_loop_add(report.loop, fds[i], EPOLLIN, on_ready, &report, &error),
                    i < EVENT_LOOP_FDS_MAX ? 0 : -ENOSPC);
    }
    event_loop_destroy(report.loop);
    for (unsigned int i = 0; i <= EVENT_LOOP_FDS_MAX; i++) {
        close(fds[i]);
    }
}

static void test_loop_deadline(void)
{
    struct error error;
    struct report report = {0};
    CHECK_EQUAL(event_loop_create(&report.loop, &error), 0);
    event_loop_on_deadline(report.loop, on_deadline, &report);
    CHECK_EQUAL(event_loop_start(report.loop, &error), 0);
    event_loop_set_deadline(report.loop, 0); /* long past */
    wait_for_calls(&report, 1);
    uint64_t deadline = clock_now_ns() + 2000000;
    event_loop_set_deadline(report.loop, deadline);
    wait_for_calls(&report, 2);
    CHECK(clock_now_ns() >= deadline);
    event_loop_set_deadline(report.loop, clock_now_ns() + UINT64_C(3600000000000));
    event_loop_set_deadline(report.loop, EVENT_LOOP_NEVER - 1);
    event_loop_set_deadline(report.loop, EVENT_LOOP_NEVER);
    event_loop_set_deadline(report.loop, clock_now_ns() + 1000);
    wait_for_calls(&report, 3);
    event_loop_destroy(report.loop);
    CHECK_EQUAL(atomic_load(&report.calls), 3);
}

static void *note_cpu(void *context)
{
    *(int *)context = sched_getcpu();
    return NULL;
}

/* A thread for one processor runs there; one for a processor that is not there does not start. */
static void test_pinned_thread(void)
{
    cpu_set_t allowed;
    CHECK_EQUAL(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
    unsigned int cpu = 0;
    while (cpu < CPU_SETSIZE - 1 && !CPU_ISSET(cpu, &allowed)) {
        cpu++;
    }
    int ran_on = -1;
    pthread_t thread;
    struct error error;
    struct thread_options options = {
        .name = "pinned", .is_pinned = true, .cpu = cpu, .run = note_cpu, .context = &ran_on};
    if (CHECK_EQUAL(thread_start(&thread, &options, &error), 0)) {
        pthread_join(thread, NULL);
        CHECK_EQUAL(ran_on, cpu);
    }
    options.cpu = CPU_SETSIZE - 1;
    CHECK_EQUAL(thread_start(&thread, &options, &error), -EINVAL);
    CHECK(strstr(error.text, "pinned can't run on CPU 1023") != NULL);
}

static void test_host_file(void)
{
    struct error error;
    char path[] = "/tmp/trapeze-host-file-XXXXXX", bytes[8];
    int file = mkstemp(path);
    CHECK(file >= 0);
    CHECK_EQUAL(host_file_read(path, bytes, sizeof(bytes), &error), 0);
    CHECK(!host_file_is_foreign(path, "mine")); /* empty: nothing is lost */
    CHECK_EQUAL(write(file, "mine too", 8), 8);
    CHECK_EQUAL(host_file_read(path, bytes, sizeof(bytes), &error), 8);
    CHECK(memcmp(bytes, "mine too", 8) == 0);
    CHECK_EQUAL(host_file_read(path, bytes, 7, &error), -EFBIG);
    CHECK(!host_file_is_foreign(path, "mine"));
    CHECK(host_file_is_foreign(path, "yours"));
    CHECK(host_file_is_foreign(path, "mine too, but longer"));
    char other[sizeof(path) + 2];
    snprintf(other, sizeof(other), "/tmp/.%s", path + strlen("/tmp"));
    CHECK(host_file_is_same(path, other));
    CHECK(!host_file_is_same(path, "/tmp"));
    CHECK(!host_file_is_same(path, "/nonexistent"));
    CHECK(!host_file_is_same("/dev/null", "/dev/null"));
    close(file);
    unlink(path);
    CHECK_EQUAL(host_file_read(path, bytes, sizeof(bytes), &error), -ENOENT);
    CHECK(strstr(error.text, path) != NULL);
    CHECK(!host_file_is_foreign(path, "mine"));
    CHECK_EQUAL(host_file_read("/", bytes, sizeof(bytes), &error), -EISDIR);
    CHECK_EQUAL(host_file_read("/dev/zero", bytes, sizeof(bytes), &error), -EINVAL);
    CHECK(!host_file_is_foreign("/dev/zero", "mine"));
}

/* Neither empties what is there nor waits for a pipe's reader, and what it opens may block. */
static void test_host_file_output(void)
{
    struct error error;
    char path[] = "/tmp/trapeze-host-file-XXXXXX", bytes[8];
    int file = mkstemp(path);
    CHECK_EQUAL(write(file, "mine", 4), 4);
    close(file);
    file = host_file_open_output(path, &error);
    CHECK(file >= 0);
    CHECK_EQUAL(fcntl(file, F_GETFL) & O_NONBLOCK, 0);
    CHECK_EQUAL(host_file_read(path, bytes, sizeof(bytes), &error), 4);
    close(file);
    unlink(path);
    CHECK_EQUAL(mkfifo(path, 0600), 0);
    CHECK_EQUAL(host_file_open_output(path, &error), -ENXIO);
    CHECK(strstr(error.text, "nobody reads the pipe") != NULL);
    unlink(path);
    CHECK_EQUAL(host_file_open_output("/nonexistent/file", &error), -ENOENT);
}

int main(void)
{
    test_checked();
    test_clock();
    test_event_count();
    test_thread_stack();
    test_thread_signals();
    test_loop_descriptors();
    test_loop_remove_races();
    test_loop_remove_waits();
    test_loop_full();
    test_loop_deadline();
    test_pinned_thread();
    test_host_file();
    test_host_file_output();
    return check_summary();
}
