/* Code that changes itself: what comes next, later, or the next time round. */
#include <string.h>

#include "program_pieces.h"

/* A place in the code that can be overwritten, with what. */
struct victim {
    unsigned int at, size; /* offset in to->code; bytes */
    uint32_t value;
};

static struct victim put_victim(struct program_maker *maker)
{
    struct program *to = maker->to;
    unsigned int number = program_below(maker, 8);
    struct victim victim = {.size = 1};
    switch (program_below(maker, 4)) {
    case 0: /* INC becomes DEC */
        program_put_operation(maker, 0xffc0 | number);
        victim.at = to->length - 1u;
        victim.value = 0xc8 | number;
        break;
    case 1: /* a jump to the next instruction becomes one over it */
        program_put_operation(maker, 0xeb00);
        victim.at = to->length - 1u;
        program_simple(maker, NULL);
        victim.value = to->length - victim.at - 1;
        break;
    default:
        program_load(maker, number == X86_RSP ? X86_RBX : number, program_below(maker, 0x7fffffff));
        victim.size = program_chance(maker, 70) ? 4 : 1;
        victim.at = to->length - 4u + (victim.size == 1 ? program_below(maker, 4) : 0);
        victim.value = program_below(maker, 0x7fffffff);
        break;
    }
    return victim;
}

/* The store: where the field is that settles its address, relative to where it ends or absolute. */
struct store {
    unsigned int field, end;
    bool is_absolute, through_alias;
};

/* STOS: the address is loaded before. */
static struct store put_string_store(struct program_maker *maker, unsigned int size)
{
    struct store store = {.is_absolute = true, .through_alias = program_chance(maker, 25)};
    program_encode(maker, &(struct program_encoding){.opcode = 0x8b, .size = 4, .reg = X86_RAX},
                   &(struct program_operand){.number = X86_RDX});
    program_load(maker, X86_RDI, PROGRAM_CODE);
    store.field = maker->to->length - 4u;
    program_put_operation(maker, 0xfc); /* CLD */
    program_put_operation(maker, size == 1 ? 0xaa : 0xab);
    return store;
}

/* By a number, or by RDX in one way or other. */
static struct store put_store(struct program_maker *maker, unsigned int size, uint32_t value)
{
    const struct program_operand somewhere = program_linear(PROGRAM_CODE);
    struct program_encoding encoding = {.size = (uint8_t)size, .reg = X86_RDX};
    unsigned int wide = size == 1 ? 0 : 1, roll = program_below(maker, 10);
    program_load(maker, X86_RDX, value);
    if (roll == 0) {
        return put_string_store(maker, size);
    }
    if (roll == 1 && size == 4) { /* MOVD XMM2, EDX; MOVD m, XMM2 */
        encoding = (struct program_encoding){.map = 1, .opcode = 0x6e, .size = 2, .reg = X86_RDX};
        program_encode(maker, &encoding, &(struct program_operand){.number = X86_RDX});
        encoding.opcode = 0x7e;
    } else if (roll == 2 && size == 4) { /* MOVNTI */
        encoding.map = 1;
        encoding.opcode = 0xc3;
    } else if (roll < 4) { /* XCHG */
        encoding.opcode = (uint8_t)(0x86 + wide);
    } else if (roll < 7) { /* MOV */
        encoding.opcode = (uint8_t)(0x88 + wide);
    } else {
        encoding = (struct program_encoding){.size = (uint8_t)size,
                                             .opcode = (uint8_t)(0xc6 + wide),
                                             .reg_is_digit = true,
                                             .immediate_size = (uint8_t)size,
                                             .immediate = value};
    }
    unsigned int immediate = program_encode(maker, &encoding, &somewhere);
    return (struct store){.field = immediate - 4,
                          .end = maker->to->length,
                          .through_alias = program_chance(maker, 25)};
}

static void aim(struct program_maker *maker, const struct store *store, unsigned int at)
{
    struct program *to = maker->to;
    uint32_t offset = to->start + at, address = PROGRAM_CODE + offset;
    if (store->through_alias && offset < 0x2000) {
        address = PROGRAM_CODE_ALIAS + offset;
    }
    if (!to->is_32 && !store->is_absolute) {
        address -= PROGRAM_CODE + to->start + store->end;
    }
    memcpy(to->code + store->field, &address, 4);
}

void program_modify(struct program_maker *maker)
{
    struct victim victim;
    struct store store;
    unsigned int head = maker->to->length;
    if (program_chance(maker, 35)) { /* earlier: the next time round */
        victim = put_victim(maker);
        program_some_simple(maker);
        store = put_store(maker, victim.size, victim.value);
        aim(maker, &store, victim.at);
        program_go_back(maker, head);
        return;
    }
    /* Later, perhaps the next one. */
    store = put_store(maker, program_chance(maker, 50) ? 4 : 1, program_below(maker, 0x7fffffff));
    unsigned int between = program_chance(maker, 50) ? 0 : program_below(maker, 4);
    while (between-- > 0) {
        program_simple(maker, NULL);
    }
    program_load(maker, program_register_but_rsp(maker), program_below(maker, 0x7fffffff));
    aim(maker, &store, maker->to->length - 4u);
}
