#include "decode_oracle.h"

#include <stdbool.h>
#include <stdlib.h>

#ifdef TRAPEZE_HAVE_ZYDIS

#include <Zydis/Zydis.h>

#include "x86/registers.h"

struct decode_oracle {
    ZydisDecoder decoders[3];
};

/* One instruction as both see it. */
struct pair {
    const struct x86_instruction *ours;
    const ZydisDecodedInstruction *theirs;
    const ZydisDecodedOperand *operands;
    enum x86_decode_mode mode;
};

struct decode_oracle *decode_oracle_open(void)
{
    struct decode_oracle *oracle = calloc(1, sizeof(*oracle));
    if (oracle != NULL) {
        ZydisDecoderInit(&oracle->decoders[X86_DECODE_16], ZYDIS_MACHINE_MODE_LEGACY_16,
                         ZYDIS_STACK_WIDTH_16);
        ZydisDecoderInit(&oracle->decoders[X86_DECODE_32], ZYDIS_MACHINE_MODE_LEGACY_32,
                         ZYDIS_STACK_WIDTH_32);
        ZydisDecoderInit(&oracle->decoders[X86_DECODE_64], ZYDIS_MACHINE_MODE_LONG_64,
                         ZYDIS_STACK_WIDTH_64);
    }
    return oracle;
}

void decode_oracle_close(struct decode_oracle *oracle)
{
    free(oracle);
}

const char *decode_oracle_mnemonic(const struct decode_oracle *oracle, enum x86_decode_mode mode,
                                   const uint8_t *bytes, size_t available)
{
    ZydisDecodedInstruction theirs;
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&oracle->decoders[mode], NULL, bytes, available,
                                                    &theirs))) {
        return "(invalid)";
    }
    return ZydisMnemonicGetString(theirs.mnemonic);
}

/* What Zydis knows and the decoder leaves invalid on purpose. */
static bool is_left_out(const ZydisDecodedInstruction *theirs)
{
    if (theirs->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ||
        theirs->encoding == ZYDIS_INSTRUCTION_ENCODING_MVEX ||
        theirs->encoding == ZYDIS_INSTRUCTION_ENCODING_XOP ||
        theirs->encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW) {
        return true; /* the contract in decode.h */
    }
    switch (theirs->meta.isa_set) {
    case ZYDIS_ISA_SET_RTM: /* hidden from guests, so these are #UD */
    case ZYDIS_ISA_SET_TSX_LDTRK:
    case ZYDIS_ISA_SET_SMX:
    case ZYDIS_ISA_SET_SGX:
    case ZYDIS_ISA_SET_SGX_ENCLV:
    case ZYDIS_ISA_SET_SVM:
    case ZYDIS_ISA_SET_SNP:
    case ZYDIS_ISA_SET_AMD_INVLPGB:
    case ZYDIS_ISA_SET_TDX:
    case ZYDIS_ISA_SET_CET:
    case ZYDIS_ISA_SET_PT:
    case ZYDIS_ISA_SET_WAITPKG:
    case ZYDIS_ISA_SET_UINTR:
    case ZYDIS_ISA_SET_SERIALIZE:
    case ZYDIS_ISA_SET_MOVDIR:
    case ZYDIS_ISA_SET_ENQCMD:
    case ZYDIS_ISA_SET_HRESET:
    case ZYDIS_ISA_SET_KEYLOCKER:
    case ZYDIS_ISA_SET_KEYLOCKER_WIDE:
    case ZYDIS_ISA_SET_PCONFIG:
    case ZYDIS_ISA_SET_CLZERO:
    case ZYDIS_ISA_SET_MONITORX:
    case ZYDIS_ISA_SET_RDPRU:
    case ZYDIS_ISA_SET_MCOMMIT:
    case ZYDIS_ISA_SET_AMX_TILE:
    case ZYDIS_ISA_SET_AMX_BF16:
    case ZYDIS_ISA_SET_AMX_INT8:
    case ZYDIS_ISA_SET_PADLOCK_ACE:
    case ZYDIS_ISA_SET_PADLOCK_PHE:
    case ZYDIS_ISA_SET_PADLOCK_PMM:
    case ZYDIS_ISA_SET_PADLOCK_RNG:
    case ZYDIS_ISA_SET_AMD3DNOW:    /* FEMMS */
    case ZYDIS_ISA_SET_FMA4:        /* VEX-encoded, gone since Zen */
    case ZYDIS_ISA_SET_XOP:         /* VPERMIL2PD with VEX: the same */
    case ZYDIS_ISA_SET_AVX512F_KOP: /* VEX-encoded mask operations of AVX-512 */
    case ZYDIS_ISA_SET_AVX512BW_KOP:
    case ZYDIS_ISA_SET_AVX512DQ_KOP:
    case ZYDIS_ISA_SET_KNCE: /* VEX encodings that only Knights Corner had */
    case ZYDIS_ISA_SET_KNCJKBR:
    case ZYDIS_ISA_SET_KNCSTREAM:
    case ZYDIS_ISA_SET_KNCV:
    case ZYDIS_ISA_SET_KNC_MISC:
    case ZYDIS_ISA_SET_KNC_PF_HINT:
        return true;
    default:
        return false;
    }
}

