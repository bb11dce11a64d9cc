/*
 * Integer arithmetic with flags: the host's own instructions, their flags captured by LAHF/SETO.
 *
 * Purpose: results and flags, undefined ones included, are the host processor's own, so nothing
 *          about flags is spelled out in C.
 * Source:  Intel SDM volume 1, "EFLAGS Register"; volume 2, the instructions' "Flags Affected".
 * Owner:   values only. Thread: any.
 *
 * `arithmetic` is struct soft_cpu's form: AH as LAHF leaves it in bits 15..8, OF in bit 0. To put
 * it back, ADD 7fh to AL makes OF (127 + 1 overflows, 127 + 0 does not) and SAHF the rest.
 */
#ifndef TRAPEZE_ENGINES_SOFT_ALU_H
#define TRAPEZE_ENGINES_SOFT_ALU_H

#include <stdbool.h>
#include <stdint.h>

#define SOFT_ARITHMETIC_OF 0x0001u
#define SOFT_ARITHMETIC_CF 0x0100u
#define SOFT_ARITHMETIC_PF 0x0400u
#define SOFT_ARITHMETIC_AF 0x1000u
#define SOFT_ARITHMETIC_ZF 0x4000u
#define SOFT_ARITHMETIC_SF 0x8000u

#define SOFT_ALU_RESTORE "addb $0x7f, %%al\n\tsahf\n\t"
#define SOFT_ALU_CAPTURE "\n\tlahf\n\tseto %%al"

/* Index of a size of 1, 2, 4 or 8 bytes into tables by size. */
static inline unsigned int soft_size_index(unsigned int size)
{
    return (unsigned int)__builtin_ctz(size);
}

/* All ones in the low `size` bytes. */
static inline uint64_t soft_size_mask(unsigned int size)
{
    return UINT64_MAX >> (64 - 8 * size);
}

/* The low `size` bytes as a signed number. */
static inline int64_t soft_sign_extend(uint64_t value, unsigned int size)
{
    unsigned int shift = 64 - 8 * size;
    return (int64_t)(value << shift) >> shift;
}

/* A condition by its four-bit encoding ("EFLAGS Condition Codes"). */
static inline bool soft_condition(uint16_t arithmetic, unsigned int condition)
{
    bool cf = (arithmetic & SOFT_ARITHMETIC_CF) != 0, zf = (arithmetic & SOFT_ARITHMETIC_ZF) != 0;
    bool sf = (arithmetic & SOFT_ARITHMETIC_SF) != 0, of = (arithmetic & SOFT_ARITHMETIC_OF) != 0;
    bool met = false;
    switch (condition >> 1 & 7) {
    case 0:
        met = of;
        break;
    case 1:
        met = cf;
        break;
    case 2:
        met = zf;
        break;
    case 3:
        met = cf || zf;
        break;
    case 4:
        met = sf;
        break;
    case 5:
        met = (arithmetic & SOFT_ARITHMETIC_PF) != 0;
        break;
    case 6:
        met = sf != of;
        break;
    default:
        met = zf || sf != of;
        break;
    }
    return met != ((condition & 1) != 0);
}

/* result = a op b; flags that the instruction reads or leaves alone come from *arithmetic. */
typedef uint64_t soft_alu_function(uint16_t *arithmetic, uint64_t a, uint64_t b);
/* *host = *host op b in one atomic step; the old value, where the instruction yields one. */
typedef uint64_t soft_alu_locked_function(uint16_t *arithmetic, void *host, uint64_t b);

/* --- stamps: one function a size. modifier is the operand modifier of inline assembly --- */

#define SOFT_ALU_BINARY_SIZE(name, mnemonic, bits, modifier)                                       \
    static inline uint64_t soft_##name##bits(uint16_t *arithmetic, uint64_t a, uint64_t b)         \
    {                                                                                              \
        uint64_t flags = *arithmetic;                                                              \
        __asm__(SOFT_ALU_RESTORE mnemonic " %" modifier "[b], %" modifier "[a]" SOFT_ALU_CAPTURE   \
                : "+a"(flags), [a] "+q"(a)                                                         \
                : [b] "q"(b)                                                                       \
                : "cc");                                                                           \
        *arithmetic = (uint16_t)flags;                                                             \
        return a & (UINT64_MAX >> (64 - (bits)));                                                  \
    }
