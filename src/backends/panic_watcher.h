/*
 * Listens to a Linux guest's console for the words with which its kernel gives up.
 *
 * Purpose: a kernel that panics with panic=-1 asks for a reset like any reboot; its last words
 *          tell the two apart and say why.
 * Owner:   the console; plain data, all zeroes to begin with.
 * Thread:  under the console's lock.
 */
#ifndef TRAPEZE_BACKENDS_PANIC_WATCHER_H
#define TRAPEZE_BACKENDS_PANIC_WATCHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PANIC_WORDS_MAX 200

struct panic_watcher {
    char line[PANIC_WORDS_MAX]; /* from "Kernel panic" on, once `matched` is the whole phrase */
    unsigned int matched;       /* characters of the phrase that the output ended in so far */
    unsigned int length;        /* of line */
    bool complete;              /* the line has ended; nothing is listened to any more */
};

void panic_watcher_see(struct panic_watcher *watcher, const uint8_t *bytes, size_t count);

/* The kernel's sentence, "Kernel panic - not syncing: …", or NULL if it never said one. */
const char *panic_watcher_words(const struct panic_watcher *watcher);

#endif
