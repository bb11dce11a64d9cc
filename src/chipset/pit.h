/*
 * The 8254 programmable interval timer and port 61h.
 *
 * Purpose: channel 0 is IRQ 0; channel 2, gated by port 61h, is what kernels calibrate with. The
 *          counters are never stepped: each is computed from the clock when somebody looks.
 * Source:  Intel 8254 data sheet, "Mode Definitions", "Read Operations"; Intel PIIX/ICH data
 *          sheets, "NMI_SC—NMI Status and Control Register".
 * Owner:   the machine embeds a struct pit. Thread: under the device lock. Freestanding.
 */
#ifndef TRAPEZE_CHIPSET_PIT_H
#define TRAPEZE_CHIPSET_PIT_H

#include <stdbool.h>
#include <stdint.h>

#include "vm/bus.h"
#include "vm/irq.h"
#include "vm/timer.h"

#define PIT_PORT     0x40 /* 4 ports: pit_io */
#define PIT_PORT61   0x61 /* 1 port: pit_port61_io */
#define PIT_HZ       UINT64_C(1193182)
#define PIT_CHANNELS 3

struct pit_config {
    struct timer_host *timers;
    struct irq_line irq0;
};

/* The order in which a counter's two bytes are transferred. */
enum pit_access { PIT_ACCESS_LOW = 1, PIT_ACCESS_HIGH = 2, PIT_ACCESS_BOTH = 3 };

struct pit_channel {
    uint8_t mode; /* 0..5 */
    bool bcd;
    enum pit_access access;
    bool gate;

    bool loaded;      /* a whole count has been written since the control word */
    bool triggered;   /* modes 1 and 5: the gate has risen since then */
    uint32_t count;   /* the initial count in use: 1..65536 (10000 in BCD) */
    uint64_t start;   /* the tick at which the counter held it */
    uint64_t stopped; /* gate low: the tick at which it stopped */
    /* A count that is loaded at the next cycle (modes 2, 3) or trigger (1, 5); 0 if none. */
    uint32_t next_count;
    uint64_t next_start; /* modes 2, 3: the tick of that */

    bool write_high_next;
    bool read_high_next;
    uint8_t write_low;     /* the low byte that came first */
    uint8_t latched_bytes; /* how many bytes of latched_count are still to be read */
    uint16_t latched_count;
    bool status_latched;
    uint8_t latched_status;
};

struct pit {
    struct pit_channel channels[PIT_CHANNELS];
    struct timer_host *timers;
    struct irq_line irq0;
    struct timer timer; /* channel 0's next rising edge */
    uint64_t next_edge; /* the tick of that edge */
    uint64_t origin;    /* timer_host time of tick 0 */
    uint8_t port61;     /* bits 0..3 as written */
};

void pit_init(struct pit *pit, const struct pit_config *config);
void pit_reset(struct pit *pit);

bus_io_fn pit_io, pit_port61_io;

#endif
