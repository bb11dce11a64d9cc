/* VT-x: what is there, whether it may be used, root mode, and which settings controls may have. */
#include <string.h>

#include "check.h"
#include "vtx/core/cpu.h"
#include "vtx_fake.h"
#include "x86/msr.h"

static struct vtx_capabilities capabilities;
static struct error error;

static bool says(const char *words)
{
    return strstr(error.text, words) != NULL;
}

static void test_feature_control(void)
{
    CHECK_EQUAL(vtx_feature_control_state(0), VTX_FEATURE_UNLOCKED);
    CHECK_EQUAL(vtx_feature_control_state(4), VTX_FEATURE_UNLOCKED);
    CHECK_EQUAL(vtx_feature_control_state(1), VTX_FEATURE_LOCKED_OFF);
    CHECK_EQUAL(vtx_feature_control_state(3), VTX_FEATURE_LOCKED_OFF); /* inside SMX only */
    CHECK_EQUAL(vtx_feature_control_state(5), VTX_FEATURE_ENABLED);

    fake_reset();
    CHECK_EQUAL(vtx_feature_control_enable(&error), VTX_OK);
    CHECK_EQUAL(fake_msr(X86_MSR_IA32_FEATURE_CONTROL), 5);
    fake_set_msr(X86_MSR_IA32_FEATURE_CONTROL, 0xff00); /* unlocked: other bits stay */
    CHECK_EQUAL(vtx_feature_control_enable(&error), VTX_OK);
    CHECK_EQUAL(fake_msr(X86_MSR_IA32_FEATURE_CONTROL), 0xff05);
    fake_set_msr(X86_MSR_IA32_FEATURE_CONTROL, 1);
    CHECK_EQUAL(vtx_feature_control_enable(&error), VTX_LOCKED_OFF);
    CHECK(says("firmware") && says("IA32_FEATURE_CONTROL"));
    CHECK_EQUAL(fake_msr(X86_MSR_IA32_FEATURE_CONTROL), 1);
}

static void test_no_vtx(void)
{
    fake_reset();
    CHECK(vtx_is_supported());
    fake.features.ecx &= ~(1u << 5);
    CHECK(!vtx_is_supported());
    fake.msr_count = 0; /* nothing may be read then */
    CHECK_EQUAL(vtx_feature_control_enable(&error), VTX_NO_VTX);
    CHECK_EQUAL(vtx_capabilities_read(&capabilities, &error), VTX_NO_VTX);
    CHECK(says("no VT-x"));
    CHECK_EQUAL(fake.unknown_msrs, 0);
}

static void test_read(void)
{
    fake_reset();
    CHECK_EQUAL(vtx_capabilities_read(&capabilities, &error), VTX_OK);
    CHECK_EQUAL(capabilities.revision, 0x2b);
    CHECK_EQUAL(capabilities.physical_address_bits, 39);
    CHECK_EQUAL(capabilities.linear_address_bits, 48);
    CHECK(capabilities.has_ept_2m && capabilities.has_ept_1g && capabilities.has_vpid);
    CHECK(capabilities.has_preemption_timer && capabilities.has_xsave && capabilities.has_rdtscp);
    CHECK_EQUAL(capabilities.xcr0_host, 7);
    /* Without TRUE_ controls the plain ones count, with more bits that must be 1. */
    CHECK_EQUAL(capabilities.allowed[VTX_CONTROLS_PRIMARY].ones, 0x04006172);
    fake_set_msr(X86_MSR_IA32_VMX_BASIC,
                 fake_msr(X86_MSR_IA32_VMX_BASIC) & ~VMX_BASIC_TRUE_CONTROLS);
    CHECK_EQUAL(vtx_capabilities_read(&capabilities, &error), VTX_OK);
    CHECK_EQUAL(capabilities.allowed[VTX_CONTROLS_PRIMARY].ones, 0x0401e172);
    CHECK_EQUAL(fake.unknown_msrs, 0);
}

static void clear_allowed(uint32_t msr, uint32_t control)
{
    fake_set_msr(msr, fake_msr(msr) & ~((uint64_t)control << 32));
}

