/*
 * GDT, TSS and IDT of the image's processors, and what becomes of exceptions and interrupts.
 *
 * Purpose: an exception in the image is a mistake of the image: it prints registers and ends. The
 *          PC's interrupts only wake; whoever slept looks around.
 * Source:  Intel SDM volume 3, "IA-32e Mode IDT", "64-Bit Mode Stack Switching (Interrupt Stack
 *          Table)", "Exception and Interrupt Reference".
 * Owner:   tables are static here, by processor.
 * Thread:  descriptors_load on the processor that is meant.
 */
#ifndef TRAPEZE_VTX_BARE_DESCRIPTORS_H
#define TRAPEZE_VTX_BARE_DESCRIPTORS_H

#include <stdint.h>

#define VECTOR_PIC_FIRST 0x20 /* the PC's interrupts 0..15 come here */
#define VECTORS          0x30

/* What vectors.S pushes; it knows this layout. */
struct interrupt_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};

/* Gives processor `index` its tables and loads all registers that lead to them. */
void descriptors_load(unsigned int index);

#endif
