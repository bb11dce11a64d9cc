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
#define FLAGS_PRODUCT .flags_defined = CF | OF, .flags_undefined = PF | AF | ZF | SF
#define FLAGS_BIT     .flags_defined = CF, .flags_undefined = PF | AF | SF | OF
#define FLAGS_SCAN    .flags_defined = ZF, .flags_undefined = CF | PF | AF | SF | OF
#define FLAGS_COUNT   .flags_defined = CF | ZF, .flags_undefined = PF | AF | SF | OF
#define FLAGS_BMI     .flags_defined = CF | ZF | SF | OF, .flags_undefined = PF | AF
#define FLAGS_ADJUST  .flags_defined = PF | ZF | SF, .flags_undefined = CF | AF | OF
#define FLAGS_ASCII   .flags_read = AF, .flags_defined = CF | AF, .flags_undefined = PF | ZF | SF | OF
#define FLAGS_DECIMAL                                                                              \
    .flags_read = CF | AF, .flags_defined = CF | PF | AF | ZF | SF, .flags_undefined = OF

const struct x86_facts_row x86_facts_rows[X86_OP_COUNT] = {
    /* arithmetic and moves */
    [X86_OP_ADD] = {FORM_DIRECTION, .first = BOTH, FLAGS_ALL},
    [X86_OP_OR] = {FORM_DIRECTION, .first = BOTH, FLAGS_LOGIC},
    [X86_OP_ADC] = {FORM_DIRECTION, .first = BOTH, .flags_read = CF, FLAGS_ALL},
    [X86_OP_SBB] = {FORM_DIRECTION, .first = BOTH, .flags_read = CF, FLAGS_ALL},
    [X86_OP_AND] = {FORM_DIRECTION, .first = BOTH, FLAGS_LOGIC},
    [X86_OP_SUB] = {FORM_DIRECTION, .first = BOTH, FLAGS_ALL},
    [X86_OP_XOR] = {FORM_DIRECTION, .first = BOTH, FLAGS_LOGIC},
    [X86_OP_CMP] = {FORM_DIRECTION, .first = READ, FLAGS_ALL},
    [X86_OP_ROL] = {FORM_ROTATE, .rm = BOTH},
    [X86_OP_ROR] = {FORM_ROTATE, .rm = BOTH},
    [X86_OP_RCL] = {FORM_ROTATE, .rm = BOTH, .flags_read = CF},
    [X86_OP_RCR] = {FORM_ROTATE, .rm = BOTH, .flags_read = CF},
    [X86_OP_SHL] = {FORM_SHIFT, .rm = BOTH},
    [X86_OP_SHR] = {FORM_SHIFT, .rm = BOTH},
    [X86_OP_SAL] = {FORM_SHIFT, .rm = BOTH},
    [X86_OP_SAR] = {FORM_SHIFT, .rm = BOTH},
    [X86_OP_SHLD] = {FORM_SHIFT_DOUBLE, .reg = READ, .rm = BOTH},
    [X86_OP_SHRD] = {FORM_SHIFT_DOUBLE, .reg = READ, .rm = BOTH},
    [X86_OP_TEST] = {FORM_TEST, FLAGS_LOGIC},
    [X86_OP_NOT] = {FORM_PLAIN, .rm = BOTH},
    [X86_OP_NEG] = {FORM_PLAIN, .rm = BOTH, FLAGS_ALL},
    [X86_OP_MUL] = {FORM_MULTIPLY, .rm = READ, FLAGS_PRODUCT},
    [X86_OP_IMUL] = {FORM_MULTIPLY, .rm = READ, FLAGS_PRODUCT},
    [X86_OP_IMUL2] = {FORM_PLAIN, .reg = BOTH, .rm = READ, FLAGS_PRODUCT},
    [X86_OP_IMUL3] = {FORM_PLAIN, .reg = WRITE, .rm = READ, FLAGS_PRODUCT},
    [X86_OP_DIV] = {FORM_DIVIDE, .rm = READ, .flags_undefined = ALL},
    [X86_OP_IDIV] = {FORM_DIVIDE, .rm = READ, .flags_undefined = ALL},
    [X86_OP_INC] = {FORM_OPCODE, .first = BOTH, .flags_defined = PF | AF | ZF | SF | OF},
    [X86_OP_DEC] = {FORM_OPCODE, .first = BOTH, .flags_defined = PF | AF | ZF | SF | OF},
    [X86_OP_MOV] = {FORM_DIRECTION, .first = WRITE},
    [X86_OP_MOV_FROM_SEGMENT] = {FORM_PLAIN, .rm = WRITE},
    [X86_OP_MOV_TO_SEGMENT] = {FORM_PLAIN, .rm = READ},
    /* The manual leaves all flags undefined after these; processors and engines leave them alone.
     */
    [X86_OP_MOV_FROM_CR] = {FORM_PLAIN, .rm = WRITE},
    [X86_OP_MOV_FROM_DR] = {FORM_PLAIN, .rm = WRITE},
    [X86_OP_MOV_TO_CR] = {FORM_PLAIN, .rm = READ},
    [X86_OP_MOV_TO_DR] = {FORM_PLAIN, .rm = READ},
    [X86_OP_MOV_MOFFS_LOAD] = {FORM_PLAIN, .accumulator = WRITE},
    [X86_OP_MOV_MOFFS_STORE] = {FORM_PLAIN, .accumulator = READ},
    [X86_OP_MOVBE] = {FORM_MOVBE},
    [X86_OP_MOVNTI] = {FORM_PLAIN, .reg = READ},
    [X86_OP_MOVZX8] = {FORM_PLAIN, .reg = WRITE, .rm = READ | BYTE},
    [X86_OP_MOVZX16] = {FORM_PLAIN, .reg = WRITE, .rm = READ},
    [X86_OP_MOVSX8] = {FORM_PLAIN, .reg = WRITE, .rm = READ | BYTE},
    [X86_OP_MOVSX16] = {FORM_PLAIN, .reg = WRITE, .rm = READ},
    [X86_OP_MOVSXD] = {FORM_PLAIN, .reg = WRITE, .rm = READ},
    [X86_OP_LEA] = {FORM_PLAIN, .reg = WRITE},
    [X86_OP_XCHG] = {FORM_EXCHANGE},
    [X86_OP_XADD] = {FORM_PLAIN, .reg = BOTH, .rm = BOTH, FLAGS_ALL},
    [X86_OP_CMPXCHG] = {FORM_PLAIN, .reg = READ, .rm = BOTH, .accumulator = BOTH, FLAGS_ALL},
    [X86_OP_CMPXCHG8B] = {FORM_PLAIN, EXCHANGE_PAIR},
    [X86_OP_CMPXCHG16B] = {FORM_PLAIN, EXCHANGE_PAIR},
    [X86_OP_BSWAP] = {FORM_OPCODE, .first = BOTH},
    [X86_OP_CMOVCC] = {FORM_CONDITION, .reg = BOTH, .rm = READ},
    [X86_OP_SETCC] = {FORM_CONDITION, .rm = WRITE},
    [X86_OP_CBW] = {FORM_PLAIN, ACCUMULATOR},
    [X86_OP_CWD] = {FORM_SIGN, .reads = RAX},
    /* bits */
    [X86_OP_BT] = {FORM_BIT, .rm = READ, FLAGS_BIT},
    [X86_OP_BTS] = {FORM_BIT, .rm = BOTH, FLAGS_BIT},
    [X86_OP_BTR] = {FORM_BIT, .rm = BOTH, FLAGS_BIT},
    [X86_OP_BTC] = {FORM_BIT, .rm = BOTH, FLAGS_BIT},
    [X86_OP_BSF] = {FORM_PLAIN, .reg = BOTH, .rm = READ, FLAGS_SCAN},
    [X86_OP_BSR] = {FORM_PLAIN, .reg = BOTH, .rm = READ, FLAGS_SCAN},
    /* the old destination counts, as for BSF and BSR: without BMI1 and LZCNT these are those */
    [X86_OP_TZCNT] = {FORM_PLAIN, .reg = BOTH, .rm = READ, FLAGS_COUNT},
    [X86_OP_LZCNT] = {FORM_PLAIN, .reg = BOTH, .rm = READ, FLAGS_COUNT},
    [X86_OP_POPCNT] = {FORM_PLAIN, .reg = WRITE, .rm = READ, FLAGS_ALL},
    [X86_OP_CRC32] = {FORM_PLAIN, .reg = BOTH | WHOLE, .rm = READ},
    [X86_OP_ADCX] = {FORM_PLAIN, .reg = BOTH, .rm = READ, .flags_read = CF, .flags_defined = CF},
    [X86_OP_ADOX] = {FORM_PLAIN, .reg = BOTH, .rm = READ, .flags_read = OF, .flags_defined = OF},
    [X86_OP_ANDN] = {FORM_PLAIN, .reg = WRITE, .rm = READ, .vvvv = READ, FLAGS_BMI},
    /* CF and OF are cleared */
    [X86_OP_BEXTR] = {FORM_PLAIN, .reg = WRITE, .rm = READ, .vvvv = READ,
                      .flags_defined = CF | ZF | OF, .flags_undefined = PF | AF | SF},
    [X86_OP_BLSI] = {FORM_PLAIN, .rm = READ, .vvvv = WRITE, FLAGS_BMI},
    [X86_OP_BLSMSK] = {FORM_PLAIN, .rm = READ, .vvvv = WRITE, FLAGS_BMI},
    [X86_OP_BLSR] = {FORM_PLAIN, .rm = READ, .vvvv = WRITE, FLAGS_BMI},
    [X86_OP_BZHI] = {FORM_PLAIN, .reg = WRITE, .rm = READ, .vvvv = READ, FLAGS_BMI},
    [X86_OP_MULX] = {FORM_PLAIN, .reg = WRITE, .rm = READ, .vvvv = WRITE, .reads = RDX},
    [X86_OP_PDEP] = {FORM_PLAIN, .reg = WRITE, .rm = READ, .vvvv = READ},
    [X86_OP_PEXT] = {FORM_PLAIN, .reg = WRITE, .rm = READ, .vvvv = READ},
    [X86_OP_RORX] = {FORM_PLAIN, .reg = WRITE, .rm = READ},
    [X86_OP_SARX] = {FORM_PLAIN, .reg = WRITE, .rm = READ, .vvvv = READ},
    [X86_OP_SHLX] = {FORM_PLAIN, .reg = WRITE, .rm = READ, .vvvv = READ},
    [X86_OP_SHRX] = {FORM_PLAIN, .reg = WRITE, .rm = READ, .vvvv = READ},
    /* decimal arithmetic and flags */
    [X86_OP_AAA] = {FORM_PLAIN, ACCUMULATOR, FLAGS_ASCII},
    [X86_OP_AAS] = {FORM_PLAIN, ACCUMULATOR, FLAGS_ASCII},
    [X86_OP_AAM] = {FORM_PLAIN, ACCUMULATOR, FLAGS_ADJUST},
    [X86_OP_AAD] = {FORM_PLAIN, ACCUMULATOR, FLAGS_ADJUST},
    [X86_OP_DAA] = {FORM_PLAIN, ACCUMULATOR, FLAGS_DECIMAL},
    [X86_OP_DAS] = {FORM_PLAIN, ACCUMULATOR, FLAGS_DECIMAL},
    [X86_OP_SALC] = {FORM_PLAIN, ACCUMULATOR, .flags_read = CF},
    [X86_OP_XLAT] = {FORM_PLAIN, .reads = RAX | RBX, .writes = RAX},
    [X86_OP_CLC] = {FORM_PLAIN, .flags_defined = CF},
    [X86_OP_STC] = {FORM_PLAIN, .flags_defined = CF},
    [X86_OP_CMC] = {FORM_PLAIN, .flags_read = CF, .flags_defined = CF},
    [X86_OP_CLD] = {FORM_PLAIN},
    [X86_OP_STD] = {FORM_PLAIN},
    [X86_OP_CLI] = {FORM_PLAIN},
    [X86_OP_STI] = {FORM_PLAIN},
    [X86_OP_LAHF] = {FORM_PLAIN, ACCUMULATOR, .flags_read = CF | PF | AF | ZF | SF},
    [X86_OP_SAHF] = {FORM_PLAIN, .reads = RAX, .flags_defined = CF | PF | AF | ZF | SF},
    [X86_OP_PUSHF] = {FORM_PLAIN, STACK, .flags_read = ALL},
    [X86_OP_POPF] = {FORM_PLAIN, STACK, FLAGS_ALL},
    /* stack */
    [X86_OP_PUSH] = {FORM_OPCODE, .first = READ, STACK},
    [X86_OP_POP] = {FORM_OPCODE, .first = WRITE, STACK},
    [X86_OP_PUSHA] = {FORM_PLAIN, .reads = ALL_EIGHT, .writes = RSP},
    [X86_OP_POPA] = {FORM_POPA, .reads = RSP, .writes = ALL_EIGHT},
    [X86_OP_PUSH_SEGMENT] = {FORM_PLAIN, STACK},
    [X86_OP_POP_SEGMENT] = {FORM_PLAIN, STACK},
    [X86_OP_ENTER] = {FORM_PLAIN, .reads = RSP | RBP, .writes = RSP | RBP},
    [X86_OP_LEAVE] = {FORM_PLAIN, .reads = RSP | RBP, .writes = RSP | RBP},
    /* strings and ports */
    [X86_OP_MOVS] = {FORM_STRING, STRINGS},
    [X86_OP_CMPS] = {FORM_STRING, STRINGS, FLAGS_ALL},
    [X86_OP_STOS] = {FORM_STRING, .accumulator = READ, .reads = RDI, .writes = RDI},
    [X86_OP_LODS] = {FORM_STRING, .accumulator = WRITE, .reads = RSI, .writes = RSI},
    [X86_OP_SCAS] = {FORM_STRING, .accumulator = READ, .reads = RDI, .writes = RDI, FLAGS_ALL},
    [X86_OP_INS] = {FORM_STRING, .reads = RDX | RDI, .writes = RDI},
    [X86_OP_OUTS] = {FORM_STRING, .reads = RDX | RSI, .writes = RSI},
    [X86_OP_IN] = {FORM_PORT, .accumulator = WRITE},
    [X86_OP_OUT] = {FORM_PORT, .accumulator = READ},
    /* control transfer */
    [X86_OP_JCC] = {FORM_CONDITION},
    [X86_OP_JMP] = {FORM_PLAIN},
    [X86_OP_JMP_INDIRECT] = {FORM_PLAIN, .rm = READ},
    [X86_OP_CALL] = {FORM_PLAIN, STACK},
    [X86_OP_CALL_INDIRECT] = {FORM_PLAIN, .rm = READ, STACK},
    [X86_OP_RET] = {FORM_PLAIN, STACK},
    [X86_OP_LOOP] = {FORM_PLAIN, .reads = RCX, .writes = RCX},
    [X86_OP_LOOPE] = {FORM_PLAIN, .reads = RCX, .writes = RCX, .flags_read = ZF},
    [X86_OP_LOOPNE] = {FORM_PLAIN, .reads = RCX, .writes = RCX, .flags_read = ZF},
    [X86_OP_JCXZ] = {FORM_PLAIN, .reads = RCX},
    [X86_OP_BOUND] = {FORM_PLAIN, .reg = READ},
    [X86_OP_SYSCALL] = {FORM_ONLY_64, .writes = RCX | R11, .flags_read = ALL, .flags_maybe = ALL},
    [X86_OP_SYSRET] = {FORM_ONLY_64, .reads = RCX | R11, FLAGS_ALL},
    [X86_OP_SYSENTER] = {FORM_PLAIN, .writes = RSP},
    [X86_OP_SYSEXIT] = {FORM_PLAIN, .reads = RCX | RDX, .writes = RSP},
    /* hints */
    [X86_OP_NOP] = {FORM_PLAIN},
    [X86_OP_PAUSE] = {FORM_PLAIN},
    [X86_OP_LFENCE] = {FORM_PLAIN},
    [X86_OP_MFENCE] = {FORM_PLAIN},
    [X86_OP_SFENCE] = {FORM_PLAIN},
    [X86_OP_CLFLUSH] = {FORM_PLAIN},
    /* segments, tables, system */
    [X86_OP_LDS] = {FORM_PLAIN, .reg = WRITE},
    [X86_OP_LES] = {FORM_PLAIN, .reg = WRITE},
    [X86_OP_LSS] = {FORM_PLAIN, .reg = WRITE},
    [X86_OP_LFS] = {FORM_PLAIN, .reg = WRITE},
    [X86_OP_LGS] = {FORM_PLAIN, .reg = WRITE},
    [X86_OP_LGDT] = {FORM_PLAIN},
    [X86_OP_LIDT] = {FORM_PLAIN},
    [X86_OP_SGDT] = {FORM_PLAIN},
    [X86_OP_SIDT] = {FORM_PLAIN},
    [X86_OP_LLDT] = {FORM_PLAIN, .rm = READ},
    [X86_OP_LTR] = {FORM_PLAIN, .rm = READ},
    [X86_OP_SLDT] = {FORM_PLAIN, .rm = WRITE},
    [X86_OP_STR] = {FORM_PLAIN, .rm = WRITE},
    [X86_OP_LAR] = {FORM_PLAIN, .reg = BOTH, .rm = READ, .flags_defined = ZF},
    [X86_OP_LSL] = {FORM_PLAIN, .reg = BOTH, .rm = READ, .flags_defined = ZF},
    [X86_OP_VERR] = {FORM_PLAIN, .rm = READ, .flags_defined = ZF},
    [X86_OP_VERW] = {FORM_PLAIN, .rm = READ, .flags_defined = ZF},
    [X86_OP_ARPL] = {FORM_PLAIN, .reg = READ, .rm = BOTH, .flags_defined = ZF},
    [X86_OP_LMSW] = {FORM_PLAIN, .rm = READ},
    [X86_OP_SMSW] = {FORM_PLAIN, .rm = WRITE},
    [X86_OP_CLTS] = {FORM_PLAIN},
    [X86_OP_HLT] = {FORM_PLAIN},
    [X86_OP_INVD] = {FORM_PLAIN},
    [X86_OP_WBINVD] = {FORM_PLAIN},
    [X86_OP_INVLPG] = {FORM_PLAIN},
    [X86_OP_INVPCID] = {FORM_PLAIN, .reg = READ},
    [X86_OP_RDMSR] = {FORM_PLAIN, .reads = RCX, .writes = RAX | RDX},
    [X86_OP_RDPMC] = {FORM_PLAIN, .reads = RCX, .writes = RAX | RDX},
    [X86_OP_XGETBV] = {FORM_PLAIN, .reads = RCX, .writes = RAX | RDX},
    [X86_OP_RDPKRU] = {FORM_PLAIN, .reads = RCX, .writes = RAX | RDX},
    [X86_OP_WRMSR] = {FORM_PLAIN, .reads = RAX | RCX | RDX},
    [X86_OP_XSETBV] = {FORM_PLAIN, .reads = RAX | RCX | RDX},
    [X86_OP_WRPKRU] = {FORM_PLAIN, .reads = RAX | RCX | RDX},
    [X86_OP_RDTSC] = {FORM_PLAIN, .writes = RAX | RDX},
    [X86_OP_RDTSCP] = {FORM_PLAIN, .writes = RAX | RCX | RDX},
    [X86_OP_RDPID] = {FORM_PLAIN, .rm = WRITE},
    [X86_OP_RDRAND] = {FORM_PLAIN, .rm = WRITE, FLAGS_ALL},
    [X86_OP_RDSEED] = {FORM_PLAIN, .rm = WRITE, FLAGS_ALL},
    [X86_OP_CPUID] = {FORM_PLAIN, .reads = RAX | RCX, .writes = RAX | RCX | RDX | RBX},
    [X86_OP_MONITOR] = {FORM_PLAIN, .reads = RAX | RCX | RDX},
    [X86_OP_MWAIT] = {FORM_PLAIN, .reads = RAX | RCX},
    [X86_OP_CLAC] = {FORM_PLAIN},
    [X86_OP_STAC] = {FORM_PLAIN},
    [X86_OP_SWAPGS] = {FORM_PLAIN},
    [X86_OP_RDFSBASE] = {FORM_PLAIN, .rm = WRITE},
    [X86_OP_RDGSBASE] = {FORM_PLAIN, .rm = WRITE},
    [X86_OP_WRFSBASE] = {FORM_PLAIN, .rm = READ},
    [X86_OP_WRGSBASE] = {FORM_PLAIN, .rm = READ},
    /* x87, MMX and vector state */
    [X86_OP_FWAIT] = {FORM_PLAIN},
    [X86_OP_EMMS] = {FORM_PLAIN},
    [X86_OP_FXSAVE] = {FORM_PLAIN},
    [X86_OP_FXRSTOR] = {FORM_PLAIN},
    [X86_OP_LDMXCSR] = {FORM_PLAIN},
    [X86_OP_STMXCSR] = {FORM_PLAIN},
    [X86_OP_VMASKMOV] = {FORM_PLAIN},
    [X86_OP_GATHER] = {FORM_PLAIN},
    [X86_OP_VZERO] = {FORM_PLAIN},
    [X86_OP_X87] = {FORM_X87},
    [X86_OP_XSAVE] = {FORM_PLAIN, .reads = RAX | RDX},
    [X86_OP_XSAVEOPT] = {FORM_PLAIN, .reads = RAX | RDX},
    [X86_OP_XSAVEC] = {FORM_PLAIN, .reads = RAX | RDX},
    [X86_OP_XSAVES] = {FORM_PLAIN, .reads = RAX | RDX},
    [X86_OP_XRSTOR] = {FORM_PLAIN, .reads = RAX | RDX},
    [X86_OP_XRSTORS] = {FORM_PLAIN, .reads = RAX | RDX},
    [X86_OP_MASKMOV] = {FORM_PLAIN, .reads = RDI},
    [X86_OP_MMX] = {FORM_VECTOR},
    [X86_OP_SSE] = {FORM_VECTOR},
    [X86_OP_AVX] = {FORM_VECTOR},
};
