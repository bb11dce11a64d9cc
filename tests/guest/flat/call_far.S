# Far CALL: within a level it pushes CS and the return address; a call gate leads CPL 3 inwards, on
# the stack that the TSS names; outwards there is no way.
        .equ own_gate_entry, 1
        .include "guest.inc"
.macro far_call target
        lcall   *\target
.endm
main:
.if BITS == 16
        mov     $0x5555, %bx
        lcall   $0, $1f
        check_equal %bx, $7, 1
        pass
1:
        mov     $7, %bx
        mov     %sp, %bp
        cmpw    $0, 2(%bp)              # the caller's CS
        check   e, 2
        lretw
.else
        mov     SP, D
        far_call inner
        check_equal %ebx, $7, 1
        check_equal SP, D, 2
        raises  GP, USER_CODE&~3, 3, lcall *outer
        raises  GP, 0, 4, lcall *null
        raises  GP, KERNEL_DATA, 5, lcall *data
        raises  GP, BEYOND, 6, lcall *beyond
        enter_user
        mov     SP, D
        raises  GP, KERNEL_CODE, 7, lcall *inner
        far_call gate
        mov     %cs, %eax
        check_equal %eax, $USER_CODE, 8
        check_equal %ebx, $9, 9
        check_equal SP, D, 10
        far_call conforming
        check_equal %ebx, $USER_CODE|4, 11
        enter_kernel
        pass
callee:
        mov     $7, %ebx
        lretl
conforming_callee:                      # runs at the caller's level
        mov     %cs, %ebx
        xor     $CONFORMING ^ (USER_CODE & ~3) ^ 4, %ebx
        lretl
gate_entry:
        mov     %cs, %eax
        check_equal %eax, $KERNEL_CODE, 12
        mov     SP, A
.if BITS == 64
        check_equal A, $kernel_stack-32, 13
        mov     24(SP), A               # the outer SS
        check_equal A, $USER_DATA, 14
        mov     16(SP), A
        check_equal A, D, 15
        mov     8(SP), A
        check_equal A, $USER_CODE, 16
        mov     $9, %ebx
        lretq
.else
        check_equal A, $kernel_stack-16, 13
        mov     12(SP), A
        check_equal %ax, $USER_DATA, 14
        mov     8(SP), A
        check_equal A, D, 15
        mov     4(SP), A
        check_equal %ax, $USER_CODE, 16
        mov     $9, %ebx
        lretl
.endif
inner:          .long callee
                .word KERNEL_CODE
outer:          .long callee
                .word USER_CODE
null:           .long callee
                .word 0
data:           .long callee
                .word KERNEL_DATA
beyond:         .long callee
                .word BEYOND
gate:           .long 0x12345678        # ignored
                .word GATE
conforming:     .long conforming_callee
                .word CONFORMING
.endif
