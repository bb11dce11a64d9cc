#include "engines/soft/flags.h"

#include "engines/soft/memory.h"

static bool has_virtual_interrupts(const struct soft_cpu *cpu)
{
    return (cpu->cr4 & X86_CR4_VME) != 0;
}

_Noreturn static void refuse(struct soft_cpu *cpu)
{
    soft_raise_error(cpu, X86_VECTOR_GP, 0);
}

/* Virtual-8086 mode above IOPL: only VME, and only with 16-bit operands, goes on. */
static void need_virtual_interrupts(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    if (!has_virtual_interrupts(cpu) || in->decoded.operand_size != 2) {
        refuse(cpu);
    }
}

uint64_t soft_pop_virtual_flags(struct soft_cpu *cpu, uint64_t image)
{
    bool enables = (image & X86_FLAGS_IF) != 0;
    if ((image & X86_FLAGS_TF) != 0 || (enables && (cpu->flags & X86_FLAGS_VIP) != 0)) {
        refuse(cpu);
    }
    uint64_t flags =
        (soft_rflags(cpu) & ~(SOFT_FLAGS_UNPRIVILEGED | X86_FLAGS_VIF | X86_FLAGS_RF)) |
        (image & SOFT_FLAGS_UNPRIVILEGED);
    return enables ? flags | X86_FLAGS_VIF : flags;
}

void soft_check_virtual_interrupt(struct soft_cpu *cpu)
{
    const uint64_t both = X86_FLAGS_VIF | X86_FLAGS_VIP;
    uint64_t enable = soft_virtual_8086(cpu) ? X86_CR4_VME : X86_CR4_PVI;
    if ((cpu->flags & both) == both && cpu->cpl == 3 && (cpu->cr4 & enable) != 0 &&
        !soft_long_mode(cpu)) {
        cpu->rip = cpu->next_rip;
        refuse(cpu);
    }
}

void soft_pushf(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    uint64_t image = soft_rflags(cpu) & ~(X86_FLAGS_VM | X86_FLAGS_RF);
    if (soft_virtual_8086(cpu) && soft_iopl(cpu) < 3) {
        need_virtual_interrupts(cpu, in);
        image = soft_virtual_flags_image(image);
    }
    soft_push(cpu, image, in->decoded.operand_size);
}

/* Which flags a POPF may change; the others but RF stay ("POPF", table of its effects). */
static uint64_t popf_changeable(const struct soft_cpu *cpu, unsigned int size)
{
    uint64_t changeable = SOFT_FLAGS_UNPRIVILEGED;
    if (size != 2) {
        changeable |= X86_FLAGS_AC | X86_FLAGS_ID;
    }
    if (cpu->cpl <= soft_iopl(cpu)) {
        changeable |= X86_FLAGS_IF;
    }
    return cpu->cpl == 0 ? changeable | X86_FLAGS_IOPL : changeable;
}

void soft_popf(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int size = in->decoded.operand_size;
    bool is_virtual = soft_virtual_8086(cpu) && soft_iopl(cpu) < 3;
    if (is_virtual) {
        need_virtual_interrupts(cpu, in);
    }
    uint64_t image = soft_stack_peek(cpu, 0, size);
    uint64_t old = soft_rflags(cpu);
    uint64_t flags;
    if (is_virtual) {
        flags = soft_pop_virtual_flags(cpu, image);
    } else {
        uint64_t changeable = popf_changeable(cpu, size);
        flags = (old & ~changeable) | (image & changeable);
    }
    soft_add_rsp(cpu, size);
    soft_set_rflags(cpu, size == 2 ? flags : flags & ~X86_FLAGS_RF);
}

/*
 * "CLI—Clear Interrupt Flag", "STI—Set Interrupt Flag", their tables of decisions: which flag the
 * instruction may change, IF or VIF. Raises #GP(0) for neither.
 */
static uint64_t interrupt_flag(struct soft_cpu *cpu)
{
    if (cpu->cpl <= soft_iopl(cpu)) {
        return X86_FLAGS_IF;
    }
    uint64_t enable = soft_virtual_8086(cpu) ? X86_CR4_VME : X86_CR4_PVI;
    if (cpu->cpl != 3 || (cpu->cr4 & enable) == 0) {
        refuse(cpu);
    }
    return X86_FLAGS_VIF;
}

void soft_cli(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    cpu->flags &= ~interrupt_flag(cpu);
}

void soft_sti(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    uint64_t flag = interrupt_flag(cpu);
    if (flag == X86_FLAGS_VIF) {
        if ((cpu->flags & X86_FLAGS_VIP) != 0) {
            refuse(cpu);
        }
        cpu->flags |= X86_FLAGS_VIF;
        return;
    }
    if ((cpu->flags & X86_FLAGS_IF) == 0) {
        cpu->sti_shadow = true; /* no interrupt until the next instruction has run */
        soft_set_rflags(cpu, soft_rflags(cpu) | X86_FLAGS_IF);
    }
}
