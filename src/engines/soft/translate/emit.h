/*
 * Host instructions as bytes: the few forms that the translator makes itself, and guest
 * instructions put together again with another memory operand.
 *
 * Source:  Intel SDM volume 2, "Instruction Format".
 * Owner:   the caller; struct emitter is plain data. Code is written through one mapping and runs
 *          at another (code_memory.h): `displacement` lies between the two.
 * Thread:  any.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TRANSLATE_EMIT_H
#define TRAPEZE_ENGINES_SOFT_TRANSLATE_EMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "x86/decode/decode.h"

/* Bytes that one emitting function may write at most, and so must be left. */
#define EMIT_SLACK 32

struct emitter {
    uint8_t *at, *end;      /* in the writable mapping */
    ptrdiff_t displacement; /* from there to where the code runs */
    const uint8_t *origin;  /* what operands by emit_near() are told from */
    bool full;              /* something did not fit: what was emitted is no good */
};

/* A memory operand of the host. */
struct emit_memory {
    uint8_t base, index; /* register numbers, or X86_REGISTER_NONE; base: also RIP, see emit_near */
    uint8_t scale;       /* shift count */
    bool gs;             /* relative to GS */
    int32_t displacement;
};

/* Arithmetic by its place in the opcode map (opcode = 8 × n + form). */
enum emit_alu { EMIT_ADD, EMIT_OR, EMIT_ADC, EMIT_SBB, EMIT_AND, EMIT_SUB, EMIT_XOR, EMIT_CMP };

/* Condition codes, as in the low four bits of Jcc. */
enum emit_condition {
    EMIT_IF_BELOW = 2,
    EMIT_IF_NOT_BELOW = 3,
    EMIT_IF_EQUAL = 4,
    EMIT_IF_NOT_EQUAL = 5,
    EMIT_IF_ABOVE = 7
};

/* Where the next instruction will run. */
static inline const uint8_t *emit_address(const struct emitter *emitter)
{
    return emitter->at + emitter->displacement;
}

/* A field of struct soft_cpu. */
static inline struct emit_memory emit_gs(size_t offset)
{
    return (struct emit_memory){.base = X86_REGISTER_NONE,
                                .index = X86_REGISTER_NONE,
                                .gs = true,
                                .displacement = (int32_t)offset};
}

static inline struct emit_memory emit_at(unsigned int base, int32_t displacement)
{
    return (struct emit_memory){
        .base = (uint8_t)base, .index = X86_REGISTER_NONE, .displacement = displacement};
}

/*
 * What lies within 2 GByte of the code, relative to RIP: for instructions that end with their
 * memory operand (no immediate).
 */
static inline struct emit_memory emit_near(const struct emitter *emitter, const void *target)
{
    ptrdiff_t displacement = (const uint8_t *)target - emitter->origin;
    return emit_at(X86_REGISTER_RIP, (int32_t)displacement);
}

void emit_bytes(struct emitter *emitter, const void *bytes, size_t length);

#define EMIT(emitter, ...)                                                                         \
    emit_bytes(emitter, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* size: 1, 2, 4 or 8 bytes; byte registers are those that REX gives. */
void emit_load(struct emitter *emitter, unsigned int reg, struct emit_memory memory,
               unsigned int size);
void emit_store(struct emitter *emitter, struct emit_memory memory, unsigned int reg,
                unsigned int size);
void emit_store_immediate(struct emitter *emitter, struct emit_memory memory, int32_t value,
                          unsigned int size);
void emit_load_effective(struct emitter *emitter, unsigned int reg, struct emit_memory memory,
                         unsigned int size);
void emit_move(struct emitter *emitter, unsigned int to, unsigned int from);
void emit_move_immediate(struct emitter *emitter, unsigned int reg, uint64_t value);

void emit_alu_memory(struct emitter *emitter, enum emit_alu alu, unsigned int reg,
                     struct emit_memory memory);
void emit_alu_register(struct emitter *emitter, enum emit_alu alu, unsigned int reg,
                       unsigned int source, unsigned int size);
void emit_alu_immediate(struct emitter *emitter, enum emit_alu alu, unsigned int reg, int32_t value,
                        unsigned int size);
/* The memory operand of `size` bytes (1, 4 or 8) against or with an immediate of one byte. */
void emit_alu_memory_immediate(struct emitter *emitter, enum emit_alu alu,
                               struct emit_memory memory, int8_t value, unsigned int size);
void emit_shift(struct emitter *emitter, bool right, unsigned int reg, unsigned int count,
                unsigned int size);
/* RORX (BMI2): to = from rotated right by count, 64 bits, no flags changed. */
void emit_rotate(struct emitter *emitter, unsigned int to, unsigned int from, unsigned int count);

/*
 * Branches. The distance stands in the last four bytes of what is emitted; emit_patch sets it
 * later: at is where the instruction ends, in the writable mapping.
 */
void emit_jump(struct emitter *emitter, const uint8_t *target);
void emit_jump_if(struct emitter *emitter, unsigned int condition, const uint8_t *target);
void emit_jump_memory(struct emitter *emitter, struct emit_memory memory);
void emit_patch(uint8_t *end_of_branch, ptrdiff_t displacement, const uint8_t *target);
/* A branch that was emitted before leads here; nothing if it may not have been, for lack of room.
 */
void emit_patch_here(struct emitter *emitter, uint8_t *end_of_branch);

/* For instructions put together elsewhere: the bits X and B of REX, and all from ModRM on. */
unsigned int emit_extension_bits(struct emit_memory memory);
void emit_modrm_memory(struct emitter *emitter, unsigned int reg, struct emit_memory memory);

/* LDMXCSR, or STMXCSR if store. */
void emit_mxcsr(struct emitter *emitter, bool store, struct emit_memory memory);

/* The x87 instruction of an opcode from D8 to DF and ModRM.reg with a memory operand. */
void emit_escape_memory(struct emitter *emitter, unsigned int opcode, unsigned int extension,
                        struct emit_memory memory);

/*
 * A guest instruction with its ModRM memory operand replaced; opcode, register operands and
 * immediate are the guest's.
 */
void emit_with_memory(struct emitter *emitter, const struct x86_instruction *in,
                      const uint8_t *bytes, struct emit_memory memory);

/* The same with a register in place of the memory operand; legacy encoding only, no LOCK. */
void emit_with_register(struct emitter *emitter, const struct x86_instruction *in,
                        const uint8_t *bytes, unsigned int reg);

#endif
