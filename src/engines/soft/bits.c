#include "engines/soft/bits.h"

#include "engines/soft/alu.h"
#include "engines/soft/host_access.h"
#include "engines/soft/integer.h"
#include "engines/soft/memory.h"

/* --- bit tests --- */

/* Only CF changes. */
static void set_carry(struct soft_cpu *cpu, bool carry)
{
    unsigned int others = cpu->arithmetic & ~SOFT_ARITHMETIC_CF;
    cpu->arithmetic = (uint16_t)(others | (carry ? SOFT_ARITHMETIC_CF : 0));
}

static uint64_t bit_changed(enum x86_operation operation, uint64_t value, uint64_t bit)
{
    switch (operation) {
    case X86_OP_BTS:
        return value | bit;
    case X86_OP_BTR:
        return value & ~bit;
    case X86_OP_BTC:
        return value ^ bit;
    default:
        return value;
    }
}

#define LOCKED_BIT(name, mnemonic)                                                                 \
    static bool name(void *host, uint64_t bit, unsigned int size)                                  \
    {                                                                                              \
        bool old;                                                                                  \
        if (size == 2) {                                                                           \
            __asm__ volatile("lock " mnemonic "w %w[bit], (%[host])\n\tsetc %[old]"                \
                             : [old] "=q"(old)                                                     \
                             : [host] "r"(host), [bit] "r"(bit)                                    \
                             : "cc", "memory");                                                    \
        } else if (size == 4) {                                                                    \
            __asm__ volatile("lock " mnemonic "l %k[bit], (%[host])\n\tsetc %[old]"                \
                             : [old] "=q"(old)                                                     \
                             : [host] "r"(host), [bit] "r"(bit)                                    \
                             : "cc", "memory");                                                    \
        } else {                                                                                   \
            __asm__ volatile("lock " mnemonic "q %q[bit], (%[host])\n\tsetc %[old]"                \
                             : [old] "=q"(old)                                                     \
                             : [host] "r"(host), [bit] "r"(bit)                                    \
                             : "cc", "memory");                                                    \
        }                                                                                          \
        return old;                                                                                \
    }
LOCKED_BIT(locked_bts, "bts")
LOCKED_BIT(locked_btr, "btr")
LOCKED_BIT(locked_btc, "btc")

static bool locked_bit(enum x86_operation operation, void *host, uint64_t bit, unsigned int size)
{
    return operation == X86_OP_BTS   ? locked_bts(host, bit, size)
           : operation == X86_OP_BTR ? locked_btr(host, bit, size)
                                     : locked_btc(host, bit, size);
}

/*
 * A bit offset from a register is signed and reaches beyond the operand: the address moves by
 * whole operands.
 */
static uint64_t bit_string_linear(struct soft_cpu *cpu, const struct x86_instruction *decoded,
                                  uint64_t offset, enum soft_access access)
{
    unsigned int size = decoded->operand_size, shift = 3 + soft_size_index(size);
    int64_t operands = soft_sign_extend(offset, size) >> shift;
    uint64_t address = soft_effective_address(cpu, decoded) + (uint64_t)operands * size;
    address &= soft_size_mask(decoded->address_size);
    return soft_linear(cpu, decoded->segment, address, size, access);
}

void soft_bit_test(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    const struct x86_instruction *decoded = &in->decoded;
    enum x86_operation operation = decoded->operation;
    unsigned int size = decoded->operand_size;
    bool immediate = decoded->opcode == 0xba, test_only = operation == X86_OP_BT;
    uint64_t offset = immediate ? (uint64_t)decoded->immediate : cpu->gpr[decoded->reg];
    uint64_t number = offset & (8 * size - 1), bit = UINT64_C(1) << number;
    if (!soft_is_memory(in)) {
        uint64_t value = soft_get_register(cpu, decoded->rm, size, true);
        if (!test_only) {
            soft_set_register(cpu, decoded->rm, size, true, bit_changed(operation, value, bit));
        }
        set_carry(cpu, (value & bit) != 0);
        return;
    }
    enum soft_access access = test_only ? SOFT_READ : SOFT_WRITE;
    uint64_t linear = immediate ? soft_operand_linear(cpu, decoded, size, access)
                                : bit_string_linear(cpu, decoded, offset, access);
    if (test_only) {
        set_carry(cpu, (soft_read(cpu, linear, size) & bit) != 0);
        return;
    }
    bool lock = (decoded->flags & X86_INSTRUCTION_LOCK) != 0, old;
    struct soft_rmw rmw;
    soft_rmw_begin(cpu, &rmw, linear, size, lock);
    if (lock) {
        old = locked_bit(operation, rmw.host, number, size);
    } else {
        uint64_t value = soft_host_load(rmw.host, size);
        old = (value & bit) != 0;
        soft_host_store(rmw.host, bit_changed(operation, value, bit), size);
    }
    soft_rmw_end(cpu, &rmw);
    set_carry(cpu, old);
}

