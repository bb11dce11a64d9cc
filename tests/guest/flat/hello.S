# Says hello on the serial line.
        .include "guest.inc"
main:
        mov     $text, SI
        call    say
        pass
text:
        .asciz  "hello\n"
