/*
 * x87 on the soft engine: every instruction on random states against the host's own CPU, then
 * exceptions, environments and the passage to and from MMX.
 */
#include <string.h>

#include "check.h"
#include "soft_native.h"
#include "soft_vector_fake.h"

static int run(size_t length, const uint8_t *bytes)
{
    return fake_run(bytes, length);
}
#define RUN(...) run(sizeof((const uint8_t[]){__VA_ARGS__}), (const uint8_t[]){__VA_ARGS__})

static struct soft_fxsave_image *image(void)
{
    soft_fpu_save(fake.cpu.fpu);
    return &fake.cpu.fpu->image;
}

/* --- random states --- */

static void random_extended(uint8_t st[16])
{
    static const uint16_t exponents[] = {0x0000, 0x7fff, 0x8000, 0xffff, 0x3fff, 0xbfff, 0x4000,
                                         0x3ffe, 0x403e, 0x0001, 0x7ffe, 0x401e, 0x3f80};
    uint64_t mantissa = fake_random(), kind = fake_random();
    uint16_t exponent = exponents[(kind >> 8) % (sizeof(exponents) / sizeof(exponents[0]))];
    if ((kind & 1) != 0) {
        mantissa |= UINT64_C(1) << 63;
    }
    if ((kind & 6) == 6) {
        mantissa &= UINT64_C(0xc000000000000000);
    }
    memset(st, 0, 16);
    memcpy(st, &mantissa, 8);
    memcpy(st + 8, &exponent, 2);
}

/* with_pending: FSW and FCW may leave an exception pending. */
static void random_image(struct soft_fxsave_image *to, bool unmask)
{
    uint64_t random = fake_random();
    memset(to, 0, sizeof(*to));
    to->fcw = (uint16_t)(0x40 | (random & 0x0f00) | 0x3f);
    if (unmask) {
        to->fcw &= (uint16_t)(random >> 16 | 0xffc0);
    }
    to->fsw = (uint16_t)(random >> 32 & 0x7f00);
    to->fsw |= (uint16_t)(random >> 48 & to->fcw & 0x3f); /* flags of masked exceptions only */
    to->ftw = (random & 0x3000) == 0 ? (uint8_t)(random >> 24) : 0xff;
    to->mxcsr = SOFT_MXCSR_RESET;
    for (unsigned int i = 0; i < 8; i++) {
        random_extended(to->st[i]);
    }
}

static void load_image(const struct soft_fxsave_image *from)
{
    soft_fpu_save(fake.cpu.fpu);
    fake.cpu.fpu->image = *from;
    soft_fpu_settle_exceptions(fake.cpu.fpu);
}

static bool same(const struct soft_fxsave_image *a, const struct soft_fxsave_image *b)
{
    bool equal = a->fcw == b->fcw && a->fsw == b->fsw && a->ftw == b->ftw;
    for (unsigned int i = 0; i < 8; i++) {
        equal = equal && memcmp(a->st[i], b->st[i], 10) == 0;
    }
    return equal;
}

static void report(const uint8_t *bytes, size_t length, const struct soft_fxsave_image *native)
{
    const struct soft_fxsave_image *soft = image();
    fprintf(stderr, "differs:");
    for (size_t i = 0; i < length; i++) {
        fprintf(stderr, " %02x", bytes[i]);
    }
    fprintf(stderr, "  soft fcw %04x fsw %04x ftw %02x, host fcw %04x fsw %04x ftw %02x\n",
            soft->fcw, soft->fsw, soft->ftw, native->fcw, native->fsw, native->ftw);
    for (unsigned int i = 0; i < 8; i++) {
        if (memcmp(soft->st[i], native->st[i], 10) != 0) {
            fprintf(stderr, "   ST(%u) differs\n", i);
        }
    }
}

/* --- against the host --- */

#define WINDOW 192u

static struct native_state native;

