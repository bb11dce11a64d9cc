/*
 * The reset control register at port 0xCF9.
 *
 * Source:  Intel ICH data sheets, "RST_CNT—Reset Control Register"; ACPI, "Reset Register".
 * Owner:   the machine embeds a struct reset_control. Thread: device lock. Freestanding.
 */
#ifndef TRAPEZE_CHIPSET_RESET_H
#define TRAPEZE_CHIPSET_RESET_H

#include <stdint.h>

#include "vm/bus.h"
#include "vm/outcome.h"

/*
 * The register lies within PCI's configuration address register at 0xCF8 and answers byte accesses
 * only: a doubleword write there is a configuration address, whatever its second byte is. So PCI
 * has these four ports, and passes bytes and words on to reset_control_io; offsets are from
 * RESET_PORTS_BASE.
 */
#define RESET_PORTS_BASE 0xcf8
#define RESET_PORT       0xcf9 /* the FADT's RESET_REG */
#define RESET_ACPI_VALUE 0x06  /* the FADT's RESET_VALUE: a hard reset */

struct reset_control_config {
    struct machine_control control; /* stop(VM_RESET, 0) */
};

struct reset_control {
    struct machine_control control;
    uint8_t value; /* SYS_RST and FULL_RST as written */
};

void reset_control_init(struct reset_control *reset, const struct reset_control_config *config);
void reset_control_reset(struct reset_control *reset);

bus_io_fn reset_control_io;

#endif
