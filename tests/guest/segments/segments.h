/*
 * What the assembly and the C half of the segmentation guest share.
 *
 * The guest runs one instruction at a time at a chosen privilege level on descriptors made up at
 * random, and writes down what came of it, a line each, to port 0xe9. The same image, as 32-bit or
 * 64-bit code, runs on any machine: its output is compared.
 */
#ifndef GUEST_SEGMENTS_H
#define GUEST_SEGMENTS_H

/* Physical memory, all below 1 MB. */
#define ARRIVAL     0x8000 /* code that every transfer aims at: INT 60h */
#define TEST_STACK  0x9000
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

#endif
