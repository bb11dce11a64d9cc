#include "cli/notice.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "backends/terminal.h"
#include "base/clock.h"
#include "base/host_file.h"

#define PATIENCE_MS 1000u

/* False when the time is over. */
static bool wait_for_room(int descriptor, uint64_t deadline_ms)
{
    uint64_t now = clock_now_ns() / 1000000;
    struct pollfd room = {.fd = descriptor, .events = POLLOUT};
    return poll(&room, 1, now < deadline_ms ? (int)(deadline_ms - now) : 0) != 0;
}

static bool put(int descriptor, const char *bytes, size_t count, uint64_t deadline_ms)
{
    while (count != 0) {
        /* A socket, or another user's terminal, may block: not while it has room. */
        if (!wait_for_room(descriptor, deadline_ms)) {
            return false;
        }
        ssize_t written = write(descriptor, bytes, count);
        if (written >= 0) {
            bytes += written;
            count -= (size_t)written;
        } else if (errno != EINTR && errno != EAGAIN) {
            return false;
        }
    }
    return true;
}

void notice_print(const char *lines)
{
    int descriptor = host_file_again_without_blocking(STDERR_FILENO);
    if (descriptor < 0) {
        return;
    }
    const char *end = terminal_is_raw() ? "\r\n" : "\n";
    uint64_t deadline_ms = clock_now_ns() / 1000000 + PATIENCE_MS;
    bool good = true;
    while (good && *lines != '\0') {
        size_t length = strcspn(lines, "\n");
        good = put(descriptor, lines, length, deadline_ms) &&
               put(descriptor, end, strlen(end), deadline_ms);
        lines += length + (lines[length] == '\n');
    }
    close(descriptor);
}
