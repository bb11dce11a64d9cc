/* VT-x: extended page tables. */
#include "vtx/core/ept.h"

#include "check.h"
#include "vtx_fake.h"
#include "x86/vmx.h"

#define GIB  (UINT64_C(1) << 30)
#define MIB  (UINT64_C(1) << 20)
#define KIB  UINT64_C(1024)
#define HIGH (UINT64_C(8) << 30) /* physical addresses that nobody reads */

static struct vtx_capabilities capabilities;
static struct vtx_ept ept;

static void start(void)
{
    struct error error;
    fake_reset();
    vtx_capabilities_read(&capabilities, &error);
    CHECK_EQUAL(vtx_ept_create(&ept, &fake_host, &capabilities), VTX_OK);
}

static void finish(void)
{
    vtx_ept_destroy(&ept);
    CHECK_EQUAL(fake_pages_in_use, 0);
}

static enum vtx_status map(uint64_t guest, uint64_t physical, uint64_t length)
{
    return vtx_ept_map(&ept, guest, physical, length, VTX_EPT_ALL, VTX_WRITE_BACK, VTX_SIZE_1G);
}

/* What an address leads to: 0 for nothing. */
static uint64_t at(uint64_t guest)
{
    struct vtx_ept_entry entry;
    return vtx_ept_walk(&ept, guest, &entry) ? entry.physical : 0;
}

static uint64_t size_at(uint64_t guest)
{
    struct vtx_ept_entry entry;
    vtx_ept_walk(&ept, guest, &entry);
    return entry.size;
}

static void test_pointer(void)
{
    start();
    CHECK_EQUAL(ept.pointer, ept.root.physical | 0x1e); /* 4 levels, write-back */
    CHECK_EQUAL(at(0), 0);
    CHECK_EQUAL(size_at(0), 512 * GIB);
    vtx_ept_invalidate(&ept);
    CHECK_EQUAL(fake.invept_count, 1);
    finish();
}

/* The largest page that alignment, length, processor and caller allow. */
static void test_sizes(void)
{
    start();
    CHECK_EQUAL(map(0, HIGH, GIB + 2 * MIB + 4 * KIB), VTX_OK);
    CHECK_EQUAL(size_at(0), GIB);
    CHECK_EQUAL(size_at(GIB), 2 * MIB);
    CHECK_EQUAL(size_at(GIB + 2 * MIB), 4 * KIB);
    CHECK_EQUAL(at(GIB - 1), HIGH + GIB - 1);
    CHECK_EQUAL(at(GIB + MIB + 5), HIGH + GIB + MIB + 5);
    CHECK_EQUAL(at(GIB + 2 * MIB + 4095), HIGH + GIB + 2 * MIB + 4095);
    CHECK_EQUAL(at(GIB + 2 * MIB + 4096), 0);
    /* Physical memory that is not aligned to the same: small pages. */
    CHECK_EQUAL(map(4 * GIB, HIGH + 4 * KIB, 2 * MIB), VTX_OK);
    CHECK_EQUAL(size_at(4 * GIB), 4 * KIB);
    CHECK_EQUAL(at(4 * GIB + MIB), HIGH + MIB + 4 * KIB);
    CHECK_EQUAL(vtx_ept_map(&ept, 5 * GIB, HIGH, GIB, VTX_EPT_ALL, VTX_WRITE_BACK, VTX_SIZE_2M),
                VTX_OK);
    CHECK_EQUAL(size_at(5 * GIB), 2 * MIB);
    finish();

    start();
    capabilities.has_ept_1g = capabilities.has_ept_2m = false;
    CHECK_EQUAL(map(0, HIGH, 2 * MIB), VTX_OK);
    CHECK_EQUAL(size_at(0), 4 * KIB);
    CHECK_EQUAL(at(2 * MIB - 1), HIGH + 2 * MIB - 1);
    finish();
}

/* The memory type is the host's, whatever the guest's PAT says. */
static void test_ignores_pat(void)
{
    start();
    map(0, HIGH, GIB);
    map(4 * GIB, HIGH, 4 * KIB);
    const uint64_t *root = ept.root.at;
    const uint64_t *table = fake_host.pointer(fake_host.context, root[0] & ~UINT64_C(0xfff));
    CHECK((table[0] & VMX_EPT_IGNORE_PAT) != 0);
    CHECK((table[4] & VMX_EPT_IGNORE_PAT) == 0); /* reserved where an entry leads to a table */
    finish();
}

