/* The local APICs: priorities, modes, messages, pins, errors. The timer has a file of its own. */
#include "check.h"
#include "chipset/lapic.h"
#include "chipset_helpers.h"
#include "chipset_lapic_bench.h"

static void test_after_reset(void)
{
    struct bench bench;

    set_up(&bench, 2);
    CHECK_EQUAL(bench.map_count, 1);
    CHECK_EQUAL(bench.mapped[0].base, 0xfee00000);
    CHECK_EQUAL(read_apic(&bench, 0, ID), 0);
    CHECK_EQUAL(read_apic(&bench, 1, ID), 0x01000000);
    CHECK_EQUAL(read_apic(&bench, 0, VERSION), 0x00050014);
    CHECK_EQUAL(read_apic(&bench, 0, SVR), 0xff);
    CHECK_EQUAL(read_apic(&bench, 0, DFR), 0xffffffff);
    for (unsigned int offset = LVT_TIMER; offset <= LVT_ERROR; offset += 0x10) {
        CHECK_EQUAL(read_apic(&bench, 0, offset), 0x10000);
        write_apic(&bench, 0, offset, 0x40);
        CHECK_EQUAL(read_apic(&bench, 0, offset), 0x10040); /* software-disabled: masked */
    }
    CHECK_EQUAL(read_msr(&bench, 0, 0x1b), 0xfee00900);
    CHECK_EQUAL(read_msr(&bench, 1, 0x1b), 0xfee00800);
    CHECK(!send(&bench, 0, 0x40)); /* and deaf */
    CHECK(!lapic_pending(&bench.lapics, 0));
    CHECK_EQUAL(lapic_acknowledge(&bench.lapics, 0), UINT64_MAX);
}

static void test_priorities(void)
{
    struct bench bench;

    set_up_enabled(&bench, 1);
    CHECK(send(&bench, 0, 0x51));
    CHECK_EQUAL(bench.changed[0], 1);
    CHECK(lapic_pending(&bench.lapics, 0) && lapic_pending_hint(&bench.lapics, 0));
    send(&bench, 0, 0x53);
    send(&bench, 0, 0x31);
    CHECK_EQUAL(read_apic(&bench, 0, IRR + 0x20), 0x000a0000);
    CHECK_EQUAL(lapic_acknowledge(&bench.lapics, 0), 0x53);
    CHECK_EQUAL(read_apic(&bench, 0, ISR + 0x20), 0x00080000);
    CHECK_EQUAL(read_apic(&bench, 0, PPR), 0x50);
    CHECK(!lapic_pending(&bench.lapics, 0)); /* the same class, and one below */
    CHECK(!lapic_pending_hint(&bench.lapics, 0));
    CHECK_EQUAL(lapic_acknowledge(&bench.lapics, 0), UINT64_MAX);
    send(&bench, 0, 0x60);
    CHECK_EQUAL(lapic_acknowledge(&bench.lapics, 0), 0x60); /* nested */
    write_apic(&bench, 0, EOI, 0);
    CHECK(!lapic_pending(&bench.lapics, 0));
    write_apic(&bench, 0, EOI, 0);
    CHECK_EQUAL(lapic_acknowledge(&bench.lapics, 0), 0x51);
    write_apic(&bench, 0, EOI, 0);
    CHECK_EQUAL(lapic_acknowledge(&bench.lapics, 0), 0x31);
    write_apic(&bench, 0, EOI, 0);
    write_apic(&bench, 0, EOI, 0); /* nothing in service: nothing happens */
    CHECK_EQUAL(bench.eoi_count, 0);
}

