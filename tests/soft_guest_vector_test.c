/*
 * Vector, MMX and x87 code on the soft engine: the registers survive whatever runs C code in their
 * middle, exceptions find them, MXCSR and FCW decide what is raised from the next instruction on.
 */
#include <string.h>

#include "check.h"
#include "soft_guest.h"
#include "soft_machine.h"
#include "x86/registers.h"

#define DATA_TEXT   "0x300000"
#define DEVICE_TEXT "0x10000000"

#define XSAVE_FOP   6
#define XSAVE_FIP   8
#define XSAVE_FDP   16
#define XSAVE_MXCSR 24
#define XSAVE_ST    32
#define XSAVE_XMM   160
#define XSAVE_YMM   576

static bool open_guest(struct soft_guest *guest, const uint8_t *code, size_t length)
{
    if (!soft_guest_open(guest, SOFT_GUEST_64)) {
        return false;
    }
    guest->state.cr4 |= X86_CR4_OSFXSR | X86_CR4_OSXSAVE | X86_CR4_OSXMMEXCPT;
    guest->state.cr0 |= X86_CR0_NE;
    guest->state.xcr0 = X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX;
    for (unsigned int i = 0; i < 64; i++) {
        soft_guest_write(guest, SOFT_GUEST_DATA + 8 * i, UINT64_C(0x0101010101010101) * (i + 1), 8);
    }
    soft_guest_load(guest, code, length);
    return true;
}

static uint64_t word_at(const struct soft_guest *guest, unsigned int offset, unsigned int size)
{
    uint64_t value = 0;
    memcpy(&value, guest->state.xsave + offset, size);
    return value;
}

/* The n-th quadword of YMM number. */
static uint64_t ymm(const struct soft_guest *guest, unsigned int number, unsigned int n)
{
    return n < 2 ? word_at(guest, XSAVE_XMM + 16 * number + 8 * n, 8)
                 : word_at(guest, XSAVE_YMM + 16 * number + 8 * (n - 2), 8);
}

static uint64_t filled(unsigned int byte)
{
    return UINT64_C(0x0101010101010101) * byte;
}

#define CHECK_VECTOR(guest, number, a, b, c, d)                                                    \
    (CHECK_EQUAL(ymm(guest, number, 0), a), CHECK_EQUAL(ymm(guest, number, 1), b),                 \
     CHECK_EQUAL(ymm(guest, number, 2), c), CHECK_EQUAL(ymm(guest, number, 3), d))

/* --- calls of C code --- */

/* CPUID is run by C code; the device makes an exit, for which all state is taken and put back. */
GUEST(kept, "mov $" DATA_TEXT ", %esi\n"
            "mov $" DEVICE_TEXT ", %edi\n"
            "vmovdqu (%rsi), %ymm0\n"
            "vmovdqu 32(%rsi), %ymm15\n"
            "xor %eax, %eax\n"
            "cpuid\n"
            "vpaddb %ymm15, %ymm0, %ymm1\n"
            "movl $7, (%rdi)\n"
            "paddb %xmm0, %xmm15\n" /* keeps the upper half */
            "vmovdqu 64(%rsi), %xmm0\n"
            "xor %eax, %eax\n"
            "cpuid\n"
            "hlt\n");

static void test_registers_survive_calls(void)
{
    struct soft_guest guest;
    if (!open_guest(&guest, guest_kept, GUEST_LENGTH(kept))) {
        return;
    }
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_MMIO);
    CHECK_VECTOR(&guest, 0, filled(1), filled(2), filled(3), filled(4));
    CHECK_VECTOR(&guest, 15, filled(5), filled(6), filled(7), filled(8));
    CHECK_VECTOR(&guest, 1, filled(6), filled(8), filled(10), filled(12));
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
    CHECK_VECTOR(&guest, 0, filled(9), filled(10), 0, 0);
    CHECK_VECTOR(&guest, 15, filled(6), filled(8), filled(7), filled(8));
    CHECK_VECTOR(&guest, 1, filled(6), filled(8), filled(10), filled(12));
    soft_guest_close(&guest);
}

/* --- exceptions --- */

GUEST(faulting, "mov $" DATA_TEXT ", %esi\n"
                "movabs $0x7fff00000000, %rdi\n"
                "vmovdqu (%rsi), %ymm3\n"
                "mov $3, %eax\n"
                "cvtsi2ss %eax, %xmm2\n"
                "mov $1, %eax\n"
                "cvtsi2ss %eax, %xmm4\n"
                "divss %xmm2, %xmm4\n" /* inexact */
                "movups %xmm3, (%rdi)\n"
                "hlt\n");

