/*
 * The rows of the opcode maps, private to the decoder.
 *
 * Purpose: one row says all that the decoder needs of an opcode, in legacy and in VEX encoding;
 *          a row may instead send the decoder on to another table (struct x86_opcode.select).
 * Source:  Intel SDM volume 2, "Opcode Map" and "Instruction Set Reference".
 * Owner, thread: constants only. Freestanding.
 */
#ifndef TRAPEZE_X86_DECODE_TABLE_H
#define TRAPEZE_X86_DECODE_TABLE_H

#include <stdint.h>

#include "x86/decode/decode.h"

/* How the operand size follows from mode, 66 and REX.W/VEX.W. */
enum x86_size_rule {
    SIZE_V,      /* 2, 4 or 8 */
    SIZE_BYTE,   /* 1 */
    SIZE_WORD,   /* 2 */
    SIZE_Z,      /* 2 or 4, never 8 */
    SIZE_STACK,  /* like V, but 64-bit mode defaults to 8: 2 or 8 there */
    SIZE_NEAR,   /* near branches: 64-bit mode forces 8 */
    SIZE_NATIVE, /* 8 in 64-bit mode, else 4, whatever the prefixes: control registers … */
    SIZE_W,      /* 4, or 8 by W in 64-bit mode; 66 does not matter */
    SIZE_RULE_COUNT
};

/* What the ModRM memory operand covers, in bytes. */
enum x86_memory_rule {
    MEMORY_OPERAND, /* the operand size */
    MEMORY_NONE,    /* no access, or its size is not the decoder's to know */
    MEMORY_1,       /* fixed sizes */
    MEMORY_2,
    MEMORY_4,
    MEMORY_8,
    MEMORY_10,
    MEMORY_16,
    MEMORY_VECTOR, /* the vector length */
    MEMORY_VECTOR_HALF,
    MEMORY_VECTOR_QUARTER,
    MEMORY_VECTOR_EIGHTH,
    MEMORY_DUPLICATE,      /* MOVDDUP: 8, or the whole 32 */
    MEMORY_W,              /* an element chosen by W: 4 or 8, in every mode */
    MEMORY_FAR,            /* a far pointer: operand size + 2 */
    MEMORY_PAIR,           /* twice the operand size */
    MEMORY_TABLE,          /* limit and base of a descriptor table: 6, in 64-bit mode 10 */
    MEMORY_X87_ENVIRONMENT /* 14 for 16-bit operand size, else 28 */
};

/* The immediate after ModRM and displacement. */
enum x86_immediate_rule {
    IMMEDIATE_NONE,
    IMMEDIATE_8,        /* a byte, not sign-extended */
    IMMEDIATE_8_SIGNED, /* a byte, sign-extended */
    IMMEDIATE_16,       /* not sign-extended */
    IMMEDIATE_Z,        /* 2 or 4 bytes, sign-extended */
    IMMEDIATE_V,        /* 2, 4 or 8 bytes: MOV to a register */
    IMMEDIATE_ENTER,    /* 2 bytes, then 1 */
    IMMEDIATE_FAR,      /* offset of 2 or 4 bytes, then a selector */
    IMMEDIATE_MOFFS,    /* an address of the address size */
    IMMEDIATE_TWO_BYTES /* EXTRQ, INSERTQ: length, then index */
};

/* Where a row sends the decoder on to: table[index], the index being … */
enum x86_select {
    SELECT_NONE,   /* this is the row */
    SELECT_PREFIX, /* the mandatory prefix: none, 66, F3, F2; the table is the map's own */
    SELECT_REPEAT, /* neither F2 nor F3, F3, F2; 66 means operand size */
    SELECT_REG,    /* ModRM.reg */
    SELECT_RM,     /* ModRM.rm */
    SELECT_MOD,    /* 0: memory, 1: register */
    SELECT_MODE,   /* 0: 16 and 32-bit, 1: 64-bit mode */
    SELECT_VEX,    /* 0: legacy, 1: VEX */
    SELECT_W,      /* REX.W */
    SELECT_NOP     /* opcode 90: 0 with REX.B, 1 without, 2 with F3 */
};

