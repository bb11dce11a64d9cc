# LSL is not privileged: it shows limits, and hides with ZF = 0 those that the CPL may not see.
        .include "guest.inc"
.macro shows selector, limit, number
        mov     $\selector, %ecx
        mov     $0x55, %eax
        lsl     %ecx, %eax
        check   z, \number
        check_equal %eax, $\limit, \number
.endm
.macro hides selector, number
        mov     $\selector, %ecx
        mov     $0x55, %eax
        lsl     %ecx, %eax
        check   nz, \number
        check_equal %eax, $0x55, \number
.endm
main:
.if BITS == 16
        raises  UD, 0, 1, lsl %cx, %ax
.else
        shows   KERNEL_CODE, 0xffffffff, 1
        shows   READ_ONLY, 0xffff, 2
        shows   TASK, task_end-task-1, 3
        hides   GATE, 4                 # has no limit
        hides   0, 5
        hides   BEYOND, 6
        enter_user
        hides   KERNEL_DATA, 7
        shows   USER_DATA, 0xffffffff, 8
        shows   CONFORMING, 0xffffffff, 9
        hides   TASK, 10
        enter_kernel
.endif
        pass
