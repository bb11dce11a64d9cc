# SLDT is not privileged: CPL 3 sees the selector in LDTR, unless UMIP forbids it.
        .include "guest.inc"
main:
.if BITS == 16
        raises  UD, 0, 1, sldt %ax
.else
        mov     $-1, A
        sldt    %eax
        check_equal A, $0, 1
        enter_user
        movw    $-1, stored
        sldt    stored
        cmpw    $0, stored
        check   e, 2
        enter_kernel
        umip_on done
        sldt    %eax
        check_equal %eax, $0, 3
        enter_user
        raises  GP, 0, 4, sldt %eax
        raises  GP, 0, 5, sldt stored
        enter_kernel
.endif
done:
        pass
stored:
        .word   0
