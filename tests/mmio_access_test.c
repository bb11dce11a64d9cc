/*
 * Instructions on device memory: every form against the host's own CPU (64-bit code) and against
 * the soft engine (64, 32 and 16-bit code, the stack); addresses, faults and refusals by hand.
 */
#include "x86/mmio_access.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"
#include "soft_identity.h"
#include "soft_native.h"
#include "x86/registers.h"

#define CASES_PER_FORM 300
#define DATA_BYTES     65536u
#define ELEMENTS_MAX   16u
#define RFLAGS_TRIED   (X86_FLAGS_ARITHMETIC | X86_FLAGS_DF)

static uint8_t *data; /* below 4 GBytes, so that 32-bit addresses reach it */
static uint8_t before_bytes[DATA_BYTES], after_bytes[DATA_BYTES];

/* --- random numbers (xorshift; the seed is fixed) --- */

static uint64_t random_state = UINT64_C(0x1d872b41e3a0c96f);

static uint64_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static uint64_t random_below(uint64_t limit)
{
    return random_bits() % limit;
}

/* Values at the edges come up often. */
static uint64_t random_operand(void)
{
    static const uint64_t edges[] = {0, 1, UINT64_MAX, 0x80, 0x8000, 0x80000000, INT64_MAX};
    return random_below(3) == 0 ? edges[random_below(sizeof edges / sizeof edges[0])]
                                : random_bits() >> random_below(64);
}

/* --- forms --- */

enum kind { MODRM, STRING, MOFFS, XLAT, STACK_REGISTER, STACK_IMMEDIATE, STACK_MODRM };

struct form {
    const char *name;
    uint8_t bytes[3];
    uint8_t length;
    uint8_t kind;
    int8_t group;      /* ModRM.reg, or -1: any register */
    uint8_t immediate; /* bytes; 4: as wide as the operand, up to 4 */
    bool is_byte;      /* operand-size prefixes mean nothing */
    bool lock;         /* LOCK is allowed */
    bool is_bit;       /* the register is a bit offset */
};

#define BOTH(name, opcode, kind, group, immediate, lock)                                           \
    {name, {opcode}, 1, kind, group, (immediate) != 0 ? 1 : 0, true, lock, false},                 \
    {                                                                                              \
        name, {(opcode) + 1}, 1, kind, group, immediate, false, lock, false                        \
    }
#define CLASSIC(name, number, lock)                                                                \
    BOTH(name, (number)*8, MODRM, -1, 0, lock),                                                    \
        BOTH(name " load", (number)*8 + 2, MODRM, -1, 0, false),                                   \
        BOTH(name " immediate", 0x80, MODRM, number, 4, lock),                                     \
    {                                                                                              \
        name " byte immediate", {0x83}, 1, MODRM, number, 1, false, lock, false                    \
    }
#define TWO(name, opcode, group, immediate, is_byte, lock)                                         \
    {                                                                                              \
        name, {0x0f, opcode}, 2, MODRM, group, immediate, is_byte, lock, false                     \
    }
#define BIT(name, opcode, lock)                                                                    \
    {                                                                                              \
        name, {0x0f, opcode}, 2, MODRM, -1, 0, false, lock, true                                   \
    }

