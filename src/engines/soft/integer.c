#include "engines/soft/integer.h"

#include <string.h>

#include "engines/soft/host_access.h"
#include "engines/soft/memory.h"

void soft_modify_rm(struct soft_cpu *cpu, const struct soft_instruction *in, uint64_t operand2,
                    soft_alu_function *function, soft_alu_locked_function *locked)
{
    const struct x86_instruction *decoded = &in->decoded;
    unsigned int size = decoded->operand_size;
    uint16_t arithmetic = cpu->arithmetic;
    if (!soft_is_memory(in)) {
        uint64_t value = soft_get_register(cpu, decoded->rm, size, soft_has_rex(in));
        value = function(&arithmetic, value, operand2);
        soft_set_register(cpu, decoded->rm, size, soft_has_rex(in), value);
        cpu->arithmetic = arithmetic;
        return;
    }
    bool lock = (decoded->flags & X86_INSTRUCTION_LOCK) != 0 && locked != NULL;
    struct soft_rmw rmw;
    uint64_t linear = soft_operand_linear(cpu, decoded, size, SOFT_WRITE);
    soft_rmw_begin(cpu, &rmw, linear, size, lock);
    if (lock) {
        locked(&arithmetic, rmw.host, operand2);
    } else {
        uint64_t value = function(&arithmetic, soft_host_load(rmw.host, size), operand2);
        soft_host_store(rmw.host, value, size);
    }
    soft_rmw_end(cpu, &rmw);
    cpu->arithmetic = arithmetic;
}

/* --- the classic eight --- */

struct binary_row {
    soft_alu_function *compute[4];
    soft_alu_locked_function *locked[4];
};

/* By operation - X86_OP_ADD. CMP writes nothing and has no locked form. */
static const struct binary_row binary_rows[8] = {
    {SOFT_ALU_SIZES(add), SOFT_ALU_LOCKED_SIZES(add)},
    {SOFT_ALU_SIZES(or), SOFT_ALU_LOCKED_SIZES(or)},
    {SOFT_ALU_SIZES(adc), SOFT_ALU_LOCKED_SIZES(adc)},
    {SOFT_ALU_SIZES(sbb), SOFT_ALU_LOCKED_SIZES(sbb)},
    {SOFT_ALU_SIZES(and), SOFT_ALU_LOCKED_SIZES(and)},
    {SOFT_ALU_SIZES(sub), SOFT_ALU_LOCKED_SIZES(sub)},
    {SOFT_ALU_SIZES(xor), SOFT_ALU_LOCKED_SIZES(xor)},
    {SOFT_ALU_SIZES(cmp), {NULL, NULL, NULL, NULL}},
};

/* Opcodes 00..3F: bit 1 says that ModRM.reg is the destination, bit 2 that it is rAX. */
#define OPCODE_REG_IS_DESTINATION 2u
#define OPCODE_ACCUMULATOR        4u

void soft_binary(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    const struct x86_instruction *decoded = &in->decoded;
    const struct binary_row *row = &binary_rows[decoded->operation - X86_OP_ADD];
    unsigned int size = decoded->operand_size, index = soft_size_index(size);
    bool compare = decoded->operation == X86_OP_CMP;
    bool has_immediate = decoded->opcode >= 0x80, rex = soft_has_rex(in);
    bool accumulator = !has_immediate && (decoded->opcode & OPCODE_ACCUMULATOR) != 0;
    bool to_register = !has_immediate && (decoded->opcode & OPCODE_REG_IS_DESTINATION) != 0;
    if (accumulator || to_register) {
        unsigned int destination = accumulator ? X86_RAX : decoded->reg;
        uint64_t source =
            accumulator ? (uint64_t)decoded->immediate : soft_read_rm(cpu, decoded, size);
        uint64_t value = soft_get_register(cpu, destination, size, rex);
        value = row->compute[index](&cpu->arithmetic, value, source);
        if (!compare) {
            soft_set_register(cpu, destination, size, rex, value);
        }
        return;
    }
    uint64_t source = has_immediate ? (uint64_t)decoded->immediate
                                    : soft_get_register(cpu, decoded->reg, size, rex);
    if (compare) {
        row->compute[index](&cpu->arithmetic, soft_read_rm(cpu, decoded, size), source);
        return;
    }
    soft_modify_rm(cpu, in, source, row->compute[index], row->locked[index]);
}

