/*
 * Into the guest and out of it: what C cannot say.
 *
 * VM entry and VM exit switch RSP, RIP, RFLAGS and the segment, control and table registers by
 * themselves ("Loading Guest State", "Loading Host State"); the other general registers are ours.
 * vtx_enter() of hardware.h; struct vtx_registers is an array by enum x86_gpr.
 */

#define RAX 0
#define RCX 8
#define RDX 16
#define RBX 24
#define RBP 40
#define RSI 48
#define RDI 56

#define VMCS_HOST_RSP 0x6c14

    .text

/* enum vtx_result vtx_enter(struct vtx_registers *registers, bool launched) */
    .globl vtx_enter
    .type vtx_enter, @function
vtx_enter:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    push %rdi                       /* where the exit finds the registers again */
    mov $VMCS_HOST_RSP, %eax
    vmwrite %rsp, %rax
    jbe .Lfailed
    test %sil, %sil                 /* the loads below leave the flags alone */
    mov RAX(%rdi), %rax
    mov RCX(%rdi), %rcx
    mov RDX(%rdi), %rdx
    mov RBX(%rdi), %rbx
    mov RBP(%rdi), %rbp
    mov RSI(%rdi), %rsi
    mov 64(%rdi), %r8
    mov 72(%rdi), %r9
    mov 80(%rdi), %r10
    mov 88(%rdi), %r11
    mov 96(%rdi), %r12
    mov 104(%rdi), %r13
    mov 112(%rdi), %r14
    mov 120(%rdi), %r15
    mov RDI(%rdi), %rdi
    jnz .Lresume
    vmlaunch
    jmp .Lfailed
.Lresume:
    vmresume
.Lfailed:                           /* CF: VMfailInvalid, else ZF: VMfailValid */
    mov $1, %eax
    mov $2, %ecx
    cmovnc %ecx, %eax
    pop %rdi
    jmp .Lrestore

.Lexit:                             /* HOST_RIP: the guest's registers, our stack */
    push %rdi
    mov 8(%rsp), %rdi
    mov %rax, RAX(%rdi)
    mov %rcx, RCX(%rdi)
    mov %rdx, RDX(%rdi)
    mov %rbx, RBX(%rdi)
    mov %rbp, RBP(%rdi)
    mov %rsi, RSI(%rdi)
    mov %r8, 64(%rdi)
    mov %r9, 72(%rdi)
    mov %r10, 80(%rdi)
    mov %r11, 88(%rdi)
    mov %r12, 96(%rdi)
    mov %r13, 104(%rdi)
    mov %r14, 112(%rdi)
    mov %r15, 120(%rdi)
    pop RDI(%rdi)
    pop %rdi
    xor %eax, %eax
.Lrestore:
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    xor %ecx, %ecx                  /* nothing of the guest's is left for the code to come */
    xor %edx, %edx
    xor %esi, %esi
    xor %edi, %edi
    xor %r8d, %r8d
    xor %r9d, %r9d
    xor %r10d, %r10d
    xor %r11d, %r11d
    ret
    .size vtx_enter, . - vtx_enter

/* uint64_t vtx_exit_address(void) */
    .globl vtx_exit_address
    .type vtx_exit_address, @function
vtx_exit_address:
    lea .Lexit(%rip), %rax
    ret
    .size vtx_exit_address, . - vtx_exit_address

    .section .note.GNU-stack, "", @progbits
