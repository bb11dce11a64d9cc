/*
 * D8 … DF: the x87 instructions, by ModRM ("Escape Opcode Instructions").
 *
 * The aliases that processors accept beside the documented encodings (FCOM at DC D0, FXCH at DD C8
 * and DF C8, FSTP at D9 D8, DF D0 and DF D8, FCOMP at DC D8 and DE D0) are valid here.
 */
#include "x86/decode/table.h"

#define READ(memory_)                                                                              \
    {                                                                                              \
        .operation = X86_OP_X87, .memory = (memory_), .feature = X86_FEATURE_FPU,                  \
        .shape = X86_SHAPE_MEMORY_READ, .rules = RULE_MODRM                                        \
    }
#define WRITE(memory_)                                                                             \
    {                                                                                              \
        .operation = X86_OP_X87, .memory = (memory_), .feature = X86_FEATURE_FPU,                  \
        .shape = X86_SHAPE_MEMORY_WRITE, .rules = RULE_MODRM                                       \
    }
#define WRITE_SSE3(memory_)                                                                        \
    {                                                                                              \
        .operation = X86_OP_X87, .memory = (memory_), .feature = X86_FEATURE_SSE3,                 \
        .shape = X86_SHAPE_MEMORY_WRITE, .rules = RULE_MODRM                                       \
    }
#define REGISTER                                                                                   \
    {                                                                                              \
        .operation = X86_OP_X87, .feature = X86_FEATURE_FPU, .rules = RULE_MODRM                   \
    }
#define REGISTER_FLAGS                                                                             \
    {                                                                                              \
        .operation = X86_OP_X87, .feature = X86_FEATURE_CMOV, .shape = X86_SHAPE_FLAGS,            \
        .rules = RULE_MODRM                                                                        \
    }
#define REGISTER_CMOV                                                                              \
    {                                                                                              \
        .operation = X86_OP_X87, .feature = X86_FEATURE_CMOV, .rules = RULE_MODRM                  \
    }
#define NONE                                                                                       \
    {                                                                                              \
        .operation = X86_OP_INVALID                                                                \
    }
#define EIGHT_READS(memory_)                                                                       \
    {                                                                                              \
        READ(memory_), READ(memory_), READ(memory_), READ(memory_), READ(memory_), READ(memory_),  \
            READ(memory_), READ(memory_)                                                           \
    }

/* The arithmetic of D8, DA, DC, DE: ADD, MUL, COM, COMP, SUB, SUBR, DIV, DIVR. */
static const struct x86_opcode arithmetic_m4[8] = EIGHT_READS(MEMORY_4);
static const struct x86_opcode arithmetic_m8[8] = EIGHT_READS(MEMORY_8);
static const struct x86_opcode arithmetic_m2[8] = EIGHT_READS(MEMORY_2);
static const struct x86_opcode all_registers[8] = {REGISTER, REGISTER, REGISTER, REGISTER,
                                                   REGISTER, REGISTER, REGISTER, REGISTER};

/* D9 */

static const struct x86_opcode memory_d9[8] = {
    READ(MEMORY_4),                /* FLD m32 */
    NONE,                          /* */
    WRITE(MEMORY_4),               /* FST m32 */
    WRITE(MEMORY_4),               /* FSTP m32 */
    READ(MEMORY_X87_ENVIRONMENT),  /* FLDENV */
    READ(MEMORY_2),                /* FLDCW */
    WRITE(MEMORY_X87_ENVIRONMENT), /* FNSTENV */
    WRITE(MEMORY_2),               /* FNSTCW */
};
static const struct x86_opcode d9_d0[8] = {REGISTER}; /* FNOP */
static const struct x86_opcode d9_e0[8] = {           /* FCHS, FABS, FTST, FXAM */
                                           [0] = REGISTER,
                                           [1] = REGISTER,
                                           [4] = REGISTER,
                                           [5] = REGISTER};
static const struct x86_opcode d9_e8[8] = {/* FLD1 … FLDZ */
                                           REGISTER, REGISTER, REGISTER, REGISTER,
                                           REGISTER, REGISTER, REGISTER, NONE};
static const struct x86_opcode register_d9[8] = {
    REGISTER, /* FLD */
    REGISTER, /* FXCH */
    {.select = SELECT_RM, .table = d9_d0},
    REGISTER, /* FSTP again */
    {.select = SELECT_RM, .table = d9_e0},
    {.select = SELECT_RM, .table = d9_e8},
    REGISTER, /* F2XM1 … FINCSTP */
    REGISTER, /* FPREM … FCOS */
};

