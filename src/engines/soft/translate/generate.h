/*
 * Making one block's host code: the state of the work, and the steps that all instructions share.
 *
 * Registers while translated code runs: every guest register is in the host register of the same
 * number, but R10 and R11, which are scratch: their guest values are in cpu->gpr, and sometimes
 * also in the host's (`cached`). RSP is the guest's: nothing may touch the host's stack.
 *
 * Flags: `native`: EFLAGS holds the guest's; `saved`: cpu->arithmetic does. Neither: nobody wants
 * them before they are overwritten.
 *
 * Owner: translate_generate's frame. Thread: the vCPU.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TRANSLATE_GENERATE_H
#define TRAPEZE_ENGINES_SOFT_TRANSLATE_GENERATE_H

#include "engines/soft/translate/translator.h"

#define T0 10u
#define T1 11u

/* The arithmetic flags to AX and from it, as cpu->arithmetic has them; AH is LAHF's and SAHF's. */
#define LAHF_SETO 0x9f, 0x0f, 0x90, 0xc0
#define ADD_SAHF  0x04, 0x7f, 0x9e /* ADD AL, 7FH overflows when AL, the guest's OF, is 1 */

/* The place of a field of struct soft_cpu. */
#define GS_FIELD(field) emit_gs(offsetof(struct soft_cpu, field))
#define GS_REGISTER(n)  emit_gs(offsetof(struct soft_cpu, gpr) + 8 * (size_t)(n))

/* Code that is put behind the block's end, out of the way: what a rare branch leads to. */
enum stub_kind {
    STUB_ACCESS,        /* another page: T0 = linear address, then as STUB_SITE */
    STUB_RACED,         /* T0 = the address of `memory`, then as STUB_SITE */
    STUB_SITE,          /* T1 = site, then to `target` */
    STUB_LEAVE,         /* T1 = link, then to `target` */
    STUB_INDIRECT,      /* T0 = RIP: back to C */
    STUB_ANOTHER_PAGE,  /* gpr[SOFT_GPR_CODE] is moved, then through the link */
    STUB_LOAD_VECTORS,  /* the guest's vector registers are brought in, then to `resume` */
    STUB_POLL_AND_LEAVE /* saves flags, looks for attention, then through the link */
};

/* An address as the instruction names it: what it is made from. */
struct address {
    unsigned int base, index, scale; /* base: RIP means gpr[SOFT_GPR_CODE] */
    int32_t displacement;
    unsigned int size;    /* bytes that it is cut to */
    unsigned int segment; /* only FS and GS have a base */
    bool found;           /* it is in T0 already, and is not told by the other fields */
};

struct stub {
    enum stub_kind kind;
    uint8_t *branch; /* end of the branch that leads here, in the writable mapping */
    struct translate_site *site;
    struct translate_link *link;
    const uint8_t *target, *resume;
    int32_t pages;             /* to another page: how far, in bytes */
    struct address address;    /* STUB_ACCESS */
    struct emit_memory memory; /* STUB_RACED */
    bool native;               /* STUB_POLL_AND_LEAVE: flags are in EFLAGS */
    bool wide;                 /* 64-bit mode */
    bool reload;               /* STUB_INDIRECT: RIP is no longer in T0, but where T1 says */
};

#define STUBS_MAX         320
#define SITES_PENDING_MAX 8

/* An address of a group that has been found to be a multiple of size; 0: none. */
struct aligned_place {
    uint8_t size, low; /* low: see struct unit_grouping */
};

struct generate {
    struct soft_cpu *cpu;
    struct translator *translator;
    struct unit *unit;
    struct emitter emitter;
    const struct unit_instruction *at; /* the instruction being made */
    unsigned int index;                /* its place in the unit */
    bool native, saved;
    int producer;      /* the last instruction that made flags natively; -1: none of this block */
    bool operand_kept; /* … and left its memory operand's value in translate.flags_operand */
    struct translate_recipe recipe; /* of flags that are neither native nor saved */
    bool cached[2];                 /* host R10, R11 hold the guest's */
    bool polled;                    /* attention has been looked at on the way here */
    struct aligned_place aligned[TRANSLATE_GROUPS]; /* by group */
    bool vectors;         /* the guest's vector registers are known to be loaded */
    bool x87;             /* the x87 state is known to be in the host's registers */
    bool failed;          /* out of room somewhere */
    bool upper;           /* the code runs in the upper half of the address space */
    bool counts;          /* counters are wanted: count.c */
    unsigned int counted; /* instructions that are in cpu->instructions already */
    struct translate_block *block;
    struct translate_link *links;
    unsigned int link_count, links_max;
    struct translate_site *pending[SITES_PENDING_MAX]; /* to be told where the next one starts */
    unsigned int pending_count;
    struct stub stubs[STUBS_MAX];
    struct stub nowhere; /* for whoever gets none of these: the block has failed */
    unsigned int stub_count;
};

/* --- flags: generate_flags.c --- */

/* EFLAGS to cpu->arithmetic, and back; scratch: T0 or T1, which is taken for it. */
void generate_save_flags(struct generate *generate, unsigned int scratch);
void generate_restore_flags(struct generate *generate, unsigned int scratch);

