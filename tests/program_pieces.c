/* Pieces that work on data: memory, flags, stack, strings. */
#include <string.h>

#include "program_pieces.h"

void program_some_simple(struct program_maker *maker)
{
    unsigned int count = 1 + program_below(maker, 4);
    while (count-- > 0) {
        program_simple(maker, NULL);
    }
}

/* Many accesses by one base, as an optimizer would have them share a check. */
void program_group(struct program_maker *maker)
{
    struct program_operand operand = {.is_memory = true,
                                      .base = program_chance(maker, 25) ? (uint8_t)X86_RSP
                                                                        : program_register(maker),
                                      .index = X86_REGISTER_NONE};
    uint32_t address = program_pointer(maker);
    if (program_chance(maker, 40)) {
        address = (address & ~0xfffu) + 0x1000 - program_below(maker, 64);
    }
    if (program_chance(maker, 30)) {
        uint8_t index = program_register_but_rsp(maker);
        operand.index = index;
        operand.scale = (uint8_t)program_below(maker, 4);
        uint32_t times = program_below(maker, 300);
        program_load(maker, index, times);
        address -= times << operand.scale;
    }
    program_load(maker, operand.base, address);
    unsigned int count = 2 + program_below(maker, 7);
    uint32_t spread = program_chance(maker, 60) ? 64 : program_chance(maker, 60) ? 600 : 9000;
    while (count-- > 0) {
        operand.displacement = (int32_t)program_below(maker, spread) - (int32_t)(spread / 2);
        program_simple(maker, &operand);
        uint32_t roll = program_below(maker, 100);
        if (roll < 12) {
            program_alu_immediate(maker, 0, maker->to->is_32 ? 4 : 8, operand.base,
                                  (uint64_t)program_below(maker, 128) - 64);
        } else if (roll < 16) {
            program_alu_immediate(maker, 4 + program_below(maker, 3), program_size(maker),
                                  operand.base, program_number(maker));
        } else if (roll < 36) {
            program_simple(maker, NULL);
        }
    }
}

/* Something that leaves the flags alone. */
static void neutral(struct program_maker *maker)
{
    static const uint8_t opcodes[] = {0x89, 0x8b, 0x88, 0x8a, 0x87};
    struct program_operand operand = {.number = program_register(maker)};
    uint32_t roll = program_below(maker, 10);
    if (program_chance(maker, 60)) {
        operand = program_memory(maker);
    }
    if (roll < 5) {
        uint8_t size = (uint8_t)(roll == 2 || roll == 3 ? 1 : maker->to->is_32 ? 4 : 8);
        program_encode(maker,
                       &(struct program_encoding){
                           .opcode = opcodes[roll], .size = size, .reg = program_register(maker)},
                       &operand);
    } else if (roll == 5) {
        program_put_operation(maker, 0x50 + program_below(maker, 8));
    } else if (roll == 6) {
        program_put_operation(maker, 0x58 + program_below(maker, 8));
    } else if (roll == 7) {
        program_land(maker, program_jump(maker, PROGRAM_JUMP));
    } else if (roll == 8) {
        program_load(maker, program_register_but_rsp(maker), program_number(maker));
    } else {
        operand = program_memory(maker);
        program_encode(maker,
                       &(struct program_encoding){.opcode = 0x8d,
                                                  .size = (uint8_t)(maker->to->is_32 ? 4 : 8),
                                                  .reg = program_register(maker)},
                       &operand);
    }
}

static void set_flags(struct program_maker *maker)
{
    uint32_t roll = program_below(maker, 10);
    if (roll < 4) {
        program_alu_immediate(maker, program_below(maker, 8), program_size(maker),
                              program_register(maker), program_number(maker));
    } else if (roll < 5) {
        static const uint8_t opcodes[] = {0xf8, 0xf9, 0xf5, 0x9e};
        program_put_operation(maker, opcodes[program_below(maker, 4)]);
    } else if (roll < 7) { /* shifts by CL: perhaps none */
        program_load(maker, X86_RCX, program_below(maker, 4) * 16);
        program_encode(maker,
                       &(struct program_encoding){.opcode = 0xd3,
                                                  .size = 4,
                                                  .reg = (uint8_t)program_below(maker, 8),
                                                  .reg_is_digit = true},
                       &(struct program_operand){.number = program_register(maker)});
    } else {
        program_simple(maker, NULL);
    }
}

