/*
 * PCIDs on the real software CPU: what of an address space is kept, and what must go.
 *
 * Source: Intel SDM volume 3, "Process-Context Identifiers (PCIDs)", "Operations that Invalidate
 *         TLBs and Paging-Structure Caches"; volume 2, "INVPCID—Invalidate Process-Context
 *         Identifier".
 *
 * A guest that does what it is told: it stops at a port, the test names a routine and its
 * arguments, the guest calls it. So the test tells a story one instruction after another, and
 * changes page tables in between. What the manual wants flushed is looked at through the guest;
 * that other things are kept, which it allows, through the engine's counters.
 */
#include "boot/cpu_state.h"
#include "check.h"
#include "engines/soft/cpu.h"
#include "engines/soft/soft.h"
#include "engines/soft/tlb_set.h"
#include "soft_guest.h"
#include "soft_machine.h"
#include "x86/registers.h"

/* --- the guest --- */

#define MAILBOX 0x300000 /* routine, two arguments, result, INVPCID descriptor, inner routine */

GUEST(pcid, "1: out %eax, $0x80\n"
            "mov 0x300008, %rdi\nmov 0x300010, %rsi\n"
            "call *0x300000\n"
            "mov %rax, 0x300018\n"
            "jmp 1b\n"
            "guest_pcid_load: mov (%rdi), %rax\nret\n"
            "guest_pcid_pop: mov %rsp, %rdx\nmov %rdi, %rsp\npop %rax\nmov %rdx, %rsp\nret\n"
            /*
             * RSP stays in one page while that's entry, at *0x300030, becomes RSI; in between the
             * page is met twice by loads, and twice by stores, each by code of its own.
             */
            "guest_pcid_remap: mov 0x300030, %r8\nmov %rsp, %rdx\nmov %rdi, %rsp\n"
            "mov (%rsp), %rcx\njmp 1f\n1: mov (%rsp), %rcx\njmp 1f\n"
            "1: mov %rcx, -8(%rsp)\njmp 1f\n1: mov %rcx, -8(%rsp)\njmp 1f\n"
            "1: mov %rsi, (%r8)\ntest %r9d, %r9d\njz 2f\n"
            "invlpg (%rdi)\njmp 3f\n"
            "2: mov %cr3, %rcx\nmov %rcx, %cr3\n"
            "3: xor $1, %r9d\nmov (%rsp), %rax\njmp 1f\n1: movq $77, -8(%rsp)\n"
            "mov %rdx, %rsp\nret\n"
            "guest_pcid_store: mov %rsi, (%rdi)\nret\n"
            "guest_pcid_run: jmp *%rdi\n"
            "guest_pcid_cr3: mov %rdi, %cr3\nret\n"
            "guest_pcid_cr4: mov %rdi, %cr4\nret\n"
            "guest_pcid_invlpg: invlpg (%rdi)\nret\n"
            "guest_pcid_invpcid: invpcid 0x300020, %rdi\nret\n"
            /* with EFLAGS.AC set */
            "guest_pcid_ac: pushfq\norl $0x40000, (%rsp)\npopfq\n"
            "call *0x300030\n"
            "pushfq\nandl $~0x40000, (%rsp)\npopfq\nret\n"
            /* at level 3, on the same stack */
            "guest_pcid_user: lea 2f(%rip), %rcx\nmov $2, %r11d\nsysretq\n"
            "2: call *0x300030\nsyscall\n"
            "guest_pcid_back: ret\n");

extern const uint8_t guest_pcid_load[], guest_pcid_pop[], guest_pcid_remap[], guest_pcid_store[],
    guest_pcid_run[], guest_pcid_cr3[], guest_pcid_cr4[], guest_pcid_invlpg[], guest_pcid_invpcid[],
    guest_pcid_ac[], guest_pcid_user[], guest_pcid_back[];

/*
 * Address spaces: each maps the first 4 MByte to themselves, and pages of its own into a window of
 * the lower half, which appears in the upper half once more.
 */
#define SPACES      16u
#define TABLES      UINT64_C(0x310000)
#define SPACE_BYTES UINT64_C(0x5000) /* PML4, page directory pointers, two directories, a table */
#define FRAMES      UINT64_C(0x380000)
#define PAGE        UINT64_C(0x1000)
#define ENTRY       UINT64_C(0x67) /* present, writable, user, accessed, dirty */
#define LARGE       UINT64_C(0x80)
#define GLOBAL      UINT64_C(0x100)

