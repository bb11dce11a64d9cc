#include "chipset/pci_host.h"

#include <stddef.h>

/* "Configuration Mechanism #1": CONFIG_ADDRESS. */
#define ADDRESS_ENABLE   0x80000000u
#define ADDRESS_FUNCTION 0x00ffff00u /* bus, device and function */
#define ADDRESS_REGISTER 0x000000fcu
#define ADDRESS_WRITABLE (ADDRESS_ENABLE | ADDRESS_FUNCTION | ADDRESS_REGISTER)

/* The bridge's identity: a host bridge without registers of its own, known for needing no quirk. */
#define BRIDGE_VENDOR 0x8086u
#define BRIDGE_DEVICE 0x0d57u
#define BRIDGE_CLASS  0x060000u /* bridge, host */

void pci_host_init(struct pci_host *host, const struct pci_host_config *config)
{
    *host = (struct pci_host){.config = *config};
}

void pci_host_reset(struct pci_host *host)
{
    host->address = 0;
}

void pci_host_address_io(void *device, struct bus_access *access)
{
    struct pci_host *host = device;
    if (access->size != 4 || access->offset != 0) {
        if (host->config.narrow_io != NULL) {
            host->config.narrow_io(host->config.narrow_device, access);
        } else {
            access->value = UINT64_MAX;
        }
        return;
    }
    if (access->is_write) {
        host->address = (uint32_t)access->value & ADDRESS_WRITABLE;
    } else {
        access->value = host->address;
    }
}

/* The bridge's own configuration space: all of it is read-only. */
static uint32_t bridge_register(unsigned int number)
{
    switch (number) {
    case 0x00: /* Device ID, Vendor ID */
        return BRIDGE_DEVICE << 16 | BRIDGE_VENDOR;
    case 0x08: /* Class Code, Revision ID */
        return BRIDGE_CLASS << 8;
    default:
        return 0;
    }
}

void pci_host_data_io(void *device, struct bus_access *access)
{
    struct pci_host *host = device;
    if (access->is_write) {
        return;
    }
    access->value = UINT64_MAX; /* nobody answers */
    if ((host->address & ADDRESS_ENABLE) != 0 && (host->address & ADDRESS_FUNCTION) == 0) {
        uint32_t value = bridge_register(host->address & ADDRESS_REGISTER);
        access->value = access->offset < 4 ? value >> (8 * access->offset) : 0;
    }
}