static void test_task_priority(void)
{
    struct bench bench;

    set_up_enabled(&bench, 1);
    write_apic(&bench, 0, TPR, 0x5f);
    CHECK_EQUAL(lapic_get_cr8(&bench.lapics, 0), 5);
    CHECK_EQUAL(read_apic(&bench, 0, PPR), 0x5f);
    send(&bench, 0, 0x5f);
    CHECK(!lapic_pending(&bench.lapics, 0));
    unsigned int before = bench.changed[0];
    lapic_set_cr8(&bench.lapics, 0, 4);
    CHECK_EQUAL(read_apic(&bench, 0, TPR), 0x40);
    CHECK(bench.changed[0] > before);
    CHECK(lapic_pending_hint(&bench.lapics, 0));
    lapic_set_cr8(&bench.lapics, 0, 0xff);
    CHECK_EQUAL(read_apic(&bench, 0, TPR), 0xf0);
    CHECK(!lapic_pending_hint(&bench.lapics, 0));
}

static void test_level_and_eoi(void)
{
    struct bench bench;

    set_up_enabled(&bench, 1);
    CHECK(send_data(&bench, 0, 0xc061)); /* level, asserted */
    CHECK_EQUAL(read_apic(&bench, 0, TMR + 0x30), 2);
    lapic_acknowledge(&bench.lapics, 0);
    write_apic(&bench, 0, EOI, 0);
    CHECK_EQUAL(bench.eoi_count, 1);
    CHECK_EQUAL(bench.eoi_vector, 0x61);
    CHECK(send_data(&bench, 0, 0x4061)); /* an edge of the same vector */
    CHECK_EQUAL(read_apic(&bench, 0, TMR + 0x30), 0);
    lapic_acknowledge(&bench.lapics, 0);
    write_apic(&bench, 0, EOI, 0);
    CHECK_EQUAL(bench.eoi_count, 1);
    CHECK(send_data(&bench, 0, 0x8061)); /* deassertion: nothing to do */
    CHECK(!lapic_pending(&bench.lapics, 0));
    write_apic(&bench, 0, SVR, 0x11ff); /* suppression is not offered: the bit stays clear */
    CHECK_EQUAL(read_apic(&bench, 0, SVR), 0x1ff);

    bench.config.has_eoi_suppression = true;
    lapics_init(&bench.lapics, &bench.config);
    CHECK_EQUAL(read_apic(&bench, 0, VERSION), 0x01050014);
    write_apic(&bench, 0, SVR, 0x11ff);
    CHECK_EQUAL(read_apic(&bench, 0, SVR), 0x11ff);
    send_data(&bench, 0, 0xc061);
    lapic_acknowledge(&bench.lapics, 0);
    write_apic(&bench, 0, EOI, 0);
    CHECK_EQUAL(bench.eoi_count, 1);
}

static void test_software_disable(void)
{
    struct bench bench;

    set_up_enabled(&bench, 1);
    write_apic(&bench, 0, LVT_ERROR, 0x45);
    send(&bench, 0, 0x70);
    write_apic(&bench, 0, SVR, 0x0ff);
    CHECK_EQUAL(read_apic(&bench, 0, LVT_ERROR), 0x10045);
    CHECK_EQUAL(lapic_acknowledge(&bench.lapics, 0), 0x70); /* what it held is still given */
    CHECK(!send(&bench, 0, 0x71));
    CHECK(send_data(&bench, 0, 0x4400)); /* NMI gets through */
    CHECK_EQUAL(bench.nmis[0], 1);
}

