/* Single steps, breakpoints and what meets them, on the real software CPU. */
#include "check.h"
#include "engines/soft/soft.h"
#include "soft_guest.h"
#include "x86/registers.h"

#define DR6_NONE X86_DR6_ONES
#define LOAD(guest, ...)                                                                           \
    do {                                                                                           \
        static const uint8_t code_[] = {__VA_ARGS__};                                              \
        soft_guest_load((guest), code_, sizeof code_);                                             \
    } while (0)

/* Runs to the next #DB; checks where it says it is, and DR6. */
static void expect_debug(struct soft_guest *guest, uint64_t offset, uint64_t dr6)
{
    soft_guest_run(guest);
    CHECK_EQUAL(soft_guest_vector(guest), X86_VECTOR_DB);
    CHECK_EQUAL(soft_guest_frame(guest, 0), SOFT_GUEST_CODE + offset);
    CHECK_EQUAL(guest->state.dr[6], dr6);
}

/* DR7 with breakpoint 0 globally enabled: its R/W field (0 execute, 1 write, 2 port, 3 both). */
static uint64_t dr7_of(unsigned int type, unsigned int length)
{
    return X86_DR7_ONE | 2 | (uint64_t)type << 16 | (uint64_t)length << 18;
}

/*
 * "Instruction-Breakpoint Exception Condition": alone among faults it is saved with RF clear. Its
 * handler sets RF, so that the instruction runs when it returns.
 */
static void resume_from_breakpoint(struct soft_guest *guest)
{
    uint64_t flags = soft_guest_frame(guest, 2);
    CHECK_EQUAL(flags & X86_FLAGS_RF, 0);
    soft_guest_set_frame(guest, 2, flags | X86_FLAGS_RF);
    soft_guest_run(guest);
}

/* "Debug Status Register (DR6)": B0..B3 are of the last #DB, BS stays until it is cleared. */
static void test_status_bits(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    LOAD(&guest, 0x90, 0x90, 0xf4);
    guest.state.dr[0] = SOFT_GUEST_CODE + 1;
    guest.state.dr[6] = DR6_NONE | X86_DR6_BS | 4;
    guest.state.dr[7] = dr7_of(0, 0);
    expect_debug(&guest, 1, DR6_NONE | X86_DR6_BS | 1);
    resume_from_breakpoint(&guest);
    CHECK_EQUAL(soft_guest_vector(&guest), -1);
    CHECK_EQUAL(guest.state.rip, SOFT_GUEST_CODE + 3);
    soft_guest_close(&guest);
}

/* A REP traps after each iteration, its last included; RF is set in all images but that one. */
static void test_step_through_string(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    LOAD(&guest, 0xf3, 0xa4, 0x90, 0xf4); /* rep movsb; nop; hlt */
    guest.state.gpr[X86_RSI] = SOFT_GUEST_DATA;
    guest.state.gpr[X86_RDI] = SOFT_GUEST_DATA + 0x100;
    guest.state.gpr[X86_RCX] = 3;
    guest.state.rflags |= X86_FLAGS_TF;
    for (uint64_t left = 2; left > 0; left--) {
        expect_debug(&guest, 0, DR6_NONE | X86_DR6_BS);
        CHECK_EQUAL(guest.state.gpr[X86_RCX], left);
        CHECK((soft_guest_frame(&guest, 2) & X86_FLAGS_RF) != 0);
    }
    expect_debug(&guest, 2, DR6_NONE | X86_DR6_BS);
    CHECK_EQUAL(guest.state.gpr[X86_RCX], 0);
    CHECK((soft_guest_frame(&guest, 2) & X86_FLAGS_RF) == 0);
    expect_debug(&guest, 3, DR6_NONE | X86_DR6_BS);
    soft_guest_close(&guest);
}

