/* Segment registers, table registers and the instructions that ask about selectors. */
#include "engines/soft/segment.h"

#include "check.h"
#include "soft_fake.h"

#define ACCESSED_AT(selector) (fake_memory[FAKE_GDT + ((selector)&0xfff8) + 5] & 1)

static bool load_faults(unsigned int segment, uint16_t selector, unsigned int vector, int64_t error)
{
    struct x86_instruction in = fake_register_operand(segment, X86_RAX, 4);
    fake_cpu.gpr[X86_RAX] = selector;
    struct x86_segment before = fake_cpu.segment[segment];
    return fake_faults(soft_mov_to_segment, &in, vector, error) &&
           fake_cpu.segment[segment].selector == before.selector &&
           fake_cpu.segment[segment].attributes == before.attributes;
}

static bool load_works(unsigned int segment, uint16_t selector)
{
    struct x86_instruction in = fake_register_operand(segment, X86_RAX, 4);
    fake_cpu.gpr[X86_RAX] = 0x12340000u | selector;
    return fake_run(soft_mov_to_segment, &in) && fake_cpu.segment[segment].selector == selector;
}

static void test_data_segments(void)
{
    fake_protected(0);
    CHECK(load_works(X86_ES, DATA0));
    CHECK_EQUAL(fake_cpu.segment[X86_ES].limit, 0xffffffff);
    CHECK_EQUAL(fake_cpu.segment[X86_ES].attributes, 0xc093);
    CHECK(ACCESSED_AT(DATA0));
    CHECK(load_works(X86_DS, CODE0)); /* readable code */
    CHECK(load_works(X86_DS, 3));
    CHECK_EQUAL(fake_cpu.segment[X86_DS].attributes, X86_SEGMENT_UNUSABLE);
    CHECK(load_faults(X86_ES, EXECUTE_ONLY, X86_VECTOR_GP, EXECUTE_ONLY));
    CHECK(load_faults(X86_ES, TSS, X86_VECTOR_GP, TSS));
    CHECK(load_faults(X86_ES, ABSENT_DATA, X86_VECTOR_NP, ABSENT_DATA));
    CHECK(load_faults(X86_ES, GDT_BYTES, X86_VECTOR_GP, GDT_BYTES));
    CHECK(load_faults(X86_ES, DATA0 | 3, X86_VECTOR_GP, DATA0)); /* RPL > DPL */
    CHECK(load_works(X86_ES, CONFORMING | 3));
    CHECK(load_faults(X86_CS, CODE0, X86_VECTOR_UD, -1));
    fake_protected(3);
    CHECK(load_faults(X86_ES, DATA0, X86_VECTOR_GP, DATA0)); /* CPL > DPL */
    CHECK(load_works(X86_ES, CONFORMING));
    CHECK(load_works(X86_GS, DATA3));
}

static void test_local_table(void)
{
    fake_protected(0);
    fake_write(FAKE_LDT + 8, fake_read(FAKE_GDT + DATA0, 8), 8);
    CHECK(load_works(X86_ES, 8 | X86_SELECTOR_TI));
    CHECK(load_faults(X86_ES, 0x100 | X86_SELECTOR_TI, X86_VECTOR_GP, 0x104));
    fake_cpu.segment[X86_LDTR].attributes = X86_SEGMENT_UNUSABLE;
    CHECK(load_faults(X86_ES, 8 | X86_SELECTOR_TI, X86_VECTOR_GP, 0xc));
}

static void test_stack_segment(void)
{
    fake_protected(0);
    CHECK(load_works(X86_SS, DATA0));
    CHECK(fake_cpu.mov_ss_shadow);
    CHECK(load_faults(X86_SS, 0, X86_VECTOR_GP, 0));
    CHECK(load_faults(X86_SS, DATA3, X86_VECTOR_GP, DATA3 & ~3));
    CHECK(load_faults(X86_SS, DATA0 | 1, X86_VECTOR_GP, DATA0));
    CHECK(load_faults(X86_SS, READ_ONLY, X86_VECTOR_GP, READ_ONLY));
    CHECK(load_faults(X86_SS, CODE0, X86_VECTOR_GP, CODE0));
    CHECK(load_faults(X86_SS, ABSENT_DATA, X86_VECTOR_SS, ABSENT_DATA));
    CHECK(load_works(X86_SS, EXPAND_DOWN));
    fake_long(0);
    CHECK(load_works(X86_SS, 0));
    CHECK(load_faults(X86_SS, 3, X86_VECTOR_GP, 0));
    fake_long(3);
    CHECK(load_faults(X86_SS, 3, X86_VECTOR_GP, 0));
}

