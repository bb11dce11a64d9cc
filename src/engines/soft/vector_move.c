/*
 * The commonest vector instructions, without a thunk: loads, stores and register moves of whole
 * registers and of four and eight bytes. For anything with arithmetic in it, were it only PXOR, a
 * thunk is as fast (3.6 ns measured).
 */
#include <string.h>

#include "engines/soft/fpu.h"
#include "engines/soft/memory.h"
#include "engines/soft/vector.h"
#include "engines/soft/vector_memory.h"

/* One instantiation for each encoding and length: checks, sizes and clearing become constants. */
enum kind { LEGACY, VEX128, VEX256 };

static inline void require(struct soft_cpu *cpu, enum kind kind)
{
    if (kind == LEGACY) {
        soft_require_sse(cpu);
    } else {
        soft_require_avx(cpu);
    }
}

static inline unsigned int bytes_of(enum kind kind)
{
    return kind == VEX256 ? 32 : 16;
}

/* VEX.128 clears bits 255..128; legacy encodings leave them. */
static inline void put(struct soft_cpu *cpu, unsigned int number, const uint8_t *value,
                       enum kind kind)
{
    uint8_t *to = cpu->fpu->ymm[number];
    memcpy(to, value, bytes_of(kind));
    if (kind == VEX128) {
        memset(to + 16, 0, 16);
    }
}

static inline bool misaligned(const struct soft_instruction *in, const void *host, enum kind kind)
{
    return (in->decoded.shape & X86_SHAPE_ALIGNED) != 0 &&
           ((uintptr_t)host & (bytes_of(kind) - 1)) != 0;
}

static inline void load(struct soft_cpu *cpu, const struct soft_instruction *in, enum kind kind)
{
    require(cpu, kind);
    uint8_t value[32];
    const uint8_t *host =
        soft_is_memory(in) ? soft_direct_read(cpu, &in->decoded, bytes_of(kind)) : NULL;
    if (host != NULL && !misaligned(in, host, kind)) {
        uint8_t *to = cpu->fpu->ymm[in->decoded.reg];
        soft_direct_copy(to, host, bytes_of(kind));
        if (kind == VEX128) {
            memset(to + 16, 0, 16);
        }
        return;
    }
    if (soft_is_memory(in)) {
        soft_read_bytes(cpu, soft_vector_linear(cpu, in, SOFT_READ), value, bytes_of(kind));
    } else {
        memcpy(value, cpu->fpu->ymm[in->decoded.rm], bytes_of(kind));
    }
    put(cpu, in->decoded.reg, value, kind);
}

static inline void store(struct soft_cpu *cpu, const struct soft_instruction *in, enum kind kind)
{
    require(cpu, kind);
    const uint8_t *from = cpu->fpu->ymm[in->decoded.reg];
    if (soft_is_memory(in)) {
        struct soft_direct_write write = soft_direct_write_begin(cpu, &in->decoded, bytes_of(kind));
        if (write.host != NULL && !misaligned(in, write.host, kind)) {
            soft_direct_copy(write.host, from, bytes_of(kind));
            soft_direct_write_end(cpu, &write, bytes_of(kind));
            return;
        }
        soft_write_bytes(cpu, soft_vector_linear(cpu, in, SOFT_WRITE), from, bytes_of(kind));
    } else {
        uint8_t value[32];
        memcpy(value, from, bytes_of(kind));
        put(cpu, in->decoded.rm, value, kind);
    }
}

static inline uint64_t read_operand(struct soft_cpu *cpu, const struct x86_instruction *decoded,
                                    unsigned int width)
{
    const uint8_t *host = soft_direct_read(cpu, decoded, width);
    if (host != NULL) {
        return soft_host_load(host, width);
    }
    return soft_read(cpu, soft_operand_linear(cpu, decoded, width, SOFT_READ), width);
}

static inline void write_operand(struct soft_cpu *cpu, const struct x86_instruction *decoded,
                                 uint64_t value, unsigned int width)
{
    struct soft_direct_write write = soft_direct_write_begin(cpu, decoded, width);
    if (write.host != NULL) {
        soft_host_store(write.host, value, width);
        soft_direct_write_end(cpu, &write, width);
        return;
    }
    soft_write(cpu, soft_operand_linear(cpu, decoded, width, SOFT_WRITE), value, width);
}

/* MOVQ, MOVD: width bytes into a register whose other bits up to 127 are cleared. */
static inline void load_low(struct soft_cpu *cpu, const struct soft_instruction *in, enum kind kind,
                            unsigned int width, bool from_gpr)
{
    require(cpu, kind);
    uint64_t value[4] = {0};
    if (soft_is_memory(in)) {
        value[0] = read_operand(cpu, &in->decoded, width);
    } else if (from_gpr) {
        value[0] = cpu->gpr[in->decoded.rm];
    } else {
        memcpy(value, cpu->fpu->ymm[in->decoded.rm], 8);
    }
    if (width == 4) {
        value[0] &= 0xffffffff;
    }
    put(cpu, in->decoded.reg, (const uint8_t *)value, kind);
}

