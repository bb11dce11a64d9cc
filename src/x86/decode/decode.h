/*
 * The instruction decoder that every engine shares: bytes in, length and shape out.
 *
 * Purpose: fast enough for a translator's hot path (table-driven, no allocation, 15 to 30 ns), and
 *          complete enough that nobody else parses prefixes, ModRM or VEX.
 * Source:  Intel SDM volume 2, "Instruction Format" and "Opcode Map".
 * Owner:   the caller; struct x86_instruction is plain data and points at nothing.
 * Thread:  any; the tables are constant. Freestanding.
 */
#ifndef TRAPEZE_X86_DECODE_DECODE_H
#define TRAPEZE_X86_DECODE_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "x86/decode/operation.h"

#define X86_INSTRUCTION_MAX 15 /* bytes; a longer one is #GP(0) */

enum x86_decode_mode { X86_DECODE_16, X86_DECODE_32, X86_DECODE_64 };

enum x86_decode_result {
    X86_DECODE_OK,
    X86_DECODE_TRUNCATED, /* more bytes are needed than were given (and fewer than 15 were) */
    X86_DECODE_TOO_LONG,  /* over 15 bytes: #GP(0) */
    X86_DECODE_INVALID    /* #UD; length counts the bytes looked at */
};

enum x86_opcode_map { X86_MAP_ONE_BYTE, X86_MAP_0F, X86_MAP_0F38, X86_MAP_0F3A };

enum x86_encoding { X86_ENCODING_LEGACY, X86_ENCODING_VEX };

/* Register numbers in base and index beyond the 16 general registers. */
#define X86_REGISTER_NONE 16 /* no base or no index */
#define X86_REGISTER_RIP  17 /* base only: the address of the next instruction */

/* Bits of x86_instruction.flags. */
#define X86_INSTRUCTION_LOCK     (1u << 0)  /* F0 was there, and the instruction allows it */
#define X86_INSTRUCTION_REP      (1u << 1)  /* F3 was there (REP, REPE, XRELEASE, PAUSE …) */
#define X86_INSTRUCTION_REPNE    (1u << 2)  /* F2 was there */
#define X86_INSTRUCTION_MODRM    (1u << 3)  /* has a ModRM byte */
#define X86_INSTRUCTION_MEMORY   (1u << 4)  /* has a ModRM memory operand: base and so on hold */
#define X86_INSTRUCTION_REX      (1u << 5)  /* any REX prefix: byte registers 4..7 are SPL..DIL */
#define X86_INSTRUCTION_W        (1u << 6)  /* REX.W or VEX.W */
#define X86_INSTRUCTION_OVERRIDE (1u << 7)  /* a segment prefix is in force */
#define X86_INSTRUCTION_66       (1u << 8)  /* operand-size prefix seen (or VEX.pp = 66) */
#define X86_INSTRUCTION_BRANCH   (1u << 9)  /* may continue elsewhere: jumps, calls, returns … */
#define X86_INSTRUCTION_RELATIVE (1u << 10) /* immediate is a branch distance from the next one */
#define X86_INSTRUCTION_NO_66    (1u << 11) /* 64-bit mode forces this near branch to 64 bits */

/*
 * How the operands of a vector, MMX or GPR-from-VEX instruction sit in its fields; what a thunk
 * that runs the instruction natively needs, and no more. x87 instructions and those that save and
 * restore state have MEMORY_READ, MEMORY_WRITE and FLAGS only; the others have zero.
 */
#define X86_SHAPE_REG_GPR      (1u << 0) /* ModRM.reg names a general register */
#define X86_SHAPE_RM_GPR       (1u << 1) /* ModRM.rm, when mod = 3, names a general register */
#define X86_SHAPE_VVVV_GPR     (1u << 2) /* VEX.vvvv names a general register (BMI) */
#define X86_SHAPE_REG_MMX      (1u << 3)
#define X86_SHAPE_RM_MMX       (1u << 4)
#define X86_SHAPE_VVVV         (1u << 5)  /* VEX.vvvv is an operand at all */
#define X86_SHAPE_IS4          (1u << 6)  /* imm8[7:4] names a vector register */
#define X86_SHAPE_MEMORY_READ  (1u << 7)  /* the memory operand, if mod != 3, is read */
#define X86_SHAPE_MEMORY_WRITE (1u << 8)  /* … is written */
#define X86_SHAPE_ALIGNED      (1u << 9)  /* memory must be naturally aligned, else #GP(0) */
#define X86_SHAPE_FLAGS        (1u << 10) /* writes arithmetic flags */
#define X86_SHAPE_XMM0         (1u << 11) /* XMM0 is an implicit operand */
#define X86_SHAPE_MXCSR        (1u << 12) /* may raise SIMD floating-point exceptions */
#define X86_SHAPE_VSIB         (1u << 13) /* gather: index is a vector register */
#define X86_SHAPE_REG_VECTOR   (1u << 14) /* ModRM.reg names an XMM/YMM register */
#define X86_SHAPE_RM_VECTOR    (1u << 15) /* ModRM.rm, when mod = 3, names an XMM/YMM register */

