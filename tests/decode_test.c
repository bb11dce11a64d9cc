/* The decoder: by hand-written expectations, cut short, and against Zydis. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "decode_oracle.h"
#include "decode_text.h"
#include "x86/disassemble.h"
#include "x86/registers.h"

#define RANDOM_CASES     1000000
#define STRUCTURED_CASES 2000000
#define TRUNCATED_CASES  100000
#define DIFFERENCES_MAX  20

/* xorshift64*: the same bytes in every run. */
static uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

static void random_fill(uint64_t *state, uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (uint8_t)(random_next(state) >> 40);
    }
}

static unsigned int random_below(uint64_t *state, unsigned int bound)
{
    return (unsigned int)((random_next(state) >> 33) % bound);
}

/* --- by hand ---------------------------------------------------------------------------------- */

static struct x86_instruction decoded(enum x86_decode_mode mode, const char *hex)
{
    struct x86_instruction instruction;
    uint8_t bytes[X86_INSTRUCTION_MAX + 1];
    size_t n = 0;

    for (const char *at = hex; *at != '\0' && n < sizeof(bytes); n++) {
        char *end;
        bytes[n] = (uint8_t)strtoul(at, &end, 16);
        at = end;
    }
    if (x86_decode(mode, bytes, n, &instruction) != X86_DECODE_OK) {
        return (struct x86_instruction){.operation = X86_OP_INVALID};
    }
    if (instruction.length != n) {
        fprintf(stderr, "    length of %s is %u\n", hex, instruction.length);
        return (struct x86_instruction){.operation = X86_OP_INVALID};
    }
    return instruction;
}

static enum x86_decode_result result_of(enum x86_decode_mode mode, const char *hex, size_t n)
{
    struct x86_instruction instruction;
    uint8_t bytes[32];
    char *end;

    for (size_t i = 0; i < n; i++) {
        bytes[i] = (uint8_t)strtoul(hex, &end, 16);
        hex = end;
    }
    return x86_decode(mode, bytes, n, &instruction);
}

static unsigned int operation_of(enum x86_decode_mode mode, const char *hex)
{
    return decoded(mode, hex).operation;
}

static void test_prefixes(void)
{
    /* REX counts only directly before the opcode. */
    CHECK_EQUAL(decoded(X86_DECODE_64, "48 89 c3").operand_size, 8);
    CHECK_EQUAL(decoded(X86_DECODE_64, "48 66 89 c3").operand_size, 2);
    CHECK_EQUAL(decoded(X86_DECODE_64, "66 48 89 c3").operand_size, 8);
    /* The last of F2 and F3 wins. */
    CHECK_EQUAL(decoded(X86_DECODE_64, "f2 f3 0f 10 c1").mandatory_prefix, 0xf3);
    CHECK_EQUAL(decoded(X86_DECODE_64, "f3 f2 0f 10 c1").mandatory_prefix, 0xf2);
    /* In 64-bit mode only FS and GS override. */
    CHECK_EQUAL(decoded(X86_DECODE_64, "64 2e 8b 00").segment, X86_FS);
    CHECK_EQUAL(decoded(X86_DECODE_64, "2e 8b 00").segment, X86_DS);
    CHECK_EQUAL(decoded(X86_DECODE_32, "2e 8b 00").segment, X86_CS);
    CHECK_EQUAL(decoded(X86_DECODE_32, "8b 45 00").segment, X86_SS);
    CHECK_EQUAL(decoded(X86_DECODE_64, "41 8b 45 00").segment, X86_DS);
    CHECK_EQUAL(decoded(X86_DECODE_16, "8b 02").segment, X86_SS);
    CHECK_EQUAL(decoded(X86_DECODE_64, "67 8b 05 00 00 00 80").base, X86_REGISTER_RIP);
    CHECK_EQUAL(operation_of(X86_DECODE_64, "90"), X86_OP_NOP);
    CHECK_EQUAL(operation_of(X86_DECODE_64, "41 90"), X86_OP_XCHG);
    CHECK_EQUAL(operation_of(X86_DECODE_64, "f3 90"), X86_OP_PAUSE);
    CHECK_EQUAL(operation_of(X86_DECODE_64, "f3 0f bc c1"), X86_OP_TZCNT);
    CHECK_EQUAL(operation_of(X86_DECODE_64, "0f bc c1"), X86_OP_BSF);
    CHECK_EQUAL(operation_of(X86_DECODE_64, "f3 0f 09"), X86_OP_WBINVD);
    CHECK_EQUAL(operation_of(X86_DECODE_64, "f3 0f 1e fa"), X86_OP_NOP);
}

