#include "x86/vmcs_checks.h"

#include "x86/control_rules.h"
#include "x86/descriptor.h"
#include "x86/vmcs_fields.h"
#include "x86/vmx.h"

#define PAGE_BYTES     UINT64_C(4096)
#define EPT_WRITE_BACK 6u

/* "Checks on VM-Execution Control Fields" and so on: bits that the processor does not allow. */
static const struct {
    uint32_t encoding;
    enum vtx_controls controls;
} control_fields[] = {
    {VMCS_PIN_BASED_CONTROLS, VTX_CONTROLS_PIN_BASED},
    {VMCS_PRIMARY_CONTROLS, VTX_CONTROLS_PRIMARY},
    {VMCS_SECONDARY_CONTROLS, VTX_CONTROLS_SECONDARY},
    {VMCS_VM_EXIT_CONTROLS, VTX_CONTROLS_EXIT},
    {VMCS_VM_ENTRY_CONTROLS, VTX_CONTROLS_ENTRY},
};

#define CONTROLS 7u /* VM-instruction error numbers */
#define HOST     8u

/* ---- what a field must be, besides ---- */

struct question {
    const struct vmcs_reader *reader;
    const struct vtx_capabilities *capabilities;
    uint64_t value; /* of the field */
};

static uint64_t other(const struct question *question, uint32_t encoding)
{
    uint64_t value = 0;
    question->reader->read(question->reader->context, encoding, &value);
    return value;
}

/* "Checks on VM-Execution Control Fields": NMIs, the timer, EPT and VPID. */

static bool nmi_controls(const struct question *question)
{
    bool exits = (question->value & VMX_PIN_NMI) != 0;
    return exits || (question->value & VMX_PIN_VIRTUAL_NMIS) == 0;
}

static bool nmi_window(const struct question *question)
{
    bool is_virtual = (other(question, VMCS_PIN_BASED_CONTROLS) & VMX_PIN_VIRTUAL_NMIS) != 0;
    return is_virtual || (question->value & VMX_PRIMARY_NMI_WINDOW) == 0;
}

static bool unrestricted_guest(const struct question *question)
{
    bool has_ept = (question->value & VMX_SECONDARY_EPT) != 0;
    return has_ept || (question->value & VMX_SECONDARY_UNRESTRICTED_GUEST) == 0;
}

static bool saved_timer(const struct question *question)
{
    bool runs = (other(question, VMCS_PIN_BASED_CONTROLS) & VMX_PIN_PREEMPTION_TIMER) != 0;
    return runs || (question->value & VMX_EXIT_SAVE_TIMER) == 0;
}

static bool target_count(const struct question *question)
{
    return question->value <= (question->capabilities->misc >> 16 & 0x1ff);
}

static bool vpid(const struct question *question)
{
    uint64_t secondary = other(question, VMCS_SECONDARY_CONTROLS);
    return question->value != 0 || (secondary & VMX_SECONDARY_VPID) == 0;
}

static bool physical(const struct question *question)
{
    return question->value >> question->capabilities->physical_address_bits == 0;
}

static bool physical_page(const struct question *question)
{
    return physical(question) && question->value % PAGE_BYTES == 0;
}

static bool ept_pointer(const struct question *question)
{
    uint64_t attributes = question->value & (PAGE_BYTES - 1);
    return physical(question) && attributes == (VMX_EPT_POINTER_WALK_4 | EPT_WRITE_BACK);
}

/* "VM-Entry Controls for Event Injection" */
static bool event(const struct question *question)
{
    uint64_t value = question->value;
    uint32_t type = (uint32_t)(value & ENTRY_INTERRUPTION_TYPE) >> ENTRY_INTERRUPTION_TYPE_SHIFT;
    uint8_t vector = (uint8_t)value;
    bool exception = type == ENTRY_HARDWARE_EXCEPTION;
    if ((value & ENTRY_INTERRUPTION_VALID) == 0) {
        return true;
    }
    return type != 1 && (type != ENTRY_NMI || vector == X86_VECTOR_NMI) &&
           (!exception || vector < 32) && (value & UINT64_C(0x7ffff000)) == 0 &&
           (exception || (value & ENTRY_INTERRUPTION_ERROR) == 0);
}

