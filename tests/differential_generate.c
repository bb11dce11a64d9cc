/*
 * Random sequences. An instruction is a random form with random prefixes, registers and operands;
 * often the registers that it takes addresses and counts from are loaded just before.
 */
#include <string.h>

#include "differential_forms.h"

#define TRIES 200

/* A branch or pointer to be filled in when everything has its place. */
enum fixup_kind { FIXUP_RELATIVE, FIXUP_ABSOLUTE };

struct fixup {
    enum fixup_kind kind;
    uint16_t at, size, end; /* the field; what it is relative to */
    uint16_t after;         /* the target is an instruction behind this one */
};

struct maker {
    struct differential_random random;
    const struct differential_forms *forms;
    struct differential_case *to;
    struct fixup fixups[DIFFERENTIAL_INSTRUCTIONS_MAX];
    unsigned int fixup_count;
};

static uint32_t below(struct maker *maker, uint32_t limit)
{
    return differential_below(&maker->random, limit);
}

static bool chance(struct maker *maker, uint32_t percent)
{
    return differential_chance(&maker->random, percent);
}

static void append(struct maker *maker, const uint8_t *bytes, unsigned int length)
{
    struct differential_case *to = maker->to;
    to->instructions[to->count].offset = (uint16_t)to->length;
    to->instructions[to->count].length = (uint16_t)length;
    to->count++;
    memcpy(to->code + to->length, bytes, length);
    to->length += length;
}

/* skip: how many instructions that are yet to come lie before the nearest target */
static void add_fixup(struct maker *maker, enum fixup_kind kind, unsigned int at, unsigned int size,
                      unsigned int skip)
{
    maker->fixups[maker->fixup_count++] =
        (struct fixup){.kind = kind,
                       .at = (uint16_t)at,
                       .size = (uint16_t)size,
                       .end = (uint16_t)maker->to->length,
                       .after = (uint16_t)(maker->to->count + skip)};
}

/* mov r32, imm32 */
static void append_load(struct maker *maker, unsigned int number, uint32_t value)
{
    uint8_t bytes[6];
    unsigned int n = 0;
    if (number >= 8) {
        bytes[n++] = 0x41;
    }
    bytes[n++] = (uint8_t)(0xb8 | (number & 7));
    memcpy(bytes + n, &value, 4);
    append(maker, bytes, n + 4);
}

/* --- one instruction --- */

static const struct differential_form *choose_form(struct maker *maker)
{
    const struct differential_forms *forms = maker->forms;
    for (;;) {
        unsigned int index = below(maker, forms->count);
        if (chance(maker, 55)) {
            unsigned int operation = below(maker, forms->operation_count);
            unsigned int first = forms->first[operation];
            index = first + below(maker, forms->first[operation + 1] - first);
        }
        const struct differential_form *form = &forms->all[index];
        if (maker->to->is_32 ? form->valid_32 : form->valid_64) {
            return form;
        }
    }
}

static unsigned int put_vex(struct maker *maker, const struct differential_form *form, uint8_t *b)
{
    uint64_t bits = differential_bits(&maker->random);
    unsigned int vvvv = (bits & 1) != 0 ? 15 : (unsigned int)(bits >> 1 & 15);
    unsigned int inverted = maker->to->is_32 ? 7 : (unsigned int)(bits >> 8 & 7);
    unsigned int last = vvvv << 3 | (form->is_256 ? 4u : 0u) | form->prefix;
    if (maker->to->is_32) {
        last |= 0x40;
    }
    if (form->map == X86_MAP_0F && !form->wide && (inverted & 3) == 3 && (bits >> 16 & 1) != 0) {
        b[0] = 0xc5;
        b[1] = (uint8_t)((inverted >> 2) << 7 | last);
        return 2;
    }
    b[0] = 0xc4;
    b[1] = (uint8_t)(inverted << 5 | form->map);
    b[2] = (uint8_t)((form->wide ? 0x80u : 0u) | last);
    return 3;
}

static unsigned int put_legacy(struct maker *maker, const struct differential_form *form,
                               uint8_t *b)
{
    static const uint8_t prefixes[] = {0, 0x66, 0xf3, 0xf2};
    unsigned int n = 0;
    if (form->is_memory && chance(maker, 15)) {
        b[n++] = 0xf0;
    }
    if (form->prefix != 0) {
        b[n++] = prefixes[form->prefix];
    } else if (chance(maker, 3)) {
        b[n++] = prefixes[1 + below(maker, 3)];
    }
    if (!maker->to->is_32 && (form->wide || chance(maker, 45))) {
        b[n++] = (uint8_t)(0x40 | (form->wide ? 8u : 0u) | below(maker, 8));
    }
    if (form->map != X86_MAP_ONE_BYTE) {
        b[n++] = 0x0f;
    }
    if (form->map >= X86_MAP_0F38) {
        b[n++] = form->map == X86_MAP_0F38 ? 0x38 : 0x3a;
    }
    return n;
}

/* Random bytes of the form; what follows ModRM is random and more than enough. */
static void put_form(struct maker *maker, const struct differential_form *form, uint8_t bytes[40])
{
    unsigned int n = 0;
    if (!maker->to->is_32 && chance(maker, 4)) {
        bytes[n++] = chance(maker, 50) ? 0x64 : 0x65;
    }
    if (chance(maker, 3)) {
        bytes[n++] = 0x67;
    }
    n += form->encoding == X86_ENCODING_VEX ? put_vex(maker, form, bytes + n)
                                            : put_legacy(maker, form, bytes + n);
    bytes[n++] = form->opcode;
    unsigned int mod = form->is_memory ? below(maker, 3) : 3;
    bytes[n++] = (uint8_t)(mod << 6 | (unsigned int)form->reg << 3 | below(maker, 8));
    for (; n < 40; n++) {
        bytes[n] = (uint8_t)differential_bits(&maker->random);
    }
}

static bool make(struct maker *maker, const struct differential_form *form, uint8_t bytes[40],
                 struct x86_instruction *in)
{
    enum x86_decode_mode mode = maker->to->is_32 ? X86_DECODE_32 : X86_DECODE_64;
    for (unsigned int i = 0; i < TRIES; i++) {
        put_form(maker, form, bytes);
        if (x86_decode(mode, bytes, 15, in) == X86_DECODE_OK && in->operation == form->operation &&
            differential_comparable(in, &maker->forms->cpuid)) {
            return true;
        }
    }
    return false;
}

/* --- operands that make sense --- */

static void write_field(uint8_t *at, unsigned int size, uint64_t value)
{
    memcpy(at, &value, size);
}

static bool is_register(unsigned int number)
{
    return number < X86_REGISTER_NONE;
}

/* Displacements are in front of the immediate. */
static unsigned int displacement_at(const struct x86_instruction *in)
{
    unsigned int immediates = in->immediate_size;
    if (in->operation == X86_OP_MOV_MOFFS_LOAD || in->operation == X86_OP_MOV_MOFFS_STORE) {
        immediates = 0;
    }
    return (unsigned int)in->length - immediates - in->displacement_size;
}

static int32_t choose_displacement(struct maker *maker, const struct x86_instruction *in,
                                   uint32_t next)
{
    uint32_t pointer = differential_pointer(&maker->random);
    if (in->base == X86_REGISTER_RIP) {
        return (int32_t)(pointer - next);
    }
    if (!is_register(in->base)) {
        return (int32_t)pointer;
    }
    static const int32_t edges[] = {0, INT32_MAX, INT32_MIN, -1, 0x1000, -0x1000};
    return chance(maker, 20) ? edges[below(maker, 6)] : (int32_t)below(maker, 512) - 256;
}

static void settle_memory(struct maker *maker, struct x86_instruction *in, uint8_t *bytes)
{
    if (in->displacement_size == 4) {
        uint32_t next = maker->to->start + maker->to->length + in->length;
        in->displacement = choose_displacement(maker, in, next);
        write_field(bytes + displacement_at(in), 4, (uint64_t)(int64_t)in->displacement);
    }
}

/* The registers that an operand's address comes from. Flags stay what they are. */
static void load_address(struct maker *maker, const struct x86_instruction *in)
{
    bool vsib = (in->shape & X86_SHAPE_VSIB) != 0;
    uint32_t pointer = differential_pointer(&maker->random) - (uint32_t)in->displacement;
    if (is_register(in->index) && !vsib && in->index != in->base) {
        uint32_t index = below(maker, 40);
        append_load(maker, in->index, index);
        pointer -= index << in->scale;
    }
    if (is_register(in->base) && in->address_size != 2) {
        append_load(maker, in->base, pointer);
    }
}