static void test_physical_and_logical(void)
{
    struct bench bench;

    set_up_enabled(&bench, 4);
    CHECK(send(&bench, 2, 0x40));
    CHECK_EQUAL(accepted(&bench, 0x40), 0x4);
    CHECK(!send(&bench, 9, 0x40));
    CHECK(send(&bench, 0xff, 0x41));
    CHECK_EQUAL(accepted(&bench, 0x41), 0xf);
    write_apic(&bench, 3, ID, 0x09000000); /* in xAPIC mode the id is writable */
    CHECK(send(&bench, 9, 0x42));
    CHECK_EQUAL(accepted(&bench, 0x42), 0x8);
    CHECK(!send(&bench, 3, 0x42));

    /* Flat: a bit for each. */
    for (unsigned int i = 0; i < 4; i++) {
        write_apic(&bench, i, LDR, 0x01000000u << i | 0xffffff);
        CHECK_EQUAL(read_apic(&bench, i, LDR), 0x01000000u << i);
    }
    CHECK(send_logical(&bench, 0x05, 0x43));
    CHECK_EQUAL(accepted(&bench, 0x43), 0x5);
    CHECK(!send_logical(&bench, 0x10, 0x43));
    CHECK(send_logical(&bench, 0xff, 0x44));
    CHECK_EQUAL(accepted(&bench, 0x44), 0xf);

    /* Cluster: two in cluster 1, two in cluster 2. */
    for (unsigned int i = 0; i < 4; i++) {
        write_apic(&bench, i, DFR, 0);
        CHECK_EQUAL(read_apic(&bench, i, DFR), 0x0fffffff);
        write_apic(&bench, i, LDR, (1 + i / 2) << 28 | (1 + i % 2) << 24);
    }
    CHECK(send_logical(&bench, 0x21, 0x45));
    CHECK_EQUAL(accepted(&bench, 0x45), 0x4);
    CHECK(send_logical(&bench, 0x13, 0x46));
    CHECK_EQUAL(accepted(&bench, 0x46), 0x3);
    CHECK(!send_logical(&bench, 0x33, 0x46));

    struct msi_message elsewhere = {.address = 0xfed00000, .data = 0x40};

    CHECK(!lapics_msi(&bench.lapics, &elsewhere));
    elsewhere.address = 0x1fee00000;
    CHECK(!lapics_msi(&bench.lapics, &elsewhere));
}

static void test_lowest_priority(void)
{
    struct bench bench;

    set_up_enabled(&bench, 3);
    write_apic(&bench, 0, TPR, 0x20);
    write_apic(&bench, 2, TPR, 0x20);
    CHECK(send_data(&bench, 0xff, 0x4190));
    CHECK_EQUAL(accepted(&bench, 0x90), 0x2);
    write_apic(&bench, 1, TPR, 0x30);
    send_data(&bench, 0xff, 0x4191);
    send_data(&bench, 0xff, 0x4192);
    /* Equal ones take turns. */
    CHECK_EQUAL(accepted(&bench, 0x91) | accepted(&bench, 0x92), 0x5);
    write_apic(&bench, 0, SVR, 0);
    write_apic(&bench, 2, SVR, 0);
    send_data(&bench, 0xff, 0x4193);
    CHECK_EQUAL(accepted(&bench, 0x93), 0x2); /* the only one that listens */
    write_apic(&bench, 1, SVR, 0);
    CHECK(!send_data(&bench, 0xff, 0x4194));
}

static void test_ipis(void)
{
    struct bench bench;

    set_up_enabled(&bench, 3);
    write_apic(&bench, 0, ICR_HIGH, 0x02abcdef);
    CHECK_EQUAL(read_apic(&bench, 0, ICR_HIGH), 0x02000000);
    write_apic(&bench, 0, ICR, 0x4050);
    CHECK_EQUAL(accepted(&bench, 0x50), 0x4);
    CHECK_EQUAL(read_apic(&bench, 0, ICR), 0x4050); /* idle */
    write_apic(&bench, 1, ICR, 0x44051);            /* self */
    CHECK_EQUAL(accepted(&bench, 0x51), 0x2);
    write_apic(&bench, 1, ICR, 0x84052); /* all */
    CHECK_EQUAL(accepted(&bench, 0x52), 0x7);
    write_apic(&bench, 1, ICR, 0xc4053); /* others */
    CHECK_EQUAL(accepted(&bench, 0x53), 0x5);
    write_apic(&bench, 0, ICR, 0xc4400); /* NMI to the others */
    CHECK_EQUAL(bench.nmis[0], 0);
    CHECK_EQUAL(bench.nmis[1], 1);
    CHECK_EQUAL(bench.nmis[2], 1);
    write_apic(&bench, 0, ICR, 0xc4700); /* ExtINT is reserved here */
    CHECK(!bench.lapics.apics[1].extint_requested);

    /* INIT, INIT de-assert, SIPI: how Linux starts a processor. */
    write_apic(&bench, 1, TPR, 0x70);
    write_apic(&bench, 1, ID, 0x07000000);
    write_apic(&bench, 0, ICR_HIGH, 0x07000000);
    write_apic(&bench, 0, ICR, 0xc500);
    CHECK_EQUAL(bench.inits[1], 1);
    write_apic(&bench, 0, ICR, 0x8500);
    CHECK_EQUAL(bench.inits[1], 1);
    write_apic(&bench, 0, ICR, 0x0699);
    CHECK_EQUAL(bench.sipis[1], 1);
    CHECK_EQUAL(bench.sipi_vector, 0x99);
    CHECK_EQUAL(read_apic(&bench, 1, TPR), 0); /* INIT resets it… */
    CHECK_EQUAL(read_apic(&bench, 1, SVR), 0xff);
    CHECK_EQUAL(read_apic(&bench, 1, ID), 0x07000000); /* …but for the id */
    CHECK(!lapic_pending_hint(&bench.lapics, 1));
    CHECK_EQUAL(bench.inits[0] + bench.inits[2], 0);
}

