/*
 * The POST code port and its like: a latch that firmware writes progress to and that kernels write
 * to as a short delay.
 *
 * Owner:   the machine embeds a struct post_code. Thread: under the device lock. Freestanding.
 */
#ifndef TRAPEZE_CHIPSET_POST_CODE_H
#define TRAPEZE_CHIPSET_POST_CODE_H

#include <stdint.h>

#include "vm/bus.h"

#define POST_CODE_PORT       0x80 /* 1 port: post_code_io */
#define POST_CODE_DELAY_PORT 0xed /* 1 port: the other delay port, likewise */

struct post_code {
    uint8_t value; /* the last byte written */
};

void post_code_init(struct post_code *post_code);
void post_code_reset(struct post_code *post_code);

bus_io_fn post_code_io;

#endif
