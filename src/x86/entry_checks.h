/*
 * The entry doctor: which rule of VM entry does a guest's state break?
 *
 * Purpose: the processor says "invalid guest state" and no more. Here are its checks on the
 *          guest-state area as data: each with an id, the rule in words, the manual's section, the
 *          function that tests it and the fields that it looks at. KVM's refusals, saved states,
 *          our own VT-x code and a software VMX all use this one table.
 * Source:  Intel SDM volume 3, chapter "VM Entries", "Checks on the Guest State Area". Each section
 *          of it is a section here, under its title.
 * Owner:   constants, and plain data of the caller.
 * Thread:  any. Freestanding: no allocation, nothing of libc but memory functions.
 */
#ifndef TRAPEZE_X86_ENTRY_CHECKS_H
#define TRAPEZE_X86_ENTRY_CHECKS_H

#include <stddef.h>

#include "x86/entry_state.h"

#define ENTRY_RULE_FIELDS_MAX 5

struct entry_rule {
    const char *id;    /* short and stable: "cr4-cet-needs-wp" */
    const char *words; /* what must hold; where a rule has instances, "it" is the register */
    enum entry_instances instances;
    unsigned int mask; /* which of the instances: bit 0 is the first; 0 with ENTRY_ONCE */
    /* True if the state keeps the rule, or if the rule does not apply to it. */
    bool (*holds)(const struct entry_guest_state *state, unsigned int instance);
    /*
     * What the function looks at, for people; ENTRY_FIELD_NONE ends the list if it is shorter. An
     * id alone is the field of the instance that is tested, ENTRY_OF names another instance's.
     */
    uint16_t fields[ENTRY_RULE_FIELDS_MAX];
};

#define ENTRY_OF(field, instance) ((uint16_t)((field) | (((instance) + 1u) << 8)))

struct entry_section {
    const char *title; /* as in the manual's current edition */
    const struct entry_rule *rules;
    unsigned int rule_count;
};

/* The one table: the sections in the manual's order; ends with NULL. */
extern const struct entry_section *const entry_sections[];

/* A state cannot break more, all rules and their instances together. */
#define ENTRY_VIOLATIONS_MAX 256

/* A field with the value that it had. */
struct entry_value {
    enum entry_field_id id;
    unsigned int instance;
    uint64_t value;
};

/* A broken rule. Stands for itself: the state may be gone. */
struct entry_violation {
    const struct entry_section *section;
    const struct entry_rule *rule;
    unsigned int instance; /* which register; 0 with ENTRY_ONCE */
    unsigned int value_count;
    struct entry_value values[ENTRY_RULE_FIELDS_MAX];
};

/*
 * Tests the rules of every section. Writes the first `max` that are broken to out, in the order of
 * the table; returns how many are broken, which may be more. Any state may be given.
 */
unsigned int entry_checks_run(const struct entry_guest_state *state, struct entry_violation *out,
                              unsigned int max);

/* The same for sections of the caller's own, which end as entry_sections does. */
unsigned int entry_checks_run_sections(const struct entry_section *const *sections,
                                       const struct entry_guest_state *state,
                                       struct entry_violation *out, unsigned int max);

/* ---- text ---- */

#define ENTRY_TEXT_MAX 2048 /* holds each of the following */

/* Each writes a string of at most size - 1 characters, cut if need be; size is not 0. */

/* "cs.base": the field as files spell it. */
void entry_field_name(enum entry_field_id id, unsigned int instance, char *text, size_t size);

/*
 * One line without a newline, for the end of an error message:
 * "access-rights-p (DS access rights 0x13)".
 */
void entry_violation_brief(const struct entry_violation *violation, char *text, size_t size);

/*
 * Lines for people, each with a newline: which rule is broken, its words, the section, then each
 * field with its value and what its bits mean.
 */
void entry_violation_describe(const struct entry_violation *violation, char *text, size_t size);

#endif