static const uint64_t windows[] = {UINT64_C(0x40000000), UINT64_C(0xffffff8040000000)};

enum { LOWER, UPPER, HALVES };
enum { AS_KERNEL, AS_KERNEL_AC, AS_USER, LEVELS };

struct world {
    struct soft_guest guest;
    unsigned int space; /* the current one */
};

static uint64_t routine_address(const uint8_t *routine)
{
    return SOFT_GUEST_CODE + (uint64_t)(routine - guest_pcid);
}

static const struct soft_cpu *cpu_of(const struct world *world)
{
    return (const void *)world->guest.vcpu; /* it begins with that (engine.c) */
}

static const struct soft_tlb_statistics *counters(const struct world *world)
{
    return &cpu_of(world)->tlb_sets->statistics;
}

/* Lets the guest do one thing and returns what it has in RAX afterwards. */
static uint64_t command(struct world *world, const uint8_t *routine, uint64_t a, uint64_t b)
{
    struct soft_guest *guest = &world->guest;
    struct error error;
    soft_guest_write(guest, MAILBOX, routine_address(routine), 8);
    soft_guest_write(guest, MAILBOX + 8, a, 8);
    soft_guest_write(guest, MAILBOX + 16, b, 8);
    do {
        if (soft_engine.run(guest->vcpu, &guest->exit, &error) != 0) {
            break;
        }
    } while (guest->exit.reason == EXIT_KICKED);
    if (!CHECK_EQUAL(guest->exit.reason, EXIT_PIO)) {
        return UINT64_MAX;
    }
    return soft_guest_read(guest, MAILBOX + 24, 8);
}

static uint64_t command_as(struct world *world, unsigned int level, const uint8_t *routine,
                           uint64_t a, uint64_t b)
{
    if (level == AS_KERNEL) {
        return command(world, routine, a, b);
    }
    soft_guest_write(&world->guest, MAILBOX + 48, routine_address(routine), 8);
    return command(world, level == AS_USER ? guest_pcid_user : guest_pcid_ac, a, b);
}

static uint64_t pcid_of(unsigned int space)
{
    return space * UINT64_C(0x111);
}

static uint64_t tables_of(unsigned int space)
{
    return TABLES + space * SPACE_BYTES;
}

static void go(struct world *world, unsigned int space, bool keep)
{
    world->space = space;
    command(world, guest_pcid_cr3,
            tables_of(space) | pcid_of(space) | (keep ? X86_CR3_NO_FLUSH : 0), 0);
}

static void invpcid(struct world *world, uint64_t type, uint64_t pcid, uint64_t linear)
{
    soft_guest_write(&world->guest, MAILBOX + 32, pcid, 8);
    soft_guest_write(&world->guest, MAILBOX + 40, linear, 8);
    command(world, guest_pcid_invpcid, type, 0);
}

/* A frame begins with code that returns its number, which stands at 0x800, too. */
static void map(struct world *world, unsigned int space, unsigned int page, unsigned int frame,
                uint64_t flags)
{
    soft_guest_write(&world->guest, tables_of(space) + 4 * PAGE + 8 * page,
                     (FRAMES + frame * PAGE) | ENTRY | flags, 8);
}

static void fill_frame(struct world *world, unsigned int frame)
{
    uint64_t at = FRAMES + frame * PAGE;
    soft_guest_write(&world->guest, at, 0xb8, 1); /* mov eax, frame; ret */
    soft_guest_write(&world->guest, at + 1, frame, 4);
    soft_guest_write(&world->guest, at + 5, 0xc3, 1);
    soft_guest_write(&world->guest, at + 0x800, frame, 8);
}

static void make_space(struct world *world, unsigned int space)
{
    uint64_t at = tables_of(space);
    struct soft_guest *guest = &world->guest;
    soft_guest_write(guest, at, (at + PAGE) | ENTRY, 8);
    soft_guest_write(guest, at + 511 * 8, (at + PAGE) | ENTRY, 8);
    soft_guest_write(guest, at + PAGE, (at + 2 * PAGE) | ENTRY, 8);
    soft_guest_write(guest, at + PAGE + 8, (at + 3 * PAGE) | ENTRY, 8);
    soft_guest_write(guest, at + 2 * PAGE, ENTRY | LARGE, 8);
    soft_guest_write(guest, at + 2 * PAGE + 8, (UINT64_C(1) << 21) | ENTRY | LARGE, 8);
    soft_guest_write(guest, at + 3 * PAGE, (at + 4 * PAGE) | ENTRY, 8);
    for (unsigned int page = 0; page < 4; page++) {
        map(world, space, page, space, 0);
    }
}

