/*
 * CR0 and CR4 bit by bit: who owns a bit, what the guest sees of it, and what that costs; and the
 * state that the core switches.
 *
 * Source: Intel SDM volume 3, "Guest/Host Masks and Read Shadows for CR0 and CR4".
 */
#include <string.h>

#include "vtx/bare/small_guests.h"
#include "vtx/core/hardware.h"
#include "x86/msr.h"
#include "x86/registers.h"
#include "x86/vmcs_fields.h"

SMALL_GUEST_CODE(flip_cr0);
SMALL_GUEST_CODE(flip_cr4);
SMALL_GUEST_CODE(any_mode);
SMALL_GUEST_CODE(context);

/* The bit of a control register, what the monitor does with it, and what is to come of it. */
struct view_case {
    const char *what;
    bool is_cr4;
    uint64_t bit;
    struct vtx_register_view view;
    bool seen_before, seen_after; /* by the guest, which flips what it sees */
    bool real_after;              /* in the processor */
    unsigned int exits;           /* VM exits by that */
};

static const struct view_case view_cases[] = {
    {"CR4.PCE, the guest's own: the real bit, no exit",
     true,
     X86_CR4_PCE,
     {0, 0, 0},
     false,
     true,
     true,
     0},
    {"CR4.TSD, owned: the shadow bit, an exit",
     true,
     X86_CR4_TSD,
     {X86_CR4_TSD, 0, 0},
     false,
     true,
     true,
     1},
    {"CR4.PGE, faked as 1: a bit that is not there, an exit",
     true,
     X86_CR4_PGE,
     {X86_CR4_PGE, X86_CR4_PGE, X86_CR4_PGE},
     true,
     true,
     false,
     1},
    {"CR4.DE, faked as 0", true, X86_CR4_DE, {X86_CR4_DE, X86_CR4_DE, 0}, false, false, false, 1},
    {"CR0.AM, the guest's own: the real bit, no exit",
     false,
     X86_CR0_AM,
     {0, 0, 0},
     false,
     true,
     true,
     0},
    {"CR0.AM, owned: the shadow bit, an exit",
     false,
     X86_CR0_AM,
     {X86_CR0_AM, 0, 0},
     false,
     true,
     true,
     1},
    {"CR0.MP, faked as 1",
     false,
     X86_CR0_MP,
     {X86_CR0_MP, X86_CR0_MP, X86_CR0_MP},
     true,
     true,
     false,
     1},
};

static void check_view(struct small_test *test, const struct view_case *view)
{
    static const struct vtx_register_view none;
    static struct small_guest guest;
    struct small_code code = view->is_cr4 ? SMALL_GUEST(flip_cr4) : SMALL_GUEST(flip_cr0);
    if (test->failed || !small_guest_make(&guest, test, code, BOOT_MODE_PROTECTED)) {
        return;
    }
    guest.state.gpr[X86_RBX] = view->bit;
    vtx_vcpu_set_views(&guest.vcpu, view->is_cr4 ? &none : &view->view,
                       view->is_cr4 ? &view->view : &none);
    small_guest_start(&guest);
    bool before = (small_guest_out(&guest, 0x10) & view->bit) != 0;
    bool after = (small_guest_out(&guest, 0x11) & view->bit) != 0;
    uint64_t real = 0;
    vtx_vmread(view->is_cr4 ? VMCS_GUEST_CR4 : VMCS_GUEST_CR0, &real);
    uint64_t exits = guest.vcpu.exits[VMX_REASON_CONTROL_REGISTER];
    if (before != view->seen_before || after != view->seen_after ||
        ((real & view->bit) != 0) != view->real_after || exits != view->exits) {
        small_test_fail(test, "%s: seen %u, then %u, real 0x%lx, %lu exits", view->what, before,
                        after, real, exits);
    }
    small_guest_end(&guest);
}

static void test_views(struct small_test *test)
{
    for (unsigned int i = 0; i < sizeof(view_cases) / sizeof(view_cases[0]); i++) {
        check_view(test, &view_cases[i]);
    }
}