static void test_accessed_bit_needs_a_writable_table(void)
{
    fake_protected(0);
    fake_write_protect(FAKE_GDT);
    CHECK(load_faults(X86_ES, DATA0, X86_VECTOR_PF, X86_PF_PRESENT | X86_PF_WRITE));
    CHECK_EQUAL(fake_cpu.cr2, FAKE_GDT + DATA0 + 5);
    CHECK(!ACCESSED_AT(DATA0));
}

static void test_bases_in_long_mode(void)
{
    fake_long(0);
    struct x86_segment segment = {.base = 0x89abcdef, .limit = 0xffff, .attributes = 0x92};
    fake_set_descriptor(FREE_ENTRY, x86_segment_to_descriptor(&segment));
    fake_cpu.segment[X86_FS].base = 0xffff888000000000;
    CHECK(load_works(X86_FS, FREE_ENTRY));
    CHECK_EQUAL(fake_cpu.segment[X86_FS].base, 0x89abcdef);
    CHECK(load_works(X86_FS, 0));
    CHECK_EQUAL(fake_cpu.segment[X86_FS].base, 0);
}

static void test_real_mode(void)
{
    fake_real();
    fake_cpu.segment[X86_DS].limit = 0xffffffff; /* "unreal" */
    fake_cpu.segment[X86_DS].attributes = 0xc093;
    CHECK(load_works(X86_DS, 0xb800));
    CHECK_EQUAL(fake_cpu.segment[X86_DS].base, 0xb8000);
    CHECK_EQUAL(fake_cpu.segment[X86_DS].limit, 0xffffffff);
    fake_cpu.segment[X86_ES] = (struct x86_segment){.attributes = X86_SEGMENT_UNUSABLE};
    CHECK(load_works(X86_ES, 0x40));
    CHECK_EQUAL(fake_cpu.segment[X86_ES].limit, 0xffff);
    CHECK_EQUAL(fake_cpu.segment[X86_ES].attributes, 0x93);
    fake_virtual_8086(0);
    fake_cpu.segment[X86_ES].limit = 0;
    CHECK(load_works(X86_ES, 0x40));
    CHECK_EQUAL(fake_cpu.segment[X86_ES].limit, 0xffff);
    CHECK_EQUAL(fake_cpu.segment[X86_ES].attributes, 0xf3);
}

static void test_push_pop_and_store(void)
{
    fake_protected(0);
    struct x86_instruction push_fs = {.operand_size = 4, .map = X86_MAP_0F, .opcode = 0xa0};
    CHECK(fake_run(soft_push_segment, &push_fs));
    CHECK_EQUAL(fake_read(FAKE_STACK - 4, 4), DATA3);
    struct x86_instruction pop_ds = {.operand_size = 4, .opcode = 0x1f};
    CHECK(fake_run(soft_pop_segment, &pop_ds));
    CHECK_EQUAL(fake_cpu.segment[X86_DS].selector, DATA3);
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK);
    fake_write(FAKE_STACK, ABSENT_DATA, 4);
    CHECK(fake_faults(soft_pop_segment, &pop_ds, X86_VECTOR_NP, ABSENT_DATA));
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK);
    /* SS with another width: SP moves by the old one */
    struct x86_instruction pop_ss = {.operand_size = 4, .opcode = 0x17};
    fake_cpu.gpr[X86_RSP] = 0x1fffc;
    fake_write(0x1fffc, DATA0_16, 4);
    CHECK(fake_run(soft_pop_segment, &pop_ss));
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], 0x20000);

    fake_cpu.gpr[X86_RBX] = ~UINT64_C(0);
    struct x86_instruction to_register = fake_register_operand(X86_CS, X86_RBX, 4);
    CHECK(fake_run(soft_mov_from_segment, &to_register));
    CHECK_EQUAL(fake_cpu.gpr[X86_RBX], CODE0);
    fake_write(FAKE_DATA, ~UINT64_C(0), 8);
    struct x86_instruction to_memory = fake_memory_operand(X86_CS, 4);
    CHECK(fake_run(soft_mov_from_segment, &to_memory));
    CHECK_EQUAL(fake_read(FAKE_DATA, 4), 0xffff0000 | CODE0);
}