/* It writes all of them, and reads none. */
bool generate_overwrites_flags(const struct unit_instruction *at);
/* Can something show flags that nobody wants, from an instruction on, before they are overwritten?
 */
bool generate_may_show_flags(const struct unit *unit, unsigned int from);

/* Before host code that destroys EFLAGS; wanted: the flags that must outlive it. */
void generate_clobber_flags(struct generate *generate, uint16_t wanted);
/* The same; scratch: T0 or T1, whichever may be used for it. */
void generate_clobber_flags_by(struct generate *generate, uint16_t wanted, unsigned int scratch);
/* The same at the instruction's beginning. */
void generate_clobber_flags_before(struct generate *generate);
/* Makes EFLAGS hold the guest's flags; scratch: T0 or T1, whichever is free. */
void generate_need_flags(struct generate *generate, unsigned int scratch);
/*
 * True if the current instruction, which has a memory operand, should leave its value in
 * translate.flags_operand, so that its flags need not be saved.
 */
bool generate_should_keep_operand(const struct generate *generate);
/* After the guest's instruction ran natively: sees to what it did to the flags. */
void generate_note_flags(struct generate *generate);

/* --- registers R10 and R11 --- */

void generate_fill(struct generate *generate, unsigned int reg); /* any other: nothing */
void generate_spill(struct generate *generate, unsigned int reg);
/* The same for those that the current instruction reads, or may have changed. */
void generate_fill_read(struct generate *generate);
void generate_spill_written(struct generate *generate);
/* Scratch is about to be overwritten. */
static inline void generate_scratch(struct generate *generate)
{
    generate->cached[0] = generate->cached[1] = false;
}

/* --- sites and stubs --- */

/* See translate_cache_place; and that of the code that is made next. */
uint32_t generate_place(const struct generate *generate, const void *address);
uint32_t generate_here(const struct generate *generate);
/* A site for the current instruction. */
struct translate_site *generate_site(struct generate *generate);
struct stub *generate_stub(struct generate *generate, enum stub_kind kind);
/* A conditional branch to a stub. */
struct stub *generate_stub_if(struct generate *generate, unsigned int condition,
                              enum stub_kind kind);

/* --- memory --- */

/* An access as an instruction wants it. */
struct access {
    unsigned int size; /* bytes */
    bool write;
    bool aligned;    /* it must be, or it is #GP(0) */
    bool alone;      /* on a miss the interpreter runs the whole instruction */
    bool spares_r10; /* R10 will hold another operand (R11 may not, too, then) */
    bool in_r10;     /* R10 is to hold the host's address */
};

/*
 * The host's memory operand for the ModRM memory operand, or for the stack at base + displacement.
 * It may go by T0, or if that is spared by T1; the other one is free. EFLAGS may have
 * been destroyed (translate_flags_before says what was saved). Whoever uses these must say so in
 * select.c's table, as groups.c relies on it.
 */
struct emit_memory generate_operand(struct generate *generate, const struct x86_instruction *in,
                                    const struct access *access);
struct emit_memory generate_stack(struct generate *generate, unsigned int base,
                                  int32_t displacement, const struct access *access);
/* The same for [reg] with a 64-bit address, for DS, ES or SS; T0 is the host's address. */
void generate_pointer(struct generate *generate, unsigned int reg, const struct access *access);
/* The same for the offset in T0; access->alone must be set. */
void generate_found_address(struct generate *generate, unsigned int segment,
                            const struct access *access);
/* T0 or T1, whichever the operand does not go by. */
unsigned int generate_free_scratch(struct emit_memory memory);

/* T0 = the offset that the ModRM memory operand names, without a segment's base. No flags change.
 */
void generate_effective_address(struct generate *generate, const struct x86_instruction *in);
/* For the stubs: T0 = an address that was checked in vain. */
void generate_linear_again(struct generate *generate, const struct address *address);

/*
 * After a store: has the page become code meanwhile? EFLAGS may go. memory must still name what was
 * stored to. after: the instruction is complete; within: something is still to be done.
 */
void generate_after_store(struct generate *generate, struct emit_memory memory, unsigned int size);
void generate_within_store(struct generate *generate, struct emit_memory memory, unsigned int size);

/* --- counters: count.c --- */

void generate_count_block(struct generate *generate);
/* The block's first `done` instructions have run; a site says how many of them are not counted. */
void generate_count_instructions(struct generate *generate, unsigned int done,
                                 unsigned int scratch);
/* These change EFLAGS. */
void generate_count_access(struct generate *generate);
void generate_count_jump(struct generate *generate);

/* --- exits --- */

/* A direct exit; condition < 0: always. target: relative to the page. */
void generate_exit(struct generate *generate, int condition, int64_t target);
/* To the RIP in T0. stack_undo: see struct translate_site. */
void generate_indirect_exit(struct generate *generate, int16_t stack_undo);
/* The instruction by the interpreter. */
void generate_callout(struct generate *generate, bool last);

#endif