/* Those with a twin among the instruction's flags have its bit. */
#define RULE_MODRM       X86_INSTRUCTION_MODRM
#define RULE_LOCK        (1u << 0) /* LOCK is allowed on the memory form */
#define RULE_NOT_64      (1u << 1) /* #UD in 64-bit mode */
#define RULE_ONLY_64     (1u << 2) /* #UD elsewhere */
#define RULE_MEMORY      (1u << 4) /* mod = 3 is #UD */
#define RULE_REGISTER    (1u << 5) /* mod = 0, 1, 2 is #UD */
#define RULE_BRANCH      X86_INSTRUCTION_BRANCH
#define RULE_RELATIVE    X86_INSTRUCTION_RELATIVE
#define RULE_OPCODE_REG  (1u << 6)  /* the opcode's low three bits are a register */
#define RULE_IGNORE_MOD  (1u << 7)  /* mod counts as 3: MOV CR and DR */
#define RULE_VEX_ONLY    (1u << 8)  /* no legacy form */
#define RULE_W0          (1u << 11) /* VEX.W must be 0 */
#define RULE_W1          (1u << 12) /* VEX.W must be 1 */
#define RULE_SCALAR      (1u << 13) /* VEX.L is ignored, the vector length is 16 */
#define RULE_VEX_ALIGNED (1u << 14) /* the VEX form insists on alignment too */
#define RULE_VECTOR      (1u << 15) /* vector_length is filled in */
#define RULE_CHECK       (1u << 16) /* check_registers() has something to say */
#define RULE_NO_PREFIX   (1u << 17) /* 66, F2 and F3 are #UD */
#define RULE_NO_REPEAT   (1u << 18) /* F2 and F3 are #UD */

struct x86_opcode {
    uint16_t operation; /* enum x86_operation; X86_OP_INVALID: #UD */
    uint16_t shape;     /* X86_SHAPE_…; of a form that VEX has too, as VEX has it */
    uint32_t rules;
    uint8_t feature;        /* of the legacy form */
    uint8_t feature_vex[2]; /* of the VEX form by VEX.L; X86_FEATURE_BASE: #UD */
    uint8_t size;           /* enum x86_size_rule */
    uint8_t memory;         /* enum x86_memory_rule */
    uint8_t immediate;      /* enum x86_immediate_rule */
    uint8_t select;         /* enum x86_select */
    const struct x86_opcode *table;
};

/* The maps. Those indexed by [opcode][prefix] order the prefixes as VEX.pp: none, 66, F3, F2. */
extern const struct x86_opcode x86_map_one_byte[256];
extern const struct x86_opcode x86_map_0f[256];
extern const struct x86_opcode x86_map_0f_prefix[256][4];
extern const struct x86_opcode x86_map_0f38_prefix[256][4];
extern const struct x86_opcode x86_map_0f3a_prefix[256][4];

/* Groups of the one-byte map ("Opcode Extensions For One-Byte And Two-Byte Opcodes"). */
extern const struct x86_opcode x86_group_arithmetic_byte[8];        /* 80, 82 */
extern const struct x86_opcode x86_group_arithmetic[8];             /* 81 */
extern const struct x86_opcode x86_group_arithmetic_sign_extend[8]; /* 83 */
extern const struct x86_opcode x86_group_pop[8];                    /* 8F */
extern const struct x86_opcode x86_group_shift_byte_immediate[8];   /* C0 */
extern const struct x86_opcode x86_group_shift_immediate[8];        /* C1 */
extern const struct x86_opcode x86_group_shift_byte[8];             /* D0, D2 */
extern const struct x86_opcode x86_group_shift[8];                  /* D1, D3 */
extern const struct x86_opcode x86_group_mov_byte[8];               /* C6 */
extern const struct x86_opcode x86_group_mov[8];                    /* C7 */
extern const struct x86_opcode x86_group_unary_byte[8];             /* F6 */
extern const struct x86_opcode x86_group_unary[8];                  /* F7 */
extern const struct x86_opcode x86_group_inc_dec[8];                /* FE */
extern const struct x86_opcode x86_group_indirect[8];               /* FF */

/* Groups of the 0F map. */
extern const struct x86_opcode x86_group_0f00[8];
extern const struct x86_opcode x86_group_0f01[2];
extern const struct x86_opcode x86_group_0fae[2];
extern const struct x86_opcode x86_group_0fba[8];
extern const struct x86_opcode x86_group_0fc7[2];

/* D8 … DF: [opcode - D8][0: memory, 1: register]. */
extern const struct x86_opcode x86_x87[8][2];

#endif
