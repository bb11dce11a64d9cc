# STR is not privileged: CPL 3 sees the selector in TR, unless UMIP forbids it.
        .include "guest.inc"
main:
.if BITS == 16
        raises  UD, 0, 1, str %ax
.else
        mov     $-1, A
        str     %eax
        check_equal A, $TASK, 1
        enter_user
        movw    $-1, stored
        str     stored
        cmpw    $TASK, stored
        check   e, 2
        enter_kernel
        umip_on done
        str     %eax
        check_equal %eax, $TASK, 3
        enter_user
        raises  GP, 0, 4, str %eax
        raises  GP, 0, 5, str stored
        enter_kernel
.endif
done:
        pass
stored:
        .word   0
