/*
 * The 0F opcode map: integer and system instructions; the vector instructions are in
 * map_0f_vector.c, where a mandatory prefix selects them.
 */
#include "x86/decode/table.h"

#define SIXTEEN(first, ...) EIGHT(first, __VA_ARGS__), EIGHT((first) + 8, __VA_ARGS__)
#define EIGHT(first, ...)                                                                          \
    [(first) + 0] = __VA_ARGS__, [(first) + 1] = __VA_ARGS__, [(first) + 2] = __VA_ARGS__,         \
               [(first) + 3] = __VA_ARGS__, [(first) + 4] = __VA_ARGS__,                           \
               [(first) + 5] = __VA_ARGS__, [(first) + 6] = __VA_ARGS__,                           \
               [(first) + 7] = __VA_ARGS__

#define PLAIN(name, feature_)                                                                      \
    {                                                                                              \
        .operation = (name), .feature = (feature_)                                                 \
    }
#define MODRM_ROW(name)                                                                            \
    {                                                                                              \
        .operation = (name), .rules = RULE_MODRM                                                   \
    }
#define LOCKED(name)                                                                               \
    {                                                                                              \
        .operation = (name), .rules = RULE_MODRM | RULE_LOCK                                       \
    }
#define HINT                                                                                       \
    {                                                                                              \
        .operation = X86_OP_NOP, .memory = MEMORY_NONE, .rules = RULE_MODRM                        \
    }
#define TRANSFER(name, feature_)                                                                   \
    {                                                                                              \
        .operation = (name), .feature = (feature_), .rules = RULE_BRANCH                           \
    }
#define SEGMENT_LOAD(name)                                                                         \
    {                                                                                              \
        .operation = (name), .memory = MEMORY_FAR, .rules = RULE_MODRM | RULE_MEMORY               \
    }
#define SEGMENT_STACK(name)                                                                        \
    {                                                                                              \
        .operation = (name), .size = SIZE_STACK                                                    \
    }
#define CONTROL(name)                                                                              \
    {                                                                                              \
        .operation = (name), .size = SIZE_NATIVE,                                                  \
        .rules = RULE_MODRM | RULE_IGNORE_MOD | RULE_CHECK                                         \
    }
#define CMOV_ROW                                                                                   \
    {                                                                                              \
        .operation = X86_OP_CMOVCC, .feature = X86_FEATURE_CMOV, .rules = RULE_MODRM               \
    }
#define JCC_ROW                                                                                    \
    {                                                                                              \
        .operation = X86_OP_JCC, .size = SIZE_NEAR, .immediate = IMMEDIATE_Z,                      \
        .rules = RULE_BRANCH | RULE_RELATIVE                                                       \
    }
#define SETCC_ROW                                                                                  \
    {                                                                                              \
        .operation = X86_OP_SETCC, .size = SIZE_BYTE, .rules = RULE_MODRM                          \
    }
#define BSWAP_ROW                                                                                  \
    {                                                                                              \
        .operation = X86_OP_BSWAP, .rules = RULE_OPCODE_REG                                        \
    }
#define WIDEN(name, memory_)                                                                       \
    {                                                                                              \
        .operation = (name), .memory = (memory_), .rules = RULE_MODRM                              \
    }
#define VECTOR                                                                                     \
    {                                                                                              \
        .select = SELECT_PREFIX                                                                    \
    }

static const struct x86_opcode opcode_b8[3] = {
    [1] = {.operation = X86_OP_POPCNT, .feature = X86_FEATURE_POPCNT, .rules = RULE_MODRM},
};

static const struct x86_opcode opcode_bc[3] = {
    MODRM_ROW(X86_OP_BSF),
    /* Where CPUID does not show BMI1 and LZCNT these run as BSF and BSR: no #UD. */
    {.operation = X86_OP_TZCNT, .rules = RULE_MODRM},
    MODRM_ROW(X86_OP_BSF),
};

static const struct x86_opcode opcode_bd[3] = {
    MODRM_ROW(X86_OP_BSR),
    {.operation = X86_OP_LZCNT, .rules = RULE_MODRM},
    MODRM_ROW(X86_OP_BSR),
};

