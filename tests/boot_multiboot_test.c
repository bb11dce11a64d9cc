/* Multiboot images made here: ELF and flat, with modules, and each header field that can be wrong.
 */
#include "boot/multiboot.h"

#include "boot_helper.h"

#define HEADER_OFFSET 0x80
#define FILE_LENGTH   0x3000
#define LOAD_ADDRESS  0x400000 /* where kvm-unit-tests are linked */

static uint8_t image[FILE_LENGTH];

static void put_header(size_t offset, uint32_t flags)
{
    bytes_put32(image + offset, 0x1badb002);
    bytes_put32(image + offset + 4, flags);
    bytes_put32(image + offset + 8, 0u - 0x1badb002 - flags);
}

static void fill_image(void)
{
    for (unsigned int i = 0; i < FILE_LENGTH; i++) {
        image[i] = (uint8_t)(i * 5 + 3);
    }
}

/* A flat image: the whole file at LOAD_ADDRESS, a .bss after it. */
static void make_flat(void)
{
    fill_image();
    put_header(HEADER_OFFSET, 1u << 16);
    bytes_put32(image + HEADER_OFFSET + 12, LOAD_ADDRESS + HEADER_OFFSET);
    bytes_put32(image + HEADER_OFFSET + 16, LOAD_ADDRESS);
    bytes_put32(image + HEADER_OFFSET + 20, 0);
    bytes_put32(image + HEADER_OFFSET + 24, LOAD_ADDRESS + 0x8000);
    bytes_put32(image + HEADER_OFFSET + 28, LOAD_ADDRESS + 0x200);
}

/* An ELF32 as kvm-unit-tests have it: one segment, the header at its start. */
static void make_elf(void)
{
    static const uint32_t segment[8] = {1,      0x1000, LOAD_ADDRESS, LOAD_ADDRESS, 0x1800,
                                        0x9000, 7,      0x1000};
    fill_image();
    memset(image, 0, 0x100);
    memcpy(image, "\177ELF\1\1\1", 7);
    bytes_put16(image + 16, 2);
    bytes_put16(image + 18, 3);
    bytes_put32(image + 24, LOAD_ADDRESS + 0x10);
    bytes_put32(image + 28, 52);
    bytes_put16(image + 42, 32);
    bytes_put16(image + 44, 1);
    memcpy(image + 52, segment, sizeof(segment));
    put_header(0x1000, 2);
}

static void use_image(struct world *world, size_t length)
{
    world->request.kernel = world_file("kernel", image, length);
}

static const uint8_t *information(const struct world *world)
{
    CHECK_EQUAL(world->state.gpr[X86_RAX], 0x2badb002);
    return world_at(world, world->state.gpr[X86_RBX]);
}

static void check_information(const struct world *world, const char *arguments)
{
    const uint8_t *info = information(world);
    char line[256];
    snprintf(line, sizeof(line), "%s%s", world->request.kernel, arguments);
    CHECK_EQUAL(bytes_get32(info), 0x24d);
    CHECK_EQUAL(bytes_get32(info + 4), 639);
    CHECK_EQUAL(bytes_get32(info + 8), 15 * 1024);
    CHECK(strcmp((const char *)world_at(world, bytes_get32(info + 16)), line) == 0);
    CHECK(strcmp((const char *)world_at(world, bytes_get32(info + 64)), "Trapeze") == 0);
    uint32_t length = bytes_get32(info + 44);
    const uint8_t *map = world_at(world, bytes_get32(info + 48));
    CHECK_EQUAL(length, world->layout.map.count * 24);
    CHECK_EQUAL(bytes_get32(map + 3 * 24), 20);
    CHECK_EQUAL(bytes_get64(map + 3 * 24 + 4), 0x100000);
    CHECK_EQUAL(bytes_get64(map + 3 * 24 + 12), 15 * MIB);
    CHECK_EQUAL(bytes_get32(map + 3 * 24 + 20), 1);
}

static void test_flat(void)
{
    struct world world;
    world_create(&world, 16 * MIB);
    make_flat();
    use_image(&world, FILE_LENGTH);
    world.request.command_line = "one two";
    BOOTS(&world);
    check_protected_state(&world);
    check_information(&world, " one two");
    CHECK_EQUAL(world.state.rip, LOAD_ADDRESS + 0x200);
    CHECK(memcmp(world_at(&world, LOAD_ADDRESS), image, FILE_LENGTH) == 0);
    CHECK_EQUAL(bytes_get32(information(&world) + 20), 0);

    /* With a load end, the rest of the file stays out; with the header first, so does the start. */
    bytes_put32(image + HEADER_OFFSET + 16, LOAD_ADDRESS + HEADER_OFFSET);
    bytes_put32(image + HEADER_OFFSET + 20, LOAD_ADDRESS + 0x1000);
    world_destroy(&world);
    world_create(&world, 16 * MIB);
    use_image(&world, FILE_LENGTH);
    BOOTS(&world);
    check_information(&world, "");
    CHECK_EQUAL(*world_at(&world, LOAD_ADDRESS), 0);
    CHECK_EQUAL(*world_at(&world, LOAD_ADDRESS + 0xfff), image[0xfff]);
    CHECK_EQUAL(*world_at(&world, LOAD_ADDRESS + 0x1000), 0);
    world_destroy(&world);
}

