/*
 * Events whose frames lie in a device: every push leaves the run loop, and what had begun must
 * come to its end all the same, once.
 */
#include "boot/cpu_state.h"
#include "check.h"
#include "engines/soft/soft.h"
#include "no_cr8.h"
#include "soft_guest.h"
#include "x86/descriptor.h"
#include "x86/registers.h"

#define DEVICE_STACK (SOFT_GUEST_DEVICE + 0x1000)
#define LOAD(guest, ...)                                                                           \
    do {                                                                                           \
        static const uint8_t code_[] = {__VA_ARGS__};                                              \
        soft_guest_load((guest), code_, sizeof code_);                                             \
    } while (0)

/* Runs until something else than a write to the device; returns how many there were. */
static unsigned int run_through_writes(struct soft_guest *guest, uint64_t *last_address,
                                       uint64_t *last_value)
{
    unsigned int writes = 0;
    while (writes < 100 && soft_guest_run(guest) == EXIT_MMIO && guest->exit.mmio.is_write) {
        *last_address = guest->exit.mmio.address;
        *last_value = 0;
        for (unsigned int i = 0; i < guest->exit.mmio.size; i++) {
            *last_value |= (uint64_t)guest->exit.mmio.data[i] << (8 * i);
        }
        writes++;
    }
    return writes;
}

/* RIP is the last item of a frame without error code. */
static void expect_frame(struct soft_guest *guest, unsigned int vector, uint64_t rip)
{
    uint64_t address = 0, value = 0;
    CHECK_EQUAL(run_through_writes(guest, &address, &value), 5);
    CHECK_EQUAL(address, DEVICE_STACK - 40);
    CHECK_EQUAL(value, rip);
    CHECK_EQUAL(soft_guest_vector(guest), (int)vector);
    CHECK_EQUAL(guest->state.gpr[X86_RSP], DEVICE_STACK - 40);
}

static void test_nmi(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    LOAD(&guest, 0x90, 0xf4);
    guest.state.gpr[X86_RSP] = DEVICE_STACK;
    CHECK_EQUAL(soft_engine.nmi(guest.vcpu), 0);
    expect_frame(&guest, X86_VECTOR_NMI, SOFT_GUEST_CODE);
    CHECK(guest.state.nmi_blocked);
    soft_guest_close(&guest);
}

/* A trap comes after its instruction: that does not run again. */
static void test_trap(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    LOAD(&guest, 0xff, 0xc0, 0xff, 0xc0); /* inc eax; inc eax */
    guest.state.gpr[X86_RAX] = 0;
    guest.state.gpr[X86_RSP] = DEVICE_STACK;
    guest.state.rflags |= X86_FLAGS_TF;
    expect_frame(&guest, X86_VECTOR_DB, SOFT_GUEST_CODE + 2);
    CHECK_EQUAL(guest.state.gpr[X86_RAX], 1);
    CHECK((guest.state.dr[6] & X86_DR6_BS) != 0);
    soft_guest_close(&guest);
}

/* The instruction that faults has read the device before: it must not do so again. */
static void test_fault_after_reading(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    LOAD(&guest, 0xf7, 0x33); /* div dword [rbx] */
    guest.state.gpr[X86_RBX] = SOFT_GUEST_DEVICE;
    guest.state.gpr[X86_RSP] = DEVICE_STACK;
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_MMIO);
    CHECK(!guest.exit.mmio.is_write);
    for (unsigned int i = 0; i < 4; i++) {
        guest.exit.mmio.data[i] = 0;
    }
    expect_frame(&guest, X86_VECTOR_DE, SOFT_GUEST_CODE);
    soft_guest_close(&guest);
}

/* --- maskable interrupts --- */

struct line {
    bool raised;
    unsigned int acknowledged;
};

static bool line_pending(void *context)
{
    return ((struct line *)context)->raised;
}

static int line_acknowledge(void *context)
{
    struct line *line = context;
    line->raised = false;
    line->acknowledged++;
    return 0x40;
}

/* "External Interrupts": what was acknowledged is delivered. */
static void test_interrupt(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    struct line line = {.raised = true};
    const struct interrupt_source source = {.pending = line_pending,
                                            .acknowledge = line_acknowledge,
                                            .get_cr8 = no_get_cr8,
                                            .set_cr8 = no_set_cr8,
                                            .context = &line};
    soft_guest_set_interrupts(&guest, &source);
    LOAD(&guest, 0x90, 0xf4);
    guest.state.gpr[X86_RSP] = DEVICE_STACK;
    guest.state.rflags |= X86_FLAGS_IF;
    expect_frame(&guest, 0x40, SOFT_GUEST_CODE);
    CHECK_EQUAL(line.acknowledged, 1);
    soft_guest_close(&guest);
}

