/* The character backends and what sits between them and a device. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backends/backend.h"
#include "backends/console.h"
#include "backends/escape.h"
#include "backends/panic_watcher.h"
#include "base/log.h"
#include "check.h"

/* ---- escape keys ---- */

static size_t filter(struct escape *escape, const char *typed, uint8_t *out,
                     enum escape_request *last)
{
    size_t used = 0;
    for (; *typed != '\0'; typed++) {
        size_t count;
        *last = escape_filter(escape, (uint8_t)*typed, out + used, &count);
        used += count;
    }
    return used;
}

static void test_escape(void)
{
    uint8_t out[32];
    enum escape_request last;
    struct escape escape = {0};
    CHECK_EQUAL(filter(&escape, "ls\n", out, &last), 3);
    CHECK(memcmp(out, "ls\n", 3) == 0 && last == ESCAPE_NONE);
    CHECK_EQUAL(filter(&escape, "\001\001", out, &last), 1);
    CHECK_EQUAL(out[0], 1);
    CHECK_EQUAL(filter(&escape, "\001b", out, &last), 2);
    CHECK(out[0] == 1 && out[1] == 'b');
    CHECK_EQUAL(filter(&escape, "\001h", out, &last), 0);
    CHECK_EQUAL(last, ESCAPE_HELP);
    CHECK_EQUAL(filter(&escape, "\001p", out, &last), 0);
    CHECK_EQUAL(last, ESCAPE_PAUSE);
    CHECK_EQUAL(filter(&escape, "a\001x", out, &last), 1);
    CHECK_EQUAL(last, ESCAPE_QUIT);
    /* The x of a quit that was not one. */
    CHECK_EQUAL(filter(&escape, "\001\001x", out, &last), 2);
    CHECK_EQUAL(last, ESCAPE_NONE);
}

/* ---- panic words ---- */

static void see(struct panic_watcher *watcher, const char *text)
{
    panic_watcher_see(watcher, (const uint8_t *)text, strlen(text));
}

static bool words_are(const struct panic_watcher *watcher, const char *expected)
{
    const char *words = panic_watcher_words(watcher);
    return words != NULL && strcmp(words, expected) == 0;
}

static void test_panic_words(void)
{
    struct panic_watcher watcher = {0};
    see(&watcher, "[    0.0] Kernel command line: x\r\nKernel Kernel panic -");
    CHECK(panic_watcher_words(&watcher) == NULL);
    see(&watcher, " not syncing: VFS: no root\r\nmore\r\n");
    CHECK(words_are(&watcher, "Kernel panic - not syncing: VFS: no root"));
    see(&watcher, "---[ end Kernel panic - not syncing: other ]---\r\n");
    CHECK(words_are(&watcher, "Kernel panic - not syncing: VFS: no root"));

    /* Cut off by the reset, and with something for the terminal hidden in it. */
    struct panic_watcher cut = {0};
    see(&cut, "KKernel panic - not syncing: a\033[2Jb");
    CHECK(words_are(&cut, "Kernel panic - not syncing: a?[2Jb"));

    struct panic_watcher endless = {0};
    see(&endless, "Kernel panic - not syncing: ");
    for (int i = 0; i < 1000; i++) {
        see(&endless, "x");
    }
    CHECK_EQUAL(strlen(panic_watcher_words(&endless)), PANIC_WORDS_MAX - 1);
}

/* ---- opening ---- */

static void test_open_errors(void)
{
    struct backend backend;
    struct error error;
    CHECK_EQUAL(backend_open("tty", &backend, &error), -EINVAL);
    CHECK(strstr(error.text, "'tty'") != NULL);
    backend_close(&backend);
    CHECK_EQUAL(backend_open("file:", &backend, &error), -EINVAL);
    backend_close(&backend);
    CHECK_EQUAL(backend_open("file", &backend, &error), -EINVAL);
    backend_close(&backend);
    CHECK_EQUAL(backend_open("none:x", &backend, &error), -EINVAL);
    backend_close(&backend);
    CHECK_EQUAL(backend_open("file:/nonexistent/x", &backend, &error), -ENOENT);
    backend_close(&backend);
}

