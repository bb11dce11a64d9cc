/*
 * Instructions that move RFLAGS as a whole or its interrupt flag, by mode, CPL and IOPL.
 *
 * Source:  Intel SDM volume 2, "PUSHF/PUSHFD/PUSHFQ", "POPF/POPFD/POPFQ", "CLI", "STI"; volume 3,
 *          "Class 1—Hardware Interrupt Handling in Virtual-8086 Mode", "Protected-Mode Virtual
 *          Interrupts".
 * Owner, thread: the vCPU's.
 */
#ifndef TRAPEZE_ENGINES_SOFT_FLAGS_H
#define TRAPEZE_ENGINES_SOFT_FLAGS_H

#include "engines/soft/execute.h"

soft_execute soft_pushf, soft_popf, soft_cli, soft_sti;

/* Flags that any program may change with POPF and IRET; IF, IOPL and the rest need privilege. */
#define SOFT_FLAGS_UNPRIVILEGED (X86_FLAGS_ARITHMETIC | X86_FLAGS_TF | X86_FLAGS_DF | X86_FLAGS_NT)

/*
 * In virtual-8086 mode with IOPL < 3 and VME: the flags as a 16-bit push shows them (IOPL reads as
 * 3, IF as VIF) …
 */
static inline uint64_t soft_virtual_flags_image(uint64_t flags)
{
    uint64_t image = (flags & ~X86_FLAGS_IF) | X86_FLAGS_IOPL;
    return (flags & X86_FLAGS_VIF) != 0 ? image | X86_FLAGS_IF : image;
}

/*
 * … and what a 16-bit pop of `image` makes of them. Raises #GP(0) where the monitor must step in:
 * TF set, or interrupts enabled while one is pending virtually.
 */
uint64_t soft_pop_virtual_flags(struct soft_cpu *cpu, uint64_t image);

/*
 * After flags were loaded from a frame or a TSS: a program that runs with virtual interrupts must
 * not go on with both VIF and VIP set; #GP(0) at its next instruction calls the monitor. Not in
 * IA-32e mode.
 */
void soft_check_virtual_interrupt(struct soft_cpu *cpu);

#endif
