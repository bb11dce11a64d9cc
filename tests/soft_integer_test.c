/*
 * Integer instructions of the software CPU against the host's own processor: random operands and
 * flags, registers and memory compared afterwards. No flag is masked: what the manual leaves
 * undefined is the host's own here too.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"
#include "soft_identity.h"

#define CASES_PER_FORM 400
#define DATA_BYTES     4096u

/* --- random numbers (xorshift; the seed is fixed) --- */

static uint64_t random_state = UINT64_C(0x9e3779b97f4a7c15);

static uint64_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Values at the edges come up often. */
static uint64_t random_operand(void)
{
    static const uint64_t edges[] = {0,      1,          UINT64_MAX, 0x7f,       0x80, 0x7fff,
                                     0x8000, 0x7fffffff, 0x80000000, 0xffffffff, 0xff, INT64_MAX};
    uint64_t choice = random_bits();
    if ((choice & 3) == 0) {
        return edges[(choice >> 8) % (sizeof edges / sizeof edges[0])];
    }
    return (choice & 12) == 0 ? random_bits() >> (choice >> 8 & 63) : random_bits();
}

/* --- the host's side: a page with code that loads all registers, runs, stores them --- */

struct state {
    uint64_t gpr[16];
    uint64_t flags;
};

#define PAGE_STATE 2048u /* where struct state lies in the page */

static uint8_t *page;
static uint8_t *emit_at;
static sigjmp_buf host_fault;

static void emit(const void *bytes, size_t length)
{
    memcpy(emit_at, bytes, length);
    emit_at += length;
}

/* An instruction of these bytes and a RIP-relative operand in the state. */
static void emit_state(const uint8_t *bytes, size_t length, size_t offset)
{
    emit(bytes, length);
    int32_t distance = (int32_t)((page + PAGE_STATE + offset) - (emit_at + 4));
    emit(&distance, 4);
}

static void emit_moves(uint8_t opcode)
{
    for (unsigned int i = 0; i < 16; i++) {
        if (i != X86_RSP) {
            uint8_t bytes[3] = {(uint8_t)(i < 8 ? 0x48 : 0x4c), opcode,
                                (uint8_t)((i & 7) << 3 | 5)};
            emit_state(bytes, 3, 8 * i);
        }
    }
}

static void emit_page(const uint8_t *instruction, size_t length)
{
    static const uint8_t save[] = {0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57};
    static const uint8_t restore[] = {0xfc, 0x41, 0x5f, 0x41, 0x5e, 0x41,
                                      0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3};
    static const uint8_t push_flags[] = {0xff, 0x35}, popfq[] = {0x9d};
    static const uint8_t pushfq[] = {0x9c}, pop_flags[] = {0x8f, 0x05};
    emit_at = page;
    emit(save, sizeof save);
    emit_state(push_flags, 2, offsetof(struct state, flags));
    emit(popfq, 1);
    emit_moves(0x8b);
    emit(instruction, length);
    emit_moves(0x89);
    emit(pushfq, 1);
    emit_state(pop_flags, 2, offsetof(struct state, flags));
    emit(restore, sizeof restore);
}

static void on_fault(int number)
{
    (void)number;
    siglongjmp(host_fault, 1);
}

/* False: the instruction raised #DE. */
static bool run_on_host(struct state *state)
{
    struct state *in_page = (struct state *)(void *)(page + PAGE_STATE);
    *in_page = *state;
    if (sigsetjmp(host_fault, 1) != 0) {
        return false;
    }
    void (*function)(void);
    void *address = page;
    memcpy(&function, &address, sizeof function);
    function();
    *state = *in_page;
    return true;
}

/* --- forms --- */

enum form_kind {
    RM,       /* ModRM, register or memory */
    RM_ONLY,  /* ModRM.rm must be a register */
    MEMORY,   /* … must be memory */
    REGISTER, /* no ModRM, the opcode's low three bits vary */
    PLAIN,    /* no operands in the encoding */
    STRING    /* PLAIN with rSI, rDI, rCX set up */
};

struct form {
    const char *name;
    uint8_t bytes[4]; /* opcode, with a mandatory prefix before it */
    uint8_t length;
    uint8_t kind;
    int8_t group;      /* ModRM.reg, or -1: any register */
    uint8_t immediate; /* bytes; 4: as wide as the operand up to 4 */
    bool is_byte;      /* 66 and REX.W mean nothing */
    bool lock;         /* LOCK is allowed on memory */
    uint8_t vex;       /* 0, or VEX.pp + 1 of map 2 (map 3 if bytes[1]) */
};

