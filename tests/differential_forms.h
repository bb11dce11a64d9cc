/*
 * The forms of instruction that cases are made of: an opcode with what selects its meaning.
 *
 * Purpose: between the enumeration (differential_forms.c) and the generator.
 * Owner:   whoever created them. Thread: any; constant once made.
 */
#ifndef TRAPEZE_TESTS_DIFFERENTIAL_FORMS_H
#define TRAPEZE_TESTS_DIFFERENTIAL_FORMS_H

#include "differential.h"

struct differential_form {
    enum x86_operation operation;
    uint8_t encoding, map, opcode;
    uint8_t prefix; /* 0, 1: 66, 2: F3, 3: F2, as in VEX.pp */
    uint8_t reg;    /* ModRM.reg, of which REX.R is free */
    bool wide;      /* REX.W, VEX.W */
    bool is_256;    /* VEX.L */
    bool is_memory; /* ModRM.mod is not 3 */
    bool valid_64, valid_32;
};

struct differential_forms {
    struct differential_form *all; /* by operation */
    unsigned int count, room;
    unsigned int operation_count;
    unsigned int first[X86_OP_COUNT + 1]; /* where each operation begins */
    bool any_64, any_32;                  /* is there one for this mode? */
    struct cpuid_table cpuid;
};

/* False for what is on the list of exclusions, or not shown to the guest. */
bool differential_comparable(const struct x86_instruction *in, const struct cpuid_table *cpuid);

#endif
