# POPF is not privileged, and where it may not change a bit it says nothing: at CPL 3 IF stays with
# IOPL 0 and IOPL always.
        .include "guest.inc"
.macro set_flags flags
        push    $\flags
        popf
        pushf
        pop     A
        and     $0x247202, A            # ID AC NT IOPL IF and the bit that is one
.endm
main:
.if BITS == 16
        push    $0x7202
        popf
        pushf
        pop     %ax
        cli
        and     $0x7202, %ax
        check_equal %ax, $0x7202, 1
        push    $2
        popf
.else
        set_flags 0x243202
        check_equal A, $0x243202, 1
        set_flags 2
        check_equal A, $2, 2
        enter_user
        set_flags 0x247202
        check_equal A, $0x244002, 3
        set_flags 2
        check_equal A, $2, 4
        enter_kernel
        enter_user 0x202
        set_flags 2
        check_equal A, $0x202, 5
        enter_kernel
        enter_user 0x3002
        set_flags 0x202
        check_equal A, $0x3202, 6
        set_flags 2
        check_equal A, $0x3002, 7
        enter_kernel
.endif
        pass