#define BOTH_SIZES(name, opcode, kind, group, immediate, lock)                                     \
    {name, {opcode}, 1, kind, group, (immediate) != 0 ? 1 : 0, true, lock, 0},                     \
    {                                                                                              \
        name, {(opcode) + 1}, 1, kind, group, immediate, false, lock, 0                            \
    }
#define CLASSIC(name, first)                                                                       \
    BOTH_SIZES(name, first, RM, -1, 0, (first) != 0x38),                                           \
        BOTH_SIZES(name, (first) + 2, RM, -1, 0, false),                                           \
        BOTH_SIZES(name, (first) + 4, PLAIN, -1, 4, false),                                        \
        BOTH_SIZES(name, 0x80, RM, (first) / 8, 4, (first) != 0x38),                               \
    {                                                                                              \
        name, {0x83}, 1, RM, (first) / 8, 1, false, (first) != 0x38, 0                             \
    }
#define SHIFT(name, group)                                                                         \
    BOTH_SIZES(name, 0xc0, RM, group, 1, false), BOTH_SIZES(name, 0xd0, RM, group, 0, false),      \
        BOTH_SIZES(name, 0xd2, RM, group, 0, false)
#define TWO_BYTE(name, opcode, kind, group, immediate, lock)                                       \
    {                                                                                              \
        name, {0x0f, opcode}, 2, kind, group, immediate, false, lock, 0                            \
    }

