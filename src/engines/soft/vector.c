#include "engines/soft/vector.h"

#include <signal.h>
#include <string.h>

#include "engines/soft/fpu.h"
#include "engines/soft/memory.h"
#include "engines/soft/thunk.h"
#include "engines/soft/vector_memory.h"

#define SHAPE_ANY_VECTOR (X86_SHAPE_REG_VECTOR | X86_SHAPE_RM_VECTOR)

_Noreturn void soft_sse_unavailable(struct soft_cpu *cpu)
{
    if ((cpu->cr0 & X86_CR0_EM) != 0 || (cpu->cr4 & X86_CR4_OSFXSR) == 0) {
        soft_raise(cpu, X86_VECTOR_UD);
    }
    soft_raise(cpu, X86_VECTOR_NM);
}

_Noreturn void soft_avx_unavailable(struct soft_cpu *cpu)
{
    const uint64_t needed = X86_XCR0_SSE | X86_XCR0_AVX;
    if (soft_real_or_v86(cpu) || (cpu->cr4 & X86_CR4_OSXSAVE) == 0 ||
        (cpu->xcr0 & needed) != needed) {
        soft_raise(cpu, X86_VECTOR_UD);
    }
    soft_raise(cpu, X86_VECTOR_NM);
}

void soft_require_mmx(struct soft_cpu *cpu)
{
    if ((cpu->cr0 & X86_CR0_EM) != 0) {
        soft_raise(cpu, X86_VECTOR_UD);
    }
    if ((cpu->cr0 & X86_CR0_TS) != 0) {
        soft_raise(cpu, X86_VECTOR_NM);
    }
    soft_fpu_save(cpu->fpu);
    if ((cpu->fpu->image.fsw & SOFT_FSW_ES) != 0) {
        soft_raise(cpu, X86_VECTOR_MF);
    }
}

/* --- memory operands --- */

uint64_t soft_vector_linear(struct soft_cpu *cpu, const struct soft_instruction *in,
                            enum soft_access access)
{
    unsigned int size = in->decoded.memory_size;
    bool aligned = (in->decoded.shape & X86_SHAPE_ALIGNED) != 0;
    if (aligned && (cpu->flags & X86_FLAGS_AC) != 0) {
        /* #GP for want of alignment comes before #AC: as one byte it cannot be the latter */
        uint64_t linear = soft_operand_linear(cpu, &in->decoded, 1, access);
        if ((linear & (size - 1)) != 0) {
            soft_raise_error(cpu, X86_VECTOR_GP, 0);
        }
    }
    uint64_t linear = soft_operand_linear(cpu, &in->decoded, size, access);
    if (aligned && (linear & (size - 1)) != 0) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    return linear;
}

void soft_vector_read(struct soft_cpu *cpu, uint64_t linear, void *buffer, unsigned int size)
{
    if (size <= 8 && (size & (size - 1)) == 0) {
        uint64_t value = soft_read(cpu, linear, size);
        memcpy(buffer, &value, size);
    } else {
        soft_read_bytes(cpu, linear, buffer, size);
    }
}

void soft_vector_write(struct soft_cpu *cpu, uint64_t linear, const void *buffer, unsigned int size)
{
    if (size <= 8 && (size & (size - 1)) == 0) {
        uint64_t value = 0;
        memcpy(&value, buffer, size);
        soft_write(cpu, linear, value, size);
    } else {
        soft_write_bytes(cpu, linear, buffer, size);
    }
}

/* --- running a thunk --- */

static void *register_operand(struct soft_cpu *cpu, unsigned int number, bool is_gpr, bool is_mmx)
{
    if (is_gpr) {
        return &cpu->gpr[number];
    }
    return is_mmx ? soft_fpu_mmx(cpu->fpu, number) : cpu->fpu->ymm[number];
}

