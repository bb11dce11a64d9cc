#include "x86/mmio_operation.h"

#include <stddef.h>

/* --- registers --- */

/* Byte registers 4 to 7 are AH to BH without a REX prefix. */
static bool is_high_byte(const struct x86_instruction *in, unsigned int number, unsigned int size)
{
    return size == 1 && number >= 4 && number < 8 && (in->flags & X86_INSTRUCTION_REX) == 0;
}

static uint64_t get_register(const struct x86_instruction *in, const struct mmio_access *access,
                             unsigned int number, unsigned int size)
{
    const uint64_t *gpr = access->after.gpr;
    return is_high_byte(in, number, size) ? gpr[number - 4] >> 8 & 0xff
                                          : gpr[number] & mmio_size_mask(size);
}

/* "General-Purpose Registers in 64-Bit Mode": 32-bit results clear the upper half. */
static void set_register(const struct x86_instruction *in, struct mmio_access *access,
                         unsigned int number, unsigned int size, uint64_t value)
{
    uint64_t *gpr = access->after.gpr, mask = mmio_size_mask(size);
    if (is_high_byte(in, number, size)) {
        gpr[number - 4] = (gpr[number - 4] & ~UINT64_C(0xff00)) | (value & 0xff) << 8;
    } else if (size == 4) {
        gpr[number] = value & mask;
    } else {
        gpr[number] = (gpr[number] & ~mask) | (value & mask);
    }
}

/* --- flags --- */

static void set_flags(struct mmio_access *access, uint64_t changed, uint64_t flags)
{
    access->after.rflags = (access->after.rflags & ~changed) | (flags & changed);
}

/* True if an even number of the low eight bits is set: 6996H has a bit for each odd nibble. */
static bool even_parity(uint64_t result)
{
    uint64_t nibble = (result ^ result >> 4) & 0xf;
    return (0x6996u >> nibble & 1) == 0;
}

static uint64_t flags_of_result(uint64_t result, unsigned int size)
{
    uint64_t flags = (result & mmio_size_mask(size)) == 0 ? X86_FLAGS_ZF : 0;
    flags |= (result >> (8 * size - 1) & 1) != 0 ? X86_FLAGS_SF : 0;
    flags |= even_parity(result) ? X86_FLAGS_PF : 0;
    return flags;
}

/* CF, AF and OF from what was carried out of each bit and what OF compares. */
static uint64_t flags_of_carries(uint64_t carries, uint64_t overflow, unsigned int size)
{
    unsigned int sign = 8 * size - 1;
    return ((carries >> sign & 1) != 0 ? X86_FLAGS_CF : 0) |
           ((carries >> 3 & 1) != 0 ? X86_FLAGS_AF : 0) |
           ((overflow >> sign & 1) != 0 ? X86_FLAGS_OF : 0);
}

static uint64_t add(uint64_t a, uint64_t b, uint64_t carry, unsigned int size, uint64_t *flags)
{
    uint64_t sum = (a + b + carry) & mmio_size_mask(size);
    *flags = flags_of_result(sum, size) |
             flags_of_carries((a & b) | ((a | b) & ~sum), (a ^ sum) & (b ^ sum), size);
    return sum;
}

static uint64_t subtract(uint64_t a, uint64_t b, uint64_t borrow, unsigned int size,
                         uint64_t *flags)
{
    uint64_t difference = (a - b - borrow) & mmio_size_mask(size);
    *flags = flags_of_result(difference, size) |
             flags_of_carries((~a & b) | ((~a | b) & difference), (a ^ b) & (a ^ difference), size);
    return difference;
}

/* "EFLAGS Condition Codes": bit 0 inverts. */
static bool condition_met(uint64_t flags, unsigned int condition)
{
    static const uint64_t any[8] = {X86_FLAGS_OF,
                                    X86_FLAGS_CF,
                                    X86_FLAGS_ZF,
                                    X86_FLAGS_CF | X86_FLAGS_ZF,
                                    X86_FLAGS_SF,
                                    X86_FLAGS_PF,
                                    0,
                                    X86_FLAGS_ZF};
    unsigned int kind = condition >> 1 & 7;
    bool met = (flags & any[kind]) != 0;
    if (kind >= 6) { /* less: SF and OF differ */
        met = met || ((flags & X86_FLAGS_SF) != 0) != ((flags & X86_FLAGS_OF) != 0);
    }
    return met != ((condition & 1) != 0);
}

