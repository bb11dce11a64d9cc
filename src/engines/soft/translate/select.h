/*
 * Which guest instructions become host instructions, and how.
 *
 * To add one: give its operation a row in select.c's table; if re-emitting it with another memory
 * operand is not enough, a function of its own in the select_*.c file of its kind.
 *
 * Owner, thread: the vCPU that translates.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TRANSLATE_SELECT_H
#define TRAPEZE_ENGINES_SOFT_TRANSLATE_SELECT_H

#include "engines/soft/translate/generate.h"

/* True if translate_select can make host code of it; at->in and at->facts hold. */
bool translate_can_select(const struct soft_cpu *cpu, const struct unit *unit,
                          const struct unit_instruction *at);

/* Makes the host code of generate->at, which translate_can_select has taken. */
void translate_select(struct generate *generate);

/* For groups.c: does it reach its ModRM memory operand by generate_operand, and store there? */
bool translate_has_operand_access(const struct unit_instruction *at);
bool translate_writes_operand(const struct unit_instruction *at);

/* True if its code neither looks at memory nor may call C, so that nobody sees flags there. */
bool translate_is_quiet(const struct unit_instruction *at);

/* What the rows of the table point at. */
typedef bool select_test(const struct soft_cpu *cpu, const struct unit *unit,
                         const struct unit_instruction *at);
typedef void select_function(struct generate *generate);

/* The same opcode on the host; another memory operand, if there is one. */
select_test select_plain_test;
select_function select_plain;

/* Is its memory operand, if relative to RIP, none of those at the very ends of what RIP reaches? */
bool select_is_in_reach(const struct x86_instruction *in);
/* Can check_linear_address make its memory operand's address? */
bool select_address_is_simple(const struct unit *unit, const struct x86_instruction *in);

/* select_branch.c */
select_test select_branch_test, select_indirect_test;
select_function select_jcc, select_jmp, select_call, select_ret, select_jmp_indirect,
    select_call_indirect;

/* select_stack.c */
select_test select_push_test, select_pop_test, select_leave_test;
select_function select_push, select_pop, select_leave;

/* select_string.c */
select_test select_string_test;
select_function select_string;

/* select_system.c */
select_test select_pushf_test, select_from_segment_test, select_kernel_test, select_swapgs_test;
select_function select_interrupt_flag, select_direction_flag, select_access_check, select_swapgs,
    select_pushf, select_time_stamp, select_from_segment, select_pause;

/* select_special.c */
select_test select_any_test, select_lea_test, select_divide_test, select_bit_test;
select_function select_lea, select_nop, select_divide, select_bit;
/* BT, BTS, BTR or BTC with a register that holds part of the address? */
bool select_is_bit_string(const struct x86_instruction *in);

/* select_vector.c */
select_test select_vector_test, select_vzero_test;
select_function select_vector, select_vzero, select_ldmxcsr, select_stmxcsr;
/* The rest of select_vector, once the registers are there. */
select_function select_vector_operands;

/* select_x87.c */
select_test select_x87_test, select_fwait_test, select_mmx_test, select_emms_test;
select_function select_x87, select_mmx, select_emms;
/* May it change which exceptions of the x87 are masked? */
bool select_x87_may_change_masks(const struct x86_instruction *in);

#endif
