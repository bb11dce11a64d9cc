/*
 * The rows from which the facts of an instruction follow. Private to facts.c.
 *
 * Purpose: one row for each operation: what becomes of its operands, of implicit registers and of
 *          the flags; `form` names what a row cannot say.
 * Source:  Intel SDM volume 2, "Instruction Set Reference".
 * Owner, thread: constants only. Freestanding.
 */
#ifndef TRAPEZE_X86_DECODE_FACTS_TABLE_H
#define TRAPEZE_X86_DECODE_FACTS_TABLE_H

#include <stdint.h>

#include "x86/decode/operation.h"

/* What becomes of an operand that is a general register; bits. */
#define ACCESS_READ  (1u << 0)
#define ACCESS_WRITE (1u << 1)
#define ACCESS_BOTH  (ACCESS_READ | ACCESS_WRITE)
#define ACCESS_BYTE  (1u << 2) /* one byte, whatever the operand size */
#define ACCESS_WHOLE (1u << 3) /* 4 or 8 bytes, whatever the operand size */

/* Which operands there are beyond what the row says, or what else depends on the encoding. */
enum x86_facts_form {
    FORM_UNKNOWN,      /* no row */
    FORM_PLAIN,        /* all as the row says */
    FORM_DIRECTION,    /* `first` is the destination of ADD … CMP and MOV, wherever it is */
    FORM_TEST,         /* TEST r/m, r; TEST rAX, imm; TEST r/m, imm */
    FORM_EXCHANGE,     /* XCHG r/m, r; XCHG r, rAX */
    FORM_OPCODE,       /* `first` is ModRM.rm, the opcode's register, or an immediate */
    FORM_SHIFT,        /* by 1, by an immediate or by CL */
    FORM_ROTATE,       /* the same for ROL … RCR */
    FORM_SHIFT_DOUBLE, /* SHLD, SHRD */
    FORM_BIT,          /* BT …: the bit's number in ModRM.reg or an immediate */
    FORM_MULTIPLY,     /* rDX is a part of the product unless the operand is a byte */
    FORM_DIVIDE,       /* … of the dividend */
    FORM_SIGN,         /* CWD: rDX, by operand size */
    FORM_MOVBE,        /* the opcode tells load from store */
    FORM_CONDITION,    /* reads the flags of its condition */
    FORM_STRING,       /* REP counts in rCX; a count of zero leaves flags and rAX */
    FORM_PORT,         /* DX unless the port is an immediate */
    FORM_POPA,         /* 16-bit registers keep their upper halves */
    FORM_ONLY_64,      /* known in 64-bit mode only */
    FORM_X87,          /* FCMOVcc, FCOMI, FNSTSW AX */
    FORM_VECTOR        /* the shape tells; PCMPxSTRx */
};

struct x86_facts_row {
    uint8_t form;        /* enum x86_facts_form */
    uint8_t reg;         /* ACCESS_… of ModRM.reg */
    uint8_t rm;          /* … of ModRM.rm, if mod is 3 */
    uint8_t first;       /* … of the operand that `form` finds */
    uint8_t vvvv;        /* … of VEX.vvvv */
    uint8_t accumulator; /* … of rAX, by operand size */
    uint16_t reads;      /* implicit registers, by number */
    uint16_t writes;
    uint16_t flags_read;
    uint16_t flags_defined;   /* written as the manual defines */
    uint16_t flags_undefined; /* written, but undefined */
    uint16_t flags_left;      /* undefined, and some processors leave them as they were */
};

extern const struct x86_facts_row x86_facts_rows[X86_OP_COUNT];

#endif
