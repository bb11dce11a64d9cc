/*
 * Who may see and change which flag: PUSHF, POPF, CLI, STI, IRET, INT at every level, IOPL and with
 * virtual interrupts; single steps; virtual-8086 mode.
 */
#include "case.h"

#ifndef CASES
#define CASES 64 /* for each instruction and level */
#endif

#define LEVELS                   (IS_64 ? 4u : 5u)
#define VIRTUAL                  4u /* the level that stands for virtual-8086 mode */
#define VECTOR                   0x70
#define PORT                     0x80
#define PARAGRAPH                0x40 /* a code segment for far transfers */
#define FLAGS_TF                 0x100u
#define FLAGS_IF                 0x200u
#define FLAGS_IOPL               0x3000u
#define FLAGS_NT                 0x4000u
#define FLAGS_RF                 0x10000u
#define FLAGS_VIRTUAL_INTERRUPTS 0x180000u

enum shape { PLAIN, POPS, RETURNS, FAR, PORTS };
enum { BOTH, ONLY_32, NOT_AT_0, ONLY_VIRTUAL };

struct operation {
    const char *name;
    enum shape shape;
    uint8_t length;
    uint8_t bytes[8];
    unsigned int where;
};

static const struct operation operations[] = {
    {"pushf", PLAIN, 1, {0x9c}, BOTH},
    {"pushf-other", PLAIN, 2, {0x66, 0x9c}, BOTH},
    {"popf", POPS, 1, {0x9d}, BOTH},
    {"popf-other", POPS, 2, {0x66, 0x9d}, BOTH},
    {"cli", PLAIN, 1, {0xfa}, BOTH},
    {"sti", PLAIN, 1, {0xfb}, BOTH},
    {"cli-sti", PLAIN, 2, {0xfa, 0xfb}, BOTH},
    {"iret", RETURNS, 1, {0xcf}, BOTH},
    {"iret-other", RETURNS, 2, {0x66, 0xcf}, BOTH},
    {"int", PLAIN, 2, {0xcd, VECTOR}, BOTH},
    {"int3", PLAIN, 1, {0xcc}, BOTH},
    {"int1", PLAIN, 1, {0xf1}, BOTH},
    {"into", PLAIN, 1, {0xce}, ONLY_32},
    {"hlt", PLAIN, 1, {0xf4}, NOT_AT_0},
    {"out", PORTS, 2, {0xe6, PORT}, BOTH},
    {"mov-ss-steps", PLAIN, 5, {0x8c, 0xd0, 0x8e, 0xd0, 0x90}, BOTH},
    {"ud2", PLAIN, 2, {0x0f, 0x0b}, BOTH},
    {"mov-es", PLAIN, 2, {0x8e, 0xc0}, ONLY_VIRTUAL},
    {"pop-fs", POPS, 2, {0x0f, 0xa1}, ONLY_VIRTUAL},
    {"jmp-far", FAR, 1, {0xea}, ONLY_VIRTUAL},
    {"call-far", FAR, 1, {0x9a}, ONLY_VIRTUAL},
    {"ret-far", RETURNS, 1, {0xcb}, ONLY_VIRTUAL},
    {"lar", PLAIN, 3, {0x0f, 0x02, 0xc8}, ONLY_VIRTUAL},
    {"verw", PLAIN, 3, {0x0f, 0x00, 0xe8}, ONLY_VIRTUAL},
    {"arpl", PLAIN, 2, {0x63, 0xd8}, ONLY_VIRTUAL},
    {"sldt", PLAIN, 3, {0x0f, 0x00, 0xc1}, ONLY_VIRTUAL},
    {"ltr", PLAIN, 3, {0x0f, 0x00, 0xd8}, ONLY_VIRTUAL},
    {"lgdt", PLAIN, 4, {0x0f, 0x01, 0x16, 0x00}, ONLY_VIRTUAL},
};

static word read_cr4(void)
{
    word value;
    __asm__ volatile("mov %%cr4, %0" : "=r"(value));
    return value;
}

static void write_cr4(word value)
{
    __asm__ volatile("mov %0, %%cr4" : : "r"(value));
}

/* VME and PVI at random. */
static uint32_t choose_extensions(void)
{
    uint32_t extensions = chance(4);
    write_cr4((read_cr4() & ~(word)3) | extensions);
    return extensions;
}

static bool is_other_size(const struct operation *operation)
{
    return operation->bytes[0] == 0x66;
}

