#include "chipset/debug_exit.h"

void debug_exit_init(struct debug_exit *debug_exit, const struct debug_exit_config *config)
{
    debug_exit->control = config->control;
}

void debug_exit_reset(struct debug_exit *debug_exit)
{
    (void)debug_exit;
}

void debug_exit_io(void *device, struct bus_access *access)
{
    const struct debug_exit *debug_exit = device;

    if (!access->is_write) {
        access->value = 0;
        return;
    }

    uint64_t mask = access->size >= 4 ? UINT32_MAX : (UINT64_C(1) << (8 * access->size)) - 1;

    debug_exit->control.stop(debug_exit->control.context, VM_DEBUG_EXIT,
                             (int)(access->value & mask & 0x7fffffff));
}
