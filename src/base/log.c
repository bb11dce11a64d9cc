#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The two process-wide settings; written before threads start or by the one console owner. */
static atomic_int current_level = LOG_WARN;
static atomic_bool raw_terminal;

void log_set_level(enum log_level level)
{
    atomic_store(&current_level, (int)level);
}

void log_set_raw_terminal(bool raw)
{
    atomic_store(&raw_terminal, raw);
}

static void write_line(enum log_level level, const char *tag, const char *format, va_list arguments)
{
    if (atomic_load_explicit(&current_level, memory_order_relaxed) < (int)level) {
        return;
    }
    char line[1024];
    int head = snprintf(line, sizeof(line), "trapeze: %s", tag);
    size_t used = (size_t)head;
    int body = vsnprintf(line + used, sizeof(line) - used - 2, format, arguments);
    if (body < 0) {
        return;
    }
    used += strlen(line + used);
    if (atomic_load_explicit(&raw_terminal, memory_order_relaxed)) {
        line[used++] = '\r';
    }
    line[used++] = '\n';
    /* Nothing useful can be done when stderr itself fails. */
    if (write(STDERR_FILENO, line, used) < 0) {
        return;
    }
}

static bool write_all(const char *bytes, size_t count)
{
    while (count != 0) {
        ssize_t written = write(STDERR_FILENO, bytes, count);
        if (written < 0 && errno != EINTR) {
            return false;
        }
        bytes += written > 0 ? written : 0;
        count -= written > 0 ? (size_t)written : 0;
    }
    return true;
}

void log_text(const char *lines)
{
    bool raw = atomic_load_explicit(&raw_terminal, memory_order_relaxed);
    bool good = true;
    while (*lines != '\0' && good) {
        size_t length = raw ? strcspn(lines, "\n") : strlen(lines);
        good = write_all(lines, length);
        lines += length;
        if (good && *lines == '\n') {
            good = write_all("\r\n", 2);
            lines++;
        }
    }
}

void log_warn(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_line(LOG_WARN, "warning: ", format, arguments);
    va_end(arguments);
}

void log_info(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_line(LOG_INFO, "", format, arguments);
    va_end(arguments);
}

void log_debug(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_line(LOG_DEBUG, "debug: ", format, arguments);
    va_end(arguments);
}
