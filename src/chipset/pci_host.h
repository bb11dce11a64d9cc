/*
 * The PCI host bridge, with configuration mechanism #1. So far it is alone on bus 0.
 *
 * Purpose: kernels look for a bus before they believe that there are devices elsewhere; without a
 *          host bridge they complain.
 * Source:  PCI Local Bus Specification, "Configuration Mechanism #1", "Configuration Space
 *          Organization".
 * Owner:   the machine embeds a struct pci_host. Thread: under the device lock. Freestanding.
 */
#ifndef TRAPEZE_CHIPSET_PCI_HOST_H
#define TRAPEZE_CHIPSET_PCI_HOST_H

#include <stdint.h>

#include "vm/bus.h"

#define PCI_HOST_ADDRESS_PORT 0xcf8 /* 4 ports: pci_host_address_io */
#define PCI_HOST_DATA_PORT    0xcfc /* 4 ports: pci_host_data_io */
#define PCI_HOST_PORTS        4

struct pci_host_config {
    /*
     * CONFIG_ADDRESS answers doublewords only; bytes and words in its place belong to others (the
     * reset register at 0xCF9). offset is from PCI_HOST_ADDRESS_PORT. NULL: nobody.
     */
    bus_io_fn *narrow_io;
    void *narrow_device;
};

struct pci_host {
    struct pci_host_config config;
    uint32_t address; /* CONFIG_ADDRESS */
};

void pci_host_init(struct pci_host *host, const struct pci_host_config *config);
void pci_host_reset(struct pci_host *host);

bus_io_fn pci_host_address_io, pci_host_data_io;

#endif