/* What else the operation takes for granted. */
static void load_implicit(struct maker *maker, const struct x86_instruction *in)
{
    struct differential_random *random = &maker->random;
    switch (in->operation) {
    case X86_OP_MOVS:
    case X86_OP_CMPS:
    case X86_OP_STOS:
    case X86_OP_LODS:
    case X86_OP_SCAS:
        append_load(maker, X86_RCX, below(maker, 80));
        append_load(maker, X86_RSI, differential_pointer(random));
        append_load(maker, X86_RDI, differential_pointer(random));
        break;
    case X86_OP_MASKMOV:
        append_load(maker, X86_RDI, differential_pointer(random));
        break;
    case X86_OP_XLAT:
        append_load(maker, X86_RBX, differential_pointer(random));
        break;
    case X86_OP_DIV:
    case X86_OP_IDIV:
        append_load(maker, X86_RDX, below(maker, 8));
        break;
    case X86_OP_LOOP:
    case X86_OP_LOOPE:
    case X86_OP_LOOPNE:
    case X86_OP_JCXZ:
        append_load(maker, X86_RCX, below(maker, 3));
        break;
    case X86_OP_LEAVE:
        append_load(maker, X86_RBP, differential_pointer(random));
        break;
    case X86_OP_BT:
    case X86_OP_BTS:
    case X86_OP_BTR:
    case X86_OP_BTC:
        append_load(maker, in->reg, below(maker, 4096));
        break;
    default:
        break;
    }
}

/* push imm32: where a RET goes; mov r32, imm32: where an indirect branch does. */
static void load_target(struct maker *maker, const struct x86_instruction *in)
{
    if (in->operation == X86_OP_RET) {
        static const uint8_t push[5] = {0x68};
        append(maker, push, 5);
        add_fixup(maker, FIXUP_ABSOLUTE, maker->to->length - 4, 4, 1);
    } else if ((in->operation == X86_OP_JMP_INDIRECT || in->operation == X86_OP_CALL_INDIRECT) &&
               (in->flags & X86_INSTRUCTION_MEMORY) == 0) {
        append_load(maker, in->rm, 0);
        add_fixup(maker, FIXUP_ABSOLUTE, maker->to->length - 4, 4, 1);
    }
}

static void settle_immediate(struct maker *maker, const struct x86_instruction *in, uint8_t *bytes)
{
    uint8_t *field = bytes + in->length - in->immediate_size;
    if (in->operation == X86_OP_MOV_MOFFS_LOAD || in->operation == X86_OP_MOV_MOFFS_STORE) {
        if (chance(maker, 80) && in->immediate_size >= 4) {
            write_field(field, in->immediate_size, differential_pointer(&maker->random));
        }
    } else if (in->operation == X86_OP_ENTER) {
        bytes[in->length - 2] &= 1; /* of the size: small */
        bytes[in->length - 1] &= chance(maker, 80) ? 3 : 0xff;
    } else if (in->immediate_size > 0 && in->immediate_size <= 8 && chance(maker, 30)) {
        write_field(field, in->immediate_size, differential_operand(&maker->random));
    }
}

static void append_one(struct maker *maker)
{
    const struct differential_form *form = choose_form(maker);
    uint8_t bytes[40];
    struct x86_instruction in;
    if (!make(maker, form, bytes, &in)) {
        return;
    }
    bool memory = (in.flags & X86_INSTRUCTION_MEMORY) != 0;
    bool relative_to_rip = memory && in.base == X86_REGISTER_RIP;
    if (memory && !relative_to_rip) {
        settle_memory(maker, &in, bytes);
    }
    if (memory && chance(maker, 60)) {
        load_address(maker, &in);
    }
    if (chance(maker, 70)) {
        load_implicit(maker, &in);
    }
    if (chance(maker, 85)) {
        load_target(maker, &in);
    }
    if (relative_to_rip) {
        settle_memory(maker, &in, bytes); /* now that its place is known */
    }
    bool undefined_flags = differential_undefined_flags(in.operation) != 0;
    bool relative = (in.flags & X86_INSTRUCTION_RELATIVE) != 0;
    if (!relative) {
        settle_immediate(maker, &in, bytes);
    }
    append(maker, bytes, in.length);
    if (undefined_flags) {
        static const uint8_t compare[2] = {0x39, 0xd1}; /* defines them before they are used */
        append(maker, compare, 2);
    }
    if (relative) {
        add_fixup(maker, FIXUP_RELATIVE, maker->to->length - in.immediate_size, in.immediate_size,
                  0);
    }
}

