/*
 * The code around translated code: into it, out of it, and from it to C and back.
 */
#include "engines/soft/fpu.h"
#include "engines/soft/tlb.h"
#include "engines/soft/translate/generate.h"

#define PUSH(reg)     (uint8_t)(0x50 | (reg))
#define POP(reg)      (uint8_t)(0x58 | (reg))
#define VECTORS_COUNT 16u

typedef void c_function(struct soft_cpu *cpu, const struct translate_site *site, uint64_t value);

static bool is_kept_in_host(unsigned int reg)
{
    return reg != X86_RSP && reg != T0 && reg != T1;
}

static void load_registers(struct emitter *emitter)
{
    for (unsigned int reg = 0; reg < 16; reg++) {
        if (is_kept_in_host(reg)) {
            emit_load(emitter, reg, GS_REGISTER(reg), 8);
        }
    }
    emit_load(emitter, X86_RSP, GS_REGISTER(X86_RSP), 8);
}

/* All but RAX, which the caller has stored; from then on the stack is the monitor's. */
static void store_registers(struct emitter *emitter)
{
    for (unsigned int reg = 1; reg < 16; reg++) {
        if (is_kept_in_host(reg)) {
            emit_store(emitter, GS_REGISTER(reg), reg, 8);
        }
    }
    emit_store(emitter, GS_REGISTER(X86_RSP), X86_RSP, 8);
    emit_load(emitter, X86_RSP, GS_FIELD(translate.host_rsp), 8);
}

/* --- vector registers --- */

/* VMOVDQA between YMM n and [base + 32 × n]. */
static void move_vectors(struct emitter *emitter, bool store, unsigned int base)
{
    for (unsigned int n = 0; n < VECTORS_COUNT; n++) {
        uint32_t offset = n * 32;
        unsigned int rex = (n < 8 ? 0xe0u : 0x60u) & (base < 8 ? 0xffu : 0xdfu);
        EMIT(emitter, 0xc4, (uint8_t)(rex | 1), 0x7d, store ? 0x7f : 0x6f,
             (uint8_t)(0x80 | (n & 7) << 3 | (base & 7)), (uint8_t)offset, (uint8_t)(offset >> 8),
             (uint8_t)(offset >> 16), (uint8_t)(offset >> 24));
    }
}

#define FPU_FIELD(base, field) emit_at((base), (int32_t)offsetof(struct soft_fpu, field))

static void load_vectors(struct emitter *emitter, unsigned int base)
{
    emit_load(emitter, base, GS_FIELD(fpu), 8);
    move_vectors(emitter, false, base);
    emit_mxcsr(emitter, true, FPU_FIELD(base, host_mxcsr));
    emit_mxcsr(emitter, false, FPU_FIELD(base, mxcsr));
    emit_store_immediate(emitter, GS_FIELD(translate.vectors_live), 1, 4);
}

/* A branch over the code that `skip_end` is given the end of. */
static uint8_t *skip_if_equal(struct emitter *emitter)
{
    emit_jump_if(emitter, EMIT_IF_EQUAL, emit_address(emitter));
    return emitter->at;
}

static void skip_end(struct emitter *emitter, uint8_t *branch)
{
    emit_patch_here(emitter, branch);
}

/* C code may use any vector register: the guest's go back to memory, if they are not there. */
static void put_vectors_away(struct emitter *emitter, bool for_reload)
{
    emit_alu_memory_immediate(emitter, EMIT_CMP, GS_FIELD(translate.vectors_live), 0, 4);
    uint8_t *branch = skip_if_equal(emitter);
    emit_load(emitter, X86_RAX, GS_FIELD(fpu), 8);
    move_vectors(emitter, true, X86_RAX);
    emit_mxcsr(emitter, true, FPU_FIELD(X86_RAX, mxcsr));
    emit_mxcsr(emitter, false, FPU_FIELD(X86_RAX, host_mxcsr));
    EMIT(emitter, 0xc5, 0xf8, 0x77); /* VZEROUPPER */
    emit_store_immediate(emitter, GS_FIELD(translate.vectors_live), 0, 4);
    if (for_reload) {
        emit_store_immediate(emitter, GS_FIELD(translate.vectors_reload), 1, 4);
    }
    skip_end(emitter, branch);
}

static void take_vectors_back(struct emitter *emitter)
{
    emit_alu_memory_immediate(emitter, EMIT_CMP, GS_FIELD(translate.vectors_reload), 0, 4);
    uint8_t *branch = skip_if_equal(emitter);
    emit_store_immediate(emitter, GS_FIELD(translate.vectors_reload), 0, 4);
    load_vectors(emitter, X86_RAX);
    skip_end(emitter, branch);
}

/* --- in and out --- */

