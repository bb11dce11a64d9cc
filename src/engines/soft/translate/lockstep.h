/*
 * The lockstep check: each translated block is run through the interpreter, too.
 *
 * Purpose: check=lockstep. Before a translated block is entered the interpreter's tier 2 runs the
 *          same instructions from the same state and everything is taken back; after it the two
 *          results are compared. The first difference is told with both sides disassembled, and
 *          ends the run.
 *
 * What it takes of the run loop: blocks are not chained, so that each exit comes here; instructions
 * that the translator has no code for are not in blocks; no event is looked at in between. One vCPU
 * only: others would write to memory between the two runs.
 *
 * What it cannot see: stores of the translated code to places where the interpreter stored nothing
 * (nobody looks through all of the memory); faults and exits that both sides should have made. A
 * device that reads guest memory on a thread of its own may see a store of the reference before it
 * is taken back, and what it writes just where the guest stores may be lost.
 *
 * Owner:   struct lockstep is the vCPU's. Thread: the vCPU's.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TRANSLATE_LOCKSTEP_H
#define TRAPEZE_ENGINES_SOFT_TRANSLATE_LOCKSTEP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "engines/soft/cpu.h"

struct lockstep;

struct lockstep_statistics {
    uint64_t compared; /* blocks that were the same on both sides */
    uint64_t refused;  /* … that the interpreter could not run ahead: interpreted only */
    uint64_t unsteady; /* … where memory changed under the two runs: taken from the interpreter */
};

/* Returns 0 or -ENOMEM. The vCPU keeps no reference to it but what the caller sets. */
int lockstep_create(struct soft_cpu *cpu, struct lockstep **out);
void lockstep_destroy(struct lockstep *lockstep); /* NULL is allowed */

/*
 * Runs the reference from cpu->rip, as the block's path goes: for at most count instructions, up to
 * the first one that does not go on to the next. Then takes it back: registers and memory are what
 * they were, but for accessed and dirty flags in page tables and for the TLB.
 *
 * Returns true if the translated block may run now, and lockstep_after must follow it. False: there
 * is nothing to compare with, because the path raises an exception, meets a device, stores into
 * code, or holds an instruction that must not run twice. Then interpret it.
 */
bool lockstep_before(struct lockstep *lockstep, struct soft_cpu *cpu, unsigned int count);

/*
 * False for what must not run twice, or changes more than is taken back: a path with such an
 * instruction is refused, so blocks should end before it.
 */
bool lockstep_can_repeat(enum x86_operation operation);

/*
 * After the translated block has come to its end with its state in *cpu. It may also have left
 * between two instructions, for somebody's attention: then it is compared as far as it went.
 *
 * host_code, host_length: the block's code, for the report; NULL if it is not to be shown.
 *
 * Returns true if it did what the interpreter did (or if memory changed meanwhile, so that nothing
 * can be said; then *cpu has the interpreter's state). False: the difference has been logged, error
 * filled in, and *cpu stands before the block.
 */
bool lockstep_after(struct lockstep *lockstep, struct soft_cpu *cpu, const void *host_code,
                    size_t host_length, struct error *error);

/*
 * The same for a block that was left by cpu->escape: to be called first where that arrives, with
 * what sigsetjmp returned. True if no block was being compared or if it may leave so: go on with
 * the escape. Where the result is true and *how has become SOFT_ESCAPE_NONE, memory had changed and
 * the interpreter's run of the block took its place.
 */
bool lockstep_escaped(struct lockstep *lockstep, struct soft_cpu *cpu, enum soft_escape *how,
                      const void *host_code, size_t host_length, struct error *error);

/*
 * The text for the engine's error once a difference has been found, else NULL: the run loop is left
 * with it.
 */
const char *lockstep_failure(const struct lockstep *lockstep);

/* The last difference as text of several lines; empty if there was none. Good until the next. */
const char *lockstep_report(const struct lockstep *lockstep);

void lockstep_statistics(const struct lockstep *lockstep, struct lockstep_statistics *statistics);

#endif