/* Both run `bytes` from the same state; the operand, if any, is at [rbx]. */
static bool compare(const uint8_t *bytes, size_t length, const struct soft_fxsave_image *start)
{
    uint8_t before[WINDOW], after[WINDOW];
    uint8_t *window = fake.memory + 256;
    for (unsigned int i = 0; i < WINDOW; i++) {
        window[i] = (uint8_t)fake_random();
    }
    if ((fake_random() & 1) != 0) { /* else integers and wild floats */
        random_extended(window);
    }
    memcpy(before, window, WINDOW);
    memset(&native, 0, sizeof(native));
    memcpy(native.x87, start, sizeof(*start));
    native.mxcsr = SOFT_MXCSR_RESET;
    native.flags = 0x202 | (fake_random() & X86_FLAGS_ARITHMETIC);
    native.gpr[X86_RAX] = fake_random();
    native.gpr[X86_RBX] = (uint64_t)(uintptr_t)window;
    load_image(start);
    memcpy(fake.cpu.gpr, native.gpr, sizeof(native.gpr));
    soft_set_arithmetic_flags(&fake.cpu, native.flags);
    fake.cpu.mode ^= SOFT_MODE_FAST; /* by turns through the TLB and through memory.h */
    int vector = fake_run(bytes, length);
    memcpy(after, window, WINDOW);
    memcpy(window, before, WINDOW);
    if (vector != FAKE_NO_EXCEPTION) {
        fprintf(stderr, "raised %d\n", vector);
        report(bytes, length, start);
        return false;
    }
    soft_fpu_save(fake.cpu.fpu); /* the host's registers are about to be used */
    native_run(&native, bytes, length);
    struct soft_fxsave_image expected;
    memcpy(&expected, native.x87, sizeof(expected));
    bool good = same(image(), &expected) && memcmp(window, after, WINDOW) == 0 &&
                fake.cpu.gpr[X86_RAX] == native.gpr[X86_RAX] &&
                soft_arithmetic_flags(&fake.cpu) == (native.flags & X86_FLAGS_ARITHMETIC);
    if (!good) {
        report(bytes, length, &expected);
        fprintf(stderr, "   memory %s\n", memcmp(window, after, WINDOW) == 0 ? "same" : "differs");
    }
    return good;
}

/* FLDENV and FRSTOR have tests of their own: random bytes would leave exceptions pending. */
static bool is_environment_load(unsigned int opcode, unsigned int modrm)
{
    return modrm < 0xc0 && (modrm >> 3 & 7) == 4 && (opcode == 0xd9 || opcode == 0xdd);
}

static bool is_environment_store(unsigned int opcode, unsigned int modrm)
{
    return modrm < 0xc0 && (modrm >> 3 & 7) == 6 && (opcode == 0xd9 || opcode == 0xdd);
}

static void test_against_host(void)
{
    unsigned int failures = 0, cases = 0;
    for (unsigned int i = 0; i < 200000; i++) {
        uint64_t random = fake_random();
        uint8_t bytes[2] = {(uint8_t)(0xd8 | (random & 7)), (uint8_t)(random >> 8)};
        struct soft_instruction in;
        struct soft_fxsave_image start;
        if (bytes[1] < 0xc0) {
            bytes[1] = (uint8_t)((bytes[1] & 0x38) | 3);
        }
        if (is_environment_load(bytes[0], bytes[1]) || is_environment_store(bytes[0], bytes[1]) ||
            !fake_decode(bytes, sizeof(bytes), &in)) {
            continue;
        }
        /* FLDCW of random bytes may make an old flag a pending exception: fine, none is raised */
        random_image(&start, (random >> 20 & 1) != 0);
        cases++;
        if (!compare(bytes, sizeof(bytes), &start) && ++failures > 20) {
            break;
        }
    }
    printf("x87: %u cases\n", cases);
    CHECK_EQUAL(failures, 0);
    CHECK(cases > 100000);
}

/* --- pending exceptions --- */