/* In space 0. Everything in the window of space n is frame n. */
static bool world_open(struct world *world, uint64_t cr4)
{
    struct x86_state *state = &world->guest.state;
    world->space = 0;
    if (!soft_guest_open(&world->guest, SOFT_GUEST_64)) {
        return false;
    }
    for (unsigned int i = 0; i < SPACES; i++) {
        make_space(world, i);
        fill_frame(world, i);
        fill_frame(world, SPACES + i);
    }
    soft_guest_load(&world->guest, guest_pcid, GUEST_LENGTH(pcid));
    state->cr3 = tables_of(0);
    state->cr4 |= cr4;
    state->efer |= X86_EFER_SCE;
    state->msr.star = (uint64_t)BOOT_SELECTOR_CODE << 32 | UINT64_C(0x20) << 48;
    state->msr.lstar = routine_address(guest_pcid_back);
    return CHECK_EQUAL(soft_guest_run(&world->guest), EXIT_PIO);
}

/* What the page is: to loads (even) or to fetches (odd). */
enum { BY_LOAD, BY_FETCH, BY_POP, WAYS };

static uint64_t look(struct world *world, unsigned int level, uint64_t page, unsigned int way)
{
    if (way == BY_FETCH) {
        return command_as(world, level, guest_pcid_run, page, 0);
    }
    const uint8_t *routine = way == BY_LOAD ? guest_pcid_load : guest_pcid_pop;
    return command_as(world, level, routine, page + 0x800, 0);
}

/* --- switches --- */

/* Each address space shows its own pages; one whose entries are kept needs no new ones. */
static void test_switches(void)
{
    struct world world;
    if (!world_open(&world, X86_CR4_PCIDE | X86_CR4_PGE)) {
        return;
    }
    struct soft_tlb_statistics before = {.switches = 0};
    uint64_t generations[4] = {0};
    for (unsigned int round = 0; round < 4; round++) {
        if (round == 1) {
            before = *counters(&world);
        }
        for (unsigned int space = 0; space < 4; space++) {
            go(&world, space, round > 0);
            if (round > 0) {
                CHECK_EQUAL(cpu_of(&world)->code_generation[0], generations[space]);
            }
            generations[space] = cpu_of(&world)->code_generation[0];
            for (unsigned int i = 0; i < LEVELS * HALVES * WAYS; i++) {
                uint64_t page = windows[i % HALVES] + i % HALVES * PAGE; /* not in one's place */
                CHECK_EQUAL(look(&world, i / HALVES % LEVELS, page, i / HALVES / LEVELS), space);
            }
        }
    }
    const struct soft_tlb_statistics *after = counters(&world);
    CHECK_EQUAL(after->fills[SOFT_REGIME_USER], before.fills[SOFT_REGIME_USER]);
    CHECK_EQUAL(after->fills[SOFT_REGIME_KERNEL_AC], before.fills[SOFT_REGIME_KERNEL_AC]);
    CHECK_EQUAL(after->switches - before.switches, 12);
    CHECK_EQUAL(after->returns - before.returns, 12);
    CHECK_EQUAL(after->recycled, 0);
    soft_guest_close(&world.guest);
}

/* More PCIDs than there are sets, kept as far as that goes, and flushed while they have none. */
static void test_many(void)
{
    struct world world;
    if (!world_open(&world, X86_CR4_PCIDE)) {
        return;
    }
    for (unsigned int round = 0; round < 3; round++) {
        for (unsigned int space = 0; space < SPACES; space++) {
            go(&world, space, round > 0);
            for (unsigned int i = 0; i < LEVELS * WAYS; i++) {
                uint64_t expected = space + (round == 2 ? SPACES : 0);
                CHECK_EQUAL(look(&world, i % LEVELS, windows[round & 1], i / LEVELS), expected);
            }
        }
        CHECK(counters(&world)->recycled >= SPACES - SOFT_TLB_SETS);
        for (unsigned int space = 0; round == 1 && space < SPACES; space++) {
            map(&world, space, 0, SPACES + space, 0);
            invpcid(&world, 1, pcid_of(space), 0);
        }
    }
    soft_guest_close(&world.guest);
}

