# Never ends.
        .include "guest.inc"
main:
        jmp     main
