# Halts with interrupts off: nothing can wake it.
        .include "guest.inc"
main:
        cli
        hlt
        fail    1
