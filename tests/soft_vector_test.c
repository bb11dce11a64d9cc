/*
 * MMX, SSE and AVX on the soft engine: every form the decoder knows against the host's own CPU,
 * every thunk there can be, and bytes that make no sense. soft_vector_fault_test.c has the rest.
 */
#include <string.h>

#include "check.h"
#include "engines/soft/code_memory.h"
#include "engines/soft/memory.h"
#include "engines/soft/thunk.h"
#include "engines/soft/xsave_area.h"
#include "soft_native.h"
#include "soft_vector_fake.h"

#define WINDOW 256u /* bytes of memory that are compared */

/* --- random state --- */

static void random_bytes(void *to, size_t length)
{
    uint8_t *bytes = to;
    for (size_t i = 0; i < length; i++) {
        bytes[i] = (uint8_t)fake_random();
    }
}

/* Numbers that arithmetic finds interesting: near one another, zero, infinite, denormal, NaN. */
static void random_vector(uint8_t bytes[32])
{
    random_bytes(bytes, 32);
    uint64_t kind = fake_random();
    for (unsigned int i = 0; (kind & 3) == 1 && i < 8; i++) {
        static const uint32_t special[] = {0,          0x80000000, 0x7f800000, 0xff800000,
                                           0x7fc00000, 0x7fa00001, 0x00000001, 0x807fffff,
                                           0x3f800000, 0x7f7fffff, 0x00800000, 0x4f000000};
        uint32_t value = special[fake_random() % (sizeof(special) / sizeof(special[0]))];
        memcpy(bytes + 4 * i, &value, 4);
    }
    for (unsigned int i = 0; (kind & 3) == 2 && i < 8; i++) {
        uint32_t value = (uint32_t)(fake_random() & 0x807fffff) | (uint32_t)(120 + (kind >> 8 & 15))
                                                                      << 23;
        memcpy(bytes + 4 * i, &value, 4);
    }
    for (unsigned int i = 0; (kind & 3) == 3 && i < 4; i++) {
        uint64_t value = (fake_random() & UINT64_C(0x800fffffffffffff)) | (1010 + (kind >> 8 & 31))
                                                                              << 52;
        memcpy(bytes + 8 * i, &value, 8);
    }
}

static void random_state(struct native_state *state)
{
    struct soft_fxsave_image image;
    random_bytes(&image, sizeof(image));
    image.fcw = SOFT_FCW_RESET;
    image.fsw &= 0x7f00 | SOFT_FSW_TOP;
    image.fop = 0;
    image.fip = 0;
    image.fdp = 0;
    image.mxcsr = SOFT_MXCSR_RESET;
    memcpy(state->x87, &image, sizeof(image));
    for (unsigned int i = 0; i < 16; i++) {
        random_vector(state->ymm[i]);
        state->gpr[i] = fake_random() >> (fake_random() & 63);
    }
    state->mxcsr = SOFT_MXCSR_RESET | ((uint32_t)fake_random() & 0xe07f);
    state->flags = 0x202 | (fake_random() & X86_FLAGS_ARITHMETIC);
}

static void load_soft(const struct native_state *state)
{
    struct soft_fpu *fpu = fake.cpu.fpu;
    soft_fpu_save(fpu);
    memcpy(&fpu->image, state->x87, sizeof(fpu->image));
    soft_fpu_settle_exceptions(fpu);
    memcpy(fpu->ymm, state->ymm, sizeof(fpu->ymm));
    fpu->mxcsr = state->mxcsr;
    memcpy(fake.cpu.gpr, state->gpr, sizeof(state->gpr));
    soft_set_arithmetic_flags(&fake.cpu, state->flags);
}

/* --- the differential test --- */

static uint8_t generated_modrm(bool *memory)
{
    *memory = (fake_random() & 1) != 0;
    unsigned int reg = (unsigned int)(fake_random() & 7) << 3;
    return (uint8_t)(*memory ? reg | 3 /* [rbx] */ : 0xc0 | reg | (fake_random() & 7));
}

