/*
 * A random program: segments that begin by giving registers sense again, of pieces of all kinds.
 */
#include <string.h>

#include "program_pieces.h"

static void load_something(struct program_maker *maker, unsigned int number)
{
    static const uint64_t bad[] = {UINT64_C(0x0000800000000000),
                                   UINT64_C(0xffff7ffffffffff8),
                                   UINT64_C(0xffffffffffffffff),
                                   UINT64_C(0xffff800000000000),
                                   UINT64_C(0x00007ffffffffffd),
                                   0,
                                   PROGRAM_KERNEL,
                                   PROGRAM_HOLE};
    uint32_t roll = program_below(maker, 100);
    uint64_t value = roll < 75   ? program_pointer(maker)
                     : roll < 80 ? bad[program_below(maker, 8)]
                     : roll < 90 ? program_below(maker, 64)
                                 : program_number(maker);
    program_load(maker, number, value);
}

/* --- a few instructions of any form, made for differential testing --- */

/* In the kernel they would change what the program runs on. */
static bool is_too_powerful(enum x86_operation operation)
{
    static const enum x86_operation operations[] = {
        X86_OP_MOV_TO_CR, X86_OP_MOV_TO_DR, X86_OP_MOV_FROM_DR, X86_OP_IN,     X86_OP_OUT,
        X86_OP_INS,       X86_OP_OUTS,      X86_OP_LGDT,        X86_OP_LIDT,   X86_OP_LLDT,
        X86_OP_LTR,       X86_OP_LMSW,      X86_OP_CLTS,        X86_OP_HLT,    X86_OP_INVD,
        X86_OP_RDMSR,     X86_OP_WRMSR,     X86_OP_INVPCID,     X86_OP_MONITOR};
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        if (operations[i] == operation) {
            return true;
        }
    }
    return false;
}

/* What tells of an address in its case is moved to where the instruction goes. */
static void move(struct program_maker *maker, const struct differential_case *what,
                 const struct x86_instruction *in, uint8_t *bytes)
{
    uint32_t by = maker->moved_by, field;
    if ((in->flags & X86_INSTRUCTION_MEMORY) != 0 && in->base == X86_REGISTER_RIP) {
        uint8_t *at = bytes + in->length - in->immediate_size - 4;
        memcpy(&field, at, 4);
        field -= by;
        memcpy(at, &field, 4);
        return;
    }
    bool is_load = in->operation == X86_OP_MOV && in->immediate_size == 4 &&
                   (in->flags & X86_INSTRUCTION_MEMORY) == 0;
    if (is_load || (in->operation == X86_OP_PUSH && in->immediate_size == 4)) {
        memcpy(&field, bytes + in->length - 4, 4);
        if (field >= what->start && field <= what->start + what->length) {
            field += by;
            memcpy(bytes + in->length - 4, &field, 4);
        }
    }
}

static bool fits(const struct program_maker *maker, const struct differential_case *what)
{
    enum x86_decode_mode mode = what->is_32 ? X86_DECODE_32 : X86_DECODE_64;
    if (what->is_32 != maker->to->is_32 || what->count < 2 ||
        what->start + what->length >= DIFFERENTIAL_CODE + 0x2000) {
        return false;
    }
    for (unsigned int i = 0; i < what->count; i++) {
        struct x86_instruction in;
        if (x86_decode(mode, what->code + what->instructions[i].offset,
                       what->instructions[i].length, &in) != X86_DECODE_OK ||
            (maker->to->is_kernel && is_too_powerful(in.operation))) {
            return false;
        }
    }
    return true;
}

static void splice(struct program_maker *maker)
{
    static const unsigned int tries = 60;
    enum x86_decode_mode mode = maker->to->is_32 ? X86_DECODE_32 : X86_DECODE_64;
    struct differential_random seeds = {program_bits(maker)};
    struct differential_case what;
    unsigned int i = 0;
    do {
        differential_generate(maker->forms, differential_bits(&seeds), &what);
    } while (!fits(maker, &what) && ++i < tries);
    if (i == tries) {
        return;
    }
    maker->moved_by = program_here(maker) - what.start;
    for (i = 0; i + 1 < what.count; i++) { /* without the jump at its end */
        struct x86_instruction in;
        uint8_t *bytes = what.code + what.instructions[i].offset;
        x86_decode(mode, bytes, what.instructions[i].length, &in);
        move(maker, &what, &in, bytes);
        program_instruction(maker, bytes, what.instructions[i].length);
    }
}

/* --- a program --- */

struct kind {
    uint32_t percent;
    void (*make)(struct program_maker *maker);
    bool only_outside; /* not within functions and inner loops */
};

void program_piece(struct program_maker *maker)
{
    static const struct kind kinds[] = {
        {10, program_some_simple, false},   {14, program_group, false},
        {13, program_flags, false},         {12, program_vectors, false},
        {10, program_stack, false},         {16, splice, false},
        {5, program_skip_forward, false},   {4, program_strings, false},
        {4, program_system_piece, false},   {4, program_loop, true},
        {2, program_branch_by_table, true}, {3, program_call, true},
        {3, program_modify, true}};
    if (!program_has_room(maker)) {
        return;
    }
    uint32_t roll = program_below(maker, 100);
    const struct kind *kind = kinds;
    while (roll >= kind->percent) {
        roll -= kind->percent;
        kind++;
    }
    if (kind->only_outside && maker->depth >= PROGRAM_DEPTH_MAX) {
        program_some_simple(maker);
        return;
    }
    kind->make(maker);
}

static void segment(struct program_maker *maker)
{
    struct program *to = maker->to;
    to->segments[to->segment_count++] = (uint16_t)(to->start + to->length);
    if (program_chance(maker, 70)) {
        program_load(maker, X86_RSP, program_stack_address(maker));
    }
    unsigned int loads = program_below(maker, 4);
    while (loads-- > 0) {
        load_something(maker, program_register_but_rsp(maker));
    }
    unsigned int pieces = 1 + program_below(maker, 4);
    while (pieces-- > 0) {
        program_piece(maker);
    }
}

static void end_program(struct program_maker *maker)
{
    struct program *to = maker->to;
    unsigned int end = program_jump(maker, PROGRAM_JUMP);
    program_land_at(maker, end, PROGRAM_END - PROGRAM_CODE - to->start);
}

void program_generate(const struct differential_forms *forms, uint64_t seed, const uint8_t *bytes,
                      size_t length, struct program *program)
{
    struct program_maker maker = {
        .random = {seed}, .bytes = bytes, .bytes_left = length, .forms = forms, .to = program};
    memset(program, 0, sizeof(*program));
    program->seed = seed;
    uint32_t mode = program_below(&maker, 100);
    program->is_32 = mode < 20;
    program->is_kernel = mode % 20 < 6;
    program->smap = program_chance(&maker, 50);
    /* Often across the end of a page. */
    program->start =
        (uint16_t)(program_chance(&maker, 50)
                       ? program_below(&maker, 0x1000)
                       : 0x1000 * (1 + program_below(&maker, 2)) - program_below(&maker, 256));
    unsigned int segments = 1 + program_below(&maker, 8);
    while (segments-- > 0 && program_has_room(&maker) && (length == 0 || maker.bytes_left > 0)) {
        segment(&maker);
    }
    if (program->segment_count == 0) {
        segment(&maker);
    }
    program->segments[program->segment_count++] = (uint16_t)(program->start + program->length);
    end_program(&maker);
}
