/*
 * Compatibility mode under a 64-bit kernel: linear addresses of the program wrap at 4 GByte, those
 * of the system's tables and stacks do not.
 */
#include "boot/layout.h"
#include "check.h"
#include "engines/soft/soft.h"
#include "soft_guest.h"
#include "x86/descriptor.h"
#include "x86/registers.h"

#define LOAD(guest, ...)                                                                           \
    do {                                                                                           \
        static const uint8_t code_[] = {__VA_ARGS__};                                              \
        soft_guest_load((guest), code_, sizeof code_);                                             \
    } while (0)

/* The first GByte once more, where kernels live. Its addresses cut to 32 bits map nothing. */
#define HIGH         UINT64_C(0xffffffffc0000000)
#define PML4         BOOT_PAGE_TABLES_BASE
#define PDPT         (BOOT_PAGE_TABLES_BASE + 0x1000)
#define DIRECTORY    (BOOT_PAGE_TABLES_BASE + 0x2000)
#define ENTRY_USER   UINT64_C(4)
#define GDT          SOFT_GUEST_DATA
#define TSS          (SOFT_GUEST_DATA + 0x1ffe) /* its first field crosses a page */
#define TSS_RSP0     4
#define TSS_IO_MAP   102
#define IO_MAP_BYTES 8192u
#define CODE32_USER  0x23u
#define DATA_USER    0x2bu
#define KERNEL_STACK (HIGH + SOFT_GUEST_STACK)

static void set_user(struct soft_guest *guest, uint64_t entry)
{
    soft_guest_write(guest, entry, soft_guest_read(guest, entry, 8) | ENTRY_USER, 8);
}

static void map_high(struct soft_guest *guest)
{
    uint64_t low = soft_guest_read(guest, PDPT, 8);
    soft_guest_write(guest, PML4 + 511 * 8, soft_guest_read(guest, PML4, 8), 8);
    soft_guest_write(guest, PDPT + 511 * 8, low, 8);
    soft_guest_write(guest, PDPT + 3 * 8, 0, 8);
    set_user(guest, PML4);
    set_user(guest, PDPT);
    set_user(guest, DIRECTORY);     /* stacks */
    set_user(guest, DIRECTORY + 8); /* code */
}

static void write_tables(struct soft_guest *guest)
{
    soft_guest_write(guest, GDT + 0x10, UINT64_C(0x00af9b000000ffff), 8);
    soft_guest_write(guest, GDT + 0x18, UINT64_C(0x00cf93000000ffff), 8);
    soft_guest_write(guest, GDT + 0x20, UINT64_C(0x00cffb000000ffff), 8);
    soft_guest_write(guest, GDT + 0x28, UINT64_C(0x00cff3000000ffff), 8);
    soft_guest_write(guest, TSS + TSS_RSP0, KERNEL_STACK, 8);
    soft_guest_write(guest, TSS + TSS_IO_MAP, TSS_IO_MAP + 2, 2);
    guest->state.gdtr = (struct x86_table_register){.base = HIGH + GDT, .limit = 0x2f};
    guest->state.idtr.base += HIGH;
    guest->state.segment[X86_TR].base = HIGH + TSS;
    guest->state.segment[X86_TR].limit = TSS_IO_MAP + 2 + IO_MAP_BYTES;
}

static bool open_program(struct soft_guest *guest)
{
    if (!soft_guest_open(guest, SOFT_GUEST_64)) {
        return false;
    }
    map_high(guest);
    write_tables(guest);
    for (unsigned int i = 0; i < X86_SEGMENT_COUNT; i++) {
        bool code = i == X86_CS;
        uint64_t descriptor = soft_guest_read(guest, GDT + (code ? 0x20 : 0x28), 8);
        guest->state.segment[i] =
            x86_segment_from_descriptor(descriptor, code ? CODE32_USER : DATA_USER);
    }
    return true;
}

static uint64_t frame_item(struct soft_guest *guest, unsigned int item)
{
    return soft_guest_read(guest, guest->state.gpr[X86_RSP] - HIGH + item * 8, 8);
}

