#include "vtx/core/capabilities.h"

#include <stddef.h>

#include "base/text.h"
#include "vtx/core/hardware.h"
#include "x86/entry_state.h"
#include "x86/msr.h"
#include "x86/vmx.h"

#define LEAF_FEATURES  1u
#define LEAF_EXTENDED  7u
#define LEAF_XSAVE     0xdu
#define LEAF_AMD       0x80000001u
#define LEAF_ADDRESSES 0x80000008u

#define FEATURES_ECX_VMX     (1u << 5)
#define FEATURES_ECX_OSXSAVE (1u << 27)
#define FEATURES_ECX_RDRAND  (1u << 30)
#define EXTENDED_EBX_RDSEED  (1u << 18)
#define AMD_EDX_RDTSCP       (1u << 27)

enum vtx_feature_control vtx_feature_control_state(uint64_t value)
{
    if ((value & VMX_FEATURE_CONTROL_LOCK) == 0) {
        return VTX_FEATURE_UNLOCKED;
    }
    return (value & VMX_FEATURE_CONTROL_ENABLE) != 0 ? VTX_FEATURE_ENABLED : VTX_FEATURE_LOCKED_OFF;
}

bool vtx_is_supported(void)
{
    return (vtx_cpuid(LEAF_FEATURES, 0).ecx & FEATURES_ECX_VMX) != 0;
}

static enum vtx_status fail_without_vtx(struct error *error)
{
    return vtx_fail(
        VTX_NO_VTX, error,
        "the processor has no VT-x (CPUID leaf 1, ECX bit 5): an Intel processor with it is "
        "needed, and in a virtual machine one whose monitor passes it on");
}

enum vtx_status vtx_feature_control_enable(struct error *error)
{
    if (!vtx_is_supported()) {
        return fail_without_vtx(error);
    }
    uint64_t value = vtx_rdmsr(X86_MSR_IA32_FEATURE_CONTROL);
    switch (vtx_feature_control_state(value)) {
    case VTX_FEATURE_ENABLED:
        return VTX_OK;
    case VTX_FEATURE_UNLOCKED:
        vtx_wrmsr(X86_MSR_IA32_FEATURE_CONTROL,
                  value | VMX_FEATURE_CONTROL_LOCK | VMX_FEATURE_CONTROL_ENABLE);
        return VTX_OK;
    default:
        return vtx_fail(
            VTX_LOCKED_OFF, error,
            "the firmware has locked VT-x off (IA32_FEATURE_CONTROL: locked, bit 2 clear): "
            "enable virtualization in its setup and switch the machine off and on");
    }
}

/* ---- the capability MSRs ---- */

struct control_msrs {
    uint32_t plain, true_one; /* the same where there is no TRUE_ one */
};

static const struct control_msrs control_msrs[VTX_CONTROLS_COUNT] = {
    [VTX_CONTROLS_PIN_BASED] = {X86_MSR_IA32_VMX_PINBASED_CTLS,
                                X86_MSR_IA32_VMX_TRUE_PINBASED_CTLS},
    [VTX_CONTROLS_PRIMARY] = {X86_MSR_IA32_VMX_PROCBASED_CTLS,
                              X86_MSR_IA32_VMX_TRUE_PROCBASED_CTLS},
    [VTX_CONTROLS_SECONDARY] = {X86_MSR_IA32_VMX_PROCBASED_CTLS2, X86_MSR_IA32_VMX_PROCBASED_CTLS2},
    [VTX_CONTROLS_EXIT] = {X86_MSR_IA32_VMX_EXIT_CTLS, X86_MSR_IA32_VMX_TRUE_EXIT_CTLS},
    [VTX_CONTROLS_ENTRY] = {X86_MSR_IA32_VMX_ENTRY_CTLS, X86_MSR_IA32_VMX_TRUE_ENTRY_CTLS},
};

static void read_controls(struct vtx_capabilities *to)
{
    bool has_true = (to->basic & VMX_BASIC_TRUE_CONTROLS) != 0;
    for (unsigned int i = 0; i < VTX_CONTROLS_COUNT; i++) {
        bool secondary = i == VTX_CONTROLS_SECONDARY;
        if (secondary && (to->allowed[VTX_CONTROLS_PRIMARY].may & VMX_PRIMARY_SECONDARY) == 0) {
            continue; /* the MSR is not there */
        }
        const struct control_msrs *msrs = &control_msrs[i];
        uint64_t value = vtx_rdmsr(has_true ? msrs->true_one : msrs->plain);
        to->allowed[i] = (struct vtx_allowed){(uint32_t)value, (uint32_t)(value >> 32)};
    }
}

