/*
 * Port input and output, and the few other instructions that the image needs for itself.
 *
 * Owner, thread: none; each acts on the processor that calls it.
 */
#ifndef TRAPEZE_VTX_BARE_PORTS_H
#define TRAPEZE_VTX_BARE_PORTS_H

#include <stdint.h>

static inline void port_write8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t port_read8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/* Interrupts that wait are taken; they are off again afterwards. */
static inline void processor_let_interrupts_in(void)
{
    __asm__ volatile("sti; nop; cli" : : : "memory");
}

/* Sleeps until an interrupt has been taken; they are off before and after. */
static inline void processor_sleep(void)
{
    __asm__ volatile("sti; hlt; cli" : : : "memory");
}

#endif
