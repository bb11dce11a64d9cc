/* Why an entry failed, in words. */
#include "vtx/core/internal.h"
#include "x86/vmcs_checks.h"
#include "x86/vmx_text.h"

/* ---- the guest state ---- */

static void read_processor(const struct vtx_vcpu *vcpu, struct entry_processor *processor)
{
    entry_processor_init(processor);
    entry_processor_from_cpuid(processor, vtx_cpuid(7, 0), vtx_cpuid(7, 1),
                               vtx_cpuid(0x80000008, 0));
    vmcs_checks_processor(processor, vcpu->vm->capabilities);
    processor->current_vmcs = vcpu->vmcs.physical;
}

/* Fields that this processor does not have are 0, and no failure. */
static void read_guest_state(struct vtx_vcpu *vcpu)
{
    struct entry_guest_state *state = &vcpu->entry_state;
    read_processor(vcpu, &state->processor);
    for (unsigned int id = ENTRY_FIELD_NONE + 1; id < ENTRY_FIELD_COUNT; id++) {
        const struct entry_field *field = &entry_fields[id];
        for (unsigned int k = 0; k < entry_instance_count(field->instances); k++) {
            uint64_t value = 0;
            if (field->encoding != 0) {
                vtx_vmread(field->encoding + k * ENTRY_ENCODING_STRIDE, &value);
                entry_field_set(state, (enum entry_field_id)id, k, value);
            }
        }
    }
}

void vtx_explain_entry(struct vtx_vcpu *vcpu, uint32_t reason, uint64_t qualification, char *words,
                       size_t size)
{
    char brief[128];
    struct text text = text_start(words, size);
    text_put(&text, vmx_reason_name(reason & VMX_REASON_BASIC));
    if ((reason & VMX_REASON_BASIC) != VMX_REASON_ENTRY_GUEST_STATE) {
        text_put(&text, ", entry ");
        text_put_decimal(&text, qualification);
        return;
    }
    read_guest_state(vcpu);
    if (entry_checks_run(&vcpu->entry_state, &vcpu->violation, 1) == 0) {
        text_put(&text, "; no rule known here is broken; exit qualification ");
        text_put_hexadecimal(&text, qualification, 1);
        return;
    }
    entry_violation_brief(&vcpu->violation, brief, sizeof(brief));
    text_put(&text, ": ");
    text_put(&text, brief);
}

static bool read_field(void *context, uint32_t encoding, uint64_t *value)
{
    (void)context;
    return vtx_vmread(encoding, value) == VTX_SUCCEED;
}

void vtx_explain_failure(struct vtx_vcpu *vcpu, enum vtx_result result, uint32_t number,
                         char *words, size_t size)
{
    struct text text = text_start(words, size);
    text_put(&text, vcpu->launched ? "VMRESUME" : "VMLAUNCH");
    if (result == VTX_FAIL_INVALID) {
        text_put(&text, " failed: no VMCS is current on this processor");
        return;
    }
    text_put(&text, " failed with error ");
    text_put_decimal(&text, number);
    text_put(&text, ", ");
    text_put(&text, vmx_instruction_error(number));
    const struct vmcs_reader reader = {.read = read_field};
    vmcs_explain_refusal(&reader, vcpu->vm->capabilities, number, &text);
}

void vtx_explain_field(const struct vtx_vcpu *vcpu, struct text *text)
{
    if (vcpu->failed_field != 0) {
        const struct vmcs_field *field = vmcs_field_find(vcpu->failed_field - 1);
        text_put(text, "the processor does not let the VMCS field ");
        text_put_hexadecimal(text, vcpu->failed_field - 1, 4);
        text_put(text, " be read or written: ");
        text_put(text, field != NULL ? field->name : "one with no name");
    }
}
