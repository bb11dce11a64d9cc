# Jumps to where there is no memory: it reads as all ones, which is no instruction.
        .include "guest.inc"
main:
        raises  UD, 0, 1, jmp *where
        pass
        .balign 8
where:
        .quad   0xd0000000
