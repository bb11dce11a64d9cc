/*
 * The architecture's registers: bits of RFLAGS, CR0, CR4, XCR0, EFER, DR6, DR7; exception vectors.
 *
 * Purpose: one spelling for the whole project, the manuals' own.
 * Source:  Intel SDM volume 3, "System Registers and Flags", "Control Registers",
 *          "Debug Registers", "Exception and Interrupt Reference".
 * Owner, thread: constants only. Freestanding.
 */
#ifndef TRAPEZE_X86_REGISTERS_H
#define TRAPEZE_X86_REGISTERS_H

#include <stdint.h>

/* General registers in the order of their encoding. */
enum x86_gpr {
    X86_RAX,
    X86_RCX,
    X86_RDX,
    X86_RBX,
    X86_RSP,
    X86_RBP,
    X86_RSI,
    X86_RDI,
    X86_R8,
    X86_R9,
    X86_R10,
    X86_R11,
    X86_R12,
    X86_R13,
    X86_R14,
    X86_R15,
    X86_GPR_COUNT
};

/* Segment registers in the order of their encoding; the last two are the system segments. */
enum x86_segment_register {
    X86_ES,
    X86_CS,
    X86_SS,
    X86_DS,
    X86_FS,
    X86_GS,
    X86_SEGMENT_COUNT,
    X86_LDTR = X86_SEGMENT_COUNT,
    X86_TR,
    X86_SEGMENT_ALL_COUNT
};

#define X86_FLAGS_CF   (UINT64_C(1) << 0)
#define X86_FLAGS_ONE  (UINT64_C(1) << 1) /* reads as one always */
#define X86_FLAGS_PF   (UINT64_C(1) << 2)
#define X86_FLAGS_AF   (UINT64_C(1) << 4)
#define X86_FLAGS_ZF   (UINT64_C(1) << 6)
#define X86_FLAGS_SF   (UINT64_C(1) << 7)
#define X86_FLAGS_TF   (UINT64_C(1) << 8)
#define X86_FLAGS_IF   (UINT64_C(1) << 9)
#define X86_FLAGS_DF   (UINT64_C(1) << 10)
#define X86_FLAGS_OF   (UINT64_C(1) << 11)
#define X86_FLAGS_IOPL (UINT64_C(3) << 12)
#define X86_FLAGS_NT   (UINT64_C(1) << 14)
#define X86_FLAGS_RF   (UINT64_C(1) << 16)
#define X86_FLAGS_VM   (UINT64_C(1) << 17)
#define X86_FLAGS_AC   (UINT64_C(1) << 18)
#define X86_FLAGS_VIF  (UINT64_C(1) << 19)
#define X86_FLAGS_VIP  (UINT64_C(1) << 20)
#define X86_FLAGS_ID   (UINT64_C(1) << 21)
#define X86_FLAGS_ARITHMETIC                                                                       \
    (X86_FLAGS_CF | X86_FLAGS_PF | X86_FLAGS_AF | X86_FLAGS_ZF | X86_FLAGS_SF | X86_FLAGS_OF)
#define X86_FLAGS_IOPL_SHIFT 12

#define X86_CR0_PE (UINT64_C(1) << 0)
#define X86_CR0_MP (UINT64_C(1) << 1)
#define X86_CR0_EM (UINT64_C(1) << 2)
#define X86_CR0_TS (UINT64_C(1) << 3)
#define X86_CR0_ET (UINT64_C(1) << 4)
#define X86_CR0_NE (UINT64_C(1) << 5)
#define X86_CR0_WP (UINT64_C(1) << 16)
#define X86_CR0_AM (UINT64_C(1) << 18)
#define X86_CR0_NW (UINT64_C(1) << 29)
#define X86_CR0_CD (UINT64_C(1) << 30)
#define X86_CR0_PG (UINT64_C(1) << 31)