static void test_lock(void)
{
    CHECK_EQUAL(operation_of(X86_DECODE_64, "f0 48 0f b1 0a"), X86_OP_CMPXCHG);
    CHECK(decoded(X86_DECODE_64, "f0 01 00").flags & X86_INSTRUCTION_LOCK);
    CHECK_EQUAL(operation_of(X86_DECODE_64, "f0 01 c0"), X86_OP_INVALID); /* register */
    CHECK_EQUAL(operation_of(X86_DECODE_64, "f0 03 00"), X86_OP_INVALID); /* memory source */
    CHECK_EQUAL(operation_of(X86_DECODE_64, "f0 39 00"), X86_OP_INVALID); /* CMP */
    CHECK_EQUAL(operation_of(X86_DECODE_64, "f0 90"), X86_OP_INVALID);
    CHECK_EQUAL(operation_of(X86_DECODE_64, "f0 c5 f8 28 c1"), X86_OP_INVALID);
}

static void test_sizes(void)
{
    CHECK_EQUAL(decoded(X86_DECODE_64, "50").operand_size, 8);
    CHECK_EQUAL(decoded(X86_DECODE_64, "66 50").operand_size, 2);
    CHECK_EQUAL(decoded(X86_DECODE_64, "66 e8 00 00 00 00").operand_size, 8);
    CHECK(decoded(X86_DECODE_64, "66 e8 00 00 00 00").flags & X86_INSTRUCTION_NO_66);
    CHECK_EQUAL(decoded(X86_DECODE_32, "66 e8 00 00").operand_size, 2);
    CHECK_EQUAL(decoded(X86_DECODE_16, "e8 00 00").operand_size, 2);
    CHECK_EQUAL(decoded(X86_DECODE_64, "0f 20 c0").operand_size, 8);
    CHECK_EQUAL(decoded(X86_DECODE_64, "44 0f 20 c0").reg, 8);
    CHECK_EQUAL(operation_of(X86_DECODE_64, "0f 20 c8"), X86_OP_INVALID);   /* CR1 */
    CHECK_EQUAL(operation_of(X86_DECODE_64, "0f 22 00"), X86_OP_MOV_TO_CR); /* mod ignored */
    CHECK_EQUAL(decoded(X86_DECODE_64, "48 b8 08 07 06 05 04 03 02 01").immediate,
                0x0102030405060708);
    CHECK_EQUAL(decoded(X86_DECODE_64, "48 a1 08 07 06 05 04 03 02 01").immediate,
                0x0102030405060708);
    CHECK_EQUAL(decoded(X86_DECODE_64, "6a ff").immediate, -1);
    CHECK_EQUAL(decoded(X86_DECODE_64, "c1 e0 ff").immediate, 255);
    CHECK_EQUAL(decoded(X86_DECODE_32, "ea 01 00 00 80 02 00").immediate, 0x80000001);
    CHECK_EQUAL(decoded(X86_DECODE_32, "ea 01 00 00 80 02 00").immediate2, 2);
    CHECK_EQUAL(decoded(X86_DECODE_64, "c8 34 12 03").immediate, 0x1234);
    CHECK_EQUAL(decoded(X86_DECODE_64, "c8 34 12 03").immediate2, 3);
    CHECK_EQUAL(decoded(X86_DECODE_64, "0f 01 10").memory_size, 10);
    CHECK_EQUAL(decoded(X86_DECODE_32, "0f 01 10").memory_size, 6);
}

static void test_modes(void)
{
    CHECK_EQUAL(operation_of(X86_DECODE_32, "c4 00"), X86_OP_LES);
    CHECK_EQUAL(operation_of(X86_DECODE_32, "c5 f8 28 c1"), X86_OP_AVX);
    CHECK_EQUAL(operation_of(X86_DECODE_32, "62 00"), X86_OP_BOUND);
    CHECK_EQUAL(operation_of(X86_DECODE_32, "63 c1"), X86_OP_ARPL);
    CHECK_EQUAL(operation_of(X86_DECODE_64, "63 c1"), X86_OP_MOVSXD);
    CHECK_EQUAL(operation_of(X86_DECODE_32, "40"), X86_OP_INC);
    static const char *const not_64[] = {"06",
                                         "0e",
                                         "27",
                                         "37",
                                         "60",
                                         "82 c0 00",
                                         "9a 00 00 00 00 00 00",
                                         "c4 00",
                                         "ce",
                                         "d4 0a",
                                         "d6",
                                         "ea 00 00 00 00 00 00"};
    for (size_t i = 0; i < sizeof(not_64) / sizeof(not_64[0]); i++) {
        CHECK_EQUAL(operation_of(X86_DECODE_64, not_64[i]), X86_OP_INVALID);
    }
    /* With REX.W a far pointer has no size at all; a sanitizer once saw a shift by 64. */
    CHECK_EQUAL(operation_of(X86_DECODE_64, "48 9a 00 00 00 00 00 00"), X86_OP_INVALID);
    CHECK_EQUAL(operation_of(X86_DECODE_32, "0f 01 f8"), X86_OP_INVALID); /* SWAPGS */
    CHECK_EQUAL(operation_of(X86_DECODE_64, "8e c8"), X86_OP_INVALID);    /* MOV CS */
    CHECK_EQUAL(operation_of(X86_DECODE_64, "8c f0"), X86_OP_INVALID);
    CHECK_EQUAL(decoded(X86_DECODE_64, "44 8e d8").reg, X86_DS); /* REX.R does not matter */
}

