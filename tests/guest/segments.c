/*
 * Segment loads, far transfers, gates and returns, on descriptors made up at random.
 */
#include "case.h"

#ifndef CASES
#define CASES 40 /* for each instruction and level */
#endif

/* --- descriptors --- */

/* A code or data segment whose limit lets the handlers' stacks live with it. */
static uint64_t random_segment(uint32_t type, uint32_t dpl)
{
    uint32_t attributes = type | 0x10 | dpl << 5 | (once_in(8) ? 0 : PRESENT);
    attributes |= chance(2) << 14; /* D/B */
    if (IS_64 ? !once_in(4) : once_in(8)) {
        attributes |= 0x2000; /* L */
    }
    if (IS_64 && (attributes & 0x6000) == 0x6000 && !once_in(4)) {
        attributes &= ~0x4000u;
    }
    if ((type & 0xc) == 4) { /* expand-down */
        return descriptor(0, 0xfff, attributes);
    }
    uint32_t kind = chance(8);
    if (kind < 5) {
        return descriptor(0, 0xfffff, attributes | 0x8000);
    }
    return descriptor(0, kind < 7 || type < 8 ? 0xffff : 0x7fff, attributes);
}

static uint64_t random_system(uint32_t type, uint32_t dpl)
{
    uint32_t attributes = type | dpl << 5 | (once_in(8) ? 0 : PRESENT);
    bool is_gate = (type & 4) != 0;
    if (is_gate) {
        uint32_t selector = SECOND | chance(4);
        uint32_t parameters = chance(5);
        if (once_in(16)) {
            selector = chance(4);
        }
        return gate(ARRIVAL, selector, parameters, attributes);
    }
    return descriptor(LDT_TABLE, 0x20, attributes);
}

/* wanted: type that is most likely; -1: any. */
static uint64_t random_descriptor(int wanted, uint32_t dpl)
{
    if (once_in(3)) {
        dpl = chance(4);
    }
    if (wanted >= 0 && !once_in(3)) {
        return wanted < 16 ? random_system((uint32_t)wanted, dpl)
                           : random_segment((uint32_t)wanted - 16, dpl);
    }
    return once_in(4) ? random_system(chance(16), dpl) : random_segment(chance(16), dpl);
}

/* What the case did to its descriptors and pushed, in one line with the registers. */
static void print_outcome(const struct machine *machine)
{
    print_registers(machine);
    print_field(" d1 ", get(GDT_TABLE + FIRST + 5, 1));
    print_field(" d2 ", get(GDT_TABLE + SECOND + 5, 1));
    /* what a gate or call pushed; the level-0 stack holds the handler's own pushes too */
    print_field(" m", hash_memory(TEST_STACK - 0x80, TEST_STACK + 0x80) >> 32);
    print_field(" i", hash_memory(INNER_STACK + 0x400 - 0x80, INNER_STACK + 0x400) >> 32);
    print_field(" j", hash_memory(INNER_STACK + 0x800 - 0x80, INNER_STACK + 0x800) >> 32);
    print_field(" z", hash_memory(INNER_STACK - 0x20, INNER_STACK) >> 32);
    print("\n");
}

/* --- the instructions --- */

enum { ANY = -1, SEGMENT = 16 };
enum shape { LOADS, LOADS_MEMORY, FAR_DIRECT, FAR_MEMORY, RETURNS, INTERRUPT_RETURNS, VECTOR };
enum { ONLY_32 = 1, ONLY_64 = 2 };

struct operation {
    const char *name;
    enum shape shape;
    uint8_t length;
    uint8_t bytes[9]; /* a memory operand is [OPERAND] by SIB and disp32, put in place */
    uint8_t size;     /* of the far pointer's offset or of a return's slots */
    uint8_t release;  /* RET's immediate */
    int type;         /* of FIRST, most likely */
    unsigned int only;
};

