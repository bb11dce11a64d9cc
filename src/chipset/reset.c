#include "chipset/reset.h"

#include "chipset/byte_access.h"

#define RESET_SYSTEM 0x02 /* SYS_RST: hard rather than soft reset */
#define RESET_CPU    0x04 /* RST_CPU: its rising edge resets */
#define RESET_FULL   0x08 /* FULL_RST: a hard reset also cycles the power */

void reset_control_init(struct reset_control *reset, const struct reset_control_config *config)
{
    *reset = (struct reset_control){.control = config->control};
}

void reset_control_reset(struct reset_control *reset)
{
    reset->value = 0;
}

static uint8_t read_value(void *device, uint64_t offset)
{
    const struct reset_control *reset = device;

    return offset == 0 ? reset->value : 0xff;
}

static void write_value(void *device, uint64_t offset, uint8_t value)
{
    struct reset_control *reset = device;

    if (offset != 0) {
        return;
    }

    /* Soft (an INIT of the CPU) and hard resets end the run alike: the machine starts afresh. */
    bool rising = (value & RESET_CPU) != 0 && (reset->value & RESET_CPU) == 0;

    reset->value = value & (RESET_SYSTEM | RESET_CPU | RESET_FULL);
    if (rising) {
        reset->control.stop(reset->control.context, VM_RESET, 0);
    }
}

void reset_control_io(void *device, struct bus_access *access)
{
    byte_access(device, access, read_value, write_value);
}
