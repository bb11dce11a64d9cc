/*
 * States and controls that VM entry refuses: each is told by the rule that it breaks, and the vCPU
 * runs on once it is mended.
 *
 * Source: Intel SDM volume 3, "VM-Entry Checks", "VM-Instruction Error Numbers".
 */
#include <string.h>

#include "vtx/bare/console.h"
#include "vtx/bare/small_guests.h"
#include "vtx/core/hardware.h"
#include "x86/vmcs_fields.h"
#include "x86/vmx_text.h"

SMALL_GUEST_CODE(exception);

/* A field of a guest in 64-bit mode, which bits of it are flipped, and the rule that this breaks.
 */
struct refusal {
    const char *words; /* of guest state the rule, as `trapeze check-state` names it */
    uint32_t field;
    uint64_t flip;
};

static const struct refusal refusals[] = {
    {"rflags-one", VMCS_GUEST_RFLAGS, 0x2},
    {"rflags-reserved", VMCS_GUEST_RFLAGS, 0x8000},
    {"base-virtual-8086", VMCS_GUEST_RFLAGS, 0x20000}, /* and rflags-vm */
    {"cs-type", VMCS_GUEST_CS_ACCESS_RIGHTS, 0x1},
    {"access-rights-s", VMCS_GUEST_CS_ACCESS_RIGHTS, 0x10},
    {"access-rights-p", VMCS_GUEST_DS_ACCESS_RIGHTS, 0x80},
    {"access-rights-reserved-low", VMCS_GUEST_ES_ACCESS_RIGHTS, 0x100},
    {"cs-db-with-l", VMCS_GUEST_CS_ACCESS_RIGHTS, 0x4000},
    {"limit-needs-g-clear", VMCS_GUEST_DS_LIMIT, 0xfff},
    {"tr-type", VMCS_GUEST_TR_ACCESS_RIGHTS, 0x8},
    {"tr-usable", VMCS_GUEST_TR_ACCESS_RIGHTS, 0x10000},
    {"selector-ti", VMCS_GUEST_TR_SELECTOR, 0x4},
    {"base-canonical", VMCS_GUEST_FS_BASE, UINT64_C(0x4000000000000000)},
    {"table-base-canonical", VMCS_GUEST_GDTR_BASE, UINT64_C(0x4000000000000000)},
    {"table-limit-high", VMCS_GUEST_IDTR_LIMIT, 0x10000},
    {"cr3-width", VMCS_GUEST_CR3, UINT64_C(0x4000000000000000)},
    {"ia32e-needs-pae", VMCS_GUEST_CR4, 0x20},
    {"efer-lma-is-ia32e", VMCS_GUEST_IA32_EFER, 0x400},
    {"efer-reserved", VMCS_GUEST_IA32_EFER, 0x2},
    {"activity-known", VMCS_GUEST_ACTIVITY_STATE, 0x8},
    {"interruptibility-reserved", VMCS_GUEST_INTERRUPTIBILITY_STATE, 0x100},
    {"blocking-one-shadow", VMCS_GUEST_INTERRUPTIBILITY_STATE, 0x3},
    {"pending-reserved", VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, 0x10},
    {"link-aligned", VMCS_VMCS_LINK_POINTER, UINT64_C(0xfffffffffffff00f)},
    {"sysenter-eip-canonical", VMCS_GUEST_IA32_SYSENTER_EIP, UINT64_C(0x4000000000000000)},
};

/* Likewise of the controls and the host state, which fail VMLAUNCH and VMRESUME themselves. */
static const struct refusal failures[] = {
    {"Host CR0", VMCS_HOST_CR0, UINT64_C(0x80000000)},
    {"Host CR4", VMCS_HOST_CR4, 0x2000},
    {"Host CS selector", VMCS_HOST_CS_SELECTOR, 0x3},
    {"Host TR selector", VMCS_HOST_TR_SELECTOR, 0x20},
    {"Host FS base", VMCS_HOST_FS_BASE, UINT64_C(0x4000000000000000)},
    {"Host RIP", VMCS_HOST_RIP, UINT64_C(0x4000000000000000)},
    {"invalid host-state", VMCS_HOST_IA32_EFER, 0x2},
    {"Pin-based", VMCS_PIN_BASED_CONTROLS, 0x2},
    {"Primary proc", VMCS_PRIMARY_CONTROLS, 0x2},
    {"Secondary proc", VMCS_SECONDARY_CONTROLS, 0x80000000},
    {"VM-exit controls", VMCS_VM_EXIT_CONTROLS, 0x1},
    {"VM-entry controls", VMCS_VM_ENTRY_CONTROLS, 0x1},
    {"invalid control", VMCS_CR3_TARGET_COUNT, 0x5},
    {"Address of I/O bitmap A", VMCS_IO_BITMAP_A, 0x1},
    {"Address of MSR bitmaps", VMCS_MSR_BITMAPS, 0x1},
    {"EPT pointer", VMCS_EPT_POINTER, 0x1},
    {"invalid control", VMCS_VIRTUAL_PROCESSOR_IDENTIFIER, 0x2},
    {"VM-entry interruption-information", VMCS_VM_ENTRY_INTERRUPTION_INFORMATION, 0x80000121},
};

static void check_refusal(struct small_test *test, const struct refusal *refusal)
{
    static struct small_guest guest;
    struct vcpu_exit *exit = &guest.vcpu.exit;
    uint64_t value = 0;
    if (!small_guest_make(&guest, test, SMALL_GUEST(exception), BOOT_MODE_LONG)) {
        return;
    }
    small_guest_start(&guest);
    small_guest_expect_out(&guest, 0x10, 0);
    vtx_vcpu_complete(&guest.vcpu);
    vtx_vmread(refusal->field, &value);
    vtx_vmwrite(refusal->field, value ^ refusal->flip);
    enum vtx_outcome outcome = small_guest_run(&guest);
    if (outcome != VTX_EXIT || exit->reason != EXIT_ENTRY_FAILED) {
        small_test_fail(test, "%s: the entry is not refused", refusal->words);
    } else if (strstr(exit->entry_failed.text, refusal->words) == NULL) {
        small_test_fail(test, "%s: told as: %s", refusal->words, exit->entry_failed.text);
    } else {
        print("refused: %s\n", exit->entry_failed.text);
    }
    vtx_vmwrite(refusal->field, value);
    small_guest_expect_out(&guest, 0x11, 0);
    small_guest_end(&guest);
}

static void test_guest_states(struct small_test *test)
{
    for (unsigned int i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        check_refusal(test, &refusals[i]);
    }
}

static void test_failures(struct small_test *test)
{
    for (unsigned int i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        check_refusal(test, &failures[i]);
    }
}

static const struct small_test_entry entries[] = {
    {.name = "refused-states", .alone = test_guest_states},
    {.name = "refused-controls", .alone = test_failures},
};

const struct small_test_table small_tests_refusals = {entries,
                                                      sizeof(entries) / sizeof(entries[0])};
