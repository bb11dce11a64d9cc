/*
 * FXSAVE, the XSAVE family and XCR0 on the soft engine: images against those of the host's own
 * CPU, then the checks and the neutral state.
 */
#include <string.h>

#include "check.h"
#include "engines/soft/xsave.h"
#include "engines/soft/xsave_area.h"
#include "soft_native.h"
#include "soft_vector_fake.h"

#define AREA_SIZE 896u /* legacy, header, AVX and some more */

static int run(size_t length, const uint8_t *bytes)
{
    return fake_run(bytes, length);
}
#define RUN(...) run(sizeof((const uint8_t[]){__VA_ARGS__}), (const uint8_t[]){__VA_ARGS__})

#define XSAVE()   RUN(0x0f, 0xae, 0x23)
#define XRSTOR()  RUN(0x0f, 0xae, 0x2b)
#define XSAVEC()  RUN(0x0f, 0xc7, 0x23)
#define XSAVES()  RUN(0x0f, 0xc7, 0x2b)
#define XRSTORS() RUN(0x0f, 0xc7, 0x1b)
#define FXSAVE()  RUN(0x0f, 0xae, 0x03)
#define FXRSTOR() RUN(0x0f, 0xae, 0x0b)

static struct native_state native;

static void random_area(uint8_t *area, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        area[i] = (uint8_t)fake_random();
    }
}

/* A legacy area that can be loaded: no pending exception, no reserved bits. */
static void make_loadable(uint8_t area[512])
{
    struct soft_fxsave_image image;
    memcpy(&image, area, sizeof(image));
    image.fcw = (uint16_t)((image.fcw & 0x0f3f) | 0x40);
    image.fsw = (uint16_t)(image.fsw & 0x7f00) | (image.fsw & image.fcw & 0x3f);
    image.reserved1 = 0;
    image.fop &= 0x7ff;
    image.mxcsr = SOFT_MXCSR_RESET | (image.mxcsr & 0xe03f);
    image.fip = 0;
    image.fdp = 0;
    image.fop = 0;
    for (unsigned int i = 0; i < 8; i++) {
        memset(image.st[i] + 10, 0, 6);
    }
    memcpy(area, &image, sizeof(image));
}

/* The same random state for both. */
static void random_state(void)
{
    struct soft_fpu *fpu = fake.cpu.fpu;
    memset(&native, 0, sizeof(native));
    random_area(native.x87, sizeof(native.x87));
    make_loadable(native.x87);
    random_area(&native.ymm[0][0], sizeof(native.ymm));
    memcpy(&native.mxcsr, native.x87 + XSAVE_MXCSR, 4);
    uint32_t plain = SOFT_MXCSR_RESET;
    memcpy(native.x87 + XSAVE_MXCSR, &plain, 4);
    native.flags = 0x202;
    soft_fpu_save(fpu);
    memcpy(&fpu->image, native.x87, sizeof(fpu->image));
    soft_fpu_settle_exceptions(fpu);
    fpu->pointers = (struct soft_x87_pointers){0};
    memcpy(fpu->ymm, native.ymm, sizeof(fpu->ymm));
    fpu->mxcsr = native.mxcsr;
}

static bool same_state(void)
{
    struct soft_fpu *fpu = fake.cpu.fpu;
    struct soft_fxsave_image expected;
    memcpy(&expected, native.x87, sizeof(expected));
    soft_fpu_save(fpu);
    bool same = fpu->image.fcw == expected.fcw && fpu->image.fsw == expected.fsw &&
                fpu->image.ftw == expected.ftw && fpu->mxcsr == native.mxcsr &&
                memcmp(fpu->ymm, native.ymm, sizeof(native.ymm)) == 0;
    for (unsigned int i = 0; i < 8; i++) {
        same = same && memcmp(fpu->image.st[i], expected.st[i], 10) == 0;
    }
    return same;
}

static void set_mask(uint64_t mask)
{
    native.gpr[X86_RAX] = mask & 0xffffffff;
    native.gpr[X86_RDX] = mask >> 32;
    native.gpr[X86_RBX] = (uint64_t)(uintptr_t)fake.memory;
    memcpy(fake.cpu.gpr, native.gpr, sizeof(native.gpr));
}

