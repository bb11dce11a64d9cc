/* Far jumps, calls and returns: code segments, call gates of three widths, mode changes. */
#include "engines/soft/far.h"

#include "check.h"
#include "soft_fake.h"

static struct x86_instruction direct(uint16_t selector, uint32_t offset, unsigned int size)
{
    return (struct x86_instruction){.operand_size = (uint8_t)size,
                                    .immediate = (int32_t)offset,
                                    .immediate2 = selector,
                                    .length = 7};
}

static bool jumps(uint16_t selector, uint32_t offset)
{
    struct x86_instruction in = direct(selector, offset, 4);
    return fake_run(soft_jmp_far, &in) && fake_cpu.rip == offset;
}

static bool jump_faults(uint16_t selector, uint32_t offset, unsigned int vector, int64_t error)
{
    struct x86_instruction in = direct(selector, offset, 4);
    return fake_faults(soft_jmp_far, &in, vector, error);
}

static void set_call_gate(uint16_t selector, uint64_t offset, unsigned int type, unsigned int dpl,
                          unsigned int parameters)
{
    struct x86_gate gate = {.offset = offset,
                            .selector = selector,
                            .type = (uint8_t)type,
                            .dpl = (uint8_t)dpl,
                            .parameter_count = (uint8_t)parameters,
                            .present = true};
    fake_set_descriptor(GATE, x86_gate_to_descriptor(&gate));
    if (soft_long_mode(&fake_cpu)) {
        fake_set_descriptor(GATE + 8, x86_gate_to_descriptor_high(&gate));
    }
}

static void test_jumps(void)
{
    fake_protected(0);
    CHECK(jumps(CODE0_16, 0x1234));
    CHECK_EQUAL(fake_cpu.mode, X86_DECODE_16);
    CHECK_EQUAL(fake_cpu.segment[X86_CS].attributes, 0x9b);
    CHECK(jumps(CODE0, 0x80001234));
    CHECK_EQUAL(fake_cpu.mode, X86_DECODE_32);
    CHECK(jumps(CONFORMING, 0x10));
    CHECK(jump_faults(0, 0, X86_VECTOR_GP, 0));
    CHECK(jump_faults(DATA0, 0, X86_VECTOR_GP, DATA0));
    CHECK(jump_faults(CODE0 | 3, 0, X86_VECTOR_GP, CODE0)); /* RPL > CPL */
    CHECK(jump_faults(CODE3, 0, X86_VECTOR_GP, CODE3 & ~3));
    CHECK(jump_faults(ABSENT_CODE, 0, X86_VECTOR_NP, ABSENT_CODE));
    CHECK(jump_faults(GDT_BYTES, 0, X86_VECTOR_GP, GDT_BYTES));
    CHECK(jump_faults(SMALL_CODE, 0x1000, X86_VECTOR_GP, 0));
    CHECK(jumps(SMALL_CODE, 0xfff));
    fake_protected(3);
    CHECK(jumps(CONFORMING, 0x10));
    CHECK_EQUAL(fake_cpu.segment[X86_CS].selector, CONFORMING | 3); /* the CPL stays */
    CHECK_EQUAL(fake_cpu.cpl, 3);
}

static void test_mode_changes(void)
{
    fake_long(0);
    fake_cpu.segment[X86_CS] =
        x86_segment_from_descriptor(fake_read(FAKE_GDT + CODE0, 8), CODE0); /* compatibility */
    soft_mode_changed(&fake_cpu);
    CHECK_EQUAL(fake_cpu.mode, X86_DECODE_32);
    CHECK(jumps(CODE0_64, 0x4321));
    CHECK_EQUAL(fake_cpu.mode, X86_DECODE_64);
    CHECK(jump_faults(CODE_RESERVED, 0, X86_VECTOR_GP, CODE_RESERVED));
    CHECK(jump_faults(TSS, 0, X86_VECTOR_GP, TSS)); /* no task switches in IA-32e mode */
    struct x86_instruction indirect = fake_memory_operand(5, 8);
    fake_write(FAKE_DATA, 0xffffffff81000000, 8);
    fake_write(FAKE_DATA + 8, CODE0_64, 2);
    CHECK(fake_run(soft_jmp_far_indirect, &indirect));
    CHECK_EQUAL(fake_cpu.rip, 0xffffffff81000000);
    fake_write(FAKE_DATA, 0x0000800000000000, 8);
    CHECK(fake_faults(soft_jmp_far_indirect, &indirect, X86_VECTOR_GP, 0));
    fake_write(FAKE_DATA, 0x1000, 8);
    fake_write(FAKE_DATA + 8, CODE0, 2);
    CHECK(fake_run(soft_jmp_far_indirect, &indirect));
    CHECK_EQUAL(fake_cpu.mode, X86_DECODE_32);
}

