/*
 * A software CPU whose linear addresses are the host's own: guest memory is whatever the test has.
 *
 * Purpose: stands in for memory.h and the run loop's side of cpu.h, without paging. Exits and
 *          faults are recorded.
 * Owner:   one CPU per test executable. Thread: one.
 */
#ifndef TRAPEZE_TESTS_SOFT_IDENTITY_H
#define TRAPEZE_TESTS_SOFT_IDENTITY_H

#include "engines/soft/execute.h"
#include "engines/soft/vm.h"

extern struct soft_cpu identity_cpu;
extern struct vcpu_exit identity_exit;
extern bool identity_left;     /* soft_leave_after was called */
extern bool identity_chunks;   /* soft_chunk hands out pointers */
extern uint64_t identity_wall; /* writes at or above it raise #PF; 0: none */
extern bool identity_pdptes_good;

/* 64-bit mode at CPL 0 with flat segments and all features, registers zero. */
void identity_reset(void);
/* Protected mode with 32-bit flat segments: linear addresses are added to identity_base. */
void identity_reset_32(uint64_t base);
void identity_set_cpl(unsigned int cpl);

enum identity_result { IDENTITY_DONE, IDENTITY_FAULT, IDENTITY_EXIT, IDENTITY_UNDEFINED };

/* Decodes the bytes in the current mode and runs them at cpu->rip. */
enum identity_result identity_run(const uint8_t *bytes, size_t length);

/* True if the bytes raise vector with error (-1: none). */
bool identity_faults(const uint8_t *bytes, size_t length, unsigned int vector, int64_t error);

/* Calls a function where it may raise. */
enum identity_result identity_try(void (*function)(struct soft_cpu *cpu));

#define RUN(...)                                                                                   \
    identity_run((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))
#define FAULTS(vector, error, ...)                                                                 \
    identity_faults((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}),        \
                    vector, error)

#endif
