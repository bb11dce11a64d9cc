/* Paging and the TLB on the real software CPU, where pages are large or lie at the end of memory.
 */
#include "check.h"
#include "engines/soft/soft.h"
#include "soft_guest.h"
#include "x86/registers.h"

#define LOAD(guest, ...)                                                                           \
    do {                                                                                           \
        static const uint8_t code_[] = {__VA_ARGS__};                                              \
        soft_guest_load((guest), code_, sizeof code_);                                             \
    } while (0)

#define LARGE_PAGE UINT64_C(0x83) /* present, writable, 4 MByte */
#define ALIAS      UINT64_C(0x1000000)

/* 32-bit paging with the directory there; the first 4 MByte are mapped to themselves. */
static bool open_paged(struct soft_guest *guest, uint64_t directory)
{
    if (!soft_guest_open(guest, SOFT_GUEST_32)) {
        return false;
    }
    guest->state.cr3 = directory;
    guest->state.cr4 |= X86_CR4_PSE;
    guest->state.cr0 |= X86_CR0_PG;
    soft_guest_write(guest, directory, LARGE_PAGE, 4);
    return true;
}

/* "INVLPG" invalidates the whole page, whichever of its addresses is named. */
static void test_invalidate_large_page(void)
{
    struct soft_guest guest;
    const uint64_t directory = SOFT_GUEST_DATA, entry = directory + (ALIAS >> 22) * 4;
    if (!open_paged(&guest, directory)) {
        return;
    }
    soft_guest_write(&guest, entry, LARGE_PAGE, 4);
    /* mov eax, [ebx]; and dword [ecx], 0; invlpg [edx]; mov eax, [ebx] */
    LOAD(&guest, 0x8b, 0x03, 0x83, 0x21, 0x00, 0x0f, 0x01, 0x3a, 0x8b, 0x03, 0xf4);
    guest.state.gpr[X86_RBX] = ALIAS + SOFT_GUEST_DATA; /* in the upper half of the page */
    guest.state.gpr[X86_RCX] = entry;
    guest.state.gpr[X86_RDX] = ALIAS + 0x1000;
    soft_guest_run(&guest);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_PF);
    CHECK_EQUAL(soft_guest_frame(&guest, 1), SOFT_GUEST_CODE + 8);
    CHECK_EQUAL(guest.state.cr2, ALIAS + SOFT_GUEST_DATA);
    soft_guest_close(&guest);
}

/* The last entry of a directory of four-byte entries in the last page of memory. */
static void test_last_entry_of_memory(void)
{
    struct soft_guest guest;
    const uint64_t directory = SOFT_GUEST_MEMORY - 0x1000;
    if (!open_paged(&guest, directory)) {
        return;
    }
    soft_guest_write(&guest, directory + 1023 * 4, LARGE_PAGE, 4);
    soft_guest_write(&guest, SOFT_GUEST_DATA, 0x12345678, 4);
    LOAD(&guest, 0x8b, 0x03, 0xf4); /* mov eax, [ebx] */
    guest.state.gpr[X86_RBX] = 0xffc00000 + SOFT_GUEST_DATA;
    soft_guest_run(&guest);
    CHECK_EQUAL(soft_guest_vector(&guest), -1);
    CHECK_EQUAL(guest.state.gpr[X86_RAX], 0x12345678);
    soft_guest_close(&guest);
}

/* A descriptor table that runs out of the canonical addresses is #GP, not another page's bytes. */
static void test_table_into_the_hole(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    guest.state.gdtr.base = UINT64_C(0x7ffffffff000);
    guest.state.gdtr.limit = 0xffff;
    LOAD(&guest, 0x0f, 0x02, 0xc3); /* lar eax, ebx: selector 0x1008 lies beyond */
    guest.state.gpr[X86_RBX] = 0x1008;
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_SHUTDOWN); /* for the handler needs the table, too */
    CHECK_EQUAL(guest.exit.shutdown.exceptions[0].vector, X86_VECTOR_GP);
    soft_guest_close(&guest);
}

