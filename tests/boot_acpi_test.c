/* The ACPI tables, the AML builder and the memory map. With iasl there, it judges the tables too.
 */
#include "boot/acpi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boot/aml.h"
#include "boot/bytes.h"
#include "boot/e820.h"
#include "boot/layout.h"
#include "check.h"

#define BASE UINT64_C(0xe0000)

static uint8_t tables[BOOT_ACPI_SIZE];

static uint8_t sum(const uint8_t *bytes, size_t length)
{
    uint8_t total = 0;
    for (size_t i = 0; i < length; i++) {
        total = (uint8_t)(total + bytes[i]);
    }
    return total;
}

static const uint8_t *at(uint64_t address)
{
    return tables + (address - BASE);
}

/* The table of that signature, its checksum verified; NULL when the XSDT has none. */
static const uint8_t *find_table(const char *signature)
{
    const uint8_t *xsdt = at(bytes_get64(tables + 24));
    uint32_t length = bytes_get32(xsdt + 4);
    CHECK(memcmp(xsdt, "XSDT", 4) == 0);
    CHECK_EQUAL(sum(xsdt, length), 0);
    for (uint32_t i = 36; i + 8 <= length; i += 8) {
        const uint8_t *table = at(bytes_get64(xsdt + i));
        if (memcmp(table, signature, 4) == 0) {
            CHECK_EQUAL(sum(table, bytes_get32(table + 4)), 0);
            return table;
        }
    }
    return NULL;
}

static void test_rsdp(size_t length)
{
    CHECK(memcmp(tables, "RSD PTR ", 8) == 0);
    CHECK_EQUAL(sum(tables, 20), 0);
    CHECK_EQUAL(sum(tables, 36), 0);
    CHECK_EQUAL(tables[15], 2);
    CHECK(bytes_get64(tables + 24) - BASE < length);
}

static void test_fadt(void)
{
    const uint8_t *fadt = find_table("FACP");
    if (!CHECK(fadt != NULL)) {
        return;
    }
    CHECK_EQUAL(bytes_get32(fadt + 4), 276);
    CHECK_EQUAL(bytes_get16(fadt + 46), 9);
    CHECK_EQUAL(bytes_get32(fadt + 48), 0); /* no SMI_CMD */
    CHECK_EQUAL(bytes_get32(fadt + 56), 0x600);
    CHECK_EQUAL(bytes_get32(fadt + 64), 0x604);
    CHECK_EQUAL(bytes_get32(fadt + 76), 0x608);
    CHECK_EQUAL(bytes_get64(fadt + 116 + 4), 0xcf9);
    CHECK_EQUAL(fadt[128], 6);
    CHECK_EQUAL(bytes_get64(fadt + 148 + 4), 0x600);
    CHECK_EQUAL(bytes_get64(fadt + 172 + 4), 0x604);
    CHECK_EQUAL(bytes_get64(fadt + 208 + 4), 0x608);
    CHECK((bytes_get32(fadt + 112) & (1u << 20)) == 0); /* not hardware-reduced */

    const uint8_t *facs = at(bytes_get32(fadt + 36));
    CHECK(memcmp(facs, "FACS", 4) == 0);
    CHECK_EQUAL((uint64_t)(facs - tables) % 64, 0);
    const uint8_t *dsdt = at(bytes_get64(fadt + 140));
    CHECK_EQUAL(bytes_get32(fadt + 40), bytes_get64(fadt + 140));
    CHECK(memcmp(dsdt, "DSDT", 4) == 0);
    CHECK_EQUAL(sum(dsdt, bytes_get32(dsdt + 4)), 0);
    /* Name (\_S5, Package (4) {5, 5, 0, 0}), encoded by hand. */
    static const uint8_t s5[] = {0x08, '\\', '_',  'S',  '5',  '_',  0x12, 0x08,
                                 0x04, 0x0a, 0x05, 0x0a, 0x05, 0x00, 0x00};
    CHECK(memcmp(dsdt + 36, s5, sizeof(s5)) == 0);
    /* Device (\_SB.PCI0) comes first in its scope: {ExtOp, DeviceOp, PkgLength, "PCI0", …}. */
    CHECK(memmem(dsdt, bytes_get32(dsdt + 4), "PCI0\x08_HID\x0c\x41\xd0\x0a\x03", 14) != NULL);
}

/* Counts the MADT's entries of a type and gives the last one. */
static unsigned int madt_entries(const uint8_t *madt, uint8_t type, const uint8_t **last)
{
    uint32_t length = bytes_get32(madt + 4);
    unsigned int count = 0;
    for (uint32_t i = 44; i + 2 <= length && madt[i + 1] >= 2; i += madt[i + 1]) {
        if (madt[i] == type) {
            count++;
            *last = madt + i;
        }
    }
    return count;
}

