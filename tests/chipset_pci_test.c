/* PCI configuration mechanism #1, the host bridge, and the functions on the bus. */
#include <errno.h>

#include "check.h"
#include "chipset/pci.h"
#include "chipset/reset.h"
#include "chipset_helpers.h"

/* PCI and the reset register on a bus, as the machine wires them. */
struct bench {
    struct bus ports;
    struct pci pci;
    struct reset_control reset;
    struct watched_stop stop;
};

static void bench_init(struct bench *bench)
{
    *bench = (struct bench){.stop = {0}};
    bus_init(&bench->ports, "port");
    reset_control_init(&bench->reset,
                       &(struct reset_control_config){watched_control(&bench->stop)});
    pci_init(&bench->pci, &(struct pci_config){reset_control_io, &bench->reset});
    CHECK_EQUAL(
        bus_map(&bench->ports, PCI_ADDRESS_PORT, PCI_PORTS, "pci", pci_address_io, &bench->pci), 0);
    CHECK_EQUAL(bus_map(&bench->ports, PCI_DATA_PORT, PCI_PORTS, "pci", pci_data_io, &bench->pci),
                0);
}

static uint64_t in(struct bench *bench, uint64_t port, uint8_t size)
{
    struct bus_access access = {.size = size};
    bus_serve(&bench->ports, port, &access);
    return access.value;
}

static void out(struct bench *bench, uint64_t port, uint8_t size, uint64_t value)
{
    struct bus_access access = {.size = size, .is_write = true, .value = value};
    bus_serve(&bench->ports, port, &access);
}

static void select_register(struct bench *bench, uint32_t address)
{
    out(bench, 0xcf8, 4, UINT32_C(0x80000000) | address);
}

static uint64_t read_register(struct bench *bench, uint32_t address)
{
    select_register(bench, address);
    return in(bench, 0xcfc, 4);
}

static void write_register(struct bench *bench, uint32_t address, uint32_t value)
{
    select_register(bench, address);
    out(bench, 0xcfc, 4, value);
}

static void test_address(void)
{
    struct bench bench;
    bench_init(&bench);

    /* How kernels find out that there is mechanism #1. */
    out(&bench, 0xcf8, 4, 0x80000000);
    CHECK_EQUAL(in(&bench, 0xcf8, 4), 0x80000000);
    out(&bench, 0xcf8, 4, 0xffffffff);
    CHECK_EQUAL(in(&bench, 0xcf8, 4), 0x80fffffc);

    /* An address whose second byte looks like a reset is none. */
    out(&bench, 0xcf8, 4, 0x80000600);
    CHECK_EQUAL(in(&bench, 0xcf9, 1), 0);
    CHECK_EQUAL(bench.stop.count, 0);

    /* Bytes and words in its place leave the address alone. */
    out(&bench, 0xcf8, 1, 0xff);
    out(&bench, 0xcf8, 2, 0x0606);
    out(&bench, 0xcf9, 2, 0x0606);
    out(&bench, 0xcfb, 1, 0x01);
    CHECK_EQUAL(in(&bench, 0xcf8, 1), 0xff);
    CHECK_EQUAL(in(&bench, 0xcfa, 2), 0xffff);
    CHECK_EQUAL(in(&bench, 0xcf8, 4), 0x80000600);
    CHECK_EQUAL(bench.stop.count, 0);

    /* A byte at 0xCF9 is the reset register. */
    out(&bench, 0xcf9, 1, 0x02);
    CHECK_EQUAL(in(&bench, 0xcf9, 1), 0x02);
    CHECK_EQUAL(bench.stop.count, 0);
    out(&bench, 0xcf9, 1, RESET_ACPI_VALUE);
    CHECK_EQUAL(bench.stop.count, 1);
    CHECK_EQUAL(bench.stop.outcome, VM_RESET);
    CHECK_EQUAL(in(&bench, 0xcf8, 4), 0x80000600);

    /* Without anybody for narrow accesses. */
    bench.pci.config.narrow_io = NULL;
    CHECK_EQUAL(in(&bench, 0xcf9, 1), 0xff);
    out(&bench, 0xcf9, 1, 0);
    CHECK_EQUAL(in(&bench, 0xcf8, 4), 0x80000600);
}

