/* Guest memory: slots, bounds, copies over slot borders, ROM, listeners, sharing. */
#include "vm/guestmem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"

static struct guestmem *make(bool shared)
{
    struct guestmem_options options = {.shared = shared};
    struct guestmem *memory = NULL;
    struct error error;
    CHECK_EQUAL(guestmem_create(&options, &memory, &error), 0);
    return memory;
}

static void test_bad_slots(void)
{
    struct guestmem *memory = make(false);
    struct error error;
    CHECK_EQUAL(guestmem_add(memory, gpa(0), 0, 0, &error), -EINVAL);
    CHECK_EQUAL(guestmem_add(memory, gpa(0), 100, 0, &error), -EINVAL);
    CHECK_EQUAL(guestmem_add(memory, gpa(0x800), 0x1000, 0, &error), -EINVAL);
    CHECK_EQUAL(guestmem_add(memory, gpa(UINT64_MAX - 0xfff), 0x1000, 0, &error), -EINVAL);
    CHECK_EQUAL(guestmem_add(memory, gpa(0x1000), UINT64_MAX - 0xfff, 0, &error), -EINVAL);
    CHECK_EQUAL(guestmem_add(memory, gpa(0x10000), 0x10000, 0, &error), 0);
    CHECK_EQUAL(guestmem_add(memory, gpa(0x1f000), 0x1000, 0, &error), -EINVAL);
    CHECK_EQUAL(guestmem_add(memory, gpa(0xf000), 0x2000, 0, &error), -EINVAL);
    CHECK_EQUAL(guestmem_add(memory, gpa(0x0), 0x40000, 0, &error), -EINVAL);
    CHECK(strstr(error.text, "overlaps") != NULL);
    CHECK_EQUAL(guestmem_add(memory, gpa(0x20000), 0x1000, 0, &error), 0);
    CHECK_EQUAL(guestmem_slot_count(memory), 2);
    CHECK_EQUAL(guestmem_total(memory), 0x11000);
    guestmem_destroy(memory);
}

static void test_too_many_slots(void)
{
    struct guestmem *memory = make(false);
    struct error error;
    for (unsigned int i = 0; i < GUESTMEM_SLOTS_MAX; i++) {
        CHECK_EQUAL(guestmem_add(memory, gpa(i * 0x2000), 0x1000, 0, &error), 0);
    }
    CHECK_EQUAL(guestmem_add(memory, gpa(0x100000), 0x1000, 0, &error), -ENOSPC);
    CHECK(guestmem_slot(memory, GUESTMEM_SLOTS_MAX) == NULL);
    guestmem_destroy(memory);
}

static void test_more_than_the_host_has(void)
{
    struct guestmem *memory = make(false);
    struct error error;
    CHECK_EQUAL(guestmem_add(memory, gpa(0), UINT64_C(1) << 51, 0, &error), -ENOMEM);
    CHECK(strstr(error.text, "MiB") != NULL);
    CHECK_EQUAL(guestmem_slot_count(memory), 0);
    guestmem_destroy(memory);
}

static void test_find_and_pointer(void)
{
    struct guestmem *memory = make(false);
    struct error error;
    guestmem_add(memory, gpa(0x10000), 0x2000, 0, &error);
    CHECK(guestmem_find(memory, gpa(0xffff)) == NULL);
    CHECK(guestmem_find(memory, gpa(0x10000)) == guestmem_slot(memory, 0));
    CHECK(guestmem_find(memory, gpa(0x11fff)) == guestmem_slot(memory, 0));
    CHECK(guestmem_find(memory, gpa(0x12000)) == NULL);
    CHECK(guestmem_find(memory, gpa(UINT64_MAX)) == NULL);
    uint8_t *host = guestmem_slot(memory, 0)->host;
    CHECK(guestmem_pointer(memory, gpa(0x10010), 0x1ff0) == host + 0x10);
    CHECK(guestmem_pointer(memory, gpa(0x10010), 0x1ff1) == NULL);
    CHECK(guestmem_pointer(memory, gpa(0x10010), UINT64_MAX) == NULL);
    CHECK(guestmem_pointer(memory, gpa(0x12000), 0) == NULL);
    guestmem_destroy(memory);
}

