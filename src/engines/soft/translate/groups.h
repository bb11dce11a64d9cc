/*
 * Which memory accesses of a block can share one check.
 *
 * Purpose: a program touches a stack frame or a structure many times by the same registers. One
 *          look into the TLB for the whole range is enough for all of these accesses: a group. Its
 *          leader checks, before anything else of its instruction, and puts the host's address of
 *          the lowest into a slot of the vCPU's state; the others find it there, know how far they
 *          are from it, and change no flags.
 * Owner:   values in struct unit. Thread: any.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TRANSLATE_GROUPS_H
#define TRAPEZE_ENGINES_SOFT_TRANSLATE_GROUPS_H

#include <stdbool.h>
#include <stdint.h>

struct unit;

#define NO_GROUP (-1)

/* An instruction's accesses: the ModRM memory operand, and the stack (PUSH, POP, CALL, RET …). */
enum unit_access { UNIT_OPERAND, UNIT_STACK, UNIT_ACCESSES };

/* What the group analysis says of one access. */
struct unit_grouping {
    int8_t group;      /* its slot, or NO_GROUP */
    bool leads;        /* it is the first of its group: it makes the check */
    uint8_t low;       /* its address's lowest bits, up to something that all of the group share */
    uint16_t distance; /* of its address from the group's lowest */
};

struct unit_group {
    int32_t from;  /* lowest address of the group, relative to the leader's address */
    uint16_t size; /* bytes from there on */
    bool write;    /* some of them are stores */
};

/* Fills in the groupings of the unit's instructions, and unit->groups. */
void translate_find_groups(struct unit *unit);

#endif
