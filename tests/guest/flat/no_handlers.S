# An exception without handlers: #UD, then #GP for want of a gate, then #DF, then the end.
        .include "guest.inc"
main:
        lidt    none
        .globl  guest_fault
guest_fault:
        ud2
none:
        .word   0
        .quad   0
