/*
 * Tier 1: arithmetic, logic, shifts. The host's own instruction makes result and flags.
 *
 * Unlike alu.h's general functions those here do not first put the old flags back where the
 * instruction overwrites them all: that would chain every instruction to the one before it.
 */
#include "engines/soft/alu.h"
#include "engines/soft/fast_operand.h"

typedef uint64_t fast_alu(struct soft_cpu *cpu, uint64_t a, uint64_t b);

/* --- results and flags --- */

/* An instruction that writes all arithmetic flags and reads none. */
#define FAST_WRITES_FLAGS_SIZE(name, mnemonic, size, modifier)                                     \
    static inline uint64_t name##_##size(struct soft_cpu *cpu, uint64_t a, uint64_t b)             \
    {                                                                                              \
        uint16_t flags;                                                                            \
        __asm__(mnemonic " %" modifier "[b], %" modifier "[a]\n\tlahf\n\tseto %%al"                \
                : "=&a"(flags), [a] "+q"(a)                                                        \
                : [b] "q"(b)                                                                       \
                : "cc");                                                                           \
        cpu->arithmetic = flags;                                                                   \
        return a;                                                                                  \
    }
#define FAST_WRITES_FLAGS(name, mnemonic)                                                          \
    FAST_WRITES_FLAGS_SIZE(name, mnemonic "b", 1, "b")                                             \
    FAST_WRITES_FLAGS_SIZE(name, mnemonic "w", 2, "w")                                             \
    FAST_WRITES_FLAGS_SIZE(name, mnemonic "l", 4, "k")                                             \
    FAST_WRITES_FLAGS_SIZE(name, mnemonic "q", 8, "q")

FAST_WRITES_FLAGS(add, "add")
FAST_WRITES_FLAGS(or, "or")
FAST_WRITES_FLAGS(and, "and")
FAST_WRITES_FLAGS(sub, "sub")
FAST_WRITES_FLAGS(xor, "xor")
FAST_WRITES_FLAGS(cmp, "cmp")
FAST_WRITES_FLAGS(test, "test")

/* Those that read the carry: alu.h's, with the flags put back first. */
#define FAST_READS_FLAGS(name)                                                                     \
    static inline uint64_t name##_1(struct soft_cpu *cpu, uint64_t a, uint64_t b)                  \
    {                                                                                              \
        return soft_##name##8(&cpu->arithmetic, a, b);                                             \
    }                                                                                              \
    static inline uint64_t name##_2(struct soft_cpu *cpu, uint64_t a, uint64_t b)                  \
    {                                                                                              \
        return soft_##name##16(&cpu->arithmetic, a, b);                                            \
    }                                                                                              \
    static inline uint64_t name##_4(struct soft_cpu *cpu, uint64_t a, uint64_t b)                  \
    {                                                                                              \
        return soft_##name##32(&cpu->arithmetic, a, b);                                            \
    }                                                                                              \
    static inline uint64_t name##_8(struct soft_cpu *cpu, uint64_t a, uint64_t b)                  \
    {                                                                                              \
        return soft_##name##64(&cpu->arithmetic, a, b);                                            \
    }

FAST_READS_FLAGS(adc)
FAST_READS_FLAGS(sbb)
FAST_READS_FLAGS(neg)
FAST_READS_FLAGS(inc)
FAST_READS_FLAGS(dec)
FAST_READS_FLAGS(rol)
FAST_READS_FLAGS(ror)
FAST_READS_FLAGS(shl)
FAST_READS_FLAGS(shr)
FAST_READS_FLAGS(sar)

#define FAST_NOT(size)                                                                             \
    static inline uint64_t not_##size(struct soft_cpu *cpu, uint64_t a, uint64_t b)                \
    {                                                                                              \
        (void)cpu;                                                                                 \
        (void)b;                                                                                   \
        return ~a;                                                                                 \
    }
FAST_NOT(1)
FAST_NOT(2)
FAST_NOT(4)
FAST_NOT(8)

/* --- the forms; each is inlined into one handler for each operation and size --- */

static inline __attribute__((always_inline)) const struct soft_op *
register_register(struct soft_cpu *cpu, const struct soft_op *op, fast_alu *alu, unsigned int size,
                  bool writes)
{
    uint64_t result =
        alu(cpu, fast_get(cpu, op->destination, size), fast_get(cpu, op->source, size));
    if (writes) {
        fast_set(cpu, op->destination, size, result);
    }
    return soft_next(cpu, op);
}

static inline __attribute__((always_inline)) const struct soft_op *
register_immediate(struct soft_cpu *cpu, const struct soft_op *op, fast_alu *alu, unsigned int size,
                   bool writes)
{
    uint64_t result = alu(cpu, fast_get(cpu, op->destination, size), (uint64_t)op->immediate);
    if (writes) {
        fast_set(cpu, op->destination, size, result);
    }
    return soft_next(cpu, op);
}

