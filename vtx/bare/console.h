/*
 * The serial port that the image talks on: the PC's first 16550, 115200 baud.
 *
 * Owner:   the port is the image's; a guest's own UART is chipset/uart.c.
 * Thread:  one processor at a time.
 */
#ifndef TRAPEZE_VTX_BARE_CONSOLE_H
#define TRAPEZE_VTX_BARE_CONSOLE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* Receive interrupts are on afterwards: IRQ 4. */
void console_init(void);

/* As they are. Waits for the port; gives a byte up that it does not take in a second or so. */
void console_write(const uint8_t *bytes, size_t length);

/* Waits until the last byte has left the port. */
void console_drain(void);

/* The next byte that has come in, or -1. */
int console_read(void);

/* Text from a format of format.h; a newline comes out as carriage return and newline. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
void print_arguments(const char *format, va_list arguments) __attribute__((format(printf, 1, 0)));

#endif
