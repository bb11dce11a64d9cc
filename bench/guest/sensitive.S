/*
 * A guest that is all sensitive instructions: ROUNDS rounds of each of them once, then the end of
 * the run with code 0. Flat, at 0x8000, for `--mode long`. scripts/bench-trap assembles it.
 *
 * What it needs besides what it is started with: an IDT for INT, made here.
 */
        .code64
        .globl  start
start:
        mov     $stack, %rsp
        mov     %cs, %eax               /* gate 0x40: present, DPL 0, interrupt gate */
        shl     $16, %eax
        lea     handler(%rip), %rdx
        mov     %dx, %ax
        mov     %eax, idt+0x400(%rip)
        movl    $0x8e00, idt+0x404(%rip)
        lidt    idt_register(%rip)
        sgdt    gdt_register(%rip)
        mov     $ROUNDS, %r15d

round:
        /* the tables' registers */
        sgdt    scratch(%rip)
        sidt    scratch(%rip)
        sldt    %eax
        str     %eax
        lgdt    gdt_register(%rip)
        lidt    idt_register(%rip)
        xor     %eax, %eax
        lldt    %ax

        /* flags */
        pushf
        popf
        cli
        sti

        /* segments */
        mov     %ds, %eax
        mov     %eax, %ds
        push    %fs
        pop     %fs
        lar     %ax, %ecx
        lsl     %ax, %ecx
        verr    %ax
        verw    %ax
        swapgs
        swapgs

        /* far transfers */
        mov     %cs, %eax
        push    %rax
        lea     1f(%rip), %rdx
        push    %rdx
        lretq
1:      int     $0x40                   /* and IRET */

        /* control and debug registers */
        smsw    %eax
        lmsw    %ax
        clts
        mov     %cr0, %rax
        mov     %rax, %cr0
        mov     %cr2, %rax
        mov     %rax, %cr2
        mov     %cr3, %rax
        mov     %rax, %cr3
        mov     %cr4, %rax
        mov     %rax, %cr4
        mov     %dr7, %rax
        mov     %rax, %dr7

        /* what processor this is, its clock, an MSR, a translation */
        xor     %eax, %eax
        cpuid
        rdtsc
        mov     $0x174, %ecx            /* IA32_SYSENTER_CS */
        rdmsr
        wrmsr
        invlpg  scratch(%rip)

        dec     %r15d
        jnz     round

        xor     %eax, %eax
        out     %al, $0xf4
2:      jmp     2b

handler:
        iretq

        .balign 16
idt_register:
        .word   0x40 * 16 + 15
        .quad   idt
gdt_register:
        .skip   10
scratch:
        .skip   16

/* Behind the image, where there is memory. */
        .equ    idt, 0x10000
        .equ    stack, 0x20000
