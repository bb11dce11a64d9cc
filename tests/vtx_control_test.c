/*
 * VT-x: control registers. The processor answers and lets through by masks and shadows; here it is
 * played by the functions below, so that the tests show what a guest sees.
 */
#include <string.h>

#include "check.h"
#include "vtx/core/injection.h"
#include "vtx_fake.h"

static struct fake_machine machine;

struct register_fields {
    uint32_t real, mask, shadow;
    unsigned int number;
};

static const struct register_fields cr0 = {VMCS_GUEST_CR0, VMCS_CR0_GUEST_HOST_MASK,
                                           VMCS_CR0_READ_SHADOW, 0};
static const struct register_fields cr4 = {VMCS_GUEST_CR4, VMCS_CR4_GUEST_HOST_MASK,
                                           VMCS_CR4_READ_SHADOW, 4};

/* "Guest/Host Masks and Read Shadows for CR0 and CR4": MOV from CR. */
static uint64_t guest_reads(const struct register_fields *of)
{
    uint64_t mask = fake_field(of->mask);
    return (fake_field(of->real) & ~mask) | (fake_field(of->shadow) & mask);
}

static unsigned int exits(void)
{
    return (unsigned int)machine.vcpu->exits[VMX_REASON_CONTROL_REGISTER];
}

/* MOV to CR from RBX: exits if an owned bit differs from its shadow, else changes the others. */
static void guest_writes(const struct register_fields *of, uint64_t value)
{
    uint64_t mask = fake_field(of->mask);
    if (((value ^ fake_field(of->shadow)) & mask) == 0) {
        fake_set_field(of->real, (fake_field(of->real) & mask) | (value & ~mask));
        return;
    }
    machine.vcpu->registers.gpr[X86_RBX] = value;
    fake_run(&machine, (struct fake_exit){.reason = VMX_REASON_CONTROL_REGISTER,
                                          .length = 3,
                                          .qualification = of->number | X86_RBX << 8});
}

static bool faulted(void)
{
    return (uint8_t)fake.injected == X86_VECTOR_GP;
}

/*
 * Each bit that a guest may flip by itself in 64-bit mode, in the three ways: its own, the
 * monitor's with a shadow, the monitor's with a fake.
 */
static void check_bit(const struct register_fields *of, uint64_t bit)
{
    const struct register_view {
        struct vtx_register_view view;
        unsigned int exits; /* of one flip */
        bool sees_flip, changes;
    } ways[] = {
        {{0}, 0, true, true},
        {{.owned = bit}, 1, true, true},
        {{.faked = bit, .fake_value = bit}, 1, false, false},
        {{.faked = bit, .fake_value = 0}, 1, false, false},
    };
    static const struct vtx_register_view none;
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        const struct vtx_register_view *view = &ways[i].view;
        vtx_vcpu_set_views(machine.vcpu, of == &cr0 ? view : &none, of == &cr4 ? view : &none);
        uint64_t seen = guest_reads(of), real = fake_field(of->real);
        unsigned int before = exits();
        if (view->faked != 0) {
            CHECK_EQUAL(seen & bit, view->fake_value & bit);
        }
        guest_writes(of, seen ^ bit);
        CHECK_EQUAL(exits() - before, ways[i].exits);
        CHECK_EQUAL(guest_reads(of), ways[i].sees_flip ? seen ^ bit : seen);
        CHECK_EQUAL(fake_field(of->real), ways[i].changes ? real ^ bit : real);
        guest_writes(of, seen);
        CHECK_EQUAL(guest_reads(of), seen);
        CHECK_EQUAL(fake_field(of->real), real);
        CHECK(!faulted());
    }
}

