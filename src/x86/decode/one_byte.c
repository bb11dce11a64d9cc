/*
 * The one-byte opcode map. The prefixes, 0F, VEX (C4, C5) and EVEX (62) never come here.
 */
#include "x86/decode/table.h"

/* The six regular forms of ADD, OR … CMP. */
#define ARITHMETIC(first, name, lock)                                                              \
    [(first) + 0] = {.operation = (name), .size = SIZE_BYTE, .rules = RULE_MODRM | (lock)},        \
               [(first) + 1] = {.operation = (name), .rules = RULE_MODRM | (lock)},                \
               [(first) + 2] = {.operation = (name), .size = SIZE_BYTE, .rules = RULE_MODRM},      \
               [(first) + 3] = {.operation = (name), .rules = RULE_MODRM},                         \
               [(first) +                                                                          \
                   4] = {.operation = (name), .size = SIZE_BYTE, .immediate = IMMEDIATE_8_SIGNED}, \
               [(first) + 5] = {.operation = (name), .immediate = IMMEDIATE_Z}

/* Eight opcodes that have a register in their low three bits. */
#define EIGHT(first, ...)                                                                          \
    [(first) + 0] = __VA_ARGS__, [(first) + 1] = __VA_ARGS__, [(first) + 2] = __VA_ARGS__,         \
               [(first) + 3] = __VA_ARGS__, [(first) + 4] = __VA_ARGS__,                           \
               [(first) + 5] = __VA_ARGS__, [(first) + 6] = __VA_ARGS__,                           \
               [(first) + 7] = __VA_ARGS__

#define PLAIN(name)                                                                                \
    {                                                                                              \
        .operation = (name)                                                                        \
    }
#define PLAIN_BYTE(name)                                                                           \
    {                                                                                              \
        .operation = (name), .size = SIZE_BYTE                                                     \
    }
#define NOT_64(name)                                                                               \
    {                                                                                              \
        .operation = (name), .rules = RULE_NOT_64                                                  \
    }

#define INC_DEC(name)                                                                              \
    {                                                                                              \
        .operation = (name), .rules = RULE_OPCODE_REG | RULE_NOT_64                                \
    }
#define PUSH_POP(name)                                                                             \
    {                                                                                              \
        .operation = (name), .size = SIZE_STACK, .rules = RULE_OPCODE_REG                          \
    }
#define XCHG_ROW                                                                                   \
    {                                                                                              \
        .operation = X86_OP_XCHG, .rules = RULE_OPCODE_REG                                         \
    }
#define MOV_BYTE                                                                                   \
    {                                                                                              \
        .operation = X86_OP_MOV, .size = SIZE_BYTE, .immediate = IMMEDIATE_8_SIGNED,               \
        .rules = RULE_OPCODE_REG                                                                   \
    }
#define MOV_REGISTER                                                                               \
    {                                                                                              \
        .operation = X86_OP_MOV, .immediate = IMMEDIATE_V, .rules = RULE_OPCODE_REG                \
    }
#define SHORT_BRANCH(name)                                                                         \
    {                                                                                              \
        .operation = (name), .size = SIZE_NEAR, .immediate = IMMEDIATE_8_SIGNED,                   \
        .rules = RULE_BRANCH | RULE_RELATIVE                                                       \
    }
#define NEAR_BRANCH(name)                                                                          \
    {                                                                                              \
        .operation = (name), .size = SIZE_NEAR, .immediate = IMMEDIATE_Z,                          \
        .rules = RULE_BRANCH | RULE_RELATIVE                                                       \
    }
#define FAR_BRANCH(name)                                                                           \
    {                                                                                              \
        .operation = (name), .immediate = IMMEDIATE_FAR, .rules = RULE_BRANCH | RULE_NOT_64        \
    }
#define SEGMENT_STACK(name)                                                                        \
    {                                                                                              \
        .operation = (name), .size = SIZE_STACK, .rules = RULE_NOT_64                              \
    }
#define BRANCH(name, imm)                                                                          \
    {                                                                                              \
        .operation = (name), .immediate = (imm), .rules = RULE_BRANCH                              \
    }
#define GROUP(group)                                                                               \
    {                                                                                              \
        .select = SELECT_REG, .table = (group)                                                     \
    }

static const struct x86_opcode opcode_63[2] = {
    {.operation = X86_OP_ARPL, .size = SIZE_WORD, .rules = RULE_MODRM},
    {.operation = X86_OP_MOVSXD, .memory = MEMORY_4, .rules = RULE_MODRM},
};