/* Runs an instruction that writes the area both ways and compares. */
static unsigned int compare_save(const uint8_t *bytes, size_t length, uint64_t mask)
{
    uint8_t before[AREA_SIZE], after[AREA_SIZE];
    random_state();
    random_area(before, sizeof(before));
    memset(before + 512, 0, 64); /* the header */
    memcpy(fake.memory, before, sizeof(before));
    set_mask(mask);
    int vector = fake_run(bytes, length);
    memcpy(after, fake.memory, sizeof(after));
    memcpy(fake.memory, before, sizeof(before));
    soft_fpu_save(fake.cpu.fpu);
    native_run(&native, bytes, length);
    memset(after + 6, 0, 18); /* FOP, FIP, FDP: the host's are about our code, if anything */
    memset(fake.memory + 6, 0, 18);
    if (vector == FAKE_NO_EXCEPTION && memcmp(after, fake.memory, AREA_SIZE) == 0) {
        return 0;
    }
    for (unsigned int i = 0; i < AREA_SIZE; i++) {
        if (after[i] != fake.memory[i]) {
            fprintf(stderr, "byte %u is %02x, on the host %02x (mask %x, vector %d)\n", i, after[i],
                    fake.memory[i], (unsigned int)mask, vector);
            break;
        }
    }
    return 1;
}

static void test_saves_against_host(void)
{
    static const struct {
        const char *name;
        uint8_t bytes[4];
        size_t length;
    } forms[] = {
        {"fxsave", {0x0f, 0xae, 0x03}, 3},   {"fxsave64", {0x48, 0x0f, 0xae, 0x03}, 4},
        {"xsave", {0x0f, 0xae, 0x23}, 3},    {"xsave64", {0x48, 0x0f, 0xae, 0x23}, 4},
        {"xsaveopt", {0x0f, 0xae, 0x33}, 3}, {"xsaveopt64", {0x48, 0x0f, 0xae, 0x33}, 4},
        {"xsavec", {0x0f, 0xc7, 0x23}, 3},   {"xsavec64", {0x48, 0x0f, 0xc7, 0x23}, 4},
    };
    for (size_t form = 0; form < sizeof(forms) / sizeof(forms[0]); form++) {
        unsigned int failures = 0;
        for (unsigned int i = 0; i < 64; i++) {
            failures += compare_save(forms[form].bytes, forms[form].length, i & 7);
        }
        if (!CHECK(failures == 0)) {
            fprintf(stderr, "    that was %s\n", forms[form].name);
        }
    }
}

static unsigned int compare_restore(const uint8_t *bytes, size_t length, uint64_t mask,
                                    uint64_t xstate_bv, uint64_t xcomp_bv)
{
    struct xsave_header header = {.xstate_bv = xstate_bv, .xcomp_bv = xcomp_bv};
    random_area(fake.memory, AREA_SIZE);
    make_loadable(fake.memory);
    memcpy(fake.memory + 512, &header, sizeof(header));
    random_state();
    set_mask(mask);
    int vector = fake_run(bytes, length);
    soft_fpu_save(fake.cpu.fpu);
    native_run(&native, bytes, length);
    if (vector == FAKE_NO_EXCEPTION && same_state()) {
        return 0;
    }
    fprintf(stderr, "mask %x, XSTATE_BV %x, XCOMP_BV %x: vector %d\n", (unsigned int)mask,
            (unsigned int)xstate_bv, (unsigned int)xcomp_bv, vector);
    return 1;
}

static void test_restores_against_host(void)
{
    static const uint8_t fxrstor[] = {0x0f, 0xae, 0x0b}, xrstor[] = {0x0f, 0xae, 0x2b};
    unsigned int failures = 0;
    for (unsigned int i = 0; i < 512; i++) {
        unsigned int mask = i & 7, present = i >> 3 & 7, layout = i >> 6 | present;
        failures += compare_restore(fxrstor, 3, 0, 0, 0);
        failures += compare_restore(xrstor, 3, mask, present, 0);
        failures += compare_restore(xrstor, 3, mask, present, layout | XSAVE_COMPACTED);
    }
    CHECK_EQUAL(failures, 0);
}

/* --- what is refused --- */

static void prepare_area(uint64_t xstate_bv, uint64_t xcomp_bv)
{
    struct xsave_header header = {.xstate_bv = xstate_bv, .xcomp_bv = xcomp_bv};
    random_area(fake.memory, AREA_SIZE);
    make_loadable(fake.memory);
    memcpy(fake.memory + 512, &header, sizeof(header));
    random_state();
    set_mask(7);
}

