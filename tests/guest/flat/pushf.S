# PUSHF is not privileged: IF and IOPL are what they are at every CPL; RF and VM read as zero.
        .include "guest.inc"
        .equ IF_IOPL0, 0x202
main:
.if BITS == 16
        pushf
        pop     %ax
        and     $0x8228, %ax            # IF is off, reserved bits are zero
        check_equal %ax, $0, 1
        sti
        pushf
        cli
        pop     %ax
        and     $0x200, %ax
        check_equal %ax, $0x200, 2
.else
        pushf
        pop     A
        and     $0x3f202, A
        check_equal A, $2, 1
        enter_user IF_IOPL0
        pushf
        pop     A
        and     $0x3f202, A
        check_equal A, $IF_IOPL0, 2
        enter_kernel
        enter_user 0x3002
        pushf
        pop     A
        and     $0x3f202, A
        check_equal A, $0x3002, 3
        enter_kernel
.endif
        pass
