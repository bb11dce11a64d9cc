/* Pieces with vector, MMX and x87 instructions: what lives in registers that C code wants, too. */
#include <string.h>

#include "differential_forms.h"
#include "program_pieces.h"

#define TRIES 40

/* One operand for a while: a base, near which everything is. */
struct place {
    uint8_t base, index; /* index: or X86_REGISTER_NONE */
};

/* --- bytes of a form --- */

struct bytes {
    uint8_t at[40];
    unsigned int count;
};

static void put(struct bytes *bytes, unsigned int byte)
{
    bytes->at[bytes->count++] = (uint8_t)byte;
}

/* rex: R, X, B as REX has them. */
static void put_vex(struct program_maker *maker, const struct differential_form *form,
                    unsigned int rex, struct bytes *bytes)
{
    unsigned int vvvv = program_chance(maker, 50) ? 15 : program_below(maker, 16);
    if (maker->to->is_32) {
        vvvv |= 8;
    }
    unsigned int last = vvvv << 3 | (form->is_256 ? 4u : 0) | form->prefix;
    if (form->map == X86_MAP_0F && !form->wide && (rex & 3) == 0 && program_chance(maker, 60)) {
        put(bytes, 0xc5);
        put(bytes, ((rex & 4) != 0 ? 0 : 0x80u) | last);
        return;
    }
    put(bytes, 0xc4);
    put(bytes, (~rex & 7) << 5 | form->map);
    put(bytes, (form->wide ? 0x80u : 0) | last);
}

static void put_legacy(struct program_maker *maker, const struct differential_form *form,
                       unsigned int rex, struct bytes *bytes)
{
    static const uint8_t prefixes[] = {0, 0x66, 0xf3, 0xf2};
    if (form->prefix != 0) {
        put(bytes, prefixes[form->prefix]);
    }
    if (!maker->to->is_32 && (rex != 0 || form->wide)) {
        put(bytes, 0x40 | (form->wide ? 8u : 0) | rex);
    }
    if (form->map != X86_MAP_ONE_BYTE) {
        put(bytes, 0x0f);
    }
    if (form->map >= X86_MAP_0F38) {
        put(bytes, form->map == X86_MAP_0F38 ? 0x38 : 0x3a);
    }
}

/* ModRM, SIB and a displacement of four bytes. */
static void put_memory(const struct place *place, unsigned int reg, uint32_t displacement,
                       struct bytes *bytes)
{
    bool has_index = place->index != X86_REGISTER_NONE;
    bool sib = has_index || (place->base & 7) == 4;
    put(bytes, 0x80 | reg << 3 | (sib ? 4u : place->base & 7u));
    if (sib) {
        put(bytes, (has_index ? place->index & 7u : 4u) << 3 | (place->base & 7u));
    }
    memcpy(bytes->at + bytes->count, &displacement, 4);
    bytes->count += 4;
}

static struct bytes bytes_of(struct program_maker *maker, const struct differential_form *form,
                             const struct place *place)
{
    struct bytes bytes = {.count = 0};
    unsigned int rex = maker->to->is_32 ? 0 : program_below(maker, 2) * 4;
    if (form->is_memory) {
        rex |= place->base > 7 ? 1 : 0;
        rex |= place->index != X86_REGISTER_NONE && place->index > 7 ? 2 : 0;
    } else if (!maker->to->is_32) {
        rex |= program_below(maker, 2);
    }
    if (form->is_memory && !maker->to->is_32 && program_chance(maker, 4)) {
        put(&bytes, 0x64 + program_below(maker, 2)); /* FS, GS */
    }
    if (form->encoding == X86_ENCODING_VEX) {
        put_vex(maker, form, rex, &bytes);
    } else {
        put_legacy(maker, form, rex, &bytes);
    }
    put(&bytes, form->opcode);
    if (form->is_memory) {
        uint32_t step = program_chance(maker, 85) ? 32 : program_chance(maker, 50) ? 8 : 1;
        put_memory(place, form->reg, program_below(maker, 8) * step, &bytes);
    } else {
        put(&bytes, 0xc0u | (unsigned int)form->reg << 3 | program_below(maker, 8));
    }
    while (bytes.count < 24) { /* immediates */
        put(&bytes, program_below(maker, 256));
    }
    return bytes;
}

/* --- instructions --- */