static void test_pending(void)
{
    struct soft_cpu *cpu = &fake.cpu;
    cpu->gpr[X86_RBX] = (uint64_t)(uintptr_t)fake.memory;
    CHECK_EQUAL(RUN(0xdb, 0xe3), FAKE_NO_EXCEPTION); /* fninit */
    uint16_t control = 0x037b;                       /* ZE unmasked */
    memcpy(fake.memory, &control, 2);
    CHECK_EQUAL(RUN(0xd9, 0x2b), FAKE_NO_EXCEPTION); /* fldcw */
    CHECK_EQUAL(RUN(0xd9, 0xe8), FAKE_NO_EXCEPTION); /* fld1 */
    CHECK_EQUAL(RUN(0xd9, 0xee), FAKE_NO_EXCEPTION); /* fldz */
    cpu->rip = 0x1234;
    CHECK_EQUAL(RUN(0xde, 0xf9), FAKE_NO_EXCEPTION); /* fdivp: the exception is only pending */
    CHECK_EQUAL(cpu->fpu->pointers.fip, 0x1234);
    CHECK_EQUAL(cpu->fpu->pointers.fop, 0x6f9);
    CHECK_EQUAL(RUN(0xdf, 0xe0), FAKE_NO_EXCEPTION); /* fnstsw ax does not wait */
    CHECK_EQUAL(cpu->gpr[X86_RAX] & 0x8084, 0x8084);
    cpu->rip = 0x5678;
    CHECK_EQUAL(RUN(0x9b), X86_VECTOR_MF);
    CHECK_EQUAL(RUN(0xd9, 0xe8), X86_VECTOR_MF);
    CHECK_EQUAL(RUN(0xd9, 0x1b), X86_VECTOR_MF); /* fstp m32 */
    CHECK_EQUAL(RUN(0xd9, 0x2b), X86_VECTOR_MF); /* fldcw waits */
    CHECK_EQUAL(cpu->fpu->pointers.fip, 0x1234);
    CHECK_EQUAL(RUN(0xd9, 0x7b, 0x10), FAKE_NO_EXCEPTION); /* fnstcw */
    CHECK_EQUAL(RUN(0xdb, 0xe2), FAKE_NO_EXCEPTION);       /* fnclex */
    CHECK_EQUAL(RUN(0x9b), FAKE_NO_EXCEPTION);
    CHECK_EQUAL(RUN(0xd9, 0xe8), FAKE_NO_EXCEPTION);
    CHECK_EQUAL(RUN(0xdb, 0xe3), FAKE_NO_EXCEPTION);

    /* a native #MF, where the check in C is not asked, comes back by way of SIGFPE */
    struct soft_fxsave_image *state = image();
    state->fcw = 0x0340;
    state->fsw = 0x8081;
    cpu->fpu->may_pend = false;
    CHECK_EQUAL(RUN(0xd9, 0xe8), X86_VECTOR_MF);
    CHECK_EQUAL(image()->fsw, 0x8081);
    soft_fpu_initialise_x87(cpu->fpu);
}

static void test_availability(void)
{
    struct soft_cpu *cpu = &fake.cpu;
    uint64_t cr0 = cpu->cr0;
    cpu->cr0 = cr0 | X86_CR0_TS;
    CHECK_EQUAL(RUN(0xd9, 0xe8), X86_VECTOR_NM);
    CHECK_EQUAL(RUN(0xdb, 0xe3), X86_VECTOR_NM);
    CHECK_EQUAL(RUN(0x9b), X86_VECTOR_NM); /* MP and TS */
    cpu->cr0 = (cr0 | X86_CR0_TS) & ~X86_CR0_MP;
    CHECK_EQUAL(RUN(0x9b), FAKE_NO_EXCEPTION);
    cpu->cr0 = cr0 | X86_CR0_EM;
    CHECK_EQUAL(RUN(0xd9, 0xe8), X86_VECTOR_NM);
    CHECK_EQUAL(RUN(0x9b), FAKE_NO_EXCEPTION);
    cpu->cr0 = cr0;
    CHECK_EQUAL(RUN(0xd9, 0xe2), X86_VECTOR_UD);
}

/* --- stores --- */

static void test_stores(void)
{
    struct soft_cpu *cpu = &fake.cpu;
    struct soft_fxsave_image before;
    soft_fpu_save(cpu->fpu);
    soft_fpu_initialise_x87(cpu->fpu);
    CHECK_EQUAL(RUN(0xd9, 0xe8), FAKE_NO_EXCEPTION); /* fld1 */
    before = *image();
    cpu->gpr[X86_RBX] = (uint64_t)(uintptr_t)fake.memory + FAKE_ABSENT;
    CHECK_EQUAL(RUN(0xdd, 0x1b), X86_VECTOR_PF); /* fstp m64 */
    CHECK(same(image(), &before));
    cpu->gpr[X86_RBX] = (uint64_t)(uintptr_t)fake.memory + FAKE_ABSENT - 2;
    CHECK_EQUAL(RUN(0xdd, 0x1b), X86_VECTOR_PF);
    CHECK(same(image(), &before));
    /* MMIO leaves in the middle and starts again: popped once */
    cpu->gpr[X86_RBX] = (uint64_t)(uintptr_t)fake.memory + FAKE_MMIO;
    CHECK_EQUAL(RUN(0xdd, 0x1b), FAKE_NO_EXCEPTION);
    CHECK_EQUAL(fake.restarts, 1);
    double value;
    memcpy(&value, fake.memory + FAKE_MMIO, 8);
    CHECK(value == 1.0);
    CHECK_EQUAL(image()->ftw, 0);
    CHECK_EQUAL(image()->fsw & SOFT_FSW_TOP, 0);
    /* an unmasked overflow keeps the store from memory */
    uint16_t control = 0x0377;
    memcpy(fake.memory, &control, 2);
    cpu->gpr[X86_RBX] = (uint64_t)(uintptr_t)fake.memory;
    RUN(0xd9, 0x2b);
    RUN(0xd9, 0xe8);
    image()->st[0][8] = 0x00; /* 2 to the 16129th */
    image()->st[0][9] = 0x7f;
    memset(fake.memory + 16, 0x5a, 8);
    CHECK_EQUAL(RUN(0xdd, 0x5b, 0x10), FAKE_NO_EXCEPTION);
    CHECK_EQUAL(fake.memory[16], 0x5a);
    CHECK_EQUAL(RUN(0x9b), X86_VECTOR_MF);
    CHECK_EQUAL(RUN(0xdb, 0xe3), FAKE_NO_EXCEPTION);
}

