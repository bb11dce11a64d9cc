#include "boot/acpi.h"

#include <errno.h>
#include <string.h>

#include "boot/bytes.h"
#include "boot/layout.h"

#define TABLE_HEADER    36
#define TABLE_ALIGNMENT 16

#define RSDP_SIZE        36
#define RSDP_SIZE_V1     20 /* what the first checksum covers */
#define FACS_SIZE        64
#define FACS_ALIGNMENT   64
#define FADT_SIZE        276
#define FADT_REVISION    6
#define MADT_REVISION    5
#define MCFG_SIZE        60 /* with one allocation */
#define DSDT_REVISION    2  /* integers of 64 bits */
#define PM1_EVENT_LENGTH 4
#define PM_TIMER_LENGTH  4
#define GPE0_LENGTH      4

/* "Fixed ACPI Description Table": flags. */
#define FADT_WBINVD      (1u << 0)
#define FADT_PROC_C1     (1u << 2)
#define FADT_PWR_BUTTON  (1u << 4) /* 1: not a fixed feature */
#define FADT_SLP_BUTTON  (1u << 5) /* 1: not a fixed feature */
#define FADT_FIX_RTC     (1u << 6) /* 1: not a fixed feature */
#define FADT_TMR_VAL_EXT (1u << 8)
#define FADT_RESET_REG   (1u << 10)
#define BOOT_ARCH_LEGACY (1u << 0)
#define BOOT_ARCH_8042   (1u << 1)
#define BOOT_ARCH_NO_VGA (1u << 2)
#define BOOT_ARCH_NO_RTC (1u << 5)
#define NO_C2_LATENCY    0xfffu /* above 100 µs: no such state */
#define NO_C3_LATENCY    0xfffu /* above 1000 µs */
#define CMOS_CENTURY     0x32

/* "Multiple APIC Description Table": structure types and flags. */
#define MADT_PCAT_COMPAT      1u
#define MADT_LOCAL_APIC       0
#define MADT_IO_APIC          1
#define MADT_OVERRIDE         2
#define MADT_LOCAL_APIC_NMI   4
#define MADT_LOCAL_X2APIC     9
#define MADT_LOCAL_X2APIC_NMI 10
#define MADT_ENABLED          1u
#define MADT_ACTIVE_HIGH      0x1u
#define MADT_LEVEL            0xcu
#define XAPIC_ID_LIMIT        255 /* this id and above have no xAPIC form */
#define ALL_PROCESSORS_XAPIC  0xffu
#define ALL_PROCESSORS_X2APIC 0xffffffffu

/* Tables being laid out one after the other. */
struct builder {
    uint8_t *bytes;
    size_t capacity;
    size_t length;
    uint64_t base;
    bool failed;
};

struct acpi_config acpi_config_default(unsigned int cpu_count)
{
    return (struct acpi_config){
        .cpu_count = cpu_count,
        .lapic_base = (uint32_t)BOOT_LAPIC_BASE,
        .ioapic_base = (uint32_t)BOOT_IOAPIC_BASE,
        .sci_irq = 9,
        .timer_on_gsi2 = true,
        .pm1a_event_port = 0x600,
        .pm1a_control_port = 0x604,
        .pm_timer_port = 0x608,
        .has_power_button = true,
        .gpe0_port = 0x620,
        .sleep_type_s5 = 5,
        .reset_port = 0xcf9,
        .reset_value = 6,
        .has_com1 = true,
        .has_rtc = true,
        .pvpanic_port = 0x505,
        .pci_memory_base = (uint32_t)BOOT_LOW_RAM_MAX,
        .pci_memory_end = (uint32_t)BOOT_IOAPIC_BASE,
        .pci_ecam_base = (uint32_t)BOOT_PCI_ECAM_BASE,
    };
}

/* Zeroed space; a place to write that is never NULL unless the builder failed. */
static uint8_t *reserve(struct builder *builder, size_t length, size_t alignment)
{
    size_t start = (builder->length + alignment - 1) & ~(alignment - 1);
    if (builder->failed || start > builder->capacity || length > builder->capacity - start) {
        builder->failed = true;
        return NULL;
    }
    memset(builder->bytes + builder->length, 0, start + length - builder->length);
    builder->length = start + length;
    return builder->bytes + start;
}