void soft_test(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    static soft_alu_function *const compute[4] = SOFT_ALU_SIZES(test);
    const struct x86_instruction *decoded = &in->decoded;
    unsigned int size = decoded->operand_size;
    uint64_t first, second;
    switch (decoded->opcode) {
    case 0x84:
    case 0x85:
        first = soft_read_rm(cpu, decoded, size);
        second = soft_get_register(cpu, decoded->reg, size, soft_has_rex(in));
        break;
    case 0xa8:
    case 0xa9:
        first = cpu->gpr[X86_RAX];
        second = (uint64_t)decoded->immediate;
        break;
    default: /* F6, F7 */
        first = soft_read_rm(cpu, decoded, size);
        second = (uint64_t)decoded->immediate;
        break;
    }
    compute[soft_size_index(size)](&cpu->arithmetic, first, second);
}

void soft_unary(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    static const struct binary_row not_row = {SOFT_ALU_SIZES(not ), SOFT_ALU_LOCKED_SIZES(not )};
    static const struct binary_row neg_row = {SOFT_ALU_SIZES(neg), SOFT_ALU_LOCKED_SIZES(neg)};
    static const struct binary_row inc_row = {SOFT_ALU_SIZES(inc), SOFT_ALU_LOCKED_SIZES(inc)};
    static const struct binary_row dec_row = {SOFT_ALU_SIZES(dec), SOFT_ALU_LOCKED_SIZES(dec)};
    const struct x86_instruction *decoded = &in->decoded;
    unsigned int size = decoded->operand_size, index = soft_size_index(size);
    const struct binary_row *row = decoded->operation == X86_OP_NOT   ? &not_row
                                   : decoded->operation == X86_OP_NEG ? &neg_row
                                   : decoded->operation == X86_OP_INC ? &inc_row
                                                                      : &dec_row;
    if (decoded->map == X86_MAP_ONE_BYTE && (decoded->opcode & 0xf0) == 0x40) {
        /* INC and DEC of a register outside 64-bit mode: no ModRM */
        uint64_t value = soft_get_register(cpu, decoded->reg, size, false);
        value = row->compute[index](&cpu->arithmetic, value, 0);
        soft_set_register(cpu, decoded->reg, size, false, value);
        return;
    }
    soft_modify_rm(cpu, in, 0, row->compute[index], row->locked[index]);
}

/* --- multiplication and division --- */

/* rAX and rDX (AH for bytes) take part in full, so that the host leaves what it does not write. */
#define WIDE_FUNCTION(name, mnemonic, modifier)                                                    \
    static void name(uint16_t *arithmetic, uint64_t *low, uint64_t *high, uint64_t operand)        \
    {                                                                                              \
        uint64_t flags = *arithmetic;                                                              \
        __asm__(SOFT_ALU_RESTORE "movq %[low], %%rax\n\t" mnemonic " %" modifier "[operand]\n\t"   \
                                 "movq %%rax, %[low]" SOFT_ALU_CAPTURE                             \
                : "+a"(flags), [low] "+r"(*low), "+d"(*high)                                       \
                : [operand] "r"(operand)                                                           \
                : "cc");                                                                           \
        *arithmetic = (uint16_t)flags;                                                             \
    }
