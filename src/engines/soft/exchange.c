#include "engines/soft/exchange.h"

#include <string.h>

#include "engines/soft/alu.h"
#include "engines/soft/host_access.h"
#include "engines/soft/integer.h"
#include "engines/soft/memory.h"

static bool is_locked(const struct soft_instruction *in)
{
    return (in->decoded.flags & X86_INSTRUCTION_LOCK) != 0;
}

void soft_xchg(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    static soft_alu_locked_function *const locked[4] = SOFT_ALU_LOCKED_SIZES(xchg);
    const struct x86_instruction *decoded = &in->decoded;
    unsigned int size = decoded->operand_size;
    bool rex = soft_has_rex(in);
    if (!soft_is_memory(in)) {
        /* 90..97 exchange with rAX; both are read before either is written */
        unsigned int other = (decoded->opcode & 0xf8) == 0x90 ? X86_RAX : decoded->rm;
        uint64_t first = soft_get_register(cpu, decoded->reg, size, rex);
        uint64_t second = soft_get_register(cpu, other, size, rex);
        soft_set_register(cpu, decoded->reg, size, rex, second);
        soft_set_register(cpu, other, size, rex, first);
        return;
    }
    uint16_t unused = cpu->arithmetic;
    uint64_t value = soft_get_register(cpu, decoded->reg, size, rex);
    struct soft_rmw rmw;
    uint64_t linear = soft_operand_linear(cpu, decoded, size, SOFT_WRITE);
    soft_rmw_begin(cpu, &rmw, linear, size, true);
    value = locked[soft_size_index(size)](&unused, rmw.host, value);
    soft_rmw_end(cpu, &rmw);
    soft_set_register(cpu, decoded->reg, size, rex, value);
}

void soft_xadd(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    static soft_alu_function *const add[4] = SOFT_ALU_SIZES(add);
    static soft_alu_locked_function *const locked[4] = SOFT_ALU_LOCKED_SIZES(xadd);
    const struct x86_instruction *decoded = &in->decoded;
    unsigned int size = decoded->operand_size, index = soft_size_index(size);
    bool rex = soft_has_rex(in);
    uint16_t arithmetic = cpu->arithmetic;
    uint64_t addend = soft_get_register(cpu, decoded->reg, size, rex), old;
    if (!soft_is_memory(in)) {
        old = soft_get_register(cpu, decoded->rm, size, rex);
        uint64_t sum = add[index](&arithmetic, old, addend);
        soft_set_register(cpu, decoded->reg, size, rex, old);
        soft_set_register(cpu, decoded->rm, size, rex, sum);
        cpu->arithmetic = arithmetic;
        return;
    }
    struct soft_rmw rmw;
    uint64_t linear = soft_operand_linear(cpu, decoded, size, SOFT_WRITE);
    soft_rmw_begin(cpu, &rmw, linear, size, is_locked(in));
    if (is_locked(in)) {
        old = locked[index](&arithmetic, rmw.host, addend);
    } else {
        old = soft_host_load(rmw.host, size);
        soft_host_store(rmw.host, add[index](&arithmetic, old, addend), size);
    }
    soft_rmw_end(cpu, &rmw);
    soft_set_register(cpu, decoded->reg, size, rex, old);
    cpu->arithmetic = arithmetic;
}

/* --- compare and exchange --- */

/*
 * On memory: locked or not, the host's instruction. The accumulator is loaded with the old value
 * when they differ. Whole registers go in, so what the host leaves alone stays.
 */
#define CMPXCHG_MEMORY(name, prefix, mnemonic, modifier)                                           \
    static void name(uint16_t *arithmetic, void *host, uint64_t *accumulator, uint64_t source)     \
    {                                                                                              \
        uint64_t flags = *arithmetic, rax = *accumulator;                                          \
        __asm__ volatile(SOFT_ALU_RESTORE "movq %[rax], %%rax\n\t" prefix mnemonic " %" modifier   \
                                          "[source], (%[host])\n\t"                                \
                                          "movq %%rax, %[rax]" SOFT_ALU_CAPTURE                    \
                         : "+a"(flags), [rax] "+r"(rax)                                            \
                         : [host] "r"(host), [source] "q"(source)                                  \
                         : "cc", "memory");                                                        \
        *arithmetic = (uint16_t)flags;                                                             \
        *accumulator = rax;                                                                        \
    }
