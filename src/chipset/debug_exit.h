/*
 * The debug-exit port: a guest that is a test says how it ended.
 *
 * Purpose: a write of 1, 2 or 4 bytes ends the run with VM_DEBUG_EXIT and that value as code.
 * Owner:   the machine embeds a struct debug_exit. Thread: under the device lock. Freestanding.
 */
#ifndef TRAPEZE_CHIPSET_DEBUG_EXIT_H
#define TRAPEZE_CHIPSET_DEBUG_EXIT_H

#include "vm/bus.h"
#include "vm/outcome.h"

#define DEBUG_EXIT_PORT  0xf4 /* default; DEBUG_EXIT_PORTS ports: debug_exit_io */
#define DEBUG_EXIT_PORTS 4

struct debug_exit_config {
    struct machine_control control;
};

struct debug_exit {
    struct machine_control control;
};

void debug_exit_init(struct debug_exit *debug_exit, const struct debug_exit_config *config);
void debug_exit_reset(struct debug_exit *debug_exit); /* nothing to forget */

bus_io_fn debug_exit_io;

#endif
