/*
 * MMX, SSE and AVX on the soft engine: every form the decoder knows against the host's own CPU,
 * then what the host cannot show: faults, masks, exceptions.
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

/* --- what may run when --- */

static int run(size_t length, const uint8_t *bytes)
{
    return fake_run(bytes, length);
}
#define RUN(...) run(sizeof((const uint8_t[]){__VA_ARGS__}), (const uint8_t[]){__VA_ARGS__})

static void test_availability(void)
{
    struct soft_cpu *cpu = &fake.cpu;
    const struct soft_cpu saved = *cpu;
    cpu->cr0 |= X86_CR0_TS;
    CHECK_EQUAL(RUN(0x0f, 0x58, 0xc1), X86_VECTOR_NM);       /* addps */
    CHECK_EQUAL(RUN(0xc5, 0xf0, 0x58, 0xc1), X86_VECTOR_NM); /* vaddps */
    CHECK_EQUAL(RUN(0x0f, 0xfc, 0xc1), X86_VECTOR_NM);       /* paddb mm */
    cpu->cr4 &= ~X86_CR4_OSFXSR;
    CHECK_EQUAL(RUN(0x0f, 0x58, 0xc1), X86_VECTOR_UD); /* #UD before #NM */
    CHECK_EQUAL(RUN(0x0f, 0xfc, 0xc1), X86_VECTOR_NM); /* MMX does not ask for it */
    *cpu = saved;
    cpu->cr0 |= X86_CR0_EM;
    CHECK_EQUAL(RUN(0x0f, 0x58, 0xc1), X86_VECTOR_UD);
    CHECK_EQUAL(RUN(0x0f, 0xfc, 0xc1), X86_VECTOR_UD);
    CHECK_EQUAL(RUN(0xc5, 0xf0, 0x58, 0xc1), FAKE_NO_EXCEPTION); /* VEX ignores CR0.EM */
    *cpu = saved;
    cpu->cr4 &= ~X86_CR4_OSXSAVE;
    CHECK_EQUAL(RUN(0xc5, 0xf0, 0x58, 0xc1), X86_VECTOR_UD);
    *cpu = saved;
    cpu->xcr0 = X86_XCR0_X87 | X86_XCR0_SSE;
    CHECK_EQUAL(RUN(0xc5, 0xf0, 0x58, 0xc1), X86_VECTOR_UD);
    CHECK_EQUAL(RUN(0x0f, 0x58, 0xc1), FAKE_NO_EXCEPTION);
    *cpu = saved;
    cpu->flags |= X86_FLAGS_VM;
    CHECK_EQUAL(RUN(0xc5, 0xf0, 0x58, 0xc1), X86_VECTOR_UD);
    *cpu = saved;
}

static void test_alignment(void)
{
    fake.cpu.gpr[X86_RBX] = (uint64_t)(uintptr_t)fake.memory + 8;
    CHECK_EQUAL(RUN(0x0f, 0x28, 0x03), X86_VECTOR_GP);           /* movaps */
    CHECK_EQUAL(RUN(0x0f, 0x29, 0x03), X86_VECTOR_GP);           /* movaps, store */
    CHECK_EQUAL(RUN(0x0f, 0x10, 0x03), FAKE_NO_EXCEPTION);       /* movups */
    CHECK_EQUAL(RUN(0x0f, 0x58, 0x03), X86_VECTOR_GP);           /* addps */
    CHECK_EQUAL(RUN(0xc5, 0xf0, 0x58, 0x03), FAKE_NO_EXCEPTION); /* vaddps */
    CHECK_EQUAL(RUN(0xc5, 0xf8, 0x28, 0x03), X86_VECTOR_GP);     /* vmovaps xmm */
    CHECK_EQUAL(RUN(0xf3, 0x0f, 0x58, 0x03), FAKE_NO_EXCEPTION); /* addss */
    fake.cpu.gpr[X86_RBX] = (uint64_t)(uintptr_t)fake.memory + 16;
    CHECK_EQUAL(RUN(0xc5, 0xfc, 0x28, 0x03), X86_VECTOR_GP); /* vmovaps ymm */
    CHECK_EQUAL(RUN(0xc5, 0xf8, 0x28, 0x03), FAKE_NO_EXCEPTION);
}

/* --- SIMD floating-point exceptions --- */

static void set_floats(unsigned int number, float value)
{
    for (unsigned int i = 0; i < 8; i++) {
        memcpy(fake.cpu.fpu->ymm[number] + 4 * i, &value, 4);
    }
}

