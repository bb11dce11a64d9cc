/*
 * Host registers within a thunk:
 *   RDI RSI RDX RCX R8   the arguments: pointers to reg, rm, vvvv, extra; the struct soft_fpu
 *   R9                   the fault exit (native_fault.c)
 *   XMM0                 extra where it is implied;  XMM1 reg, XMM2 rm, XMM3 vvvv, XMM4 imm8[7:4]
 *   MM0, MM1             reg, rm
 *   RAX, R11, R10        reg, rm, vvvv where these are general registers
 * A memory operand is [RSI].
 */
#include "engines/soft/thunk_emit.h"

#include <stddef.h>
#include <string.h>

#include "engines/soft/fpu.h"

/* The fields of opcode_part. */
#define FORM_OPCODE_SHIFT    0  /* 8 bits */
#define FORM_MAP_SHIFT       8  /* 4 bits: enum x86_opcode_map */
#define FORM_PREFIX_SHIFT    12 /* 8 bits */
#define FORM_EXTEND_SHIFT    20 /* 3 bits: ModRM.reg where it is part of the opcode */
#define FORM_IMMEDIATE       (UINT64_C(1) << 23) /* there is an imm8 */
#define FORM_VEX             (UINT64_C(1) << 24)
#define FORM_W               (UINT64_C(1) << 25)
#define FORM_256             (UINT64_C(1) << 26)
#define FORM_REGISTER        (UINT64_C(1) << 27) /* ModRM.mod = 3 */
#define FORM_X87             (UINT64_C(1) << 28) /* x87: extend's place holds all of ModRM */
#define FORM_X87_MODRM_SHIFT 32
#define FORM_IMMEDIATE_2     (UINT64_C(1) << 29) /* there are two imm8: EXTRQ, INSERTQ */

#define SHAPE_GPR (X86_SHAPE_REG_GPR | X86_SHAPE_RM_GPR | X86_SHAPE_VVVV_GPR)
#define SHAPE_REG (X86_SHAPE_REG_GPR | X86_SHAPE_REG_MMX | X86_SHAPE_REG_VECTOR)
#define SHAPE_RM  (X86_SHAPE_RM_GPR | X86_SHAPE_RM_MMX | X86_SHAPE_RM_VECTOR)

/* Pointer arguments by their register numbers. */
enum pointer {
    POINTER_EXTRA = 1,
    POINTER_VVVV = 2,
    POINTER_RM = 6,
    POINTER_REG = 7,
    POINTER_FPU = 8
};

enum host_register {
    HOST_IMPLIED = 0,
    HOST_REG = 1,
    HOST_RM = 2,
    HOST_VVVV = 3,
    HOST_IS4 = 4,
    HOST_MMX_REG = 0,
    HOST_MMX_RM = 1,
    HOST_GPR_REG = 0,
    HOST_GPR_VVVV = 10,
    HOST_GPR_RM = 11
};

static bool is_string_compare(unsigned int map, unsigned int opcode) /* PCMPxSTRx */
{
    return map == X86_MAP_0F3A && opcode >= 0x60 && opcode <= 0x63;
}

enum thunk_destination thunk_destination(const struct x86_instruction *in)
{
    if (is_string_compare(in->map, in->opcode)) {
        return THUNK_DESTINATION_IMPLIED;
    }
    if ((in->shape & X86_SHAPE_MEMORY_WRITE) != 0) {
        return THUNK_DESTINATION_RM;
    }
    if ((in->shape & SHAPE_REG) != 0) {
        return THUNK_DESTINATION_REG;
    }
    /* ModRM.reg extends the opcode: shifts by an immediate */
    return in->encoding == X86_ENCODING_VEX ? THUNK_DESTINATION_VVVV : THUNK_DESTINATION_RM;
}

