/*
 * Instructions of the system that kernels run often: bits of RFLAGS, segment bases and selectors,
 * the time-stamp counter. Code without SOFT_MODE_USER runs at CPL 0 (run.c).
 */
#include "engines/soft/memory.h"
#include "engines/soft/translate/select.h"

#define FLAGS_BYTE(n) emit_gs(offsetof(struct soft_cpu, flags) + (n))

bool select_kernel_test(const struct soft_cpu *cpu, const struct unit *unit,
                        const struct unit_instruction *at)
{
    (void)cpu;
    (void)at;
    return (unit->mode & SOFT_MODE_USER) == 0;
}

/* A flag of byte n of RFLAGS; none of the arithmetic ones. */
static void change_flag(struct generate *generate, uint64_t flag, bool set)
{
    unsigned int byte = 0;
    for (; flag > 0xff; flag >>= 8) {
        byte++;
    }
    uint8_t bits = (uint8_t)(set ? flag : ~flag);
    generate_clobber_flags_before(generate);
    emit_alu_memory_immediate(&generate->emitter, set ? EMIT_OR : EMIT_AND, FLAGS_BYTE(byte),
                              (int8_t)bits, 1);
}

/* The interpreter runs the instruction if the flags say so (EMIT_IF_NOT_EQUAL …). */
static struct translate_site *leave_to_interpreter_if(struct generate *generate,
                                                      unsigned int condition)
{
    struct stub *stub = generate_stub_if(generate, condition, STUB_SITE);
    stub->target = generate->translator->glue.single;
    stub->site = generate_site(generate);
    return stub->site;
}

/*
 * "CLI—Clear Interrupt Flag", "STI—Set Interrupt Flag" at CPL 0. The instruction behind STI runs
 * before any interrupt: translated code looks for one behind some instruction at the earliest. So
 * STI must not be a block's last; and if one waits for IF alone, the interpreter's STI says so and
 * the run loop takes over with its shadow.
 */
void select_interrupt_flag(struct generate *generate)
{
    bool set = generate->at->in.decoded.operation == X86_OP_STI;
    if (!set) {
        change_flag(generate, X86_FLAGS_IF, false);
        return;
    }
    if (generate->index + 1 == generate->unit->count) {
        generate_callout(generate, true);
        return;
    }
    generate_clobber_flags_before(generate);
    _Static_assert(sizeof(generate->cpu->interrupt_waiting) == 1, "a byte for CMP");
    emit_alu_memory_immediate(&generate->emitter, EMIT_CMP, GS_FIELD(interrupt_waiting), 0, 1);
    struct translate_site *site = leave_to_interpreter_if(generate, EMIT_IF_NOT_EQUAL);
    if (site != NULL) {
        site->leaves = true;
    }
    change_flag(generate, X86_FLAGS_IF, true);
}

void select_direction_flag(struct generate *generate)
{
    change_flag(generate, X86_FLAGS_DF, generate->at->in.decoded.operation == X86_OP_STD);
}

/* CLAC, STAC: EFLAGS.AC decides at CPL 0 which TLB holds (soft_current_regime). */
void select_access_check(struct generate *generate)
{
    bool set = generate->at->in.decoded.operation == X86_OP_STAC;
    enum soft_regime regime = set ? SOFT_REGIME_KERNEL_AC : SOFT_REGIME_KERNEL;
    struct soft_cpu *cpu = generate->cpu;
    change_flag(generate, X86_FLAGS_AC, set);
    generate_scratch(generate);
    emit_load(&generate->emitter, T0,
              emit_gs(offsetof(struct soft_cpu, tlbs) + sizeof(cpu->tlbs[0]) * (size_t)regime), 8);
    emit_store(&generate->emitter, GS_FIELD(tlb), T0, 8);
}

bool select_swapgs_test(const struct soft_cpu *cpu, const struct unit *unit,
                        const struct unit_instruction *at)
{
    return unit_is_64bit(unit) && select_kernel_test(cpu, unit, at);
}

void select_swapgs(struct generate *generate)
{
    struct emitter *emitter = &generate->emitter;
    generate_scratch(generate);
    emit_load(emitter, T0, GS_FIELD(segment[X86_GS].base), 8);
    emit_load(emitter, T1, GS_FIELD(msr.kernel_gs_base), 8);
    emit_store(emitter, GS_FIELD(msr.kernel_gs_base), T0, 8);
    emit_store(emitter, GS_FIELD(segment[X86_GS].base), T1, 8);
    emit_store(emitter, GS_FIELD(address_base[X86_GS]), T1, 8);
}

bool select_pushf_test(const struct soft_cpu *cpu, const struct unit *unit,
                       const struct unit_instruction *at)
{
    (void)cpu;
    return at->in.decoded.operand_size == (unit_is_64bit(unit) ? 8 : 4);
}

