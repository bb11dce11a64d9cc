/*
 * What the lockstep check compares: copies of a vCPU's state, the path, the text of a difference.
 *
 * Owner:   struct lockstep (lockstep.c). Thread: the vCPU's.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TRANSLATE_LOCKSTEP_STATE_H
#define TRAPEZE_ENGINES_SOFT_TRANSLATE_LOCKSTEP_STATE_H

#include "engines/soft/cpu.h"
#include "engines/soft/fpu.h"
#include "engines/soft/undo.h"

/* The fields of struct soft_cpu from `segment` up to `fpu`: plain data, copied and compared whole.
 */
#define LOCKSTEP_SYSTEM_BYTES (offsetof(struct soft_cpu, fpu) - offsetof(struct soft_cpu, segment))

struct lockstep_state {
    struct soft_fpu fpu; /* not live */
    uint64_t gpr[SOFT_GPR_SLOTS];
    uint64_t address_base[X86_SEGMENT_COUNT + 1];
    uint64_t flags, rip, next_rip, instructions, pending_dr6;
    uint16_t arithmetic;
    bool sti_shadow, mov_ss_shadow, mid_string;
    uint8_t system[LOCKSTEP_SYSTEM_BYTES];
};

/* An instruction of the path as the reference ran it. */
struct lockstep_step {
    uint64_t rip;
    uint8_t length;
    uint8_t bytes[X86_INSTRUCTION_MAX];
};

#define LOCKSTEP_STEPS_MAX 512

struct lockstep_path {
    enum x86_decode_mode mode;
    uint64_t physical;  /* of the first instruction */
    uint64_t undefined; /* arithmetic flags that the manual leaves undefined at its end */
    unsigned int count;
    struct lockstep_step step[LOCKSTEP_STEPS_MAX];
};

/* Brings the x87 registers into memory first. */
void lockstep_capture(struct soft_cpu *cpu, struct lockstep_state *state);
void lockstep_restore(struct soft_cpu *cpu, const struct lockstep_state *state);

/*
 * Architectural equality: scratch fields and statistics are left out, and so are the flags in
 * undefined.
 */
bool lockstep_equal(const struct lockstep_state *a, const struct lockstep_state *b,
                    uint64_t undefined);

/* RFLAGS' arithmetic flags of a state. */
static inline uint64_t lockstep_arithmetic(const struct lockstep_state *state)
{
    uint64_t high = state->arithmetic >> 8 & 0xd5;
    return high | (uint64_t)(state->arithmetic & 1) << 11;
}

/* One run's result for the report. */
struct lockstep_result {
    const struct lockstep_state *state;
    const struct soft_undo *memory; /* `after` holds */
};

/* A difference, for the report. */
struct lockstep_difference {
    unsigned int vcpu;
    const struct lockstep_path *path;
    const struct lockstep_state *start;
    struct lockstep_result interpreter, translated;
    const char *left_by; /* how translated code ended where it should not have; NULL: it did not */
    const void *host_code;
    size_t host_length;
};

/*
 * The text of a difference, from malloc; NULL without memory. summary gets the names of what
 * differs ("rax, CF, memory"), cut to size bytes.
 */
char *lockstep_describe(const struct lockstep_difference *difference, char *summary, size_t size);

#endif