/* DA */

static const struct x86_opcode da_e8[8] = {[1] = REGISTER}; /* FUCOMPP */
static const struct x86_opcode register_da[8] = {
    REGISTER_CMOV, REGISTER_CMOV, REGISTER_CMOV,
    REGISTER_CMOV, NONE,          {.select = SELECT_RM, .table = da_e8},
    NONE,          NONE,
};

/* DB */

static const struct x86_opcode memory_db[8] = {
    READ(MEMORY_4),       /* FILD m32 */
    WRITE_SSE3(MEMORY_4), /* FISTTP m32 */
    WRITE(MEMORY_4),      /* FIST m32 */
    WRITE(MEMORY_4),      /* FISTP m32 */
    NONE,
    READ(MEMORY_10), /* FLD m80 */
    NONE,
    WRITE(MEMORY_10), /* FSTP m80 */
};
static const struct x86_opcode db_e0[8] = {/* FENI, FDISI, FNCLEX, FNINIT, FSETPM */
                                           REGISTER, REGISTER, REGISTER, REGISTER, REGISTER};
static const struct x86_opcode register_db[8] = {
    REGISTER_CMOV,
    REGISTER_CMOV,
    REGISTER_CMOV,
    REGISTER_CMOV,
    {.select = SELECT_RM, .table = db_e0},
    REGISTER_FLAGS, /* FUCOMI */
    REGISTER_FLAGS, /* FCOMI */
    NONE,
};

/* DD */

static const struct x86_opcode memory_dd[8] = {
    READ(MEMORY_8),       /* FLD m64 */
    WRITE_SSE3(MEMORY_8), /* FISTTP m64 */
    WRITE(MEMORY_8),      /* FST m64 */
    WRITE(MEMORY_8),      /* FSTP m64 */
    READ(MEMORY_NONE),    /* FRSTOR */
    NONE,
    WRITE(MEMORY_NONE), /* FNSAVE */
    WRITE(MEMORY_2),    /* FNSTSW m16 */
};
static const struct x86_opcode register_dd[8] = {
    REGISTER, /* FFREE */
    REGISTER, /* FXCH again */
    REGISTER, /* FST */
    REGISTER, /* FSTP */
    REGISTER, /* FUCOM */
    REGISTER, /* FUCOMP */
    NONE,     NONE,
};

/* DE */

static const struct x86_opcode de_d8[8] = {[1] = REGISTER}; /* FCOMPP */
static const struct x86_opcode register_de[8] = {
    REGISTER, REGISTER, REGISTER, {.select = SELECT_RM, .table = de_d8},
    REGISTER, REGISTER, REGISTER, REGISTER,
};

/* DF */

static const struct x86_opcode memory_df[8] = {
    READ(MEMORY_2),       /* FILD m16 */
    WRITE_SSE3(MEMORY_2), /* FISTTP m16 */
    WRITE(MEMORY_2),      /* FIST m16 */
    WRITE(MEMORY_2),      /* FISTP m16 */
    READ(MEMORY_10),      /* FBLD */
    READ(MEMORY_8),       /* FILD m64 */
    WRITE(MEMORY_10),     /* FBSTP */
    WRITE(MEMORY_8),      /* FISTP m64 */
};
static const struct x86_opcode df_e0[8] = {[0] = REGISTER}; /* FNSTSW AX */
static const struct x86_opcode register_df[8] = {
    REGISTER, /* FFREEP */
    REGISTER, /* FXCH again */
    REGISTER, /* FSTP again */
    REGISTER, /* FSTP again */
    {.select = SELECT_RM, .table = df_e0},
    REGISTER_FLAGS, /* FUCOMIP */
    REGISTER_FLAGS, /* FCOMIP */
    NONE,
};

#define BY_REG(memory_table, register_table)                                                       \
    {                                                                                              \
        {.select = SELECT_REG, .table = (memory_table)},                                           \
        {                                                                                          \
            .select = SELECT_REG, .table = (register_table)                                        \
        }                                                                                          \
    }

const struct x86_opcode x86_x87[8][2] = {
    BY_REG(arithmetic_m4, all_registers), BY_REG(memory_d9, register_d9),
    BY_REG(arithmetic_m4, register_da),   BY_REG(memory_db, register_db),
    BY_REG(arithmetic_m8, all_registers), BY_REG(memory_dd, register_dd),
    BY_REG(arithmetic_m2, register_de),   BY_REG(memory_df, register_df),
};
