/* The entry checks: each rule has a state that breaks it and nothing else. */
#include <stdlib.h>
#include <string.h>

#include "boot/cpu_state.h"
#include "check.h"
#include "entry_states.h"
#include "vm/guestmem.h"
#include "x86/entry_checks.h"

#define CHANGES_MAX 5
#define TESTED      0xff /* an instance: the one that is tested */

/* (what was there & ~clear) | set */
struct change {
    enum entry_field_id field;
    unsigned int instance;
    uint64_t clear, set;
};

/* A start and what must be changed there to break one rule, for each of the rule's instances. */
struct entry_case {
    const char *rule;
    enum entry_start start;
    struct change changes[CHANGES_MAX]; /* ENTRY_FIELD_NONE ends a shorter list */
};

#define CLEAR(name, bits)                                                                          \
    {                                                                                              \
        ENTRY_FIELD_##name, TESTED, (bits), 0                                                      \
    }
#define SET(name, bits)                                                                            \
    {                                                                                              \
        ENTRY_FIELD_##name, TESTED, 0, (bits)                                                      \
    }
#define PUT(name, value)                                                                           \
    {                                                                                              \
        ENTRY_FIELD_##name, TESTED, UINT64_MAX, (value)                                            \
    }
#define SET_OF(segment, name, bits)                                                                \
    {                                                                                              \
        ENTRY_FIELD_##name, (segment), 0, (bits)                                                   \
    }
#define INJECT(type, vector)                                                                       \
    PUT(INTERRUPTION, ENTRY_INTERRUPTION_VALID | (type) << ENTRY_INTERRUPTION_TYPE_SHIFT | (vector))

#define BIT(number)   (UINT64_C(1) << (number))
#define NON_CANONICAL BIT(47)
#define DPL_1         BIT(5)
#define DPL_3         (BIT(5) | BIT(6))

