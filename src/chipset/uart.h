/*
 * A 16550A UART with its FIFOs.
 *
 * Source:  National Semiconductor PC16550D data sheet, "Registers", "FIFO Interrupt Mode
 *          Operation".
 * Owner:   the machine embeds a struct uart. Thread: under the device lock. Freestanding.
 *
 * Characters leave at once, whatever the divisor says, as long as the backend takes them; then the
 * transmitter fills up and the guest waits as it would for a slow line.
 *
 * Input is offered room only once the guest listens: RTS is set, or the receive interrupt has been
 * on for a while, or it does nothing but read LSR. Drivers empty the receiver when they probe and
 * again after they enabled interrupts, and typed-ahead or piped input would be lost; RTS ("ready to
 * receive"), which they raise last, is the line by which a real terminal waits.
 */
#ifndef TRAPEZE_CHIPSET_UART_H
#define TRAPEZE_CHIPSET_UART_H

#include <stdbool.h>
#include <stdint.h>

#include "vm/bus.h"
#include "vm/character.h"
#include "vm/irq.h"
#include "vm/timer.h"

#define UART_COM1_PORT 0x3f8 /* 8 ports: uart_io; IRQ 4 */
#define UART_COM2_PORT 0x2f8 /* IRQ 3 */
#define UART_PORTS     8
#define UART_FIFO_SIZE 16

struct uart_config {
    struct timer_host *timers;
    struct irq_line irq;
    struct character_backend backend;
};

struct uart_fifo {
    uint8_t bytes[UART_FIFO_SIZE];
    uint8_t first, count;
};

/* Register names as in the data sheet. */
struct uart {
    struct uart_config config;
    uint8_t ier, fcr, lcr, mcr, scr;
    uint8_t lsr; /* OE, PE, FE, BI; the rest is computed */
    uint8_t msr; /* deltas; the levels are computed */
    uint16_t divisor;
    struct uart_fifo receive, transmit;
    bool thre_pending;    /* the THRE interrupt has not been acknowledged yet */
    bool timeout_pending; /* characters below the trigger level have waited */
    bool was_full;        /* room() said 0: tell the backend when that changes */
    bool listens;         /* the guest wants input though it has not raised RTS */
    uint8_t lsr_reads;    /* in a row, with nothing in between */
    struct timer timeout_timer;
    struct timer transmit_timer; /* the backend was full: try again */
    struct timer listen_timer;   /* the receive interrupt is on: still, when this expires? */
};

void uart_init(struct uart *uart, const struct uart_config *config);
void uart_reset(struct uart *uart);

/* The device's side of the character contract. */
struct character_device uart_character_device(struct uart *uart);
size_t uart_receive_room(void *uart);
void uart_receive(void *uart, const uint8_t *bytes, size_t length);

bus_io_fn uart_io;

#endif