/* A page that is partly covered is split, and the rest says the same as before. */
static void test_split(void)
{
    start();
    map(0, HIGH, GIB);
    CHECK_EQUAL(vtx_ept_unmap(&ept, 6 * MIB + 8 * KIB, 4 * KIB), VTX_OK);
    CHECK_EQUAL(at(6 * MIB + 8 * KIB), 0);
    CHECK_EQUAL(size_at(6 * MIB + 8 * KIB), 4 * KIB);
    CHECK_EQUAL(at(6 * MIB + 4 * KIB + 1), HIGH + 6 * MIB + 4 * KIB + 1);
    CHECK_EQUAL(at(6 * MIB + 12 * KIB), HIGH + 6 * MIB + 12 * KIB);
    CHECK_EQUAL(size_at(8 * MIB), 2 * MIB);
    CHECK_EQUAL(at(GIB - 1), HIGH + GIB - 1);
    /* Permissions and type of a part. */
    CHECK_EQUAL(vtx_ept_map(&ept, 16 * KIB, HIGH + GIB, 4 * KIB, VTX_EPT_READ, VTX_UNCACHEABLE,
                            VTX_SIZE_1G),
                VTX_OK);
    struct vtx_ept_entry entry;
    CHECK(vtx_ept_walk(&ept, 16 * KIB + 3, &entry));
    CHECK_EQUAL(entry.physical, HIGH + GIB + 3);
    CHECK_EQUAL(entry.permissions, VTX_EPT_READ);
    CHECK_EQUAL(entry.type, VTX_UNCACHEABLE);
    CHECK(vtx_ept_walk(&ept, 20 * KIB, &entry));
    CHECK_EQUAL(entry.permissions, VTX_EPT_ALL);
    CHECK_EQUAL(entry.type, VTX_WRITE_BACK);
    /* Over tables that are there, a large mapping uses them. */
    CHECK_EQUAL(map(0, HIGH + 2 * GIB, GIB), VTX_OK);
    CHECK_EQUAL(at(6 * MIB + 8 * KIB), HIGH + 2 * GIB + 6 * MIB + 8 * KIB);
    CHECK_EQUAL(at(16 * KIB), HIGH + 2 * GIB + 16 * KIB);
    finish();
}

static void test_unmap(void)
{
    start();
    map(0, HIGH, 3 * GIB);
    map(8 * GIB, HIGH, 2 * MIB);
    CHECK_EQUAL(vtx_ept_unmap(&ept, GIB - 4 * KIB, GIB + 8 * KIB), VTX_OK);
    CHECK_EQUAL(at(GIB - 4 * KIB - 1), HIGH + GIB - 4 * KIB - 1);
    CHECK_EQUAL(at(GIB - 4 * KIB), 0);
    CHECK_EQUAL(at(GIB + 512 * MIB), 0);
    CHECK_EQUAL(at(2 * GIB + 4 * KIB - 1), 0);
    CHECK_EQUAL(at(2 * GIB + 4 * KIB), HIGH + 2 * GIB + 4 * KIB);
    unsigned int before = fake_pages_in_use;
    CHECK_EQUAL(vtx_ept_unmap(&ept, 0, 512 * GIB), VTX_OK); /* holes cost nothing */
    CHECK_EQUAL(vtx_ept_unmap(&ept, 20 * GIB, 4 * KIB), VTX_OK);
    CHECK_EQUAL(fake_pages_in_use, before);
    CHECK_EQUAL(at(0), 0);
    CHECK_EQUAL(at(8 * GIB), 0);
    finish();
}

static void test_refused(void)
{
    start();
    CHECK_EQUAL(map(1, HIGH, 4 * KIB), VTX_INVALID);
    CHECK_EQUAL(map(0, HIGH + 1, 4 * KIB), VTX_INVALID);
    CHECK_EQUAL(map(0, HIGH, 4 * KIB - 1), VTX_INVALID);
    CHECK_EQUAL(map(0, 512 * GIB, 4 * KIB), VTX_INVALID); /* 39 physical address bits */
    CHECK_EQUAL(map(512 * GIB - 4 * KIB, HIGH, 8 * KIB), VTX_INVALID);
    CHECK_EQUAL(map(UINT64_MAX - 4095, HIGH, 8 * KIB), VTX_INVALID);
    CHECK_EQUAL(vtx_ept_unmap(&ept, 4 * KIB, UINT64_MAX - 4095), VTX_INVALID);
    CHECK_EQUAL(vtx_ept_map(&ept, 0, HIGH, 4 * KIB, VTX_EPT_WRITE, VTX_WRITE_BACK, VTX_SIZE_4K),
                VTX_INVALID); /* a misconfiguration */
    CHECK_EQUAL(vtx_ept_map(&ept, 0, HIGH, 4 * KIB, VTX_EPT_EXECUTE, VTX_WRITE_BACK, VTX_SIZE_4K),
                capabilities.has_execute_only ? VTX_OK : VTX_INVALID);
    CHECK_EQUAL(vtx_ept_map(&ept, 0, HIGH, 4 * KIB, 8, VTX_WRITE_BACK, VTX_SIZE_4K), VTX_INVALID);
    CHECK_EQUAL(at(UINT64_MAX), 0);
    finish();
}

static void test_no_memory(void)
{
    start();
    fake_pages_left = 2;
    CHECK_EQUAL(map(0, HIGH, 4 * KIB), VTX_NO_MEMORY);
    fake_pages_left = 1;
    CHECK_EQUAL(map(0, HIGH, 4 * KIB), VTX_OK);
    fake_pages_left = 0;
    CHECK_EQUAL(map(GIB, HIGH, GIB), VTX_OK);
    CHECK_EQUAL(vtx_ept_unmap(&ept, GIB, 4 * KIB), VTX_NO_MEMORY);
    CHECK_EQUAL(at(GIB), HIGH); /* not half split */
    finish();
    fake_pages_left = 0;
    CHECK_EQUAL(vtx_ept_create(&ept, &fake_host, &capabilities), VTX_NO_MEMORY);
}

int main(void)
{
    test_pointer();
    test_sizes();
    test_ignores_pat();
    test_split();
    test_unmap();
    test_refused();
    test_no_memory();
    return check_summary();
}