static const struct entry_case cases[] = {
    /* control registers, debug registers, MSRs */
    {"cr0-fixed", START_LONG, {CLEAR(CR0, X86_CR0_NE)}},
    {"cr0-fixed", START_LONG, {SET(CR0, BIT(32))}},
    {"cr0-fixed", START_PAGED, {CLEAR(SECONDARY, UINT32_MAX), CLEAR(CR0, X86_CR0_PG)}},
    {"cr0-fixed", START_PROTECTED, {CLEAR(PRIMARY, VMX_PRIMARY_SECONDARY)}},
    {"cr0-paging-needs-protection", START_REAL, {SET(CR0, X86_CR0_PG)}},
    {"cr4-fixed", START_LONG, {CLEAR(CR4, X86_CR4_VMXE)}},
    {"cr4-fixed", START_LONG, {SET(CR4, BIT(15))}},
    {"cr4-cet-needs-wp", START_LONG, {SET(CR4, X86_CR4_CET)}},
    {"debugctl-reserved", START_LONG, {SET(DEBUGCTL, BIT(3))}},
    {"ia32e-needs-paging", START_LONG, {CLEAR(CR0, X86_CR0_PG)}},
    {"ia32e-needs-pae", START_LONG, {CLEAR(CR4, X86_CR4_PAE)}},
    {"pcide-needs-ia32e", START_PAGED, {SET(CR4, X86_CR4_PCIDE)}},
    {"cr3-width", START_LONG, {SET(CR3, BIT(46))}},
    {"cr3-width", START_LONG, {SET(CR3, BIT(62))}},
    {"cr3-width", START_LONG, {SET(CR3, BIT(52)), PUT(PHYSICAL_ADDRESS_BITS, 60)}},
    {"cr3-width", START_LONG, {SET(CR3, BIT(63)), PUT(HAS_LAM, 1)}},
    {"dr7-high", START_LONG, {SET(DR7, BIT(32))}},
    {"sysenter-esp-canonical", START_REAL, {SET(SYSENTER_ESP, NON_CANONICAL)}},
    {"sysenter-eip-canonical", START_REAL, {SET(SYSENTER_EIP, NON_CANONICAL)}},
    {"s-cet-canonical", START_LONG, {SET(S_CET, NON_CANONICAL), SET(ENTRY, ENTRY_LOAD_CET_STATE)}},
    {"ssp-table-canonical",
     START_LONG,
     {SET(INTERRUPT_SSP_TABLE, NON_CANONICAL), SET(ENTRY, ENTRY_LOAD_CET_STATE)}},
    {"perf-global-ctrl-reserved",
     START_LONG,
     {SET(PERF_GLOBAL_CTRL, BIT(40)), SET(ENTRY, ENTRY_LOAD_PERF_GLOBAL_CTRL)}},
    {"pat-types", START_LONG, {CLEAR(PAT, 0xff), SET(PAT, 2)}},
    {"pat-types", START_LONG, {SET(PAT, BIT(63))}},
    {"efer-reserved", START_LONG, {SET(EFER, BIT(1))}},
    {"efer-lma-is-ia32e", START_LONG, {CLEAR(ENTRY, ENTRY_IA32E_MODE_GUEST)}},
    {"efer-lma-is-lme", START_LONG, {CLEAR(EFER, X86_EFER_LME)}},
    {"efer-lma-is-lme", START_PAGED, {SET(EFER, X86_EFER_LME)}},
    {"bndcfgs-reserved", START_LONG, {SET(BNDCFGS, BIT(2)), SET(ENTRY, ENTRY_LOAD_BNDCFGS)}},
    {"bndcfgs-canonical",
     START_LONG,
     {SET(BNDCFGS, NON_CANONICAL), SET(ENTRY, ENTRY_LOAD_BNDCFGS)}},
    {"rtit-ctl-reserved", START_LONG, {SET(RTIT_CTL, BIT(18)), SET(ENTRY, ENTRY_LOAD_RTIT_CTL)}},
    {"s-cet-reserved", START_LONG, {SET(S_CET, BIT(6)), SET(ENTRY, ENTRY_LOAD_CET_STATE)}},
    {"s-cet-suppress-or-tracker",
     START_LONG,
     {SET(S_CET, BIT(10) | BIT(11)), SET(ENTRY, ENTRY_LOAD_CET_STATE)}},
    {"lbr-ctl-reserved", START_LONG, {SET(LBR_CTL, BIT(4)), SET(ENTRY, ENTRY_LOAD_LBR_CTL)}},
    {"pkrs-high", START_LONG, {SET(PKRS, BIT(32)), SET(ENTRY, ENTRY_LOAD_PKRS)}},
    {"uinv-high", START_LONG, {SET(UINV, BIT(8)), SET(ENTRY, ENTRY_LOAD_UINV)}},

    /* segment registers */
    {"selector-ti", START_LONG, {SET(SELECTOR, 4)}},
    {"ss-rpl-is-cs-rpl", START_RESTRICTED, {SET_OF(X86_CS, SELECTOR, 1)}},
    {"base-virtual-8086", START_VIRTUAL_8086, {SET(BASE, 1)}},
    {"base-canonical", START_LONG, {SET(BASE, NON_CANONICAL)}},
    {"base-high", START_LONG, {SET(BASE, BIT(32))}},
    {"limit-virtual-8086", START_VIRTUAL_8086, {CLEAR(LIMIT, 1)}},
    {"access-rights-virtual-8086", START_VIRTUAL_8086, {SET(ACCESS_RIGHTS, X86_SEGMENT_AVL)}},
    {"cs-type", START_LONG, {CLEAR(ACCESS_RIGHTS, X86_TYPE_ACCESSED)}},
    {"cs-type", START_RESTRICTED, {CLEAR(ACCESS_RIGHTS, X86_TYPE_CODE)}},
    {"ss-type", START_LONG, {CLEAR(ACCESS_RIGHTS, X86_TYPE_WRITABLE)}},
    {"data-accessed", START_LONG, {CLEAR(ACCESS_RIGHTS, X86_TYPE_ACCESSED)}},
    {"data-readable",
     START_LONG,
     {SET(ACCESS_RIGHTS, X86_TYPE_CODE), CLEAR(ACCESS_RIGHTS, X86_TYPE_READABLE)}},
    {"access-rights-s", START_LONG, {CLEAR(ACCESS_RIGHTS, X86_SEGMENT_S)}},
    {"cs-dpl-data", START_REAL, {CLEAR(ACCESS_RIGHTS, X86_TYPE_CODE), SET(ACCESS_RIGHTS, DPL_1)}},
    {"cs-dpl-nonconforming", START_LONG, {SET(ACCESS_RIGHTS, DPL_1)}},
    {"cs-dpl-conforming", START_LONG, {SET(ACCESS_RIGHTS, DPL_1 | X86_TYPE_CONFORMING)}},
    {"ss-dpl-is-rpl", START_RESTRICTED, {SET(SELECTOR, 1), SET_OF(X86_CS, SELECTOR, 1)}},
    {"ss-dpl-zero", START_REAL, {SET(ACCESS_RIGHTS, DPL_3), SET_OF(X86_CS, ACCESS_RIGHTS, DPL_3)}},
    {"ss-dpl-zero",
     START_PROTECTED,
     {SET(ACCESS_RIGHTS, DPL_1), {ENTRY_FIELD_ACCESS_RIGHTS, X86_CS, X86_TYPE_CODE, 0}}},
    {"data-dpl", START_RESTRICTED, {SET(SELECTOR, 3)}},
    {"access-rights-p", START_LONG, {CLEAR(ACCESS_RIGHTS, X86_SEGMENT_P)}},
    {"access-rights-reserved-low", START_LONG, {SET(ACCESS_RIGHTS, BIT(8))}},
    {"cs-db-with-l", START_LONG, {SET(ACCESS_RIGHTS, X86_SEGMENT_DB)}},
    {"limit-needs-g-clear", START_LONG, {CLEAR(LIMIT, 1), SET(ACCESS_RIGHTS, X86_SEGMENT_G)}},
    {"limit-needs-g-set",
     START_LONG,
     {PUT(LIMIT, UINT32_MAX), CLEAR(ACCESS_RIGHTS, X86_SEGMENT_G)}},
    {"access-rights-reserved-high", START_LONG, {SET(ACCESS_RIGHTS, BIT(17))}},
    {"tr-type", START_LONG, {CLEAR(ACCESS_RIGHTS, 8)}},
    {"tr-type", START_PROTECTED, {CLEAR(ACCESS_RIGHTS, 2)}},
    {"ldtr-type", START_LONG, {SET(ACCESS_RIGHTS, 1)}},
    {"system-s", START_LONG, {SET(ACCESS_RIGHTS, X86_SEGMENT_S)}},
    {"tr-usable", START_LONG, {SET(ACCESS_RIGHTS, X86_SEGMENT_UNUSABLE)}},

    /* descriptor tables */
    {"table-base-canonical", START_LONG, {SET(TABLE_BASE, NON_CANONICAL)}},
    {"table-limit-high", START_LONG, {SET(TABLE_LIMIT, BIT(16))}},

    /* RIP, RFLAGS, SSP */
    {"rip-high", START_PAGED, {SET(RIP, BIT(32))}},
    {"rip-high", START_COMPATIBILITY, {SET(RIP, BIT(32))}},
    {"rip-linear-width", START_LONG, {SET(RIP, BIT(48))}},
    {"rflags-reserved", START_LONG, {SET(RFLAGS, BIT(3))}},
    {"rflags-reserved", START_LONG, {SET(RFLAGS, BIT(22))}},
    {"rflags-one", START_LONG, {CLEAR(RFLAGS, X86_FLAGS_ONE)}},
    {"rflags-vm", START_VIRTUAL_8086, {CLEAR(CR0, X86_CR0_PE | X86_CR0_PG)}},
    {"rflags-vm",
     START_VIRTUAL_8086,
     {SET(ENTRY, ENTRY_IA32E_MODE_GUEST), SET(EFER, X86_EFER_LMA | X86_EFER_LME),
      SET(CR4, X86_CR4_PAE)}},
    {"rflags-if", START_LONG, {INJECT(ENTRY_EXTERNAL_INTERRUPT, 0x20u)}},
    {"ssp-aligned", START_LONG, {SET(SSP, 1), SET(ENTRY, ENTRY_LOAD_CET_STATE)}},
    {"ssp-linear-width", START_LONG, {SET(SSP, BIT(48)), SET(ENTRY, ENTRY_LOAD_CET_STATE)}},

    /* non-register state */
    {"activity-known", START_LONG, {PUT(ACTIVITY, 4)}},
    {"activity-supported", START_LONG, {PUT(ACTIVITY, ENTRY_HLT), PUT(ACTIVITY_STATES, 6)}},
    {"activity-hlt-dpl",
     START_PAGED,
     {PUT(ACTIVITY, ENTRY_HLT), SET_OF(X86_CS, ACCESS_RIGHTS, DPL_3),
      SET_OF(X86_SS, ACCESS_RIGHTS, DPL_3)}},
    {"activity-shadow",
     START_LONG,
     {PUT(ACTIVITY, ENTRY_HLT), SET(RFLAGS, X86_FLAGS_IF), SET(INTERRUPTIBILITY, 1)}},
    {"activity-hlt-injection",
     START_LONG,
     {PUT(ACTIVITY, ENTRY_HLT), INJECT(ENTRY_SOFTWARE_INTERRUPT, 0x80u)}},
    {"activity-shutdown-injection",
     START_LONG,
     {PUT(ACTIVITY, ENTRY_SHUTDOWN), INJECT(ENTRY_HARDWARE_EXCEPTION, X86_VECTOR_GP)}},
    {"activity-sipi-injection",
     START_LONG,
     {PUT(ACTIVITY, ENTRY_WAIT_FOR_SIPI), INJECT(ENTRY_NMI, X86_VECTOR_NMI)}},
    {"activity-sipi-smm",
     START_LONG,
     {PUT(ACTIVITY, ENTRY_WAIT_FOR_SIPI), SET(ENTRY, ENTRY_TO_SMM), PUT(IN_SMM, 1),
      SET(INTERRUPTIBILITY, ENTRY_BLOCKING_SMI)}},
    {"interruptibility-reserved", START_LONG, {SET(INTERRUPTIBILITY, BIT(5))}},
    {"blocking-one-shadow", START_LONG, {SET(RFLAGS, X86_FLAGS_IF), SET(INTERRUPTIBILITY, 3)}},
    {"blocking-sti-needs-if", START_LONG, {SET(INTERRUPTIBILITY, ENTRY_BLOCKING_STI)}},
    {"blocking-external-interrupt",
     START_LONG,
     {SET(RFLAGS, X86_FLAGS_IF), SET(INTERRUPTIBILITY, ENTRY_BLOCKING_STI),
      INJECT(ENTRY_EXTERNAL_INTERRUPT, 0x20u)}},
    {"blocking-nmi-mov-ss",
     START_LONG,
     {SET(INTERRUPTIBILITY, ENTRY_BLOCKING_MOV_SS), INJECT(ENTRY_NMI, X86_VECTOR_NMI)}},
    {"blocking-smi-outside-smm", START_LONG, {SET(INTERRUPTIBILITY, ENTRY_BLOCKING_SMI)}},
    {"blocking-smi-to-smm", START_LONG, {SET(ENTRY, ENTRY_TO_SMM), PUT(IN_SMM, 1)}},
    {"blocking-nmi-sti",
     START_LONG,
     {SET(RFLAGS, X86_FLAGS_IF), SET(INTERRUPTIBILITY, ENTRY_BLOCKING_STI),
      PUT(NMI_NEEDS_NO_STI, 1), INJECT(ENTRY_NMI, X86_VECTOR_NMI)}},
    {"blocking-virtual-nmi",
     START_LONG,
     {SET(INTERRUPTIBILITY, ENTRY_BLOCKING_NMI), SET(PIN_BASED, VMX_PIN_VIRTUAL_NMIS),
      INJECT(ENTRY_NMI, X86_VECTOR_NMI)}},
    {"enclave-mov-ss",
     START_LONG,
     {SET(INTERRUPTIBILITY, ENTRY_ENCLAVE | ENTRY_BLOCKING_MOV_SS), PUT(HAS_SGX, 1)}},
    {"enclave-needs-sgx", START_LONG, {SET(INTERRUPTIBILITY, ENTRY_ENCLAVE)}},
    {"pending-reserved", START_LONG, {SET(PENDING_DEBUG, BIT(4))}},
    {"pending-reserved", START_LONG, {SET(PENDING_DEBUG, BIT(17))}},
    {"pending-bus-lock",
     START_LONG,
     {SET(PENDING_DEBUG, ENTRY_PENDING_BLD), PUT(DEBUGCTL_VALID, BIT(1))}},
    {"pending-bs-set",
     START_LONG,
     {SET(INTERRUPTIBILITY, ENTRY_BLOCKING_MOV_SS), SET(RFLAGS, X86_FLAGS_TF)}},
    {"pending-bs-clear",
     START_LONG,
     {SET(INTERRUPTIBILITY, ENTRY_BLOCKING_MOV_SS), SET(PENDING_DEBUG, ENTRY_PENDING_BS)}},
    {"pending-bs-clear",
     START_LONG,
     {PUT(ACTIVITY, ENTRY_HLT), SET(PENDING_DEBUG, ENTRY_PENDING_BS), SET(RFLAGS, X86_FLAGS_TF),
      SET(DEBUGCTL, BIT(1))}},
    {"pending-rtm-alone",
     START_LONG,
     {SET(PENDING_DEBUG, ENTRY_PENDING_RTM | ENTRY_PENDING_BREAKPOINT | 1), PUT(HAS_RTM, 1)}},
    {"pending-rtm-breakpoint",
     START_LONG,
     {SET(PENDING_DEBUG, ENTRY_PENDING_RTM), PUT(HAS_RTM, 1)}},
    {"pending-rtm-supported",
     START_LONG,
     {SET(PENDING_DEBUG, ENTRY_PENDING_RTM | ENTRY_PENDING_BREAKPOINT)}},
    {"pending-rtm-mov-ss",
     START_LONG,
     {SET(PENDING_DEBUG, ENTRY_PENDING_RTM | ENTRY_PENDING_BREAKPOINT), PUT(HAS_RTM, 1),
      SET(INTERRUPTIBILITY, ENTRY_BLOCKING_MOV_SS)}},
    {"link-aligned", START_LONG, {PUT(VMCS_LINK, 0x1001)}},
    {"link-width", START_LONG, {PUT(VMCS_LINK, BIT(46))}},
    {"link-revision", START_LONG, {PUT(VMCS_LINK, 0x1000), PUT(LINKED_VMCS_REVISION, 1)}},
    {"link-shadow", START_LONG, {PUT(VMCS_LINK, 0x1000), PUT(LINKED_VMCS_REVISION, BIT(31))}},
    {"link-shadow",
     START_LONG,
     {PUT(VMCS_LINK, 0x1000), SET(SECONDARY, VMX_SECONDARY_VMCS_SHADOWING)}},
    {"link-is-not-current", START_LONG, {PUT(VMCS_LINK, 0x1000), PUT(CURRENT_VMCS, 0x1000)}},
    {"link-is-not-executive",
     START_LONG,
     {PUT(VMCS_LINK, 0x1000), PUT(EXECUTIVE_VMCS, 0x1000), PUT(IN_SMM, 1)}},

    /* page-directory-pointer-table entries */
    {"pdpte-reserved", START_PAE, {SET(PDPTE, 2)}},
    {"pdpte-reserved", START_PAE, {SET(PDPTE, BIT(46))}},
};

