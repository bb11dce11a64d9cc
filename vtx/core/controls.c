/* Which instructions and events of the guest exit: the two policies, as VMX controls. */
#include "base/text.h"
#include "vtx/core/internal.h"
#include "x86/entry_state.h"

/*
 * What a policy wants of one field of controls. The core cannot do without the required ones. Under
 * VTX_TRAP_ALL those of trap_all are required, and those of trap_all_optional are taken.
 */
struct wish {
    enum vtx_controls controls;
    uint32_t encoding;
    uint32_t required, optional, trap_all, trap_all_optional;
};

static const struct wish wishes[VTX_CONTROLS_COUNT] = {
    {.controls = VTX_CONTROLS_PIN_BASED,
     .encoding = VMCS_PIN_BASED_CONTROLS,
     .required = VMX_PIN_EXTERNAL_INTERRUPT | VMX_PIN_NMI | VMX_PIN_VIRTUAL_NMIS},
    {.controls = VTX_CONTROLS_PRIMARY,
     .encoding = VMCS_PRIMARY_CONTROLS,
     .required = VMX_PRIMARY_TSC_OFFSETTING | VMX_PRIMARY_HLT | VMX_PRIMARY_MWAIT |
                 VMX_PRIMARY_RDPMC | VMX_PRIMARY_CR8_LOAD | VMX_PRIMARY_CR8_STORE |
                 VMX_PRIMARY_MSR_BITMAPS | VMX_PRIMARY_MONITOR | VMX_PRIMARY_SECONDARY,
     .trap_all = VMX_PRIMARY_INVLPG | VMX_PRIMARY_RDTSC | VMX_PRIMARY_CR3_LOAD |
                 VMX_PRIMARY_CR3_STORE | VMX_PRIMARY_MOV_DR | VMX_PRIMARY_IO | VMX_PRIMARY_PAUSE},
    {.controls = VTX_CONTROLS_SECONDARY,
     .encoding = VMCS_SECONDARY_CONTROLS,
     .required = VMX_SECONDARY_EPT | VMX_SECONDARY_UNRESTRICTED_GUEST,
     .optional = VMX_SECONDARY_RDTSCP | VMX_SECONDARY_WBINVD | VMX_SECONDARY_INVPCID,
     .trap_all_optional =
         VMX_SECONDARY_DESCRIPTOR_TABLES | VMX_SECONDARY_RDRAND | VMX_SECONDARY_RDSEED},
    {.controls = VTX_CONTROLS_EXIT,
     .encoding = VMCS_VM_EXIT_CONTROLS,
     .required =
         VMX_EXIT_SAVE_DEBUG_CONTROLS | VMX_EXIT_HOST_64 | VMX_EXIT_SAVE_EFER | VMX_EXIT_LOAD_EFER,
     .optional = VMX_EXIT_SAVE_PAT | VMX_EXIT_LOAD_PAT},
    {.controls = VTX_CONTROLS_ENTRY,
     .encoding = VMCS_VM_ENTRY_CONTROLS,
     .required = ENTRY_LOAD_DEBUG_CONTROLS | ENTRY_LOAD_EFER,
     .optional = ENTRY_LOAD_PAT},
};

static enum vtx_status fail_missing(const struct wish *wish, uint32_t missing, struct error *error)
{
    struct text text = text_start(error->text, sizeof(error->text));
    text_put(&text, "this processor does not offer bits ");
    text_put_hexadecimal(&text, missing, 1);
    text_put(&text, " of the ");
    text_put(&text, vmcs_field_find(wish->encoding)->name);
    text_put(&text, ", which Trapeze needs");
    return VTX_MISSING;
}

