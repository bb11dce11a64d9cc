#include "x86/vmx_capabilities.h"

#include <stddef.h>

#include "x86/entry_state.h"
#include "x86/msr.h"
#include "x86/registers.h"
#include "x86/vmx.h"

#define LEAF_FEATURES  1u
#define LEAF_XSAVE     0xdu
#define LEAF_AMD       0x80000001u
#define LEAF_ADDRESSES 0x80000008u

#define FEATURES_ECX_OSXSAVE (1u << 27)
#define AMD_EDX_RDTSCP       (1u << 27)

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

/* ---- from the processor ---- */

static void read_controls(struct vtx_capabilities *to, uint64_t (*rdmsr)(uint32_t index))
{
    bool has_true = (to->basic & VMX_BASIC_TRUE_CONTROLS) != 0;
    for (unsigned int i = 0; i < VTX_CONTROLS_COUNT; i++) {
        bool secondary = i == VTX_CONTROLS_SECONDARY;
        if (secondary && (to->allowed[VTX_CONTROLS_PRIMARY].may & VMX_PRIMARY_SECONDARY) == 0) {
            continue; /* the MSR is not there */
        }
        uint64_t value = rdmsr(vmx_controls_msr((enum vtx_controls)i, has_true));
        to->allowed[i] = (struct vtx_allowed){(uint32_t)value, (uint32_t)(value >> 32)};
    }
}

static void read_ept_vpid(struct vtx_capabilities *to, uint64_t (*rdmsr)(uint32_t index))
{
    if (!vmx_may(to, VTX_CONTROLS_SECONDARY, VMX_SECONDARY_EPT) &&
        !vmx_may(to, VTX_CONTROLS_SECONDARY, VMX_SECONDARY_VPID)) {
        return; /* the MSR is not there */
    }
    to->ept_vpid = rdmsr(X86_MSR_IA32_VMX_EPT_VPID_CAP);
    to->has_ept_2m = (to->ept_vpid & VMX_EPT_2M) != 0;
    to->has_ept_1g = (to->ept_vpid & VMX_EPT_1G) != 0;
    to->has_execute_only = (to->ept_vpid & VMX_EPT_EXECUTE_ONLY) != 0;
    to->has_invept_single = (to->ept_vpid & VMX_EPT_INVEPT_SINGLE) != 0;
    to->has_vpid = vmx_may(to, VTX_CONTROLS_SECONDARY, VMX_SECONDARY_VPID) &&
                   (to->ept_vpid & VMX_VPID_INVVPID) != 0 &&
                   (to->ept_vpid & VMX_VPID_INVVPID_SINGLE) != 0;
}

static void read_processor(struct vtx_capabilities *to,
                           struct cpuid_registers (*cpuid)(uint32_t leaf, uint32_t subleaf))
{
    uint32_t sizes = cpuid(LEAF_ADDRESSES, 0).eax;
    to->physical_address_bits = (uint8_t)sizes;
    to->linear_address_bits = (uint8_t)(sizes >> 8);
    to->has_rdtscp = (cpuid(LEAF_AMD, 0).edx & AMD_EDX_RDTSCP) != 0;
    to->has_xsave = (cpuid(LEAF_FEATURES, 0).ecx & FEATURES_ECX_OSXSAVE) != 0;
    if (to->has_xsave) {
        to->xcr0_host = cpuid(LEAF_XSAVE, 0).eax & (X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX);
    }
}

void vmx_capabilities_from(struct vtx_capabilities *to, uint64_t (*rdmsr)(uint32_t index),
                           struct cpuid_registers (*cpuid)(uint32_t leaf, uint32_t subleaf))
{
    *to = (struct vtx_capabilities){0};
    to->basic = rdmsr(X86_MSR_IA32_VMX_BASIC);
    to->revision = (uint32_t)(to->basic & VMX_BASIC_REVISION);
    to->misc = rdmsr(X86_MSR_IA32_VMX_MISC);
    to->cr0_fixed0 = rdmsr(X86_MSR_IA32_VMX_CR0_FIXED0);
    to->cr0_fixed1 = rdmsr(X86_MSR_IA32_VMX_CR0_FIXED1);
    to->cr4_fixed0 = rdmsr(X86_MSR_IA32_VMX_CR4_FIXED0);
    to->cr4_fixed1 = rdmsr(X86_MSR_IA32_VMX_CR4_FIXED1);
    to->timer_shift = (unsigned int)(to->misc & VMX_MISC_TIMER_SHIFT);
    read_controls(to, rdmsr);
    read_ept_vpid(to, rdmsr);
    read_processor(to, cpuid);
    to->has_preemption_timer = vmx_may(to, VTX_CONTROLS_PIN_BASED, VMX_PIN_PREEMPTION_TIMER);
}
