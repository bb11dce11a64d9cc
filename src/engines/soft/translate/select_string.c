/*
 * String instructions of 64-bit code, upwards. With REP: by the host's own, on host addresses, when
 * all of it lies within one page on either side, so that nothing can fault on the way. What this
 * does not hold for is run by the interpreter, page by page.
 */
#include "engines/soft/translate/select.h"

static bool is_repeated(const struct x86_instruction *in)
{
    return (in->flags & (X86_INSTRUCTION_REP | X86_INSTRUCTION_REPNE)) != 0;
}

bool select_string_test(const struct soft_cpu *cpu, const struct unit *unit,
                        const struct unit_instruction *at)
{
    const struct x86_instruction *in = &at->in.decoded;
    (void)cpu;
    if (!unit_is_64bit(unit) || in->address_size != 8) {
        return false;
    }
    bool has_base = in->segment == X86_FS || in->segment == X86_GS;
    bool reads_there = in->operation != X86_OP_STOS;
    return !(reads_there && has_base) && !(in->operation == X86_OP_LODS && is_repeated(in));
}

/* How far to shift an element count to get bytes. */
static unsigned int scale_of(unsigned int size)
{
    return size == 8 ? 3 : size >> 1;
}

/* A way out to the interpreter if the flags say so; it runs what it finds decoded. */
static void leave_if(struct generate *generate, unsigned int condition)
{
    struct stub *stub = generate_stub_if(generate, condition, STUB_SITE);
    stub->target = generate->translator->glue.callout;
    stub->site = generate_site(generate);
    struct soft_instruction *instruction =
        translate_cache_take(generate->translator->cache, sizeof(*instruction));
    if (stub->site == NULL || instruction == NULL) {
        generate->failed = true;
        return;
    }
    *instruction = generate->at->in;
    stub->site->instruction = generate_place(generate, instruction);
}

/* Also notes that no string instruction is in its middle any more, as soft_string_begin() does. */
static void leave_if_downward(struct generate *generate)
{
    size_t offset = offsetof(struct soft_cpu, flags) + 1;
    _Static_assert(X86_FLAGS_DF == 0x400, "bit 2 of the second byte");
    EMIT(&generate->emitter, 0x65, 0xf6, 0x04, 0x25, (uint8_t)offset, (uint8_t)(offset >> 8),
         (uint8_t)(offset >> 16), (uint8_t)(offset >> 24), 4); /* TEST byte [GS:offset], 4 */
    leave_if(generate, EMIT_IF_NOT_EQUAL);
    emit_store_immediate(&generate->emitter, GS_FIELD(mid_string), 0, 1);
}

/*
 * T0 = the host address for [reg]. first: of two; both addresses are looked at before either access
 * is made, so a miss is the interpreter's.
 */
static void check_pointer(struct generate *generate, unsigned int reg, unsigned int size,
                          bool write, bool first)
{
    struct access access = {.size = size, .write = write, .alone = first};
    generate_pointer(generate, reg, &access);
}

static void advance(struct generate *generate, unsigned int reg, unsigned int size)
{
    emit_load_effective(&generate->emitter, reg, emit_at(reg, (int32_t)size), 8);
}

/* --- one element --- */

static void select_single(struct generate *generate)
{
    struct emitter *emitter = &generate->emitter;
    const struct x86_instruction *in = &generate->at->in.decoded;
    unsigned int size = in->operand_size;
    if (in->operation == X86_OP_LODS) {
        check_pointer(generate, X86_RSI, size, false, false);
        emit_load(emitter, X86_RAX, emit_at(T0, 0), size);
        advance(generate, X86_RSI, size);
        return;
    }
    if (in->operation == X86_OP_MOVS) {
        check_pointer(generate, X86_RSI, size, false, true);
        emit_load(emitter, T0, emit_at(T0, 0), size);
        emit_store(emitter, GS_FIELD(translate.temporary), T0, 8);
    }
    check_pointer(generate, X86_RDI, size, true, false);
    unsigned int value = X86_RAX;
    if (in->operation == X86_OP_MOVS) {
        emit_load(emitter, T1, GS_FIELD(translate.temporary), 8);
        value = T1;
        advance(generate, X86_RSI, size);
    }
    emit_store(emitter, emit_at(T0, 0), value, size);
    advance(generate, X86_RDI, size);
    generate_after_store(generate, emit_at(T0, 0), size);
}