/* A breakpoint on a REP hits once, not before each iteration. */
static void test_breakpoint_on_string(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    LOAD(&guest, 0xf3, 0xaa, 0xf4); /* rep stosb; hlt */
    guest.state.gpr[X86_RDI] = SOFT_GUEST_DATA;
    guest.state.gpr[X86_RCX] = 5;
    guest.state.dr[0] = SOFT_GUEST_CODE;
    guest.state.dr[7] = dr7_of(0, 0);
    expect_debug(&guest, 0, DR6_NONE | 1);
    CHECK_EQUAL(guest.state.gpr[X86_RCX], 5);
    resume_from_breakpoint(&guest);
    CHECK_EQUAL(guest.state.gpr[X86_RCX], 0);
    CHECK_EQUAL(guest.state.rip, SOFT_GUEST_CODE + 3);
    soft_guest_close(&guest);
}

/* HLT with TF: the trap is taken at once and ends the halt. */
static void test_step_over_halt(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    LOAD(&guest, 0xf4, 0x90);
    guest.state.rflags |= X86_FLAGS_TF;
    expect_debug(&guest, 1, DR6_NONE | X86_DR6_BS);
    soft_guest_close(&guest);
}

/* The trap of an OUT, be it for TF or for the port, comes after the device has seen it. */
static void test_step_over_output(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    LOAD(&guest, 0xe6, 0x80, 0xe4, 0x81, 0x90); /* out 80h, al; in al, 81h */
    guest.state.rflags |= X86_FLAGS_TF;
    guest.state.cr4 |= X86_CR4_DE;
    guest.state.dr[0] = 0x80;
    guest.state.dr[7] = dr7_of(2, 0);
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_PIO);
    CHECK_EQUAL(guest.exit.pio.port, 0x80);
    expect_debug(&guest, 2, DR6_NONE | X86_DR6_BS | 1);
    guest.state.dr[6] = DR6_NONE;
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_PIO);
    guest.exit.pio.data[0] = 0x5a;
    struct error error;
    CHECK_EQUAL(soft_engine.run(guest.vcpu, &guest.exit, &error), 0);
    CHECK_EQUAL(soft_engine.get_state(guest.vcpu, X86_STATE_ALL, &guest.state, &error), 0);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_DB);
    CHECK_EQUAL(soft_guest_frame(&guest, 0), SOFT_GUEST_CODE + 4);
    CHECK_EQUAL(guest.state.gpr[X86_RAX] & 0xff, 0x5a);
    soft_guest_close(&guest);
}

/*
 * "Masking Exceptions and Interrupts When Switching Stacks": MOV SS has no single-step trap; a data
 * breakpoint it hits is told of after the next instruction, be that INT n (then in its handler);
 * INT1 is itself a #DB and tells of both.
 */
static void test_stack_switch(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    uint64_t ss = guest.state.segment[X86_SS].selector;
    LOAD(&guest, 0x8e, 0xd0, 0xf1, 0x90); /* mov ss, eax; int1; nop */
    guest.state.gpr[X86_RAX] = ss;
    guest.state.rflags |= X86_FLAGS_TF;
    expect_debug(&guest, 3, DR6_NONE);
    expect_debug(&guest, 4, DR6_NONE | X86_DR6_BS);

    LOAD(&guest, 0x8e, 0x13, 0xf1, 0x90); /* mov ss, [rbx]; int1 */
    soft_guest_write(&guest, SOFT_GUEST_DATA, ss, 2);
    guest.state.rflags = X86_FLAGS_ONE;
    guest.state.gpr[X86_RBX] = SOFT_GUEST_DATA;
    guest.state.dr[0] = SOFT_GUEST_DATA;
    guest.state.dr[6] = DR6_NONE;
    guest.state.dr[7] = dr7_of(3, 0);
    expect_debug(&guest, 3, DR6_NONE | 1);
    uint64_t handler = guest.state.rip - 1;

    LOAD(&guest, 0x8e, 0x13, 0xcd, 0x01, 0x90); /* mov ss, [rbx]; int 1 */
    guest.state.dr[6] = DR6_NONE;
    soft_guest_run(&guest);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_DB);
    CHECK_EQUAL(soft_guest_frame(&guest, 0), handler);
    CHECK_EQUAL(guest.state.dr[6], DR6_NONE | 1);
    soft_guest_run(&guest);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_DB);
    CHECK_EQUAL(soft_guest_frame(&guest, 0), SOFT_GUEST_CODE + 4);
    soft_guest_close(&guest);
}