static void test_simd_exceptions(void)
{
    struct soft_fpu *fpu = fake.cpu.fpu;
    uint8_t before[32];
    set_floats(0, 1.0f);
    set_floats(1, 0.0f);
    memcpy(before, fpu->ymm[0], 32);
    fpu->mxcsr = 0x1f80 & ~0x200u;                     /* ZE unmasked */
    CHECK_EQUAL(RUN(0x0f, 0x5e, 0xc1), X86_VECTOR_XM); /* divps xmm0, xmm1 */
    CHECK_EQUAL(fpu->mxcsr, (0x1f80 & ~0x200u) | 4);
    CHECK(memcmp(before, fpu->ymm[0], 32) == 0);
    fpu->mxcsr = 0x1f80 & ~0x200u;
    CHECK_EQUAL(RUN(0xc5, 0xfc, 0x5e, 0xc1), X86_VECTOR_XM); /* vdivps ymm0, ymm0, ymm1 */
    CHECK_EQUAL(fpu->mxcsr, (0x1f80 & ~0x200u) | 4);
    CHECK(memcmp(before, fpu->ymm[0], 32) == 0);
    fake.cpu.cr4 &= ~X86_CR4_OSXMMEXCPT;
    CHECK_EQUAL(RUN(0x0f, 0x5e, 0xc1), X86_VECTOR_UD);
    fake.cpu.cr4 |= X86_CR4_OSXMMEXCPT;

    /* an unmasked pre-computation exception hides what the computation would have raised */
    set_floats(0, 3.0f);
    uint32_t mixed[4] = {0x7f800001 /* SNaN */, 0x40e00000, 0x40e00000, 0x40e00000};
    memcpy(fpu->ymm[1], mixed, 16);
    fpu->mxcsr = 0x1f80 & ~0x80u; /* IE unmasked */
    CHECK_EQUAL(RUN(0x0f, 0x5e, 0xc1), X86_VECTOR_XM);
    CHECK_EQUAL(fpu->mxcsr & 0x3f, 1); /* and no PE */

    /* unmasked underflow: raised for a tiny result although it is exact */
    set_floats(0, 1.17549435e-38f);
    set_floats(1, 0.5f);
    fpu->mxcsr = 0x1f80 & ~0x800u;
    CHECK_EQUAL(RUN(0x0f, 0x59, 0xc1), X86_VECTOR_XM);
    CHECK_EQUAL(fpu->mxcsr & 0x10, 0x10);

    /* a masked one is only a flag, and the monitor's own MXCSR is left alone */
    fpu->mxcsr = 0x1f80;
    set_floats(1, 0.0f);
    CHECK_EQUAL(RUN(0x0f, 0x5e, 0xc1), FAKE_NO_EXCEPTION);
    CHECK_EQUAL(fpu->mxcsr, 0x1f84);
    uint32_t host;
    __asm__ volatile("stmxcsr %0" : "=m"(host));
    CHECK_EQUAL(host & 0xffc0, 0x1f80);

    /* flags that the comparison would have written stay when it raises */
    soft_set_arithmetic_flags(&fake.cpu, X86_FLAGS_OF | X86_FLAGS_SF);
    memcpy(fpu->ymm[1], mixed, 16);
    fpu->mxcsr = 0x1f80 & ~0x80u;
    CHECK_EQUAL(RUN(0x0f, 0x2f, 0xc1), X86_VECTOR_XM); /* comiss */
    CHECK_EQUAL(soft_arithmetic_flags(&fake.cpu), X86_FLAGS_OF | X86_FLAGS_SF);
    fpu->mxcsr = SOFT_MXCSR_RESET;
}

/* VCVTPS2PH to memory: a page fault comes before MXCSR's flags. */
static void test_store_fault(void)
{
    struct soft_fpu *fpu = fake.cpu.fpu;
    set_floats(1, 1.0e10f);
    fpu->mxcsr = SOFT_MXCSR_RESET;
    fake.cpu.gpr[X86_RBX] = (uint64_t)(uintptr_t)fake.memory + FAKE_ABSENT - 4;
    CHECK_EQUAL(RUN(0xc4, 0xe3, 0x79, 0x1d, 0x0b, 0x04), X86_VECTOR_PF);
    CHECK_EQUAL(fpu->mxcsr, SOFT_MXCSR_RESET);
    CHECK_EQUAL(RUN(0x0f, 0x11, 0x0b), X86_VECTOR_PF); /* movups */
}

