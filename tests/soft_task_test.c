/* Hardware task switches: what is saved, loaded and linked, and whose faults are whose. */
#include "engines/soft/task.h"

#include "check.h"
#include "engines/soft/far.h"
#include "engines/soft/interrupt.h"
#include "soft_fake.h"

#define TSS_TYPE(selector) (fake_memory[FAKE_GDT + (selector) + 5] & 0xf)
#define NEW_EIP            0x7700u
#define NEW_ESP            0x8800u

static void fill_other_tss(void)
{
    static const struct {
        uint8_t offset;
        uint32_t value;
    } fields[] = {{28, 0x77000}, {32, NEW_EIP}, {36, 0x202}, {40, 0xaaaa},
                  {56, NEW_ESP}, {72, DATA0},   {76, CODE0}, {80, DATA0},
                  {84, DATA0},   {88, 0},       {92, 0},     {96, LDT}};
    for (unsigned int i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        fake_write(FAKE_TSS2 + fields[i].offset, fields[i].value, 4);
    }
}

static void start(unsigned int cpl)
{
    fake_protected(cpl);
    fill_other_tss();
    fake_cpu.gpr[X86_RAX] = 0x12345678;
    fake_cpu.dr[7] = 0x755;
}

static struct x86_instruction to(uint16_t selector)
{
    return (struct x86_instruction){.operand_size = 4, .immediate2 = selector, .length = 7};
}

static void check_new_task(void)
{
    CHECK_EQUAL(fake_cpu.rip, NEW_EIP);
    CHECK_EQUAL(fake_cpu.segment[X86_TR].selector, TSS_OTHER);
    CHECK_EQUAL(fake_cpu.segment[X86_TR].base, FAKE_TSS2);
    CHECK_EQUAL(fake_cpu.gpr[X86_RAX], 0xaaaa);
    CHECK_EQUAL(fake_cpu.segment[X86_LDTR].selector, LDT);
    CHECK_EQUAL(fake_cpu.segment[X86_LDTR].base, FAKE_LDT);
    CHECK_EQUAL(fake_cpu.segment[X86_FS].attributes, X86_SEGMENT_UNUSABLE);
    CHECK_EQUAL(fake_cpu.cpl, 0);
    CHECK_EQUAL(fake_cpu.dr[7], 0x600);
    CHECK((fake_cpu.cr0 & X86_CR0_TS) != 0);
    CHECK_EQUAL(fake_read(FAKE_TSS + 32, 4), FAKE_CODE + 7);
    CHECK_EQUAL(fake_read(FAKE_TSS + 40, 4), 0x12345678);
    CHECK_EQUAL(fake_read(FAKE_TSS + 76, 2), CODE0);
    CHECK_EQUAL(fake_read(FAKE_TSS + 4, 4), FAKE_STACK0); /* static fields stay */
}

static void test_jump(void)
{
    start(0);
    struct x86_instruction in = to(TSS_OTHER);
    CHECK(fake_run(soft_jmp_far, &in));
    check_new_task();
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], NEW_ESP);
    CHECK_EQUAL(fake_cpu.flags, 0x202);
    CHECK_EQUAL(TSS_TYPE(TSS), X86_SYSTEM_TSS_AVAILABLE);
    CHECK_EQUAL(TSS_TYPE(TSS_OTHER), X86_SYSTEM_TSS_BUSY);
    CHECK_EQUAL(fake_read(FAKE_TSS2, 2), 0); /* no link */
    CHECK_EQUAL(fake_cpu.cr3, 0x77000);
    CHECK(fake_faults(soft_jmp_far, &in, X86_VECTOR_GP, TSS_OTHER)); /* to itself: busy */
}

static void test_call_and_return(void)
{
    start(0);
    struct x86_instruction in = to(TASK_GATE);
    CHECK(fake_run(soft_call_far, &in));
    check_new_task();
    CHECK_EQUAL(fake_cpu.flags, 0x202 | X86_FLAGS_NT);
    CHECK_EQUAL(fake_read(FAKE_TSS2, 2), TSS);
    CHECK_EQUAL(TSS_TYPE(TSS), X86_SYSTEM_TSS_BUSY);
    CHECK_EQUAL(TSS_TYPE(TSS_OTHER), X86_SYSTEM_TSS_BUSY);
    struct x86_instruction iret = {.operand_size = 4, .length = 1};
    CHECK(fake_run(soft_iret, &iret));
    CHECK_EQUAL(fake_cpu.rip, FAKE_CODE + 7);
    CHECK_EQUAL(fake_cpu.segment[X86_TR].selector, TSS);
    CHECK_EQUAL(TSS_TYPE(TSS_OTHER), X86_SYSTEM_TSS_AVAILABLE);
    CHECK_EQUAL(fake_read(FAKE_TSS2 + 32, 4), NEW_EIP + 1);
    CHECK_EQUAL(fake_read(FAKE_TSS2 + 36, 4), 0x202); /* NT cleared in the image */
    CHECK_EQUAL(fake_cpu.gpr[X86_RAX], 0x12345678);
    fake_cpu.flags |= X86_FLAGS_NT;
    fake_write(FAKE_TSS, TSS_OTHER, 2);
    CHECK(fake_faults(soft_iret, &iret, X86_VECTOR_TS, TSS_OTHER)); /* not busy */
}