static void test_madt(unsigned int cpus)
{
    const uint8_t *madt = find_table("APIC");
    const uint8_t *entry = NULL;
    if (!CHECK(madt != NULL)) {
        return;
    }
    CHECK_EQUAL(bytes_get32(madt + 36), 0xfee00000);
    CHECK_EQUAL(madt_entries(madt, 0, &entry), cpus < 255 ? cpus : 255);
    CHECK_EQUAL(entry[3], (cpus < 255 ? cpus : 255) - 1);
    CHECK_EQUAL(madt_entries(madt, 9, &entry), cpus > 255 ? cpus - 255 : 0);
    if (cpus > 255) {
        CHECK_EQUAL(bytes_get32(entry + 4), cpus - 1);
    }
    CHECK_EQUAL(madt_entries(madt, 1, &entry), 1);
    CHECK_EQUAL(bytes_get32(entry + 4), 0xfec00000);
    CHECK_EQUAL(madt_entries(madt, 2, &entry), 2);
    CHECK_EQUAL(entry[3], 9); /* the SCI: level-triggered, active high */
    CHECK_EQUAL(bytes_get32(entry + 4), 9);
    CHECK_EQUAL(bytes_get16(entry + 8), 0xd);
}

static void test_mcfg(void)
{
    const uint8_t *mcfg = find_table("MCFG");
    if (!CHECK(mcfg != NULL)) {
        return;
    }
    CHECK_EQUAL(bytes_get32(mcfg + 4), 60);
    CHECK_EQUAL(bytes_get64(mcfg + 44), BOOT_PCI_ECAM_BASE);
    CHECK_EQUAL(bytes_get64(mcfg + 52), 0); /* segment 0, buses 0..0 */
}

/* A machine without PCI says nothing of it. */
static void test_without_pci(void)
{
    struct acpi_config config = acpi_config_default(1);
    struct error error;
    size_t length = 0;
    config.pci_memory_base = 0;
    config.pci_ecam_base = 0;
    CHECK_EQUAL(acpi_build(&config, BASE, tables, sizeof(tables), &length, &error), 0);
    CHECK(find_table("APIC") != NULL);
    CHECK(find_table("MCFG") == NULL);
    CHECK(memmem(tables, length, "PCI0", 4) == NULL);
    CHECK(memmem(tables, length, "ECAM", 4) == NULL);
}

static void test_tables(unsigned int cpus)
{
    struct acpi_config config = acpi_config_default(cpus);
    struct error error;
    size_t length = 0;
    CHECK_EQUAL(acpi_build(&config, BASE, tables, sizeof(tables), &length, &error), 0);
    test_rsdp(length);
    test_fadt();
    test_madt(cpus);
    test_mcfg();
}

/* Every capacity that is too small is refused and nothing is written beyond it. */
static void test_small_buffers(void)
{
    struct acpi_config config = acpi_config_default(2);
    struct error error;
    size_t length = 0;
    CHECK_EQUAL(acpi_build(&config, BASE, tables, sizeof(tables), &length, &error), 0);
    size_t needed = length;
    for (size_t capacity = 0; capacity < needed; capacity++) {
        uint8_t *exact = malloc(capacity + 1); /* the sanitizer watches its end */
        exact[capacity] = 0x5a;
        CHECK_EQUAL(acpi_build(&config, BASE, exact, capacity, &length, &error), -ENOSPC);
        CHECK_EQUAL(exact[capacity], 0x5a);
        free(exact);
    }
    CHECK_EQUAL(acpi_build(&config, BASE, tables, needed, &length, &error), 0);
    CHECK_EQUAL(acpi_build(&config, BASE + 8, tables, sizeof(tables), &length, &error), -EINVAL);
    config.cpu_count = 0;
    CHECK_EQUAL(acpi_build(&config, BASE, tables, sizeof(tables), &length, &error), -EINVAL);
}

static void test_aml_encoding(void)
{
    uint8_t bytes[8192];
    struct aml aml;

    aml_start(&aml, bytes, sizeof(bytes));
    aml_eisa_id(&aml, "PNP0A03");
    static const uint8_t pnp0a03[] = {0x0c, 0x41, 0xd0, 0x0a, 0x03};
    CHECK(aml_finished(&aml) && aml.length == 5 && memcmp(bytes, pnp0a03, 5) == 0);

    aml_start(&aml, bytes, sizeof(bytes));
    aml_scope_begin(&aml, "\\_SB_.PCI0");
    aml_end(&aml);
    static const uint8_t scope[] = {0x10, 0x0b, '\\', 0x2e, '_', 'S', 'B', '_', 'P', 'C', 'I', '0'};
    CHECK(aml_finished(&aml) && aml.length == 12 && memcmp(bytes, scope, 12) == 0);

    static const uint64_t integers[] = {0,      1,       2,          0xff,       0x100,
                                        0xffff, 0x10000, 0xffffffff, 0x100000000};
    static const size_t lengths[] = {1, 1, 2, 2, 3, 3, 5, 5, 9};
    for (size_t i = 0; i < sizeof(integers) / sizeof(integers[0]); i++) {
        aml_start(&aml, bytes, sizeof(bytes));
        aml_integer(&aml, integers[i]);
        CHECK_EQUAL(aml.length, lengths[i]);
    }
}

