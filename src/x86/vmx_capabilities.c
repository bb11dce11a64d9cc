#include "x86/vmx_capabilities.h"

#include <stddef.h>

#include "x86/entry_state.h"
#include "x86/msr.h"
#include "x86/registers.h"
#include "x86/vmx.h"

enum vtx_feature_control vtx_feature_control_state(uint64_t value)
{
    if ((value & VMX_FEATURE_CONTROL_LOCK) == 0) {
        return VTX_FEATURE_UNLOCKED;
    }
    return (value & VMX_FEATURE_CONTROL_ENABLE) != 0 ? VTX_FEATURE_ENABLED : VTX_FEATURE_LOCKED_OFF;
}

/* "Reserved Controls and Default Settings" */
bool vtx_adjust_controls(const struct vtx_capabilities *capabilities, enum vtx_controls controls,
                         uint32_t required, uint32_t optional, uint32_t *result, uint32_t *missing)
{
    const struct vtx_allowed *allowed = &capabilities->allowed[controls];
    *missing = required & ~allowed->may;
    *result = ((required | optional) & allowed->may) | allowed->ones;
    return *missing == 0;
}

/* "VMX-Fixed Bits in CR0": "unrestricted guest" frees PE and PG. */
uint64_t vtx_cr0_adjust(const struct vtx_capabilities *capabilities, uint64_t value,
                        bool unrestricted)
{
    uint64_t ones = capabilities->cr0_fixed0;
    if (unrestricted) {
        ones &= ~(X86_CR0_PE | X86_CR0_PG);
    }
    return (value | ones) & capabilities->cr0_fixed1;
}

/* "VMX-Fixed Bits in CR4" */
uint64_t vtx_cr4_adjust(const struct vtx_capabilities *capabilities, uint64_t value)
{
    return (value | capabilities->cr4_fixed0) & capabilities->cr4_fixed1;
}

uint32_t vmx_controls_msr(enum vtx_controls controls, bool has_true)
{
    static const uint32_t plain[VTX_CONTROLS_COUNT] = {
        X86_MSR_IA32_VMX_PINBASED_CTLS, X86_MSR_IA32_VMX_PROCBASED_CTLS,
        X86_MSR_IA32_VMX_PROCBASED_CTLS2, X86_MSR_IA32_VMX_EXIT_CTLS, X86_MSR_IA32_VMX_ENTRY_CTLS};
    static const uint32_t with_true[VTX_CONTROLS_COUNT] = {
        X86_MSR_IA32_VMX_TRUE_PINBASED_CTLS, X86_MSR_IA32_VMX_TRUE_PROCBASED_CTLS,
        X86_MSR_IA32_VMX_PROCBASED_CTLS2, /* has no other */
        X86_MSR_IA32_VMX_TRUE_EXIT_CTLS, X86_MSR_IA32_VMX_TRUE_ENTRY_CTLS};
    return has_true ? with_true[controls] : plain[controls];
}

bool vmx_may(const struct vtx_capabilities *capabilities, enum vtx_controls controls,
             uint32_t control)
{
    return (capabilities->allowed[controls].may & control) == control;
}

/* What our monitor cannot do without, besides EPT with 4-level tables and write-back memory. */
struct needed {
    enum vtx_controls controls;
    uint32_t control;
    const char *words;
};

static const struct needed needed[] = {
    {VTX_CONTROLS_PRIMARY, VMX_PRIMARY_SECONDARY, "secondary processor-based controls"},
    {VTX_CONTROLS_SECONDARY, VMX_SECONDARY_EPT, "extended page tables (EPT)"},
    {VTX_CONTROLS_SECONDARY, VMX_SECONDARY_UNRESTRICTED_GUEST, "\"unrestricted guest\""},
    {VTX_CONTROLS_PRIMARY, VMX_PRIMARY_MSR_BITMAPS, "MSR bitmaps"},
    {VTX_CONTROLS_PIN_BASED, VMX_PIN_EXTERNAL_INTERRUPT | VMX_PIN_NMI, "interrupt exiting"},
    {VTX_CONTROLS_PIN_BASED, VMX_PIN_VIRTUAL_NMIS, "virtual NMIs"},
    {VTX_CONTROLS_EXIT, VMX_EXIT_HOST_64, "a 64-bit host"},
    {VTX_CONTROLS_EXIT, VMX_EXIT_SAVE_EFER | VMX_EXIT_LOAD_EFER, "EFER switched at exits"},
    {VTX_CONTROLS_ENTRY, ENTRY_LOAD_EFER, "EFER switched at entries"},
};

const char *vmx_missing(const struct vtx_capabilities *capabilities)
{
    const uint64_t tables = VMX_EPT_WALK_4 | VMX_EPT_WRITE_BACK | VMX_EPT_INVEPT;
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (!vmx_may(capabilities, needed[i].controls, needed[i].control)) {
            return needed[i].words;
        }
    }
    if ((capabilities->ept_vpid & tables) != tables) {
        return "EPT with four levels, write-back memory and INVEPT";
    }
    bool tells = (capabilities->basic & VMX_BASIC_IO_INFORMATION) != 0;
    return tells ? NULL : "information about INS and OUTS";
}