static void test_elf(void)
{
    struct world world;
    world_create(&world, 16 * MIB);
    make_elf();
    use_image(&world, FILE_LENGTH);
    BOOTS(&world);
    check_protected_state(&world);
    check_information(&world, "");
    CHECK_EQUAL(world.state.rip, LOAD_ADDRESS + 0x10);
    CHECK(memcmp(world_at(&world, LOAD_ADDRESS), image + 0x1000, 0x1800) == 0);
    CHECK_EQUAL(*world_at(&world, LOAD_ADDRESS + 0x1800), 0);
    world_destroy(&world);

    /* Linked at a high virtual address: entered at the physical one. */
    world_create(&world, 16 * MIB);
    bytes_put32(image + 24, 0xc0000010);
    bytes_put32(image + 52 + 8, 0xc0000000);
    use_image(&world, FILE_LENGTH);
    BOOTS(&world);
    CHECK_EQUAL(world.state.rip, LOAD_ADDRESS + 0x10);
    world_destroy(&world);
}

static void test_modules(void)
{
    static const char environment[] = "NR_CPUS=1\nMEMSIZE=512\n";
    static uint8_t large[5000];
    struct world world;
    memset(large, 0x5a, sizeof(large));
    world_create(&world, 16 * MIB);
    make_elf();
    use_image(&world, FILE_LENGTH);
    struct boot_module modules[2] = {
        {.path = world_file("module0", large, sizeof(large)), .arguments = "x=1 y"},
        {.path = world_file("module1", "m", 1)},
    };
    world.request.initrd = world_file("initrd", environment, sizeof(environment) - 1);
    world.request.modules = modules;
    world.request.module_count = 2;
    BOOTS(&world);
    const uint8_t *info = information(&world);
    const uint8_t *list = world_at(&world, bytes_get32(info + 24));
    CHECK_EQUAL(bytes_get32(info + 20), 3);
    static const uint32_t starts[] = {0x409000, 0x40a000, 0x40c000};
    static const uint32_t lengths[] = {sizeof(environment) - 1, 5000, 1};
    for (unsigned int i = 0; i < 3; i++) {
        CHECK_EQUAL(bytes_get32(list + 16 * i), starts[i]);
        CHECK_EQUAL(bytes_get32(list + 16 * i + 4), starts[i] + lengths[i]);
    }
    CHECK(memcmp(world_at(&world, starts[0]), environment, lengths[0]) == 0);
    CHECK(memcmp(world_at(&world, starts[1]), large, lengths[1]) == 0);
    const char *line = (const char *)world_at(&world, bytes_get32(list + 16 + 8));
    CHECK(strncmp(line, modules[0].path, strlen(modules[0].path)) == 0);
    CHECK(strcmp(line + strlen(modules[0].path), " x=1 y") == 0);
    line = (const char *)world_at(&world, bytes_get32(list + 32 + 8));
    CHECK(strcmp(line, modules[1].path) == 0);

    modules[1].path = "/nonexistent/module";
    REFUSED(&world, ENOENT, "/nonexistent/module");
    world.request.module_count = BOOT_MODULES_MAX + 1;
    REFUSED(&world, EINVAL, "too many");
    world_destroy(&world);

    /* No room after the image. */
    world_create(&world, LOAD_ADDRESS + 0xa000);
    world.request.kernel = world_file("kernel", image, FILE_LENGTH);
    modules[1].path = modules[0].path;
    world.request.modules = modules;
    world.request.module_count = 1;
    REFUSED(&world, ENOSPC, "does not fit");
    world_destroy(&world);
}

static void test_long_lines(void)
{
    static char line[BOOT_STRINGS_SIZE + 16];
    struct world world;
    memset(line, 'l', sizeof(line) - 1);
    world_create(&world, 16 * MIB);
    make_flat();
    use_image(&world, FILE_LENGTH);
    world.request.command_line = line;
    REFUSED(&world, E2BIG, "shorten");
    line[BOOT_STRINGS_SIZE - strlen("Trapeze") - 1 - strlen(world.request.kernel) - 1] = '\0';
    REFUSED(&world, E2BIG, "shorten");
    line[BOOT_STRINGS_SIZE - strlen("Trapeze") - 1 - strlen(world.request.kernel) - 2] = '\0';
    BOOTS(&world);
    world_destroy(&world);
}

