#include "engines/soft/translate/emit.h"

#include "x86/registers.h"

#define REX   0x40u
#define REX_W 0x08u
#define REX_R 0x04u
#define REX_X 0x02u
#define REX_B 0x01u

static bool has_room(struct emitter *emitter)
{
    if (emitter->end - emitter->at < EMIT_SLACK) {
        emitter->full = true;
    }
    return !emitter->full;
}

static void byte(struct emitter *emitter, unsigned int value)
{
    *emitter->at++ = (uint8_t)value;
}

static void dword(struct emitter *emitter, uint32_t value)
{
    memcpy(emitter->at, &value, sizeof(value));
    emitter->at += sizeof(value);
}

static void qword(struct emitter *emitter, uint64_t value)
{
    memcpy(emitter->at, &value, sizeof(value));
    emitter->at += sizeof(value);
}

void emit_bytes(struct emitter *emitter, const void *bytes, size_t length)
{
    if (has_room(emitter)) {
        memcpy(emitter->at, bytes, length);
        emitter->at += length;
    }
}

/* --- ModRM, SIB, displacement --- */

/* The bits that the memory operand puts into REX or VEX. */
unsigned int emit_extension_bits(struct emit_memory memory)
{
    unsigned int bits = 0;
    if (memory.base < 16 && (memory.base & 8) != 0) {
        bits |= REX_B;
    }
    if (memory.index != X86_REGISTER_NONE && (memory.index & 8) != 0) {
        bits |= REX_X;
    }
    return bits;
}

static void modrm_memory(struct emitter *emitter, unsigned int reg, struct emit_memory memory)
{
    reg = (reg & 7) << 3;
    if (memory.base == X86_REGISTER_RIP) {
        const uint8_t *next = emitter->at + 5 + emitter->displacement;
        byte(emitter, reg | 5);
        dword(emitter, (uint32_t)(emitter->origin + memory.displacement - next));
        return;
    }
    if (memory.base == X86_REGISTER_NONE) {
        unsigned int index = memory.index == X86_REGISTER_NONE ? 4 : memory.index & 7;
        byte(emitter, reg | 4);
        byte(emitter, (unsigned int)memory.scale << 6 | index << 3 | 5);
        dword(emitter, (uint32_t)memory.displacement);
        return;
    }
    unsigned int base = memory.base & 7, mod = 2;
    if (memory.displacement == 0 && base != 5) {
        mod = 0;
    } else if (memory.displacement == (int8_t)memory.displacement) {
        mod = 1;
    }
    bool sib = memory.index != X86_REGISTER_NONE || base == 4;
    byte(emitter, mod << 6 | reg | (sib ? 4 : base));
    if (sib) {
        unsigned int index = memory.index == X86_REGISTER_NONE ? 4 : memory.index & 7;
        byte(emitter, (unsigned int)memory.scale << 6 | index << 3 | base);
    }
    if (mod == 1) {
        byte(emitter, (uint8_t)memory.displacement);
    } else if (mod == 2) {
        dword(emitter, (uint32_t)memory.displacement);
    }
}

void emit_modrm_memory(struct emitter *emitter, unsigned int reg, struct emit_memory memory)
{
    if (has_room(emitter)) {
        modrm_memory(emitter, reg, memory);
    }
}

/* [GS] [66] [REX] opcode: what goes before ModRM. */
static void prefixes(struct emitter *emitter, unsigned int reg, unsigned int extension, bool gs,
                     unsigned int size)
{
    unsigned int rex = extension | (size == 8 ? REX_W : 0) | ((reg & 8) != 0 ? REX_R : 0);
    if (gs) {
        byte(emitter, 0x65);
    }
    if (size == 2) {
        byte(emitter, 0x66);
    }
    if (rex != 0 || (size == 1 && reg >= 4)) {
        byte(emitter, REX | rex);
    }
}

static void operation_memory(struct emitter *emitter, unsigned int opcode, unsigned int reg,
                             struct emit_memory memory, unsigned int size)
{
    prefixes(emitter, reg, emit_extension_bits(memory), memory.gs, size);
    byte(emitter, opcode);
    modrm_memory(emitter, reg, memory);
}

