/* Entry in real-address mode at the image's first byte, and the way into a case and out of it. */
#include "case_layout.h"

#ifdef __x86_64__
#define WORD 8
#else
#define WORD 4
#endif

    .text
    .code16
    .globl start
start:
    cli
    cld
    mov %cs, %ax
    mov %ax, %ds
    lgdtl boot_gdtr - start
    lidtl empty_idtr - start
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $COMPAT_CODE, $start32

    .code32
start32:
    mov $DATA(0), %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    mov $MAIN_STACK, %esp
#ifdef __x86_64__
    /* identity map of 4 MB by two large pages */
    mov $PAGE_TABLES, %edi
    mov $0x3000 / 4, %ecx
    rep stosl
    movl $PAGE_TABLES + 0x1007, PAGE_TABLES
    movl $PAGE_TABLES + 0x2007, PAGE_TABLES + 0x1000
    movl $0x000087, PAGE_TABLES + 0x2000
    movl $0x200087, PAGE_TABLES + 0x2008
    mov $PAGE_TABLES, %eax
    mov %eax, %cr3
    mov %cr4, %eax
    or $0x20, %eax
    mov %eax, %cr4
    mov $0xc0000080, %ecx
    rdmsr
    or $0x100, %eax
    wrmsr
    mov %cr0, %eax
    or $0x80000000, %eax
    mov %eax, %cr0
    ljmp $CODE(0), $start64
    .code64
start64:
#else
    ljmp $CODE(0), $1f
1:
#endif
    mov $0xff, %al          /* no interrupts from the old controllers */
    out %al, $0x21
    out %al, $0xa1
    call guest_main
    mov $0xfe, %al
    out %al, $0xe4          /* tells the test that the guest has done */
    xor %eax, %eax
    mov $0xf4, %edx
    outl %eax, %dx          /* QEMU's debug exit */
    mov $0x8900, %edx       /* Bochs' */
    mov $shutdown_word, %esi
    mov $8, %ecx
    rep outsb
1:  hlt
    jmp 1b

shutdown_word:
    .ascii "Shutdown"

    .balign 8
boot_gdtr:
    .word GDT_END - 1
    .long boot_gdt
empty_idtr:
    .word 0
    .long 0
    .balign 8
boot_gdt:
    .quad 0
#ifdef __x86_64__
    .quad 0x00af9a000000ffff /* CODE(0) */
#else
    .quad 0x00cf9a000000ffff
#endif
    .quad 0x00cf92000000ffff /* DATA(0) */
    .quad 0, 0, 0, 0, 0, 0
    .quad 0x00cf9a000000ffff /* COMPAT_CODE */

/* The operand in EAX, and values that no compiler had a say in. */
    .macro SET_REGISTERS machine
    mov 0x20(\machine), %eax
    mov $0xdddd, %ecx
    mov $0xcccc, %edx
    mov $0xbbbb, %ebx
    mov $0xeeee, %ebp
    mov $0x5151, %esi
    mov $0xd1d1, %edi
    .endm

/*
 * void run_case(struct machine *machine): loads what it says and goes to its code. Comes back when
 * an interrupt or exception has been taken, with the outcome in it.
 */
#ifdef __x86_64__
    .globl run_case
run_case:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, saved_stack
    mov %rdi, current_machine
    mov 0x00(%rdi), %rax    /* stack */
    mov 0x08(%rdi), %rbx    /* code */
    mov 0x10(%rdi), %ecx    /* level */
    mov %ecx, %edx
    imul $0x11, %edx
    lea CODE(0)(%rdx), %esi
    lea DATA(0)(%rdx), %edx
    mov 0x18(%rdi), %ebp    /* flags */
    mov $DATA(3), %r8d
    mov %r8d, %ds
    mov %r8d, %es
    mov %r8d, %fs
    mov %r8d, %gs
    push %rdx
    push %rax
    push %rbp
    push %rsi
    push %rbx
    SET_REGISTERS %rdi
    iretq
#else
    .globl run_case
run_case:
    push %ebx
    push %ebp
    push %esi
    push %edi
    mov %esp, saved_stack
    mov 20(%esp), %edi
    mov %edi, current_machine
    testl $FLAGS_VM, 0x18(%edi)
    jnz run_virtual
    mov 0x10(%edi), %ecx
    imul $0x11, %ecx, %edx
    lea CODE(0)(%edx), %esi
    lea DATA(0)(%edx), %edx
    mov $DATA(3), %ebx
    mov %ebx, %ds
    mov %ebx, %es
    mov %ebx, %fs
    mov %ebx, %gs
    test %ecx, %ecx
    jnz 1f
    mov 0x00(%edi), %esp
    jmp 2f
1:  push %edx
    pushl 0x00(%edi)
2:  pushl 0x18(%edi)
    push %esi
    pushl 0x08(%edi)
    SET_REGISTERS %edi
    iret

run_virtual:                /* all segments at 0 */
    push $0                 /* GS, FS, DS, ES, SS */
    push $0
    push $0
    push $0
    push $0
    pushl 0x00(%edi)
    pushl 0x18(%edi)
    push $0
    pushl 0x08(%edi)
    SET_REGISTERS %edi
    iret
#endif

/*
 * Vectors: each pushes its number and, where the processor does not, an error code. The outcome is
 * read from the stack by take_outcome(frame).
 */
    .macro VECTOR number, has_error
    .balign 16
    .if \has_error == 0
    push $0
    .endif
    push $\number
    jmp common
    .endm

    .balign 16
    .globl vectors
vectors:
    .irp n, 0,1,2,3,4,5,6,7
    VECTOR \n, 0
    .endr
    VECTOR 8, 1
    VECTOR 9, 0
    .irp n, 10,11,12,13,14
    VECTOR \n, 1
    .endr
    .irp n, 15,16
    VECTOR \n, 0
    .endr
    VECTOR 17, 1
    .irp n, 18,19,20,21,22,23,24,25,26,27,28,29,30,31
    VECTOR \n, 0
    .endr
    .globl arrival_vector, done_vector, case_vector
    .balign 16
arrival_vector:
    push $0
    push $0x60
    jmp common
    .balign 16
done_vector:
    push $0
    push $0x61
    jmp common
    .balign 16
case_vector:                /* INT 70h goes through the case's own gate to ARRIVAL instead */
    push $0
    push $0x70
    jmp common

common:
#ifdef __x86_64__
    push %rax
    push %rbx
    push %rcx
    mov %ds, %eax
    push %rax
    mov %es, %eax
    push %rax
    mov %fs, %eax
    push %rax
    mov %gs, %eax
    push %rax
    mov %ss, %eax
    push %rax
    mov $DATA(0), %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %rsp, %rdi
    mov saved_stack, %rsp
    cld
    call take_outcome
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
#else
    push %eax
    push %ebx
    push %ecx
    mov %ds, %eax
    push %eax
    mov %es, %eax
    push %eax
    mov %fs, %eax
    push %eax
    mov %gs, %eax
    push %eax
    mov %ss, %eax
    push %eax
    mov $DATA(0), %eax
    mov %eax, %ds
    mov %eax, %es
    mov %esp, %ecx
    mov %eax, %ss
    mov saved_stack, %esp
    movzwl %cx, %ecx        /* all stacks lie below 64 KB; a 16-bit SS leaves the rest undefined */
    push %ecx
    cld
    call take_outcome
    add $4, %esp
    pop %edi
    pop %esi
    pop %ebp
    pop %ebx
    ret
#endif

    .bss
    .balign 8
saved_stack:
    .skip 8
    .globl current_machine
current_machine:
    .skip 8