static void test_far_pointers(void)
{
    fake_long(0);
    struct x86_instruction lss = fake_memory_operand(X86_RSP, 8);
    lss.operation = X86_OP_LSS;
    fake_write(FAKE_DATA, 0x123456789a, 8);
    fake_write(FAKE_DATA + 8, DATA0, 2);
    CHECK(fake_run(soft_load_far_pointer, &lss));
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], 0x123456789a);
    CHECK_EQUAL(fake_cpu.segment[X86_SS].selector, DATA0);
    CHECK(!fake_cpu.mov_ss_shadow);
    fake_write(FAKE_DATA + 8, ABSENT_DATA, 2);
    CHECK(fake_faults(soft_load_far_pointer, &lss, X86_VECTOR_SS, ABSENT_DATA));
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], 0x123456789a);
    fake_protected(0);
    struct x86_instruction les = fake_memory_operand(X86_RBX, 2);
    les.operation = X86_OP_LES;
    fake_write(FAKE_DATA, 0x00101234, 4);
    CHECK(fake_run(soft_load_far_pointer, &les));
    CHECK_EQUAL(fake_cpu.gpr[X86_RBX], 0x1234);
    CHECK_EQUAL(fake_cpu.segment[X86_ES].selector, DATA0);
}

static void test_table_registers(void)
{
    struct x86_instruction memory32 = fake_memory_operand(0, 4);
    struct x86_instruction memory16 = fake_memory_operand(0, 2);
    fake_real();
    fake_write(FAKE_DATA, 0x112233445566abcd, 8);
    CHECK(fake_run(soft_lgdt, &memory16));
    CHECK_EQUAL(fake_cpu.gdtr.limit, 0xabcd);
    CHECK_EQUAL(fake_cpu.gdtr.base, 0x445566);
    CHECK(fake_run(soft_lidt, &memory32));
    CHECK_EQUAL(fake_cpu.idtr.base, 0x33445566);
    fake_cpu.gdtr.base = 0x99887766;
    CHECK(fake_run(soft_sgdt, &memory16));
    CHECK_EQUAL(fake_read(FAKE_DATA, 8), 0x112299887766abcd);

    fake_long(0);
    fake_write(FAKE_DATA, 0x0fff, 2);
    fake_write(FAKE_DATA + 2, 0xffff800000001000, 8);
    CHECK(fake_run(soft_lidt, &memory16));
    CHECK_EQUAL(fake_cpu.idtr.base, 0xffff800000001000);
    fake_write(FAKE_DATA + 2, 0x800000000000, 8);
    CHECK(fake_faults(soft_lgdt, &memory32, X86_VECTOR_GP, 0));
    fake_long(3);
    CHECK(fake_faults(soft_lgdt, &memory32, X86_VECTOR_GP, 0));
    CHECK(fake_run(soft_sidt, &memory32));
    CHECK_EQUAL(fake_read(FAKE_DATA + 2, 8), FAKE_IDT);
    fake_cpu.cr4 |= X86_CR4_UMIP;
    CHECK(fake_faults(soft_sidt, &memory32, X86_VECTOR_GP, 0));
    CHECK(fake_faults(soft_str, &memory32, X86_VECTOR_GP, 0));
}

static void test_system_segments(void)
{
    struct x86_instruction rax = fake_register_operand(0, X86_RAX, 4);
    fake_protected(0);
    fake_cpu.gpr[X86_RAX] = TSS_OTHER;
    CHECK(fake_run(soft_ltr, &rax));
    CHECK_EQUAL(fake_cpu.segment[X86_TR].base, FAKE_TSS2);
    CHECK_EQUAL(fake_memory[FAKE_GDT + TSS_OTHER + 5], 0x8b);
    CHECK(fake_faults(soft_ltr, &rax, X86_VECTOR_GP, TSS_OTHER)); /* busy now */
    fake_cpu.gpr[X86_RAX] = 0;
    CHECK(fake_faults(soft_ltr, &rax, X86_VECTOR_GP, 0));
    CHECK(fake_run(soft_lldt, &rax));
    CHECK(fake_cpu.segment[X86_LDTR].attributes == X86_SEGMENT_UNUSABLE);
    fake_cpu.gpr[X86_RAX] = LDT;
    CHECK(fake_run(soft_lldt, &rax));
    CHECK_EQUAL(fake_cpu.segment[X86_LDTR].limit, 0xff);
    fake_cpu.gpr[X86_RAX] = LDT | X86_SELECTOR_TI;
    CHECK(fake_faults(soft_lldt, &rax, X86_VECTOR_GP, LDT | X86_SELECTOR_TI));
    fake_cpu.gpr[X86_RAX] = DATA0;
    CHECK(fake_faults(soft_lldt, &rax, X86_VECTOR_GP, DATA0));

    fake_long(0);
    fake_write(FAKE_GDT + TSS_OTHER + 8, 0xffff8880, 8);
    fake_cpu.gpr[X86_RAX] = TSS_OTHER;
    CHECK(fake_run(soft_ltr, &rax));
    CHECK_EQUAL(fake_cpu.segment[X86_TR].base, 0xffff888000000000 | FAKE_TSS2);
    fake_write(FAKE_GDT + LDT + 8, 0x8000, 8);
    fake_cpu.gpr[X86_RAX] = LDT;
    CHECK(fake_faults(soft_lldt, &rax, X86_VECTOR_GP, LDT)); /* base not canonical */
    fake_write(FAKE_GDT + LDT + 8, UINT64_C(1) << 40, 8);
    CHECK(fake_faults(soft_lldt, &rax, X86_VECTOR_GP, LDT)); /* upper type not zero */
    fake_real();
    CHECK(fake_faults(soft_sldt, &rax, X86_VECTOR_UD, -1));
    CHECK(fake_faults(soft_ltr, &rax, X86_VECTOR_UD, -1));
}