static void test_vex(void)
{
    CHECK_EQUAL(operation_of(X86_DECODE_64, "c5 f8 77"), X86_OP_VZERO);
    CHECK_EQUAL(decoded(X86_DECODE_64, "c5 fc 77").vector_length, 32);
    CHECK_EQUAL(operation_of(X86_DECODE_64, "66 c5 f8 77"), X86_OP_INVALID);
    CHECK_EQUAL(operation_of(X86_DECODE_64, "48 c5 f8 77"), X86_OP_INVALID);
    CHECK_EQUAL(operation_of(X86_DECODE_64, "f3 c5 f8 77"), X86_OP_INVALID);
    CHECK_EQUAL(operation_of(X86_DECODE_64, "c5 f0 28 c1"), X86_OP_INVALID); /* vvvv unused */
    CHECK_EQUAL(operation_of(X86_DECODE_32, "c4 e1 38 28 c1"), X86_OP_INVALID);
    CHECK_EQUAL(decoded(X86_DECODE_32, "c4 e1 30 58 c1").vvvv, 1); /* used: the top bit is not */
    CHECK_EQUAL(operation_of(X86_DECODE_64, "c4 e2 7d 41 c1"), X86_OP_INVALID); /* L = 1 */
    CHECK_EQUAL(operation_of(X86_DECODE_64, "c4 e2 f9 18 c1"), X86_OP_INVALID); /* W = 1 */
    CHECK_EQUAL(decoded(X86_DECODE_64, "c5 fd fe c1").feature, X86_FEATURE_AVX2);
    CHECK_EQUAL(decoded(X86_DECODE_64, "c5 f9 fe c1").feature, X86_FEATURE_AVX);
    CHECK_EQUAL(operation_of(X86_DECODE_64, "c4 e2 f0 f2 c1"), X86_OP_ANDN);
    CHECK_EQUAL(operation_of(X86_DECODE_64, "c4 e2 f4 f2 c1"), X86_OP_INVALID);
    CHECK_EQUAL(operation_of(X86_DECODE_64, "62 f1 7c 48 28 c1"), X86_OP_INVALID); /* EVEX */
    CHECK_EQUAL(decoded(X86_DECODE_64, "c4 e2 71 92 04 90").index, 2);
    CHECK_EQUAL(operation_of(X86_DECODE_64, "c4 e2 79 92 04 90"), X86_OP_INVALID); /* reg = mask */
    CHECK(decoded(X86_DECODE_64, "c5 f8 28 00").shape & X86_SHAPE_ALIGNED);
    CHECK(!(decoded(X86_DECODE_64, "c5 f8 58 00").shape & X86_SHAPE_ALIGNED));
    CHECK(decoded(X86_DECODE_64, "0f 58 00").shape & X86_SHAPE_ALIGNED);
    CHECK(!(decoded(X86_DECODE_64, "0f 58 00").shape & X86_SHAPE_VVVV));
}

static void test_length_limit(void)
{
    static const char longest[] = "66 66 66 66 66 66 66 66 66 66 66 66 66 66 90 90 90";
    CHECK_EQUAL(result_of(X86_DECODE_64, longest, 15), X86_DECODE_OK);
    CHECK_EQUAL(result_of(X86_DECODE_64, longest, 14), X86_DECODE_TRUNCATED);
    static const char too_long[] = "66 66 66 66 66 66 66 66 66 66 66 66 66 66 66 90 90";
    CHECK_EQUAL(result_of(X86_DECODE_64, too_long, 17), X86_DECODE_TOO_LONG);
    CHECK_EQUAL(result_of(X86_DECODE_64, too_long, 15), X86_DECODE_TOO_LONG);
    CHECK_EQUAL(result_of(X86_DECODE_64, too_long, 14), X86_DECODE_TRUNCATED);
    CHECK_EQUAL(result_of(X86_DECODE_64, "", 0), X86_DECODE_TRUNCATED);
}