/* --- environments --- */

/* The image that FNSTENV or FNSAVE wrote, but for the pointers, which on the host are its own. */
static bool same_environment(const uint8_t *soft, const uint8_t *host, bool wide, size_t length)
{
    unsigned int controls = wide ? 12 : 6, whole = wide ? 28 : 14;
    return memcmp(soft, host, controls) == 0 &&
           (length <= whole || memcmp(soft + whole, host + whole, length - whole) == 0);
}

static void test_environment_stores(void)
{
    unsigned int failures = 0;
    for (unsigned int i = 0; i < 4000; i++) {
        static const uint8_t forms[4][3] = {
            {0xd9, 0x33}, {0xdd, 0x33}, {0x66, 0xd9, 0x33}, {0x66, 0xdd, 0x33}};
        static const size_t sizes[4] = {28, 108, 14, 94};
        unsigned int form = i & 3;
        struct soft_fxsave_image start;
        uint8_t soft[128];
        random_image(&start, (i & 4) != 0);
        load_image(&start);
        fake.cpu.fpu->pointers =
            (struct soft_x87_pointers){0x11223344, 0x55667788, 0x99, 0xaa, 0x7bb};
        memset(fake.memory, 0, 128);
        fake.cpu.gpr[X86_RBX] = (uint64_t)(uintptr_t)fake.memory;
        failures += fake_run(forms[form], form < 2 ? 2 : 3) != FAKE_NO_EXCEPTION;
        memcpy(soft, fake.memory, 128);
        memset(&native, 0, sizeof(native));
        memcpy(native.x87, &start, sizeof(start));
        native.mxcsr = SOFT_MXCSR_RESET;
        native.flags = 0x202;
        native.gpr[X86_RBX] = (uint64_t)(uintptr_t)fake.memory;
        soft_fpu_save(fake.cpu.fpu);
        native_run(&native, forms[form], form < 2 ? 2 : 3);
        struct soft_fxsave_image expected;
        memcpy(&expected, native.x87, sizeof(expected));
        if (!same(image(), &expected) ||
            !same_environment(soft, fake.memory, form < 2, sizes[form])) {
            failures++;
            report(forms[form], 3, &expected);
        }
        if (failures > 5) {
            break;
        }
    }
    CHECK_EQUAL(failures, 0);
}

/* FLDENV and FRSTOR: of what was stored, with other flags, TOP and tags mixed in. */
static void test_environment_loads(void)
{
    unsigned int failures = 0;
    for (unsigned int i = 0; i < 4000 && failures < 5; i++) {
        static const uint8_t forms[4][3] = {
            {0xd9, 0x23}, {0xdd, 0x23}, {0x66, 0xd9, 0x23}, {0x66, 0xdd, 0x23}};
        unsigned int form = i & 3, width = form < 2 ? 4 : 2;
        struct soft_fxsave_image start, expected;
        uint8_t *area = fake.memory;
        random_image(&start, false);
        for (unsigned int j = 0; j < 128; j++) {
            area[j] = (uint8_t)fake_random();
        }
        area[width + 1] &= 0x7f;
        area[width] &= 0x7f; /* ES and B clear; a flag may be unmasked all the same */
        load_image(&start);
        fake.cpu.gpr[X86_RBX] = (uint64_t)(uintptr_t)area;
        failures += fake_run(forms[form], form < 2 ? 2 : 3) != FAKE_NO_EXCEPTION;
        memset(&native, 0, sizeof(native));
        memcpy(native.x87, &start, sizeof(start));
        native.mxcsr = SOFT_MXCSR_RESET;
        native.flags = 0x202;
        native.gpr[X86_RBX] = (uint64_t)(uintptr_t)area;
        soft_fpu_save(fake.cpu.fpu);
        native_run(&native, forms[form], form < 2 ? 2 : 3);
        memcpy(&expected, native.x87, sizeof(expected));
        if (!same(image(), &expected)) {
            failures++;
            report(forms[form], 3, &expected);
        }
    }
    CHECK_EQUAL(failures, 0);
}