static const struct form forms[] = {
    CLASSIC("add", 0, true),
    CLASSIC("or", 1, true),
    CLASSIC("adc", 2, true),
    CLASSIC("sbb", 3, true),
    CLASSIC("and", 4, true),
    CLASSIC("sub", 5, true),
    CLASSIC("xor", 6, true),
    CLASSIC("cmp", 7, false),
    BOTH("test", 0x84, MODRM, -1, 0, false),
    BOTH("test immediate", 0xf6, MODRM, 0, 4, false),
    BOTH("not", 0xf6, MODRM, 2, 0, true),
    BOTH("neg", 0xf6, MODRM, 3, 0, true),
    BOTH("inc", 0xfe, MODRM, 0, 0, true),
    BOTH("dec", 0xfe, MODRM, 1, 0, true),
    BOTH("mov store", 0x88, MODRM, -1, 0, false),
    BOTH("mov load", 0x8a, MODRM, -1, 0, false),
    BOTH("mov immediate", 0xc6, MODRM, 0, 4, false),
    BOTH("mov moffs load", 0xa0, MOFFS, -1, 0, false),
    BOTH("mov moffs store", 0xa2, MOFFS, -1, 0, false),
    {"xlat", {0xd7}, 1, XLAT, -1, 0, true, false, false},
    {"movbe load", {0x0f, 0x38, 0xf0}, 3, MODRM, -1, 0, false, false, false},
    {"movbe store", {0x0f, 0x38, 0xf1}, 3, MODRM, -1, 0, false, false, false},
    TWO("movnti", 0xc3, -1, 0, false, false),
    TWO("movzx8", 0xb6, -1, 0, false, false),
    TWO("movzx16", 0xb7, -1, 0, false, false),
    TWO("movsx8", 0xbe, -1, 0, false, false),
    TWO("movsx16", 0xbf, -1, 0, false, false),
    TWO("cmovo", 0x40, -1, 0, false, false),
    TWO("cmovnb", 0x43, -1, 0, false, false),
    TWO("cmovz", 0x44, -1, 0, false, false),
    TWO("cmovbe", 0x46, -1, 0, false, false),
    TWO("cmovs", 0x48, -1, 0, false, false),
    TWO("cmovp", 0x4a, -1, 0, false, false),
    TWO("cmovl", 0x4c, -1, 0, false, false),
    TWO("cmovnle", 0x4f, -1, 0, false, false),
    TWO("setb", 0x92, -1, 0, true, false),
    TWO("setnl", 0x9d, -1, 0, true, false),
    BOTH("xchg", 0x86, MODRM, -1, 0, true),
    TWO("xadd8", 0xc0, -1, 0, true, true),
    TWO("xadd", 0xc1, -1, 0, false, true),
    TWO("cmpxchg8", 0xb0, -1, 0, true, true),
    TWO("cmpxchg", 0xb1, -1, 0, false, true),
    TWO("cmpxchg8b", 0xc7, 1, 0, true, true),
    BIT("bt", 0xa3, false),
    BIT("bts", 0xab, true),
    BIT("btr", 0xb3, true),
    BIT("btc", 0xbb, true),
    TWO("bt immediate", 0xba, 4, 1, false, false),
    TWO("bts immediate", 0xba, 5, 1, false, true),
    TWO("btr immediate", 0xba, 6, 1, false, true),
    TWO("btc immediate", 0xba, 7, 1, false, true),
    TWO("clflush", 0xae, 7, 0, true, false),
    BOTH("movs", 0xa4, STRING, -1, 0, false),
    BOTH("cmps", 0xa6, STRING, -1, 0, false),
    BOTH("stos", 0xaa, STRING, -1, 0, false),
    BOTH("lods", 0xac, STRING, -1, 0, false),
    BOTH("scas", 0xae, STRING, -1, 0, false),
    {"push", {0x50}, 1, STACK_REGISTER, -1, 0, false, false, false},
    {"pop", {0x58}, 1, STACK_REGISTER, -1, 0, false, false, false},
    {"push immediate", {0x68}, 1, STACK_IMMEDIATE, -1, 4, false, false, false},
    {"push byte", {0x6a}, 1, STACK_IMMEDIATE, -1, 1, false, false, false},
    {"push memory", {0xff}, 1, STACK_MODRM, 6, 0, false, false, false},
    {"pop memory", {0x8f}, 1, STACK_MODRM, 0, 0, false, false, false},
};
/* MOVSXD is 64-bit code alone. */
static const struct form movsxd = {"movsxd", {0x63}, 1, MODRM, -1, 0, false, false, false};

static bool is_stack(const struct form *form)
{
    return form->kind >= STACK_REGISTER;
}

/* --- one case: bytes, and registers that point into the data --- */