static void test_fault_finds_registers(void)
{
    struct soft_guest guest;
    if (!open_guest(&guest, guest_faulting, GUEST_LENGTH(faulting))) {
        return;
    }
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_PF);
    CHECK_VECTOR(&guest, 3, filled(1), filled(2), filled(3), filled(4));
    CHECK_EQUAL(ymm(&guest, 4, 0), 0x3eaaaaab);
    CHECK_EQUAL(word_at(&guest, XSAVE_MXCSR, 4), 0x1fa0);
    soft_guest_close(&guest);
}

/* Alignment is checked before the page tables are looked at. */
GUEST(misaligned, "movabs $0x7fff00000008, %rdi\n"
                  "pxor %xmm1, %xmm1\n"
                  "movaps %xmm1, (%rdi)\n"
                  "hlt\n");
GUEST(misaligned_load, "mov $" DATA_TEXT ", %esi\n"
                       "pcmpeqd %xmm1, %xmm1\n"
                       "paddd 8(%rsi), %xmm1\n"
                       "hlt\n");
GUEST(vex_needs_none, "mov $" DATA_TEXT ", %esi\n"
                      "vpcmpeqd %xmm1, %xmm1, %xmm1\n"
                      "vpaddb 4(%rsi), %xmm1, %xmm1\n"
                      "hlt\n");

/* What is known of the first two addresses does not hold for the third. */
GUEST(aligned_group, "mov $" DATA_TEXT ", %esi\n"
                     "movaps (%rsi), %xmm1\n"
                     "paddb 16(%rsi), %xmm1\n"
                     "movaps %xmm1, 24(%rsi)\n"
                     "hlt\n");

static void test_alignment(void)
{
    struct soft_guest guest;
    if (open_guest(&guest, guest_aligned_group, GUEST_LENGTH(aligned_group))) {
        CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
        CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_GP);
        CHECK_VECTOR(&guest, 1, filled(4), filled(6), 0, 0);
        soft_guest_close(&guest);
    }
    if (open_guest(&guest, guest_misaligned, GUEST_LENGTH(misaligned))) {
        CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
        CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_GP);
        soft_guest_close(&guest);
    }
    if (open_guest(&guest, guest_misaligned_load, GUEST_LENGTH(misaligned_load))) {
        CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
        CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_GP);
        CHECK_EQUAL(ymm(&guest, 1, 0), UINT64_MAX);
        soft_guest_close(&guest);
    }
    if (open_guest(&guest, guest_vex_needs_none, GUEST_LENGTH(vex_needs_none))) {
        CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
        CHECK_EQUAL(soft_guest_vector(&guest), -1);
        CHECK_EQUAL(ymm(&guest, 1, 0), UINT64_C(0x0101010100000000));
        soft_guest_close(&guest);
    }
}

/* --- MXCSR and FCW --- */

/* Division by zero with the exception masked, then, straight on, with it unmasked. */
GUEST(unmask, "mov $" DATA_TEXT ", %esi\n"
              "movl $0x1d80, (%rsi)\n"
              "mov $1, %eax\n"
              "cvtsi2ss %eax, %xmm0\n"
              "pxor %xmm1, %xmm1\n"
              "movaps %xmm0, %xmm2\n"
              "divss %xmm1, %xmm2\n"
              "stmxcsr 8(%rsi)\n"
              "ldmxcsr (%rsi)\n"
              "divss %xmm1, %xmm0\n"
              "hlt\n");

static void test_mxcsr(void)
{
    struct soft_guest guest;
    if (!open_guest(&guest, guest_unmask, GUEST_LENGTH(unmask))) {
        return;
    }
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_XM);
    CHECK_EQUAL(soft_guest_read(&guest, SOFT_GUEST_DATA + 8, 4), 0x1f84);
    CHECK_EQUAL(word_at(&guest, XSAVE_MXCSR, 4), 0x1d84);
    CHECK_EQUAL(ymm(&guest, 2, 0), 0x7f800000);
    CHECK_EQUAL(ymm(&guest, 0, 0), 0x3f800000);
    soft_guest_close(&guest);
}