/* The pointers in all four layouts, out and in again. */
static void test_pointers(void)
{
    struct soft_cpu *cpu = &fake.cpu;
    const uint64_t cr0 = cpu->cr0;
    const struct soft_x87_pointers pointers = {0x1234, 0x8765, 0xf000, 0x2000, 0x7bb};
    uint32_t wide[7];
    uint16_t narrow[7];
    uint8_t *area = fake.memory;
    soft_fpu_save(cpu->fpu);
    soft_fpu_initialise_x87(cpu->fpu);
    cpu->gpr[X86_RBX] = (uint64_t)(uintptr_t)area;

    cpu->fpu->pointers = pointers;
    RUN(0xd9, 0x33);
    memcpy(wide, area, 28);
    CHECK_EQUAL(wide[0], 0xffff037f);
    CHECK_EQUAL(wide[2], 0xffffffff);
    CHECK_EQUAL(wide[3], 0x1234);
    CHECK_EQUAL(wide[4], 0x07bbf000);
    CHECK_EQUAL(wide[5], 0x8765);
    CHECK_EQUAL(wide[6], 0xffff2000);
    cpu->fpu->pointers = (struct soft_x87_pointers){0};
    RUN(0xd9, 0x23);
    CHECK(memcmp(&cpu->fpu->pointers, &pointers, sizeof(pointers)) == 0);
    RUN(0x66, 0xd9, 0x33);
    memcpy(narrow, area, 14);
    CHECK(narrow[3] == 0x1234 && narrow[4] == 0xf000 && narrow[5] == 0x8765 && narrow[6] == 0x2000);

    cpu->cr0 &= ~X86_CR0_PE; /* the formats of real-address mode: linear addresses */
    cpu->fpu->pointers = pointers;
    RUN(0xd9, 0x33);
    memcpy(wide, area, 28);
    CHECK_EQUAL(wide[3] & 0xffff, 0x1234);
    CHECK_EQUAL(wide[4], 0xf000 | 0x7bb);
    CHECK_EQUAL(wide[5] & 0xffff, 0x8765);
    CHECK_EQUAL(wide[6], 0x2000);
    RUN(0x66, 0xd9, 0x33);
    memcpy(narrow, area, 14);
    CHECK(narrow[4] == (0xf000 | 0x7bb) && narrow[6] == 0x2000);
    RUN(0x66, 0xd9, 0x23);
    CHECK_EQUAL(cpu->fpu->pointers.fip, 0xf1234);
    CHECK_EQUAL(cpu->fpu->pointers.fop, 0x7bb);
    cpu->cr0 = cr0;
}

static void test_mmx_passage(void)
{
    struct soft_cpu *cpu = &fake.cpu;
    soft_fpu_save(cpu->fpu);
    soft_fpu_initialise_x87(cpu->fpu);
    RUN(0xd9, 0xe8); /* fld1: physical register 7 */
    cpu->gpr[X86_RBX] = 0x1122334455667788;
    CHECK_EQUAL(RUN(0x48, 0x0f, 0x6e, 0xcb), FAKE_NO_EXCEPTION); /* movq mm1, rbx */
    const struct soft_fxsave_image *state = image();
    CHECK_EQUAL(state->fsw & SOFT_FSW_TOP, 0);
    CHECK_EQUAL(state->ftw, 0xff);
    CHECK(state->st[1][0] == 0x88 && state->st[1][8] == 0xff && state->st[1][9] == 0xff);
    CHECK_EQUAL(state->st[7][9], 0x3f);                          /* the one that FLD1 left is MM7 */
    CHECK_EQUAL(RUN(0x48, 0x0f, 0x7e, 0xf8), FAKE_NO_EXCEPTION); /* movq rax, mm7 */
    CHECK_EQUAL(cpu->gpr[X86_RAX], UINT64_C(1) << 63);
}

int main(void)
{
    if (!native_setup()) {
        SKIP("the host has no AVX2 or XSAVEC to compare with");
        return check_summary();
    }
    fake_setup();
    test_against_host();
    test_pending();
    test_availability();
    test_stores();
    fake.cpu.mode ^= SOFT_MODE_FAST;
    test_stores();
    test_environment_stores();
    test_environment_loads();
    test_pointers();
    test_mmx_passage();
    fake_teardown();
    return check_summary();
}
