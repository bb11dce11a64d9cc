/*
 * Guest vector instructions put together again for the host: what comes out decodes, in 64-bit
 * mode, to what went in, with another memory operand.
 */
#include <string.h>

#include "check.h"
#include "engines/soft/translate/emit_vector.h"
#include "x86/registers.h"

#define CANARY 0xcc

struct counts {
    uint64_t tried, seen[X86_OP_COUNT];
};

static bool is_wanted(const struct x86_instruction *in)
{
    return in->operation == X86_OP_SSE || in->operation == X86_OP_AVX ||
           in->operation == X86_OP_MMX;
}

static uint64_t immediate_of(const struct x86_instruction *in, enum x86_decode_mode mode)
{
    bool is4 = (in->shape & X86_SHAPE_IS4) != 0;
    uint64_t mask = is4 && mode != X86_DECODE_64 ? 0x7f : 0xff;
    return ((uint64_t)in->immediate & mask) | (uint64_t)in->immediate2 << 8;
}

static bool same_operands(const struct x86_instruction *in, const struct x86_instruction *out)
{
    if ((in->flags & X86_INSTRUCTION_MEMORY) != 0) {
        return out->base == X86_R10 && out->index == X86_REGISTER_NONE && out->displacement == 0 &&
               out->segment == X86_DS && out->address_size == 8 &&
               out->memory_size == in->memory_size;
    }
    return out->mod == 3 && out->rm == in->rm;
}

static bool same(const struct x86_instruction *in, const struct x86_instruction *out,
                 enum x86_decode_mode mode)
{
    const unsigned int gprs = X86_SHAPE_REG_GPR | X86_SHAPE_RM_GPR;
    bool wide = (in->flags & X86_INSTRUCTION_W) != 0;
    bool is_extension =
        (in->shape & (X86_SHAPE_REG_GPR | X86_SHAPE_REG_MMX | X86_SHAPE_REG_VECTOR)) == 0;
    if (mode != X86_DECODE_64 && (in->shape & gprs) != 0) {
        wide = false;
    }
    return out->operation == in->operation && out->map == in->map && out->opcode == in->opcode &&
           out->encoding == in->encoding && out->shape == in->shape &&
           out->vector_length == in->vector_length && out->vvvv == in->vvvv &&
           out->mandatory_prefix == in->mandatory_prefix &&
           (is_extension ? out->reg == (in->reg & 7) : out->reg == in->reg) &&
           ((out->flags & X86_INSTRUCTION_W) != 0) == wide && same_operands(in, out) &&
           immediate_of(in, mode) == immediate_of(out, X86_DECODE_64);
}

static void try_one(const uint8_t bytes[X86_INSTRUCTION_MAX], enum x86_decode_mode mode,
                    struct counts *counts)
{
    struct x86_instruction in, out;
    if (x86_decode(mode, bytes, X86_INSTRUCTION_MAX, &in) != X86_DECODE_OK || !is_wanted(&in)) {
        return;
    }
    uint8_t code[64];
    memset(code, CANARY, sizeof(code));
    struct emitter emitter = {.at = code, .end = code + sizeof(code)};
    struct emit_memory memory = emit_at(X86_R10, 0);
    bool is_memory = (in.flags & X86_INSTRUCTION_MEMORY) != 0;
    emit_vector(&emitter, &in, mode == X86_DECODE_64, is_memory ? &memory : NULL);
    enum x86_decode_result result = x86_decode(X86_DECODE_64, code, sizeof(code), &out);
    bool good = result == X86_DECODE_OK && out.length == emitter.at - code && same(&in, &out, mode);
    counts->tried++;
    counts->seen[in.operation]++;
    if (!good) {
        fprintf(stderr, "mode %d:", mode);
        for (unsigned int i = 0; i < in.length; i++) {
            fprintf(stderr, " %02x", bytes[i]);
        }
        fprintf(stderr, " became");
        for (const uint8_t *at = code; at < emitter.at; at++) {
            fprintf(stderr, " %02x", *at);
        }
        fprintf(stderr, "\n");
    }
    CHECK(good);
}

/* ModRM: both kinds of operand, all of ModRM.reg; and an immediate of some sort. */
static void try_operands(uint8_t *bytes, unsigned int at, enum x86_decode_mode mode,
                         struct counts *counts)
{
    static const uint8_t modrms[] = {0x02, 0xc3}; /* [rDX], register 3 */
    for (unsigned int reg = 0; reg < 8; reg++) {
        for (unsigned int i = 0; i < 2; i++) {
            bytes[at] = (uint8_t)(modrms[i] | reg << 3);
            bytes[at + 1] = 0x9a;
            bytes[at + 2] = 0x25;
            try_one(bytes, mode, counts);
        }
    }
}

static void try_legacy(enum x86_decode_mode mode, struct counts *counts)
{
    static const uint8_t prefixes[] = {0, 0x66, 0xf3, 0xf2}, maps[] = {0, 0x38, 0x3a};
    unsigned int rexes = mode == X86_DECODE_64 ? 17 : 1; /* none, 40 to 4F */
    for (unsigned int what = 0; what < 4 * 3 * rexes * 256; what++) {
        uint8_t bytes[X86_INSTRUCTION_MAX] = {0x2e}; /* a prefix that means nothing */
        unsigned int n = 1, rex = what / 256 % rexes, map = what / 256 / rexes % 3;
        unsigned int prefix = what / 256 / rexes / 3;
        if (prefix != 0) {
            bytes[n++] = prefixes[prefix];
        }
        if (rex != 0) {
            bytes[n++] = (uint8_t)(0x3f + rex);
        }
        bytes[n++] = 0x0f;
        if (map != 0) {
            bytes[n++] = maps[map];
        }
        bytes[n++] = (uint8_t)what;
        try_operands(bytes, n, mode, counts);
    }
}

static void try_vex(enum x86_decode_mode mode, struct counts *counts)
{
    static const uint8_t registers[] = {15, 6, 9, 0};
    for (unsigned int what = 0; what < 3 * 8 * 4 * 16 * 256; what++) {
        unsigned int map = 1 + what / 256 / 16 / 4 / 8, inverted = what / 256 / 16 / 4 % 8;
        unsigned int vvvv = registers[what / 256 / 16 % 4], lpp = what / 256 % 16;
        uint8_t bytes[X86_INSTRUCTION_MAX] = {0xc4};
        bytes[1] = (uint8_t)(inverted << 5 | map);
        bytes[2] = (uint8_t)((lpp & 8) << 4 | (~vvvv & 15) << 3 | (lpp & 7));
        bytes[3] = (uint8_t)what;
        if (mode == X86_DECODE_64 || inverted >= 6) { /* else it is LES */
            try_operands(bytes, 4, mode, counts);
        }
    }
}

int main(void)
{
    static const enum x86_decode_mode modes[] = {X86_DECODE_32, X86_DECODE_64};
    for (unsigned int i = 0; i < 2; i++) {
        struct counts counts = {.tried = 0};
        try_legacy(modes[i], &counts);
        try_vex(modes[i], &counts);
        CHECK(counts.seen[X86_OP_SSE] > 1000);
        CHECK(counts.seen[X86_OP_AVX] > 1000);
        CHECK(counts.seen[X86_OP_MMX] > 1000);
    }
    return check_summary();
}
