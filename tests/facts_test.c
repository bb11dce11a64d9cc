/* Registers and flags of an instruction: by hand, against the host's processor, against Zydis. */
#include "x86/decode/facts.h"

#include <cpuid.h>
#include <stdlib.h>
#include <string.h>

#ifdef TRAPEZE_HAVE_ZYDIS
#include <Zydis/Zydis.h>
#endif

#include "check.h"
#include "soft_native.h"
#include "x86/registers.h"

#define RANDOM_CASES    1200000
#define HOST_CASES      400000
#define DIFFERENCES_MAX 20

#define BIT(number) (1u << (number))
#define RAX         BIT(X86_RAX)
#define RCX         BIT(X86_RCX)
#define RDX         BIT(X86_RDX)
#define RBX         BIT(X86_RBX)
#define RSP         BIT(X86_RSP)
#define RBP         BIT(X86_RBP)
#define RSI         BIT(X86_RSI)
#define RDI         BIT(X86_RDI)
#define ALL         X86_FLAGS_ARITHMETIC

/* --- by hand ---------------------------------------------------------------------------------- */

static struct x86_facts facts_of(enum x86_decode_mode mode, const char *hex)
{
    struct x86_instruction in;
    struct x86_facts facts = {0};
    uint8_t bytes[X86_INSTRUCTION_MAX];
    size_t n = 0;

    for (const char *at = hex; *at != '\0' && n < sizeof(bytes); n++) {
        char *end;
        bytes[n] = (uint8_t)strtoul(at, &end, 16);
        at = end;
    }
    enum x86_decode_result result = x86_decode(mode, bytes, n, &in);
    if (CHECK_EQUAL(result, X86_DECODE_OK) && CHECK_EQUAL(in.length, n)) {
        x86_instruction_facts(&in, mode, &facts);
    } else {
        fprintf(stderr, "    %s\n", hex);
    }
    return facts;
}

struct expectation {
    enum x86_decode_mode mode;
    const char *hex;
    uint32_t reads, writes;
    uint64_t flags_read, flags_written, flags_changed;
};

static void check_expectation(const struct expectation *expected)
{
    struct x86_facts facts = facts_of(expected->mode, expected->hex);
    bool good = CHECK(facts.known);

    good = CHECK_EQUAL(facts.reads, expected->reads) && good;
    good = CHECK_EQUAL(facts.writes, expected->writes) && good;
    good = CHECK_EQUAL(facts.flags_read, expected->flags_read) && good;
    good = CHECK_EQUAL(facts.flags_written, expected->flags_written) && good;
    good = CHECK_EQUAL(facts.flags_changed, expected->flags_changed) && good;
    if (!good) {
        fprintf(stderr, "    %s\n", expected->hex);
    }
}

