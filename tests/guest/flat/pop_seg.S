# POP to a segment register checks as MOV does; a refused one leaves SP alone. POP SS holds off
# what follows for one instruction.
        .include "guest.inc"
.macro refuses register, selector, vector, number
        push    $\selector
        mov     SP, B
        raises  \vector, \selector&~3, \number, pop %\register
        check_equal SP, B, \number
        pop     A
.endm
main:
.if BITS == 16
        push    $0x1234
        pop     %fs
        mov     %fs, %ax
        check_equal %ax, $0x1234, 1
        push    %ss
        pop     %ss
.else
        mov     SP, B
        push    $USER_DATA
        pop     %fs
        check_equal SP, B, 1
        mov     %fs, %eax
        check_equal %eax, $USER_DATA, 2
        refuses fs, ABSENT_DATA, NP, 3
        refuses gs, TASK, GP, 4
.if BITS == 32
        refuses ds, KERNEL_DATA|3, GP, 5
        refuses ss, USER_DATA, GP, 6
        push    %ss
        pop     %ss
.else
        raises  UD, 0, 7, .byte 0x17    # there is no POP SS, DS, ES
        raises  UD, 0, 8, .byte 0x1f
        raises  UD, 0, 9, .byte 0x07
.endif
        enter_user
        refuses fs, KERNEL_DATA, GP, 10
        push    $USER_DATA
        pop     %gs
        enter_kernel
# Going to an outer level empties segment registers that it may not see.
        mov     $KERNEL_DATA, %eax
        mov     %eax, %fs
        mov     $USER_DATA, %eax
        mov     %eax, %gs
        enter_user
        mov     %fs, %eax
        check_equal %eax, $0, 11
        mov     %gs, %eax
        check_equal %eax, $USER_DATA, 12
        enter_kernel
.endif
        pass
