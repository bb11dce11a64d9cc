/* Decisions, and random instructions as bytes. */
#include "program_emit.h"

#include <string.h>

#define ROOM_FOR_A_PIECE 400u

/* --- decisions --- */

uint64_t program_bits(struct program_maker *maker)
{
    uint64_t bits = 0;
    if (maker->bytes_left == 0) {
        return differential_bits(&maker->random);
    }
    for (unsigned int i = 0; i < 4 && maker->bytes_left > 0; i++) {
        bits = bits << 8 | *maker->bytes++;
        maker->bytes_left--;
    }
    struct differential_random spread = {bits};
    return differential_bits(&spread);
}

uint32_t program_below(struct program_maker *maker, uint32_t limit)
{
    if (maker->bytes_left > 0 && limit <= 256) {
        maker->bytes_left--;
        return *maker->bytes++ % limit;
    }
    return (uint32_t)((program_bits(maker) >> 32) * limit >> 32);
}

bool program_chance(struct program_maker *maker, uint32_t percent)
{
    return program_below(maker, 100) < percent;
}

uint8_t program_register(struct program_maker *maker)
{
    return (uint8_t)program_below(maker, maker->to->is_32 ? 8 : 16);
}

uint64_t program_number(struct program_maker *maker)
{
    struct differential_random random = {program_bits(maker)};
    return differential_operand(&random);
}

unsigned int program_size(struct program_maker *maker)
{
    static const uint8_t sizes[] = {1, 1, 2, 4, 4, 4, 8, 8, 8, 8};
    unsigned int size = sizes[program_below(maker, 10)];
    return size == 8 && maker->to->is_32 ? 4 : size;
}

/* A place and how many bytes of it, with how often of a hundred times. */
struct place {
    uint32_t percent, first, bytes;
};

uint32_t program_pointer(struct program_maker *maker)
{
    static const struct place places[] = {
        {26, PROGRAM_STACK, 0x2000},     {8, PROGRAM_STACK + 0x1000 - 40, 80},
        {4, PROGRAM_STACK_END - 40, 42}, {4, PROGRAM_STACK - 40, 80},
        {5, PROGRAM_DATA_ALIAS, 0x1000}, {2, PROGRAM_CODE_ALIAS, 0x2000},
        {3, PROGRAM_DEVICE, 0x1000},     {3, PROGRAM_DEVICE - 40, 80},
        {3, PROGRAM_OTHERS, 0x1000},     {2, PROGRAM_OTHERS - 40, 80},
    };
    if (program_chance(maker, 40)) {
        struct differential_random random = {program_bits(maker)};
        return differential_pointer(&random);
    }
    uint32_t roll = program_below(maker, 60);
    const struct place *place = places;
    while (roll >= place->percent) {
        roll -= place->percent;
        place++;
    }
    uint32_t address = place->first + program_below(maker, place->bytes);
    return program_chance(maker, 50) ? address & ~7u : address;
}

/* --- bytes --- */

bool program_has_room(const struct program_maker *maker)
{
    const struct program *to = maker->to;
    return to->length + ROOM_FOR_A_PIECE < PROGRAM_LENGTH_MAX &&
           to->start + to->length + ROOM_FOR_A_PIECE < PROGRAM_CODE_BYTES &&
           to->count + 64 < PROGRAM_INSTRUCTIONS_MAX;
}

void program_put(struct program_maker *maker, const void *bytes, unsigned int length)
{
    struct program *to = maker->to;
    memcpy(to->code + to->length, bytes, length);
    to->length = (uint16_t)(to->length + length);
}

void program_end_instruction(struct program_maker *maker)
{
    struct program *to = maker->to;
    to->instructions[to->count++] = (uint8_t)(to->length - maker->ended);
    maker->ended = to->length;
}

void program_instruction(struct program_maker *maker, const void *bytes, unsigned int length)
{
    program_put(maker, bytes, length);
    program_end_instruction(maker);
}

void program_load(struct program_maker *maker, unsigned int number, uint64_t value)
{
    uint8_t bytes[10];
    unsigned int n = 0;
    bool wide = value > UINT32_MAX && !maker->to->is_32;
    if (number >= 8 || wide) {
        bytes[n++] = (uint8_t)(0x40 | (wide ? 8 : 0) | (number >= 8 ? 1 : 0));
    }
    bytes[n++] = (uint8_t)(0xb8 | (number & 7));
    memcpy(bytes + n, &value, wide ? 8 : 4);
    program_instruction(maker, bytes, n + (wide ? 8 : 4));
}