GUEST(x87, "mov $" DATA_TEXT ", %esi\n"
           "movw $0x037b, (%rsi)\n"
           "fninit\n"
           "fldz\n"
           "fld1\n"
           "fdiv %st(1), %st\n" /* masked: infinity */
           "fnstcw 2(%rsi)\n"
           "fnstsw %ax\n"
           "mov %ax, 4(%rsi)\n"
           "fstps 8(%rsi)\n"
           "fnclex\n"
           "fldcw (%rsi)\n"
           "fld1\n"
           ".globl guest_x87_division\nguest_x87_division:\n"
           "fdiv %st(1), %st\n"
           "fwait\n"
           "hlt\n");
extern const uint8_t guest_x87_division[];

static void test_x87(void)
{
    struct soft_guest guest;
    if (!open_guest(&guest, guest_x87, GUEST_LENGTH(x87))) {
        return;
    }
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_MF);
    CHECK_EQUAL(soft_guest_read(&guest, SOFT_GUEST_DATA + 2, 2), 0x037f);
    CHECK_EQUAL(soft_guest_read(&guest, SOFT_GUEST_DATA + 4, 2), 0x3004);
    CHECK_EQUAL(soft_guest_read(&guest, SOFT_GUEST_DATA + 8, 4), 0x7f800000);
    CHECK_EQUAL(word_at(&guest, XSAVE_FOP, 2), 0x00f1);
    CHECK_EQUAL(word_at(&guest, XSAVE_FIP, 8),
                SOFT_GUEST_CODE + (uint64_t)(guest_x87_division - guest_x87));
    CHECK_EQUAL(word_at(&guest, XSAVE_FDP, 8), SOFT_GUEST_DATA + 8);
    soft_guest_close(&guest);
}

/* --- MMX: the x87 registers --- */

GUEST(mmx, "mov $" DATA_TEXT ", %esi\n"
           "fninit\n"
           "fld1\n"
           "movq (%rsi), %mm3\n"
           "paddb 8(%rsi), %mm3\n"
           "mov $5, %r11d\n"
           "movd %r11d, %mm4\n"
           "pmovmskb %mm3, %r10d\n"
           "cvtpi2ps %mm4, %xmm1\n"
           "hlt\n");

static void test_mmx(void)
{
    struct soft_guest guest;
    if (!open_guest(&guest, guest_mmx, GUEST_LENGTH(mmx))) {
        return;
    }
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
    CHECK_EQUAL(word_at(&guest, 2, 2) & 0x3800, 0); /* TOP */
    CHECK_EQUAL(word_at(&guest, 4, 1), 0xff);
    CHECK_EQUAL(word_at(&guest, XSAVE_ST + 16 * 3, 8), filled(3));
    CHECK_EQUAL(word_at(&guest, XSAVE_ST + 16 * 3 + 8, 2), 0xffff);
    CHECK_EQUAL(guest.state.gpr[X86_R10], 0);
    CHECK_EQUAL(ymm(&guest, 1, 0), 0x40a00000);
    soft_guest_close(&guest);
}

/* --- general registers, R10 and R11 among them --- */

GUEST(general, "mov $" DATA_TEXT ", %esi\n"
               "mov $0x1234567, %r10d\n"
               "movd %r10d, %xmm0\n"
               "movq %xmm0, %r11\n"
               "add $1, %r11\n"
               "vpinsrd $1, %r11d, %xmm0, %xmm0\n"
               "pextrw $2, %xmm0, %r10d\n"
               "mov $3, %eax\n"
               "cvtsi2sd %eax, %xmm1\n"
               "movsd %xmm1, (%rsi,%r10)\n"
               "cvttsd2si (%rsi,%r10), %r11\n"
               "ptest %xmm2, %xmm2\n"
               "setz %bl\n"
               "hlt\n");

static void test_general_registers(void)
{
    struct soft_guest guest;
    if (!open_guest(&guest, guest_general, GUEST_LENGTH(general))) {
        return;
    }
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
    CHECK_EQUAL(soft_guest_vector(&guest), -1);
    CHECK_EQUAL(ymm(&guest, 0, 0), UINT64_C(0x0123456801234567));
    CHECK_EQUAL(guest.state.gpr[X86_R10], 0x4568);
    CHECK_EQUAL(guest.state.gpr[X86_R11], 3);
    CHECK_EQUAL(guest.state.gpr[X86_RBX] & 0xff, 1);
    CHECK_EQUAL(soft_guest_read(&guest, SOFT_GUEST_DATA + 0x4568, 8), UINT64_C(0x4008000000000000));
    soft_guest_close(&guest);
}

int main(void)
{
    test_registers_survive_calls();
    test_fault_finds_registers();
    test_alignment();
    test_mxcsr();
    test_x87();
    test_mmx();
    test_general_registers();
    return check_summary();
}
