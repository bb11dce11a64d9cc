# IRET is not privileged: CPL 3 may use it, and what it may not change in the flags stays silently.
        .include "guest.inc"
.if BITS == 64
        .macro interrupt_return
        iretq
        .endm
.else
        .macro interrupt_return
        iret
        .endm
.endif
main:
.if BITS == 16
        pushw   $0x7203
        pushw   $0
        pushw   $1f
        iretw
1:
        pushf
        pop     %ax
        cli
        and     $0x7203, %ax
        check_equal %ax, $0x7203, 1
        push    $2
        popf
.else
        mov     SP, D
.if BITS == 64
        push    $KERNEL_DATA
        push    D
.endif
        push    $0x3203
        push    $KERNEL_CODE
        push    $1f
        interrupt_return
1:
        pushf
        pop     A
        cli
        check_equal SP, D, 1
        and     $0x3203, A
        check_equal A, $0x3203, 2
        push    $2
        popf
        enter_user
        mov     SP, D
.if BITS == 64
        push    $USER_DATA
        push    D
.endif
        push    $0x3203
        push    $USER_CODE
        push    $2f
        interrupt_return
2:
        pushf
        pop     A
        and     $0x3203, A
        check_equal A, $3, 3            # CF came, IF and IOPL did not
.if BITS == 64
        push    $KERNEL_DATA
        push    D
.endif
        push    $2
        push    $KERNEL_CODE
        push    $2b
        raises  GP, KERNEL_CODE, 4, interrupt_return
        enter_kernel
.if BITS == 64
        push    $0x4002                 # NT: there are no tasks to return to
        popf
        raises  GP, 0, 5, iretq
        push    $2
        popf
.else
        push    $0x4002                 # NT: returns to the task that the TSS names, here none
        popf
        raises  TS, 0, 5, iret
        push    $2
        popf
.endif
.endif
        pass