/* ---- the console ---- */

struct listener {
    atomic_uint quits, failures;
    atomic_uint room; /* what the device takes; the rest stays in the console */
    pthread_mutex_t lock;
    char input[4096];
    size_t input_count;
};

static size_t listener_deliver(void *context, const uint8_t *bytes, size_t count)
{
    struct listener *listener = context;
    size_t room = atomic_load(&listener->room);
    size_t taken = count < room ? count : room;
    pthread_mutex_lock(&listener->lock);
    memcpy(listener->input + listener->input_count, bytes, taken);
    listener->input_count += taken;
    pthread_mutex_unlock(&listener->lock);
    return taken;
}

static void listener_quit(void *context)
{
    atomic_fetch_add(&((struct listener *)context)->quits, 1);
}

static void listener_failed(void *context, const char *text)
{
    (void)text;
    atomic_fetch_add(&((struct listener *)context)->failures, 1);
}

static struct console_events events_of(struct listener *listener)
{
    pthread_mutex_init(&listener->lock, NULL);
    return (struct console_events){.deliver = listener_deliver,
                                   .quit = listener_quit,
                                   .failed = listener_failed,
                                   .context = listener};
}

static struct console *open_and_start(const char *text, struct listener *listener)
{
    struct console *console = NULL;
    struct error error;
    struct console_events events = events_of(listener);
    if (!CHECK(console_open(text, &console, &error) == 0) ||
        !CHECK(console_start(console, &events, &error) == 0)) {
        exit(1);
    }
    return console;
}

/* Writes all of it as a device would: a little at a time, again and again. */
static void write_all(struct console *console, const char *text, size_t length)
{
    struct character_backend backend = console_character_backend(console);
    struct timespec moment = {.tv_nsec = 100000};
    for (size_t done = 0; done < length;) {
        size_t piece = length - done < 3 ? length - done : 3;
        size_t taken = backend.write(backend.context, (const uint8_t *)text + done, piece);
        done += taken;
        if (taken == 0) {
            nanosleep(&moment, NULL);
        }
    }
}

/* All of a large output arrives, in order, and finish waits for it. */
static void test_file(void)
{
    char path[] = "/tmp/trapeze-backends-XXXXXX";
    int descriptor = mkstemp(path);
    char text[64];
    snprintf(text, sizeof(text), "file:%s", path);
    struct listener listener = {0};
    struct console *console = open_and_start(text, &listener);
    enum { LENGTH = 300000 };
    char *sent = malloc(LENGTH);
    char *got = malloc(LENGTH + 1);
    for (int i = 0; i < LENGTH; i++) {
        sent[i] = (char)('a' + i % 23);
    }
    write_all(console, sent, LENGTH);
    struct error error;
    CHECK_EQUAL(console_finish(console, &error), 0);
    CHECK_EQUAL(read(descriptor, got, LENGTH + 1), LENGTH);
    CHECK(memcmp(sent, got, LENGTH) == 0);
    CHECK_EQUAL(atomic_load(&listener.failures), 0);
    console_close(console);
    close(descriptor);
    unlink(path);
    free(sent);
    free(got);
}

/* A full disk: told once, and the device is never held up by it. */
static void test_full_disk(void)
{
    struct listener listener = {0};
    struct console *console = open_and_start("file:/dev/full", &listener);
    char *text = calloc(1, 200000);
    write_all(console, text, 200000);
    struct error error;
    CHECK_EQUAL(console_finish(console, &error), -ENOSPC);
    CHECK(strstr(error.text, "/dev/full") != NULL && strstr(error.text, "No space") != NULL);
    CHECK_EQUAL(atomic_load(&listener.failures), 1);
    console_close(console);
    free(text);
}

