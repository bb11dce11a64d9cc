/* For machines with a BIOS: reads the guest from the hard disk and starts it. */
#include "case_layout.h"
    .code16
    .globl _start
_start:
    cli
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov $0x7c00, %sp
    mov $packet, %si
    mov $0x42, %ah
    int $0x13
    cli
    ljmp $IMAGE / 16, $0
packet:
    .word 16, 64            /* sectors */
    .word 0, IMAGE / 16     /* to */
    .quad 1                 /* from */
    .org 510
    .word 0xaa55
