/*
 * Where a random guest program and what belongs to it lie, and what its exception handler writes.
 *
 * Purpose: shared by C and by the handlers' assembly, so nothing but numbers. Code and the first
 *          five pages of data are where differential cases have theirs, so that their generator's
 *          addresses make sense here.
 * Owner, thread: constants only.
 */
#ifndef TRAPEZE_TESTS_PROGRAM_LAYOUT_H
#define TRAPEZE_TESTS_PROGRAM_LAYOUT_H

/* Linear addresses. Four pages of code, which may be written. */
#define PROGRAM_CODE       0x10000000
#define PROGRAM_CODE_PAGES 4
#define PROGRAM_CODE_BYTES 0x4000

/* Data: two writable pages, a hole, one read-only, one writable; then others of all kinds. */
#define PROGRAM_DATA       0x20000000
#define PROGRAM_HOLE       0x20002000
#define PROGRAM_READ_ONLY  0x20003000
#define PROGRAM_CODE_ALIAS 0x20005000 /* the first two pages of code, writable */
#define PROGRAM_DATA_ALIAS 0x20007000 /* the first page of data */
#define PROGRAM_DEVICE     0x20008000 /* no RAM: memory-mapped I/O */
#define PROGRAM_OTHERS     0x20009000 /* of the other privilege level */
#define PROGRAM_STACK      0x2000b000 /* two writable pages, a hole before and behind */
#define PROGRAM_STACK_END  0x2000d000
#define PROGRAM_CONTROL    0x2000e000 /* fuel and jump table */

#define PROGRAM_FUEL       (PROGRAM_CONTROL)
#define PROGRAM_TABLE      (PROGRAM_CONTROL + 0x100)
#define PROGRAM_TABLE_SIZE 64

/* A program ends by a jump to an undefined instruction there. */
#define PROGRAM_END 0x2000f000

/* For the kernel's eyes only. The page tables of code and of data: a kernel's program may write. */
#define PROGRAM_CODE_ENTRIES   0x30006000
#define PROGRAM_DATA_ENTRIES   0x30007000
#define PROGRAM_KERNEL         0x30000000 /* the handlers */
#define PROGRAM_RECOVERY       0x30001000 /* where to go on after a fault, see below */
#define PROGRAM_LOG            0x30002000 /* a count, then the records */
#define PROGRAM_TABLES         0x30003000 /* GDT, TSS and, in the middle, IDT */
#define PROGRAM_KERNEL_STACK   0x30005000 /* its end: of exceptions; two pages */
#define PROGRAM_INTERRUPTS     0x30009000 /* its end: of interrupts; one page */
#define PROGRAM_GDT            (PROGRAM_TABLES)
#define PROGRAM_TSS            (PROGRAM_TABLES + 0x200)
#define PROGRAM_IDT            (PROGRAM_TABLES + 0x800)
#define PROGRAM_VECTORS        64
#define PROGRAM_IRQ            0x30
#define PROGRAM_HANDLER_STRIDE 16

/*
 * Recovery: 16-bit offsets into the code. For each 16 bytes of code where a fault there goes on;
 * behind that, for faults elsewhere, PROGRAM_RECOVERY_ELSEWHERE more that are taken in turn.
 */
#define PROGRAM_RECOVERY_SHIFT     4
#define PROGRAM_RECOVERY_ELSEWHERE 64

/* With which flags it goes on: a mask, behind the table. */
#define PROGRAM_FLAGS_KEPT (PROGRAM_RECOVERY + 0xf00)

/* A record: eight quadwords. After LOG_MAX of them the program ends. */
#define PROGRAM_LOG_RECORDS 64 /* offset of the first */
#define PROGRAM_LOG_SHIFT   6
#define PROGRAM_LOG_MAX     60
#define PROGRAM_AT_VECTOR   0
#define PROGRAM_AT_ERROR    8
#define PROGRAM_AT_CR2      16
#define PROGRAM_AT_RIP      24
#define PROGRAM_AT_CS       32
#define PROGRAM_AT_RFLAGS   40
#define PROGRAM_AT_RSP      48
#define PROGRAM_AT_RCX      56

/* Selectors, RPL included. */
#define PROGRAM_CS_KERNEL_64 0x08
#define PROGRAM_SS_KERNEL    0x10
#define PROGRAM_CS_KERNEL_32 0x18
#define PROGRAM_CS_USER_32   0x23
#define PROGRAM_SS_USER      0x2b
#define PROGRAM_CS_USER_64   0x33
#define PROGRAM_TR           0x40

#define PROGRAM_EXIT_PORT 0xf4

#endif
