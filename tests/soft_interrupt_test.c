/* Events entering through the IVT and both kinds of IDT, IRET leaving, double and triple faults. */
#include "engines/soft/interrupt.h"

#include <string.h>

#include "check.h"
#include "soft_fake.h"

#define HANDLER 0x8000u

static void set_gate(uint8_t vector, uint16_t selector, unsigned int type, unsigned int dpl,
                     unsigned int ist)
{
    struct x86_gate gate = {.offset = HANDLER + vector,
                            .selector = selector,
                            .type = (uint8_t)type,
                            .dpl = (uint8_t)dpl,
                            .ist = (uint8_t)ist,
                            .present = true};
    if (soft_long_mode(&fake_cpu)) {
        gate.offset |= UINT64_C(0xffff800000000000);
        fake_write(FAKE_IDT + 16u * vector, x86_gate_to_descriptor(&gate), 8);
        fake_write(FAKE_IDT + 16u * vector + 8, x86_gate_to_descriptor_high(&gate), 8);
    } else {
        fake_write(FAKE_IDT + 8u * vector, x86_gate_to_descriptor(&gate), 8);
    }
}

static void enter(void *event)
{
    soft_enter_event(&fake_cpu, event);
}

static bool enters(struct soft_event event)
{
    return fake_try(enter, &event);
}

static bool enter_faults(struct soft_event event, unsigned int vector, uint32_t error)
{
    return !fake_try(enter, &event) && fake_cpu.exception_vector == vector &&
           fake_cpu.exception_error == error;
}

static struct soft_event external(uint8_t vector)
{
    return (struct soft_event){
        .kind = SOFT_EVENT_EXTERNAL, .vector = vector, .return_rip = fake_cpu.rip};
}

/* As the run loop does it: every raise leads back here. False: shutdown. */
static bool deliver(uint8_t vector, bool has_error, uint32_t error)
{
    fake_cpu.exception_vector = vector;
    fake_cpu.exception_has_error = has_error;
    fake_cpu.exception_error = error;
    fake_cpu.exception_is_software = false;
    sigsetjmp(fake_cpu.escape, 0);
    return soft_deliver_exception(&fake_cpu);
}

static void test_real_mode(void)
{
    fake_real();
    fake_cpu.flags |= X86_FLAGS_IF | X86_FLAGS_TF | X86_FLAGS_AC;
    fake_cpu.segment[X86_CS].selector = 0x20;
    fake_cpu.segment[X86_CS].base = 0x200;
    fake_write(4 * 0x21, 0x12345678, 4);
    CHECK(enters(external(0x21)));
    CHECK_EQUAL(fake_cpu.rip, 0x5678);
    CHECK_EQUAL(fake_cpu.segment[X86_CS].base, 0x12340);
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK - 6);
    CHECK_EQUAL(fake_read(FAKE_STACK - 6, 2), FAKE_CODE);
    CHECK_EQUAL(fake_read(FAKE_STACK - 4, 2), 0x20);
    CHECK_EQUAL(fake_read(FAKE_STACK - 2, 2), 0x302);
    CHECK_EQUAL(fake_cpu.flags, X86_FLAGS_ONE);
    struct x86_instruction iret = {.operand_size = 2};
    CHECK(fake_run(soft_iret, &iret));
    CHECK_EQUAL(fake_cpu.rip, FAKE_CODE);
    CHECK_EQUAL(fake_cpu.segment[X86_CS].base, 0x200);
    CHECK_EQUAL(fake_cpu.flags, X86_FLAGS_ONE | X86_FLAGS_IF | X86_FLAGS_TF);
    fake_cpu.idtr.limit = 4 * 0x21 + 2;
    CHECK(enter_faults(external(0x21), X86_VECTOR_GP, 0));
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK);
    fake_cpu.idtr.limit = 0x3ff;
    fake_cpu.gpr[X86_RSP] = 3; /* the second word straddles the segment's end */
    CHECK(!enters(external(0x21)));
    CHECK_EQUAL(fake_cpu.exception_vector, X86_VECTOR_SS);
}