static void test_bit_by_bit(void)
{
    static const uint64_t of_cr0[] = {X86_CR0_MP, X86_CR0_EM, X86_CR0_TS, X86_CR0_WP, X86_CR0_AM};
    static const uint64_t of_cr4[] = {X86_CR4_VME,     X86_CR4_PVI,        X86_CR4_TSD,
                                      X86_CR4_DE,      X86_CR4_PSE,        X86_CR4_PGE,
                                      X86_CR4_PCE,     X86_CR4_OSXMMEXCPT, X86_CR4_FSGSBASE,
                                      X86_CR4_OSXSAVE, X86_CR4_SMEP};
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    for (size_t i = 0; i < sizeof(of_cr0) / sizeof(of_cr0[0]); i++) {
        check_bit(&cr0, of_cr0[i]);
    }
    for (size_t i = 0; i < sizeof(of_cr4) / sizeof(of_cr4[0]); i++) {
        check_bit(&cr4, of_cr4[i]);
    }
    CHECK(fake_machine_stop(&machine));
}

/* What the monitor must own whatever is asked for: the guest sees its own, the processor another.
 */
static void test_always_owned(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_PROTECTED);
    guest_writes(&cr0, X86_CR0_PE | X86_CR0_CD | X86_CR0_NW);
    CHECK_EQUAL(guest_reads(&cr0), X86_CR0_PE | X86_CR0_CD | X86_CR0_NW | X86_CR0_ET);
    CHECK_EQUAL(fake_field(VMCS_GUEST_CR0) & (X86_CR0_CD | X86_CR0_NW | X86_CR0_NE), X86_CR0_NE);
    guest_writes(&cr4, X86_CR4_PAE);
    CHECK_EQUAL(guest_reads(&cr4), X86_CR4_PAE);
    CHECK_EQUAL(fake_field(VMCS_GUEST_CR4) & (X86_CR4_VMXE | X86_CR4_MCE),
                X86_CR4_VMXE | X86_CR4_MCE);
    /* VMXE and what CPUID hides are #GP(0). */
    guest_writes(&cr4, X86_CR4_PAE | X86_CR4_VMXE);
    CHECK(faulted());
    guest_writes(&cr4, X86_CR4_PAE | X86_CR4_PKE);
    CHECK(faulted());
    guest_writes(&cr4, X86_CR4_PAE | UINT64_C(1) << 40);
    CHECK_EQUAL(guest_reads(&cr4), X86_CR4_PAE);
    CHECK(fake_machine_stop(&machine));
    fake_machine_begin(&machine, VTX_TRAP_ALL, FAKE_LONG);
    CHECK_EQUAL(fake_field(VMCS_CR0_GUEST_HOST_MASK), UINT64_MAX);
    CHECK_EQUAL(fake_field(VMCS_CR4_GUEST_HOST_MASK), UINT64_MAX);
    CHECK(fake_machine_stop(&machine));
}

static void move(unsigned int number, uint64_t value)
{
    machine.vcpu->registers.gpr[X86_RBX] = value;
    fake_run(&machine, (struct fake_exit){.reason = VMX_REASON_CONTROL_REGISTER,
                                          .length = 3,
                                          .qualification = number | X86_RBX << 8});
}

