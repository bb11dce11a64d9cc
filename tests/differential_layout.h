/*
 * Where a differential case lives: linear addresses that are the same natively and in the guest,
 * and the layout of the block through which registers pass into native code and back.
 *
 * Purpose: shared by C and by the assembly of differential_entry.S, so nothing but numbers.
 * Owner, thread: constants only.
 */
#ifndef TRAPEZE_TESTS_DIFFERENTIAL_LAYOUT_H
#define TRAPEZE_TESTS_DIFFERENTIAL_LAYOUT_H

/* Two pages of code, and nothing mapped around them. */
#define DIFFERENTIAL_CODE       0x10000000
#define DIFFERENTIAL_CODE_PAGES 2

/* Where a sequence ends: natively the code that stores the registers, in the guest an UD2. */
#define DIFFERENTIAL_EXIT    0x18f3b000
#define DIFFERENTIAL_EXIT_32 0x18f3b800 /* the same for 32-bit code */

/* Natively only: the block, and the few words of stack that the passage needs. */
#define DIFFERENTIAL_CONTEXT       0x18f97000
#define DIFFERENTIAL_CONTEXT_BYTES 0x2000

/* Five pages of data: two writable, a hole, one read-only, one writable; holes around them. */
#define DIFFERENTIAL_DATA           0x20000000
#define DIFFERENTIAL_DATA_PAGES     5
#define DIFFERENTIAL_PAGE_HOLE      2
#define DIFFERENTIAL_PAGE_READ_ONLY 3

/* struct differential_registers, in bytes. */
#define DIFFERENTIAL_AT_GPR    0
#define DIFFERENTIAL_AT_RIP    128
#define DIFFERENTIAL_AT_RFLAGS 136
#define DIFFERENTIAL_AT_FS     144
#define DIFFERENTIAL_AT_GS     152
#define DIFFERENTIAL_AT_YMM    192
#define DIFFERENTIAL_AT_X87    704

/* What else the context block holds, behind the registers. */
#define DIFFERENTIAL_AT_HOST_RSP 0x800
#define DIFFERENTIAL_AT_HOST_FS  0x808
#define DIFFERENTIAL_AT_HOST_GS  0x810
#define DIFFERENTIAL_AT_FAR      0x818 /* offset and selector for the jump into 32-bit code */
#define DIFFERENTIAL_AT_STACK    0x1800

/* Linux's selectors. */
#define DIFFERENTIAL_CS_32 0x23
#define DIFFERENTIAL_CS_64 0x33
#define DIFFERENTIAL_SS    0x2b

#endif
