/*
 * x87 and MMX: the guest's registers are in the host's, where the interpreter has them, too
 * (fpu.h).
 *
 * Only where nothing can be raised (TRANSLATE_X87): every exception in FCW is masked, so none is
 * pending. The pointers to the last instruction and its operand are kept beside the host's, which
 * tell of the translated code.
 */
#include "engines/soft/fpu.h"
#include "engines/soft/translate/emit_vector.h"
#include "engines/soft/translate/select.h"

#define SHAPE_VECTOR (X86_SHAPE_REG_VECTOR | X86_SHAPE_RM_VECTOR)
#define FCW_MASKS    0x3f

#define FPU_FIELD(base, field) emit_at((base), (int32_t)offsetof(struct soft_fpu, field))

/* --- the control instructions, which leave the pointers alone --- */

enum x87_kind {
    X87_PLAIN,
    X87_QUIET,   /* FNSTCW, FNSTSW, FNCLEX: as it is, but without pointers */
    X87_FLDCW,   /* may unmask exceptions */
    X87_CALLOUT, /* the environment as a whole, and what is rare */
};

static enum x87_kind kind_of(const struct x86_instruction *in)
{
    unsigned int what =
        (unsigned int)in->opcode << 8 | (in->mod == 3 ? in->modrm : in->modrm & 0x38);
    switch (what) {
    case 0xd928:
        return X87_FLDCW;
    case 0xd938: /* FNSTCW */
    case 0xdd38: /* FNSTSW */
    case 0xdfe0: /* FNSTSW AX */
    case 0xdbe2: /* FNCLEX */
        return X87_QUIET;
    case 0xd920: /* FLDENV */
    case 0xd930: /* FNSTENV */
    case 0xdd20: /* FRSTOR */
    case 0xdd30: /* FNSAVE */
    case 0xdbe0: /* FNENI */
    case 0xdbe1: /* FNDISI */
    case 0xdbe3: /* FNINIT */
    case 0xdbe4: /* FNSETPM */
        return X87_CALLOUT;
    default:
        return X87_PLAIN;
    }
}

bool select_x87_may_change_masks(const struct x86_instruction *in)
{
    unsigned int reg = in->modrm >> 3 & 7;
    if (in->mod == 3) {
        return in->opcode == 0xdb && in->modrm == 0xe3; /* FNINIT */
    }
    /* FLDENV, FLDCW, FNSTENV (masks all); FRSTOR, FNSAVE */
    return (in->opcode == 0xd9 && reg >= 4 && reg <= 6) ||
           (in->opcode == 0xdd && (reg == 4 || reg == 6));
}

bool select_x87_test(const struct soft_cpu *cpu, const struct unit *unit,
                     const struct unit_instruction *at)
{
    const struct x86_instruction *in = &at->in.decoded;
    (void)cpu;
    if ((unit->mode & TRANSLATE_X87) == 0 || kind_of(in) == X87_CALLOUT) {
        return false;
    }
    return !x86_has_memory_operand(in) ||
           (select_address_is_simple(unit, in) && in->memory_size != 0);
}

bool select_fwait_test(const struct soft_cpu *cpu, const struct unit *unit,
                       const struct unit_instruction *at)
{
    (void)cpu;
    (void)at;
    return (unit->mode & TRANSLATE_X87) != 0; /* nothing is pending: a NOP */
}

/* --- the state in the host's registers --- */

/* At an instruction's beginning. */
static void need_x87(struct generate *generate)
{
    struct emitter *emitter = &generate->emitter;
    if (generate->x87) {
        return;
    }
    generate_clobber_flags_before(generate);
    generate_scratch(generate);
    emit_load(emitter, T1, GS_FIELD(fpu), 8);
    emit_alu_memory_immediate(emitter, EMIT_CMP, FPU_FIELD(T1, live), 0, 1);
    struct stub *stub = generate_stub_if(generate, EMIT_IF_EQUAL, STUB_SITE);
    stub->target = generate->translator->glue.load_x87;
    stub->site = generate_site(generate);
    if (stub->site != NULL) {
        stub->site->with_address = generate_here(generate);
    }
    generate->x87 = true;
}

/* --- pointers: "x87 FPU Instruction and Operand (Data) Pointers" --- */

static bool sets_pointers(const struct unit_instruction *at)
{
    const struct x86_instruction *in = &at->in.decoded;
    return at->kind == UNIT_NATIVE && in->operation == X86_OP_X87 && kind_of(in) == X87_PLAIN;
}

/* The next instruction sets them again, and nothing can look in between. */
static bool next_overwrites(const struct generate *generate)
{
    const struct unit_instruction *next = generate->at + 1;
    return generate->index + 1 < generate->unit->count && sets_pointers(next) &&
           !x86_has_memory_operand(&next->in.decoded) && next->facts.flags_written == 0;
}

static void store_selector(struct generate *generate, unsigned int segment, size_t place)
{
    struct emitter *emitter = &generate->emitter;
    emit_load(emitter, T0,
              emit_gs(offsetof(struct soft_cpu, segment) + segment * sizeof(struct x86_segment) +
                      offsetof(struct x86_segment, selector)),
              2);
    emit_store(emitter, emit_at(T1, (int32_t)place), T0, 2);
}

static void store_data_pointer(struct generate *generate)
{
    const struct x86_instruction *in = &generate->at->in.decoded;
    generate_effective_address(generate, in);
    emit_load(&generate->emitter, T1, GS_FIELD(fpu), 8);
    emit_store(&generate->emitter, FPU_FIELD(T1, pointers.fdp), T0, 8);
    store_selector(generate, in->segment, offsetof(struct soft_fpu, pointers.fds));
}