/* Neither VM nor RF is ever set in translated code. */
void select_pushf(struct generate *generate)
{
    struct emitter *emitter = &generate->emitter;
    unsigned int width = generate->at->in.decoded.operand_size;
    size_t arithmetic = offsetof(struct soft_cpu, arithmetic);
    struct access access = {.size = width, .write = true};
    generate_clobber_flags(generate, (uint16_t)X86_FLAGS_ARITHMETIC);
    struct emit_memory memory = generate_stack(generate, X86_RSP, -(int32_t)width, &access);
    unsigned int image = generate_free_scratch(memory);
    generate->cached[image - T0] = false;
    emit_load(emitter, image, emit_gs(arithmetic), 1);
    emit_shift(emitter, false, image, 11, 4); /* OF; what was above goes with the AND below */
    emit_alu_immediate(emitter, EMIT_AND, image, (int32_t)X86_FLAGS_OF, 4);
    emit_load(emitter, image, emit_gs(arithmetic + 1), 1);
    emit_alu_immediate(emitter, EMIT_AND, image, (int8_t)0xd5, 4); /* SF, ZF, AF, PF, CF */
    emit_alu_memory(emitter, EMIT_OR, image, GS_FIELD(flags));
    emit_store(emitter, memory, image, width);
    generate_within_store(generate, memory, width);
    emit_load_effective(emitter, X86_RSP, emit_at(X86_RSP, -(int32_t)width), width);
}

/* TEST byte [GS:offset], bits */
static void test_byte(struct generate *generate, size_t offset, uint8_t bits)
{
    EMIT(&generate->emitter, 0x65, 0xf6, 0x04, 0x25, (uint8_t)offset, (uint8_t)(offset >> 8),
         (uint8_t)(offset >> 16), (uint8_t)(offset >> 24), bits);
}

/* RDTSC, RDTSCP: soft_guest_tsc() as code. CR4.TSD is for programs only. */
void select_time_stamp(struct generate *generate)
{
    struct emitter *emitter = &generate->emitter;
    _Static_assert(X86_CR4_TSD < 0x100, "in the first byte of CR4");
    generate_clobber_flags_before(generate);
    if ((generate->unit->mode & SOFT_MODE_USER) != 0) {
        test_byte(generate, offsetof(struct soft_cpu, cr4), (uint8_t)X86_CR4_TSD);
        leave_to_interpreter_if(generate, EMIT_IF_NOT_EQUAL);
    }
    EMIT(emitter, 0x0f, 0xae, 0xe8, 0x0f, 0x31); /* LFENCE; RDTSC */
    emit_shift(emitter, false, X86_RDX, 32, 8);
    emit_alu_register(emitter, EMIT_OR, X86_RAX, X86_RDX, 8);
    emit_alu_memory(emitter, EMIT_ADD, X86_RAX, GS_FIELD(tsc_offset));
    emit_move(emitter, X86_RDX, X86_RAX);
    emit_shift(emitter, true, X86_RDX, 32, 8);
    EMIT(emitter, 0x89, 0xc0); /* MOV EAX, EAX */
    if (generate->at->in.decoded.operation == X86_OP_RDTSCP) {
        emit_load(emitter, X86_RCX, GS_FIELD(msr.tsc_aux), 4);
    }
}

/* A selector into a register; ModRM.reg names one that there is. */
bool select_from_segment_test(const struct soft_cpu *cpu, const struct unit *unit,
                              const struct unit_instruction *at)
{
    const struct x86_instruction *in = &at->in.decoded;
    (void)cpu;
    (void)unit;
    return !x86_has_memory_operand(in) && (in->reg & 7) < X86_SEGMENT_COUNT;
}

void select_from_segment(struct generate *generate)
{
    const struct x86_instruction *in = &generate->at->in.decoded;
    size_t offset = offsetof(struct soft_cpu, segment) +
                    sizeof(struct x86_segment) * (size_t)(in->reg & 7) +
                    offsetof(struct x86_segment, selector);
    if (in->operand_size == 2) {
        generate_fill(generate, in->rm);
        emit_load(&generate->emitter, in->rm, emit_gs(offset), 2);
    } else { /* MOVZX r32, word [GS:offset] */
        EMIT(&generate->emitter, 0x65, (uint8_t)(0x40 | (in->rm >> 3 & 1) << 2), 0x0f, 0xb7,
             (uint8_t)(0x04 | (in->rm & 7) << 3), 0x25, (uint8_t)offset, (uint8_t)(offset >> 8),
             (uint8_t)(offset >> 16), (uint8_t)(offset >> 24));
    }
    generate_spill(generate, in->rm);
}

void select_pause(struct generate *generate)
{
    EMIT(&generate->emitter, 0xf3, 0x90);
}
