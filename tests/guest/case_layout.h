/*
 * Where things lie in a guest of cases; for assembly and C.
 */
#ifndef GUEST_CASE_LAYOUT_H
#define GUEST_CASE_LAYOUT_H

/* Physical memory, all below 1 MB. */
#define ARRIVAL     0x8000 /* code that every transfer aims at: INT 60h */
#define CASE_CODE   0x8100
#define OPERAND     0x8200 /* a far pointer in memory */
#define LDT_TABLE   0x8300
#define GDT_TABLE   0x5000
#define TSS_TABLE   0x5800
#define IO_MAP      0x88 /* in the TSS, all zeroes; the redirection bitmap lies before it */
#define TSS_LIMIT   0x2ff
#define IDT_TABLE   0x6000
#define TEST_STACK  0x9000
#define OUTER_STACK 0x9800
#define INNER_STACK 0xa000 /* of level n: + n * 0x400 */
#define MAIN_STACK  0xf000
#define IMAGE       0x10000
#define PAGE_TABLES 0x70000

/* Selectors: code and data of level n, and what cases fill in. */
#define CODE(n)      (0x08 + 0x10 * (n) + (n))
#define DATA(n)      (0x10 + 0x10 * (n) + (n))
#define COMPAT_CODE  0x48 /* level 0; 32-bit code in both images */
#define TSS_SELECTOR 0x50
#define LDT_SELECTOR 0x60
#define FIRST        0x80 /* two entries each, for 16-byte descriptors */
#define SECOND       0x90
#define GATE         0xa0
#define GDT_END      0xb0

#define FLAGS_VM 0x20000

#endif
