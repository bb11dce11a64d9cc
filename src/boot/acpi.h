/*
 * The ACPI tables: RSDP, XSDT, FADT, FACS, DSDT, MADT, MCFG.
 *
 * Purpose: tell a stock guest about its CPUs, interrupt controllers, power management registers
 *          and legacy devices. Where those are is given as plain numbers, so that this knows
 *          nothing of src/chipset.
 * Source:  ACPI specification 6.5, "ACPI Software Programming Model".
 * Owner:   the caller's buffer. Thread: any.
 */
#ifndef TRAPEZE_BOOT_ACPI_H
#define TRAPEZE_BOOT_ACPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct acpi_config {
    unsigned int cpu_count; /* LAPIC ids are 0 .. cpu_count - 1 */
    uint32_t lapic_base;    /* guest physical */
    uint32_t ioapic_base;   /* guest physical; its inputs are GSI 0 and up */
    uint8_t ioapic_id;
    uint8_t sci_irq;    /* level-triggered, active high */
    bool timer_on_gsi2; /* ISA IRQ 0 arrives at IOAPIC input 2 */

    uint16_t pm1a_event_port;   /* 4 bytes: status, enable */
    uint16_t pm1a_control_port; /* 2 bytes; SCI_EN reads as one: always in ACPI mode */
    uint16_t pm_timer_port;     /* 4 bytes */
    bool pm_timer_is_32_bit;    /* else 24 */
    bool has_power_button;      /* the fixed one, PWRBTN_STS */
    uint16_t gpe0_port;         /* 4 bytes: 16 events, status and enable; 0: none */
    uint8_t sleep_type_s5;      /* SLP_TYP that powers off */
    uint16_t reset_port;
    uint8_t reset_value;

    bool has_com1;         /* 16550 at 0x3f8, IRQ 4 */
    bool has_rtc;          /* at 0x70, IRQ 8 */
    bool has_i8042;        /* a keyboard controller with a keyboard: 0x60 and 0x64, IRQ 1 */
    uint16_t pvpanic_port; /* 0: none */

    /* Bus 0 behind configuration mechanism #1, and where its devices' memory may lie. */
    uint32_t pci_memory_base; /* guest physical; 0: there is no PCI */
    uint32_t pci_memory_end;  /* the first address beyond */
    uint32_t pci_ecam_base;   /* BOOT_PCI_ECAM_SIZE bytes: bus 0's registers as memory; 0: none */
};

/* The machine as src/chipset builds it: power management at 0x600, IRQ 9, reset at 0xcf9. */
struct acpi_config acpi_config_default(unsigned int cpu_count);

/*
 * Builds all tables for guest physical address `base` (a multiple of 64). The RSDP comes first.
 *
 * length: set to the number of bytes used.
 * Errors: -EINVAL (the configuration), -ENOSPC (the tables need more than `capacity` bytes).
 */
int acpi_build(const struct acpi_config *config, uint64_t base, uint8_t *buffer, size_t capacity,
               size_t *length, struct error *error);

/* The body of the DSDT, without its header; 0 when it does not fit. boot/acpi_dsdt.c */
size_t acpi_dsdt_body(const struct acpi_config *config, uint8_t *buffer, size_t capacity);

#endif