#define CASE_COUNT (sizeof(cases) / sizeof(cases[0]))

/* States that look wrong at first sight, and are not. */
static const struct entry_case valid[] = {
    {"CD and NW are never checked", START_LONG, {SET(CR0, X86_CR0_NW)}},
    {"LAM's bits", START_LONG, {SET(CR3, BIT(61) | BIT(62)), PUT(HAS_LAM, 1)}},
    {"RIP behind the lower half", START_LONG, {SET(RIP, BIT(47))}},
    {"57 bits", START_LONG, {SET(SYSENTER_EIP, BIT(50)), PUT(LINEAR_ADDRESS_BITS, 57)}},
    {"what is not loaded",
     START_LONG,
     {CLEAR(ENTRY, (uint32_t)~ENTRY_IA32E_MODE_GUEST), PUT(EFER, UINT64_MAX), PUT(PAT, UINT64_MAX),
      PUT(DR7, UINT64_MAX), PUT(DEBUGCTL, UINT64_MAX)}},
    {"an unusable LDTR",
     START_LONG,
     {{ENTRY_FIELD_ACCESS_RIGHTS, X86_LDTR, UINT64_MAX, BIT(16)},
      SET_OF(X86_LDTR, BASE, NON_CANONICAL)}},
    {"an unusable DS",
     START_LONG,
     {{ENTRY_FIELD_ACCESS_RIGHTS, X86_DS, UINT64_MAX, BIT(16)}, SET_OF(X86_DS, BASE, BIT(40))}},
    {"CS as real mode leaves it",
     START_REAL,
     {{ENTRY_FIELD_ACCESS_RIGHTS, X86_CS, X86_TYPE_CODE, 0}}},
    {"a 16-bit TSS", START_PAGED, {{ENTRY_FIELD_ACCESS_RIGHTS, X86_TR, 8, 0}}},
    {"absent PDPTEs", START_PAE, {{ENTRY_FIELD_PDPTE, 2, UINT64_MAX, UINT64_MAX << 1}}},
    {"PDPTEs outside PAE paging", START_PAGED, {{ENTRY_FIELD_PDPTE, 0, 0, UINT64_MAX}}},
    {"#DB wakes HLT",
     START_LONG,
     {PUT(ACTIVITY, ENTRY_HLT), INJECT(ENTRY_HARDWARE_EXCEPTION, X86_VECTOR_DB)}},
    {"a pending MTF exit in HLT",
     START_LONG,
     {PUT(ACTIVITY, ENTRY_HLT), INJECT(ENTRY_OTHER_EVENT, 0u)}},
    {"a step that waits",
     START_LONG,
     {SET(INTERRUPTIBILITY, ENTRY_BLOCKING_MOV_SS), SET(RFLAGS, X86_FLAGS_TF),
      SET(PENDING_DEBUG, ENTRY_PENDING_BS)}},
    {"a link that is all right", START_LONG, {PUT(VMCS_LINK, 0x1000)}},
    {"the current VMCS on the way out of SMM",
     START_LONG,
     {PUT(VMCS_LINK, 0x1000), PUT(CURRENT_VMCS, 0x1000), PUT(IN_SMM, 1)}},
};

