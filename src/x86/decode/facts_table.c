/*
 * What each operation does to registers and flags. An operation that has no row is unknown: far
 * transfers and interrupts, which may switch tasks, and VMX.
 */
#include "x86/decode/facts_table.h"

#include "x86/registers.h"

#define BIT(number) (1u << (number))
#define RAX         BIT(X86_RAX)
#define RCX         BIT(X86_RCX)
#define RDX         BIT(X86_RDX)
#define RBX         BIT(X86_RBX)
#define RSP         BIT(X86_RSP)
#define RBP         BIT(X86_RBP)
#define RSI         BIT(X86_RSI)
#define RDI         BIT(X86_RDI)
#define R11         BIT(X86_R11)
#define ALL_EIGHT   0xffu

#define ACCUMULATOR   .reads = RAX, .writes = RAX
#define STACK         .reads = RSP, .writes = RSP
#define STRINGS       .reads = RSI | RDI, .writes = RSI | RDI
#define EXCHANGE_PAIR .reads = RAX | RCX | RDX | RBX, .writes = RAX | RDX, .flags_defined = ZF

#define READ  ACCESS_READ
#define WRITE ACCESS_WRITE
#define BOTH  ACCESS_BOTH
#define BYTE  ACCESS_BYTE
#define WHOLE ACCESS_WHOLE

#define CF  X86_FLAGS_CF
#define PF  X86_FLAGS_PF
#define AF  X86_FLAGS_AF
#define ZF  X86_FLAGS_ZF
#define SF  X86_FLAGS_SF
#define OF  X86_FLAGS_OF
#define ALL X86_FLAGS_ARITHMETIC

/* What several instructions do to the flags. */
#define FLAGS_ALL     .flags_defined = ALL
#define FLAGS_LOGIC   .flags_defined = ALL & ~AF, .flags_undefined = AF
#define FLAGS_PRODUCT .flags_defined = CF | OF, .flags_left = PF | AF | ZF | SF
#define FLAGS_BIT     .flags_defined = CF, .flags_left = PF | AF | SF | OF
#define FLAGS_SCAN    .flags_defined = ZF, .flags_left = CF | PF | AF | SF | OF
#define FLAGS_COUNT   .flags_defined = CF | ZF, .flags_left = PF | AF | SF | OF
#define FLAGS_BMI     .flags_defined = CF | ZF | SF | OF, .flags_undefined = PF | AF
#define FLAGS_ADJUST  .flags_defined = PF | ZF | SF, .flags_undefined = CF | AF | OF
#define FLAGS_ASCII   .flags_read = AF, .flags_defined = CF | AF, .flags_undefined = PF | ZF | SF | OF
#define FLAGS_DECIMAL                                                                              \
    .flags_read = CF | AF, .flags_defined = CF | PF | AF | ZF | SF, .flags_undefined = OF

