/* The I/O APIC against its data sheet, with a recorder in place of the local APICs. */
#include "check.h"
#include "chipset/ioapic.h"
#include "chipset_helpers.h"

struct bench {
    struct ioapic ioapic;
    struct msi_message last;
    unsigned int count;
    bool refuse;
};

static bool record(void *context, const struct msi_message *message)
{
    struct bench *bench = context;

    bench->last = *message;
    bench->count++;
    return !bench->refuse;
}

static void set_up(struct bench *bench, uint8_t version)
{
    *bench = (struct bench){0};
    ioapic_init(
        &bench->ioapic,
        &(struct ioapic_config){.id = 5, .version = version, .deliver = record, .context = bench});
}

static void write_index(struct bench *bench, uint8_t index, uint32_t value)
{
    device_write(ioapic_io, &bench->ioapic, 0x00, 4, index);
    device_write(ioapic_io, &bench->ioapic, 0x10, 4, value);
}

static uint32_t read_index(struct bench *bench, uint8_t index)
{
    device_write(ioapic_io, &bench->ioapic, 0x00, 4, index);
    return (uint32_t)device_read(ioapic_io, &bench->ioapic, 0x10, 4);
}

static void test_registers(void)
{
    struct bench bench;

    set_up(&bench, IOAPIC_VERSION_82093AA);
    CHECK_EQUAL(read_index(&bench, 0), 0x05000000);
    CHECK_EQUAL(read_index(&bench, 1), 0x00170011);
    CHECK_EQUAL(read_index(&bench, 2), 0x05000000);
    CHECK_EQUAL(device_read(ioapic_io, &bench.ioapic, 0, 1), 2); /* the index reads back */
    write_index(&bench, 0, 0xffffffff);
    CHECK_EQUAL(read_index(&bench, 0), 0x0f000000);
    write_index(&bench, 1, 0); /* read only */
    CHECK_EQUAL(read_index(&bench, 1), 0x00170011);
    for (unsigned int i = 0; i < IOAPIC_INPUTS; i++) {
        CHECK_EQUAL(read_index(&bench, (uint8_t)(0x10 + 2 * i)), 0x00010000);
        CHECK_EQUAL(read_index(&bench, (uint8_t)(0x11 + 2 * i)), 0);
    }
    write_index(&bench, 0x10, 0xffffffff);
    write_index(&bench, 0x11, 0xffffffff);
    CHECK_EQUAL(read_index(&bench, 0x10), 0x0001afff); /* without the two status bits */
    CHECK_EQUAL(read_index(&bench, 0x11), 0xff000000);
    /* What is not there reads as zero and swallows writes. */
    for (unsigned int index = 3; index < 256; index++) {
        if (index < 0x10 || index >= 0x10 + 2 * IOAPIC_INPUTS) {
            write_index(&bench, (uint8_t)index, 0x12345678);
            CHECK_EQUAL(read_index(&bench, (uint8_t)index), 0);
        }
    }
    CHECK_EQUAL(device_read(ioapic_io, &bench.ioapic, 0x20, 4), 0);
    device_write(ioapic_io, &bench.ioapic, 0x12, 4, 0xffffffff); /* not aligned */
    device_write(ioapic_io, &bench.ioapic, 0x10, 1, 0xff);       /* not a doubleword */
    ioapic_reset(&bench.ioapic);
    CHECK_EQUAL(read_index(&bench, 0), 0x05000000);
    CHECK_EQUAL(read_index(&bench, 0x10), 0x00010000);
    CHECK_EQUAL(bench.count, 0);
}

static void test_edge(void)
{
    struct bench bench;

    set_up(&bench, IOAPIC_VERSION_82093AA);
    ioapic_set_irq(&bench.ioapic, 4, true);
    CHECK_EQUAL(bench.count, 0); /* masked */
    write_index(&bench, 0x19, 0x03000000);
    write_index(&bench, 0x18, 0x00000834); /* logical, fixed, vector 34h */
    CHECK_EQUAL(bench.count, 0);           /* the edge is gone */
    ioapic_set_irq(&bench.ioapic, 4, true);
    CHECK_EQUAL(bench.count, 0); /* no edge */
    ioapic_set_irq(&bench.ioapic, 4, false);
    ioapic_set_irq(&bench.ioapic, 4, true);
    CHECK_EQUAL(bench.count, 1);
    CHECK_EQUAL(bench.last.address, 0xfee03004);
    CHECK_EQUAL(bench.last.data, 0x4034);
    write_index(&bench, 0x18, 0x00000134); /* physical, lowest priority */
    ioapic_set_irq(&bench.ioapic, 4, false);
    ioapic_set_irq(&bench.ioapic, 4, true);
    CHECK_EQUAL(bench.last.address, 0xfee03008);
    CHECK_EQUAL(bench.last.data, 0x4134);
    write_index(&bench, 0x18, 0x00008700); /* ExtINT, level: an edge all the same */
    ioapic_set_irq(&bench.ioapic, 4, false);
    ioapic_set_irq(&bench.ioapic, 4, true);
    CHECK_EQUAL(bench.last.data, 0x4700);
    CHECK_EQUAL(read_index(&bench, 0x18) & 0x4000, 0);
    ioapic_set_irq(&bench.ioapic, IOAPIC_INPUTS, true); /* no such input */
    ioapic_set_irq(&bench.ioapic, UINT32_MAX, true);
    CHECK_EQUAL(bench.count, 3);
}

