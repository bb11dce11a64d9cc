/*
 * Random guest programs: some hundred instructions with branches, loops, calls, faults in their
 * middle and stores into themselves, to be run on one engine in two ways.
 *
 * Purpose: what single instructions cannot show of a translator: state that lives across
 *          instructions (flags, checked addresses, registers in other places), exceptions that must
 *          find it, code that changes. A program always ends: each branch backwards burns fuel that
 *          is counted in memory, each exception a record of the log.
 * Owner:   a program is plain data. A machine belongs to its thread.
 * Thread:  program_generate any; a machine the one that created it.
 */
#ifndef TRAPEZE_TESTS_PROGRAM_H
#define TRAPEZE_TESTS_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "differential.h"
#include "program_layout.h"

#define PROGRAM_LENGTH_MAX       0x3800
#define PROGRAM_INSTRUCTIONS_MAX 2048
#define PROGRAM_SEGMENTS_MAX     PROGRAM_TABLE_SIZE

struct program {
    uint64_t seed; /* of registers and memory at the start */
    bool is_32;    /* compatibility mode, else 64-bit mode */
    bool is_kernel;
    bool smap;      /* in the kernel: user pages only with AC */
    uint16_t start; /* offset of the first instruction within the pages of code */
    uint16_t length;
    unsigned int count; /* instructions; each begins where the one before ends */
    uint8_t instructions[PROGRAM_INSTRUCTIONS_MAX]; /* their lengths */
    unsigned int segment_count;                     /* where it goes on after a fault, and where */
    uint16_t segments[PROGRAM_SEGMENTS_MAX];        /* indirect jumps lead: offsets, ascending */
    uint8_t code[PROGRAM_LENGTH_MAX];
};

/* --- making them (program_generate.c) --- */

/*
 * forms:         every form of instruction, from differential_forms_create.
 * bytes, length: decide what it becomes, as far as they reach; none: the seed alone does.
 */
void program_generate(const struct differential_forms *forms, uint64_t seed, const uint8_t *bytes,
                      size_t length, struct program *program);

/* --- running them (program_machine.c) --- */

#define PROGRAM_PAGES_MAX 32

enum program_end {
    PROGRAM_DONE,
    PROGRAM_STOPPED, /* by an exit that programs do not make unless they lose their way */
    PROGRAM_ENDLESS, /* ran for too long */
    PROGRAM_FAILED   /* the engine did, or could not be asked */
};

struct program_record {
    uint64_t vector, error, cr2, rip, cs, rflags, rsp, rcx;
};

/* Everything that a program leaves behind. */
struct program_outcome {
    enum program_end end;
    uint32_t exit_reason;                    /* of PROGRAM_STOPPED */
    struct differential_registers registers; /* RIP, RFLAGS and RSP are the handler's */
    uint64_t record_count;
    struct program_record records[PROGRAM_LOG_MAX];
    uint64_t device_accesses, device_hash; /* memory-mapped I/O */
    uint64_t entries[PROGRAM_PAGES_MAX];   /* of the page tables */
    uint8_t pages[PROGRAM_PAGES_MAX][4096];
    unsigned int page_count;
    uint32_t linear[PROGRAM_PAGES_MAX]; /* of those pages */
    uint64_t interrupts;                /* that came meanwhile */
};

struct program_machine_options {
    const char *arguments;   /* the engine's; may be NULL */
    unsigned int vcpu_count; /* the VM's; only one runs */
    bool steps;              /* single instructions: a breakpoint far away is armed */
    bool disturbed;          /* kicks, interrupts, writes to code at random times */
    bool traps_all;          /* sensitive instructions leave the engine first */
    uint64_t lost_flags;     /* that a program goes on without after an exception */
    uint64_t patience_ms;    /* how long a program may run before it counts as endless */
};

struct program_machine;

int program_machine_create(const struct program_machine_options *options,
                           struct program_machine **out, struct error *error);
void program_machine_destroy(struct program_machine *machine);
const struct cpuid_table *program_machine_cpuid(const struct program_machine *machine);
void program_machine_run(struct program_machine *machine, const struct program *program,
                         struct program_outcome *outcome);

/* --- comparing (program_compare.c) --- */

struct program_tolerance {
    uint64_t rflags; /* bits of saved RFLAGS that may differ */
};

/* True if they agree; else the differences are written to `to`, when it is not NULL. */
bool program_compare(const struct program_outcome *expected, const struct program_outcome *actual,
                     const struct program_tolerance *tolerance, FILE *to);

/*
 * True if a repeated string instruction has overwritten itself: nobody says when it is fetched
 * again.
 */
bool program_is_open(const struct program *program, const struct program_outcome *outcome);

/* The program disassembled. */
void program_show(const struct program *program, FILE *to);

/* As text files: mode, seed, start, segments, code. */
bool program_read(const char *path, struct program *program);
bool program_write(const char *path, const struct program *program);

/*
 * Makes a program smaller as long as still_fails says so: what it does not need becomes NOPs, all
 * else keeps its place.
 */
void program_reduce(struct program *program,
                    bool (*still_fails)(void *context, const struct program *program),
                    void *context);

#endif
