/*
 * How to find out flags that the host's EFLAGS no longer hold.
 *
 * Purpose: a check of the TLB destroys EFLAGS. Flags that no instruction reads before they are
 *          overwritten need not be saved for the guest's sake, but an exception in between shows
 *          them. They can be computed then, if the registers still hold what the instruction that
 *          made them had, or left: this says how.
 * Owner:   plain data. Thread: any.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TRANSLATE_RECIPE_H
#define TRAPEZE_ENGINES_SOFT_TRANSLATE_RECIPE_H

#include <stdbool.h>
#include <stdint.h>

struct soft_cpu;
struct unit_instruction;

enum translate_recipe_kind {
    RECIPE_NONE,  /* the flags are where they are said to be */
    RECIPE_LOGIC, /* of a result: AND, OR, XOR */
    RECIPE_ADD,   /* of a result and the addend */
    RECIPE_SUB,   /* of a result and the subtrahend */
    RECIPE_NEG,   /* of a result */
    RECIPE_CMP,   /* of the two operands */
    RECIPE_TEST
};

/* In place of a register: */
#define RECIPE_IMMEDIATE 0xff
#define RECIPE_MEMORY    0xfe /* what was in memory; kept in the vCPU's state */

struct translate_recipe {
    uint8_t kind;          /* enum translate_recipe_kind */
    uint8_t size;          /* bytes */
    uint8_t first, second; /* registers */
    bool has_rex;          /* what byte registers 4 to 7 mean */
    int32_t immediate;
};

/*
 * The recipe for the flags of an instruction, RECIPE_NONE if there is none; *needs: the registers
 * that it will look at. Where it says RECIPE_MEMORY, the instruction must leave the value of its
 * memory operand in translate.flags_operand.
 */
struct translate_recipe translate_recipe_of(const struct unit_instruction *at, uint32_t *needs);

/* Sets cpu->arithmetic by it. RECIPE_NONE: leaves it. */
void translate_recipe_apply(struct soft_cpu *cpu, const struct translate_recipe *recipe);

#endif