static void test_registers(void)
{
    static const struct expectation expectations[] = {
        {X86_DECODE_64, "48 01 d8", RAX | RBX, RAX, 0, ALL, ALL},          /* add rax, rbx */
        {X86_DECODE_64, "48 03 04 8b", RAX | RBX | RCX, RAX, 0, ALL, ALL}, /* … [rbx+rcx*4] */
        {X86_DECODE_64, "8b 05 00 00 00 00", 0, RAX, 0, 0, 0},             /* mov eax, [rip] */
        {X86_DECODE_64, "89 c8", RCX, RAX, 0, 0, 0},                       /* mov eax, ecx */
        {X86_DECODE_64, "66 89 c8", RAX | RCX, RAX, 0, 0, 0},              /* mov ax, cx */
        {X86_DECODE_64, "88 fc", RAX | RBX, RAX, 0, 0, 0},                 /* mov ah, bh */
        {X86_DECODE_64, "40 88 fc", RSP | RDI, RSP, 0, 0, 0},              /* mov spl, dil */
        {X86_DECODE_64, "b4 01", RAX, RAX, 0, 0, 0},                       /* mov ah, 1 */
        {X86_DECODE_64, "0f b6 ec", RAX, RBP, 0, 0, 0},                    /* movzx ebp, ah */
        {X86_DECODE_64, "f2 0f 38 f0 e4", RAX | RSP, RSP, 0, 0, 0},        /* crc32 esp, ah */
        {X86_DECODE_64, "04 01", RAX, RAX, 0, ALL, ALL},                   /* add al, 1 */
        {X86_DECODE_64, "83 39 01", RCX, 0, 0, ALL, ALL},                  /* cmp dword [rcx], 1 */
        {X86_DECODE_64, "0f a4 c1 01", RAX | RCX, RCX, 0, ALL, ALL},       /* shld ecx, eax, 1 */
        {X86_DECODE_64, "0f ba e1 03", RCX, 0, 0, X86_FLAGS_CF,
         ALL & ~X86_FLAGS_ZF}, /* bt ecx, 3 */
        {X86_DECODE_64, "f7 e1", RAX | RCX, RAX | RDX, 0, X86_FLAGS_CF | X86_FLAGS_OF,
         ALL},                                                                         /* mul ecx */
        {X86_DECODE_64, "f6 e1", RAX | RCX, RAX, 0, X86_FLAGS_CF | X86_FLAGS_OF, ALL}, /* mul cl */
        {X86_DECODE_64, "f7 f1", RAX | RCX | RDX, RAX | RDX, 0, 0, ALL},               /* div ecx */
        {X86_DECODE_64, "99", RAX, RDX, 0, 0, 0},                                      /* cdq */
        {X86_DECODE_64, "66 99", RAX | RDX, RDX, 0, 0, 0},                             /* cwd */
        {X86_DECODE_64, "0f 44 c1", RAX | RCX, RAX, X86_FLAGS_ZF, 0, 0},  /* cmovz eax, ecx */
        {X86_DECODE_64, "0f 94 c1", RCX, RCX, X86_FLAGS_ZF, 0, 0},        /* setz cl */
        {X86_DECODE_64, "0f 94 01", RCX, 0, X86_FLAGS_ZF, 0, 0},          /* setz [rcx] */
        {X86_DECODE_64, "50", RAX | RSP, RSP, 0, 0, 0},                   /* push rax */
        {X86_DECODE_64, "6a 01", RSP, RSP, 0, 0, 0},                      /* push 1 */
        {X86_DECODE_64, "59", RSP, RSP | RCX, 0, 0, 0},                   /* pop rcx */
        {X86_DECODE_32, "61", RSP, 0xff, 0, 0, 0},                        /* popad */
        {X86_DECODE_16, "61", 0xff, 0xff, 0, 0, 0},                       /* popa */
        {X86_DECODE_64, "c4 e2 f3 f6 c3", RDX | RBX, RAX | RCX, 0, 0, 0}, /* mulx rax, rcx, rbx */
        {X86_DECODE_64, "c4 e2 71 92 04 90", RAX, 0, 0, 0, 0}, /* vgatherdps, index xmm2 */
        {X86_DECODE_64, "66 0f 3a 61 c1 00", RAX | RDX, RCX, 0, ALL, ALL}, /* pcmpestri */
        {X86_DECODE_64, "df e0", RAX, RAX, 0, 0, 0},                       /* fnstsw ax */
        {X86_DECODE_64, "da c9", 0, 0, X86_FLAGS_ZF, 0, 0},                /* fcmove */
    };
    for (size_t i = 0; i < sizeof(expectations) / sizeof(expectations[0]); i++) {
        check_expectation(&expectations[i]);
    }
}