/* --- a sequence --- */

static uint32_t choose_start(struct maker *maker)
{
    uint32_t page_end = DIFFERENTIAL_CODE + 0x1000;
    uint32_t roll = below(maker, 100);
    if (roll < 70) {
        return DIFFERENTIAL_CODE + 0x100 + below(maker, 0x800);
    }
    if (roll < 92) {
        return page_end - below(maker, 60); /* from page to page */
    }
    return page_end + 0x1000 - 1 - below(maker, 60); /* into nothing */
}

static void append_exit(struct maker *maker)
{
    struct differential_case *to = maker->to;
    uint32_t exit_at = to->is_32 ? DIFFERENTIAL_EXIT_32 : DIFFERENTIAL_EXIT;
    uint8_t jump[5] = {0xe9};
    write_field(jump + 1, 4, exit_at - (to->start + to->length + 5));
    append(maker, jump, 5);
}

static void fix(struct maker *maker, const struct fixup *fixup)
{
    struct differential_case *to = maker->to;
    unsigned int left = to->count - fixup->after; /* at least the exit's jump */
    unsigned int target = to->instructions[fixup->after + below(maker, left)].offset;
    if (fixup->kind == FIXUP_ABSOLUTE) {
        write_field(to->code + fixup->at, 4, to->start + target);
        return;
    }
    unsigned int distance = target - fixup->end;
    if (fixup->size == 1 && distance > 127) {
        distance = 0;
    }
    write_field(to->code + fixup->at, fixup->size, distance);
}

/* Only so much as lies within the pages of code. */
static void cut(struct differential_case *what)
{
    uint32_t room = DIFFERENTIAL_CODE + DIFFERENTIAL_CODE_PAGES * 0x1000 - what->start;
    if (what->length > room) {
        what->length = room;
    }
    while (what->count > 0 && what->instructions[what->count - 1].offset >= room) {
        what->count--;
    }
    if (what->count > 0) {
        unsigned int last = what->count - 1, end = what->length;
        if (what->instructions[last].offset + what->instructions[last].length > end) {
            what->instructions[last].length = (uint16_t)(end - what->instructions[last].offset);
        }
    }
}

void differential_generate(const struct differential_forms *forms, uint64_t seed,
                           struct differential_case *what)
{
    struct maker maker = {.random = {seed}, .forms = forms, .to = what};
    memset(what, 0, sizeof(*what));
    what->seed = seed;
    what->is_32 = !forms->any_64 || (forms->any_32 && chance(&maker, 20));
    what->start = choose_start(&maker);
    unsigned int wanted = 1 + below(&maker, 8);
    while (wanted-- > 0 && what->count < DIFFERENTIAL_INSTRUCTIONS_MAX - 8 &&
           what->length < DIFFERENTIAL_CODE_MAX - 64) {
        append_one(&maker);
    }
    append_exit(&maker);
    for (unsigned int i = 0; i < maker.fixup_count; i++) {
        fix(&maker, &maker.fixups[i]);
    }
    cut(what);
}

void differential_split(struct differential_case *what)
{
    enum x86_decode_mode mode = what->is_32 ? X86_DECODE_32 : X86_DECODE_64;
    unsigned int at = 0;
    what->count = 0;
    while (at < what->length && what->count < DIFFERENTIAL_INSTRUCTIONS_MAX) {
        struct x86_instruction in;
        unsigned int left = what->length - at;
        bool good = x86_decode(mode, what->code + at, left, &in) == X86_DECODE_OK;
        unsigned int length = good ? in.length : left;
        what->instructions[what->count].offset = (uint16_t)at;
        what->instructions[what->count].length = (uint16_t)length;
        what->count++;
        at += length;
    }
}