/* ModRM, SIB and displacement; `behind`: bytes of the instruction that follow them. */
static void put_operand(struct program_maker *maker, unsigned int reg,
                        const struct program_operand *operand, unsigned int behind)
{
    uint8_t bytes[6];
    unsigned int n = 0, mod = 2;
    int32_t displacement = operand->displacement;
    reg = (reg & 7) << 3;
    if (!operand->is_memory) {
        bytes[n++] = (uint8_t)(0xc0 | reg | (operand->number & 7));
        program_put(maker, bytes, n);
        return;
    }
    if (operand->base == X86_REGISTER_RIP) {
        bytes[n++] = (uint8_t)(reg | 5);
        if (!maker->to->is_32) {
            displacement -= (int32_t)(program_here(maker) + 5 + behind);
        }
        memcpy(bytes + n, &displacement, 4);
        program_put(maker, bytes, n + 4);
        return;
    }
    bool none = operand->base == X86_REGISTER_NONE, sib = none || operand->index < 16;
    sib |= !none && (operand->base & 7) == X86_RSP;
    if (none) {
        mod = 0;
    } else if (displacement == 0 && (operand->base & 7) != X86_RBP) {
        mod = 0;
    } else if (displacement >= -128 && displacement < 128) {
        mod = 1;
    }
    bytes[n++] = (uint8_t)(mod << 6 | reg | (sib ? 4u : operand->base & 7u));
    if (sib) {
        unsigned int index = operand->index < 16 ? operand->index & 7u : 4u;
        bytes[n++] = (uint8_t)((unsigned int)operand->scale << 6 | index << 3 |
                               (none ? 5u : operand->base & 7u));
    }
    unsigned int size = none || mod == 2 ? 4 : mod;
    memcpy(bytes + n, &displacement, 4);
    program_put(maker, bytes, n + size);
}

static unsigned int rex_of(const struct program_encoding *encoding,
                           const struct program_operand *operand)
{
    unsigned int rex = encoding->size == 8 && !encoding->is_64_anyway ? 0x48 : 0;
    if (!encoding->reg_is_digit && encoding->reg >= 8) {
        rex |= 0x44;
    }
    if (!operand->is_memory) {
        return operand->number >= 8 ? rex | 0x41 : rex;
    }
    if (operand->base >= 8 && operand->base < 16) {
        rex |= 0x41;
    }
    if (operand->index >= 8 && operand->index < 16) {
        rex |= 0x42;
    }
    return rex;
}

unsigned int program_encode(struct program_maker *maker, const struct program_encoding *encoding,
                            const struct program_operand *operand)
{
    uint8_t bytes[5];
    unsigned int n = 0, rex = rex_of(encoding, operand);
    if (encoding->lock) {
        bytes[n++] = 0xf0;
    }
    if (encoding->size == 2) {
        bytes[n++] = 0x66;
    }
    /* Without REX, byte registers 4 to 7 are the second bytes of the first four. */
    if (!maker->to->is_32 && (rex != 0 || program_chance(maker, 15))) {
        bytes[n++] = (uint8_t)(0x40 | rex);
    }
    if (encoding->map != 0) {
        bytes[n++] = 0x0f;
    }
    bytes[n++] = encoding->opcode;
    program_put(maker, bytes, n);
    put_operand(maker, encoding->reg, operand, encoding->immediate_size);
    unsigned int at = maker->to->length;
    program_put(maker, &encoding->immediate, encoding->immediate_size);
    program_end_instruction(maker);
    return at;
}

struct program_operand program_linear(uint32_t address)
{
    return (struct program_operand){.is_memory = true,
                                    .base = X86_REGISTER_RIP,
                                    .index = X86_REGISTER_NONE,
                                    .displacement = (int32_t)address};
}

struct program_operand program_memory(struct program_maker *maker)
{
    struct program_operand operand = {.is_memory = true, .index = X86_REGISTER_NONE};
    uint32_t roll = program_below(maker, 100);
    if (roll < 12) {
        return program_linear(program_pointer(maker));
    }
    if (roll < 16) {
        operand.base = X86_REGISTER_NONE;
        operand.displacement = (int32_t)program_pointer(maker);
        return operand;
    }
    operand.base = roll < 35 ? X86_RSP : program_register(maker);
    operand.displacement = (int32_t)program_below(maker, 256) - 128;
    if (program_chance(maker, 15)) {
        operand.displacement = (int32_t)program_below(maker, 0x3000) - 0x1800;
    } else if (program_chance(maker, 30)) {
        operand.displacement = 0;
    }
    if (program_chance(maker, 20)) {
        uint8_t index = program_register(maker);
        operand.index = index == X86_RSP ? X86_REGISTER_NONE : index;
        operand.scale = operand.index == X86_REGISTER_NONE ? 0 : (uint8_t)program_below(maker, 4);
    }
    return operand;
}

/* --- one random integer instruction --- */

/* What ModRM.rm may be. */
enum where { ANYWHERE, IN_MEMORY, IN_REGISTER };

/* What follows. */
enum immediate { NOTHING, ONE_BYTE, OPERAND_SIZE };

