/*
 * PUSH, POP, LEAVE, in the mode's own width. RSP changes once nothing can fault any more.
 */
#include "engines/soft/translate/select.h"

static void move_rsp(struct generate *generate, int32_t by)
{
    emit_load_effective(&generate->emitter, X86_RSP, emit_at(X86_RSP, by),
                        unit_width(generate->unit));
}

bool select_push_test(const struct soft_cpu *cpu, const struct unit *unit,
                      const struct unit_instruction *at)
{
    const struct x86_instruction *in = &at->in.decoded;
    if (in->operand_size != unit_width(unit)) {
        return false;
    }
    return !x86_has_memory_operand(in) || select_plain_test(cpu, unit, at);
}

static bool is_immediate_push(const struct x86_instruction *in)
{
    return in->opcode == 0x68 || in->opcode == 0x6a;
}

static unsigned int pushed_register(const struct x86_instruction *in)
{
    return (in->opcode & 0xf8) == 0x50 ? in->reg : in->rm;
}

/* A pushed memory operand waits in the vCPU's state while the stack is looked up. */
static void load_pushed_memory(struct generate *generate, const struct x86_instruction *in)
{
    struct access access = {.size = unit_width(generate->unit)};
    struct emit_memory memory = generate_operand(generate, in, &access);
    unsigned int scratch = generate_free_scratch(memory);
    emit_load(&generate->emitter, scratch, memory, access.size);
    emit_store(&generate->emitter, GS_FIELD(translate.temporary), scratch, 8);
    generate->cached[scratch - T0] = false;
}

void select_push(struct generate *generate)
{
    struct emitter *emitter = &generate->emitter;
    const struct x86_instruction *in = &generate->at->in.decoded;
    unsigned int width = unit_width(generate->unit), reg = pushed_register(in);
    struct access access = {.size = width, .write = true};
    if (x86_has_memory_operand(in)) {
        load_pushed_memory(generate, in);
    } else if (reg == T0 && !is_immediate_push(in)) {
        access.spares_r10 = true;
    }
    struct emit_memory memory = generate_stack(generate, X86_RSP, -(int32_t)width, &access);
    unsigned int scratch = generate_free_scratch(memory);
    if (x86_has_memory_operand(in)) {
        emit_load(emitter, scratch, GS_FIELD(translate.temporary), 8);
        generate->cached[scratch - T0] = false;
        emit_store(emitter, memory, scratch, width);
    } else if (is_immediate_push(in)) {
        emit_store_immediate(emitter, memory, (int32_t)in->immediate, width);
    } else {
        generate_fill(generate, reg);
        emit_store(emitter, memory, reg, width);
    }
    generate_within_store(generate, memory, width);
    move_rsp(generate, -(int32_t)width);
}

bool select_pop_test(const struct soft_cpu *cpu, const struct unit *unit,
                     const struct unit_instruction *at)
{
    const struct x86_instruction *in = &at->in.decoded;
    if (in->operand_size != unit_width(unit)) {
        return false;
    }
    bool moves_far = in->base == X86_RSP && in->displacement > INT32_MAX - 8; /* pop_to_memory */
    return !x86_has_memory_operand(in) || (select_plain_test(cpu, unit, at) && !moves_far);
}

/* "POP—Pop a Value From the Stack": an address that uses rSP finds it incremented already. */
static void pop_to_memory(struct generate *generate, struct emit_memory top)
{
    struct emitter *emitter = &generate->emitter;
    struct x86_instruction in = generate->at->in.decoded;
    unsigned int width = unit_width(generate->unit), scratch = generate_free_scratch(top);
    struct access access = {.size = width, .write = true};
    emit_load(emitter, scratch, top, width);
    emit_store(emitter, GS_FIELD(translate.temporary), scratch, 8);
    generate_scratch(generate);
    if (in.base == X86_RSP) {
        in.displacement += (int32_t)width;
    }
    struct emit_memory memory = generate_operand(generate, &in, &access);
    scratch = generate_free_scratch(memory);
    emit_load(emitter, scratch, GS_FIELD(translate.temporary), 8);
    generate->cached[scratch - T0] = false;
    emit_store(emitter, memory, scratch, width);
    move_rsp(generate, (int32_t)width);
    generate_after_store(generate, memory, width);
}

void select_pop(struct generate *generate)
{
    struct emitter *emitter = &generate->emitter;
    const struct x86_instruction *in = &generate->at->in.decoded;
    unsigned int width = unit_width(generate->unit);
    unsigned int reg = (in->opcode & 0xf8) == 0x58 ? in->reg : in->rm;
    struct access access = {.size = width};
    struct emit_memory memory = generate_stack(generate, X86_RSP, 0, &access);
    if (x86_has_memory_operand(in)) {
        pop_to_memory(generate, memory);
        return;
    }
    emit_load(emitter, reg, memory, width);
    if (reg != X86_RSP) {
        generate_spill(generate, reg);
        move_rsp(generate, (int32_t)width);
    }
}

bool select_leave_test(const struct soft_cpu *cpu, const struct unit *unit,
                       const struct unit_instruction *at)
{
    (void)cpu;
    return at->in.decoded.operand_size == unit_width(unit);
}

void select_leave(struct generate *generate)
{
    struct emitter *emitter = &generate->emitter;
    unsigned int width = unit_width(generate->unit);
    struct access access = {.size = width};
    struct emit_memory memory = generate_stack(generate, X86_RBP, 0, &access);
    unsigned int scratch = generate_free_scratch(memory);
    emit_load(emitter, scratch, memory, width);
    generate->cached[scratch - T0] = false;
    emit_load_effective(emitter, X86_RSP, emit_at(X86_RBP, (int32_t)width), width);
    emit_move(emitter, X86_RBP, scratch);
}
