/*
 * What a processor's VT-x can do, as its capability MSRs tell, and which values its controls and
 * control registers may have.
 *
 * Purpose: the VT-x core asks "is there X" and "what is allowed" here; explanations of refused
 *          entries ask the same. Whoever runs on the processor fills the struct in
 *          (vtx/core/capabilities.h).
 * Source:  Intel SDM volume 3, appendix "VMX Capability Reporting Facility", "Reserved Controls and
 *          Default Settings", "VMX-Fixed Bits in CR0", "VMX-Fixed Bits in CR4".
 * Owner:   the caller; plain data. Thread: any. Freestanding.
 */
#ifndef TRAPEZE_X86_VMX_CAPABILITIES_H
#define TRAPEZE_X86_VMX_CAPABILITIES_H

#include <stdbool.h>
#include <stdint.h>

#include "x86/cpuid.h"

/* The allowed settings of 32 controls: a bit of `ones` must be 1, a bit not in `may` must be 0. */
struct vtx_allowed {
    uint32_t ones; /* "allowed 0-settings": bits 31:0 of the MSR */
    uint32_t may;  /* "allowed 1-settings": bits 63:32 */
};

enum vtx_controls {
    VTX_CONTROLS_PIN_BASED,
    VTX_CONTROLS_PRIMARY,
    VTX_CONTROLS_SECONDARY,
    VTX_CONTROLS_EXIT,
    VTX_CONTROLS_ENTRY,
    VTX_CONTROLS_COUNT
};

struct vtx_capabilities {
    uint64_t basic; /* IA32_VMX_BASIC */
    uint32_t revision;
    struct vtx_allowed allowed[VTX_CONTROLS_COUNT];
    uint64_t misc;                   /* IA32_VMX_MISC */
    uint64_t cr0_fixed0, cr0_fixed1; /* bits that must be 1; bits that may be 1 */
    uint64_t cr4_fixed0, cr4_fixed1;
    uint64_t ept_vpid;        /* IA32_VMX_EPT_VPID_CAP */
    unsigned int timer_shift; /* the preemption timer counts at TSC >> this */
    uint8_t physical_address_bits, linear_address_bits;
    bool has_ept_2m, has_ept_1g, has_vpid, has_invept_single, has_execute_only;
    bool has_preemption_timer, has_xsave, has_rdtscp;
    uint64_t xcr0_host; /* what a guest's XCR0 may have on this host */
};

/* Reads them by these two; the processor must have VT-x. */
void vmx_capabilities_from(struct vtx_capabilities *to, uint64_t (*rdmsr)(uint32_t index),
                           struct cpuid_registers (*cpuid)(uint32_t leaf, uint32_t subleaf));

/* The MSR that tells the allowed settings; has_true: bit 55 of IA32_VMX_BASIC. */
uint32_t vmx_controls_msr(enum vtx_controls controls, bool has_true);

/* The controls may all be 1. */
bool vmx_may(const struct vtx_capabilities *capabilities, enum vtx_controls controls,
             uint32_t control);

/* The first thing that our monitor cannot do without, and that is not there; NULL: all is. */
const char *vmx_missing(const struct vtx_capabilities *capabilities);

/* ---- IA32_FEATURE_CONTROL ---- */

enum vtx_feature_control {
    VTX_FEATURE_ENABLED,  /* locked, VMX outside SMX allowed */
    VTX_FEATURE_UNLOCKED, /* nobody has decided yet */
    VTX_FEATURE_LOCKED_OFF
};

enum vtx_feature_control vtx_feature_control_state(uint64_t value);

/*
 * Adjusts wanted settings: `required` and `optional` are the controls to be 1. False if one of
 * the required ones may not be 1; its bits then are in *missing. *result has every bit right that
 * the processor insists on, and the optional ones that it has.
 */
bool vtx_adjust_controls(const struct vtx_capabilities *capabilities, enum vtx_controls controls,
                         uint32_t required, uint32_t optional, uint32_t *result, uint32_t *missing);

/*
 * The values of CR0 and CR4 with which a processor can be in VMX operation, closest to a wanted
 * one. unrestricted: as of a guest with "unrestricted guest": PE and PG may be 0.
 */
uint64_t vtx_cr0_adjust(const struct vtx_capabilities *capabilities, uint64_t value,
                        bool unrestricted);
uint64_t vtx_cr4_adjust(const struct vtx_capabilities *capabilities, uint64_t value);

#endif
