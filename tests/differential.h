/*
 * Differential testing: the soft engine as a whole against the host's own CPU.
 *
 * Purpose: a case is a short sequence of user-mode instructions with a random start: registers,
 *          flags, vector and x87 state, memory. It runs natively, and on two vCPUs of a soft VM
 *          (one as it comes, one that steps through tier 2); all that a program could see
 *          afterwards must be the same: registers, memory, and the fault with its address.
 * Owner:   one per test executable: native memory and signal handlers are the process's.
 * Thread:  one.
 */
#ifndef TRAPEZE_TESTS_DIFFERENTIAL_H
#define TRAPEZE_TESTS_DIFFERENTIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "differential_layout.h"
#include "vm/engine.h"
#include "x86/decode/decode.h"
#include "x86/registers.h"
#include "x86/state.h"

/* --- random numbers: splitmix64, so that any 64-bit seed will do --- */

struct differential_random {
    uint64_t state;
};

static inline uint64_t differential_bits(struct differential_random *random)
{
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* 0 … limit - 1 */
static inline uint32_t differential_below(struct differential_random *random, uint32_t limit)
{
    return (uint32_t)((differential_bits(random) >> 32) * limit >> 32);
}

static inline bool differential_chance(struct differential_random *random, uint32_t percent)
{
    return differential_below(random, 100) < percent;
}

/* Values at the edges come up often. */
uint64_t differential_operand(struct differential_random *random);
/* An address in or near the pages of data, often at their edges. */
uint32_t differential_pointer(struct differential_random *random);

/* --- a case --- */

#define DIFFERENTIAL_CODE_MAX         320
#define DIFFERENTIAL_INSTRUCTIONS_MAX 40

struct differential_case {
    uint64_t seed;  /* of the registers and memory at the start (differential_start) */
    uint32_t start; /* linear address of the first instruction */
    bool is_32;     /* 32-bit code in compatibility mode, else 64-bit mode */
    unsigned int length;
    unsigned int count; /* instructions: where they stand, for people and for making it smaller */
    struct {
        uint16_t offset, length;
    } instructions[DIFFERENTIAL_INSTRUCTIONS_MAX];
    uint8_t code[DIFFERENTIAL_CODE_MAX]; /* the jump to the exit at its end included */
};

struct differential_registers {
    uint64_t gpr[X86_GPR_COUNT];
    uint64_t rip, rflags, fs_base, gs_base;
    uint8_t reserved[32];
    uint8_t ymm[16][32];
    uint8_t x87[512]; /* FXSAVE64 format; holds MXCSR, its XMM part is copied from ymm */
};

_Static_assert(offsetof(struct differential_registers, rip) == DIFFERENTIAL_AT_RIP, "layout");
_Static_assert(offsetof(struct differential_registers, rflags) == DIFFERENTIAL_AT_RFLAGS, "layout");
_Static_assert(offsetof(struct differential_registers, fs_base) == DIFFERENTIAL_AT_FS, "layout");
_Static_assert(offsetof(struct differential_registers, ymm) == DIFFERENTIAL_AT_YMM, "layout");
_Static_assert(offsetof(struct differential_registers, x87) == DIFFERENTIAL_AT_X87, "layout");

#define DIFFERENTIAL_X87_MXCSR 24
#define DIFFERENTIAL_X87_XMM   160

struct differential_memory {
    uint8_t code[DIFFERENTIAL_CODE_PAGES][4096];
    uint8_t data[DIFFERENTIAL_DATA_PAGES][4096]; /* the hole's page is not used */
};

#define DIFFERENTIAL_ENDED   (-1) /* no fault: it came to the exit */
#define DIFFERENTIAL_BLOCKED (-2) /* a system call, or no end to it: no case to compare */
#define DIFFERENTIAL_STRANGE (-3) /* the engine left for a reason of its own */

/* Registers and memory, before or after. */
struct differential_outcome {
    struct differential_registers registers;
    int vector; /* of the exception that ended it, or DIFFERENTIAL_… */
    uint32_t error;
    uint64_t address; /* of a page fault */
    struct differential_memory memory;
};

/* The state that a case starts from. Corpus entries rely on it: it must stay as it is. */
void differential_start(const struct differential_case *what, struct differential_outcome *start);

/* General, FS and GS bases, RIP, RFLAGS, x87 and vector registers, to a vCPU's state and from it.
 */
void differential_load_registers(struct x86_state *state,
                                 const struct differential_registers *from);
void differential_store_registers(const struct x86_state *state, struct differential_registers *to);

/* --- making cases (differential_generate.c) --- */

/* Every form of instruction that the decoder knows and that can be compared. */
struct differential_forms;

/* only: one operation's forms, X86_OP_INVALID for all. NULL: no memory, or there are none. */
struct differential_forms *differential_forms_create(const struct cpuid_table *cpuid,
                                                     enum x86_operation only);
void differential_forms_destroy(struct differential_forms *forms);

void differential_generate(const struct differential_forms *forms, uint64_t seed,
                           struct differential_case *what);

/* Finds the instructions in what->code again. */
void differential_split(struct differential_case *what);

/* --- running them --- */

/* False with the reason on stderr: this host can't do it. Before the soft VM is created. */
bool differential_native_setup(void);
/* Again after the soft engine has installed its signal handlers: ours come first. */
void differential_native_handlers(void);
void differential_native_run(const struct differential_case *what,
                             const struct differential_outcome *start,
                             struct differential_outcome *end);

/* Which of the two vCPUs. */
enum differential_vcpu {
    DIFFERENTIAL_FULL,    /* as it comes: blocks, links, tier 1 */
    DIFFERENTIAL_STEPPED, /* a breakpoint far away keeps it in single steps: tier 2 */
    DIFFERENTIAL_VCPUS
};

struct differential_soft;
int differential_soft_create(struct differential_soft **out, struct error *error);
void differential_soft_destroy(struct differential_soft *soft);
const struct cpuid_table *differential_soft_cpuid(const struct differential_soft *soft);
void differential_soft_run(struct differential_soft *soft, enum differential_vcpu which,
                           const struct differential_case *what,
                           const struct differential_outcome *start,
                           struct differential_outcome *end);

/* --- comparing --- */

/* True if they agree; else the differences are written to `to`, when it is not NULL. */
bool differential_compare(const struct differential_case *what,
                          const struct differential_outcome *native,
                          const struct differential_outcome *soft, FILE *to);

/* True if the host has ended the case where the manual lets it do anything. */
bool differential_is_open(const struct differential_case *what,
                          const struct differential_outcome *start,
                          const struct differential_outcome *native);

/* Those that an operation leaves undefined and the engine does not take from the host. */
uint64_t differential_undefined_flags(enum x86_operation operation);

/* The case disassembled, with its start's registers. */
void differential_show(const struct differential_case *what, FILE *to);

/* --- the corpus: text files, see docs/testing.md --- */

bool differential_read(const char *path, struct differential_case *what);
bool differential_write(const char *path, const struct differential_case *what);

#endif