/* Counts: known, zero, in CL, in rCX. */
static void test_counts(void)
{
    static const uint64_t carry = X86_FLAGS_CF, both = X86_FLAGS_CF | X86_FLAGS_OF;
    static const struct expectation expectations[] = {
        {X86_DECODE_64, "d1 e3", RBX, RBX, 0, ALL, ALL},              /* shl ebx, 1 */
        {X86_DECODE_64, "c1 e3 05", RBX, RBX, 0, ALL, ALL},           /* shl ebx, 5 */
        {X86_DECODE_64, "c1 e3 20", RBX, RBX, 0, 0, 0},               /* shl ebx, 32 */
        {X86_DECODE_64, "48 c1 e3 20", RBX, RBX, 0, ALL, ALL},        /* shl rbx, 32 */
        {X86_DECODE_64, "48 c1 e3 40", RBX, RBX, 0, 0, 0},            /* shl rbx, 64 */
        {X86_DECODE_64, "d3 e3", RBX | RCX, RBX, 0, 0, ALL},          /* shl ebx, cl */
        {X86_DECODE_64, "c1 c3 05", RBX, RBX, 0, both, both},         /* rol ebx, 5 */
        {X86_DECODE_64, "d3 c3", RBX | RCX, RBX, 0, 0, both},         /* rol ebx, cl */
        {X86_DECODE_64, "d1 d3", RBX, RBX, carry, both, both},        /* rcl ebx, 1 */
        {X86_DECODE_64, "c1 d3 20", RBX, RBX, 0, 0, 0},               /* rcl ebx, 32 */
        {X86_DECODE_64, "0f a4 d3 20", RBX | RDX, RBX, 0, 0, 0},      /* shld ebx, edx, 32 */
        {X86_DECODE_64, "0f a5 d3", RBX | RCX | RDX, RBX, 0, 0, ALL}, /* shld ebx, edx, cl */
        {X86_DECODE_64, "a6", RSI | RDI, RSI | RDI, 0, ALL, ALL},     /* cmpsb */
        {X86_DECODE_64, "f3 a6", RCX | RSI | RDI, RCX | RSI | RDI, 0, 0, ALL},
        {X86_DECODE_64, "f2 ae", RAX | RCX | RDI, RCX | RDI, 0, 0, ALL}, /* repne scasb */
        {X86_DECODE_64, "ad", RSI, RAX | RSI, 0, 0, 0},                  /* lodsd */
        {X86_DECODE_64, "f3 ad", RAX | RCX | RSI, RAX | RCX | RSI, 0, 0, 0},
        {X86_DECODE_64, "f3 ab", RAX | RCX | RDI, RCX | RDI, 0, 0, 0}, /* rep stosd */
    };
    for (size_t i = 0; i < sizeof(expectations) / sizeof(expectations[0]); i++) {
        check_expectation(&expectations[i]);
    }
    CHECK_EQUAL(facts_of(X86_DECODE_64, "d1 e3").flags_undefined, X86_FLAGS_AF);
    CHECK_EQUAL(facts_of(X86_DECODE_64, "c1 e3 05").flags_undefined, X86_FLAGS_AF | X86_FLAGS_OF);
    CHECK_EQUAL(facts_of(X86_DECODE_64, "66 c1 e3 10").flags_undefined,
                X86_FLAGS_AF | X86_FLAGS_OF | X86_FLAGS_CF);
    CHECK_EQUAL(facts_of(X86_DECODE_64, "c1 c3 01").flags_undefined, 0);
    CHECK_EQUAL(facts_of(X86_DECODE_64, "66 0f a4 d3 11").flags_undefined, ALL);
}

static void test_unknown(void)
{
    static const char *const unknown[] = {"cf", "cd 80", "cb", "0f 0b", "0f 01 c1"};

    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        struct x86_facts facts = facts_of(X86_DECODE_64, unknown[i]);
        CHECK(!facts.known && facts.reads == 0xffff && facts.writes == 0xffff &&
              facts.flags_read == ALL && facts.flags_written == 0 && facts.flags_changed == ALL);
    }
    CHECK(facts_of(X86_DECODE_64, "0f 05").known);
    CHECK_EQUAL(facts_of(X86_DECODE_64, "0f 05").flags_undefined, 0);
    CHECK(!facts_of(X86_DECODE_32, "0f 05").known); /* SYSCALL outside 64-bit mode */
}

/* --- instructions by chance ------------------------------------------------------------------- */