struct instruction_case {
    uint8_t bytes[X86_INSTRUCTION_MAX];
    unsigned int length;
    struct mmio_registers registers;
};

static void put(struct instruction_case *made, uint64_t value, unsigned int size)
{
    memcpy(made->bytes + made->length, &value, size);
    made->length += size;
}

/* The host's side keeps its own RSP, R14 and R15. */
static unsigned int random_register(const struct form *form, bool is_64, unsigned int rex)
{
    if (form->group >= 0) {
        return (unsigned int)form->group;
    }
    for (;;) {
        unsigned int reg = (unsigned int)random_below(8);
        unsigned int number = reg | (rex & 4) << 1;
        bool high_byte = form->is_byte && rex == 0;
        if (form->is_bit && (number == X86_RBX || number == X86_RCX)) {
            continue; /* it would move the address anywhere */
        }
        if (!is_64 || high_byte || (number != X86_RSP && number != X86_R14 && number != X86_R15)) {
            return reg;
        }
    }
}

/* 64-bit code: [rbx], [rbx+disp8] or [rbx+rcx*scale+disp32]. */
static void put_modrm_64(struct instruction_case *made, unsigned int reg)
{
    switch (random_below(3)) {
    case 0:
        put(made, reg << 3 | X86_RBX, 1);
        break;
    case 1:
        put(made, 0x40 | reg << 3 | X86_RBX, 1);
        put(made, random_bits(), 1);
        break;
    default:
        put(made, 0x80 | reg << 3 | 4, 1);
        put(made, random_below(4) << 6 | X86_RCX << 3 | X86_RBX, 1);
        put(made, random_below(4096) - 2048, 4);
        break;
    }
}

/* All forms of 32 and 16-bit addresses with displacements that are not negative. */
static void put_modrm_32(struct instruction_case *made, unsigned int reg, unsigned int address_size)
{
    unsigned int mod = (unsigned int)random_below(3), rm = (unsigned int)random_below(8);
    unsigned int sib = (unsigned int)random_below(256);
    bool only_displacement = address_size == 2 ? rm == 6 : rm == 5;
    put(made, mod << 6 | reg << 3 | rm, 1);
    if (address_size == 4 && rm == 4) {
        put(made, sib, 1);
        only_displacement = (sib & 7) == 5;
    }
    if (mod == 1) {
        put(made, random_below(128), 1);
    } else if (mod == 2 || only_displacement) {
        put(made, random_below(4096), address_size);
    }
}

struct code {
    enum x86_decode_mode mode;
    bool any_register; /* no register is kept back */
};

static void put_operands(struct instruction_case *made, const struct form *form,
                         const struct code *code, unsigned int rex, unsigned int address_size,
                         unsigned int operand_size)
{
    bool is_64 = code->mode == X86_DECODE_64;
    uint64_t start = is_64 ? (uint64_t)data : 0;
    unsigned int opcode_reg = (unsigned int)random_below(8);
    for (unsigned int i = 0; i < form->length; i++) {
        put(made, form->bytes[i] | (form->kind == STACK_REGISTER ? opcode_reg : 0), 1);
    }
    if (form->kind == MODRM || form->kind == STACK_MODRM) {
        unsigned int reg = random_register(form, is_64 && !code->any_register, rex);
        if (is_64) {
            put_modrm_64(made, reg);
        } else {
            put_modrm_32(made, reg, address_size);
        }
    } else if (form->kind == MOFFS) {
        put(made, start + random_below(DATA_BYTES - 8), address_size);
    }
    unsigned int size = form->immediate < operand_size ? form->immediate : operand_size;
    put(made, random_operand(), form->immediate == 4 ? size : form->immediate);
}

