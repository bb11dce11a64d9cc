/* Broken rules of VM entry as text for people. Freestanding: there is no printf. */
#include "base/text.h"
#include "x86/entry_checks.h"

static void put_upper(struct text *text, const char *name)
{
    for (; *name != '\0'; name++) {
        char letter[2] = {*name >= 'a' && *name <= 'z' ? (char)(*name - 'a' + 'A') : *name, '\0'};
        text_put(text, letter);
    }
}

static void pad(struct text *text, unsigned int column)
{
    while (text->column < column && text->left > 1) {
        text_put(text, " ");
    }
}

/* ---- what bits mean ---- */

static const char *const cr0_bits[64] = {
    [0] = "PE",  [1] = "MP",  [2] = "EM",  [3] = "TS",  [4] = "ET",  [5] = "NE",
    [16] = "WP", [18] = "AM", [29] = "NW", [30] = "CD", [31] = "PG",
};

static const char *const cr4_bits[64] = {
    [0] = "VME",         [1] = "PVI",      [2] = "TSD",      [3] = "DE",    [4] = "PSE",
    [5] = "PAE",         [6] = "MCE",      [7] = "PGE",      [8] = "PCE",   [9] = "OSFXSR",
    [10] = "OSXMMEXCPT", [11] = "UMIP",    [12] = "LA57",    [13] = "VMXE", [14] = "SMXE",
    [16] = "FSGSBASE",   [17] = "PCIDE",   [18] = "OSXSAVE", [19] = "KL",   [20] = "SMEP",
    [21] = "SMAP",       [22] = "PKE",     [23] = "CET",     [24] = "PKS",  [25] = "UINTR",
    [27] = "LASS",       [28] = "LAM_SUP", [32] = "FRED",
};

static const char *const efer_bits[64] = {[0] = "SCE", [8] = "LME", [10] = "LMA", [11] = "NXE"};

static const char *const rflags_bits[64] = {
    [0] = "CF",  [2] = "PF",   [4] = "AF",   [6] = "ZF",  [7] = "SF",  [8] = "TF",
    [9] = "IF",  [10] = "DF",  [11] = "OF",  [14] = "NT", [16] = "RF", [17] = "VM",
    [18] = "AC", [19] = "VIF", [20] = "VIP", [21] = "ID",
};

static const char *const rights_bits[64] = {
    [4] = "S", [7] = "P", [12] = "AVL", [13] = "L", [14] = "D/B", [15] = "G", [16] = "unusable",
};

static const char *const interruptibility_bits[64] = {
    "blocking by STI", "blocking by MOV SS",   "blocking by SMI",
    "blocking by NMI", "enclave interruption",
};

static const char *const pending_bits[64] = {
    [0] = "B0",  [1] = "B1",   [2] = "B2", [3] = "B3", [11] = "BLD", [12] = "enabled breakpoint",
    [14] = "BS", [16] = "RTM",
};

static const char *const pin_bits[64] = {[3] = "NMI exiting", [5] = "virtual NMIs"};

static const char *const primary_bits[64] = {[31] = "activate secondary controls"};

static const char *const secondary_bits[64] = {
    [1] = "enable EPT", [7] = "unrestricted guest", [14] = "VMCS shadowing"};

static const char *const entry_bits[64] = {
    [2] = "load debug controls",
    [9] = "IA-32e mode guest",
    [10] = "entry to SMM",
    [13] = "load IA32_PERF_GLOBAL_CTRL",
    [14] = "load IA32_PAT",
    [15] = "load IA32_EFER",
    [16] = "load IA32_BNDCFGS",
    [18] = "load IA32_RTIT_CTL",
    [19] = "load UINV",
    [20] = "load CET state",
    [21] = "load guest IA32_LBR_CTL",
    [22] = "load PKRS",
};

static const char *const *const bits_of_field[ENTRY_FIELD_COUNT] = {
    [ENTRY_FIELD_ACCESS_RIGHTS] = rights_bits,
    [ENTRY_FIELD_CR0] = cr0_bits,
    [ENTRY_FIELD_CR0_FIXED0] = cr0_bits,
    [ENTRY_FIELD_CR4] = cr4_bits,
    [ENTRY_FIELD_CR4_FIXED0] = cr4_bits,
    [ENTRY_FIELD_EFER] = efer_bits,
    [ENTRY_FIELD_EFER_VALID] = efer_bits,
    [ENTRY_FIELD_RFLAGS] = rflags_bits,
    [ENTRY_FIELD_INTERRUPTIBILITY] = interruptibility_bits,
    [ENTRY_FIELD_PENDING_DEBUG] = pending_bits,
    [ENTRY_FIELD_PIN_BASED] = pin_bits,
    [ENTRY_FIELD_PRIMARY] = primary_bits,
    [ENTRY_FIELD_SECONDARY] = secondary_bits,
    [ENTRY_FIELD_ENTRY] = entry_bits,
};

