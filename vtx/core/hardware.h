/*
 * Into the guest and out of it. entry.S has it; the unit tests have a processor made of arrays.
 * What else the core asks of the processor is in x86/vmx_instructions.h.
 *
 * Owner:   nothing is kept.
 * Thread:  on the processor that calls, in ring 0, interrupts off. Freestanding.
 */
#ifndef TRAPEZE_VTX_CORE_HARDWARE_H
#define TRAPEZE_VTX_CORE_HARDWARE_H

#include "x86/registers.h"
#include "x86/vmx_instructions.h"

/*
 * The general registers that VM entry and VM exit leave alone, by enum x86_gpr; RSP's place is
 * unused, as the VMCS has it. entry.S knows this layout.
 */
struct vtx_registers {
    uint64_t gpr[X86_GPR_COUNT];
};

/*
 * Enters the guest of the current VMCS, with VMLAUNCH or, if it was launched before, VMRESUME;
 * writes HOST_RSP. Returns after the VM exit with VTX_SUCCEED, or at once if the instruction
 * failed. Interrupts are off before and after.
 */
enum vtx_result vtx_enter(struct vtx_registers *registers, bool launched);

/* What HOST_RIP of the VMCS is set to: the second half of vtx_enter. */
uint64_t vtx_exit_address(void);

#endif
