/*
 * ACPI fixed hardware: PM1a event and control registers, the PM timer, and a GPE block.
 *
 * Purpose: power off (S5), the power button, a clock of 3.579545 MHz, the SCI.
 * Source:  ACPI specification, "ACPI Hardware Specification": "PM1 Event Grouping", "PM1 Control
 *          Grouping", "Power Management Timer (PM Timer)", "General-Purpose Event Registers".
 * Owner:   the machine embeds a struct acpi_pm. Thread: under the device lock. Freestanding.
 *
 * The machine has no SMI_CMD: it is in ACPI mode always and SCI_EN reads as one.
 */
#ifndef TRAPEZE_CHIPSET_ACPI_PM_H
#define TRAPEZE_CHIPSET_ACPI_PM_H

#include <stdbool.h>
#include <stdint.h>

#include "vm/bus.h"
#include "vm/irq.h"
#include "vm/outcome.h"
#include "vm/timer.h"

#define ACPI_PM_PORT  0x600 /* default base; ACPI_PM_PORTS ports: acpi_pm_io */
#define ACPI_PM_PORTS 0x30
#define ACPI_PM_SCI   9 /* the usual input of PIC and IOAPIC, level-triggered */

/* Offsets from the base and lengths, for the FADT. */
#define ACPI_PM1A_EVENT          0x00
#define ACPI_PM1A_EVENT_LENGTH   4
#define ACPI_PM1A_CONTROL        0x04
#define ACPI_PM1A_CONTROL_LENGTH 2
#define ACPI_PM_TIMER            0x08
#define ACPI_PM_TIMER_LENGTH     4
#define ACPI_PM_GPE0             0x20
#define ACPI_PM_GPE0_LENGTH      4 /* 16 events: two bytes of status, two of enable */

#define ACPI_PM_SLEEP_TYPE_S5 5 /* SLP_TYPa of the DSDT's \_S5 */
#define ACPI_PM_TIMER_HZ      UINT64_C(3579545)

struct acpi_pm_config {
    struct timer_host *timers;
    struct irq_line sci;
    struct machine_control control; /* stop(VM_POWERED_OFF, 0) */
    bool timer_is_32_bit;           /* the FADT's TMR_VAL_EXT */
};

struct acpi_pm {
    struct acpi_pm_config config;
    uint16_t pm1_status, pm1_enable, pm1_control;
    uint16_t gpe0_status, gpe0_enable;
    uint64_t origin;          /* timer_host time at which the PM timer was 0 */
    uint64_t timer_halves;    /* how often its highest bit had changed when TMR_STS was cleared */
    struct timer carry_timer; /* the next change, while TMR_EN asks for it */
};

void acpi_pm_init(struct acpi_pm *pm, const struct acpi_pm_config *config);
void acpi_pm_reset(struct acpi_pm *pm);

/* A person pressed the power button: the guest gets PWRBTN_STS and, if it enabled that, an SCI. */
void acpi_pm_power_button(struct acpi_pm *pm);
/* The real-time clock asserted IRQ8: RTC_STS, and an SCI if the guest enabled that. */
void acpi_pm_rtc_alarm(struct acpi_pm *pm);
/* True if the guest has enabled the power button's event: it will do something about it. */
bool acpi_pm_power_button_enabled(const struct acpi_pm *pm);

/* General-purpose event 0..15 happened. */
void acpi_pm_general_event(struct acpi_pm *pm, unsigned int event);

bus_io_fn acpi_pm_io;

#endif