#define WIDE_FUNCTIONS(mnemonic)                                                                   \
    WIDE_FUNCTION(mnemonic##8, #mnemonic "b", "b")                                                 \
    WIDE_FUNCTION(mnemonic##16, #mnemonic "w", "w")                                                \
    WIDE_FUNCTION(mnemonic##32, #mnemonic "l", "k")                                                \
    WIDE_FUNCTION(mnemonic##64, #mnemonic "q", "q")
WIDE_FUNCTIONS(mul)
WIDE_FUNCTIONS(imul)
WIDE_FUNCTIONS(div)
WIDE_FUNCTIONS(idiv)

typedef void wide_function(uint16_t *arithmetic, uint64_t *low, uint64_t *high, uint64_t operand);

void soft_multiply(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    static wide_function *const functions[4] = {mul8, mul16, mul32, mul64};
    unsigned int size = in->decoded.operand_size;
    uint64_t operand = soft_read_rm(cpu, &in->decoded, size);
    functions[soft_size_index(size)](&cpu->arithmetic, &cpu->gpr[X86_RAX], &cpu->gpr[X86_RDX],
                                     operand);
}

void soft_imul_signed(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    static wide_function *const functions[4] = {imul8, imul16, imul32, imul64};
    unsigned int size = in->decoded.operand_size;
    uint64_t operand = soft_read_rm(cpu, &in->decoded, size);
    functions[soft_size_index(size)](&cpu->arithmetic, &cpu->gpr[X86_RAX], &cpu->gpr[X86_RDX],
                                     operand);
}

SOFT_ALU_BINARY_SIZE(imul, "imulw", 16, "w")
SOFT_ALU_BINARY_SIZE(imul, "imull", 32, "k")
SOFT_ALU_BINARY_SIZE(imul, "imulq", 64, "q")

static void imul_into_register(struct soft_cpu *cpu, const struct soft_instruction *in, uint64_t a,
                               uint64_t b)
{
    static soft_alu_function *const functions[4] = {NULL, soft_imul16, soft_imul32, soft_imul64};
    unsigned int size = in->decoded.operand_size;
    uint64_t value = functions[soft_size_index(size)](&cpu->arithmetic, a, b);
    soft_set_register(cpu, in->decoded.reg, size, true, value);
}

void soft_imul2(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    uint64_t operand = soft_read_rm(cpu, &in->decoded, in->decoded.operand_size);
    imul_into_register(cpu, in, cpu->gpr[in->decoded.reg], operand);
}

void soft_imul3(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    uint64_t operand = soft_read_rm(cpu, &in->decoded, in->decoded.operand_size);
    imul_into_register(cpu, in, operand, (uint64_t)in->decoded.immediate);
}

/* The dividend as two halves of the operand's size: AH:AL for bytes, else rDX:rAX. */
static void dividend_halves(const struct soft_cpu *cpu, unsigned int size, uint64_t *high,
                            uint64_t *low)
{
    uint64_t mask = soft_size_mask(size);
    *low = cpu->gpr[X86_RAX] & mask;
    *high = size == 1 ? cpu->gpr[X86_RAX] >> 8 & mask : cpu->gpr[X86_RDX] & mask;
}

void soft_divide(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    static wide_function *const functions[4] = {div8, div16, div32, div64};
    unsigned int size = in->decoded.operand_size;
    uint64_t divisor = soft_read_rm(cpu, &in->decoded, size), high, low;
    dividend_halves(cpu, size, &high, &low);
    if (high >= divisor) { /* the quotient does not fit; a divisor of zero is among them */
        soft_raise(cpu, X86_VECTOR_DE);
    }
    functions[soft_size_index(size)](&cpu->arithmetic, &cpu->gpr[X86_RAX], &cpu->gpr[X86_RDX],
                                     divisor);
}

/* True if the signed quotient of (high:low) / divisor fits into size bytes. */
static bool signed_quotient_fits(uint64_t high, uint64_t low, uint64_t divisor, unsigned int size)
{
    int64_t signed_divisor = soft_sign_extend(divisor, size);
    if (signed_divisor == 0) {
        return false;
    }
    bool negative = soft_sign_extend(high, size) < 0;
    bool quotient_negative = negative != (signed_divisor < 0);
    uint64_t magnitude =
        signed_divisor < 0 ? 0 - (uint64_t)signed_divisor : (uint64_t)signed_divisor;
    unsigned __int128 dividend = (unsigned __int128)high << (8 * size) | low;
    if (negative) {
        unsigned int unused = 128 - 16 * size;
        dividend = (0 - dividend) << unused >> unused;
    }
    uint64_t limit = UINT64_C(1) << (8 * size - 1); /* the magnitude of the most negative one */
    if (!quotient_negative) {
        limit--;
    }
    /* quotient <= limit  <=>  dividend < (limit + 1) * magnitude */
    return dividend < ((unsigned __int128)limit + 1) * magnitude;
}

void soft_divide_signed(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    static wide_function *const functions[4] = {idiv8, idiv16, idiv32, idiv64};
    unsigned int size = in->decoded.operand_size;
    uint64_t divisor = soft_read_rm(cpu, &in->decoded, size), high, low;
    dividend_halves(cpu, size, &high, &low);
    if (!signed_quotient_fits(high, low, divisor, size)) {
        soft_raise(cpu, X86_VECTOR_DE);
    }
    functions[soft_size_index(size)](&cpu->arithmetic, &cpu->gpr[X86_RAX], &cpu->gpr[X86_RDX],
                                     divisor);
}

/* --- others --- */

/* ADCX adds with and into CF alone, ADOX with and into OF alone; the other flags stay. */
void soft_add_carry(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    const struct x86_instruction *decoded = &in->decoded;
    unsigned int size = decoded->operand_size;
    uint16_t flag = decoded->operation == X86_OP_ADCX ? SOFT_ARITHMETIC_CF : SOFT_ARITHMETIC_OF;
    uint64_t operand = soft_read_rm(cpu, decoded, size);
    uint64_t old = soft_get_register(cpu, decoded->reg, size, true);
    unsigned __int128 sum =
        (unsigned __int128)old + operand + ((cpu->arithmetic & flag) != 0 ? 1 : 0);
    bool carry = (uint64_t)(sum >> (8 * size)) != 0;
    soft_set_register(cpu, decoded->reg, size, true, (uint64_t)sum);
    cpu->arithmetic = (uint16_t)((cpu->arithmetic & ~(unsigned int)flag) | (carry ? flag : 0));
}

void soft_crc32(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    const struct x86_instruction *decoded = &in->decoded;
    unsigned int size = decoded->opcode == 0xf0 ? 1 : decoded->operand_size;
    uint64_t source = soft_read_rm(cpu, decoded, size);
    uint64_t crc = cpu->gpr[decoded->reg] & 0xffffffff;
    switch (size) {
    case 1:
        __asm__("crc32b %b[source], %k[crc]" : [crc] "+r"(crc) : [source] "q"(source));
        break;
    case 2:
        __asm__("crc32w %w[source], %k[crc]" : [crc] "+r"(crc) : [source] "r"(source));
        break;
    case 4:
        __asm__("crc32l %k[source], %k[crc]" : [crc] "+r"(crc) : [source] "r"(source));
        break;
    default:
        __asm__("crc32q %q[source], %q[crc]" : [crc] "+r"(crc) : [source] "r"(source));
        break;
    }
    cpu->gpr[decoded->reg] = crc & 0xffffffff;
}

void soft_bound(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    const struct x86_instruction *decoded = &in->decoded;
    unsigned int size = decoded->operand_size;
    uint64_t offset = soft_effective_address(cpu, decoded);
    uint64_t first = soft_linear(cpu, decoded->segment, offset, size, SOFT_READ);
    uint64_t second = soft_linear(cpu, decoded->segment, offset + size, size, SOFT_READ);
    int64_t lower = soft_sign_extend(soft_read(cpu, first, size), size);
    int64_t upper = soft_sign_extend(soft_read(cpu, second, size), size);
    int64_t value = soft_sign_extend(cpu->gpr[decoded->reg], size);
    if (value < lower || value > upper) {
        soft_raise(cpu, X86_VECTOR_BR);
    }
}
