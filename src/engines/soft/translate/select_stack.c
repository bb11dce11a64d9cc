/*
 * PUSH, POP, LEAVE, in the mode's own width. RSP changes once nothing can fault any more.
 */
#include "engines/soft/translate/select.h"

static unsigned int width_of(const struct unit *unit)
{
    return (unit->mode & SOFT_MODE_DECODE) == X86_DECODE_64 ? 8 : 4;
}

static bool is_memory(const struct x86_instruction *in)
{
    return (in->flags & X86_INSTRUCTION_MEMORY) != 0;
}

static void move_rsp(struct generate *generate, int32_t by)
{
    emit_load_effective(&generate->emitter, X86_RSP, emit_at(X86_RSP, by),
                        width_of(generate->unit));
}

bool select_push_test(const struct soft_cpu *cpu, const struct unit *unit,
                      const struct unit_instruction *at)
{
    const struct x86_instruction *in = &at->in.decoded;
    if (in->operand_size != width_of(unit)) {
        return false;
    }
    return !is_memory(in) || select_plain_test(cpu, unit, at);
}

static bool is_immediate_push(const struct x86_instruction *in)
{
    return in->opcode == 0x68 || in->opcode == 0x6a;
}

static unsigned int pushed_register(const struct x86_instruction *in)
{
    return (in->opcode & 0xf8) == 0x50 ? in->reg : in->rm;
}

void select_push(struct generate *generate)
{
    struct emitter *emitter = &generate->emitter;
    const struct x86_instruction *in = &generate->at->in.decoded;
    unsigned int width = width_of(generate->unit);
    generate_clobber_flags_before(generate);
    if (is_memory(in)) {
        generate_linear(generate, in);
        generate_check(generate, width, false);
        emit_load(emitter, T0, emit_at(T0, 0), width);
        emit_store(emitter, GS_FIELD(translate.temporary), T0, 8);
    }
    emit_load_effective(emitter, T0, emit_at(X86_RSP, -(int32_t)width), width);
    generate_check(generate, width, true);
    if (is_memory(in)) {
        emit_load(emitter, T1, GS_FIELD(translate.temporary), 8);
        emit_store(emitter, emit_at(T0, 0), T1, width);
    } else if (is_immediate_push(in)) {
        emit_store_immediate(emitter, emit_at(T0, 0), (int32_t)in->immediate, width);
    } else {
        unsigned int reg = pushed_register(in);
        if (reg == T0 || reg == T1) {
            emit_load(emitter, T1, GS_REGISTER(reg), 8);
            reg = T1;
        }
        emit_store(emitter, emit_at(T0, 0), reg, width);
    }
    move_rsp(generate, -(int32_t)width);
    generate_after_store(generate, T0, width);
}

bool select_pop_test(const struct soft_cpu *cpu, const struct unit *unit,
                     const struct unit_instruction *at)
{
    const struct x86_instruction *in = &at->in.decoded;
    (void)cpu;
    unsigned int reg = (in->opcode & 0xf8) == 0x58 ? in->reg : in->rm;
    return in->operand_size == width_of(unit) && !is_memory(in) && reg != X86_RSP;
}

void select_pop(struct generate *generate)
{
    struct emitter *emitter = &generate->emitter;
    const struct x86_instruction *in = &generate->at->in.decoded;
    unsigned int width = width_of(generate->unit);
    unsigned int reg = (in->opcode & 0xf8) == 0x58 ? in->reg : in->rm;
    generate_clobber_flags_before(generate);
    emit_load_effective(emitter, T0, emit_at(X86_RSP, 0), width);
    generate_check(generate, width, false);
    emit_load(emitter, reg, emit_at(T0, 0), width);
    generate_spill(generate, reg);
    move_rsp(generate, (int32_t)width);
}

bool select_leave_test(const struct soft_cpu *cpu, const struct unit *unit,
                       const struct unit_instruction *at)
{
    (void)cpu;
    return at->in.decoded.operand_size == width_of(unit);
}

void select_leave(struct generate *generate)
{
    struct emitter *emitter = &generate->emitter;
    unsigned int width = width_of(generate->unit);
    generate_clobber_flags_before(generate);
    emit_load_effective(emitter, T0, emit_at(X86_RBP, 0), width);
    generate_check(generate, width, false);
    emit_load_effective(emitter, X86_RSP, emit_at(X86_RBP, (int32_t)width), width);
    emit_load(emitter, X86_RBP, emit_at(T0, 0), width);
}
