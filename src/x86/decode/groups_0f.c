/*
 * Opcodes of the 0F map that ModRM extends: system registers, state saving, fences.
 */
#include "x86/decode/table.h"

#define ROW(name, size_, memory_, feature_, rules_)                                                \
    {                                                                                              \
        .operation = (name), .size = (size_), .memory = (memory_), .feature = (feature_),          \
        .rules = RULE_MODRM | (rules_)                                                             \
    }

/* An opcode that the whole ModRM byte selects. */
#define FIXED(name, feature_, rules_) ROW(name, SIZE_V, MEMORY_NONE, feature_, rules_)

const struct x86_opcode x86_group_0f00[8] = {
    ROW(X86_OP_SLDT, SIZE_V, MEMORY_2, X86_FEATURE_BASE, 0),
    ROW(X86_OP_STR, SIZE_V, MEMORY_2, X86_FEATURE_BASE, 0),
    ROW(X86_OP_LLDT, SIZE_WORD, MEMORY_2, X86_FEATURE_BASE, 0),
    ROW(X86_OP_LTR, SIZE_WORD, MEMORY_2, X86_FEATURE_BASE, 0),
    ROW(X86_OP_VERR, SIZE_WORD, MEMORY_2, X86_FEATURE_BASE, 0),
    ROW(X86_OP_VERW, SIZE_WORD, MEMORY_2, X86_FEATURE_BASE, 0),
};

/* 0F 01 */

static const struct x86_opcode group_0f01_memory[8] = {
    ROW(X86_OP_SGDT, SIZE_V, MEMORY_TABLE, X86_FEATURE_BASE, 0),
    ROW(X86_OP_SIDT, SIZE_V, MEMORY_TABLE, X86_FEATURE_BASE, 0),
    ROW(X86_OP_LGDT, SIZE_V, MEMORY_TABLE, X86_FEATURE_BASE, 0),
    ROW(X86_OP_LIDT, SIZE_V, MEMORY_TABLE, X86_FEATURE_BASE, 0),
    ROW(X86_OP_SMSW, SIZE_V, MEMORY_2, X86_FEATURE_BASE, 0),
    {.operation = X86_OP_INVALID},
    ROW(X86_OP_LMSW, SIZE_WORD, MEMORY_2, X86_FEATURE_BASE, 0),
    ROW(X86_OP_INVLPG, SIZE_V, MEMORY_NONE, X86_FEATURE_BASE, 0),
};

static const struct x86_opcode group_0f01_reg0[8] = {
    [1] = FIXED(X86_OP_VMCALL, X86_FEATURE_BASE, RULE_NO_PREFIX),
    [2] = FIXED(X86_OP_VMX, X86_FEATURE_VMX, RULE_NO_PREFIX),
    [3] = FIXED(X86_OP_VMX, X86_FEATURE_VMX, RULE_NO_PREFIX),
    [4] = FIXED(X86_OP_VMX, X86_FEATURE_VMX, RULE_NO_PREFIX),
};

static const struct x86_opcode group_0f01_reg1[8] = {
    [0] = FIXED(X86_OP_MONITOR, X86_FEATURE_MONITOR, RULE_NO_PREFIX),
    [1] = FIXED(X86_OP_MWAIT, X86_FEATURE_MONITOR, RULE_NO_PREFIX),
    [2] = FIXED(X86_OP_CLAC, X86_FEATURE_SMAP, RULE_NO_PREFIX),
    [3] = FIXED(X86_OP_STAC, X86_FEATURE_SMAP, RULE_NO_PREFIX),
};

static const struct x86_opcode group_0f01_reg2[8] = {
    [0] = FIXED(X86_OP_XGETBV, X86_FEATURE_XSAVE, RULE_NO_PREFIX),
    [1] = FIXED(X86_OP_XSETBV, X86_FEATURE_XSAVE, RULE_NO_PREFIX),
    [4] = FIXED(X86_OP_VMX, X86_FEATURE_VMX, RULE_NO_PREFIX),
};

static const struct x86_opcode group_0f01_reg3[8] = {
    [1] = FIXED(X86_OP_VMMCALL, X86_FEATURE_BASE, 0),
};

