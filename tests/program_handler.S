/*
 * The handlers of random guest programs: 64-bit code at CPL 0, copied into the guest. An exception
 * is recorded and the program goes on elsewhere; an interrupt leaves no trace.
 */
#include "program_layout.h"

    .section .rodata
    .balign 16

/* One entry for each vector: error code, if the processor pushes none, and vector. */
    .globl program_handlers
program_handlers:
    .set vector, 0
    .rept PROGRAM_VECTORS
    .balign PROGRAM_HANDLER_STRIDE
    .if vector == PROGRAM_IRQ
    iretq
    .else
    .if vector != 8 && (vector < 10 || vector > 14) && vector != 17
    push $0
    .endif
    push $vector
    jmp record
    .endif
    .set vector, vector + 1
    .endr

    .balign 16
record:
    push %rax
    push %rcx
    push %rdx
    mov $PROGRAM_LOG, %edx
    mov (%rdx), %rcx
    incq (%rdx)
    shl $PROGRAM_LOG_SHIFT, %rcx
    lea PROGRAM_LOG_RECORDS(%rdx, %rcx), %rdx
    mov 24(%rsp), %rax
    mov %rax, PROGRAM_AT_VECTOR(%rdx)
    mov 32(%rsp), %rax
    mov %rax, PROGRAM_AT_ERROR(%rdx)
    mov %cr2, %rax
    mov %rax, PROGRAM_AT_CR2(%rdx)
    mov 40(%rsp), %rax
    mov %rax, PROGRAM_AT_RIP(%rdx)
    mov 48(%rsp), %rax
    mov %rax, PROGRAM_AT_CS(%rdx)
    mov 56(%rsp), %rax
    mov %rax, PROGRAM_AT_RFLAGS(%rdx)
    mov 64(%rsp), %rax
    mov %rax, PROGRAM_AT_RSP(%rdx)
    mov 8(%rsp), %rax
    mov %rax, PROGRAM_AT_RCX(%rdx)

    /* The end, of the program or of the log? */
    mov 40(%rsp), %rax
    cmp $PROGRAM_END, %rax
    je finish
    shr $PROGRAM_LOG_SHIFT, %rcx
    cmp $PROGRAM_LOG_MAX - 1, %rcx
    jae finish

    /* Where to go on. */
    sub $PROGRAM_CODE, %rax
    cmp $PROGRAM_CODE_BYTES, %rax
    jae elsewhere
    shr $PROGRAM_RECOVERY_SHIFT, %rax
    jmp recover
elsewhere:
    and $PROGRAM_RECOVERY_ELSEWHERE - 1, %ecx
    lea PROGRAM_CODE_BYTES / 16(%rcx), %rax
recover:
    movzwl PROGRAM_RECOVERY(, %rax, 2), %eax
    add $PROGRAM_CODE, %eax
    mov %rax, 40(%rsp)
    mov PROGRAM_FLAGS_KEPT, %rax
    and %rax, 56(%rsp)
    pop %rdx
    pop %rcx
    pop %rax
    add $16, %rsp
    iretq

finish:
    pop %rdx
    pop %rcx
    pop %rax
    out %al, $PROGRAM_EXIT_PORT

    .globl program_handlers_end
program_handlers_end:
    .section .note.GNU-stack, "", @progbits