static void test_long_same_level(void)
{
    fake_long(0);
    fake_cpu.flags |= X86_FLAGS_IF | X86_FLAGS_TF | X86_FLAGS_NT;
    fake_cpu.gpr[X86_RSP] = FAKE_STACK - 5;
    set_gate(0x40, CODE0_64, X86_SYSTEM_INTERRUPT_GATE, 0, 0);
    CHECK(enters(external(0x40)));
    uint64_t base = ((FAKE_STACK - 5) & ~15u) - 40;
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], base);
    CHECK_EQUAL(fake_cpu.rip, 0xffff800000008040);
    CHECK_EQUAL(fake_cpu.flags, X86_FLAGS_ONE);
    CHECK_EQUAL(fake_read(base, 8), FAKE_CODE);
    CHECK_EQUAL(fake_read(base + 8, 8), CODE0_64);
    CHECK_EQUAL(fake_read(base + 16, 8),
                X86_FLAGS_ONE | X86_FLAGS_IF | X86_FLAGS_TF | X86_FLAGS_NT);
    CHECK_EQUAL(fake_read(base + 24, 8), FAKE_STACK - 5);
    CHECK_EQUAL(fake_read(base + 32, 8), DATA0);
    CHECK_EQUAL(fake_cpu.segment[X86_SS].selector, DATA0);
    struct x86_instruction iretq = {.operand_size = 8};
    CHECK(fake_run(soft_iret, &iretq));
    CHECK_EQUAL(fake_cpu.rip, FAKE_CODE);
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK - 5);
    CHECK((fake_cpu.flags & X86_FLAGS_NT) != 0);
    CHECK(fake_faults(soft_iret, &iretq, X86_VECTOR_GP, 0)); /* NT */
}

static void test_long_from_user(void)
{
    fake_long(3);
    fake_cpu.flags |= X86_FLAGS_IF;
    set_gate(14, CODE0_64, X86_SYSTEM_TRAP_GATE, 0, 0);
    CHECK(deliver(14, true, 7));
    CHECK_EQUAL(fake_cpu.cpl, 0);
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK0 - 48);
    CHECK_EQUAL(fake_read(FAKE_STACK0 - 48, 8), 7);
    CHECK_EQUAL(fake_read(FAKE_STACK0 - 24, 8), X86_FLAGS_ONE | X86_FLAGS_IF | X86_FLAGS_RF);
    CHECK_EQUAL(fake_read(FAKE_STACK0 - 8, 8), DATA3);
    CHECK_EQUAL(fake_cpu.segment[X86_SS].selector, 0);
    CHECK((fake_cpu.segment[X86_SS].attributes & X86_SEGMENT_UNUSABLE) != 0);
    CHECK_EQUAL(fake_cpu.flags, X86_FLAGS_ONE | X86_FLAGS_IF);
    CHECK(!fake_cpu.delivering);
    /* a nested event at level 0 pushes the null SS, and IRETQ takes it back */
    fake_cpu.flags &= ~X86_FLAGS_IF;
    set_gate(2, CODE0_64, X86_SYSTEM_INTERRUPT_GATE, 0, 1);
    struct soft_event nmi = {.kind = SOFT_EVENT_NMI, .vector = 2, .return_rip = fake_cpu.rip};
    CHECK(enters(nmi));
    CHECK(fake_cpu.nmi_blocked);
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_IST1 - 40);
    CHECK_EQUAL(fake_read(FAKE_IST1 - 8, 8), 0);
    struct x86_instruction iretq = {.operand_size = 8};
    CHECK(fake_run(soft_iret, &iretq));
    CHECK(!fake_cpu.nmi_blocked);
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK0 - 48);
    CHECK_EQUAL(fake_cpu.cpl, 0);
    /* and back to level 3, past the error code */
    fake_cpu.gpr[X86_RSP] += 8;
    fake_cpu.segment[X86_DS].attributes = 0xc093; /* DPL 0: hidden from level 3 */
    CHECK(fake_run(soft_iret, &iretq));
    CHECK_EQUAL(fake_cpu.cpl, 3);
    CHECK_EQUAL(fake_cpu.rip, FAKE_CODE);
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK);
    CHECK_EQUAL(fake_cpu.segment[X86_SS].selector, DATA3);
    CHECK_EQUAL(fake_cpu.segment[X86_DS].attributes, X86_SEGMENT_UNUSABLE);
    CHECK_EQUAL(fake_cpu.segment[X86_ES].selector, DATA3);
    CHECK_EQUAL(fake_cpu.flags, X86_FLAGS_ONE | X86_FLAGS_IF | X86_FLAGS_RF);
}