/* From protected mode to 64-bit mode and back, step by step, all by exits. */
static void test_modes(void)
{
    fake_machine_begin(&machine, VTX_TRAP_ALL, FAKE_LONG); /* its tables are used below */
    fake_machine_set_mode(&machine, FAKE_PROTECTED);
    move(4, X86_CR4_PAE);
    move(3, 0x100000);
    CHECK_EQUAL(fake_field(VMCS_GUEST_CR3), 0x100000);
    machine.vcpu->registers.gpr[X86_RCX] = 0xc0000080;
    machine.vcpu->registers.gpr[X86_RAX] = X86_EFER_LME;
    machine.vcpu->registers.gpr[X86_RDX] = 0;
    fake_run(&machine, (struct fake_exit){.reason = VMX_REASON_WRMSR, .length = 2});
    CHECK_EQUAL(fake_field(VMCS_GUEST_IA32_EFER), X86_EFER_LME);
    move(0, X86_CR0_PE | X86_CR0_PG | X86_CR0_NE);
    CHECK_EQUAL(fake_field(VMCS_GUEST_IA32_EFER), X86_EFER_LME | X86_EFER_LMA);
    CHECK((fake_field(VMCS_VM_ENTRY_CONTROLS) & ENTRY_IA32E_MODE_GUEST) != 0);
    CHECK(!faulted());
    CHECK_EQUAL(machine.vcpu->exit.reason, EXIT_NONE); /* entered with it, and checked */
    move(4, 0);                                        /* PAE cannot go in IA-32e mode */
    CHECK(faulted());
    move(0, X86_CR0_PE | X86_CR0_NE);
    CHECK_EQUAL(fake_field(VMCS_GUEST_IA32_EFER), X86_EFER_LME);
    CHECK_EQUAL(fake_field(VMCS_VM_ENTRY_CONTROLS) & ENTRY_IA32E_MODE_GUEST, 0);
    move(0, X86_CR0_NE); /* and to real mode */
    CHECK_EQUAL(guest_reads(&cr0) & X86_CR0_PE, 0);
    move(0, X86_CR0_PG); /* paging without protection */
    CHECK(faulted());
    move(0, X86_CR0_NW); /* NW without CD */
    CHECK(faulted());
    CHECK(fake_machine_stop(&machine));
    fake_machine_begin(&machine, VTX_TRAP_ALL, FAKE_LONG);
    move(0, X86_CR0_PE); /* no way out of 64-bit mode */
    CHECK(faulted());
    CHECK_EQUAL(fake_field(VMCS_GUEST_IA32_EFER) & X86_EFER_LMA, X86_EFER_LMA);
    CHECK(fake_machine_stop(&machine));
}

/* A state without them has them loaded before the entry, once their memory is there. */
static void test_pdptes_of_a_state(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    struct vtx_ept *ept = &machine.vm.ept;
    vtx_ept_unmap(ept, 0, FAKE_MEMORY);
    fake_machine_set_mode(&machine, FAKE_PAE);
    CHECK_EQUAL(vtx_vcpu_run(machine.vcpu), VTX_MEMORY);
    CHECK_EQUAL(machine.vcpu->missing.address & ~UINT64_C(0xfff), 0x100000);
    vtx_vcpu_get_state(machine.vcpu, X86_STATE_SYSTEM, &machine.state);
    CHECK(!machine.state.pdptrs_known);
    vtx_ept_map(ept, 0, FAKE_RAM, FAKE_MEMORY, VTX_EPT_ALL, VTX_WRITE_BACK, VTX_SIZE_4K);
    CHECK_EQUAL(vtx_vcpu_run(machine.vcpu), VTX_INTERRUPT);
    CHECK_EQUAL(fake_field(VMCS_GUEST_PDPTE0), 0x102001);
    vtx_vcpu_get_state(machine.vcpu, X86_STATE_SYSTEM, &machine.state);
    CHECK(machine.state.pdptrs_known);
    /* Bad ones end the run in words: the guest has done nothing to get a #GP for. */
    machine.state.pdptrs_known = false;
    const uint64_t reserved = 3;
    memcpy(fake_memory(0x100000), &reserved, sizeof(reserved));
    vtx_vcpu_leave_context(machine.vcpu);
    vtx_vcpu_set_state(machine.vcpu, X86_STATE_SYSTEM, &machine.state);
    vtx_vcpu_enter_context(machine.vcpu);
    CHECK_EQUAL(vtx_vcpu_run(machine.vcpu), VTX_EXIT);
    CHECK_EQUAL(machine.vcpu->exit.reason, EXIT_INTERNAL);
    CHECK(!vtx_event_pending(machine.vcpu));
    CHECK(fake_machine_stop(&machine));
}

/* CR4 has no feature whose state is not switched, whatever state and CPUID say. */
static void test_cr4_of_a_state(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    machine.state.cr4 |= X86_CR4_PKE | X86_CR4_CET;
    machine.state.pdptrs_known = false;
    vtx_vcpu_leave_context(machine.vcpu);
    vtx_vcpu_set_state(machine.vcpu, X86_STATE_SYSTEM, &machine.state);
    vtx_vcpu_enter_context(machine.vcpu);
    CHECK_EQUAL(fake_field(VMCS_GUEST_CR4) & (X86_CR4_PKE | X86_CR4_CET), 0);
    CHECK_EQUAL(machine.vcpu->cr4_allowed & ~VMX_CR4_SUPPORTED, 0);
    CHECK(fake_machine_stop(&machine));
}