static void make_registers(struct instruction_case *made, const struct form *form,
                           const struct code *code)
{
    struct mmio_registers *registers = &made->registers;
    uint64_t *gpr = registers->gpr;
    bool is_64 = code->mode == X86_DECODE_64;
    uint64_t middle = (is_64 ? (uint64_t)data : 0) + 0x4000;
    for (unsigned int i = 0; i < X86_GPR_COUNT; i++) {
        gpr[i] = is_64 ? random_operand() : random_below(0xa00);
    }
    registers->rflags = (random_bits() & RFLAGS_TRIED) | X86_FLAGS_ONE;
    registers->rip = 0x1000;
    gpr[X86_RSP] = middle + 0x2000;
    if (is_64) {
        gpr[X86_RBX] = middle + random_below(256);
        if (form->kind != STRING) {
            gpr[X86_RCX] = random_below(256);
        }
    }
    if (form->kind == STRING) {
        gpr[X86_RCX] = random_below(6);
        gpr[X86_RSI] = middle + random_below(256);
        gpr[X86_RDI] = middle + 0x1000 + random_below(256);
    }
}

/* Bit offsets in registers must stay within the data. */
static void tame_bit_offset(struct instruction_case *made, const struct form *form,
                            const struct x86_instruction *in)
{
    if (form->is_bit && in->base != in->reg && in->index != in->reg) {
        int64_t offset = (int64_t)random_below(16384) - (in->address_size == 8 ? 8192 : 0);
        made->registers.gpr[in->reg] = (uint64_t)offset;
    }
}

/* CMPXCHG finds what it expects in half of the cases, CMPS and SCAS equal elements. */
static void make_data(struct instruction_case *made, const struct form *form)
{
    bool alike = form->kind == STRING && random_below(2) == 0;
    for (unsigned int i = 0; i < DATA_BYTES; i += 8) {
        uint64_t value = alike ? 0 : random_operand();
        memcpy(before_bytes + i, &value, sizeof value);
    }
    if (alike) {
        made->registers.gpr[X86_RAX] = 0;
    }
}

static bool make_case(struct instruction_case *made, struct x86_instruction *in,
                      const struct form *form, const struct code *code)
{
    static const unsigned int address_sizes[3][2] = {{2, 4}, {4, 2}, {8, 4}};
    bool is_64 = code->mode == X86_DECODE_64, other_address = random_below(4) == 0;
    bool stack_64 = is_64 && is_stack(form);
    unsigned int address_size = address_sizes[code->mode][other_address];
    unsigned int rex =
        is_64 && random_below(2) == 0 ? 0x40 | (unsigned int)random_below(2) << 2 : 0;
    bool word = !form->is_byte && random_below(3) == 0;
    bool wide = is_64 && !form->is_byte && random_below(3) == 0;
    *made = (struct instruction_case){0};
    if (wide) {
        rex |= 0x48;
    }
    bool is_word = (code->mode == X86_DECODE_16) != word;
    unsigned int operand_size = form->is_byte ? 1 : wide ? 8 : is_word ? 2 : stack_64 ? 8 : 4;
    make_registers(made, form, code);
    make_data(made, form);
    if (form->lock && random_below(3) == 0) {
        put(made, 0xf0, 1);
    }
    if (form->kind == STRING && random_below(3) != 0) {
        put(made, random_below(2) == 0 ? 0xf2 : 0xf3, 1);
    }
    if (other_address) {
        put(made, 0x67, 1);
    }
    if (word && strcmp(form->name, "movnti") != 0) {
        put(made, 0x66, 1);
    }
    if (rex != 0) {
        put(made, rex, 1);
    }
    put_operands(made, form, code, rex, address_size, operand_size);
    bool good = CHECK_EQUAL(x86_decode(code->mode, made->bytes, made->length, in), X86_DECODE_OK) &&
                CHECK_EQUAL(in->length, made->length);
    if (good) {
        tame_bit_offset(made, form, in);
        if (in->operation == X86_OP_CMPXCHG && random_below(2) == 0) {
            memset(before_bytes, 0, DATA_BYTES);
            made->registers.gpr[X86_RAX] &= ~UINT64_C(0xffffffff);
        }
        if (in->operation == X86_OP_CMPXCHG8B && random_below(2) == 0) {
            memset(before_bytes, 0, DATA_BYTES);
            made->registers.gpr[X86_RAX] = made->registers.gpr[X86_RDX] = 0;
        }
    }
    return good;
}

