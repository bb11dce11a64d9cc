/* Branches of all kinds. What goes back burns fuel, so that programs end. */
#include <string.h>

#include "program_pieces.h"

#define FUNCTIONS_MAX 8

#define CELL_COUNTDOWN (PROGRAM_FUEL)     /* counted down by DEC: used up when negative */
#define CELL_LEFT      (PROGRAM_FUEL + 8) /* counted down without flags: used up at zero */

/* A jump of 32 bits' distance, to be settled by land. Returns where its field ends. */
unsigned int program_jump(struct program_maker *maker, unsigned int opcode)
{
    uint8_t bytes[6] = {0x0f, (uint8_t)opcode};
    if (opcode > 0xff) {
        program_instruction(maker, bytes, 6);
    } else {
        program_instruction(maker, bytes + 1, 5);
    }
    return maker->to->length;
}

void program_land_at(struct program_maker *maker, unsigned int end, unsigned int target)
{
    uint32_t distance = target - end;
    memcpy(maker->to->code + end - 4, &distance, 4);
}

void program_land(struct program_maker *maker, unsigned int end)
{
    program_land_at(maker, end, maker->to->length);
}

/* Backwards, in two bytes where they do. */
static void jump_back(struct program_maker *maker, unsigned int opcode, unsigned int target)
{
    int32_t distance = (int32_t)target - (int32_t)(maker->to->length + 2u);
    if (distance >= -128 && program_chance(maker, 70)) {
        uint8_t bytes[2] = {(uint8_t)(opcode == PROGRAM_JUMP ? 0xeb : 0x70 | (opcode & 15)),
                            (uint8_t)distance};
        program_instruction(maker, bytes, 2);
        return;
    }
    program_land_at(maker, program_jump(maker, opcode), target);
}

/* --- fuel --- */

/* DEC of the cell: all flags but CF change. Returns the end of a jump that is taken when none is
 * left. */
static unsigned int burn(struct program_maker *maker)
{
    const struct program_operand cell = program_linear(CELL_COUNTDOWN);
    const struct program_encoding decrement = {
        .opcode = 0xff, .size = 4, .reg = 1, .reg_is_digit = true};
    program_encode(maker, &decrement, &cell);
    return program_jump(maker, PROGRAM_JCC(8));
}

/* Goes back to `head` without a change to any flag; RCX is lost. */
static void go_back_quietly(struct program_maker *maker, unsigned int head)
{
    const struct program_operand cell = program_linear(CELL_LEFT);
    const struct program_operand less = {
        .is_memory = true, .base = X86_RCX, .index = X86_REGISTER_NONE, .displacement = -1};
    const uint8_t skip[2] = {0xe3, 0};
    uint8_t size = maker->to->is_32 ? 4 : 8;
    program_encode(maker, &(struct program_encoding){.opcode = 0x8b, .size = size, .reg = X86_RCX},
                   &cell);
    program_instruction(maker, skip, 2);
    unsigned int from = maker->to->length;
    program_encode(maker, &(struct program_encoding){.opcode = 0x8d, .size = size, .reg = X86_RCX},
                   &less);
    program_encode(maker, &(struct program_encoding){.opcode = 0x89, .size = size, .reg = X86_RCX},
                   &cell);
    jump_back(maker, PROGRAM_JUMP, head);
    maker->to->code[from - 1] = (uint8_t)(maker->to->length - from);
}

void program_go_back(struct program_maker *maker, unsigned int head)
{
    unsigned int condition = program_below(maker, 16);
    if (program_chance(maker, 50)) {
        unsigned int out =
            program_chance(maker, 40) ? program_jump(maker, PROGRAM_JCC(condition)) : 0;
        go_back_quietly(maker, head);
        if (out != 0) {
            program_land(maker, out);
        }
        return;
    }
    const struct program_operand cell = program_linear(CELL_COUNTDOWN);
    const struct program_encoding decrement = {
        .opcode = 0xff, .size = 4, .reg = 1, .reg_is_digit = true};
    program_encode(maker, &decrement, &cell);
    jump_back(maker, PROGRAM_JCC(9), head);
}

