/*
 * LEA, NOP, division, strings of bits: what is neither plain nor a branch.
 */
#include "engines/soft/translate/select.h"

bool select_lea_test(const struct soft_cpu *cpu, const struct unit *unit,
                     const struct unit_instruction *at)
{
    const struct x86_instruction *in = &at->in.decoded;
    (void)cpu;
    (void)unit;
    bool relative = in->base == X86_REGISTER_RIP;
    return in->address_size != 2 && select_is_in_reach(in) &&
           !(relative && (in->address_size != 8 || in->operand_size == 2));
}

void select_lea(struct generate *generate)
{
    struct emitter *emitter = &generate->emitter;
    const struct unit_instruction *at = generate->at;
    const struct x86_instruction *in = &at->in.decoded;
    if (in->base == X86_REGISTER_RIP) {
        emit_load(emitter, in->reg, GS_REGISTER(SOFT_GPR_CODE), 8);
        int32_t displacement = in->displacement + at->offset + in->length;
        emit_load_effective(emitter, in->reg, emit_at(in->reg, displacement), in->operand_size);
    } else {
        generate_fill(generate, in->base);
        generate_fill(generate, in->index);
        struct emit_memory address = {.base = in->base,
                                      .index = in->index,
                                      .scale = in->scale,
                                      .displacement = in->displacement};
        unsigned int size = in->operand_size;
        if (size == 8 && in->address_size == 4) {
            size = 4; /* the address is cut to 32 bits, and zero-extended */
        }
        if (size == 2) {
            generate_fill(generate, in->reg);
        }
        emit_load_effective(emitter, in->reg, address, size);
    }
    generate_spill(generate, in->reg);
}

void select_nop(struct generate *generate)
{
    (void)generate; /* hints and prefetches have no effect that anybody could see */
}

bool select_divide_test(const struct soft_cpu *cpu, const struct unit *unit,
                        const struct unit_instruction *at)
{
    return select_plain_test(cpu, unit, at);
}

/* The host's instruction with a register; R11 does not hold the guest's, T0 does. */
static void emit_divide_register(struct generate *generate, const struct x86_instruction *in)
{
    struct emitter *emitter = &generate->emitter;
    unsigned int rm = in->rm == T1 ? T0 : in->rm;
    unsigned int rex = (in->operand_size == 8 ? 8u : 0u) | (rm >> 3 & 1u);
    if (in->operand_size == 2) {
        EMIT(emitter, 0x66);
    }
    if (rex != 0 || (in->flags & X86_INSTRUCTION_REX) != 0) {
        EMIT(emitter, (uint8_t)(0x40 | rex));
    }
    EMIT(emitter, in->opcode, (uint8_t)(0xc0 | (in->modrm & 0x38) | (rm & 7)));
}

/*
 * DIV, IDIV. The host's #DE comes as SIGFPE, whose handler goes to the site in T1 (native_fault.c):
 * the interpreter runs the instruction, which has changed nothing, and raises the guest's. So the
 * flags are in cpu->arithmetic as well. Processors leave some or all of them.
 */
void select_divide(struct generate *generate)
{
    struct emitter *emitter = &generate->emitter;
    const struct x86_instruction *in = &generate->at->in.decoded;
    bool is_memory = x86_has_memory_operand(in), native = generate->native;
    struct emit_memory memory = {.base = X86_REGISTER_NONE, .index = X86_REGISTER_NONE};
    generate_clobber_flags(generate, (uint16_t)X86_FLAGS_ARITHMETIC);
    generate->native = native; /* saving them has not changed them */
    if (is_memory) {
        struct access access = {.size = in->memory_size};
        memory = generate_operand(generate, in, &access);
    } else if (in->rm == T0 || in->rm == T1) {
        emit_load(emitter, T0, GS_REGISTER(in->rm), 8);
    }
    generate_need_flags(generate, T1);
    struct translate_site *site = generate_site(generate);
    emit_move_immediate(emitter, T1, (uint64_t)(uintptr_t)site);
    if (is_memory) {
        emit_with_memory(emitter, in, generate->at->in.bytes, memory);
    } else {
        emit_divide_register(generate, in);
    }
    generate_scratch(generate);
    generate_note_flags(generate);
}

