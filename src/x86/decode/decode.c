/*
 * From bytes to struct x86_instruction: prefixes, VEX, opcode, ModRM, displacement, immediate, and
 * then the rules that make an encoding #UD.
 */
#include "x86/decode/decode.h"

#include <string.h>

#include "x86/decode/address.h"
#include "x86/decode/table.h"
#include "x86/registers.h"

/* What a byte means before the opcode ("Instruction Prefixes"). */
enum prefix_class {
    PREFIX_NONE,
    PREFIX_OPERAND,
    PREFIX_ADDRESS,
    PREFIX_LOCK,
    PREFIX_REPEAT,
    PREFIX_SEGMENT,
    PREFIX_REX
};

static const uint8_t prefix_classes[256] = {
    [0x26] = PREFIX_SEGMENT, [0x2e] = PREFIX_SEGMENT, [0x36] = PREFIX_SEGMENT,
    [0x3e] = PREFIX_SEGMENT, [0x64] = PREFIX_SEGMENT, [0x65] = PREFIX_SEGMENT,
    [0x66] = PREFIX_OPERAND, [0x67] = PREFIX_ADDRESS, [0xf0] = PREFIX_LOCK,
    [0xf2] = PREFIX_REPEAT,  [0xf3] = PREFIX_REPEAT,  [0x40] = PREFIX_REX,
    [0x41] = PREFIX_REX,     [0x42] = PREFIX_REX,     [0x43] = PREFIX_REX,
    [0x44] = PREFIX_REX,     [0x45] = PREFIX_REX,     [0x46] = PREFIX_REX,
    [0x47] = PREFIX_REX,     [0x48] = PREFIX_REX,     [0x49] = PREFIX_REX,
    [0x4a] = PREFIX_REX,     [0x4b] = PREFIX_REX,     [0x4c] = PREFIX_REX,
    [0x4d] = PREFIX_REX,     [0x4e] = PREFIX_REX,     [0x4f] = PREFIX_REX,
};

/* Mandatory prefixes as VEX.pp encodes them. */
enum mandatory { PP_NONE, PP_66, PP_F3, PP_F2 };
static const uint8_t mandatory_bytes[4] = {0, 0x66, 0xf3, 0xf2};

#define REX_B 1u
#define REX_X 2u
#define REX_R 4u
#define REX_W 8u

#define NO_SEGMENT 0xff

struct decoder {
    const uint8_t *start, *next;
    const uint8_t *end;       /* of what may belong to the instruction */
    const uint8_t *available; /* end of what may be read */
    enum x86_decode_mode mode;
    uint8_t rex;     /* 0, or the prefix; with VEX: its R, X, B and W in the same places */
    uint8_t repeat;  /* 0, F2 or F3 */
    uint8_t segment; /* of the override in force, or NO_SEGMENT */
    uint16_t flags;  /* X86_INSTRUCTION_… that prefixes set */
    bool operand_prefix, address_prefix, lock;
    bool vex;
    uint8_t pp; /* enum mandatory */
    uint8_t vector_256;
    uint8_t vvvv;
    uint8_t map, opcode;
};

static size_t bytes_left(const struct decoder *decoder)
{
    return (size_t)(decoder->end - decoder->next);
}