static void test_errors(void)
{
    struct bench bench;

    set_up_enabled(&bench, 2);
    write_apic(&bench, 0, LVT_ERROR, 0xe0);
    write_apic(&bench, 0, ICR, 0x4000f);       /* vector 15 to itself */
    CHECK_EQUAL(read_apic(&bench, 0, ESR), 0); /* not before a write */
    CHECK_EQUAL(lapic_acknowledge(&bench.lapics, 0), 0xe0);
    write_apic(&bench, 0, EOI, 0);
    read_apic(&bench, 0, 0x500);                                  /* reserved */
    CHECK_EQUAL(lapic_acknowledge(&bench.lapics, 0), UINT64_MAX); /* not armed again yet */
    write_apic(&bench, 0, ESR, 0);
    CHECK_EQUAL(read_apic(&bench, 0, ESR), 0xa0);
    write_apic(&bench, 0, ESR, 0);
    CHECK_EQUAL(read_apic(&bench, 0, ESR), 0);
    CHECK(!send(&bench, 0, 3)); /* received an illegal vector */
    CHECK_EQUAL(lapic_acknowledge(&bench.lapics, 0), 0xe0);
    write_apic(&bench, 0, ESR, 0);
    CHECK_EQUAL(read_apic(&bench, 0, ESR), 0x40);
    /* An error entry whose own vector is illegal must not go round in circles. */
    write_apic(&bench, 0, LVT_ERROR, 0x02);
    write_apic(&bench, 0, 0x3f0, 0x50); /* self-IPI is not in xAPIC mode */
    write_apic(&bench, 0, ESR, 0);
    CHECK_EQUAL(read_apic(&bench, 0, ESR), 0xc0);
    write_apic(&bench, 0, VERSION, 0); /* only for reading, but no error */
    write_apic(&bench, 0, ESR, 0);
    CHECK_EQUAL(read_apic(&bench, 0, ESR), 0);
}

static void test_access_sizes(void)
{
    struct bench bench;

    set_up_enabled(&bench, 1);
    write_apic(&bench, 0, TPR, 0x40);
    for (uint8_t size = 1; size <= 8; size *= 2) {
        for (uint64_t offset = 0; offset < 0x1000; offset++) {
            if (size != 4 || (offset & 0xf) != 0) {
                access_window(&bench, 0, offset, size, true, UINT64_MAX);
            }
        }
    }
    CHECK_EQUAL(read_apic(&bench, 0, TPR), 0x40);
    CHECK_EQUAL(access_window(&bench, 0, SVR + 1, 1, false, 0) & 0xff, 0x01);
    CHECK_EQUAL(access_window(&bench, 0, SVR, 8, false, 0), 0x1ff);
    CHECK_EQUAL(access_window(&bench, 0, SVR + 4, 4, false, 0), 0);
    CHECK_EQUAL(access_window(&bench, 77, SVR, 4, false, 0), UINT64_MAX); /* no such vCPU */
}