/* "MOV—Move to/from Control Registers": a register that is not there is #UD at every level. */
static void test_missing_control_register(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_32)) {
        return;
    }
    guest.state.segment[X86_SS].attributes |= X86_SEGMENT_DPL;
    guest.state.segment[X86_CS].attributes |= X86_SEGMENT_DPL;
    guest.state.segment[X86_TR].base = SOFT_GUEST_DATA;
    guest.state.segment[X86_TR].limit = 0x67;
    soft_guest_write(&guest, SOFT_GUEST_DATA + 4, SOFT_GUEST_STACK, 4);
    soft_guest_write(&guest, SOFT_GUEST_DATA + 8, 0x18, 4);
    LOAD(&guest, 0x0f, 0x20, 0xc8); /* mov eax, cr1 */
    soft_guest_run(&guest);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_UD);
    soft_guest_close(&guest);
}

/*
 * A branch that level 0 took from a user page into its own is not open to level 3: where it leads
 * is remembered for each privilege.
 */
static void test_branch_into_supervisor_page(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    const uint64_t gdt = SOFT_GUEST_DATA, tss = SOFT_GUEST_DATA + 0x1000;
    const uint64_t kernel = 0x100000, stack = SOFT_GUEST_STACK - 40;
    const uint64_t pml4 = guest.state.cr3;
    const uint64_t user_entries[] = {pml4, pml4 + 0x1000, pml4 + 0x2000 + 8};
    for (unsigned int i = 0; i < 3; i++) { /* the second 2 MByte are the user's */
        uint64_t entry = soft_guest_read(&guest, user_entries[i], 8);
        soft_guest_write(&guest, user_entries[i], entry | 4, 8);
    }
    soft_guest_write(&guest, gdt + 0x10, UINT64_C(0x00af9b000000ffff), 8);
    soft_guest_write(&guest, gdt + 0x20, UINT64_C(0x00affb000000ffff), 8); /* code, DPL 3 */
    soft_guest_write(&guest, gdt + 0x28, UINT64_C(0x00cff3000000ffff), 8); /* data, DPL 3 */
    soft_guest_write(&guest, tss + 4, SOFT_GUEST_STACK, 8);
    const uint64_t frame[] = {SOFT_GUEST_CODE, 0x23, X86_FLAGS_ONE, SOFT_GUEST_CODE + 0x1000, 0x2b};
    for (unsigned int i = 0; i < 5; i++) {
        soft_guest_write(&guest, stack + 8 * i, frame[i], 8);
    }
    soft_guest_write(&guest, kernel, UINT64_C(0xcf48d3ffd3ff), 8); /* call rbx, twice; iretq */
    soft_guest_write(&guest, kernel + 0x100, 0xc3, 1);             /* ret */
    LOAD(&guest, 0xe9, 0xfb, 0x00, 0xf0, 0xff);                    /* jmp there */
    guest.state.rip = kernel;
    guest.state.gpr[X86_RBX] = SOFT_GUEST_CODE;
    guest.state.gpr[X86_RSP] = stack;
    guest.state.gdtr = (struct x86_table_register){.base = gdt, .limit = 0x2f};
    guest.state.segment[X86_TR].base = tss;
    soft_guest_run(&guest);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_PF);
    CHECK_EQUAL(guest.state.cr2, kernel + 0x100);
    CHECK_EQUAL(soft_guest_frame(&guest, 1), kernel + 0x100);
    CHECK_EQUAL(soft_guest_frame(&guest, 2), 0x23);
    soft_guest_close(&guest);
}

int main(void)
{
    test_branch_into_supervisor_page();
    test_invalidate_large_page();
    test_last_entry_of_memory();
    test_table_into_the_hole();
    test_missing_control_register();
    return check_summary();
}
