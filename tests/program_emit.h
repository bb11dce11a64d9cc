/*
 * The maker of a random program: where random decisions come from, and instructions as bytes.
 *
 * Purpose: between program_generate.c, which knows what makes a program interesting, and
 *          program_emit.c, which knows how instructions are encoded.
 * Owner:   program_generate. Thread: its own.
 */
#ifndef TRAPEZE_TESTS_PROGRAM_EMIT_H
#define TRAPEZE_TESTS_PROGRAM_EMIT_H

#include "program.h"

struct program_maker {
    struct differential_random random;
    const uint8_t *bytes; /* of decisions; then comes what is random */
    size_t bytes_left;
    const struct differential_forms *forms;
    struct program *to;
    unsigned int ended; /* length of the code when the last instruction ended */
    unsigned int depth; /* of loops */
    unsigned int function_count;
    unsigned int functions[8]; /* where they begin, to be called from what follows */
    uint32_t moved_by;         /* a piece that was made for elsewhere */
};

/* An operand in ModRM: a register, or memory. */
struct program_operand {
    bool is_memory;
    uint8_t number; /* of the register */
    uint8_t base;   /* 0..15, X86_REGISTER_NONE or X86_REGISTER_RIP (then displacement is linear) */
    uint8_t index;  /* never RSP */
    uint8_t scale;
    int32_t displacement;
};

/* --- decisions --- */

uint64_t program_bits(struct program_maker *maker);
uint32_t program_below(struct program_maker *maker, uint32_t limit); /* 0 … limit - 1 */
bool program_chance(struct program_maker *maker, uint32_t percent);
uint8_t program_register(struct program_maker *maker);
uint64_t program_number(struct program_maker *maker);
uint32_t program_pointer(struct program_maker *maker);  /* to somewhere interesting */
unsigned int program_size(struct program_maker *maker); /* 1, 2, 4 or 8 */

/* --- bytes --- */

static inline uint32_t program_here(const struct program_maker *maker)
{
    return (uint32_t)(PROGRAM_CODE + maker->to->start + maker->to->length);
}

/* Is there room for what follows? Asked before each piece that is made. */
bool program_has_room(const struct program_maker *maker);

/* Ends an instruction: whatever was put since the last one. */
void program_put(struct program_maker *maker, const void *bytes, unsigned int length);
void program_end_instruction(struct program_maker *maker);
void program_instruction(struct program_maker *maker, const void *bytes, unsigned int length);

/* mov r, value: in the shortest form that it fits into. */
void program_load(struct program_maker *maker, unsigned int number, uint64_t value);

struct program_encoding {
    uint8_t map;    /* 0, 1: 0F */
    uint8_t opcode; /* with the bit for the size in it already */
    uint8_t size;   /* of the operand: 1, 2, 4, 8 */
    uint8_t reg;    /* register, or digit of the opcode */
    bool reg_is_digit;
    bool is_64_anyway; /* PUSH and the like: no REX.W needed */
    bool lock;
    uint8_t immediate_size;
    uint64_t immediate;
};

/* Returns the offset of the immediate in to->code. */
unsigned int program_encode(struct program_maker *maker, const struct program_encoding *encoding,
                            const struct program_operand *operand);

/* A memory operand of random kind. */
struct program_operand program_memory(struct program_maker *maker);
struct program_operand program_linear(uint32_t address); /* RIP-relative or absolute */

/* One random integer instruction; its memory operand, if it has one, is *memory where not NULL. */
void program_simple(struct program_maker *maker, const struct program_operand *memory);

/* ALU operation (0..7: ADD OR ADC SBB AND SUB XOR CMP) of a register and a number. */
void program_alu_immediate(struct program_maker *maker, unsigned int operation, unsigned int size,
                           unsigned int number, uint64_t value);

/* The opcode's bytes, the highest first; no leading zeroes but the last byte. */
void program_put_operation(struct program_maker *maker, unsigned int opcode);

/* A register that may be lost without losing the stack. */
uint8_t program_register_but_rsp(struct program_maker *maker);

/* Somewhere on the stack, most of the time. */
uint32_t program_stack_address(struct program_maker *maker);

/* What PUSH and POP move, bytes. */
#define PROGRAM_SLOT_SIZE(maker) ((maker)->to->is_32 ? 4 : 8)

#endif
