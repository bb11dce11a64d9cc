/*
 * A software CPU for tests of single instructions, with a memory that is one flat host buffer.
 *
 * Purpose: try the soft_execute functions without the run loop: this file's functions stand in for
 *          memory.h's and for soft_raise() & co. Linear addresses are host addresses.
 * Owner:   one per test executable. Thread: one.
 */
#ifndef TRAPEZE_TESTS_SOFT_VECTOR_FAKE_H
#define TRAPEZE_TESTS_SOFT_VECTOR_FAKE_H

#include "engines/soft/cpu.h"
#include "engines/soft/execute.h"
#include "engines/soft/fpu.h"

#define FAKE_MEMORY_SIZE 16384u

struct fake {
    struct soft_cpu cpu;
    struct thunk_cache *thunks;
    struct native_fault_thread *fault_thread;
    /* 4 pages. The TLB holds pages 0 and 1, for 64-bit mode with SOFT_MODE_FAST. Page 2 raises #PF
       when touched. Page 3 is MMIO: the first access in an instruction leaves the run loop, the
       restarted instruction completes it. */
    uint8_t *memory;
    unsigned int restarts;
};

extern struct fake fake;

#define FAKE_ABSENT (2u * 4096u) /* offset of the page that faults */
#define FAKE_MMIO   (3u * 4096u)

/* A 64-bit CPU at CPL 0 with everything on. */
void fake_setup(void);
void fake_teardown(void);

#define FAKE_NO_EXCEPTION 256

/* Decodes and runs one instruction; returns the vector it raised or FAKE_NO_EXCEPTION. */
int fake_run(const uint8_t *bytes, size_t length);
/* The same in two steps; false when it does not decode to an operation of `entry`s. */
bool fake_decode(const uint8_t *bytes, size_t length, struct soft_instruction *in);
int fake_execute(const struct soft_instruction *in);

/* A small generator with a fixed seed. */
uint64_t fake_random(void);

#endif
