# LAR is not privileged: it shows descriptors, and hides with ZF = 0 those that the CPL may not see.
        .include "guest.inc"
.macro shows selector, rights, number
        mov     $\selector, %ecx
        mov     $0x55, %eax
        lar     %ecx, %eax
        check   z, \number
        and     $0xf0ff00, %eax
        check_equal %eax, $\rights, \number
.endm
.macro hides selector, number
        mov     $\selector, %ecx
        mov     $0x55, %eax
        lar     %ecx, %eax
        check   nz, \number
        check_equal %eax, $0x55, \number
.endm
main:
.if BITS == 16
        raises  UD, 0, 1, lar %cx, %ax
.else
.if BITS == 64
        .equ CODE_FLAGS, 0xa00000
.else
        .equ CODE_FLAGS, 0xc00000
.endif
        shows   KERNEL_CODE, CODE_FLAGS|0x9b00, 1
        shows   KERNEL_DATA, 0xc09300, 2
        shows   USER_DATA, 0xc0f300, 3
        hides   KERNEL_DATA|3, 4      # RPL 3 against DPL 0
        shows   CONFORMING|3, CODE_FLAGS|0x9f00, 5
        shows   TASK, 0x8b00, 6
        shows   GATE, 0xec00, 7
        shows   ABSENT_DATA, 0xc01300, 8
        hides   0, 9
        hides   BEYOND, 10
        hides   4, 11                   # there is no LDT
        enter_user
        hides   KERNEL_CODE, 12
        hides   KERNEL_DATA, 13
        shows   USER_CODE, CODE_FLAGS|0xfb00, 14
        shows   CONFORMING, CODE_FLAGS|0x9f00, 15
        hides   TASK, 16
        shows   GATE, 0xec00, 17
        enter_kernel
.endif
        pass