static void test_copies(void)
{
    struct guestmem *memory = make(false);
    struct error error;
    /* Two neighbours, added in the wrong order, and a hole behind them. */
    guestmem_add(memory, gpa(0x2000), 0x1000, 0, &error);
    guestmem_add(memory, gpa(0x1000), 0x1000, 0, &error);
    uint8_t out[64], in[64];
    for (unsigned int i = 0; i < sizeof(out); i++) {
        out[i] = (uint8_t)(i + 1);
    }
    CHECK_EQUAL(guestmem_write(memory, gpa(0x1fe0), out, sizeof(out)), 0);
    CHECK_EQUAL(guestmem_read(memory, gpa(0x1fe0), in, sizeof(in)), 0);
    CHECK(memcmp(in, out, sizeof(in)) == 0);
    CHECK_EQUAL(guestmem_slot(memory, 0)->host[0], 33);
    CHECK_EQUAL(guestmem_slot(memory, 1)->host[0xfff], 32);

    /* One byte too far: nothing is copied. */
    CHECK_EQUAL(guestmem_write(memory, gpa(0x3000 - 63), out, sizeof(out)), -EFAULT);
    CHECK_EQUAL(guestmem_slot(memory, 0)->host[0xfff], 0);
    memset(in, 0xee, sizeof(in));
    CHECK_EQUAL(guestmem_read(memory, gpa(0x3000 - 63), in, sizeof(in)), -EFAULT);
    CHECK_EQUAL(in[0], 0xee);
    CHECK_EQUAL(guestmem_read(memory, gpa(UINT64_MAX - 3), in, 8), -EFAULT);
    CHECK_EQUAL(guestmem_read(memory, gpa(0x9000), in, 0), 0);
    guestmem_destroy(memory);
}

static void test_rom(void)
{
    struct guestmem *memory = make(false);
    struct error error;
    guestmem_add(memory, gpa(0x1000), 0x1000, 0, &error);
    guestmem_add(memory, gpa(0x2000), 0x1000, GUESTMEM_READ_ONLY, &error);
    uint8_t bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    CHECK_EQUAL(guestmem_write(memory, gpa(0x1ffc), bytes, 8), -EFAULT);
    CHECK_EQUAL(guestmem_slot(memory, 0)->host[0xffc], 0);
    memset(guestmem_pointer(memory, gpa(0x2000), 8), 0x5a, 8);
    CHECK_EQUAL(guestmem_read(memory, gpa(0x1ffc), bytes, 8), 0);
    CHECK_EQUAL(bytes[3], 0);
    CHECK_EQUAL(bytes[4], 0x5a);
    guestmem_destroy(memory);
}

struct record {
    unsigned int calls;
    uint64_t address, length;
};

static void record_written(void *context, gpa_t address, uint64_t length)
{
    struct record *record = context;
    record->calls++;
    record->address = address.v;
    record->length = length;
}

static void test_listener(void)
{
    struct guestmem *memory = make(false);
    struct error error;
    struct record record = {0};
    guestmem_add(memory, gpa(0x1000), 0x1000, 0, &error);
    guestmem_set_listener(memory, record_written, &record);
    CHECK_EQUAL(guestmem_write(memory, gpa(0x1234), "abc", 3), 0);
    CHECK_EQUAL(record.calls, 1);
    CHECK_EQUAL(record.address, 0x1234);
    CHECK_EQUAL(record.length, 3);
    CHECK_EQUAL(guestmem_write(memory, gpa(0x1fff), "abc", 3), -EFAULT);
    CHECK_EQUAL(guestmem_write(memory, gpa(0x1fff), "", 0), 0);
    CHECK_EQUAL(record.calls, 1);
    guestmem_destroy(memory);
}

static void test_shared(void)
{
    struct guestmem *memory = make(true);
    struct error error;
    CHECK_EQUAL(guestmem_add(memory, gpa(0), 0x400000, 0, &error), 0);
    CHECK_EQUAL(guestmem_write(memory, gpa(0x3ff000), "shared", 7), 0);
    int file = guestmem_file(memory, 0);
    CHECK(file >= 0);
    CHECK_EQUAL(guestmem_file(memory, 1), UINT64_MAX);
    char *other = mmap(NULL, 0x400000, PROT_READ, MAP_SHARED, file, 0);
    CHECK(other != MAP_FAILED);
    CHECK(strcmp(other + 0x3ff000, "shared") == 0);
    munmap(other, 0x400000);
    guestmem_destroy(memory);
}

/* Big slots must allow huge pages and must not be touched: that is what makes starting cheap. */
static void test_big_is_cheap(void)
{
    struct guestmem *memory = make(false);
    struct error error;
    CHECK_EQUAL(guestmem_add(memory, gpa(0x100000), UINT64_C(0x1ff00000), 0, &error), 0);
    uint8_t *host = guestmem_slot(memory, 0)->host;
    CHECK_EQUAL(((uintptr_t)host - 0x100000) % 0x200000, 0);
    static unsigned char resident[0x1ff00000 / 4096];
    CHECK_EQUAL(mincore(host, 0x1ff00000, resident), 0);
    unsigned int present = 0;
    for (size_t i = 0; i < sizeof(resident); i++) {
        present += resident[i] & 1u;
    }
    CHECK_EQUAL(present, 0);
    CHECK_EQUAL(guestmem_file(memory, 0), UINT64_MAX);
    guestmem_destroy(memory);
}

int main(void)
{
    test_bad_slots();
    test_too_many_slots();
    test_more_than_the_host_has();
    test_find_and_pointer();
    test_copies();
    test_rom();
    test_listener();
    test_shared();
    test_big_is_cheap();
    guestmem_destroy(NULL);
    return check_summary();
}
