# SGDT is not privileged: it tells CPL 3 the true GDTR, unless UMIP forbids it.
        .include "guest.inc"
main:
.if BITS == 16
        lgdt    register
        sgdt    stored
        mov     stored, %eax
        check_equal %eax, register, 1
        pass
register:
        .word   0x1234
        .long   0x567890                # the third byte of the base counts, the fourth does not
.else
        call    compare
        check   e, 1
        enter_user
        call    compare
        check   e, 2
        enter_kernel
        umip_on done
        call    compare
        check   e, 3
        enter_user
        raises  GP, 0, 4, sgdt stored
        enter_kernel
done:
        pass
compare:
        movl    $0, stored + 2
        sgdt    stored
        mov     stored, %eax
        cmp     gdt_register, %eax
        jne     1f
        mov     stored + 2, A
        cmp     gdt_register + 2, A
1:
        ret
.endif
        .balign 8
stored:
        .skip   10