const struct x86_opcode x86_map_0f[256] = {
    [0x00] = {.select = SELECT_REG, .table = x86_group_0f00},
    [0x01] = {.select = SELECT_MOD, .table = x86_group_0f01},
    [0x02] = WIDEN(X86_OP_LAR, MEMORY_2),
    [0x03] = WIDEN(X86_OP_LSL, MEMORY_2),
    [0x05] = TRANSFER(X86_OP_SYSCALL, X86_FEATURE_SYSCALL),
    [0x06] = PLAIN(X86_OP_CLTS, X86_FEATURE_BASE),
    [0x07] = TRANSFER(X86_OP_SYSRET, X86_FEATURE_SYSCALL),
    [0x08] = PLAIN(X86_OP_INVD, X86_FEATURE_BASE),
    [0x09] = PLAIN(X86_OP_WBINVD, X86_FEATURE_BASE), /* with F3: WBNOINVD */
    [0x0b] = TRANSFER(X86_OP_UD2, X86_FEATURE_BASE),
    [0x0d] = HINT, /* PREFETCHW */
    EIGHT(0x10, VECTOR),

    /* PREFETCH, MPX's and CET's encodings, CLDEMOTE, ENDBR, NOP: the hint space */
    EIGHT(0x18, HINT),

    [0x20] = CONTROL(X86_OP_MOV_FROM_CR),
    [0x21] = CONTROL(X86_OP_MOV_FROM_DR),
    [0x22] = CONTROL(X86_OP_MOV_TO_CR),
    [0x23] = CONTROL(X86_OP_MOV_TO_DR),
    EIGHT(0x28, VECTOR),

    [0x30] = PLAIN(X86_OP_WRMSR, X86_FEATURE_MSR),
    [0x31] = PLAIN(X86_OP_RDTSC, X86_FEATURE_TSC),
    [0x32] = PLAIN(X86_OP_RDMSR, X86_FEATURE_MSR),
    [0x33] = PLAIN(X86_OP_RDPMC, X86_FEATURE_BASE),
    [0x34] = TRANSFER(X86_OP_SYSENTER, X86_FEATURE_SEP),
    [0x35] = TRANSFER(X86_OP_SYSEXIT, X86_FEATURE_SEP),
    SIXTEEN(0x40, CMOV_ROW),
    SIXTEEN(0x50, VECTOR),
    SIXTEEN(0x60, VECTOR),
    SIXTEEN(0x70, VECTOR),
    SIXTEEN(0x80, JCC_ROW),
    SIXTEEN(0x90, SETCC_ROW),

    [0xa0] = SEGMENT_STACK(X86_OP_PUSH_SEGMENT),
    [0xa1] = SEGMENT_STACK(X86_OP_POP_SEGMENT),
    [0xa2] = PLAIN(X86_OP_CPUID, X86_FEATURE_BASE),
    [0xa3] = MODRM_ROW(X86_OP_BT),
    [0xa4] = {.operation = X86_OP_SHLD, .immediate = IMMEDIATE_8, .rules = RULE_MODRM},
    [0xa5] = MODRM_ROW(X86_OP_SHLD),
    [0xa8] = SEGMENT_STACK(X86_OP_PUSH_SEGMENT),
    [0xa9] = SEGMENT_STACK(X86_OP_POP_SEGMENT),
    [0xaa] = TRANSFER(X86_OP_RSM, X86_FEATURE_BASE),
    [0xab] = LOCKED(X86_OP_BTS),
    [0xac] = {.operation = X86_OP_SHRD, .immediate = IMMEDIATE_8, .rules = RULE_MODRM},
    [0xad] = MODRM_ROW(X86_OP_SHRD),
    [0xae] = {.select = SELECT_MOD, .table = x86_group_0fae},
    [0xaf] = MODRM_ROW(X86_OP_IMUL2),
    [0xb0] = {.operation = X86_OP_CMPXCHG, .size = SIZE_BYTE, .rules = RULE_MODRM | RULE_LOCK},
    [0xb1] = LOCKED(X86_OP_CMPXCHG),
    [0xb2] = SEGMENT_LOAD(X86_OP_LSS),
    [0xb3] = LOCKED(X86_OP_BTR),
    [0xb4] = SEGMENT_LOAD(X86_OP_LFS),
    [0xb5] = SEGMENT_LOAD(X86_OP_LGS),
    [0xb6] = WIDEN(X86_OP_MOVZX8, MEMORY_1),
    [0xb7] = WIDEN(X86_OP_MOVZX16, MEMORY_2),
    [0xb8] = {.select = SELECT_REPEAT, .table = opcode_b8},
    [0xb9] = {.operation = X86_OP_UD1, .memory = MEMORY_NONE, .rules = RULE_MODRM | RULE_BRANCH},
    [0xba] = {.select = SELECT_REG, .table = x86_group_0fba},
    [0xbb] = LOCKED(X86_OP_BTC),
    [0xbc] = {.select = SELECT_REPEAT, .table = opcode_bc},
    [0xbd] = {.select = SELECT_REPEAT, .table = opcode_bd},
    [0xbe] = WIDEN(X86_OP_MOVSX8, MEMORY_1),
    [0xbf] = WIDEN(X86_OP_MOVSX16, MEMORY_2),
    [0xc0] = {.operation = X86_OP_XADD, .size = SIZE_BYTE, .rules = RULE_MODRM | RULE_LOCK},
    [0xc1] = LOCKED(X86_OP_XADD),
    [0xc2] = VECTOR,
    [0xc3] = {.operation = X86_OP_MOVNTI,
              .size = SIZE_W,
              .feature = X86_FEATURE_SSE2,
              .rules = RULE_MODRM | RULE_MEMORY | RULE_NO_PREFIX},
    [0xc4] = VECTOR,
    [0xc5] = VECTOR,
    [0xc6] = VECTOR,
    [0xc7] = {.select = SELECT_MOD, .table = x86_group_0fc7},
    EIGHT(0xc8, BSWAP_ROW),
    SIXTEEN(0xd0, VECTOR),
    SIXTEEN(0xe0, VECTOR),
    EIGHT(0xf0, VECTOR),
    [0xf8] = VECTOR,
    [0xf9] = VECTOR,
    [0xfa] = VECTOR,
    [0xfb] = VECTOR,
    [0xfc] = VECTOR,
    [0xfd] = VECTOR,
    [0xfe] = VECTOR,
    [0xff] = {.operation = X86_OP_UD0, .memory = MEMORY_NONE, .rules = RULE_MODRM | RULE_BRANCH},
};