#define SOFT_ALU_BINARY(name, mnemonic)                                                            \
    SOFT_ALU_BINARY_SIZE(name, mnemonic "b", 8, "b")                                               \
    SOFT_ALU_BINARY_SIZE(name, mnemonic "w", 16, "w")                                              \
    SOFT_ALU_BINARY_SIZE(name, mnemonic "l", 32, "k")                                              \
    SOFT_ALU_BINARY_SIZE(name, mnemonic "q", 64, "q")

#define SOFT_ALU_UNARY_SIZE(name, mnemonic, bits, modifier)                                        \
    static inline uint64_t soft_##name##bits(uint16_t *arithmetic, uint64_t a, uint64_t b)         \
    {                                                                                              \
        uint64_t flags = *arithmetic;                                                              \
        (void)b;                                                                                   \
        __asm__(SOFT_ALU_RESTORE mnemonic " %" modifier "[a]" SOFT_ALU_CAPTURE                     \
                : "+a"(flags), [a] "+q"(a)                                                         \
                :                                                                                  \
                : "cc");                                                                           \
        *arithmetic = (uint16_t)flags;                                                             \
        return a & (UINT64_MAX >> (64 - (bits)));                                                  \
    }
#define SOFT_ALU_UNARY(name, mnemonic)                                                             \
    SOFT_ALU_UNARY_SIZE(name, mnemonic "b", 8, "b")                                                \
    SOFT_ALU_UNARY_SIZE(name, mnemonic "w", 16, "w")                                               \
    SOFT_ALU_UNARY_SIZE(name, mnemonic "l", 32, "k")                                               \
    SOFT_ALU_UNARY_SIZE(name, mnemonic "q", 64, "q")

/* Shifts and rotates: the count in CL, masked by the host as by any processor. */
#define SOFT_ALU_SHIFT_SIZE(name, mnemonic, bits, modifier)                                        \
    static inline uint64_t soft_##name##bits(uint16_t *arithmetic, uint64_t a, uint64_t count)     \
    {                                                                                              \
        uint64_t flags = *arithmetic;                                                              \
        __asm__(SOFT_ALU_RESTORE mnemonic " %%cl, %" modifier "[a]" SOFT_ALU_CAPTURE               \
                : "+a"(flags), [a] "+q"(a)                                                         \
                : "c"(count)                                                                       \
                : "cc");                                                                           \
        *arithmetic = (uint16_t)flags;                                                             \
        return a & (UINT64_MAX >> (64 - (bits)));                                                  \
    }
#define SOFT_ALU_SHIFT(name, mnemonic)                                                             \
    SOFT_ALU_SHIFT_SIZE(name, mnemonic "b", 8, "b")                                                \
    SOFT_ALU_SHIFT_SIZE(name, mnemonic "w", 16, "w")                                               \
    SOFT_ALU_SHIFT_SIZE(name, mnemonic "l", 32, "k")                                               \
    SOFT_ALU_SHIFT_SIZE(name, mnemonic "q", 64, "q")

#define SOFT_ALU_LOCKED_SIZE(name, mnemonic, bits, modifier)                                       \
    static inline uint64_t soft_locked_##name##bits(uint16_t *arithmetic, void *host, uint64_t b)  \
    {                                                                                              \
        uint64_t flags = *arithmetic;                                                              \
        __asm__ volatile(SOFT_ALU_RESTORE "lock " mnemonic " %" modifier                           \
                                          "[b], (%[host])" SOFT_ALU_CAPTURE                        \
                         : "+a"(flags), [b] "+q"(b)                                                \
                         : [host] "r"(host)                                                        \
                         : "cc", "memory");                                                        \
        *arithmetic = (uint16_t)flags;                                                             \
        return b & (UINT64_MAX >> (64 - (bits)));                                                  \
    }
