/*
 * The I/O APIC: 24 inputs turned into interrupt messages.
 *
 * Source:  Intel 82093AA I/O APIC data sheet, "IOAPIC Registers"; Intel ICH data sheets,
 *          "I/O Advanced Programmable Interrupt Controller" (the EOI register of version 0x20).
 * Owner:   the machine embeds a struct ioapic. Thread: under the device lock. Freestanding.
 *
 * An irq_line says "asserted" or not, so the polarity bit is kept but changes nothing: whoever
 * wires a low-active input says true when it pulls it low.
 */
#ifndef TRAPEZE_CHIPSET_IOAPIC_H
#define TRAPEZE_CHIPSET_IOAPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "vm/bus.h"
#include "vm/irq.h"

#define IOAPIC_BASE   0xfec00000u /* 4096 bytes: ioapic_io */
#define IOAPIC_SIZE   0x1000u
#define IOAPIC_INPUTS 24

#define IOAPIC_VERSION_82093AA 0x11
#define IOAPIC_VERSION_EOI     0x20 /* has the EOI register */

struct ioapic_config {
    uint8_t id;      /* what the MADT says */
    uint8_t version; /* IOAPIC_VERSION_… */
    /*
     * Sends a message to the local APICs (lapics_msi). Returns false if nobody accepted it; a
     * level-triggered input then stays ready to be sent again.
     */
    bool (*deliver)(void *context, const struct msi_message *message);
    /* What an unmasked input will send from now on; NULL if nobody needs to know. */
    void (*routed)(void *context, unsigned int input, const struct msi_message *message);
    void *context;
};

struct ioapic {
    struct ioapic_config config;
    uint8_t id;
    uint8_t select;                      /* IOREGSEL */
    uint32_t lines;                      /* levels of the inputs now */
    uint64_t redirection[IOAPIC_INPUTS]; /* IOREDTBL */
};

void ioapic_init(struct ioapic *ioapic, const struct ioapic_config *config);
void ioapic_reset(struct ioapic *ioapic);

/* An irq_line target: ioapic is a struct ioapic, index an input 0..23. */
void ioapic_set_irq(void *ioapic, unsigned int index, bool level);

/* A local APIC's EOI broadcast for a level-triggered vector. */
void ioapic_eoi(void *ioapic, uint8_t vector);

bus_io_fn ioapic_io;

#endif