/* --- MXCSR, VZERO, EMMS --- */

static void test_controls(void)
{
    struct soft_fpu *fpu = fake.cpu.fpu;
    uint32_t value = 0x10000;
    fake.cpu.gpr[X86_RBX] = (uint64_t)(uintptr_t)fake.memory;
    memcpy(fake.memory, &value, 4);
    fpu->mxcsr = SOFT_MXCSR_RESET;
    CHECK_EQUAL(RUN(0x0f, 0xae, 0x13), X86_VECTOR_GP); /* ldmxcsr: a reserved bit */
    CHECK_EQUAL(fpu->mxcsr, SOFT_MXCSR_RESET);
    value = 0x9fc0;
    memcpy(fake.memory, &value, 4);
    CHECK_EQUAL(RUN(0x0f, 0xae, 0x13), FAKE_NO_EXCEPTION);
    CHECK_EQUAL(fpu->mxcsr, 0x9fc0);
    CHECK_EQUAL(RUN(0xc5, 0xf8, 0xae, 0x5b, 0x08), FAKE_NO_EXCEPTION); /* vstmxcsr [rbx + 8] */
    memcpy(&value, fake.memory + 8, 4);
    CHECK_EQUAL(value, 0x9fc0);
    fpu->mxcsr = SOFT_MXCSR_RESET;

    memset(fpu->ymm, 0x55, sizeof(fpu->ymm));
    CHECK_EQUAL(RUN(0xc5, 0xf8, 0x77), FAKE_NO_EXCEPTION); /* vzeroupper */
    CHECK(fpu->ymm[15][15] == 0x55 && fpu->ymm[15][16] == 0 && fpu->ymm[0][31] == 0);
    CHECK_EQUAL(RUN(0xc5, 0xfc, 0x77), FAKE_NO_EXCEPTION); /* vzeroall */
    CHECK(fpu->ymm[15][15] == 0 && fpu->ymm[0][0] == 0);

    fpu->image.ftw = 0xff;
    CHECK_EQUAL(RUN(0x0f, 0x77), FAKE_NO_EXCEPTION); /* emms */
    CHECK_EQUAL(fpu->image.ftw, 0);
    fpu->image.fcw = 0x0340;
    fpu->image.fsw = 1;
    soft_fpu_settle_exceptions(fpu);
    CHECK_EQUAL(RUN(0x0f, 0x77), X86_VECTOR_MF);
    CHECK_EQUAL(RUN(0x0f, 0xfc, 0xc1), X86_VECTOR_MF); /* paddb */
    soft_fpu_initialise_x87(fpu);
}

/* --- masks --- */

static void set_lanes(unsigned int number, const uint32_t lanes[8])
{
    memcpy(fake.cpu.fpu->ymm[number], lanes, 32);
}

static void test_masked_moves(void)
{
    struct soft_fpu *fpu = fake.cpu.fpu;
    const uint32_t low[8] = {0x80000000, 0xffffffff, 0, 0, 0, 0, 0, 0};
    const uint32_t high[8] = {0, 0, 0x80000000, 0, 0, 0, 0, 0};
    /* eight bytes lie before the page that faults */
    uint64_t edge = (uint64_t)(uintptr_t)fake.memory + FAKE_ABSENT - 8;
    fake.cpu.gpr[X86_RBX] = edge;
    memset(fake.memory + FAKE_ABSENT - 8, 0xab, 8);
    set_lanes(1, low);
    memset(fpu->ymm[2], 0x11, 32);
    CHECK_EQUAL(RUN(0xc4, 0xe2, 0x75, 0x2c, 0x13), FAKE_NO_EXCEPTION); /* vmaskmovps ymm2 */
    const uint32_t expected[8] = {0xabababab, 0xabababab};
    CHECK(memcmp(fpu->ymm[2], expected, 32) == 0);
    set_lanes(1, high);
    CHECK_EQUAL(RUN(0xc4, 0xe2, 0x75, 0x2c, 0x13), X86_VECTOR_PF);
    CHECK_EQUAL(fake.cpu.cr2, edge + 8);
    CHECK(memcmp(fpu->ymm[2], expected, 32) == 0);
    CHECK_EQUAL(RUN(0xc4, 0xe2, 0x75, 0x8e, 0x13), X86_VECTOR_PF); /* vpmaskmovd, store */
    set_lanes(1, low);
    memset(fpu->ymm[2], 0x22, 32);
    CHECK_EQUAL(RUN(0xc4, 0xe2, 0x75, 0x8e, 0x13), FAKE_NO_EXCEPTION);
    CHECK(fake.memory[FAKE_ABSENT - 8] == 0x22 && fake.memory[FAKE_ABSENT - 1] == 0x22);

    fake.cpu.gpr[X86_RDI] = edge;
    uint8_t bytes[32] = {0x80, 0, 0, 0, 0, 0, 0, 0xff};
    memcpy(fpu->ymm[3], bytes, 32);
    memset(fpu->ymm[2], 0x33, 32);
    CHECK_EQUAL(RUN(0x66, 0x0f, 0xf7, 0xd3), FAKE_NO_EXCEPTION); /* maskmovdqu xmm2, xmm3 */
    CHECK(fake.memory[FAKE_ABSENT - 8] == 0x33 && fake.memory[FAKE_ABSENT - 7] == 0x22 &&
          fake.memory[FAKE_ABSENT - 1] == 0x33);
    fpu->ymm[3][8] = 0x80;
    fpu->ymm[2][0] = 0x44;
    CHECK_EQUAL(RUN(0x66, 0x0f, 0xf7, 0xd3), X86_VECTOR_PF);
    CHECK_EQUAL(fake.memory[FAKE_ABSENT - 8], 0x33); /* nothing was stored */
}