/* --- moves --- */

static void compute_mov(const struct x86_instruction *in, struct mmio_access *access)
{
    if (!access->has_write) {
        set_register(in, access, in->reg, in->operand_size, access->value[0]);
        return;
    }
    access->write_value = in->immediate_size != 0
                              ? (uint64_t)in->immediate
                              : get_register(in, access, in->reg, in->operand_size);
}

/* XLAT and MOV with moffs. */
static void compute_accumulator(const struct x86_instruction *in, struct mmio_access *access)
{
    access->write_value = access->after.gpr[X86_RAX];
    if (!access->has_write) {
        set_register(in, access, X86_RAX, in->operand_size, access->value[0]);
    }
}

static void compute_movbe(const struct x86_instruction *in, struct mmio_access *access)
{
    unsigned int unused = 64 - 8u * in->operand_size;
    if (access->has_write) {
        access->write_value = __builtin_bswap64(access->after.gpr[in->reg] << unused);
    } else {
        uint64_t value = __builtin_bswap64(access->value[0] << unused);
        set_register(in, access, in->reg, in->operand_size, value);
    }
}

static void compute_movzx(const struct x86_instruction *in, struct mmio_access *access)
{
    /* a 16-bit register keeps its upper half, which set_register knows */
    set_register(in, access, in->reg, in->operand_size, access->value[0]);
}

static void compute_movsx(const struct x86_instruction *in, struct mmio_access *access)
{
    int64_t value = mmio_sign_extend(access->value[0], access->read[0].size);
    set_register(in, access, in->reg, in->operand_size, (uint64_t)value);
}

static void compute_cmov(const struct x86_instruction *in, struct mmio_access *access)
{
    uint64_t value = access->value[0];
    if (!condition_met(access->after.rflags, in->condition)) {
        value = access->after.gpr[in->reg];
    }
    set_register(in, access, in->reg, in->operand_size, value);
}

static void compute_setcc(const struct x86_instruction *in, struct mmio_access *access)
{
    access->write_value = condition_met(access->after.rflags, in->condition);
}

/* CLFLUSH and its kin: there is no cache before a device. */
static void compute_nothing(const struct x86_instruction *in, struct mmio_access *access)
{
    (void)in;
    (void)access;
}

/* --- arithmetic --- */

static uint64_t binary(enum x86_operation operation, uint64_t a, uint64_t b, uint64_t carry,
                       unsigned int size, uint64_t *flags)
{
    uint64_t result = a & b; /* AND, TEST */
    switch (operation) {
    case X86_OP_ADD:
        return add(a, b, 0, size, flags);
    case X86_OP_ADC:
        return add(a, b, carry, size, flags);
    case X86_OP_SUB:
    case X86_OP_CMP:
        return subtract(a, b, 0, size, flags);
    case X86_OP_SBB:
        return subtract(a, b, carry, size, flags);
    case X86_OP_OR:
        result = a | b;
        break;
    case X86_OP_XOR:
        result = a ^ b;
        break;
    default:
        break;
    }
    *flags = flags_of_result(result, size); /* CF and OF are 0; processors clear AF, too */
    return result;
}

static void compute_binary(const struct x86_instruction *in, struct mmio_access *access)
{
    bool has_immediate = in->immediate_size != 0, no_result = in->operation == X86_OP_TEST;
    bool to_register = !has_immediate && !no_result && (in->opcode & 2) != 0;
    unsigned int size = in->operand_size;
    uint64_t memory = access->value[0], carry = access->after.rflags & X86_FLAGS_CF, flags;
    uint64_t other = has_immediate ? (uint64_t)in->immediate & mmio_size_mask(size)
                                   : get_register(in, access, in->reg, size);
    uint64_t result = binary(in->operation, to_register ? other : memory,
                             to_register ? memory : other, carry, size, &flags);
    set_flags(access, X86_FLAGS_ARITHMETIC, flags);
    access->write_value = result; /* CMP and TEST write nothing */
    if (to_register && in->operation != X86_OP_CMP) {
        set_register(in, access, in->reg, size, result);
    }
}