static void make_enter(struct emitter *emitter, struct translate_glue *glue)
{
    glue->enter = emit_address(emitter);
    EMIT(emitter, 0xf3, 0x0f, 0x1e, 0xfa); /* ENDBR64 */
    EMIT(emitter, PUSH(X86_RBX), PUSH(X86_RBP), 0x41, PUSH(4), 0x41, PUSH(5), 0x41, PUSH(6), 0x41,
         PUSH(7), 0x48, 0x83, 0xec, 8); /* PUSH R12 to R15; SUB RSP, 8 */
    emit_store(emitter, GS_FIELD(translate.host_rsp), X86_RSP, 8);
    emit_store(emitter, GS_FIELD(translate.resume), X86_RSI, 8);
    load_registers(emitter);
    emit_jump_memory(emitter, GS_FIELD(translate.resume));
}

static void make_leave(struct emitter *emitter, struct translate_glue *glue)
{
    glue->leave_native = emit_address(emitter);
    emit_store(emitter, GS_REGISTER(X86_RAX), X86_RAX, 8);
    EMIT(emitter, LAHF_SETO);
    emit_store(emitter, GS_FIELD(arithmetic), X86_RAX, 2);
    emit_load(emitter, X86_RAX, GS_REGISTER(X86_RAX), 8);
    glue->leave_saved = emit_address(emitter);
    emit_store(emitter, GS_REGISTER(X86_RAX), X86_RAX, 8);
    store_registers(emitter);
    put_vectors_away(emitter, false);
    emit_move(emitter, X86_RAX, T1);
    const uint8_t *pop = emit_address(emitter);
    EMIT(emitter, 0x48, 0x83, 0xc4, 8, 0x41, POP(7), 0x41, POP(6), 0x41, POP(5), 0x41, POP(4),
         POP(X86_RBP), POP(X86_RBX), 0xc3); /* ADD RSP, 8; POP R15 to R12 …; RET */
    glue->leave_after = emit_address(emitter);
    emit_load(emitter, X86_RSP, GS_FIELD(translate.host_rsp), 8);
    put_vectors_away(emitter, false);
    emit_move_immediate(emitter, X86_RAX, 0);
    emit_jump(emitter, pop);
}

/* From translated code to a C function, and to where that says. */
static const uint8_t *make_call(struct emitter *emitter, c_function *function)
{
    const uint8_t *start = emit_address(emitter);
    emit_store(emitter, GS_REGISTER(X86_RAX), X86_RAX, 8);
    store_registers(emitter);
    put_vectors_away(emitter, true);
    emit_load(emitter, X86_RDI, GS_FIELD(translate.self), 8);
    emit_move(emitter, X86_RSI, T1);
    emit_move(emitter, X86_RDX, T0);
    emit_move_immediate(emitter, X86_RAX, (uint64_t)(uintptr_t)function);
    EMIT(emitter, 0xff, 0xd0); /* CALL RAX */
    take_vectors_back(emitter);
    emit_load(emitter, X86_RAX, GS_FIELD(arithmetic), 2);
    EMIT(emitter, ADD_SAHF);
    load_registers(emitter);
    emit_load(emitter, T0, GS_FIELD(translate.resume_t0), 8);
    emit_load(emitter, T1, GS_REGISTER(T1), 8);
    emit_jump_memory(emitter, GS_FIELD(translate.resume));
    return start;
}

/* --- an access by RSP that met another page than the one before (stack_page.h) --- */

#define SITE_FIELD(field)  emit_at(T1, (int32_t)offsetof(struct translate_site, field))
#define ENTRY_FIELD(field) emit_at(X86_RCX, (int32_t)offsetof(struct soft_tlb_entry, field))

_Static_assert(sizeof(struct soft_tlb_entry) == 32 && SOFT_TLB_ENTRIES == 4096 &&
                   offsetof(struct soft_tlb, entry) == 0,
               "the index is made of linear address bits 12 to 23, 32 bytes an entry");

_Static_assert(offsetof(struct translate_site, limit) < 128, "reached by one byte");

static struct emit_memory stack_field(unsigned int kind, size_t field)
{
    return emit_gs(offsetof(struct soft_cpu, translate.stack) +
                   kind * sizeof(struct translate_stack_page) + field);
}

#define STACK_FIELD(kind, field) stack_field((kind), offsetof(struct translate_stack_page, field))

static uint8_t *branch_if(struct emitter *emitter, enum emit_condition condition)
{
    emit_jump_if(emitter, condition, emit_address(emitter));
    return emitter->at;
}

/* RCX = the TLB's entry for T0; RAX goes. Where that does not hold one of the branches is taken. */
static void look_up(struct emitter *emitter, bool write, uint8_t *miss[2])
{
    emit_move(emitter, X86_RCX, T0);
    emit_shift(emitter, true, X86_RCX, 7, 8);
    emit_alu_immediate(emitter, EMIT_AND, X86_RCX, (SOFT_TLB_ENTRIES - 1) << 5, 4);
    emit_alu_memory(emitter, EMIT_ADD, X86_RCX, GS_FIELD(tlb));
    emit_move(emitter, X86_RAX, T0);
    emit_alu_memory(emitter, EMIT_SUB, X86_RAX,
                    write ? ENTRY_FIELD(write_tag) : ENTRY_FIELD(read_tag));
    emit_alu_immediate(emitter, EMIT_CMP, X86_RAX, (int32_t)SOFT_PAGE_MASK, 8);
    miss[0] = branch_if(emitter, EMIT_IF_ABOVE);
    EMIT(emitter, 0x66, 0x41, 0x3b, 0x43,
         (uint8_t)offsetof(struct translate_site, limit)); /* CMP AX, [R11 + …] */
    miss[1] = branch_if(emitter, EMIT_IF_NOT_BELOW);
}