/* --- what is under test, with the data as the device --- */

static struct x86_segment segments[X86_SEGMENT_COUNT];

static struct mmio_mode flat_mode(enum x86_decode_mode code)
{
    uint32_t big = code == X86_DECODE_16 ? 0 : X86_SEGMENT_DB;
    for (unsigned int i = 0; i < X86_SEGMENT_COUNT; i++) {
        segments[i] =
            (struct x86_segment){.limit = UINT32_MAX,
                                 .attributes = X86_SEGMENT_P | X86_SEGMENT_S | X86_TYPE_WRITABLE |
                                               big | (i == X86_CS ? X86_TYPE_CODE : 0)};
    }
    return (struct mmio_mode){.code = code, .linear_bits = 48, .segment = segments};
}

static uint8_t *device(const struct mmio_mode *mode, const struct mmio_operand *operand)
{
    uint64_t address = operand->linear + (mode->code == X86_DECODE_64 ? 0 : (uint64_t)data);
    bool inside = address >= (uint64_t)data && address - (uint64_t)data <= DATA_BYTES - 8;
    return inside || CHECK(inside) ? (uint8_t *)address
                                   : NULL; /* NOLINT(performance-no-int-to-ptr) */
}

/* One element. False: it failed. */
static bool step(const struct mmio_mode *mode, const struct x86_instruction *in,
                 struct mmio_registers *registers)
{
    struct mmio_access access;
    if (!CHECK_EQUAL(mmio_access_plan(mode, in, registers, &access), MMIO_ACCESS_OK)) {
        return false;
    }
    for (unsigned int i = 0; i < access.read_count; i++) {
        uint8_t *at = device(mode, &access.read[i]);
        if (at == NULL) {
            return false;
        }
        access.value[i] = random_bits(); /* bits beyond the size do not matter */
        memcpy(&access.value[i], at, access.read[i].size);
    }
    mmio_access_compute(mode, in, &access);
    if (access.has_write) {
        uint8_t *at = device(mode, &access.write);
        if (at == NULL) {
            return false;
        }
        memcpy(at, &access.write_value, access.write.size);
    }
    *registers = access.after;
    return true;
}

static bool run_stepwise(const struct mmio_mode *mode, const struct x86_instruction *in,
                         struct mmio_registers *registers)
{
    uint64_t start = registers->rip;
    for (unsigned int i = 0; i < ELEMENTS_MAX; i++) {
        if (!step(mode, in, registers)) {
            return false;
        }
        if (registers->rip != start) {
            return CHECK_EQUAL(registers->rip, start + in->length);
        }
    }
    return CHECK(registers->rip != start); /* it never ends */
}

/* --- oracles --- */

static void run_natively(struct instruction_case *made)
{
    struct native_state state = {.mxcsr = 0x1f80};
    memcpy(state.gpr, made->registers.gpr, sizeof state.gpr);
    state.flags = made->registers.rflags;
    state.x87[0] = 0x7f, state.x87[1] = 0x03; /* all masked */
    native_run(&state, made->bytes, made->length);
    memcpy(made->registers.gpr, state.gpr, sizeof state.gpr);
    made->registers.rflags = state.flags & (RFLAGS_TRIED | X86_FLAGS_ONE);
}

static void run_softly(struct instruction_case *made, enum x86_decode_mode code)
{
    if (code == X86_DECODE_64) {
        identity_reset();
    } else {
        identity_reset_32((uint64_t)data);
        if (code == X86_DECODE_16) {
            identity_cpu.segment[X86_CS].attributes &= ~X86_SEGMENT_DB;
            identity_cpu.segment[X86_SS].attributes &= ~X86_SEGMENT_DB;
            soft_mode_changed(&identity_cpu);
        }
    }
    memcpy(identity_cpu.gpr, made->registers.gpr, sizeof made->registers.gpr);
    soft_set_rflags(&identity_cpu, made->registers.rflags);
    CHECK_EQUAL(identity_run(made->bytes, made->length), IDENTITY_DONE);
    memcpy(made->registers.gpr, identity_cpu.gpr, sizeof made->registers.gpr);
    made->registers.rflags = soft_rflags(&identity_cpu);
}