static uint64_t address_of(const struct builder *builder, const uint8_t *table)
{
    return builder->base + (uint64_t)(table - builder->bytes);
}

/* The byte that makes the sum of all zero. */
static uint8_t checksum(const uint8_t *bytes, size_t length)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < length; i++) {
        sum = (uint8_t)(sum + bytes[i]);
    }
    return (uint8_t)-sum;
}

/* "System Description Table Header", with the checksum: call when the body is complete. */
static void finish_table(uint8_t *table, const char *signature, uint8_t revision, size_t length)
{
    memcpy(table, signature, 4);
    bytes_put32(table + 4, (uint32_t)length);
    table[8] = revision;
    memcpy(table + 10, "TRAPEZ", 6);
    memcpy(table + 16, "TRAPEZE ", 8);
    bytes_put32(table + 24, 1);
    memcpy(table + 28, "TRPZ", 4);
    bytes_put32(table + 32, 1);
    table[9] = 0;
    table[9] = checksum(table, length);
}

/* "Firmware ACPI Control Structure": has neither header nor checksum. */
static uint64_t add_facs(struct builder *builder)
{
    uint8_t *facs = reserve(builder, FACS_SIZE, FACS_ALIGNMENT);
    if (facs == NULL) {
        return 0;
    }
    memcpy(facs, "FACS", 4);
    bytes_put32(facs + 4, FACS_SIZE);
    facs[32] = 2; /* version */
    return address_of(builder, facs);
}

static uint64_t add_dsdt(struct builder *builder, const struct acpi_config *config)
{
    uint8_t *dsdt = reserve(builder, TABLE_HEADER, TABLE_ALIGNMENT);
    if (dsdt == NULL) {
        return 0;
    }
    size_t body = acpi_dsdt_body(config, builder->bytes + builder->length,
                                 builder->capacity - builder->length);
    if (body == 0) {
        builder->failed = true;
        return 0;
    }
    builder->length += body;
    finish_table(dsdt, "DSDT", DSDT_REVISION, TABLE_HEADER + body);
    return address_of(builder, dsdt);
}

/* "Generic Address Structure" for an I/O port; all zero when there is none. */
static void put_port(uint8_t *at, uint16_t port, uint8_t bits)
{
    if (port == 0) {
        return;
    }
    at[0] = 1; /* system I/O space */
    at[1] = bits;
    at[3] = (uint8_t)(bits == 8 ? 1 : bits == 16 ? 2 : 3); /* access size */
    bytes_put64(at + 4, port);
}

static uint32_t fadt_flags(const struct acpi_config *config)
{
    return FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_FIX_RTC |
           (config->has_power_button ? 0 : FADT_PWR_BUTTON) |
           (config->pm_timer_is_32_bit ? FADT_TMR_VAL_EXT : 0) |
           (config->reset_port != 0 ? FADT_RESET_REG : 0);
}