static void generate(uint8_t bytes[15], bool *memory)
{
    static const uint8_t prefixes[] = {0x66, 0xf3, 0xf2};
    uint64_t random = fake_random();
    unsigned int n = 0, map = 1 + (unsigned int)(random & 0xff) % 3, pp = random >> 8 & 3;
    uint8_t modrm = generated_modrm(memory), opcode = (uint8_t)(random >> 16);
    unsigned int extend_rm = *memory ? 0 : random >> 24 & 1, extend_reg = random >> 25 & 1;
    unsigned int w = random >> 26 & 1;
    random_bytes(bytes, 15);
    if ((random >> 27 & 1) != 0) {
        bytes[n++] = 0xc4;
        bytes[n++] = (uint8_t)((extend_reg ^ 1) << 7 | 0x40 | (extend_rm ^ 1) << 5 | map);
        unsigned int vvvv = (random >> 28 & 3) == 0 ? 15 : random >> 32 & 15;
        bytes[n++] = (uint8_t)(w << 7 | vvvv << 3 | (random >> 36 & 1) << 2 | pp);
    } else {
        if (pp != 0) {
            bytes[n++] = prefixes[pp - 1];
        }
        if ((random >> 28 & 1) != 0) {
            bytes[n++] = (uint8_t)(0x40 | w << 3 | extend_reg << 2 | extend_rm);
        }
        bytes[n++] = 0x0f;
        if (map != 1) {
            bytes[n++] = map == 2 ? 0x38 : 0x3a;
        }
    }
    bytes[n++] = opcode;
    bytes[n] = modrm;
}

static bool usable_gpr(unsigned int number)
{
    return number != X86_RSP && number != X86_R14 && number != X86_R15;
}

static bool is_candidate(const struct x86_instruction *in)
{
    if (in->operation != X86_OP_MMX && in->operation != X86_OP_SSE && in->operation != X86_OP_AVX) {
        return false;
    }
    if (in->mod != 3 &&
        (in->base != X86_RBX || in->index != X86_REGISTER_NONE || in->displacement_size != 0)) {
        return false;
    }
    return ((in->shape & X86_SHAPE_REG_GPR) == 0 || usable_gpr(in->reg)) &&
           ((in->shape & X86_SHAPE_RM_GPR) == 0 || in->mod != 3 || usable_gpr(in->rm)) &&
           ((in->shape & X86_SHAPE_REG_GPR) == 0 || in->mod == 3 || in->reg != X86_RBX);
}

static bool same_x87(const struct soft_fxsave_image *image, const struct native_state *native)
{
    struct soft_fxsave_image expected;
    memcpy(&expected, native->x87, sizeof(expected));
    bool same =
        image->fcw == expected.fcw && image->fsw == expected.fsw && image->ftw == expected.ftw;
    for (unsigned int i = 0; i < 8; i++) {
        same = same && memcmp(image->st[i], expected.st[i], 10) == 0;
    }
    return same;
}

static const char *difference(const struct native_state *native, const uint8_t *memory,
                              const uint8_t *native_memory)
{
    const struct soft_fpu *fpu = fake.cpu.fpu;
    if (memcmp(fpu->ymm, native->ymm, sizeof(native->ymm)) != 0) {
        return "vector registers";
    }
    if (fpu->mxcsr != native->mxcsr) {
        return "MXCSR";
    }
    for (unsigned int i = 0; i < 14; i++) {
        if (i != X86_RSP && fake.cpu.gpr[i] != native->gpr[i]) {
            return "general registers";
        }
    }
    if (soft_arithmetic_flags(&fake.cpu) != (native->flags & X86_FLAGS_ARITHMETIC)) {
        return "flags";
    }
    if (!same_x87(&fpu->image, native)) {
        return "x87 state";
    }
    return memcmp(memory, native_memory, WINDOW) != 0 ? "memory" : NULL;
}

static void report(const struct soft_instruction *in, const char *what)
{
    fprintf(stderr, "differs in %s:", what);
    for (unsigned int i = 0; i < in->decoded.length; i++) {
        fprintf(stderr, " %02x", in->bytes[i]);
    }
    fprintf(stderr, "  (shape %04x)\n", in->decoded.shape);
}