static const struct x86_opcode group_0f01_reg5[8] = {
    [6] = FIXED(X86_OP_RDPKRU, X86_FEATURE_PKU, RULE_NO_PREFIX),
    [7] = FIXED(X86_OP_WRPKRU, X86_FEATURE_PKU, RULE_NO_PREFIX),
};

static const struct x86_opcode group_0f01_reg7[8] = {
    [0] = FIXED(X86_OP_SWAPGS, X86_FEATURE_BASE, RULE_ONLY_64),
    [1] = FIXED(X86_OP_RDTSCP, X86_FEATURE_RDTSCP, 0),
};

static const struct x86_opcode group_0f01_register[8] = {
    {.select = SELECT_RM, .table = group_0f01_reg0},
    {.select = SELECT_RM, .table = group_0f01_reg1},
    {.select = SELECT_RM, .table = group_0f01_reg2},
    {.select = SELECT_RM, .table = group_0f01_reg3},
    ROW(X86_OP_SMSW, SIZE_V, MEMORY_2, X86_FEATURE_BASE, 0),
    {.select = SELECT_RM, .table = group_0f01_reg5},
    ROW(X86_OP_LMSW, SIZE_WORD, MEMORY_2, X86_FEATURE_BASE, 0),
    {.select = SELECT_RM, .table = group_0f01_reg7},
};

const struct x86_opcode x86_group_0f01[2] = {
    {.select = SELECT_REG, .table = group_0f01_memory},
    {.select = SELECT_REG, .table = group_0f01_register},
};

/* 0F AE */

#define STATE(name, feature_, shape_)                                                              \
    {                                                                                              \
        .operation = (name), .size = SIZE_W, .memory = MEMORY_NONE, .feature = (feature_),         \
        .shape = (shape_), .rules = RULE_MODRM | RULE_MEMORY | RULE_NO_PREFIX                      \
    }

#define MXCSR_ROW(name, shape_)                                                                    \
    {                                                                                              \
        .operation = (name), .size = SIZE_W, .memory = MEMORY_4, .feature = X86_FEATURE_SSE,       \
        .feature_vex = {X86_FEATURE_AVX, X86_FEATURE_BASE}, .shape = (shape_),                     \
        .rules = RULE_MODRM | RULE_MEMORY | RULE_NO_PREFIX                                         \
    }

static const struct x86_opcode opcode_0fae_reg6[4] = {
    STATE(X86_OP_XSAVEOPT, X86_FEATURE_XSAVEOPT, X86_SHAPE_MEMORY_WRITE),
    ROW(X86_OP_CLFLUSH, SIZE_V, MEMORY_1, X86_FEATURE_CLWB, RULE_MEMORY),
};

static const struct x86_opcode opcode_0fae_reg7[4] = {
    ROW(X86_OP_CLFLUSH, SIZE_V, MEMORY_1, X86_FEATURE_CLFLUSH, RULE_MEMORY),
    ROW(X86_OP_CLFLUSH, SIZE_V, MEMORY_1, X86_FEATURE_CLFLUSHOPT, RULE_MEMORY),
};

static const struct x86_opcode group_0fae_memory[8] = {
    STATE(X86_OP_FXSAVE, X86_FEATURE_FXSR, X86_SHAPE_MEMORY_WRITE),
    STATE(X86_OP_FXRSTOR, X86_FEATURE_FXSR, X86_SHAPE_MEMORY_READ),
    MXCSR_ROW(X86_OP_LDMXCSR, X86_SHAPE_MEMORY_READ),
    MXCSR_ROW(X86_OP_STMXCSR, X86_SHAPE_MEMORY_WRITE),
    STATE(X86_OP_XSAVE, X86_FEATURE_XSAVE, X86_SHAPE_MEMORY_WRITE),
    STATE(X86_OP_XRSTOR, X86_FEATURE_XSAVE, X86_SHAPE_MEMORY_READ),
    {.select = SELECT_PREFIX, .table = opcode_0fae_reg6},
    {.select = SELECT_PREFIX, .table = opcode_0fae_reg7},
};

#define SEGMENT_BASE(name)                                                                         \
    {                                                                                              \
        [2] = ROW(name, SIZE_W, MEMORY_NONE, X86_FEATURE_FSGSBASE, RULE_ONLY_64)                   \
    }