static const struct form forms[] = {
    CLASSIC("add", 0x00),
    CLASSIC("or", 0x08),
    CLASSIC("adc", 0x10),
    CLASSIC("sbb", 0x18),
    CLASSIC("and", 0x20),
    CLASSIC("sub", 0x28),
    CLASSIC("xor", 0x30),
    CLASSIC("cmp", 0x38),
    BOTH_SIZES("test", 0x84, RM, -1, 0, false),
    BOTH_SIZES("test imm", 0xf6, RM, 0, 4, false),
    BOTH_SIZES("test acc", 0xa8, PLAIN, -1, 4, false),
    BOTH_SIZES("not", 0xf6, RM, 2, 0, true),
    BOTH_SIZES("neg", 0xf6, RM, 3, 0, true),
    BOTH_SIZES("mul", 0xf6, RM, 4, 0, false),
    BOTH_SIZES("imul", 0xf6, RM, 5, 0, false),
    BOTH_SIZES("div", 0xf6, RM, 6, 0, false),
    BOTH_SIZES("idiv", 0xf6, RM, 7, 0, false),
    BOTH_SIZES("inc", 0xfe, RM, 0, 0, true),
    BOTH_SIZES("dec", 0xfe, RM, 1, 0, true),
    BOTH_SIZES("xchg", 0x86, RM, -1, 0, true),
    {"xchg acc", {0x90}, 1, REGISTER, -1, 0, false, false, 0},
    BOTH_SIZES("mov store", 0x88, RM, -1, 0, false),
    BOTH_SIZES("mov load", 0x8a, RM, -1, 0, false),
    BOTH_SIZES("mov imm", 0xc6, RM, 0, 4, false),
    {"mov reg imm8", {0xb0}, 1, REGISTER, -1, 1, true, false, 0},
    {"lea", {0x8d}, 1, MEMORY, -1, 0, false, false, 0},
    {"movsxd", {0x63}, 1, RM, -1, 0, false, false, 0},
    {"imul3", {0x69}, 1, RM, -1, 4, false, false, 0},
    {"imul3 imm8", {0x6b}, 1, RM, -1, 1, false, false, 0},
    {"cbw", {0x98}, 1, PLAIN, -1, 0, false, false, 0},
    {"cwd", {0x99}, 1, PLAIN, -1, 0, false, false, 0},
    {"sahf", {0x9e}, 1, PLAIN, -1, 0, true, false, 0},
    {"lahf", {0x9f}, 1, PLAIN, -1, 0, true, false, 0},
    {"cmc", {0xf5}, 1, PLAIN, -1, 0, true, false, 0},
    {"clc", {0xf8}, 1, PLAIN, -1, 0, true, false, 0},
    {"stc", {0xf9}, 1, PLAIN, -1, 0, true, false, 0},
    SHIFT("rol", 0),
    SHIFT("ror", 1),
    SHIFT("rcl", 2),
    SHIFT("rcr", 3),
    SHIFT("shl", 4),
    SHIFT("shr", 5),
    SHIFT("sal", 6),
    SHIFT("sar", 7),
    TWO_BYTE("shld", 0xa4, RM, -1, 1, false),
    TWO_BYTE("shld cl", 0xa5, RM, -1, 0, false),
    TWO_BYTE("shrd", 0xac, RM, -1, 1, false),
    TWO_BYTE("shrd cl", 0xad, RM, -1, 0, false),
    TWO_BYTE("imul2", 0xaf, RM, -1, 0, false),
    {"cmpxchg8", {0x0f, 0xb0}, 2, RM, -1, 0, true, true, 0},
    TWO_BYTE("cmpxchg", 0xb1, RM, -1, 0, true),
    {"xadd8", {0x0f, 0xc0}, 2, RM, -1, 0, true, true, 0},
    TWO_BYTE("xadd", 0xc1, RM, -1, 0, true),
    TWO_BYTE("cmpxchg8b/16b", 0xc7, MEMORY, 1, 0, true),
    TWO_BYTE("movzx8", 0xb6, RM, -1, 0, false),
    TWO_BYTE("movzx16", 0xb7, RM, -1, 0, false),
    TWO_BYTE("movsx8", 0xbe, RM, -1, 0, false),
    TWO_BYTE("movsx16", 0xbf, RM, -1, 0, false),
    TWO_BYTE("bswap", 0xc8, REGISTER, -1, 0, false),
    TWO_BYTE("bsf", 0xbc, RM, -1, 0, false),
    TWO_BYTE("bsr", 0xbd, RM, -1, 0, false),
    {"tzcnt", {0xf3, 0x0f, 0xbc}, 3, RM, -1, 0, false, false, 0},
    {"lzcnt", {0xf3, 0x0f, 0xbd}, 3, RM, -1, 0, false, false, 0},
    {"popcnt", {0xf3, 0x0f, 0xb8}, 3, RM, -1, 0, false, false, 0},
    TWO_BYTE("bt", 0xa3, RM, -1, 0, false),
    TWO_BYTE("bts", 0xab, RM, -1, 0, true),
    TWO_BYTE("btr", 0xb3, RM, -1, 0, true),
    TWO_BYTE("btc", 0xbb, RM, -1, 0, true),
    TWO_BYTE("bt imm", 0xba, RM, 4, 1, false),
    TWO_BYTE("bts imm", 0xba, RM, 5, 1, true),
    TWO_BYTE("btr imm", 0xba, RM, 6, 1, true),
    TWO_BYTE("btc imm", 0xba, RM, 7, 1, true),
    {"crc32 byte", {0xf2, 0x0f, 0x38, 0xf0}, 4, RM, -1, 0, true, false, 0},
    {"crc32", {0xf2, 0x0f, 0x38, 0xf1}, 4, RM, -1, 0, false, false, 0},
    {"movbe load", {0x0f, 0x38, 0xf0}, 3, MEMORY, -1, 0, false, false, 0},
    {"movbe store", {0x0f, 0x38, 0xf1}, 3, MEMORY, -1, 0, false, false, 0},
    {"adcx", {0x66, 0x0f, 0x38, 0xf6}, 4, RM, -1, 0, false, false, 0},
    {"adox", {0xf3, 0x0f, 0x38, 0xf6}, 4, RM, -1, 0, false, false, 0},
    {"andn", {0xf2}, 1, RM, -1, 0, false, false, 1},
    {"blsr", {0xf3}, 1, RM, 1, 0, false, false, 1},
    {"blsmsk", {0xf3}, 1, RM, 2, 0, false, false, 1},
    {"blsi", {0xf3}, 1, RM, 3, 0, false, false, 1},
    {"bzhi", {0xf5}, 1, RM, -1, 0, false, false, 1},
    {"pext", {0xf5}, 1, RM, -1, 0, false, false, 3},
    {"pdep", {0xf5}, 1, RM, -1, 0, false, false, 4},
    {"mulx", {0xf6}, 1, RM, -1, 0, false, false, 4},
    {"bextr", {0xf7}, 1, RM, -1, 0, false, false, 1},
    {"shlx", {0xf7}, 1, RM, -1, 0, false, false, 2},
    {"sarx", {0xf7}, 1, RM, -1, 0, false, false, 3},
    {"shrx", {0xf7}, 1, RM, -1, 0, false, false, 4},
    {"rorx", {0xf0, 1}, 1, RM, -1, 1, false, false, 4},
    {"xlat", {0xd7}, 1, PLAIN, -1, 0, true, false, 0},
    BOTH_SIZES("movs", 0xa4, STRING, -1, 0, false),
    BOTH_SIZES("cmps", 0xa6, STRING, -1, 0, false),
    BOTH_SIZES("stos", 0xaa, STRING, -1, 0, false),
    BOTH_SIZES("lods", 0xac, STRING, -1, 0, false),
    BOTH_SIZES("scas", 0xae, STRING, -1, 0, false),
};