static void test_long_faults(void)
{
    fake_long(3);
    set_gate(0x30, CODE0_64, X86_SYSTEM_INTERRUPT_GATE, 0, 0);
    struct x86_instruction int30 = {.immediate = 0x30};
    CHECK(fake_faults(soft_int, &int30, X86_VECTOR_GP, 0x30 * 8 + 2)); /* DPL */
    CHECK(enter_faults(external(0x31), X86_VECTOR_GP, 0x31 * 8 + 3));  /* empty: wrong type */
    set_gate(0x32, CODE0, X86_SYSTEM_INTERRUPT_GATE, 3, 0);
    CHECK(enter_faults(external(0x32), X86_VECTOR_GP, CODE0 | 1)); /* not 64-bit code */
    set_gate(0x32, 0, X86_SYSTEM_INTERRUPT_GATE, 3, 0);
    CHECK(enter_faults(external(0x32), X86_VECTOR_GP, 1));
    fake_cpu.idtr.limit = 0x30 * 16 + 14;
    CHECK(enter_faults(external(0x30), X86_VECTOR_GP, 0x30 * 8 + 3));
    fake_cpu.idtr.limit = 0xfff;
    fake_write(FAKE_TSS + 4, 0x800000000000, 8);
    CHECK(enter_faults(external(0x30), X86_VECTOR_SS, 1));
    fake_cpu.segment[X86_TR].limit = 10;
    CHECK(enter_faults(external(0x30), X86_VECTOR_TS, TSS | 1));
    CHECK_EQUAL(fake_cpu.cpl, 3);
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK);
}

static void test_long_software(void)
{
    fake_long(3);
    set_gate(3, CODE0_64, X86_SYSTEM_INTERRUPT_GATE, 3, 0);
    struct x86_instruction int3 = {.length = 1};
    fake_cpu.flags |= X86_FLAGS_RF;
    CHECK(fake_run(soft_int3, &int3));
    CHECK_EQUAL(fake_cpu.rip, 0xffff800000008003);
    CHECK_EQUAL(fake_read(FAKE_STACK0 - 40, 8), FAKE_CODE + 1);
    CHECK_EQUAL(fake_read(FAKE_STACK0 - 24, 8), X86_FLAGS_ONE);
}