static uint64_t add_fadt(struct builder *builder, const struct acpi_config *config, uint64_t facs,
                         uint64_t dsdt)
{
    uint8_t *fadt = reserve(builder, FADT_SIZE, TABLE_ALIGNMENT);
    if (fadt == NULL) {
        return 0;
    }
    bytes_put32(fadt + 36, (uint32_t)facs);
    bytes_put32(fadt + 40, (uint32_t)dsdt);
    bytes_put16(fadt + 46, config->sci_irq);
    /* SMI_CMD stays 0: the machine is always in ACPI mode. */
    bytes_put32(fadt + 56, config->pm1a_event_port);
    bytes_put32(fadt + 64, config->pm1a_control_port);
    bytes_put32(fadt + 76, config->pm_timer_port);
    bytes_put32(fadt + 80, config->gpe0_port);
    fadt[88] = PM1_EVENT_LENGTH;
    fadt[89] = 2; /* PM1 control length */
    fadt[91] = PM_TIMER_LENGTH;
    fadt[92] = config->gpe0_port != 0 ? GPE0_LENGTH : 0;
    bytes_put16(fadt + 96, NO_C2_LATENCY);
    bytes_put16(fadt + 98, NO_C3_LATENCY);
    fadt[108] = config->has_rtc ? CMOS_CENTURY : 0;
    bytes_put16(fadt + 109, (uint16_t)(BOOT_ARCH_LEGACY | BOOT_ARCH_NO_VGA |
                                       (config->has_i8042 ? BOOT_ARCH_8042 : 0) |
                                       (config->has_rtc ? 0 : BOOT_ARCH_NO_RTC)));
    bytes_put32(fadt + 112, fadt_flags(config));
    put_port(fadt + 116, config->reset_port, 8);
    fadt[128] = config->reset_value;
    fadt[131] = 5; /* minor version: 6.5 */
    bytes_put64(fadt + 140, dsdt);
    put_port(fadt + 148, config->pm1a_event_port, PM1_EVENT_LENGTH * 8);
    put_port(fadt + 172, config->pm1a_control_port, 16);
    put_port(fadt + 208, config->pm_timer_port, PM_TIMER_LENGTH * 8);
    put_port(fadt + 220, config->gpe0_port, GPE0_LENGTH * 8);
    memcpy(fadt + 268, "TRAPEZE", 8); /* hypervisor vendor identity */
    finish_table(fadt, "FACP", FADT_REVISION, FADT_SIZE);
    return address_of(builder, fadt);
}

static void add_local_apic(struct builder *builder, uint32_t id)
{
    if (id >= XAPIC_ID_LIMIT) {
        uint8_t *entry = reserve(builder, 16, 1);
        if (entry != NULL) {
            entry[0] = MADT_LOCAL_X2APIC;
            entry[1] = 16;
            bytes_put32(entry + 4, id);
            bytes_put32(entry + 8, MADT_ENABLED);
            bytes_put32(entry + 12, id); /* processor UID */
        }
        return;
    }
    uint8_t *entry = reserve(builder, 8, 1);
    if (entry != NULL) {
        entry[0] = MADT_LOCAL_APIC;
        entry[1] = 8;
        entry[2] = (uint8_t)id; /* processor UID */
        entry[3] = (uint8_t)id;
        bytes_put32(entry + 4, MADT_ENABLED);
    }
}

/* The NMI input LINT1 of all processors. */
static void add_nmi_inputs(struct builder *builder, bool has_x2apic)
{
    uint8_t *entry = reserve(builder, 6, 1);
    if (entry != NULL) {
        entry[0] = MADT_LOCAL_APIC_NMI;
        entry[1] = 6;
        entry[2] = ALL_PROCESSORS_XAPIC;
        entry[5] = 1;
    }
    entry = has_x2apic ? reserve(builder, 12, 1) : NULL;
    if (entry != NULL) {
        entry[0] = MADT_LOCAL_X2APIC_NMI;
        entry[1] = 12;
        bytes_put32(entry + 4, ALL_PROCESSORS_X2APIC);
        entry[8] = 1;
    }
}

static void add_io_apic(struct builder *builder, const struct acpi_config *config)
{
    uint8_t *entry = reserve(builder, 12, 1);
    if (entry != NULL) {
        entry[0] = MADT_IO_APIC;
        entry[1] = 12;
        entry[2] = config->ioapic_id;
        bytes_put32(entry + 4, config->ioapic_base);
    }
}

/* "Interrupt Source Override Structure" */
static void add_override(struct builder *builder, uint8_t irq, uint32_t gsi, uint16_t flags)
{
    uint8_t *entry = reserve(builder, 10, 1);
    if (entry != NULL) {
        entry[0] = MADT_OVERRIDE;
        entry[1] = 10;
        entry[3] = irq;
        bytes_put32(entry + 4, gsi);
        bytes_put16(entry + 8, flags);
    }
}