/* The windows of a bridge, encoded by hand; from ResourceTemplate's bytes the head is left off. */
static void test_aml_windows(void)
{
    static const uint8_t expected[] = {/* WordBusNumber 0..0 */
                                       0x88, 13, 0, 2, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0,
                                       /* WordIO 0xd00..0xffff */
                                       0x88, 13, 0, 1, 0x0c, 3, 0, 0, 0x00, 0x0d, 0xff, 0xff, 0, 0,
                                       0x00, 0xf3,
                                       /* DWordMemory 0xc0000000..0xfebfffff */
                                       0x87, 23, 0, 0, 0x0c, 1, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff,
                                       0xff, 0xbf, 0xfe, 0, 0, 0, 0, 0, 0, 0xc0, 0x3e, 0x79, 0};
    uint8_t bytes[128];
    struct aml aml;

    aml_start(&aml, bytes, sizeof(bytes));
    aml_resources_begin(&aml);
    aml_resource_bus_numbers(&aml, 0, 0);
    aml_resource_io_window(&aml, 0xd00, 0xffff);
    aml_resource_memory_window(&aml, 0xc0000000, 0xfebfffff);
    aml_resources_end(&aml);
    CHECK(aml_finished(&aml));
    /* BufferOp, PkgLength of one or two bytes, BytePrefix and the number of bytes. */
    size_t head = sizeof(expected) + 3 < 64 ? 4 : 5;
    CHECK_EQUAL(aml.length, head + sizeof(expected));
    CHECK_EQUAL(bytes[head - 1], sizeof(expected));
    CHECK(memcmp(bytes + head, expected, sizeof(expected)) == 0);
}

/* PkgLength at the sizes where it grows by a byte. */
static void test_aml_package_length(void)
{
    static const struct {
        size_t content; /* bytes after PkgLength, 4 of them the name */
        size_t bytes;   /* that PkgLength itself takes */
    } cases[] = {{62, 1}, {63, 2}, {4093, 2}, {4094, 3}};
    uint8_t bytes[8192];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct aml aml;
        aml_start(&aml, bytes, sizeof(bytes));
        aml_scope_begin(&aml, "ABCD");
        for (size_t filler = 4; filler < cases[i].content; filler++) {
            aml_integer(&aml, 0);
        }
        aml_end(&aml);
        CHECK(aml_finished(&aml));
        size_t more = bytes[1] >> 6;
        size_t value = more == 0 ? bytes[1] : bytes[1] & 0xf;
        for (size_t n = 0; n < more; n++) {
            value |= (size_t)bytes[2 + n] << (4 + 8 * n);
        }
        CHECK_EQUAL(more + 1, cases[i].bytes);
        CHECK_EQUAL(value, cases[i].content + cases[i].bytes);
        CHECK_EQUAL(aml.length, 1 + value);
        CHECK(memcmp(bytes + 1 + cases[i].bytes, "ABCD", 4) == 0);
    }
}

static void test_aml_misuse(void)
{
    uint8_t bytes[64];
    struct aml aml;

    aml_start(&aml, bytes, sizeof(bytes));
    aml_end(&aml);
    CHECK(!aml_finished(&aml));

    aml_start(&aml, bytes, sizeof(bytes));
    aml_scope_begin(&aml, "TOOLONG");
    aml_end(&aml);
    CHECK(!aml_finished(&aml));

    aml_start(&aml, bytes, sizeof(bytes));
    aml_scope_begin(&aml, "\\_SB_");
    CHECK(!aml_finished(&aml)); /* still open */

    aml_start(&aml, bytes, sizeof(bytes));
    for (unsigned int i = 0; i <= AML_DEPTH_MAX; i++) {
        aml_scope_begin(&aml, "ABCD");
    }
    CHECK(aml.failed);
}

