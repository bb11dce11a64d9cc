/* The random registers and memory that a case starts from. */
#include <string.h>

#include "differential.h"

uint64_t differential_operand(struct differential_random *random)
{
    static const uint64_t edges[] = {0,
                                     1,
                                     UINT64_MAX,
                                     0x7f,
                                     0x80,
                                     0xff,
                                     0x7fff,
                                     0x8000,
                                     0x7fffffff,
                                     0x80000000,
                                     0xffffffff,
                                     UINT64_C(0x7fffffffffffffff),
                                     UINT64_C(0x8000000000000000),
                                     UINT64_C(0x7ffffffffffc),
                                     UINT64_C(0xffff800000000000)};
    uint64_t bits = differential_bits(random);
    switch (differential_below(random, 4)) {
    case 0:
        return edges[bits % (sizeof(edges) / sizeof(edges[0]))];
    case 1:
        return bits & 0xff;
    default:
        return bits;
    }
}

/* A place and how many bytes of it, with how often of a hundred times. */
struct place {
    uint32_t percent, first, bytes;
};

uint32_t differential_pointer(struct differential_random *random)
{
    static const struct place places[] = {
        {48, DIFFERENTIAL_DATA, 0x2000},           /* writable */
        {14, DIFFERENTIAL_DATA + 0x2000 - 70, 72}, /* up to the hole */
        {10, DIFFERENTIAL_DATA + 0x1000 - 40, 42}, /* page to page */
        {8, DIFFERENTIAL_DATA + 0x3000, 0x1000},   /* read-only */
        {6, DIFFERENTIAL_DATA + 0x4000 - 40, 42},  /* read-only to writable */
        {4, DIFFERENTIAL_DATA - 40, 42},           /* from before the first */
        {3, DIFFERENTIAL_DATA + 0x3000 - 40, 42},  /* from the hole to read-only */
        {3, DIFFERENTIAL_DATA + 0x5000 - 40, 42},  /* past the last */
        {3, DIFFERENTIAL_CODE, 0x2000},            /* code as data */
        {1, DIFFERENTIAL_DATA + 0x2000, 0x1000},   /* the hole */
    };
    uint32_t roll = differential_below(random, 100);
    const struct place *place = places;
    while (roll >= place->percent) {
        roll -= place->percent;
        place++;
    }
    uint32_t address = place->first + differential_below(random, place->bytes);
    static const uint32_t alignments[] = {1, 1, 4, 8, 16, 32, 32, 64};
    return address & ~(alignments[differential_below(random, 8)] - 1);
}

static uint64_t random_register(struct differential_random *random)
{
    return differential_chance(random, 50) ? differential_pointer(random)
                                           : differential_operand(random);
}

/* Single and double precision numbers where rounding, NaNs and denormals matter. */
static uint64_t random_float(struct differential_random *random)
{
    static const uint32_t singles[] = {0x00000000, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000,
                                       0xff800000, 0x7fc00000, 0x7f800001, 0x00000001, 0x807fffff,
                                       0x7f7fffff, 0x00800000, 0x4f000000, 0x40490fdb, 0x5f000000};
    static const uint64_t doubles[] = {0,
                                       UINT64_C(0x8000000000000000),
                                       UINT64_C(0x3ff0000000000000),
                                       UINT64_C(0x7ff0000000000000),
                                       UINT64_C(0x7ff8000000000000),
                                       UINT64_C(0x7ff0000000000001),
                                       UINT64_C(0x0000000000000001),
                                       UINT64_C(0x7fefffffffffffff),
                                       UINT64_C(0x0010000000000000),
                                       UINT64_C(0x41e0000000000000),
                                       UINT64_C(0xc3e0000000000000),
                                       UINT64_C(0x400921fb54442d18)};
    uint64_t bits = differential_bits(random);
    if ((bits & 1) != 0) {
        return doubles[(bits >> 8) % (sizeof(doubles) / sizeof(doubles[0]))];
    }
    uint32_t count = sizeof(singles) / sizeof(singles[0]);
    uint64_t low = singles[(bits >> 8) % count], high = singles[(bits >> 16) % count];
    return high << 32 | low;
}