/* Reads the legacy prefixes and REX; false if the bytes end before the opcode. */
static bool read_prefixes(struct decoder *decoder)
{
    while (decoder->next < decoder->end) {
        uint8_t byte = *decoder->next;
        uint8_t class = prefix_classes[byte];

        if (class == PREFIX_NONE || (class == PREFIX_REX && decoder->mode != X86_DECODE_64)) {
            return true;
        }
        decoder->next++;
        /* "REX Prefixes": one that does not stand directly before the opcode is ignored. */
        decoder->rex = class == PREFIX_REX ? byte : 0;
        switch (class) {
        case PREFIX_OPERAND:
            decoder->operand_prefix = true;
            decoder->flags |= X86_INSTRUCTION_66;
            break;
        case PREFIX_ADDRESS:
            decoder->address_prefix = true;
            break;
        case PREFIX_LOCK:
            decoder->lock = true;
            decoder->flags |= X86_INSTRUCTION_LOCK;
            break;
        case PREFIX_REPEAT:
            decoder->repeat = byte;
            decoder->flags &= (uint16_t) ~(X86_INSTRUCTION_REP | X86_INSTRUCTION_REPNE);
            decoder->flags |= byte == 0xf3 ? X86_INSTRUCTION_REP : X86_INSTRUCTION_REPNE;
            break;
        case PREFIX_SEGMENT:
            if (byte >= 0x64) {
                decoder->segment = (uint8_t)(byte - 0x64 + X86_FS);
                decoder->flags |= X86_INSTRUCTION_OVERRIDE;
            } else if (decoder->mode != X86_DECODE_64) {
                decoder->segment = (byte >> 3) & 3;
                decoder->flags |= X86_INSTRUCTION_OVERRIDE;
            }
            break;
        default:
            break;
        }
    }
    return false;
}

/*
 * "Vector Extension (VEX) Encoding": the bytes after C4 or C5. Outside 64-bit mode the caller made
 * sure that the next byte's upper two bits are set; VEX.B does not matter there.
 */
static enum x86_decode_result read_vex(struct decoder *decoder, uint8_t first)
{
    size_t size = first == 0xc4 ? 3 : 2; /* the opcode included */
    if (bytes_left(decoder) < size) {
        return X86_DECODE_TRUNCATED;
    }
    uint8_t one = decoder->next[0];
    uint8_t last = decoder->next[size - 2];
    uint8_t rex = (uint8_t)(one & 0x80 ? 0 : REX_R);
    uint8_t map = X86_MAP_0F;

    /* LOCK, 66, F2, F3 and REX before VEX are #UD. */
    bool bad =
        decoder->lock || decoder->operand_prefix || decoder->repeat != 0 || decoder->rex != 0;
    if (size == 3) {
        rex |= (uint8_t)((one & 0x40 ? 0 : REX_X) | (one & 0x20 ? 0 : REX_B) |
                         (last & 0x80 ? REX_W : 0));
        map = one & 0x1f;
        bad = bad || map < X86_MAP_0F || map > X86_MAP_0F3A;
    }
    decoder->vex = true;
    decoder->vvvv = (uint8_t)(~(uint32_t)last >> 3) & 15;
    if (decoder->mode != X86_DECODE_64) {
        rex &= REX_W;
    }
    decoder->rex = rex;
    decoder->pp = last & 3;
    decoder->vector_256 = (last >> 2) & 1;
    decoder->flags |= decoder->pp == PP_66 ? X86_INSTRUCTION_66 : 0;
    decoder->map = map;
    decoder->opcode = decoder->next[size - 1];
    decoder->next += size;
    return bad ? X86_DECODE_INVALID : X86_DECODE_OK;
}

static void resolve_mandatory_prefix(struct decoder *decoder)
{
    if (decoder->repeat != 0) {
        decoder->pp = decoder->repeat == 0xf3 ? PP_F3 : PP_F2;
    } else {
        decoder->pp = decoder->operand_prefix ? PP_66 : PP_NONE;
    }
}

/* Reads the opcode with its escape bytes. */
static enum x86_decode_result read_opcode(struct decoder *decoder)
{
    uint8_t byte = *decoder->next++;

