/*
 * Finding out what the processor's VT-x can do, and whether it may be used.
 *
 * Purpose: CPUID, IA32_FEATURE_CONTROL and the capability MSRs are read once, into the struct of
 *          x86/vmx_capabilities.h. What is missing is a value with a sentence.
 * Source:  Intel SDM volume 3, "Discovering Support for VMX", "Enabling and Entering VMX
 *          Operation".
 * Owner:   the caller.
 * Thread:  any, on the processor it is about; all processors must agree. Freestanding.
 */
#ifndef TRAPEZE_VTX_CORE_CAPABILITIES_H
#define TRAPEZE_VTX_CORE_CAPABILITIES_H

#include "vtx/core/status.h"
#include "x86/vmx_capabilities.h"
#include <stdbool.h>

/* True if CPUID shows VT-x. Changes nothing. */
bool vtx_is_supported(void);

/*
 * Makes VMXON possible on this processor as far as IA32_FEATURE_CONTROL is concerned: enables and
 * locks it if it was unlocked, which holds until the next reset.
 *
 * VTX_NO_VTX, VTX_LOCKED_OFF: the text says what a person can do.
 */
enum vtx_status vtx_feature_control_enable(struct error *error);

/*
 * Reads everything. VTX_NO_VTX; VTX_MISSING when something that the core cannot do without is not
 * there (EPT, unrestricted guest, 64-bit host …), with its name in the text.
 */
enum vtx_status vtx_capabilities_read(struct vtx_capabilities *capabilities, struct error *error);

#endif