/* MASKMOVDQU stores through DS unless a prefix says otherwise; the address size counts. */
static void test_mask_segment(void)
{
    struct soft_cpu *cpu = &fake.cpu;
    memset(cpu->fpu->ymm[3], 0, 32);
    cpu->fpu->ymm[3][0] = 0x80;
    memset(cpu->fpu->ymm[2], 0x99, 32);
    memset(fake.memory, 0, 64);
    cpu->gpr[X86_RDI] = (uint64_t)(uintptr_t)fake.memory;
    cpu->address_base[X86_FS] = 32;
    CHECK_EQUAL(RUN(0x64, 0x66, 0x0f, 0xf7, 0xd3), FAKE_NO_EXCEPTION);
    CHECK(fake.memory[0] == 0 && fake.memory[32] == 0x99);
    CHECK_EQUAL(RUN(0x66, 0x0f, 0xf7, 0xd3), FAKE_NO_EXCEPTION);
    CHECK_EQUAL(fake.memory[0], 0x99);
    cpu->address_base[X86_FS] = cpu->gpr[X86_RDI];
    cpu->gpr[X86_RDI] = UINT64_C(0x100000000) + 48;
    CHECK_EQUAL(RUN(0x64, 0x67, 0x66, 0x0f, 0xf7, 0xd3), FAKE_NO_EXCEPTION);
    CHECK_EQUAL(fake.memory[48], 0x99);
    cpu->address_base[X86_FS] = 0;
}

/* Outside 64-bit mode VEX.W does not widen general registers and their memory operands. */
static void test_w_in_32_bit_mode(void)
{
    struct soft_cpu *cpu = &fake.cpu;
    const uint8_t mode = cpu->mode;
    uint64_t lanes[4];
    cpu->mode = X86_DECODE_32;
    cpu->gpr[X86_RAX] = 0x1122334455667788;
    memset(cpu->fpu->ymm[1], 0xee, 32);
    CHECK_EQUAL(RUN(0xc4, 0xe1, 0xf9, 0x6e, 0xc8), FAKE_NO_EXCEPTION); /* vmovd xmm1, eax */
    memcpy(lanes, cpu->fpu->ymm[1], 32);
    CHECK(lanes[0] == 0x55667788 && lanes[1] == 0 && lanes[3] == 0);
    memset(cpu->fpu->ymm[1], 0xee, 32); /* vpinsrd xmm1, xmm1, eax, 1 */
    CHECK_EQUAL(RUN(0xc4, 0xe3, 0xf1, 0x22, 0xc8, 0x01), FAKE_NO_EXCEPTION);
    memcpy(lanes, cpu->fpu->ymm[1], 32);
    CHECK(lanes[0] == 0x55667788eeeeeeee && lanes[1] == 0xeeeeeeeeeeeeeeee && lanes[2] == 0);
    struct soft_instruction in;
    CHECK(fake_decode((const uint8_t[]){0xc4, 0xe3, 0xf1, 0x22, 0x0b, 0x01}, 6, &in));
    CHECK_EQUAL(in.decoded.memory_size, 4);
    cpu->mode = mode;
}

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