static inline __attribute__((always_inline)) const struct soft_op *
register_memory(struct soft_cpu *cpu, const struct soft_op *op, fast_alu *alu, unsigned int size,
                bool writes)
{
    uint64_t memory = fast_load(cpu, op, size);
    uint64_t result = alu(cpu, fast_get(cpu, op->destination, size), memory);
    if (writes) {
        fast_set(cpu, op->destination, size, result);
    }
    return soft_next(cpu, op);
}

/* The memory operand is the destination. */
static inline __attribute__((always_inline)) const struct soft_op *
memory_value(struct soft_cpu *cpu, const struct soft_op *op, fast_alu *alu, unsigned int size,
             bool writes, uint64_t value)
{
    uint64_t linear = fast_address(cpu, op);
    if (!writes) {
        alu(cpu, soft_load(cpu, op, linear, size), value);
        return soft_next(cpu, op);
    }
    const struct soft_tlb_entry *entry;
    uint8_t *host = fast_modify(cpu, op, linear, size, &entry);
    if (__builtin_expect(host == NULL, 0)) {
        return fast_give_up(cpu, op);
    }
    soft_host_store(host, alu(cpu, soft_host_load(host, size), value), size);
    bool changed = false;
    if (__builtin_expect(!soft_tlb_still_writable(entry, linear), 0)) {
        changed = soft_store_raced(cpu, linear, size);
    }
    return fast_stored(cpu, op, changed);
}

/* --- handlers --- */

enum form { FORM_RR, FORM_RI, FORM_RM, FORM_MR, FORM_MI, FORM_COUNT };