/* What the decoder accepts and Zydis refuses. */
static bool is_extra(const struct x86_instruction *ours)
{
    /* BND registers beyond 3 and 16-bit addresses: without MPX this is hint space. */
    return ours->operation == X86_OP_NOP && ours->map == X86_MAP_0F &&
           (ours->opcode == 0x1a || ours->opcode == 0x1b);
}

/* The decoder's number of a register operand, and the shape it would have. */
static uint8_t register_number(ZydisRegister name)
{
    int id = ZydisRegisterGetId(name);
    ZydisRegisterClass class = ZydisRegisterGetClass(name);

    /* SPL … DIL have numbers of their own in Zydis's list, after AH … BH. */
    if (class == ZYDIS_REGCLASS_GPR8) {
        return (uint8_t)(id < 8 ? id : id - 4);
    }
    return (uint8_t)id;
}

static uint16_t register_shape(ZydisRegister name, uint16_t gpr, uint16_t mmx, uint16_t vector)
{
    switch (ZydisRegisterGetClass(name)) {
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
        return gpr;
    case ZYDIS_REGCLASS_MMX:
        return mmx;
    case ZYDIS_REGCLASS_XMM:
    case ZYDIS_REGCLASS_YMM:
        return vector;
    default:
        return 0;
    }
}

static const ZydisDecodedOperand *memory_operand(const struct pair *pair)
{
    for (unsigned int i = 0; i < pair->theirs->operand_count; i++) {
        const ZydisDecodedOperand *operand = &pair->operands[i];
        if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY &&
            operand->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM) {
            return operand;
        }
    }
    return NULL;
}

/* The pair of registers in a 16-bit address, and index 4 = none, come out the same in both. */
static uint8_t address_register(ZydisRegister name)
{
    if (name == ZYDIS_REGISTER_NONE) {
        return X86_REGISTER_NONE;
    }
    if (name == ZYDIS_REGISTER_RIP || name == ZYDIS_REGISTER_EIP) {
        return X86_REGISTER_RIP;
    }
    return (uint8_t)ZydisRegisterGetId(name);
}

static uint8_t segment_number(ZydisRegister name)
{
    static const ZydisRegister names[X86_SEGMENT_COUNT] = {ZYDIS_REGISTER_ES, ZYDIS_REGISTER_CS,
                                                           ZYDIS_REGISTER_SS, ZYDIS_REGISTER_DS,
                                                           ZYDIS_REGISTER_FS, ZYDIS_REGISTER_GS};
    for (uint8_t i = 0; i < X86_SEGMENT_COUNT; i++) {
        if (names[i] == name) {
            return i;
        }
    }
    return 0xff;
}