static void compute_unary(const struct x86_instruction *in, struct mmio_access *access)
{
    uint64_t memory = access->value[0], changed = X86_FLAGS_ARITHMETIC, flags = 0;
    unsigned int size = in->operand_size;
    switch (in->operation) {
    case X86_OP_NEG:
        access->write_value = subtract(0, memory, 0, size, &flags);
        break;
    case X86_OP_INC:
        access->write_value = add(memory, 1, 0, size, &flags);
        changed &= ~X86_FLAGS_CF;
        break;
    case X86_OP_DEC:
        access->write_value = subtract(memory, 1, 0, size, &flags);
        changed &= ~X86_FLAGS_CF;
        break;
    default: /* NOT */
        access->write_value = ~memory;
        changed = 0;
        break;
    }
    set_flags(access, changed, flags);
}

void mmio_compute_bit(const struct x86_instruction *in, struct mmio_access *access)
{
    uint64_t offset =
        mmio_bit_is_immediate(in) ? (uint64_t)in->immediate : access->after.gpr[in->reg];
    uint64_t bit = UINT64_C(1) << (offset & (8u * in->operand_size - 1));
    uint64_t memory = access->value[0];
    set_flags(access, X86_FLAGS_CF, (memory & bit) != 0 ? X86_FLAGS_CF : 0);
    if (in->operation == X86_OP_BTS) {
        access->write_value = memory | bit;
    } else if (in->operation == X86_OP_BTR) {
        access->write_value = memory & ~bit;
    } else {
        access->write_value = memory ^ bit; /* BTC; BT writes nothing */
    }
}

/* --- exchanges --- */

static void compute_xchg(const struct x86_instruction *in, struct mmio_access *access)
{
    access->write_value = get_register(in, access, in->reg, in->operand_size);
    set_register(in, access, in->reg, in->operand_size, access->value[0]);
}

static void compute_xadd(const struct x86_instruction *in, struct mmio_access *access)
{
    unsigned int size = in->operand_size;
    uint64_t flags, other = get_register(in, access, in->reg, size);
    access->write_value = add(access->value[0], other, 0, size, &flags);
    set_register(in, access, in->reg, size, access->value[0]);
    set_flags(access, X86_FLAGS_ARITHMETIC, flags);
}

/* "CMPXCHG—Compare and Exchange": memory is written in either case. */
static void compute_cmpxchg(const struct x86_instruction *in, struct mmio_access *access)
{
    unsigned int size = in->operand_size;
    uint64_t memory = access->value[0], flags;
    uint64_t difference =
        subtract(get_register(in, access, X86_RAX, size), memory, 0, size, &flags);
    set_flags(access, X86_FLAGS_ARITHMETIC, flags);
    access->write_value = memory;
    if (difference == 0) {
        access->write_value = get_register(in, access, in->reg, size);
    } else {
        set_register(in, access, X86_RAX, size, memory);
    }
}

static void compute_cmpxchg8b(const struct x86_instruction *in, struct mmio_access *access)
{
    uint64_t *gpr = access->after.gpr, memory = access->value[0];
    uint64_t expected = (gpr[X86_RAX] & UINT32_MAX) | gpr[X86_RDX] << 32;
    (void)in;
    access->write_value = memory;
    if (memory == expected) {
        access->write_value = (gpr[X86_RBX] & UINT32_MAX) | gpr[X86_RCX] << 32;
        access->after.rflags |= X86_FLAGS_ZF;
    } else {
        gpr[X86_RAX] = memory & UINT32_MAX;
        gpr[X86_RDX] = memory >> 32;
        access->after.rflags &= ~X86_FLAGS_ZF;
    }
}

/* --- the stack --- */

static void move_stack(const struct mmio_mode *mode, struct mmio_access *access, uint64_t distance)
{
    uint64_t *rsp = &access->after.gpr[X86_RSP], mask = mmio_stack_mask(mode);
    uint64_t kept = mask == UINT16_MAX ? *rsp & ~mask : 0;
    *rsp = kept | ((*rsp + distance) & mask);
}