static void test_checks(void)
{
    struct soft_cpu *cpu = &fake.cpu;
    prepare_area(8, 0);
    CHECK_EQUAL(XRSTOR(), X86_VECTOR_GP); /* a component that XCR0 does not enable */
    CHECK(same_state());
    prepare_area(7, 7); /* XCOMP_BV without bit 63 */
    CHECK_EQUAL(XRSTOR(), X86_VECTOR_GP);
    prepare_area(7, 3 | XSAVE_COMPACTED); /* XSTATE_BV beyond XCOMP_BV */
    CHECK_EQUAL(XRSTOR(), X86_VECTOR_GP);
    prepare_area(7, 15 | XSAVE_COMPACTED);
    CHECK_EQUAL(XRSTOR(), X86_VECTOR_GP);
    prepare_area(7, 0);
    fake.memory[512 + 16] = 1; /* reserved in the standard format … */
    CHECK_EQUAL(XRSTOR(), X86_VECTOR_GP);
    prepare_area(7, 0);
    fake.memory[512 + 24] = 1; /* … and not checked */
    CHECK_EQUAL(XRSTOR(), FAKE_NO_EXCEPTION);
    prepare_area(7, 7 | XSAVE_COMPACTED);
    fake.memory[512 + 24] = 1;
    CHECK_EQUAL(XRSTOR(), X86_VECTOR_GP);
    prepare_area(7, 0);
    fake.memory[XSAVE_MXCSR + 3] = 1;
    CHECK_EQUAL(XRSTOR(), X86_VECTOR_GP);
    CHECK(same_state());
    set_mask(1); /* MXCSR is not asked for */
    CHECK_EQUAL(XRSTOR(), FAKE_NO_EXCEPTION);
    CHECK_EQUAL(FXRSTOR(), X86_VECTOR_GP);
    prepare_area(7, 0);
    CHECK_EQUAL(XRSTORS(), X86_VECTOR_GP); /* wants the compacted format */
    prepare_area(7, 7 | XSAVE_COMPACTED);
    CHECK_EQUAL(XRSTORS(), FAKE_NO_EXCEPTION);
    cpu->cpl = 3;
    CHECK_EQUAL(XRSTORS(), X86_VECTOR_GP);
    CHECK_EQUAL(XSAVES(), X86_VECTOR_GP);
    CHECK_EQUAL(XSAVEC(), FAKE_NO_EXCEPTION);
    cpu->cpl = 0;
    CHECK_EQUAL(XSAVES(), FAKE_NO_EXCEPTION);
    cpu->gpr[X86_RBX] += 16;
    CHECK_EQUAL(XSAVE(), X86_VECTOR_GP); /* 64-byte alignment */
    CHECK_EQUAL(FXSAVE(), FAKE_NO_EXCEPTION);
    cpu->gpr[X86_RBX] += 8;
    CHECK_EQUAL(FXSAVE(), X86_VECTOR_GP);
    /* nothing is written before a fault */
    cpu->gpr[X86_RBX] = (uint64_t)(uintptr_t)fake.memory + FAKE_ABSENT - 768;
    memset(fake.memory + FAKE_ABSENT - 768, 0xee, 768);
    CHECK_EQUAL(XSAVE(), X86_VECTOR_PF);
    CHECK(fake.memory[FAKE_ABSENT - 768] == 0xee && fake.memory[FAKE_ABSENT - 256] == 0xee);
    uint64_t cr0 = cpu->cr0, cr4 = cpu->cr4;
    cpu->cr0 |= X86_CR0_TS;
    CHECK_EQUAL(XSAVE(), X86_VECTOR_NM);
    CHECK_EQUAL(FXSAVE(), X86_VECTOR_NM);
    cpu->cr4 &= ~X86_CR4_OSXSAVE;
    CHECK_EQUAL(XSAVE(), X86_VECTOR_UD);
    cpu->cr0 = cr0;
    cpu->cr4 = cr4;
}

