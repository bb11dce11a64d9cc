/*
 * Parts of the bootable image (vtx/bare) that an ordinary process can run: formats, compared with
 * libc's; the command line; boot information of either protocol; the allocator of pages.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "boot/bytes.h"
#include "check.h"
#include "vtx/bare/boot_information.h"
#include "vtx/bare/command_line.h"
#include "vtx/bare/format.h"
#include "vtx/bare/pages.h"
#include "vtx/bare/start.h"

/* ---- formats ---- */

static void check_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Ours and libc's, with room for all of it and with little. */
static void check_format(const char *format, ...)
{
    char ours[200];
    char theirs[200];
    static const size_t sizes[] = {sizeof(ours), 5, 1};
    for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        va_list arguments;
        va_start(arguments, format);
        size_t our_length = format_text(ours, sizes[i], format, arguments);
        va_end(arguments);
        va_start(arguments, format);
        int their_length = vsnprintf(theirs, sizes[i], format, arguments);
        va_end(arguments);
        CHECK_EQUAL(our_length, their_length);
        if (!CHECK(strcmp(ours, theirs) == 0)) {
            fprintf(stderr, "    %s: \"%s\", expected \"%s\"\n", format, ours, theirs);
        }
    }
}

static void test_formats(void)
{
    check_format("plain");
    check_format("%d %i %d", 0, -1, -2147483647 - 1);
    check_format("%u %x %X", 4294967295u, 0xdeadbeefu, 0xdeadbeefu);
    check_format("%ld %lu %lx %llx %zu", -5l, 18446744073709551615ul, 0x123456789abcdefl,
                 0xfedcba987654321ull, (size_t)7);
    check_format("%hhx %hx", (unsigned char)0xf3, (unsigned short)0xf345);
    check_format("[%5d] [%-5d] [%05d] [%05x]", 42, 42, -42, 0x42);
    check_format("[%*d] [%0*lx]", 6, 42, 12, 0x42l);
    check_format("[%s] [%8s] [%-8s] [%.2s] [%.*s]", "abc", "abc", "abc", "abc", 1, "abc");
    check_format("%c%c 100%%", 'a', 'b');
    check_format("%016lx %08x", 0x1ful, 0u);
}

/* ---- the command line ---- */

static bool parse(const char *text, struct bare_options *options)
{
    static char line[200];
    struct error error;
    snprintf(line, sizeof(line), "%s", text);
    return command_line_parse(line, options, &error);
}

static void test_command_line(void)
{
    struct bare_options options;
    char value[8];
    CHECK(parse("", &options) && options.command == BARE_DEFAULT);
    CHECK(parse("test", &options) && options.command == BARE_TEST && options.name == NULL);
    CHECK(parse(" test  exit ", &options) && strcmp(options.name, "exit") == 0);
    CHECK(parse("linux memory=128 trap=all trace=2 exits=1 append=a  b=c test", &options));
    CHECK(options.command == BARE_LINUX && options.memory_mib == 128 && options.trap_all);
    CHECK(options.trace == 2 && options.exits && strcmp(options.append, "a  b=c test") == 0);
    CHECK(!parse("test a b", &options));
    CHECK(!parse("linux memory=", &options));
    CHECK(!parse("linux memory=12x", &options));
    CHECK(!parse("linux memory=99999999999999999999", &options));
    CHECK(!parse("nonsense", &options));
    command_line_value("g mode=long exit=3", "mode", value, sizeof(value));
    CHECK(strcmp(value, "long") == 0);
    command_line_value("g xmode=long", "mode", value, sizeof(value));
    CHECK(strcmp(value, "") == 0);
    command_line_value("mode=0123456789", "mode", value, sizeof(value));
    CHECK(strcmp(value, "0123456") == 0);
}

/* ---- boot information; physical memory is a page that lies below 4 GiB in this process ---- */

#define LIST       0x200
#define STRINGS    0x800
#define MODULES    0xa00
#define IMAGE_SIZE 4096

static uint32_t address_of(const uint8_t *at)
{
    return (uint32_t)(uintptr_t)at;
}