static bool answers(soft_execute *execute, uint16_t selector)
{
    struct x86_instruction in = fake_register_operand(X86_RBX, X86_RAX, 4);
    fake_cpu.gpr[X86_RAX] = selector;
    fake_cpu.gpr[X86_RBX] = 0xdead;
    return fake_run(execute, &in) && (soft_arithmetic_flags(&fake_cpu) & X86_FLAGS_ZF) != 0;
}

static void test_questions(void)
{
    fake_protected(3);
    CHECK(answers(soft_lar, CODE3));
    CHECK_EQUAL(fake_cpu.gpr[X86_RBX], 0xc0fb00 & ~0x100u);
    CHECK(!answers(soft_lar, CODE0));
    CHECK_EQUAL(fake_cpu.gpr[X86_RBX], 0xdead);
    CHECK(answers(soft_lar, CONFORMING));
    CHECK(!answers(soft_lar, 0));
    CHECK(answers(soft_lsl, DATA3));
    CHECK_EQUAL(fake_cpu.gpr[X86_RBX], 0xffffffff);
    CHECK(answers(soft_verr, DATA3));
    CHECK(answers(soft_verw, DATA3));
    CHECK(!answers(soft_verr, DATA0));
    CHECK(!answers(soft_verw, CODE3));
    CHECK(answers(soft_lar, TASK_GATE));
    CHECK(!answers(soft_lsl, TASK_GATE));
    fake_protected(0);
    CHECK(answers(soft_lsl, TSS));
    CHECK_EQUAL(fake_cpu.gpr[X86_RBX], 0x2067);
    CHECK(!answers(soft_verr, EXECUTE_ONLY));
    CHECK(!answers(soft_verw, READ_ONLY));
    CHECK(answers(soft_verr, READ_ONLY));
    CHECK(answers(soft_verr, ABSENT_DATA));
    fake_real();
    struct x86_instruction in = fake_register_operand(X86_RBX, X86_RAX, 4);
    CHECK(fake_faults(soft_lar, &in, X86_VECTOR_UD, -1));
}

static void test_arpl(void)
{
    fake_protected(3);
    struct x86_instruction in = fake_register_operand(X86_RBX, X86_RAX, 2);
    fake_cpu.gpr[X86_RAX] = 0x10;
    fake_cpu.gpr[X86_RBX] = 3;
    CHECK(fake_run(soft_arpl, &in));
    CHECK_EQUAL(fake_cpu.gpr[X86_RAX], 0x13);
    CHECK((soft_arithmetic_flags(&fake_cpu) & X86_FLAGS_ZF) != 0);
    CHECK(fake_run(soft_arpl, &in));
    CHECK((soft_arithmetic_flags(&fake_cpu) & X86_FLAGS_ZF) == 0);
}

int main(void)
{
    test_data_segments();
    test_local_table();
    test_stack_segment();
    test_accessed_bit_needs_a_writable_table();
    test_bases_in_long_mode();
    test_real_mode();
    test_push_pop_and_store();
    test_far_pointers();
    test_table_registers();
    test_system_segments();
    test_questions();
    test_arpl();
    return check_summary();
}
