# Far RET: to the same level or outwards, never inwards; outwards it takes SS:SP too.
        .include "guest.inc"
main:
.if BITS == 16
        push    $0x800
        push    $1f - 0x8000
        lretw
1:
        mov     %cs, %ax
        check_equal %ax, $0x800, 1
        ljmp    $0, $2f
2:
.else
.if BITS == 64
        .macro far_return bytes=0
        lretq   $\bytes
        .endm
.else
        .macro far_return bytes=0
        lret    $\bytes
        .endm
.endif
        mov     SP, D
        push    $0                      # taken off by the RET
        push    $KERNEL_CODE
        push    $1f
        far_return WIDTH
1:
        check_equal SP, D, 1
        push    $USER_DATA
        push    $user_stack
        push    $USER_CODE
        push    $2f
        far_return
2:
        mov     %cs, %eax
        check_equal %eax, $USER_CODE, 2
        mov     %ss, %eax
        check_equal %eax, $USER_DATA, 3
        check_equal SP, $user_stack, 4
        push    $KERNEL_CODE
        push    $3f
3:
        raises  GP, KERNEL_CODE, 5, far_return
        push    $0
        push    $3b
        raises  GP, 0, 6, far_return
        enter_kernel
        push    $ABSENT_DATA
        push    $3b
        raises  GP, ABSENT_DATA, 7, far_return
.endif
        pass