/* Operations whose memory operand's size the decoder does not tell. */
static bool has_no_memory_size(const struct x86_instruction *ours)
{
    switch (ours->operation) {
    case X86_OP_NOP:
    case X86_OP_UD0:
    case X86_OP_UD1:
    case X86_OP_LEA:
    case X86_OP_INVLPG:
    case X86_OP_FXSAVE: /* what state there is decides */
    case X86_OP_FXRSTOR:
    case X86_OP_XSAVE:
    case X86_OP_XSAVEOPT:
    case X86_OP_XSAVEC:
    case X86_OP_XSAVES:
    case X86_OP_XRSTOR:
    case X86_OP_XRSTORS:
        return true;
    case X86_OP_X87: /* FRSTOR, FNSAVE */
        return ours->opcode == 0xdd &&
               ((ours->modrm & 0x38) == 0x20 || (ours->modrm & 0x38) == 0x30);
    default:
        return false;
    }
}

static const char *compare_memory(const struct pair *pair)
{
    const struct x86_instruction *ours = pair->ours;
    const ZydisDecodedOperand *theirs = memory_operand(pair);

    if (theirs == NULL) {
        return ours->flags & X86_INSTRUCTION_MEMORY ? "memory operand" : NULL;
    }
    if (!(ours->flags & X86_INSTRUCTION_MEMORY)) {
        return "memory operand";
    }
    /* Zydis 4.0 takes SIB base 5 with REX.B and mod 0 for R13D if the address size is 32 bits. */
    bool is_wrong = ours->address_size == 4 && ours->base == X86_REGISTER_NONE && ours->mod == 0 &&
                    theirs->mem.base == ZYDIS_REGISTER_R13D;
    if (is_wrong) {
        return NULL;
    }
    if (address_register(theirs->mem.base) != ours->base) {
        return "base";
    }
    if (address_register(theirs->mem.index) != ours->index) {
        return "index";
    }
    if (ours->index != X86_REGISTER_NONE && ours->address_size != 2 &&
        theirs->mem.scale != 1u << ours->scale) {
        return "scale";
    }
    if (theirs->mem.disp.value != ours->displacement) {
        return "displacement";
    }
    bool is_no_track =
        ours->flags & X86_INSTRUCTION_OVERRIDE && ours->segment == X86_DS &&
        (ours->operation == X86_OP_CALL_INDIRECT || ours->operation == X86_OP_JMP_INDIRECT);
    /* LEA and NOP use no segment; NOTRACK does not keep 3E from meaning DS. */
    if (ours->operation != X86_OP_LEA && ours->operation != X86_OP_NOP && !is_no_track &&
        segment_number(theirs->mem.segment) != ours->segment) {
        return "segment";
    }
    if (ours->operation == X86_OP_CLFLUSH) {
        return ours->memory_size == 1 ? NULL : "memory size";
    }
    if (has_no_memory_size(ours)) {
        return ours->memory_size == 0 ? NULL : "memory size";
    }
    return ours->memory_size * 8 == theirs->size ? NULL : "memory size";
}

static bool is_vector(const struct x86_instruction *ours)
{
    return ours->operation >= X86_OP_MASKMOV || ours->operation == X86_OP_EMMS;
}

/* Operations that the shape describes beside the vector ones. */
static bool has_shape(const struct x86_instruction *ours)
{
    return is_vector(ours) || ours->encoding == X86_ENCODING_VEX;
}

