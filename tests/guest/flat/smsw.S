# SMSW is not privileged: CPL 3 sees the low half of CR0, unless UMIP forbids it. LMSW is, and sets
# PE but never clears it.
        .include "guest.inc"
main:
        mov     %cr0, A
        mov     %eax, %ebx
        mov     $-1, A
        smsw    %ax
        check_equal %ax, %bx, 1
        movw    $0, stored
        smsw    stored
        check_equal %bx, stored, 2
.if BITS != 16
        enter_user
        movw    $0, stored
        smsw    stored
        check_equal %bx, stored, 3
        smsw    %ax
        check_equal %ax, %bx, 4
        raises  GP, 0, 5, lmsw %ax
        enter_kernel
        mov     %ebx, %eax
        and     $~1, %eax
        or      $8, %eax                # TS
        lmsw    %ax
        mov     %cr0, A
        mov     %ebx, %ecx
        or      $8, %ecx
        check_equal %eax, %ecx, 6
        clts
        mov     %ebx, %edi
        umip_on done
        smsw    %ax
        check_equal %ax, %di, 7
        enter_user
        raises  GP, 0, 8, smsw %eax
        raises  GP, 0, 9, smsw stored
        enter_kernel
.endif
done:
        pass
stored:
        .word   0