static bool may(const struct vtx_capabilities *of, enum vtx_controls controls, uint32_t control)
{
    return (of->allowed[controls].may & control) == control;
}

static void read_ept_vpid(struct vtx_capabilities *to)
{
    if (!may(to, VTX_CONTROLS_SECONDARY, VMX_SECONDARY_EPT) &&
        !may(to, VTX_CONTROLS_SECONDARY, VMX_SECONDARY_VPID)) {
        return; /* the MSR is not there */
    }
    to->ept_vpid = vtx_rdmsr(X86_MSR_IA32_VMX_EPT_VPID_CAP);
    to->has_ept_2m = (to->ept_vpid & VMX_EPT_2M) != 0;
    to->has_ept_1g = (to->ept_vpid & VMX_EPT_1G) != 0;
    to->has_execute_only = (to->ept_vpid & VMX_EPT_EXECUTE_ONLY) != 0;
    to->has_invept_single = (to->ept_vpid & VMX_EPT_INVEPT_SINGLE) != 0;
    to->has_vpid = may(to, VTX_CONTROLS_SECONDARY, VMX_SECONDARY_VPID) &&
                   (to->ept_vpid & VMX_VPID_INVVPID) != 0 &&
                   (to->ept_vpid & VMX_VPID_INVVPID_SINGLE) != 0;
}

static void read_processor(struct vtx_capabilities *to)
{
    struct cpuid_registers features = vtx_cpuid(LEAF_FEATURES, 0);
    uint32_t sizes = vtx_cpuid(LEAF_ADDRESSES, 0).eax;
    to->physical_address_bits = (uint8_t)sizes;
    to->linear_address_bits = (uint8_t)(sizes >> 8);
    to->has_rdtscp = (vtx_cpuid(LEAF_AMD, 0).edx & AMD_EDX_RDTSCP) != 0;
    to->has_rdrand = (features.ecx & FEATURES_ECX_RDRAND) != 0;
    to->has_rdseed = (vtx_cpuid(LEAF_EXTENDED, 0).ebx & EXTENDED_EBX_RDSEED) != 0;
    to->has_xsave = (features.ecx & FEATURES_ECX_OSXSAVE) != 0;
    if (to->has_xsave) {
        to->xcr0_host = vtx_cpuid(LEAF_XSAVE, 0).eax & (X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX);
    }
}

/* What the core cannot do without, besides EPT with 4-level tables and write-back memory. */
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

static enum vtx_status fail_missing(struct error *error, const char *what)
{
    struct text text = text_start(error->text, sizeof(error->text));
    text_put(&text, "this processor's VT-x lacks ");
    text_put(&text, what);
    text_put(&text, ", which Trapeze needs; use another engine on it");
    return VTX_MISSING;
}

enum vtx_status vtx_capabilities_read(struct vtx_capabilities *to, struct error *error)
{
    *to = (struct vtx_capabilities){0};
    if (!vtx_is_supported()) {
        return fail_without_vtx(error);
    }
    to->basic = vtx_rdmsr(X86_MSR_IA32_VMX_BASIC);
    to->revision = (uint32_t)(to->basic & VMX_BASIC_REVISION);
    to->misc = vtx_rdmsr(X86_MSR_IA32_VMX_MISC);
    to->cr0_fixed0 = vtx_rdmsr(X86_MSR_IA32_VMX_CR0_FIXED0);
    to->cr0_fixed1 = vtx_rdmsr(X86_MSR_IA32_VMX_CR0_FIXED1);
    to->cr4_fixed0 = vtx_rdmsr(X86_MSR_IA32_VMX_CR4_FIXED0);
    to->cr4_fixed1 = vtx_rdmsr(X86_MSR_IA32_VMX_CR4_FIXED1);
    to->timer_shift = (unsigned int)(to->misc & VMX_MISC_TIMER_SHIFT);
    read_controls(to);
    read_ept_vpid(to);
    read_processor(to);
    to->has_preemption_timer = may(to, VTX_CONTROLS_PIN_BASED, VMX_PIN_PREEMPTION_TIMER);
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (!may(to, needed[i].controls, needed[i].control)) {
            return fail_missing(error, needed[i].words);
        }
    }
    uint64_t tables = VMX_EPT_WALK_4 | VMX_EPT_WRITE_BACK | VMX_EPT_INVEPT;
    if ((to->ept_vpid & tables) != tables) {
        return fail_missing(error, "EPT with four levels, write-back memory and INVEPT");
    }
    if ((to->basic & VMX_BASIC_IO_INFORMATION) == 0) {
        return fail_missing(error, "information about INS and OUTS");
    }
    return VTX_OK;
}

/* ---- allowed settings ---- */

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