static void make(const struct entry_case *one, unsigned int tested, struct entry_guest_state *state)
{
    entry_start(one->start, state);
    for (unsigned int i = 0; i < CHANGES_MAX && one->changes[i].field != ENTRY_FIELD_NONE; i++) {
        const struct change *change = &one->changes[i];
        unsigned int instance = change->instance == TESTED ? tested : change->instance;
        if (entry_fields[change->field].instances == ENTRY_ONCE) {
            instance = 0;
        }
        uint64_t value = entry_field_get(state, change->field, instance);
        entry_field_set(state, change->field, instance, (value & ~change->clear) | change->set);
    }
}

static void print_violations(const char *what, const struct entry_violation *found,
                             unsigned int count)
{
    char text[ENTRY_TEXT_MAX];
    fprintf(stderr, "--- %s:\n", what);
    for (unsigned int i = 0; i < count; i++) {
        entry_violation_describe(&found[i], text, sizeof(text));
        fputs(text, stderr);
    }
}

static void test_valid_states(void)
{
    struct entry_guest_state state;
    struct entry_violation found[ENTRY_VIOLATIONS_MAX];
    for (unsigned int start = 0; start < START_COUNT; start++) {
        entry_start((enum entry_start)start, &state);
        unsigned int count = entry_checks_run(&state, found, ENTRY_VIOLATIONS_MAX);
        if (!CHECK_EQUAL(count, 0)) {
            print_violations("a start", found, count);
        }
    }
    for (size_t i = 0; i < sizeof(valid) / sizeof(valid[0]); i++) {
        make(&valid[i], 0, &state);
        unsigned int count = entry_checks_run(&state, found, ENTRY_VIOLATIONS_MAX);
        if (!CHECK_EQUAL(count, 0)) {
            print_violations(valid[i].rule, found, count);
        }
    }
}

