/*
 * The 8042 keyboard controller, with no keyboard and no mouse attached.
 *
 * Purpose: its output port: the A20 gate and the line that resets the CPU.
 * Source:  IBM PS/2 technical reference, "Keyboard and Auxiliary Device Controller".
 * Owner:   the machine embeds a struct i8042. Thread: under the device lock. Freestanding.
 *
 * A20 is never masked: the bit is kept and read back, addresses do not wrap.
 */
#ifndef TRAPEZE_CHIPSET_I8042_H
#define TRAPEZE_CHIPSET_I8042_H

#include <stdbool.h>
#include <stdint.h>

#include "vm/bus.h"
#include "vm/irq.h"
#include "vm/outcome.h"

#define I8042_DATA_PORT   0x60 /* 1 port: i8042_data_io */
#define I8042_STATUS_PORT 0x64 /* 1 port: i8042_status_io */
#define I8042_PORT92      0x92 /* 1 port: i8042_port92_io, "fast A20 and reset" */

struct i8042_config {
    struct irq_line irq1;
    struct irq_line irq12;
    struct machine_control control; /* stop(VM_RESET, 0) */
};

struct i8042 {
    struct i8042_config config;
    uint8_t status;
    uint8_t command; /* the command byte ("CTR") */
    uint8_t output_port;
    uint8_t data;            /* the output buffer */
    uint8_t pending_command; /* waits for its data byte; 0 if none */
    uint8_t ram[32];
    uint8_t port92;
};

void i8042_init(struct i8042 *i8042, const struct i8042_config *config);
void i8042_reset(struct i8042 *i8042);

bus_io_fn i8042_data_io, i8042_status_io, i8042_port92_io;

#endif