static void put_separator(struct text *text, bool *first)
{
    text_put(text, *first ? "  (" : ", ");
    *first = false;
}

/* Values that are a number, and parts of others that are: type and DPL, an injected event. */
static void put_parts(struct text *text, const struct entry_value *value, bool *first)
{
    static const char *const activities[] = {"active", "HLT", "shutdown", "wait-for-SIPI"};
    static const char *const types[] = {
        "external interrupt", "reserved type",      "NMI",
        "hardware exception", "software interrupt", "privileged software exception",
        "software exception", "other event",
    };
    switch ((int)value->id) {
    case ENTRY_FIELD_ACCESS_RIGHTS:
        put_separator(text, first);
        text_put(text, "type ");
        text_put_decimal(text, (unsigned int)(value->value & X86_SEGMENT_TYPE));
        text_put(text, ", DPL ");
        text_put_decimal(text,
                         (unsigned int)(value->value & X86_SEGMENT_DPL) >> X86_SEGMENT_DPL_SHIFT);
        break;
    case ENTRY_FIELD_ACTIVITY:
        put_separator(text, first);
        text_put(text, value->value < ENTRY_ACTIVITY_COUNT ? activities[value->value] : "unknown");
        break;
    case ENTRY_FIELD_INTERRUPTION:
        put_separator(text, first);
        if ((value->value & ENTRY_INTERRUPTION_VALID) == 0) {
            text_put(text, "nothing is injected");
            break;
        }
        text_put(text,
                 types[(value->value & ENTRY_INTERRUPTION_TYPE) >> ENTRY_INTERRUPTION_TYPE_SHIFT]);
        text_put(text, ", vector ");
        text_put_decimal(text, (unsigned int)(value->value & ENTRY_INTERRUPTION_VECTOR));
        break;
    default:
        break;
    }
}

static void put_meaning(struct text *text, const struct entry_value *value)
{
    const char *const *names = bits_of_field[value->id];
    bool first = true;
    put_parts(text, value, &first);
    for (unsigned int bit = 0; names != NULL && bit < 64; bit++) {
        if ((value->value >> bit & 1) != 0 && names[bit] != NULL) {
            put_separator(text, &first);
            text_put(text, names[bit]);
        }
    }
    text_put(text, first ? "" : ")");
}

/* ---- fields ---- */

static void put_title(struct text *text, const struct entry_value *value)
{
    const struct entry_field *field = &entry_fields[value->id];
    put_upper(text, entry_instance_name(field->instances, value->instance));
    text_put(text, field->instances != ENTRY_ONCE && field->title[0] != '\0' ? " " : "");
    text_put(text, field->title);
}

/* Widths are counts; everything else is bits. */
static void put_value(struct text *text, const struct entry_value *value, bool all_digits)
{
    if (value->id == ENTRY_FIELD_PHYSICAL_ADDRESS_BITS ||
        value->id == ENTRY_FIELD_LINEAR_ADDRESS_BITS || entry_fields[value->id].bits == 1) {
        text_put_decimal(text, (unsigned int)value->value);
    } else {
        text_put_hexadecimal(text, value->value, all_digits ? entry_fields[value->id].bits / 4 : 1);
    }
}

void entry_field_name(enum entry_field_id id, unsigned int instance, char *text, size_t size)
{
    const struct entry_field *field = &entry_fields[id];
    struct text out = text_start(text, size);
    text_put(&out, entry_instance_name(field->instances, instance));
    text_put(&out, field->instances != ENTRY_ONCE && field->name[0] != '\0' ? "." : "");
    text_put(&out, field->name);
}

/* ---- violations ---- */

void entry_violation_brief(const struct entry_violation *violation, char *text, size_t size)
{
    struct text out = text_start(text, size);
    text_put(&out, violation->rule->id);
    if (violation->value_count != 0) {
        text_put(&out, " (");
        put_title(&out, &violation->values[0]);
        text_put(&out, " ");
        put_value(&out, &violation->values[0], false);
        text_put(&out, ")");
    }
}

#define VALUE_COLUMN 38

void entry_violation_describe(const struct entry_violation *violation, char *text, size_t size)
{
    const struct entry_rule *rule = violation->rule;
    struct text out = text_start(text, size);
    text_put(&out, rule->id);
    if (rule->instances != ENTRY_ONCE) {
        text_put(&out, " (");
        put_upper(&out, entry_instance_name(rule->instances, violation->instance));
        text_put(&out, ")");
    }
    text_put(&out, " is broken\n    rule: ");
    text_put(&out, rule->words);
    text_put(&out, "\n    see \"");
    text_put(&out, violation->section->title);
    text_put(&out, "\"\n");
    for (unsigned int i = 0; i < violation->value_count; i++) {
        text_put(&out, "    ");
        put_title(&out, &violation->values[i]);
        pad(&out, VALUE_COLUMN);
        text_put(&out, " ");
        put_value(&out, &violation->values[i], true);
        put_meaning(&out, &violation->values[i]);
        text_put(&out, "\n");
    }
}