static void test_names(void)
{
    for (int i = 0; i < X86_OP_COUNT; i++) {
        const char *name = x86_operation_name((enum x86_operation)i);
        CHECK(name != NULL && strcmp(name, "(unknown)") != 0);
    }
    CHECK(strcmp(x86_operation_name(X86_OP_LGDT), "lgdt") == 0);
    CHECK(strcmp(x86_operation_name(X86_OP_COUNT), "(unknown)") == 0);
}

static void test_disassemble(void)
{
    static const uint8_t lgdt[] = {0x0f, 0x01, 0x10};
    static const uint8_t invalid[] = {0x0f, 0x04};
    static const uint8_t jump[] = {0xeb, 0xfe};
    char text[64];

    if (!disassemble(X86_DECODE_64, 0, lgdt, sizeof(lgdt), text, sizeof(text))) {
        CHECK(text[0] == '\0');
        SKIP("no disassembler is installed");
        return;
    }
    CHECK(strcmp(text, "lgdt [rax]") == 0);
    CHECK(disassemble(X86_DECODE_16, 0, lgdt, sizeof(lgdt), text, sizeof(text)));
    CHECK(strstr(text, "bx+si") != NULL);
    CHECK(disassemble(X86_DECODE_32, 0x1000, jump, sizeof(jump), text, sizeof(text)));
    CHECK(strstr(text, "1000") != NULL);
    CHECK(!disassemble(X86_DECODE_64, 0, invalid, sizeof(invalid), text, sizeof(text)));
    CHECK(text[0] == '\0');
}

/* --- cut short -------------------------------------------------------------------------------- */

/* Every proper prefix of an instruction is TRUNCATED, and nothing beyond it is read. */
static void check_cut_short(uint8_t *page_end, enum x86_decode_mode mode, const uint8_t *bytes)
{
    struct x86_instruction whole, part;

    if (x86_decode(mode, bytes, X86_INSTRUCTION_MAX, &whole) != X86_DECODE_OK) {
        return;
    }
    for (size_t n = 0; n < whole.length; n++) {
        memcpy(page_end - n, bytes, n);
        enum x86_decode_result result = x86_decode(mode, page_end - n, n, &part);
        if (result != X86_DECODE_TRUNCATED) {
            CHECK_EQUAL(result, X86_DECODE_TRUNCATED);
            return;
        }
    }
    memcpy(page_end - whole.length, bytes, whole.length);
    CHECK(x86_decode(mode, page_end - whole.length, whole.length, &part) == X86_DECODE_OK &&
          memcmp(&whole, &part, sizeof(whole)) == 0);
}

static void test_cut_short(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *pages =
        mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t state = 3;

    CHECK(pages != MAP_FAILED);
    if (pages == MAP_FAILED) {
        return;
    }
    CHECK(mprotect(pages + page, page, PROT_NONE) == 0);
    for (unsigned int i = 0; i < TRUNCATED_CASES; i++) {
        uint8_t bytes[X86_INSTRUCTION_MAX];
        random_fill(&state, bytes, sizeof(bytes));
        check_cut_short(pages + page, (enum x86_decode_mode)(i % 3), bytes);
    }
    munmap(pages, 2 * page);
}

/* --- against Zydis ---------------------------------------------------------------------------- */

struct differences {
    unsigned int count;
    unsigned int cases;
};

static uint8_t compare(const struct decode_oracle *oracle, enum x86_decode_mode mode,
                       const uint8_t *bytes, size_t n, struct differences *differences)
{
    static const char *const modes[] = {"16", "32", "64"};
    uint8_t length = 0;
    const char *difference = decode_oracle_compare(oracle, mode, bytes, n, &length);

    differences->cases++;
    if (difference != NULL && differences->count++ < DIFFERENCES_MAX) {
        fprintf(stderr, "    %s-bit %s of %s:", modes[mode], difference,
                decode_oracle_mnemonic(oracle, mode, bytes, n));
        for (size_t i = 0; i < n && i < X86_INSTRUCTION_MAX; i++) {
            fprintf(stderr, " %02x", bytes[i]);
        }
        fputc('\n', stderr);
    }
    return length;
}

