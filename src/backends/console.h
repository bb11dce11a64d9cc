/*
 * The guest's console on the host: buffers between a serial device and a backend.
 *
 * Purpose: a guest writes and reads a byte at a time; the host is asked in larger pieces, in
 *          order, and soon (some milliseconds). Takes the escape keys out of the input and listens
 *          for a kernel's last words.
 * Owner:   src/cli opens it; the machine connects it to its first serial port.
 * Thread:  its own, between start and finish. The character_backend's functions are for the
 *          device, with the device lock held; the functions of console_events are called by its
 *          thread with no lock held.
 *
 * Nothing the guest wrote is lost without a word: an error on the backend is reported through
 * failed, once. A backend that takes no more for the moment makes the device wait (one where
 * nobody may be listening drops instead, and says so once).
 */
#ifndef TRAPEZE_BACKENDS_CONSOLE_H
#define TRAPEZE_BACKENDS_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "vm/character.h"

struct console;

/* Whom the console tells. All are called by the console's thread. */
struct console_events {
    /*
     * Offers input to the device; returns how many bytes it took. The rest is offered again when
     * the device says that it has room, and now and then.
     */
    size_t (*deliver)(void *context, const uint8_t *bytes, size_t count);
    void (*quit)(void *context); /* the person asked for the end: Ctrl-A x */
    /* Ctrl-A p: makes the guest stand still, or go on if it does. Returns whether it is to stand.
     */
    bool (*pause)(void *context);
    /* Output can't be written any more; what comes from now on is thrown away. */
    void (*failed)(void *context, const char *text);
    void *context;
};

/*
 * Opens a console as --console writes it: "stdio", "none", "pty", "file:PATH".
 * Errors: -EINVAL for a text that means none of them, and what opening the backend says.
 */
int console_open(const char *text, struct console **out, struct error *error);

/* Starts its thread. */
int console_start(struct console *console, const struct console_events *events,
                  struct error *error);

/* What the device is connected to. */
struct character_backend console_character_backend(struct console *console);

/*
 * Writes what is left, ends the thread and restores the terminal. deliver and the other events
 * are not called after it. Harmless when repeated, or without start. Returns 0, or -errno if
 * output was lost at any time, with the reason. What a backend that may_drop does not take at once
 * is dropped, and no error.
 */
int console_finish(struct console *console, struct error *error);

/* "Kernel panic - not syncing: …" as the guest wrote it, or NULL. Stays valid. */
const char *console_panic_words(struct console *console);

/* Finishes it first, if need be. NULL is allowed. */
void console_close(struct console *console);

#endif