/* PAE paging: the four PDPTEs come from memory, and are checked. */
static void test_pdptes(void)
{
    fake_machine_begin(&machine, VTX_TRAP_ALL, FAKE_PAE);
    CHECK_EQUAL(vtx_vcpu_run(machine.vcpu), VTX_INTERRUPT);
    CHECK_EQUAL(fake_field(VMCS_GUEST_PDPTE0), 0x102001);
    uint64_t entries[4] = {0x102001, 0, 0x103001, 0};
    memcpy(fake_memory(0x5000), entries, sizeof(entries));
    move(3, 0x5000);
    CHECK_EQUAL(fake_field(VMCS_GUEST_PDPTE2), 0x103001);
    CHECK(!faulted());
    entries[1] = 0x3; /* reserved bits */
    memcpy(fake_memory(0x5020), entries, sizeof(entries));
    move(3, 0x5020);
    CHECK(faulted());
    CHECK_EQUAL(fake_field(VMCS_GUEST_CR3), 0x5000);
    /* Memory that is there, but not mapped yet, is asked for, and the instruction runs again. */
    vtx_ept_unmap(&machine.vm.ept, 0x5000, 0x1000);
    machine.vcpu->registers.gpr[X86_RBX] = 0x5000;
    struct fake_exit exit = {
        .reason = VMX_REASON_CONTROL_REGISTER, .length = 3, .qualification = 3 | X86_RBX << 8};
    uint64_t rip = fake_field(VMCS_GUEST_RIP);
    CHECK_EQUAL(fake_run(&machine, exit), VTX_MEMORY);
    CHECK_EQUAL(machine.vcpu->missing.address & ~UINT64_C(0xfff), 0x5000);
    CHECK_EQUAL(fake_field(VMCS_GUEST_RIP), rip);
    CHECK(fake_machine_stop(&machine));
}

static void test_cr3_and_cr8(void)
{
    fake_machine_begin(&machine, VTX_TRAP_ALL, FAKE_LONG);
    unsigned int flushes = fake.invvpid_count;
    move(3, 0x100000);
    CHECK_EQUAL(fake.invvpid_count, flushes + 1);
    move(3, UINT64_C(1) << 45); /* beyond the physical width */
    CHECK(faulted());
    move(4, guest_reads(&cr4) | X86_CR4_PCIDE);
    CHECK(!faulted());
    flushes = fake.invvpid_count;
    move(3, X86_CR3_NO_FLUSH | 0x100005);
    CHECK_EQUAL(fake.invvpid_count, flushes);
    CHECK_EQUAL(fake_field(VMCS_GUEST_CR3), 0x100005);
    machine.vcpu->registers.gpr[X86_RDX] = 0;
    fake_run(&machine, (struct fake_exit){.reason = VMX_REASON_CONTROL_REGISTER,
                                          .length = 3,
                                          .qualification = 3 | 1 << 4 | X86_RDX << 8});
    CHECK_EQUAL(machine.vcpu->registers.gpr[X86_RDX], 0x100005);
    /* CR8: a change is the embedder's to know. */
    machine.vcpu->cr8 = 3;
    machine.vcpu->registers.gpr[X86_RBX] = 3;
    struct fake_exit exit = {
        .reason = VMX_REASON_CONTROL_REGISTER, .length = 4, .qualification = 8 | X86_RBX << 8};
    CHECK_EQUAL(fake_run(&machine, exit), VTX_INTERRUPT);
    machine.vcpu->registers.gpr[X86_RBX] = 2;
    CHECK_EQUAL(fake_run(&machine, exit), VTX_EXIT);
    CHECK_EQUAL(machine.vcpu->exit.reason, EXIT_INTERRUPT_WINDOW);
    CHECK_EQUAL(machine.vcpu->cr8, 2);
    machine.vcpu->registers.gpr[X86_RBX] = 16;
    CHECK_EQUAL(fake_run(&machine, exit), VTX_INTERRUPT);
    CHECK(faulted());
    CHECK(fake_machine_stop(&machine));
}