/* The set that was left longest ago goes first: seven others that come and go leave one alone. */
static void test_least_recently_used(void)
{
    struct world world;
    if (!world_open(&world, X86_CR4_PCIDE)) {
        return;
    }
    go(&world, 0, false);
    look(&world, AS_USER, windows[LOWER], BY_LOAD);
    uint64_t recycled = counters(&world)->recycled;
    for (unsigned int space = 1; space < SPACES; space++) {
        go(&world, space, false);
        look(&world, AS_USER, windows[LOWER], BY_LOAD);
        go(&world, 0, true);
        uint64_t fills = counters(&world)->fills[SOFT_REGIME_USER];
        CHECK_EQUAL(look(&world, AS_USER, windows[LOWER], BY_LOAD), 0);
        CHECK_EQUAL(counters(&world)->fills[SOFT_REGIME_USER], fills);
    }
    CHECK_EQUAL(counters(&world)->recycled - recycled, SPACES - SOFT_TLB_SETS);
    soft_guest_close(&world.guest);
}

/* --- what must be flushed --- */

static void by_cr3(struct world *world, uint64_t page)
{
    (void)page;
    go(world, world->space, false);
}

static void by_cr3_on_return(struct world *world, uint64_t page)
{
    (void)page;
    go(world, 1, true);
    go(world, 0, false);
}

static void by_invlpg(struct world *world, uint64_t page)
{
    command(world, guest_pcid_invlpg, page + 0x123, 0);
}

static void by_invpcid(struct world *world, uint64_t type, uint64_t page)
{
    bool names = type < 2; /* a PCID; and with type 0 an address */
    invpcid(world, type, names ? pcid_of(0) : 0, type == 0 ? page + 0x123 : 0);
}

static void by_invpcid_0(struct world *world, uint64_t page)
{
    by_invpcid(world, 0, page);
}

static void by_invpcid_1(struct world *world, uint64_t page)
{
    by_invpcid(world, 1, page);
}

static void by_invpcid_2(struct world *world, uint64_t page)
{
    by_invpcid(world, 2, page);
}

static void by_invpcid_3(struct world *world, uint64_t page)
{
    by_invpcid(world, 3, page);
}

static void by_pge(struct world *world, uint64_t page)
{
    (void)page;
    uint64_t cr4 = cpu_of(world)->cr4;
    command(world, guest_pcid_cr4, cr4 ^ X86_CR4_PGE, 0);
    command(world, guest_pcid_cr4, cr4, 0);
}

/* "Changes the value of CR4.PCIDE from 1 to 0." It is set again with PCID 0 only. */
static void by_pcide(struct world *world, uint64_t page)
{
    (void)page;
    uint64_t cr4 = cpu_of(world)->cr4;
    command(world, guest_pcid_cr4, cr4 & ~X86_CR4_PCIDE, 0);
    command(world, guest_pcid_cr3, tables_of(0), 0);
    command(world, guest_pcid_cr4, cr4, 0);
    world->space = 0;
}

static const struct flush {
    const char *name;
    void (*flush)(struct world *world, uint64_t page);
    bool elsewhere; /* also while another PCID is current */
    bool global;    /* also what is global, and then for all PCIDs */
} flushes[] = {
    {"MOV to CR3", by_cr3, false, false},
    {"MOV to CR3 on return", by_cr3_on_return, false, false},
    {"INVLPG", by_invlpg, false, true},
    {"INVPCID 0", by_invpcid_0, true, false},
    {"INVPCID 1", by_invpcid_1, true, false},
    {"INVPCID 2", by_invpcid_2, true, true},
    {"INVPCID 3", by_invpcid_3, true, false},
    {"CR4.PGE", by_pge, true, true},
    {"CR4.PCIDE", by_pcide, true, true},
};

/* Space 0's second page is flushed, from there or from space 1; then it must be the new one. */
static bool is_flushed(struct world *world, const struct flush *flush, unsigned int what,
                       uint64_t flags)
{
    unsigned int level = what % LEVELS, way = what / LEVELS % WAYS;
    uint64_t page = windows[what / LEVELS / WAYS % HALVES] + PAGE;
    bool elsewhere = what / LEVELS / WAYS / HALVES != 0;
    for (unsigned int space = 0; space < 2; space++) {
        map(world, space, 1, 2, flags);
        go(world, space, false);
    }
    by_pge(world, 0);
    go(world, 1, true);
    bool good = look(world, level, page, way) == 2;
    go(world, 0, true);
    good = look(world, level, page, way) == 2 && good;
    if (elsewhere) {
        go(world, 1, true);
    }
    map(world, 0, 1, 3, flags);
    map(world, 1, 1, flags != 0 ? 3 : 2, flags);
    flush->flush(world, page);
    if (elsewhere) {
        go(world, 0, true);
    }
    good = look(world, level, page, way) == 3 && good;
    go(world, 1, true);
    return look(world, level, page, way) == (flags != 0 ? 3 : 2) && good;
}

