/*
 * MMX, SSE and AVX instructions, run natively by thunks.
 *
 * Purpose: what surrounds the native instruction: may it run at all, its memory operand, its
 *          exceptions.
 * Source:  Intel SDM volume 2, "Instruction Exception Specification" and "Exception Conditions of
 *          Legacy SIMD/MMX Instructions"; volume 3, "Interaction of the x87 FPU and MMX …".
 * Owner, thread: the vCPU's.
 */
#ifndef TRAPEZE_ENGINES_SOFT_VECTOR_H
#define TRAPEZE_ENGINES_SOFT_VECTOR_H

#include "engines/soft/cpu.h"
#include "engines/soft/execute.h"
#include "engines/soft/memory.h"

/* X86_OP_MMX, _SSE, _AVX: any instruction that needs no more than a thunk. */
soft_execute soft_execute_mmx, soft_execute_sse, soft_execute_avx;
soft_execute soft_execute_emms, soft_execute_vzero;
soft_execute soft_execute_ldmxcsr, soft_execute_stmxcsr;

/* Accesses under a mask (vector_masked.c). */
soft_execute soft_execute_maskmov, soft_execute_vmaskmov, soft_execute_gather;

/* Finds the thunk, or a faster function for the commonest moves. */
void soft_prepare_vector(struct soft_cpu *cpu, struct soft_instruction *in);

/* A function of vector_move.c that does what `in` does, or NULL. */
soft_execute *soft_vector_move(const struct soft_instruction *in, bool is_64bit);

/* Raise #UD or #NM for the conditions below, when one holds. */
_Noreturn void soft_sse_unavailable(struct soft_cpu *cpu);
_Noreturn void soft_avx_unavailable(struct soft_cpu *cpu);

/* May legacy-encoded SSE run? CR0.EM, CR4.OSFXSR: #UD; CR0.TS: #NM. */
static inline void soft_require_sse(struct soft_cpu *cpu)
{
    if ((cpu->cr0 & (X86_CR0_EM | X86_CR0_TS)) != 0 || (cpu->cr4 & X86_CR4_OSFXSR) == 0) {
        soft_sse_unavailable(cpu);
    }
}

/* May VEX-encoded vector instructions run? The mode, CR4.OSXSAVE, XCR0: #UD; CR0.TS: #NM. */
static inline void soft_require_avx(struct soft_cpu *cpu)
{
    const uint64_t needed = X86_XCR0_SSE | X86_XCR0_AVX;
    if ((cpu->cr0 & (X86_CR0_PE | X86_CR0_TS)) != X86_CR0_PE || (cpu->cr4 & X86_CR4_OSXSAVE) == 0 ||
        (cpu->xcr0 & needed) != needed || soft_virtual_8086(cpu)) {
        soft_avx_unavailable(cpu);
    }
}

/* The rules of an instruction's encoding. */
static inline void soft_require_sse_or_avx(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    if (in->decoded.encoding == X86_ENCODING_VEX) {
        soft_require_avx(cpu);
    } else {
        soft_require_sse(cpu);
    }
}

/* CR0.EM: #UD; CR0.TS: #NM; a pending x87 exception: #MF. Afterwards the x87 state is in memory. */
void soft_require_mmx(struct soft_cpu *cpu);

/* The linear address of the memory operand, checked; #GP(0) if it must be aligned and is not. */
uint64_t soft_vector_linear(struct soft_cpu *cpu, const struct soft_instruction *in,
                            enum soft_access access);

/* Reads and writes size bytes: naturally aligned 1 to 8 bytes in one access. */
void soft_vector_read(struct soft_cpu *cpu, uint64_t linear, void *buffer, unsigned int size);
void soft_vector_write(struct soft_cpu *cpu, uint64_t linear, const void *buffer,
                       unsigned int size);

#endif
