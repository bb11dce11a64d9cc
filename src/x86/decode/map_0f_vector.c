/*
 * The 0F opcode map where a mandatory prefix selects the instruction: MMX, SSE, SSE2, SSE3, SSE4A,
 * AVX and AVX2. Columns: no prefix, 66, F3, F2.
 */
#include "x86/decode/vector_rows.h"

/* A packed floating-point operation and its scalar siblings: ps, pd, ss, sd. */
#define ARITHMETIC                                                                                 \
    {                                                                                              \
        BOTH(SSE, AVX, AVX, VECTOR, THREE_ALIGNED | FP, 0),                                        \
            BOTH(SSE2, AVX, AVX, VECTOR, THREE_ALIGNED | FP, 0),                                   \
            BOTH(SSE, AVX, BASE, 4, THREE | FP, RULE_SCALAR),                                      \
            BOTH(SSE2, AVX, BASE, 8, THREE | FP, RULE_SCALAR)                                      \
    }

/* Only the packed ones: logic and shuffles. */
#define LOGIC                                                                                      \
    {                                                                                              \
        BOTH(SSE, AVX, AVX, VECTOR, THREE_ALIGNED, 0),                                             \
            BOTH(SSE2, AVX, AVX, VECTOR, THREE_ALIGNED, 0)                                         \
    }

/* RSQRT and RCP: ps and ss, without exceptions. */
#define ESTIMATE                                                                                   \
    {                                                                                              \
        BOTH(SSE, AVX, AVX, VECTOR, LOAD_ALIGNED, 0), NO_ROW,                                      \
            BOTH(SSE, AVX, BASE, 4, THREE, RULE_SCALAR)                                            \
    }

/* A packed integer operation: on MMX registers since `mmx`, on XMM since SSE2. */
#define INTEGER(mmx)                                                                               \
    {                                                                                              \
        MMX(mmx, 8, MMX_LOAD, 0), BOTH(SSE2, AVX, AVX2, VECTOR, THREE_ALIGNED, 0)                  \
    }

/* UNPCKL: the MMX form reads 4 bytes. */
#define UNPACK_LOW                                                                                 \
    {                                                                                              \
        MMX(MMX, 4, MMX_LOAD, 0), BOTH(SSE2, AVX, AVX2, VECTOR, THREE_ALIGNED, 0)                  \
    }

/* A shift by a register: the count operand stays 16 bytes with 32-byte vectors. */
#define SHIFT                                                                                      \
    {                                                                                              \
        MMX(MMX, 8, MMX_LOAD, 0), BOTH(SSE2, AVX, AVX2, 16, THREE_ALIGNED, 0)                      \
    }

static const struct x86_opcode movss_load[2] = {
    BOTH(SSE, AVX, BASE, 4, LOAD, RULE_SCALAR),
    BOTH(SSE, AVX, BASE, 4, THREE, RULE_SCALAR),
};
static const struct x86_opcode movsd_load[2] = {
    BOTH(SSE2, AVX, BASE, 8, LOAD, RULE_SCALAR),
    BOTH(SSE2, AVX, BASE, 8, THREE, RULE_SCALAR),
};
static const struct x86_opcode movss_store[2] = {
    BOTH(SSE, AVX, BASE, 4, STORE, RULE_SCALAR),
    BOTH(SSE, AVX, BASE, 4, STORE | VVVV, RULE_SCALAR),
};
static const struct x86_opcode movsd_store[2] = {
    BOTH(SSE2, AVX, BASE, 8, STORE, RULE_SCALAR),
    BOTH(SSE2, AVX, BASE, 8, STORE | VVVV, RULE_SCALAR),
};

/* Shifts by an immediate; ModRM.reg selects, VEX.vvvv is the destination. */
#define SHIFT_MMX MMX_IMM(MMX, NONE, RM_MMX, RULE_REGISTER)
#define SHIFT_XMM BOTH_IMM(SSE2, AVX, AVX2, NONE, RM_XMM | VVVV, RULE_REGISTER)
static const struct x86_opcode shift_words_mmx[8] = {
    [2] = SHIFT_MMX, [4] = SHIFT_MMX, [6] = SHIFT_MMX};