static void test_level(void)
{
    struct bench bench;

    set_up(&bench, IOAPIC_VERSION_82093AA);
    write_index(&bench, 0x10 + 2 * 23, 0x0000a051); /* level, active low, vector 51h */
    ioapic_set_irq(&bench.ioapic, 23, true);
    CHECK_EQUAL(bench.count, 1);
    CHECK_EQUAL(bench.last.data, 0xc051);
    CHECK_EQUAL(read_index(&bench, 0x10 + 2 * 23), 0x0000e051); /* remote IRR */
    ioapic_set_irq(&bench.ioapic, 23, true);
    CHECK_EQUAL(bench.count, 1); /* one at a time */
    ioapic_eoi(&bench.ioapic, 0x52);
    CHECK_EQUAL(bench.count, 1); /* not its vector */
    ioapic_eoi(&bench.ioapic, 0x51);
    CHECK_EQUAL(bench.count, 2); /* asserted still */
    ioapic_set_irq(&bench.ioapic, 23, false);
    ioapic_eoi(&bench.ioapic, 0x51);
    CHECK_EQUAL(bench.count, 2);
    CHECK_EQUAL(read_index(&bench, 0x10 + 2 * 23), 0x0000a051);
    /* Masked while it is asserted: sent when the mask goes. */
    write_index(&bench, 0x10 + 2 * 23, 0x0001a051);
    ioapic_set_irq(&bench.ioapic, 23, true);
    CHECK_EQUAL(bench.count, 2);
    write_index(&bench, 0x10 + 2 * 23, 0x0000a051);
    CHECK_EQUAL(bench.count, 3);
    /* Edge for a moment clears a stuck remote IRR. */
    write_index(&bench, 0x10 + 2 * 23, 0x00012051);
    CHECK_EQUAL(read_index(&bench, 0x10 + 2 * 23), 0x00012051);
    write_index(&bench, 0x10 + 2 * 23, 0x0000a051);
    CHECK_EQUAL(bench.count, 4);
    /* The guest can't set remote IRR itself. */
    ioapic_set_irq(&bench.ioapic, 23, false);
    ioapic_eoi(&bench.ioapic, 0x51);
    write_index(&bench, 0x10 + 2 * 23, 0x0000f051);
    CHECK_EQUAL(read_index(&bench, 0x10 + 2 * 23), 0x0000a051);
}

static void test_refused(void)
{
    struct bench bench;

    set_up(&bench, IOAPIC_VERSION_82093AA);
    bench.refuse = true;
    write_index(&bench, 0x10 + 2 * 9, 0x00008061);
    ioapic_set_irq(&bench.ioapic, 9, true);
    CHECK_EQUAL(bench.count, 1);
    CHECK_EQUAL(read_index(&bench, 0x10 + 2 * 9), 0x00008061); /* nobody took it */
    bench.refuse = false;
    write_index(&bench, 0x11 + 2 * 9, 0x01000000); /* to somebody else */
    CHECK_EQUAL(bench.count, 2);
    CHECK_EQUAL(bench.last.address, 0xfee01000);
    CHECK_EQUAL(read_index(&bench, 0x10 + 2 * 9), 0x0000c061);
}

static void test_eoi_register(void)
{
    struct bench bench;

    set_up(&bench, IOAPIC_VERSION_82093AA);
    write_index(&bench, 0x10, 0x00008061);
    ioapic_set_irq(&bench.ioapic, 0, true);
    device_write(ioapic_io, &bench.ioapic, 0x40, 4, 0x61);
    CHECK_EQUAL(bench.count, 1); /* this version has none */

    set_up(&bench, IOAPIC_VERSION_EOI);
    CHECK_EQUAL(read_index(&bench, 1), 0x00170020);
    write_index(&bench, 0x10, 0x00008061);
    ioapic_set_irq(&bench.ioapic, 0, true);
    device_write(ioapic_io, &bench.ioapic, 0x40, 4, 0x61);
    CHECK_EQUAL(bench.count, 2);
}

int main(void)
{
    test_registers();
    test_edge();
    test_level();
    test_refused();
    test_eoi_register();
    return check_summary();
}