static uint64_t add_madt(struct builder *builder, const struct acpi_config *config)
{
    uint8_t *madt = reserve(builder, TABLE_HEADER + 8, TABLE_ALIGNMENT);
    if (madt == NULL) {
        return 0;
    }
    bytes_put32(madt + 36, config->lapic_base);
    bytes_put32(madt + 40, MADT_PCAT_COMPAT);
    for (uint32_t id = 0; id < config->cpu_count; id++) {
        add_local_apic(builder, id);
    }
    add_io_apic(builder, config);
    if (config->timer_on_gsi2) {
        add_override(builder, 0, 2, 0);
    }
    add_override(builder, config->sci_irq, config->sci_irq, MADT_LEVEL | MADT_ACTIVE_HIGH);
    add_nmi_inputs(builder, config->cpu_count > XAPIC_ID_LIMIT);
    if (builder->failed) {
        return 0;
    }
    finish_table(madt, "APIC", MADT_REVISION, builder->length - (size_t)(madt - builder->bytes));
    return address_of(builder, madt);
}

/* "PCI Firmware Specification", "MCFG Table Description": segment 0, bus 0 alone. */
static uint64_t add_mcfg(struct builder *builder, const struct acpi_config *config)
{
    uint8_t *mcfg = reserve(builder, MCFG_SIZE, TABLE_ALIGNMENT);
    if (mcfg == NULL) {
        return 0;
    }
    bytes_put64(mcfg + TABLE_HEADER + 8, config->pci_ecam_base);
    finish_table(mcfg, "MCFG", 1, MCFG_SIZE);
    return address_of(builder, mcfg);
}

static uint64_t add_xsdt(struct builder *builder, const uint64_t *tables, size_t count)
{
    size_t length = TABLE_HEADER + 8 * count;
    uint8_t *xsdt = reserve(builder, length, TABLE_ALIGNMENT);
    if (xsdt == NULL) {
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        bytes_put64(xsdt + TABLE_HEADER + 8 * i, tables[i]);
    }
    finish_table(xsdt, "XSDT", 1, length);
    return address_of(builder, xsdt);
}

/* "Root System Description Pointer" */
static void fill_rsdp(uint8_t *rsdp, uint64_t xsdt)
{
    memcpy(rsdp, "RSD PTR ", 8);
    memcpy(rsdp + 9, "TRAPEZ", 6);
    rsdp[15] = 2; /* revision: there is an XSDT */
    bytes_put32(rsdp + 20, RSDP_SIZE);
    bytes_put64(rsdp + 24, xsdt);
    rsdp[8] = checksum(rsdp, RSDP_SIZE_V1);
    rsdp[32] = checksum(rsdp, RSDP_SIZE);
}

int acpi_build(const struct acpi_config *config, uint64_t base, uint8_t *buffer, size_t capacity,
               size_t *length, struct error *error)
{
    if (config->cpu_count == 0 || base % FACS_ALIGNMENT != 0 || base + capacity > UINT32_MAX) {
        return error_set(error, EINVAL, "the ACPI tables need a CPU and an aligned place");
    }
    struct builder builder = {.bytes = buffer, .capacity = capacity, .base = base};
    uint8_t *rsdp = reserve(&builder, RSDP_SIZE, TABLE_ALIGNMENT);
    uint64_t facs = add_facs(&builder);
    uint64_t dsdt = add_dsdt(&builder, config);
    uint64_t tables[3];
    size_t count = 0;
    tables[count++] = add_fadt(&builder, config, facs, dsdt);
    tables[count++] = add_madt(&builder, config);
    if (config->pci_ecam_base != 0) {
        tables[count++] = add_mcfg(&builder, config);
    }
    uint64_t xsdt = add_xsdt(&builder, tables, count);
    if (builder.failed || rsdp == NULL) {
        return error_set(error, ENOSPC, "the ACPI tables for %u CPUs do not fit in %zu bytes",
                         config->cpu_count, capacity);
    }
    fill_rsdp(rsdp, xsdt);
    *length = builder.length;
    return 0;
}
