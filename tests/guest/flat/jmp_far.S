# Far JMP: never changes the level; through a call gate only to the same one.
        .include "guest.inc"
main:
.if BITS == 16
        ljmp    $0x800, $1f - 0x8000    # the same place by another segment
1:
        mov     %cs, %ax
        check_equal %ax, $0x800, 1
        ljmp    $0, $2f
2:
.else
        ljmp    *same
1:
        mov     %cs, %eax
        check_equal %eax, $KERNEL_CODE, 1
        raises  GP, USER_CODE&~3, 2, ljmp *outer
        raises  GP, 0, 3, ljmp *null
        raises  GP, KERNEL_DATA, 4, ljmp *data
        enter_user
        raises  GP, KERNEL_CODE, 5, ljmp *same
        raises  GP, KERNEL_CODE, 6, ljmp *gate  # would lead inwards
        ljmp    *conforming
2:
        mov     %cs, %eax
        check_equal %eax, $CONFORMING|3, 7
        ljmp    *back
3:
        mov     %cs, %eax
        check_equal %eax, $USER_CODE, 8
        enter_kernel
.endif
        pass
.if BITS != 16
same:           .long 1b
                .word KERNEL_CODE
outer:          .long 1b
                .word USER_CODE
null:           .long 1b
                .word 0
data:           .long 1b
                .word KERNEL_DATA
gate:           .long 0
                .word GATE
conforming:     .long 2b
                .word CONFORMING
back:           .long 3b
                .word USER_CODE
.endif