#define X86_CR4_VME        (UINT64_C(1) << 0)
#define X86_CR4_PVI        (UINT64_C(1) << 1)
#define X86_CR4_TSD        (UINT64_C(1) << 2)
#define X86_CR4_DE         (UINT64_C(1) << 3)
#define X86_CR4_PSE        (UINT64_C(1) << 4)
#define X86_CR4_PAE        (UINT64_C(1) << 5)
#define X86_CR4_MCE        (UINT64_C(1) << 6)
#define X86_CR4_PGE        (UINT64_C(1) << 7)
#define X86_CR4_PCE        (UINT64_C(1) << 8)
#define X86_CR4_OSFXSR     (UINT64_C(1) << 9)
#define X86_CR4_OSXMMEXCPT (UINT64_C(1) << 10)
#define X86_CR4_UMIP       (UINT64_C(1) << 11)
#define X86_CR4_LA57       (UINT64_C(1) << 12)
#define X86_CR4_VMXE       (UINT64_C(1) << 13)
#define X86_CR4_SMXE       (UINT64_C(1) << 14)
#define X86_CR4_FSGSBASE   (UINT64_C(1) << 16)
#define X86_CR4_PCIDE      (UINT64_C(1) << 17)
#define X86_CR4_OSXSAVE    (UINT64_C(1) << 18)
#define X86_CR4_SMEP       (UINT64_C(1) << 20)
#define X86_CR4_SMAP       (UINT64_C(1) << 21)
#define X86_CR4_PKE        (UINT64_C(1) << 22)
#define X86_CR4_CET        (UINT64_C(1) << 23)
#define X86_CR4_PKS        (UINT64_C(1) << 24)

#define X86_CR3_PCID_MASK UINT64_C(0xfff)
#define X86_CR3_NO_FLUSH  (UINT64_C(1) << 63) /* source operand of MOV to CR3 when CR4.PCIDE=1 */

#define X86_EFER_SCE (UINT64_C(1) << 0)
#define X86_EFER_LME (UINT64_C(1) << 8)
#define X86_EFER_LMA (UINT64_C(1) << 10)
#define X86_EFER_NXE (UINT64_C(1) << 11)

#define X86_XCR0_X87  (UINT64_C(1) << 0)
#define X86_XCR0_SSE  (UINT64_C(1) << 1)
#define X86_XCR0_AVX  (UINT64_C(1) << 2)
#define X86_XCR0_PKRU (UINT64_C(1) << 9)

#define X86_DR6_ONES        UINT64_C(0xffff0ff0) /* bits that read as one */
#define X86_DR6_BREAKPOINTS UINT64_C(0xf)        /* B0..B3 */
#define X86_DR6_BD          (UINT64_C(1) << 13)
#define X86_DR6_BS          (UINT64_C(1) << 14)
#define X86_DR6_BT          (UINT64_C(1) << 15)
#define X86_DR7_ONE         UINT64_C(0x400)
#define X86_DR7_GD          (UINT64_C(1) << 13)
#define X86_DR7_ENABLES     UINT64_C(0xff)

enum x86_vector {
    X86_VECTOR_DE = 0,
    X86_VECTOR_DB = 1,
    X86_VECTOR_NMI = 2,
    X86_VECTOR_BP = 3,
    X86_VECTOR_OF = 4,
    X86_VECTOR_BR = 5,
    X86_VECTOR_UD = 6,
    X86_VECTOR_NM = 7,
    X86_VECTOR_DF = 8,
    X86_VECTOR_TS = 10,
    X86_VECTOR_NP = 11,
    X86_VECTOR_SS = 12,
    X86_VECTOR_GP = 13,
    X86_VECTOR_PF = 14,
    X86_VECTOR_MF = 16,
    X86_VECTOR_AC = 17,
    X86_VECTOR_MC = 18,
    X86_VECTOR_XM = 19
};

/* The page-fault error code ("Page-Fault Exceptions"). */
#define X86_PF_PRESENT     (1u << 0)
#define X86_PF_WRITE       (1u << 1)
#define X86_PF_USER        (1u << 2)
#define X86_PF_RESERVED    (1u << 3)
#define X86_PF_INSTRUCTION (1u << 4)
#define X86_PF_KEY         (1u << 5)

#endif
