/*
 * The 0F38 opcode map: SSSE3, SSE4, AES, SHA, AVX, AVX2, FMA, BMI, MOVBE, CRC32.
 * Columns: no prefix, 66, F3, F2.
 */
#include "x86/decode/vector_rows.h"

#define SSSE3_BINARY                                                                               \
    {                                                                                              \
        MMX(SSSE3, 8, MMX_LOAD, 0), BOTH(SSSE3, AVX, AVX2, VECTOR, THREE_ALIGNED, 0)               \
    }
#define SSSE3_UNARY                                                                                \
    {                                                                                              \
        MMX(SSSE3, 8, MMX_LOAD, 0), BOTH(SSSE3, AVX, AVX2, VECTOR, LOAD_ALIGNED, 0)                \
    }
#define SSE4(feature_, shape_)                                                                     \
    {                                                                                              \
        NO_ROW, BOTH(feature_, AVX, AVX2, VECTOR, shape_, 0)                                       \
    }
#define EXTEND(memory_)                                                                            \
    {                                                                                              \
        NO_ROW, BOTH(SSE4_1, AVX, AVX2, memory_, LOAD, 0)                                          \
    }
#define BLEND                                                                                      \
    {                                                                                              \
        NO_ROW, LEGACY(SSE4_1, VECTOR, LOAD_ALIGNED | XMM0, 0)                                     \
    }
#define ONLY_66(...)                                                                               \
    {                                                                                              \
        NO_ROW, __VA_ARGS__                                                                        \
    }
#define FMA_PACKED ONLY_66(VEX(FMA, FMA, VECTOR, THREE | FP, 0))
#define FMA_SCALAR ONLY_66(VEX(FMA, BASE, W, THREE | FP, RULE_SCALAR))
#define MASKED(vex128, vex256, shape_, rules_)                                                     \
    ONLY_66(ROW(VMASKMOV, BASE, vex128, vex256, VECTOR, NONE, shape_,                              \
                RULE_VEX_ONLY | RULE_VECTOR | RULE_MEMORY | (rules_)))
#define GATHER                                                                                     \
    ONLY_66(ROW(GATHER, BASE, AVX2, AVX2, W, NONE,                                                 \
                REG_XMM | VVVV | READS | X86_SHAPE_VSIB | RM_XMM,                                  \
                RULE_VEX_ONLY | RULE_VECTOR | RULE_MEMORY | RULE_CHECK))
#define SHA(shape_)                                                                                \
    {                                                                                              \
        LEGACY(SHA, VECTOR, LOAD_ALIGNED | (shape_), 0)                                            \
    }
#define AES_ROUND ONLY_66(BOTH(AES, AES, VAES, VECTOR, THREE_ALIGNED, 0))
#define VMX_INVALIDATE                                                                             \
    ONLY_66({.operation = X86_OP_VMX,                                                              \
             .feature = X86_FEATURE_VMX,                                                           \
             .size = SIZE_NATIVE,                                                                  \
             .memory = MEMORY_16,                                                                  \
             .rules = RULE_MODRM | RULE_MEMORY})

#define MOVBE_ROW                                                                                  \
    {                                                                                              \
        .operation = X86_OP_MOVBE, .feature = X86_FEATURE_MOVBE, .rules = RULE_MODRM | RULE_MEMORY \
    }
#define CRC32_ROW(size_)                                                                           \
    {                                                                                              \
        .operation = X86_OP_CRC32, .feature = X86_FEATURE_SSE4_2, .size = (size_),                 \
        .rules = RULE_MODRM                                                                        \
    }
#define ADX_ROW(name)                                                                              \
    {                                                                                              \
        .operation = (name), .feature = X86_FEATURE_ADX, .size = SIZE_W, .rules = RULE_MODRM       \
    }

static const struct x86_opcode group_f3[8] = {
    [1] = BMI(BLSR, BMI1, RM_GPR | VVVV_GPR | READS | FLAGS),
    [2] = BMI(BLSMSK, BMI1, RM_GPR | VVVV_GPR | READS | FLAGS),
    [3] = BMI(BLSI, BMI1, RM_GPR | VVVV_GPR | READS | FLAGS),
};

