#include "backends/panic_watcher.h"

#include <string.h>

/* Begins with a character that stands nowhere else in it, so that a mismatch need not back up. */
static const char phrase[] = "Kernel panic - not syncing: ";
#define PHRASE_LENGTH (sizeof(phrase) - 1)

static void see_byte(struct panic_watcher *watcher, char byte)
{
    if (watcher->matched < PHRASE_LENGTH) {
        if (byte == phrase[watcher->matched]) {
            watcher->matched++;
        } else {
            watcher->matched = byte == phrase[0] ? 1 : 0;
        }
        if (watcher->matched == PHRASE_LENGTH) {
            memcpy(watcher->line, phrase, PHRASE_LENGTH);
            watcher->length = PHRASE_LENGTH;
        }
        return;
    }
    if (byte == '\r' || byte == '\n') {
        watcher->complete = true;
    } else if (watcher->length < PANIC_WORDS_MAX - 1) {
        /* It goes to a person's terminal: no control characters. */
        watcher->line[watcher->length++] = byte >= ' ' && byte <= '~' ? byte : '?';
    }
}

void panic_watcher_see(struct panic_watcher *watcher, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count && !watcher->complete; i++) {
        see_byte(watcher, (char)bytes[i]);
    }
}

const char *panic_watcher_words(const struct panic_watcher *watcher)
{
    return watcher->matched == PHRASE_LENGTH ? watcher->line : NULL;
}
