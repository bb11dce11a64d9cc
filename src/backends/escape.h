/*
 * The keys that a person has for the monitor itself: Ctrl-A, then x or p.
 *
 * Purpose: take the escape sequences out of what is typed, let all else through to the guest.
 * Owner:   the console's input; plain data, all zeroes to begin with.
 * Thread:  the console's.
 */
#ifndef TRAPEZE_BACKENDS_ESCAPE_H
#define TRAPEZE_BACKENDS_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct escape {
    bool after_control_a;
};

enum escape_request {
    ESCAPE_NONE,  /* `count` bytes of `bytes` are for the guest */
    ESCAPE_QUIT,  /* Ctrl-A x */
    ESCAPE_PAUSE, /* Ctrl-A p */
    ESCAPE_HELP   /* Ctrl-A h, Ctrl-A ? */
};

/*
 * Looks at one byte that was typed. bytes takes up to two for the guest: Ctrl-A Ctrl-A sends one
 * Ctrl-A, and Ctrl-A before any other key sends both.
 */
enum escape_request escape_filter(struct escape *escape, uint8_t typed, uint8_t bytes[2],
                                  size_t *count);

#endif