static void test_multiboot(uint8_t *memory)
{
    static struct boot_information information;
    memset(memory, 0, IMAGE_SIZE);
    bytes_put32(memory, 1u << 2 | 1u << 3 | 1u << 6);
    memcpy(memory + STRINGS, "/boot/image test x", 19);
    memcpy(memory + STRINGS + 32, "mode=real a.b", 14);
    bytes_put32(memory + 16, address_of(memory + STRINGS));
    bytes_put32(memory + 20, 1);
    bytes_put32(memory + 24, address_of(memory + MODULES));
    bytes_put32(memory + MODULES, 0x300000);
    bytes_put32(memory + MODULES + 4, 0x300100);
    bytes_put32(memory + MODULES + 8, address_of(memory + STRINGS + 32));
    /* A usable range, a reserved one, one that ends beyond 4 GiB. */
    static const uint64_t map[][3] = {
        {0, 0x9fc00, 1}, {0xf0000, 0x10000, 2}, {0x100000, UINT64_MAX, 1}};
    for (unsigned int i = 0; i < 3; i++) {
        uint8_t *entry = memory + LIST + (size_t)i * 24;
        bytes_put32(entry, 20);
        bytes_put64(entry + 4, map[i][0]);
        bytes_put64(entry + 12, map[i][1]);
        bytes_put32(entry + 20, (uint32_t)map[i][2]);
    }
    bytes_put32(memory + 44, 3 * 24);
    bytes_put32(memory + 48, address_of(memory + LIST));
    CHECK(boot_information_read(BOOT_MAGIC_MULTIBOOT, address_of(memory), &information));
    CHECK(strcmp(information.command_line, "test x") == 0);
    CHECK_EQUAL(information.memory_count, 2);
    CHECK_EQUAL(information.memory[1].end, UINT64_C(0x100000000));
    CHECK_EQUAL(information.module_count, 1);
    CHECK_EQUAL(information.modules[0].at.end, 0x300100);
    CHECK(strcmp(information.modules[0].line, "mode=real a.b") == 0);
    /* A list that does not end within its length, and an entry of no size. */
    bytes_put32(memory + LIST, 0);
    CHECK(boot_information_read(BOOT_MAGIC_MULTIBOOT, address_of(memory), &information));
    CHECK_EQUAL(information.memory_count, 1);
    CHECK(!boot_information_read(0x12345678, address_of(memory), &information));
}

static void test_pvh(uint8_t *memory)
{
    static struct boot_information information;
    memset(memory, 0, IMAGE_SIZE);
    bytes_put32(memory + 4, 1);  /* version */
    bytes_put32(memory + 12, 1); /* modules */
    bytes_put64(memory + 16, address_of(memory + MODULES));
    bytes_put64(memory + 24, address_of(memory + STRINGS));
    bytes_put64(memory + 40, address_of(memory + LIST));
    bytes_put32(memory + 48, 1);
    memcpy(memory + STRINGS, "linux append=/x", 16);
    bytes_put64(memory + LIST, 0x100000);
    bytes_put64(memory + LIST + 8, 0x700000);
    bytes_put32(memory + LIST + 16, 1);
    bytes_put64(memory + MODULES, 0x200000);
    bytes_put64(memory + MODULES + 8, 0x1000);
    CHECK(boot_information_read(BOOT_MAGIC_PVH, address_of(memory), &information));
    CHECK(strcmp(information.command_line, "linux append=/x") == 0);
    CHECK_EQUAL(information.memory_count, 1);
    CHECK_EQUAL(information.memory[0].end, 0x800000);
    CHECK_EQUAL(information.modules[0].at.end, 0x201000);
}

/* ---- pages ---- */

static void test_pages(uint8_t *memory)
{
    static struct boot_information information;
    struct pages pages;
    uint64_t base = (uint64_t)memory;
    uint64_t size = 64 * PAGE_SIZE;
    information.memory_count = 1;
    information.memory[0] = (struct memory_range){base, base + size};
    information.module_count = 1;
    information.modules[0].at =
        (struct memory_range){base + 40 * PAGE_SIZE, base + 41 * PAGE_SIZE + 1};
    /* The longest piece is between the image and the module. */
    pages_init(&pages, &information, (struct memory_range){base, base + 2 * PAGE_SIZE});
    CHECK_EQUAL(pages_left(&pages), 38 * PAGE_SIZE);
    uint8_t *piece = pages_allocate_piece(&pages, 4 * PAGE_SIZE, 4 * PAGE_SIZE);
    CHECK_EQUAL((uint64_t)piece % (4 * PAGE_SIZE), 0);
    CHECK((uint64_t)piece + 4 * PAGE_SIZE <= base + 40 * PAGE_SIZE);
    uint8_t *first = pages_allocate(&pages);
    CHECK_EQUAL((uint64_t)first, base + 2 * PAGE_SIZE);
    memset(first, 0xff, PAGE_SIZE);
    pages_free(&pages, first);
    CHECK_EQUAL(pages.used, 0);
    CHECK(pages_allocate(&pages) == first && first[0] == 0 && first[PAGE_SIZE - 1] == 0);
    unsigned int count = 1;
    while (pages_allocate(&pages) != NULL) {
        count++;
    }
    CHECK_EQUAL(count, ((uint64_t)piece - base) / PAGE_SIZE - 2);
    CHECK(pages_allocate_piece(&pages, PAGE_SIZE, PAGE_SIZE) == NULL);
}

int main(void)
{
    uint8_t *memory = mmap(NULL, 64 * PAGE_SIZE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    test_formats();
    test_command_line();
    if (memory == MAP_FAILED) {
        SKIP("no memory below 4 GiB in this process");
    } else {
        test_multiboot(memory);
        test_pvh(memory);
        test_pages(memory);
    }
    return check_summary();
}