/* --- bits by a register's number --- */

bool select_is_bit_string(const struct x86_instruction *in)
{
    bool is_bit = in->operation == X86_OP_BT || in->operation == X86_OP_BTS ||
                  in->operation == X86_OP_BTR || in->operation == X86_OP_BTC;
    return is_bit && in->immediate_size == 0 && x86_has_memory_operand(in);
}

bool select_bit_test(const struct soft_cpu *cpu, const struct unit *unit,
                     const struct unit_instruction *at)
{
    const struct x86_instruction *in = &at->in.decoded;
    if (!select_is_bit_string(in)) {
        return select_plain_test(cpu, unit, at);
    }
    return unit_is_64bit(unit) && in->address_size == 8 && select_is_in_reach(in);
}

static void load_bit_number(struct generate *generate, unsigned int reg)
{
    if (reg == T0 || reg == T1) {
        emit_load(&generate->emitter, T1, GS_REGISTER(reg), 8);
    } else {
        emit_move(&generate->emitter, T1, reg);
    }
}

/* T0 = the address of the operand that the bit lies in: signed, by whole operands from the first.
 */
static void address_of_bit(struct generate *generate, const struct x86_instruction *in)
{
    struct emitter *emitter = &generate->emitter;
    unsigned int scale = in->operand_size == 8 ? 3 : in->operand_size >> 1;
    generate_effective_address(generate, in);
    load_bit_number(generate, in->reg);
    if (in->operand_size == 2) {
        EMIT(emitter, 0x4d, 0x0f, 0xbf, 0xdb); /* MOVSX R11, R11W */
    } else if (in->operand_size == 4) {
        EMIT(emitter, 0x4d, 0x63, 0xdb); /* MOVSXD R11, R11D */
    }
    EMIT(emitter, 0x49, 0xc1, 0xfb, (uint8_t)(3 + scale)); /* SAR R11, 3 + scale */
    struct emit_memory sum = {.base = T0, .index = T1, .scale = (uint8_t)scale};
    emit_load_effective(emitter, T0, sum, 8);
}

/* [LOCK] op [R10], R11 */
static void emit_bit(struct generate *generate, const struct x86_instruction *in)
{
    struct emitter *emitter = &generate->emitter;
    if ((in->flags & X86_INSTRUCTION_LOCK) != 0) {
        EMIT(emitter, 0xf0);
    }
    if (in->operand_size == 2) {
        EMIT(emitter, 0x66);
    }
    EMIT(emitter, in->operand_size == 8 ? 0x4d : 0x45, 0x0f, in->opcode, 0x1a);
}

void select_bit(struct generate *generate)
{
    struct emitter *emitter = &generate->emitter;
    const struct x86_instruction *in = &generate->at->in.decoded;
    if (!select_is_bit_string(in)) {
        select_plain(generate);
        return;
    }
    struct access access = {
        .size = in->operand_size, .write = in->operation != X86_OP_BT, .alone = true};
    generate_clobber_flags_before(generate);
    address_of_bit(generate, in);
    generate_found_address(generate, in->segment, &access);
    load_bit_number(generate, in->reg);
    emit_alu_immediate(emitter, EMIT_AND, T1, (int32_t)(8u * in->operand_size - 1), 4);
    emit_store(emitter, GS_FIELD(translate.temporary), T1, 8);
    generate_need_flags(generate, T1);
    emit_load(emitter, T1, GS_FIELD(translate.temporary), 8);
    emit_bit(generate, in);
    generate_scratch(generate);
    generate_note_flags(generate);
    if (access.write) {
        generate_after_store(generate, emit_at(T0, 0), in->operand_size);
    }
}
