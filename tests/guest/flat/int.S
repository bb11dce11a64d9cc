# INT n asks the gate's DPL at CPL 3; INT3 too; a gate beyond the limit is #GP with its number.
        .include "guest.inc"
main:
.if BITS == 16
        movw    $service, 0x40 * 4
        movw    $0, 0x40 * 4 + 2
        mov     $1, %bx
        int     $0x40
        check_equal %bx, $2, 1
        pass
service:
        inc     %bx
        iretw
.else
        .equ BREAKPOINT_GATE, 3 * 8 + 2
        raises  3, 0, 1, int3
        raises  3, 0, 2, int $3
        raises  13, 0x31*8+2, 3, int $0x31          # beyond the limit
        raises  13, 0x2f*8+2, 4, int $0x2f          # an empty gate
.if BITS == 32
        movl    $1f, resume
        mov     $0x7fffffff, %eax
        inc     %eax
        into
1:
        cmpl    $4, caught_vector
        check   e, 5
.else
        raises  UD, 0, 5, .byte 0xce
.endif
        enter_user
        raises  GP, BREAKPOINT_GATE, 6, int3
        raises  GP, BREAKPOINT_GATE, 7, int $3
        raises  GP, 13*8+2, 8, int $13
        raises  GP, 0x80*8+2, 9, int $0x80
        raises  UD, 0, 10, ud2          # an exception itself does not ask the DPL
        enter_kernel
.endif
        pass