static const struct operation operations[] = {
    {"mov-ds", LOADS, 2, {0x8e, 0xd8}, 0, 0, SEGMENT + 2, 0},
    {"mov-es", LOADS, 2, {0x8e, 0xc0}, 0, 0, ANY, 0},
    {"mov-fs", LOADS, 2, {0x8e, 0xe0}, 0, 0, SEGMENT + 12, 0},
    {"mov-gs", LOADS, 2, {0x8e, 0xe8}, 0, 0, SEGMENT, 0},
    {"mov-ss", LOADS, 2, {0x8e, 0xd0}, 0, 0, SEGMENT + 2, 0},
    {"lar", LOADS, 3, {0x0f, 0x02, 0xc8}, 0, 0, ANY, 0},
    {"lar16", LOADS, 4, {0x66, 0x0f, 0x02, 0xc8}, 0, 0, ANY, 0},
    {"lsl", LOADS, 3, {0x0f, 0x03, 0xc8}, 0, 0, ANY, 0},
    {"verr", LOADS, 3, {0x0f, 0x00, 0xe0}, 0, 0, ANY, 0},
    {"verw", LOADS, 3, {0x0f, 0x00, 0xe8}, 0, 0, ANY, 0},
    {"lldt-sldt", LOADS, 6, {0x0f, 0x00, 0xd0, 0x0f, 0x00, 0xc1}, 0, 0, 2, 0},
    {"ltr-str", LOADS, 6, {0x0f, 0x00, 0xd8, 0x0f, 0x00, 0xc9}, 0, 0, 9, 0},
    {"arpl", LOADS, 2, {0x63, 0xd8}, 0, 0, ANY, ONLY_32},
    {"push-pop-ds", LOADS, 4, {0x50, 0x1f, 0x1e, 0x59}, 0, 0, SEGMENT + 2, ONLY_32},
    {"push-pop-ss", LOADS, 2, {0x50, 0x17}, 0, 0, SEGMENT + 2, ONLY_32},
    {"push-pop-fs", LOADS, 6, {0x50, 0x0f, 0xa1, 0x0f, 0xa0, 0x59}, 0, 0, SEGMENT + 2, 0},
    {"lss", LOADS_MEMORY, 4, {0x0f, 0xb2, 0x0c, 0x25}, 4, 0, SEGMENT + 2, 0},
    {"lfs", LOADS_MEMORY, 4, {0x0f, 0xb4, 0x0c, 0x25}, 4, 0, SEGMENT + 2, 0},
    {"lgs16", LOADS_MEMORY, 5, {0x66, 0x0f, 0xb5, 0x0c, 0x25}, 2, 0, SEGMENT + 2, 0},
    {"lgs64", LOADS_MEMORY, 5, {0x48, 0x0f, 0xb5, 0x0c, 0x25}, 8, 0, SEGMENT + 2, ONLY_64},
    {"les", LOADS_MEMORY, 3, {0xc4, 0x0c, 0x25}, 4, 0, ANY, ONLY_32},
    {"jmp-far", FAR_DIRECT, 1, {0xea}, 4, 0, SEGMENT + 10, ONLY_32},
    {"call-far", FAR_DIRECT, 1, {0x9a}, 4, 0, SEGMENT + 10, ONLY_32},
    {"jmp-mem", FAR_MEMORY, 3, {0xff, 0x2c, 0x25}, 4, 0, SEGMENT + 14, 0},
    {"jmp-mem16", FAR_MEMORY, 4, {0x66, 0xff, 0x2c, 0x25}, 2, 0, SEGMENT + 10, 0},
    {"jmp-mem64", FAR_MEMORY, 4, {0x48, 0xff, 0x2c, 0x25}, 8, 0, SEGMENT + 10, ONLY_64},
    {"call-mem", FAR_MEMORY, 3, {0xff, 0x1c, 0x25}, 4, 0, SEGMENT + 10, 0},
    {"call-mem16", FAR_MEMORY, 4, {0x66, 0xff, 0x1c, 0x25}, 2, 0, SEGMENT + 10, 0},
    {"call-mem64", FAR_MEMORY, 4, {0x48, 0xff, 0x1c, 0x25}, 8, 0, SEGMENT + 10, ONLY_64},
    {"jmp-gate", FAR_MEMORY, 3, {0xff, 0x2c, 0x25}, 4, 0, 12, 0},
    {"call-gate", FAR_MEMORY, 3, {0xff, 0x1c, 0x25}, 4, 0, 12, 0},
    {"call-gate16", FAR_MEMORY, 3, {0xff, 0x1c, 0x25}, 4, 0, 4, 0},
    {"ret", RETURNS, 1, {0xcb}, 4, 0, SEGMENT + 10, 0},
    {"ret-imm", RETURNS, 3, {0xca, 0x08, 0x00}, 4, 8, SEGMENT + 14, 0},
    {"ret16", RETURNS, 2, {0x66, 0xcb}, 2, 0, SEGMENT + 10, 0},
    {"ret64", RETURNS, 2, {0x48, 0xcb}, 8, 0, SEGMENT + 10, ONLY_64},
    {"iret", INTERRUPT_RETURNS, 1, {0xcf}, 4, 0, SEGMENT + 10, 0},
    {"iret16", INTERRUPT_RETURNS, 2, {0x66, 0xcf}, 2, 0, SEGMENT + 10, 0},
    {"iret64", INTERRUPT_RETURNS, 2, {0x48, 0xcf}, 8, 0, SEGMENT + 10, ONLY_64},
    {"int-gate", VECTOR, 2, {0xcd, 0x70}, 0, 0, SEGMENT + 10, 0},
    {"int-conforming", VECTOR, 2, {0xcd, 0x70}, 0, 0, SEGMENT + 14, 0},
};

/* What RET and IRET find on the stack: always with an outer stack, whether it is used or not. */
static void fill_return(const struct operation *operation, uint32_t selector,
                        struct machine *machine)
{
    unsigned int size = operation->size;
    word at = TEST_STACK - 0x40;
    machine->stack = at;
    put(at, ARRIVAL, size);
    put(at + size, selector, size);
    at += 2 * size + operation->release;
    if (operation->shape == INTERRUPT_RETURNS) {
        /* never TF, NT, VM */
        uint64_t flags = (chance(0x400000) & ~(uint64_t)0x24100) | 2;
        put(at, flags, size);
        at += size;
    }
    uint32_t rpl = once_in(6) ? chance(4) : selector & 3;
    uint32_t stack = once_in(8) ? chance(4) : SECOND | rpl;
    put(at, OUTER_STACK, size);
    put(at + size, stack, size);
}