/* Runs it both ways from one random state. False if it must not be run on the host. */
static bool compare(const struct soft_instruction *in, unsigned int *failures)
{
    static struct native_state state;
    uint8_t before[WINDOW], after[WINDOW];
    uint8_t *window = fake.memory + 512;
    bool aligned = (in->decoded.shape & X86_SHAPE_ALIGNED) != 0;
    random_state(&state);
    for (unsigned int i = 0; i < WINDOW; i += 32) {
        random_vector(window + i);
    }
    memcpy(before, window, WINDOW);
    if (soft_is_memory(in)) {
        state.gpr[X86_RBX] =
            (uint64_t)(uintptr_t)(window + 64 + (aligned ? 0 : fake_random() % 64));
    }
    load_soft(&state);
    fake.cpu.mode ^= SOFT_MODE_FAST; /* by turns through the TLB and through memory.h */
    int vector = fake_execute(in);
    soft_fpu_save(fake.cpu.fpu);
    if (vector != FAKE_NO_EXCEPTION) {
        /* the decoder let something pass that the host refuses: fine, as long as nothing changed */
        return vector == X86_VECTOR_UD;
    }
    memcpy(after, window, WINDOW);
    memcpy(window, before, WINDOW);
    native_run(&state, in->bytes, in->decoded.length);
    const char *what = difference(&state, after, window);
    if (what != NULL && (*failures)++ < 20) {
        report(in, what);
    }
    return what == NULL;
}

static void test_against_host(void)
{
    static uint8_t seen[2][4][4][256];
    unsigned int failures = 0, refused = 0, forms = 0, cases = 0;
    for (unsigned int i = 0; i < 1000000; i++) {
        uint8_t bytes[15];
        bool memory;
        struct soft_instruction in;
        generate(bytes, &memory);
        if (!fake_decode(bytes, sizeof(bytes), &in) || !is_candidate(&in.decoded)) {
            continue;
        }
        const struct x86_instruction *decoded = &in.decoded;
        unsigned int prefix = decoded->mandatory_prefix == 0x66   ? 1
                              : decoded->mandatory_prefix == 0xf3 ? 2
                              : decoded->mandatory_prefix == 0xf2 ? 3
                                                                  : 0;
        uint8_t *form = &seen[decoded->encoding][decoded->map][prefix][decoded->opcode];
        forms += *form == 0;
        *form = 1;
        cases++;
        unsigned int failed = failures;
        if (!compare(&in, &failures) && failed == failures) {
            report(&in, "being refused");
            refused++;
        }
    }
    fake.cpu.mode |= SOFT_MODE_FAST;
    printf("vector: %u cases of %u opcodes\n", cases, forms);
    CHECK_EQUAL(failures, 0);
    CHECK_EQUAL(refused, 0);
    CHECK(forms > 650);
}

/* --- whatever the bytes --- */

/*
 * Whatever decodes must come back: an exception or a result, never a crash of the monitor. In
 * every mode, with registers that point to and fro.
 */
static void test_random_bytes(void)
{
    struct soft_cpu *cpu = &fake.cpu;
    const uint8_t mode = cpu->mode;
    unsigned int executed = 0, raised = 0;
    for (unsigned int i = 0; i < 400000; i++) {
        static struct native_state state;
        static const uint8_t starts[] = {0x0f, 0x66, 0xf2, 0xf3, 0xc4, 0xc5};
        uint8_t bytes[15];
        struct soft_instruction in;
        random_bytes(bytes, sizeof(bytes));
        uint64_t random = fake_random();
        if ((random & 7) < 6) {
            bytes[0] = starts[random & 7];
            bytes[1] = (random & 7) < 4 && (random & 7) > 0 ? 0x0f : bytes[1];
        } else {
            bytes[0] = 0xd8 | (random >> 8 & 7);
        }
        cpu->mode = (uint8_t)(random >> 16) % 3;
        if (!fake_decode(bytes, sizeof(bytes), &in)) {
            continue;
        }
        random_state(&state);
        state.mxcsr = (uint32_t)random & 0xffff;
        load_soft(&state);
        if ((random >> 24 & 3) == 0) {
            cpu->fpu->image.fcw = (uint16_t)random;
            soft_fpu_settle_exceptions(cpu->fpu);
        }
        for (unsigned int j = 0; j < 16; j++) {
            cpu->gpr[j] = (uint64_t)(uintptr_t)fake.memory + 64 * (fake_random() % 192);
        }
        executed++;
        raised += fake_execute(&in) != FAKE_NO_EXCEPTION;
        soft_fpu_save(cpu->fpu);
    }
    cpu->mode = mode;
    soft_fpu_reset(cpu->fpu);
    soft_fpu_initialise_x87(cpu->fpu);
    cpu->xcr0 = X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX;
    printf("random bytes: %u instructions, %u raised\n", executed, raised);
    CHECK(executed > 50000 && raised < executed);
}

