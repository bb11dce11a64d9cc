/*
 * MMX, SSE and AVX on the soft engine: what must not run, what faults, and what masks keep from
 * faulting.
 */
#include <string.h>

#include "check.h"
#include "soft_vector_fake.h"

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
    fpu->image.fsw = 3 << SOFT_FSW_TOP_SHIFT;
    memset(fpu->image.st, 0, sizeof(fpu->image.st));
    fpu->image.st[0][0] = 1;                         /* physical register 3 */
    CHECK_EQUAL(RUN(0x0f, 0x77), FAKE_NO_EXCEPTION); /* emms */
    CHECK_EQUAL(fpu->image.ftw, 0);
    CHECK_EQUAL(fpu->image.fsw, 0);
    CHECK(fpu->image.st[3][0] == 1 && fpu->image.st[0][0] == 0);
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

int main(void)
{
    fake_setup();
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
    fake_teardown();
    return check_summary();
}
