/*
 * What a person needs to see why a guest's CPU shut down, could not be entered, or an engine could
 * not go on with it.
 *
 * Owner: no state. Thread: the first one, after machine_wait.
 */
#ifndef TRAPEZE_CLI_CRASH_REPORT_H
#define TRAPEZE_CLI_CRASH_REPORT_H

#include <stdio.h>

#include "vm/vm.h"

/* True if a run ended in a way that the report explains. */
bool crash_report_is_due(const struct vm *vm, enum vm_outcome outcome);

/*
 * Prints the exceptions that led to the end of a vCPU, or the rules of VM entry that its state
 * breaks if the processor refused it; its registers, and the instruction at RIP (disassembled where
 * a disassembler is there, else as bytes).
 */
void crash_report_print(struct vm *vm, unsigned int vcpu, FILE *out);

#endif
