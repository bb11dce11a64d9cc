/*
 * The 0F3A opcode map: instructions with an immediate byte. Columns: no prefix, 66, F3, F2.
 */
#include "x86/decode/vector_rows.h"

#define ONLY_66(...)                                                                               \
    {                                                                                              \
        NO_ROW, __VA_ARGS__                                                                        \
    }
/* imm8[7:4] is a fourth register. */
#define FOUR(vex128, vex256)                                                                       \
    ONLY_66(VEX_IMM(vex128, vex256, VECTOR, THREE | X86_SHAPE_IS4, RULE_W0))
#define STRING_COMPARE(shape_)                                                                     \
    ONLY_66(BOTH_IMM(SSE4_2, AVX, BASE, VECTOR, LOAD | FLAGS | (shape_), 0))

const struct x86_opcode x86_map_0f3a_prefix[256][4] = {
    [0x00] = ONLY_66(VEX_IMM(BASE, AVX2, VECTOR, LOAD, RULE_W1)),  /* VPERMQ */
    [0x01] = ONLY_66(VEX_IMM(BASE, AVX2, VECTOR, LOAD, RULE_W1)),  /* VPERMPD */
    [0x02] = ONLY_66(VEX_IMM(AVX2, AVX2, VECTOR, THREE, RULE_W0)), /* VPBLENDD */
    [0x04] = ONLY_66(VEX_IMM(AVX, AVX, VECTOR, LOAD, RULE_W0)),    /* VPERMILPS */
    [0x05] = ONLY_66(VEX_IMM(AVX, AVX, VECTOR, LOAD, RULE_W0)),
    [0x06] = ONLY_66(VEX_IMM(BASE, AVX, VECTOR, THREE, RULE_W0)),               /* VPERM2F128 */
    [0x08] = ONLY_66(BOTH_IMM(SSE4_1, AVX, AVX, VECTOR, LOAD_ALIGNED | FP, 0)), /* ROUNDPS */
    [0x09] = ONLY_66(BOTH_IMM(SSE4_1, AVX, AVX, VECTOR, LOAD_ALIGNED | FP, 0)),
    [0x0a] = ONLY_66(BOTH_IMM(SSE4_1, AVX, BASE, 4, THREE | FP, RULE_SCALAR)),
    [0x0b] = ONLY_66(BOTH_IMM(SSE4_1, AVX, BASE, 8, THREE | FP, RULE_SCALAR)),
    [0x0c] = ONLY_66(BOTH_IMM(SSE4_1, AVX, AVX, VECTOR, THREE_ALIGNED, 0)), /* BLENDPS */
    [0x0d] = ONLY_66(BOTH_IMM(SSE4_1, AVX, AVX, VECTOR, THREE_ALIGNED, 0)),
    [0x0e] = ONLY_66(BOTH_IMM(SSE4_1, AVX, AVX2, VECTOR, THREE_ALIGNED, 0)), /* PBLENDW */
    [0x0f] = {MMX_IMM(SSSE3, 8, MMX_LOAD, 0),
              BOTH_IMM(SSSE3, AVX, AVX2, VECTOR, THREE_ALIGNED, 0)}, /* PALIGNR */

    [0x14] = ONLY_66(BOTH_IMM(SSE4_1, AVX, BASE, 1, REG_XMM | RM_GPR | WRITES, 0)), /* PEXTRB */
    [0x15] = ONLY_66(BOTH_IMM(SSE4_1, AVX, BASE, 2, REG_XMM | RM_GPR | WRITES, 0)),
    [0x16] = ONLY_66(BOTH_IMM(SSE4_1, AVX, BASE, OPERAND, REG_XMM | RM_GPR | WRITES, 0)),
    [0x17] = ONLY_66(BOTH_IMM(SSE4_1, AVX, BASE, 4, REG_XMM | RM_GPR | WRITES, 0)),
    [0x18] = ONLY_66(VEX_IMM(BASE, AVX, 16, THREE, RULE_W0)), /* VINSERTF128 */
    [0x19] = ONLY_66(VEX_IMM(BASE, AVX, 16, STORE, RULE_W0)),
    [0x1d] = ONLY_66(VEX_IMM(F16C, F16C, VECTOR_HALF, STORE | FP, RULE_W0)), /* VCVTPS2PH */

    [0x20] = ONLY_66(BOTH_IMM(SSE4_1, AVX, BASE, 1, REG_XMM | RM_GPR | VVVV | READS, 0)),
    [0x21] = ONLY_66(BOTH_IMM(SSE4_1, AVX, BASE, 4, THREE, 0)), /* INSERTPS */
    [0x22] = ONLY_66(BOTH_IMM(SSE4_1, AVX, BASE, OPERAND, REG_XMM | RM_GPR | VVVV | READS, 0)),
    [0x38] = ONLY_66(VEX_IMM(BASE, AVX2, 16, THREE, RULE_W0)), /* VINSERTI128 */
    [0x39] = ONLY_66(VEX_IMM(BASE, AVX2, 16, STORE, RULE_W0)),

    [0x40] = ONLY_66(BOTH_IMM(SSE4_1, AVX, AVX, VECTOR, THREE_ALIGNED | FP, 0)), /* DPPS */
    [0x41] = ONLY_66(BOTH_IMM(SSE4_1, AVX, BASE, VECTOR, THREE_ALIGNED | FP, 0)),
    [0x42] = ONLY_66(BOTH_IMM(SSE4_1, AVX, AVX2, VECTOR, THREE_ALIGNED, 0)), /* MPSADBW */
    [0x44] = ONLY_66(BOTH_IMM(PCLMULQDQ, PCLMULQDQ, VPCLMULQDQ, VECTOR, THREE_ALIGNED, 0)),
    [0x46] = ONLY_66(VEX_IMM(BASE, AVX2, VECTOR, THREE, RULE_W0)), /* VPERM2I128 */
    [0x4a] = FOUR(AVX, AVX),                                       /* VBLENDVPS */
    [0x4b] = FOUR(AVX, AVX),
    [0x4c] = FOUR(AVX, AVX2),

    [0x60] = STRING_COMPARE(XMM0), /* PCMPESTRM: to XMM0 */
    [0x61] = STRING_COMPARE(0),
    [0x62] = STRING_COMPARE(XMM0),
    [0x63] = STRING_COMPARE(0),
    [0xcc] = {LEGACY_IMM(SHA, VECTOR, LOAD_ALIGNED, 0)},
    [0xce] = ONLY_66(BOTH_IMM(GFNI, GFNI, GFNI, VECTOR, THREE_ALIGNED, RULE_W1)),
    [0xcf] = ONLY_66(BOTH_IMM(GFNI, GFNI, GFNI, VECTOR, THREE_ALIGNED, RULE_W1)),
    [0xdf] = ONLY_66(BOTH_IMM(AES, AES, BASE, VECTOR, LOAD_ALIGNED, 0)), /* AESKEYGENASSIST */

    [0xf0] = {NO_ROW, NO_ROW, NO_ROW,
              ROW(RORX, BASE, BMI2, BASE, OPERAND, 8, REG_GPR | RM_GPR | READS, RULE_VEX_ONLY)},
};
