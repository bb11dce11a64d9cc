/*
 * The entries of the IDT: each saves the registers and calls descriptors_handle.
 *
 * Source:  Intel SDM volume 3, "Error Code", "64-Bit Mode Stack Frame".
 */

/* Exceptions for which the processor pushes an error code: #DF #TS #NP #SS #GP #PF #AC #CP. */
#define HAS_ERROR_CODE(vector) ((0x60227d00 >> (vector)) & 1)

        .text
        .globl  vector_entries
        .set    vector, 0
        .balign 16
vector_entries:
        .rept   0x30 /* VECTORS */
        .balign 16   /* VECTOR_ENTRY_SIZE */
        .if     vector >= 0x20 || !HAS_ERROR_CODE(vector)
        push    $0
        .endif
        push    $vector
        jmp     enter
        .set    vector, vector + 1
        .endr

enter:
        push    %rax
        push    %rbx
        push    %rcx
        push    %rdx
        push    %rsi
        push    %rdi
        push    %rbp
        push    %r8
        push    %r9
        push    %r10
        push    %r11
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        mov     %rsp, %rdi
        cld
        call    descriptors_handle
        pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %r11
        pop     %r10
        pop     %r9
        pop     %r8
        pop     %rbp
        pop     %rdi
        pop     %rsi
        pop     %rdx
        pop     %rcx
        pop     %rbx
        pop     %rax
        add     $16, %rsp
        iretq

        .section .note.GNU-stack, "", @progbits