static void test_iret_to_compatibility(void)
{
    fake_long(0);
    const uint64_t frame[] = {0x1234, CODE3, X86_FLAGS_ONE, 0x1122334455667788, DATA3};
    memcpy(fake_memory + FAKE_STACK, frame, sizeof frame);
    struct x86_instruction iretq = {.operand_size = 8};
    CHECK(fake_run(soft_iret, &iretq));
    CHECK_EQUAL(fake_cpu.mode, X86_DECODE_32);
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], 0x55667788);
    CHECK_EQUAL(fake_cpu.cpl, 3);
    fake_long(0);
    memcpy(fake_memory + FAKE_STACK, frame, sizeof frame);
    fake_write(FAKE_STACK, 0x100000000, 8);
    CHECK(fake_faults(soft_iret, &iretq, X86_VECTOR_GP, 0)); /* beyond the limit */
    fake_write(FAKE_STACK + 8, CODE_RESERVED, 8);
    CHECK(fake_faults(soft_iret, &iretq, X86_VECTOR_GP, CODE_RESERVED));
    fake_write(FAKE_STACK + 8, ABSENT_CODE, 8);
    CHECK(fake_faults(soft_iret, &iretq, X86_VECTOR_NP, ABSENT_CODE));
    fake_write(FAKE_STACK + 8, CODE3_64, 8);
    fake_write(FAKE_STACK + 32, 3, 8);
    CHECK(fake_faults(soft_iret, &iretq, X86_VECTOR_GP, 0)); /* null SS at level 3 */
    fake_write(FAKE_STACK + 32, DATA0, 8);
    CHECK(fake_faults(soft_iret, &iretq, X86_VECTOR_GP, DATA0));
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK);
}

static void test_iret_flags(void)
{
    fake_long(3);
    const uint64_t frame[] = {0x1234, CODE3_64, ~UINT64_C(0) & ~X86_FLAGS_NT, FAKE_STACK, DATA3};
    memcpy(fake_memory + FAKE_STACK, frame, sizeof frame);
    struct x86_instruction iretq = {.operand_size = 8};
    CHECK(fake_run(soft_iret, &iretq));
    CHECK_EQUAL(soft_rflags(&fake_cpu), X86_FLAGS_ONE | X86_FLAGS_ARITHMETIC | X86_FLAGS_TF |
                                            X86_FLAGS_DF | X86_FLAGS_RF | X86_FLAGS_AC |
                                            X86_FLAGS_ID);
}

static void test_protected_inner(void)
{
    fake_protected(3);
    fake_cpu.flags |= X86_FLAGS_IF;
    set_gate(0x80, CODE0, X86_SYSTEM_TRAP_GATE, 3, 0);
    struct x86_instruction int80 = {.immediate = 0x80};
    CHECK(fake_run(soft_int, &int80));
    CHECK_EQUAL(fake_cpu.cpl, 0);
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK0 - 20);
    CHECK_EQUAL(fake_cpu.segment[X86_SS].selector, DATA0);
    CHECK_EQUAL(fake_read(FAKE_STACK0 - 20, 4), FAKE_CODE + 2);
    CHECK_EQUAL(fake_read(FAKE_STACK0 - 16, 4), CODE3);
    CHECK_EQUAL(fake_read(FAKE_STACK0 - 8, 4), FAKE_STACK);
    CHECK_EQUAL(fake_read(FAKE_STACK0 - 4, 4), DATA3);
    CHECK((fake_cpu.flags & X86_FLAGS_IF) != 0);
    struct x86_instruction iret = {.operand_size = 4};
    CHECK(fake_run(soft_iret, &iret));
    CHECK_EQUAL(fake_cpu.cpl, 3);
    CHECK_EQUAL(fake_cpu.rip, FAKE_CODE + 2);
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK);
    /* the inner SS is bad: #TS names it */
    fake_write(FAKE_TSS + 8, READ_ONLY, 4);
    CHECK(fake_faults(soft_int, &int80, X86_VECTOR_TS, READ_ONLY));
    fake_write(FAKE_TSS + 8, 0, 4);
    CHECK(enter_faults(external(0x80), X86_VECTOR_TS, 1));
    fake_write(FAKE_TSS + 8, ABSENT_DATA, 4);
    CHECK(enter_faults(external(0x80), X86_VECTOR_SS, ABSENT_DATA | 1));
}

static void test_protected_16bit_gate(void)
{
    fake_protected(0);
    set_gate(0x20, CODE0, X86_SYSTEM_INTERRUPT_GATE16, 0, 0);
    CHECK(enters(external(0x20)));
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK - 6);
    CHECK_EQUAL(fake_cpu.rip, HANDLER + 0x20);
    struct x86_instruction iret = {.operand_size = 2};
    CHECK(fake_run(soft_iret, &iret));
    CHECK_EQUAL(fake_cpu.rip, FAKE_CODE);
}