struct thunk_form thunk_form_of_vector(const struct x86_instruction *in, enum x86_decode_mode mode)
{
    uint64_t opcode = (uint64_t)in->opcode << FORM_OPCODE_SHIFT |
                      (uint64_t)in->map << FORM_MAP_SHIFT |
                      (uint64_t)in->mandatory_prefix << FORM_PREFIX_SHIFT;
    if ((in->shape & SHAPE_REG) == 0) {
        opcode |= (uint64_t)(in->modrm >> 3 & 7) << FORM_EXTEND_SHIFT;
    }
    if (in->encoding == X86_ENCODING_VEX) {
        opcode |= FORM_VEX;
    }
    /* Outside 64-bit mode there are no 64-bit general registers: VEX.W is ignored for these. */
    if ((in->flags & X86_INSTRUCTION_W) != 0 &&
        (mode == X86_DECODE_64 || (in->shape & SHAPE_GPR) == 0)) {
        opcode |= FORM_W;
    }
    if (in->vector_length == 32) {
        opcode |= FORM_256;
    }
    if (in->mod == 3) {
        opcode |= FORM_REGISTER;
    }
    uint64_t immediate = 0;
    if (in->immediate_size != 0) {
        opcode |= FORM_IMMEDIATE;
        immediate = (uint8_t)in->immediate;
        if (in->immediate_size == 2) { /* a length and an index of six bits each */
            opcode |= FORM_IMMEDIATE_2;
            immediate = (immediate & 0x3f) | (uint64_t)(in->immediate2 & 0x3f) << 8;
        }
        if ((in->shape & X86_SHAPE_IS4) != 0 && in->encoding == X86_ENCODING_VEX) {
            immediate = (immediate & 0xf) | HOST_IS4 << 4;
        }
    }
    return (struct thunk_form){opcode, immediate << 16 | in->shape};
}

struct thunk_form thunk_form_of_x87(uint8_t opcode, uint8_t modrm)
{
    uint64_t shape = 0;
    if (modrm >= 0xc0) {
        if ((opcode == 0xdb || opcode == 0xdf) && modrm >= 0xe8 && modrm < 0xf8) {
            shape = X86_SHAPE_FLAGS; /* FCOMI, FUCOMI and their popping forms */
        }
    } else {
        modrm = (uint8_t)((modrm & 0x38) | POINTER_RM);
    }
    return (struct thunk_form){opcode | FORM_X87 | (uint64_t)modrm << FORM_X87_MODRM_SHIFT, shape};
}

/* --- bytes --- */

static void byte(struct thunk_code *code, unsigned int value)
{
    /* a full buffer is refused by the cache; the tests emit every form */
    if (code->length < THUNK_CODE_MAX) {
        code->bytes[code->length++] = (uint8_t)value;
    }
}

static void bytes(struct thunk_code *code, const uint8_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        byte(code, values[i]);
    }
}

