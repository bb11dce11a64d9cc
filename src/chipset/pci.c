#include "chipset/pci.h"

#include <errno.h>
#include <stddef.h>

/* "Configuration Mechanism #1": CONFIG_ADDRESS. */
#define ADDRESS_ENABLE   0x80000000u
#define ADDRESS_BUS      0x00ff0000u
#define ADDRESS_DEVICE   0x0000f800u
#define ADDRESS_FUNCTION 0x00000700u
#define ADDRESS_REGISTER 0x000000fcu
#define ADDRESS_WRITABLE                                                                           \
    (ADDRESS_ENABLE | ADDRESS_BUS | ADDRESS_DEVICE | ADDRESS_FUNCTION | ADDRESS_REGISTER)
#define ADDRESS_FUNCTION_SHIFT 8
#define ADDRESS_DEVICE_SHIFT   11

/* ECAM: bits 11..0 of an address are the register's, those above the function's. */
#define ECAM_REGISTER_BITS 12
#define ECAM_REGISTER      0xfffu

/* "Base Addresses": the low bits of a register, which say what it is and are read-only. */
#define BAR_IO          0x1u
#define BAR_MEMORY64    0x4u
#define BAR_IO_MIN      4u
#define BAR_IO_MAX      256u
#define BAR_MEMORY_MIN  16u
#define BAR_LOW_BITS    0xfu /* of a memory one */
#define BAR_LOW_BITS_IO 0x3u

/* The bridge's identity: a host bridge without registers of its own, known for needing no quirk. */
static const struct pci_identity bridge_identity = {
    .vendor = 0x8086, .device = 0x0d57, .class_code = 0x060000, /* bridge, host */
};

/* ---- functions ---- */