/* INTO that is not taken is an instruction like any other. */
static void test_step_over_into(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_32)) {
        return;
    }
    LOAD(&guest, 0xce, 0x90);
    guest.state.rflags |= X86_FLAGS_TF;
    expect_debug(&guest, 1, DR6_NONE | X86_DR6_BS);
    soft_guest_close(&guest);
}

/* TF is looked at after SYSCALL and SYSRET: FMASK hides the one, R11 brings the other. */
static void test_step_over_system_calls(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    LOAD(&guest, 0x0f, 0x05, 0xf4); /* syscall, to the next instruction */
    guest.state.efer |= X86_EFER_SCE;
    guest.state.msr.star = UINT64_C(0x10) << 32 | UINT64_C(0x33) << 48;
    guest.state.msr.lstar = SOFT_GUEST_CODE + 2;
    guest.state.msr.fmask = X86_FLAGS_TF;
    guest.state.rflags |= X86_FLAGS_TF;
    soft_guest_run(&guest);
    CHECK_EQUAL(soft_guest_vector(&guest), -1);
    CHECK_EQUAL(guest.state.rip, SOFT_GUEST_CODE + 3);

    LOAD(&guest, 0x48, 0x0f, 0x07); /* sysretq: the #DB needs the stack of level 0 */
    guest.state.gpr[X86_RCX] = SOFT_GUEST_CODE + 0x100;
    guest.state.gpr[X86_R11] = X86_FLAGS_TF | X86_FLAGS_ONE;
    guest.state.segment[X86_TR].base = SOFT_GUEST_DATA;
    soft_guest_write(&guest, SOFT_GUEST_DATA + 4, SOFT_GUEST_STACK, 8);
    expect_debug(&guest, 0x100, DR6_NONE | X86_DR6_BS);
    soft_guest_close(&guest);
}

/* Data breakpoints watch vector and x87 operands too, also in a page that the TLB has. */
static void test_breakpoint_on_vector_operand(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    LOAD(&guest, 0x8b, 0x07, 0x0f, 0x10, 0x47, 0x10, 0x90, 0xf4); /* mov eax, [rdi]; movups */
    guest.state.gpr[X86_RDI] = SOFT_GUEST_DATA;
    guest.state.cr4 |= X86_CR4_OSFXSR;
    guest.state.dr[0] = SOFT_GUEST_DATA + 0x10;
    guest.state.dr[7] = dr7_of(3, 2);
    expect_debug(&guest, 6, DR6_NONE | 1);

    LOAD(&guest, 0x89, 0x07, 0x0f, 0x58, 0x47, 0x10, 0x0f, 0x11, 0x47, 0x20, 0x90,
         0xf4); /* mov [rdi], eax; addps xmm0, [rdi + 16]; movups [rdi + 32], xmm0 */
    expect_debug(&guest, 6, DR6_NONE | 1);
    guest.state.dr[0] = SOFT_GUEST_DATA + 0x28;
    guest.state.dr[7] = dr7_of(1, 2);
    expect_debug(&guest, 10, DR6_NONE | 1);

    LOAD(&guest, 0x89, 0x07, 0xdd, 0x5f, 0x28, 0x90, 0xf4); /* fstp qword [rdi + 40] */
    expect_debug(&guest, 5, DR6_NONE | 1);
    soft_guest_close(&guest);
}

int main(void)
{
    test_breakpoint_on_vector_operand();
    test_status_bits();
    test_step_through_string();
    test_breakpoint_on_string();
    test_step_over_halt();
    test_step_over_output();
    test_stack_switch();
    test_step_over_into();
    test_step_over_system_calls();
    return check_summary();
}
