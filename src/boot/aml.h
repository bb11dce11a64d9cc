/*
 * A builder for ACPI Machine Language, as little of it as our DSDT needs.
 *
 * Purpose: write definition blocks as calls in the order of the ASL they stand for. Everything
 *          goes into one buffer of the caller's; running out of it is remembered, not fatal.
 * Source:  ACPI specification, "ACPI Machine Language (AML) Specification" and "Resource Data
 *          Types for ACPI".
 * Owner:   the caller's struct aml. Thread: one.
 */
#ifndef TRAPEZE_BOOT_AML_H
#define TRAPEZE_BOOT_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AML_DEPTH_MAX 8

struct aml {
    uint8_t *bytes;
    size_t capacity;
    size_t length;
    size_t open[AML_DEPTH_MAX]; /* where each open term's PkgLength will go */
    unsigned int depth;
    bool failed; /* out of room, nested too deep, or a bad name */
};

void aml_start(struct aml *aml, uint8_t *buffer, size_t capacity);

/* True when everything fitted and each begin had its end. */
bool aml_finished(const struct aml *aml);

/* A path of four-character names: "COM1", "\\_SB_", "\\_SB_.PCI0". */
void aml_scope_begin(struct aml *aml, const char *path);
void aml_device_begin(struct aml *aml, const char *path);
void aml_package_begin(struct aml *aml, uint8_t elements);
void aml_end(struct aml *aml); /* of the innermost of the above */

/* Name (path, …): the value is the next thing appended. */
void aml_name(struct aml *aml, const char *path);

void aml_integer(struct aml *aml, uint64_t value);
void aml_string(struct aml *aml, const char *text);
/* EISAID ("PNP0501"): three capital letters and four hexadecimal digits. */
void aml_eisa_id(struct aml *aml, const char *id);

/* ResourceTemplate () { … } as a buffer. */
void aml_resources_begin(struct aml *aml);
void aml_resources_end(struct aml *aml);
/* IO (Decode16, port, port, 1, length) */
void aml_resource_io(struct aml *aml, uint16_t port, uint8_t length);
/* IRQNoFlags () {irq}; irq is 0..15 */
void aml_resource_irq(struct aml *aml, unsigned int irq);
/* Memory32Fixed (ReadWrite, base, length) */
void aml_resource_memory32(struct aml *aml, uint32_t base, uint32_t length);

/* What a bridge passes on to the devices behind it; both ends of a range belong to it. */
/* WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, …) */
void aml_resource_bus_numbers(struct aml *aml, uint16_t first, uint16_t last);
/* WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, …) */
void aml_resource_io_window(struct aml *aml, uint16_t first, uint16_t last);
/* DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite, …) */
void aml_resource_memory_window(struct aml *aml, uint32_t first, uint32_t last);

#endif