/* xorshift64*: the same bytes in every run. */
static uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

static unsigned int random_below(uint64_t *state, unsigned int bound)
{
    return (unsigned int)((random_next(state) >> 33) % bound);
}

/* VEX with fields that are mostly legal: vvvv unused, no extended register outside 64-bit mode. */
static void make_vex(uint64_t *state, enum x86_decode_mode mode, uint8_t *bytes)
{
    uint8_t clear = mode == X86_DECODE_64 ? 0 : 0xc0;
    uint8_t unused = random_below(state, 2) != 0 ? 0x78 : 0;

    if (random_below(state, 2) == 0) {
        bytes[0] = 0xc5;
        bytes[1] |= clear | unused;
        return;
    }
    bytes[0] = 0xc4;
    bytes[1] = (uint8_t)((bytes[1] & 0xe0) | clear | (1 + random_below(state, 3)));
    bytes[2] |= unused;
}

/* Prefixes, then an opcode of some map or VEX, then random bytes. */
static void make_instruction(uint64_t *state, enum x86_decode_mode mode, uint8_t *bytes)
{
    static const uint8_t prefixes[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x64, 0x3e, 0x66};
    static const uint8_t escapes[][2] = {{0}, {0x0f}, {0x0f, 0x38}, {0x0f, 0x3a}};
    static const uint8_t escape_lengths[] = {0, 1, 2, 2};

    for (size_t i = 0; i < X86_INSTRUCTION_MAX; i++) {
        bytes[i] = (uint8_t)(random_next(state) >> 40);
    }
    unsigned int kind = random_below(state, 6);
    if (kind >= 4) {
        make_vex(state, mode, bytes);
        return;
    }
    for (unsigned int n = random_below(state, 3); n > 0; n--) {
        *bytes++ = prefixes[random_below(state, sizeof(prefixes))];
    }
    if (mode == X86_DECODE_64 && random_below(state, 2) == 0) {
        *bytes++ = (uint8_t)(0x40 + random_below(state, 16));
    }
    memcpy(bytes, escapes[kind], escape_lengths[kind]);
}

static void report(const char *what, const uint8_t *bytes, enum x86_decode_mode mode,
                   unsigned int length)
{
    static const char *const modes[] = {"16", "32", "64"};

    fprintf(stderr, "    %s-bit", modes[mode]);
    for (unsigned int i = 0; i < length; i++) {
        fprintf(stderr, " %02x", bytes[i]);
    }
    fprintf(stderr, ": %s\n", what);
}

/* --- against the host ------------------------------------------------------------------------- */

/* AVX2 came with the other bit instructions, ADX one generation later. */
static bool host_has_adx(void)
{
    unsigned int a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & bit_ADX) != 0;
}

/* Integer instructions that read and write registers and flags only, and cannot trap. */
static bool is_harmless(const struct x86_instruction *in, const struct x86_facts *facts)
{
    uint32_t reserved = RSP | BIT(X86_R14) | BIT(X86_R15);

    if (in->flags & (X86_INSTRUCTION_MEMORY | X86_INSTRUCTION_BRANCH) || !facts->known ||
        ((facts->reads | facts->writes) & reserved)) {
        return false;
    }
    switch (in->operation) {
    case X86_OP_ADCX:
    case X86_OP_ADOX:
        return host_has_adx();
    case X86_OP_DIV:
    case X86_OP_IDIV:
    case X86_OP_MOV_FROM_SEGMENT:
    case X86_OP_MOV_TO_SEGMENT:
    case X86_OP_MOV_FROM_CR:
    case X86_OP_MOV_TO_CR:
    case X86_OP_MOV_FROM_DR:
    case X86_OP_MOV_TO_DR:
    case X86_OP_MOV_MOFFS_LOAD:
    case X86_OP_MOV_MOFFS_STORE:
    case X86_OP_XLAT:
    case X86_OP_CLD:
    case X86_OP_STD:
    case X86_OP_CLI:
    case X86_OP_STI:
        return false;
    default:
        return in->operation <= X86_OP_SAHF;
    }
}

