/*
 * Tier 1: moves, extensions, addresses, the stack, conditional moves, and the multiplications and
 * shifts by CL that compilers use.
 */
#include "engines/soft/alu.h"
#include "engines/soft/fast_operand.h"

#define HANDLER(name)                                                                              \
    static const struct soft_op *name(struct soft_cpu *cpu, const struct soft_op *op)

/* --- MOV and its relatives, stamped out by size --- */

#define FAST_MOVES(size)                                                                           \
    HANDLER(move_rr_##size)                                                                        \
    {                                                                                              \
        fast_set(cpu, op->destination, size, fast_get(cpu, op->source, size));                     \
        return soft_next(cpu, op);                                                                 \
    }                                                                                              \
    HANDLER(move_ri_##size)                                                                        \
    {                                                                                              \
        fast_set(cpu, op->destination, size, (uint64_t)op->immediate);                             \
        return soft_next(cpu, op);                                                                 \
    }                                                                                              \
    HANDLER(load_##size)                                                                           \
    {                                                                                              \
        fast_set(cpu, op->destination, size, fast_load(cpu, op, size));                            \
        return soft_next(cpu, op);                                                                 \
    }                                                                                              \
    HANDLER(store_##size)                                                                          \
    {                                                                                              \
        uint64_t value = fast_get(cpu, op->source, size);                                          \
        return fast_stored(cpu, op, soft_store(cpu, op, fast_address(cpu, op), value, size));      \
    }                                                                                              \
    HANDLER(store_immediate_##size)                                                                \
    {                                                                                              \
        uint64_t value = (uint64_t)op->immediate;                                                  \
        return fast_stored(cpu, op, soft_store(cpu, op, fast_address(cpu, op), value, size));      \
    }                                                                                              \
    HANDLER(exchange_##size)                                                                       \
    {                                                                                              \
        uint64_t a = fast_get(cpu, op->destination, size);                                         \
        fast_set(cpu, op->destination, size, fast_get(cpu, op->source, size));                     \
        fast_set(cpu, op->source, size, a);                                                        \
        return soft_next(cpu, op);                                                                 \
    }

FAST_MOVES(1)
FAST_MOVES(2)
FAST_MOVES(4)
FAST_MOVES(8)

#define FAST_BY_SIZE(name)                                                                         \
    {                                                                                              \
        name##_1, name##_2, name##_4, name##_8                                                     \
    }

static soft_handler *const move_rr[] = FAST_BY_SIZE(move_rr);
static soft_handler *const move_ri[] = FAST_BY_SIZE(move_ri);
static soft_handler *const load[] = FAST_BY_SIZE(load);
static soft_handler *const store[] = FAST_BY_SIZE(store);
static soft_handler *const store_immediate[] = FAST_BY_SIZE(store_immediate);
static soft_handler *const exchange[] = FAST_BY_SIZE(exchange);

/* --- MOVZX, MOVSX, MOVSXD: from one size to another --- */

#define FAST_EXTEND(name, from, to, type)                                                          \
    HANDLER(name##_##from##_##to##_r)                                                              \
    {                                                                                              \
        uint64_t value = fast_get(cpu, op->source, from);                                          \
        fast_set(cpu, op->destination, to, (uint64_t)(int64_t)(type)value);                        \
        return soft_next(cpu, op);                                                                 \
    }                                                                                              \
    HANDLER(name##_##from##_##to##_m)                                                              \
    {                                                                                              \
        uint64_t value = fast_load(cpu, op, from);                                                 \
        fast_set(cpu, op->destination, to, (uint64_t)(int64_t)(type)value);                        \
        return soft_next(cpu, op);                                                                 \
    }

FAST_EXTEND(zero, 1, 4, uint8_t)
FAST_EXTEND(zero, 1, 8, uint8_t)
FAST_EXTEND(zero, 2, 4, uint16_t)
FAST_EXTEND(zero, 2, 8, uint16_t)
FAST_EXTEND(sign, 1, 4, int8_t)
FAST_EXTEND(sign, 1, 8, int8_t)
FAST_EXTEND(sign, 2, 4, int16_t)
FAST_EXTEND(sign, 2, 8, int16_t)
FAST_EXTEND(sign, 4, 8, int32_t)

static const struct {
    enum x86_operation operation;
    uint8_t from, to;
    soft_handler *from_register, *from_memory;
} extensions[] = {
    {X86_OP_MOVZX8, 1, 4, zero_1_4_r, zero_1_4_m},  {X86_OP_MOVZX8, 1, 8, zero_1_8_r, zero_1_8_m},
    {X86_OP_MOVZX16, 2, 4, zero_2_4_r, zero_2_4_m}, {X86_OP_MOVZX16, 2, 8, zero_2_8_r, zero_2_8_m},
    {X86_OP_MOVSX8, 1, 4, sign_1_4_r, sign_1_4_m},  {X86_OP_MOVSX8, 1, 8, sign_1_8_r, sign_1_8_m},
    {X86_OP_MOVSX16, 2, 4, sign_2_4_r, sign_2_4_m}, {X86_OP_MOVSX16, 2, 8, sign_2_8_r, sign_2_8_m},
    {X86_OP_MOVSXD, 4, 8, sign_4_8_r, sign_4_8_m},
};

static enum soft_fast_kind lower_extension(const struct soft_cpu *cpu,
                                           const struct x86_instruction *in, struct soft_op *op)
{
    for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++) {
        if (extensions[i].operation != (enum x86_operation)in->operation ||
            extensions[i].to != in->operand_size) {
            continue;
        }
        op->destination = in->reg;
        if (x86_has_memory_operand(in)) {
            op->handler = extensions[i].from_memory;
            return fast_lower_memory(cpu, in, op) ? SOFT_FAST_NEXT : SOFT_FAST_NONE;
        }
        op->source = fast_register(in, in->rm, extensions[i].from);
        op->handler = extensions[i].from_register;
        return SOFT_FAST_NEXT;
    }
    return SOFT_FAST_NONE;
}

/* --- LEA: an address without a segment --- */

HANDLER(lea_4)
{
    cpu->gpr[op->destination] = (uint32_t)fast_address(cpu, op);
    return soft_next(cpu, op);
}

HANDLER(lea_8)
{
    cpu->gpr[op->destination] = fast_address(cpu, op);
    return soft_next(cpu, op);
}

static enum soft_fast_kind lower_lea(const struct soft_cpu *cpu, const struct x86_instruction *in,
                                     struct soft_op *op)
{
    if (in->operand_size < 4 || !fast_lower_memory(cpu, in, op)) {
        return SOFT_FAST_NONE;
    }
    op->segment = SOFT_SEGMENT_NONE;
    op->destination = in->reg;
    op->handler = in->operand_size == 8 ? lea_8 : lea_4;
    return SOFT_FAST_NEXT;
}

/* --- the stack, in the mode's own width: flat, so that RSP is the linear address --- */

#define FAST_STACK(width)                                                                          \
    static inline const struct soft_op *push_##width(struct soft_cpu *cpu,                         \
                                                     const struct soft_op *op, uint64_t value)     \
    {                                                                                              \
        uint64_t to = (cpu->gpr[X86_RSP] - width) & cpu->address_mask;                             \
        bool changed = soft_push_store(cpu, op, to, value, width);                                 \
        cpu->gpr[X86_RSP] = to;                                                                    \
        return fast_stored(cpu, op, changed);                                                      \
    }                                                                                              \
    HANDLER(push_register_##width)                                                                 \
    {                                                                                              \
        return push_##width(cpu, op, fast_get(cpu, op->source, width));                            \
    }                                                                                              \
    HANDLER(push_immediate_##width)                                                                \
    {                                                                                              \
        return push_##width(cpu, op, (uint64_t)op->immediate);                                     \
    }                                                                                              \
    HANDLER(push_memory_##width)                                                                   \
    {                                                                                              \
        return push_##width(cpu, op, fast_load(cpu, op, width));                                   \
    }                                                                                              \
    HANDLER(pop_register_##width)                                                                  \
    {                                                                                              \
        uint64_t from = cpu->gpr[X86_RSP] & cpu->address_mask;                                     \
        uint64_t value = soft_load(cpu, op, from, width);                                          \
        cpu->gpr[X86_RSP] = (from + width) & cpu->address_mask;                                    \
        fast_set(cpu, op->destination, width, value);                                              \
        return soft_next(cpu, op);                                                                 \
    }                                                                                              \
    HANDLER(leave_##width)                                                                         \
    {                                                                                              \
        uint64_t from = cpu->gpr[X86_RBP] & cpu->address_mask;                                     \
        uint64_t value = soft_load(cpu, op, from, width);                                          \
        cpu->gpr[X86_RSP] = (from + width) & cpu->address_mask;                                    \
        fast_set(cpu, X86_RBP, width, value);                                                      \
        return soft_next(cpu, op);                                                                 \
    }

FAST_STACK(4)
FAST_STACK(8)

static enum soft_fast_kind lower_stack(const struct soft_cpu *cpu, const struct x86_instruction *in,
                                       struct soft_op *op)
{
    bool wide = soft_64bit(cpu);
    if (in->operand_size != (wide ? 8 : 4)) {
        return SOFT_FAST_NONE;
    }
    op->segment = X86_SS; /* for #SS when the address is not canonical */
    if (in->operation == X86_OP_LEAVE) {
        op->handler = wide ? leave_8 : leave_4;
        return SOFT_FAST_NEXT;
    }
    bool push = in->operation == X86_OP_PUSH;
    if (x86_has_memory_operand(in)) {
        op->handler = wide ? push_memory_8 : push_memory_4;
        return push && fast_lower_memory(cpu, in, op) ? SOFT_FAST_NEXT : SOFT_FAST_NONE;
    }
    if (!push) {
        op->destination = (in->flags & X86_INSTRUCTION_MODRM) != 0 ? in->rm : in->reg;
        op->handler = wide ? pop_register_8 : pop_register_4;
        return SOFT_FAST_NEXT;
    }
    if (in->immediate_size != 0) {
        op->immediate = in->immediate;
        op->handler = wide ? push_immediate_8 : push_immediate_4;
        return SOFT_FAST_NEXT;
    }
    op->source = (in->flags & X86_INSTRUCTION_MODRM) != 0 ? in->rm : in->reg;
    op->handler = wide ? push_register_8 : push_register_4;
    return SOFT_FAST_NEXT;
}

/* --- CMOVcc and SETcc: the condition in op->source or destination's partner --- */

HANDLER(cmov_r_4)
{
    bool met = soft_condition(cpu->arithmetic, (unsigned int)op->immediate);
    uint64_t value = met ? cpu->gpr[op->source] : cpu->gpr[op->destination];
    cpu->gpr[op->destination] = (uint32_t)value;
    return soft_next(cpu, op);
}

HANDLER(cmov_r_8)
{
    if (soft_condition(cpu->arithmetic, (unsigned int)op->immediate)) {
        cpu->gpr[op->destination] = cpu->gpr[op->source];
    }
    return soft_next(cpu, op);
}

HANDLER(cmov_m_4)
{
    uint64_t value = fast_load(cpu, op, 4);
    bool met = soft_condition(cpu->arithmetic, (unsigned int)op->immediate);
    cpu->gpr[op->destination] = (uint32_t)(met ? value : cpu->gpr[op->destination]);
    return soft_next(cpu, op);
}

HANDLER(cmov_m_8)
{
    uint64_t value = fast_load(cpu, op, 8);
    if (soft_condition(cpu->arithmetic, (unsigned int)op->immediate)) {
        cpu->gpr[op->destination] = value;
    }
    return soft_next(cpu, op);
}

HANDLER(setcc_r)
{
    fast_set(cpu, op->destination, 1, soft_condition(cpu->arithmetic, (unsigned int)op->immediate));
    return soft_next(cpu, op);
}

HANDLER(setcc_m)
{
    bool met = soft_condition(cpu->arithmetic, (unsigned int)op->immediate);
    return fast_stored(cpu, op, soft_store(cpu, op, fast_address(cpu, op), met, 1));
}

static enum soft_fast_kind lower_conditional(const struct soft_cpu *cpu,
                                             const struct x86_instruction *in, struct soft_op *op)
{
    op->immediate = in->condition;
    bool memory = x86_has_memory_operand(in);
    if (memory && !fast_lower_memory(cpu, in, op)) {
        return SOFT_FAST_NONE;
    }
    if (in->operation == X86_OP_SETCC) {
        op->destination = fast_register(in, in->rm, 1);
        op->handler = memory ? setcc_m : setcc_r;
        return SOFT_FAST_NEXT;
    }
    if (in->operand_size < 4) {
        return SOFT_FAST_NONE;
    }
    op->destination = in->reg;
    op->source = in->rm;
    bool wide = in->operand_size == 8;
    op->handler = memory ? (wide ? cmov_m_8 : cmov_m_4) : (wide ? cmov_r_8 : cmov_r_4);
    return SOFT_FAST_NEXT;
}

/* --- multiplication into one register --- */

/*
 * SF, ZF, AF and PF are undefined ("IMUL—Signed Multiply"): they are what the host makes of those
 * before, so that both tiers agree.
 */
static inline uint64_t multiply(struct soft_cpu *cpu, uint64_t a, uint64_t b, unsigned int size)
{
    uint16_t flags = cpu->arithmetic;
    if (size == 8) {
        __asm__(SOFT_ALU_RESTORE "imulq %q[b], %q[a]" SOFT_ALU_CAPTURE
                : "+&a"(flags), [a] "+r"(a)
                : [b] "r"(b)
                : "cc");
    } else {
        __asm__(SOFT_ALU_RESTORE "imull %k[b], %k[a]" SOFT_ALU_CAPTURE
                : "+&a"(flags), [a] "+r"(a)
                : [b] "r"(b)
                : "cc");
    }
    cpu->arithmetic = flags;
    return a;
}

#define FAST_MULTIPLY(size)                                                                        \
    HANDLER(multiply_r_##size)                                                                     \
    {                                                                                              \
        uint64_t a = cpu->gpr[op->destination];                                                    \
        fast_set(cpu, op->destination, size, multiply(cpu, a, cpu->gpr[op->source], size));        \
        return soft_next(cpu, op);                                                                 \
    }                                                                                              \
    HANDLER(multiply_m_##size)                                                                     \
    {                                                                                              \
        uint64_t b = fast_load(cpu, op, size);                                                     \
        uint64_t a = cpu->gpr[op->destination];                                                    \
        fast_set(cpu, op->destination, size, multiply(cpu, a, b, size));                           \
        return soft_next(cpu, op);                                                                 \
    }                                                                                              \
    HANDLER(multiply_immediate_##size)                                                             \
    {                                                                                              \
        uint64_t a = cpu->gpr[op->source];                                                         \
        fast_set(cpu, op->destination, size, multiply(cpu, a, (uint64_t)op->immediate, size));     \
        return soft_next(cpu, op);                                                                 \
    }

FAST_MULTIPLY(4)
FAST_MULTIPLY(8)

static enum soft_fast_kind lower_multiply(const struct soft_cpu *cpu,
                                          const struct x86_instruction *in, struct soft_op *op)
{
    bool wide = in->operand_size == 8, memory = x86_has_memory_operand(in);
    bool immediate = in->operation == X86_OP_IMUL3;
    if (in->operand_size < 4 || (immediate && memory) ||
        (memory && !fast_lower_memory(cpu, in, op))) {
        return SOFT_FAST_NONE;
    }
    op->destination = in->reg;
    op->source = in->rm;
    op->immediate = in->immediate;
    if (immediate) {
        op->handler = wide ? multiply_immediate_8 : multiply_immediate_4;
    } else if (memory) {
        op->handler = wide ? multiply_m_8 : multiply_m_4;
    } else {
        op->handler = wide ? multiply_r_8 : multiply_r_4;
    }
    return SOFT_FAST_NEXT;
}

/* --- shifts of registers by CL; a masked count of 0 changes no flag --- */

#define FAST_SHIFT_CL(name, bits, size)                                                            \
    HANDLER(name##_cl_##size)                                                                      \
    {                                                                                              \
        uint64_t count = cpu->gpr[X86_RCX] & ((bits)-1);                                           \
        uint64_t value = fast_get(cpu, op->destination, size);                                     \
        if (count != 0) {                                                                          \
            value = soft_##name##bits(&cpu->arithmetic, value, count);                             \
        }                                                                                          \
        fast_set(cpu, op->destination, size, value);                                               \
        return soft_next(cpu, op);                                                                 \
    }

FAST_SHIFT_CL(rol, 32, 4)
FAST_SHIFT_CL(rol, 64, 8)
FAST_SHIFT_CL(ror, 32, 4)
FAST_SHIFT_CL(ror, 64, 8)
FAST_SHIFT_CL(shl, 32, 4)
FAST_SHIFT_CL(shl, 64, 8)
FAST_SHIFT_CL(shr, 32, 4)
FAST_SHIFT_CL(shr, 64, 8)
FAST_SHIFT_CL(sar, 32, 4)
FAST_SHIFT_CL(sar, 64, 8)

static const struct {
    enum x86_operation operation;
    soft_handler *narrow, *wide;
} shifts_by_cl[] = {
    {X86_OP_ROL, rol_cl_4, rol_cl_8}, {X86_OP_ROR, ror_cl_4, ror_cl_8},
    {X86_OP_SHL, shl_cl_4, shl_cl_8}, {X86_OP_SAL, shl_cl_4, shl_cl_8},
    {X86_OP_SHR, shr_cl_4, shr_cl_8}, {X86_OP_SAR, sar_cl_4, sar_cl_8},
};

static enum soft_fast_kind lower_shift_by_cl(const struct x86_instruction *in, struct soft_op *op)
{
    if (in->opcode != 0xd3 || x86_has_memory_operand(in) || in->operand_size < 4) {
        return SOFT_FAST_NONE;
    }
    for (size_t i = 0; i < sizeof(shifts_by_cl) / sizeof(shifts_by_cl[0]); i++) {
        if (shifts_by_cl[i].operation == (enum x86_operation)in->operation) {
            op->destination = in->rm;
            op->handler = in->operand_size == 8 ? shifts_by_cl[i].wide : shifts_by_cl[i].narrow;
            return SOFT_FAST_NEXT;
        }
    }
    return SOFT_FAST_NONE;
}

/* --- odds and ends --- */

HANDLER(nop)
{
    return soft_next(cpu, op);
}

HANDLER(cwde)
{
    int32_t extended = (int16_t)cpu->gpr[X86_RAX];
    cpu->gpr[X86_RAX] = (uint32_t)extended;
    return soft_next(cpu, op);
}

HANDLER(cdqe)
{
    cpu->gpr[X86_RAX] = (uint64_t)(int64_t)(int32_t)cpu->gpr[X86_RAX];
    return soft_next(cpu, op);
}

HANDLER(cdq)
{
    cpu->gpr[X86_RDX] = (int32_t)cpu->gpr[X86_RAX] < 0 ? UINT32_MAX : 0;
    return soft_next(cpu, op);
}

HANDLER(cqo)
{
    cpu->gpr[X86_RDX] = (int64_t)cpu->gpr[X86_RAX] < 0 ? UINT64_MAX : 0;
    return soft_next(cpu, op);
}

static enum soft_fast_kind lower_sign(const struct x86_instruction *in, struct soft_op *op)
{
    if (in->operand_size < 4) {
        return SOFT_FAST_NONE;
    }
    bool wide = in->operand_size == 8;
    op->handler = in->operation == X86_OP_CBW ? (wide ? cdqe : cwde) : (wide ? cqo : cdq);
    return SOFT_FAST_NEXT;
}

static enum soft_fast_kind lower_exchange(const struct x86_instruction *in, struct soft_op *op)
{
    if (x86_has_memory_operand(in)) {
        return SOFT_FAST_NONE; /* locked */
    }
    unsigned int size = in->operand_size;
    bool has_modrm = (in->flags & X86_INSTRUCTION_MODRM) != 0;
    op->destination = fast_register(in, in->reg, size);
    op->source = has_modrm ? fast_register(in, in->rm, size) : fast_register(in, X86_RAX, size);
    op->handler = exchange[soft_size_index(size)];
    return SOFT_FAST_NEXT;
}

/* 88..8B, B0..BF, C6, C7 */
static enum soft_fast_kind lower_mov(const struct soft_cpu *cpu, const struct x86_instruction *in,
                                     struct soft_op *op)
{
    unsigned int size = in->operand_size, index = soft_size_index(size);
    uint8_t reg = fast_register(in, in->reg, size), rm = fast_register(in, in->rm, size);
    bool memory = x86_has_memory_operand(in);
    if (memory && !fast_lower_memory(cpu, in, op)) {
        return SOFT_FAST_NONE;
    }
    if (in->immediate_size != 0) {
        op->immediate = in->immediate;
        op->destination = (in->flags & X86_INSTRUCTION_MODRM) != 0 ? rm : reg;
        op->handler = memory ? store_immediate[index] : move_ri[index];
        return SOFT_FAST_NEXT;
    }
    bool to_register = (in->opcode & 2) != 0;
    op->destination = to_register ? reg : rm;
    op->source = to_register ? rm : reg;
    op->handler = !memory ? move_rr[index] : to_register ? load[index] : store[index];
    return SOFT_FAST_NEXT;
}

enum soft_fast_kind fast_lower_move(const struct soft_cpu *cpu, const struct x86_instruction *in,
                                    struct soft_op *op)
{
    switch ((enum x86_operation)in->operation) {
    case X86_OP_MOV:
        return lower_mov(cpu, in, op);
    case X86_OP_MOVZX8:
    case X86_OP_MOVZX16:
    case X86_OP_MOVSX8:
    case X86_OP_MOVSX16:
    case X86_OP_MOVSXD:
        return lower_extension(cpu, in, op);
    case X86_OP_LEA:
        return lower_lea(cpu, in, op);
    case X86_OP_PUSH:
    case X86_OP_POP:
    case X86_OP_LEAVE:
        return lower_stack(cpu, in, op);
    case X86_OP_CMOVCC:
    case X86_OP_SETCC:
        return lower_conditional(cpu, in, op);
    case X86_OP_IMUL2:
    case X86_OP_IMUL3:
        return lower_multiply(cpu, in, op);
    case X86_OP_CBW:
    case X86_OP_CWD:
        return lower_sign(in, op);
    case X86_OP_XCHG:
        return lower_exchange(in, op);
    case X86_OP_NOP:
        op->handler = nop;
        return SOFT_FAST_NEXT;
    default:
        return lower_shift_by_cl(in, op);
    }
}