/* Writing a shadow bit that is so already does not exit. */
static void test_view_unchanged(struct small_guest *guest)
{
    static const struct vtx_register_view none;
    struct vtx_register_view owned = {.owned = X86_CR4_TSD | X86_CR4_DE};
    guest->state.gpr[X86_RBX] = X86_CR4_PCE; /* flips another bit than the owned ones */
    vtx_vcpu_set_views(&guest->vcpu, &none, &owned);
    small_guest_start(guest);
    small_guest_out(guest, 0x10);
    small_guest_out(guest, 0x11);
    small_test_check(guest->test, guest->vcpu.exits[VMX_REASON_CONTROL_REGISTER] == 0, "no exit");
}

/* The guest's SSE registers and MSRs are its own; between runs the processor has the image's. */
static void test_context(struct small_guest *guest)
{
    uint64_t before = vtx_rdmsr(X86_MSR_IA32_KERNEL_GS_BASE);
    small_guest_start(guest);
    small_guest_out(guest, 0x10);
    vtx_vcpu_leave_context(&guest->vcpu);
    small_test_check(guest->test, vtx_rdmsr(X86_MSR_IA32_KERNEL_GS_BASE) == before,
                     "the image's MSR is back");
    vtx_vcpu_complete(&guest->vcpu);
    vtx_vcpu_get_state(&guest->vcpu, X86_STATE_ALL, &guest->state);
    small_test_check(guest->test, guest->state.msr.kernel_gs_base == 0x1234,
                     "the guest's MSR is kept");
    vtx_wrmsr(X86_MSR_IA32_KERNEL_GS_BASE, 0x5555);
    __asm__ volatile("xorps %%xmm3, %%xmm3" : : : "memory");
    vtx_vcpu_enter_context(&guest->vcpu);
    small_guest_expect_out(guest, 0x11, 0x77777777);
    small_guest_expect_out(guest, 0x12, 0x1234);
    vtx_vcpu_leave_context(&guest->vcpu);
    small_test_check(guest->test, vtx_rdmsr(X86_MSR_IA32_KERNEL_GS_BASE) == 0x5555,
                     "the image's MSR is back again");
    vtx_wrmsr(X86_MSR_IA32_KERNEL_GS_BASE, before);
}

/* What is set comes back, out of the VMCS and the struct. */
static void test_state(struct small_guest *guest)
{
    static struct x86_state found; /* too large for the stack, with a guest on it */
    struct x86_state *state = &guest->state;
    for (unsigned int i = 0; i < X86_GPR_COUNT; i++) {
        state->gpr[i] = 0x1111 * (i + 1);
    }
    state->msr.star = 0x1234500000000;
    state->msr.lstar = 0xffffffff81000000;
    state->msr.sysenter_eip = 0x4444;
    state->dr[2] = 0x9000;
    state->cr2 = 0x7777;
    vtx_vcpu_set_state(&guest->vcpu, X86_STATE_ALL, state);
    memset(&found, 0, sizeof(found));
    vtx_vcpu_get_state(&guest->vcpu, X86_STATE_ALL, &found);
    small_test_check(guest->test, memcmp(found.gpr, state->gpr, sizeof(found.gpr)) == 0,
                     "registers");
    small_test_check(guest->test, found.rip == state->rip && found.rflags == state->rflags,
                     "RIP, RFLAGS");
    small_test_check(guest->test, memcmp(found.segment, state->segment, sizeof(found.segment)) == 0,
                     "segments");
    small_test_check(guest->test, found.cr0 == state->cr0 && found.cr3 == state->cr3, "CR0, CR3");
    small_test_check(guest->test, found.cr4 == state->cr4 && found.efer == state->efer,
                     "CR4, EFER");
    small_test_check(guest->test, found.cr2 == state->cr2 && found.dr[2] == state->dr[2],
                     "CR2, DR2");
    small_test_check(guest->test, found.msr.star == state->msr.star, "STAR");
    small_test_check(guest->test, found.msr.lstar == state->msr.lstar, "LSTAR");
    small_test_check(guest->test, found.msr.sysenter_eip == state->msr.sysenter_eip,
                     "SYSENTER_EIP");
}

static const struct small_test_entry entries[] = {
    {.name = "views", .alone = test_views},
    {"view-unchanged", SMALL_GUEST(flip_cr4), BOOT_MODE_PROTECTED, test_view_unchanged, NULL},
    {"context", SMALL_GUEST(context), BOOT_MODE_LONG, test_context, NULL},
    {"state", SMALL_GUEST(any_mode), BOOT_MODE_LONG, test_state, NULL},
};

const struct small_test_table small_tests_registers = {entries,
                                                       sizeof(entries) / sizeof(entries[0])};