    resolve_mandatory_prefix(decoder);
    decoder->opcode = byte;
    decoder->map = X86_MAP_ONE_BYTE;
    if (byte == 0x0f) {
        if (decoder->next == decoder->end) {
            return X86_DECODE_TRUNCATED;
        }
        byte = *decoder->next++;
        decoder->opcode = byte;
        decoder->map = X86_MAP_0F;
        if (byte == 0x38 || byte == 0x3a) {
            if (decoder->next == decoder->end) {
                return X86_DECODE_TRUNCATED;
            }
            decoder->map = byte == 0x38 ? X86_MAP_0F38 : X86_MAP_0F3A;
            decoder->opcode = *decoder->next++;
        }
        return X86_DECODE_OK;
    }
    if (byte == 0xc4 || byte == 0xc5 || byte == 0x62) {
        /* Outside 64-bit mode these are LES, LDS and BOUND unless ModRM would name a register. */
        if (decoder->mode != X86_DECODE_64) {
            if (decoder->next == decoder->end) {
                return X86_DECODE_TRUNCATED;
            }
            if (*decoder->next < 0xc0) {
                return X86_DECODE_OK;
            }
        }
        return byte == 0x62 ? X86_DECODE_INVALID : read_vex(decoder, byte);
    }
    return X86_DECODE_OK;
}

/* The row for SELECT_PREFIX; a row without a table of its own means the map's. */
static const struct x86_opcode *prefix_rows(const struct decoder *decoder,
                                            const struct x86_opcode *row)
{
    return row->table != NULL ? row->table : x86_map_0f_prefix[decoder->opcode];
}

/* Follows the selecting rows; NULL if ModRM is needed and not there. */
static const struct x86_opcode *select_row(const struct decoder *decoder,
                                           const struct x86_opcode *row, uint8_t *mandatory)
{
    while (row->select != SELECT_NONE) {
        if (row->select >= SELECT_REG && row->select <= SELECT_MOD &&
            decoder->next == decoder->end) {
            return NULL;
        }
        switch ((enum x86_select)row->select) {
        case SELECT_PREFIX:
            row = prefix_rows(decoder, row) + decoder->pp;
            *mandatory = mandatory_bytes[decoder->pp];
            break;
        case SELECT_REPEAT:
            *mandatory = decoder->repeat;
            row = row->table + (decoder->repeat == 0 ? 0 : decoder->repeat == 0xf3 ? 1 : 2);
            break;
        case SELECT_REG:
            row = row->table + ((*decoder->next >> 3) & 7);
            break;
        case SELECT_RM:
            row = row->table + (*decoder->next & 7);
            break;
        case SELECT_MOD:
            row = row->table + (*decoder->next >= 0xc0);
            break;
        case SELECT_MODE:
            row = row->table + (decoder->mode == X86_DECODE_64);
            break;
        case SELECT_VEX:
            row = row->table + decoder->vex;
            break;
        case SELECT_W:
            row = row->table + ((decoder->rex & REX_W) != 0);
            break;
        case SELECT_NOP:
            row = row->table + (decoder->rex & REX_B ? 0 : decoder->repeat == 0xf3 ? 2 : 1);
            break;
        case SELECT_NONE:
            break;
        }
    }
    return row;
}

static const struct x86_opcode *find_row(const struct decoder *decoder, uint8_t *mandatory)
{
    const struct x86_opcode *row;

    switch ((enum x86_opcode_map)decoder->map) {
    case X86_MAP_ONE_BYTE:
        row = &x86_map_one_byte[decoder->opcode];
        break;
    case X86_MAP_0F:
        row = &x86_map_0f[decoder->opcode];
        break;
    case X86_MAP_0F38:
        row = &x86_map_0f38_prefix[decoder->opcode][decoder->pp];
        *mandatory = mandatory_bytes[decoder->pp];
        break;
    default:
        row = &x86_map_0f3a_prefix[decoder->opcode][decoder->pp];
        *mandatory = mandatory_bytes[decoder->pp];
        break;
    }
    return select_row(decoder, row, mandatory);
}

