/*
 * Port input and output: IN, OUT, INS, OUTS.
 *
 * Source:  Intel SDM volume 1, "Input/Output", "I/O Permission Bit Map".
 * Owner, thread: the vCPU. Every transfer of one element is an exit of its own (EXIT_PIO).
 */
#ifndef TRAPEZE_ENGINES_SOFT_IO_H
#define TRAPEZE_ENGINES_SOFT_IO_H

#include "engines/soft/execute.h"

soft_execute soft_in;
soft_execute soft_out;
soft_execute soft_ins;
soft_execute soft_outs;

/*
 * Finishes an input whose exit has been served; the run loop calls it when cpu->completing is set
 * and the exit was EXIT_PIO, before the next instruction. IN has ended by then and gets its
 * register; INS is about to run again and finds the value among the replayed accesses. Does not
 * raise; clears cpu->completing.
 */
void soft_io_complete(struct soft_cpu *cpu);

#endif