static const char *compare_registers(const struct pair *pair)
{
    const struct x86_instruction *ours = pair->ours;
    uint16_t shape = 0;

    for (unsigned int i = 0; i < pair->theirs->operand_count; i++) {
        const ZydisDecodedOperand *operand = &pair->operands[i];
        if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER) {
            continue;
        }
        uint8_t number = register_number(operand->reg.value);
        switch (operand->encoding) {
        case ZYDIS_OPERAND_ENCODING_MODRM_REG:
            shape |= register_shape(operand->reg.value, X86_SHAPE_REG_GPR, X86_SHAPE_REG_MMX,
                                    X86_SHAPE_REG_VECTOR);
            if (number != ours->reg) {
                return "ModRM.reg";
            }
            break;
        case ZYDIS_OPERAND_ENCODING_OPCODE:
            if (number != ours->reg) {
                return "opcode register";
            }
            break;
        case ZYDIS_OPERAND_ENCODING_MODRM_RM:
            shape |= register_shape(operand->reg.value, X86_SHAPE_RM_GPR, X86_SHAPE_RM_MMX,
                                    X86_SHAPE_RM_VECTOR);
            if (number != ours->rm && ours->operation != X86_OP_X87) {
                return "ModRM.rm";
            }
            break;
        case ZYDIS_OPERAND_ENCODING_NDSNDD:
            shape |= register_shape(operand->reg.value, X86_SHAPE_VVVV | X86_SHAPE_VVVV_GPR, 0,
                                    X86_SHAPE_VVVV);
            if (number != ours->vvvv) {
                return "VEX.vvvv";
            }
            break;
        case ZYDIS_OPERAND_ENCODING_IS4:
            shape |= X86_SHAPE_IS4;
            if (number != ((ours->immediate >> 4) & (pair->mode == X86_DECODE_64 ? 15 : 7))) {
                return "imm8[7:4]";
            }
            break;
        default:
            if (operand->reg.value == ZYDIS_REGISTER_XMM0) {
                shape |= X86_SHAPE_XMM0;
            }
            break;
        }
    }
    if (!has_shape(ours)) {
        return NULL;
    }
    if (ours->operation == X86_OP_GATHER) {
        shape |= X86_SHAPE_VSIB;
    }
    uint16_t mask = X86_SHAPE_VSIB | X86_SHAPE_REG_GPR | X86_SHAPE_VVVV_GPR | X86_SHAPE_REG_MMX |
                    X86_SHAPE_VVVV | X86_SHAPE_IS4 | X86_SHAPE_XMM0 | X86_SHAPE_REG_VECTOR;
    if (ours->mod == 3) {
        mask |= X86_SHAPE_RM_GPR | X86_SHAPE_RM_MMX | X86_SHAPE_RM_VECTOR;
    }
    return (ours->shape & mask) == shape ? NULL : "shape";
}

