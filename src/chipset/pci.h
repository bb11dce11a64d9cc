/*
 * PCI: the host bridge with its two ways to configuration space, and the functions on bus 0.
 *
 * Purpose: a guest finds PCI devices by reading their configuration space. A device embeds a
 *          struct pci_function, describes itself with pci_function_init and pci_function_add_bar,
 *          and is put on the bus by pci_attach. Every device has one function, number 0.
 * Source:  PCI Local Bus Specification, "Configuration Mechanism #1", "Configuration Space
 *          Organization", "Base Addresses"; PCI Express Base Specification, "PCI Express Enhanced
 *          Configuration Access Mechanism (ECAM)".
 * Owner:   the machine embeds a struct pci; each device embeds its struct pci_function, which must
 *          outlive the bus. Thread: init and attach before the VM starts; then under the device
 *          lock. Freestanding.
 */
#ifndef TRAPEZE_CHIPSET_PCI_H
#define TRAPEZE_CHIPSET_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include "vm/bus.h"

#define PCI_ADDRESS_PORT 0xcf8 /* CONFIG_ADDRESS, 4 ports: pci_address_io */
#define PCI_DATA_PORT    0xcfc /* CONFIG_DATA, 4 ports: pci_data_io */
#define PCI_PORTS        4

/* All registers of bus 0 as memory: pci_ecam_io. Between the local APICs' place and the flash's. */
#define PCI_ECAM_BASE UINT64_C(0xfef00000)
#define PCI_ECAM_SIZE UINT64_C(0x100000) /* one bus: 32 devices, 8 functions, 4 KiB each */

#define PCI_DEVICES     32 /* on a bus; the host bridge is number 0 */
#define PCI_CONFIG_SIZE 256
#define PCI_BARS        6

/* "Configuration Space Header": offsets, and the command register's bits that devices look at. */
#define PCI_VENDOR_ID        0x00
#define PCI_DEVICE_ID        0x02
#define PCI_COMMAND          0x04
#define PCI_REVISION_ID      0x08
#define PCI_CLASS_CODE       0x09 /* 3 bytes: interface, subclass, base class */
#define PCI_BAR(index)       (0x10 + 4 * (index))
#define PCI_SUBSYSTEM_VENDOR 0x2c
#define PCI_SUBSYSTEM_ID     0x2e
#define PCI_COMMAND_IO       0x0001u
#define PCI_COMMAND_MEMORY   0x0002u

struct pci_identity {
    uint16_t vendor;
    uint16_t device;
    uint32_t class_code; /* base class << 16 | subclass << 8 | interface */
    uint8_t revision;
    uint16_t subsystem_vendor;
    uint16_t subsystem;
};

/* Both may be NULL. offset and size (bytes) lie within the configuration space. */
struct pci_function_hooks {
    /* Before a guest's read: bring the bytes in config up to date. */
    void (*before_read)(void *context, unsigned int offset, unsigned int size);
    /* After a write has changed what is writable in config, and after a reset (of everything). */
    void (*after_write)(void *context, unsigned int offset, unsigned int size);
};

struct pci_function {
    uint8_t config[PCI_CONFIG_SIZE];   /* little-endian, as the guest reads it */
    uint8_t writable[PCI_CONFIG_SIZE]; /* bits that a guest's write changes; others stay */
    struct pci_function_hooks hooks;
    void *context; /* the hooks' */
};

enum pci_bar_kind { PCI_BAR_IO, PCI_BAR_MEMORY32, PCI_BAR_MEMORY64 };

struct pci_config {
    /*
     * CONFIG_ADDRESS answers doublewords only; bytes and words in its place belong to others (the
     * reset register at 0xCF9). offset is from PCI_ADDRESS_PORT. NULL: nobody.
     */
    bus_io_fn *narrow_io;
    void *narrow_device;
};

struct pci {
    struct pci_config config;
    uint32_t address; /* CONFIG_ADDRESS */
    struct pci_function bridge;
    struct pci_function *functions[PCI_DEVICES]; /* by device number; NULL: absent */
};

/* The bus with its host bridge as device 0. The struct may not move afterwards. */
void pci_init(struct pci *pci, const struct pci_config *config);
/* RST#: CONFIG_ADDRESS and all that is writable in the functions' configuration become 0. */
void pci_reset(struct pci *pci);

/* A type 0 header with nothing writable, no base addresses and no interrupt pin. */
void pci_function_init(struct pci_function *function, const struct pci_identity *identity);

/*
 * Adds a base address register, and the bit of the command register that switches it on.
 *
 * size: bytes, a power of two; 4..256 for I/O, from 16 for memory (below 4 GiB with MEMORY32).
 * A 64-bit one takes index + 1, too. Errors: -EINVAL (size, or index beyond the six), -EEXIST.
 */
int pci_function_add_bar(struct pci_function *function, unsigned int index, enum pci_bar_kind kind,
                         uint64_t size);

/* The address that the guest has given a base address register; 64-bit ones in full. */
uint64_t pci_function_bar(const struct pci_function *function, unsigned int index);

/* Puts a function on the bus. Errors: -EINVAL (no such device number), -EEXIST (taken). */
int pci_attach(struct pci *pci, unsigned int device, struct pci_function *function);

bus_io_fn pci_address_io, pci_data_io, pci_ecam_io;

#endif
