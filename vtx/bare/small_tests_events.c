/* Interrupts, NMIs and exceptions into the guest; HLT, triple faults, storms of exits, time. */
#include <string.h>

#include "base/clock.h"
#include "vtx/bare/console.h"
#include "vtx/bare/machine_interrupts.h"
#include "vtx/bare/ports.h"
#include "vtx/bare/small_guests.h"
#include "vtx/core/injection.h"

#define STORM_EXITS 20000u
#define VECTOR_GP   13
#define TIMER_TICKS 100000u

SMALL_GUEST_CODE(events);
SMALL_GUEST_CODE(exception);
SMALL_GUEST_CODE(loop);
SMALL_GUEST_CODE(storm);
SMALL_GUEST_CODE(triple_fault);

/* One waits while RFLAGS.IF is clear, the window opens, it is delivered; one wakes from HLT. */
static void test_interrupt(struct small_guest *guest)
{
    small_guest_start(guest);
    small_guest_expect_out(guest, 0x10, 0);
    vtx_vcpu_complete(&guest->vcpu);
    small_test_check(guest->test, !vtx_can_interrupt(&guest->vcpu), "with IF clear it takes none");
    vtx_want_interrupt_window(&guest->vcpu, true);
    small_guest_expect(guest, EXIT_INTERRUPT_WINDOW);
    small_test_check(guest->test, vtx_can_interrupt(&guest->vcpu), "in the window it takes one");
    vtx_inject_interrupt(&guest->vcpu, 0x21);
    small_test_check(guest->test, vtx_event_pending(&guest->vcpu), "it waits for the entry");
    small_guest_expect_out(guest, 0x12, 0);
    small_guest_expect_out(guest, 0x11, 0);
    small_guest_expect(guest, EXIT_HLT);
    vtx_vcpu_complete(&guest->vcpu);
    vtx_inject_interrupt(&guest->vcpu, 0x21);
    small_guest_expect_out(guest, 0x12, 0);
    small_guest_expect_out(guest, 0x11, 0);
}

/* A second NMI waits for the end of the first one's handler. */
static void test_nmi(struct small_guest *guest)
{
    small_guest_start(guest);
    small_guest_expect_out(guest, 0x10, 0);
    vtx_vcpu_complete(&guest->vcpu);
    vtx_inject_nmi(&guest->vcpu);
    small_guest_expect_out(guest, 0x13, 0);
    vtx_vcpu_complete(&guest->vcpu);
    vtx_inject_nmi(&guest->vcpu);
    small_guest_expect_out(guest, 0x14, 0);
    small_guest_expect_out(guest, 0x13, 0);
    small_guest_expect_out(guest, 0x14, 0);
    small_guest_expect_out(guest, 0x11, 0);
}

static void test_exception(struct small_guest *guest)
{
    small_guest_give_idt(guest);
    small_guest_start(guest);
    small_guest_expect_out(guest, 0x10, 0);
    vtx_vcpu_complete(&guest->vcpu);
    vtx_inject_exception(&guest->vcpu, VECTOR_GP, 0x1230);
    small_guest_expect_out(guest, IDT_PORT_VECTOR, VECTOR_GP);
    small_guest_expect_out(guest, IDT_PORT_ERROR, 0x1230);
}

static void test_triple_fault(struct small_guest *guest)
{
    small_guest_start(guest);
    small_guest_expect(guest, EXIT_SHUTDOWN);
}

/* Thousands of exits, none lost; and what one costs, as the machine's own TSC counts. */
static void test_storm(struct small_guest *guest)
{
    guest->state.gpr[X86_RCX] = STORM_EXITS;
    small_guest_start(guest);
    uint32_t count = 0;
    uint64_t begin = clock_tsc();
    while (small_guest_run(guest) == VTX_EXIT && guest->vcpu.exit.reason == EXIT_PIO &&
           guest->vcpu.exit.pio.port == 0x10 && count <= STORM_EXITS) {
        count++;
    }
    uint64_t ticks = clock_tsc() - begin;
    small_test_check(guest->test, count == STORM_EXITS, "as many exits as writes");
    small_test_check(guest->test, guest->vcpu.exit.pio.port == 0x11, "then the last write");
    print("note    exit-storm: %lu TSC ticks from one port write to the next\n",
          ticks / STORM_EXITS);
}

/* A guest that never leaves by itself: by the preemption timer. */
static void test_timer(struct small_guest *guest)
{
    small_guest_start(guest);
    if (small_test_check(guest->test, vtx_set_timer(&guest->vcpu, TIMER_TICKS),
                         "there is a timer")) {
        small_guest_expect(guest, EXIT_KICKED);
        small_guest_expect(guest, EXIT_KICKED);
        small_test_check(guest->test, guest->vcpu.exits[VMX_REASON_PREEMPTION_TIMER] == 2,
                         "two by it");
    }
}

/* Likewise, by an interrupt of the machine. */
static void test_machine_interrupt(struct small_guest *guest)
{
    guest->state.rflags |= X86_FLAGS_IF; /* Bochs 2.7 holds interrupts back from one without */
    small_guest_start(guest);
    machine_timer_set(1000000);
    small_test_check(guest->test, vtx_vcpu_run(&guest->vcpu) == VTX_INTERRUPT,
                     "the interrupt leaves");
    processor_let_interrupts_in();
    machine_timer_set(1000000);
    small_test_check(guest->test, vtx_vcpu_run(&guest->vcpu) == VTX_INTERRUPT, "the next one, too");
    processor_let_interrupts_in();
}

static const struct small_test_entry entries[] = {
    {"interrupt", SMALL_GUEST(events), BOOT_MODE_REAL, test_interrupt, NULL},
    {"nmi", SMALL_GUEST(events), BOOT_MODE_REAL, test_nmi, NULL},
    {"exception", SMALL_GUEST(exception), BOOT_MODE_PROTECTED, test_exception, NULL},
    {"triple-fault", SMALL_GUEST(triple_fault), BOOT_MODE_PROTECTED, test_triple_fault, NULL},
    {"exit-storm", SMALL_GUEST(storm), BOOT_MODE_PROTECTED, test_storm, NULL},
    {"preemption-timer", SMALL_GUEST(loop), BOOT_MODE_PROTECTED, test_timer, NULL},
    {"machine-interrupt", SMALL_GUEST(loop), BOOT_MODE_PROTECTED, test_machine_interrupt, NULL},
};

const struct small_test_table small_tests_events = {entries, sizeof(entries) / sizeof(entries[0])};
