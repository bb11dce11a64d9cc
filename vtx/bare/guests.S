/*
 * The small guests' code, each entered at its first byte at 0x8000.
 *
 * They report by writing to ports: 0x10 and up, whatever the test wants to see. No port is a
 * device: each OUT ends in the test that runs the guest. Addresses of data are absolute, from
 * GUEST_CODE on; small_guest.h has the layout.
 */
#include "vtx/bare/small_guest_layout.h"

/* Begins a guest for 16, 32 or 64 bit code. HERE(label) is the label's address in the guest. */
.macro guest name, bits
        .globl  guest_\name, guest_\name\()_end
        .code\bits
        .balign 16
guest_\name:
.endm

#define HERE(guest, label) ((label) - guest + GUEST_CODE)

        .section .rodata.guests, "a"

/* The same bytes in each mode: what CR0 says it is. */
        guest   any_mode, 64
        .byte   0x0f, 0x01, 0xe0 /* smsw %ax, or %eax */
        out     %al, $0x10
        mov     $0x5a, %al
        out     %al, $0x11
        hlt
guest_any_mode_end:

/* From real mode to 64-bit mode by itself, which says at each step where it is. */
        guest   real_to_long, 16
        mov     $'r', %al
        out     %al, $0x10
        lgdtl   HERE(guest_real_to_long, to_long_gdt_register)
        mov     %cr0, %eax
        or      $1, %eax
        mov     %eax, %cr0
        ljmpl   $0x08, $HERE(guest_real_to_long, to_long_protected)
        .code32
to_long_protected:
        mov     $0x10, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     $'p', %al
        out     %al, $0x10
        /* PML4, PDPT and one directory with one page of 2 MiB. */
        movl    $GUEST_TABLES + 0x1003, GUEST_TABLES
        movl    $GUEST_TABLES + 0x2003, GUEST_TABLES + 0x1000
        movl    $0x83, GUEST_TABLES + 0x2000
        mov     $GUEST_TABLES, %eax
        mov     %eax, %cr3
        mov     %cr4, %eax
        or      $0x20, %eax
        mov     %eax, %cr4
        mov     $0xc0000080, %ecx
        rdmsr
        or      $0x100, %eax
        wrmsr
        mov     %cr0, %eax
        or      $0x80000000, %eax
        mov     %eax, %cr0
        mov     $'c', %al
        out     %al, $0x10
        ljmp    $0x18, $HERE(guest_real_to_long, to_long_code64)
        .code64
to_long_code64:
        mov     $0x6c00000000, %rax
        shr     $32, %rax
        out     %al, $0x10
        hlt
        .balign 8
to_long_gdt:
        .quad   0
        .quad   0x00cf9b000000ffff
        .quad   0x00cf93000000ffff
        .quad   0x00af9b000000ffff
to_long_gdt_register:
        .word   31
        .long   HERE(guest_real_to_long, to_long_gdt)
guest_real_to_long_end:

/* PAE paging: 0x400000 is another name of 0; what is written there is read here. */
        guest   pae, 32
        movl    $GUEST_TABLES + 0x1001, GUEST_TABLES
        movl    $0x83, GUEST_TABLES + 0x1000
        movl    $0x83, GUEST_TABLES + 0x1010
        mov     $GUEST_TABLES, %eax
        mov     %eax, %cr3
        mov     %cr4, %eax
        or      $0x20, %eax
        mov     %eax, %cr4
        mov     %cr0, %eax
        or      $0x80000000, %eax
        mov     %eax, %cr0
        movl    $0x12345678, 0x400000 + GUEST_DATA
        mov     GUEST_DATA, %eax
        out     %eax, $0x10
        hlt
guest_pae_end:

/* Ports of each width, and strings. */
        guest   ports, 32
        mov     $0x11223344, %eax
        out     %al, $0x20
        out     %ax, $0x21
        out     %eax, $0x22
        in      $0x20, %al
        in      $0x21, %ax
        in      $0x22, %eax
        out     %eax, $0x23
        mov     $HERE(guest_ports, ports_text), %esi
        mov     $5, %ecx
        mov     $0x24, %edx
        rep outsb
        mov     $GUEST_DATA, %edi
        mov     $4, %ecx
        mov     $0x25, %edx
        rep insb
        mov     GUEST_DATA, %eax
        out     %eax, $0x26
        hlt
