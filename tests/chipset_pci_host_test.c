/* PCI configuration mechanism #1 and the host bridge behind it. */
#include "check.h"
#include "chipset/pci_host.h"

struct narrow {
    unsigned int accesses;
    uint64_t offset;
};

static void narrow_io(void *device, struct bus_access *access)
{
    struct narrow *narrow = device;
    narrow->accesses++;
    narrow->offset = access->offset;
    access->value = 0x5a;
}

static uint64_t in(struct pci_host *host, bus_io_fn *io, uint64_t offset, uint8_t size)
{
    struct bus_access access = {.offset = offset, .size = size};
    io(host, &access);
    return access.value & (UINT64_MAX >> (64 - 8 * size));
}

static void out(struct pci_host *host, bus_io_fn *io, uint64_t offset, uint8_t size, uint64_t value)
{
    struct bus_access access = {.offset = offset, .size = size, .is_write = true, .value = value};
    io(host, &access);
}

static uint64_t read_register(struct pci_host *host, uint32_t address)
{
    out(host, pci_host_address_io, 0, 4, UINT32_C(0x80000000) | address);
    return in(host, pci_host_data_io, 0, 4);
}

int main(void)
{
    struct narrow narrow = {0};
    struct pci_host host;
    pci_host_init(&host,
                  &(struct pci_host_config){.narrow_io = narrow_io, .narrow_device = &narrow});

    /* How kernels find out that there is mechanism #1. */
    out(&host, pci_host_address_io, 0, 4, 0x80000000);
    CHECK_EQUAL(in(&host, pci_host_address_io, 0, 4), 0x80000000);
    out(&host, pci_host_address_io, 0, 4, 0xffffffff);
    CHECK_EQUAL(in(&host, pci_host_address_io, 0, 4), 0x80fffffc);

    /* Bytes and words in its place are another's; they leave the address alone. */
    out(&host, pci_host_address_io, 1, 1, 6);
    CHECK_EQUAL(narrow.accesses, 1);
    CHECK_EQUAL(narrow.offset, 1);
    CHECK_EQUAL(in(&host, pci_host_address_io, 0, 2), 0x5a);
    CHECK_EQUAL(in(&host, pci_host_address_io, 0, 4), 0x80fffffc);

    CHECK_EQUAL(read_register(&host, 0x08) >> 8, 0x060000);
    CHECK_EQUAL(in(&host, pci_host_data_io, 2, 2), 0x0600);
    CHECK_EQUAL(in(&host, pci_host_data_io, 3, 1), 0x06);
    CHECK(read_register(&host, 0x00) != 0xffffffff);
    CHECK_EQUAL(read_register(&host, 0x0c), 0); /* one function, type 0 */
    CHECK_EQUAL(read_register(&host, 0x10), 0); /* no base address */
    out(&host, pci_host_data_io, 0, 4, 0xffffffff);
    CHECK_EQUAL(in(&host, pci_host_data_io, 0, 4), 0);

    CHECK_EQUAL(read_register(&host, 0x100), 0xffffffff);   /* function 1 */
    CHECK_EQUAL(read_register(&host, 0x800), 0xffffffff);   /* device 1 */
    CHECK_EQUAL(read_register(&host, 0x10000), 0xffffffff); /* bus 1 */
    out(&host, pci_host_address_io, 0, 4, 0);               /* not enabled */
    CHECK_EQUAL(in(&host, pci_host_data_io, 0, 4), 0xffffffff);

    read_register(&host, 0x08);
    pci_host_reset(&host);
    CHECK_EQUAL(in(&host, pci_host_address_io, 0, 4), 0);
    return check_summary();
}