/* State in its initial configuration is not written by XSAVEC, and XSTATE_BV says so. */
static void test_init_optimisation(void)
{
    struct soft_cpu *cpu = &fake.cpu;
    uint64_t header[2];
    soft_fpu_reset(cpu->fpu);
    CHECK_EQUAL(RUN(0xdb, 0xe3), FAKE_NO_EXCEPTION); /* fninit */
    set_mask(7);
    memset(fake.memory, 0xcc, AREA_SIZE);
    CHECK_EQUAL(XSAVEC(), FAKE_NO_EXCEPTION);
    memcpy(header, fake.memory + 512, 16);
    CHECK_EQUAL(header[0], 0);
    CHECK_EQUAL(header[1], 7 | XSAVE_COMPACTED);
    CHECK(fake.memory[0] == 0xcc && fake.memory[200] == 0xcc && fake.memory[600] == 0xcc);
    cpu->fpu->mxcsr = 0x1fa0;
    CHECK_EQUAL(XSAVEC(), FAKE_NO_EXCEPTION);
    memcpy(header, fake.memory + 512, 16);
    CHECK_EQUAL(header[0], X86_XCR0_SSE);
    cpu->fpu->mxcsr = SOFT_MXCSR_RESET;
    cpu->gpr[X86_RCX] = 1;
    CHECK_EQUAL(RUN(0x0f, 0x01, 0xd0), FAKE_NO_EXCEPTION); /* xgetbv: what is in use */
    CHECK_EQUAL(cpu->gpr[X86_RAX], 0);
    cpu->fpu->ymm[3][20] = 1;
    CHECK_EQUAL(RUN(0x0f, 0x01, 0xd0), FAKE_NO_EXCEPTION);
    CHECK_EQUAL(cpu->gpr[X86_RAX], X86_XCR0_AVX);
}

static int xsetbv(uint32_t index, uint64_t value)
{
    fake.cpu.gpr[X86_RCX] = index;
    fake.cpu.gpr[X86_RAX] = value & 0xffffffff;
    fake.cpu.gpr[X86_RDX] = value >> 32;
    return RUN(0x0f, 0x01, 0xd1);
}

static void test_xcr0(void)
{
    struct soft_cpu *cpu = &fake.cpu;
    CHECK_EQUAL(xsetbv(0, 7), FAKE_NO_EXCEPTION);
    CHECK_EQUAL(xsetbv(0, 6), X86_VECTOR_GP);   /* x87 is for ever */
    CHECK_EQUAL(xsetbv(0, 5), X86_VECTOR_GP);   /* AVX needs SSE */
    CHECK_EQUAL(xsetbv(0, 0xf), X86_VECTOR_GP); /* unknown */
    CHECK_EQUAL(xsetbv(1, 7), X86_VECTOR_GP);
    CHECK_EQUAL(xsetbv(0, UINT64_C(1) << 63 | 7), X86_VECTOR_GP);
    CHECK_EQUAL(cpu->xcr0, 7);
    CHECK_EQUAL(xsetbv(0, 0x207), FAKE_NO_EXCEPTION); /* PKRU */
    CHECK_EQUAL(cpu->xcr0, 0x207);
    cpu->gpr[X86_RCX] = 0;
    CHECK_EQUAL(RUN(0x0f, 0x01, 0xd0), FAKE_NO_EXCEPTION);
    CHECK_EQUAL(cpu->gpr[X86_RAX], 0x207);
    cpu->gpr[X86_RCX] = 2;
    CHECK_EQUAL(RUN(0x0f, 0x01, 0xd0), X86_VECTOR_GP);
    cpu->cpl = 3;
    CHECK_EQUAL(xsetbv(0, 7), X86_VECTOR_GP);
    cpu->cpl = 0;

    /* PKRU in both formats */
    cpu->pkru = 0x55555554;
    set_mask(0x200);
    memset(fake.memory, 0, 4096);
    CHECK_EQUAL(XSAVE(), FAKE_NO_EXCEPTION);
    uint64_t value;
    memcpy(&value, fake.memory + XSAVE_PKRU_OFFSET, 8);
    CHECK_EQUAL(value, 0x55555554);
    cpu->pkru = 0;
    CHECK_EQUAL(XRSTOR(), FAKE_NO_EXCEPTION);
    CHECK_EQUAL(cpu->pkru, 0x55555554);
    set_mask(0x204);
    memset(fake.memory, 0, 4096);
    CHECK_EQUAL(XSAVEC(), FAKE_NO_EXCEPTION);
    memcpy(&value, fake.memory + 832, 8); /* after AVX, although that is not in use */
    CHECK_EQUAL(value, 0x55555554);
    memset(fake.memory + 512, 0, 8);
    CHECK_EQUAL(XRSTOR(), FAKE_NO_EXCEPTION);
    CHECK_EQUAL(cpu->pkru, 0);
    cpu->xcr0 = 7;
}