struct x86_instruction {
    enum x86_operation operation : 16;
    uint8_t length;   /* bytes, 1..15 */
    uint8_t map;      /* enum x86_opcode_map */
    uint8_t opcode;   /* the opcode byte within its map */
    uint8_t encoding; /* enum x86_encoding */
    uint16_t flags;   /* X86_INSTRUCTION_… */
    uint16_t shape;   /* X86_SHAPE_… */

    uint8_t operand_size;  /* 1, 2, 4 or 8 bytes: the integer operand's size after all rules
                              (default 64, forced 64, byte opcodes have 1); the source's for
                              CRC32, the destination's for MOVZX and MOVSX; of a vector
                              instruction that of its general register */
    uint8_t address_size;  /* 2, 4 or 8 bytes */
    uint8_t memory_size;   /* bytes that the ModRM memory operand covers, 0 for LEA, INVLPG … or
                              where it depends on state (FXSAVE, XSAVE, FNSAVE: 0) */
    uint8_t vector_length; /* 0, 16 or 32 bytes for vector operations; 16 for scalar ones */
    uint8_t feature;       /* enum x86_feature that CPUID must show for it, 0 for the base set */
    uint8_t mandatory_prefix; /* 0, 0x66, 0xF2, 0xF3 where it selects the instruction (VEX.pp) */

    uint8_t modrm;             /* the raw byte */
    uint8_t mod;               /* 0..3 */
    uint8_t reg;               /* ModRM.reg with REX.R/VEX.R (not where it names a segment or an MMX
                                  register); also the register of opcodes like PUSH r */
    uint8_t rm;                /* ModRM.rm with REX.B/VEX.B, meaningful when mod = 3 */
    uint8_t vvvv;              /* VEX.vvvv, already inverted to the register number */
    uint8_t base, index;       /* 0..15, X86_REGISTER_NONE, or RIP (base); 16-bit forms included */
    uint8_t scale;             /* shift count 0..3 */
    uint8_t segment;           /* effective segment of the memory or string source operand */
    uint8_t condition;         /* low four bits of the opcode for Jcc, SETcc, CMOVcc */
    uint8_t immediate_size;    /* bytes of the immediate as encoded: 0, 1, 2, 4, 8 (3 for ENTER, 2
                                  for EXTRQ and INSERTQ; of a far pointer the offset's alone) */
    uint8_t displacement_size; /* bytes of the displacement as encoded */
    uint8_t opcode_offset;     /* where the opcode byte stands, from the first byte */
    int32_t displacement;      /* sign-extended; MOV moffs keeps its 64-bit address in immediate */
    int64_t immediate;         /* sign-extended as the instruction does it; relative distance too */
    uint16_t immediate2;       /* selector of a far pointer, level of ENTER, second byte of EXTRQ */
};

static inline bool x86_has_memory_operand(const struct x86_instruction *in)
{
    return (in->flags & X86_INSTRUCTION_MEMORY) != 0;
}

/*
 * Decodes one instruction.
 *
 * bytes, available: the instruction bytes that can be fetched; at most 15 are looked at.
 * instruction:      filled in on X86_DECODE_OK; on the others only length is.
 *
 * EVEX, XOP and 3DNow! encodings are invalid. LOCK where it is not allowed is invalid. Features
 * are not checked here: feature says what the instruction belongs to. Nor is what depends on more
 * than the mode: VEX is #UD in real-address and virtual-8086 mode, DR4 and DR5 by CR4.DE, and
 * TZCNT and LZCNT are BSF and BSR for a guest that is shown no such feature.
 */
enum x86_decode_result x86_decode(enum x86_decode_mode mode, const uint8_t *bytes, size_t available,
                                  struct x86_instruction *instruction);

/* The mnemonic of an operation in lower case, for people: "lgdt"; never NULL. */
const char *x86_operation_name(enum x86_operation operation);

#endif
