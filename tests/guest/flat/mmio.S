# Random loads and stores of every size where there is no RAM, where the interrupt controllers are,
# and across their borders. What that does to the guest's CPU is the guest's own fault.
        .include "guest.inc"
        .equ ROUNDS, 20000
main:
        movl    $0x2545f491, seed
        mov     $ROUNDS, %ebp
1:
        call    random
        mov     %eax, %ebx
        and     $3, %ebx
        mov     places(,%ebx,4), %ecx
        call    random
        and     $0x1fff, %eax
        add     %eax, %ecx
        call    random
        mov     %eax, %edx
        movl    $2f, %ss:resume
.if BITS == 64
        mov     %ecx, %ecx
.endif
        test    $0x10000, %edx
        jz      3f
        test    $0x20000, %edx
        jz      4f
        mov     %edx, (C)
        jmp     2f
4:
        mov     %dl, (C)
        jmp     2f
3:
        test    $0x20000, %edx
        jz      5f
        lock xadd %edx, (C)
        jmp     2f
5:
        test    $0x40000, %edx
        jz      6f
        mov     (C), %ax
        jmp     2f
6:
        push    (C)
        add     $WIDTH, SP
2:
        movl    $0, %ss:resume
        dec     %ebp
        jnz     1b
        exit    0
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
places: .long   0xd0000000, 0xfebff000, 0xfedff000, 0xffffe000
