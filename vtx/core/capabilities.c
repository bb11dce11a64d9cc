#include "vtx/core/capabilities.h"

#include "base/text.h"
#include "vtx/core/hardware.h"
#include "x86/msr.h"
#include "x86/vmx.h"

#define LEAF_FEATURES    1u
#define FEATURES_ECX_VMX (1u << 5)

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
    if (!vtx_is_supported()) {
        return fail_without_vtx(error);
    }
    vmx_capabilities_from(to, vtx_rdmsr, vtx_cpuid);
    const char *missing = vmx_missing(to);
    return missing != NULL ? fail_missing(error, missing) : VTX_OK;
}