static void show(const struct form *form, const struct instruction_case *made)
{
    fprintf(stderr, "    %s:", form->name);
    for (unsigned int i = 0; i < made->length; i++) {
        fprintf(stderr, " %02x", made->bytes[i]);
    }
    fputc('\n', stderr);
}

/* False: a difference, which has been shown. */
static bool try_case(const struct form *form, const struct code *code, bool natively)
{
    struct instruction_case made;
    struct x86_instruction in;
    struct mmio_mode mode = flat_mode(code->mode);
    if (!make_case(&made, &in, form, code)) {
        show(form, &made);
        return false;
    }
    struct instruction_case expected = made;
    memcpy(data, before_bytes, DATA_BYTES);
    bool good = run_stepwise(&mode, &in, &made.registers);
    if (!good) {
        show(form, &made);
        return false;
    }
    memcpy(after_bytes, data, DATA_BYTES);
    memcpy(data, before_bytes, DATA_BYTES);
    if (natively) {
        run_natively(&expected);
    } else {
        run_softly(&expected, code->mode);
    }
    for (unsigned int i = 0; i < X86_GPR_COUNT; i++) {
        bool unused = natively && (i == X86_RSP || i >= X86_R14);
        good = (unused || CHECK_EQUAL(made.registers.gpr[i], expected.registers.gpr[i])) && good;
    }
    good = CHECK_EQUAL(made.registers.rflags, expected.registers.rflags) && good;
    good = CHECK(memcmp(after_bytes, data, DATA_BYTES) == 0) && good;
    if (!good) {
        show(form, &made);
    }
    return good;
}

static void try_form(const struct form *form, const struct code *code, bool natively)
{
    bool good = true;
    for (unsigned int i = 0; i < CASES_PER_FORM && good; i++) {
        good = try_case(form, code, natively);
    }
}

static void test_against_host(void)
{
    static const struct code code = {X86_DECODE_64, false};
    if (!native_setup()) {
        SKIP("the host lacks AVX2 or XSAVEC: no comparison with it");
        return;
    }
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (!is_stack(&forms[i])) {
            try_form(&forms[i], &code, true);
        }
    }
    try_form(&movsxd, &code, true);
}

static void test_against_soft(void)
{
    static const struct code codes[] = {
        {X86_DECODE_64, true}, {X86_DECODE_32, true}, {X86_DECODE_16, true}};
    for (size_t mode = 0; mode < sizeof codes / sizeof codes[0]; mode++) {
        for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
            try_form(&forms[i], &codes[mode], false);
        }
    }
}

/* --- by hand --- */

struct planned {
    enum mmio_access_result result;
    struct x86_instruction in;
    struct mmio_access access;
};

static struct planned plan_bytes(const struct mmio_mode *mode,
                                 const struct mmio_registers *registers, const uint8_t *bytes,
                                 size_t length)
{
    struct planned planned = {0};
    CHECK_EQUAL(x86_decode(mode->code, bytes, length, &planned.in), X86_DECODE_OK);
    planned.result = mmio_access_plan(mode, &planned.in, registers, &planned.access);
    return planned;
}

#define PLAN(mode, registers, ...)                                                                 \
    plan_bytes(mode, registers, (const uint8_t[]){__VA_ARGS__},                                    \
               sizeof((const uint8_t[]){__VA_ARGS__}))

static void check_fault(const struct planned *planned, uint8_t vector)
{
    CHECK_EQUAL(planned->result, MMIO_ACCESS_FAULT);
    CHECK_EQUAL(planned->access.vector, vector);
}