static void read_flags(struct program_maker *maker)
{
    struct program_operand operand = {.number = program_register(maker)};
    unsigned int condition = program_below(maker, 16);
    unsigned int end = 0;
    if (program_chance(maker, 25)) {
        operand = program_memory(maker);
    }
    switch (program_below(maker, 7)) {
    case 0:
        program_encode(
            maker,
            &(struct program_encoding){
                .map = 1, .opcode = (uint8_t)(0x90 | condition), .size = 1, .reg_is_digit = true},
            &operand);
        break;
    case 1:
        program_encode(maker,
                       &(struct program_encoding){.map = 1,
                                                  .opcode = (uint8_t)(0x40 | condition),
                                                  .size = 4,
                                                  .reg = program_register(maker)},
                       &operand);
        break;
    case 2: /* ADC, SBB */
        program_encode(maker,
                       &(struct program_encoding){.opcode = program_chance(maker, 50) ? 0x11 : 0x19,
                                                  .size = (uint8_t)(maker->to->is_32 ? 4 : 8),
                                                  .reg = program_register(maker)},
                       &operand);
        break;
    case 3: /* RCL, RCR */
        program_encode(maker,
                       &(struct program_encoding){.opcode = 0xd1,
                                                  .size = 4,
                                                  .reg = (uint8_t)(2 + program_below(maker, 2)),
                                                  .reg_is_digit = true},
                       &operand);
        break;
    case 4: /* PUSHF; POP */
        program_put_operation(maker, 0x9c);
        program_put_operation(maker, 0x58 + program_below(maker, 4));
        break;
    case 5:
        program_put_operation(maker, 0x9f); /* LAHF */
        break;
    default:
        end = program_jump(maker, PROGRAM_JCC(condition));
        program_simple(maker, NULL);
        program_land(maker, end);
        break;
    }
}

/* Written here, read there. */
void program_flags(struct program_maker *maker)
{
    set_flags(maker);
    unsigned int count = program_below(maker, 6);
    while (count-- > 0) {
        neutral(maker);
    }
    count = 1 + program_below(maker, 3);
    while (count-- > 0) {
        read_flags(maker);
    }
}

/* Accesses relative to RSP while it moves. */
void program_stack(struct program_maker *maker)
{
    unsigned int count = 2 + program_below(maker, 8);
    const uint8_t size = (uint8_t)PROGRAM_SLOT_SIZE(maker);
    if (program_chance(maker, 50)) {
        program_load(maker, X86_RSP, program_stack_address(maker));
    }
    while (count-- > 0) {
        struct program_operand operand = {.is_memory = true,
                                          .base = X86_RSP,
                                          .index = X86_REGISTER_NONE,
                                          .displacement = (int32_t)program_below(maker, 64) - 24};
        switch (program_below(maker, 9)) {
        case 0:
        case 1:
            program_put_operation(maker, 0x50 + program_below(maker, 8));
            break;
        case 2:
        case 3:
            program_put_operation(maker, 0x58 + program_below(maker, 8));
            break;
        case 4:
            program_alu_immediate(maker, program_chance(maker, 50) ? 0 : 5, size, X86_RSP,
                                  8 * program_below(maker, 8));
            break;
        case 5:
            program_encode(maker,
                           &(struct program_encoding){.opcode = 0x8d, .size = size, .reg = X86_RSP},
                           &operand);
            break;
        case 6: /* PUSH, POP of what lies there */
            program_encode(maker,
                           program_chance(maker, 50)
                               ? &(struct program_encoding){.opcode = 0xff,
                                                            .size = size,
                                                            .reg = 6,
                                                            .reg_is_digit = true,
                                                            .is_64_anyway = true}
                               : &(struct program_encoding){.opcode = 0x8f,
                                                            .size = size,
                                                            .reg_is_digit = true,
                                                            .is_64_anyway = true},
                           &operand);
            break;
        default:
            program_simple(maker, &operand);
            break;
        }
    }
}

void program_strings(struct program_maker *maker)
{
    static const uint8_t opcodes[] = {0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad, 0xa6, 0xa7, 0xae, 0xaf};
    static const uint8_t prefixes[] = {0, 0xf3, 0xf3, 0xf2};
    uint8_t bytes[3];
    unsigned int n = 0;
    if (program_chance(maker, 70)) {
        program_load(maker, X86_RCX, program_below(maker, 50));
        program_load(maker, X86_RSI, program_pointer(maker));
        program_load(maker, X86_RDI, program_pointer(maker));
    }
    bytes[n] = prefixes[program_below(maker, 4)];
    n += bytes[n] != 0;
    if (!maker->to->is_32 && program_chance(maker, 40)) {
        bytes[n++] = 0x48;
    }
    bytes[n++] = opcodes[program_below(maker, 10)];
    program_instruction(maker, bytes, n);
}

