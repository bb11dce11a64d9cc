/*
 * What translated code finds at GS besides the CPU's registers: a part of struct soft_cpu.
 *
 * Owner, thread: the vCPU.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TRANSLATE_STATE_H
#define TRAPEZE_ENGINES_SOFT_TRANSLATE_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "engines/soft/translate/stack_page.h"

struct soft_cpu;
struct translator;

/* Who the vCPU's time goes to: measure.h. */
enum translate_tier { TRANSLATE_TIER_NONE, TRANSLATE_TIER_TRANSLATED, TRANSLATE_TIER_INTERPRETER };

#define TRANSLATE_JUMP_BITS 12
#define TRANSLATE_GROUPS    16 /* shared checks whose results can be kept at one time */

/*
 * Where an indirect branch leads. All of RIP is compared: no other address, canonical or not, may
 * ever lead to code that is stale.
 */
struct translate_jump {
    uint64_t rip;
    uint64_t key;        /* holds while translate.key of that half of the address space is this */
    uint64_t page;       /* gpr[SOFT_GPR_CODE] there */
    const uint8_t *code; /* the target's entry for saved flags */
};

struct translate_state {
    struct translator *translator; /* NULL: this vCPU only interprets */
    struct soft_cpu *self;         /* the address that GS stands for */
    const uint8_t *origin;         /* of places (cache.h) */
    uint64_t host_rsp;             /* the monitor's stack while the guest's RSP is in RSP */
    const uint8_t *resume;         /* where glue code goes on */
    uint64_t resume_t0;            /* … and what it finds in T0 */
    uint64_t temporary;            /* of one instruction */
    uint64_t flags_operand;        /* RECIPE_MEMORY */
    uint64_t key[2];               /* of the two halves of the address space */
    uint32_t vectors_live;         /* the guest's YMM registers and MXCSR are in the host's */
    uint32_t vectors_reload;       /* they were, when C code was called */
    struct translate_stack_page stack[TRANSLATE_STACK_KINDS];
    uint8_t *group[TRANSLATE_GROUPS]; /* see groups.h */
    uint64_t saved[2];                /* registers of glue code */
    enum translate_tier tier;
    uint64_t tier_since, tier_instructions; /* the time, and the vCPU's count, when it began */
    struct translate_jump jumps[1u << TRANSLATE_JUMP_BITS];
};

#endif