/* --- branches forward, loops --- */

void program_skip_forward(struct program_maker *maker)
{
    unsigned int end = program_jump(
        maker, program_chance(maker, 85) ? PROGRAM_JCC(program_below(maker, 16)) : PROGRAM_JUMP);
    program_piece(maker);
    program_land(maker, end);
}

void program_loop(struct program_maker *maker)
{
    unsigned int count = 1 + program_below(maker, 3), head = maker->to->length;
    maker->depth++;
    while (count-- > 0 && program_has_room(maker)) {
        program_piece(maker);
    }
    maker->depth--;
    program_go_back(maker, head);
}

/* --- branches by register and memory --- */

static struct program_operand table_entry(struct program_maker *maker)
{
    return program_linear(PROGRAM_TABLE + 8 * program_below(maker, PROGRAM_TABLE_SIZE));
}

/* FF /2 CALL, /4 JMP */
static void branch_by(struct program_maker *maker, unsigned int digit,
                      const struct program_operand *operand)
{
    program_encode(maker,
                   &(struct program_encoding){.opcode = 0xff,
                                              .size = (uint8_t)PROGRAM_SLOT_SIZE(maker),
                                              .is_64_anyway = true,
                                              .reg = (uint8_t)digit,
                                              .reg_is_digit = true},
                   operand);
}

void program_branch_by_table(struct program_maker *maker)
{
    unsigned int out = burn(maker), digit = program_chance(maker, 70) ? 4 : 2;
    struct program_operand entry = table_entry(maker);
    struct program_operand target = {.number = program_register_but_rsp(maker)};
    switch (program_below(maker, 4)) {
    case 0:
        branch_by(maker, digit, &entry);
        break;
    case 1: /* with an index */
        program_load(maker, X86_RAX, program_below(maker, PROGRAM_TABLE_SIZE));
        entry = (struct program_operand){.is_memory = true,
                                         .base = X86_REGISTER_NONE,
                                         .index = X86_RAX,
                                         .scale = 3,
                                         .displacement = PROGRAM_TABLE};
        branch_by(maker, digit, &entry);
        break;
    case 2:
        program_encode(maker,
                       &(struct program_encoding){.opcode = 0x8b,
                                                  .size = (uint8_t)PROGRAM_SLOT_SIZE(maker),
                                                  .reg = target.number},
                       &entry);
        branch_by(maker, digit, &target);
        break;
    default: /* PUSH; RET */
        branch_by(maker, 6, &entry);
        program_put_operation(maker, 0xc3);
        break;
    }
    program_land(maker, out);
}

static void function(struct program_maker *maker)
{
    if (maker->function_count == FUNCTIONS_MAX) {
        return;
    }
    unsigned int over = program_jump(maker, PROGRAM_JUMP), at = maker->to->length;
    unsigned int count = 1 + program_below(maker, 2);
    maker->depth += PROGRAM_DEPTH_MAX; /* neither loops nor calls within */
    while (count-- > 0 && program_has_room(maker)) {
        program_piece(maker);
    }
    maker->depth -= PROGRAM_DEPTH_MAX;
    if (program_chance(maker, 80)) {
        program_put_operation(maker, 0xc3);
    } else {
        const uint8_t bytes[3] = {0xc2, (uint8_t)(8 * program_below(maker, 3)), 0};
        program_instruction(maker, bytes, 3);
    }
    program_land(maker, over);
    maker->functions[maker->function_count++] = at;
}

void program_call(struct program_maker *maker)
{
    if (maker->function_count == 0) {
        function(maker);
    }
    if (program_chance(maker, 60)) {
        program_load(maker, X86_RSP, program_stack_address(maker));
    }
    if (maker->function_count > 0) {
        program_land_at(maker, program_jump(maker, PROGRAM_CALL),
                        maker->functions[program_below(maker, maker->function_count)]);
    }
}