/* The distance that the entry in RCX has; RAX goes. */
static void note_delta(struct emitter *emitter, unsigned int kind)
{
    emit_load(emitter, X86_RAX, ENTRY_FIELD(host), 8);
    /* Not the write tag, which another vCPU may take away just now; it implies the read tag. */
    emit_alu_memory(emitter, EMIT_SUB, X86_RAX, ENTRY_FIELD(read_tag));
    emit_store(emitter, STACK_FIELD(kind, delta), X86_RAX, 8);
}

/* The page of T0, or none; RAX goes. */
static void note_page(struct emitter *emitter, unsigned int kind, bool none)
{
    emit_move(emitter, X86_RAX, T0);
    emit_alu_immediate(emitter, EMIT_AND, X86_RAX, -(int32_t)SOFT_PAGE_SIZE, 8);
    emit_store(emitter, STACK_FIELD(kind, tag), X86_RAX, 8);
    for (unsigned int size = 0; size < TRANSLATE_STACK_SIZES; size++) {
        int32_t limit = none ? 0 : (int32_t)translate_stack_limit(size);
        emit_store_immediate(emitter, STACK_FIELD(kind, limit[size]), limit, 8);
    }
}

/* A branch that is taken in the regime whose pages are not noted; RAX goes. */
static uint8_t *branch_if_lifted(struct emitter *emitter)
{
    size_t lifted = offsetof(struct soft_cpu, tlbs) + SOFT_REGIME_KERNEL_AC * sizeof(void *);
    emit_load(emitter, X86_RAX, GS_FIELD(tlb), 8);
    emit_alu_memory(emitter, EMIT_CMP, X86_RAX, emit_gs(lifted));
    return branch_if(emitter, EMIT_IF_EQUAL);
}

static void restore_saved(struct emitter *emitter)
{
    emit_load(emitter, X86_RCX, GS_FIELD(translate.saved[1]), 8);
    emit_load(emitter, X86_RAX, GS_FIELD(translate.saved[0]), 8);
}

/* On in the block. */
static void resume_access(struct emitter *emitter)
{
    emit_load(emitter, X86_RAX, SITE_FIELD(with_address), 4);
    emit_alu_memory(emitter, EMIT_ADD, X86_RAX, GS_FIELD(translate.origin));
    emit_store(emitter, GS_FIELD(translate.resume), X86_RAX, 8);
    restore_saved(emitter);
    emit_load(emitter, T1, GS_REGISTER(T1), 8);
    emit_jump_memory(emitter, GS_FIELD(translate.resume));
}

static const uint8_t *make_stack(struct emitter *emitter, unsigned int kind, const uint8_t *access)
{
    uint8_t *miss[2], *lifted = NULL;
    const uint8_t *start = emit_address(emitter);
    emit_store(emitter, GS_FIELD(translate.saved[0]), X86_RAX, 8);
    emit_store(emitter, GS_FIELD(translate.saved[1]), X86_RCX, 8);
    look_up(emitter, (kind & TRANSLATE_STACK_WRITE) != 0, miss);
    note_delta(emitter, kind);
    if ((kind & TRANSLATE_STACK_USER) == 0) {
        lifted = branch_if_lifted(emitter);
    }
    note_page(emitter, kind, false);
    resume_access(emitter);
    if (lifted != NULL) {
        emit_patch_here(emitter, lifted);
        note_page(emitter, kind, true);
        resume_access(emitter);
    }
    emit_patch_here(emitter, miss[0]);
    emit_patch_here(emitter, miss[1]);
    restore_saved(emitter);
    emit_jump(emitter, access);
    return start;
}

bool translate_make_glue(struct soft_cpu *cpu)
{
    struct translator *translator = cpu->translate.translator;
    struct translate_glue *glue = &translator->glue;
    struct emitter emitter = translate_cache_begin_fixed(translator->cache);
    make_enter(&emitter, glue);
    make_leave(&emitter, glue);
    glue->access = make_call(&emitter, translate_access);
    for (unsigned int kind = 0; kind < TRANSLATE_STACK_KINDS; kind++) {
        glue->stack[kind] = make_stack(&emitter, kind, glue->access);
    }
    glue->callout = make_call(&emitter, translate_callout);
    glue->single = make_call(&emitter, translate_single);
    glue->raced = make_call(&emitter, translate_raced);
    glue->load_x87 = make_call(&emitter, translate_load_x87);
    glue->load_vectors = emit_address(&emitter);
    load_vectors(&emitter, T0);
    EMIT(&emitter, 0x41, 0xff, 0xe3); /* JMP R11 */
    translate_cache_end_fixed(translator->cache, &emitter);
    return !emitter.full;
}