void mmio_compute_push(const struct mmio_mode *mode, const struct x86_instruction *in,
                       struct mmio_access *access)
{
    if (access->read_count != 0) {
        access->write_value = access->value[0];
    } else if (in->immediate_size != 0) {
        access->write_value = (uint64_t)in->immediate;
    } else {
        access->write_value = access->after.gpr[in->reg];
    }
    move_stack(mode, access, (uint64_t) - (int64_t)in->operand_size);
}

void mmio_compute_pop(const struct mmio_mode *mode, const struct x86_instruction *in,
                      struct mmio_access *access)
{
    access->write_value = access->value[0];
    move_stack(mode, access, in->operand_size);
    if (!access->has_write) { /* after the increment: POP RSP is what was popped */
        unsigned int number = (in->flags & X86_INSTRUCTION_MODRM) != 0 ? in->rm : in->reg;
        set_register(in, access, number, in->operand_size, access->value[0]);
    }
}

/* --- strings --- */

static void move_index(const struct x86_instruction *in, struct mmio_access *access,
                       unsigned int number, int64_t distance)
{
    uint64_t value = access->after.gpr[number] + (uint64_t)distance;
    set_register(in, access, number, in->address_size, value);
}

/* "REP/REPE/REPZ/REPNE/REPNZ": the count, and for CMPS and SCAS the flag that ends it early. */
static bool repeat(const struct x86_instruction *in, struct mmio_access *access)
{
    if (!mmio_repeats(in)) {
        return false;
    }
    move_index(in, access, X86_RCX, -1);
    bool more = (access->after.gpr[X86_RCX] & mmio_size_mask(in->address_size)) != 0;
    if (in->operation != X86_OP_CMPS && in->operation != X86_OP_SCAS) {
        return more;
    }
    bool equal = (access->after.rflags & X86_FLAGS_ZF) != 0;
    return more && equal == ((in->flags & X86_INSTRUCTION_REPNE) == 0);
}

bool mmio_compute_string(const struct x86_instruction *in, const struct mmio_operation *operation,
                         struct mmio_access *access)
{
    unsigned int size = in->operand_size;
    int64_t distance = (access->after.rflags & X86_FLAGS_DF) != 0 ? -(int64_t)size : (int64_t)size;
    uint64_t flags, accumulator = access->after.gpr[X86_RAX] & mmio_size_mask(size);
    if (access->read_count == 0 && !access->has_write) {
        return false; /* the count was zero */
    }
    switch (in->operation) {
    case X86_OP_MOVS:
        access->write_value = access->value[0];
        break;
    case X86_OP_STOS:
        access->write_value = accumulator;
        break;
    case X86_OP_LODS:
        set_register(in, access, X86_RAX, size, access->value[0]);
        break;
    case X86_OP_SCAS:
        subtract(accumulator, access->value[0], 0, size, &flags);
        set_flags(access, X86_FLAGS_ARITHMETIC, flags);
        break;
    default: /* CMPS */
        subtract(access->value[0], access->value[1], 0, size, &flags);
        set_flags(access, X86_FLAGS_ARITHMETIC, flags);
        break;
    }
    if (operation->reads_source) {
        move_index(in, access, X86_RSI, distance);
    }
    if (operation->reads_destination || operation->writes) {
        move_index(in, access, X86_RDI, distance);
    }
    return repeat(in, access);
}

/* --- the table --- */

#define READS    .reads = true
#define WRITES   .writes = true
#define MODIFIES .reads = true, .writes = true