static void random_vector(struct differential_random *random, uint8_t bytes[32])
{
    uint64_t words[4];
    uint32_t kind = differential_below(random, 4);
    for (unsigned int i = 0; i < 4; i++) {
        uint64_t bits = differential_bits(random);
        words[i] = kind == 0   ? bits
                   : kind == 1 ? (bits & UINT64_C(0x3f0000003f)) /* indices of gathers */
                               : random_float(random);
    }
    memcpy(bytes, words, 32);
}

static void random_extended(struct differential_random *random, uint8_t bytes[16])
{
    static const uint16_t exponents[] = {0x0000, 0x7fff, 0x8000, 0xffff, 0x3fff, 0xbfff, 0x4000,
                                         0x3ffe, 0x403e, 0x0001, 0x7ffe, 0x401e, 0x3f80};
    uint64_t mantissa = differential_bits(random), kind = differential_bits(random);
    uint16_t exponent = exponents[(kind >> 8) % (sizeof(exponents) / sizeof(exponents[0]))];
    if ((kind & 3) != 0) {
        mantissa |= UINT64_C(1) << 63;
    }
    if ((kind & 12) == 12) {
        mantissa &= UINT64_C(0xc000000000000000);
    }
    memcpy(bytes, &mantissa, 8);
    memcpy(bytes + 8, &exponent, 2);
}

/* FCW, FSW, abridged tags, registers; MXCSR. */
static void random_x87(struct differential_random *random, uint8_t x87[512])
{
    uint16_t control = 0x037f, status = 0;
    uint8_t tags = 0;
    uint32_t mxcsr = 0x1f80;
    memset(x87, 0, 512);
    if (differential_chance(random, 60)) {
        uint64_t bits = differential_bits(random);
        control = (uint16_t)(0x7f | (bits & 0x0f00));
        if (differential_chance(random, 30)) {
            control &= (uint16_t)(bits >> 16 | 0xffc0);
        }
        status = (uint16_t)(bits >> 32 & 0x7f00);
        status |= (uint16_t)(bits >> 48 & control & 0x3f); /* masked ones: nothing is pending */
        tags = (bits & 0x3000) == 0 ? (uint8_t)(bits >> 24) : 0xff;
        for (unsigned int i = 0; i < 8; i++) {
            random_extended(random, x87 + 32 + 16 * i);
        }
    }
    if (differential_chance(random, 40)) {
        uint64_t bits = differential_bits(random);
        mxcsr = 0x1f80 | (uint32_t)(bits & 0xe07f); /* RC, FZ, DAZ, and flags */
        if (differential_chance(random, 40)) {
            mxcsr &= (uint32_t)(bits >> 16) | 0xffffe07fu; /* some unmasked */
        }
    }
    memcpy(x87, &control, 2);
    memcpy(x87 + 2, &status, 2);
    x87[4] = tags;
    memcpy(x87 + DIFFERENTIAL_X87_MXCSR, &mxcsr, 4);
}

static uint64_t random_flags(struct differential_random *random)
{
    uint64_t flags = X86_FLAGS_ONE | X86_FLAGS_IF;
    flags |= differential_bits(random) & X86_FLAGS_ARITHMETIC;
    flags |= differential_chance(random, 15) ? X86_FLAGS_DF : 0;
    flags |= differential_chance(random, 5) ? X86_FLAGS_AC : 0;
    return flags;
}

/* Words that make sense as anything: pointers, edges, numbers. */
static void random_memory(struct differential_random *random, struct differential_memory *memory)
{
    memset(memory->code, 0xf4, sizeof(memory->code)); /* HLT: a fault for whoever goes astray */
    for (unsigned int page = 0; page < DIFFERENTIAL_DATA_PAGES; page++) {
        for (unsigned int at = 0; at < 4096; at += 8) {
            uint64_t bits = differential_bits(random);
            uint64_t word = bits;
            switch (bits & 15) {
            case 0:
            case 1:
                word = differential_pointer(random);
                break;
            case 2:
                word = differential_operand(random);
                break;
            case 3:
            case 4:
                word = random_float(random);
                break;
            default:
                break;
            }
            memcpy(&memory->data[page][at], &word, 8);
        }
    }
}