static const struct x86_opcode opcode_82[2] = {
    {.select = SELECT_REG, .table = x86_group_arithmetic_byte},
    {.operation = X86_OP_INVALID},
};

static const struct x86_opcode opcode_90[3] = {
    XCHG_ROW,
    PLAIN(X86_OP_NOP),
    PLAIN(X86_OP_PAUSE),
};

const struct x86_opcode x86_map_one_byte[256] = {
    ARITHMETIC(0x00, X86_OP_ADD, RULE_LOCK),
    [0x06] = SEGMENT_STACK(X86_OP_PUSH_SEGMENT),
    [0x07] = SEGMENT_STACK(X86_OP_POP_SEGMENT),
    ARITHMETIC(0x08, X86_OP_OR, RULE_LOCK),
    [0x0e] = SEGMENT_STACK(X86_OP_PUSH_SEGMENT),
    ARITHMETIC(0x10, X86_OP_ADC, RULE_LOCK),
    [0x16] = SEGMENT_STACK(X86_OP_PUSH_SEGMENT),
    [0x17] = SEGMENT_STACK(X86_OP_POP_SEGMENT),
    ARITHMETIC(0x18, X86_OP_SBB, RULE_LOCK),
    [0x1e] = SEGMENT_STACK(X86_OP_PUSH_SEGMENT),
    [0x1f] = SEGMENT_STACK(X86_OP_POP_SEGMENT),
    ARITHMETIC(0x20, X86_OP_AND, RULE_LOCK),
    [0x27] = NOT_64(X86_OP_DAA),
    ARITHMETIC(0x28, X86_OP_SUB, RULE_LOCK),
    [0x2f] = NOT_64(X86_OP_DAS),
    ARITHMETIC(0x30, X86_OP_XOR, RULE_LOCK),
    [0x37] = NOT_64(X86_OP_AAA),
    ARITHMETIC(0x38, X86_OP_CMP, 0),
    [0x3f] = NOT_64(X86_OP_AAS),
    EIGHT(0x40, INC_DEC(X86_OP_INC)),
    EIGHT(0x48, INC_DEC(X86_OP_DEC)),
    EIGHT(0x50, PUSH_POP(X86_OP_PUSH)),
    EIGHT(0x58, PUSH_POP(X86_OP_POP)),

    [0x60] = NOT_64(X86_OP_PUSHA),
    [0x61] = NOT_64(X86_OP_POPA),
    [0x62] = {.operation = X86_OP_BOUND,
              .memory = MEMORY_PAIR,
              .rules = RULE_MODRM | RULE_MEMORY | RULE_NOT_64},
    [0x63] = {.select = SELECT_MODE, .table = opcode_63},
    [0x68] = {.operation = X86_OP_PUSH, .size = SIZE_STACK, .immediate = IMMEDIATE_Z},
    [0x69] = {.operation = X86_OP_IMUL3, .immediate = IMMEDIATE_Z, .rules = RULE_MODRM},
    [0x6a] = {.operation = X86_OP_PUSH, .size = SIZE_STACK, .immediate = IMMEDIATE_8_SIGNED},
    [0x6b] = {.operation = X86_OP_IMUL3, .immediate = IMMEDIATE_8_SIGNED, .rules = RULE_MODRM},
    [0x6c] = PLAIN_BYTE(X86_OP_INS),
    [0x6d] = {.operation = X86_OP_INS, .size = SIZE_Z},
    [0x6e] = PLAIN_BYTE(X86_OP_OUTS),
    [0x6f] = {.operation = X86_OP_OUTS, .size = SIZE_Z},
    EIGHT(0x70, SHORT_BRANCH(X86_OP_JCC)),
    EIGHT(0x78, SHORT_BRANCH(X86_OP_JCC)),

    [0x80] = GROUP(x86_group_arithmetic_byte),
    [0x81] = GROUP(x86_group_arithmetic),
    [0x82] = {.select = SELECT_MODE, .table = opcode_82},
    [0x83] = GROUP(x86_group_arithmetic_sign_extend),
    [0x84] = {.operation = X86_OP_TEST, .size = SIZE_BYTE, .rules = RULE_MODRM},
    [0x85] = {.operation = X86_OP_TEST, .rules = RULE_MODRM},
    [0x86] = {.operation = X86_OP_XCHG, .size = SIZE_BYTE, .rules = RULE_MODRM | RULE_LOCK},
    [0x87] = {.operation = X86_OP_XCHG, .rules = RULE_MODRM | RULE_LOCK},
    [0x88] = {.operation = X86_OP_MOV, .size = SIZE_BYTE, .rules = RULE_MODRM},
    [0x89] = {.operation = X86_OP_MOV, .rules = RULE_MODRM},
    [0x8a] = {.operation = X86_OP_MOV, .size = SIZE_BYTE, .rules = RULE_MODRM},
    [0x8b] = {.operation = X86_OP_MOV, .rules = RULE_MODRM},
    [0x8c] = {.operation = X86_OP_MOV_FROM_SEGMENT,
              .memory = MEMORY_2,
              .rules = RULE_MODRM | RULE_CHECK},
    [0x8d] = {.operation = X86_OP_LEA, .memory = MEMORY_NONE, .rules = RULE_MODRM | RULE_MEMORY},
    [0x8e] = {.operation = X86_OP_MOV_TO_SEGMENT,
              .memory = MEMORY_2,
              .rules = RULE_MODRM | RULE_CHECK},
    [0x8f] = GROUP(x86_group_pop),

    [0x90] = {.select = SELECT_NOP, .table = opcode_90},
    [0x91] = XCHG_ROW,
    [0x92] = XCHG_ROW,
    [0x93] = XCHG_ROW,
    [0x94] = XCHG_ROW,
    [0x95] = XCHG_ROW,
    [0x96] = XCHG_ROW,
    [0x97] = XCHG_ROW,
    [0x98] = PLAIN(X86_OP_CBW),
    [0x99] = PLAIN(X86_OP_CWD),
    [0x9a] = FAR_BRANCH(X86_OP_CALL_FAR),
    [0x9b] = {.operation = X86_OP_FWAIT, .feature = X86_FEATURE_FPU},
    [0x9c] = {.operation = X86_OP_PUSHF, .size = SIZE_STACK},
    [0x9d] = {.operation = X86_OP_POPF, .size = SIZE_STACK},
    [0x9e] = PLAIN(X86_OP_SAHF),
    [0x9f] = PLAIN(X86_OP_LAHF),

    [0xa0] = {.operation = X86_OP_MOV_MOFFS_LOAD, .size = SIZE_BYTE, .immediate = IMMEDIATE_MOFFS},
    [0xa1] = {.operation = X86_OP_MOV_MOFFS_LOAD, .immediate = IMMEDIATE_MOFFS},
    [0xa2] = {.operation = X86_OP_MOV_MOFFS_STORE, .size = SIZE_BYTE, .immediate = IMMEDIATE_MOFFS},
    [0xa3] = {.operation = X86_OP_MOV_MOFFS_STORE, .immediate = IMMEDIATE_MOFFS},
    [0xa4] = PLAIN_BYTE(X86_OP_MOVS),
    [0xa5] = PLAIN(X86_OP_MOVS),
    [0xa6] = PLAIN_BYTE(X86_OP_CMPS),
    [0xa7] = PLAIN(X86_OP_CMPS),
    [0xa8] = {.operation = X86_OP_TEST, .size = SIZE_BYTE, .immediate = IMMEDIATE_8_SIGNED},
    [0xa9] = {.operation = X86_OP_TEST, .immediate = IMMEDIATE_Z},
    [0xaa] = PLAIN_BYTE(X86_OP_STOS),
    [0xab] = PLAIN(X86_OP_STOS),
    [0xac] = PLAIN_BYTE(X86_OP_LODS),
    [0xad] = PLAIN(X86_OP_LODS),
    [0xae] = PLAIN_BYTE(X86_OP_SCAS),
    [0xaf] = PLAIN(X86_OP_SCAS),
    EIGHT(0xb0, MOV_BYTE),
    EIGHT(0xb8, MOV_REGISTER),

    [0xc0] = GROUP(x86_group_shift_byte_immediate),
    [0xc1] = GROUP(x86_group_shift_immediate),
    [0xc2] = {.operation = X86_OP_RET,
              .size = SIZE_NEAR,
              .immediate = IMMEDIATE_16,
              .rules = RULE_BRANCH},
    [0xc3] = {.operation = X86_OP_RET, .size = SIZE_NEAR, .rules = RULE_BRANCH},
    [0xc4] = {.operation = X86_OP_LES,
              .memory = MEMORY_FAR,
              .rules = RULE_MODRM | RULE_MEMORY | RULE_NOT_64},
    [0xc5] = {.operation = X86_OP_LDS,
              .memory = MEMORY_FAR,
              .rules = RULE_MODRM | RULE_MEMORY | RULE_NOT_64},
    [0xc6] = GROUP(x86_group_mov_byte),
    [0xc7] = GROUP(x86_group_mov),
    [0xc8] = {.operation = X86_OP_ENTER, .size = SIZE_STACK, .immediate = IMMEDIATE_ENTER},
    [0xc9] = {.operation = X86_OP_LEAVE, .size = SIZE_STACK},
    [0xca] = BRANCH(X86_OP_RET_FAR, IMMEDIATE_16),
    [0xcb] = BRANCH(X86_OP_RET_FAR, IMMEDIATE_NONE),
    [0xcc] = BRANCH(X86_OP_INT3, IMMEDIATE_NONE),
    [0xcd] = BRANCH(X86_OP_INT, IMMEDIATE_8),
    [0xce] = {.operation = X86_OP_INTO, .rules = RULE_BRANCH | RULE_NOT_64},
    [0xcf] = BRANCH(X86_OP_IRET, IMMEDIATE_NONE),

    [0xd0] = GROUP(x86_group_shift_byte),
    [0xd1] = GROUP(x86_group_shift),
    [0xd2] = GROUP(x86_group_shift_byte),
    [0xd3] = GROUP(x86_group_shift),
    [0xd4] = {.operation = X86_OP_AAM, .immediate = IMMEDIATE_8, .rules = RULE_NOT_64},
    [0xd5] = {.operation = X86_OP_AAD, .immediate = IMMEDIATE_8, .rules = RULE_NOT_64},
    [0xd6] = NOT_64(X86_OP_SALC),
    [0xd7] = PLAIN_BYTE(X86_OP_XLAT),
    [0xd8] = {.select = SELECT_MOD, .table = x86_x87[0]},
    [0xd9] = {.select = SELECT_MOD, .table = x86_x87[1]},
    [0xda] = {.select = SELECT_MOD, .table = x86_x87[2]},
    [0xdb] = {.select = SELECT_MOD, .table = x86_x87[3]},
    [0xdc] = {.select = SELECT_MOD, .table = x86_x87[4]},
    [0xdd] = {.select = SELECT_MOD, .table = x86_x87[5]},
    [0xde] = {.select = SELECT_MOD, .table = x86_x87[6]},
    [0xdf] = {.select = SELECT_MOD, .table = x86_x87[7]},

    [0xe0] = SHORT_BRANCH(X86_OP_LOOPNE),
    [0xe1] = SHORT_BRANCH(X86_OP_LOOPE),
    [0xe2] = SHORT_BRANCH(X86_OP_LOOP),
    [0xe3] = SHORT_BRANCH(X86_OP_JCXZ),
    [0xe4] = {.operation = X86_OP_IN, .size = SIZE_BYTE, .immediate = IMMEDIATE_8},
    [0xe5] = {.operation = X86_OP_IN, .size = SIZE_Z, .immediate = IMMEDIATE_8},
    [0xe6] = {.operation = X86_OP_OUT, .size = SIZE_BYTE, .immediate = IMMEDIATE_8},
    [0xe7] = {.operation = X86_OP_OUT, .size = SIZE_Z, .immediate = IMMEDIATE_8},
    [0xe8] = NEAR_BRANCH(X86_OP_CALL),
    [0xe9] = NEAR_BRANCH(X86_OP_JMP),
    [0xea] = FAR_BRANCH(X86_OP_JMP_FAR),
    [0xeb] = SHORT_BRANCH(X86_OP_JMP),
    [0xec] = PLAIN_BYTE(X86_OP_IN),
    [0xed] = {.operation = X86_OP_IN, .size = SIZE_Z},
    [0xee] = PLAIN_BYTE(X86_OP_OUT),
    [0xef] = {.operation = X86_OP_OUT, .size = SIZE_Z},

    [0xf1] = BRANCH(X86_OP_INT1, IMMEDIATE_NONE),
    [0xf4] = PLAIN(X86_OP_HLT),
    [0xf5] = PLAIN(X86_OP_CMC),
    [0xf6] = GROUP(x86_group_unary_byte),
    [0xf7] = GROUP(x86_group_unary),
    [0xf8] = PLAIN(X86_OP_CLC),
    [0xf9] = PLAIN(X86_OP_STC),
    [0xfa] = PLAIN(X86_OP_CLI),
    [0xfb] = PLAIN(X86_OP_STI),
    [0xfc] = PLAIN(X86_OP_CLD),
    [0xfd] = PLAIN(X86_OP_STD),
    [0xfe] = GROUP(x86_group_inc_dec),
    [0xff] = GROUP(x86_group_indirect),
};