static const struct mmio_operation operations[X86_OP_COUNT] = {
    [X86_OP_ADD] = {compute_binary, MODIFIES, .by_direction = true},
    [X86_OP_OR] = {compute_binary, MODIFIES, .by_direction = true},
    [X86_OP_ADC] = {compute_binary, MODIFIES, .by_direction = true},
    [X86_OP_SBB] = {compute_binary, MODIFIES, .by_direction = true},
    [X86_OP_AND] = {compute_binary, MODIFIES, .by_direction = true},
    [X86_OP_SUB] = {compute_binary, MODIFIES, .by_direction = true},
    [X86_OP_XOR] = {compute_binary, MODIFIES, .by_direction = true},
    [X86_OP_CMP] = {compute_binary, READS},
    [X86_OP_TEST] = {compute_binary, READS},
    [X86_OP_NOT] = {compute_unary, MODIFIES},
    [X86_OP_NEG] = {compute_unary, MODIFIES},
    [X86_OP_INC] = {compute_unary, MODIFIES},
    [X86_OP_DEC] = {compute_unary, MODIFIES},
    [X86_OP_BT] = {mmio_compute_bit, READS},
    [X86_OP_BTS] = {mmio_compute_bit, MODIFIES},
    [X86_OP_BTR] = {mmio_compute_bit, MODIFIES},
    [X86_OP_BTC] = {mmio_compute_bit, MODIFIES},
    [X86_OP_MOV] = {compute_mov, WRITES, .by_direction = true},
    [X86_OP_MOV_MOFFS_LOAD] = {compute_accumulator, MMIO_KIND_ACCUMULATOR, READS},
    [X86_OP_MOV_MOFFS_STORE] = {compute_accumulator, MMIO_KIND_ACCUMULATOR, WRITES},
    [X86_OP_XLAT] = {compute_accumulator, MMIO_KIND_ACCUMULATOR, READS},
    [X86_OP_MOVBE] = {compute_movbe, WRITES, .by_direction = true},
    [X86_OP_MOVNTI] = {compute_mov, WRITES},
    [X86_OP_MOVZX8] = {compute_movzx, READS},
    [X86_OP_MOVZX16] = {compute_movzx, READS},
    [X86_OP_MOVSX8] = {compute_movsx, READS},
    [X86_OP_MOVSX16] = {compute_movsx, READS},
    [X86_OP_MOVSXD] = {compute_movsx, READS},
    [X86_OP_CMOVCC] = {compute_cmov, READS},
    [X86_OP_SETCC] = {compute_setcc, WRITES},
    [X86_OP_XCHG] = {compute_xchg, MODIFIES},
    [X86_OP_XADD] = {compute_xadd, MODIFIES},
    [X86_OP_CMPXCHG] = {compute_cmpxchg, MODIFIES},
    [X86_OP_CMPXCHG8B] = {compute_cmpxchg8b, MODIFIES},
    [X86_OP_CLFLUSH] = {.compute = compute_nothing},
    [X86_OP_PUSH] = {.kind = MMIO_KIND_PUSH},
    [X86_OP_POP] = {.kind = MMIO_KIND_POP},
    [X86_OP_MOVS] = {NULL, MMIO_KIND_STRING, WRITES, .reads_source = true},
    [X86_OP_CMPS] = {NULL, MMIO_KIND_STRING, .reads_source = true, .reads_destination = true},
    [X86_OP_STOS] = {NULL, MMIO_KIND_STRING, WRITES},
    [X86_OP_LODS] = {NULL, MMIO_KIND_STRING, .reads_source = true},
    [X86_OP_SCAS] = {NULL, MMIO_KIND_STRING, .reads_destination = true},
};

const struct mmio_operation *mmio_operation_find(enum x86_operation operation)
{
    if ((unsigned int)operation >= X86_OP_COUNT) {
        return NULL;
    }
    const struct mmio_operation *row = &operations[operation];
    return row->compute != NULL || row->kind != MMIO_KIND_MODRM ? row : NULL;
}

/*
 * Of the opcodes that come in both directions, those of one byte below 90H have bit 1 set when a
 * register is the destination, and 80H to 83H have immediates and memory as destination.
 */
static bool to_register(const struct x86_instruction *in)
{
    if (in->operation == X86_OP_MOVBE) {
        return in->opcode == 0xf0;
    }
    return in->immediate_size == 0 && (in->opcode & 2) != 0;
}

bool mmio_writes_modrm(const struct mmio_operation *operation, const struct x86_instruction *in)
{
    return operation->writes && !(operation->by_direction && to_register(in));
}

bool mmio_reads_modrm(const struct mmio_operation *operation, const struct x86_instruction *in)
{
    return operation->reads || (operation->by_direction && to_register(in));
}
