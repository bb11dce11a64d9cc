/*
 * Divisions, strings, and what kernels do to RFLAGS, where translated code has ways of its own:
 * faults, page crossings, code that is written over, the shadow of STI, STAC and CLAC.
 */
#include "check.h"
#include "engines/soft/soft.h"
#include "no_cr8.h"
#include "soft_guest.h"
#include "x86/registers.h"

#define LOAD(guest, ...)                                                                           \
    do {                                                                                           \
        static const uint8_t code_[] = {__VA_ARGS__};                                              \
        soft_guest_load((guest), code_, sizeof code_);                                             \
    } while (0)

#define LARGE      UINT64_C(0x200000) /* bytes of a page */
#define PAGE_USER  UINT64_C(4)
#define PAGE_WRITE UINT64_C(2)

/* The entry of the 2 MByte page that an address below 1 GByte lies in; *table: of the others. */
static uint64_t entry_of(struct soft_guest *guest, uint64_t linear, uint64_t table[2])
{
    table[0] = guest->state.cr3 & ~UINT64_C(0xfff);
    table[1] = soft_guest_read(guest, table[0], 8) & ~UINT64_C(0xfff);
    uint64_t directory = soft_guest_read(guest, table[1], 8) & ~UINT64_C(0xfff);
    return directory + linear / LARGE * 8;
}

static void change_entry(struct soft_guest *guest, uint64_t entry, uint64_t clear, uint64_t set)
{
    soft_guest_write(guest, entry, (soft_guest_read(guest, entry, 8) & ~clear) | set, 8);
}

/* --- divisions --- */

static void expect_divide_error(struct soft_guest *guest, uint64_t rip, uint64_t rax, uint64_t rdx)
{
    guest->state.rflags |= X86_FLAGS_CF | X86_FLAGS_SF;
    CHECK_EQUAL(soft_guest_run(guest), EXIT_HLT);
    CHECK_EQUAL(soft_guest_vector(guest), X86_VECTOR_DE);
    CHECK_EQUAL(soft_guest_frame(guest, 0), rip);
    CHECK_EQUAL(soft_guest_frame(guest, 2) & (X86_FLAGS_CF | X86_FLAGS_SF | X86_FLAGS_ZF),
                X86_FLAGS_CF | X86_FLAGS_SF);
    CHECK_EQUAL(guest->state.gpr[X86_RAX], rax);
    CHECK_EQUAL(guest->state.gpr[X86_RDX], rdx);
}

static void test_divide_by_zero(void)
{
    struct soft_guest guest;
    if (soft_guest_open(&guest, SOFT_GUEST_64)) {
        LOAD(&guest, 0x90, 0x49, 0xf7, 0xf3, 0xf4); /* nop; div r11 */
        guest.state.gpr[X86_RAX] = 7;
        guest.state.gpr[X86_RDX] = 0;
        guest.state.gpr[X86_R11] = 0;
        expect_divide_error(&guest, SOFT_GUEST_CODE + 1, 7, 0);
        soft_guest_close(&guest);
    }
}

static void test_divide_overflow_in_memory(void)
{
    struct soft_guest guest;
    if (soft_guest_open(&guest, SOFT_GUEST_64)) {
        LOAD(&guest, 0x90, 0x48, 0xf7, 0x3b, 0xf4); /* nop; idiv qword [rbx] */
        guest.state.gpr[X86_RBX] = SOFT_GUEST_DATA;
        soft_guest_write(&guest, SOFT_GUEST_DATA, UINT64_MAX, 8);
        guest.state.gpr[X86_RAX] = UINT64_C(1) << 63;
        guest.state.gpr[X86_RDX] = UINT64_MAX;
        expect_divide_error(&guest, SOFT_GUEST_CODE + 1, UINT64_C(1) << 63, UINT64_MAX);
        soft_guest_close(&guest);
    }
}

