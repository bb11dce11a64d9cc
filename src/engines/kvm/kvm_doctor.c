/*
 * Why KVM refuses a vCPU's system registers. KVM_SET_SREGS says EINVAL; here the state is compared
 * with the rules of VM entry (x86/entry_checks.h), and with what KVM wants besides.
 */
#include <stdio.h>
#include <string.h>

#include "engines/kvm/kvm_internal.h"
#include "x86/entry_checks.h"

#define NAMED_MAX 3 /* more do not help */

/* ---- what KVM wants besides ---- */

/* "Control Registers": MOV to CR0 raises #GP for NW without CD; VM entry does not look at them. */
static bool nw_needs_cd(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return (state->cr0 & X86_CR0_NW) == 0 || (state->cr0 & X86_CR0_CD) != 0;
}

/* "Code-Segment Descriptor in 64-bit Mode": L is reserved outside IA-32e mode. */
static bool l_needs_ia32e(const struct entry_guest_state *state, unsigned int instance)
{
    (void)instance;
    return (state->segment[X86_CS].attributes & X86_SEGMENT_L) == 0 ||
           (state->entry & ENTRY_IA32E_MODE_GUEST) != 0;
}

static const struct entry_rule kvm_rules[] = {
    {"cr0-nw-needs-cd", "CR0.NW is set only together with CR0.CD", .holds = nw_needs_cd,
     .fields = {ENTRY_FIELD_CR0}},
    {"cs-l-needs-ia32e", "CS.L is 1 only in IA-32e mode", .holds = l_needs_ia32e,
     .fields = {ENTRY_OF(ENTRY_FIELD_ACCESS_RIGHTS, X86_CS), ENTRY_FIELD_EFER}},
};

static const struct entry_section kvm_section = {
    .title = "KVM_SET_SREGS",
    .rules = kvm_rules,
    .rule_count = sizeof(kvm_rules) / sizeof(kvm_rules[0]),
};

_Static_assert(sizeof(kvm_rules) / sizeof(kvm_rules[0]) <= NAMED_MAX, "run_checks has room");

/* Up to NAMED_MAX; returns how many there are. KVM's own first, then in the manual's order, which
 * begins with the control registers. */
static unsigned int run_checks(const struct entry_guest_state *state, struct entry_violation *out)
{
    static const struct entry_section *const kvm_sections[] = {&kvm_section, NULL};
    unsigned int count = entry_checks_run_sections(kvm_sections, state, out, NAMED_MAX);
    return count + entry_checks_run(state, out + count, NAMED_MAX - count);
}

/* ---- what the guest's CPUID lets it set ---- */

/* struct kvm_cpuid2 with room for the entries that follow it. */
struct cpuid_list {
    uint32_t count;
    uint32_t padding;
    struct kvm_cpuid_entry2 entries[KVM_CPUID_ENTRIES];
};
_Static_assert(offsetof(struct cpuid_list, entries) == sizeof(struct kvm_cpuid2), "KVM's layout");

static struct cpuid_registers find(const struct cpuid_list *list, uint32_t leaf, uint32_t subleaf)
{
    for (uint32_t i = 0; i < list->count && i < KVM_CPUID_ENTRIES; i++) {
        const struct kvm_cpuid_entry2 *entry = &list->entries[i];
        bool any = (entry->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) == 0;
        if (entry->function == leaf && (any || entry->index == subleaf)) {
            return (struct cpuid_registers){entry->eax, entry->ebx, entry->ecx, entry->edx};
        }
    }
    return (struct cpuid_registers){0};
}

#define BIT(register, bit) (((register) >> (bit)) & 1u)

/* The bits of CR4 that every guest may set: VME to OSXMMEXCPT. */
#define CR4_ALWAYS UINT64_C(0x7ff)

/* "Feature Information Returned" by CPUID, "Structured Extended Feature Flags". */
static uint64_t cr4_allowed(struct cpuid_registers basic, struct cpuid_registers extended,
                            struct cpuid_registers extended1)
{
    const struct {
        uint32_t shown;
        uint64_t cr4;
    } features[] = {
        {BIT(basic.ecx, 5), X86_CR4_VMXE},
        {BIT(basic.ecx, 17), X86_CR4_PCIDE},
        {BIT(basic.ecx, 26), X86_CR4_OSXSAVE},
        {BIT(extended.ebx, 0), X86_CR4_FSGSBASE},
        {BIT(extended.ebx, 7), X86_CR4_SMEP},
        {BIT(extended.ebx, 20), X86_CR4_SMAP},
        {BIT(extended.ecx, 2), X86_CR4_UMIP},
        {BIT(extended.ecx, 3), X86_CR4_PKE},
        {BIT(extended.ecx, 7) | BIT(extended.edx, 20), X86_CR4_CET},
        {BIT(extended.ecx, 16), X86_CR4_LA57},
        {BIT(extended.ecx, 31), X86_CR4_PKS},
        {BIT(extended1.eax, 26), UINT64_C(1) << 28}, /* LAM_SUP */
    };
    uint64_t allowed = CR4_ALWAYS;
    for (unsigned int i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
        allowed |= features[i].shown != 0 ? features[i].cr4 : 0;
    }
    return allowed;
}

/* Without the guest's CPUID the processor stays the usual one. */
static void take_cpuid(struct engine_vcpu *vcpu, struct entry_processor *processor)
{
    struct cpuid_list list = {.count = KVM_CPUID_ENTRIES};
    if (device_ioctl(vcpu->fd, KVM_GET_CPUID2, &list) < 0) {
        return;
    }
    struct cpuid_registers extended = find(&list, 0x7, 0), extended1 = find(&list, 0x7, 1);
    entry_processor_from_cpuid(processor, extended, extended1, find(&list, 0x80000008, 0));
    processor->cr4_fixed1 =
        processor->cr4_fixed0 | cr4_allowed(find(&list, 0x1, 0), extended, extended1);
}

/* ---- words ---- */

/* Only what is in the group: the caller's state need not have more. */
static void take_system_group(const struct x86_state *from, struct x86_state *to)
{
    x86_state_reset(to);
    memcpy(to->segment, from->segment, sizeof(to->segment));
    to->gdtr = from->gdtr;
    to->idtr = from->idtr;
    to->cr0 = from->cr0;
    to->cr3 = from->cr3;
    to->cr4 = from->cr4;
    to->efer = from->efer;
    to->pdptrs_known = from->pdptrs_known;
    memcpy(to->pdptr, from->pdptr, sizeof(to->pdptr));
}

void kvm_explain_refusal(struct engine_vcpu *vcpu, const struct x86_state *state, int code,
                         struct error *error)
{
    struct x86_state system;
    struct entry_guest_state converted;
    struct entry_violation violations[NAMED_MAX];
    take_system_group(state, &system);
    entry_state_from_x86(&system, &converted);
    take_cpuid(vcpu, &converted.processor);
    unsigned int count = run_checks(&converted, violations);
    char list[sizeof(error->text)] = "";
    size_t used = 0;
    for (unsigned int i = 0; i < count && i < NAMED_MAX; i++) {
        char text[128];
        entry_violation_brief(&violations[i], text, sizeof(text));
        int length = snprintf(list + used, sizeof(list) - used, "%s%s", i == 0 ? "" : ", ", text);
        used += (size_t)length < sizeof(list) - used ? (size_t)length : 0;
    }
    if (count == 0) {
        kvm_add_remedy(error, code);
    } else if (error != NULL) {
        struct error before = *error;
        error_set(error, code, "%.240s: it breaks %.240s%s", before.text, list,
                  count > NAMED_MAX ? " and more rules" : "");
    }
}