/* By enum x86_size_rule, then mode, then W * 2 + 66. */
static const uint8_t operand_sizes[SIZE_RULE_COUNT][3][4] = {
    [SIZE_V] = {{2, 4, 2, 4}, {4, 2, 4, 2}, {4, 2, 8, 8}},
    [SIZE_BYTE] = {{1, 1, 1, 1}, {1, 1, 1, 1}, {1, 1, 1, 1}},
    [SIZE_WORD] = {{2, 2, 2, 2}, {2, 2, 2, 2}, {2, 2, 2, 2}},
    [SIZE_Z] = {{2, 4, 2, 4}, {4, 2, 4, 2}, {4, 2, 4, 4}},
    [SIZE_STACK] = {{2, 4, 2, 4}, {4, 2, 4, 2}, {8, 2, 8, 8}},
    [SIZE_NEAR] = {{2, 4, 2, 4}, {4, 2, 4, 2}, {8, 8, 8, 8}},
    [SIZE_NATIVE] = {{4, 4, 4, 4}, {4, 4, 4, 4}, {8, 8, 8, 8}},
    [SIZE_W] = {{4, 4, 4, 4}, {4, 4, 4, 4}, {4, 4, 8, 8}},
};

static uint8_t memory_size(const struct x86_opcode *row, const struct x86_instruction *instruction,
                           enum x86_decode_mode mode)
{
    static const uint8_t fixed[] = {
        [MEMORY_NONE] = 0, [MEMORY_1] = 1,   [MEMORY_2] = 2,   [MEMORY_4] = 4,
        [MEMORY_8] = 8,    [MEMORY_10] = 10, [MEMORY_16] = 16,
    };
    uint8_t operand_size = instruction->operand_size;
    uint8_t vector_length = instruction->vector_length;

    switch ((enum x86_memory_rule)row->memory) {
    case MEMORY_OPERAND:
        return operand_size;
    case MEMORY_VECTOR:
        return vector_length;
    case MEMORY_VECTOR_HALF:
        return vector_length / 2;
    case MEMORY_VECTOR_QUARTER:
        return vector_length / 4;
    case MEMORY_VECTOR_EIGHTH:
        return vector_length / 8;
    case MEMORY_DUPLICATE:
        return vector_length == 32 ? 32 : 8;
    case MEMORY_W:
        return instruction->flags & X86_INSTRUCTION_W ? 8 : 4;
    case MEMORY_FAR:
        return (uint8_t)(operand_size + 2);
    case MEMORY_PAIR:
        return (uint8_t)(operand_size * 2);
    case MEMORY_TABLE:
        return mode == X86_DECODE_64 ? 10 : 6;
    case MEMORY_X87_ENVIRONMENT:
        return operand_size == 2 ? 14 : 28;
    default:
        return fixed[row->memory];
    }
}

/* Little-endian bytes, 1 to 8 of them; without a branch on the size if there are 8 to read. */
static uint64_t read_bytes(const struct decoder *decoder, const uint8_t *bytes, size_t size)
{
    uint64_t value = 0;

    if (decoder->available - bytes >= 8) {
        memcpy(&value, bytes, sizeof(value));
        return value & (~UINT64_C(0) >> (64 - size * 8));
    }
    for (size_t i = 0; i < size; i++) {
        value |= (uint64_t)bytes[i] << (i * 8);
    }
    return value;
}

static int64_t sign_extend(uint64_t value, size_t size)
{
    unsigned int unused = (unsigned int)(64 - size * 8);
    return (int64_t)(value << unused) >> unused;
}

/* The bytes of an immediate by operand size (for moffs by address size), and what follows it. */
struct immediate_form {
    uint8_t size[9];
    uint8_t extra;
    bool is_signed;
};