static void check_breaks_only(const struct entry_case *one, const struct entry_rule *rule,
                              unsigned int instance)
{
    struct entry_guest_state state;
    struct entry_violation found[ENTRY_VIOLATIONS_MAX];
    make(one, instance, &state);
    unsigned int count = entry_checks_run(&state, found, ENTRY_VIOLATIONS_MAX);
    bool good = CHECK_EQUAL(count, 1);
    good = CHECK(count >= 1 && found[0].rule == rule && found[0].instance == instance) && good;
    if (!good) {
        print_violations(one->rule, found, count);
    }
}

/* Goes through the table, not through the cases: a rule without a case fails. */
static void test_each_rule(void)
{
    unsigned int used = 0;
    for (const struct entry_section *const *section = entry_sections; *section != NULL; section++) {
        for (unsigned int r = 0; r < (*section)->rule_count; r++) {
            const struct entry_rule *rule = &(*section)->rules[r];
            unsigned int found = 0;
            for (size_t i = 0; i < CASE_COUNT; i++) {
                if (strcmp(cases[i].rule, rule->id) != 0) {
                    continue;
                }
                found++;
                for (unsigned int k = 0; k < entry_instance_count(rule->instances); k++) {
                    if (rule->instances == ENTRY_ONCE || (rule->mask & (1u << k)) != 0) {
                        check_breaks_only(&cases[i], rule, k);
                    }
                }
            }
            used += found;
            if (!CHECK(found != 0)) {
                fprintf(stderr, "    no case for the rule %s\n", rule->id);
            }
        }
    }
    CHECK_EQUAL(used, CASE_COUNT); /* a case for a rule that is gone */
}