static void test_real_mode(void)
{
    fake_real();
    struct x86_instruction call = direct(0x1234, 0x5678, 2);
    call.length = 5;
    CHECK(fake_run(soft_call_far, &call));
    CHECK_EQUAL(fake_cpu.segment[X86_CS].base, 0x12340);
    CHECK_EQUAL(fake_cpu.rip, 0x5678);
    CHECK_EQUAL(fake_read(FAKE_STACK - 4, 4), FAKE_CODE + 5);
    struct x86_instruction ret = {.operand_size = 2, .immediate = 6};
    CHECK(fake_run(soft_ret_far, &ret));
    CHECK_EQUAL(fake_cpu.rip, FAKE_CODE + 5);
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK + 6);
    struct x86_instruction far = direct(0x1234, 0x10000, 4);
    CHECK(fake_faults(soft_jmp_far, &far, X86_VECTOR_GP, 0));
    fake_virtual_8086(0);
    CHECK(fake_run(soft_jmp_far, &call));
    CHECK_EQUAL(fake_cpu.segment[X86_CS].attributes, 0xf3);
    CHECK_EQUAL(fake_cpu.segment[X86_CS].base, 0x12340);
}

static void test_calls(void)
{
    fake_protected(0);
    struct x86_instruction call = direct(CODE0, 0x2000, 4);
    CHECK(fake_run(soft_call_far, &call));
    CHECK_EQUAL(fake_read(FAKE_STACK - 8, 4), FAKE_CODE + 7);
    CHECK_EQUAL(fake_read(FAKE_STACK - 4, 4), CODE0);
    struct x86_instruction ret = {.operand_size = 4};
    CHECK(fake_run(soft_ret_far, &ret));
    CHECK_EQUAL(fake_cpu.rip, FAKE_CODE + 7);
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK);
    /* the second word does not fit: nothing is written */
    fake_cpu.segment[X86_SS].attributes |= X86_TYPE_EXPAND_DOWN;
    fake_cpu.segment[X86_SS].limit = FAKE_STACK - 8;
    fake_write(FAKE_STACK - 4, 0x55, 4);
    CHECK(fake_faults(soft_call_far, &call, X86_VECTOR_SS, 0));
    CHECK_EQUAL(fake_read(FAKE_STACK - 4, 4), 0x55);
    fake_cpu.segment[X86_SS].limit = FAKE_STACK - 9;
    CHECK(fake_run(soft_call_far, &call));
}

static void test_call_gate(void)
{
    fake_protected(3);
    set_call_gate(CODE0, 0x7000, X86_SYSTEM_CALL_GATE, 3, 2);
    fake_write(FAKE_STACK, 0x11111111, 4);
    fake_write(FAKE_STACK + 4, 0x22222222, 4);
    struct x86_instruction call = direct(GATE, 0xdead, 4);
    CHECK(fake_run(soft_call_far, &call));
    CHECK_EQUAL(fake_cpu.rip, 0x7000);
    CHECK_EQUAL(fake_cpu.cpl, 0);
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK0 - 24);
    CHECK_EQUAL(fake_read(FAKE_STACK0 - 24, 4), FAKE_CODE + 7);
    CHECK_EQUAL(fake_read(FAKE_STACK0 - 20, 4), CODE3);
    CHECK_EQUAL(fake_read(FAKE_STACK0 - 16, 4), 0x11111111);
    CHECK_EQUAL(fake_read(FAKE_STACK0 - 12, 4), 0x22222222);
    CHECK_EQUAL(fake_read(FAKE_STACK0 - 8, 4), FAKE_STACK);
    CHECK_EQUAL(fake_read(FAKE_STACK0 - 4, 4), DATA3);
    fake_cpu.segment[X86_ES].attributes = 0xc093;
    fake_cpu.segment[X86_FS] =
        x86_segment_from_descriptor(fake_read(FAKE_GDT + CONFORMING, 8), CONFORMING);
    struct x86_instruction ret = {.operand_size = 4, .immediate = 8};
    CHECK(fake_run(soft_ret_far, &ret));
    CHECK_EQUAL(fake_cpu.cpl, 3);
    CHECK_EQUAL(fake_cpu.rip, FAKE_CODE + 7);
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK + 8);
    CHECK_EQUAL(fake_cpu.segment[X86_SS].selector, DATA3);
    CHECK_EQUAL(fake_cpu.segment[X86_ES].attributes, X86_SEGMENT_UNUSABLE);
    CHECK_EQUAL(fake_cpu.segment[X86_FS].selector, CONFORMING);
}