static void test_divide_by_spilled_registers(void)
{
    struct soft_guest guest;
    if (soft_guest_open(&guest, SOFT_GUEST_64)) {
        /* div r11d; div r10b; hlt */
        LOAD(&guest, 0x41, 0xf7, 0xf3, 0x41, 0xf6, 0xf2, 0xf4);
        guest.state.gpr[X86_RAX] = 1000;
        guest.state.gpr[X86_RDX] = 0;
        guest.state.gpr[X86_R11] = 7;
        guest.state.gpr[X86_R10] = 5;
        CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
        CHECK_EQUAL(guest.state.gpr[X86_RAX], 2u << 8 | 28); /* 1000 / 7 = 142; 142 / 5 = 28 */
        CHECK_EQUAL(guest.state.gpr[X86_RDX], 6);
        soft_guest_close(&guest);
    }
}

/* --- strings --- */

static void test_store_downward(void)
{
    struct soft_guest guest;
    if (soft_guest_open(&guest, SOFT_GUEST_64)) {
        LOAD(&guest, 0xfd, 0xf3, 0xaa, 0xfc, 0xaa, 0xf4); /* std; rep stosb; cld; stosb; hlt */
        guest.state.gpr[X86_RAX] = 0x55;
        guest.state.gpr[X86_RCX] = 2;
        guest.state.gpr[X86_RDI] = SOFT_GUEST_DATA + 3;
        CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
        CHECK_EQUAL(soft_guest_read(&guest, SOFT_GUEST_DATA, 8), 0x55555500);
        CHECK_EQUAL(guest.state.gpr[X86_RDI], SOFT_GUEST_DATA + 2);
        CHECK_EQUAL(guest.state.gpr[X86_RCX], 0);
        soft_guest_close(&guest);
    }
}

/* No element, no access: not even to an address that can't be. */
static void test_no_elements(void)
{
    struct soft_guest guest;
    if (soft_guest_open(&guest, SOFT_GUEST_64)) {
        LOAD(&guest, 0xf3, 0x48, 0xa5, 0xf3, 0xaa, 0xf4); /* rep movsq; rep stosb; hlt */
        guest.state.gpr[X86_RCX] = 0;
        guest.state.gpr[X86_RSI] = guest.state.gpr[X86_RDI] = UINT64_C(1) << 63;
        CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
        CHECK_EQUAL(soft_guest_vector(&guest), -1);
        CHECK_EQUAL(guest.state.gpr[X86_RDI], UINT64_C(1) << 63);
        soft_guest_close(&guest);
    }
}

/* What lies before the page that faults has been stored, and the registers say so. */
static void test_fault_in_second_page(void)
{
    struct soft_guest guest;
    uint64_t tables[2];
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    LOAD(&guest, 0xf3, 0x66, 0xab, 0xf4); /* rep stosw; hlt */
    change_entry(&guest, entry_of(&guest, LARGE, tables), PAGE_WRITE, 0);
    guest.state.cr0 |= X86_CR0_WP;
    guest.state.gpr[X86_RAX] = 0x1234;
    guest.state.gpr[X86_RCX] = 10;
    guest.state.gpr[X86_RDI] = LARGE - 8;
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_PF);
    CHECK_EQUAL(soft_guest_frame(&guest, 1), SOFT_GUEST_CODE);
    CHECK_EQUAL(guest.state.cr2, LARGE);
    CHECK_EQUAL(guest.state.gpr[X86_RDI], LARGE);
    CHECK_EQUAL(guest.state.gpr[X86_RCX], 6);
    CHECK_EQUAL(soft_guest_read(&guest, LARGE - 8, 8), 0x1234123412341234);
    soft_guest_close(&guest);
}

/* REP MOVS over the instruction behind it, which has been translated with it. */
static void test_copy_over_next_instruction(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    /* rep movsb; mov eax, 1; hlt */
    LOAD(&guest, 0xf3, 0xa4, 0xb8, 0x01, 0x00, 0x00, 0x00, 0xf4);
    soft_guest_write(&guest, SOFT_GUEST_DATA, UINT64_C(0xf400000002b8), 8);
    for (unsigned int i = 0; i < 2; i++) {
        guest.state.rip = SOFT_GUEST_CODE;
        guest.state.gpr[X86_RCX] = 6;
        guest.state.gpr[X86_RSI] = SOFT_GUEST_DATA;
        guest.state.gpr[X86_RDI] = SOFT_GUEST_CODE + 2;
        CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
        CHECK_EQUAL(guest.state.gpr[X86_RAX], 2 + i);
        soft_guest_write(&guest, SOFT_GUEST_DATA + 1, 3, 1);
    }
    soft_guest_close(&guest);
}