#define CMPXCHG_SIZES(name, prefix)                                                                \
    CMPXCHG_MEMORY(name##8, prefix, "cmpxchgb", "b")                                               \
    CMPXCHG_MEMORY(name##16, prefix, "cmpxchgw", "w")                                              \
    CMPXCHG_MEMORY(name##32, prefix, "cmpxchgl", "k")                                              \
    CMPXCHG_MEMORY(name##64, prefix, "cmpxchgq", "q")
CMPXCHG_SIZES(cmpxchg, "")
CMPXCHG_SIZES(locked_cmpxchg, "lock ")

typedef void cmpxchg_function(uint16_t *arithmetic, void *host, uint64_t *accumulator,
                              uint64_t source);

/* On a 32-bit or 64-bit register: which upper halves are cleared is again the host's to say. */
#define CMPXCHG_REGISTER(name, mnemonic, modifier)                                                 \
    static void name(uint16_t *arithmetic, uint64_t *destination, uint64_t *accumulator,           \
                     uint64_t source)                                                              \
    {                                                                                              \
        uint64_t flags = *arithmetic, rax = *accumulator, value = *destination;                    \
        __asm__(SOFT_ALU_RESTORE "movq %[rax], %%rax\n\t" mnemonic " %" modifier                   \
                                 "[source], %" modifier "[value]\n\t"                              \
                                 "movq %%rax, %[rax]" SOFT_ALU_CAPTURE                             \
                : "+a"(flags), [rax] "+r"(rax), [value] "+r"(value)                                \
                : [source] "r"(source)                                                             \
                : "cc");                                                                           \
        *arithmetic = (uint16_t)flags;                                                             \
        *accumulator = rax;                                                                        \
        *destination = value;                                                                      \
    }
CMPXCHG_REGISTER(cmpxchg_register32, "cmpxchgl", "k")
CMPXCHG_REGISTER(cmpxchg_register64, "cmpxchgq", "q")

/* The destination is rAX itself: they are equal, so it takes the source. */
static void cmpxchg_accumulator(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    static soft_alu_function *const compare[4] = SOFT_ALU_SIZES(cmp);
    unsigned int size = in->decoded.operand_size;
    uint64_t source = soft_get_register(cpu, in->decoded.reg, size, soft_has_rex(in));
    compare[soft_size_index(size)](&cpu->arithmetic, cpu->gpr[X86_RAX], cpu->gpr[X86_RAX]);
    soft_set_register(cpu, X86_RAX, size, true, source);
}

/* Bytes (with AH … BH among them) and words. */
static void cmpxchg_small_register(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    static soft_alu_function *const compare[4] = SOFT_ALU_SIZES(cmp);
    const struct x86_instruction *decoded = &in->decoded;
    unsigned int size = decoded->operand_size;
    bool rex = soft_has_rex(in);
    uint64_t old = soft_get_register(cpu, decoded->rm, size, rex);
    uint64_t source = soft_get_register(cpu, decoded->reg, size, rex);
    uint64_t accumulator = soft_get_register(cpu, X86_RAX, size, rex);
    compare[soft_size_index(size)](&cpu->arithmetic, accumulator, old);
    if (accumulator == old) {
        soft_set_register(cpu, decoded->rm, size, rex, source);
    } else {
        soft_set_register(cpu, X86_RAX, size, rex, old);
    }
}

static void cmpxchg_register(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    const struct x86_instruction *decoded = &in->decoded;
    uint64_t source = cpu->gpr[decoded->reg];
    if (decoded->operand_size <= 2) {
        cmpxchg_small_register(cpu, in);
    } else if (decoded->rm == X86_RAX) {
        cmpxchg_accumulator(cpu, in);
    } else if (decoded->operand_size == 4) {
        cmpxchg_register32(&cpu->arithmetic, &cpu->gpr[decoded->rm], &cpu->gpr[X86_RAX], source);
    } else {
        cmpxchg_register64(&cpu->arithmetic, &cpu->gpr[decoded->rm], &cpu->gpr[X86_RAX], source);
    }
}

void soft_cmpxchg(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    static cmpxchg_function *const plain[4] = {cmpxchg8, cmpxchg16, cmpxchg32, cmpxchg64};
    static cmpxchg_function *const locked[4] = {locked_cmpxchg8, locked_cmpxchg16, locked_cmpxchg32,
                                                locked_cmpxchg64};
    const struct x86_instruction *decoded = &in->decoded;
    unsigned int size = decoded->operand_size, index = soft_size_index(size);
    if (!soft_is_memory(in)) {
        cmpxchg_register(cpu, in);
        return;
    }
    uint16_t arithmetic = cpu->arithmetic;
    uint64_t accumulator = cpu->gpr[X86_RAX];
    uint64_t source = soft_get_register(cpu, decoded->reg, size, soft_has_rex(in));
    struct soft_rmw rmw;
    uint64_t linear = soft_operand_linear(cpu, decoded, size, SOFT_WRITE);
    soft_rmw_begin(cpu, &rmw, linear, size, is_locked(in));
    (is_locked(in) ? locked : plain)[index](&arithmetic, rmw.host, &accumulator, source);
    soft_rmw_end(cpu, &rmw);
    cpu->arithmetic = arithmetic;
    cpu->gpr[X86_RAX] = accumulator;
}

static void set_zero_flag(struct soft_cpu *cpu, bool zero)
{
    unsigned int others = cpu->arithmetic & ~SOFT_ARITHMETIC_ZF;
    cpu->arithmetic = (uint16_t)(others | (zero ? SOFT_ARITHMETIC_ZF : 0));
}

/* Compares size bytes at host with *expected; equal: stores desired, else loads *expected. */
static bool exchange8(void *host, uint64_t *expected, uint64_t desired)
{
    bool equal;
    __asm__ volatile("lock cmpxchgq %[desired], (%[host])\n\tsete %[equal]"
                     : [equal] "=q"(equal), "+a"(*expected)
                     : [host] "r"(host), [desired] "r"(desired)
                     : "cc", "memory");
    return equal;
}

static bool exchange16(void *host, uint64_t expected[2], const uint64_t desired[2])
{
    bool equal;
    __asm__ volatile("lock cmpxchg16b (%[host])\n\tsete %[equal]"
                     : [equal] "=q"(equal), "+a"(expected[0]), "+d"(expected[1])
                     : [host] "S"(host), "b"(desired[0]), "c"(desired[1])
                     : "cc", "memory");
    return equal;
}

void soft_cmpxchg8b(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    uint64_t expected = cpu->gpr[X86_RDX] << 32 | (cpu->gpr[X86_RAX] & 0xffffffff);
    uint64_t desired = cpu->gpr[X86_RCX] << 32 | (cpu->gpr[X86_RBX] & 0xffffffff);
    struct soft_rmw rmw;
    uint64_t linear = soft_operand_linear(cpu, &in->decoded, 8, SOFT_WRITE);
    soft_rmw_begin(cpu, &rmw, linear, 8, is_locked(in));
    bool equal = exchange8(rmw.host, &expected, desired);
    soft_rmw_end(cpu, &rmw);
    if (!equal) {
        cpu->gpr[X86_RAX] = expected & 0xffffffff;
        cpu->gpr[X86_RDX] = expected >> 32;
    }
    set_zero_flag(cpu, equal);
}

void soft_cmpxchg16b(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    uint64_t expected[2] = {cpu->gpr[X86_RAX], cpu->gpr[X86_RDX]};
    const uint64_t desired[2] = {cpu->gpr[X86_RBX], cpu->gpr[X86_RCX]};
    /* As one byte: it is #GP that comes of no alignment, not #AC; aligned, it is all canonical. */
    uint64_t linear = soft_operand_linear(cpu, &in->decoded, 1, SOFT_WRITE);
    if ((linear & 15) != 0) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    struct soft_rmw rmw;
    soft_rmw_begin(cpu, &rmw, linear, 16, is_locked(in));
    bool equal;
    if (rmw.is_copy) { /* the copy need not be aligned for the host */
        equal = memcmp(rmw.host, expected, sizeof expected) == 0;
        if (equal) {
            memcpy(rmw.host, desired, sizeof desired);
        } else {
            memcpy(expected, rmw.host, sizeof expected);
        }
    } else {
        equal = exchange16(rmw.host, expected, desired);
    }
    soft_rmw_end(cpu, &rmw);
    if (!equal) {
        cpu->gpr[X86_RAX] = expected[0];
        cpu->gpr[X86_RDX] = expected[1];
    }
    set_zero_flag(cpu, equal);
}

/* With 66h the result is undefined by the manual; processors clear the low 16 bits. */
void soft_bswap(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    uint64_t value = cpu->gpr[in->decoded.reg];
    switch (in->decoded.operand_size) {
    case 2:
        soft_set_register(cpu, in->decoded.reg, 2, true, 0);
        break;
    case 4:
        cpu->gpr[in->decoded.reg] = __builtin_bswap32((uint32_t)value);
        break;
    default:
        cpu->gpr[in->decoded.reg] = __builtin_bswap64(value);
        break;
    }
}
