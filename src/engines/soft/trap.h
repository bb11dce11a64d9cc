/*
 * `--trap all`: sensitive instructions leave the engine before they run.
 *
 * Purpose: the monitor's side of Popek and Goldberg's construction. Decided when an instruction is
 *          decoded: with `--trap shadow` no code that runs knows of it.
 * Owner, thread: the vCPU.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TRAP_H
#define TRAPEZE_ENGINES_SOFT_TRAP_H

#include "engines/soft/execute.h"

/* True for what would stay in the engine otherwise (x86/sensitive.h). */
bool soft_must_trap(enum x86_operation operation);

/*
 * Stands in for a sensitive instruction's function: EXIT_INSTRUCTION the first time, and the work
 * itself when the run after that begins (resume in run.c).
 */
soft_execute soft_trap;

#endif
