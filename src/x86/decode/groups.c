/*
 * Opcodes that ModRM extends: "Opcode Extensions For One-Byte And Two-Byte Opcodes".
 */
#include "x86/decode/table.h"

/* ADD … CMP by ModRM.reg, for one operand size and immediate. */
#define ARITHMETIC(size_, immediate_)                                                              \
    {                                                                                              \
        ARITHMETIC_ROW(X86_OP_ADD, size_, immediate_, RULE_LOCK),                                  \
            ARITHMETIC_ROW(X86_OP_OR, size_, immediate_, RULE_LOCK),                               \
            ARITHMETIC_ROW(X86_OP_ADC, size_, immediate_, RULE_LOCK),                              \
            ARITHMETIC_ROW(X86_OP_SBB, size_, immediate_, RULE_LOCK),                              \
            ARITHMETIC_ROW(X86_OP_AND, size_, immediate_, RULE_LOCK),                              \
            ARITHMETIC_ROW(X86_OP_SUB, size_, immediate_, RULE_LOCK),                              \
            ARITHMETIC_ROW(X86_OP_XOR, size_, immediate_, RULE_LOCK),                              \
            ARITHMETIC_ROW(X86_OP_CMP, size_, immediate_, 0),                                      \
    }
#define ARITHMETIC_ROW(name, size_, immediate_, lock)                                              \
    {                                                                                              \
        .operation = (name), .size = (size_), .immediate = (immediate_),                           \
        .rules = RULE_MODRM | (lock)                                                               \
    }

const struct x86_opcode x86_group_arithmetic_byte[8] = ARITHMETIC(SIZE_BYTE, IMMEDIATE_8_SIGNED);
const struct x86_opcode x86_group_arithmetic[8] = ARITHMETIC(SIZE_V, IMMEDIATE_Z);
const struct x86_opcode x86_group_arithmetic_sign_extend[8] =
    ARITHMETIC(SIZE_V, IMMEDIATE_8_SIGNED);

/* Encoding 6 of the shifts is SHL under another name. */
#define SHIFT(size_, immediate_)                                                                   \
    {                                                                                              \
        ARITHMETIC_ROW(X86_OP_ROL, size_, immediate_, 0),                                          \
            ARITHMETIC_ROW(X86_OP_ROR, size_, immediate_, 0),                                      \
            ARITHMETIC_ROW(X86_OP_RCL, size_, immediate_, 0),                                      \
            ARITHMETIC_ROW(X86_OP_RCR, size_, immediate_, 0),                                      \
            ARITHMETIC_ROW(X86_OP_SHL, size_, immediate_, 0),                                      \
            ARITHMETIC_ROW(X86_OP_SHR, size_, immediate_, 0),                                      \
            ARITHMETIC_ROW(X86_OP_SAL, size_, immediate_, 0),                                      \
            ARITHMETIC_ROW(X86_OP_SAR, size_, immediate_, 0),                                      \
    }

const struct x86_opcode x86_group_shift_byte_immediate[8] = SHIFT(SIZE_BYTE, IMMEDIATE_8);
const struct x86_opcode x86_group_shift_immediate[8] = SHIFT(SIZE_V, IMMEDIATE_8);
const struct x86_opcode x86_group_shift_byte[8] = SHIFT(SIZE_BYTE, IMMEDIATE_NONE);
const struct x86_opcode x86_group_shift[8] = SHIFT(SIZE_V, IMMEDIATE_NONE);

const struct x86_opcode x86_group_pop[8] = {
    {.operation = X86_OP_POP, .size = SIZE_STACK, .rules = RULE_MODRM},
};

const struct x86_opcode x86_group_mov_byte[8] = {
    ARITHMETIC_ROW(X86_OP_MOV, SIZE_BYTE, IMMEDIATE_8_SIGNED, 0),
};

const struct x86_opcode x86_group_mov[8] = {
    ARITHMETIC_ROW(X86_OP_MOV, SIZE_V, IMMEDIATE_Z, 0),
};

#define UNARY(size_, immediate_)                                                                   \
    {                                                                                              \
        ARITHMETIC_ROW(X86_OP_TEST, size_, immediate_, 0),                                         \
            ARITHMETIC_ROW(X86_OP_TEST, size_, immediate_, 0),                                     \
            ARITHMETIC_ROW(X86_OP_NOT, size_, IMMEDIATE_NONE, RULE_LOCK),                          \
            ARITHMETIC_ROW(X86_OP_NEG, size_, IMMEDIATE_NONE, RULE_LOCK),                          \
            ARITHMETIC_ROW(X86_OP_MUL, size_, IMMEDIATE_NONE, 0),                                  \
            ARITHMETIC_ROW(X86_OP_IMUL, size_, IMMEDIATE_NONE, 0),                                 \
            ARITHMETIC_ROW(X86_OP_DIV, size_, IMMEDIATE_NONE, 0),                                  \
            ARITHMETIC_ROW(X86_OP_IDIV, size_, IMMEDIATE_NONE, 0),                                 \
    }

const struct x86_opcode x86_group_unary_byte[8] = UNARY(SIZE_BYTE, IMMEDIATE_8_SIGNED);
const struct x86_opcode x86_group_unary[8] = UNARY(SIZE_V, IMMEDIATE_Z);

const struct x86_opcode x86_group_inc_dec[8] = {
    ARITHMETIC_ROW(X86_OP_INC, SIZE_BYTE, IMMEDIATE_NONE, RULE_LOCK),
    ARITHMETIC_ROW(X86_OP_DEC, SIZE_BYTE, IMMEDIATE_NONE, RULE_LOCK),
};

const struct x86_opcode x86_group_indirect[8] = {
    ARITHMETIC_ROW(X86_OP_INC, SIZE_V, IMMEDIATE_NONE, RULE_LOCK),
    ARITHMETIC_ROW(X86_OP_DEC, SIZE_V, IMMEDIATE_NONE, RULE_LOCK),
    {.operation = X86_OP_CALL_INDIRECT, .size = SIZE_NEAR, .rules = RULE_MODRM | RULE_BRANCH},
    {.operation = X86_OP_CALL_FAR_INDIRECT,
     .memory = MEMORY_FAR,
     .rules = RULE_MODRM | RULE_MEMORY | RULE_BRANCH},
    {.operation = X86_OP_JMP_INDIRECT, .size = SIZE_NEAR, .rules = RULE_MODRM | RULE_BRANCH},
    {.operation = X86_OP_JMP_FAR_INDIRECT,
     .memory = MEMORY_FAR,
     .rules = RULE_MODRM | RULE_MEMORY | RULE_BRANCH},
    {.operation = X86_OP_PUSH, .size = SIZE_STACK, .rules = RULE_MODRM},
};