static void test_bridge(void)
{
    struct bench bench;
    bench_init(&bench);

    CHECK_EQUAL(read_register(&bench, 0x00), 0x0d578086);
    CHECK_EQUAL(in(&bench, 0xcfc, 2), 0x8086);
    CHECK_EQUAL(in(&bench, 0xcfd, 2), 0x5780);
    CHECK_EQUAL(in(&bench, 0xcff, 1), 0x0d);
    CHECK_EQUAL(read_register(&bench, 0x08), 0x06000000);
    CHECK_EQUAL(in(&bench, 0xcfe, 2), 0x0600);
    CHECK_EQUAL(read_register(&bench, 0x0c), 0); /* one function, type 0 */

    /* Beyond the last register's bytes are ports of nobody. */
    CHECK_EQUAL(in(&bench, 0xcff, 2), 0xff00);
    CHECK_EQUAL(in(&bench, 0xcfe, 4), 0xffff0000);

    /* All of it is read-only. */
    for (uint32_t offset = 0; offset < PCI_CONFIG_SIZE; offset += 4) {
        uint64_t before = read_register(&bench, offset);
        write_register(&bench, offset, UINT32_MAX);
        CHECK_EQUAL(read_register(&bench, offset), before);
        write_register(&bench, offset, 0);
        CHECK_EQUAL(read_register(&bench, offset), before);
    }
}

static void test_absent(void)
{
    struct bench bench;
    bench_init(&bench);

    for (uint32_t function = 1; function < 0x10000; function++) {
        CHECK_EQUAL(read_register(&bench, function << 8), UINT32_MAX);
    }
    write_register(&bench, 0x800, 0x12345678);
    CHECK_EQUAL(in(&bench, 0xcfc, 4), UINT32_MAX);
    CHECK_EQUAL(in(&bench, 0xcfe, 1), 0xff);
    out(&bench, 0xcf8, 4, 0); /* not enabled */
    CHECK_EQUAL(in(&bench, 0xcfc, 4), UINT32_MAX);
}

/* A device that counts what its hooks are told. */
struct card {
    struct pci_function function;
    unsigned int reads, writes;
    unsigned int offset, size;
};

static void card_before_read(void *context, unsigned int offset, unsigned int size)
{
    struct card *card = context;
    card->reads++;
    card->offset = offset;
    card->size = size;
    card->function.config[0x50] = (uint8_t)card->reads;
}

static void card_after_write(void *context, unsigned int offset, unsigned int size)
{
    struct card *card = context;
    card->writes++;
    card->offset = offset;
    card->size = size;
}

static void card_init(struct card *card)
{
    *card = (struct card){.reads = 0};
    pci_function_init(&card->function, &(struct pci_identity){.vendor = 0x1af4,
                                                              .device = 0x1042,
                                                              .class_code = 0x018000,
                                                              .revision = 1,
                                                              .subsystem_vendor = 0xabcd,
                                                              .subsystem = 0x1234});
    card->function.hooks = (struct pci_function_hooks){card_before_read, card_after_write};
    card->function.context = card;
}

