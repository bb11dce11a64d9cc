#include "vtx/core/capabilities.h"

#include <stddef.h>

#include "base/text.h"
#include "vtx/core/hardware.h"
#include "x86/entry_state.h"
#include "x86/msr.h"
#include "x86/vmx.h"

#define LEAF_FEATURES  1u
#define LEAF_XSAVE     0xdu
#define LEAF_AMD       0x80000001u
#define LEAF_ADDRESSES 0x80000008u

#define FEATURES_ECX_VMX     (1u << 5)
#define FEATURES_ECX_OSXSAVE (1u << 27)
#define AMD_EDX_RDTSCP       (1u << 27)

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

static void read_controls(struct vtx_capabilities *to)
{
    bool has_true = (to->basic & VMX_BASIC_TRUE_CONTROLS) != 0;
    for (unsigned int i = 0; i < VTX_CONTROLS_COUNT; i++) {
        bool secondary = i == VTX_CONTROLS_SECONDARY;
        if (secondary && (to->allowed[VTX_CONTROLS_PRIMARY].may & VMX_PRIMARY_SECONDARY) == 0) {
            continue; /* the MSR is not there */
        }
        uint64_t value = vtx_rdmsr(vmx_controls_msr((enum vtx_controls)i, has_true));
        to->allowed[i] = (struct vtx_allowed){(uint32_t)value, (uint32_t)(value >> 32)};
    }
}

static void read_ept_vpid(struct vtx_capabilities *to)
{
    if (!vmx_may(to, VTX_CONTROLS_SECONDARY, VMX_SECONDARY_EPT) &&
        !vmx_may(to, VTX_CONTROLS_SECONDARY, VMX_SECONDARY_VPID)) {
        return; /* the MSR is not there */
    }
    to->ept_vpid = vtx_rdmsr(X86_MSR_IA32_VMX_EPT_VPID_CAP);
    to->has_ept_2m = (to->ept_vpid & VMX_EPT_2M) != 0;
    to->has_ept_1g = (to->ept_vpid & VMX_EPT_1G) != 0;
    to->has_execute_only = (to->ept_vpid & VMX_EPT_EXECUTE_ONLY) != 0;
    to->has_invept_single = (to->ept_vpid & VMX_EPT_INVEPT_SINGLE) != 0;
    to->has_vpid = vmx_may(to, VTX_CONTROLS_SECONDARY, VMX_SECONDARY_VPID) &&
                   (to->ept_vpid & VMX_VPID_INVVPID) != 0 &&
                   (to->ept_vpid & VMX_VPID_INVVPID_SINGLE) != 0;
}

static void read_processor(struct vtx_capabilities *to)
{
    uint32_t sizes = vtx_cpuid(LEAF_ADDRESSES, 0).eax;
    to->physical_address_bits = (uint8_t)sizes;
    to->linear_address_bits = (uint8_t)(sizes >> 8);
    to->has_rdtscp = (vtx_cpuid(LEAF_AMD, 0).edx & AMD_EDX_RDTSCP) != 0;
    to->has_xsave = (vtx_cpuid(LEAF_FEATURES, 0).ecx & FEATURES_ECX_OSXSAVE) != 0;
    if (to->has_xsave) {
        to->xcr0_host = vtx_cpuid(LEAF_XSAVE, 0).eax & (X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX);
    }
}

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
    to->has_preemption_timer = vmx_may(to, VTX_CONTROLS_PIN_BASED, VMX_PIN_PREEMPTION_TIMER);
    const char *missing = vmx_missing(to);
    return missing != NULL ? fail_missing(error, missing) : VTX_OK;
}