/* Memory direction, alignment, flags and exceptions. */
static const char *compare_behaviour(const struct pair *pair)
{
    const struct x86_instruction *ours = pair->ours;
    const ZydisDecodedOperand *memory = memory_operand(pair);
    const ZydisAccessedFlags *flags = pair->theirs->cpu_flags;
    uint16_t shape = ours->shape;

    if (!has_shape(ours) && ours->operation != X86_OP_X87) {
        return NULL;
    }
    if (memory != NULL) {
        bool reads = (memory->actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0;
        bool writes = (memory->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
        if (reads != ((shape & X86_SHAPE_MEMORY_READ) != 0)) {
            return "memory is read";
        }
        if (writes != ((shape & X86_SHAPE_MEMORY_WRITE) != 0)) {
            return "memory is written";
        }
    }
    if (flags != NULL) {
        bool writes = ((flags->modified | flags->set_0 | flags->set_1 | flags->undefined) &
                       X86_FLAGS_ARITHMETIC) != 0;
        if (writes != ((shape & X86_SHAPE_FLAGS) != 0)) {
            return "flags";
        }
    }
    return NULL;
}

static const char *compare_exceptions(const struct pair *pair)
{
    const struct x86_instruction *ours = pair->ours;
    ZydisExceptionClass class = pair->theirs->meta.exception_class;
    bool aligned = (ours->shape & X86_SHAPE_ALIGNED) != 0;
    bool raises = class == ZYDIS_EXCEPTION_CLASS_SSE2 || class == ZYDIS_EXCEPTION_CLASS_SSE3 ||
                  class == ZYDIS_EXCEPTION_CLASS_AVX2 || class == ZYDIS_EXCEPTION_CLASS_AVX3 ||
                  class == ZYDIS_EXCEPTION_CLASS_AVX11;

    if (ours->operation != X86_OP_SSE && ours->operation != X86_OP_AVX) {
        return NULL;
    }
    if (raises != ((ours->shape & X86_SHAPE_MXCSR) != 0)) {
        return "floating-point exceptions";
    }
    switch (class) {
    case ZYDIS_EXCEPTION_CLASS_SSE1:
    case ZYDIS_EXCEPTION_CLASS_SSE2:
    case ZYDIS_EXCEPTION_CLASS_AVX1:
        return aligned ? NULL : "alignment";
    case ZYDIS_EXCEPTION_CLASS_SSE3:
    case ZYDIS_EXCEPTION_CLASS_SSE5:
    case ZYDIS_EXCEPTION_CLASS_AVX2:
    case ZYDIS_EXCEPTION_CLASS_AVX3:
    case ZYDIS_EXCEPTION_CLASS_AVX4:
    case ZYDIS_EXCEPTION_CLASS_AVX5:
    case ZYDIS_EXCEPTION_CLASS_AVX6:
    case ZYDIS_EXCEPTION_CLASS_AVX11:
        return aligned ? "alignment" : NULL;
    default:
        return NULL;
    }
}

static const char *compare_immediates(const struct pair *pair)
{
    const struct x86_instruction *ours = pair->ours;
    const struct ZydisDecodedInstructionRawImm_ *theirs = pair->theirs->raw.imm;
    uint64_t value = theirs[0].value.u;
    uint8_t size = (uint8_t)(theirs[0].size / 8);

    if (ours->operation == X86_OP_MOV_MOFFS_LOAD || ours->operation == X86_OP_MOV_MOFFS_STORE) {
        /* A displacement to Zydis. */
        uint64_t mask =
            ours->address_size == 8 ? ~UINT64_C(0) : (UINT64_C(1) << (ours->address_size * 8)) - 1;
        value = (uint64_t)pair->theirs->raw.disp.value & mask;
        size = (uint8_t)(pair->theirs->raw.disp.size / 8);
        return size == ours->immediate_size && value == (uint64_t)ours->immediate ? NULL : "moffs";
    }
    if (pair->theirs->raw.disp.size / 8 != ours->displacement_size) {
        return "displacement size";
    }
    if (theirs[1].size != 0) {
        uint8_t second = (uint8_t)(theirs[1].size / 8);
        if (second == 1) {
            size = (uint8_t)(size + second);
        }
        if (ours->immediate2 != theirs[1].value.u) {
            return "second immediate";
        }
    }
    if (size != ours->immediate_size) {
        return "immediate size";
    }
    if (size == 0) {
        return NULL;
    }
    if ((theirs[0].is_relative != 0) != ((ours->flags & X86_INSTRUCTION_RELATIVE) != 0)) {
        return "relative";
    }
    uint64_t mask = theirs[0].size == 64 ? ~UINT64_C(0) : (UINT64_C(1) << theirs[0].size) - 1;
    if (((uint64_t)ours->immediate & mask) != (value & mask)) {
        return "immediate";
    }
    if (theirs[0].is_signed && ours->immediate != theirs[0].value.s) {
        return "sign of immediate";
    }
    return NULL;
}

/* The operand size where Zydis's idea of it means something; 0 where it does not. */
static uint16_t their_operand_size(const struct pair *pair)
{
    uint16_t width = pair->theirs->operand_width / 8;

    if (pair->ours->encoding == X86_ENCODING_VEX) {
        return pair->operands[0].size / 8;
    }
    switch (pair->ours->operation) {
    case X86_OP_CRC32:
        return pair->operands[1].size / 8;
    case X86_OP_LLDT:
    case X86_OP_LTR:
    case X86_OP_VERR:
    case X86_OP_VERW:
    case X86_OP_LMSW:
    case X86_OP_ARPL:
    case X86_OP_MOVNTI:
    case X86_OP_RDPID:
    case X86_OP_RDFSBASE:
    case X86_OP_RDGSBASE:
    case X86_OP_WRFSBASE:
    case X86_OP_WRGSBASE:
        return pair->operands[0].size / 8;
    case X86_OP_INS: /* never quadwords, whatever REX.W says */
    case X86_OP_OUTS:
        return width == 8 ? 4 : width;
    default:
        return pair->ours->operation > X86_OP_FWAIT && pair->ours->operation != X86_OP_X87 ? 0
                                                                                           : width;
    }
}

/* Operations that have no integer operand, or one whose size prefixes do not touch. */
static bool has_no_operand_size(const struct x86_instruction *ours)
{
    switch (ours->operation) {
    case X86_OP_NOP:
    case X86_OP_UD0:
    case X86_OP_UD1:
    case X86_OP_XLAT:
    case X86_OP_CLFLUSH:
    case X86_OP_INVLPG:
    case X86_OP_SGDT:
    case X86_OP_SIDT:
    case X86_OP_LGDT:
    case X86_OP_LIDT:
    case X86_OP_SYSCALL:
    case X86_OP_VMX:
    case X86_OP_LDMXCSR:
    case X86_OP_STMXCSR:
        return true;
    default:
        return false;
    }
}

static const char *compare_sizes(const struct pair *pair)
{
    const struct x86_instruction *ours = pair->ours;

    if (has_no_operand_size(ours)) {
        return NULL;
    }
    if (pair->theirs->address_width / 8 != ours->address_size) {
        return "address size";
    }
    if (!is_vector(ours)) {
        uint16_t size = their_operand_size(pair);
        return size == 0 || size == ours->operand_size ? NULL : "operand size";
    }
    for (unsigned int i = 0; i < pair->theirs->operand_count_visible; i++) {
        const ZydisDecodedOperand *operand = &pair->operands[i];
        if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER &&
            register_shape(operand->reg.value, 1, 0, 0) == 1 &&
            (operand->actions & ZYDIS_OPERAND_ACTION_MASK_READ) && operand->size != 32 &&
            operand->size / 8 != ours->operand_size) {
            return "size of general register";
        }
    }
    return NULL;
}

/* Only what has an operand of 32 bytes is so long to us; Zydis goes by VEX.L alone. */
static const char *compare_vector_length(const struct pair *pair)
{
    const struct x86_instruction *ours = pair->ours;
    uint16_t length = 16;

    if (ours->encoding != X86_ENCODING_VEX || ours->vector_length == 0) {
        return NULL;
    }
    for (unsigned int i = 0; i < pair->theirs->operand_count; i++) {
        const ZydisDecodedOperand *operand = &pair->operands[i];
        ZydisRegister name = operand->type == ZYDIS_OPERAND_TYPE_REGISTER ? operand->reg.value
                             : operand->type == ZYDIS_OPERAND_TYPE_MEMORY ? operand->mem.index
                                                                          : ZYDIS_REGISTER_NONE;
        if (operand->size == 256 || ZydisRegisterGetClass(name) == ZYDIS_REGCLASS_YMM) {
            length = 32;
        }
    }
    if (ours->operation == X86_OP_VZERO) {
        length = pair->theirs->avx.vector_length / 8;
    }
    return length == ours->vector_length ? NULL : "vector length";
}

/* By Zydis's instruction sets; those of the first processors up to the Pentium are 0. */
static const uint8_t features[ZYDIS_ISA_SET_MAX_VALUE + 1] = {
    [ZYDIS_ISA_SET_ADOX_ADCX] = X86_FEATURE_ADX,
    [ZYDIS_ISA_SET_AES] = X86_FEATURE_AES,
    [ZYDIS_ISA_SET_AVX] = X86_FEATURE_AVX,
    [ZYDIS_ISA_SET_AVX2] = X86_FEATURE_AVX2,
    [ZYDIS_ISA_SET_AVX2GATHER] = X86_FEATURE_AVX2,
    [ZYDIS_ISA_SET_AVXAES] = X86_FEATURE_AES,
    [ZYDIS_ISA_SET_AVX_GFNI] = X86_FEATURE_GFNI,
    [ZYDIS_ISA_SET_AVX_VNNI] = X86_FEATURE_AVX_VNNI,
    [ZYDIS_ISA_SET_BMI1] = X86_FEATURE_BMI1,
    [ZYDIS_ISA_SET_BMI2] = X86_FEATURE_BMI2,
    [ZYDIS_ISA_SET_CLFLUSHOPT] = X86_FEATURE_CLFLUSHOPT,
    [ZYDIS_ISA_SET_CLFSH] = X86_FEATURE_CLFLUSH,
    [ZYDIS_ISA_SET_CLWB] = X86_FEATURE_CLWB,
    [ZYDIS_ISA_SET_CMOV] = X86_FEATURE_CMOV,
    [ZYDIS_ISA_SET_CMPXCHG16B] = X86_FEATURE_CX16,
    [ZYDIS_ISA_SET_F16C] = X86_FEATURE_F16C,
    [ZYDIS_ISA_SET_FCMOV] = X86_FEATURE_CMOV,
    [ZYDIS_ISA_SET_FMA] = X86_FEATURE_FMA,
    [ZYDIS_ISA_SET_FXSAVE] = X86_FEATURE_FXSR,
    [ZYDIS_ISA_SET_FXSAVE64] = X86_FEATURE_FXSR,
    [ZYDIS_ISA_SET_GFNI] = X86_FEATURE_GFNI,
    [ZYDIS_ISA_SET_INVPCID] = X86_FEATURE_INVPCID,
    [ZYDIS_ISA_SET_LZCNT] = X86_FEATURE_LZCNT,
    [ZYDIS_ISA_SET_MONITOR] = X86_FEATURE_MONITOR,
    [ZYDIS_ISA_SET_MOVBE] = X86_FEATURE_MOVBE,
    [ZYDIS_ISA_SET_PCLMULQDQ] = X86_FEATURE_PCLMULQDQ,
    [ZYDIS_ISA_SET_PENTIUMMMX] = X86_FEATURE_MMX,
    [ZYDIS_ISA_SET_PKU] = X86_FEATURE_PKU,
    [ZYDIS_ISA_SET_POPCNT] = X86_FEATURE_POPCNT,
    [ZYDIS_ISA_SET_RDPID] = X86_FEATURE_RDPID,
    [ZYDIS_ISA_SET_RDRAND] = X86_FEATURE_RDRAND,
    [ZYDIS_ISA_SET_RDSEED] = X86_FEATURE_RDSEED,
    [ZYDIS_ISA_SET_RDTSCP] = X86_FEATURE_RDTSCP,
    [ZYDIS_ISA_SET_RDWRFSGS] = X86_FEATURE_FSGSBASE,
    [ZYDIS_ISA_SET_SHA] = X86_FEATURE_SHA,
    [ZYDIS_ISA_SET_SMAP] = X86_FEATURE_SMAP,
    [ZYDIS_ISA_SET_SSE] = X86_FEATURE_SSE,
    [ZYDIS_ISA_SET_SSE2] = X86_FEATURE_SSE2,
    [ZYDIS_ISA_SET_SSE2MMX] = X86_FEATURE_SSE2,
    [ZYDIS_ISA_SET_SSE3] = X86_FEATURE_SSE3,
    [ZYDIS_ISA_SET_SSE3X87] = X86_FEATURE_SSE3,
    [ZYDIS_ISA_SET_SSE4] = X86_FEATURE_SSE4_1,
    [ZYDIS_ISA_SET_SSE42] = X86_FEATURE_SSE4_2,
    [ZYDIS_ISA_SET_SSE4A] = X86_FEATURE_SSE4A,
    [ZYDIS_ISA_SET_SSEMXCSR] = X86_FEATURE_SSE,
    [ZYDIS_ISA_SET_SSSE3] = X86_FEATURE_SSSE3,
    [ZYDIS_ISA_SET_SSSE3MMX] = X86_FEATURE_SSSE3,
    [ZYDIS_ISA_SET_VAES] = X86_FEATURE_VAES,
    [ZYDIS_ISA_SET_VMFUNC] = X86_FEATURE_VMX,
    [ZYDIS_ISA_SET_VPCLMULQDQ] = X86_FEATURE_VPCLMULQDQ,
    [ZYDIS_ISA_SET_VTX] = X86_FEATURE_VMX,
    [ZYDIS_ISA_SET_X87] = X86_FEATURE_FPU,
    [ZYDIS_ISA_SET_XSAVE] = X86_FEATURE_XSAVE,
    [ZYDIS_ISA_SET_XSAVEC] = X86_FEATURE_XSAVEC,
    [ZYDIS_ISA_SET_XSAVEOPT] = X86_FEATURE_XSAVEOPT,
    [ZYDIS_ISA_SET_XSAVES] = X86_FEATURE_XSAVES,
};

static const char *compare_feature(const struct pair *pair)
{
    const struct x86_instruction *ours = pair->ours;
    uint8_t feature = features[pair->theirs->meta.isa_set];

    /* Without their features these still run, as BSF and BSR. */
    if (ours->operation == X86_OP_TZCNT || ours->operation == X86_OP_LZCNT) {
        return ours->feature == X86_FEATURE_BASE ? NULL : "feature";
    }
    switch (ours->feature) {
    case X86_FEATURE_CX8: /* Zydis names the processor that had them first */
    case X86_FEATURE_MSR:
    case X86_FEATURE_TSC:
    case X86_FEATURE_SEP:
    case X86_FEATURE_SYSCALL:
        return feature == X86_FEATURE_BASE ? NULL : "feature";
    case X86_FEATURE_SSE: /* the integer part of SSE, on MMX registers */
        if (ours->shape & (X86_SHAPE_REG_MMX | X86_SHAPE_RM_MMX)) {
            return feature == X86_FEATURE_SSE || feature == X86_FEATURE_MMX ? NULL : "feature";
        }
        break;
    case X86_FEATURE_CMOV: /* FCOMI */
        if (ours->operation == X86_OP_X87) {
            return feature == X86_FEATURE_CMOV || feature == X86_FEATURE_FPU ||
                           feature == X86_FEATURE_BASE
                       ? NULL
                       : "feature";
        }
        break;
    case X86_FEATURE_PCLMULQDQ: /* the VEX form needs it beside AVX */
        return feature == X86_FEATURE_PCLMULQDQ || feature == X86_FEATURE_AVX ? NULL : "feature";
    default:
        if (ours->operation == X86_OP_VMCALL) {
            return NULL; /* hypercalls are there without VMX */
        }
        break;
    }
    return feature == ours->feature ? NULL : "feature";
}

const char *decode_oracle_compare(const struct decode_oracle *oracle, enum x86_decode_mode mode,
                                  const uint8_t *bytes, size_t available, uint8_t *length)
{
    struct x86_instruction ours;
    ZydisDecodedInstruction theirs;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    enum x86_decode_result result = x86_decode(mode, bytes, available, &ours);
    ZyanStatus status =
        ZydisDecoderDecodeFull(&oracle->decoders[mode], bytes, available, &theirs, operands);
    bool valid = ZYAN_SUCCESS(status);
    const struct pair pair = {&ours, &theirs, operands, mode};

    if (length != NULL) {
        *length = valid ? theirs.length : 0;
    }
    if (valid && is_left_out(&theirs)) {
        return NULL;
    }
    if (!valid) {
        if (result == X86_DECODE_OK) {
            return is_extra(&ours) ? NULL : "valid here only";
        }
        if ((status == ZYDIS_STATUS_NO_MORE_DATA) != (result == X86_DECODE_TRUNCATED)) {
            return "end of bytes";
        }
        return NULL;
    }
    if (result != X86_DECODE_OK) {
        return "valid in Zydis only";
    }
    if (theirs.length != ours.length) {
        return "length";
    }
    static const char *(*const comparisons[])(const struct pair *) = {
        compare_sizes,     compare_memory,     compare_registers,     compare_immediates,
        compare_behaviour, compare_exceptions, compare_vector_length, compare_feature};
    for (size_t i = 0; i < sizeof(comparisons) / sizeof(comparisons[0]); i++) {
        const char *difference = comparisons[i](&pair);
        if (difference != NULL) {
            return difference;
        }
    }
    return NULL;
}

#else

struct decode_oracle *decode_oracle_open(void)
{
    return NULL;
}

void decode_oracle_close(struct decode_oracle *oracle)
{
    (void)oracle;
}

const char *decode_oracle_compare(const struct decode_oracle *oracle, enum x86_decode_mode mode,
                                  const uint8_t *bytes, size_t available, uint8_t *length)
{
    (void)oracle, (void)mode, (void)bytes, (void)available, (void)length;
    return NULL;
}

const char *decode_oracle_mnemonic(const struct decode_oracle *oracle, enum x86_decode_mode mode,
                                   const uint8_t *bytes, size_t available)
{
    (void)oracle, (void)mode, (void)bytes, (void)available;
    return "";
}

#endif
