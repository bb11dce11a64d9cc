# CLI and STI do trap at CPL 3 without I/O privilege, as do HLT, IN and OUT, and MOV to CR0.
        .include "guest.inc"
main:
        sti
        cli
.if BITS != 16
        enter_user
        raises  GP, 0, 1, cli
        raises  GP, 0, 2, sti
        raises  GP, 0, 3, hlt
        mov     $0x3f8, %edx
        raises  GP, 0, 4, in (%dx), %al
        raises  GP, 0, 5, out %al, (%dx)
        raises  GP, 0, 6, mov %cr0, A
        raises  GP, 0, 7, mov A, %cr3
        raises  GP, 0, 8, mov %dr7, A
        raises  GP, 0, 9, lgdt gdt_register
        raises  GP, 0, 10, lidt idt_register
        raises  GP, 0, 11, lldt %ax
        raises  GP, 0, 12, ltr %ax
        raises  GP, 0, 13, invlpg main
        raises  GP, 0, 14, rdmsr
        raises  GP, 0, 15, wrmsr
        raises  GP, 0, 16, wbinvd
        raises  GP, 0, 17, clts
        enter_kernel
        enter_user 0x3002
        sti
        cli
        in      $0x21, %al
        raises  GP, 0, 18, hlt
        enter_kernel
.endif
        pass