ports_text:
        .ascii  "hello"
guest_ports_end:

/* An MSR in the VMCS, one that the monitor serves, one that it refuses. */
        guest   msrs, 32
        mov     $0x174, %ecx
        mov     $0x5678, %eax
        xor     %edx, %edx
        wrmsr
        xor     %eax, %eax
        rdmsr
        out     %eax, $0x10
        mov     $0x6e0, %ecx
        mov     $0x99, %eax
        wrmsr
        rdmsr
        out     %eax, $0x11
        mov     $0x12345, %ecx
        rdmsr
        hlt
guest_msrs_end:

        guest   cpuid, 32
        xor     %eax, %eax
        cpuid
        mov     %ebx, %eax
        out     %eax, $0x10
        mov     $0x40000000, %eax
        xor     %ecx, %ecx
        cpuid
        mov     %ebx, %eax
        out     %eax, $0x11
        hlt
guest_cpuid_end:

/* Shows CR4, flips the bits that the test has put into EBX, shows it again. */
        guest   flip_cr4, 32
        mov     %cr4, %eax
        out     %eax, $0x10
        xor     %ebx, %eax
        mov     %eax, %cr4
        mov     %cr4, %eax
        out     %eax, $0x11
        hlt
guest_flip_cr4_end:

        guest   flip_cr0, 32
        mov     %cr0, %eax
        out     %eax, $0x10
        xor     %ebx, %eax
        mov     %eax, %cr0
        mov     %cr0, %eax
        out     %eax, $0x11
        hlt
guest_flip_cr0_end:

/* Interrupt 0x21 and NMI by the real mode's vectors; sleeps in between. */
        guest   events, 16
        xor     %ax, %ax
        mov     %ax, %ds
        movw    $HERE(guest_events, events_interrupt), 0x21 * 4
        movw    $0, 0x21 * 4 + 2
        movw    $HERE(guest_events, events_nmi), 2 * 4
        movw    $0, 2 * 4 + 2
        cli
        out     %al, $0x10
        sti
        nop
        nop
1:      out     %al, $0x11
        hlt
        jmp     1b
events_interrupt:
        out     %al, $0x12
        iretw
events_nmi:
        out     %al, $0x13
        out     %al, $0x14
        iretw
guest_events_end:

/* Waits for an exception by vector 13, whose error code it shows. */
        guest   exception, 32
        out     %al, $0x10
        out     %al, $0x11
        hlt
guest_exception_end:

        guest   triple_fault, 32
        lidt    HERE(guest_triple_fault, triple_fault_idt)
        ud2
triple_fault_idt:
        .word   0
        .long   0
guest_triple_fault_end:

/* Memory that is no memory, memory that is not mapped yet, and memory that is only for reading. */
        guest   memory, 32
        mov     GUEST_NOWHERE, %eax
        out     %eax, $0x10
        movb    $0x77, GUEST_NOWHERE + 4
        movzwl  GUEST_NOWHERE + 8, %ebx
        mov     %ebx, %eax
        out     %eax, $0x11
        movl    $0x5151, GUEST_LATE
        mov     GUEST_LATE, %eax
        out     %eax, $0x12
        mov     GUEST_READ_ONLY, %eax
        out     %eax, $0x13
        mov     %eax, GUEST_READ_ONLY
        hlt
guest_memory_end:

/* As many exits as ECX says, then a last one by another port. */
        guest   storm, 32
1:      out     %al, $0x10
        dec     %ecx
        jnz     1b
        out     %al, $0x11
        hlt
guest_storm_end:

/* Never ends. */
        guest   loop, 32
1:      jmp     1b
guest_loop_end:

/* FPU, a few registers of SSE, and MSRs that no VMCS field holds. */
        guest   context, 64
        mov     %cr4, %rax
        or      $0x600, %rax
        mov     %rax, %cr4
        mov     $0xc0000102, %ecx
        mov     $0x1234, %eax
        xor     %edx, %edx
        wrmsr
        mov     $0x77777777, %eax
        movd    %eax, %xmm3
        out     %al, $0x10
        xor     %eax, %eax
        movd    %xmm3, %eax
        out     %eax, $0x11
        mov     $0xc0000102, %ecx
        rdmsr
        out     %eax, $0x12
        hlt
guest_context_end:

        .section .note.GNU-stack, "", @progbits