/* CLTS, LMSW, and moves to and from RSP. */
static void test_other_forms(void)
{
    fake_machine_begin(&machine, VTX_TRAP_ALL, FAKE_PROTECTED);
    move(0, X86_CR0_PE | X86_CR0_NE | X86_CR0_TS);
    struct fake_exit exit = {.reason = VMX_REASON_CONTROL_REGISTER, .length = 2};
    exit.qualification = VMX_CLTS << 4;
    fake_run(&machine, exit);
    CHECK_EQUAL(guest_reads(&cr0) & X86_CR0_TS, 0);
    exit.qualification = VMX_LMSW << 4 | UINT64_C(0xfff6) << 16; /* clears PE? it cannot */
    fake_run(&machine, exit);
    CHECK_EQUAL(guest_reads(&cr0) & 0xf, X86_CR0_PE | X86_CR0_MP | X86_CR0_EM);
    exit.qualification = 3 | 1 << 4 | X86_RSP << 8;
    fake_set_field(VMCS_GUEST_CR3, 0x7000);
    fake_run(&machine, exit);
    CHECK_EQUAL(fake_field(VMCS_GUEST_RSP), 0x7000);
    CHECK(fake_machine_stop(&machine));
}

/* ---- debug registers ---- */

static void debug(unsigned int number, bool read, uint64_t value)
{
    machine.vcpu->registers.gpr[X86_RBX] = value;
    fake_run(&machine,
             (struct fake_exit){.reason = VMX_REASON_MOV_DR,
                                .length = 3,
                                .qualification = number | (read ? 1 << 4 : 0) | X86_RBX << 8});
}

static void test_debug_registers(void)
{
    fake_machine_begin(&machine, VTX_TRAP_ALL, FAKE_LONG);
    debug(2, false, 0x1234);
    CHECK_EQUAL(fake.dr[2], 0x1234);
    debug(2, true, 0);
    CHECK_EQUAL(machine.vcpu->registers.gpr[X86_RBX], 0x1234);
    debug(7, false, 0x1);
    CHECK_EQUAL(fake_field(VMCS_GUEST_DR7), 0x401);
    debug(4, false, 0); /* DR6, under its other name */
    CHECK_EQUAL(fake.dr[6], X86_DR6_ONES);
    debug(6, false, UINT64_C(1) << 32);
    CHECK(faulted());
    fake_set_field(VMCS_GUEST_CR4, fake_field(VMCS_GUEST_CR4) | X86_CR4_DE);
    fake_set_field(VMCS_CR4_READ_SHADOW, fake_field(VMCS_CR4_READ_SHADOW) | X86_CR4_DE);
    debug(5, true, 0);
    CHECK_EQUAL((uint8_t)fake.injected, X86_VECTOR_UD);
    fake_set_field(VMCS_GUEST_DR7, 0x401 | X86_DR7_GD);
    debug(0, true, 0);
    CHECK_EQUAL((uint8_t)fake.injected, X86_VECTOR_DB);
    CHECK((fake.dr[6] & X86_DR6_BD) != 0);
    CHECK_EQUAL(fake_field(VMCS_GUEST_DR7), 0x401);
    fake_set_field(VMCS_GUEST_SS_ACCESS_RIGHTS, fake_field(VMCS_GUEST_SS_ACCESS_RIGHTS) | 0x60);
    debug(0, true, 0);
    machine.vcpu->event = 0; /* the fake refuses to enter so; the exception was chosen */
    fake_set_field(VMCS_GUEST_SS_ACCESS_RIGHTS,
                   fake_field(VMCS_GUEST_SS_ACCESS_RIGHTS) & ~UINT64_C(0x60));
    CHECK(fake_machine_stop(&machine));
}

int main(void)
{
    test_bit_by_bit();
    test_always_owned();
    test_modes();
    test_pdptes();
    test_pdptes_of_a_state();
    test_cr4_of_a_state();
    test_cr3_and_cr8();
    test_other_forms();
    test_debug_registers();
    return check_summary();
}