#define BYTES(code, ...)                                                                           \
    bytes((code), (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void dword(struct thunk_code *code, uint32_t value)
{
    for (unsigned int i = 0; i < 4; i++) {
        byte(code, value >> (8 * i) & 0xff);
    }
}

/* --- operands between memory and host registers --- */

/* MOV r64, [pointer] or MOV [pointer], r64. */
static void move_gpr(struct thunk_code *code, bool store, unsigned int number, enum pointer pointer)
{
    byte(code, 0x48 | (number >= 8 ? 4u : 0u));
    byte(code, store ? 0x89 : 0x8b);
    byte(code, (number & 7) << 3 | (unsigned int)pointer);
}

static void move_mmx(struct thunk_code *code, bool store, unsigned int number, enum pointer pointer)
{
    BYTES(code, 0x0f, store ? 0x7f : 0x6f, (uint8_t)(number << 3 | (unsigned int)pointer));
}

/* (V)MOVUPS: a whole YMM register for VEX forms, an XMM register for legacy ones. */
static void move_vector(struct thunk_code *code, bool store, bool vex, unsigned int number,
                        enum pointer pointer)
{
    if (vex) {
        BYTES(code, 0xc5, 0xfc);
    } else {
        byte(code, 0x0f);
    }
    byte(code, store ? 0x11 : 0x10);
    byte(code, number << 3 | (unsigned int)pointer);
}

static void move_reg(struct thunk_code *code, bool store, uint64_t shape, bool vex)
{
    if ((shape & X86_SHAPE_REG_GPR) != 0) {
        move_gpr(code, store, HOST_GPR_REG, POINTER_REG);
    } else if ((shape & X86_SHAPE_REG_MMX) != 0) {
        move_mmx(code, store, HOST_MMX_REG, POINTER_REG);
    } else if ((shape & X86_SHAPE_REG_VECTOR) != 0) {
        move_vector(code, store, vex, HOST_REG, POINTER_REG);
    }
}

static void move_rm(struct thunk_code *code, bool store, uint64_t shape, bool vex)
{
    if ((shape & X86_SHAPE_RM_GPR) != 0) {
        move_gpr(code, store, HOST_GPR_RM, POINTER_RM);
    } else if ((shape & X86_SHAPE_RM_MMX) != 0) {
        move_mmx(code, store, HOST_MMX_RM, POINTER_RM);
    } else if ((shape & X86_SHAPE_RM_VECTOR) != 0) {
        move_vector(code, store, vex, HOST_RM, POINTER_RM);
    }
}

static void move_vvvv(struct thunk_code *code, bool store, uint64_t shape)
{
    if ((shape & X86_SHAPE_VVVV_GPR) != 0) {
        move_gpr(code, store, HOST_GPR_VVVV, POINTER_VVVV);
    } else if ((shape & X86_SHAPE_VVVV) != 0) {
        move_vector(code, store, true, HOST_VVVV, POINTER_VVVV);
    }
}

/* (V)LDMXCSR or STMXCSR [r8 + offset]. */
static void move_mxcsr(struct thunk_code *code, bool store, size_t offset)
{
    BYTES(code, 0x41, 0x0f, 0xae, store ? 0x98 : 0x90);
    dword(code, (uint32_t)offset);
}

/* --- the instruction itself --- */

static unsigned int field(const struct thunk_form *form, unsigned int shift, unsigned int mask)
{
    return (unsigned int)(form->opcode_part >> shift) & mask;
}

static unsigned int modrm_of(const struct thunk_form *form, bool *extend_rm)
{
    uint64_t shape = form->operand_part;
    unsigned int reg = field(form, FORM_EXTEND_SHIFT, 7);
    if ((shape & X86_SHAPE_REG_VECTOR) != 0) {
        reg = HOST_REG;
    } else if ((shape & X86_SHAPE_REG_MMX) != 0) {
        reg = HOST_MMX_REG;
    } else if ((shape & X86_SHAPE_REG_GPR) != 0) {
        reg = HOST_GPR_REG;
    }
    *extend_rm = false;
    if ((form->opcode_part & FORM_REGISTER) == 0) {
        return reg << 3 | POINTER_RM;
    }
    unsigned int rm = HOST_RM;
    if ((shape & X86_SHAPE_RM_MMX) != 0) {
        rm = HOST_MMX_RM;
    } else if ((shape & X86_SHAPE_RM_GPR) != 0) {
        rm = HOST_GPR_RM & 7;
        *extend_rm = true;
    }
    return 0xc0 | reg << 3 | rm;
}

static void emit_legacy(struct thunk_code *code, const struct thunk_form *form)
{
    static const uint8_t map_bytes[] = {[X86_MAP_0F38] = 0x38, [X86_MAP_0F3A] = 0x3a};
    unsigned int prefix = field(form, FORM_PREFIX_SHIFT, 0xff);
    unsigned int map = field(form, FORM_MAP_SHIFT, 0xf);
    bool extend_rm;
    unsigned int modrm = modrm_of(form, &extend_rm);
    bool wide = (form->opcode_part & FORM_W) != 0;
    if (prefix != 0) {
        byte(code, prefix);
    }
    if (wide || extend_rm) {
        byte(code, 0x40 | (wide ? 8u : 0u) | (extend_rm ? 1u : 0u));
    }
    byte(code, 0x0f);
    if (map == X86_MAP_0F38 || map == X86_MAP_0F3A) {
        byte(code, map_bytes[map]);
    }
    byte(code, field(form, FORM_OPCODE_SHIFT, 0xff));
    byte(code, modrm);
}

static void emit_vex(struct thunk_code *code, const struct thunk_form *form)
{
    uint64_t shape = form->operand_part;
    unsigned int prefix = field(form, FORM_PREFIX_SHIFT, 0xff);
    unsigned int pp = prefix == 0x66 ? 1 : prefix == 0xf3 ? 2 : prefix == 0xf2 ? 3 : 0;
    bool extend_rm;
    unsigned int modrm = modrm_of(form, &extend_rm);
    unsigned int vvvv = 0; /* stored as 1111B where there is no such operand */
    if ((shape & X86_SHAPE_VVVV_GPR) != 0) {
        vvvv = HOST_GPR_VVVV;
    } else if ((shape & X86_SHAPE_VVVV) != 0) {
        vvvv = HOST_VVVV;
    }
    byte(code, 0xc4);
    /* R, X and B are stored inverted, as vvvv is; enum x86_opcode_map counts as mmmmm does */
    byte(code, 0xc0 | (extend_rm ? 0u : 0x20u) | field(form, FORM_MAP_SHIFT, 0xf));
    byte(code, ((form->opcode_part & FORM_W) != 0 ? 0x80u : 0u) | (~vvvv & 0xf) << 3 |
                   ((form->opcode_part & FORM_256) != 0 ? 4u : 0u) | pp);
    byte(code, field(form, FORM_OPCODE_SHIFT, 0xff));
    byte(code, modrm);
}

static void emit_instruction(struct thunk_code *code, const struct thunk_form *form)
{
    if ((form->opcode_part & FORM_VEX) != 0) {
        emit_vex(code, form);
    } else {
        emit_legacy(code, form);
    }
    if ((form->opcode_part & FORM_IMMEDIATE) != 0) {
        byte(code, form->operand_part >> 16 & 0xff);
    }
    if ((form->opcode_part & FORM_IMMEDIATE_2) != 0) {
        byte(code, form->operand_part >> 24 & 0xff);
    }
}

/* --- the frame around it --- */

struct fault_exit {
    size_t reference; /* where the LEA's displacement stands */
};

static struct fault_exit begin(struct thunk_code *code)
{
    code->length = 0;
    BYTES(code, 0xf3, 0x0f, 0x1e, 0xfa); /* ENDBR64: thunks are called through pointers */
    BYTES(code, 0x4c, 0x8d, 0x0d);       /* LEA R9, [RIP + fault exit] */
    struct fault_exit exit = {code->length};
    dword(code, 0);
    return exit;
}

static void place_fault_exit(struct thunk_code *code, struct fault_exit exit)
{
    uint32_t distance = (uint32_t)(code->length - (exit.reference + 4));
    memcpy(code->bytes + exit.reference, &distance, sizeof(distance));
}

/* The arithmetic flags into AX, as struct soft_cpu keeps them; or zero. */
static void finish(struct thunk_code *code, uint64_t shape)
{
    if ((shape & X86_SHAPE_FLAGS) != 0) {
        BYTES(code, 0x9f, 0x0f, 0x90, 0xc0, 0x0f, 0xb7, 0xc0); /* LAHF; SETO AL; MOVZX EAX, AX */
    } else {
        BYTES(code, 0x31, 0xc0); /* XOR EAX, EAX */
    }
    byte(code, 0xc3);
}

/* Puts the host's own MXCSR back, and whatever the registers' use asks for. No flags change. */
static void leave_vector(struct thunk_code *code, uint64_t shape, bool vex)
{
    if ((shape & (X86_SHAPE_REG_MMX | X86_SHAPE_RM_MMX)) != 0) {
        BYTES(code, 0x0f, 0x77); /* EMMS */
    }
    if (vex) {
        BYTES(code, 0xc5, 0xf8, 0x77); /* VZEROUPPER */
    }
}

static void swap_mxcsr_back(struct thunk_code *code, uint64_t shape)
{
    if ((shape & X86_SHAPE_MXCSR) != 0) {
        move_mxcsr(code, true, offsetof(struct soft_fpu, mxcsr));
        move_mxcsr(code, false, offsetof(struct soft_fpu, host_mxcsr));
    }
}

static void load_operands(struct thunk_code *code, const struct thunk_form *form, bool vex)
{
    uint64_t shape = form->operand_part;
    bool compare =
        is_string_compare(field(form, FORM_MAP_SHIFT, 0xf), field(form, FORM_OPCODE_SHIFT, 0xff));
    move_reg(code, false, shape, vex);
    if ((form->opcode_part & FORM_REGISTER) != 0) {
        move_rm(code, false, shape, vex);
    }
    if (compare) { /* EAX and EDX hold the lengths for PCMPESTRx */
        move_vector(code, false, vex, HOST_IMPLIED, POINTER_EXTRA);
        BYTES(code, 0x49, 0x89, 0xd2);       /* MOV R10, RDX: the general registers */
        BYTES(code, 0x49, 0x8b, 0x02);       /* MOV RAX, [R10 + 0] */
        BYTES(code, 0x49, 0x8b, 0x52, 0x10); /* MOV RDX, [R10 + 16] */
        return;
    }
    if (vex) {
        move_vvvv(code, false, shape);
        if ((shape & X86_SHAPE_IS4) != 0) {
            move_vector(code, false, true, HOST_IS4, POINTER_EXTRA);
        }
    } else if ((shape & X86_SHAPE_XMM0) != 0) {
        move_vector(code, false, false, HOST_IMPLIED, POINTER_EXTRA);
    }
}

static void store_result(struct thunk_code *code, const struct thunk_form *form, bool vex)
{
    uint64_t shape = form->operand_part;
    unsigned int opcode = field(form, FORM_OPCODE_SHIFT, 0xff);
    struct x86_instruction in = {.map = (uint8_t)field(form, FORM_MAP_SHIFT, 0xf),
                                 .opcode = (uint8_t)opcode,
                                 .shape = (uint16_t)shape,
                                 .encoding = vex ? X86_ENCODING_VEX : X86_ENCODING_LEGACY};
    switch (thunk_destination(&in)) {
    case THUNK_DESTINATION_REG:
        move_reg(code, true, shape, vex);
        break;
    case THUNK_DESTINATION_RM:
        if ((form->opcode_part & FORM_REGISTER) != 0) {
            move_rm(code, true, shape, vex);
        }
        break;
    case THUNK_DESTINATION_VVVV:
        move_vvvv(code, true, shape);
        break;
    case THUNK_DESTINATION_IMPLIED:
        if ((opcode & 1) != 0) {                 /* PCMPESTRI, PCMPISTRI: an index in ECX … */
            BYTES(code, 0x49, 0x89, 0x4a, 0x08); /* MOV [R10 + 8], RCX */
        } else {                                 /* … the others: a mask in XMM0 */
            move_vector(code, true, vex, HOST_IMPLIED, POINTER_EXTRA);
        }
        break;
    }
}

static void emit_vector(const struct thunk_form *form, struct thunk_code *code)
{
    uint64_t shape = form->operand_part;
    bool vex = (form->opcode_part & FORM_VEX) != 0;
    struct fault_exit exit = begin(code);
    load_operands(code, form, vex);
    if ((shape & X86_SHAPE_MXCSR) != 0) {
        move_mxcsr(code, false, offsetof(struct soft_fpu, mxcsr));
    }
    emit_instruction(code, form);
    swap_mxcsr_back(code, shape);
    store_result(code, form, vex);
    leave_vector(code, shape, vex);
    finish(code, shape);
    place_fault_exit(code, exit);
    swap_mxcsr_back(code, shape);
    leave_vector(code, shape, vex);
    byte(code, 0xc3);
}

/* x87 instructions run where the guest's state is: in the host's own x87 registers. */
static void emit_x87(const struct thunk_form *form, struct thunk_code *code)
{
    unsigned int opcode = field(form, FORM_OPCODE_SHIFT, 0xff);
    unsigned int modrm = field(form, FORM_X87_MODRM_SHIFT, 0xff);
    struct fault_exit exit = begin(code);
    if ((opcode == 0xda || opcode == 0xdb) && modrm >= 0xc0 && modrm < 0xe0) { /* FCMOVcc */
        BYTES(code, 0x0f, 0xb7, 0x07, 0x9e); /* MOVZX EAX, WORD [RDI]; SAHF */
    } else if ((form->operand_part & X86_SHAPE_FLAGS) != 0) {
        /* FCOMI leaves the flags alone when it raises: the old ones must be there to be kept.
           ADD AL, 7FH overflows when AL, the guest's OF, is 1. */
        BYTES(code, 0x0f, 0xb7, 0x07, 0x04, 0x7f, 0x9e);
    }
    byte(code, opcode);
    byte(code, modrm);
    finish(code, form->operand_part);
    place_fault_exit(code, exit);
    byte(code, 0xc3);
}

void thunk_emit(const struct thunk_form *form, struct thunk_code *code)
{
    if ((form->opcode_part & FORM_X87) != 0) {
        emit_x87(form, code);
    } else {
        emit_vector(form, code);
    }
}