/* --- encoding one case --- */

struct encoded {
    uint8_t bytes[15];
    size_t length;
    bool repeated;
};

static void put(struct encoded *encoded, unsigned int byte)
{
    encoded->bytes[encoded->length++] = (uint8_t)byte;
}

static unsigned int operand_size(const struct form *form, unsigned int rex, bool word)
{
    return form->is_byte ? 1 : (rex & 8) != 0 ? 8 : word ? 2 : 4;
}

/* RSP is never an operand: the host needs its own. RDI addresses memory, with a displacement. */
static void put_modrm(struct encoded *encoded, const struct form *form, unsigned int rex)
{
    bool memory = form->kind == MEMORY || (form->kind == RM && (random_bits() & 1) != 0);
    bool high_bytes = form->is_byte && rex == 0 && form->vex == 0 && form->length < 3;
    unsigned int reg, rm;
    do {
        reg = form->group >= 0 ? (unsigned int)form->group : (unsigned int)(random_bits() & 7);
    } while (form->group < 0 && reg == X86_RSP && (rex & 4) == 0 && !high_bytes);
    do {
        rm = memory ? X86_RDI : (unsigned int)(random_bits() & 7);
    } while (!memory && rm == X86_RSP && (rex & 1) == 0 && !high_bytes);
    put(encoded, (memory ? 0x40u : 0xc0u) | reg << 3 | rm);
    if (memory) {
        put(encoded, (unsigned int)(random_bits() & 0x7f));
    }
}

static void put_vex(struct encoded *encoded, const struct form *form, unsigned int rex)
{
    unsigned int vvvv = 0;
    do {
        vvvv = (unsigned int)(random_bits() & 15);
    } while (vvvv == X86_RSP);
    if (form->bytes[1] != 0) { /* RORX: no vvvv */
        vvvv = 0;
    }
    put(encoded, 0xc4);
    put(encoded, (~rex << 5 & 0xe0) | 2u | form->bytes[1]);
    put(encoded, (rex & 8) << 4 | (~vvvv & 15) << 3 | (form->vex - 1u));
    put(encoded, form->bytes[0]);
}

static void put_opcode(struct encoded *encoded, const struct form *form, unsigned int rex,
                       bool word, bool lock)
{
    unsigned int start = form->bytes[0] == 0x66 || form->bytes[0] >= 0xf2 ? 1 : 0;
    start = form->length > 2 ? start : 0;
    if (lock) {
        put(encoded, 0xf0);
    }
    if (word && !form->is_byte) {
        put(encoded, 0x66);
    }
    if (encoded->repeated) {
        put(encoded, (random_bits() & 1) != 0 ? 0xf2 : 0xf3);
    }
    for (unsigned int i = 0; i < start; i++) {
        put(encoded, form->bytes[i]);
    }
    if (rex != 0) {
        put(encoded, 0x40 | rex);
    }
    for (unsigned int i = start; i < form->length; i++) {
        bool last = i + 1u == form->length;
        uint64_t low = form->kind == REGISTER && last ? random_bits() & 7 : 0;
        while (low == X86_RSP && (rex & 1) == 0) {
            low = random_bits() & 7;
        }
        put(encoded, form->bytes[i] | (unsigned int)low);
    }
}

