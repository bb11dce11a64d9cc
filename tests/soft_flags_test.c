/* PUSHF, POPF, CLI, STI: what each mode and privilege level may see and change. */
#include "engines/soft/flags.h"

#include "check.h"
#include "soft_fake.h"

static const struct x86_instruction size2 = {.operand_size = 2, .length = 1};
static const struct x86_instruction size4 = {.operand_size = 4, .length = 1};
static const struct x86_instruction size8 = {.operand_size = 8, .length = 1};

/* RFLAGS after POPF of `image`. */
static uint64_t pop(const struct x86_instruction *in, uint64_t image)
{
    fake_write(fake_cpu.gpr[X86_RSP], image, 8);
    CHECK(fake_run(soft_popf, in));
    return soft_rflags(&fake_cpu);
}

static const uint64_t unprivileged =
    X86_FLAGS_ONE | X86_FLAGS_ARITHMETIC | X86_FLAGS_TF | X86_FLAGS_DF | X86_FLAGS_NT;

static void test_popf(void)
{
    fake_long(0);
    CHECK_EQUAL(pop(&size8, ~UINT64_C(0)),
                unprivileged | X86_FLAGS_IF | X86_FLAGS_IOPL | X86_FLAGS_AC | X86_FLAGS_ID);
    CHECK_EQUAL(fake_cpu.gpr[X86_RSP], FAKE_STACK + 8);
    CHECK_EQUAL(pop(&size8, 0), X86_FLAGS_ONE);
    fake_long(3);
    CHECK_EQUAL(pop(&size8, ~UINT64_C(0)), unprivileged | X86_FLAGS_AC | X86_FLAGS_ID);
    fake_cpu.flags |= X86_FLAGS_IF; /* above IOPL it stays as it was, without a fault */
    CHECK_EQUAL(pop(&size8, 0), X86_FLAGS_ONE | X86_FLAGS_IF);
    fake_cpu.flags |= X86_FLAGS_IOPL;
    CHECK_EQUAL(pop(&size8, 0), X86_FLAGS_ONE | X86_FLAGS_IOPL);
    fake_protected(0);
    CHECK_EQUAL(pop(&size2, ~UINT64_C(0)), unprivileged | X86_FLAGS_IF | X86_FLAGS_IOPL);
    fake_cpu.flags |= X86_FLAGS_RF | X86_FLAGS_VIF;
    CHECK_EQUAL(pop(&size4, 0), X86_FLAGS_ONE | X86_FLAGS_VIF);
    fake_real();
    CHECK_EQUAL(pop(&size2, ~UINT64_C(0)), unprivileged | X86_FLAGS_IF | X86_FLAGS_IOPL);
}

static void test_pushf(void)
{
    fake_long(3);
    soft_set_rflags(&fake_cpu, X86_FLAGS_RF | X86_FLAGS_CF | X86_FLAGS_OF | X86_FLAGS_IF);
    CHECK(fake_run(soft_pushf, &size8));
    CHECK_EQUAL(fake_read(FAKE_STACK - 8, 8),
                X86_FLAGS_ONE | X86_FLAGS_CF | X86_FLAGS_OF | X86_FLAGS_IF);
    fake_virtual_8086(3);
    CHECK(fake_run(soft_pushf, &size4));
    CHECK_EQUAL(fake_read(FAKE_STACK - 4, 4), X86_FLAGS_ONE | X86_FLAGS_IOPL);
}

static void test_virtual_8086(void)
{
    fake_virtual_8086(0);
    CHECK(fake_faults(soft_pushf, &size2, X86_VECTOR_GP, 0));
    CHECK(fake_faults(soft_popf, &size2, X86_VECTOR_GP, 0));
    CHECK(fake_faults(soft_cli, &size2, X86_VECTOR_GP, 0));
    CHECK(fake_faults(soft_sti, &size2, X86_VECTOR_GP, 0));
    fake_cpu.cr4 |= X86_CR4_VME;
    CHECK(fake_faults(soft_pushf, &size4, X86_VECTOR_GP, 0));
    CHECK(fake_run(soft_sti, &size2));
    CHECK_EQUAL(fake_cpu.flags & (X86_FLAGS_IF | X86_FLAGS_VIF), X86_FLAGS_VIF);
    CHECK(!fake_cpu.sti_shadow);
    CHECK(fake_run(soft_pushf, &size2));
    CHECK_EQUAL(fake_read(FAKE_STACK - 2, 2), 0x3202);
    CHECK(fake_run(soft_cli, &size2));
    CHECK_EQUAL(fake_cpu.flags & X86_FLAGS_VIF, 0);
    CHECK(fake_run(soft_popf, &size2)); /* IF of the image goes to VIF, IOPL stays */
    CHECK_EQUAL(fake_cpu.flags & (X86_FLAGS_IF | X86_FLAGS_VIF | X86_FLAGS_IOPL), X86_FLAGS_VIF);
    fake_cpu.flags |= X86_FLAGS_VIP;
    CHECK(fake_faults(soft_sti, &size2, X86_VECTOR_GP, 0));
    fake_write(FAKE_STACK, X86_FLAGS_IF, 2);
    CHECK(fake_faults(soft_popf, &size2, X86_VECTOR_GP, 0));
    fake_write(FAKE_STACK, X86_FLAGS_TF, 2);
    CHECK(fake_faults(soft_popf, &size2, X86_VECTOR_GP, 0));
    fake_virtual_8086(3);
    uint64_t kept = X86_FLAGS_VM | X86_FLAGS_IOPL;
    CHECK_EQUAL(pop(&size4, ~UINT64_C(0)),
                unprivileged | kept | X86_FLAGS_IF | X86_FLAGS_AC | X86_FLAGS_ID);
}

static void test_interrupt_flag(void)
{
    fake_protected(0);
    CHECK(fake_run(soft_sti, &size4));
    CHECK(fake_cpu.sti_shadow);
    CHECK((fake_cpu.flags & X86_FLAGS_IF) != 0);
    fake_cpu.sti_shadow = false;
    CHECK(fake_run(soft_sti, &size4));
    CHECK(!fake_cpu.sti_shadow); /* it was set already */
    CHECK(fake_run(soft_cli, &size4));
    CHECK((fake_cpu.flags & X86_FLAGS_IF) == 0);
    fake_protected(3);
    CHECK(fake_faults(soft_cli, &size4, X86_VECTOR_GP, 0));
    CHECK(fake_faults(soft_sti, &size4, X86_VECTOR_GP, 0));
    fake_cpu.cr4 |= X86_CR4_PVI;
    CHECK(fake_run(soft_sti, &size4));
    CHECK_EQUAL(fake_cpu.flags & (X86_FLAGS_IF | X86_FLAGS_VIF), X86_FLAGS_VIF);
    fake_cpu.flags |= X86_FLAGS_IOPL;
    CHECK(fake_run(soft_sti, &size4));
    CHECK((fake_cpu.flags & X86_FLAGS_IF) != 0);
}

int main(void)
{
    test_popf();
    test_pushf();
    test_virtual_8086();
    test_interrupt_flag();
    return check_summary();
}
