/* The buses: overlaps, splitting, and what nobody claims. */
#include <errno.h>

#include "base/log.h"
#include "check.h"
#include "vm/bus.h"

/* A device that remembers the last access and answers with a pattern of its own. */
struct probe {
    struct bus_access last;
    unsigned int count;
    uint64_t answer;
};

static void probe_io(void *device, struct bus_access *access)
{
    struct probe *probe = device;

    probe->last = *access;
    probe->count++;
    if (!access->is_write) {
        access->value = probe->answer;
    }
}

static void test_mapping(void)
{
    struct bus bus;
    struct probe probe = {0};

    bus_init(&bus, "port");
    CHECK_EQUAL(bus_map(&bus, 0x10, 0, "none", probe_io, &probe), -EINVAL);
    CHECK_EQUAL(bus_map(&bus, UINT64_MAX, 2, "wrap", probe_io, &probe), -EINVAL);
    CHECK_EQUAL(bus_map(&bus, UINT64_MAX, 1, "last", probe_io, &probe), 0);
    CHECK_EQUAL(bus_map(&bus, 0x20, 0x10, "middle", probe_io, &probe), 0);
    CHECK_EQUAL(bus_map(&bus, 0x10, 0x10, "before", probe_io, &probe), 0);
    CHECK_EQUAL(bus_map(&bus, 0x30, 0x10, "after", probe_io, &probe), 0);
    CHECK_EQUAL(bus.count, 4);
    for (unsigned int i = 1; i < bus.count; i++) {
        CHECK(bus.mappings[i - 1].base < bus.mappings[i].base);
    }
    CHECK_EQUAL(bus_map(&bus, 0x2f, 1, "inside", probe_io, &probe), -EEXIST);
    CHECK_EQUAL(bus_map(&bus, 0x00, 0x11, "tail", probe_io, &probe), -EEXIST);
    CHECK_EQUAL(bus_map(&bus, 0x00, 0x100, "around", probe_io, &probe), -EEXIST);
    bus_unmap(&bus, 0x21); /* not a base: nothing happens */
    CHECK_EQUAL(bus.count, 4);
    bus_unmap(&bus, 0x20);
    CHECK_EQUAL(bus.count, 3);
    CHECK_EQUAL(bus_map(&bus, 0x20, 0x10, "again", probe_io, &probe), 0);

    struct bus_access access = {.size = 1, .is_write = true, .value = 0x5a, .vcpu = 3};

    CHECK(bus_serve(&bus, UINT64_MAX, &access) != NULL);
    CHECK_EQUAL(probe.last.vcpu, 3);
    CHECK_EQUAL(probe.last.value, 0x5a);
}

static void test_full(void)
{
    struct bus bus;
    struct probe probe = {0};

    bus_init(&bus, "memory");
    for (unsigned int i = 0; i < BUS_MAPPINGS_MAX; i++) {
        CHECK_EQUAL(bus_map(&bus, i * 16, 8, "device", probe_io, &probe), 0);
    }
    CHECK_EQUAL(bus_map(&bus, 0x100000, 8, "more", probe_io, &probe), -ENOSPC);
}

static void test_serving(void)
{
    struct bus bus;
    struct probe low = {.answer = 0x1122334455667788};
    struct probe high = {.answer = 0xa5};

    bus_init(&bus, "port");
    bus_map(&bus, 0x100, 4, "low", probe_io, &low);
    bus_map(&bus, 0x104, 1, "high", probe_io, &high);

    struct bus_access access = {.size = 2};
    const struct bus_mapping *mapping = bus_serve(&bus, 0x102, &access);

    CHECK(mapping != NULL && mapping->device == &low);
    CHECK_EQUAL(low.last.offset, 2);
    CHECK_EQUAL(access.value, 0x7788);

    /* Four bytes from the third on: two of low, one of high, one of nobody. */
    access = (struct bus_access){.size = 4};
    mapping = bus_serve(&bus, 0x102, &access);
    CHECK(mapping != NULL && mapping->device == &low);
    CHECK_EQUAL(access.value, 0xffa58888);
    CHECK_EQUAL(high.last.size, 1);

    /* Bytes of a write go where they belong. */
    access = (struct bus_access){.size = 2, .is_write = true, .value = 0xbbaa};
    bus_serve(&bus, 0x103, &access);
    CHECK_EQUAL(low.last.offset, 3);
    CHECK_EQUAL(low.last.value, 0xaa);
    CHECK_EQUAL(high.last.value, 0xbb);

    /* Both ends unclaimed, a device in the middle. */
    bus_map(&bus, 0x203, 1, "island", probe_io, &high);
    access = (struct bus_access){.size = 8};
    mapping = bus_serve(&bus, 0x200, &access);
    CHECK(mapping != NULL && mapping->device == &high);
    CHECK_EQUAL(access.value, 0xffffffffa5ffffff);

    /* An odd size is served bytewise; none at all is no access. */
    access = (struct bus_access){.size = 3};
    bus_serve(&bus, 0x100, &access);
    CHECK_EQUAL(access.value, 0x888888);
    access = (struct bus_access){.size = 0};
    CHECK(bus_serve(&bus, 0x100, &access) == NULL);
}

static void test_unclaimed(void)
{
    struct bus bus;
    struct bus_access access = {.size = 4};

    bus_init(&bus, "memory");
    CHECK(bus_serve(&bus, 0x1000, &access) == NULL);
    CHECK_EQUAL(access.value, 0xffffffff);
    access = (struct bus_access){.size = 8};
    CHECK(bus_serve(&bus, 0x1000, &access) == NULL);
    CHECK_EQUAL(access.value, UINT64_MAX);
    CHECK_EQUAL(bus.unclaimed_count, 1); /* said once */
    access = (struct bus_access){.size = 1, .is_write = true};
    CHECK(bus_serve(&bus, 0x1001, &access) == NULL);
    CHECK_EQUAL(bus.unclaimed_count, 2);
    for (uint64_t i = 0; i < 1000; i++) {
        bus_serve(&bus, i, &access);
    }
    CHECK_EQUAL(bus.unclaimed_count, BUS_UNCLAIMED_LOGGED_MAX);

    /* Around the end of the address space. */
    access = (struct bus_access){.size = 4};
    CHECK(bus_serve(&bus, UINT64_MAX - 1, &access) == NULL);
    CHECK_EQUAL(access.value, 0xffffffff);
}

int main(void)
{
    log_set_level(LOG_SILENT);
    test_mapping();
    test_full();
    test_serving();
    test_unclaimed();
    return check_summary();
}
