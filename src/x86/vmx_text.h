/*
 * VT-x's numbers in words.
 *
 * Source:  Intel SDM volume 3, appendix "VMX Basic Exit Reasons", "VM-Instruction Error Numbers".
 * Owner:   string constants. Thread: any. Freestanding.
 */
#ifndef TRAPEZE_X86_VMX_TEXT_H
#define TRAPEZE_X86_VMX_TEXT_H

#include <stdint.h>

/* "EPT violation"; never NULL. basic_reason: enum vmx_exit_reason, or any other number. */
const char *vmx_reason_name(uint32_t basic_reason);

/* What a number of the VM-instruction error field means; never NULL. */
const char *vmx_instruction_error(uint32_t number);

#endif