struct shape {
    uint8_t weight, map, opcode;
    uint8_t variants;         /* the opcode may have 0 … this added, by `step` */
    uint8_t step;             /* … */
    bool has_bytes;           /* bit 0 of the opcode tells bytes from the rest */
    int8_t digit;             /* the first digit, -1: ModRM.reg is a register */
    uint8_t digits;           /* how many digits beyond it */
    enum immediate immediate; /* … */
    enum where where;
    bool lockable, is_stack; /* with memory; always of the stack's width, or 16 bits */
};

static const struct shape shapes[] = {
    {20, 0, 0x01, 7, 8, true, -1, 0, NOTHING, ANYWHERE, true, false},       /* ADD … CMP rm, r */
    {20, 0, 0x03, 7, 8, true, -1, 0, NOTHING, ANYWHERE, false, false},      /* … r, rm */
    {12, 0, 0x81, 0, 0, true, 0, 7, OPERAND_SIZE, ANYWHERE, true, false},   /* … rm, n */
    {8, 0, 0x83, 0, 0, false, 0, 7, ONE_BYTE, ANYWHERE, true, false},       /* … rm, small n */
    {5, 0, 0x85, 0, 0, true, -1, 0, NOTHING, ANYWHERE, false, false},       /* TEST */
    {5, 0, 0x87, 0, 0, true, -1, 0, NOTHING, ANYWHERE, true, false},        /* XCHG */
    {18, 0, 0x89, 0, 0, true, -1, 0, NOTHING, ANYWHERE, false, false},      /* MOV rm, r */
    {22, 0, 0x8b, 0, 0, true, -1, 0, NOTHING, ANYWHERE, false, false},      /* MOV r, rm */
    {8, 0, 0xc7, 0, 0, true, 0, 0, OPERAND_SIZE, ANYWHERE, false, false},   /* MOV rm, n */
    {10, 0, 0x8d, 0, 0, false, -1, 0, NOTHING, IN_MEMORY, false, false},    /* LEA */
    {3, 0, 0xf7, 0, 0, true, 0, 0, OPERAND_SIZE, ANYWHERE, false, false},   /* TEST rm, n */
    {6, 0, 0xf7, 0, 0, true, 2, 1, NOTHING, ANYWHERE, true, false},         /* NOT, NEG */
    {4, 0, 0xf7, 0, 0, true, 4, 3, NOTHING, ANYWHERE, false, false},        /* MUL … IDIV */
    {10, 0, 0xff, 0, 0, true, 0, 1, NOTHING, ANYWHERE, true, false},        /* INC, DEC */
    {5, 0, 0xd1, 0, 0, true, 0, 7, NOTHING, ANYWHERE, false, false},        /* ROL … SAR by 1 */
    {6, 0, 0xd3, 0, 0, true, 0, 7, NOTHING, ANYWHERE, false, false},        /* … by CL */
    {8, 0, 0xc1, 0, 0, true, 0, 7, ONE_BYTE, ANYWHERE, false, false},       /* … by n */
    {3, 0, 0x69, 0, 0, false, -1, 0, OPERAND_SIZE, ANYWHERE, false, false}, /* IMUL r, rm, n */
    {4, 0, 0xff, 0, 0, false, 6, 0, NOTHING, ANYWHERE, false, true},        /* PUSH rm */
    {4, 0, 0x8f, 0, 0, false, 0, 0, NOTHING, ANYWHERE, false, true},        /* POP rm */
    {3, 1, 0xaf, 0, 0, false, -1, 0, NOTHING, ANYWHERE, false, false},      /* IMUL r, rm */
    {5, 1, 0xb6, 1, 8, false, -1, 0, NOTHING, ANYWHERE, false, false},  /* MOVZX, MOVSX of bytes */
    {4, 1, 0xb7, 1, 8, false, -1, 0, NOTHING, ANYWHERE, false, false},  /* … of words */
    {9, 1, 0x40, 15, 1, false, -1, 0, NOTHING, ANYWHERE, false, false}, /* CMOVcc */
    {9, 1, 0x90, 15, 1, false, 0, 7, NOTHING, ANYWHERE, false, false},  /* SETcc */
    {3, 1, 0xa3, 3, 8, false, -1, 0, NOTHING, IN_REGISTER, false, false}, /* BT … BTC */
    {2, 1, 0xa3, 0, 0, false, -1, 0, NOTHING, IN_MEMORY, false, false},   /* BT m, r: far away */
    {4, 1, 0xba, 0, 0, false, 4, 3, ONE_BYTE, ANYWHERE, false, false},    /* BT … BTC rm, n */
    {3, 1, 0xa4, 1, 8, false, -1, 0, ONE_BYTE, ANYWHERE, false, false},   /* SHLD, SHRD by n */
    {2, 1, 0xa5, 1, 8, false, -1, 0, NOTHING, ANYWHERE, false, false},    /* … by CL */
    {3, 1, 0xbc, 1, 1, false, -1, 0, NOTHING, ANYWHERE, false, false},    /* BSF, BSR */
    {4, 1, 0xb1, 0, 0, true, -1, 0, NOTHING, ANYWHERE, true, false},      /* CMPXCHG */
    {4, 1, 0xc1, 0, 0, true, -1, 0, NOTHING, ANYWHERE, true, false},      /* XADD */
    {1, 1, 0xc7, 0, 0, false, 1, 0, NOTHING, IN_MEMORY, true, false},     /* CMPXCHG8B, 16B */
};

