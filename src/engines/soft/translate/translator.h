/*
 * The translator of one vCPU: its parts, and what they tell each other.
 *
 * Purpose: run guest code as host code. collect.c reads a block's instructions, liveness.c finds
 *          out where their flags matter, generate.c and select_*.c make host code of them, cache.c
 *          keeps it, glue.c is the code around it, find.c and run.c go from block to block,
 *          serve.c is what translated code asks of C.
 *
 * An instruction that crosses: it begins at the end of one page and ends in another. It is a block
 * by itself, found by where it begins and which page is the other, dropped with either of them. It
 * is good only as long as the next linear page is that other page, and code can be fetched there.
 * Whoever comes from C asks for that; links to it, also those from its own page, and the jump cache
 * are bound to what linear addresses mean now.
 *
 * Owner:   the vCPU. Thread: its own.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TRANSLATE_TRANSLATOR_H
#define TRAPEZE_ENGINES_SOFT_TRANSLATE_TRANSLATOR_H

#include "engines/soft/cpu.h"
#include "engines/soft/execute.h"
#include "engines/soft/translate/cache.h"
#include "engines/soft/translate/groups.h"
#include "engines/soft/translate/home.h"
#include "engines/soft/translate/pressure.h"
#include "x86/decode/facts.h"

#define UNIT_MAX 64 /* instructions of a block */

#define MXCSR_MASKS 0x1f80u /* all exceptions masked */

/* Bits of a translated block's mode beyond struct soft_cpu's. */
#define TRANSLATE_VECTORS 0x100u /* SSE and AVX can be used and raise nothing */
#define TRANSLATE_X87     0x200u /* x87 likewise */
#define TRANSLATE_PLAIN   0x400u /* each access is checked by itself */
#define TRANSLATE_UPPER   0x800u /* code in the upper half of the address space */

enum unit_kind {
    UNIT_NATIVE,
    UNIT_CALLOUT,     /* run by the interpreter, then on */
    UNIT_CALLOUT_LAST /* run by the interpreter, then back to the run loop */
};

struct unit_instruction {
    struct soft_instruction in;
    struct x86_facts facts;
    enum unit_kind kind;
    uint16_t offset; /* within the page */
    struct unit_grouping grouping[UNIT_ACCESSES];
    uint16_t flags_after; /* arithmetic flags that somebody may still want after it */
};

/* The guest instructions that one block is made from. */
struct unit {
    struct unit_instruction instruction[UNIT_MAX];
    struct unit_group groups[TRANSLATE_GROUPS];
    unsigned int count;
    uint64_t physical; /* of the first byte */
    uint16_t mode;
    uint16_t end;          /* offset behind the last instruction */
    bool ends_in_transfer; /* the last one never falls through */
    bool end_crosses;      /* it falls through to an instruction that reaches into another page */
    bool crosses;          /* it is such an instruction, alone, and … */
    uint64_t second;       /* … that is in this physical page (address >> 12) */
};

static inline bool unit_is_64bit(const struct unit *unit)
{
    return (unit->mode & SOFT_MODE_DECODE) == X86_DECODE_64;
}

/* Bytes of an address, of what is pushed, and of RIP, in the mode's own width. */
static inline unsigned int unit_width(const struct unit *unit)
{
    return unit_is_64bit(unit) ? 8 : 4;
}

/* Addresses of the glue code. */
struct translate_glue {
    const uint8_t *enter;                      /* see translate_enter */
    const uint8_t *leave_native, *leave_saved; /* T1: the link, or site + 1 */
    const uint8_t *leave_after;                /* C code has run; nothing is in registers */
    const uint8_t *access;                     /* T1: site; T0: linear address, a group's lowest */
    const uint8_t *stack[TRANSLATE_STACK_KINDS]; /* the same for one by RSP */
    const uint8_t *callout;                      /* T1: site */
    const uint8_t *single;       /* T1: site: the instruction by itself, in tier 2 */
    const uint8_t *raced;        /* T1: site; T0: the host address stored to */
    const uint8_t *load_vectors; /* T1: where to go on */
    const uint8_t *load_x87;     /* T1: site, which says where to go on */
};

#define TRANSLATE_RUNS_BITS 16

/* Pages whose code is overwritten again and again are interpreted: less and less is made of them.
 */
#define TRANSLATE_CHURN_BITS 10

