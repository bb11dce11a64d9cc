/*
 * Why an entry failed, in words; the names of numbers are in x86/vmx_text.h.
 *
 * Source:  Intel SDM volume 3, "VM Entries".
 * Owner:   the caller's text, which is cut where it does not fit.
 * Thread:  the one that runs the vCPU, loaded. Freestanding.
 */
#ifndef TRAPEZE_VTX_CORE_EXPLAIN_H
#define TRAPEZE_VTX_CORE_EXPLAIN_H

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "vtx/core/vcpu.h"

/*
 * Why the guest's state was refused, as one line without a newline: the rule and the fields, by
 * the entry-check table run over the VMCS. reason, qualification: of the exit.
 */
void vtx_explain_entry(struct vtx_vcpu *vcpu, uint32_t reason, uint64_t qualification, char *text,
                       size_t size);

/*
 * The same for VMLAUNCH and VMRESUME that failed: the error, and the field and rule that it is
 * about, as far as the controls and the host state tell. number: of the VM-instruction error field.
 */
void vtx_explain_failure(struct vtx_vcpu *vcpu, enum vtx_result result, uint32_t number, char *text,
                         size_t size);

/* The field that could not be read or written, if there was one. */
void vtx_explain_field(const struct vtx_vcpu *vcpu, struct text *text);

/* Every broken rule of the guest-state area: into violations, at most max; how many there are. */
unsigned int vtx_check_guest_state(struct vtx_vcpu *vcpu, struct entry_violation *violations,
                                   unsigned int max);

#endif