static void test_missing(void)
{
    static const struct {
        uint32_t msr, control;
        const char *words;
    } rows[] = {
        {X86_MSR_IA32_VMX_TRUE_PROCBASED_CTLS, VMX_PRIMARY_SECONDARY, "secondary"},
        {X86_MSR_IA32_VMX_PROCBASED_CTLS2, VMX_SECONDARY_EPT, "EPT"},
        {X86_MSR_IA32_VMX_PROCBASED_CTLS2, VMX_SECONDARY_UNRESTRICTED_GUEST, "unrestricted guest"},
        {X86_MSR_IA32_VMX_TRUE_PROCBASED_CTLS, VMX_PRIMARY_MSR_BITMAPS, "MSR bitmaps"},
        {X86_MSR_IA32_VMX_TRUE_PINBASED_CTLS, VMX_PIN_VIRTUAL_NMIS, "virtual NMIs"},
        {X86_MSR_IA32_VMX_TRUE_EXIT_CTLS, VMX_EXIT_HOST_64, "64-bit host"},
        {X86_MSR_IA32_VMX_TRUE_EXIT_CTLS, VMX_EXIT_LOAD_EFER, "EFER"},
        {X86_MSR_IA32_VMX_TRUE_ENTRY_CTLS, ENTRY_LOAD_EFER, "EFER"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fake_reset();
        clear_allowed(rows[i].msr, rows[i].control);
        CHECK_EQUAL(vtx_capabilities_read(&capabilities, &error), VTX_MISSING);
        CHECK(says(rows[i].words));
    }
    fake_reset();
    fake_set_msr(X86_MSR_IA32_VMX_EPT_VPID_CAP, VMX_EPT_WRITE_BACK | VMX_EPT_INVEPT);
    CHECK_EQUAL(vtx_capabilities_read(&capabilities, &error), VTX_MISSING);
    CHECK(says("four levels"));
    fake_reset();
    fake_set_msr(X86_MSR_IA32_VMX_BASIC,
                 fake_msr(X86_MSR_IA32_VMX_BASIC) & ~VMX_BASIC_IO_INFORMATION);
    CHECK_EQUAL(vtx_capabilities_read(&capabilities, &error), VTX_MISSING);
    CHECK(says("INS and OUTS"));
}

/* Each of the 32 controls: forced to 1, free, not allowed; required or optional. */
static void test_adjust(void)
{
    struct vtx_allowed *allowed = &capabilities.allowed[VTX_CONTROLS_PRIMARY];
    for (unsigned int bit = 0; bit < 32; bit++) {
        uint32_t control = 1u << bit, result, missing;
        *allowed = (struct vtx_allowed){control, control};
        CHECK(vtx_adjust_controls(&capabilities, VTX_CONTROLS_PRIMARY, 0, 0, &result, &missing));
        CHECK_EQUAL(result, control);
        *allowed = (struct vtx_allowed){0, control};
        CHECK(vtx_adjust_controls(&capabilities, VTX_CONTROLS_PRIMARY, 0, 0, &result, &missing));
        CHECK_EQUAL(result, 0);
        CHECK(vtx_adjust_controls(&capabilities, VTX_CONTROLS_PRIMARY, control, 0, &result,
                                  &missing));
        CHECK_EQUAL(result, control);
        CHECK(vtx_adjust_controls(&capabilities, VTX_CONTROLS_PRIMARY, 0, control, &result,
                                  &missing));
        CHECK_EQUAL(result, control);
        *allowed = (struct vtx_allowed){0, ~control};
        CHECK(vtx_adjust_controls(&capabilities, VTX_CONTROLS_PRIMARY, 0, control, &result,
                                  &missing));
        CHECK_EQUAL(result, 0);
        CHECK(!vtx_adjust_controls(&capabilities, VTX_CONTROLS_PRIMARY, control, 0, &result,
                                   &missing));
        CHECK_EQUAL(missing, control);
    }
}

static void test_fixed_bits(void)
{
    fake_reset();
    vtx_capabilities_read(&capabilities, &error);
    CHECK_EQUAL(vtx_cr0_adjust(&capabilities, 0, false), 0x80000021);
    CHECK_EQUAL(vtx_cr0_adjust(&capabilities, 0, true), 0x20);
    CHECK_EQUAL(vtx_cr0_adjust(&capabilities, UINT64_C(0x100000000), true), 0x20);
    CHECK_EQUAL(vtx_cr4_adjust(&capabilities, 0), 0x2000);
    CHECK_EQUAL(vtx_cr4_adjust(&capabilities, UINT64_MAX), 0x3767ff);
}

static void test_root_mode(void)
{
    struct vtx_cpu cpu;
    fake_reset();
    vtx_capabilities_read(&capabilities, &error);
    fake_pages_left = 0;
    CHECK_EQUAL(vtx_cpu_prepare(&cpu, &fake_host, &capabilities, &error), VTX_NO_MEMORY);
    fake_pages_left = 1;
    CHECK_EQUAL(vtx_cpu_prepare(&cpu, &fake_host, &capabilities, &error), VTX_OK);
    uint32_t revision;
    memcpy(&revision, cpu.region.at, sizeof(revision));
    CHECK_EQUAL(revision, 0x2b);

    uint64_t cr0 = fake.cr0, cr4 = fake.cr4;
    CHECK_EQUAL(vtx_cpu_enter(&cpu, &error), VTX_OK);
    CHECK(fake.in_root && (fake.cr4 & X86_CR4_VMXE) != 0);
    CHECK_EQUAL(vtx_cpu_enter(&cpu, &error), VTX_ALREADY_ROOT);
    CHECK(says("already"));
    vtx_cpu_leave(&cpu);
    CHECK(!fake.in_root);
    CHECK_EQUAL(fake.cr0, cr0);
    CHECK_EQUAL(fake.cr4, cr4);

    /* Somebody else has CR4.VMXE; VT-x is locked off; VMXON fails: nothing is left changed. */
    fake.cr4 = cr4 | X86_CR4_VMXE;
    CHECK_EQUAL(vtx_cpu_enter(&cpu, &error), VTX_ALREADY_ROOT);
    fake.cr4 = cr4;
    fake_set_msr(X86_MSR_IA32_FEATURE_CONTROL, 1);
    CHECK_EQUAL(vtx_cpu_enter(&cpu, &error), VTX_LOCKED_OFF);
    fake_set_msr(X86_MSR_IA32_FEATURE_CONTROL, 0);
    fake.vmxon_result = VTX_FAIL_INVALID;
    CHECK_EQUAL(vtx_cpu_enter(&cpu, &error), VTX_FAILED);
    CHECK(says("VMXON"));
    CHECK_EQUAL(fake.cr4, cr4);
    vtx_cpu_leave(&cpu); /* never entered: nothing happens */
    CHECK_EQUAL(fake.cr4, cr4);
    vtx_cpu_release(&cpu);
    CHECK_EQUAL(fake_pages_in_use, 0);
}

int main(void)
{
    test_feature_control();
    test_no_vtx();
    test_read();
    test_missing();
    test_adjust();
    test_fixed_bits();
    test_root_mode();
    return check_summary();
}
