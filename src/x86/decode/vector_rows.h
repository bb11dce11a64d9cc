/*
 * How rows of vector instructions are written down; included by the map_*_vector files only.
 *
 * Purpose: one line for a legacy form and its VEX form. `legacy` is the feature of the legacy
 *          form, `vex128` and `vex256` are those of the VEX form at VEX.L = 0 and 1; BASE says
 *          that there is no such form.
 * Owner, thread: constants only. Freestanding.
 */
#ifndef TRAPEZE_X86_DECODE_VECTOR_ROWS_H
#define TRAPEZE_X86_DECODE_VECTOR_ROWS_H

#include "x86/decode/table.h"

#define ROW(operation_, legacy, vex128, vex256, memory_, immediate_, shape_, rules_)               \
    {                                                                                              \
        .operation = X86_OP_##operation_, .shape = (shape_), .rules = RULE_MODRM | (rules_),       \
        .feature = X86_FEATURE_##legacy,                                                           \
        .feature_vex = {X86_FEATURE_##vex128, X86_FEATURE_##vex256}, .size = SIZE_W,               \
        .memory = MEMORY_##memory_, .immediate = IMMEDIATE_##immediate_                            \
    }

/* Both encodings, VEX only, legacy only; IMM: with an 8-bit immediate. */
#define BOTH(legacy, vex128, vex256, memory_, shape_, rules_)                                      \
    ROW(SSE, legacy, vex128, vex256, memory_, NONE, shape_, RULE_VECTOR | (rules_))
#define BOTH_IMM(legacy, vex128, vex256, memory_, shape_, rules_)                                  \
    ROW(SSE, legacy, vex128, vex256, memory_, 8, shape_, RULE_VECTOR | (rules_))
#define VEX(vex128, vex256, memory_, shape_, rules_)                                               \
    ROW(AVX, BASE, vex128, vex256, memory_, NONE, shape_, RULE_VEX_ONLY | RULE_VECTOR | (rules_))
#define VEX_IMM(vex128, vex256, memory_, shape_, rules_)                                           \
    ROW(AVX, BASE, vex128, vex256, memory_, 8, shape_, RULE_VEX_ONLY | RULE_VECTOR | (rules_))
#define LEGACY(legacy, memory_, shape_, rules_)                                                    \
    ROW(SSE, legacy, BASE, BASE, memory_, NONE, shape_, RULE_VECTOR | (rules_))
#define LEGACY_IMM(legacy, memory_, shape_, rules_)                                                \
    ROW(SSE, legacy, BASE, BASE, memory_, 8, shape_, RULE_VECTOR | (rules_))
#define MMX(legacy, memory_, shape_, rules_)                                                       \
    ROW(MMX, legacy, BASE, BASE, memory_, NONE, shape_, rules_)
#define MMX_IMM(legacy, memory_, shape_, rules_)                                                   \
    ROW(MMX, legacy, BASE, BASE, memory_, 8, shape_, rules_)
/* BMI: general registers only, VEX.L must be 0. */
#define BMI(operation_, feature_, shape_)                                                          \
    ROW(operation_, BASE, feature_, BASE, OPERAND, NONE, shape_, RULE_VEX_ONLY)

#define NO_ROW                                                                                     \
    {                                                                                              \
        .operation = X86_OP_INVALID                                                                \
    }

/* reg := rm; reg := vvvv op rm; rm := reg; all of them vector registers. */
#define LOAD  (X86_SHAPE_REG_VECTOR | X86_SHAPE_RM_VECTOR | X86_SHAPE_MEMORY_READ)
#define THREE (LOAD | X86_SHAPE_VVVV)
#define STORE (X86_SHAPE_REG_VECTOR | X86_SHAPE_RM_VECTOR | X86_SHAPE_MEMORY_WRITE)
/* The same where the legacy form wants its 16 bytes aligned. */
#define LOAD_ALIGNED  (LOAD | X86_SHAPE_ALIGNED)
#define THREE_ALIGNED (THREE | X86_SHAPE_ALIGNED)
#define STORE_ALIGNED (STORE | X86_SHAPE_ALIGNED)

#define MMX_LOAD  (X86_SHAPE_REG_MMX | X86_SHAPE_RM_MMX | X86_SHAPE_MEMORY_READ)
#define MMX_STORE (X86_SHAPE_REG_MMX | X86_SHAPE_RM_MMX | X86_SHAPE_MEMORY_WRITE)

#define REG_GPR  X86_SHAPE_REG_GPR
#define RM_GPR   X86_SHAPE_RM_GPR
#define REG_MMX  X86_SHAPE_REG_MMX
#define RM_MMX   X86_SHAPE_RM_MMX
#define REG_XMM  X86_SHAPE_REG_VECTOR
#define RM_XMM   X86_SHAPE_RM_VECTOR
#define VVVV     X86_SHAPE_VVVV
#define VVVV_GPR (X86_SHAPE_VVVV | X86_SHAPE_VVVV_GPR)
#define READS    X86_SHAPE_MEMORY_READ
#define WRITES   X86_SHAPE_MEMORY_WRITE
#define FP       X86_SHAPE_MXCSR
#define FLAGS    X86_SHAPE_FLAGS
#define XMM0     X86_SHAPE_XMM0

#endif