enum vtx_status vtx_choose_controls(struct vtx_vcpu *vcpu, struct error *error)
{
    const struct vtx_vm *vm = vcpu->vm;
    for (unsigned int i = 0; i < VTX_CONTROLS_COUNT; i++) {
        const struct wish *wish = &wishes[i];
        uint32_t required = wish->required, optional = wish->optional, missing;
        if (vm->policy == VTX_TRAP_ALL) {
            required |= wish->trap_all;
            optional |= wish->trap_all_optional;
        } else if (wish->controls == VTX_CONTROLS_PRIMARY) {
            required |= VMX_PRIMARY_IO_BITMAPS;
        }
        if (wish->controls == VTX_CONTROLS_SECONDARY && vcpu->vpid != 0 &&
            vm->capabilities->has_vpid) {
            optional |= VMX_SECONDARY_VPID;
        }
        if (!vtx_adjust_controls(vm->capabilities, wish->controls, required, optional,
                                 &vcpu->controls[wish->controls], &missing)) {
            return fail_missing(wish, missing, error);
        }
    }
    if ((vcpu->controls[VTX_CONTROLS_SECONDARY] & VMX_SECONDARY_VPID) == 0) {
        vcpu->vpid = 0;
    }
    return VTX_OK;
}

void vtx_set_controls(struct vtx_vcpu *vcpu, enum vtx_controls controls, uint32_t bits, bool on)
{
    uint32_t *now = &vcpu->controls[controls];
    uint32_t wanted = on ? *now | bits : *now & ~bits;
    if (wanted != *now) {
        *now = wanted;
        vtx_set(vcpu, wishes[controls].encoding, wanted);
    }
}

/*
 * The exceptions that exit. Machine checks are the host's. #DB and #AC can make a guest's delivery
 * of exceptions one that never ends, in which the processor looks for no interrupt: the exit ends
 * it. They are passed on, as is all the rest where a monitor traps all.
 */
static uint32_t exception_bitmap(enum vtx_policy policy)
{
    const uint32_t always = 1u << X86_VECTOR_MC | 1u << X86_VECTOR_DB | 1u << X86_VECTOR_AC;
    return policy == VTX_TRAP_ALL ? UINT32_MAX : always;
}

void vtx_write_controls(struct vtx_vcpu *vcpu)
{
    static const uint16_t zeroes[] = {
        VMCS_PAGE_FAULT_ERROR_CODE_MASK,
        VMCS_PAGE_FAULT_ERROR_CODE_MATCH,
        VMCS_CR3_TARGET_COUNT,
        VMCS_VM_EXIT_MSR_STORE_COUNT,
        VMCS_VM_EXIT_MSR_LOAD_COUNT,
        VMCS_VM_ENTRY_MSR_LOAD_COUNT,
        VMCS_VM_ENTRY_INTERRUPTION_INFORMATION,
        VMCS_VM_ENTRY_EXCEPTION_ERROR_CODE,
        VMCS_VM_ENTRY_INSTRUCTION_LENGTH,
    };
    const struct vtx_vm *vm = vcpu->vm;
    for (unsigned int i = 0; i < VTX_CONTROLS_COUNT; i++) {
        vtx_set(vcpu, wishes[i].encoding, vcpu->controls[wishes[i].controls]);
    }
    for (unsigned int i = 0; i < sizeof(zeroes) / sizeof(zeroes[0]); i++) {
        vtx_set(vcpu, zeroes[i], 0);
    }
    vtx_set(vcpu, VMCS_EXCEPTION_BITMAP, exception_bitmap(vm->policy));
    vtx_set(vcpu, VMCS_EPT_POINTER, vm->ept.pointer);
    vtx_set(vcpu, VMCS_MSR_BITMAPS, vm->msr_bitmap.physical);
    vtx_set(vcpu, VMCS_IO_BITMAP_A, vm->io_bitmap_a.physical);
    vtx_set(vcpu, VMCS_IO_BITMAP_B, vm->io_bitmap_b.physical);
    vtx_set(vcpu, VMCS_TSC_OFFSET, vcpu->tsc_offset);
    vtx_set(vcpu, VMCS_VMCS_LINK_POINTER, ENTRY_NO_VMCS_LINK);
    if (vcpu->vpid != 0) {
        vtx_set(vcpu, VMCS_VIRTUAL_PROCESSOR_IDENTIFIER, vcpu->vpid);
    }
    vtx_vcpu_set_views(vcpu, &(struct vtx_register_view){0}, &(struct vtx_register_view){0});
}