static void fill_operand(const struct operation *operation, uint32_t selector)
{
    word at = CASE_CODE + operation->length;
    switch (operation->shape) {
    case FAR_DIRECT:
        put(at, ARRIVAL, 4);
        put(at + 4, selector, 2);
        break;
    case LOADS_MEMORY:
    case FAR_MEMORY:
        put(at, OPERAND, 4);
        put(OPERAND, ARRIVAL, operation->size);
        put(OPERAND + operation->size, selector, 2);
        break;
    default:
        put(at, 0x61cd, 2);
        return;
    }
    put(at + (operation->shape == FAR_DIRECT ? 6 : 4), 0x61cd, 2);
}

/* The level that the descriptor should have for the instruction to work, most of the time. */
static uint32_t likely_level(const struct operation *operation, uint32_t level)
{
    switch (operation->shape) {
    case RETURNS:
    case INTERRUPT_RETURNS:
        return level + chance(4 - level);
    case VECTOR:
        return chance(level + 1);
    default:
        return level;
    }
}

static uint32_t random_selector(uint32_t wanted)
{
    if (once_in(24)) {
        return once_in(2) ? chance(4) : GDT_END | chance(8);
    }
    uint32_t rpl = once_in(4) ? chance(4) : wanted;
    return once_in(10) ? (8 | 4 | rpl) : (FIRST | rpl);
}

/* The two descriptors of a case; the first is what the selector names, the second a stack segment
 * or what a gate leads to. */
static void make_descriptors(const struct operation *operation, uint32_t level, uint32_t wanted)
{
    bool is_gate = operation->type == 4 || operation->type == 12;
    uint64_t first = random_descriptor(operation->type, wanted);
    uint32_t gate_level = chance(level + 1);
    int gate_type = SEGMENT + (once_in(3) ? 14 : 10);
    uint64_t second =
        random_descriptor(is_gate ? gate_type : SEGMENT + 2, is_gate ? gate_level : wanted);
    put(GDT_TABLE + FIRST, first, 8);
    put(GDT_TABLE + SECOND, second, 8);
    put(LDT_TABLE + 8, first, 8);
    put(LDT_TABLE + 16, 0, 8);
    if (IS_64 && once_in(16)) {
        put(GDT_TABLE + FIRST + 12, chance(0x2000), 4); /* an upper half that is not zero */
    }
}

/* INT 70h goes through this one. */
static uint64_t make_vector_gate(uint32_t selector)
{
    uint32_t type = once_in(6) ? chance(16) : 14 + chance(2);
    if (!IS_64 && once_in(3)) {
        type = 6 + chance(2);
    }
    uint32_t dpl = once_in(4) ? chance(4) : 3;
    uint32_t ist = IS_64 ? chance(2) : 0;
    uint32_t present = once_in(10) ? 0 : PRESENT;
    uint64_t raw = gate(ARRIVAL, selector, ist, type | dpl << 5 | present);
    set_vector(0x70, raw);
    return raw;
}

static void print_case(const struct operation *operation, uint32_t level, uint32_t selector,
                       uint64_t vector_gate)
{
    print(operation->name);
    print_field(" l", level);
    print_field(" s", selector);
    print_field(" ", get(GDT_TABLE + FIRST, 8));
    print_field(" ", get(GDT_TABLE + SECOND, 8));
    if (vector_gate != 0) {
        print_field(" g", vector_gate);
    }
}

static void run_operation(const struct operation *operation, uint32_t level)
{
    set_up();
    uint32_t wanted = likely_level(operation, level);
    uint32_t selector = random_selector(wanted);
    make_descriptors(operation, level, wanted);
    for (unsigned int i = 0; i < operation->length; i++) {
        put(CASE_CODE + i, operation->bytes[i], 1);
    }
    fill_operand(operation, selector);
    struct machine machine = {.stack = TEST_STACK,
                              .code = CASE_CODE,
                              .level = level,
                              .flags = 2 | chance(4) << 12,
                              .operand = selector};
    if (operation->shape == RETURNS || operation->shape == INTERRUPT_RETURNS) {
        fill_return(operation, selector, &machine);
    }
    uint64_t vector_gate = operation->shape == VECTOR ? make_vector_gate(selector) : 0;
    print_case(operation, level, selector, vector_gate);
    run_case(&machine);
    print_outcome(&machine);
}

void guest_main(void)
{
    for (unsigned int i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        const struct operation *operation = &operations[i];
        if (operation->only == (IS_64 ? ONLY_32 : ONLY_64)) {
            continue;
        }
        for (uint32_t level = 0; level < 4; level++) {
            for (unsigned int n = 0; n < CASES; n++) {
                run_operation(operation, level);
            }
        }
    }
}