static void put(uint8_t *bytes, uint32_t value, unsigned int size)
{
    for (unsigned int i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint32_t get32(const uint8_t *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

void pci_function_init(struct pci_function *function, const struct pci_identity *identity)
{
    *function = (struct pci_function){.context = NULL};
    put(&function->config[PCI_VENDOR_ID], identity->vendor, 2);
    put(&function->config[PCI_DEVICE_ID], identity->device, 2);
    put(&function->config[PCI_REVISION_ID], identity->revision, 1);
    put(&function->config[PCI_CLASS_CODE], identity->class_code, 3);
    put(&function->config[PCI_SUBSYSTEM_VENDOR], identity->subsystem_vendor, 2);
    put(&function->config[PCI_SUBSYSTEM_ID], identity->subsystem, 2);
}

static bool bar_is_used(const struct pci_function *function, unsigned int index)
{
    return get32(&function->config[PCI_BAR(index)]) != 0 ||
           get32(&function->writable[PCI_BAR(index)]) != 0;
}

static bool bar_size_is_good(enum pci_bar_kind kind, uint64_t size)
{
    if (size == 0 || (size & (size - 1)) != 0) {
        return false;
    }
    switch (kind) {
    case PCI_BAR_IO:
        return size >= BAR_IO_MIN && size <= BAR_IO_MAX;
    case PCI_BAR_MEMORY32:
        return size >= BAR_MEMORY_MIN && size <= UINT32_MAX;
    default:
        return size >= BAR_MEMORY_MIN;
    }
}

int pci_function_add_bar(struct pci_function *function, unsigned int index, enum pci_bar_kind kind,
                         uint64_t size)
{
    bool wide = kind == PCI_BAR_MEMORY64;
    if (index >= PCI_BARS || (wide && index + 1 >= PCI_BARS) || !bar_size_is_good(kind, size)) {
        return -EINVAL;
    }
    if (bar_is_used(function, index) || (wide && bar_is_used(function, index + 1))) {
        return -EEXIST;
    }

    /* The guest writes all ones and reads back which address bits there are: the size. */
    uint64_t mask = ~(size - 1);
    put(&function->config[PCI_BAR(index)],
        kind == PCI_BAR_IO ? BAR_IO
        : wide             ? BAR_MEMORY64
                           : 0,
        4);
    put(&function->writable[PCI_BAR(index)], (uint32_t)mask, 4);
    if (wide) {
        put(&function->writable[PCI_BAR(index + 1)], (uint32_t)(mask >> 32), 4);
    }
    function->writable[PCI_COMMAND] |=
        (uint8_t)(kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY);
    return 0;
}

uint64_t pci_function_bar(const struct pci_function *function, unsigned int index)
{
    if (index >= PCI_BARS) {
        return 0;
    }
    uint32_t low = get32(&function->config[PCI_BAR(index)]);
    if ((low & BAR_IO) != 0) {
        return low & ~BAR_LOW_BITS_IO;
    }
    uint64_t high = 0;
    if ((low & BAR_MEMORY64) != 0 && index + 1 < PCI_BARS) {
        high = (uint64_t)get32(&function->config[PCI_BAR(index + 1)]) << 32;
    }
    return high | (low & ~BAR_LOW_BITS);
}

static uint64_t function_read(struct pci_function *function, unsigned int offset, unsigned int size)
{
    uint64_t value = 0;
    if (function->hooks.before_read != NULL) {
        function->hooks.before_read(function->context, offset, size);
    }
    for (unsigned int i = 0; i < size; i++) {
        value |= (uint64_t)function->config[offset + i] << (8 * i);
    }
    return value;
}

static void function_write(struct pci_function *function, unsigned int offset, unsigned int size,
                           uint64_t value)
{
    for (unsigned int i = 0; i < size; i++) {
        uint8_t mask = function->writable[offset + i];
        uint8_t byte = (uint8_t)(value >> (8 * i));
        uint8_t kept = (uint8_t)(function->config[offset + i] & ~mask);
        function->config[offset + i] = (uint8_t)(kept | (byte & mask));
    }
    if (function->hooks.after_write != NULL) {
        function->hooks.after_write(function->context, offset, size);
    }
}

/* ---- the bus ---- */

void pci_init(struct pci *pci, const struct pci_config *config)
{
    *pci = (struct pci){.config = *config};
    pci_function_init(&pci->bridge, &bridge_identity);
    pci->functions[0] = &pci->bridge;
}

int pci_attach(struct pci *pci, unsigned int device, struct pci_function *function)
{
    if (device >= PCI_DEVICES) {
        return -EINVAL;
    }
    if (pci->functions[device] != NULL) {
        return -EEXIST;
    }
    pci->functions[device] = function;
    return 0;
}

static void function_reset(struct pci_function *function)
{
    for (unsigned int i = 0; i < PCI_CONFIG_SIZE; i++) {
        function->config[i] = (uint8_t)(function->config[i] & ~function->writable[i]);
    }
    if (function->hooks.after_write != NULL) {
        function->hooks.after_write(function->context, 0, PCI_CONFIG_SIZE);
    }
}

void pci_reset(struct pci *pci)
{
    pci->address = 0;
    for (unsigned int i = 0; i < PCI_DEVICES; i++) {
        if (pci->functions[i] != NULL) {
            function_reset(pci->functions[i]);
        }
    }
}

void pci_address_io(void *device, struct bus_access *access)
{
    struct pci *pci = device;
    if (access->size != 4 || access->offset != 0) {
        if (pci->config.narrow_io != NULL) {
            pci->config.narrow_io(pci->config.narrow_device, access);
        } else {
            access->value = UINT64_MAX;
        }
        return;
    }
    if (access->is_write) {
        pci->address = (uint32_t)access->value & ADDRESS_WRITABLE;
    } else {
        access->value = pci->address;
    }
}

/* The function 0 of a device on bus 0; NULL for all else: the bus floats. */
static struct pci_function *function_at(const struct pci *pci, uint32_t address)
{
    if ((address & (ADDRESS_BUS | ADDRESS_FUNCTION)) != 0) {
        return NULL;
    }
    return pci->functions[(address & ADDRESS_DEVICE) >> ADDRESS_DEVICE_SHIFT];
}

static void function_access(struct pci_function *function, uint64_t offset,
                            struct bus_access *access)
{
    if (function == NULL || access->size > 8 || offset > (uint64_t)PCI_CONFIG_SIZE - access->size) {
        access->value = UINT64_MAX; /* nobody answers */
    } else if (access->is_write) {
        function_write(function, (unsigned int)offset, access->size, access->value);
    } else {
        access->value = function_read(function, (unsigned int)offset, access->size);
    }
}

void pci_data_io(void *device, struct bus_access *access)
{
    struct pci *pci = device;
    uint32_t address = pci->address;
    bool crosses = access->size > PCI_PORTS || access->offset > (uint64_t)PCI_PORTS - access->size;
    bool enabled = (address & ADDRESS_ENABLE) != 0 && !crosses;
    function_access(enabled ? function_at(pci, address) : NULL,
                    (address & ADDRESS_REGISTER) + access->offset, access);
}

/*
 * Conventional functions have no extended configuration space: from offset 256 of a function's
 * 4 KiB nobody answers, and so for an access that leaves them.
 */
void pci_ecam_io(void *device, struct bus_access *access)
{
    struct pci *pci = device;
    bool within = access->offset < PCI_ECAM_SIZE;
    /* Bus, device and function are ordered as in CONFIG_ADDRESS, four bits further up. */
    uint32_t address = (uint32_t)(access->offset >> ECAM_REGISTER_BITS) << ADDRESS_FUNCTION_SHIFT;
    function_access(within ? function_at(pci, address) : NULL, access->offset & ECAM_REGISTER,
                    access);
}