static void test_function(void)
{
    struct bench bench;
    struct card card;
    bench_init(&bench);
    card_init(&card);
    CHECK_EQUAL(pci_attach(&bench.pci, 0, &card.function), -EEXIST);
    CHECK_EQUAL(pci_attach(&bench.pci, 32, &card.function), -EINVAL);
    CHECK_EQUAL(pci_attach(&bench.pci, 31, &card.function), 0);
    CHECK_EQUAL(pci_attach(&bench.pci, 31, &card.function), -EEXIST);

    CHECK_EQUAL(read_register(&bench, 0xf800), 0x10421af4);
    CHECK_EQUAL(read_register(&bench, 0xf808), 0x01800001);
    CHECK_EQUAL(read_register(&bench, 0xf82c), 0x1234abcd);
    CHECK_EQUAL(read_register(&bench, 0xf900), UINT32_MAX); /* its function 1 */
    CHECK_EQUAL(card.reads, 3);
    CHECK_EQUAL(read_register(&bench, 0xf850), 4);

    card.function.writable[0x61] = 0x0f;
    card.function.config[0x61] = 0xa0;
    write_register(&bench, 0xf860, UINT32_MAX);
    CHECK_EQUAL(card.writes, 1);
    CHECK_EQUAL(read_register(&bench, 0xf860), 0x0000af00);
    out(&bench, 0xcfd, 1, 0x05);
    CHECK_EQUAL(card.offset, 0x61);
    CHECK_EQUAL(card.size, 1);
    CHECK_EQUAL(in(&bench, 0xcfd, 2), 0x00a5);
    CHECK_EQUAL(card.offset, 0x61);
    CHECK_EQUAL(card.size, 2);

    pci_reset(&bench.pci);
    CHECK_EQUAL(in(&bench, 0xcf8, 4), 0);
    CHECK_EQUAL(card.offset, 0);
    CHECK_EQUAL(card.size, PCI_CONFIG_SIZE);
    CHECK_EQUAL(read_register(&bench, 0xf860), 0x0000a000);
    CHECK_EQUAL(read_register(&bench, 0xf800), 0x10421af4);

    /* Never beyond the configuration space, whatever a bus would pass. */
    select_register(&bench, 0xf8fc);
    card.writes = 0;
    device_write(pci_data_io, &bench.pci, 1, 4, 0);
    device_write(pci_data_io, &bench.pci, 0, 8, 0);
    device_write(pci_data_io, &bench.pci, UINT64_MAX, 1, 0);
    CHECK_EQUAL(card.writes, 0);
    CHECK_EQUAL(device_read(pci_data_io, &bench.pci, 3, 2), UINT64_MAX);
}

static uint64_t ecam_read(struct bench *bench, uint64_t offset, uint8_t size)
{
    return device_read(pci_ecam_io, &bench->pci, offset, size);
}

static void test_ecam(void)
{
    struct bench bench;
    struct card card;
    bench_init(&bench);
    card_init(&card);
    CHECK_EQUAL(pci_attach(&bench.pci, 31, &card.function), 0);

    CHECK_EQUAL(ecam_read(&bench, 0, 4), 0x0d578086);
    CHECK_EQUAL(ecam_read(&bench, 0x0b, 1), 0x06);
    CHECK_EQUAL(ecam_read(&bench, 0xf8000, 2), 0x1af4);
    CHECK_EQUAL(ecam_read(&bench, 0xf8000, 8), UINT64_C(0x0000000010421af4));

    /* The two ways lead to the same registers. */
    card.function.writable[0xfc] = 0xff;
    device_write(pci_ecam_io, &bench.pci, 0xf80fc, 4, 0x11223344);
    CHECK_EQUAL(card.offset, 0xfc);
    CHECK_EQUAL(read_register(&bench, 0xf8fc), 0x44);
    CHECK_EQUAL(in(&bench, 0xcf8, 4), 0x8000f8fc);

    /* Nobody: extended space, across its start, other functions and devices, beyond the end. */
    card.reads = 0;
    card.writes = 0;
    static const uint64_t nobody[] = {0xf8100,  0xf8ffc,  0xf80fd,     0xf9000,       0x08000,
                                      0x100000, 0x1f8000, 0x1000f8000, UINT64_MAX - 3};
    for (unsigned int i = 0; i < sizeof(nobody) / sizeof(nobody[0]); i++) {
        CHECK_EQUAL(ecam_read(&bench, nobody[i], 4), UINT64_MAX);
        device_write(pci_ecam_io, &bench.pci, nobody[i], 4, 0);
    }
    CHECK_EQUAL(card.reads, 0);
    CHECK_EQUAL(card.writes, 0);
}

