/*
 * What a person asked for while the guest runs, on stderr.
 *
 * Purpose: the thread that prints it is the one that ends the run when a signal says so, and must
 *          not wait for ever for a terminal or a pipe that takes nothing.
 * Owner:   no state.
 * Thread:  any; not async-signal-safe.
 */
#ifndef TRAPEZE_CLI_NOTICE_H
#define TRAPEZE_CLI_NOTICE_H

/*
 * Prints lines, each ending in a newline, also right while the terminal is raw. What is not taken
 * within a second is left out.
 */
void notice_print(const char *lines);

#endif
