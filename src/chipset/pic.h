/*
 * The pair of 8259A programmable interrupt controllers of a PC, with the ELCR.
 *
 * Purpose: interrupt lines 0 to 15 to one INTR output, the second chip cascaded on line 2.
 * Source:  Intel 8259A data sheet, "Initialization Command Words", "Operation Command Words";
 *          Intel PIIX/ICH data sheets, "ELCR1/ELCR2—Edge/Level Control Registers".
 * Owner:   the machine embeds a struct pic. Thread: under the device lock. Freestanding.
 */
#ifndef TRAPEZE_CHIPSET_PIC_H
#define TRAPEZE_CHIPSET_PIC_H

#include <stdbool.h>
#include <stdint.h>

#include "vm/bus.h"
#include "vm/irq.h"

#define PIC_PRIMARY_PORT   0x20  /* 2 ports: pic_primary_io */
#define PIC_SECONDARY_PORT 0xa0  /* 2 ports: pic_secondary_io */
#define PIC_ELCR_PORT      0x4d0 /* 2 ports: pic_elcr_io */
#define PIC_LINES          16
#define PIC_CASCADE_LINE   2

struct pic_config {
    struct irq_line output; /* INTR: usually LINT0 of the local APICs */
};

enum pic_expect { PIC_EXPECT_NOTHING, PIC_EXPECT_ICW2, PIC_EXPECT_ICW3, PIC_EXPECT_ICW4 };

/* One 8259A; register names as in the data sheet. */
struct pic_chip {
    uint8_t irr;       /* interrupt request register */
    uint8_t isr;       /* in-service register */
    uint8_t imr;       /* interrupt mask register */
    uint8_t lines;     /* levels of the inputs now */
    uint8_t elcr;      /* 1: that input is level-triggered */
    uint8_t elcr_mask; /* which bits of ELCR can be set */
    uint8_t vector_base;
    uint8_t lowest_priority; /* which input has the lowest priority (7 after ICW1) */
    uint8_t cascade_mask;    /* inputs with another chip behind them: wired, not programmed */
    enum pic_expect expect;  /* which initialization word comes next */
    bool icw4_needed;
    bool single;
    bool level_triggered; /* ICW1 LTIM: all inputs */
    bool special_fully_nested;
    bool auto_eoi;
    bool rotate_on_auto_eoi;
    bool special_mask;
    bool read_isr; /* OCW3: the next read shows ISR, else IRR */
    bool poll;     /* OCW3: the next read is a poll */
};

struct pic {
    struct pic_chip chips[2]; /* primary, secondary */
    struct irq_line output;
    bool output_level;
    bool keeps_edges; /* see pic_keep_edges */
};

void pic_init(struct pic *pic, const struct pic_config *config);
void pic_reset(struct pic *pic);

/*
 * From now on an edge is remembered even when its line falls before INTA, as KVM's and QEMU's 8259
 * have it: exams written for those pulse a line. Hardware would take the request back.
 */
void pic_keep_edges(struct pic *pic);

/* An irq_line target: pic is a struct pic, index an input 0..15 (2 is not connected). */
void pic_set_irq(void *pic, unsigned int index, bool level);

/*
 * The CPU's INTA sequence. Returns the vector, that of input 7 or 15 for a request that went away
 * meanwhile ("spurious").
 */
int pic_acknowledge(struct pic *pic);

/* The INTR output. */
static inline bool pic_output(const struct pic *pic)
{
    return pic->output_level;
}

bus_io_fn pic_primary_io, pic_secondary_io, pic_elcr_io;

#endif