/* "SIMD Floating-Point Exceptions": #XM where the system is prepared for it, else #UD. */
static _Noreturn void raise_native(struct soft_cpu *cpu, uint32_t result)
{
    bool simd = (result & 0xff) == SIGFPE && (cpu->cr4 & X86_CR4_OSXMMEXCPT) != 0;
    soft_raise(cpu, simd ? X86_VECTOR_XM : X86_VECTOR_UD);
}

static inline void run_thunk(struct soft_cpu *cpu, const struct soft_instruction *in, void *rm)
{
    const struct x86_instruction *decoded = &in->decoded;
    unsigned int shape = decoded->shape;
    struct soft_fpu *fpu = cpu->fpu;
    thunk_function *thunk = (thunk_function *)(uintptr_t)in->thunk;
    void *reg = register_operand(cpu, decoded->reg, (shape & X86_SHAPE_REG_GPR) != 0,
                                 (shape & X86_SHAPE_REG_MMX) != 0);
    void *vvvv = cpu->gpr; /* what PCMPxSTRx wants there */
    if ((shape & (X86_SHAPE_VVVV | X86_SHAPE_VVVV_GPR)) != 0) {
        vvvv = register_operand(cpu, decoded->vvvv, (shape & X86_SHAPE_VVVV_GPR) != 0, false);
    }
    unsigned int extra = 0;
    if ((shape & X86_SHAPE_IS4) != 0) { /* bit 7 is ignored outside 64-bit mode */
        extra = (unsigned int)(decoded->immediate >> 4) & (soft_64bit(cpu) ? 15 : 7);
    }
    uint32_t result = thunk(reg, rm, vvvv, fpu->ymm[extra], fpu);
    if ((result & THUNK_FAULT) != 0) {
        raise_native(cpu, result);
    }
    if ((shape & X86_SHAPE_FLAGS) != 0) {
        cpu->arithmetic = (uint16_t)result;
    }
}

static bool misaligned(const struct x86_instruction *decoded, const void *host)
{
    return (decoded->shape & X86_SHAPE_ALIGNED) != 0 &&
           ((uintptr_t)host & (decoded->memory_size - 1u)) != 0;
}

static inline void run_with_source(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int size = in->decoded.memory_size;
    uint8_t *host = soft_direct_read(cpu, &in->decoded, size);
    if (host != NULL && !misaligned(&in->decoded, host)) {
        run_thunk(cpu, in, host);
        return;
    }
    uint8_t buffer[32] __attribute__((aligned(32)));
    uint64_t linear = soft_vector_linear(cpu, in, SOFT_READ);
    soft_vector_read(cpu, linear, buffer, size);
    run_thunk(cpu, in, buffer);
}

static inline void run_with_destination(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int size = in->decoded.memory_size;
    struct soft_direct_write write = soft_direct_write_begin(cpu, &in->decoded, size);
    if (write.host != NULL && !misaligned(&in->decoded, write.host)) {
        run_thunk(cpu, in, write.host);
        soft_direct_write_end(cpu, &write, size);
        return;
    }
    uint8_t buffer[32] __attribute__((aligned(32)));
    uint64_t linear = soft_vector_linear(cpu, in, SOFT_WRITE);
    if ((in->decoded.shape & X86_SHAPE_MXCSR) != 0) {
        soft_check_write(cpu, linear, size); /* a page fault must find MXCSR unchanged */
    }
    run_thunk(cpu, in, buffer); /* changes nothing but the buffer (and MXCSR) */
    soft_vector_write(cpu, linear, buffer, size);
}

static inline void run(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    if (soft_is_memory(in)) {
        if ((in->decoded.shape & X86_SHAPE_MEMORY_WRITE) != 0) {
            run_with_destination(cpu, in);
        } else {
            run_with_source(cpu, in);
        }
    } else {
        unsigned int shape = in->decoded.shape;
        run_thunk(cpu, in,
                  register_operand(cpu, in->decoded.rm, (shape & X86_SHAPE_RM_GPR) != 0,
                                   (shape & X86_SHAPE_RM_MMX) != 0));
    }
}