static void test_gather(void)
{
    struct soft_fpu *fpu = fake.cpu.fpu;
    const uint32_t indices[8] = {0, 1, 2, FAKE_ABSENT / 4, 3, 4, FAKE_MMIO / 4, 5};
    const uint32_t all[8] = {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u};
    uint32_t lanes[8];
    for (unsigned int i = 0; i < 8; i++) {
        uint32_t value = 100 + i;
        memcpy(fake.memory + 4 * i, &value, 4);
    }
    fake.cpu.gpr[X86_RBX] = (uint64_t)(uintptr_t)fake.memory;
    set_lanes(1, all);     /* mask */
    set_lanes(2, indices); /* index */
    memset(fpu->ymm[0], 0x77, 32);
    /* vpgatherdd ymm0, [rbx + ymm2 * 4], ymm1 */
    CHECK_EQUAL(RUN(0xc4, 0xe2, 0x75, 0x90, 0x04, 0x93), X86_VECTOR_PF);
    CHECK_EQUAL(fake.cpu.cr2, (uint64_t)(uintptr_t)fake.memory + FAKE_ABSENT);
    memcpy(lanes, fpu->ymm[0], 32);
    CHECK(lanes[0] == 100 && lanes[2] == 102 && lanes[3] == 0x77777777);
    memcpy(lanes, fpu->ymm[1], 32);
    CHECK(lanes[0] == 0 && lanes[2] == 0 && lanes[3] == ~0u && lanes[7] == ~0u);
    /* the element that faulted is masked off; another one is MMIO and makes it start again */
    lanes[3] = 0;
    set_lanes(1, lanes);
    CHECK_EQUAL(RUN(0xc4, 0xe2, 0x75, 0x90, 0x04, 0x93), FAKE_NO_EXCEPTION);
    CHECK_EQUAL(fake.restarts, 1);
    memcpy(lanes, fpu->ymm[0], 32);
    CHECK(lanes[0] == 100 && lanes[3] == 0x77777777 && lanes[4] == 103 && lanes[7] == 105);
    memcpy(lanes, fpu->ymm[1], 32);
    CHECK(lanes[4] == 0 && lanes[7] == 0);
    /* destination, mask and index must differ */
    CHECK_EQUAL(RUN(0xc4, 0xe2, 0x7d, 0x90, 0x04, 0x93), X86_VECTOR_UD);
    /* vgatherqps xmm0, [rbx + ymm2], xmm1: four elements, the rest cleared */
    const uint64_t quads[4] = {0, 4, 8, 12};
    memcpy(fpu->ymm[2], quads, 32);
    set_lanes(1, all);
    CHECK_EQUAL(RUN(0xc4, 0xe2, 0x75, 0x93, 0x04, 0x13), FAKE_NO_EXCEPTION);
    memcpy(lanes, fpu->ymm[0], 32);
    CHECK(lanes[0] == 100 && lanes[3] == 103 && lanes[4] == 0 && lanes[7] == 0);
}

/* Restarting a store to MMIO repeats it and nothing else. */
static void test_mmio(void)
{
    fake.cpu.gpr[X86_RBX] = (uint64_t)(uintptr_t)fake.memory + FAKE_MMIO;
    memset(fake.cpu.fpu->ymm[1], 0x66, 32);
    CHECK_EQUAL(RUN(0x66, 0x0f, 0x3a, 0x16, 0x0b, 0x01), FAKE_NO_EXCEPTION); /* pextrd [rbx] */
    CHECK_EQUAL(fake.restarts, 1);
    CHECK_EQUAL(fake.memory[FAKE_MMIO], 0x66);
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
    CHECK_EQUAL(code_memory_create(4096, &memory, NULL), 0);
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
    native_setup();
    fake_setup();
    test_code_memory();
    test_all_forms();
    test_against_host();
    test_availability();
    test_alignment();
    fake.cpu.mode ^= SOFT_MODE_FAST;
    test_alignment();
    fake.cpu.mode ^= SOFT_MODE_FAST;
    test_simd_exceptions();
    test_store_fault();
    test_controls();
    test_masked_moves();
    test_mask_segment();
    test_w_in_32_bit_mode();
    test_gather();
    test_mmio();
    test_random_bytes();
    fake_teardown();
    return check_summary();
}