static void test_addresses(void)
{
    struct mmio_mode mode = flat_mode(X86_DECODE_64);
    struct mmio_registers registers = {.rip = 0x400000, .gpr[X86_RBX] = 0x1000};
    struct planned planned;
    for (unsigned int i = 0; i < X86_SEGMENT_COUNT; i++) {
        segments[i].base = 0x100000;
    }
    planned = PLAN(&mode, &registers, 0x65, 0x8b, 0x03); /* mov eax, gs:[rbx] */
    CHECK_EQUAL(planned.access.read[0].linear, 0x101000);
    planned = PLAN(&mode, &registers, 0x8b, 0x03); /* mov eax, [rbx]: no base */
    CHECK_EQUAL(planned.access.read[0].linear, 0x1000);
    planned = PLAN(&mode, &registers, 0xc6, 0x05, 0x10, 0, 0, 0, 0x5a); /* mov byte [rip+16], … */
    CHECK_EQUAL(planned.access.write.linear, 0x400017);
    CHECK_EQUAL(planned.access.write.size, 1);
    CHECK_EQUAL(planned.access.read_count, 0);

    mode = flat_mode(X86_DECODE_32);
    segments[X86_DS].base = 0xfffff800;
    planned = PLAN(&mode, &registers, 0x8b, 0x03);
    CHECK_EQUAL(planned.access.read[0].linear, 0x800); /* around the end of 32 bits */
    segments[X86_ES].base = 0x30000;
    registers.gpr[X86_RSI] = registers.gpr[X86_RDI] = 0x10;
    planned = PLAN(&mode, &registers, 0xa5); /* movsd */
    CHECK_EQUAL(planned.access.read[0].linear, 0xfffff810);
    CHECK_EQUAL(planned.access.write.linear, 0x30010);
    CHECK_EQUAL(planned.access.write.size, 4);
}

static void test_faults(void)
{
    struct mmio_mode mode = flat_mode(X86_DECODE_64);
    struct mmio_registers registers = {.gpr[X86_RBX] = UINT64_C(0x800000000000),
                                       .gpr[X86_RBP] = UINT64_C(0x7fffffffffff)};
    struct planned planned = PLAN(&mode, &registers, 0x8b, 0x03);
    check_fault(&planned, X86_VECTOR_GP);
    planned = PLAN(&mode, &registers, 0x8b, 0x45, 0x00); /* mov eax, [rbp]: its end is not */
    check_fault(&planned, X86_VECTOR_SS);
    mode.linear_bits = 57;
    CHECK_EQUAL(PLAN(&mode, &registers, 0x8b, 0x03).result, MMIO_ACCESS_OK);

    mode = flat_mode(X86_DECODE_32);
    registers.gpr[X86_RBX] = 0xffd;
    segments[X86_DS].limit = 0xfff;
    planned = PLAN(&mode, &registers, 0x8b, 0x03); /* one byte too far */
    check_fault(&planned, X86_VECTOR_GP);
    registers.gpr[X86_RBX] = 0xffc;
    CHECK_EQUAL(PLAN(&mode, &registers, 0x8b, 0x03).result, MMIO_ACCESS_OK);
    segments[X86_DS].attributes |= X86_TYPE_EXPAND_DOWN;
    planned = PLAN(&mode, &registers, 0x8b, 0x03);
    check_fault(&planned, X86_VECTOR_GP);
    registers.gpr[X86_RBX] = 0x1000;
    CHECK_EQUAL(PLAN(&mode, &registers, 0x8b, 0x03).result, MMIO_ACCESS_OK);
    segments[X86_DS].attributes &= ~X86_TYPE_WRITABLE;
    planned = PLAN(&mode, &registers, 0x83, 0x03, 0x01); /* add dword [ebx], 1 */
    check_fault(&planned, X86_VECTOR_GP);
    CHECK_EQUAL(PLAN(&mode, &registers, 0x8b, 0x03).result, MMIO_ACCESS_OK);
    segments[X86_DS].attributes |= X86_SEGMENT_UNUSABLE;
    planned = PLAN(&mode, &registers, 0x8b, 0x03);
    check_fault(&planned, X86_VECTOR_GP);
    planned = PLAN(&mode, &registers, 0x2e, 0x8b, 0x03); /* through CS, which cannot be written */
    CHECK_EQUAL(planned.result, MMIO_ACCESS_OK);
    planned = PLAN(&mode, &registers, 0x2e, 0x89, 0x03);
    check_fault(&planned, X86_VECTOR_GP);
    mode.real_or_v86 = true;
    CHECK_EQUAL(PLAN(&mode, &registers, 0x2e, 0x89, 0x03).result, MMIO_ACCESS_OK);
}