/* --- RFLAGS --- */

static bool line_pending(void *context)
{
    return *(const bool *)context;
}

static int line_acknowledge(void *context)
{
    *(bool *)context = false;
    return 0x40;
}

/* offset: of the STI within its page; the instruction behind it runs before the interrupt. */
static void test_shadow_of_sti(uint64_t offset)
{
    static const uint8_t code[] = {0xfb, 0xff, 0xc0, 0xff, 0xc0, 0xf4}; /* sti; 2 × inc eax; hlt */
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    bool raised = true;
    const struct interrupt_source source = {.pending = line_pending,
                                            .acknowledge = line_acknowledge,
                                            .get_cr8 = no_get_cr8,
                                            .set_cr8 = no_set_cr8,
                                            .context = &raised};
    uint64_t start = SOFT_GUEST_CODE + offset;
    CHECK_EQUAL(guestmem_write(guest.memory, gpa(start), code, sizeof code), 0);
    for (unsigned int i = 0; i < 2; i++) { /* without an interrupt, then with one */
        guest.state.rip = start;
        guest.state.rflags = X86_FLAGS_ONE;
        guest.state.gpr[X86_RAX] = 0;
        CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
        CHECK_EQUAL(soft_guest_vector(&guest), i == 0 ? -1 : 0x40);
        CHECK_EQUAL(guest.state.gpr[X86_RAX], i == 0 ? 2 : 1);
        if (i == 0) {
            CHECK((guest.state.rflags & X86_FLAGS_IF) != 0);
        } else {
            CHECK_EQUAL(soft_guest_frame(&guest, 0), start + 3);
        }
        soft_guest_set_interrupts(&guest, &source);
    }
    soft_guest_close(&guest);
}

/* "Supervisor-Mode Access Prevention": what STAC allowed, CLAC forbids at once. */
static void test_access_check(void)
{
    struct soft_guest guest;
    uint64_t tables[2];
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    uint64_t entry = entry_of(&guest, SOFT_GUEST_DATA, tables);
    change_entry(&guest, entry, 0, PAGE_USER);
    change_entry(&guest, tables[0], 0, PAGE_USER);
    change_entry(&guest, tables[1], 0, PAGE_USER);
    guest.state.cr4 |= X86_CR4_SMAP;
    /* stac; mov eax, [rbx]; mov ecx, [rbx + 4]; clac; mov edx, [rbx]; hlt */
    LOAD(&guest, 0x0f, 0x01, 0xcb, 0x8b, 0x03, 0x8b, 0x4b, 0x04, 0x0f, 0x01, 0xca, 0x8b, 0x13,
         0xf4);
    guest.state.gpr[X86_RBX] = SOFT_GUEST_DATA;
    soft_guest_write(&guest, SOFT_GUEST_DATA, UINT64_C(0x222211111111), 8);
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_PF);
    CHECK_EQUAL(soft_guest_frame(&guest, 1), SOFT_GUEST_CODE + 11);
    CHECK_EQUAL(guest.state.cr2, SOFT_GUEST_DATA);
    CHECK_EQUAL(guest.state.gpr[X86_RAX], 0x11111111);
    CHECK_EQUAL(guest.state.gpr[X86_RCX], 0x2222);
    soft_guest_close(&guest);
}

int main(void)
{
    test_divide_by_zero();
    test_divide_overflow_in_memory();
    test_divide_by_spilled_registers();
    test_store_downward();
    test_no_elements();
    test_fault_in_second_page();
    test_copy_over_next_instruction();
    test_shadow_of_sti(0);
    test_shadow_of_sti(0xfff);
    test_access_check();
    return check_summary();
}
