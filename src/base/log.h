/*
 * What the monitor says about itself while it runs, on stderr, a line at a time.
 *
 * Purpose: warnings, and notes (a guest touched an address no device claims, progress). Results and
 *          errors that end a run are printed by src/cli, not logged.
 * Owner:   the process. The level is set once at start, before other threads exist.
 * Thread:  any; a line is written with one write(2).
 */
#ifndef TRAPEZE_BASE_LOG_H
#define TRAPEZE_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_SILENT, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Sets what is shown; the default is LOG_WARN. Call before threads start. */
void log_set_level(enum log_level level);

/*
 * When the terminal is in raw mode a newline must be "\r\n"; the console backend says so here.
 */
void log_set_raw_terminal(bool raw);

/* Writes lines as they are, each ending in a newline, whatever the level: what was asked for. */
void log_text(const char *lines);

void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