static void enter(void *context)
{
    soft_enter_event(&fake_cpu, context);
}

static void test_event_with_error_code(void)
{
    start(3);
    struct x86_gate gate = {.selector = TSS_OTHER, .type = X86_SYSTEM_TASK_GATE, .present = true};
    fake_write(FAKE_IDT + 8 * 8, x86_gate_to_descriptor(&gate), 8);
    struct soft_event event = {.kind = SOFT_EVENT_EXCEPTION,
                               .vector = X86_VECTOR_DF,
                               .has_error = true,
                               .return_rip = FAKE_CODE + 7};
    fake_write(NEW_ESP - 4, 0x5555, 4);
    CHECK(fake_try(enter, &event));
    CHECK_EQUAL(fake_cpu.rip, NEW_EIP);
    CHECK_EQUAL(fake_cpu.cpl, 0);
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], NEW_ESP - 4);
    CHECK_EQUAL(fake_read(NEW_ESP - 4, 4), 0);
    CHECK((fake_cpu.flags & X86_FLAGS_NT) != 0);
    CHECK_EQUAL(fake_read(FAKE_TSS + 76, 2), CODE3);
    CHECK_EQUAL(fake_read(FAKE_TSS2, 2), TSS);
}

static void test_faults_of_the_old_task(void)
{
    struct x86_instruction in = to(TSS_OTHER);
    start(3);
    CHECK(fake_faults(soft_jmp_far, &in, X86_VECTOR_GP, TSS_OTHER)); /* DPL */
    start(0);
    struct x86_segment small = {.base = FAKE_TSS2, .limit = 0x66, .attributes = 0x89};
    fake_set_descriptor(TSS_OTHER, x86_segment_to_descriptor(&small));
    CHECK(fake_faults(soft_jmp_far, &in, X86_VECTOR_TS, TSS_OTHER));
    small.attributes = 0x09;
    fake_set_descriptor(TSS_OTHER, x86_segment_to_descriptor(&small));
    CHECK(fake_faults(soft_jmp_far, &in, X86_VECTOR_NP, TSS_OTHER));
    start(0);
    fake_write_protect(FAKE_TSS);
    CHECK(fake_faults(soft_jmp_far, &in, X86_VECTOR_PF, X86_PF_PRESENT | X86_PF_WRITE));
    CHECK_EQUAL(fake_cpu.segment[X86_TR].selector, TSS);
    CHECK_EQUAL(fake_cpu.rip, FAKE_CODE);
    CHECK_EQUAL(TSS_TYPE(TSS), X86_SYSTEM_TSS_BUSY);
    CHECK_EQUAL(TSS_TYPE(TSS_OTHER), X86_SYSTEM_TSS_AVAILABLE);
}

static bool faults_in_new_task(unsigned int offset, uint32_t value, unsigned int vector,
                               uint32_t error)
{
    start(0);
    fake_write(FAKE_TSS2 + offset, value, 4);
    struct x86_instruction in = to(TSS_OTHER);
    return fake_faults(soft_jmp_far, &in, vector, error) && fake_cpu.rip == NEW_EIP &&
           fake_cpu.segment[X86_TR].selector == TSS_OTHER;
}