static void test_flushes(void)
{
    struct world world;
    if (!world_open(&world, X86_CR4_PCIDE | X86_CR4_PGE)) {
        return;
    }
    for (unsigned int i = 0; i < sizeof flushes / sizeof flushes[0]; i++) {
        const struct flush *flush = &flushes[i];
        for (unsigned int what = 0; what < LEVELS * WAYS * HALVES * 2; what++) {
            bool elsewhere = what / LEVELS / WAYS / HALVES != 0;
            if ((!elsewhere || flush->elsewhere) && !CHECK(is_flushed(&world, flush, what, 0))) {
                fprintf(stderr, "    %s, case %u\n", flush->name, what);
            }
            if (flush->global && !CHECK(is_flushed(&world, flush, what, GLOBAL))) {
                fprintf(stderr, "    %s, case %u, global\n", flush->name, what);
            }
        }
    }
    soft_guest_close(&world.guest);
}

/* A large page goes as a whole, whichever of its addresses is named and whichever PCID is current.
 */
static void test_large_page(void)
{
    const uint64_t piece = UINT64_C(0x40200000) + 0x180000;
    for (unsigned int elsewhere = 0; elsewhere < 2; elsewhere++) {
        struct world world;
        if (!world_open(&world, X86_CR4_PCIDE)) {
            return;
        }
        uint64_t entry = tables_of(0) + 3 * PAGE + 8;
        soft_guest_write(&world.guest, 0x380800, 1, 8);
        soft_guest_write(&world.guest, 0x180800, 2, 8);
        soft_guest_write(&world.guest, entry, (UINT64_C(1) << 21) | ENTRY | LARGE, 8);
        CHECK_EQUAL(look(&world, AS_USER, piece, BY_LOAD), 1);
        soft_guest_write(&world.guest, entry, ENTRY | LARGE, 8);
        if (elsewhere != 0) {
            go(&world, 1, false);
        }
        invpcid(&world, 0, pcid_of(0), UINT64_C(0x40200000));
        go(&world, 0, true);
        CHECK_EQUAL(look(&world, AS_USER, piece, BY_LOAD), 2);
        soft_guest_close(&world.guest);
    }
}

/* --- what need not be flushed, and is not --- */

/* How many entries a look at space 0's pages costs after something was done in space 1. */
static uint64_t cost_after(struct world *world, void (*flush)(struct world *world, uint64_t page),
                           uint64_t page)
{
    go(world, 0, true);
    look(world, AS_USER, windows[LOWER], BY_LOAD);
    look(world, AS_USER, windows[LOWER] + 2 * PAGE, BY_LOAD);
    go(world, 1, true);
    flush(world, page);
    go(world, 0, true);
    uint64_t fills = counters(world)->fills[SOFT_REGIME_USER];
    look(world, AS_USER, windows[LOWER], BY_LOAD);
    look(world, AS_USER, windows[LOWER] + 2 * PAGE, BY_LOAD);
    return counters(world)->fills[SOFT_REGIME_USER] - fills;
}

static void by_invpcid_1_of_other(struct world *world, uint64_t page)
{
    (void)page;
    invpcid(world, 1, pcid_of(1), 0);
}

static void test_kept(void)
{
    struct world world;
    if (!world_open(&world, X86_CR4_PCIDE | X86_CR4_PGE)) {
        return;
    }
    CHECK_EQUAL(cost_after(&world, by_cr3, 0), 0);
    CHECK_EQUAL(cost_after(&world, by_invlpg, windows[LOWER]), 0);
    CHECK_EQUAL(cost_after(&world, by_invpcid_1_of_other, 0), 0);
    CHECK_EQUAL(cost_after(&world, by_invpcid_0, windows[LOWER]), 1);
    CHECK(cost_after(&world, by_invpcid_1, 0) >= 2);
    CHECK(cost_after(&world, by_invpcid_3, 0) >= 2);
    map(&world, 0, 0, 0, GLOBAL);
    map(&world, 0, 2, 0, GLOBAL);
    invpcid(&world, 2, 0, 0);
    look(&world, AS_USER, windows[LOWER], BY_FETCH); /* the pages that all looks need */
    uint64_t local = cost_after(&world, by_invpcid_1, 0);
    CHECK_EQUAL(cost_after(&world, by_invpcid_3, 0), local);
    CHECK_EQUAL(cost_after(&world, by_invlpg, windows[LOWER]), 1);
    CHECK_EQUAL(cost_after(&world, by_invpcid_2, 0), local + 2);
    soft_guest_close(&world.guest);
}