static const struct x86_opcode shift_words[8] = {[2] = SHIFT_XMM, [4] = SHIFT_XMM, [6] = SHIFT_XMM};
static const struct x86_opcode shift_quadwords_mmx[8] = {[2] = SHIFT_MMX, [6] = SHIFT_MMX};
static const struct x86_opcode shift_quadwords[8] = {
    [2] = SHIFT_XMM, [3] = SHIFT_XMM, [6] = SHIFT_XMM, [7] = SHIFT_XMM};

static const struct x86_opcode opcode_77[2] = {
    {.operation = X86_OP_EMMS, .feature = X86_FEATURE_MMX, .rules = RULE_NO_PREFIX},
    {.operation = X86_OP_VZERO,
     .feature_vex = {X86_FEATURE_AVX, X86_FEATURE_AVX},
     .rules = RULE_VEX_ONLY | RULE_VECTOR},
};

/* EXTRQ with immediates is a group with one member. */
static const struct x86_opcode extrq[8] = {
    ROW(SSE, SSE4A, BASE, BASE, NONE, TWO_BYTES, RM_XMM, RULE_VECTOR | RULE_REGISTER)};

#define VMREAD_ROW                                                                                 \
    {                                                                                              \
        .operation = X86_OP_VMX, .feature = X86_FEATURE_VMX, .size = SIZE_NATIVE,                  \
        .rules = RULE_MODRM                                                                        \
    }

