/*
 * String instructions on memory: MOVS, CMPS, STOS, LODS, SCAS, with and without REP.
 *
 * Source:  Intel SDM volume 2, "REP/REPE/REPZ/REPNE/REPNZ"; volume 1, "String Instructions".
 * Owner, thread: the vCPU. Registers tell what has been done after every chunk, so that faults,
 *          exits and interrupts in the middle are precise.
 */
#ifndef TRAPEZE_ENGINES_SOFT_STRING_H
#define TRAPEZE_ENGINES_SOFT_STRING_H

#include "engines/soft/execute.h"
#include "engines/soft/memory.h"

soft_execute soft_movs;
soft_execute soft_cmps;
soft_execute soft_stos;
soft_execute soft_lods;
soft_execute soft_scas;

/*
 * How a string instruction in progress uses its registers; io.c's INS and OUTS too. Offsets and
 * the count are as wide as addresses.
 */
struct soft_string {
    struct soft_cpu *cpu;
    const struct x86_instruction *decoded;
    unsigned int size; /* bytes of an element */
    uint64_t mask;     /* of offsets and the count */
    int64_t step;      /* size, or -size when DF is set */
    bool repeat;
};

struct soft_string soft_string_begin(struct soft_cpu *cpu, const struct soft_instruction *in);

/* The count left; 1 without REP. */
uint64_t soft_string_count(const struct soft_string *string);

/* Linear addresses of the element at segment:rSI and ES:rDI; raise like any access. */
uint64_t soft_string_source(const struct soft_string *string, enum soft_access access);
uint64_t soft_string_destination(const struct soft_string *string, enum soft_access access);

/* Moves rSI and/or rDI over `elements` and, with REP, takes them off rCX. */
void soft_string_advance(const struct soft_string *string, bool source, bool destination,
                         uint64_t elements);

/*
 * After some progress with more to do: true if the instruction must pause here, to be resumed at
 * its own address, because something wants attention or each iteration is a step of its own.
 */
bool soft_string_pause(const struct soft_string *string);

#endif