static uint64_t number_for_operand(uint64_t *state)
{
    uint64_t number = random_next(state);
    return number >> (8 * random_below(state, 9) & 63);
}

/* Runs one with some flags and registers changed that it should not read. */
static bool is_as_the_host(const uint8_t *bytes, const struct x86_instruction *in,
                           const struct x86_facts *facts, uint64_t *random)
{
    static struct native_state before, one, other;
    uint64_t unread = ALL & ~(uint64_t)facts->flags_read;

    for (size_t i = 0; i < X86_GPR_COUNT; i++) {
        before.gpr[i] = number_for_operand(random);
    }
    before.flags = (random_next(random) & ALL) | X86_FLAGS_ONE;
    before.mxcsr = 0x1f80;
    one = other = before;
    other.flags ^= unread;
    for (size_t i = 0; i < X86_GPR_COUNT; i++) {
        other.gpr[i] = facts->reads & BIT(i) ? other.gpr[i] : ~other.gpr[i];
    }
    native_run(&one, bytes, in->length);
    native_run(&other, bytes, in->length);
    bool good = ((one.flags ^ other.flags) & facts->flags_written) == 0 &&
                ((one.flags ^ before.flags) & ALL & ~(uint64_t)facts->flags_changed) == 0;
    for (size_t i = 0; i < X86_GPR_COUNT; i++) {
        good = good &&
               (facts->writes & BIT(i) ? one.gpr[i] == other.gpr[i] : one.gpr[i] == before.gpr[i]);
    }
    return good;
}

/* Unread registers and flags do not matter, others stay as they are: on this very processor. */
static void test_host(void)
{
    static bool seen[X86_OP_COUNT];
    unsigned int compared = 0, differences = 0, operations = 0;
    uint64_t random = 2;

    if (!native_setup()) {
        SKIP("the host lacks AVX2, which comes with the bit instructions");
        return;
    }
    for (unsigned int i = 0; i < HOST_CASES; i++) {
        struct x86_instruction in;
        struct x86_facts facts;
        uint8_t bytes[X86_INSTRUCTION_MAX + 8];
        make_instruction(&random, X86_DECODE_64, bytes);
        if (x86_decode(X86_DECODE_64, bytes, X86_INSTRUCTION_MAX, &in) != X86_DECODE_OK) {
            continue;
        }
        x86_instruction_facts(&in, X86_DECODE_64, &facts);
        if (!is_harmless(&in, &facts)) {
            continue;
        }
        compared++;
        operations += !seen[in.operation];
        seen[in.operation] = true;
        if (!is_as_the_host(bytes, &in, &facts, &random) && differences++ < DIFFERENCES_MAX) {
            report("facts unlike the host's", bytes, X86_DECODE_64, in.length);
        }
    }
    printf("%u instructions of %u operations run on the host\n", compared, operations);
    CHECK(operations > 50);
    CHECK_EQUAL(differences, 0);
}

/* --- against Zydis ---------------------------------------------------------------------------- */

#ifdef TRAPEZE_HAVE_ZYDIS

enum field {
    FIELD_READS = 1 << 0,
    FIELD_WRITES = 1 << 1,
    FIELD_FLAGS_READ = 1 << 2,
    FIELD_FLAGS_WRITTEN = 1 << 3,
    FIELD_FLAGS_CHANGED = 1 << 4,
    FIELD_FLAGS_UNDEFINED = 1 << 5
};

static const char *const field_names[] = {"reads",         "writes",        "flags_read",
                                          "flags_written", "flags_changed", "flags_undefined"};

static unsigned int compare_facts(const struct x86_facts *ours, const struct x86_facts *theirs)
{
    return (ours->reads != theirs->reads ? FIELD_READS : 0u) |
           (ours->writes != theirs->writes ? FIELD_WRITES : 0u) |
           (ours->flags_read != theirs->flags_read ? FIELD_FLAGS_READ : 0u) |
           (ours->flags_written != theirs->flags_written ? FIELD_FLAGS_WRITTEN : 0u) |
           (ours->flags_changed != theirs->flags_changed ? FIELD_FLAGS_CHANGED : 0u) |
           (ours->flags_undefined != theirs->flags_undefined ? FIELD_FLAGS_UNDEFINED : 0u);
}