/* "Checks on Host Control Registers, MSRs, and SSP", "… on Host Segment and Descriptor-Table …" */

static bool fixed_cr0(const struct question *question)
{
    return vtx_cr0_adjust(question->capabilities, question->value, false) == question->value;
}

static bool fixed_cr4(const struct question *question)
{
    return vtx_cr4_adjust(question->capabilities, question->value) == question->value;
}

static bool host_efer(const struct question *question)
{
    const uint64_t mode = X86_EFER_LME | X86_EFER_LMA;
    uint64_t exit = other(question, VMCS_VM_EXIT_CONTROLS);
    uint64_t expected = (exit & VMX_EXIT_HOST_64) != 0 ? mode : 0;
    bool is_valid = (question->value & ~(mode | X86_EFER_SCE | X86_EFER_NXE)) == 0;
    return (exit & VMX_EXIT_LOAD_EFER) == 0 || (is_valid && (question->value & mode) == expected);
}

static bool host_pat(const struct question *question)
{
    bool is_loaded = (other(question, VMCS_VM_EXIT_CONTROLS) & VMX_EXIT_LOAD_PAT) != 0;
    return !is_loaded || x86_are_memory_types(question->value, true);
}

static bool selector(const struct question *question)
{
    return (question->value & (X86_SELECTOR_RPL | X86_SELECTOR_TI)) == 0;
}

static bool selector_not_null(const struct question *question)
{
    return question->value != 0 && selector(question);
}

static bool canonical(const struct question *question)
{
    return x86_is_canonical(question->value, question->capabilities->linear_address_bits);
}

struct field_rule {
    uint16_t encoding;
    uint8_t error; /* the VM-instruction error that it explains */
    bool (*holds)(const struct question *question);
    const char *words;
};

#define PAGE_WORDS     "must be 4-KByte aligned and within the physical-address width"
#define SELECTOR_WORDS "must have RPL and TI 0"
#define NOT_NULL_WORDS "must not be 0, and must have RPL and TI 0"
#define ADDRESS_WORDS  "must be canonical"

static const struct field_rule field_rules[] = {
    {VMCS_PIN_BASED_CONTROLS, CONTROLS, nmi_controls, "must have NMI exiting for virtual NMIs"},
    {VMCS_PRIMARY_CONTROLS, CONTROLS, nmi_window, "must have virtual NMIs for the NMI window"},
    {VMCS_SECONDARY_CONTROLS, CONTROLS, unrestricted_guest, "must have EPT for unrestricted guest"},
    {VMCS_VM_EXIT_CONTROLS, CONTROLS, saved_timer,
     "must not save a preemption timer that does not run"},
    {VMCS_CR3_TARGET_COUNT, CONTROLS, target_count, "must not be larger than IA32_VMX_MISC allows"},
    {VMCS_VIRTUAL_PROCESSOR_IDENTIFIER, CONTROLS, vpid, "must not be 0 with VPIDs enabled"},
    {VMCS_EPT_POINTER, CONTROLS, ept_pointer,
     "must have a memory type and a walk length that the processor knows"},
    {VMCS_MSR_BITMAPS, CONTROLS, physical_page, PAGE_WORDS},
    {VMCS_IO_BITMAP_A, CONTROLS, physical_page, PAGE_WORDS},
    {VMCS_IO_BITMAP_B, CONTROLS, physical_page, PAGE_WORDS},
    {VMCS_VM_ENTRY_INTERRUPTION_INFORMATION, CONTROLS, event,
     "must be an event with a type, a vector and an error code that fit"},
    {VMCS_HOST_CR0, HOST, fixed_cr0, "must have the bits that VMX operation fixes in CR0"},
    {VMCS_HOST_CR3, HOST, physical, "must be within the physical-address width"},
    {VMCS_HOST_CR4, HOST, fixed_cr4, "must have the bits that VMX operation fixes in CR4"},
    {VMCS_HOST_IA32_EFER, HOST, host_efer,
     "must have LMA and LME as the host address-space size says, and no reserved bits"},
    {VMCS_HOST_IA32_PAT, HOST, host_pat, "must have memory types in all its bytes"},
    {VMCS_HOST_CS_SELECTOR, HOST, selector_not_null, NOT_NULL_WORDS},
    {VMCS_HOST_TR_SELECTOR, HOST, selector_not_null, NOT_NULL_WORDS},
    {VMCS_HOST_ES_SELECTOR, HOST, selector, SELECTOR_WORDS},
    {VMCS_HOST_SS_SELECTOR, HOST, selector, SELECTOR_WORDS},
    {VMCS_HOST_DS_SELECTOR, HOST, selector, SELECTOR_WORDS},
    {VMCS_HOST_FS_SELECTOR, HOST, selector, SELECTOR_WORDS},
    {VMCS_HOST_GS_SELECTOR, HOST, selector, SELECTOR_WORDS},
    {VMCS_HOST_FS_BASE, HOST, canonical, ADDRESS_WORDS},
    {VMCS_HOST_GS_BASE, HOST, canonical, ADDRESS_WORDS},
    {VMCS_HOST_TR_BASE, HOST, canonical, ADDRESS_WORDS},
    {VMCS_HOST_GDTR_BASE, HOST, canonical, ADDRESS_WORDS},
    {VMCS_HOST_IDTR_BASE, HOST, canonical, ADDRESS_WORDS},
    {VMCS_HOST_IA32_SYSENTER_ESP, HOST, canonical, ADDRESS_WORDS},
    {VMCS_HOST_IA32_SYSENTER_EIP, HOST, canonical, ADDRESS_WORDS},
    {VMCS_HOST_RIP, HOST, canonical, ADDRESS_WORDS},
};