static void test_faults_of_the_new_task(void)
{
    CHECK(faults_in_new_task(96, DATA0, X86_VECTOR_TS, DATA0));
    CHECK(faults_in_new_task(76, 0, X86_VECTOR_TS, 0));
    CHECK(faults_in_new_task(76, DATA0, X86_VECTOR_TS, DATA0));
    CHECK(faults_in_new_task(76, ABSENT_CODE, X86_VECTOR_NP, ABSENT_CODE));
    CHECK(faults_in_new_task(80, DATA3, X86_VECTOR_TS, DATA3 & ~3u));
    CHECK(faults_in_new_task(80, ABSENT_DATA, X86_VECTOR_SS, ABSENT_DATA));
    CHECK(faults_in_new_task(84, EXECUTE_ONLY, X86_VECTOR_TS, EXECUTE_ONLY));
    CHECK(faults_in_new_task(92, ABSENT_DATA, X86_VECTOR_NP, ABSENT_DATA));
    CHECK_EQUAL(fake_cpu.segment[X86_SS].selector, DATA0);
    CHECK_EQUAL(fake_cpu.segment[X86_SS].limit, 0xffffffff); /* checked before GS: loaded */
    start(0);
    fake_write(FAKE_TSS2 + 76, SMALL_CODE, 4);
    struct x86_instruction in = to(TSS_OTHER);
    CHECK(fake_faults(soft_jmp_far, &in, X86_VECTOR_GP, 0)); /* EIP beyond the limit */
}

static void test_debug_trap(void)
{
    start(0);
    fake_write(FAKE_TSS2 + 100, 1, 2);
    struct x86_instruction in = to(TSS_OTHER);
    CHECK(fake_faults(soft_jmp_far, &in, X86_VECTOR_DB, -1));
    CHECK_EQUAL(fake_cpu.dr[6] & X86_DR6_BT, X86_DR6_BT);
    CHECK_EQUAL(fake_cpu.rip, NEW_EIP);
}

static void test_virtual_8086_task(void)
{
    start(0);
    fake_write(FAKE_TSS2 + 36, 0x20202, 4);
    fake_write(FAKE_TSS2 + 76, 0x1234, 4);
    fake_write(FAKE_TSS2 + 84, 0x4321, 4);
    struct x86_instruction in = to(TSS_OTHER);
    CHECK(fake_run(soft_jmp_far, &in));
    CHECK(soft_virtual_8086(&fake_cpu));
    CHECK_EQUAL(fake_cpu.cpl, 3);
    CHECK_EQUAL(fake_cpu.segment[X86_CS].base, 0x12340);
    CHECK_EQUAL(fake_cpu.segment[X86_DS].base, 0x43210);
    CHECK_EQUAL(fake_cpu.segment[X86_DS].attributes, 0xf3);
}

static void test_16bit_tss(void)
{
    start(0);
    struct x86_segment tss = {.base = FAKE_TSS2, .limit = 0x2b, .attributes = 0x81};
    fake_set_descriptor(TSS_OTHER, x86_segment_to_descriptor(&tss));
    for (unsigned int i = 0; i < 0x68; i += 4) {
        fake_write(FAKE_TSS2 + i, 0, 4);
    }
    fake_write(FAKE_TSS2 + 14, 0x4444, 2);
    fake_write(FAKE_TSS2 + 16, 0x0202, 2);
    fake_write(FAKE_TSS2 + 18, 0xbbbb, 2);
    fake_write(FAKE_TSS2 + 26, 0x6666, 2);
    fake_write(FAKE_TSS2 + 36, CODE0_16, 2);
    fake_write(FAKE_TSS2 + 38, DATA0_16, 2);
    fake_cpu.cr3 = 0x99000;
    struct x86_instruction in = to(TSS_OTHER);
    CHECK(fake_run(soft_call_far, &in));
    CHECK_EQUAL(fake_cpu.rip, 0x4444);
    CHECK_EQUAL(fake_cpu.gpr[X86_RAX] & 0xffff, 0xbbbb);
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP] & 0xffff, 0x6666);
    CHECK_EQUAL(fake_cpu.mode, X86_DECODE_16);
    CHECK_EQUAL(fake_cpu.cr3, 0x99000);
    CHECK_EQUAL(fake_cpu.segment[X86_LDTR].attributes, X86_SEGMENT_UNUSABLE);
    CHECK_EQUAL(fake_read(FAKE_TSS2, 2), TSS);
    struct x86_instruction iret = {.operand_size = 2, .length = 1};
    CHECK(fake_run(soft_iret, &iret));
    CHECK_EQUAL(fake_cpu.rip, FAKE_CODE + 7);
    CHECK_EQUAL(fake_cpu.gpr[X86_RAX], 0x12345678);
    CHECK_EQUAL(fake_read(FAKE_TSS2 + 18, 2), 0xbbbb);
}

int main(void)
{
    test_jump();
    test_call_and_return();
    test_event_with_error_code();
    test_faults_of_the_old_task();
    test_faults_of_the_new_task();
    test_debug_trap();
    test_virtual_8086_task();
    test_16bit_tss();
    return check_summary();
}
