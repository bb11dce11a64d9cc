/*
 * From a boot loader to C: 32-bit protected mode without paging, in which multiboot and PVH enter,
 * to 64-bit mode; and the same for the other processors, which begin in real mode.
 *
 * Source:  Multiboot Specification 0.6.96, "Machine state"; Xen, "x86/HVM direct boot ABI"; Intel
 *          SDM volume 3, "Initializing IA-32e Mode", "MP Initialization Protocol Algorithm".
 */
#include "vtx/bare/start.h"

#define CR0_TO_SET   0x80000023 /* PG, NE, MP, PE */
#define CR0_TO_CLEAR 0x60000004 /* CD, NW, EM */
#define CR4_TO_SET   0x00000620 /* OSXMMEXCPT, OSFXSR, PAE */
#define EFER         0xc0000080
#define EFER_LME_NXE 0x00000900

#define PAGE_TABLE   0x003 /* present, writable */
#define PAGE_LARGE   0x083 /* the same, 2 MiB */
#define DIRECTORIES  4     /* a GiB each */

        .section .multiboot, "a"
        .align  4
        .long   0x1badb002, 3, -(0x1badb002 + 3) /* modules on page boundaries, memory map */

        .section .note.pvh, "a", @note
        .align  4
        .long   4, 4, 18 /* name size, value size, XEN_ELFNOTE_PHYS32_ENTRY */
        .asciz  "Xen"
        .long   start_pvh

/* ---- the first processor ---- */

        .section .boot, "ax"
        .code32
        .globl  start_multiboot
start_pvh:
        mov     $BOOT_MAGIC_PVH, %eax
start_multiboot:
        cli
        cld
        mov     %eax, boot_magic
        mov     %ebx, boot_information
        mov     $boot_stack_end, %esp

        mov     $0x80000000, %eax
        cpuid
        cmp     $0x80000001, %eax
        jb      no_long_mode
        mov     $0x80000001, %eax
        cpuid
        bt      $29, %edx
        jnc     no_long_mode

        /* The first 4 GiB to themselves. */
        movl    $page_pointers + PAGE_TABLE, boot_page_tables
        mov     $page_pointers, %edi
        mov     $page_directories + PAGE_TABLE, %eax
        mov     $DIRECTORIES, %ecx
1:      mov     %eax, (%edi)
        add     $8, %edi
        add     $4096, %eax
        loop    1b
        mov     $page_directories, %edi
        mov     $PAGE_LARGE, %eax
        mov     $DIRECTORIES * 512, %ecx
2:      mov     %eax, (%edi)
        add     $8, %edi
        add     $0x200000, %eax
        loop    2b

        call    enable_long_mode
        ljmp    $SELECTOR_CODE, $start_64

/* Paging on, in compatibility mode. Overwrites EAX, ECX, EDX. */
enable_long_mode:
        mov     $boot_page_tables, %eax
        mov     %eax, %cr3
        mov     %cr4, %eax
        or      $CR4_TO_SET, %eax
        mov     %eax, %cr4
        mov     $EFER, %ecx
        rdmsr
        or      $EFER_LME_NXE, %eax
        wrmsr
        mov     %cr0, %eax
        and     $~CR0_TO_CLEAR, %eax
        or      $CR0_TO_SET, %eax
        mov     %eax, %cr0
        lgdt    boot_gdt_register
        ret

/* Says so on the serial port, whatever state that is in. */
no_long_mode:
        mov     $no_long_mode_text, %esi
3:      lodsb
        test    %al, %al
        jz      5f
        mov     %al, %bl
        mov     $0x3fd, %edx
4:      in      (%dx), %al
        test    $0x20, %al
        jz      4b
        mov     %bl, %al
        mov     $0x3f8, %edx
        out     %al, (%dx)
        jmp     3b
5:      hlt
        jmp     5b

        .code64
start_64:
        call    load_data_segments
        mov     $boot_stack_end, %rsp
        xor     %ebp, %ebp
        mov     boot_magic(%rip), %edi
        mov     boot_information(%rip), %esi
        call    bare_main
6:      hlt
        jmp     6b

load_data_segments:
        mov     $SELECTOR_DATA, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        xor     %eax, %eax
        mov     %eax, %fs
        mov     %eax, %gs
        ret

/* ---- the others: copied to TRAMPOLINE, where SIPI lets them begin ---- */

        .globl  trampoline_begin, trampoline_end
        .code16
trampoline_begin:
        cli
        mov     %cs, %ax
        mov     %ax, %ds
        lgdtl   trampoline_gdt_register - trampoline_begin
        mov     %cr0, %eax
        or      $1, %eax
        mov     %eax, %cr0
        ljmpl   $SELECTOR_CODE_32, $other_32
        .align  4
trampoline_gdt_register:
        .word   boot_gdt_end - boot_gdt - 1
        .long   boot_gdt
trampoline_end:

        .code32
other_32:
        mov     $SELECTOR_DATA, %eax
        mov     %eax, %ds
        mov     %eax, %ss
        /* A number of its own, from 1 on, and with it a stack. */
        mov     $1, %ebx
        lock xadd %ebx, other_count
        inc     %ebx
        cmp     $PROCESSORS_MAX, %ebx
        jae     7f
        mov     %ebx, %esp
        shl     $OTHER_STACK_SHIFT, %esp
        add     $other_stacks, %esp
        call    enable_long_mode
        ljmp    $SELECTOR_CODE, $other_64
7:      hlt
        jmp     7b

        .code64
other_64:
        call    load_data_segments
        mov     %ebx, %edi
        xor     %ebp, %ebp
        call    processors_other_main
8:      hlt
        jmp     8b

/* ---- data ---- */

        .section .rodata
no_long_mode_text:
        .asciz  "trapeze-bare: this processor has no 64-bit mode: use another machine\r\ntrapeze-bare: exit code 3\r\n"

        .align  8
boot_gdt:
        .quad   0
        .quad   0x00af9b000000ffff /* SELECTOR_CODE */
        .quad   0x00cf93000000ffff /* SELECTOR_DATA */
        .quad   0x00cf9b000000ffff /* SELECTOR_CODE_32 */
boot_gdt_end:
boot_gdt_register:
        .word   boot_gdt_end - boot_gdt - 1
        .long   boot_gdt
        .long   0

        .data
        .align  4
        .globl  other_count
boot_magic:
        .long   0
boot_information:
        .long   0
other_count:
        .long   0

        .bss
        .align  4096
boot_page_tables:
        .skip   4096
page_pointers:
        .skip   4096
page_directories:
        .skip   DIRECTORIES * 4096
        .skip   BOOT_STACK_SIZE
boot_stack_end:
other_stacks:
        .skip   PROCESSORS_MAX << OTHER_STACK_SHIFT /* the first one's is boot_stack_end's */

        .section .note.GNU-stack, "", @progbits