static void operation_register(struct emitter *emitter, unsigned int opcode, unsigned int reg,
                               unsigned int rm, unsigned int size)
{
    prefixes(emitter, reg, (rm & 8) != 0 ? REX_B : 0, false, size);
    byte(emitter, opcode);
    byte(emitter, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

/* --- moves --- */

void emit_load(struct emitter *emitter, unsigned int reg, struct emit_memory memory,
               unsigned int size)
{
    if (has_room(emitter)) {
        operation_memory(emitter, size == 1 ? 0x8a : 0x8b, reg, memory, size);
    }
}

void emit_store(struct emitter *emitter, struct emit_memory memory, unsigned int reg,
                unsigned int size)
{
    if (has_room(emitter)) {
        operation_memory(emitter, size == 1 ? 0x88 : 0x89, reg, memory, size);
    }
}

void emit_store_immediate(struct emitter *emitter, struct emit_memory memory, int32_t value,
                          unsigned int size)
{
    if (!has_room(emitter)) {
        return;
    }
    operation_memory(emitter, size == 1 ? 0xc6 : 0xc7, 0, memory, size);
    if (size == 1) {
        byte(emitter, (uint8_t)value);
    } else if (size == 2) {
        byte(emitter, (uint8_t)value);
        byte(emitter, (uint8_t)(value >> 8));
    } else {
        dword(emitter, (uint32_t)value);
    }
}

void emit_load_effective(struct emitter *emitter, unsigned int reg, struct emit_memory memory,
                         unsigned int size)
{
    if (has_room(emitter)) {
        operation_memory(emitter, 0x8d, reg, memory, size);
    }
}

void emit_move(struct emitter *emitter, unsigned int to, unsigned int from)
{
    if (has_room(emitter)) {
        operation_register(emitter, 0x8b, to, from, 8);
    }
}

void emit_move_immediate(struct emitter *emitter, unsigned int reg, uint64_t value)
{
    if (!has_room(emitter)) {
        return;
    }
    bool wide = value > UINT32_MAX;
    prefixes(emitter, 0, (reg & 8) != 0 ? REX_B : 0, false, wide ? 8 : 4);
    byte(emitter, 0xb8 | (reg & 7));
    if (wide) {
        qword(emitter, value);
    } else {
        dword(emitter, (uint32_t)value);
    }
}

/* --- arithmetic --- */

void emit_alu_memory(struct emitter *emitter, enum emit_alu alu, unsigned int reg,
                     struct emit_memory memory)
{
    if (has_room(emitter)) {
        operation_memory(emitter, (unsigned int)alu << 3 | 3, reg, memory, 8);
    }
}

void emit_alu_register(struct emitter *emitter, enum emit_alu alu, unsigned int reg,
                       unsigned int source, unsigned int size)
{
    if (has_room(emitter)) {
        operation_register(emitter, (unsigned int)alu << 3 | 3, reg, source, size);
    }
}

void emit_alu_immediate(struct emitter *emitter, enum emit_alu alu, unsigned int reg, int32_t value,
                        unsigned int size)
{
    if (!has_room(emitter)) {
        return;
    }
    bool is_short = value == (int8_t)value;
    operation_register(emitter, is_short ? 0x83 : 0x81, (unsigned int)alu, reg, size);
    if (is_short) {
        byte(emitter, (uint8_t)value);
    } else {
        dword(emitter, (uint32_t)value);
    }
}

void emit_alu_memory_immediate(struct emitter *emitter, enum emit_alu alu,
                               struct emit_memory memory, int8_t value, unsigned int size)
{
    if (has_room(emitter)) {
        operation_memory(emitter, size == 1 ? 0x80 : 0x83, (unsigned int)alu, memory, size);
        byte(emitter, (uint8_t)value);
    }
}

void emit_shift(struct emitter *emitter, bool right, unsigned int reg, unsigned int count,
                unsigned int size)
{
    if (has_room(emitter)) {
        operation_register(emitter, 0xc1, right ? 5 : 4, reg, size);
        byte(emitter, count);
    }
}

void emit_rotate(struct emitter *emitter, unsigned int to, unsigned int from, unsigned int count)
{
    if (has_room(emitter)) {
        byte(emitter, 0xc4);
        byte(emitter, 0x43 | ((to & 8) != 0 ? 0 : 0x80u) | ((from & 8) != 0 ? 0 : 0x20u));
        byte(emitter, 0xfb); /* W, no vvvv, F2 */
        byte(emitter, 0xf0);
        byte(emitter, 0xc0 | (to & 7) << 3 | (from & 7));
        byte(emitter, count);
    }
}

/* --- branches --- */

static uint32_t distance(const uint8_t *end_of_branch, ptrdiff_t displacement,
                         const uint8_t *target)
{
    return (uint32_t)(target - (end_of_branch + displacement));
}

void emit_jump(struct emitter *emitter, const uint8_t *target)
{
    if (has_room(emitter)) {
        byte(emitter, 0xe9);
        dword(emitter, distance(emitter->at + 4, emitter->displacement, target));
    }
}

void emit_jump_if(struct emitter *emitter, unsigned int condition, const uint8_t *target)
{
    if (has_room(emitter)) {
        byte(emitter, 0x0f);
        byte(emitter, 0x80 | condition);
        dword(emitter, distance(emitter->at + 4, emitter->displacement, target));
    }
}

void emit_jump_memory(struct emitter *emitter, struct emit_memory memory)
{
    if (has_room(emitter)) {
        operation_memory(emitter, 0xff, 4, memory, 4);
    }
}

void emit_patch(uint8_t *end_of_branch, ptrdiff_t displacement, const uint8_t *target)
{
    uint32_t value = distance(end_of_branch, displacement, target);
    memcpy(end_of_branch - 4, &value, sizeof(value));
}

void emit_mxcsr(struct emitter *emitter, bool store, struct emit_memory memory)
{
    unsigned int extension = store ? 3 : 2;
    if (has_room(emitter)) {
        prefixes(emitter, extension, emit_extension_bits(memory), memory.gs, 4);
        byte(emitter, 0x0f);
        byte(emitter, 0xae);
        modrm_memory(emitter, extension, memory);
    }
}

void emit_escape_memory(struct emitter *emitter, unsigned int opcode, unsigned int extension,
                        struct emit_memory memory)
{
    if (has_room(emitter)) {
        operation_memory(emitter, opcode, extension, memory, 4);
    }
}

void emit_patch_here(struct emitter *emitter, uint8_t *end_of_branch)
{
    if (!emitter->full) {
        emit_patch(end_of_branch, emitter->displacement, emit_address(emitter));
    }
}

/* --- guest instructions --- */

/* Prefixes and opcode; extension: what the operand in ModRM.rm puts into REX. */
static void legacy_start(struct emitter *emitter, const struct x86_instruction *in,
                         unsigned int extension)
{
    if ((in->flags & X86_INSTRUCTION_LOCK) != 0) {
        byte(emitter, 0xf0);
    }
    if ((in->flags & X86_INSTRUCTION_66) != 0) {
        byte(emitter, 0x66);
    }
    if (in->mandatory_prefix == 0xf2 || (in->flags & X86_INSTRUCTION_REPNE) != 0) {
        byte(emitter, 0xf2);
    } else if (in->mandatory_prefix == 0xf3 || (in->flags & X86_INSTRUCTION_REP) != 0) {
        byte(emitter, 0xf3);
    }
    /* What REX.R extends is the register field of the guest's own encoding. */
    unsigned int rex =
        extension | (in->reg > 7 ? REX_R : 0) | ((in->flags & X86_INSTRUCTION_W) != 0 ? REX_W : 0);
    if (rex != 0 || (in->flags & X86_INSTRUCTION_REX) != 0) {
        byte(emitter, REX | rex);
    }
    if (in->map != X86_MAP_ONE_BYTE) {
        byte(emitter, 0x0f);
        if (in->map == X86_MAP_0F38) {
            byte(emitter, 0x38);
        } else if (in->map == X86_MAP_0F3A) {
            byte(emitter, 0x3a);
        }
    }
    byte(emitter, in->opcode);
}

static void vex_with_memory(struct emitter *emitter, const struct x86_instruction *in,
                            const uint8_t *bytes, struct emit_memory memory)
{
    /* W, vvvv, L and pp stand together in the byte before the opcode, in C5H with R for W. */
    unsigned int last = bytes[in->opcode_offset - 1];
    bool is_short = bytes[in->opcode_offset - 2] == 0xc5;
    unsigned int extension = emit_extension_bits(memory);
    unsigned int reg_bit = in->reg > 7 ? 0 : 0x80u;
    byte(emitter, 0xc4);
    byte(emitter, reg_bit | ((extension & REX_X) != 0 ? 0 : 0x40u) |
                      ((extension & REX_B) != 0 ? 0 : 0x20u) | in->map);
    byte(emitter, is_short ? last & 0x7f : last);
    byte(emitter, in->opcode);
}

static void immediate_of(struct emitter *emitter, const struct x86_instruction *in,
                         const uint8_t *bytes)
{
    for (unsigned int i = in->length - (unsigned int)in->immediate_size; i < in->length; i++) {
        byte(emitter, bytes[i]);
    }
}

void emit_with_memory(struct emitter *emitter, const struct x86_instruction *in,
                      const uint8_t *bytes, struct emit_memory memory)
{
    if (!has_room(emitter)) {
        return;
    }
    if (in->encoding == X86_ENCODING_VEX) {
        vex_with_memory(emitter, in, bytes, memory);
    } else {
        legacy_start(emitter, in, emit_extension_bits(memory));
    }
    modrm_memory(emitter, (unsigned int)in->modrm >> 3, memory);
    immediate_of(emitter, in, bytes);
}

void emit_with_register(struct emitter *emitter, const struct x86_instruction *in,
                        const uint8_t *bytes, unsigned int reg)
{
    if (has_room(emitter)) {
        legacy_start(emitter, in, (reg & 8) != 0 ? REX_B : 0);
        byte(emitter, 0xc0 | (in->modrm & 0x38u) | (reg & 7));
        immediate_of(emitter, in, bytes);
    }
}
