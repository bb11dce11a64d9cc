/*
 * Guests that try to get at more memory than is theirs, on the real software CPU: by addresses at
 * the ends of what a displacement can say, and by code that changes under way.
 *
 * Memory appears at its own addresses, at 1 GByte, and in the last 2 GByte of the address space.
 */
#include "check.h"
#include "soft_guest.h"
#include "soft_guest_window.h"
#include "soft_machine.h"
#include "x86/registers.h"

static bool open_guest(struct soft_guest *guest)
{
    if (!soft_guest_window_open(guest)) {
        return false;
    }
    soft_guest_write(guest, TABLES + PAGE + 510 * 8, (TABLES + 2 * PAGE) | ENTRY, 8);
    soft_guest_write(guest, TABLES + 2 * PAGE + 8 * 8, UINT64_C(0x200000) | ENTRY | LARGE, 8);
    for (unsigned int i = 0; i < 512; i++) {
        soft_guest_window_map(guest, i, i % 4);
    }
    return true;
}

/* Some bytes further than RIP can be from what it names. */
GUEST(far_reads, "mov -0x7fff0000(%rip), %eax\nmov 0x7fff0000(%rip), %ecx\nhlt\n");
GUEST(far_writes, "mov %eax, -0x7fff0000(%rip)\nmov %eax, 0x7fff0000(%rip)\nhlt\n");

static void test_far_apart(const uint8_t *code, size_t length)
{
    struct soft_guest guest;
    if (open_guest(&guest)) {
        soft_guest_load(&guest, code, length);
        CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
        CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_PF);
        CHECK_EQUAL(guest.state.cr2, SOFT_GUEST_CODE + length - 1 + 0x7fff0000);
        soft_guest_close(&guest);
    }
}

/* The last and the first byte that RIP can name. */
GUEST(last, "lea 0x7fffffff(%rip), %rbx\nmov 0x7fffffff(%rip), %al\nhlt\n");
GUEST(first, "lea -0x80000000(%rip), %rbx\nmov -0x80000000(%rip), %al\n"
             "mov -0x7ffffff0(%rip), %al\nhlt\n");
GUEST(last_bit, "xor %ecx, %ecx\nbts %rcx, 0x7fffffff(%rip)\nhlt\n");
GUEST(last_pop, "popq 0x7ffffffc(%rsp)\nhlt\n");

static void test_ends(void)
{
    struct soft_guest guest;
    if (!open_guest(&guest)) {
        return;
    }
    soft_guest_load(&guest, guest_last, GUEST_LENGTH(last));
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
    CHECK_EQUAL(guest.state.gpr[X86_RBX], SOFT_GUEST_CODE + 7 + 0x7fffffff);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_PF);
    CHECK_EQUAL(guest.state.cr2, SOFT_GUEST_CODE + 13 + 0x7fffffff);

    soft_guest_load(&guest, guest_first, GUEST_LENGTH(first));
    guest.state.gpr[X86_RSP] = SOFT_GUEST_STACK;
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
    CHECK_EQUAL(guest.state.gpr[X86_RBX], SOFT_GUEST_CODE + 7 - UINT64_C(0x80000000));
    CHECK_EQUAL(soft_guest_vector(&guest), -1);

    soft_guest_load(&guest, guest_last_bit, GUEST_LENGTH(last_bit));
    guest.state.gpr[X86_RSP] = SOFT_GUEST_STACK;
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_PF);
    CHECK_EQUAL(guest.state.cr2, SOFT_GUEST_CODE + GUEST_LENGTH(last_bit) - 1 + 0x7fffffff);

    soft_guest_load(&guest, guest_last_pop, GUEST_LENGTH(last_pop));
    guest.state.gpr[X86_RSP] = SOFT_GUEST_STACK;
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_PF);
    CHECK_EQUAL(guest.state.cr2, SOFT_GUEST_STACK + 8 + 0x7ffffffc);
    soft_guest_close(&guest);
}

/*
 * The page that runs is mapped elsewhere, which nobody is told of, but the entry of the TLB for it
 * has to go. Then comes an instruction that the interpreter runs (its operand crosses a page). From
 * which of the two pages that comes is anybody's guess; RDI is what the code behind it goes by.
 */
GUEST(remapped, "mov %rax, 0x314000\nmov (%r8), %edx\n"
                "mov (%rdi), %ecx\nmov (%rsi), %rbx\nmov 8(%rdi), %ecx\nhlt\n");
GUEST(remapped_to, "mov %rax, 0x314000\nmov (%r8), %edx\n"
                   "mov (%rdi), %ecx\nmov %r9, %rdi\nmov 8(%rdi), %ecx\nhlt\n");

