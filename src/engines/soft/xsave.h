/*
 * FXSAVE, the XSAVE family, XCR0: the vector state as images in memory.
 *
 * Purpose: the instructions, what CPUID says of them, and the same images for the engine's
 *          get_state and set_state. State components: x87, SSE, AVX, PKRU.
 * Source:  Intel SDM volume 1, "Managing State Using the XSAVE Feature Set"; volume 2, "FXSAVE",
 *          "XSAVE" … "XSETBV"; volume 3, "Control Registers": XCR0.
 * Owner, thread: the vCPU's.
 */
#ifndef TRAPEZE_ENGINES_SOFT_XSAVE_H
#define TRAPEZE_ENGINES_SOFT_XSAVE_H

#include "engines/soft/cpu.h"
#include "engines/soft/execute.h"
#include "x86/cpuid.h"
#include "x86/state.h"

soft_execute soft_execute_fxsave, soft_execute_fxrstor;
soft_execute soft_execute_xsave, soft_execute_xsaveopt, soft_execute_xsavec, soft_execute_xsaves;
soft_execute soft_execute_xrstor, soft_execute_xrstors;
soft_execute soft_execute_xgetbv, soft_execute_xsetbv;

/* The bits of XCR0 that this CPU, by what its CPUID shows, may set. */
uint64_t soft_xcr0_supported(const struct soft_cpu *cpu);

/* Bytes of an XSAVE area with these components, in the standard or the compacted format. */
uint32_t soft_xsave_size(uint64_t components, bool compacted);

/*
 * CPUID leaf 0DH for a CPU that supports these components. EBX of subleaves 0 and 1 depends on
 * XCR0: here as if all were enabled; the CPUID instruction patches in soft_xsave_size().
 */
struct cpuid_registers soft_xsave_cpuid(uint64_t supported, uint32_t subleaf);

/* xcr0, pkru and xsave of the neutral state, standard format. The thread's own vCPU. */
void soft_fpu_get(struct soft_cpu *cpu, struct x86_state *state);
/* Returns 0, or -EINVAL with nothing changed if the image or XCR0 is not valid. */
int soft_fpu_set(struct soft_cpu *cpu, const struct x86_state *state, struct error *error);

#endif