/* --- shifts --- */

void soft_shift(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    /* by operation - X86_OP_ROL; SAL is SHL under its other encoding */
    static soft_alu_function *const functions[8][4] = {
        SOFT_ALU_SIZES(rol), SOFT_ALU_SIZES(ror), SOFT_ALU_SIZES(rcl), SOFT_ALU_SIZES(rcr),
        SOFT_ALU_SIZES(shl), SOFT_ALU_SIZES(shr), SOFT_ALU_SIZES(shl), SOFT_ALU_SIZES(sar),
    };
    const struct x86_instruction *decoded = &in->decoded;
    uint64_t count;
    switch (decoded->opcode) {
    case 0xc0:
    case 0xc1:
        count = (uint64_t)decoded->immediate & 0xff;
        break;
    case 0xd0:
    case 0xd1:
        count = 1;
        break;
    default: /* D2, D3 */
        count = cpu->gpr[X86_RCX] & 0xff;
        break;
    }
    unsigned int index = soft_size_index(decoded->operand_size);
    soft_modify_rm(cpu, in, count, functions[decoded->operation - X86_OP_ROL][index], NULL);
}

#define DOUBLE_SHIFT(name, mnemonic, modifier)                                                     \
    static uint64_t name(uint16_t *arithmetic, uint64_t value, uint64_t source, uint64_t count)    \
    {                                                                                              \
        uint64_t flags = *arithmetic;                                                              \
        __asm__(SOFT_ALU_RESTORE mnemonic " %%cl, %" modifier "[source], %" modifier               \
                                          "[value]" SOFT_ALU_CAPTURE                               \
                : "+a"(flags), [value] "+r"(value)                                                 \
                : [source] "r"(source), "c"(count)                                                 \
                : "cc");                                                                           \
        *arithmetic = (uint16_t)flags;                                                             \
        return value;                                                                              \
    }
DOUBLE_SHIFT(shld16, "shldw", "w")
DOUBLE_SHIFT(shld32, "shldl", "k")
DOUBLE_SHIFT(shld64, "shldq", "q")
DOUBLE_SHIFT(shrd16, "shrdw", "w")
DOUBLE_SHIFT(shrd32, "shrdl", "k")
DOUBLE_SHIFT(shrd64, "shrdq", "q")

typedef uint64_t double_shift_function(uint16_t *arithmetic, uint64_t value, uint64_t source,
                                       uint64_t count);

void soft_double_shift(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    static double_shift_function *const left[4] = {NULL, shld16, shld32, shld64};
    static double_shift_function *const right[4] = {NULL, shrd16, shrd32, shrd64};
    const struct x86_instruction *decoded = &in->decoded;
    unsigned int size = decoded->operand_size, index = soft_size_index(size);
    double_shift_function *shift = decoded->operation == X86_OP_SHLD ? left[index] : right[index];
    /* opcodes A4, AC have an immediate, A5, AD take CL */
    bool by_register = (decoded->opcode & 1) != 0;
    uint64_t count = by_register ? cpu->gpr[X86_RCX] & 0xff : (uint64_t)decoded->immediate & 0xff;
    uint64_t source = cpu->gpr[decoded->reg];
    uint16_t arithmetic = cpu->arithmetic;
    if (!soft_is_memory(in)) {
        uint64_t value = shift(&cpu->arithmetic, cpu->gpr[decoded->rm], source, count);
        soft_set_register(cpu, decoded->rm, size, true, value);
        return;
    }
    struct soft_rmw rmw;
    uint64_t linear = soft_operand_linear(cpu, decoded, size, SOFT_WRITE);
    soft_rmw_begin(cpu, &rmw, linear, size, false);
    uint64_t value = shift(&arithmetic, soft_host_load(rmw.host, size), source, count);
    soft_host_store(rmw.host, value, size);
    soft_rmw_end(cpu, &rmw);
    cpu->arithmetic = arithmetic;
}

/* --- scans --- */

/*
 * The whole destination goes in and comes out: with a source of zero BSF and BSR leave it as the
 * host's processor does.
 */
