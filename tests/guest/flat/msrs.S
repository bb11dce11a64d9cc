# Random numbers to random MSRs: #GP or not, the monitor lives, and so does the guest. Left out are
# those whose values are addresses that the monitor writes to (the paravirtual clock).
        .include "guest.inc"
        .equ ROUNDS, 6000
main:
        movl    $0x12345678, seed
        mov     $ROUNDS, %ebp
1:
        call    random
        mov     %eax, %ebx
        call    random
        mov     %eax, %ecx
        and     $0x1fff, %ecx
        test    $0x100000, %ebx
        jz      2f
        or      $0xc0000000, %ecx
2:
        test    $0x600000, %ebx
        jnz     3f
        and     $0x3ff, %ecx            # more of those that there are
3:
        cmp     $0x11, %ecx
        je      6f
        cmp     $0x12, %ecx
        je      6f
        call    random
        mov     %eax, %edx
        call    random
        test    $0x800000, %ebx
        jz      4f
        xor     %edx, %edx
4:
        movl    $5f, %ss:resume
        test    $0x1000000, %ebx
        jz      7f
        wrmsr
        jmp     5f
7:
        rdmsr
5:
        movl    $0, %ss:resume
6:
        dec     %ebp
        jnz     1b
        pass
# xorshift
random:
        mov     seed, %eax
        mov     %eax, %edi
        shl     $13, %edi
        xor     %edi, %eax
        mov     %eax, %edi
        shr     $17, %edi
        xor     %edi, %eax
        mov     %eax, %edi
        shl     $5, %edi
        xor     %edi, %eax
        mov     %eax, seed
        ret
        .balign 4
seed:   .long   0
