#include "vtx/bare/console.h"

#include <stdbool.h>

#include "vtx/bare/format.h"
#include "vtx/bare/ports.h"

/* National Semiconductor PC16550D data sheet, "Registers". */
#define BASE           0x3f8
#define DATA           (BASE + 0)
#define IER            (BASE + 1)
#define FCR            (BASE + 2)
#define LCR            (BASE + 3)
#define MCR            (BASE + 4)
#define LSR            (BASE + 5)
#define IER_RECEIVED   0x01
#define FCR_ENABLE     0x07 /* and clears both FIFOs */
#define LCR_8N1        0x03
#define LCR_DIVISOR    0x80
#define MCR_ON         0x0b /* DTR, RTS, and OUT2: the interrupt leads to the PIC */
#define LSR_RECEIVED   0x01
#define LSR_THR_EMPTY  0x20
#define LSR_IDLE       0x40
#define PATIENCE_READS 1000000

#define LINE_MAX 1024

void console_init(void)
{
    port_write8(IER, 0);
    port_write8(LCR, LCR_DIVISOR);
    port_write8(DATA, 1); /* 115200 baud */
    port_write8(IER, 0);
    port_write8(LCR, LCR_8N1);
    port_write8(FCR, FCR_ENABLE);
    port_write8(MCR, MCR_ON);
    port_write8(IER, IER_RECEIVED);
}

static void put(uint8_t byte)
{
    for (unsigned int i = 0; i < PATIENCE_READS; i++) {
        if ((port_read8(LSR) & LSR_THR_EMPTY) != 0) {
            port_write8(DATA, byte);
            return;
        }
    }
}

void console_write(const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        put(bytes[i]);
    }
}

void console_drain(void)
{
    for (unsigned int i = 0; i < PATIENCE_READS && (port_read8(LSR) & LSR_IDLE) == 0; i++) {
    }
}

int console_read(void)
{
    uint8_t status = port_read8(LSR);
    bool is_there = status != 0xff; /* what a port reads that nobody drives */
    return is_there && (status & LSR_RECEIVED) != 0 ? port_read8(DATA) : -1;
}

void print_arguments(const char *format, va_list arguments)
{
    char text[LINE_MAX];
    format_text(text, sizeof(text), format, arguments);
    for (const char *at = text; *at != 0; at++) {
        if (*at == '\n') {
            put('\r');
        }
        put((uint8_t)*at);
    }
}

void print(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_arguments(format, arguments);
    va_end(arguments);
}