#define SOFT_ALU_LOCKED(name, mnemonic)                                                            \
    SOFT_ALU_LOCKED_SIZE(name, mnemonic "b", 8, "b")                                               \
    SOFT_ALU_LOCKED_SIZE(name, mnemonic "w", 16, "w")                                              \
    SOFT_ALU_LOCKED_SIZE(name, mnemonic "l", 32, "k")                                              \
    SOFT_ALU_LOCKED_SIZE(name, mnemonic "q", 64, "q")

#define SOFT_ALU_LOCKED_UNARY_SIZE(name, mnemonic, bits)                                           \
    static inline uint64_t soft_locked_##name##bits(uint16_t *arithmetic, void *host, uint64_t b)  \
    {                                                                                              \
        uint64_t flags = *arithmetic;                                                              \
        __asm__ volatile(SOFT_ALU_RESTORE "lock " mnemonic " (%[host])" SOFT_ALU_CAPTURE           \
                         : "+a"(flags)                                                             \
                         : [host] "r"(host)                                                        \
                         : "cc", "memory");                                                        \
        *arithmetic = (uint16_t)flags;                                                             \
        return b;                                                                                  \
    }
#define SOFT_ALU_LOCKED_UNARY(name, mnemonic)                                                      \
    SOFT_ALU_LOCKED_UNARY_SIZE(name, mnemonic "b", 8)                                              \
    SOFT_ALU_LOCKED_UNARY_SIZE(name, mnemonic "w", 16)                                             \
    SOFT_ALU_LOCKED_UNARY_SIZE(name, mnemonic "l", 32)                                             \
    SOFT_ALU_LOCKED_UNARY_SIZE(name, mnemonic "q", 64)

SOFT_ALU_BINARY(add, "add")
SOFT_ALU_BINARY(or, "or")
SOFT_ALU_BINARY(adc, "adc")
SOFT_ALU_BINARY(sbb, "sbb")
SOFT_ALU_BINARY(and, "and")
SOFT_ALU_BINARY(sub, "sub")
SOFT_ALU_BINARY(xor, "xor")
SOFT_ALU_BINARY(cmp, "cmp")   /* a comes back unchanged */
SOFT_ALU_BINARY(test, "test") /* likewise */
SOFT_ALU_UNARY(not, "not")
SOFT_ALU_UNARY(neg, "neg")
SOFT_ALU_UNARY(inc, "inc")
SOFT_ALU_UNARY(dec, "dec")
SOFT_ALU_SHIFT(rol, "rol")
SOFT_ALU_SHIFT(ror, "ror")
SOFT_ALU_SHIFT(rcl, "rcl")
SOFT_ALU_SHIFT(rcr, "rcr")
SOFT_ALU_SHIFT(shl, "shl")
SOFT_ALU_SHIFT(shr, "shr")
SOFT_ALU_SHIFT(sar, "sar")

SOFT_ALU_LOCKED(add, "add")
SOFT_ALU_LOCKED(or, "or")
SOFT_ALU_LOCKED(adc, "adc")
SOFT_ALU_LOCKED(sbb, "sbb")
SOFT_ALU_LOCKED(and, "and")
SOFT_ALU_LOCKED(sub, "sub")
SOFT_ALU_LOCKED(xor, "xor")
SOFT_ALU_LOCKED(xadd, "xadd") /* returns the old value */
SOFT_ALU_LOCKED(xchg, "xchg") /* likewise */
SOFT_ALU_LOCKED_UNARY(not, "not")
SOFT_ALU_LOCKED_UNARY(neg, "neg")
SOFT_ALU_LOCKED_UNARY(inc, "inc")
SOFT_ALU_LOCKED_UNARY(dec, "dec")

/* The four functions of an operation in the order of soft_size_index(). */
#define SOFT_ALU_SIZES(name)                                                                       \
    {                                                                                              \
        soft_##name##8, soft_##name##16, soft_##name##32, soft_##name##64                          \
    }
#define SOFT_ALU_LOCKED_SIZES(name) SOFT_ALU_SIZES(locked_##name)

#endif
