# Reads and writes all ports in every size with random values, but those that end the run.
        .include "guest.inc"
main:
        movl    $0x2545f491, seed
        xor     %ecx, %ecx
1:
        mov     %ecx, %edx
        mov     $ends, SI
3:
        cmp     %dx, 2(SI)
        jb      4f
        cmp     %dx, (SI)
        jbe     2f                      # within
4:
        add     $4, SI
        cmp     $ends_end, SI
        jb      3b
        call    random
        in      %dx, %al
        in      %dx, %ax
        in      %dx, %eax
        mov     seed, %eax
        out     %al, %dx
        out     %ax, %dx
        out     %eax, %dx
2:
        inc     %ecx
        cmp     $0x10000, %ecx
        jb      1b
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
# First and last of the ports at which an access of 4 bytes may end the run.
ends:   .word   0x5d, 0x67              # the keyboard controller's reset
        .word   0x8f, 0x92
        .word   0xf1, 0xf7              # debug exit
        .word   0x502, 0x505            # a panic told
        .word   0x5fd, 0x60f            # power off
        .word   0xcf5, 0xcff            # reset
ends_end:
