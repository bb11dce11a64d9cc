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
    (void)cpu;
    (void)unit;
    (void)at;
    return false;
}

void select_divide(struct generate *generate)
{
    (void)generate;
}
