/*
 * What exams of a virtual machine ask of the board beside a PC: a port that echoes, one to flush
 * with, one for each interrupt line, and a window of memory that is a device.
 *
 * Purpose: public test suites (kvm-unit-tests is one) need to raise an interrupt at a moment of
 *          their own choosing, and an address where each access must be emulated.
 * Owner:   the machine embeds a struct test_device. Thread: under the device lock. Freestanding.
 */
#ifndef TRAPEZE_CHIPSET_TEST_DEVICE_H
#define TRAPEZE_CHIPSET_TEST_DEVICE_H

#include <stdint.h>

#include "vm/bus.h"
#include "vm/irq.h"

#define TEST_DEVICE_LATCH_PORT  0xe0 /* reads back what was written */
#define TEST_DEVICE_LATCH_PORTS 4
#define TEST_DEVICE_FLUSH_PORT  0xe4 /* written to forget cached translations: nothing to do */
#define TEST_DEVICE_FLUSH_PORTS 4
#define TEST_DEVICE_LINES_PORT  0x2000 /* + n: bit 0 of a write is the level of line n */
#define TEST_DEVICE_LINES       24
#define TEST_DEVICE_WINDOW      UINT64_C(0xff000000)
#define TEST_DEVICE_WINDOW_SIZE UINT64_C(0x10000)

struct test_device_config {
    struct irq_line lines[TEST_DEVICE_LINES];
};

struct test_device {
    struct irq_line lines[TEST_DEVICE_LINES];
    uint8_t latch[TEST_DEVICE_LATCH_PORTS];
    uint8_t window[TEST_DEVICE_WINDOW_SIZE];
};

void test_device_init(struct test_device *device, const struct test_device_config *config);
void test_device_reset(struct test_device *device); /* clears the latch and the window */

bus_io_fn test_device_latch_io, test_device_flush_io, test_device_lines_io, test_device_window_io;

#endif