/* With CR4.PCIDE = 0 every MOV to CR3 flushes. */
static void test_without_pcids(void)
{
    struct world world;
    if (!world_open(&world, X86_CR4_PGE)) {
        return;
    }
    for (unsigned int i = 0; i < LEVELS * WAYS * HALVES; i++) {
        uint64_t page = windows[i / LEVELS / WAYS];
        for (unsigned int frame = 4; frame < 6; frame++) {
            map(&world, 0, 0, frame, 0);
            command(&world, guest_pcid_cr3, tables_of(0), 0);
            CHECK_EQUAL(look(&world, i % LEVELS, page, i / LEVELS % WAYS), frame);
        }
    }
    CHECK_EQUAL(counters(&world)->switches, 0);
    soft_guest_close(&world.guest);
}

/* --- code --- */

/* The first page, frame 8: call the second; add eax, 0x100; ret */
static void make_caller(struct world *world)
{
    uint64_t frame = FRAMES + 8 * PAGE;
    soft_guest_write(&world->guest, frame, UINT64_C(0x05) << 40 | UINT64_C(0xffbe8), 8);
    soft_guest_write(&world->guest, frame + 6, UINT64_C(0xc300000100), 5);
}

/* The first page is common to two spaces; it calls into the second, which is not. */
static void test_branch_into_own_page(void)
{
    for (unsigned int i = 0; i < LEVELS * HALVES * 2; i++) {
        struct world world;
        if (!world_open(&world, X86_CR4_PCIDE | X86_CR4_PGE)) {
            return;
        }
        uint64_t page = windows[i / LEVELS % HALVES];
        make_caller(&world);
        for (unsigned int space = 0; space < 2; space++) {
            map(&world, space, 0, 8, i / LEVELS / HALVES != 0 ? GLOBAL : 0);
        }
        for (unsigned int round = 0; round < 12; round++) {
            go(&world, round & 1, true);
            for (unsigned int again = 0; again < 3; again++) {
                CHECK_EQUAL(look(&world, i % LEVELS, page, BY_FETCH), 0x100 + (round & 1));
            }
        }
        soft_guest_close(&world.guest);
    }
}

/* A store by one PCID into code that another has executed, through a tag that is older than that.
 */
static void test_store_into_code(void)
{
    for (unsigned int level = 0; level < LEVELS; level++) {
        struct world world;
        if (!world_open(&world, X86_CR4_PCIDE)) {
            return;
        }
        uint64_t page = windows[LOWER];
        map(&world, 0, 0, 9, 0);
        map(&world, 1, 0, 9, 0);
        command_as(&world, level, guest_pcid_store, page + 0x900, 1);
        go(&world, 1, false);
        CHECK_EQUAL(look(&world, AS_USER, page, BY_FETCH), 9);
        for (uint64_t value = 0x50; value < 0x53; value++) {
            go(&world, 0, true);
            command_as(&world, level, guest_pcid_store, page,
                       UINT64_C(0xc300000000b8) | value << 8);
            if (value % 2 != 0) {
                CHECK_EQUAL(look(&world, AS_USER, page, BY_FETCH), value);
            }
            go(&world, 1, true);
            CHECK_EQUAL(look(&world, AS_USER, page, BY_FETCH), value);
        }
        soft_guest_close(&world.guest);
    }
}