/* ---- in words ---- */

static void put_field(struct text *text, uint32_t encoding, uint64_t value)
{
    const struct vmcs_field *field = vmcs_field_find(encoding);
    text_put(text, field != NULL ? field->name : "a field with no name");
    text_put(text, " (");
    text_put_hexadecimal(text, value, 1);
    text_put(text, ") ");
}

static bool explain_controls(const struct vmcs_reader *reader,
                             const struct vtx_capabilities *capabilities, struct text *text)
{
    for (size_t i = 0; i < sizeof(control_fields) / sizeof(control_fields[0]); i++) {
        const struct vtx_allowed *allowed = &capabilities->allowed[control_fields[i].controls];
        uint64_t value;
        if (!reader->read(reader->context, control_fields[i].encoding, &value)) {
            continue;
        }
        uint32_t clear = allowed->ones & ~(uint32_t)value, set = (uint32_t)value & ~allowed->may;
        if (clear != 0 || set != 0) {
            text_put(text, ": ");
            put_field(text, control_fields[i].encoding, value);
            text_put(text, clear != 0 ? "must have bits " : "must not have bits ");
            text_put_hexadecimal(text, clear != 0 ? clear : set, 1);
            return true;
        }
    }
    return false;
}

static bool explain_fields(const struct vmcs_reader *reader,
                           const struct vtx_capabilities *capabilities, uint32_t error,
                           struct text *text)
{
    for (size_t i = 0; i < sizeof(field_rules) / sizeof(field_rules[0]); i++) {
        const struct field_rule *row = &field_rules[i];
        struct question question = {reader, capabilities, 0};
        if (row->error == error && reader->read(reader->context, row->encoding, &question.value) &&
            !row->holds(&question)) {
            text_put(text, ": ");
            put_field(text, row->encoding, question.value);
            text_put(text, row->words);
            return true;
        }
    }
    return false;
}

bool vmcs_explain_refusal(const struct vmcs_reader *reader,
                          const struct vtx_capabilities *capabilities, uint32_t error,
                          struct text *text)
{
    return (error == CONTROLS && explain_controls(reader, capabilities, text)) ||
           explain_fields(reader, capabilities, error, text);
}

void vmcs_checks_processor(struct entry_processor *processor,
                           const struct vtx_capabilities *capabilities)
{
    processor->cr0_fixed0 = capabilities->cr0_fixed0;
    processor->cr0_fixed1 = capabilities->cr0_fixed1;
    processor->cr4_fixed0 = capabilities->cr4_fixed0;
    processor->cr4_fixed1 = capabilities->cr4_fixed1;
    processor->activity_states =
        (uint8_t)(capabilities->misc >> VMX_MISC_ACTIVITY_SHIFT & VMX_MISC_ACTIVITY_STATES);
    processor->vmcs_revision = capabilities->revision;
}