static struct encoded encode(const struct form *form)
{
    struct encoded encoded = {.length = 0};
    unsigned int rex = (random_bits() & 1) != 0 ? (unsigned int)(random_bits() & 15) : 0;
    bool word = (random_bits() & 3) == 0;
    bool memory_form = form->kind == MEMORY || form->kind == RM;
    rex &= form->kind == PLAIN || form->kind == STRING ? 8u : 15u;
    encoded.repeated = form->kind == STRING && (random_bits() & 1) != 0;
    if (memory_form) {
        rex &= ~1u; /* RDI stays RDI; registers 8..15 come as ModRM.reg */
    }
    size_t modrm_at;
    if (form->vex != 0) {
        put_vex(&encoded, form, rex & ~2u);
        modrm_at = encoded.length;
    } else {
        bool lock = form->lock && (random_bits() & 1) != 0;
        put_opcode(&encoded, form, rex, word, lock);
        modrm_at = encoded.length;
        if (lock) {
            struct form memory_only = *form;
            memory_only.kind = MEMORY;
            put_modrm(&encoded, &memory_only, rex);
        }
    }
    if (memory_form && encoded.length == modrm_at) {
        put_modrm(&encoded, form, rex);
    }
    unsigned int size = operand_size(form, rex, word);
    unsigned int immediate = form->immediate == 4 && size < 4 ? size : form->immediate;
    for (unsigned int i = 0; i < immediate; i++) {
        put(&encoded, (unsigned int)(random_bits() & 0xff));
    }
    return encoded;
}

/* --- running both --- */

static uint8_t data[DATA_BYTES] __attribute__((aligned(4096)));
static uint8_t data_before[DATA_BYTES];
static uint8_t data_host[DATA_BYTES];

#define FLAGS_COMPARED (X86_FLAGS_ARITHMETIC | X86_FLAGS_DF)

static struct state random_start(const struct form *form)
{
    struct state state;
    for (unsigned int i = 0; i < 16; i++) {
        state.gpr[i] = random_operand();
    }
    state.flags = (random_bits() & X86_FLAGS_ARITHMETIC) | X86_FLAGS_ONE;
    /* 16-aligned, so that CMPXCHG16B sometimes is; bit offsets reach some bytes beyond */
    state.gpr[X86_RDI] = (uint64_t)(data + DATA_BYTES / 2) + (random_bits() & 0x70);
    if (form->kind == STRING) {
        state.gpr[X86_RSI] = state.gpr[X86_RDI] + (random_bits() & 63) - 32;
        state.gpr[X86_RCX] = random_bits() & 31;
        state.flags |= (random_bits() & 1) != 0 ? X86_FLAGS_DF : 0;
    }
    if (strcmp(form->name, "xlat") == 0) {
        state.gpr[X86_RBX] = (uint64_t)(data + DATA_BYTES / 2);
    }
    return state;
}

/* Bit strings in memory: offsets from registers must stay within the data. */
static void limit_bit_offset(const struct encoded *encoded, struct state *state)
{
    struct x86_instruction decoded;
    if (x86_decode(X86_DECODE_64, encoded->bytes, encoded->length, &decoded) == X86_DECODE_OK &&
        (decoded.flags & X86_INSTRUCTION_MEMORY) != 0 && decoded.operation >= X86_OP_BT &&
        decoded.operation <= X86_OP_BTC && decoded.opcode != 0xba && decoded.reg != X86_RDI) {
        int64_t offset = (int64_t)(random_bits() & 0x3fff) - 0x2000;
        state->gpr[decoded.reg] = (uint64_t)(decoded.operand_size == 2 ? offset & 0xffff : offset);
    }
}

static bool is_unusable(const struct encoded *encoded)
{
    struct x86_instruction decoded;
    if (x86_decode(X86_DECODE_64, encoded->bytes, encoded->length, &decoded) != X86_DECODE_OK) {
        return true;
    }
    bool bit_string =
        decoded.operation >= X86_OP_BT && decoded.operation <= X86_OP_BTC && decoded.opcode != 0xba;
    bool memory = (decoded.flags & X86_INSTRUCTION_MEMORY) != 0;
    if (decoded.operation == X86_OP_CMPXCHG16B && decoded.displacement % 16 != 0) {
        return true; /* #GP, tested elsewhere */
    }
    return bit_string && memory && decoded.reg == X86_RDI;
}