/* Links hold 32 bits of their generation; the numbers go on beyond. */
static void test_generations_wrap(void)
{
    struct world world;
    if (!world_open(&world, X86_CR4_PCIDE | X86_CR4_PGE)) {
        return;
    }
    struct soft_cpu *cpu = (void *)world.guest.vcpu;
    for (uint64_t start = 0; start < 8; start++) {
        const uint64_t next = (start + 2) << 32; /* round; it only counts up */
        cpu->last_code_generation = next - 1 - start;
        for (unsigned int round = 0; round < 12; round++) {
            go(&world, round % 3, round % 2 != 0);
            uint64_t page = windows[round / 3 % 2] + round % 3 * PAGE;
            CHECK_EQUAL(look(&world, AS_USER, page, BY_FETCH), round % 3);
            CHECK(cpu->code_generation[0] != cpu->code_generation[1]);
        }
        CHECK(cpu->last_code_generation > next && cpu->last_code_generation < next + 64);
    }
    soft_guest_close(&world.guest);
}

/* A link that was made under a number does not hold under one that has the same 32 bits. */
static void test_generation_of_link(void)
{
    struct world world;
    if (!world_open(&world, X86_CR4_PCIDE)) {
        return;
    }
    struct soft_cpu *cpu = (void *)world.guest.vcpu;
    make_caller(&world);
    map(&world, 0, 0, 8, 0);
    go(&world, 0, false);
    CHECK_EQUAL(look(&world, AS_USER, windows[LOWER], BY_FETCH), 0x100);
    uint32_t generation = (uint32_t)cpu->code_generation[0];
    cpu->last_code_generation = UINT32_MAX - 1;
    go(&world, 0, false);
    map(&world, 0, 1, 7, 0);
    cpu->last_code_generation = (UINT64_C(1) << 32) + generation - 1;
    go(&world, 0, false);
    CHECK_EQUAL((uint32_t)cpu->code_generation[0], generation);
    CHECK_EQUAL(look(&world, AS_USER, windows[LOWER], BY_FETCH), 0x107);
    soft_guest_close(&world.guest);
}

/* When all blocks are dropped, what another PCID remembers of them is gone, too. */
static void test_all_code_dropped(void)
{
    struct world world;
    if (!world_open(&world, X86_CR4_PCIDE)) {
        return;
    }
    struct soft_cpu *cpu = (void *)world.guest.vcpu;
    const unsigned int frame = 20;
    for (uint64_t i = 0; i < 256; i++) { /* mov eax, i; ret */
        uint64_t code = UINT64_C(0xc300000000b8) | i << 8;
        soft_guest_write(&world.guest, FRAMES + frame * PAGE + i * 16, code, 8);
    }
    map(&world, 0, 0, frame, 0);
    go(&world, 1, false);
    CHECK_EQUAL(look(&world, AS_USER, windows[LOWER] + 3 * PAGE, BY_FETCH), 1);
    go(&world, 0, false);
    cpu->last_code_generation = UINT32_MAX;
    go(&world, 0, false);
    for (uint64_t i = 0; i < 256; i++) { /* over the memory of all blocks that were dropped */
        CHECK_EQUAL(look(&world, AS_USER, windows[LOWER] + i * 16, BY_FETCH), i);
    }
    go(&world, 1, true);
    CHECK_EQUAL(look(&world, AS_USER, windows[LOWER] + 3 * PAGE, BY_FETCH), 1);
    soft_guest_close(&world.guest);
}

/* --- code in large pages --- */

#define LARGE_WINDOW                                                                               \
    UINT64_C(0x200000)                 /* behind the window: a page of 2 MByte in spaces 0 and 1   \
                                        */
#define LARGE_PIECE UINT64_C(0x180000) /* where in it code runs */

static void map_large(struct world *world, uint64_t frame, uint64_t flags)
{
    for (unsigned int space = 0; space < 2; space++) {
        soft_guest_write(&world->guest, tables_of(space) + 3 * PAGE + 8,
                         frame | ENTRY | LARGE | flags, 8);
    }
}

/* How the spaces are gone through, between running code of a large page and its remapping. */
enum large_story { STAYS, COMES_BACK, FLUSHED_FROM_ANOTHER, GOES, LARGE_STORIES };

