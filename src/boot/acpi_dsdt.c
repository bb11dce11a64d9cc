/* The DSDT: what a guest can't find out by itself. In ASL it would read as the comments do. */
#include "boot/acpi.h"
#include "boot/aml.h"
#include "boot/layout.h"

/* Name (_HID, EISAID (id))  Name (_UID, uid) */
static void add_identity(struct aml *aml, const char *eisa_id, unsigned int uid)
{
    aml_name(aml, "_HID");
    aml_eisa_id(aml, eisa_id);
    aml_name(aml, "_UID");
    aml_integer(aml, uid);
}

/* Name (\_S5, Package () {SLP_TYPa, SLP_TYPb, 0, 0}) */
static void add_soft_off(struct aml *aml, uint8_t sleep_type)
{
    aml_name(aml, "\\_S5_");
    aml_package_begin(aml, 4);
    aml_integer(aml, sleep_type);
    aml_integer(aml, sleep_type);
    aml_integer(aml, 0);
    aml_integer(aml, 0);
    aml_end(aml);
}

/* Name (_CRS, ResourceTemplate () {IO …, IRQNoFlags () {irq}}) */
static void add_isa_resources(struct aml *aml, uint16_t port, uint8_t length, unsigned int irq)
{
    aml_name(aml, "_CRS");
    aml_resources_begin(aml);
    aml_resource_io(aml, port, length);
    aml_resource_irq(aml, irq);
    aml_resources_end(aml);
}

static void add_com1(struct aml *aml)
{
    aml_device_begin(aml, "COM1");
    add_identity(aml, "PNP0501", 1);
    add_isa_resources(aml, 0x3f8, 8, 4);
    aml_end(aml);
}

static void add_rtc(struct aml *aml)
{
    aml_device_begin(aml, "RTC0");
    add_identity(aml, "PNP0B00", 0);
    add_isa_resources(aml, 0x70, 2, 8);
    aml_end(aml);
}

static void add_i8042(struct aml *aml)
{
    aml_device_begin(aml, "KBD0");
    add_identity(aml, "PNP0303", 0);
    aml_name(aml, "_CRS");
    aml_resources_begin(aml);
    aml_resource_io(aml, 0x60, 1);
    aml_resource_io(aml, 0x64, 1);
    aml_resource_irq(aml, 1);
    aml_resources_end(aml);
    aml_end(aml);
}

/* The panic notifier that QEMU made known, by the identifier that guests look for. */
static void add_pvpanic(struct aml *aml, uint16_t port)
{
    aml_device_begin(aml, "PEVT");
    aml_name(aml, "_HID");
    aml_string(aml, "QEMU0001");
    aml_name(aml, "_CRS");
    aml_resources_begin(aml);
    aml_resource_io(aml, port, 1);
    aml_resources_end(aml);
    aml_end(aml);
}

/*
 * The root of PCI: bus 0 alone, behind configuration mechanism #1 (8 ports, which the bridge
 * keeps). No device has an interrupt pin so far, so the routing table is empty.
 */
static void add_pci(struct aml *aml, const struct acpi_config *config)
{
    aml_device_begin(aml, "PCI0");
    add_identity(aml, "PNP0A03", 0);
    aml_name(aml, "_CRS");
    aml_resources_begin(aml);
    aml_resource_bus_numbers(aml, 0, 0);
    aml_resource_io_window(aml, 0x0000, 0x0cf7);
    aml_resource_io(aml, 0x0cf8, 8);
    aml_resource_io_window(aml, 0x0d00, 0xffff);
    aml_resource_memory_window(aml, 0xa0000, 0xbffff);
    aml_resource_memory_window(aml, config->pci_memory_base, config->pci_memory_end - 1);
    aml_resources_end(aml);
    aml_name(aml, "_PRT");
    aml_package_begin(aml, 0);
    aml_end(aml);
    aml_end(aml);
}

/* Motherboard resources: guests use the MCFG's place only where firmware reserves it here, too. */
static void add_pci_ecam(struct aml *aml, uint32_t base)
{
    aml_device_begin(aml, "ECAM");
    add_identity(aml, "PNP0C02", 0);
    aml_name(aml, "_CRS");
    aml_resources_begin(aml);
    aml_resource_memory32(aml, base, (uint32_t)BOOT_PCI_ECAM_SIZE);
    aml_resources_end(aml);
    aml_end(aml);
}

size_t acpi_dsdt_body(const struct acpi_config *config, uint8_t *buffer, size_t capacity)
{
    struct aml aml;
    aml_start(&aml, buffer, capacity);
    add_soft_off(&aml, config->sleep_type_s5);
    aml_scope_begin(&aml, "\\_SB_");
    if (config->pci_memory_base != 0) {
        add_pci(&aml, config);
    }
    if (config->pci_ecam_base != 0) {
        add_pci_ecam(&aml, config->pci_ecam_base);
    }
    if (config->has_com1) {
        add_com1(&aml);
    }
    if (config->has_rtc) {
        add_rtc(&aml);
    }
    if (config->has_i8042) {
        add_i8042(&aml);
    }
    if (config->pvpanic_port != 0) {
        add_pvpanic(&aml, config->pvpanic_port);
    }
    aml_end(&aml);
    return aml_finished(&aml) ? aml.length : 0;
}