static void test_bars(void)
{
    struct bench bench;
    struct card card;
    bench_init(&bench);
    card_init(&card);
    struct pci_function *function = &card.function;
    CHECK_EQUAL(pci_function_add_bar(function, 0, PCI_BAR_IO, 64), 0);
    CHECK_EQUAL(pci_function_add_bar(function, 1, PCI_BAR_MEMORY32, 0x4000), 0);
    CHECK_EQUAL(pci_function_add_bar(function, 2, PCI_BAR_MEMORY64, UINT64_C(1) << 34), 0);
    CHECK_EQUAL(pci_attach(&bench.pci, 2, function), 0);

    CHECK_EQUAL(pci_function_add_bar(function, 0, PCI_BAR_IO, 64), -EEXIST);
    CHECK_EQUAL(pci_function_add_bar(function, 3, PCI_BAR_MEMORY32, 64), -EEXIST);
    CHECK_EQUAL(pci_function_add_bar(function, 5, PCI_BAR_MEMORY64, 64), -EINVAL);
    CHECK_EQUAL(pci_function_add_bar(function, 6, PCI_BAR_IO, 64), -EINVAL);
    CHECK_EQUAL(pci_function_add_bar(function, 4, PCI_BAR_IO, 512), -EINVAL);
    CHECK_EQUAL(pci_function_add_bar(function, 4, PCI_BAR_IO, 2), -EINVAL);
    CHECK_EQUAL(pci_function_add_bar(function, 4, PCI_BAR_MEMORY32, 8), -EINVAL);
    CHECK_EQUAL(pci_function_add_bar(function, 4, PCI_BAR_MEMORY32, 0x3000), -EINVAL);
    CHECK_EQUAL(pci_function_add_bar(function, 4, PCI_BAR_MEMORY32, UINT64_C(1) << 32), -EINVAL);
    CHECK_EQUAL(pci_function_add_bar(function, 4, PCI_BAR_MEMORY64, 0), -EINVAL);

    /* Sizing: all ones, and what can be read back tells. */
    static const uint32_t sized[PCI_BARS] = {0xffffffc1, 0xffffc000, 0x00000004, 0xfffffffc, 0, 0};
    for (unsigned int i = 0; i < PCI_BARS; i++) {
        write_register(&bench, 0x1000 + PCI_BAR(i), UINT32_MAX);
        CHECK_EQUAL(read_register(&bench, 0x1000 + PCI_BAR(i)), sized[i]);
    }

    write_register(&bench, 0x1010, 0xc0ff);
    write_register(&bench, 0x1014, 0xc0004fff);
    write_register(&bench, 0x1018, 0xffffffff);
    write_register(&bench, 0x101c, 0x00000013);
    CHECK_EQUAL(pci_function_bar(function, 0), 0xc0c0);
    CHECK_EQUAL(pci_function_bar(function, 1), 0xc0004000);
    CHECK_EQUAL(pci_function_bar(function, 2), UINT64_C(0x1000000000));
    CHECK_EQUAL(pci_function_bar(function, 4), 0);
    CHECK_EQUAL(pci_function_bar(function, 6), 0);

    /* The command register has the two bits that these need. */
    write_register(&bench, 0x1004, UINT32_MAX);
    CHECK_EQUAL(read_register(&bench, 0x1004), PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
    pci_reset(&bench.pci);
    CHECK_EQUAL(read_register(&bench, 0x1004), 0);
    CHECK_EQUAL(read_register(&bench, 0x1010), 1);
    CHECK_EQUAL(pci_function_bar(function, 2), 0);
}

int main(void)
{
    test_address();
    test_bridge();
    test_absent();
    test_function();
    test_ecam();
    test_bars();
    return check_summary();
}