/* "INVLPG—Invalidate TLB Entries": of a large page any address will do. */
static void check_large_code(enum large_story story, unsigned int level, unsigned int half,
                             uint64_t global)
{
    struct world world;
    uint64_t base = windows[half] + LARGE_WINDOW, piece = base + LARGE_PIECE;
    bool comes_again = story == FLUSHED_FROM_ANOTHER || (story == GOES && global == 0);
    if (!world_open(&world, X86_CR4_PCIDE | X86_CR4_PGE)) {
        return;
    }
    soft_guest_write(&world.guest, LARGE_WINDOW + LARGE_PIECE, UINT64_C(0xc300000001b8), 8);
    soft_guest_write(&world.guest, LARGE_PIECE, UINT64_C(0xc300000002b8), 8);
    map_large(&world, LARGE_WINDOW, global);
    go(&world, 1, false);
    go(&world, 0, false);
    CHECK_EQUAL(look(&world, level, piece, BY_FETCH), 1);
    CHECK_EQUAL(look(&world, level, piece, BY_FETCH), 1);
    if (story != STAYS) {
        go(&world, 1, true);
    }
    if (story == COMES_BACK) {
        go(&world, 0, true);
    }
    map_large(&world, 0, global);
    if (story == FLUSHED_FROM_ANOTHER) {
        invpcid(&world, 0, pcid_of(0), base + 5 * PAGE);
    } else {
        command(&world, guest_pcid_invlpg, base + 5 * PAGE, 0);
    }
    if (comes_again) {
        go(&world, 0, story == FLUSHED_FROM_ANOTHER);
    }
    CHECK_EQUAL(look(&world, level, piece, BY_FETCH), 2);
    soft_guest_close(&world.guest);
}

static void test_large_code(void)
{
    for (unsigned int i = 0; i < LARGE_STORIES * LEVELS * HALVES; i++) {
        enum large_story story = (enum large_story)(i / LEVELS / HALVES);
        check_large_code(story, i % LEVELS, i / LEVELS % HALVES, 0);
        if (story != FLUSHED_FROM_ANOTHER) { /* INVPCID of an address spares global pages */
            check_large_code(story, i % LEVELS, i / LEVELS % HALVES, GLOBAL);
        }
    }
}

/*
 * A call by way of the stack whose displacement is in the next page, which changes; RSP is so near
 * to its page's end that the two accesses can't share a check.
 */
static void test_call_across(void)
{
    struct world world;
    if (!world_open(&world, 0)) {
        return;
    }
    struct soft_guest *guest = &world.guest;
    uint64_t targets = 0x398000, rsp = cpu_of(&world)->gpr[X86_RSP] - 8;
    soft_guest_write(guest, FRAMES + 0xffd, 0x2454ff, 3); /* call *8(%rsp), or *16(%rsp) */
    for (unsigned int i = 0; i < 2; i++) {
        soft_guest_write(guest, FRAMES + (20 + i) * PAGE, 0xc308 + 8 * i, 2);
        soft_guest_write(guest, targets + i * PAGE, UINT64_C(0xc300000001b8) + (i << 8), 8);
        soft_guest_write(guest, rsp + 8 * (i + 1), targets + i * PAGE, 8);
    }
    for (unsigned int i = 0; i < 6; i++) {
        map(&world, 0, 1, 20 + i % 2, 0);
        command(&world, guest_pcid_invlpg, windows[LOWER] + PAGE, 0);
        CHECK_EQUAL(command(&world, guest_pcid_run, windows[LOWER] + 0xffd, 0), 1 + i % 2);
    }
    soft_guest_close(guest);
}

/* What is on the stack is looked for where its page is now: loads and stores. */
static void test_stack_remapped(void)
{
    struct world world;
    if (!world_open(&world, 0)) {
        return;
    }
    for (unsigned int i = 0; i < 8; i++) {
        unsigned int before = 2 + 2 * i, after = before + 1;
        map(&world, 0, 1, before, 0);
        command(&world, guest_pcid_invlpg, windows[LOWER] + PAGE, 0);
        soft_guest_write(&world.guest, MAILBOX + 0x30, tables_of(0) + 4 * PAGE + 8, 8);
        uint64_t entry = (FRAMES + after * PAGE) | ENTRY;
        CHECK_EQUAL(command(&world, guest_pcid_remap, windows[LOWER] + PAGE + 0x800, entry), after);
        CHECK_EQUAL(soft_guest_read(&world.guest, FRAMES + before * PAGE + 0x7f8, 8), before);
        CHECK_EQUAL(soft_guest_read(&world.guest, FRAMES + after * PAGE + 0x7f8, 8), 77);
    }
    soft_guest_close(&world.guest);
}

int main(void)
{
    test_stack_remapped();
    test_large_code();
    test_call_across();
    test_switches();
    test_many();
    test_least_recently_used();
    test_flushes();
    test_large_page();
    test_kept();
    test_without_pcids();
    test_branch_into_own_page();
    test_store_into_code();
    test_generations_wrap();
    test_generation_of_link();
    test_all_code_dropped();
    return check_summary();
}