/* Where Zydis 4.0 is wrong or coarser than the manual. */

static bool is_always(const struct x86_instruction *in)
{
    (void)in;
    return true;
}

static bool is_repeated(const struct x86_instruction *in)
{
    return (in->flags & (X86_INSTRUCTION_REP | X86_INSTRUCTION_REPNE)) != 0;
}

static bool is_by_one(const struct x86_instruction *in)
{
    return in->map == X86_MAP_ONE_BYTE && (in->opcode & 0xfe) == 0xd0;
}

static bool is_by_cl(const struct x86_instruction *in)
{
    return !is_by_one(in) && in->immediate_size == 0;
}

static bool is_by_zero(const struct x86_instruction *in)
{
    return in->immediate_size != 0 && (in->immediate & (in->operand_size == 8 ? 63 : 31)) == 0;
}

static bool is_vector_test(const struct x86_instruction *in)
{
    return in->map == X86_MAP_0F38 &&
           (in->opcode == 0x0e || in->opcode == 0x0f || in->opcode == 0x17);
}

/* SIB base 5 with REX.B and mod 0 is no base; with 32-bit addresses Zydis takes it for R13D. */
static bool is_no_base(const struct x86_instruction *in)
{
    return (in->flags & X86_INSTRUCTION_MEMORY) && in->address_size == 4 && in->mod == 0 &&
           in->base == X86_REGISTER_NONE;
}

/* F3 90 with REX.B is PAUSE to Zydis, XCHG with R8 to processors. */
static bool is_exchange_with_r8(const struct x86_instruction *in)
{
    return in->opcode == 0x90 && (in->flags & X86_INSTRUCTION_REP);
}

struct exception {
    enum x86_operation first, last;
    unsigned int fields;
    bool (*applies)(const struct x86_instruction *in);
    const char *reason;
};

#define REGISTERS (FIELD_READS | FIELD_WRITES)
#define FLAGS     (FIELD_FLAGS_READ | FIELD_FLAGS_WRITTEN | FIELD_FLAGS_CHANGED | FIELD_FLAGS_UNDEFINED)

static const struct exception exceptions[] = {
    {0, X86_OP_COUNT, FIELD_READS, is_no_base, "no base, taken for R13"},
    {X86_OP_NOP, X86_OP_NOP, REGISTERS, is_always, "hint space that MPX and CET once had"},
    {X86_OP_XCHG, X86_OP_XCHG, REGISTERS, is_exchange_with_r8, "taken for PAUSE"},
    {X86_OP_MUL, X86_OP_IDIV, FIELD_FLAGS_WRITTEN, is_always, "undefined flags may be left alone"},
    {X86_OP_BT, X86_OP_LZCNT, FIELD_FLAGS_WRITTEN, is_always, "undefined flags may be left alone"},
    {X86_OP_BSF, X86_OP_BSR, FIELD_READS, is_always, "a source of zero leaves the destination"},
    {X86_OP_TZCNT, X86_OP_LZCNT, FIELD_READS, is_always, "BSF and BSR on older processors"},
    {X86_OP_BEXTR, X86_OP_BEXTR, FIELD_FLAGS_UNDEFINED, is_always, "CF and OF are cleared"},
    {X86_OP_SBB, X86_OP_SBB, FIELD_FLAGS_UNDEFINED, is_always, "AF is defined"},
    {X86_OP_ROL, X86_OP_SHRD, FIELD_FLAGS_WRITTEN, is_by_cl, "a count of zero is not seen"},
    {X86_OP_ROL, X86_OP_SHRD, FLAGS, is_by_zero, "a count of zero is not seen"},
    {X86_OP_ROL, X86_OP_SHRD, FIELD_FLAGS_UNDEFINED, is_always, "the count is not looked at"},
    {X86_OP_CMPS, X86_OP_CMPS, FIELD_WRITES, is_always, "rSI and rDI move on"},
    {X86_OP_SCAS, X86_OP_OUTS, FIELD_WRITES, is_always, "rSI and rDI move on"},
    {X86_OP_CMPS, X86_OP_SCAS, FIELD_FLAGS_READ, is_repeated, "it is the new ZF that counts"},
    {X86_OP_CMPS, X86_OP_SCAS, FIELD_FLAGS_WRITTEN, is_repeated, "rCX may be zero"},
    {X86_OP_SYSCALL, X86_OP_SYSCALL, FLAGS, is_always, "R11 gets the flags, FMASK clears some"},
    {X86_OP_AVX, X86_OP_AVX, FIELD_FLAGS_WRITTEN | FIELD_FLAGS_CHANGED, is_vector_test,
     "VPTEST and VTESTPS clear all flags but ZF and CF"},
};