/* Takes T0 and T1, no flags. */
static void note_pointers(struct generate *generate)
{
    struct emitter *emitter = &generate->emitter;
    const struct x86_instruction *in = &generate->at->in.decoded;
    generate_scratch(generate);
    if (x86_has_memory_operand(in)) {
        store_data_pointer(generate);
    }
    if (next_overwrites(generate)) {
        return;
    }
    if (!x86_has_memory_operand(in)) {
        emit_load(emitter, T1, GS_FIELD(fpu), 8);
    }
    emit_load(emitter, T0, GS_REGISTER(SOFT_GPR_CODE), 8);
    emit_load_effective(emitter, T0, emit_at(T0, generate->at->offset), 8);
    emit_store(emitter, FPU_FIELD(T1, pointers.fip), T0, 8);
    emit_store_immediate(emitter, FPU_FIELD(T1, pointers.fop), (in->opcode & 7) << 8 | in->modrm,
                         2);
    store_selector(generate, X86_CS, offsetof(struct soft_fpu, pointers.fcs));
}

/* --- instructions --- */

/* T0 = the host address of the memory operand. */
static void find_operand(struct generate *generate, const struct x86_instruction *in)
{
    struct access access = {.size = in->memory_size,
                            .write = (in->shape & X86_SHAPE_MEMORY_WRITE) != 0,
                            .in_r10 = true};
    generate_operand(generate, in, &access);
}

/* FLDCW: a value that unmasks something is for the interpreter; what was tested is what is loaded.
 */
static void load_control(struct generate *generate)
{
    struct emitter *emitter = &generate->emitter;
    emit_load(emitter, T1, emit_at(T0, 0), 2);
    emit_store(emitter, GS_FIELD(translate.temporary), T1, 2);
    emit_alu_immediate(emitter, EMIT_AND, T1, FCW_MASKS, 4);
    emit_alu_immediate(emitter, EMIT_CMP, T1, FCW_MASKS, 4);
    struct stub *stub = generate_stub_if(generate, EMIT_IF_NOT_EQUAL, STUB_SITE);
    stub->target = generate->translator->glue.single;
    stub->site = generate_site(generate);
    emit_escape_memory(emitter, 0xd9, 5, GS_FIELD(translate.temporary));
}

/* A store's host address must outlive what the pointers take. */
static void finish_store(struct generate *generate, const struct x86_instruction *in)
{
    struct emitter *emitter = &generate->emitter;
    bool smp = generate->translator->smp;
    if (smp) {
        emit_store(emitter, GS_FIELD(translate.temporary), T0, 8);
    }
    note_pointers(generate);
    if (smp) {
        emit_load(emitter, T0, GS_FIELD(translate.temporary), 8);
    }
    generate_after_store(generate, emit_at(T0, 0), in->memory_size);
}

static void select_x87_memory(struct generate *generate)
{
    const struct x86_instruction *in = &generate->at->in.decoded;
    enum x87_kind kind = kind_of(in);
    bool write = (in->shape & X86_SHAPE_MEMORY_WRITE) != 0;
    find_operand(generate, in);
    if (kind == X87_FLDCW) {
        load_control(generate);
        return;
    }
    emit_escape_memory(&generate->emitter, in->opcode, in->modrm >> 3 & 7, emit_at(T0, 0));
    if (kind == X87_PLAIN && write) {
        finish_store(generate, in);
    } else if (kind == X87_PLAIN) {
        note_pointers(generate);
    } else {
        generate_after_store(generate, emit_at(T0, 0), in->memory_size);
    }
}

void select_x87(struct generate *generate)
{
    const struct unit_instruction *at = generate->at;
    const struct x86_instruction *in = &at->in.decoded;
    need_x87(generate);
    if (x86_has_memory_operand(in)) {
        select_x87_memory(generate);
        return;
    }
    if (at->facts.flags_read != 0) { /* FCMOVcc */
        generate_need_flags(generate, T0);
    }
    EMIT(&generate->emitter, in->opcode, in->modrm);
    generate_note_flags(generate);
    if (kind_of(in) == X87_PLAIN) {
        note_pointers(generate);
    }
}

/* --- MMX --- */

bool select_mmx_test(const struct soft_cpu *cpu, const struct unit *unit,
                     const struct unit_instruction *at)
{
    const struct x86_instruction *in = &at->in.decoded;
    if ((unit->mode & TRANSLATE_X87) == 0 ||
        (x86_has_memory_operand(in) && (in->shape & X86_SHAPE_REG_MMX) == 0)) {
        return false; /* CVTPI2PS and CVTPI2PD from memory do not always touch the x87 state */
    }
    if ((in->shape & SHAPE_VECTOR) != 0) {
        return select_vector_test(cpu, unit, at);
    }
    return !x86_has_memory_operand(in) ||
           (select_address_is_simple(unit, in) && in->memory_size != 0);
}

/* The host's MMX registers do to its x87 registers what the guest's do. */
void select_mmx(struct generate *generate)
{
    need_x87(generate);
    if ((generate->at->in.decoded.shape & SHAPE_VECTOR) != 0) {
        select_vector(generate);
    } else {
        select_vector_operands(generate);
    }
}

bool select_emms_test(const struct soft_cpu *cpu, const struct unit *unit,
                      const struct unit_instruction *at)
{
    (void)cpu;
    (void)at;
    return (unit->mode & TRANSLATE_X87) != 0;
}

void select_emms(struct generate *generate)
{
    need_x87(generate);
    EMIT(&generate->emitter, 0x0f, 0x77);
}
