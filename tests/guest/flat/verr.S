# VERR and VERW are not privileged: ZF tells whether a segment could be read or written.
        .include "guest.inc"
.macro verifies instruction, selector, condition, number
        mov     $\selector, %eax
        \instruction %ax
        check   \condition, \number
.endm
main:
.if BITS == 16
        raises  UD, 0, 1, verr %ax
        raises  UD, 0, 2, verw %ax
.else
        verifies verr, KERNEL_CODE, z, 1
        verifies verw, KERNEL_CODE, nz, 2
        verifies verr, KERNEL_DATA, z, 3
        verifies verw, KERNEL_DATA, z, 4
        verifies verr, READ_ONLY, z, 5
        verifies verw, READ_ONLY, nz, 6
        verifies verr, EXECUTE_ONLY, nz, 7
        verifies verr, TASK, nz, 8
        verifies verr, 0, nz, 9
        verifies verr, BEYOND, nz, 10
        verifies verr, KERNEL_DATA | 3, nz, 11
        enter_user
        verifies verr, KERNEL_DATA, nz, 12
        verifies verw, KERNEL_DATA, nz, 13
        verifies verr, CONFORMING, z, 14
        verifies verr, USER_DATA, z, 15
        verifies verw, USER_DATA, z, 16
        verifies verw, USER_CODE, nz, 17
        enter_kernel
.endif
        pass