#define EXCEPTION_COUNT (sizeof(exceptions) / sizeof(exceptions[0]))

struct comparison {
    ZydisDecoder decoders[3];
    unsigned int compared, differences;
    unsigned int used[EXCEPTION_COUNT]; /* how often each exception was needed */
};

/* The fields that differ and have no exception. */
static unsigned int differing_fields(struct comparison *comparison,
                                     const struct x86_instruction *in, const struct x86_facts *ours,
                                     const struct x86_facts *theirs)
{
    unsigned int fields = compare_facts(ours, theirs);
    unsigned int left = fields;

    for (size_t i = 0; i < EXCEPTION_COUNT && fields != 0; i++) {
        const struct exception *exception = &exceptions[i];
        if ((exception->fields & fields) && in->operation >= exception->first &&
            in->operation <= exception->last && exception->applies(in)) {
            comparison->used[i]++;
            left &= ~exception->fields;
        }
    }
    return left;
}

static uint32_t register_bit(ZydisRegister name)
{
    ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, name);

    return ZydisRegisterGetClass(whole) == ZYDIS_REGCLASS_GPR64 ? BIT(ZydisRegisterGetId(whole))
                                                                : 0;
}

/* A write under a condition, or of a part, keeps the rest: a read. */
static void add_operand(const ZydisDecodedInstruction *theirs, const ZydisDecodedOperand *operand,
                        struct x86_facts *facts)
{
    if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY) {
        facts->reads |= register_bit(operand->mem.base) | register_bit(operand->mem.index);
    }
    if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER) {
        return;
    }
    uint32_t bit = register_bit(operand->reg.value);
    if (operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) {
        facts->writes |= bit;
    }
    if ((operand->actions & (ZYDIS_OPERAND_ACTION_MASK_READ | ZYDIS_OPERAND_ACTION_CONDWRITE)) ||
        ZydisRegisterGetWidth(theirs->machine_mode, operand->reg.value) < 32) {
        facts->reads |= bit;
    }
}

static struct x86_facts their_facts(const ZydisDecodedInstruction *theirs,
                                    const ZydisDecodedOperand *operands)
{
    struct x86_facts facts = {.known = true};

    for (unsigned int i = 0; i < theirs->operand_count; i++) {
        add_operand(theirs, &operands[i], &facts);
    }
    const ZydisAccessedFlags *flags = theirs->cpu_flags;
    if (flags != NULL) {
        facts.flags_read = (uint16_t)(flags->tested & ALL);
        facts.flags_undefined = (uint16_t)(flags->undefined & ALL);
        facts.flags_changed =
            (uint16_t)((flags->modified | flags->set_0 | flags->set_1 | flags->undefined) & ALL);
        facts.flags_written = facts.flags_changed;
    }
    return facts;
}

