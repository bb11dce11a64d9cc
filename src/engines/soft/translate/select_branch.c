/*
 * Jumps, calls, returns, in the mode's own width.
 */
#include "engines/soft/translate/select.h"

bool select_branch_test(const struct soft_cpu *cpu, const struct unit *unit,
                        const struct unit_instruction *at)
{
    const struct x86_instruction *in = &at->in.decoded;
    (void)cpu;
    if (in->operation == X86_OP_RET) {
        return in->operand_size == unit_width(unit) && (in->immediate & 0xffff) < 0x7000;
    }
    int64_t target = in->immediate + at->offset + in->length;
    return in->operand_size == unit_width(unit) && target == (int32_t)target;
}

bool select_indirect_test(const struct soft_cpu *cpu, const struct unit *unit,
                          const struct unit_instruction *at)
{
    const struct x86_instruction *in = &at->in.decoded;
    if (in->operand_size != unit_width(unit)) {
        return false;
    }
    return !x86_has_memory_operand(in) || select_plain_test(cpu, unit, at);
}

static int64_t target_of(const struct generate *generate)
{
    const struct unit_instruction *at = generate->at;
    return at->in.decoded.immediate + at->offset + at->in.decoded.length;
}

void select_jcc(struct generate *generate)
{
    generate_need_flags(generate, T0);
    generate_exit(generate, generate->at->in.decoded.condition, target_of(generate));
}

void select_jmp(struct generate *generate)
{
    generate_exit(generate, -1, target_of(generate));
}

/* Pushes the address of the next instruction; then only the transfer of control is left. */
static void push_return(struct generate *generate)
{
    struct emitter *emitter = &generate->emitter;
    const struct unit_instruction *at = generate->at;
    unsigned int width = unit_width(generate->unit);
    struct access access = {.size = width, .write = true};
    struct emit_memory memory = generate_stack(generate, X86_RSP, -(int32_t)width, &access);
    emit_load(emitter, T1, GS_REGISTER(SOFT_GPR_CODE), 8);
    emit_load_effective(emitter, T1, emit_at(T1, at->offset + at->in.decoded.length), width);
    generate->cached[1] = false;
    emit_store(emitter, memory, T1, width);
    generate_within_store(generate, memory, width);
    emit_load_effective(emitter, X86_RSP, emit_at(X86_RSP, -(int32_t)width), width);
}

void select_call(struct generate *generate)
{
    generate_clobber_flags_before(generate); /* whether there is a check or not */
    push_return(generate);
    generate_exit(generate, -1, target_of(generate));
}

/* T0 = the target of an indirect branch, from a register or memory. */
static void load_target(struct generate *generate)
{
    const struct x86_instruction *in = &generate->at->in.decoded;
    unsigned int width = unit_width(generate->unit);
    generate_clobber_flags_before(generate);
    if (x86_has_memory_operand(in)) {
        struct access access = {.size = width};
        struct emit_memory memory = generate_operand(generate, in, &access);
        emit_load(&generate->emitter, T0, memory, width);
    } else if (in->rm == T0 || in->rm == T1) {
        emit_load(&generate->emitter, T0, GS_REGISTER(in->rm), width);
    } else if (width == 8) {
        emit_move(&generate->emitter, T0, in->rm);
    } else {
        emit_load_effective(&generate->emitter, T0, emit_at(in->rm, 0), width);
    }
    generate_scratch(generate);
}

void select_jmp_indirect(struct generate *generate)
{
    load_target(generate);
    generate_indirect_exit(generate, 0);
}

/*
 * A target that is not canonical must be found before anything is pushed: such a call is left to
 * the interpreter, by the check that sees an address that no page can have.
 */
void select_call_indirect(struct generate *generate)
{
    struct emitter *emitter = &generate->emitter;
    unsigned int width = unit_width(generate->unit);
    load_target(generate);
    emit_store(emitter, GS_FIELD(translate.temporary), T0, 8);
    if (width == 8) {
        EMIT(emitter, 0x4d, 0x89, 0xd3, 0x49, 0xc1, 0xe3, 16, 0x49, 0xc1, 0xfb,
             16); /* MOV R11, R10; SHL R11, 16; SAR R11, 16 */
        emit_alu_register(emitter, EMIT_CMP, T1, T0, 8);
        struct stub *stub = generate_stub_if(generate, EMIT_IF_NOT_EQUAL, STUB_SITE);
        stub->target = generate->translator->glue.single;
        stub->site = generate_site(generate);
    }
    push_return(generate);
    emit_load(emitter, T0, GS_FIELD(translate.temporary), 8);
    generate_indirect_exit(generate, (int16_t)width);
}

void select_ret(struct generate *generate)
{
    struct emitter *emitter = &generate->emitter;
    unsigned int width = unit_width(generate->unit);
    int32_t release = (int32_t)width + (int32_t)(generate->at->in.decoded.immediate & 0xffff);
    struct access access = {.size = width};
    generate_clobber_flags_before(generate);
    struct emit_memory memory = generate_stack(generate, X86_RSP, 0, &access);
    emit_load(emitter, T0, memory, width);
    emit_load_effective(emitter, X86_RSP, emit_at(X86_RSP, release), width);
    generate_indirect_exit(generate, (int16_t)-release);
}