static unsigned int operand_size(const struct operation *operation, uint32_t level)
{
    if (level == VIRTUAL) {
        return is_other_size(operation) ? 4 : 2;
    }
    if (is_other_size(operation)) {
        return 2;
    }
    return IS_64 && operation->shape == POPS ? 8 : 4;
}

/* Any flags but those that would end in another task, now and then. */
static uint32_t random_image(void)
{
    uint32_t image = chance(0x400000);
    if (!once_in(4)) {
        image &= ~FLAGS_TF;
    }
    if (!once_in(8)) {
        image &= ~(uint32_t)FLAGS_VM;
    }
    return image;
}

static void fill_stack(const struct operation *operation, uint32_t level, uint32_t image,
                       struct machine *machine)
{
    unsigned int size = operand_size(operation, level);
    word at = TEST_STACK - 0x40;
    machine->stack = at;
    if (operation->shape == POPS) {
        put(at, image, size);
        return;
    }
    put(at, ARRIVAL, size);
    put(at + size, level == VIRTUAL ? 0u : (uint32_t)CODE(level), size);
    put(at + 2 * size, image, size);
    put(at + 3 * size, OUTER_STACK, size);
    put(at + 4 * size, level == VIRTUAL ? 0u : (uint32_t)DATA(level), size);
}

/* NOP, then INT3, which every level and IOPL may execute: a single step has something to trap. */
static void put_end(word at)
{
    put(at, 0xcc90, 2);
}

static void fill_code(const struct operation *operation)
{
    for (unsigned int i = 0; i < operation->length; i++) {
        put(CASE_CODE + i, operation->bytes[i], 1);
    }
    word at = CASE_CODE + operation->length;
    if (operation->shape == FAR) {
        put(at, ARRIVAL, 2);
        put(at + 2, PARAGRAPH, 2);
        at += 4;
    }
    put_end(at);
    put_end(ARRIVAL);
    put_end(ARRIVAL + 16 * PARAGRAPH);
    put_end(ARRIVAL + 16 * CODE(0)); /* where IRET to virtual-8086 mode ends up */
    put(4 * VECTOR, ARRIVAL, 4);
}

static uint32_t starting_flags(const struct operation *operation, uint32_t level)
{
    uint32_t flags =
        2 | (chance(0x400000) & (0x240cd5u | FLAGS_IF | FLAGS_IOPL | FLAGS_VIRTUAL_INTERRUPTS));
    if (once_in(6)) {
        flags |= FLAGS_TF;
    }
    if (once_in(8)) {
        flags |= FLAGS_RF;
    }
    if (operation->shape == RETURNS && level != VIRTUAL && once_in(8)) {
        flags |= FLAGS_NT;
    }
    return level == VIRTUAL ? flags | FLAGS_VM : flags;
}

static void run_operation(const struct operation *operation, uint32_t level)
{
    set_up();
    fill_code(operation);
    uint32_t extensions = choose_extensions();
    uint32_t image = random_image();
    uint32_t redirection = chance(2);
    uint32_t denied = chance(2);
    put(TSS_TABLE + IO_MAP - 32 + VECTOR / 8, redirection << VECTOR % 8, 1);
    put(TSS_TABLE + IO_MAP + PORT / 8, denied << PORT % 8, 1);
    struct machine machine = {
        .stack = TEST_STACK, .code = CASE_CODE, .level = level == VIRTUAL ? 3 : level};
    machine.flags = starting_flags(operation, level);
    machine.operand = chance(0x10000);
    if (operation->shape == POPS || operation->shape == RETURNS) {
        fill_stack(operation, level, image, &machine);
    }
    print(operation->name);
    print_field(" l", level);
    print_field(" s", machine.operand);
    print_field(" x", extensions);
    print_field(" r", redirection);
    print_field(" p", denied);
    print_field(" f", machine.flags);
    print_field(" m", image);
    run_case(&machine);
    print_registers(&machine);
    print_field(" m", hash_memory(TEST_STACK - 0x80, TEST_STACK + 0x80) >> 32);
    print("\n");
}

static bool applies(const struct operation *operation, uint32_t level)
{
    switch (operation->where) {
    case ONLY_32:
        return !IS_64;
    case NOT_AT_0:
        return level != 0;
    case ONLY_VIRTUAL:
        return level == VIRTUAL;
    default:
        return true;
    }
}

void guest_main(void)
{
    for (unsigned int i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        for (uint32_t level = 0; level < LEVELS; level++) {
            for (unsigned int n = 0; n < CASES && applies(&operations[i], level); n++) {
                run_operation(&operations[i], level);
            }
        }
    }
}
