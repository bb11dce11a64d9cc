# Real mode: an access beyond the segment's limit is #GP without an error code on the stack.
        .include "guest.inc"
main:
.if BITS == 16
        mov     %sp, %bx
        raises  GP, 0, 1, mov 0xffff, %ax
        check_equal %sp, %bx, 2
        mov     0xffff, %al
        raises  SS, 0, 3, mov %ss:0xffff, %ax
        raises  UD, 0, 4, ud2
        check_equal %sp, %bx, 5
.endif
        pass