void soft_execute_sse(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    soft_require_sse(cpu);
    run(cpu, in);
}

void soft_execute_avx(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    soft_require_avx(cpu);
    run(cpu, in);
}

/* --- MMX --- */

/* CVTPI2PS and CVTPI2PD with a memory operand leave the x87 state alone. */
static bool touches_mmx(const struct x86_instruction *decoded)
{
    return (decoded->shape & X86_SHAPE_REG_MMX) != 0 || decoded->mod == 3;
}

/* "A write to an MMX register sets bits 64 to 79 of the x87 register to all ones." */
static void set_exponent(struct soft_cpu *cpu, const struct x86_instruction *decoded)
{
    enum thunk_destination destination = thunk_destination(decoded);
    uint8_t *slot = NULL;
    if (destination == THUNK_DESTINATION_REG && (decoded->shape & X86_SHAPE_REG_MMX) != 0) {
        slot = soft_fpu_mmx(cpu->fpu, decoded->reg);
    } else if (destination == THUNK_DESTINATION_RM && decoded->mod == 3 &&
               (decoded->shape & X86_SHAPE_RM_MMX) != 0) {
        slot = soft_fpu_mmx(cpu->fpu, decoded->rm);
    }
    if (slot != NULL) {
        slot[8] = 0xff;
        slot[9] = 0xff;
    }
}

void soft_execute_mmx(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    if ((in->decoded.shape & SHAPE_ANY_VECTOR) != 0) {
        soft_require_sse(cpu);
    }
    if (!touches_mmx(&in->decoded)) {
        soft_fpu_save(cpu->fpu); /* the thunk ends with EMMS all the same */
        run(cpu, in);
        return;
    }
    soft_require_mmx(cpu);
    run(cpu, in);
    set_exponent(cpu, &in->decoded);
    soft_fpu_enter_mmx(cpu->fpu);
}

void soft_execute_emms(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    soft_require_mmx(cpu);
    /* "Effect of MMX Instructions on the x87 FPU State": EMMS empties all and clears TOP, too */
    soft_fpu_enter_mmx(cpu->fpu);
    cpu->fpu->image.ftw = 0;
}

/* --- MXCSR and the upper halves --- */

void soft_execute_ldmxcsr(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    soft_require_sse_or_avx(cpu, in);
    uint32_t value =
        (uint32_t)soft_read(cpu, soft_operand_linear(cpu, &in->decoded, 4, SOFT_READ), 4);
    if ((value & ~cpu->fpu->mxcsr_mask) != 0) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    cpu->fpu->mxcsr = value;
}

void soft_execute_stmxcsr(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    soft_require_sse_or_avx(cpu, in);
    soft_write(cpu, soft_operand_linear(cpu, &in->decoded, 4, SOFT_WRITE), cpu->fpu->mxcsr, 4);
}

/* VZEROUPPER, VZEROALL: only the first eight registers outside 64-bit mode. */
void soft_execute_vzero(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    soft_require_avx(cpu);
    unsigned int from = in->decoded.vector_length == 32 ? 0 : 16;
    unsigned int count = soft_64bit(cpu) ? 16 : 8;
    for (unsigned int i = 0; i < count; i++) {
        memset(cpu->fpu->ymm[i] + from, 0, 32 - from);
    }
}

/* --- decoding --- */

void soft_prepare_vector(struct soft_cpu *cpu, struct soft_instruction *in)
{
    soft_execute *move = soft_vector_move(in, soft_64bit(cpu));
    if (move != NULL) {
        in->execute = move;
        return;
    }
    enum x86_decode_mode mode = (enum x86_decode_mode)(cpu->mode & SOFT_MODE_DECODE);
    in->thunk = thunk_for_vector(cpu->fpu->thunks, &in->decoded, mode);
    if (in->thunk == NULL) {
        in->execute = soft_undefined; /* the host is out of memory; see CODE_SIZE */
    }
}