const struct x86_facts_row x86_facts_rows[X86_OP_COUNT] = {
    /* arithmetic and moves */
    [X86_OP_ADD] = {.form = FORM_DIRECTION, .first = BOTH, FLAGS_ALL},
    [X86_OP_OR] = {.form = FORM_DIRECTION, .first = BOTH, FLAGS_LOGIC},
    [X86_OP_ADC] = {.form = FORM_DIRECTION, .first = BOTH, .flags_read = CF, FLAGS_ALL},
    [X86_OP_SBB] = {.form = FORM_DIRECTION, .first = BOTH, .flags_read = CF, FLAGS_ALL},
    [X86_OP_AND] = {.form = FORM_DIRECTION, .first = BOTH, FLAGS_LOGIC},
    [X86_OP_SUB] = {.form = FORM_DIRECTION, .first = BOTH, FLAGS_ALL},
    [X86_OP_XOR] = {.form = FORM_DIRECTION, .first = BOTH, FLAGS_LOGIC},
    [X86_OP_CMP] = {.form = FORM_DIRECTION, .first = READ, FLAGS_ALL},
    [X86_OP_ROL] = {.form = FORM_ROTATE, .rm = BOTH},
    [X86_OP_ROR] = {.form = FORM_ROTATE, .rm = BOTH},
    [X86_OP_RCL] = {.form = FORM_ROTATE, .rm = BOTH, .flags_read = CF},
    [X86_OP_RCR] = {.form = FORM_ROTATE, .rm = BOTH, .flags_read = CF},
    [X86_OP_SHL] = {.form = FORM_SHIFT, .rm = BOTH},
    [X86_OP_SHR] = {.form = FORM_SHIFT, .rm = BOTH},
    [X86_OP_SAL] = {.form = FORM_SHIFT, .rm = BOTH},
    [X86_OP_SAR] = {.form = FORM_SHIFT, .rm = BOTH},
    [X86_OP_SHLD] = {.form = FORM_SHIFT_DOUBLE, .reg = READ, .rm = BOTH},
    [X86_OP_SHRD] = {.form = FORM_SHIFT_DOUBLE, .reg = READ, .rm = BOTH},
    [X86_OP_TEST] = {.form = FORM_TEST, FLAGS_LOGIC},
    [X86_OP_NOT] = {.form = FORM_PLAIN, .rm = BOTH},
    [X86_OP_NEG] = {.form = FORM_PLAIN, .rm = BOTH, FLAGS_ALL},
    [X86_OP_MUL] = {.form = FORM_MULTIPLY, .rm = READ, FLAGS_PRODUCT},
    [X86_OP_IMUL] = {.form = FORM_MULTIPLY, .rm = READ, FLAGS_PRODUCT},
    [X86_OP_IMUL2] = {.form = FORM_PLAIN, .reg = BOTH, .rm = READ, FLAGS_PRODUCT},
    [X86_OP_IMUL3] = {.form = FORM_PLAIN, .reg = WRITE, .rm = READ, FLAGS_PRODUCT},
    [X86_OP_DIV] = {.form = FORM_DIVIDE, .rm = READ, .flags_left = ALL},
    [X86_OP_IDIV] = {.form = FORM_DIVIDE, .rm = READ, .flags_left = ALL},
    [X86_OP_INC] = {.form = FORM_OPCODE, .first = BOTH, .flags_defined = PF | AF | ZF | SF | OF},
    [X86_OP_DEC] = {.form = FORM_OPCODE, .first = BOTH, .flags_defined = PF | AF | ZF | SF | OF},
    [X86_OP_MOV] = {.form = FORM_DIRECTION, .first = WRITE},
    [X86_OP_MOV_FROM_SEGMENT] = {.form = FORM_PLAIN, .rm = WRITE},
    [X86_OP_MOV_TO_SEGMENT] = {.form = FORM_PLAIN, .rm = READ},
    /* The manual leaves all flags undefined after these; processors and engines leave them alone.
     */
    [X86_OP_MOV_FROM_CR] = {.form = FORM_PLAIN, .rm = WRITE},
    [X86_OP_MOV_FROM_DR] = {.form = FORM_PLAIN, .rm = WRITE},
    [X86_OP_MOV_TO_CR] = {.form = FORM_PLAIN, .rm = READ},
    [X86_OP_MOV_TO_DR] = {.form = FORM_PLAIN, .rm = READ},
    [X86_OP_MOV_MOFFS_LOAD] = {.form = FORM_PLAIN, .accumulator = WRITE},
    [X86_OP_MOV_MOFFS_STORE] = {.form = FORM_PLAIN, .accumulator = READ},
    [X86_OP_MOVBE] = {.form = FORM_MOVBE},
    [X86_OP_MOVNTI] = {.form = FORM_PLAIN, .reg = READ},
    [X86_OP_MOVZX8] = {.form = FORM_PLAIN, .reg = WRITE, .rm = READ | BYTE},
    [X86_OP_MOVZX16] = {.form = FORM_PLAIN, .reg = WRITE, .rm = READ},
    [X86_OP_MOVSX8] = {.form = FORM_PLAIN, .reg = WRITE, .rm = READ | BYTE},
    [X86_OP_MOVSX16] = {.form = FORM_PLAIN, .reg = WRITE, .rm = READ},
    [X86_OP_MOVSXD] = {.form = FORM_PLAIN, .reg = WRITE, .rm = READ},
    [X86_OP_LEA] = {.form = FORM_PLAIN, .reg = WRITE},
    [X86_OP_XCHG] = {.form = FORM_EXCHANGE},
    [X86_OP_XADD] = {.form = FORM_PLAIN, .reg = BOTH, .rm = BOTH, FLAGS_ALL},
    [X86_OP_CMPXCHG] =
        {.form = FORM_PLAIN, .reg = READ, .rm = BOTH, .accumulator = BOTH, FLAGS_ALL},
    [X86_OP_CMPXCHG8B] = {.form = FORM_PLAIN, EXCHANGE_PAIR},
    [X86_OP_CMPXCHG16B] = {.form = FORM_PLAIN, EXCHANGE_PAIR},
    [X86_OP_BSWAP] = {.form = FORM_OPCODE, .first = BOTH},
    [X86_OP_CMOVCC] = {.form = FORM_CONDITION, .reg = BOTH, .rm = READ},
    [X86_OP_SETCC] = {.form = FORM_CONDITION, .rm = WRITE},
    [X86_OP_CBW] = {.form = FORM_PLAIN, ACCUMULATOR},
    [X86_OP_CWD] = {.form = FORM_SIGN, .reads = RAX},
    /* bits */
    [X86_OP_BT] = {.form = FORM_BIT, .rm = READ, FLAGS_BIT},
    [X86_OP_BTS] = {.form = FORM_BIT, .rm = BOTH, FLAGS_BIT},
    [X86_OP_BTR] = {.form = FORM_BIT, .rm = BOTH, FLAGS_BIT},
    [X86_OP_BTC] = {.form = FORM_BIT, .rm = BOTH, FLAGS_BIT},
    [X86_OP_BSF] = {.form = FORM_PLAIN, .reg = BOTH, .rm = READ, FLAGS_SCAN},
    [X86_OP_BSR] = {.form = FORM_PLAIN, .reg = BOTH, .rm = READ, FLAGS_SCAN},
    /* the old destination counts, as for BSF and BSR: without BMI1 and LZCNT these are those */
    [X86_OP_TZCNT] = {.form = FORM_PLAIN, .reg = BOTH, .rm = READ, FLAGS_COUNT},
    [X86_OP_LZCNT] = {.form = FORM_PLAIN, .reg = BOTH, .rm = READ, FLAGS_COUNT},
    [X86_OP_POPCNT] = {.form = FORM_PLAIN, .reg = WRITE, .rm = READ, FLAGS_ALL},
    [X86_OP_CRC32] = {.form = FORM_PLAIN, .reg = BOTH | WHOLE, .rm = READ},
    [X86_OP_ADCX] =
        {.form = FORM_PLAIN, .reg = BOTH, .rm = READ, .flags_read = CF, .flags_defined = CF},
    [X86_OP_ADOX] =
        {.form = FORM_PLAIN, .reg = BOTH, .rm = READ, .flags_read = OF, .flags_defined = OF},
    [X86_OP_ANDN] = {.form = FORM_PLAIN, .reg = WRITE, .rm = READ, .vvvv = READ, FLAGS_BMI},
    /* CF and OF are cleared */
    [X86_OP_BEXTR] = {.form = FORM_PLAIN,
                      .reg = WRITE,
                      .rm = READ,
                      .vvvv = READ,
                      .flags_defined = CF | ZF | OF,
                      .flags_undefined = PF | AF | SF},
    [X86_OP_BLSI] = {.form = FORM_PLAIN, .rm = READ, .vvvv = WRITE, FLAGS_BMI},
    [X86_OP_BLSMSK] = {.form = FORM_PLAIN, .rm = READ, .vvvv = WRITE, FLAGS_BMI},
    [X86_OP_BLSR] = {.form = FORM_PLAIN, .rm = READ, .vvvv = WRITE, FLAGS_BMI},
    [X86_OP_BZHI] = {.form = FORM_PLAIN, .reg = WRITE, .rm = READ, .vvvv = READ, FLAGS_BMI},
    [X86_OP_MULX] = {.form = FORM_PLAIN, .reg = WRITE, .rm = READ, .vvvv = WRITE, .reads = RDX},
    [X86_OP_PDEP] = {.form = FORM_PLAIN, .reg = WRITE, .rm = READ, .vvvv = READ},
    [X86_OP_PEXT] = {.form = FORM_PLAIN, .reg = WRITE, .rm = READ, .vvvv = READ},
    [X86_OP_RORX] = {.form = FORM_PLAIN, .reg = WRITE, .rm = READ},
    [X86_OP_SARX] = {.form = FORM_PLAIN, .reg = WRITE, .rm = READ, .vvvv = READ},
    [X86_OP_SHLX] = {.form = FORM_PLAIN, .reg = WRITE, .rm = READ, .vvvv = READ},
    [X86_OP_SHRX] = {.form = FORM_PLAIN, .reg = WRITE, .rm = READ, .vvvv = READ},
    /* decimal arithmetic and flags */
    [X86_OP_AAA] = {.form = FORM_PLAIN, ACCUMULATOR, FLAGS_ASCII},
    [X86_OP_AAS] = {.form = FORM_PLAIN, ACCUMULATOR, FLAGS_ASCII},
    [X86_OP_AAM] = {.form = FORM_PLAIN, ACCUMULATOR, FLAGS_ADJUST},
    [X86_OP_AAD] = {.form = FORM_PLAIN, ACCUMULATOR, FLAGS_ADJUST},
    [X86_OP_DAA] = {.form = FORM_PLAIN, ACCUMULATOR, FLAGS_DECIMAL},
    [X86_OP_DAS] = {.form = FORM_PLAIN, ACCUMULATOR, FLAGS_DECIMAL},
    [X86_OP_SALC] = {.form = FORM_PLAIN, ACCUMULATOR, .flags_read = CF},
    [X86_OP_XLAT] = {.form = FORM_PLAIN, .reads = RAX | RBX, .writes = RAX},
    [X86_OP_CLC] = {.form = FORM_PLAIN, .flags_defined = CF},
    [X86_OP_STC] = {.form = FORM_PLAIN, .flags_defined = CF},
    [X86_OP_CMC] = {.form = FORM_PLAIN, .flags_read = CF, .flags_defined = CF},
    [X86_OP_CLD] = {.form = FORM_PLAIN},
    [X86_OP_STD] = {.form = FORM_PLAIN},
    [X86_OP_CLI] = {.form = FORM_PLAIN},
    [X86_OP_STI] = {.form = FORM_PLAIN},
    [X86_OP_LAHF] = {.form = FORM_PLAIN, ACCUMULATOR, .flags_read = CF | PF | AF | ZF | SF},
    [X86_OP_SAHF] = {.form = FORM_PLAIN, .reads = RAX, .flags_defined = CF | PF | AF | ZF | SF},
    [X86_OP_PUSHF] = {.form = FORM_PLAIN, STACK, .flags_read = ALL},
    [X86_OP_POPF] = {.form = FORM_PLAIN, STACK, FLAGS_ALL},
    /* stack */
    [X86_OP_PUSH] = {.form = FORM_OPCODE, .first = READ, STACK},
    [X86_OP_POP] = {.form = FORM_OPCODE, .first = WRITE, STACK},
    [X86_OP_PUSHA] = {.form = FORM_PLAIN, .reads = ALL_EIGHT, .writes = RSP},
    [X86_OP_POPA] = {.form = FORM_POPA, .reads = RSP, .writes = ALL_EIGHT},
    [X86_OP_PUSH_SEGMENT] = {.form = FORM_PLAIN, STACK},
    [X86_OP_POP_SEGMENT] = {.form = FORM_PLAIN, STACK},
    [X86_OP_ENTER] = {.form = FORM_PLAIN, .reads = RSP | RBP, .writes = RSP | RBP},
    [X86_OP_LEAVE] = {.form = FORM_PLAIN, .reads = RSP | RBP, .writes = RSP | RBP},
    /* strings and ports */
    [X86_OP_MOVS] = {.form = FORM_STRING, STRINGS},
    [X86_OP_CMPS] = {.form = FORM_STRING, STRINGS, FLAGS_ALL},
    [X86_OP_STOS] = {.form = FORM_STRING, .accumulator = READ, .reads = RDI, .writes = RDI},
    [X86_OP_LODS] = {.form = FORM_STRING, .accumulator = WRITE, .reads = RSI, .writes = RSI},
    [X86_OP_SCAS] =
        {.form = FORM_STRING, .accumulator = READ, .reads = RDI, .writes = RDI, FLAGS_ALL},
    [X86_OP_INS] = {.form = FORM_STRING, .reads = RDX | RDI, .writes = RDI},
    [X86_OP_OUTS] = {.form = FORM_STRING, .reads = RDX | RSI, .writes = RSI},
    [X86_OP_IN] = {.form = FORM_PORT, .accumulator = WRITE},
    [X86_OP_OUT] = {.form = FORM_PORT, .accumulator = READ},
    /* control transfer */
    [X86_OP_JCC] = {.form = FORM_CONDITION},
    [X86_OP_JMP] = {.form = FORM_PLAIN},
    [X86_OP_JMP_INDIRECT] = {.form = FORM_PLAIN, .rm = READ},
    [X86_OP_CALL] = {.form = FORM_PLAIN, STACK},
    [X86_OP_CALL_INDIRECT] = {.form = FORM_PLAIN, .rm = READ, STACK},
    [X86_OP_RET] = {.form = FORM_PLAIN, STACK},
    [X86_OP_LOOP] = {.form = FORM_PLAIN, .reads = RCX, .writes = RCX},
    [X86_OP_LOOPE] = {.form = FORM_PLAIN, .reads = RCX, .writes = RCX, .flags_read = ZF},
    [X86_OP_LOOPNE] = {.form = FORM_PLAIN, .reads = RCX, .writes = RCX, .flags_read = ZF},
    [X86_OP_JCXZ] = {.form = FORM_PLAIN, .reads = RCX},
    [X86_OP_BOUND] = {.form = FORM_PLAIN, .reg = READ},
    [X86_OP_SYSCALL] = {.form = FORM_ONLY_64,
                        .writes = RCX | R11,
                        .flags_read = ALL,
                        .flags_left = ALL},
    [X86_OP_SYSRET] = {.form = FORM_ONLY_64, .reads = RCX | R11, FLAGS_ALL},
    [X86_OP_SYSENTER] = {.form = FORM_PLAIN, .writes = RSP},
    [X86_OP_SYSEXIT] = {.form = FORM_PLAIN, .reads = RCX | RDX, .writes = RSP},
    /* hints */
    [X86_OP_NOP] = {.form = FORM_PLAIN},
    [X86_OP_PAUSE] = {.form = FORM_PLAIN},
    [X86_OP_LFENCE] = {.form = FORM_PLAIN},
    [X86_OP_MFENCE] = {.form = FORM_PLAIN},
    [X86_OP_SFENCE] = {.form = FORM_PLAIN},
    [X86_OP_CLFLUSH] = {.form = FORM_PLAIN},
    /* segments, tables, system */
    [X86_OP_LDS] = {.form = FORM_PLAIN, .reg = WRITE},
    [X86_OP_LES] = {.form = FORM_PLAIN, .reg = WRITE},
    [X86_OP_LSS] = {.form = FORM_PLAIN, .reg = WRITE},
    [X86_OP_LFS] = {.form = FORM_PLAIN, .reg = WRITE},
    [X86_OP_LGS] = {.form = FORM_PLAIN, .reg = WRITE},
    [X86_OP_LGDT] = {.form = FORM_PLAIN},
    [X86_OP_LIDT] = {.form = FORM_PLAIN},
    [X86_OP_SGDT] = {.form = FORM_PLAIN},
    [X86_OP_SIDT] = {.form = FORM_PLAIN},
    [X86_OP_LLDT] = {.form = FORM_PLAIN, .rm = READ},
    [X86_OP_LTR] = {.form = FORM_PLAIN, .rm = READ},
    [X86_OP_SLDT] = {.form = FORM_PLAIN, .rm = WRITE},
    [X86_OP_STR] = {.form = FORM_PLAIN, .rm = WRITE},
    [X86_OP_LAR] = {.form = FORM_PLAIN, .reg = BOTH, .rm = READ, .flags_defined = ZF},
    [X86_OP_LSL] = {.form = FORM_PLAIN, .reg = BOTH, .rm = READ, .flags_defined = ZF},
    [X86_OP_VERR] = {.form = FORM_PLAIN, .rm = READ, .flags_defined = ZF},
    [X86_OP_VERW] = {.form = FORM_PLAIN, .rm = READ, .flags_defined = ZF},
    [X86_OP_ARPL] = {.form = FORM_PLAIN, .reg = READ, .rm = BOTH, .flags_defined = ZF},
    [X86_OP_LMSW] = {.form = FORM_PLAIN, .rm = READ},
    [X86_OP_SMSW] = {.form = FORM_PLAIN, .rm = WRITE},
    [X86_OP_CLTS] = {.form = FORM_PLAIN},
    [X86_OP_HLT] = {.form = FORM_PLAIN},
    [X86_OP_INVD] = {.form = FORM_PLAIN},
    [X86_OP_WBINVD] = {.form = FORM_PLAIN},
    [X86_OP_INVLPG] = {.form = FORM_PLAIN},
    [X86_OP_INVPCID] = {.form = FORM_PLAIN, .reg = READ},
    [X86_OP_RDMSR] = {.form = FORM_PLAIN, .reads = RCX, .writes = RAX | RDX},
    [X86_OP_RDPMC] = {.form = FORM_PLAIN, .reads = RCX, .writes = RAX | RDX},
    [X86_OP_XGETBV] = {.form = FORM_PLAIN, .reads = RCX, .writes = RAX | RDX},
    [X86_OP_RDPKRU] = {.form = FORM_PLAIN, .reads = RCX, .writes = RAX | RDX},
    [X86_OP_WRMSR] = {.form = FORM_PLAIN, .reads = RAX | RCX | RDX},
    [X86_OP_XSETBV] = {.form = FORM_PLAIN, .reads = RAX | RCX | RDX},
    [X86_OP_WRPKRU] = {.form = FORM_PLAIN, .reads = RAX | RCX | RDX},
    [X86_OP_RDTSC] = {.form = FORM_PLAIN, .writes = RAX | RDX},
    [X86_OP_RDTSCP] = {.form = FORM_PLAIN, .writes = RAX | RCX | RDX},
    [X86_OP_RDPID] = {.form = FORM_PLAIN, .rm = WRITE},
    [X86_OP_RDRAND] = {.form = FORM_PLAIN, .rm = WRITE, FLAGS_ALL},
    [X86_OP_RDSEED] = {.form = FORM_PLAIN, .rm = WRITE, FLAGS_ALL},
    [X86_OP_CPUID] = {.form = FORM_PLAIN, .reads = RAX | RCX, .writes = RAX | RCX | RDX | RBX},
    [X86_OP_MONITOR] = {.form = FORM_PLAIN, .reads = RAX | RCX | RDX},
    [X86_OP_MWAIT] = {.form = FORM_PLAIN, .reads = RAX | RCX},
    [X86_OP_CLAC] = {.form = FORM_PLAIN},
    [X86_OP_STAC] = {.form = FORM_PLAIN},
    [X86_OP_SWAPGS] = {.form = FORM_PLAIN},
    [X86_OP_RDFSBASE] = {.form = FORM_PLAIN, .rm = WRITE},
    [X86_OP_RDGSBASE] = {.form = FORM_PLAIN, .rm = WRITE},
    [X86_OP_WRFSBASE] = {.form = FORM_PLAIN, .rm = READ},
    [X86_OP_WRGSBASE] = {.form = FORM_PLAIN, .rm = READ},
    /* x87, MMX and vector state */
    [X86_OP_FWAIT] = {.form = FORM_PLAIN},
    [X86_OP_EMMS] = {.form = FORM_PLAIN},
    [X86_OP_FXSAVE] = {.form = FORM_PLAIN},
    [X86_OP_FXRSTOR] = {.form = FORM_PLAIN},
    [X86_OP_LDMXCSR] = {.form = FORM_PLAIN},
    [X86_OP_STMXCSR] = {.form = FORM_PLAIN},
    [X86_OP_VMASKMOV] = {.form = FORM_PLAIN},
    [X86_OP_GATHER] = {.form = FORM_PLAIN},
    [X86_OP_VZERO] = {.form = FORM_PLAIN},
    [X86_OP_X87] = {.form = FORM_X87},
    [X86_OP_XSAVE] = {.form = FORM_PLAIN, .reads = RAX | RDX},
    [X86_OP_XSAVEOPT] = {.form = FORM_PLAIN, .reads = RAX | RDX},
    [X86_OP_XSAVEC] = {.form = FORM_PLAIN, .reads = RAX | RDX},
    [X86_OP_XSAVES] = {.form = FORM_PLAIN, .reads = RAX | RDX},
    [X86_OP_XRSTOR] = {.form = FORM_PLAIN, .reads = RAX | RDX},
    [X86_OP_XRSTORS] = {.form = FORM_PLAIN, .reads = RAX | RDX},
    [X86_OP_MASKMOV] = {.form = FORM_PLAIN, .reads = RDI},
    [X86_OP_MMX] = {.form = FORM_VECTOR},
    [X86_OP_SSE] = {.form = FORM_VECTOR},
    [X86_OP_AVX] = {.form = FORM_VECTOR},
};