static const struct shape *choose_shape(struct program_maker *maker)
{
    unsigned int total = 0;
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        total += shapes[i].weight;
    }
    uint32_t roll = program_below(maker, total);
    const struct shape *shape = shapes;
    while (roll >= shape->weight) {
        roll -= shape->weight;
        shape++;
    }
    return shape;
}

static void choose_immediate(struct program_maker *maker, const struct shape *shape,
                             struct program_encoding *encoding)
{
    if (shape->immediate == NOTHING) {
        return;
    }
    encoding->immediate = program_number(maker);
    encoding->immediate_size = 1;
    if (shape->immediate == OPERAND_SIZE) {
        encoding->immediate_size = encoding->size == 8 ? 4 : encoding->size;
    }
}

void program_simple(struct program_maker *maker, const struct program_operand *memory)
{
    const struct shape *shape = choose_shape(maker);
    while (memory != NULL && shape->where == IN_REGISTER) {
        shape = choose_shape(maker);
    }
    struct program_operand operand = {.number = program_register(maker)};
    if (memory != NULL) {
        operand = *memory;
    } else if (shape->where == IN_MEMORY ||
               (shape->where == ANYWHERE && program_chance(maker, 30))) {
        operand = program_memory(maker);
    }
    unsigned int size = program_size(maker), opcode = shape->opcode;
    opcode += shape->step * program_below(maker, shape->variants + 1u);
    if (shape->is_stack) {
        size = program_chance(maker, 10) ? 2 : maker->to->is_32 ? 4 : 8;
    } else if (size == 1 && !shape->has_bytes) {
        size = 4;
    } else if (size == 1) {
        opcode &= ~1u;
    }
    struct program_encoding encoding = {.map = shape->map,
                                        .opcode = (uint8_t)opcode,
                                        .size = (uint8_t)size,
                                        .is_64_anyway = shape->is_stack,
                                        .reg_is_digit = shape->digit >= 0};
    bool compares = (shape->map == 0 && opcode >= 0x38 && opcode < 0x40);
    encoding.reg =
        shape->digit < 0
            ? program_register(maker)
            : (uint8_t)((uint32_t)shape->digit + program_below(maker, shape->digits + 1u));
    compares |= shape->map == 0 && (opcode & 0xfc) == 0x80 && encoding.reg == 7;
    encoding.lock = operand.is_memory && shape->lockable && !compares && program_chance(maker, 10);
    choose_immediate(maker, shape, &encoding);
    program_encode(maker, &encoding, &operand);
}

void program_alu_immediate(struct program_maker *maker, unsigned int operation, unsigned int size,
                           unsigned int number, uint64_t value)
{
    struct program_encoding encoding = {.opcode = size == 1 ? 0x80 : 0x81,
                                        .size = (uint8_t)size,
                                        .reg = (uint8_t)operation,
                                        .reg_is_digit = true,
                                        .immediate_size = (uint8_t)(size == 8 ? 4 : size),
                                        .immediate = value};
    const struct program_operand operand = {.number = (uint8_t)number};
    program_encode(maker, &encoding, &operand);
}

/* --- small things --- */

void program_put_operation(struct program_maker *maker, unsigned int opcode)
{
    uint8_t bytes[3];
    unsigned int n = 0;
    for (unsigned int shift = 16; shift > 0; shift -= 8) {
        if (opcode >> shift != 0) {
            bytes[n++] = (uint8_t)(opcode >> shift);
        }
    }
    bytes[n++] = (uint8_t)opcode;
    program_instruction(maker, bytes, n);
}

/* A register that is no use as a stack pointer for what follows. */
uint8_t program_register_but_rsp(struct program_maker *maker)
{
    uint8_t number = program_register(maker);
    return number == X86_RSP ? (uint8_t)X86_RBX : number;
}

uint32_t program_stack_address(struct program_maker *maker)
{
    uint32_t address = PROGRAM_STACK + 0x800 + 8 * program_below(maker, 0x200);
    if (program_chance(maker, 20)) {
        address = PROGRAM_STACK + 0x1000 - 40 + program_below(maker, 80);
    }
    return program_chance(maker, 95) ? address : program_pointer(maker);
}