static inline void store_low(struct soft_cpu *cpu, const struct soft_instruction *in,
                             enum kind kind, unsigned int width, bool to_gpr)
{
    require(cpu, kind);
    uint64_t value[4] = {0};
    memcpy(value, cpu->fpu->ymm[in->decoded.reg], width);
    if (soft_is_memory(in)) {
        write_operand(cpu, &in->decoded, value[0], width);
    } else if (to_gpr) {
        cpu->gpr[in->decoded.rm] = value[0];
    } else {
        put(cpu, in->decoded.rm, (const uint8_t *)value, kind);
    }
}

/* The functions that have addresses: one a kind. */
#define STAMP(name, ...)                                                                           \
    static void name##_legacy(struct soft_cpu *cpu, const struct soft_instruction *in)             \
    {                                                                                              \
        const enum kind kind = LEGACY;                                                             \
        __VA_ARGS__;                                                                               \
    }                                                                                              \
    static void name##_vex128(struct soft_cpu *cpu, const struct soft_instruction *in)             \
    {                                                                                              \
        const enum kind kind = VEX128;                                                             \
        __VA_ARGS__;                                                                               \
    }                                                                                              \
    static void name##_vex256(struct soft_cpu *cpu, const struct soft_instruction *in)             \
    {                                                                                              \
        const enum kind kind = VEX256;                                                             \
        __VA_ARGS__;                                                                               \
    }
#define STAMPED(name)                                                                              \
    {                                                                                              \
        name##_legacy, name##_vex128, name##_vex256                                                \
    }

STAMP(load, load(cpu, in, kind))
STAMP(store, store(cpu, in, kind))
STAMP(load_quad, load_low(cpu, in, kind, 8, false))
STAMP(store_quad, store_low(cpu, in, kind, 8, false))
STAMP(load_double_gpr, load_low(cpu, in, kind, 4, true))
STAMP(load_quad_gpr, load_low(cpu, in, kind, 8, true))
STAMP(store_double_gpr, store_low(cpu, in, kind, 4, true))
STAMP(store_quad_gpr, store_low(cpu, in, kind, 8, true))

struct move_entry {
    uint8_t opcode; /* in map 0F */
    uint8_t prefix;
    bool is_256; /* there is a 256-bit form */
    int8_t w;    /* -1: any; else the 64-bit operand or not */
    soft_execute *functions[3];
};

static const struct move_entry moves[] = {
    {0x10, 0x00, true, -1, STAMPED(load)},             /* MOVUPS */
    {0x10, 0x66, true, -1, STAMPED(load)},             /* MOVUPD */
    {0x28, 0x00, true, -1, STAMPED(load)},             /* MOVAPS */
    {0x28, 0x66, true, -1, STAMPED(load)},             /* MOVAPD */
    {0x6f, 0x66, true, -1, STAMPED(load)},             /* MOVDQA */
    {0x6f, 0xf3, true, -1, STAMPED(load)},             /* MOVDQU */
    {0x11, 0x00, true, -1, STAMPED(store)},            /* MOVUPS */
    {0x11, 0x66, true, -1, STAMPED(store)},            /* MOVUPD */
    {0x29, 0x00, true, -1, STAMPED(store)},            /* MOVAPS */
    {0x29, 0x66, true, -1, STAMPED(store)},            /* MOVAPD */
    {0x7f, 0x66, true, -1, STAMPED(store)},            /* MOVDQA */
    {0x7f, 0xf3, true, -1, STAMPED(store)},            /* MOVDQU */
    {0x2b, 0x00, true, -1, STAMPED(store)},            /* MOVNTPS */
    {0x2b, 0x66, true, -1, STAMPED(store)},            /* MOVNTPD */
    {0xe7, 0x66, true, -1, STAMPED(store)},            /* MOVNTDQ */
    {0x7e, 0xf3, false, -1, STAMPED(load_quad)},       /* MOVQ xmm, xmm/m64 */
    {0xd6, 0x66, false, -1, STAMPED(store_quad)},      /* MOVQ xmm/m64, xmm */
    {0x6e, 0x66, false, 0, STAMPED(load_double_gpr)},  /* MOVD xmm, r/m32 */
    {0x6e, 0x66, false, 1, STAMPED(load_quad_gpr)},    /* MOVQ xmm, r/m64 */
    {0x7e, 0x66, false, 0, STAMPED(store_double_gpr)}, /* MOVD r/m32, xmm */
    {0x7e, 0x66, false, 1, STAMPED(store_quad_gpr)},   /* MOVQ r/m64, xmm */
};

soft_execute *soft_vector_move(const struct soft_instruction *in, bool is_64bit)
{
    const struct x86_instruction *decoded = &in->decoded;
    if (decoded->map != X86_MAP_0F ||
        (decoded->operation != X86_OP_SSE && decoded->operation != X86_OP_AVX)) {
        return NULL;
    }
    enum kind kind = decoded->encoding == X86_ENCODING_LEGACY ? LEGACY
                     : decoded->vector_length == 32           ? VEX256
                                                              : VEX128;
    bool wide = is_64bit && (decoded->flags & X86_INSTRUCTION_W) != 0;
    for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++) {
        const struct move_entry *move = &moves[i];
        if (move->opcode == decoded->opcode && move->prefix == decoded->mandatory_prefix &&
            (move->is_256 || kind != VEX256) && (move->w < 0 || (move->w == 1) == wide)) {
            return move->functions[kind];
        }
    }
    return NULL;
}