static const struct differential_form *choose_form(struct program_maker *maker)
{
    static const enum x86_operation operations[] = {
        X86_OP_SSE, X86_OP_SSE, X86_OP_SSE, X86_OP_AVX, X86_OP_AVX,  X86_OP_AVX,  X86_OP_X87,
        X86_OP_X87, X86_OP_X87, X86_OP_MMX, X86_OP_SSE, X86_OP_EMMS, X86_OP_VZERO};
    const struct differential_forms *forms = maker->forms;
    size_t count = sizeof(operations) / sizeof(operations[0]);
    for (unsigned int i = 0; i < TRIES; i++) {
        enum x86_operation operation = operations[program_below(maker, (uint32_t)count)];
        for (unsigned int j = 0; j < forms->operation_count; j++) {
            unsigned int first = forms->first[j], end = forms->first[j + 1];
            if (first == end || forms->all[first].operation != operation) {
                continue;
            }
            const struct differential_form *form =
                &forms->all[first + program_below(maker, end - first)];
            if (maker->to->is_32 ? form->valid_32 : form->valid_64) {
                return form;
            }
        }
    }
    return NULL;
}

static void vector_instruction(struct program_maker *maker, const struct place *place)
{
    enum x86_decode_mode mode = maker->to->is_32 ? X86_DECODE_32 : X86_DECODE_64;
    const struct differential_form *form = choose_form(maker);
    for (unsigned int i = 0; form != NULL && i < TRIES; i++) {
        struct bytes bytes = bytes_of(maker, form, place);
        struct x86_instruction in;
        if (x86_decode(mode, bytes.at, X86_INSTRUCTION_MAX, &in) == X86_DECODE_OK &&
            in.operation == form->operation && differential_comparable(&in, &maker->forms->cpuid) &&
            ((in.shape & X86_SHAPE_REG_GPR) == 0 || in.reg != X86_RSP) &&
            ((in.shape & X86_SHAPE_RM_GPR) == 0 || in.mod != 3 || in.rm != X86_RSP)) {
            program_instruction(maker, bytes.at, in.length);
            return;
        }
    }
}

/* MXCSR or the x87 control word gets a value that makes sense. */
static void control(struct program_maker *maker)
{
    struct program_operand where = program_linear(program_pointer(maker) & ~15u);
    bool is_x87 = program_chance(maker, 40);
    uint32_t masks = is_x87 ? 0x3f : 0x1f80;
    uint32_t value = program_below(maker, 0x10000) | masks;
    if (program_chance(maker, 25)) {
        value &= ~(masks & program_below(maker, 0x2000));
    }
    if (program_chance(maker, 5)) {
        value |= 1u << (16 + program_below(maker, 16)); /* reserved: #GP */
    }
    program_encode(maker,
                   &(struct program_encoding){.opcode = 0xc7,
                                              .size = 4,
                                              .reg_is_digit = true,
                                              .immediate_size = 4,
                                              .immediate = value},
                   &where);
    struct program_encoding load = {.map = is_x87 ? 0 : 1,
                                    .opcode = is_x87 ? 0xd9 : 0xae,
                                    .size = 4,
                                    .reg = is_x87 ? 5 : 2, /* FLDCW, LDMXCSR */
                                    .reg_is_digit = true};
    program_encode(maker, &load, &where);
    if (program_chance(maker, 50)) {
        load.reg = is_x87 ? 7 : 3; /* FNSTCW, STMXCSR */
        program_encode(maker, &load, &where);
    }
}

/* Often what a register points at is aligned; sometimes it lies across the end of a page. */
static struct place choose_place(struct program_maker *maker)
{
    struct place place = {.base = program_register_but_rsp(maker), .index = X86_REGISTER_NONE};
    uint32_t address = program_pointer(maker);
    if (program_chance(maker, 85)) {
        address &= ~31u;
    }
    if (program_chance(maker, 20)) {
        address = (address & ~0xfffu) + 0x1000 - 32 * program_below(maker, 8);
    }
    if (program_chance(maker, 30)) {
        uint32_t by = 16 * program_below(maker, 8);
        place.index = program_register_but_rsp(maker);
        program_load(maker, place.index, by);
        address -= by;
    }
    program_load(maker, place.base, address);
    return place;
}

void program_vectors(struct program_maker *maker)
{
    struct place place = choose_place(maker);
    unsigned int count = 2 + program_below(maker, 9);
    while (count-- > 0) {
        uint32_t roll = program_below(maker, 100);
        if (roll < 80) {
            vector_instruction(maker, &place);
        } else if (roll < 92) {
            program_simple(maker, NULL);
        } else if (roll < 96) {
            control(maker);
        } else {
            program_flags(maker);
        }
    }
}
