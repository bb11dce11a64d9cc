#include "chipset/reset.h"

#include <stdbool.h>

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

void reset_control_io(void *device, struct bus_access *access)
{
    struct reset_control *reset = device;

    if (access->size != 1 || access->offset != RESET_PORT - RESET_PORTS_BASE) {
        access->value = UINT64_MAX; /* PCI's configuration address takes doublewords only */
        return;
    }
    if (!access->is_write) {
        access->value = reset->value;
        return;
    }

    /* Soft (an INIT of the CPU) and hard resets end the run alike: the machine starts afresh. */
    uint8_t value = (uint8_t)access->value;
    bool rising = (value & RESET_CPU) != 0 && (reset->value & RESET_CPU) == 0;

    reset->value = value & (RESET_SYSTEM | RESET_CPU | RESET_FULL);
    if (rising) {
        reset->control.stop(reset->control.context, VM_RESET, 0);
    }
}