static void test_frame_is_checked_before_it_is_written(void)
{
    fake_long(0);
    set_gate(0x40, CODE0_64, X86_SYSTEM_INTERRUPT_GATE, 0, 0);
    fake_cpu.gpr[X86_RSP] = FAKE_STACK + 16;
    fake_write(FAKE_STACK, 0x1111, 8);
    fake_write_protect(FAKE_STACK - 1);
    CHECK(enter_faults(external(0x40), X86_VECTOR_PF, X86_PF_PRESENT | X86_PF_WRITE));
    CHECK_EQUAL(fake_read(FAKE_STACK, 8), 0x1111);
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK + 16);
}

static void test_virtual_8086(void)
{
    fake_virtual_8086(3);
    fake_cpu.segment[X86_GS].selector = 0x1111;
    fake_cpu.segment[X86_ES].selector = 0x2222;
    fake_cpu.segment[X86_SS].selector = 0x0100;
    set_gate(0x80, CODE0, X86_SYSTEM_INTERRUPT_GATE, 3, 0);
    struct x86_instruction int80 = {.immediate = 0x80};
    CHECK(fake_run(soft_int, &int80));
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK0 - 36);
    CHECK_EQUAL(fake_read(FAKE_STACK0 - 4, 4), 0x1111);
    CHECK_EQUAL(fake_read(FAKE_STACK0 - 16, 4), 0x2222);
    CHECK_EQUAL(fake_read(FAKE_STACK0 - 20, 4), 0x0100);
    CHECK_EQUAL(fake_read(FAKE_STACK0 - 28, 4), X86_FLAGS_ONE | X86_FLAGS_VM | X86_FLAGS_IOPL);
    CHECK_EQUAL(fake_cpu.segment[X86_GS].attributes, X86_SEGMENT_UNUSABLE);
    CHECK(!soft_virtual_8086(&fake_cpu));
    CHECK_EQUAL(fake_cpu.cpl, 0);
    struct x86_instruction iret = {.operand_size = 4};
    CHECK(fake_run(soft_iret, &iret));
    CHECK(soft_virtual_8086(&fake_cpu));
    CHECK_EQUAL(fake_cpu.cpl, 3);
    CHECK_EQUAL(fake_cpu.segment[X86_GS].base, 0x11110);
    CHECK_EQUAL(fake_cpu.segment[X86_GS].attributes, 0xf3);
    CHECK_EQUAL(fake_cpu.segment[X86_SS].base, 0x1000);
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK);
    /* a handler that is not at level 0 */
    set_gate(0x81, CODE3, X86_SYSTEM_INTERRUPT_GATE, 3, 0);
    CHECK(enter_faults(external(0x81), X86_VECTOR_GP, (CODE3 & ~3) | 1));
    fake_virtual_8086(0);
    CHECK(fake_faults(soft_int, &int80, X86_VECTOR_GP, 0));
    struct x86_instruction iret16 = {.operand_size = 2};
    CHECK(fake_faults(soft_iret, &iret16, X86_VECTOR_GP, 0));
}