/*
 * Every form there is, with every immediate: that thunks fit their buffer and all of them the
 * arena is what lets the cache do without eviction.
 */
static unsigned int add_forms(const uint8_t *bytes, size_t length, unsigned int modrm_at)
{
    struct soft_instruction in;
    uint8_t copy[15] = {0};
    unsigned int missing = 0;
    memcpy(copy, bytes, length);
    for (unsigned int modrm = 0; modrm < 16; modrm++) { /* each reg, memory and register */
        copy[modrm_at] = (uint8_t)((modrm & 7) << 3 | (modrm < 8 ? 3 : 0xc1));
        if (!fake_decode(copy, sizeof(copy), &in)) {
            continue;
        }
        unsigned int count = in.decoded.immediate_size == 1 ? 256 : 1;
        for (unsigned int immediate = 0; in.thunk != NULL && immediate < count; immediate++) {
            copy[modrm_at + 1] = (uint8_t)immediate;
            fake_decode(copy, sizeof(copy), &in);
            missing += in.thunk == NULL;
        }
    }
    return missing;
}

static void test_all_forms(void)
{
    static const uint8_t prefixes[] = {0x66, 0xf3, 0xf2};
    unsigned int missing = 0;
    for (unsigned int i = 0; i < 3 * 256 * 16; i++) {
        unsigned int opcode = i & 255, pp = i >> 8 & 3, w = i >> 10 & 1, l = i >> 11 & 1;
        unsigned int map = 1 + (i >> 12), n = 0;
        uint8_t bytes[15] = {0};
        if (l == 0 && !(map == 1 && (opcode == 0x38 || opcode == 0x3a))) {
            if (pp != 0) {
                bytes[n++] = prefixes[pp - 1];
            }
            bytes[n++] = (uint8_t)(0x40 | w << 3);
            bytes[n++] = 0x0f;
            if (map != 1) {
                bytes[n++] = map == 2 ? 0x38 : 0x3a;
            }
            bytes[n++] = (uint8_t)opcode;
            missing += add_forms(bytes, n, n);
        }
        for (unsigned int vvvv = 0; vvvv < 2; vvvv++) { /* 1111B where there is no operand */
            const uint8_t vex[] = {0xc4, (uint8_t)(0xe0 | map),
                                   (uint8_t)(w << 7 | (vvvv ? 0x78 : 0) | l << 2 | pp),
                                   (uint8_t)opcode};
            missing += add_forms(vex, sizeof(vex), sizeof(vex));
        }
    }
    size_t used = code_memory_used(thunk_cache_memory(fake.thunks));
    printf("thunks: %zu KiB for all forms\n", used / 1024);
    CHECK_EQUAL(missing, 0);
    CHECK(used > 1024 * 1024 && used < 14 * 1024 * 1024);
}

static void test_code_memory(void)
{
    struct code_memory *memory;
    static const uint8_t code[] = {0xb8, 0x2a, 0, 0, 0, 0xc3}; /* mov eax, 42; ret */
    CHECK_EQUAL(code_memory_create(4096, 0, &memory, NULL), 0);
    const void *first = code_memory_add(memory, code, sizeof(code));
    CHECK(first != NULL && code_memory_contains(memory, (uintptr_t)first));
    CHECK(!code_memory_contains(memory, (uintptr_t)&memory));
    CHECK_EQUAL(((uint32_t(*)(void))(uintptr_t)first)(), 42);
    unsigned int count = 1;
    while (count < 1000 && code_memory_add(memory, code, sizeof(code)) != NULL) {
        count++;
    }
    CHECK_EQUAL(count, 256); /* 16 bytes each */
    code_memory_destroy(memory);
}

int main(void)
{
    if (!native_setup()) {
        SKIP("the host has no AVX2 or XSAVEC to compare with");
        return check_summary();
    }
    fake_setup();
    test_code_memory();
    test_all_forms();
    test_against_host();
    test_random_bytes();
    fake_teardown();
    return check_summary();
}
