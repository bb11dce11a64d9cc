# MOV to and from segment registers: loaded with every check, read back as loaded, RPL and all.
        .include "guest.inc"
.macro loads register, selector, number
        mov     $\selector, %eax
        mov     %eax, %\register
        mov     %\register, %eax
        check_equal %eax, $\selector, \number
.endm
.macro refuses register, selector, vector, number
        mov     $\selector, %eax
        raises  \vector, \selector&~3, \number, mov %eax, %\register
.endm
main:
.if BITS == 16
        mov     $0x1234, %ax
        mov     %ax, %fs
        mov     %fs, %bx
        check_equal %bx, $0x1234, 1
        movb    $77, 0x7300
        mov     $0x700, %ax
        mov     %ax, %gs
        mov     %gs:0x300, %bl
        check_equal %bl, $77, 2
        raises  UD, 0, 3, .byte 0x8e, 0xc8      # MOV to CS
.else
        loads   ds, USER_DATA, 1
        loads   ds, KERNEL_DATA, 2
        loads   es, READ_ONLY, 3
        loads   fs, KERNEL_CODE, 4
        loads   gs, 0, 5
        loads   gs, 3, 6                # null with an RPL is null
        refuses fs, KERNEL_DATA|3, GP, 7
        refuses fs, ABSENT_DATA, NP, 8
        refuses fs, EXECUTE_ONLY, GP, 9
        refuses fs, TASK, GP, 10
        refuses fs, BEYOND, GP, 11
        refuses fs, 4, GP, 12           # there is no LDT
        raises  UD, 0, 13, .byte 0x8e, 0xc8     # MOV to CS
        loads   ss, KERNEL_DATA, 14
        refuses ss, USER_DATA, GP, 15
        refuses ss, KERNEL_CODE, GP, 16
        refuses ss, ABSENT_DATA, SS, 17
.if BITS == 32
        refuses ss, 0, GP, 18
        loads   gs, 0, 19
        raises  GP, 0, 20, mov %gs:start, %al
        loads   es, READ_ONLY, 21
        raises  GP, 0, 22, mov %al, %es:start
        loads   es, KERNEL_DATA, 23
.else
        mov     $0, %eax                # 64-bit mode takes a null SS at CPL 0
        mov     %eax, %ss
        mov     %gs:start, %al          # and does not mind null segments
        mov     $KERNEL_DATA, %eax
        mov     %eax, %ss
.endif
        enter_user
        refuses fs, KERNEL_DATA, GP, 30
        refuses fs, KERNEL_CODE, GP, 31
        loads   fs, USER_DATA&~3, 32  # RPL 0 does not help and does not harm
        loads   fs, CONFORMING, 33
        loads   fs, 0, 34
        refuses ss, USER_DATA&~3, GP, 35
        refuses ss, 0, GP, 36
        enter_kernel
.endif
        pass
