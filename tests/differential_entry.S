/*
 * Into native code with every register given, and back with every register stored. All memory is
 * addressed absolutely, so that no register is needed for it; neither path changes a flag before
 * the flags have been dealt with.
 */
#include "differential_layout.h"

#define AT(field) (DIFFERENTIAL_CONTEXT + DIFFERENTIAL_AT_##field)
#define GPR(n)    (DIFFERENTIAL_CONTEXT + DIFFERENTIAL_AT_GPR + 8 * n)
#define YMM(n)    (DIFFERENTIAL_CONTEXT + DIFFERENTIAL_AT_YMM + 32 * n)

    .text

/* void differential_enter(void), and _32: runs from AT(RIP) until something jumps to the exit. */
    .macro prepare
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    sub $8, %rsp
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    mov %rsp, AT(HOST_RSP)
    rdfsbase %rax
    mov %rax, AT(HOST_FS)
    rdgsbase %rax
    mov %rax, AT(HOST_GS)
    fxrstor64 AT(X87)
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    vmovdqa YMM(\n), %ymm\n
    .endr
    .endm

    .macro load_general
    mov $AT(STACK), %rsp
    pushq AT(RFLAGS)
    mov GPR(0), %rax
    mov GPR(1), %rcx
    mov GPR(2), %rdx
    mov GPR(3), %rbx
    mov GPR(5), %rbp
    mov GPR(6), %rsi
    mov GPR(7), %rdi
    .irp n, 8, 9, 10, 11, 12, 13, 14, 15
    mov GPR(\n), %r\n
    .endr
    popfq
    mov GPR(4), %rsp
    .endm

    .globl differential_enter
    .type differential_enter, @function
differential_enter:
    prepare
    xor %eax, %eax
    mov %eax, %ds
    mov %eax, %es
    mov AT(FS), %rax
    wrfsbase %rax
    mov AT(GS), %rax
    wrgsbase %rax
    load_general
    jmp *AT(RIP)
    .size differential_enter, . - differential_enter

    .globl differential_enter_32
    .type differential_enter_32, @function
differential_enter_32:
    prepare
    mov $DIFFERENTIAL_SS, %eax
    mov %eax, %ds
    mov %eax, %es
    load_general
    ljmp *AT(FAR)
    .size differential_enter_32, . - differential_enter_32

/* Copied to DIFFERENTIAL_EXIT, so nothing in here may be relative to its place. */
    .globl differential_leave
    .globl differential_leave_end
differential_leave:
    mov %rsp, GPR(4)
    mov $AT(STACK), %rsp
    pushfq
    popq AT(RFLAGS)
    pushq $2
    popfq
    mov %rax, GPR(0)
    mov %rcx, GPR(1)
    mov %rdx, GPR(2)
    mov %rbx, GPR(3)
    mov %rbp, GPR(5)
    mov %rsi, GPR(6)
    mov %rdi, GPR(7)
    .irp n, 8, 9, 10, 11, 12, 13, 14, 15
    mov %r\n, GPR(\n)
    .endr
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    vmovdqa %ymm\n, YMM(\n)
    .endr
    fxsave64 AT(X87)
    fninit
    vzeroupper
    rdfsbase %rax
    mov %rax, AT(FS)
    rdgsbase %rax
    mov %rax, AT(GS)
    mov AT(HOST_FS), %rax
    wrfsbase %rax
    mov AT(HOST_GS), %rax
    wrgsbase %rax
    mov AT(HOST_RSP), %rsp
    ldmxcsr (%rsp)
    fldcw 4(%rsp)
    add $8, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
differential_leave_end:

    .section .note.GNU-stack, "", @progbits