static void test_redirection(void)
{
    fake_virtual_8086(0);
    fake_cpu.cr4 |= X86_CR4_VME;
    fake_cpu.flags |= X86_FLAGS_IF | X86_FLAGS_VIF;
    fake_write(FAKE_TSS + 102, 0x88, 2);      /* I/O map; the bitmap is at 0x68 */
    fake_write(FAKE_TSS + 0x68 + 2, 0x02, 1); /* INT 11h: not redirected */
    fake_write(4 * 0x10, 0x00501234, 4);
    struct x86_instruction int10 = {.immediate = 0x10};
    struct x86_instruction int11 = {.immediate = 0x11};
    CHECK(fake_run(soft_int, &int10));
    CHECK_EQUAL(fake_cpu.rip, 0x1234);
    CHECK_EQUAL(fake_cpu.segment[X86_CS].base, 0x500);
    CHECK_EQUAL(fake_read(FAKE_STACK - 2, 2), 0x3202); /* IF shows VIF, IOPL reads as 3 */
    CHECK_EQUAL(fake_cpu.flags & (X86_FLAGS_IF | X86_FLAGS_VIF), X86_FLAGS_IF);
    CHECK(soft_virtual_8086(&fake_cpu));
    struct x86_instruction iret16 = {.operand_size = 2};
    CHECK(fake_run(soft_iret, &iret16));
    CHECK_EQUAL(fake_cpu.flags & (X86_FLAGS_IF | X86_FLAGS_VIF), X86_FLAGS_IF | X86_FLAGS_VIF);
    CHECK_EQUAL(soft_iopl(&fake_cpu), 0);
    CHECK(fake_faults(soft_int, &int11, X86_VECTOR_GP, 0));
}

static void test_double_fault(void)
{
    fake_long(3);
    set_gate(8, CODE0_64, X86_SYSTEM_INTERRUPT_GATE, 0, 1);
    /* #GP has no gate: #GP while delivering #GP makes #DF */
    CHECK(deliver(13, true, 0x10));
    CHECK_EQUAL(fake_cpu.rip, 0xffff800000008008);
    CHECK_EQUAL(fake_read(FAKE_IST1 - 48, 8), 0);
    CHECK_EQUAL(fake_cpu.chain_count, 2);
    CHECK_EQUAL(fake_cpu.chain[0].vector, 13);
    CHECK_EQUAL(fake_cpu.chain[0].error, 0x10);
    CHECK_EQUAL(fake_cpu.chain[1].error, 13 * 8 + 3);
    /* #UD is benign: its missing gate leads to #GP, whose handler exists */
    fake_long(3);
    set_gate(13, CODE0_64, X86_SYSTEM_INTERRUPT_GATE, 0, 0);
    CHECK(deliver(6, false, 0));
    CHECK_EQUAL(fake_cpu.rip, 0xffff80000000800d);
    /* a page fault while calling the handler of #GP is served first */
    fake_long(0);
    set_gate(13, CODE0_64, X86_SYSTEM_INTERRUPT_GATE, 0, 0);
    set_gate(14, CODE0_64, X86_SYSTEM_INTERRUPT_GATE, 0, 1);
    fake_write_protect(FAKE_STACK - 1);
    CHECK(deliver(13, true, 0));
    CHECK_EQUAL(fake_cpu.rip, 0xffff80000000800e);
}

static void test_shutdown(void)
{
    fake_protected(0);
    fake_cpu.idtr.limit = 0;
    fake_cpu.cr2 = 0x1234;
    CHECK(!deliver(14, true, 2));
    CHECK_EQUAL(fake_cpu.chain_count, 3);
    CHECK_EQUAL(fake_cpu.chain[0].vector, 14);
    CHECK_EQUAL(fake_cpu.chain[0].address, 0x1234);
    CHECK_EQUAL(fake_cpu.chain[0].rip, FAKE_CODE);
    CHECK_EQUAL(fake_cpu.chain[1].vector, 13);
    CHECK_EQUAL(fake_cpu.chain[1].error, 14 * 8 + 3);
    CHECK_EQUAL(fake_cpu.chain[2].error, 8 * 8 + 3);
    CHECK(!fake_cpu.delivering);
    CHECK_EQUAL(fake_cpu.rip, FAKE_CODE);
}

int main(void)
{
    test_real_mode();
    test_long_same_level();
    test_long_from_user();
    test_long_faults();
    test_long_software();
    test_iret_to_compatibility();
    test_iret_flags();
    test_protected_inner();
    test_protected_16bit_gate();
    test_frame_is_checked_before_it_is_written();
    test_virtual_8086();
    test_redirection();
    test_double_fault();
    test_shutdown();
    return check_summary();
}