static void test_base(void)
{
    struct bench bench;
    const uint64_t enabled = 0xfee00900, x2apic = 0xfee00d00, off = 0xfee00100;

    set_up_enabled(&bench, 2);
    CHECK(!write_msr(&bench, 0, 0x1b, enabled | 1));
    CHECK(!write_msr(&bench, 0, 0x1b, enabled | 0x200));
    CHECK(!write_msr(&bench, 0, 0x1b, enabled | UINT64_C(1) << 40));
    CHECK(!write_msr(&bench, 0, 0x1b, 0xfee00500)); /* x2APIC without enable */

    /* Off: neither memory nor messages; CR8 works on. */
    write_apic(&bench, 0, TPR, 0x30);
    CHECK(write_msr(&bench, 0, 0x1b, off));
    CHECK_EQUAL(access_window(&bench, 0, VERSION, 4, false, 0), UINT64_MAX);
    access_window(&bench, 0, TPR, 4, true, 0xff);
    lapic_set_cr8(&bench.lapics, 0, 7);
    CHECK_EQUAL(lapic_get_cr8(&bench.lapics, 0), 7);
    CHECK(!send(&bench, 0, 0x40));
    CHECK(!send_data(&bench, 0, 0x4400));
    CHECK(!write_msr(&bench, 0, 0x1b, x2apic)); /* not in one step */
    CHECK(write_msr(&bench, 0, 0x1b, enabled));
    CHECK_EQUAL(read_apic(&bench, 0, SVR), 0xff); /* as after a reset */
    CHECK_EQUAL(read_apic(&bench, 0, VERSION), 0x00050014);
    CHECK_EQUAL(access_window(&bench, 1, SVR, 4, false, 0), 0x1ff); /* the other's is untouched */

    CHECK(write_msr(&bench, 0, 0x1b, x2apic));
    CHECK_EQUAL(access_window(&bench, 0, VERSION, 4, false, 0), UINT64_MAX);
    CHECK(!write_msr(&bench, 0, 0x1b, enabled)); /* no way back but through off */
    CHECK(write_msr(&bench, 0, 0x1b, off));
    CHECK(write_msr(&bench, 0, 0x1b, enabled));

    bench.config.has_x2apic = false;
    lapics_init(&bench.lapics, &bench.config);
    CHECK(!write_msr(&bench, 0, 0x1b, x2apic));
}

static void test_relocation(void)
{
    struct bench bench;

    set_up_enabled(&bench, 2);
    CHECK(write_msr(&bench, 0, 0x1b, 0x42000900));
    CHECK_EQUAL(bench.map_count, 2); /* the other stays behind */
    CHECK_EQUAL(access_window(&bench, 0, VERSION, 4, false, 0), UINT64_MAX);
    CHECK_EQUAL(access_window(&bench, 1, VERSION, 4, false, 0), 0x00050014);

    struct bus_access access = {.offset = VERSION, .size = 4};

    lapic_window_io(bench.mapped[1].device, &access);
    CHECK_EQUAL(access.value, 0x00050014);
    CHECK_EQUAL(bench.mapped[1].base, 0x42000000);
    CHECK(write_msr(&bench, 0, 0x1b, 0xfee00900));
    CHECK_EQUAL(bench.map_count, 1);
    CHECK_EQUAL(read_apic(&bench, 0, VERSION), 0x00050014);
    /* A page that is taken is neither mapped nor, later, unmapped. */
    bench.refuse_map = true;
    CHECK(write_msr(&bench, 1, 0x1b, 0xfec00800));
    CHECK_EQUAL(bench.map_count, 1);
    CHECK(write_msr(&bench, 1, 0x1b, 0xfee00800));
    CHECK_EQUAL(bench.map_count, 1);
    CHECK_EQUAL(bench.unmap_unknown, 0);
    bench.refuse_map = false;
    /* Page 0 is a page like any other. */
    CHECK(write_msr(&bench, 0, 0x1b, 0x900));
    CHECK(write_msr(&bench, 1, 0x1b, 0x800));
    CHECK_EQUAL(bench.map_count, 1);
    CHECK_EQUAL(bench.mapped[0].base, 0);
    lapics_reset(&bench.lapics);
    CHECK_EQUAL(bench.map_count, 1);
    CHECK_EQUAL(bench.mapped[0].base, 0xfee00000);
}