/* One field of the flat image's header changed; the checksum is made right again. */
static void test_bad_fields(void)
{
    static const struct {
        unsigned int offset;
        uint32_t value;
        int code;
        const char *words;
    } cases[] = {
        {4, (1u << 16) | 4, ENOEXEC, "video mode"},
        {4, (1u << 16) | 0x100, ENOEXEC, "features"},
        {12, LOAD_ADDRESS - 1, ENOEXEC, "after its header"},
        {12, LOAD_ADDRESS + HEADER_OFFSET + 1, ENOEXEC, "after its header"},
        {12, 0xffffffff, ENOEXEC, "after its header"},
        {16, 0, ENOEXEC, "after its header"},
        {16, LOAD_ADDRESS + HEADER_OFFSET + 1, ENOEXEC, "after its header"},
        {16, 0xffffffff, ENOEXEC, "after its header"},
        {20, LOAD_ADDRESS, ENOEXEC, "before it starts"},
        {20, 1, ENOEXEC, "before it starts"},
        {20, LOAD_ADDRESS + FILE_LENGTH + 1, ENOEXEC, "after the file"},
        {20, 0xffffffff, ENOEXEC, "after the file"},
        {24, LOAD_ADDRESS + FILE_LENGTH - 1, ENOEXEC, "before its data"},
        {24, 0xffffffff, ENOSPC, "give the guest more"},
        {24, 16 * MIB + 1, ENOSPC, "give the guest more"},
        {28, LOAD_ADDRESS - 1, ENOEXEC, "entry point"},
        {28, LOAD_ADDRESS + FILE_LENGTH, ENOEXEC, "entry point"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world world;
        world_create(&world, 16 * MIB);
        make_flat();
        bytes_put32(image + HEADER_OFFSET + cases[i].offset, cases[i].value);
        put_header(HEADER_OFFSET, bytes_get32(image + HEADER_OFFSET + 4));
        use_image(&world, FILE_LENGTH);
        unsigned int failed = check_failed;
        REFUSED(&world, cases[i].code, cases[i].words);
        if (check_failed != failed) {
            fprintf(stderr, "    field %u = 0x%x\n", cases[i].offset, cases[i].value);
        }
        world_destroy(&world);
    }
}

/* Images that cover the boot structures, and where headers are looked for. */
static void test_places(void)
{
    struct world world;
    struct kernel_file file = kernel_file_from_memory("kernel", "kernel", image, FILE_LENGTH);
    world_create(&world, 16 * MIB);
    make_flat();
    bytes_put32(image + HEADER_OFFSET + 12, 0x8f000 + HEADER_OFFSET);
    bytes_put32(image + HEADER_OFFSET + 16, 0x8f000);
    bytes_put32(image + HEADER_OFFSET + 24, 0);
    bytes_put32(image + HEADER_OFFSET + 28, 0x8f000);
    use_image(&world, FILE_LENGTH);
    REFUSED(&world, ENOEXEC, "boot information");
    world_destroy(&world);

    fill_image();
    CHECK(!multiboot_recognise(&file));
    put_header(8192 - 12, 0);
    CHECK(multiboot_recognise(&file));
    fill_image();
    put_header(8192 - 8, 0);
    CHECK(!multiboot_recognise(&file)); /* not wholly within the first 8192 bytes */
    fill_image();
    put_header(0x82, 0);
    CHECK(!multiboot_recognise(&file)); /* not aligned */
    put_header(0x80, 0);
    image[0x88] ^= 1;
    CHECK(!multiboot_recognise(&file)); /* wrong checksum */
    make_flat();
    for (size_t length = 1; length < HEADER_OFFSET + 12; length++) {
        file.length = length;
        CHECK(!multiboot_recognise(&file));
    }
    /* Without address fields it must be ELF. */
    fill_image();
    put_header(HEADER_OFFSET, 0);
    world_create(&world, 16 * MIB);
    use_image(&world, FILE_LENGTH);
    REFUSED(&world, ENOEXEC, "not an ELF file");
    world_destroy(&world);
    /* Cut off within the address fields. */
    make_flat();
    world_create(&world, 16 * MIB);
    use_image(&world, HEADER_OFFSET + 20);
    REFUSED(&world, ENOEXEC, "no kernel");
    world.request.protocol = BOOT_PROTOCOL_MULTIBOOT;
    REFUSED(&world, ENOEXEC, "cut off");
    world_destroy(&world);
}

int main(void)
{
    world_begin();
    test_flat();
    test_elf();
    test_modules();
    test_long_lines();
    test_bad_fields();
    test_places();
    world_end();
    return check_summary();
}
