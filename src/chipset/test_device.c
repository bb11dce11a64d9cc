#include "chipset/test_device.h"

#include <string.h>

#include "chipset/byte_access.h"

void test_device_init(struct test_device *device, const struct test_device_config *config)
{
    memcpy(device->lines, config->lines, sizeof(device->lines));
    test_device_reset(device);
}

void test_device_reset(struct test_device *device)
{
    memset(device->latch, 0, sizeof(device->latch));
    memset(device->window, 0, sizeof(device->window));
}

static uint8_t read_latch(void *context, uint64_t offset)
{
    struct test_device *device = context;
    return device->latch[offset % TEST_DEVICE_LATCH_PORTS];
}

static void write_latch(void *context, uint64_t offset, uint8_t value)
{
    struct test_device *device = context;
    device->latch[offset % TEST_DEVICE_LATCH_PORTS] = value;
}

void test_device_latch_io(void *device, struct bus_access *access)
{
    byte_access(device, access, read_latch, write_latch);
}

void test_device_flush_io(void *device, struct bus_access *access)
{
    (void)device;
    if (!access->is_write) {
        access->value = 0;
    }
}

/* A port is a line, whatever the width of the access. */
void test_device_lines_io(void *context, struct bus_access *access)
{
    struct test_device *device = context;
    if (!access->is_write) {
        access->value = 0;
    } else if (access->offset < TEST_DEVICE_LINES) {
        irq_line_set(&device->lines[access->offset], (access->value & 1) != 0);
    }
}

static uint8_t read_window(void *context, uint64_t offset)
{
    struct test_device *device = context;
    return device->window[offset % TEST_DEVICE_WINDOW_SIZE];
}

static void write_window(void *context, uint64_t offset, uint8_t value)
{
    struct test_device *device = context;
    device->window[offset % TEST_DEVICE_WINDOW_SIZE] = value;
}

void test_device_window_io(void *device, struct bus_access *access)
{
    byte_access(device, access, read_window, write_window);
}