/* --- REP --- */

/* The interpreter runs it if the elements from [reg] on reach into the next page. */
static void leave_if_crossing(struct generate *generate, unsigned int reg, unsigned int scale)
{
    struct emitter *emitter = &generate->emitter;
    struct emit_memory end = {.base = T1, .index = X86_RCX, .scale = (uint8_t)scale};
    emit_move(emitter, T1, reg);
    emit_alu_immediate(emitter, EMIT_AND, T1, (int32_t)SOFT_PAGE_MASK, 4);
    emit_load_effective(emitter, T1, end, 8);
    emit_alu_immediate(emitter, EMIT_CMP, T1, (int32_t)SOFT_PAGE_SIZE, 8);
    leave_if(generate, EMIT_IF_ABOVE);
}

/* The guest's value of a pointer as it will be, kept in the register's slot meanwhile. */
static void keep_end(struct generate *generate, unsigned int reg, unsigned int scale)
{
    struct emit_memory end = {.base = (uint8_t)reg, .index = X86_RCX, .scale = (uint8_t)scale};
    emit_load_effective(&generate->emitter, T1, end, 8);
    emit_store(&generate->emitter, GS_REGISTER(reg), T1, 8);
}

static void emit_repeated(struct generate *generate, const struct x86_instruction *in)
{
    struct emitter *emitter = &generate->emitter;
    EMIT(emitter, 0xf3);
    if (in->operand_size == 2) {
        EMIT(emitter, 0x66);
    } else if (in->operand_size == 8) {
        EMIT(emitter, 0x48);
    }
    EMIT(emitter, in->opcode);
}

static void select_repeated(struct generate *generate)
{
    struct emitter *emitter = &generate->emitter;
    const struct x86_instruction *in = &generate->at->in.decoded;
    unsigned int scale = scale_of(in->operand_size);
    bool moves = in->operation == X86_OP_MOVS;
    EMIT(emitter, 0x48, 0x85, 0xc9); /* TEST RCX, RCX */
    emit_jump_if(emitter, EMIT_IF_EQUAL, emit_address(emitter));
    uint8_t *nothing = emitter->at;
    emit_alu_immediate(emitter, EMIT_CMP, X86_RCX, (int32_t)(SOFT_PAGE_SIZE >> scale), 8);
    leave_if(generate, EMIT_IF_ABOVE);
    if (moves) {
        leave_if_crossing(generate, X86_RSI, scale);
    }
    leave_if_crossing(generate, X86_RDI, scale);
    if (moves) {
        check_pointer(generate, X86_RSI, 1, false, true);
        emit_store(emitter, GS_FIELD(translate.temporary), T0, 8);
    }
    check_pointer(generate, X86_RDI, 1, true, false);
    keep_end(generate, X86_RDI, scale);
    emit_move(emitter, X86_RDI, T0);
    if (moves) {
        keep_end(generate, X86_RSI, scale);
        emit_load(emitter, X86_RSI, GS_FIELD(translate.temporary), 8);
    }
    emit_repeated(generate, in);
    emit_load(emitter, X86_RDI, GS_REGISTER(X86_RDI), 8);
    if (moves) {
        emit_load(emitter, X86_RSI, GS_REGISTER(X86_RSI), 8);
    }
    generate_after_store(generate, emit_at(T0, 0), 0);
    emit_patch_here(emitter, nothing);
}

void select_string(struct generate *generate)
{
    generate_clobber_flags_before(generate);
    leave_if_downward(generate);
    if (is_repeated(&generate->at->in.decoded)) {
        select_repeated(generate);
    } else {
        select_single(generate);
    }
    generate_scratch(generate);
}
