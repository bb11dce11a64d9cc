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

/* What a field must be, besides. */
enum rule {
    NO_RPL_OR_TI, /* a selector with RPL = 0 and TI = 0 */
    NOT_NULL,     /* a selector of that kind that is not 0 */
    CANONICAL,
    CR0_BITS,
    CR4_BITS,
    PHYSICAL_PAGE, /* a physical address, 4 KiB aligned */
    PHYSICAL,      /* within the address width */
    EPT_POINTER,
    EVENT /* interruption information that may be injected */
};

static const char *const rule_words[] = {
    [NO_RPL_OR_TI] = "its RPL and TI must be 0",
    [NOT_NULL] = "must not be 0, and its RPL and TI must be 0",
    [CANONICAL] = "must be canonical",
    [CR0_BITS] = "must have the bits that VMX operation fixes in CR0",
    [CR4_BITS] = "must have the bits that VMX operation fixes in CR4",
    [PHYSICAL_PAGE] = "must be 4-KByte aligned and within the physical-address width",
    [PHYSICAL] = "must be within the physical-address width",
    [EPT_POINTER] = "must have a memory type and a walk length that the processor knows",
    [EVENT] = "must be an event with a type, a vector and an error code that fit",
};

struct field_rule {
    uint16_t encoding;
    uint8_t rule;  /* enum rule */
    uint8_t error; /* the VM-instruction error that it explains */
};

#define CONTROLS 7u
#define HOST     8u

static const struct field_rule field_rules[] = {
    {VMCS_EPT_POINTER, EPT_POINTER, CONTROLS},
    {VMCS_MSR_BITMAPS, PHYSICAL_PAGE, CONTROLS},
    {VMCS_IO_BITMAP_A, PHYSICAL_PAGE, CONTROLS},
    {VMCS_IO_BITMAP_B, PHYSICAL_PAGE, CONTROLS},
    {VMCS_VM_ENTRY_INTERRUPTION_INFORMATION, EVENT, CONTROLS},
    {VMCS_HOST_CR0, CR0_BITS, HOST},
    {VMCS_HOST_CR3, PHYSICAL, HOST},
    {VMCS_HOST_CR4, CR4_BITS, HOST},
    {VMCS_HOST_CS_SELECTOR, NOT_NULL, HOST},
    {VMCS_HOST_TR_SELECTOR, NOT_NULL, HOST},
    {VMCS_HOST_ES_SELECTOR, NO_RPL_OR_TI, HOST},
    {VMCS_HOST_SS_SELECTOR, NO_RPL_OR_TI, HOST},
    {VMCS_HOST_DS_SELECTOR, NO_RPL_OR_TI, HOST},
    {VMCS_HOST_FS_SELECTOR, NO_RPL_OR_TI, HOST},
    {VMCS_HOST_GS_SELECTOR, NO_RPL_OR_TI, HOST},
    {VMCS_HOST_FS_BASE, CANONICAL, HOST},
    {VMCS_HOST_GS_BASE, CANONICAL, HOST},
    {VMCS_HOST_TR_BASE, CANONICAL, HOST},
    {VMCS_HOST_GDTR_BASE, CANONICAL, HOST},
    {VMCS_HOST_IDTR_BASE, CANONICAL, HOST},
    {VMCS_HOST_IA32_SYSENTER_ESP, CANONICAL, HOST},
    {VMCS_HOST_IA32_SYSENTER_EIP, CANONICAL, HOST},
    {VMCS_HOST_RIP, CANONICAL, HOST},
};

/* "VM-Entry Controls for Event Injection" */
static bool is_event(uint64_t value)
{
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

static bool holds(const struct vtx_capabilities *capabilities, enum rule rule, uint64_t value)
{
    bool is_physical = value >> capabilities->physical_address_bits == 0;
    bool has_rpl_or_ti = (value & (X86_SELECTOR_RPL | X86_SELECTOR_TI)) != 0;
    switch (rule) {
    case NO_RPL_OR_TI:
        return !has_rpl_or_ti;
    case NOT_NULL:
        return value != 0 && !has_rpl_or_ti;
    case CANONICAL:
        return x86_is_canonical(value, capabilities->linear_address_bits);
    case CR0_BITS:
        return vtx_cr0_adjust(capabilities, value, false) == value;
    case CR4_BITS:
        return vtx_cr4_adjust(capabilities, value) == value;
    case PHYSICAL_PAGE:
        return is_physical && value % PAGE_BYTES == 0;
    case PHYSICAL:
        return is_physical;
    case EPT_POINTER:
        return is_physical &&
               (value & (PAGE_BYTES - 1)) == (VMX_EPT_POINTER_WALK_4 | EPT_WRITE_BACK);
    default:
        return is_event(value);
    }
}

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
        uint64_t value;
        if (row->error == error && reader->read(reader->context, row->encoding, &value) &&
            !holds(capabilities, (enum rule)row->rule, value)) {
            text_put(text, ": ");
            put_field(text, row->encoding, value);
            text_put(text, rule_words[row->rule]);
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