static const struct immediate_form immediate_forms[] = {
    [IMMEDIATE_8] = {{[1] = 1, [2] = 1, [4] = 1, [8] = 1}, 0, false},
    [IMMEDIATE_8_SIGNED] = {{[1] = 1, [2] = 1, [4] = 1, [8] = 1}, 0, true},
    [IMMEDIATE_16] = {{[2] = 2, [4] = 2, [8] = 2}, 0, false},
    [IMMEDIATE_Z] = {{[2] = 2, [4] = 4, [8] = 4}, 0, true},
    [IMMEDIATE_V] = {{[2] = 2, [4] = 4, [8] = 8}, 0, true},
    [IMMEDIATE_ENTER] = {{[2] = 2, [4] = 2, [8] = 2}, 1, false},
    [IMMEDIATE_FAR] = {{[2] = 2, [4] = 4, [8] = 4}, 2, false},
    [IMMEDIATE_MOFFS] = {{[2] = 2, [4] = 4, [8] = 8}, 0, false},
    [IMMEDIATE_TWO_BYTES] = {{[4] = 1, [8] = 1}, 1, false},
};

/* Reads the immediate that the row asks for; false if the bytes end before. */
static bool read_immediate(struct decoder *decoder, const struct x86_opcode *row,
                           struct x86_instruction *instruction)
{
    if (row->immediate == IMMEDIATE_NONE) {
        return true;
    }
    const struct immediate_form *form = &immediate_forms[row->immediate];
    const uint8_t *bytes = decoder->next;
    size_t size = form->size[row->immediate == IMMEDIATE_MOFFS ? instruction->address_size
                                                               : instruction->operand_size];
    if (bytes_left(decoder) < size + form->extra) {
        return false;
    }
    decoder->next += size + form->extra;
    uint64_t value = read_bytes(decoder, bytes, size);
    instruction->immediate = form->is_signed ? sign_extend(value, size) : (int64_t)value;
    instruction->immediate_size = (uint8_t)size;
    if (form->extra != 0) {
        instruction->immediate2 = (uint16_t)read_bytes(decoder, bytes + size, form->extra);
        /* The selector of a far pointer is not counted, the second byte of the others is. */
        instruction->immediate_size = (uint8_t)(form->extra == 2 ? size : size + form->extra);
    }
    return true;
}

/* Reads ModRM, SIB and displacement; false if the bytes end before. */
static bool read_modrm(struct decoder *decoder, const struct x86_opcode *row,
                       struct x86_instruction *instruction)
{
    if (decoder->next == decoder->end) {
        return false;
    }
    uint8_t modrm = *decoder->next++;
    instruction->modrm = modrm;
    instruction->mod = modrm >> 6;
    instruction->reg = (uint8_t)(((modrm >> 3) & 7) | (decoder->rex & REX_R ? 8 : 0));
    instruction->rm = (uint8_t)((modrm & 7) | (decoder->rex & REX_B ? 8 : 0));
    if (row->rules & RULE_IGNORE_MOD) {
        instruction->mod = 3;
    }
    if (instruction->mod == 3) {
        return true;
    }
    instruction->flags |= X86_INSTRUCTION_MEMORY;
    return x86_read_address(&decoder->next, decoder->end, decoder->rex,
                            decoder->mode == X86_DECODE_64, instruction);
}

/* The rules that look at registers, for the few operations that have any; false: #UD. */
static bool check_registers(const struct x86_instruction *instruction)
{
    uint8_t reg = instruction->reg;

    switch (instruction->operation) {
    case X86_OP_MOV_TO_SEGMENT:
        return reg < X86_SEGMENT_COUNT && reg != X86_CS;
    case X86_OP_MOV_FROM_SEGMENT:
        return reg < X86_SEGMENT_COUNT;
    case X86_OP_MOV_FROM_CR:
    case X86_OP_MOV_TO_CR:
        return reg == 0 || (reg >= 2 && reg <= 4) || reg == 8;
    case X86_OP_MOV_FROM_DR:
    case X86_OP_MOV_TO_DR:
        return reg < 8;
    case X86_OP_GATHER:
        /* A SIB byte is needed, and destination, index and mask must be three registers. */
        return instruction->address_size != 2 && (instruction->modrm & 7) == 4 &&
               reg != instruction->index && reg != instruction->vvvv &&
               instruction->index != instruction->vvvv;
    default:
        return true;
    }
}