static void show(const struct form *form, const struct encoded *encoded, const struct state *start,
                 const struct state *host)
{
    fprintf(stderr, "%s:", form->name);
    for (size_t i = 0; i < encoded->length; i++) {
        fprintf(stderr, " %02x", encoded->bytes[i]);
    }
    fprintf(stderr, "\n  flags %" PRIx64 ": host %" PRIx64 ", soft %" PRIx64 "\n", start->flags,
            host->flags & FLAGS_COMPARED, soft_rflags(&identity_cpu) & FLAGS_COMPARED);
    for (unsigned int i = 0; i < 16; i++) {
        if (i != X86_RSP && host->gpr[i] != identity_cpu.gpr[i]) {
            fprintf(stderr, "  r%u %" PRIx64 ": host %" PRIx64 ", soft %" PRIx64 "\n", i,
                    start->gpr[i], host->gpr[i], identity_cpu.gpr[i]);
        }
    }
}

static bool same_registers(const struct state *host)
{
    for (unsigned int i = 0; i < 16; i++) {
        if (i != X86_RSP && host->gpr[i] != identity_cpu.gpr[i]) {
            return false;
        }
    }
    return ((host->flags ^ soft_rflags(&identity_cpu)) & FLAGS_COMPARED) == 0;
}

static void run_case(const struct form *form)
{
    struct encoded encoded = encode(form);
    struct state start = random_start(form);
    if (is_unusable(&encoded)) {
        return;
    }
    limit_bit_offset(&encoded, &start);
    for (unsigned int i = 0; i < DATA_BYTES; i += 8) {
        uint64_t value = random_operand();
        memcpy(data_before + i, &value, 8);
    }
    if (form->kind == STRING && (random_bits() & 1) != 0) {
        memset(data_before, (int)start.gpr[X86_RAX], DATA_BYTES); /* long runs of equals */
    }
    memcpy(data, data_before, DATA_BYTES);
    struct state host = start;
    emit_page(encoded.bytes, encoded.length);
    bool host_done = run_on_host(&host);
    memcpy(data_host, data, DATA_BYTES);
    memcpy(data, data_before, DATA_BYTES);

    memcpy(identity_cpu.gpr, start.gpr, sizeof start.gpr);
    identity_cpu.rip = 0x1000;
    soft_set_rflags(&identity_cpu, start.flags);
    identity_chunks = (random_bits() & 3) != 0;
    enum identity_result result = identity_run(encoded.bytes, encoded.length);
    bool good = result == (host_done ? IDENTITY_DONE : IDENTITY_FAULT) &&
                memcmp(data, data_host, DATA_BYTES) == 0;
    if (host_done) {
        good = good && same_registers(&host);
    } else {
        good = good && identity_cpu.exception_vector == X86_VECTOR_DE;
    }
    CHECK(good);
    if (!good) {
        fprintf(stderr, "  result %d, host %s\n", (int)result, host_done ? "done" : "fault");
        show(form, &encoded, &start, &host);
    }
}

static bool host_has(const struct form *form)
{
    /* the sets that not every host has; a missing one is told by CPUID and hidden from guests */
    bool bmi2 = form->vex > 1 || strcmp(form->name, "bzhi") == 0;
    bool movbe = strncmp(form->name, "movbe", 5) == 0;
    bool adx = strncmp(form->name, "ad", 2) == 0 && form->length == 4;
    uint32_t leaf1 = cpuid_host(1, 0).ecx, leaf7 = cpuid_host(7, 0).ebx;
    bool lzcnt = strcmp(form->name, "lzcnt") == 0;
    return !((bmi2 && (leaf7 >> 8 & 1) == 0) || (form->vex != 0 && (leaf7 >> 3 & 1) == 0) ||
             (movbe && (leaf1 >> 22 & 1) == 0) || (adx && (leaf7 >> 19 & 1) == 0) ||
             (lzcnt && (cpuid_host(0x80000001, 0).ecx >> 5 & 1) == 0));
}

int main(int argc, char **argv)
{
    unsigned int cases = argc > 1 ? (unsigned int)strtoul(argv[1], NULL, 0) : CASES_PER_FORM;
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        SKIP("no memory that is writable and executable");
        return check_summary();
    }
    signal(SIGFPE, on_fault);
    identity_reset();
    for (unsigned int i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (!host_has(&forms[i])) {
            SKIP(forms[i].name);
            continue;
        }
        for (unsigned int n = 0; n < cases; n++) {
            run_case(&forms[i]);
        }
    }
    munmap(page, 4096);
    return check_summary();
}