/* A page's permissions or its place change, and the processor is told. */
static void remap(struct program_maker *maker)
{
    static const struct {
        uint32_t linear, entries;
        uint32_t place; /* XORed to the address there: another page's */
    } pages[] = {{PROGRAM_DATA, PROGRAM_DATA_ENTRIES, 0x80000 ^ 0x7e000},
                 {PROGRAM_DATA + 0x1000, PROGRAM_DATA_ENTRIES, 0x7e000 ^ 0x70000},
                 {PROGRAM_READ_ONLY, PROGRAM_DATA_ENTRIES, 0x90000 ^ 0x80000},
                 {PROGRAM_DATA + 0x4000, PROGRAM_DATA_ENTRIES, 0x70000 ^ 0x60000},
                 {PROGRAM_STACK, PROGRAM_DATA_ENTRIES, 0x62000 ^ 0x61000},
                 {PROGRAM_CODE + 0x1000, PROGRAM_CODE_ENTRIES, 0x33000 ^ 0x52000},
                 {PROGRAM_CODE + 0x2000, PROGRAM_CODE_ENTRIES, 0x52000 ^ 0x4e000},
                 {PROGRAM_CODE + 0x3000, PROGRAM_CODE_ENTRIES, 0x52000 ^ 0x4e000}};
    static const uint32_t bits[] = {2, 2, 2, 1, 1, 4, 0x60}; /* R/W, P, U/S, A and D */
    unsigned int which = program_below(maker, 8);
    uint32_t change =
        program_chance(maker, 60) ? bits[program_below(maker, 7)] : pages[which].place;
    uint32_t at = pages[which].entries + 8 * (pages[which].linear >> 12 & 511);
    if (program_chance(maker, 10)) { /* XD, in the upper half */
        at += 4;
        change = UINT32_C(1) << 31;
    }
    const struct program_operand entry = program_linear(at);
    const struct program_operand page =
        program_linear(pages[which].linear + program_below(maker, 0x1000));
    program_encode(maker,
                   &(struct program_encoding){.opcode = 0x81,
                                              .size = 4,
                                              .reg = 6,
                                              .reg_is_digit = true,
                                              .immediate_size = 4,
                                              .immediate = change},
                   &entry);
    program_encode(maker,
                   &(struct program_encoding){
                       .map = 1, .opcode = 0x01, .size = 4, .reg = 7, .reg_is_digit = true},
                   &page);
}

/* Instructions of the kernel, and such as end a block. */
void program_system_piece(struct program_maker *maker)
{
    static const uint32_t of_kernel[] = {0xfa, 0xfb, 0x0f01cb, 0x0f01ca, 0x0f06};
    static const uint32_t of_all[] = {0xcc, 0xf390, 0xfc, 0xfd,   0x0fa2, 0x98,
                                      0x99, 0xd7,   0xc9, 0x0f0b, 0xf4,   0x0faef0};
    uint32_t roll = program_below(maker, 10);
    if (roll < 3) { /* PUSH n; POPF */
        const uint32_t values = X86_FLAGS_ARITHMETIC | X86_FLAGS_DF | X86_FLAGS_AC | X86_FLAGS_IF;
        uint8_t bytes[5] = {0x68};
        uint32_t value = (uint32_t)program_bits(maker) & values;
        value |= program_chance(maker, 15) ? X86_FLAGS_TF : 0;
        memcpy(bytes + 1, &value, 4);
        program_instruction(maker, bytes, 5);
        program_put_operation(maker, 0x9d);
    } else if (roll < 7 && maker->to->is_kernel) {
        unsigned int which = program_below(maker, 12);
        if (which < 4) {
            program_put_operation(maker, of_kernel[which]);
        } else if (which < 6) { /* RAX from and to CR3 */
            program_put_operation(maker, 0x0f20d8);
            program_put_operation(maker, 0x0f22d8);
        } else if (which < 10) {
            remap(maker);
        } else {
            struct program_operand operand = program_memory(maker);
            program_encode(maker,
                           &(struct program_encoding){
                               .map = 1, .opcode = 0x01, .size = 4, .reg = 7, .reg_is_digit = true},
                           &operand);
        }
    } else {
        uint32_t what = of_all[program_below(maker, 12)];
        program_put_operation(maker, what == 0xf4 && maker->to->is_kernel ? 0x90 : what);
    }
}
