/*
 * SSE and AVX: the guest's registers are in the host's of the same number.
 *
 * They are brought there by the first vector instruction that runs (glue.c), and are known to be
 * there for the rest of its block: whatever calls C puts them away and takes them back. Only where
 * the instruction can raise nothing (TRANSLATE_VECTORS): every exception in MXCSR is masked.
 */
#include "engines/soft/fpu.h"
#include "engines/soft/translate/emit_vector.h"
#include "engines/soft/translate/select.h"

bool select_vector_test(const struct soft_cpu *cpu, const struct unit *unit,
                        const struct unit_instruction *at)
{
    const struct x86_instruction *in = &at->in.decoded;
    (void)cpu;
    if ((unit->mode & TRANSLATE_VECTORS) == 0) {
        return false;
    }
    return !x86_has_memory_operand(in) ||
           (select_address_is_simple(unit, in) && in->memory_size != 0 && in->memory_size <= 32);
}

bool select_vzero_test(const struct soft_cpu *cpu, const struct unit *unit,
                       const struct unit_instruction *at)
{
    /* outside 64-bit mode it leaves registers 8 to 15 alone, which the host's would not */
    return unit_is_64bit(unit) && select_vector_test(cpu, unit, at);
}

/* At an instruction's beginning: the guest's vector registers are in the host's. */
static void need_vectors(struct generate *generate)
{
    if (generate->vectors) {
        return;
    }
    generate_clobber_flags_before(generate);
    generate_scratch(generate);
    emit_alu_memory_immediate(&generate->emitter, EMIT_CMP, GS_FIELD(translate.vectors_live), 0, 4);
    struct stub *stub = generate_stub_if(generate, EMIT_IF_EQUAL, STUB_LOAD_VECTORS);
    stub->resume = emit_address(&generate->emitter);
    generate->vectors = true;
}

static bool names_register(const struct x86_instruction *in, unsigned int reg)
{
    return (in->shape & X86_SHAPE_REG_GPR) != 0 && in->reg == reg;
}

static void select_vector_memory(struct generate *generate)
{
    const struct x86_instruction *in = &generate->at->in.decoded;
    struct access access = {.size = in->memory_size,
                            .write = (in->shape & X86_SHAPE_MEMORY_WRITE) != 0,
                            .aligned = (in->shape & X86_SHAPE_ALIGNED) != 0,
                            .spares_r10 = names_register(in, T0)};
    struct emit_memory operand = generate_operand(generate, in, &access);
    if ((in->shape & X86_SHAPE_REG_GPR) != 0 && (generate->at->facts.reads >> in->reg & 1) != 0) {
        generate_fill(generate, in->reg);
    }
    emit_vector(&generate->emitter, in, unit_is_64bit(generate->unit), &operand);
    if ((in->shape & X86_SHAPE_REG_GPR) != 0) {
        generate_spill(generate, in->reg);
    }
    generate_note_flags(generate);
    if (access.write) {
        generate_after_store(generate, operand, in->memory_size);
    }
}

void select_vector_operands(struct generate *generate)
{
    const struct unit_instruction *at = generate->at;
    const struct x86_instruction *in = &at->in.decoded;
    if (x86_has_memory_operand(in)) {
        select_vector_memory(generate);
        return;
    }
    generate_fill_read(generate);
    emit_vector(&generate->emitter, in, unit_is_64bit(generate->unit), NULL);
    generate_spill_written(generate);
    generate_note_flags(generate);
}

void select_vector(struct generate *generate)
{
    need_vectors(generate);
    select_vector_operands(generate);
}

void select_vzero(struct generate *generate)
{
    const struct x86_instruction *in = &generate->at->in.decoded;
    need_vectors(generate);
    EMIT(&generate->emitter, 0xc5, in->vector_length == 32 ? 0xfc : 0xf8, 0x77);
}

/* --- MXCSR --- */

/*
 * A value that unmasks an exception, or sets a bit that must be 0 (#GP), is for the interpreter.
 * What was tested is what is loaded: memory may have another value by then.
 */
void select_ldmxcsr(struct generate *generate)
{
    struct emitter *emitter = &generate->emitter;
    const struct x86_instruction *in = &generate->at->in.decoded;
    struct access access = {.size = in->memory_size};
    uint32_t reserved = ~generate->cpu->fpu->mxcsr_mask;
    need_vectors(generate);
    generate_clobber_flags_before(generate);
    struct emit_memory operand = generate_operand(generate, in, &access);
    unsigned int value = generate_free_scratch(operand);
    generate_scratch(generate);
    emit_load(emitter, value, operand, 4);
    emit_store(emitter, GS_FIELD(translate.temporary), value, 4);
    emit_alu_immediate(emitter, EMIT_AND, value, (int32_t)(reserved | MXCSR_MASKS), 4);
    emit_alu_immediate(emitter, EMIT_CMP, value, MXCSR_MASKS, 4);
    struct stub *stub = generate_stub_if(generate, EMIT_IF_NOT_EQUAL, STUB_SITE);
    stub->target = generate->translator->glue.single;
    stub->site = generate_site(generate);
    emit_mxcsr(emitter, false, GS_FIELD(translate.temporary));
}

void select_stmxcsr(struct generate *generate)
{
    const struct x86_instruction *in = &generate->at->in.decoded;
    struct access access = {.size = in->memory_size, .write = true};
    need_vectors(generate);
    struct emit_memory operand = generate_operand(generate, in, &access);
    emit_mxcsr(&generate->emitter, true, operand);
    generate_after_store(generate, operand, in->memory_size);
}
