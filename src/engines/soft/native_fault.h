/*
 * Exceptions that a guest's instruction raises while a thunk runs it natively.
 *
 * Purpose: the host's SIGFPE and SIGILL, when they come from a thunk, make the thunk return with
 *          THUNK_FAULT instead of ending the process; SIGFPE of a division in translated code goes
 *          to that code's way out. From anywhere else they do what they did before.
 * Owner:   the process has the handlers (as it has signals); a thread says which code is its own.
 * Thread:  as noted.
 */
#ifndef TRAPEZE_ENGINES_SOFT_NATIVE_FAULT_H
#define TRAPEZE_ENGINES_SOFT_NATIVE_FAULT_H

#include "base/error.h"

struct code_memory;
struct translate_cache;

/* What a thread that runs thunks needs: a stack of its own for the handlers. */
struct native_fault_thread;

/*
 * Installs the handlers (once a process) and readies the calling thread for running code within
 * `code`, which must stay until native_fault_leave. A thread can be ready for one at a time.
 * Returns 0 or -errno.
 */
int native_fault_enter(const struct code_memory *code, struct native_fault_thread **out,
                       struct error *error);

/*
 * The calling thread runs translated code from now on: where a division of its raises SIGFPE it
 * goes on at `divide`, all registers being as they were. NULL, NULL: no longer.
 */
void native_fault_translated(const struct translate_cache *cache, const void *divide);

/* The same thread. NULL is allowed. */
void native_fault_leave(struct native_fault_thread *thread);

#endif