static bool is_id(const char *id)
{
    size_t length = strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return length > 0 && length < 40 && id[length] == '\0';
}

static void check_rule(const struct entry_rule *rule)
{
    unsigned int count = entry_instance_count(rule->instances);
    CHECK(is_id(rule->id));
    CHECK(rule->words != NULL && strlen(rule->words) > 5 && rule->holds != NULL);
    CHECK(rule->instances == ENTRY_ONCE ? rule->mask == 0
                                        : rule->mask != 0 && rule->mask < 1u << count);
    CHECK(rule->fields[0] != ENTRY_FIELD_NONE);
    for (unsigned int i = 0; i < ENTRY_RULE_FIELDS_MAX && rule->fields[i] != 0; i++) {
        unsigned int id = rule->fields[i] & 0xff;
        unsigned int of = rule->fields[i] >> 8;
        if (CHECK(id < ENTRY_FIELD_COUNT)) {
            enum entry_instances instances = entry_fields[id].instances;
            CHECK(of != 0 ? of <= entry_instance_count(instances)
                          : instances == ENTRY_ONCE || instances == rule->instances);
        }
    }
}

static void test_table(void)
{
    const struct entry_rule *all[ENTRY_VIOLATIONS_MAX];
    unsigned int count = 0, instances = 0;
    for (const struct entry_section *const *section = entry_sections; *section != NULL; section++) {
        CHECK(strncmp((*section)->title, "Checks on Guest ", 16) == 0);
        for (unsigned int r = 0; r < (*section)->rule_count; r++) {
            const struct entry_rule *rule = &(*section)->rules[r];
            check_rule(rule);
            for (unsigned int i = 0; i < count; i++) {
                CHECK(strcmp(all[i]->id, rule->id) != 0);
            }
            all[count++] = rule;
            instances +=
                rule->instances == ENTRY_ONCE ? 1 : (unsigned int)__builtin_popcount(rule->mask);
        }
    }
    CHECK(instances <= ENTRY_VIOLATIONS_MAX);
}

