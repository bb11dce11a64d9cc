/*
 * What a person needs to see why a guest's CPU shut down, or an engine could not go on with it.
 *
 * Owner: no state. Thread: the first one, after machine_wait.
 */
#ifndef TRAPEZE_CLI_CRASH_REPORT_H
#define TRAPEZE_CLI_CRASH_REPORT_H

#include <stdio.h>

#include "vm/vm.h"

/*
 * Prints the exceptions that led to the end of a vCPU, its registers, and the instruction at RIP
 * (disassembled where a disassembler is there, else as bytes).
 */
void crash_report_print(struct vm *vm, unsigned int vcpu, FILE *out);

#endif
