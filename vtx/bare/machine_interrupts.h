/*
 * The machine's own interrupts, of which the image uses two: a timer and the serial port.
 *
 * Purpose: to be woken. The handlers do nothing but end the interrupt; whoever ran or slept looks
 *          at the clock and at the serial port afterwards.
 * Source:  Intel 8259A and 8254 data sheets.
 * Owner:   the machine's PIC and PIT are the image's; a guest has chipset/pic.c and pit.c.
 * Thread:  the first processor.
 */
#ifndef TRAPEZE_VTX_BARE_MACHINE_INTERRUPTS_H
#define TRAPEZE_VTX_BARE_MACHINE_INTERRUPTS_H

#include <stdint.h>

#define MACHINE_TIMER_MAX_NS UINT64_C(50000000) /* a later wake-up than this comes early */

/* Interrupts 0..15 at the vectors from VECTOR_PIC_FIRST on; all but the two are masked. */
void machine_interrupts_init(void);

/* Ends interrupt `line`; called by its handler. */
void machine_interrupts_handle(unsigned int line);

/* One timer interrupt after so many nanoseconds, in place of the one asked for before. */
void machine_timer_set(uint64_t nanoseconds);

/* Spins for about so long, by the PIT's other counter: at most 50 ms. */
void machine_spin(unsigned int microseconds);

#endif