/* False if the encoding breaks one of the row's rules: #UD. */
static bool is_legal(const struct decoder *decoder, const struct x86_opcode *row,
                     const struct x86_instruction *instruction)
{
    uint32_t rules = row->rules;
    bool is_64 = decoder->mode == X86_DECODE_64;
    bool is_memory = (instruction->flags & X86_INSTRUCTION_MEMORY) != 0;

    if (decoder->lock && !(is_memory && (rules & RULE_LOCK))) {
        return false;
    }
    if (decoder->vex) {
        bool w = (decoder->rex & REX_W) != 0;
        if ((w && (rules & RULE_W0)) || (!w && (rules & RULE_W1)) ||
            (decoder->vvvv != 0 && !(instruction->shape & X86_SHAPE_VVVV))) {
            return false;
        }
    }
    if ((rules & ~(uint32_t)(RULE_MODRM | RULE_LOCK | RULE_BRANCH | RULE_RELATIVE |
                             RULE_OPCODE_REG | RULE_VECTOR)) == 0) {
        return true;
    }
    return !((is_64 && (rules & RULE_NOT_64)) || (!is_64 && (rules & RULE_ONLY_64)) ||
             (!is_memory && (rules & RULE_MEMORY)) || (is_memory && (rules & RULE_REGISTER)) ||
             (decoder->pp != PP_NONE && (rules & RULE_NO_PREFIX)) ||
             (decoder->pp >= PP_F3 && (rules & RULE_NO_REPEAT)) ||
             ((rules & RULE_CHECK) && !check_registers(instruction)));
}

/* Encoding, feature, shape and vector length; false if the row has no such form: #UD. */
static bool choose_form(const struct decoder *decoder, const struct x86_opcode *row,
                        struct x86_instruction *instruction)
{
    uint16_t shape = row->shape;

    if (!decoder->vex) {
        instruction->operation = row->operation;
        instruction->feature = row->feature;
        instruction->shape = (uint16_t)(shape & ~X86_SHAPE_VVVV);
        instruction->vector_length = row->rules & RULE_VECTOR ? 16 : 0;
        return row->operation != X86_OP_INVALID && !(row->rules & RULE_VEX_ONLY);
    }
    uint8_t vector_256 = row->rules & RULE_SCALAR ? 0 : decoder->vector_256;
    instruction->operation = row->operation == X86_OP_SSE ? X86_OP_AVX : row->operation;
    instruction->encoding = X86_ENCODING_VEX;
    instruction->feature = row->feature_vex[vector_256];
    instruction->shape =
        (uint16_t)(row->rules & RULE_VEX_ALIGNED ? shape : shape & ~X86_SHAPE_ALIGNED);
    instruction->vector_length = (uint8_t)(row->rules & RULE_VECTOR ? 16u << vector_256 : 0u);
    /* Outside 64-bit mode an operand ignores the upper bit, but an unused field must be all ones.
     */
    instruction->vvvv = decoder->mode == X86_DECODE_64 ? decoder->vvvv : decoder->vvvv & 7;
    return instruction->feature != X86_FEATURE_BASE;
}

static uint16_t flags_of(const struct decoder *decoder, const struct x86_opcode *row)
{
    uint32_t flags = decoder->flags;
    flags |= row->rules & (RULE_MODRM | RULE_BRANCH | RULE_RELATIVE);
    flags |= decoder->rex & 0x40 ? X86_INSTRUCTION_REX : 0; /* not with VEX */
    flags |= decoder->rex & REX_W ? X86_INSTRUCTION_W : 0;
    flags |= row->size == SIZE_NEAR && decoder->mode == X86_DECODE_64 ? X86_INSTRUCTION_NO_66 : 0;
    return (uint16_t)flags;
}