/* ---- fields ---- */

static void test_fields(void)
{
    struct entry_guest_state state, other;
    char names[ENTRY_VIOLATIONS_MAX][64];
    unsigned int count = 0;
    for (unsigned int id = 1; id < ENTRY_FIELD_COUNT; id++) {
        const struct entry_field *field = &entry_fields[id];
        CHECK((field->encoding == 0) == (field->group == ENTRY_GROUP_PROCESSOR));
        for (unsigned int k = 0; k < entry_instance_count(field->instances); k++) {
            entry_field_name((enum entry_field_id)id, k, names[count], sizeof(names[0]));
            for (unsigned int i = 0; i < count; i++) {
                CHECK(strcmp(names[i], names[count]) != 0);
            }
            count++;
            /* A field is its own: all bits come back, and nothing else changes. */
            memset(&state, 0, sizeof(state));
            entry_field_set(&state, (enum entry_field_id)id, k, UINT64_MAX);
            CHECK_EQUAL(entry_field_get(&state, (enum entry_field_id)id, k),
                        UINT64_MAX >> (64 - field->bits));
            entry_field_set(&state, (enum entry_field_id)id, k, 0);
            memset(&other, 0, sizeof(other));
            CHECK(memcmp(&state, &other, sizeof(state)) == 0);
        }
    }
}

/* ---- text ---- */

static void test_text(void)
{
    struct entry_guest_state state;
    struct entry_violation violation;
    char text[ENTRY_TEXT_MAX];
    entry_start(START_LONG, &state);
    state.segment[X86_CS].attributes |= X86_SEGMENT_DB;
    CHECK_EQUAL(entry_checks_run(&state, &violation, 1), 1);
    entry_violation_brief(&violation, text, sizeof(text));
    CHECK(strcmp(text, "cs-db-with-l (CS access rights 0xe09b)") == 0);
    entry_violation_describe(&violation, text, sizeof(text));
    CHECK(strstr(text, "cs-db-with-l (CS) is broken\n    rule: 64-bit code") == text);
    CHECK(strstr(text, "see \"Checks on Guest Segment Registers\"\n") != NULL);
    CHECK(strstr(text, " 0x0000e09b  (type 11, DPL 0, S, P, L, D/B, G)\n") != NULL);
    CHECK(strstr(text, "IA-32e mode guest") != NULL);
    /* Cut, never too long. */
    for (size_t size = 1; size < sizeof(text); size++) {
        char cut[ENTRY_TEXT_MAX];
        memset(cut, 'x', sizeof(cut));
        entry_violation_describe(&violation, cut, size);
        size_t length = strlen(text) < size ? strlen(text) : size - 1;
        if (strlen(cut) != length || memcmp(cut, text, length) != 0) {
            CHECK_EQUAL(strlen(cut), length);
            break;
        }
    }
    /* Fewer places than violations. */
    state.rflags = 0;
    CHECK_EQUAL(entry_checks_run(&state, &violation, 1), 2);
    CHECK_EQUAL(entry_checks_run(&state, NULL, 0), 2);
}

/* ---- states that are made elsewhere ---- */

static void check_converted(const char *what, const struct x86_state *state)
{
    struct entry_guest_state converted;
    struct entry_violation found[ENTRY_VIOLATIONS_MAX];
    entry_state_from_x86(state, &converted);
    unsigned int count = entry_checks_run(&converted, found, ENTRY_VIOLATIONS_MAX);
    if (!CHECK_EQUAL(count, 0)) {
        print_violations(what, found, count);
    }
}

/* What the loaders start a guest with can be entered. */
static void test_boot_states(void)
{
    struct guestmem *memory;
    struct x86_state state;
    struct error error;
    if (!CHECK(guestmem_create(&(struct guestmem_options){false}, &memory, &error) == 0)) {
        return;
    }
    CHECK_EQUAL(guestmem_add(memory, gpa(0), 1 << 20, 0, &error), 0);
    x86_state_reset(&state);
    check_converted("reset", &state);
    cpu_state_real(0x8000, &state);
    check_converted("real", &state);
    CHECK_EQUAL(cpu_state_protected(memory, 0x8000, &state, &error), 0);
    check_converted("protected", &state);
    CHECK_EQUAL(cpu_state_paged(memory, 0x8000, &state, &error), 0);
    check_converted("paged", &state);
    CHECK_EQUAL(cpu_state_long(memory, 0x8000, &state, &error), 0);
    check_converted("long", &state);
    guestmem_destroy(memory);
}

