/*
 * VT-x's numbers in words.
 *
 * Source:  Intel SDM volume 3, "VM Instruction Error Numbers", "VMX Basic Exit Reasons",
 *          "VM-Entry Failures During or After Loading Guest State".
 * Owner:   the caller's text.
 * Thread:  any, but for what reads the VMCS. Freestanding.
 */
#ifndef TRAPEZE_VTX_CORE_EXPLAIN_H
#define TRAPEZE_VTX_CORE_EXPLAIN_H

#include <stddef.h>
#include <stdint.h>

#include "vtx/core/vcpu.h"

/* "VMLAUNCH with VMCS that is not clear"; never NULL. */
const char *vtx_instruction_error(uint32_t number);

/* "EPT violation"; never NULL. reason: bits 15:0 count. */
const char *vtx_exit_reason_name(uint32_t reason);

/*
 * Why the guest's state was refused, as one line without a newline: the rule and the fields, by
 * the entry-check table run over the VMCS. vcpu is loaded.
 */
void vtx_explain_entry(struct vtx_vcpu *vcpu, uint32_t reason, uint64_t qualification, char *text,
                       size_t size);

/* The same for VMLAUNCH and VMRESUME that failed: the error number, and the control it is about. */
void vtx_explain_failure(struct vtx_vcpu *vcpu, enum vtx_result result, char *text, size_t size);

#endif