static void test_random(const struct decode_oracle *oracle)
{
    struct differences differences = {0};
    uint64_t state = 1;

    for (unsigned int i = 0; i < RANDOM_CASES; i++) {
        uint8_t bytes[X86_INSTRUCTION_MAX];
        random_fill(&state, bytes, sizeof(bytes));
        compare(oracle, (enum x86_decode_mode)(i % 3), bytes, sizeof(bytes), &differences);
    }
    CHECK_EQUAL(differences.cases, RANDOM_CASES);
    CHECK_EQUAL(differences.count, 0);
}

/* Prefixes, then an opcode of a map or VEX with fields that are mostly legal, then random bytes. */
static void structured(uint64_t *state, enum x86_decode_mode mode, uint8_t *bytes)
{
    static const uint8_t prefixes[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x26, 0x2e,
                                       0x36, 0x3e, 0x64, 0x65, 0x66, 0x48, 0x4f};
    uint8_t *at = bytes;

    random_fill(state, bytes, X86_INSTRUCTION_MAX);
    for (unsigned int n = random_below(state, 4); n > 0; n--) {
        *at++ = prefixes[random_below(state, sizeof(prefixes))];
    }
    unsigned int kind = random_below(state, 6);
    if (kind >= 4 && random_below(state, 4) != 0) {
        at = bytes; /* VEX bears no prefixes */
    } else if (mode == X86_DECODE_64 && random_below(state, 3) == 0) {
        *at++ = (uint8_t)(0x40 + random_below(state, 16));
    }
    uint8_t clear = mode == X86_DECODE_64 ? 0 : 0xc0;
    uint8_t unused = random_below(state, 2) != 0 ? 0x78 : 0;
    switch (kind) {
    case 0:
        break;
    case 1:
        *at++ = 0x0f;
        break;
    case 2:
        *at++ = 0x0f;
        *at++ = 0x38;
        break;
    case 3:
        *at++ = 0x0f;
        *at++ = 0x3a;
        break;
    case 4:
        *at++ = 0xc5;
        *at |= clear | unused;
        break;
    default:
        *at++ = 0xc4;
        *at = (uint8_t)((*at & 0xe0) | clear | (1 + random_below(state, 3)));
        at++;
        *at |= unused;
        break;
    }
}

static void test_structured(const struct decode_oracle *oracle)
{
    struct differences differences = {0};
    uint64_t state = 2;

    for (unsigned int i = 0; i < STRUCTURED_CASES; i++) {
        uint8_t bytes[X86_INSTRUCTION_MAX];
        enum x86_decode_mode mode = (enum x86_decode_mode)(i % 3);
        structured(&state, mode, bytes);
        compare(oracle, mode, bytes, sizeof(bytes), &differences);
    }
    CHECK_EQUAL(differences.cases, STRUCTURED_CASES);
    CHECK_EQUAL(differences.count, 0);
}

/* Every instruction of a program, by a linear sweep. */
static void test_program(const struct decode_oracle *oracle, const char *path)
{
    struct differences differences = {0};
    struct decode_text text = decode_text_load(path);

    if (text.size == 0) {
        printf("%s: no code there\n", path);
        SKIP("a program to decode is missing");
        return;
    }
    for (size_t at = 0; at < text.size;) {
        size_t n = text.size - at < X86_INSTRUCTION_MAX ? text.size - at : X86_INSTRUCTION_MAX;
        uint8_t length = compare(oracle, X86_DECODE_64, text.bytes + at, n, &differences);
        at += length != 0 ? length : 1;
    }
    printf("%s: %u instructions\n", path, differences.cases);
    CHECK(differences.cases > 1000);
    CHECK_EQUAL(differences.count, 0);
    decode_text_free(&text);
}

static void test_programs(const struct decode_oracle *oracle)
{
    const char *kernel = getenv("TRAPEZE_TEST_VMLINUX");

    test_program(oracle, "/lib/x86_64-linux-gnu/libc.so.6");
    test_program(oracle, "/lib/x86_64-linux-gnu/libm.so.6");
    test_program(oracle, "/usr/bin/python3");
    test_program(oracle, "/usr/bin/gcc");
    if (kernel != NULL) {
        test_program(oracle, kernel);
    } else {
        SKIP("TRAPEZE_TEST_VMLINUX names no kernel");
    }
}

int main(void)
{
    test_prefixes();
    test_lock();
    test_sizes();
    test_modes();
    test_vex();
    test_length_limit();
    test_names();
    test_disassemble();
    test_cut_short();

    struct decode_oracle *oracle = decode_oracle_open();
    if (oracle == NULL) {
        SKIP("built without Zydis, the decoder's oracle");
    } else {
        test_random(oracle);
        test_structured(oracle);
        test_programs(oracle);
        decode_oracle_close(oracle);
    }
    return check_summary();
}