static void test_remapped(void)
{
    struct soft_guest guest;
    if (!open_guest(&guest)) {
        return;
    }
    for (size_t i = 0; i < GUEST_LENGTH(remapped); i++) {
        soft_guest_write(&guest, FRAMES + i, guest_remapped[i], 1);
        soft_guest_write(&guest, FRAMES + PAGE + i, guest_remapped_to[i], 1);
    }
    guest.state.rip = WINDOW;
    guest.state.gpr[X86_RAX] = (FRAMES + PAGE) | ENTRY;
    guest.state.gpr[X86_R8] = UINT64_C(0x1000000); /* as far as the TLB tells from there */
    guest.state.gpr[X86_RDI] = SOFT_GUEST_DATA + 0x40000;
    guest.state.gpr[X86_RSI] = SOFT_GUEST_DATA + 0x41ffc;
    guest.state.gpr[X86_R9] = UINT64_C(0x700000000000);
    guest.state.gpr[X86_RSP] = SOFT_GUEST_STACK;
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
    int vector = soft_guest_vector(&guest);
    CHECK(vector == -1 || vector == X86_VECTOR_PF);
    soft_guest_close(&guest);
}

/* A segment of code can't be written to, though it begins where those of data do. */
static void test_stores_into_code_segment(void)
{
    static const struct {
        uint8_t length, bytes[7];
    } stores[] = {{7, {0x2e, 0xa3, 0x00, 0x00, 0x30, 0x00, 0xf4}}, /* mov %eax, %cs:0x300000 */
                  {4, {0x2e, 0x89, 0x01, 0xf4}},                   /* mov %eax, %cs:(%ecx) */
                  {5, {0x2e, 0xf0, 0x01, 0x01, 0xf4}},             /* lock add %eax, %cs:(%ecx) */
                  {4, {0x2e, 0xdd, 0x11, 0xf4}},                   /* fstl %cs:(%ecx) */
                  {4, {0x2e, 0x8f, 0x01, 0xf4}}};                  /* pop %cs:(%ecx) */
    struct soft_guest guest;
    for (size_t i = 0; i < sizeof(stores) / sizeof(stores[0]); i++) {
        if (soft_guest_open(&guest, SOFT_GUEST_32)) {
            soft_guest_load(&guest, stores[i].bytes, stores[i].length);
            guest.state.gpr[X86_RCX] = SOFT_GUEST_DATA;
            CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
            CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_GP);
            soft_guest_close(&guest);
        }
    }
}

/* VEX.W, VEX.B and the upper bit of VEX.vvvv mean nothing in 32-bit code. */
GUEST(ignored, ".code32\n"
               ".byte 0xc4, 0xe2, 0xf8, 0xf2, 0x11\n"       /* andn (%ecx), %eax, %edx */
               ".byte 0xc4, 0xe3, 0xfb, 0xf0, 0x19, 0x04\n" /* rorx $4, (%ecx), %ebx */
               ".byte 0xc4, 0xe2, 0xb8, 0xf2, 0x31\n"       /* andn (%ecx), %eax, %esi */
               ".byte 0xc4, 0xc2, 0x78, 0xf2, 0xe9\n"       /* andn %ecx, %eax, %ebp */
               "hlt\n.code64\n");

static void test_ignored_bits_in_32bit_code(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_32)) {
        return;
    }
    soft_guest_write(&guest, SOFT_GUEST_DATA, UINT64_C(0xffffffff12345678), 8);
    soft_guest_load(&guest, guest_ignored, GUEST_LENGTH(ignored));
    guest.state.gpr[X86_RAX] = 0x70;
    guest.state.gpr[X86_RCX] = SOFT_GUEST_DATA;
    guest.state.cr0 &= ~(X86_CR0_TS | X86_CR0_EM);
    guest.state.cr4 |= X86_CR4_OSFXSR | X86_CR4_OSXSAVE;
    guest.state.xcr0 = X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX;
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
    if (soft_guest_vector(&guest) != X86_VECTOR_UD) { /* the host may lack BMI */
        CHECK_EQUAL(guest.state.gpr[X86_RDX], 0x12345608);
        CHECK_EQUAL(guest.state.gpr[X86_RBX], 0x81234567);
        CHECK_EQUAL(guest.state.gpr[X86_RSI], 0x12345608);
        CHECK_EQUAL(guest.state.gpr[X86_RBP], SOFT_GUEST_DATA);
    }
    soft_guest_close(&guest);
}

int main(void)
{
    test_ignored_bits_in_32bit_code();
    test_stores_into_code_segment();
    test_ends();
    test_far_apart(guest_far_reads, GUEST_LENGTH(far_reads));
    test_far_apart(guest_far_writes, GUEST_LENGTH(far_writes));
    test_remapped();
    return check_summary();
}