static void test_ends(void)
{
    struct mmio_mode mode = flat_mode(X86_DECODE_32);
    struct mmio_registers registers = {.rip = 0xfffffffe, .rflags = X86_FLAGS_RF};
    struct planned planned = PLAN(&mode, &registers, 0x8b, 0x03);
    planned.access.value[0] = 0x1234;
    mmio_access_compute(&mode, &planned.in, &planned.access);
    CHECK_EQUAL(planned.access.after.rip, 0); /* EIP has 32 bits */
    CHECK_EQUAL(planned.access.after.rflags, 0);
    CHECK_EQUAL(planned.access.after.gpr[X86_RAX], 0x1234);

    registers.gpr[X86_RCX] = UINT64_C(0x100000000); /* ECX is zero */
    planned = PLAN(&mode, &registers, 0xf3, 0xa4);
    CHECK_EQUAL(planned.result, MMIO_ACCESS_OK);
    CHECK(planned.access.read_count == 0 && !planned.access.has_write);

    mode = flat_mode(X86_DECODE_16);
    segments[X86_SS].attributes &= ~X86_SEGMENT_DB;
    registers.gpr[X86_RSP] = 0x12340001;
    planned = PLAN(&mode, &registers, 0x50); /* push ax: SP wraps, the upper half stays */
    CHECK_EQUAL(planned.access.write.linear, 0xffff);
    planned = PLAN(&mode, &registers, 0x6a, 0x80);
    mmio_access_compute(&mode, &planned.in, &planned.access);
    CHECK_EQUAL(planned.access.write_value, 0xff80);
    CHECK_EQUAL(planned.access.after.gpr[X86_RSP], 0x1234ffff);
}

static void check_unserved(const struct planned *planned)
{
    CHECK_EQUAL(planned->result, MMIO_ACCESS_UNSERVED);
    CHECK(planned->access.why != NULL);
}

static void test_unserved(void)
{
    struct mmio_mode mode = flat_mode(X86_DECODE_64);
    struct mmio_registers registers = {0};
    struct planned planned = PLAN(&mode, &registers, 0x0f, 0x28, 0x03); /* movaps xmm0, [rbx] */
    check_unserved(&planned);
    CHECK(strstr(planned.access.why, "vector") != NULL);
    planned = PLAN(&mode, &registers, 0x8b, 0x03); /* mov eax, [rbx], were it 16 bytes */
    planned.in.memory_size = 16;
    planned.result = mmio_access_plan(&mode, &planned.in, &registers, &planned.access);
    check_unserved(&planned);
    planned = PLAN(&mode, &registers, 0xdd, 0x03); /* fld qword [rbx] */
    check_unserved(&planned);
    planned = PLAN(&mode, &registers, 0xd1, 0x23); /* shl dword [rbx], 1 */
    check_unserved(&planned);
    planned = PLAN(&mode, &registers, 0x48, 0x0f, 0xc7, 0x0b); /* cmpxchg16b [rbx] */
    check_unserved(&planned);
    planned = PLAN(&mode, &registers, 0x89, 0xc3); /* mov ebx, eax: no memory at all */
    check_unserved(&planned);
    planned = PLAN(&mode, &registers, 0x6c); /* insb */
    check_unserved(&planned);
}

int main(void)
{
    data = mmap(NULL, DATA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT,
                -1, 0);
    if (data == MAP_FAILED) {
        perror("mapping memory below 4 GBytes");
        return 1;
    }
    test_against_host();
    test_against_soft();
    test_addresses();
    test_faults();
    test_ends();
    test_unserved();
    return check_summary();
}