const struct x86_opcode x86_map_0f_prefix[256][4] = {
    [0x10] = {BOTH(SSE, AVX, AVX, VECTOR, LOAD, 0),
              BOTH(SSE2, AVX, AVX, VECTOR, LOAD, 0),
              {.select = SELECT_MOD, .table = movss_load},
              {.select = SELECT_MOD, .table = movsd_load}},
    [0x11] = {BOTH(SSE, AVX, AVX, VECTOR, STORE, 0),
              BOTH(SSE2, AVX, AVX, VECTOR, STORE, 0),
              {.select = SELECT_MOD, .table = movss_store},
              {.select = SELECT_MOD, .table = movsd_store}},
    [0x12] = {BOTH(SSE, AVX, BASE, 8, THREE, 0), BOTH(SSE2, AVX, BASE, 8, THREE, RULE_MEMORY),
              BOTH(SSE3, AVX, AVX, VECTOR, LOAD_ALIGNED, 0),
              BOTH(SSE3, AVX, AVX, DUPLICATE, LOAD, 0)},
    [0x13] = {BOTH(SSE, AVX, BASE, 8, STORE, RULE_MEMORY),
              BOTH(SSE2, AVX, BASE, 8, STORE, RULE_MEMORY)},
    [0x14] = LOGIC,
    [0x15] = LOGIC,
    [0x16] = {BOTH(SSE, AVX, BASE, 8, THREE, 0), BOTH(SSE2, AVX, BASE, 8, THREE, RULE_MEMORY),
              BOTH(SSE3, AVX, AVX, VECTOR, LOAD_ALIGNED, 0)},
    [0x17] = {BOTH(SSE, AVX, BASE, 8, STORE, RULE_MEMORY),
              BOTH(SSE2, AVX, BASE, 8, STORE, RULE_MEMORY)},
    [0x28] = {BOTH(SSE, AVX, AVX, VECTOR, LOAD_ALIGNED, RULE_VEX_ALIGNED),
              BOTH(SSE2, AVX, AVX, VECTOR, LOAD_ALIGNED, RULE_VEX_ALIGNED)},
    [0x29] = {BOTH(SSE, AVX, AVX, VECTOR, STORE_ALIGNED, RULE_VEX_ALIGNED),
              BOTH(SSE2, AVX, AVX, VECTOR, STORE_ALIGNED, RULE_VEX_ALIGNED)},
    [0x2a] = {MMX(SSE, 8, REG_XMM | RM_MMX | READS | FP, 0),
              MMX(SSE2, 8, REG_XMM | RM_MMX | READS, 0),
              BOTH(SSE, AVX, BASE, OPERAND, REG_XMM | RM_GPR | VVVV | READS | FP, RULE_SCALAR),
              BOTH(SSE2, AVX, BASE, OPERAND, REG_XMM | RM_GPR | VVVV | READS | FP, RULE_SCALAR)},
    [0x2b] = {BOTH(SSE, AVX, AVX, VECTOR, STORE_ALIGNED, RULE_MEMORY | RULE_VEX_ALIGNED),
              BOTH(SSE2, AVX, AVX, VECTOR, STORE_ALIGNED, RULE_MEMORY | RULE_VEX_ALIGNED),
              LEGACY(SSE4A, 4, STORE, RULE_MEMORY), LEGACY(SSE4A, 8, STORE, RULE_MEMORY)},
    [0x2c] = {MMX(SSE, 8, REG_MMX | RM_XMM | READS | FP, 0),
              MMX(SSE2, 16, REG_MMX | RM_XMM | READS | FP | X86_SHAPE_ALIGNED, 0),
              BOTH(SSE, AVX, BASE, 4, REG_GPR | RM_XMM | READS | FP, RULE_SCALAR),
              BOTH(SSE2, AVX, BASE, 8, REG_GPR | RM_XMM | READS | FP, RULE_SCALAR)},
    [0x2d] = {MMX(SSE, 8, REG_MMX | RM_XMM | READS | FP, 0),
              MMX(SSE2, 16, REG_MMX | RM_XMM | READS | FP | X86_SHAPE_ALIGNED, 0),
              BOTH(SSE, AVX, BASE, 4, REG_GPR | RM_XMM | READS | FP, RULE_SCALAR),
              BOTH(SSE2, AVX, BASE, 8, REG_GPR | RM_XMM | READS | FP, RULE_SCALAR)},
    [0x2e] = {BOTH(SSE, AVX, BASE, 4, LOAD | FP | FLAGS, RULE_SCALAR),
              BOTH(SSE2, AVX, BASE, 8, LOAD | FP | FLAGS, RULE_SCALAR)},
    [0x2f] = {BOTH(SSE, AVX, BASE, 4, LOAD | FP | FLAGS, RULE_SCALAR),
              BOTH(SSE2, AVX, BASE, 8, LOAD | FP | FLAGS, RULE_SCALAR)},

    [0x50] = {BOTH(SSE, AVX, AVX, NONE, REG_GPR | RM_XMM, RULE_REGISTER),
              BOTH(SSE2, AVX, AVX, NONE, REG_GPR | RM_XMM, RULE_REGISTER)},
    [0x51] = {BOTH(SSE, AVX, AVX, VECTOR, LOAD_ALIGNED | FP, 0),
              BOTH(SSE2, AVX, AVX, VECTOR, LOAD_ALIGNED | FP, 0),
              BOTH(SSE, AVX, BASE, 4, THREE | FP, RULE_SCALAR),
              BOTH(SSE2, AVX, BASE, 8, THREE | FP, RULE_SCALAR)},
    [0x52] = ESTIMATE,
    [0x53] = ESTIMATE,
    [0x54] = LOGIC,
    [0x55] = LOGIC,
    [0x56] = LOGIC,
    [0x57] = LOGIC,
    [0x58] = ARITHMETIC,
    [0x59] = ARITHMETIC,
    [0x5a] = {BOTH(SSE2, AVX, AVX, VECTOR_HALF, LOAD | FP, 0),
              BOTH(SSE2, AVX, AVX, VECTOR, LOAD_ALIGNED | FP, 0),
              BOTH(SSE2, AVX, BASE, 4, THREE | FP, RULE_SCALAR),
              BOTH(SSE2, AVX, BASE, 8, THREE | FP, RULE_SCALAR)},
    [0x5b] = {BOTH(SSE2, AVX, AVX, VECTOR, LOAD_ALIGNED | FP, 0),
              BOTH(SSE2, AVX, AVX, VECTOR, LOAD_ALIGNED | FP, 0),
              BOTH(SSE2, AVX, AVX, VECTOR, LOAD_ALIGNED | FP, 0)},
    [0x5c] = ARITHMETIC,
    [0x5d] = ARITHMETIC,
    [0x5e] = ARITHMETIC,
    [0x5f] = ARITHMETIC,

    [0x60] = UNPACK_LOW,
    [0x61] = UNPACK_LOW,
    [0x62] = UNPACK_LOW,
    [0x63] = INTEGER(MMX),
    [0x64] = INTEGER(MMX),
    [0x65] = INTEGER(MMX),
    [0x66] = INTEGER(MMX),
    [0x67] = INTEGER(MMX),
    [0x68] = INTEGER(MMX),
    [0x69] = INTEGER(MMX),
    [0x6a] = INTEGER(MMX),
    [0x6b] = INTEGER(MMX),
    [0x6c] = {NO_ROW, BOTH(SSE2, AVX, AVX2, VECTOR, THREE_ALIGNED, 0)},
    [0x6d] = {NO_ROW, BOTH(SSE2, AVX, AVX2, VECTOR, THREE_ALIGNED, 0)},
    [0x6e] = {MMX(MMX, OPERAND, REG_MMX | RM_GPR | READS, 0),
              BOTH(SSE2, AVX, BASE, OPERAND, REG_XMM | RM_GPR | READS, 0)},
    [0x6f] = {MMX(MMX, 8, MMX_LOAD, 0),
              BOTH(SSE2, AVX, AVX, VECTOR, LOAD_ALIGNED, RULE_VEX_ALIGNED),
              BOTH(SSE2, AVX, AVX, VECTOR, LOAD, 0)},

    [0x70] = {MMX_IMM(SSE, 8, MMX_LOAD, 0), BOTH_IMM(SSE2, AVX, AVX2, VECTOR, LOAD_ALIGNED, 0),
              BOTH_IMM(SSE2, AVX, AVX2, VECTOR, LOAD_ALIGNED, 0),
              BOTH_IMM(SSE2, AVX, AVX2, VECTOR, LOAD_ALIGNED, 0)},
    [0x71] = {{.select = SELECT_REG, .table = shift_words_mmx},
              {.select = SELECT_REG, .table = shift_words}},
    [0x72] = {{.select = SELECT_REG, .table = shift_words_mmx},
              {.select = SELECT_REG, .table = shift_words}},
    [0x73] = {{.select = SELECT_REG, .table = shift_quadwords_mmx},
              {.select = SELECT_REG, .table = shift_quadwords}},
    [0x74] = INTEGER(MMX),
    [0x75] = INTEGER(MMX),
    [0x76] = INTEGER(MMX),
    [0x77] = {{.select = SELECT_VEX, .table = opcode_77}},
    [0x78] = {VMREAD_ROW,
              {.select = SELECT_REG, .table = extrq},
              NO_ROW,
              ROW(SSE, SSE4A, BASE, BASE, NONE, TWO_BYTES, REG_XMM | RM_XMM,
                  RULE_VECTOR | RULE_REGISTER)},
    [0x79] = {VMREAD_ROW, LEGACY(SSE4A, NONE, REG_XMM | RM_XMM, RULE_REGISTER), NO_ROW,
              LEGACY(SSE4A, NONE, REG_XMM | RM_XMM, RULE_REGISTER)},
    [0x7c] = {NO_ROW, BOTH(SSE3, AVX, AVX, VECTOR, THREE_ALIGNED | FP, 0), NO_ROW,
              BOTH(SSE3, AVX, AVX, VECTOR, THREE_ALIGNED | FP, 0)},
    [0x7d] = {NO_ROW, BOTH(SSE3, AVX, AVX, VECTOR, THREE_ALIGNED | FP, 0), NO_ROW,
              BOTH(SSE3, AVX, AVX, VECTOR, THREE_ALIGNED | FP, 0)},
    [0x7e] = {MMX(MMX, OPERAND, REG_MMX | RM_GPR | WRITES, 0),
              BOTH(SSE2, AVX, BASE, OPERAND, REG_XMM | RM_GPR | WRITES, 0),
              BOTH(SSE2, AVX, BASE, 8, LOAD, 0)},
    [0x7f] = {MMX(MMX, 8, MMX_STORE, 0),
              BOTH(SSE2, AVX, AVX, VECTOR, STORE_ALIGNED, RULE_VEX_ALIGNED),
              BOTH(SSE2, AVX, AVX, VECTOR, STORE, 0)},

    [0xc2] = {BOTH_IMM(SSE, AVX, AVX, VECTOR, THREE_ALIGNED | FP, 0),
              BOTH_IMM(SSE2, AVX, AVX, VECTOR, THREE_ALIGNED | FP, 0),
              BOTH_IMM(SSE, AVX, BASE, 4, THREE | FP, RULE_SCALAR),
              BOTH_IMM(SSE2, AVX, BASE, 8, THREE | FP, RULE_SCALAR)},
    [0xc4] = {MMX_IMM(SSE, 2, REG_MMX | RM_GPR | READS, 0),
              BOTH_IMM(SSE2, AVX, BASE, 2, REG_XMM | RM_GPR | VVVV | READS, 0)},
    [0xc5] = {MMX_IMM(SSE, NONE, REG_GPR | RM_MMX, RULE_REGISTER),
              BOTH_IMM(SSE2, AVX, BASE, NONE, REG_GPR | RM_XMM, RULE_REGISTER)},
    [0xc6] = {BOTH_IMM(SSE, AVX, AVX, VECTOR, THREE_ALIGNED, 0),
              BOTH_IMM(SSE2, AVX, AVX, VECTOR, THREE_ALIGNED, 0)},

    [0xd0] = {NO_ROW, BOTH(SSE3, AVX, AVX, VECTOR, THREE_ALIGNED | FP, 0), NO_ROW,
              BOTH(SSE3, AVX, AVX, VECTOR, THREE_ALIGNED | FP, 0)},
    [0xd1] = SHIFT,
    [0xd2] = SHIFT,
    [0xd3] = SHIFT,
    [0xd4] = INTEGER(SSE2),
    [0xd5] = INTEGER(MMX),
    [0xd6] = {NO_ROW, BOTH(SSE2, AVX, BASE, 8, STORE, 0),
              MMX(SSE2, NONE, REG_XMM | RM_MMX, RULE_REGISTER),
              MMX(SSE2, NONE, REG_MMX | RM_XMM, RULE_REGISTER)},
    [0xd7] = {MMX(SSE, NONE, REG_GPR | RM_MMX, RULE_REGISTER),
              BOTH(SSE2, AVX, AVX2, NONE, REG_GPR | RM_XMM, RULE_REGISTER)},
    [0xd8] = INTEGER(MMX),
    [0xd9] = INTEGER(MMX),
    [0xda] = INTEGER(SSE),
    [0xdb] = INTEGER(MMX),
    [0xdc] = INTEGER(MMX),
    [0xdd] = INTEGER(MMX),
    [0xde] = INTEGER(SSE),
    [0xdf] = INTEGER(MMX),

    [0xe0] = INTEGER(SSE),
    [0xe1] = SHIFT,
    [0xe2] = SHIFT,
    [0xe3] = INTEGER(SSE),
    [0xe4] = INTEGER(SSE),
    [0xe5] = INTEGER(MMX),
    [0xe6] = {NO_ROW, BOTH(SSE2, AVX, AVX, VECTOR, LOAD_ALIGNED | FP, 0),
              BOTH(SSE2, AVX, AVX, VECTOR_HALF, LOAD, 0),
              BOTH(SSE2, AVX, AVX, VECTOR, LOAD_ALIGNED | FP, 0)},
    [0xe7] = {MMX(SSE, 8, MMX_STORE, RULE_MEMORY),
              BOTH(SSE2, AVX, AVX, VECTOR, STORE_ALIGNED, RULE_MEMORY | RULE_VEX_ALIGNED)},
    [0xe8] = INTEGER(MMX),
    [0xe9] = INTEGER(MMX),
    [0xea] = INTEGER(SSE),
    [0xeb] = INTEGER(MMX),
    [0xec] = INTEGER(MMX),
    [0xed] = INTEGER(MMX),
    [0xee] = INTEGER(SSE),
    [0xef] = INTEGER(MMX),

    [0xf0] = {NO_ROW, NO_ROW, NO_ROW, BOTH(SSE3, AVX, AVX, VECTOR, LOAD, RULE_MEMORY)},
    [0xf1] = SHIFT,
    [0xf2] = SHIFT,
    [0xf3] = SHIFT,
    [0xf4] = INTEGER(SSE2),
    [0xf5] = INTEGER(MMX),
    [0xf6] = INTEGER(SSE),
    [0xf7] = {ROW(MASKMOV, SSE, BASE, BASE, NONE, NONE, REG_MMX | RM_MMX, RULE_REGISTER),
              ROW(MASKMOV, SSE2, AVX, BASE, NONE, NONE, REG_XMM | RM_XMM,
                  RULE_REGISTER | RULE_VECTOR)},
    [0xf8] = INTEGER(MMX),
    [0xf9] = INTEGER(MMX),
    [0xfa] = INTEGER(MMX),
    [0xfb] = INTEGER(SSE2),
    [0xfc] = INTEGER(MMX),
    [0xfd] = INTEGER(MMX),
    [0xfe] = INTEGER(MMX),
};
