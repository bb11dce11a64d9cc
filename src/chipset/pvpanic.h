/*
 * pvpanic: a guest kernel that panicked says so.
 *
 * Source:  the paravirtual panic device that Linux drives with CONFIG_PVPANIC (ACPI id QEMU0001):
 *          a byte of events, reads tell which are known.
 * Owner:   the machine embeds a struct pvpanic. Thread: under the device lock. Freestanding.
 */
#ifndef TRAPEZE_CHIPSET_PVPANIC_H
#define TRAPEZE_CHIPSET_PVPANIC_H

#include "vm/bus.h"
#include "vm/outcome.h"

#define PVPANIC_PORT    0x505 /* 1 port: pvpanic_io */
#define PVPANIC_ACPI_ID "QEMU0001"

#define PVPANIC_PANICKED     0x01 /* the kernel panicked */
#define PVPANIC_CRASH_LOADED 0x02 /* it panicked and now starts a kernel that saves a dump */

struct pvpanic_config {
    struct machine_control control; /* stop(VM_PANICKED, 0) */
};

struct pvpanic {
    struct machine_control control;
};

void pvpanic_init(struct pvpanic *pvpanic, const struct pvpanic_config *config);
void pvpanic_reset(struct pvpanic *pvpanic); /* nothing to forget */

bus_io_fn pvpanic_io;

#endif