/* iasl takes the tables apart and compiles the result again, without a complaint. */
static void test_with_iasl(void)
{
    if (system("command -v iasl >/dev/null 2>&1") != 0) {
        SKIP("iasl (acpica-tools) is not installed");
        return;
    }
    char directory[] = "/tmp/trapeze-acpi-test-XXXXXX";
    char command[512], path[64];
    struct acpi_config config = acpi_config_default(300);
    struct error error;
    size_t length;
    config.has_i8042 = true;
    CHECK_EQUAL(acpi_build(&config, BASE, tables, sizeof(tables), &length, &error), 0);
    if (!CHECK(mkdtemp(directory) != NULL)) {
        return;
    }
    const uint8_t *fadt = find_table("FACP");
    const struct {
        const char *name;
        const uint8_t *table;
    } all[] = {{"dsdt", at(bytes_get64(fadt + 140))},  {"facp", fadt},
               {"apic", find_table("APIC")},           {"mcfg", find_table("MCFG")},
               {"xsdt", at(bytes_get64(tables + 24))}, {"facs", at(bytes_get32(fadt + 36))}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s.dat", directory, all[i].name);
        FILE *file = fopen(path, "wb");
        if (!CHECK(file != NULL)) {
            break;
        }
        fwrite(all[i].table, 1, bytes_get32(all[i].table + 4), file);
        fclose(file);
        snprintf(command, sizeof(command),
                 "cd %s && iasl -d %s.dat >%s.log 2>&1 && ! grep -iE 'error|warning|invalid' "
                 "%s.dsl && iasl %s.dsl >>%s.log 2>&1 && grep -q '0 Errors, 0 Warnings' %s.log "
                 "|| { cat %s.log %s.dsl; exit 1; }",
                 directory, all[i].name, all[i].name, all[i].name, all[i].name, all[i].name,
                 all[i].name, all[i].name, all[i].name);
        CHECK(system(command) == 0);
    }
    snprintf(command, sizeof(command), "rm -r %s", directory);
    CHECK(system(command) == 0);
}

static void check_map(const struct boot_memory_layout *layout, uint64_t ram)
{
    const struct e820_map *map = &layout->map;
    uint64_t usable = 0;
    for (unsigned int i = 0; i < map->count; i++) {
        const struct e820_entry *entry = &map->entries[i];
        CHECK(entry->length > 0);
        if (i > 0) {
            CHECK(entry[-1].base + entry[-1].length <= entry->base);
        }
        if (entry->type == E820_USABLE) {
            usable += entry->length;
            CHECK(entry->base + entry->length <= layout->low_ram_end ||
                  entry->base >= BOOT_FOUR_GIB);
        }
    }
    CHECK_EQUAL(usable, ram - (BOOT_HIGH_BASE - BOOT_EBDA_BASE));
}

static void test_memory_layout(void)
{
    static const struct {
        uint64_t ram, low, high_end;
        unsigned int slots;
    } cases[] = {
        {UINT64_C(1) << 20, UINT64_C(1) << 20, BOOT_FOUR_GIB, 1},
        {UINT64_C(512) << 20, UINT64_C(512) << 20, BOOT_FOUR_GIB, 1},
        {UINT64_C(3) << 30, UINT64_C(3) << 30, BOOT_FOUR_GIB, 1},
        {(UINT64_C(3) << 30) + 4096, UINT64_C(3) << 30, BOOT_FOUR_GIB + 4096, 2},
        {UINT64_C(512) << 30, UINT64_C(3) << 30, UINT64_C(513) << 30, 2},
    };
    struct boot_memory_layout layout;
    struct error error;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CHECK_EQUAL(boot_memory_layout_make(cases[i].ram, &layout, &error), 0);
        CHECK_EQUAL(layout.slot_count, cases[i].slots);
        CHECK_EQUAL(layout.low_ram_end, cases[i].low);
        CHECK_EQUAL(layout.high_ram_end, cases[i].high_end);
        check_map(&layout, cases[i].ram);
    }
    CHECK_EQUAL(boot_memory_layout_make(0, &layout, &error), -EINVAL);
    CHECK_EQUAL(boot_memory_layout_make(0xff000, &layout, &error), -EINVAL);
    CHECK_EQUAL(boot_memory_layout_make((UINT64_C(1) << 20) + 1, &layout, &error), -EINVAL);
    CHECK_EQUAL(boot_memory_layout_make((UINT64_C(512) << 30) + 4096, &layout, &error), -EINVAL);
    CHECK_EQUAL(boot_memory_layout_make(UINT64_MAX, &layout, &error), -EINVAL);
}

int main(void)
{
    test_aml_encoding();
    test_aml_package_length();
    test_aml_windows();
    test_aml_misuse();
    test_tables(1);
    test_tables(64);
    test_tables(300);
    test_without_pci();
    test_small_buffers();
    test_memory_layout();
    test_with_iasl();
    return check_summary();
}
