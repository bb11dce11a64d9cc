# PUSH CS and MOV from CS are not privileged: the low bits tell CPL 3 where it is.
        .include "guest.inc"
main:
.if BITS == 16
        push    %cs
        pop     %ax
        check_equal %ax, $0, 1
.else
        mov     %cs, %eax
        check_equal %eax, $KERNEL_CODE, 1
.if BITS == 64
        raises  UD, 0, 2, .byte 0x0e
.else
        push    %cs
        pop     %eax
        check_equal %ax, $KERNEL_CODE, 2
.endif
        enter_user
        mov     %cs, %eax
        check_equal %eax, $USER_CODE, 3
.if BITS == 32
        push    %cs
        pop     %eax
        check_equal %ax, $USER_CODE, 4
.endif
        enter_kernel
.endif
        pass
