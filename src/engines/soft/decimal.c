#include "engines/soft/decimal.h"

#include "engines/soft/alu.h"

/* SF, ZF and PF by AL; CF and AF as given; OF, undefined everywhere here, cleared. */
static void set_flags(struct soft_cpu *cpu, bool carry, bool auxiliary)
{
    uint16_t arithmetic = cpu->arithmetic;
    soft_test8(&arithmetic, cpu->gpr[X86_RAX], 0xff);
    unsigned int flags =
        arithmetic & (SOFT_ARITHMETIC_SF | SOFT_ARITHMETIC_ZF | SOFT_ARITHMETIC_PF | 0x200u);
    flags |= carry ? SOFT_ARITHMETIC_CF : 0;
    flags |= auxiliary ? SOFT_ARITHMETIC_AF : 0;
    cpu->arithmetic = (uint16_t)flags;
}

static void set_ax(struct soft_cpu *cpu, unsigned int value)
{
    soft_set_register(cpu, X86_RAX, 2, true, value);
}

static unsigned int get_ax(const struct soft_cpu *cpu)
{
    return (unsigned int)(cpu->gpr[X86_RAX] & 0xffff);
}

static bool auxiliary_set(const struct soft_cpu *cpu)
{
    return (cpu->arithmetic & SOFT_ARITHMETIC_AF) != 0;
}

static bool carry_set(const struct soft_cpu *cpu)
{
    return (cpu->arithmetic & SOFT_ARITHMETIC_CF) != 0;
}

void soft_aaa(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    unsigned int ax = get_ax(cpu);
    bool adjust = (ax & 0xf) > 9 || auxiliary_set(cpu);
    if (adjust) {
        ax += 0x106;
    }
    set_ax(cpu, ax & 0xff0f);
    set_flags(cpu, adjust, adjust);
}

void soft_aas(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    unsigned int ax = get_ax(cpu);
    bool adjust = (ax & 0xf) > 9 || auxiliary_set(cpu);
    if (adjust) {
        ax -= 0x106;
    }
    set_ax(cpu, ax & 0xff0f);
    set_flags(cpu, adjust, adjust);
}

void soft_aam(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int base = (unsigned int)in->decoded.immediate & 0xff;
    if (base == 0) {
        soft_raise(cpu, X86_VECTOR_DE);
    }
    unsigned int al = get_ax(cpu) & 0xff;
    set_ax(cpu, (al / base) << 8 | al % base);
    set_flags(cpu, false, false);
}

void soft_aad(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int base = (unsigned int)in->decoded.immediate & 0xff, ax = get_ax(cpu);
    set_ax(cpu, ((ax & 0xff) + (ax >> 8) * base) & 0xff);
    set_flags(cpu, false, false);
}

void soft_daa(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    unsigned int old = get_ax(cpu) & 0xff, al = old;
    bool low = (old & 0xf) > 9 || auxiliary_set(cpu);
    bool high = old > 0x99 || carry_set(cpu);
    al += (low ? 0x06u : 0u) + (high ? 0x60u : 0u);
    soft_set_register(cpu, X86_RAX, 1, true, al);
    set_flags(cpu, high, low);
}

void soft_das(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    unsigned int old = get_ax(cpu) & 0xff, al = old;
    bool low = (old & 0xf) > 9 || auxiliary_set(cpu);
    bool high = old > 0x99 || carry_set(cpu);
    bool borrow = high || (low && old < 6);
    al -= (low ? 0x06u : 0u) + (high ? 0x60u : 0u);
    soft_set_register(cpu, X86_RAX, 1, true, al);
    set_flags(cpu, borrow, low);
}