/* "Stack Switching in IA-32e Mode": TSS, IDT and stack lie above 4 GByte. */
static void test_exception(void)
{
    struct soft_guest guest;
    if (!open_program(&guest)) {
        return;
    }
    LOAD(&guest, 0x90, 0x0f, 0x0b); /* nop; ud2 */
    soft_guest_run(&guest);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_UD);
    CHECK_EQUAL(guest.state.gpr[X86_RSP], KERNEL_STACK - 40);
    CHECK_EQUAL(frame_item(&guest, 0), SOFT_GUEST_CODE + 1);
    CHECK_EQUAL(frame_item(&guest, 1), CODE32_USER);
    CHECK_EQUAL(frame_item(&guest, 3), SOFT_GUEST_STACK);
    CHECK_EQUAL(frame_item(&guest, 4), DATA_USER);
    soft_guest_close(&guest);
}

/* The same with RSP0 across two pages. */
static void test_exception_with_split_stack_pointer(void)
{
    struct soft_guest guest;
    if (!open_program(&guest)) {
        return;
    }
    guest.state.segment[X86_TR].base -= TSS_RSP0;
    soft_guest_write(&guest, TSS, KERNEL_STACK, 8);
    LOAD(&guest, 0x0f, 0x0b);
    soft_guest_run(&guest);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_UD);
    CHECK_EQUAL(guest.state.gpr[X86_RSP], KERNEL_STACK - 40);
    soft_guest_close(&guest);
}

/* "I/O Permission Bit Map" */
static void test_port(void)
{
    struct soft_guest guest;
    if (!open_program(&guest)) {
        return;
    }
    LOAD(&guest, 0xe4, 0x80, 0xe4, 0x81); /* in al, 80h; in al, 81h */
    soft_guest_write(&guest, TSS + TSS_IO_MAP + 2 + 0x80 / 8, 2, 1);
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_PIO);
    CHECK_EQUAL(guest.exit.pio.port, 0x80);
    soft_guest_run(&guest);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_GP);
    CHECK_EQUAL(frame_item(&guest, 1), SOFT_GUEST_CODE + 2);
    soft_guest_close(&guest);
}

/* The program's own accesses wrap at 4 GByte: here by a segment's base. */
static void test_wrap(void)
{
    struct soft_guest guest;
    if (!open_program(&guest)) {
        return;
    }
    const uint64_t last = BOOT_PAGE_TABLES_BASE + 0x5000; /* the directory of 3..4 GByte */
    soft_guest_write(&guest, PDPT + 3 * 8, last + 7, 8);
    soft_guest_write(&guest, last + 511 * 8, (SOFT_GUEST_CODE & ~UINT64_C(0x1fffff)) | 0x87, 8);
    soft_guest_write(&guest, SOFT_GUEST_CODE + 0x1fffff, 0x11, 1); /* the end of that page */
    soft_guest_write(&guest, 0, 0x443322, 4);
    guest.state.segment[X86_FS].base = 0xffff0000;
    guest.state.gpr[X86_RBX] = 0xffff;
    LOAD(&guest, 0x64, 0x8b, 0x03, 0x0f, 0x0b); /* mov eax, fs:[ebx]; ud2 */
    soft_guest_run(&guest);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_UD);
    CHECK_EQUAL(guest.state.gpr[X86_RAX], 0x44332211);
    soft_guest_close(&guest);
}

/* FS and GS have limits, and may be null, where the other segments are flat. */
static void test_limited_segment(void)
{
    struct soft_guest guest;
    for (unsigned int i = 0; i < 2 && soft_guest_open(&guest, SOFT_GUEST_32); i++) {
        guest.state.segment[X86_FS] = (struct x86_segment){.attributes = X86_SEGMENT_UNUSABLE};
        guest.state.segment[X86_GS].limit = 0xff;
        guest.state.gpr[X86_RBX] = 0xfd;
        if (i == 0) {
            LOAD(&guest, 0x64, 0x8b, 0x03, 0x0f, 0x0b); /* mov eax, fs:[ebx]; ud2 */
        } else {
            LOAD(&guest, 0x65, 0x89, 0x03, 0x0f, 0x0b); /* mov gs:[ebx], eax; ud2 */
        }
        soft_guest_run(&guest);
        CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_GP);
        soft_guest_close(&guest);
    }
}

int main(void)
{
    test_limited_segment();
    test_exception();
    test_exception_with_split_stack_pointer();
    test_port();
    test_wrap();
    return check_summary();
}