#define FAST_HANDLERS_SIZE(name, size, writes)                                                     \
    static const struct soft_op *name##_rr_##size(struct soft_cpu *cpu, const struct soft_op *op)  \
    {                                                                                              \
        return register_register(cpu, op, name##_##size, size, writes);                            \
    }                                                                                              \
    static const struct soft_op *name##_ri_##size(struct soft_cpu *cpu, const struct soft_op *op)  \
    {                                                                                              \
        return register_immediate(cpu, op, name##_##size, size, writes);                           \
    }                                                                                              \
    static const struct soft_op *name##_rm_##size(struct soft_cpu *cpu, const struct soft_op *op)  \
    {                                                                                              \
        return register_memory(cpu, op, name##_##size, size, writes);                              \
    }                                                                                              \
    static const struct soft_op *name##_mr_##size(struct soft_cpu *cpu, const struct soft_op *op)  \
    {                                                                                              \
        return memory_value(cpu, op, name##_##size, size, writes,                                  \
                            fast_get(cpu, op->source, size));                                      \
    }                                                                                              \
    static const struct soft_op *name##_mi_##size(struct soft_cpu *cpu, const struct soft_op *op)  \
    {                                                                                              \
        return memory_value(cpu, op, name##_##size, size, writes, (uint64_t)op->immediate);        \
    }

/* Shifts have no register-memory form; by CL the count may be 0, which changes nothing. */
#define FAST_HANDLERS(name, writes)                                                                \
    FAST_HANDLERS_SIZE(name, 1, writes)                                                            \
    FAST_HANDLERS_SIZE(name, 2, writes)                                                            \
    FAST_HANDLERS_SIZE(name, 4, writes)                                                            \
    FAST_HANDLERS_SIZE(name, 8, writes)

#define FAST_FORM(name, form)                                                                      \
    {                                                                                              \
        name##form##_1, name##form##_2, name##form##_4, name##form##_8                             \
    }
#define FAST_ROW(name)                                                                             \
    {                                                                                              \
        FAST_FORM(name, _rr), FAST_FORM(name, _ri), FAST_FORM(name, _rm), FAST_FORM(name, _mr),    \
            FAST_FORM(name, _mi)                                                                   \
    }

FAST_HANDLERS(add, true)
FAST_HANDLERS(or, true)
FAST_HANDLERS(adc, true)
FAST_HANDLERS(sbb, true)
FAST_HANDLERS(and, true)
FAST_HANDLERS(sub, true)
FAST_HANDLERS(xor, true)
FAST_HANDLERS(cmp, false)
FAST_HANDLERS(test, false)
FAST_HANDLERS(not, true)
FAST_HANDLERS(neg, true)
FAST_HANDLERS(inc, true)
FAST_HANDLERS(dec, true)
FAST_HANDLERS(rol, true)
FAST_HANDLERS(ror, true)
FAST_HANDLERS(shl, true)
FAST_HANDLERS(shr, true)
FAST_HANDLERS(sar, true)

typedef soft_handler *const handler_row[FORM_COUNT][4];

/* By operation; rows of NULL are not lowered here. */
static const struct {
    enum x86_operation operation;
    soft_handler *handlers[FORM_COUNT][4];
} table[] = {
    {X86_OP_ADD, FAST_ROW(add)},  {X86_OP_OR, FAST_ROW(or)},   {X86_OP_ADC, FAST_ROW(adc)},
    {X86_OP_SBB, FAST_ROW(sbb)},  {X86_OP_AND, FAST_ROW(and)}, {X86_OP_SUB, FAST_ROW(sub)},
    {X86_OP_XOR, FAST_ROW(xor)},  {X86_OP_CMP, FAST_ROW(cmp)}, {X86_OP_TEST, FAST_ROW(test)},
    {X86_OP_NOT, FAST_ROW(not )}, {X86_OP_NEG, FAST_ROW(neg)}, {X86_OP_INC, FAST_ROW(inc)},
    {X86_OP_DEC, FAST_ROW(dec)},  {X86_OP_ROL, FAST_ROW(rol)}, {X86_OP_ROR, FAST_ROW(ror)},
    {X86_OP_SHL, FAST_ROW(shl)},  {X86_OP_SHR, FAST_ROW(shr)}, {X86_OP_SAL, FAST_ROW(shl)},
    {X86_OP_SAR, FAST_ROW(sar)},
};

static bool is_shift(enum x86_operation operation)
{
    return operation >= X86_OP_ROL && operation <= X86_OP_SAR;
}

/*
 * Where the operands of the one-byte map's arithmetic lie. The eight of the classic group: opcodes
 * 00..3F by their low three bits, 80..83 with an immediate; TEST 84, 85, A8, A9, F6, F7.
 */
static bool operand_form(const struct x86_instruction *in, enum form *form)
{
    bool memory = x86_has_memory_operand(in);
    bool has_modrm = (in->flags & X86_INSTRUCTION_MODRM) != 0;
    if (in->map != X86_MAP_ONE_BYTE) {
        return false;
    }
    if (in->immediate_size != 0 || is_shift((enum x86_operation)in->operation)) {
        *form = memory ? FORM_MI : FORM_RI;
        return true;
    }
    if (!has_modrm || in->opcode >= 0xf0) {
        *form = memory ? FORM_MI : FORM_RI; /* one operand: NOT, NEG, INC, DEC */
        return true;
    }
    bool to_register = (in->opcode & 2) != 0 && in->opcode < 0x40;
    *form = !memory ? FORM_RR : to_register ? FORM_RM : FORM_MR;
    return true;
}

static bool lower_shift(const struct x86_instruction *in, struct soft_op *op, unsigned int size)
{
    if (in->opcode == 0xd2 || in->opcode == 0xd3) {
        return false; /* by CL: fast_move.c */
    }
    unsigned int count = in->opcode == 0xd0 || in->opcode == 0xd1 ? 1 : (unsigned int)in->immediate;
    count &= size == 8 ? 63 : 31;
    op->immediate = (int64_t)count;
    return count != 0;
}

static void lower_registers(const struct x86_instruction *in, struct soft_op *op, enum form form,
                            unsigned int size)
{
    bool has_modrm = (in->flags & X86_INSTRUCTION_MODRM) != 0;
    bool to_register = (in->opcode & 2) != 0 && in->opcode < 0x40;
    uint8_t reg = fast_register(in, in->reg, size), rm = fast_register(in, in->rm, size);
    switch (form) {
    case FORM_RR:
        op->destination = to_register ? reg : rm;
        op->source = to_register ? rm : reg;
        break;
    case FORM_RI:
        /* without ModRM: AL/eAX, or 40..4F's register, which the decoder leaves in reg */
        op->destination = has_modrm ? rm : reg;
        break;
    case FORM_RM:
        op->destination = reg;
        break;
    default:
        op->source = reg;
        break;
    }
}

enum soft_fast_kind fast_lower_alu(const struct soft_cpu *cpu, const struct x86_instruction *in,
                                   struct soft_op *op)
{
    const size_t rows = sizeof(table) / sizeof(table[0]);
    size_t row = 0;
    while (row < rows && table[row].operation != (enum x86_operation)in->operation) {
        row++;
    }
    enum form form;
    if (row == rows || !operand_form(in, &form)) {
        return SOFT_FAST_NONE;
    }
    unsigned int size = in->operand_size;
    op->immediate = in->immediate;
    if (is_shift(table[row].operation) && !lower_shift(in, op, size)) {
        return SOFT_FAST_NONE;
    }
    if (x86_has_memory_operand(in) && !fast_lower_memory(cpu, in, op)) {
        return SOFT_FAST_NONE;
    }
    lower_registers(in, op, form, size);
    op->handler = table[row].handlers[form][soft_size_index(size)];
    return SOFT_FAST_NEXT;
}
