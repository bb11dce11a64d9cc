# Nonsense in control registers, EFER, XCR0 and debug registers: #GP, and nothing has changed.
        .include "guest.inc"
        .equ EFER, 0xc0000080
.macro wrong_efer set, clear, number
        mov     $EFER, %ecx
        rdmsr
        mov     %eax, %ebx
        or      $\set, %eax
        and     $~\clear, %eax
        raises  GP, 0, \number, wrmsr
        rdmsr
        check_equal %eax, %ebx, \number
.endm
.macro wrong_control register, set, clear, number
        mov     %\register, A
        mov     A, B
        or      $\set, A
        and     $~\clear, A
        raises  GP, 0, \number, mov A, %\register
        mov     %\register, A
        check_equal A, B, \number
.endm
main:
.if BITS == 16
        mov     %cr0, %eax
        mov     %eax, %ebx
        or      $0x80000000, %eax       # PG without PE
        raises  GP, 0, 1, mov %eax, %cr0
        mov     %cr0, %eax
        check_equal %eax, %ebx, 1
.else
        wrong_control cr0, 0x20000000, 0x40000000, 1    # NW without CD
        wrong_control cr4, 0x00008000, 0, 2             # a reserved bit
        wrong_control cr4, 0x40000000, 0, 3
        wrong_efer 2, 0, 4
        wrong_efer 0x80, 0, 5
        mov     $EFER, %ecx
        rdmsr
        mov     $1, %edx
        raises  GP, 0, 6, wrmsr
        raises  UD, 0, 7, .byte 0x0f, 0x22, 0xc8        # there is no CR1
        raises  UD, 0, 8, .byte 0x0f, 0x22, 0xe8        # nor CR5
.if BITS == 64
        mov     %cr0, A
        bts     $32, A
        raises  GP, 0, 10, mov A, %cr0
        mov     %cr0, A
        and     $~1, A                  # PG without PE
        raises  GP, 0, 11, mov A, %cr0
        mov     %cr4, A
        bts     $32, A
        raises  GP, 0, 12, mov A, %cr4
        mov     %cr4, A
        and     $~0x20, A               # long mode without PAE
        raises  GP, 0, 13, mov A, %cr4
        mov     %cr3, A
        bts     $60, A
        raises  GP, 0, 14, mov A, %cr3
        mov     $16, A
        raises  GP, 0, 15, mov A, %cr8
        wrong_efer 0, 0x100, 16         # LME while paging is on
        mov     $0x7, %eax
        mov     %cr8, B
        mov     A, %cr8
        mov     %cr8, C
        check_equal A, C, 17
        mov     B, %cr8
        mov     $1, A
        shl     $32, A
        raises  GP, 0, 18, mov A, %dr7
        raises  GP, 0, 19, mov A, %dr6
        mov     %cr0, A
        check_equal %eax, %eax, 20
.endif
# Debug registers.
        xor     %eax, %eax
        mov     A, %dr7
        mov     %dr7, A
        check_equal A, $0x400, 30
        mov     %cr4, A
        or      $8, A                   # DE: DR4 and DR5 are gone
        mov     A, %cr4
        raises  UD, 0, 31, .byte 0x0f, 0x21, 0xe0
        mov     %cr4, A
        and     $~8, A
        mov     A, %cr4
        mov     %dr4, A                 # else they are DR6 and DR7
        mov     %dr6, B
        check_equal A, B, 32
        mov     $0x2400, %eax           # GD: the next access traps, and switches it off
        mov     A, %dr7
        raises  1, 0, 33, mov %dr0, A
        mov     %dr6, A
        and     $0x2000, %eax
        check_equal %eax, $0x2000, 34
        mov     %dr7, A
        check_equal A, $0x400, 35
# XCR0, where there is one.
        mov     $1, %eax
        cpuid
        test    $1 << 26, %ecx
        jz      done
        xor     %ecx, %ecx
        raises  UD, 0, 40, xgetbv       # CR4.OSXSAVE is off
        mov     %cr4, A
        or      $0x40000, A
        mov     A, %cr4
        xgetbv
        check_equal %eax, $1, 41
        xor     %edx, %edx
        mov     $0, %eax                # x87 can't be off
        raises  GP, 0, 42, xsetbv
        mov     $5, %eax                # AVX without SSE
        raises  GP, 0, 43, xsetbv
        mov     $0x80000001, %eax
        raises  GP, 0, 44, xsetbv
        mov     $1, %eax
        mov     $0x80000000, %edx
        raises  GP, 0, 45, xsetbv
        xor     %edx, %edx
        mov     $1, %ecx                # there is no XCR1
        mov     $1, %eax
        raises  GP, 0, 46, xsetbv
        xor     %ecx, %ecx
        mov     $3, %eax
        xsetbv
        xgetbv
        check_equal %eax, $3, 47
        enter_user
        xor     %ecx, %ecx
        xgetbv                          # reading is not privileged
        check_equal %eax, $3, 48
        raises  GP, 0, 49, xsetbv
        enter_kernel
.endif
done:
        pass