static void test_none(void)
{
    struct listener listener = {0};
    struct console *console = open_and_start("none", &listener);
    write_all(console, "Kernel panic - not syncing: lost\n", 33);
    const char *words = console_panic_words(console);
    CHECK(words != NULL && strcmp(words, "Kernel panic - not syncing: lost") == 0);
    struct error error;
    CHECK_EQUAL(console_finish(console, &error), 0);
    console_close(console);
}

/* Waits until so many bytes of input have arrived. There is no limit but the test's own. */
static void wait_for_input(struct listener *listener, size_t count)
{
    struct timespec moment = {.tv_nsec = 1000000};
    for (;;) {
        pthread_mutex_lock(&listener->lock);
        size_t now = listener->input_count;
        pthread_mutex_unlock(&listener->lock);
        if (now >= count) {
            return;
        }
        nanosleep(&moment, NULL);
    }
}

/* Opens the far side of a console's pseudo-terminal, whose path is printed on stderr. */
static struct console *open_pty(struct listener *listener, int *other_side)
{
    char path[] = "/tmp/trapeze-backends-XXXXXX";
    int file = mkstemp(path);
    int saved = dup(STDERR_FILENO);
    dup2(file, STDERR_FILENO);
    struct console *console = open_and_start("pty", listener);
    dup2(saved, STDERR_FILENO);
    close(saved);
    char line[128] = {0};
    CHECK(pread(file, line, sizeof(line) - 1, 0) > 0);
    close(file);
    unlink(path);
    char *start = strstr(line, "/dev/");
    *other_side = -1;
    if (CHECK(start != NULL)) {
        start[strcspn(start, "\n")] = '\0';
        *other_side = open(start, O_RDWR | O_NOCTTY);
    }
    CHECK(*other_side >= 0);
    return console;
}

static void test_pty(void)
{
    struct listener listener = {.room = 5};
    int other_side;
    struct console *console = open_pty(&listener, &other_side);
    /* More than the device takes at once; every call of deliver takes five. */
    CHECK_EQUAL(write(other_side, "echo hello\n", 11), 11);
    wait_for_input(&listener, 11);
    CHECK(memcmp(listener.input, "echo hello\n", 11) == 0);
    /* Nobody types on a pty of its own: escape keys are the terminal program's. */
    CHECK_EQUAL(write(other_side, "\001x", 2), 2);
    wait_for_input(&listener, 13);
    CHECK_EQUAL(atomic_load(&listener.quits), 0);

    write_all(console, "answer\r\n", 8);
    char got[16];
    size_t count = 0;
    while (count < 8) {
        ssize_t some = read(other_side, got + count, sizeof(got) - count);
        if (!CHECK(some > 0)) {
            break;
        }
        count += (size_t)some;
    }
    CHECK(count == 8 && memcmp(got, "answer\r\n", 8) == 0);
    struct error error;
    CHECK_EQUAL(console_finish(console, &error), 0);
    console_close(console);
    close(other_side);
}

/* Nobody reads the pty: the device goes on, and the end does not hang. */
static void test_pty_without_reader(void)
{
    struct listener listener = {0};
    int other_side;
    struct console *console = open_pty(&listener, &other_side);
    log_set_level(LOG_SILENT);
    char *text = calloc(1, 400000);
    struct character_backend backend = console_character_backend(console);
    for (int i = 0; i < 400; i++) {
        CHECK_EQUAL(backend.write(backend.context, (const uint8_t *)text + i * 1000, 1000), 1000);
    }
    console_close(console);
    log_set_level(LOG_WARN);
    free(text);
    close(other_side);
}

int main(void)
{
    test_escape();
    test_panic_words();
    test_open_errors();
    test_file();
    test_full_disk();
    test_none();
    test_pty();
    test_pty_without_reader();
    return check_summary();
}
