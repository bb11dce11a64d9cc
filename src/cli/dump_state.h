/*
 * `trapeze run --dump-state FILE`: the state of the vCPU that ended a run, for `check-state`.
 *
 * Owner:   the run command.
 * Thread:  the first one; what is read of a vCPU, after machine_wait.
 */
#ifndef TRAPEZE_CLI_DUMP_STATE_H
#define TRAPEZE_CLI_DUMP_STATE_H

#include "cli/state_file.h"
#include "vm/vm.h"

/*
 * The state that a vCPU ended with; that it was to start with, if its engine refused that. The
 * processor's widths and flags are those that its CPUID shows. False if neither is known.
 */
bool dump_state_of(const struct vcpu *vcpu, struct saved_state *state);

/*
 * Makes an empty file if there is none: what is wrong with its path is told before the guest runs.
 * A state that is there stays until there is another; any other file is refused, as are pipes and
 * devices. trace: the file for the trace of exits, which must be another one; NULL: there is none.
 * Errors: open(2)'s, -EEXIST, -EINVAL.
 */
int dump_state_prepare(const char *path, const char *trace, struct error *error);

/*
 * Writes the state of the vCPU that ended the run, or of the first one, if the run ended as it
 * should not: by a triple fault, stuck, or because the engine failed. Says on stderr what it did.
 */
void dump_state_write(const struct vm *vm, enum vm_outcome outcome, const char *path);

#endif