/* With 66, F2 wins the selection and 66 stays operand size: [0] MOVBE, [2] CRC32. */
static const struct x86_opcode opcode_f0[3] = {MOVBE_ROW, NO_ROW, CRC32_ROW(SIZE_BYTE)};
static const struct x86_opcode opcode_f1[3] = {MOVBE_ROW, NO_ROW, CRC32_ROW(SIZE_V)};
#define BY_REPEAT(rows)                                                                            \
    {                                                                                              \
        .select = SELECT_REPEAT, .table = (rows)                                                   \
    }

static const struct x86_opcode broadcast_single[2] = {
    VEX(AVX, AVX, 4, LOAD, RULE_W0),
    VEX(AVX2, AVX2, 4, LOAD, RULE_W0),
};
static const struct x86_opcode broadcast_double[2] = {
    VEX(BASE, AVX, 8, LOAD, RULE_W0),
    VEX(BASE, AVX2, 8, LOAD, RULE_W0),
};

const struct x86_opcode x86_map_0f38_prefix[256][4] = {
    [0x00] = SSSE3_BINARY,
    [0x01] = SSSE3_BINARY,
    [0x02] = SSSE3_BINARY,
    [0x03] = SSSE3_BINARY,
    [0x04] = SSSE3_BINARY,
    [0x05] = SSSE3_BINARY,
    [0x06] = SSSE3_BINARY,
    [0x07] = SSSE3_BINARY,
    [0x08] = SSSE3_BINARY,
    [0x09] = SSSE3_BINARY,
    [0x0a] = SSSE3_BINARY,
    [0x0b] = SSSE3_BINARY,
    [0x0c] = ONLY_66(VEX(AVX, AVX, VECTOR, THREE, RULE_W0)), /* VPERMILPS */
    [0x0d] = ONLY_66(VEX(AVX, AVX, VECTOR, THREE, RULE_W0)),
    [0x0e] = ONLY_66(VEX(AVX, AVX, VECTOR, LOAD | FLAGS, RULE_W0)), /* VTESTPS */
    [0x0f] = ONLY_66(VEX(AVX, AVX, VECTOR, LOAD | FLAGS, RULE_W0)),

    [0x10] = BLEND,
    [0x13] = ONLY_66(VEX(F16C, F16C, VECTOR_HALF, LOAD | FP, RULE_W0)),
    [0x14] = BLEND,
    [0x15] = BLEND,
    [0x16] = ONLY_66(VEX(BASE, AVX2, VECTOR, THREE, RULE_W0)),                 /* VPERMPS */
    [0x17] = ONLY_66(BOTH(SSE4_1, AVX, AVX, VECTOR, LOAD_ALIGNED | FLAGS, 0)), /* PTEST */
    [0x18] = ONLY_66({.select = SELECT_MOD, .table = broadcast_single}),
    [0x19] = ONLY_66({.select = SELECT_MOD, .table = broadcast_double}),
    [0x1a] = ONLY_66(VEX(BASE, AVX, 16, LOAD, RULE_W0 | RULE_MEMORY)),
    [0x1c] = SSSE3_UNARY,
    [0x1d] = SSSE3_UNARY,
    [0x1e] = SSSE3_UNARY,

    [0x20] = EXTEND(VECTOR_HALF), /* PMOVSX: bytes to words, … */
    [0x21] = EXTEND(VECTOR_QUARTER),
    [0x22] = EXTEND(VECTOR_EIGHTH),
    [0x23] = EXTEND(VECTOR_HALF),
    [0x24] = EXTEND(VECTOR_QUARTER),
    [0x25] = EXTEND(VECTOR_HALF),
    [0x28] = SSE4(SSE4_1, THREE_ALIGNED),
    [0x29] = SSE4(SSE4_1, THREE_ALIGNED),
    [0x2a] = ONLY_66(BOTH(SSE4_1, AVX, AVX2, VECTOR, LOAD_ALIGNED, RULE_MEMORY | RULE_VEX_ALIGNED)),
    [0x2b] = SSE4(SSE4_1, THREE_ALIGNED),
    [0x2c] = MASKED(AVX, AVX, THREE, RULE_W0),
    [0x2d] = MASKED(AVX, AVX, THREE, RULE_W0),
    [0x2e] = MASKED(AVX, AVX, STORE | VVVV, RULE_W0),
    [0x2f] = MASKED(AVX, AVX, STORE | VVVV, RULE_W0),

    [0x30] = EXTEND(VECTOR_HALF), /* PMOVZX */
    [0x31] = EXTEND(VECTOR_QUARTER),
    [0x32] = EXTEND(VECTOR_EIGHTH),
    [0x33] = EXTEND(VECTOR_HALF),
    [0x34] = EXTEND(VECTOR_QUARTER),
    [0x35] = EXTEND(VECTOR_HALF),
    [0x36] = ONLY_66(VEX(BASE, AVX2, VECTOR, THREE, RULE_W0)), /* VPERMD */
    [0x37] = SSE4(SSE4_2, THREE_ALIGNED),
    [0x38] = SSE4(SSE4_1, THREE_ALIGNED),
    [0x39] = SSE4(SSE4_1, THREE_ALIGNED),
    [0x3a] = SSE4(SSE4_1, THREE_ALIGNED),
    [0x3b] = SSE4(SSE4_1, THREE_ALIGNED),
    [0x3c] = SSE4(SSE4_1, THREE_ALIGNED),
    [0x3d] = SSE4(SSE4_1, THREE_ALIGNED),
    [0x3e] = SSE4(SSE4_1, THREE_ALIGNED),
    [0x3f] = SSE4(SSE4_1, THREE_ALIGNED),

    [0x40] = SSE4(SSE4_1, THREE_ALIGNED),
    [0x41] = ONLY_66(BOTH(SSE4_1, AVX, BASE, VECTOR, LOAD_ALIGNED, 0)), /* PHMINPOSUW */
    [0x45] = ONLY_66(VEX(AVX2, AVX2, VECTOR, THREE, 0)),
    [0x46] = ONLY_66(VEX(AVX2, AVX2, VECTOR, THREE, RULE_W0)),
    [0x47] = ONLY_66(VEX(AVX2, AVX2, VECTOR, THREE, 0)),
    [0x50] = ONLY_66(VEX(AVX_VNNI, AVX_VNNI, VECTOR, THREE, RULE_W0)),
    [0x51] = ONLY_66(VEX(AVX_VNNI, AVX_VNNI, VECTOR, THREE, RULE_W0)),
    [0x52] = ONLY_66(VEX(AVX_VNNI, AVX_VNNI, VECTOR, THREE, RULE_W0)),
    [0x53] = ONLY_66(VEX(AVX_VNNI, AVX_VNNI, VECTOR, THREE, RULE_W0)),
    [0x58] = ONLY_66(VEX(AVX2, AVX2, 4, LOAD, RULE_W0)), /* VPBROADCASTD */
    [0x59] = ONLY_66(VEX(AVX2, AVX2, 8, LOAD, RULE_W0)),
    [0x5a] = ONLY_66(VEX(BASE, AVX2, 16, LOAD, RULE_W0 | RULE_MEMORY)),
    [0x78] = ONLY_66(VEX(AVX2, AVX2, 1, LOAD, RULE_W0)),
    [0x79] = ONLY_66(VEX(AVX2, AVX2, 2, LOAD, RULE_W0)),

    [0x80] = VMX_INVALIDATE, /* INVEPT, INVVPID */
    [0x81] = VMX_INVALIDATE,
    [0x82] = ONLY_66({.operation = X86_OP_INVPCID,
                      .feature = X86_FEATURE_INVPCID,
                      .size = SIZE_NATIVE,
                      .memory = MEMORY_16,
                      .rules = RULE_MODRM | RULE_MEMORY}),
    [0x8c] = MASKED(AVX2, AVX2, THREE, 0),
    [0x8e] = MASKED(AVX2, AVX2, STORE | VVVV, 0),
    [0x90] = GATHER,
    [0x91] = GATHER,
    [0x92] = GATHER,
    [0x93] = GATHER,
    [0x96] = FMA_PACKED,
    [0x97] = FMA_PACKED,
    [0x98] = FMA_PACKED,
    [0x99] = FMA_SCALAR,
    [0x9a] = FMA_PACKED,
    [0x9b] = FMA_SCALAR,
    [0x9c] = FMA_PACKED,
    [0x9d] = FMA_SCALAR,
    [0x9e] = FMA_PACKED,
    [0x9f] = FMA_SCALAR,
    [0xa6] = FMA_PACKED,
    [0xa7] = FMA_PACKED,
    [0xa8] = FMA_PACKED,
    [0xa9] = FMA_SCALAR,
    [0xaa] = FMA_PACKED,
    [0xab] = FMA_SCALAR,
    [0xac] = FMA_PACKED,
    [0xad] = FMA_SCALAR,
    [0xae] = FMA_PACKED,
    [0xaf] = FMA_SCALAR,
    [0xb6] = FMA_PACKED,
    [0xb7] = FMA_PACKED,
    [0xb8] = FMA_PACKED,
    [0xb9] = FMA_SCALAR,
    [0xba] = FMA_PACKED,
    [0xbb] = FMA_SCALAR,
    [0xbc] = FMA_PACKED,
    [0xbd] = FMA_SCALAR,
    [0xbe] = FMA_PACKED,
    [0xbf] = FMA_SCALAR,

    [0xc8] = SHA(0),
    [0xc9] = SHA(0),
    [0xca] = SHA(0),
    [0xcb] = SHA(XMM0),
    [0xcc] = SHA(0),
    [0xcd] = SHA(0),
    [0xcf] = ONLY_66(BOTH(GFNI, GFNI, GFNI, VECTOR, THREE_ALIGNED, RULE_W0)),
    [0xdb] = ONLY_66(BOTH(AES, AES, BASE, VECTOR, LOAD_ALIGNED, 0)), /* AESIMC */
    [0xdc] = AES_ROUND,
    [0xdd] = AES_ROUND,
    [0xde] = AES_ROUND,
    [0xdf] = AES_ROUND,

    [0xf0] = {BY_REPEAT(opcode_f0), BY_REPEAT(opcode_f0), BY_REPEAT(opcode_f0),
              BY_REPEAT(opcode_f0)},
    [0xf1] = {BY_REPEAT(opcode_f1), BY_REPEAT(opcode_f1), BY_REPEAT(opcode_f1),
              BY_REPEAT(opcode_f1)},
    [0xf2] = {BMI(ANDN, BMI1, REG_GPR | RM_GPR | VVVV_GPR | READS | FLAGS)},
    [0xf3] = {{.select = SELECT_REG, .table = group_f3}},
    [0xf5] = {BMI(BZHI, BMI2, REG_GPR | RM_GPR | VVVV_GPR | READS | FLAGS), NO_ROW,
              BMI(PEXT, BMI2, REG_GPR | RM_GPR | VVVV_GPR | READS),
              BMI(PDEP, BMI2, REG_GPR | RM_GPR | VVVV_GPR | READS)},
    [0xf6] = {NO_ROW, ADX_ROW(X86_OP_ADCX), ADX_ROW(X86_OP_ADOX),
              BMI(MULX, BMI2, REG_GPR | RM_GPR | VVVV_GPR | READS)},
    [0xf7] = {BMI(BEXTR, BMI1, REG_GPR | RM_GPR | VVVV_GPR | READS | FLAGS),
              BMI(SHLX, BMI2, REG_GPR | RM_GPR | VVVV_GPR | READS),
              BMI(SARX, BMI2, REG_GPR | RM_GPR | VVVV_GPR | READS),
              BMI(SHRX, BMI2, REG_GPR | RM_GPR | VVVV_GPR | READS)},
};
