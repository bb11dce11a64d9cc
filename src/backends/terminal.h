/*
 * The terminal's settings: raw while the guest has it, always restored.
 *
 * Purpose: whatever ends the process (a normal exit, a signal that ends it, a crash), the person
 *          gets the terminal back as it was. Only SIGKILL can't be helped.
 * Owner:   the process: there is one terminal. The state is static because signal handlers and
 *          atexit have nothing else to find it by.
 * Thread:  keep on one thread; the others from any in which SIGTTOU is blocked.
 */
#ifndef TRAPEZE_BACKENDS_TERMINAL_H
#define TRAPEZE_BACKENDS_TERMINAL_H

#include <stdbool.h>

#include "base/error.h"

/*
 * False if this process is in the background of the terminal that controls it, and would be stopped
 * for reading or setting it.
 */
bool terminal_is_ours(int descriptor);

/*
 * Keeps the settings, and sees to it that atexit and the signals of a crash restore them. Call
 * before an engine installs handlers of its own for those signals: they pass on what is not theirs.
 */
int terminal_keep(int descriptor, struct error *error);

/*
 * Makes the terminal raw, also when somebody has changed it since. Harmless without a kept one. In
 * the background it is the shell's: then call it once more when it has come back.
 */
void terminal_make_raw(void);

/*
 * Puts the kept settings back; harmless when the terminal is not raw. In the background it does
 * so only for a shell that has left the settings as they were; most have their own.
 */
void terminal_restore(void);

/*
 * Restores it for as long as this process is stopped: nobody else makes it raw before the return.
 * Lend says whether it was raw, which is what the return takes to make it so again.
 */
bool terminal_lend(void);
void terminal_return(bool raw);

bool terminal_is_raw(void);

#endif