#define SCAN(name, mnemonic, modifier)                                                             \
    static uint64_t name(uint16_t *arithmetic, uint64_t destination, uint64_t source)              \
    {                                                                                              \
        uint64_t flags = *arithmetic;                                                              \
        __asm__(SOFT_ALU_RESTORE mnemonic " %" modifier "[source], %" modifier                     \
                                          "[destination]" SOFT_ALU_CAPTURE                         \
                : "+a"(flags), [destination] "+r"(destination)                                     \
                : [source] "r"(source)                                                             \
                : "cc");                                                                           \
        *arithmetic = (uint16_t)flags;                                                             \
        return destination;                                                                        \
    }
#define SCAN_SIZES(mnemonic)                                                                       \
    SCAN(mnemonic##16, #mnemonic "w", "w")                                                         \
    SCAN(mnemonic##32, #mnemonic "l", "k")                                                         \
    SCAN(mnemonic##64, #mnemonic "q", "q")
SCAN_SIZES(bsf)
SCAN_SIZES(bsr)
SCAN_SIZES(tzcnt)
SCAN_SIZES(lzcnt)
SCAN_SIZES(popcnt)

#define SCAN_ROW(name)                                                                             \
    {                                                                                              \
        NULL, name##16, name##32, name##64                                                         \
    }

void soft_scan(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    static soft_alu_function *const bsf[4] = SCAN_ROW(bsf), *const bsr[4] = SCAN_ROW(bsr);
    static soft_alu_function *const tzcnt[4] = SCAN_ROW(tzcnt), *const lzcnt[4] = SCAN_ROW(lzcnt);
    const struct x86_instruction *decoded = &in->decoded;
    unsigned int size = decoded->operand_size;
    soft_alu_function *const *functions;
    switch (decoded->operation) {
    case X86_OP_TZCNT: /* processors without BMI1 ignore the F3 */
        functions = soft_has(cpu, X86_FEATURE_BMI1) ? tzcnt : bsf;
        break;
    case X86_OP_LZCNT:
        functions = soft_has(cpu, X86_FEATURE_LZCNT) ? lzcnt : bsr;
        break;
    case X86_OP_BSF:
        functions = bsf;
        break;
    default:
        functions = bsr;
        break;
    }
    uint64_t source = soft_read_rm(cpu, decoded, size);
    cpu->gpr[decoded->reg] =
        functions[soft_size_index(size)](&cpu->arithmetic, cpu->gpr[decoded->reg], source);
}

void soft_popcnt(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    static soft_alu_function *const popcnt[4] = SCAN_ROW(popcnt);
    const struct x86_instruction *decoded = &in->decoded;
    unsigned int size = decoded->operand_size;
    uint64_t source = soft_read_rm(cpu, decoded, size);
    cpu->gpr[decoded->reg] =
        popcnt[soft_size_index(size)](&cpu->arithmetic, cpu->gpr[decoded->reg], source);
}

/* --- BMI1 and BMI2: 32 and 64 bits --- */

/*
 * result = mnemonic(first, second), where these are rm and vvvv in the instruction's order; rm is
 * the operand that may be memory. AT&T syntax has the second first.
 */
#define BMI_BINARY(name, mnemonic, modifier, first, second)                                        \
    static uint64_t name(uint16_t *arithmetic, uint64_t rm, uint64_t vvvv)                         \
    {                                                                                              \
        uint64_t flags = *arithmetic, result;                                                      \
        __asm__(SOFT_ALU_RESTORE mnemonic " %" modifier "[" second "], %" modifier "[" first       \
                                          "], %" modifier "[result]" SOFT_ALU_CAPTURE              \
                : "+a"(flags), [result] "=r"(result)                                               \
                : [rm] "r"(rm), [vvvv] "r"(vvvv)                                                   \
                : "cc");                                                                           \
        *arithmetic = (uint16_t)flags;                                                             \
        return result;                                                                             \
    }
BMI_BINARY(bextr32, "bextrl", "k", "rm", "vvvv")
BMI_BINARY(bextr64, "bextrq", "q", "rm", "vvvv")
BMI_BINARY(bzhi32, "bzhil", "k", "rm", "vvvv")
BMI_BINARY(bzhi64, "bzhiq", "q", "rm", "vvvv")
BMI_BINARY(andn32, "andnl", "k", "vvvv", "rm")
BMI_BINARY(andn64, "andnq", "q", "vvvv", "rm")
BMI_BINARY(pdep32, "pdepl", "k", "vvvv", "rm")
BMI_BINARY(pdep64, "pdepq", "q", "vvvv", "rm")
BMI_BINARY(pext32, "pextl", "k", "vvvv", "rm")
BMI_BINARY(pext64, "pextq", "q", "vvvv", "rm")

#define BMI_UNARY(name, mnemonic, modifier)                                                        \
    static uint64_t name(uint16_t *arithmetic, uint64_t rm, uint64_t unused)                       \
    {                                                                                              \
        uint64_t flags = *arithmetic, result;                                                      \
        (void)unused;                                                                              \
        __asm__(SOFT_ALU_RESTORE mnemonic " %" modifier "[rm], %" modifier                         \
                                          "[result]" SOFT_ALU_CAPTURE                              \
                : "+a"(flags), [result] "=r"(result)                                               \
                : [rm] "r"(rm)                                                                     \
                : "cc");                                                                           \
        *arithmetic = (uint16_t)flags;                                                             \
        return result;                                                                             \
    }
BMI_UNARY(blsi32, "blsil", "k")
BMI_UNARY(blsi64, "blsiq", "q")
BMI_UNARY(blsmsk32, "blsmskl", "k")
BMI_UNARY(blsmsk64, "blsmskq", "q")
BMI_UNARY(blsr32, "blsrl", "k")
BMI_UNARY(blsr64, "blsrq", "q")

/* The function for an operation of 8 (wide) or 4 bytes. */
static soft_alu_function *bmi_function(enum x86_operation operation, bool wide)
{
    switch (operation) {
    case X86_OP_ANDN:
        return wide ? andn64 : andn32;
    case X86_OP_BEXTR:
        return wide ? bextr64 : bextr32;
    case X86_OP_BZHI:
        return wide ? bzhi64 : bzhi32;
    case X86_OP_BLSI:
        return wide ? blsi64 : blsi32;
    case X86_OP_BLSMSK:
        return wide ? blsmsk64 : blsmsk32;
    default: /* BLSR */
        return wide ? blsr64 : blsr32;
    }
}

static bool is_unary_bmi(enum x86_operation operation)
{
    return operation == X86_OP_BLSI || operation == X86_OP_BLSMSK || operation == X86_OP_BLSR;
}

/* VEX-encoded ones have 32-bit operands even in 16-bit code. */
static unsigned int bmi_size(const struct x86_instruction *decoded)
{
    return decoded->operand_size == 8 ? 8 : 4;
}

void soft_bmi(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    const struct x86_instruction *decoded = &in->decoded;
    enum x86_operation operation = decoded->operation;
    unsigned int size = bmi_size(decoded);
    uint64_t rm = soft_read_rm(cpu, decoded, size);
    uint64_t result =
        bmi_function(operation, size == 8)(&cpu->arithmetic, rm, cpu->gpr[decoded->vvvv]);
    /* the one-operand three write the register that vvvv names */
    unsigned int destination = is_unary_bmi(operation) ? decoded->vvvv : decoded->reg;
    soft_set_register(cpu, destination, size, true, result);
}

void soft_bmi_spread(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    const struct x86_instruction *decoded = &in->decoded;
    unsigned int size = bmi_size(decoded);
    bool deposit = decoded->operation == X86_OP_PDEP;
    soft_alu_function *function =
        size == 8 ? (deposit ? pdep64 : pext64) : (deposit ? pdep32 : pext32);
    uint16_t unused = cpu->arithmetic;
    uint64_t rm = soft_read_rm(cpu, decoded, size);
    uint64_t result = function(&unused, rm, cpu->gpr[decoded->vvvv]);
    soft_set_register(cpu, decoded->reg, size, true, result);
}

void soft_bmi_shift(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    const struct x86_instruction *decoded = &in->decoded;
    unsigned int size = bmi_size(decoded), bits = 8 * size;
    uint64_t value = soft_read_rm(cpu, decoded, size);
    uint64_t count =
        decoded->operation == X86_OP_RORX ? (uint64_t)decoded->immediate : cpu->gpr[decoded->vvvv];
    count &= bits - 1;
    switch (decoded->operation) {
    case X86_OP_RORX:
        value = count == 0 ? value : value >> count | value << (bits - count);
        break;
    case X86_OP_SARX:
        value = (uint64_t)(soft_sign_extend(value, size) >> count);
        break;
    case X86_OP_SHLX:
        value <<= count;
        break;
    default: /* SHRX */
        value >>= count;
        break;
    }
    soft_set_register(cpu, decoded->reg, size, true, value);
}

/* reg takes the upper half, vvvv the lower; the upper one wins when they are the same register. */
void soft_mulx(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    const struct x86_instruction *decoded = &in->decoded;
    unsigned int size = bmi_size(decoded);
    uint64_t operand = soft_read_rm(cpu, decoded, size);
    unsigned __int128 product =
        (unsigned __int128)operand * soft_get_register(cpu, X86_RDX, size, true);
    soft_set_register(cpu, decoded->vvvv, size, true, (uint64_t)product);
    soft_set_register(cpu, decoded->reg, size, true, (uint64_t)(product >> (8 * size)));
}
