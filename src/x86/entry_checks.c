#include "x86/entry_checks.h"

#include "x86/entry_checks_sections.h"

const struct entry_section *const entry_sections[] = {
    &entry_control_section,
    &entry_segment_section,
    &entry_table_section,
    &entry_execution_section,
    &entry_event_section,
    &entry_pdpte_section,
    NULL,
};

static void fill_in(const struct entry_guest_state *state, const struct entry_section *section,
                    const struct entry_rule *rule, unsigned int instance,
                    struct entry_violation *violation)
{
    *violation = (struct entry_violation){.section = section, .rule = rule, .instance = instance};
    for (unsigned int i = 0; i < ENTRY_RULE_FIELDS_MAX && rule->fields[i] != ENTRY_FIELD_NONE;
         i++) {
        unsigned int of = rule->fields[i] >> 8;
        struct entry_value *value = &violation->values[violation->value_count++];
        value->id = (enum entry_field_id)(rule->fields[i] & 0xff);
        value->instance = of != 0 ? of - 1 : instance;
        if (entry_fields[value->id].instances == ENTRY_ONCE) {
            value->instance = 0;
        }
        value->value = entry_field_get(state, value->id, value->instance);
    }
}

unsigned int entry_checks_run_sections(const struct entry_section *const *sections,
                                       const struct entry_guest_state *state,
                                       struct entry_violation *out, unsigned int max)
{
    unsigned int broken = 0;
    for (; *sections != NULL; sections++) {
        const struct entry_section *section = *sections;
        for (unsigned int i = 0; i < section->rule_count; i++) {
            const struct entry_rule *rule = &section->rules[i];
            unsigned int count = entry_instance_count(rule->instances);
            for (unsigned int instance = 0; instance < count; instance++) {
                bool applies =
                    rule->instances == ENTRY_ONCE || (rule->mask & (1u << instance)) != 0;
                if (!applies || rule->holds(state, instance)) {
                    continue;
                }
                if (broken < max) {
                    fill_in(state, section, rule, instance, &out[broken]);
                }
                broken++;
            }
        }
    }
    return broken;
}

unsigned int entry_checks_run(const struct entry_guest_state *state, struct entry_violation *out,
                              unsigned int max)
{
    return entry_checks_run_sections(entry_sections, state, out, max);
}