static void report_fields(unsigned int fields, const uint8_t *bytes, enum x86_decode_mode mode,
                          const ZydisDecodedInstruction *instruction)
{
    for (unsigned int i = 0; i < sizeof(field_names) / sizeof(field_names[0]); i++) {
        if (fields & (1u << i)) {
            report(field_names[i], bytes, mode, instruction->length);
        }
    }
}

static void compare(struct comparison *comparison, enum x86_decode_mode mode, const uint8_t *bytes)
{
    struct x86_instruction in;
    struct x86_facts ours;
    ZydisDecodedInstruction instruction;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];

    if (x86_decode(mode, bytes, X86_INSTRUCTION_MAX, &in) != X86_DECODE_OK ||
        !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&comparison->decoders[mode], bytes,
                                             X86_INSTRUCTION_MAX, &instruction, operands))) {
        return;
    }
    x86_instruction_facts(&in, mode, &ours);
    if (!ours.known) {
        return;
    }
    struct x86_facts theirs = their_facts(&instruction, operands);
    unsigned int fields = differing_fields(comparison, &in, &ours, &theirs);
    comparison->compared++;
    if (fields != 0 && comparison->differences++ < DIFFERENCES_MAX) {
        report_fields(fields, bytes, mode, &instruction);
    }
}

/* Every opcode of the two large maps with every ModRM byte, and with the prefixes that matter. */
static void compare_all_opcodes(struct comparison *comparison, enum x86_decode_mode mode)
{
    static const char *const prefixes[] = {"", "\x66", "\xf3", "\xf2", "\x48", "\x45", "\x67"};

    for (size_t p = 0; p < sizeof(prefixes) / sizeof(prefixes[0]); p++) {
        for (unsigned int i = 0; i < 2 * 256 * 256; i++) {
            uint8_t bytes[X86_INSTRUCTION_MAX] = {0};
            size_t n = strlen(prefixes[p]);
            memcpy(bytes, prefixes[p], n);
            if (i >= 256 * 256) {
                bytes[n++] = 0x0f;
            }
            bytes[n++] = (uint8_t)(i >> 8);
            bytes[n++] = (uint8_t)i;
            memset(bytes + n, 0x25, sizeof(bytes) - n);
            compare(comparison, mode, bytes);
        }
    }
}

static void test_oracle(void)
{
    static struct comparison comparison;
    uint64_t state = 1;

    ZydisDecoderInit(&comparison.decoders[X86_DECODE_16], ZYDIS_MACHINE_MODE_LEGACY_16,
                     ZYDIS_STACK_WIDTH_16);
    ZydisDecoderInit(&comparison.decoders[X86_DECODE_32], ZYDIS_MACHINE_MODE_LEGACY_32,
                     ZYDIS_STACK_WIDTH_32);
    ZydisDecoderInit(&comparison.decoders[X86_DECODE_64], ZYDIS_MACHINE_MODE_LONG_64,
                     ZYDIS_STACK_WIDTH_64);
    for (unsigned int mode = 0; mode < 3; mode++) {
        compare_all_opcodes(&comparison, (enum x86_decode_mode)mode);
    }
    for (unsigned int i = 0; i < RANDOM_CASES; i++) {
        uint8_t bytes[X86_INSTRUCTION_MAX + 8];
        enum x86_decode_mode mode = (enum x86_decode_mode)(i % 3);
        make_instruction(&state, mode, bytes);
        compare(&comparison, mode, bytes);
    }
    printf("%u instructions compared\n", comparison.compared);
    CHECK(comparison.compared > RANDOM_CASES / 2);
    CHECK_EQUAL(comparison.differences, 0);
    for (size_t i = 0; i < EXCEPTION_COUNT; i++) {
        if (!CHECK(comparison.used[i] != 0)) {
            fprintf(stderr, "    an exception that nothing needs: %s\n", exceptions[i].reason);
        }
    }
}

#else

static void test_oracle(void)
{
    SKIP("built without Zydis, the oracle");
}

#endif

int main(void)
{
    test_registers();
    test_counts();
    test_unknown();
    test_host();
    test_oracle();
    return check_summary();
}