/* Sizes, registers and the rest of the bytes; the opcode's form is known. */
static enum x86_decode_result read_operands(struct decoder *decoder, const struct x86_opcode *row,
                                            struct x86_instruction *instruction)
{
    static const uint8_t address_sizes[3][2] = {{2, 4}, {4, 2}, {8, 4}};
    size_t prefixes = (decoder->rex & REX_W ? 2u : 0u) + decoder->operand_prefix;

    instruction->map = decoder->map;
    instruction->opcode = decoder->opcode;
    instruction->opcode_offset = (uint8_t)(decoder->next - decoder->start - 1);
    instruction->condition = decoder->opcode & 15;
    instruction->flags = flags_of(decoder, row);
    instruction->address_size = address_sizes[decoder->mode][decoder->address_prefix];
    instruction->operand_size = operand_sizes[row->size][decoder->mode][prefixes];
    instruction->base = X86_REGISTER_NONE;
    instruction->index = X86_REGISTER_NONE;
    instruction->segment = X86_DS;
    if (row->rules & RULE_MODRM) {
        if (!read_modrm(decoder, row, instruction)) {
            return X86_DECODE_TRUNCATED;
        }
        if (instruction->flags & X86_INSTRUCTION_MEMORY) {
            instruction->memory_size = memory_size(row, instruction, decoder->mode);
        }
        if (instruction->shape & X86_SHAPE_REG_MMX || row->operation == X86_OP_MOV_TO_SEGMENT ||
            row->operation == X86_OP_MOV_FROM_SEGMENT) {
            instruction->reg &= 7;
        }
        if (instruction->shape & X86_SHAPE_RM_MMX) {
            instruction->rm &= 7;
        }
    } else if (row->rules & RULE_OPCODE_REG) {
        instruction->reg = (uint8_t)((decoder->opcode & 7) | (decoder->rex & REX_B ? 8 : 0));
    }
    if (decoder->segment != NO_SEGMENT) {
        instruction->segment = decoder->segment;
    }
    if (!read_immediate(decoder, row, instruction)) {
        return X86_DECODE_TRUNCATED;
    }
    return is_legal(decoder, row, instruction) ? X86_DECODE_OK : X86_DECODE_INVALID;
}

static enum x86_decode_result decode(struct decoder *decoder, struct x86_instruction *instruction)
{
    if (!read_prefixes(decoder)) {
        return X86_DECODE_TRUNCATED;
    }
    enum x86_decode_result result = read_opcode(decoder);
    if (result != X86_DECODE_OK) {
        return result;
    }
    uint8_t mandatory = 0;
    const struct x86_opcode *row = find_row(decoder, &mandatory);
    if (row == NULL) {
        return X86_DECODE_TRUNCATED;
    }
    memset(instruction, 0, sizeof *instruction);
    if (!choose_form(decoder, row, instruction)) {
        return X86_DECODE_INVALID;
    }
    instruction->mandatory_prefix = decoder->vex ? mandatory_bytes[decoder->pp] : mandatory;
    return read_operands(decoder, row, instruction);
}

enum x86_decode_result x86_decode(enum x86_decode_mode mode, const uint8_t *bytes, size_t available,
                                  struct x86_instruction *instruction)
{
    struct decoder decoder = {
        .start = bytes,
        .next = bytes,
        .end = bytes + (available < X86_INSTRUCTION_MAX ? available : X86_INSTRUCTION_MAX),
        .available = bytes + available,
        .mode = mode,
        .segment = NO_SEGMENT,
    };
    enum x86_decode_result result = decode(&decoder, instruction);

    if (result == X86_DECODE_TRUNCATED) {
        decoder.next = decoder.end;
        if (available >= X86_INSTRUCTION_MAX) {
            result = X86_DECODE_TOO_LONG;
        }
    }
    instruction->length = (uint8_t)(decoder.next - bytes);
    return result;
}
