#include "chipset/pvpanic.h"

#include "chipset/byte_access.h"

void pvpanic_init(struct pvpanic *pvpanic, const struct pvpanic_config *config)
{
    pvpanic->control = config->control;
}

void pvpanic_reset(struct pvpanic *pvpanic)
{
    (void)pvpanic;
}

static uint8_t read_events(void *device, uint64_t offset)
{
    (void)device;
    return offset == 0 ? PVPANIC_PANICKED | PVPANIC_CRASH_LOADED : 0xff;
}

static void write_event(void *device, uint64_t offset, uint8_t value)
{
    const struct pvpanic *pvpanic = device;

    /* With CRASH_LOADED alone the guest goes on, to save its dump. */
    if (offset == 0 && (value & PVPANIC_PANICKED) != 0) {
        pvpanic->control.stop(pvpanic->control.context, VM_PANICKED, 0);
    }
}

void pvpanic_io(void *device, struct bus_access *access)
{
    byte_access(device, access, read_events, write_event);
}