static void test_x2apic(void)
{
    struct bench bench;
    uint64_t value;

    set_up_enabled(&bench, 20);
    CHECK(!lapics_rdmsr(&bench.lapics, 17, 0x802, &value)); /* not in this mode */
    CHECK(!write_msr(&bench, 17, 0x808, 0));
    for (unsigned int i = 0; i < 20; i++) {
        write_apic(&bench, i, ID, 0x55000000); /* the x2APIC id does not come from there */
        CHECK(write_msr(&bench, i, 0x1b, i == 0 ? 0xfee00d00 : 0xfee00c00));
        CHECK(write_msr(&bench, i, 0x80f, 0x1ff));
    }
    CHECK_EQUAL(read_msr(&bench, 17, 0x802), 17);
    CHECK_EQUAL(read_msr(&bench, 17, 0x80d), 0x00010002); /* cluster 1, member 1 */
    CHECK_EQUAL(read_msr(&bench, 17, 0x803), 0x00050014);

    CHECK(write_msr(&bench, 0, 0x830, UINT64_C(17) << 32 | 0x4040));
    CHECK_EQUAL(accepted(&bench, 0x40), 1u << 17);
    CHECK_EQUAL(read_msr(&bench, 0, 0x830), UINT64_C(17) << 32 | 0x4040);
    CHECK(write_msr(&bench, 0, 0x830, UINT64_C(0x10003) << 32 | 0x4841));
    CHECK_EQUAL(accepted(&bench, 0x41), 3u << 16);
    CHECK(write_msr(&bench, 0, 0x830, UINT64_C(0xffffffff) << 32 | 0x4042));
    CHECK_EQUAL(accepted(&bench, 0x42), 0xfffff);
    CHECK(write_msr(&bench, 0, 0x830, UINT64_C(0xff) << 32 | 0x4043));
    CHECK_EQUAL(accepted(&bench, 0x43), 0);   /* 8 bits are no broadcast in this mode */
    CHECK(write_msr(&bench, 5, 0x83f, 0x44)); /* self-IPI */
    CHECK_EQUAL(accepted(&bench, 0x44), 1u << 5);
    CHECK(send(&bench, 0xff, 0x45)); /* but they are in a device's message */
    CHECK_EQUAL(accepted(&bench, 0x45), 0xfffff);
    CHECK(send_logical(&bench, 0x06, 0x46)); /* cluster 0 */
    CHECK_EQUAL(accepted(&bench, 0x46), 0x6);

    /* What raises #GP: reserved bits, registers that are not there, the wrong direction. */
    CHECK(!write_msr(&bench, 0, 0x808, 0x100));
    CHECK(!write_msr(&bench, 0, 0x80b, 1));
    CHECK(!write_msr(&bench, 0, 0x828, 1));
    CHECK(!write_msr(&bench, 0, 0x83f, 0x100));
    CHECK(!write_msr(&bench, 0, 0x830, 0x00100040));
    CHECK(!write_msr(&bench, 0, 0x832, 0x00080040));
    CHECK(!write_msr(&bench, 0, 0x838, UINT64_C(1) << 32));
    CHECK(!write_msr(&bench, 0, 0x802, 0));
    CHECK(!write_msr(&bench, 0, 0x80d, 0));
    CHECK(!write_msr(&bench, 0, 0x80e, 0));
    CHECK(!write_msr(&bench, 0, 0x831, 0));
    CHECK(!lapics_rdmsr(&bench.lapics, 0, 0x80b, &value));
    CHECK(!lapics_rdmsr(&bench.lapics, 0, 0x80e, &value));
    CHECK(!lapics_rdmsr(&bench.lapics, 0, 0x831, &value));
    CHECK(!lapics_rdmsr(&bench.lapics, 0, 0x83f, &value));
    CHECK(!lapics_rdmsr(&bench.lapics, 0, 0x8ff, &value));
    CHECK(write_msr(&bench, 0, 0x80b, 0));
    CHECK(write_msr(&bench, 0, 0x828, 0));
    CHECK(lapics_owns_msr(0x1b) && lapics_owns_msr(0x6e0) && lapics_owns_msr(0x800) &&
          lapics_owns_msr(0x8ff) && !lapics_owns_msr(0x900) && !lapics_owns_msr(0x10));
}

