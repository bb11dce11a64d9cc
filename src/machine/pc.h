/*
 * The machine type "pc": which devices there are, at which ports, on which lines.
 *
 * Purpose: the one place that knows the wiring; devices know neither each other nor their ports.
 * Owner:   the machine embeds a struct pc.
 * Thread:  init before the VM starts; afterwards the devices live under the device lock.
 */
#ifndef TRAPEZE_MACHINE_PC_H
#define TRAPEZE_MACHINE_PC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "boot/acpi.h"
#include "chipset/acpi_pm.h"
#include "chipset/debug_exit.h"
#include "chipset/i8042.h"
#include "chipset/pci.h"
#include "chipset/pit.h"
#include "chipset/post_code.h"
#include "chipset/pvpanic.h"
#include "chipset/reset.h"
#include "chipset/rtc.h"
#include "chipset/test_device.h"
#include "chipset/uart.h"
#include "machine/interrupts.h"
#include "vm/character.h"
#include "vm/outcome.h"
#include "vm/vm.h"

struct pc_config {
    struct vm *vm;
    uint64_t tsc_hz;
    uint8_t physical_address_bits;
    uint64_t memory_below_4g; /* bytes, for the CMOS */
    uint64_t memory_above_4g;
    uint16_t debug_exit_port;
    bool has_test_device;
    struct character_backend console; /* what COM1 is connected to */
    struct machine_control control;   /* whom devices tell that the run is over */
};

struct pc {
    struct interrupts interrupts;
    struct pit pit;
    struct rtc rtc;
    struct uart com1;
    struct i8042 i8042;
    struct pci pci;
    struct reset_control reset; /* at 0xCF9, within PCI's address register */
    struct acpi_pm acpi_pm;
    struct pvpanic pvpanic;
    struct post_code post_code;
    struct debug_exit debug_exit;
    struct test_device test_device; /* with has_test_device */
};

/* Initialises every device and maps it on the VM's buses. -EINVAL: the debug-exit port is taken. */
int pc_init(struct pc *pc, const struct pc_config *config, struct error *error);

/* The ACPI tables' view of this machine. */
struct acpi_config pc_acpi_config(unsigned int vcpu_count);

#endif
