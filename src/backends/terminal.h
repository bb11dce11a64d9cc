/*
 * The terminal's settings: raw while the guest has it, always restored.
 *
 * Purpose: whatever ends the process (a normal exit, a signal that ends it, a crash), the person
 *          gets the terminal back as it was. Only SIGKILL can't be helped.
 * Owner:   the process: there is one terminal. The state is static because signal handlers and
 *          atexit have nothing else to find it by.
 * Thread:  keep on one thread; restore from any, async-signal-safe.
 */
#ifndef TRAPEZE_BACKENDS_TERMINAL_H
#define TRAPEZE_BACKENDS_TERMINAL_H

#include <stdbool.h>

#include "base/error.h"

/*
 * True if this process may read and set the terminal: it is in the foreground, or the terminal is
 * not the one that controls it.
 */
bool terminal_is_ours(int descriptor);

/*
 * Keeps the settings, and sees to it that atexit and the signals of a crash restore them. Call
 * before an engine installs handlers of its own for those signals: they pass on what is not theirs.
 */
int terminal_keep(int descriptor, struct error *error);

/* Makes the terminal raw; after terminal_keep. Harmless without, and when it is raw. */
void terminal_make_raw(void);

/* Puts the kept settings back; harmless when the terminal is not raw. */
void terminal_restore(void);

bool terminal_is_raw(void);

#endif