static void test_call_gate_faults(void)
{
    struct x86_instruction call = direct(GATE, 0, 4);
    fake_protected(3);
    set_call_gate(CODE0, 0x7000, X86_SYSTEM_CALL_GATE, 2, 0);
    CHECK(fake_faults(soft_call_far, &call, X86_VECTOR_GP, GATE));
    set_call_gate(0, 0x7000, X86_SYSTEM_CALL_GATE, 3, 0);
    CHECK(fake_faults(soft_call_far, &call, X86_VECTOR_GP, 0));
    set_call_gate(DATA0, 0x7000, X86_SYSTEM_CALL_GATE, 3, 0);
    CHECK(fake_faults(soft_call_far, &call, X86_VECTOR_GP, DATA0));
    set_call_gate(ABSENT_CODE, 0x7000, X86_SYSTEM_CALL_GATE, 3, 0);
    CHECK(fake_faults(soft_call_far, &call, X86_VECTOR_NP, ABSENT_CODE));
    set_call_gate(CODE0, 0x7000, X86_SYSTEM_CALL_GATE, 3, 0);
    CHECK(fake_faults(soft_jmp_far, &call, X86_VECTOR_GP, CODE0)); /* JMP can't go inward */
    fake_write(FAKE_TSS + 8, DATA3, 4);
    CHECK(fake_faults(soft_call_far, &call, X86_VECTOR_TS, DATA3 & ~3));
    fake_set_descriptor(GATE, fake_read(FAKE_GDT + GATE, 8) & ~X86_DESCRIPTOR_P);
    CHECK(fake_faults(soft_call_far, &call, X86_VECTOR_NP, GATE));
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK);
}

static void test_call_gate16(void)
{
    fake_protected(0);
    set_call_gate(CODE0, 0x7000, X86_SYSTEM_CALL_GATE16, 0, 3);
    struct x86_instruction call = direct(GATE, 0, 4);
    CHECK(fake_run(soft_call_far, &call));
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK - 4); /* no level change, no parameters */
    CHECK_EQUAL(fake_read(FAKE_STACK - 4, 2), FAKE_CODE + 7);
    CHECK(jumps(CODE0, 0x1000));
}

static void test_call_gate64(void)
{
    fake_long(3);
    set_call_gate(CODE0_64, 0xffff800000007000, X86_SYSTEM_CALL_GATE, 3, 0);
    struct x86_instruction call = fake_memory_operand(3, 8);
    fake_write(FAKE_DATA + 8, GATE, 2);
    CHECK(fake_run(soft_call_far_indirect, &call));
    CHECK_EQUAL(fake_cpu.rip, 0xffff800000007000);
    CHECK_EQUAL(fake_cpu.cpl, 0);
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK0 - 32);
    CHECK_EQUAL(fake_read(FAKE_STACK0 - 16, 8), FAKE_STACK);
    CHECK_EQUAL(fake_cpu.segment[X86_SS].selector, 0);
    struct x86_instruction ret = {.operand_size = 8};
    CHECK(fake_run(soft_ret_far, &ret));
    CHECK_EQUAL(fake_cpu.cpl, 3);
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK);
    fake_set_descriptor(GATE + 8, UINT64_C(1) << 40); /* its upper type must be zero */
    CHECK(fake_faults(soft_call_far_indirect, &call, X86_VECTOR_GP, GATE));
    set_call_gate(CODE0, 0x7000, X86_SYSTEM_CALL_GATE, 3, 0);
    CHECK(fake_faults(soft_call_far_indirect, &call, X86_VECTOR_GP, CODE0)); /* not 64-bit */
    set_call_gate(CODE0_64, 0x7000, X86_SYSTEM_CALL_GATE16, 3, 0);
    CHECK(fake_faults(soft_call_far_indirect, &call, X86_VECTOR_GP, GATE));
}

static bool ret_faults(uint32_t eip, uint16_t cs, unsigned int vector, int64_t error)
{
    fake_write(fake_cpu.gpr[X86_RSP], eip, 4);
    fake_write(fake_cpu.gpr[X86_RSP] + 4, cs, 4);
    uint64_t rsp = fake_cpu.gpr[X86_RSP];
    struct x86_instruction ret = {.operand_size = 4};
    return fake_faults(soft_ret_far, &ret, vector, error) && fake_cpu.gpr[X86_RSP] == rsp;
}

static void test_return_faults(void)
{
    fake_protected(3);
    CHECK(ret_faults(0, 3, X86_VECTOR_GP, 0));
    CHECK(ret_faults(0, CODE0, X86_VECTOR_GP, CODE0)); /* inward */
    CHECK(ret_faults(0, DATA3, X86_VECTOR_GP, DATA3 & ~3));
    fake_protected(0);
    CHECK(ret_faults(0x1000, SMALL_CODE, X86_VECTOR_GP, 0));
    CHECK(ret_faults(0, CODE0 | 3, X86_VECTOR_GP, CODE0)); /* DPL is not RPL */
    fake_write(FAKE_STACK + 8, 0x1000, 4);
    fake_write(FAKE_STACK + 12, DATA0, 4);
    CHECK(ret_faults(0, CODE3, X86_VECTOR_GP, DATA0)); /* SS of the wrong level */
    fake_write(FAKE_STACK + 12, 0, 4);
    CHECK(ret_faults(0, CODE3, X86_VECTOR_GP, 0));
}

int main(void)
{
    test_jumps();
    test_mode_changes();
    test_real_mode();
    test_calls();
    test_call_gate();
    test_call_gate_faults();
    test_call_gate16();
    test_call_gate64();
    test_return_faults();
    return check_summary();
}