static void test_converted_events(void)
{
    struct x86_state state;
    struct entry_guest_state converted;
    x86_state_reset(&state);
    state.rflags |= X86_FLAGS_IF | X86_FLAGS_TF;
    state.sti_shadow = state.nmi_blocked = true;
    state.exception_pending = state.exception_has_error = true;
    state.exception_vector = X86_VECTOR_GP;
    entry_state_from_x86(&state, &converted);
    CHECK_EQUAL(converted.interruptibility, ENTRY_BLOCKING_STI | ENTRY_BLOCKING_NMI);
    CHECK_EQUAL(converted.interruption, 0x80000b0d);
    check_converted("an STI shadow with a single step", &state);
    state.exception_vector = X86_VECTOR_BP;
    state.exception_has_error = false;
    entry_state_from_x86(&state, &converted);
    CHECK_EQUAL(converted.interruption, 0x80000603);
    state.exception_pending = state.sti_shadow = false;
    state.activity = X86_HALTED;
    check_converted("halted while it steps", &state);
    state.activity = X86_WAIT_FOR_SIPI;
    entry_state_from_x86(&state, &converted);
    CHECK_EQUAL(converted.activity, ENTRY_WAIT_FOR_SIPI);
}

/* AMD's processors leave the accessed bit clear; that is no mistake of the guest's. */
static void test_converted_segments(void)
{
    struct x86_state state;
    x86_state_reset(&state);
    for (unsigned int i = 0; i < X86_SEGMENT_COUNT; i++) {
        state.segment[i].attributes &= ~X86_TYPE_ACCESSED;
    }
    check_converted("segments that are not accessed", &state);
    state.segment[X86_DS] = (struct x86_segment){.attributes = X86_SEGMENT_UNUSABLE};
    check_converted("a null selector", &state);
}

/* What PAE paging has loaded is checked where it is known, and breaks no rule where it is not. */
static void test_converted_pdptes(void)
{
    struct x86_state state;
    struct entry_guest_state converted;
    struct entry_violation found[ENTRY_VIOLATIONS_MAX];
    x86_state_reset(&state);
    state.cr0 |= X86_CR0_PE | X86_CR0_PG;
    state.cr4 |= X86_CR4_PAE;
    for (unsigned int i = 0; i < ENTRY_PDPTES; i++) {
        state.pdptr[i] = (UINT64_C(0x2000) + 0x1000 * i) | 1;
    }
    state.pdptrs_known = true;
    check_converted("PAE paging", &state);
    state.pdptr[2] |= 2; /* reserved */
    entry_state_from_x86(&state, &converted);
    if (CHECK_EQUAL(entry_checks_run(&converted, found, ENTRY_VIOLATIONS_MAX), 1)) {
        CHECK(strcmp(found[0].rule->id, "pdpte-reserved") == 0 && found[0].instance == 2);
    }
    state.pdptrs_known = false;
    check_converted("PAE paging with unknown PDPTEs", &state);
}

/* ---- any state ---- */

static uint64_t random_state = 1;

static uint64_t next_random(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return random_state >> 29 ^ random_state << 17;
}

static void test_random_states(void)
{
    struct entry_guest_state state;
    struct entry_violation found[ENTRY_VIOLATIONS_MAX];
    char text[ENTRY_TEXT_MAX];
    unsigned int most = 0;
    for (unsigned int i = 0; i < 20000; i++) {
        entry_start((enum entry_start)(i % START_COUNT), &state);
        unsigned int changes = i % 64 == 0 ? 1000 : 1 + i % 8;
        for (unsigned int c = 0; c < changes; c++) {
            unsigned int id = 1 + (unsigned int)(next_random() % (ENTRY_FIELD_COUNT - 1));
            unsigned int count = entry_instance_count(entry_fields[id].instances);
            entry_field_set(&state, (enum entry_field_id)id, (unsigned int)next_random() % count,
                            next_random() >> next_random() % 64);
        }
        unsigned int count = entry_checks_run(&state, found, ENTRY_VIOLATIONS_MAX);
        most = count > most ? count : most;
        for (unsigned int v = 0; v < count && v < ENTRY_VIOLATIONS_MAX; v++) {
            entry_violation_describe(&found[v], text, sizeof(text));
            size_t length = strlen(text);
            bool fits = length < sizeof(text) - 1 && text[length - 1] == '\n';
            if (!fits) {
                CHECK(fits);
                return;
            }
        }
    }
    CHECK(most > 20 && most < ENTRY_VIOLATIONS_MAX);
}

int main(void)
{
    test_table();
    test_fields();
    test_valid_states();
    test_each_rule();
    test_text();
    test_boot_states();
    test_converted_events();
    test_converted_segments();
    test_converted_pdptes();
    test_random_states();
    return check_summary();
}
