/*
 * "32-Bit Addressing Forms with the ModR/M Byte", the same with SIB, and the 16-bit forms.
 */
#include "x86/decode/address.h"

#include <string.h>

#include "x86/registers.h"

static bool read_displacement(const uint8_t **next, const uint8_t *end, uint8_t size,
                              struct x86_instruction *instruction)
{
    int8_t byte;
    int16_t word;

    if (end - *next < size) {
        return false;
    }
    switch (size) {
    case 0:
        return true;
    case 1:
        memcpy(&byte, *next, sizeof byte);
        instruction->displacement = byte;
        break;
    case 2:
        memcpy(&word, *next, sizeof word);
        instruction->displacement = word;
        break;
    default:
        memcpy(&instruction->displacement, *next, sizeof instruction->displacement);
        break;
    }
    instruction->displacement_size = size;
    *next += size;
    return true;
}

static bool read_address_16(const uint8_t **next, const uint8_t *end,
                            struct x86_instruction *instruction)
{
    static const uint8_t bases[8] = {X86_RBX, X86_RBX, X86_RBP, X86_RBP,
                                     X86_RSI, X86_RDI, X86_RBP, X86_RBX};
    static const uint8_t indexes[8] = {X86_RSI,           X86_RDI,           X86_RSI,
                                       X86_RDI,           X86_REGISTER_NONE, X86_REGISTER_NONE,
                                       X86_REGISTER_NONE, X86_REGISTER_NONE};
    uint8_t rm = instruction->modrm & 7;

    if (instruction->mod == 0 && rm == 6) {
        return read_displacement(next, end, 2, instruction);
    }
    instruction->base = bases[rm];
    instruction->index = indexes[rm];
    if (instruction->base == X86_RBP) {
        instruction->segment = X86_SS;
    }
    return read_displacement(next, end, instruction->mod, instruction);
}

bool x86_read_address(const uint8_t **next, const uint8_t *end, uint8_t rex, bool is_64,
                      struct x86_instruction *instruction)
{
    static const uint8_t displacement_sizes[3] = {0, 1, 4};
    uint8_t rm = instruction->modrm & 7;
    uint8_t displacement_size = displacement_sizes[instruction->mod];
    uint8_t base = rm;

    if (instruction->address_size == 2) {
        return read_address_16(next, end, instruction);
    }
    if (rm == 4) {
        if (*next == end) {
            return false;
        }
        uint8_t sib = *(*next)++;
        uint8_t index = (uint8_t)(((sib >> 3) & 7) | (rex & 2u ? 8 : 0));

        base = sib & 7;
        instruction->scale = sib >> 6;
        /* Index 4 means none, except to a gather, whose index is a vector register. */
        if (index != 4 || (instruction->shape & X86_SHAPE_VSIB)) {
            instruction->index = index;
        }
    }
    if (base == 5 && instruction->mod == 0) {
        /* A displacement alone; without SIB, 64-bit mode makes it relative to RIP. */
        instruction->base = rm == 5 && is_64 ? X86_REGISTER_RIP : X86_REGISTER_NONE;
        displacement_size = 4;
    } else {
        instruction->base = (uint8_t)(base | (rex & 1u ? 8 : 0));
        if (instruction->base == X86_RSP || instruction->base == X86_RBP) {
            instruction->segment = X86_SS;
        }
    }
    return read_displacement(next, end, displacement_size, instruction);
}
