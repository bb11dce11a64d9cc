/*
 * LEA, NOP, division: what is neither plain nor a branch.
 */
#include "engines/soft/translate/select.h"

bool select_lea_test(const struct soft_cpu *cpu, const struct unit *unit,
                     const struct unit_instruction *at)
{
    const struct x86_instruction *in = &at->in.decoded;
    (void)cpu;
    (void)unit;
    bool relative = in->base == X86_REGISTER_RIP;
    return in->address_size != 2 && !(relative && (in->address_size != 8 || in->operand_size == 2));
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
    bool is_memory = (in->flags & X86_INSTRUCTION_MEMORY) != 0, native = generate->native;
    struct emit_memory memory = {.base = X86_REGISTER_NONE, .index = X86_REGISTER_NONE};
    generate_clobber_flags(generate, (uint16_t)X86_FLAGS_ARITHMETIC);
    generate->native = native; /* saving them has not changed them */
    if (is_memory) {
        struct access access = {.size = in->memory_size, .keep = ACCESS_KEEPS_R11};
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
