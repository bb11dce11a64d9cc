/*
 * The other half of the entry doctor: controls and host state, whose faults VMLAUNCH and VMRESUME
 * report as VMfailValid with an error number and no more.
 *
 * Source:  Intel SDM volume 3, "Checks on VMX Controls", "Checks on the Host-State Area".
 * Owner:   the caller. Thread: any. Freestanding.
 */
#ifndef TRAPEZE_X86_VMCS_CHECKS_H
#define TRAPEZE_X86_VMCS_CHECKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "x86/entry_state.h"
#include "x86/vmx_capabilities.h"

/* Reads a field of the VMCS; false: the processor has no such field. */
struct vmcs_reader {
    bool (*read)(void *context, uint32_t encoding, uint64_t *value);
    void *context;
};

/*
 * Appends ": FIELD (value) RULE" for the first broken rule that error is about: 7 controls, 8 host
 * state. False: none was found, and nothing is appended.
 */
bool vmcs_explain_refusal(const struct vmcs_reader *reader,
                          const struct vtx_capabilities *capabilities, uint32_t error,
                          struct text *text);

/* What the capabilities tell of the processor that the entry checks ask about. */
void vmcs_checks_processor(struct entry_processor *processor,
                           const struct vtx_capabilities *capabilities);

#endif