struct translate_churn {
    uint8_t drops;  /* lately; the next translation waits for 2 to the power of that many blocks */
    uint16_t wait;  /* so many more */
    uint16_t code;  /* counts up with each drop: what was counted of the old code is void */
    uint32_t epoch; /* of the last drop: the time stamp counter's upper bits */
};

struct translator {
    struct translate_cache *cache;
    struct translate_glue glue;
    struct unit unit;                     /* the block being made */
    const uint8_t *code_of[UNIT_MAX + 1]; /* where its instructions' code begins */
    unsigned int translate_after;
    uint64_t serial[2]; /* of the keys of both halves; none is used twice */
    uint64_t last_serial;
    uint64_t generation[2]; /* cpu->code_generation as links and the jump cache know it */
    uint16_t key_mode;      /* which the keys are made for */
    const struct translate_block *checked; /* the last one that was run in lockstep */
    bool smp;
    uint64_t host_features; /* bits by enum x86_feature: what the host's CPUID shows */
    struct translate_homes homes;
    struct translate_churn churn[1u << TRANSLATE_CHURN_BITS]; /* by a hash of the page */
    struct translate_pressure pressure;
    unsigned int runs_counted;
    uint8_t runs[1u << TRANSLATE_RUNS_BITS]; /* how often a block was met; by a hash */
};

/*
 * Reads the instructions from physical on (host: where it lies), which is what stands at cpu->rip;
 * false if there is none. Raises #PF if the first one goes on in a page that can't be fetched.
 */
bool translate_collect(struct soft_cpu *cpu, struct unit *unit, uint64_t physical,
                       const uint8_t *host, uint16_t mode, unsigned int limit);

/* Fills in flags_after. */
void translate_liveness(struct unit *unit);
uint16_t translate_flags_before(const struct unit_instruction *at);

/* Makes the block of translator->unit; NULL if it does not fit into the region being filled. */
struct translate_block *translate_generate(struct soft_cpu *cpu);

/* For --trace code and --perf-map: the block of translator->unit has been made. */
void translate_show(const struct soft_cpu *cpu, const struct translate_block *block);

/* Makes the glue code. False if it did not fit (a matter of its size alone). */
bool translate_make_glue(struct soft_cpu *cpu);

/* --- find.c --- */

/* The mode of a block for cpu->rip, as struct translate_block has it. */
uint16_t translate_mode_of(const struct soft_cpu *cpu);
/* The same, and from now on the keys are of that mode. */
uint16_t translate_enter_mode(struct soft_cpu *cpu);
/* Makes a block of what stands at physical; NULL if there is no instruction. */
struct translate_block *translate_make_block(struct soft_cpu *cpu, uint64_t physical,
                                             const uint8_t *host, uint16_t mode);
/* The block that was made of what stands at cpu->rip, or NULL. Raises what its second page does. */
struct translate_block *translate_find_made(struct soft_cpu *cpu, uint64_t physical, uint16_t mode);
/*
 * The block at cpu->rip; NULL if that is to be interpreted. Raises what the fetch raises. make: one
 * may be made.
 */
struct translate_block *translate_find_block(struct soft_cpu *cpu, uint16_t mode, bool make);
/* What the jump cache has for cpu->rip; NULL if it has nothing. */
const uint8_t *translate_known_code(struct soft_cpu *cpu);
/* The code to run at cpu->rip; NULL if there is none. link: the exit that led here, or NULL. */
const uint8_t *translate_find_code(struct soft_cpu *cpu, struct translate_link *link);

/* --- create.c, run.c --- */

/* Makes GS stand for cpu on this thread. False if the host refuses. */
bool translate_set_gs(const struct soft_cpu *cpu);
/* Nothing stands between one instruction and the next but where it is found. */
bool translate_goes_on(const struct soft_cpu *cpu);
/* What every way into a block that is not a link sees to; cpu->rip is where it begins. */
void translate_prepare_entry(struct soft_cpu *cpu);

/* --- C code that glue calls; it may leave by longjmp --- */

void translate_access(struct soft_cpu *cpu, const struct translate_site *site, uint64_t linear);
void translate_callout(struct soft_cpu *cpu, const struct translate_site *site, uint64_t unused);
void translate_single(struct soft_cpu *cpu, const struct translate_site *site, uint64_t unused);
void translate_raced(struct soft_cpu *cpu, const struct translate_site *site, uint64_t host);
void translate_load_x87(struct soft_cpu *cpu, const struct translate_site *site, uint64_t unused);

#endif