static void test_pins(void)
{
    struct bench bench;

    set_up(&bench, 2);
    bench.pic_vector = 0x08;
    lapics_set_lint0(&bench.lapics, 0, true);
    CHECK(!lapic_pending(&bench.lapics, 0)); /* masked after reset */
    lapics_set_virtual_wire(&bench.lapics);
    CHECK(lapic_pending_hint(&bench.lapics, 0));
    lapic_set_cr8(&bench.lapics, 0, 15); /* ExtINT knows no priorities */
    CHECK_EQUAL(lapic_acknowledge(&bench.lapics, 0), 0x08);
    CHECK_EQUAL(bench.pic_count, 1);
    lapics_set_lint0(&bench.lapics, 0, false);
    CHECK(!lapic_pending_hint(&bench.lapics, 0));
    CHECK_EQUAL(lapic_acknowledge(&bench.lapics, 0), UINT64_MAX);
    lapics_set_lint1(&bench.lapics, 0, true);
    lapics_set_lint1(&bench.lapics, 0, true);
    CHECK_EQUAL(bench.nmis[0], 1);

    /* LINT0 as a level-triggered fixed interrupt. */
    lapic_set_cr8(&bench.lapics, 0, 0);
    write_apic(&bench, 0, LVT_LINT0, 0x8047);
    lapics_set_lint0(&bench.lapics, 0, true);
    CHECK_EQUAL(read_apic(&bench, 0, LVT_LINT0), 0xc047);
    CHECK_EQUAL(lapic_acknowledge(&bench.lapics, 0), 0x47);
    write_apic(&bench, 0, EOI, 0);
    CHECK_EQUAL(lapic_acknowledge(&bench.lapics, 0), 0x47); /* asserted still */
    lapics_set_lint0(&bench.lapics, 0, false);
    write_apic(&bench, 0, EOI, 0);
    CHECK_EQUAL(read_apic(&bench, 0, LVT_LINT0), 0x8047);
    CHECK_EQUAL(lapic_acknowledge(&bench.lapics, 0), UINT64_MAX);

    /* With the APIC off the pins are INTR and NMI again. */
    write_msr(&bench, 0, 0x1b, 0xfee00100);
    lapics_set_lint0(&bench.lapics, 0, true);
    CHECK_EQUAL(lapic_acknowledge(&bench.lapics, 0), 0x08);
    lapics_set_lint1(&bench.lapics, 0, false);
    lapics_set_lint1(&bench.lapics, 0, true);
    CHECK_EQUAL(bench.nmis[0], 2);
    lapics_set_lint0(&bench.lapics, 99, true); /* no such pin */

    /* An I/O APIC's ExtINT message reaches the 8259A by another way. */
    set_up_enabled(&bench, 2);
    bench.pic_vector = 0x30;
    CHECK(send_data(&bench, 1, 0x4700));
    CHECK_EQUAL(lapic_acknowledge(&bench.lapics, 1), 0x30);
    CHECK(!lapic_pending(&bench.lapics, 1));
}

int main(void)
{
    test_after_reset();
    test_priorities();
    test_task_priority();
    test_level_and_eoi();
    test_software_disable();
    test_physical_and_logical();
    test_lowest_priority();
    test_ipis();
    test_errors();
    test_access_sizes();
    test_base();
    test_relocation();
    test_x2apic();
    test_pins();
    return check_summary();
}