/* --- task gates --- */

#define GDT      SOFT_GUEST_DATA
#define OLD_TSS  (SOFT_GUEST_DATA + 0x1000)
#define NEW_TSS  (SOFT_GUEST_DATA + 0x2000)
#define SELECTOR 0x28u

static uint64_t tss_descriptor(uint64_t base, unsigned int type)
{
    return 0x67 | (base & 0xffffff) << 16 | (uint64_t)type << 40 | UINT64_C(1) << 47 |
           (base >> 24) << 56;
}

static void write_tasks(struct soft_guest *guest)
{
    uint64_t new_esp = DEVICE_STACK;
    for (uint64_t i = 0x10; i <= 0x18; i += 8) {
        soft_guest_write(guest, GDT + i, soft_guest_read(guest, guest->state.gdtr.base + i, 8), 8);
    }
    soft_guest_write(guest, GDT + 0x20, tss_descriptor(OLD_TSS, X86_SYSTEM_TSS_BUSY), 8);
    soft_guest_write(guest, GDT + SELECTOR, tss_descriptor(NEW_TSS, X86_SYSTEM_TSS_AVAILABLE), 8);
    soft_guest_write(guest, NEW_TSS + 32, SOFT_GUEST_CODE + 0x100, 4);
    soft_guest_write(guest, NEW_TSS + 36, X86_FLAGS_ONE, 4);
    soft_guest_write(guest, NEW_TSS + 56, new_esp, 4);
    for (unsigned int i = 0; i < 4; i++) { /* ES CS SS DS */
        soft_guest_write(guest, NEW_TSS + 72 + 4 * i,
                         i == 1 ? BOOT_SELECTOR_CODE : BOOT_SELECTOR_DATA, 4);
    }
    guest->state.gdtr = (struct x86_table_register){.base = GDT, .limit = SELECTOR + 7};
    guest->state.segment[X86_TR].base = OLD_TSS;
    guest->state.segment[X86_TR].limit = 0x67;
}

/* The error code is pushed on the new task's stack, after the switch can't be undone any more. */
static void test_task_gate(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_32)) {
        return;
    }
    write_tasks(&guest);
    soft_guest_write(&guest, guest.state.idtr.base + X86_VECTOR_GP * 8,
                     (uint64_t)SELECTOR << 16 | UINT64_C(0x8500) << 32, 8);
    soft_guest_write(&guest, SOFT_GUEST_CODE + 0x100, 0xf4, 1);
    LOAD(&guest, 0x8e, 0xd8); /* mov ds, eax */
    guest.state.gpr[X86_RAX] = 0x1238;
    uint64_t address = 0, value = 0;
    CHECK_EQUAL(run_through_writes(&guest, &address, &value), 1);
    CHECK_EQUAL(address, DEVICE_STACK - 4);
    CHECK_EQUAL(value, 0x1238);
    CHECK_EQUAL(guest.exit.reason, EXIT_HLT);
    CHECK_EQUAL(guest.state.rip, SOFT_GUEST_CODE + 0x101);
    CHECK_EQUAL(guest.state.gpr[X86_RSP], DEVICE_STACK - 4);
    CHECK_EQUAL(guest.state.segment[X86_TR].selector, SELECTOR);
    CHECK_EQUAL(soft_guest_read(&guest, OLD_TSS + 32, 4), SOFT_GUEST_CODE);
    soft_guest_close(&guest);
}

/* INIT between an exit and the next run: nothing of the exit reaches the registers any more. */
static void test_abandoned_exit(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    LOAD(&guest, 0xe4, 0x80, 0xf4); /* in al, 80h */
    guest.state.gpr[X86_RAX] = 7;
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_PIO);
    guest.exit.reason = EXIT_NONE;
    soft_guest_run(&guest);
    CHECK_EQUAL(guest.state.gpr[X86_RAX], 7);
    LOAD(&guest, 0xec, 0x8b, 0x03, 0xf4); /* in al, dx; mov eax, [rbx] */
    guest.state.rip = SOFT_GUEST_CODE + 1;
    guest.state.gpr[X86_RBX] = SOFT_GUEST_DEVICE;
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_MMIO);
    guest.exit.reason = EXIT_NONE;
    guest.state.rip = SOFT_GUEST_CODE + 3;
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
    soft_guest_close(&guest);
}

int main(void)
{
    test_nmi();
    test_trap();
    test_fault_after_reading();
    test_interrupt();
    test_task_gate();
    test_abandoned_exit();
    return check_summary();
}
