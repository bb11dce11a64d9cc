#include "engines/soft/translate/emit_vector.h"

#define SHAPE_GPR (X86_SHAPE_REG_GPR | X86_SHAPE_RM_GPR)
#define SHAPE_REG (X86_SHAPE_REG_VECTOR | X86_SHAPE_REG_GPR | X86_SHAPE_REG_MMX)

#define REX_W 8u
#define REX_R 4u
#define REX_X 2u
#define REX_B 1u

/* The fields that REX and VEX share. */
struct fields {
    unsigned int reg; /* ModRM.reg with its fourth bit: a register, or three bits of opcode */
    unsigned int rex; /* W, R, X, B as REX has them */
};

/* Outside 64-bit mode there are no 64-bit general registers: VEX.W is ignored for these. */
static bool is_wide(const struct x86_instruction *in, bool is_64bit)
{
    return (in->flags & X86_INSTRUCTION_W) != 0 && (is_64bit || (in->shape & SHAPE_GPR) == 0);
}

static struct fields fields_of(const struct x86_instruction *in, bool is_64bit,
                               const struct emit_memory *memory)
{
    struct fields fields = {.reg = in->modrm >> 3 & 7u};
    if ((in->shape & SHAPE_REG) != 0) {
        fields.reg = in->reg;
    }
    fields.rex = (is_wide(in, is_64bit) ? REX_W : 0) | (fields.reg > 7 ? REX_R : 0);
    if (memory != NULL) {
        fields.rex |= emit_extension_bits(*memory);
    } else {
        fields.rex |= in->rm > 7 ? REX_B : 0;
    }
    return fields;
}

/* Returns how many bytes it wrote. */
static unsigned int legacy(uint8_t *bytes, const struct x86_instruction *in,
                           const struct fields *fields)
{
    unsigned int count = 0;
    if (in->mandatory_prefix != 0) {
        bytes[count++] = in->mandatory_prefix;
    }
    if (fields->rex != 0) {
        bytes[count++] = (uint8_t)(0x40 | fields->rex);
    }
    bytes[count++] = 0x0f;
    if (in->map == X86_MAP_0F38 || in->map == X86_MAP_0F3A) {
        bytes[count++] = in->map == X86_MAP_0F38 ? 0x38 : 0x3a;
    }
    return count;
}

static unsigned int vex_prefix(uint8_t mandatory)
{
    return mandatory == 0x66 ? 1 : mandatory == 0xf3 ? 2 : mandatory == 0xf2 ? 3 : 0;
}

/* "VEX Prefix": R, X, B and vvvv are inverted; enum x86_opcode_map counts as mmmmm does. */
static unsigned int vex(uint8_t *bytes, const struct x86_instruction *in,
                        const struct fields *fields)
{
    unsigned int vvvv = (in->shape & X86_SHAPE_VVVV) != 0 ? in->vvvv : 0;
    unsigned int last =
        (~vvvv & 15) << 3 | (in->vector_length == 32 ? 4u : 0) | vex_prefix(in->mandatory_prefix);
    if (in->map == X86_MAP_0F && (fields->rex & (REX_W | REX_X | REX_B)) == 0) {
        bytes[0] = 0xc5;
        bytes[1] = (uint8_t)((fields->rex & REX_R) != 0 ? last : 0x80 | last);
        return 2;
    }
    bytes[0] = 0xc4;
    bytes[1] = (uint8_t)((~fields->rex & 7) << 5 | in->map);
    bytes[2] = (uint8_t)((fields->rex & REX_W) != 0 ? 0x80 | last : last);
    return 3;
}

static unsigned int immediates(uint8_t *bytes, const struct x86_instruction *in, bool is_64bit)
{
    if (in->immediate_size == 0) {
        return 0;
    }
    bytes[0] = (uint8_t)in->immediate;
    if ((in->shape & X86_SHAPE_IS4) != 0 && !is_64bit) {
        bytes[0] &= 0x7f; /* there is no register beyond 7, and the bit is ignored */
    }
    bytes[1] = (uint8_t)in->immediate2;
    return in->immediate_size;
}

void emit_vector(struct emitter *emitter, const struct x86_instruction *in, bool is_64bit,
                 const struct emit_memory *memory)
{
    uint8_t bytes[8];
    struct fields fields = fields_of(in, is_64bit, memory);
    unsigned int count =
        in->encoding == X86_ENCODING_VEX ? vex(bytes, in, &fields) : legacy(bytes, in, &fields);
    bytes[count++] = in->opcode;
    if (memory == NULL) {
        bytes[count++] = (uint8_t)(0xc0 | (fields.reg & 7) << 3 | (in->rm & 7));
    }
    emit_bytes(emitter, bytes, count);
    if (memory != NULL) {
        emit_modrm_memory(emitter, fields.reg, *memory);
    }
    emit_bytes(emitter, bytes, immediates(bytes, in, is_64bit));
}