static const struct x86_opcode opcode_rdfsbase[4] = SEGMENT_BASE(X86_OP_RDFSBASE);
static const struct x86_opcode opcode_rdgsbase[4] = SEGMENT_BASE(X86_OP_RDGSBASE);
static const struct x86_opcode opcode_wrfsbase[4] = SEGMENT_BASE(X86_OP_WRFSBASE);
static const struct x86_opcode opcode_wrgsbase[4] = SEGMENT_BASE(X86_OP_WRGSBASE);

static const struct x86_opcode group_0fae_register[8] = {
    {.select = SELECT_PREFIX, .table = opcode_rdfsbase},
    {.select = SELECT_PREFIX, .table = opcode_rdgsbase},
    {.select = SELECT_PREFIX, .table = opcode_wrfsbase},
    {.select = SELECT_PREFIX, .table = opcode_wrgsbase},
    {.operation = X86_OP_INVALID},
    FIXED(X86_OP_LFENCE, X86_FEATURE_SSE2, RULE_NO_PREFIX),
    FIXED(X86_OP_MFENCE, X86_FEATURE_SSE2, RULE_NO_PREFIX),
    FIXED(X86_OP_SFENCE, X86_FEATURE_SSE, RULE_NO_PREFIX),
};

const struct x86_opcode x86_group_0fae[2] = {
    {.select = SELECT_REG, .table = group_0fae_memory},
    {.select = SELECT_REG, .table = group_0fae_register},
};

/* 0F BA */

#define BIT_TEST(name, lock)                                                                       \
    {                                                                                              \
        .operation = (name), .immediate = IMMEDIATE_8, .rules = RULE_MODRM | (lock)                \
    }

const struct x86_opcode x86_group_0fba[8] = {
    [4] = BIT_TEST(X86_OP_BT, 0),
    [5] = BIT_TEST(X86_OP_BTS, RULE_LOCK),
    [6] = BIT_TEST(X86_OP_BTR, RULE_LOCK),
    [7] = BIT_TEST(X86_OP_BTC, RULE_LOCK),
};

/* 0F C7 */

static const struct x86_opcode opcode_cmpxchg8b[2] = {
    ROW(X86_OP_CMPXCHG8B, SIZE_W, MEMORY_8, X86_FEATURE_CX8, RULE_LOCK),
    ROW(X86_OP_CMPXCHG16B, SIZE_W, MEMORY_16, X86_FEATURE_CX16, RULE_LOCK),
};

#define VMX_POINTER ROW(X86_OP_VMX, SIZE_NATIVE, MEMORY_8, X86_FEATURE_VMX, RULE_MEMORY)

static const struct x86_opcode opcode_0fc7_reg6[4] = {VMX_POINTER, VMX_POINTER, VMX_POINTER};
static const struct x86_opcode opcode_0fc7_reg7[4] = {VMX_POINTER};

static const struct x86_opcode group_0fc7_memory[8] = {
    [1] = {.select = SELECT_W, .table = opcode_cmpxchg8b},
    [3] = STATE(X86_OP_XRSTORS, X86_FEATURE_XSAVES, X86_SHAPE_MEMORY_READ),
    [4] = STATE(X86_OP_XSAVEC, X86_FEATURE_XSAVEC, X86_SHAPE_MEMORY_WRITE),
    [5] = STATE(X86_OP_XSAVES, X86_FEATURE_XSAVES, X86_SHAPE_MEMORY_WRITE),
    [6] = {.select = SELECT_PREFIX, .table = opcode_0fc7_reg6},
    [7] = {.select = SELECT_PREFIX, .table = opcode_0fc7_reg7},
};

static const struct x86_opcode opcode_rdseed[3] = {
    ROW(X86_OP_RDSEED, SIZE_V, MEMORY_NONE, X86_FEATURE_RDSEED, 0),
    ROW(X86_OP_RDPID, SIZE_NATIVE, MEMORY_NONE, X86_FEATURE_RDPID, 0),
};

static const struct x86_opcode group_0fc7_register[8] = {
    [6] = ROW(X86_OP_RDRAND, SIZE_V, MEMORY_NONE, X86_FEATURE_RDRAND, RULE_NO_REPEAT),
    [7] = {.select = SELECT_REPEAT, .table = opcode_rdseed},
};

const struct x86_opcode x86_group_0fc7[2] = {
    {.select = SELECT_REG, .table = group_0fc7_memory},
    {.select = SELECT_REG, .table = group_0fc7_register},
};
