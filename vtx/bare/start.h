/*
 * What start.S and C agree on.
 *
 * Owner, thread: constants only.
 */
#ifndef TRAPEZE_VTX_BARE_START_H
#define TRAPEZE_VTX_BARE_START_H

/* Selectors of each processor's GDT, the one of start.S included (which has no TSS). */
#define SELECTOR_CODE    0x08
#define SELECTOR_DATA    0x10
#define SELECTOR_CODE_32 0x18
#define SELECTOR_TSS     0x20

/* What EAX holds at the entry: which boot protocol it was. */
#define BOOT_MAGIC_MULTIBOOT 0x2badb002
#define BOOT_MAGIC_PVH       0x336ec578

#define TRAMPOLINE        0x8000 /* physical; below 1 MiB, on a page */
#define PROCESSORS_MAX    8
#define BOOT_STACK_SIZE   65536
#define OTHER_STACK_SHIFT 14 /* 16 KiB each */

#endif