static void test_cpuid(void)
{
    CHECK_EQUAL(soft_xsave_size(3, false), 576);
    CHECK_EQUAL(soft_xsave_size(7, false), 832);
    CHECK_EQUAL(soft_xsave_size(0x207, false), 2696);
    CHECK_EQUAL(soft_xsave_size(0x207, true), 840);
    CHECK_EQUAL(soft_xsave_size(0x203, true), 584);
    CHECK_EQUAL(soft_xsave_cpuid(7, 9).eax, 0);
    CHECK_EQUAL(soft_xsave_cpuid(0x207, 9).ebx, 2688);
}

/* Outside 64-bit mode XMM8 to XMM15 are neither saved nor restored. */
static void test_32_bit(void)
{
    struct soft_cpu *cpu = &fake.cpu;
    uint8_t mode = cpu->mode;
    cpu->mode = X86_DECODE_32;
    random_state();
    set_mask(7);
    memset(fake.memory, 0xcc, AREA_SIZE);
    memset(fake.memory + 512, 0, 64);
    CHECK_EQUAL(XSAVE(), FAKE_NO_EXCEPTION);
    CHECK(memcmp(fake.memory + 160 + 7 * 16, cpu->fpu->ymm[7], 16) == 0);
    CHECK(fake.memory[160 + 8 * 16] == 0xcc && fake.memory[576 + 8 * 16] == 0xcc);
    memset(fake.memory + 512, 0, 64);
    memset(cpu->fpu->ymm, 0x11, sizeof(cpu->fpu->ymm));
    CHECK_EQUAL(XRSTOR(), FAKE_NO_EXCEPTION);
    CHECK(cpu->fpu->ymm[7][0] == 0 && cpu->fpu->ymm[7][31] == 0);
    CHECK(cpu->fpu->ymm[8][0] == 0x11 && cpu->fpu->ymm[8][31] == 0x11);
    cpu->mode = mode;
}

static void test_neutral_state(void)
{
    static struct x86_state state, again;
    struct soft_cpu *cpu = &fake.cpu;
    struct error error;
    random_state();
    cpu->fpu->pointers = (struct soft_x87_pointers){0x123456789abc, 0xdef, 0, 0, 0x123};
    cpu->pkru = 4;
    soft_fpu_get(cpu, &state);
    CHECK_EQUAL(state.xcr0, cpu->xcr0);
    soft_fpu_reset(cpu->fpu);
    cpu->pkru = 0;
    CHECK_EQUAL(soft_fpu_set(cpu, &state, &error), 0);
    CHECK(same_state());
    soft_fpu_get(cpu, &again);
    CHECK(memcmp(state.xsave, again.xsave, sizeof(state.xsave)) == 0);
    CHECK_EQUAL(cpu->pkru, 4);
    state.xsave[XSAVE_MXCSR + 3] = 1;
    CHECK(soft_fpu_set(cpu, &state, &error) < 0);
    state.xsave[XSAVE_MXCSR + 3] = 0;
    state.xcr0 = 2;
    CHECK(soft_fpu_set(cpu, &state, &error) < 0);
    x86_state_reset(&state);
    CHECK_EQUAL(soft_fpu_set(cpu, &state, &error), 0);
    CHECK_EQUAL(soft_fpu_control(cpu->fpu), 0x40);
    CHECK_EQUAL(cpu->fpu->mxcsr, SOFT_MXCSR_RESET);
    CHECK_EQUAL(cpu->xcr0, 1);
}

int main(void)
{
    if (!native_setup()) {
        SKIP("the host has no AVX2 or XSAVEC to compare with");
        return check_summary();
    }
    fake_setup();
    test_saves_against_host();
    test_restores_against_host();
    test_checks();
    test_init_optimisation();
    test_xcr0();
    test_cpuid();
    test_32_bit();
    test_neutral_state();
    fake_teardown();
    return check_summary();
}