/* There are few of them, so that they need be made only once. */
#define MEMORIES 64

static const struct differential_memory *memory_of(uint64_t seed)
{
    static struct differential_memory memories[MEMORIES];
    static bool made[MEMORIES];
    unsigned int number = seed % MEMORIES;
    if (!made[number]) {
        struct differential_random random = {number};
        random_memory(&random, &memories[number]);
        made[number] = true;
    }
    return &memories[number];
}

void differential_start(const struct differential_case *what, struct differential_outcome *start)
{
    struct differential_random random = {what->seed ^ UINT64_C(0x5bd1e995c3a5f817)};
    struct differential_registers *registers = &start->registers;
    memset(registers, 0, sizeof(*registers));
    for (unsigned int i = 0; i < X86_GPR_COUNT; i++) {
        registers->gpr[i] = random_register(&random);
    }
    if (differential_chance(&random, 90)) {
        registers->gpr[X86_RSP] = differential_pointer(&random) & ~UINT64_C(7);
    }
    registers->rip = what->start;
    registers->rflags = random_flags(&random);
    registers->fs_base = differential_pointer(&random);
    registers->gs_base = differential_chance(&random, 90) ? differential_pointer(&random) : 0;
    for (unsigned int i = 0; i < 16; i++) {
        random_vector(&random, registers->ymm[i]);
    }
    random_x87(&random, registers->x87);
    if (what->is_32) {
        for (unsigned int i = 0; i < X86_GPR_COUNT; i++) {
            registers->gpr[i] = i < 8 ? (uint32_t)registers->gpr[i] : 0;
        }
        registers->fs_base = 0;
        registers->gs_base = 0;
    }
    for (unsigned int i = 0; i < 16; i++) {
        memcpy(registers->x87 + DIFFERENTIAL_X87_XMM + 16 * i, registers->ymm[i], 16);
    }
    start->memory = *memory_of(what->seed);
    memcpy((uint8_t *)start->memory.code + (what->start - DIFFERENTIAL_CODE), what->code,
           what->length);
    start->vector = DIFFERENTIAL_ENDED;
    start->error = 0;
    start->address = 0;
}

/* --- a vCPU's registers --- */

#define AT_COMPONENTS 512 /* of XSAVE's standard form */
#define AT_YMM_UPPER  576

void differential_load_registers(struct x86_state *state, const struct differential_registers *from)
{
    const uint64_t components = X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX;
    memcpy(state->gpr, from->gpr, sizeof(state->gpr));
    state->rip = from->rip;
    state->rflags = from->rflags;
    state->segment[X86_FS].base = from->fs_base;
    state->segment[X86_GS].base = from->gs_base;
    memset(state->xsave + AT_COMPONENTS, 0, 64);
    memcpy(state->xsave, from->x87, 512);
    memcpy(state->xsave + AT_COMPONENTS, &components, 8);
    for (unsigned int i = 0; i < 16; i++) {
        memcpy(state->xsave + AT_YMM_UPPER + 16 * i, from->ymm[i] + 16, 16);
    }
}

void differential_store_registers(const struct x86_state *state, struct differential_registers *to)
{
    memset(to, 0, sizeof(*to));
    memcpy(to->gpr, state->gpr, sizeof(to->gpr));
    to->rip = state->rip;
    to->rflags = state->rflags;
    to->fs_base = state->segment[X86_FS].base;
    to->gs_base = state->segment[X86_GS].base;
    memcpy(to->x87, state->xsave, 512);
    for (unsigned int i = 0; i < 16; i++) {
        memcpy(to->ymm[i], state->xsave + DIFFERENTIAL_X87_XMM + 16 * i, 16);
        memcpy(to->ymm[i] + 16, state->xsave + AT_YMM_UPPER + 16 * i, 16);
    }
}
