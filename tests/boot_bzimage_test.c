/* bzImages made here: a good one, and one for each field that can be wrong. */
#include "boot_helper.h"

#define SETUP_SECTORS 4
#define PAYLOAD       4096
#define FILE_LENGTH   ((SETUP_SECTORS + 1) * 512 + PAYLOAD)
#define PREFERRED     0x1000000
#define INIT_SIZE     0x200000

static uint8_t image[FILE_LENGTH + 64];

/* A header with every field as a current kernel has it. */
static void make_image(void)
{
    memset(image, 0, sizeof(image));
    image[0x1f1] = SETUP_SECTORS;
    bytes_put32(image + 0x1f4, PAYLOAD / 16);
    bytes_put16(image + 0x1fe, 0xaa55);
    image[0x200] = 0xeb;
    image[0x201] = 0x6a;
    memcpy(image + 0x202, "HdrS", 4);
    bytes_put16(image + 0x206, 0x020f);
    image[0x211] = 0x21; /* LOADED_HIGH, QUIET */
    bytes_put32(image + 0x214, 0x100000);
    bytes_put32(image + 0x22c, 0x7fffffff);
    bytes_put32(image + 0x230, 0x200000);
    image[0x234] = 1;
    bytes_put16(image + 0x236, 0x7f);
    bytes_put32(image + 0x238, 2047);
    bytes_put64(image + 0x258, PREFERRED);
    bytes_put32(image + 0x260, INIT_SIZE);
    for (unsigned int i = 0; i < PAYLOAD; i++) {
        image[(SETUP_SECTORS + 1) * 512 + i] = (uint8_t)(i * 7);
    }
}

static void use_image(struct world *world, size_t length)
{
    world->request.kernel = world_file("kernel", image, length);
}

static void check_long_state(const struct world *world)
{
    const struct x86_state *state = &world->state;
    CHECK_EQUAL(state->rip, PREFERRED + 0x200);
    CHECK_EQUAL(state->gpr[X86_RSI], BOOT_INFORMATION_BASE);
    CHECK_EQUAL(state->rflags, X86_FLAGS_ONE);
    CHECK_EQUAL(state->efer, X86_EFER_LME | X86_EFER_LMA);
    CHECK((state->cr0 & X86_CR0_PE) != 0 && (state->cr0 & X86_CR0_PG) != 0);
    CHECK((state->cr0 & (X86_CR0_CD | X86_CR0_NW)) == 0);
    CHECK((state->cr4 & X86_CR4_PAE) != 0);
    CHECK_EQUAL(state->segment[X86_CS].selector, 0x10);
    CHECK_EQUAL(state->segment[X86_CS].attributes, 0xa09b);
    CHECK_EQUAL(state->segment[X86_DS].selector, 0x18);
    CHECK_EQUAL(state->segment[X86_SS].selector, 0x18);
    CHECK_EQUAL(state->segment[X86_ES].selector, 0x18);
    uint64_t code = bytes_get64(world_at(world, state->gdtr.base + 0x10));
    uint64_t data = bytes_get64(world_at(world, state->gdtr.base + 0x18));
    CHECK_EQUAL(code, UINT64_C(0x00af9b000000ffff));
    CHECK_EQUAL(data, UINT64_C(0x00cf93000000ffff));
    CHECK(state->gdtr.limit >= 0x1f);
    CHECK_EQUAL(state->msr.mtrr_def_type, 0x806);
    CHECK_EQUAL(state->msr.apic_base & 0xfff, 0x900); /* enabled, the bootstrap processor */
}

/* Walks the page tables for an address; returns what it maps to. */
static uint64_t walk(const struct world *world, uint64_t address)
{
    uint64_t table = world->state.cr3;
    for (int shift = 39; shift >= 21; shift -= 9) {
        uint64_t entry = bytes_get64(world_at(world, table + ((address >> shift) & 511) * 8));
        if ((entry & 3) != 3) {
            return UINT64_MAX;
        }
        table = entry & UINT64_C(0x000ffffffffff000);
        if (shift == 21) {
            CHECK((entry & 0x80) != 0);
        }
    }
    return table + (address & 0x1fffff);
}

static void test_good(void)
{
    static const uint8_t initrd[5000] = {1, 2, 3};
    static const uint8_t seed[32] = {9, 8, 7};
    struct world world;
    world_create(&world, 64 * MIB);
    make_image();
    use_image(&world, FILE_LENGTH);
    world.request.initrd = world_file("initrd", initrd, sizeof(initrd));
    world.request.command_line = "console=ttyS0 quiet";
    world.request.random_seed = seed;
    world.request.random_seed_length = sizeof(seed);
    BOOTS(&world);
    check_long_state(&world);
    CHECK(memcmp(world_at(&world, PREFERRED), image + (SETUP_SECTORS + 1) * 512, PAYLOAD) == 0);
    CHECK_EQUAL(walk(&world, 0), 0);
    CHECK_EQUAL(walk(&world, 0xfee00123), 0xfee00123);
    CHECK_EQUAL(walk(&world, 0xffffffff), 0xffffffff);
    CHECK_EQUAL(walk(&world, BOOT_FOUR_GIB), UINT64_MAX - 0);

    const uint8_t *params = world_at(&world, BOOT_INFORMATION_BASE);
    CHECK(memcmp(params + 0x202, "HdrS", 4) == 0);
    CHECK_EQUAL(params[0x1ef], 0); /* the sentinel: this zero page is clean */
    CHECK_EQUAL(params[0x210], 0xff);
    CHECK_EQUAL(params[0x211] & 0x20, 0);
    CHECK(strcmp((const char *)world_at(&world, bytes_get32(params + 0x228)),
                 "console=ttyS0 quiet") == 0);
    uint64_t ramdisk = bytes_get32(params + 0x218);
    CHECK_EQUAL(ramdisk % 4096, 0);
    CHECK_EQUAL(ramdisk, 64 * MIB - 8192);
    CHECK_EQUAL(bytes_get32(params + 0x21c), sizeof(initrd));
    CHECK(memcmp(world_at(&world, ramdisk), initrd, sizeof(initrd)) == 0);
    CHECK_EQUAL(bytes_get64(params + 0x70), BOOT_ACPI_BASE);
    CHECK(memcmp(world_at(&world, BOOT_ACPI_BASE), "RSD PTR ", 8) == 0);
    CHECK_EQUAL(params[0x1e8], world.layout.map.count);
    CHECK_EQUAL(bytes_get64(params + 0x2d0 + 3 * 20), 0x100000);
    CHECK_EQUAL(bytes_get64(params + 0x2d0 + 3 * 20 + 8), 63 * MIB);
    CHECK_EQUAL(bytes_get32(params + 0x2d0 + 3 * 20 + 16), 1);
    const uint8_t *setup_data = world_at(&world, bytes_get64(params + 0x250));
    CHECK_EQUAL(bytes_get64(setup_data), 0);
    CHECK_EQUAL(bytes_get32(setup_data + 8), 9);
    CHECK_EQUAL(bytes_get32(setup_data + 12), sizeof(seed));
    CHECK(memcmp(setup_data + 16, seed, sizeof(seed)) == 0);
    world_destroy(&world);
}

/* Nothing optional: no initrd, no line, no seed, no tables. */
static void test_bare(void)
{
    struct world world;
    world_create(&world, 64 * MIB);
    make_image();
    image[0x1f1] = 0; /* means 4 */
    use_image(&world, FILE_LENGTH);
    world.request.acpi = NULL;
    BOOTS(&world);
    const uint8_t *params = world_at(&world, BOOT_INFORMATION_BASE);
    CHECK_EQUAL(bytes_get32(params + 0x218), 0);
    CHECK_EQUAL(bytes_get32(params + 0x21c), 0);
    CHECK_EQUAL(bytes_get64(params + 0x250), 0);
    CHECK_EQUAL(bytes_get64(params + 0x70), 0);
    CHECK_EQUAL(*world_at(&world, bytes_get32(params + 0x228)), 0);
    world_destroy(&world);
}

/* One field changed in an otherwise good image. */
static const struct {
    const char *what;
    unsigned int offset, size;
    uint64_t value;
    int code;
    const char *words;
} bad_fields[] = {
    {"setup_sects", 0x1f1, 1, 40, ENOEXEC, "truncated"},
    {"setup_sects", 0x1f1, 1, 5, ENOEXEC, "truncated"},
    {"syssize", 0x1f4, 4, 0, ENOEXEC, "no code"},
    {"syssize", 0x1f4, 4, 0x20, ENOEXEC, "no code"},
    {"syssize", 0x1f4, 4, 0xffffffff, ENOEXEC, "truncated"},
    {"syssize", 0x1f4, 4, PAYLOAD / 16 + 1, ENOEXEC, "truncated"},
    {"boot_flag", 0x1fe, 2, 0xaa54, ENOEXEC, "no kernel"},
    {"header", 0x202, 4, 0x53726449, ENOEXEC, "no kernel"},
    {"jump", 0x201, 1, 0x40, ENOEXEC, "too short"},
    {"version", 0x206, 2, 0x020b, ENOEXEC, "boot protocol 2.11"},
    {"loadflags", 0x211, 1, 0, ENOEXEC, "zImage"},
    {"xloadflags", 0x236, 2, 0x7e, ENOEXEC, "64-bit"},
    {"kernel_alignment", 0x230, 4, 0, ENOEXEC, "alignment"},
    {"kernel_alignment", 0x230, 4, 0x300000, ENOEXEC, "alignment"},
    {"kernel_alignment", 0x230, 4, 0x2000000, ENOEXEC, "alignment"},
    {"pref_address", 0x258, 8, 0, ENOEXEC, "impossible"},
    {"pref_address", 0x258, 8, UINT64_C(0xffffffffffe00000), ENOEXEC, "impossible"},
    {"pref_address", 0x258, 8, UINT64_C(0x100000000), ENOEXEC, "impossible"},
    {"pref_address", 0x258, 8, 0x4000000, ENOSPC, "needs at least 66 MiB"},
    {"init_size", 0x260, 4, 0, ENOEXEC, "init_size"},
    {"init_size", 0x260, 4, 0x3200000, ENOSPC, "needs at least 66 MiB"},
    {"init_size", 0x260, 4, 0xffffffff, ENOEXEC, "impossible"},
    {"cmdline_size", 0x238, 4, 3, E2BIG, "at most 3"},
    {"cmdline_size", 0x238, 4, 0, E2BIG, "at most 0"},
    {"initrd_addr_max", 0x22c, 4, 0, ENOSPC, "does not fit"},
    {"initrd_addr_max", 0x22c, 4, PREFERRED + INIT_SIZE - 1, ENOSPC, "does not fit"},
    {"initrd_addr_max", 0x22c, 4, PREFERRED + INIT_SIZE + 4094, ENOSPC, "smaller initrd"},
};

static void test_bad_fields(void)
{
    static const uint8_t initrd[4096] = {1};
    for (size_t i = 0; i < sizeof(bad_fields) / sizeof(bad_fields[0]); i++) {
        struct world world;
        world_create(&world, 64 * MIB);
        make_image();
        memcpy(image + bad_fields[i].offset, &bad_fields[i].value, bad_fields[i].size);
        use_image(&world, FILE_LENGTH);
        world.request.initrd = world_file("initrd", initrd, sizeof(initrd));
        world.request.command_line = "four";
        unsigned int failed = check_failed;
        REFUSED(&world, bad_fields[i].code, bad_fields[i].words);
        if (check_failed != failed) {
            fprintf(stderr, "    field %s = 0x%" PRIx64 "\n", bad_fields[i].what,
                    bad_fields[i].value);
        }
        world_destroy(&world);
    }
}

/* Every length below the whole is refused. */
static void test_truncated(void)
{
    struct world world;
    world_create(&world, 64 * MIB);
    make_image();
    for (size_t length = 1; length < FILE_LENGTH; length += length < 0x2a0 ? 1 : 97) {
        struct kernel_file file = kernel_file_from_memory("kernel", "kernel", image, length);
        enum boot_protocol protocol = BOOT_PROTOCOL_DETECT;
        struct boot_context context = {
            .request = &world.request, .layout = &world.layout, .memory = world.memory};
        int status = boot_detect(&file, &protocol, &world.error);
        CHECK_EQUAL(status == 0, length >= 0x208);
        if (status == 0) {
            CHECK(protocol == BOOT_PROTOCOL_BZIMAGE);
            status = bzimage_load(&context, &file, &world.state, &world.error);
        }
        CHECK_EQUAL(status, -ENOEXEC);
    }
    world_destroy(&world);
}

static void test_limits(void)
{
    struct world world;
    char line[2100];
    memset(line, 'x', sizeof(line));
    make_image();

    world_create(&world, 64 * MIB);
    use_image(&world, FILE_LENGTH + 64); /* bytes after the payload are somebody's signature */
    world.request.command_line = line;
    line[2047] = '\0';
    BOOTS(&world);
    CHECK_EQUAL(strlen((const char *)world_at(&world, BOOT_STRINGS_BASE)), 2047);
    line[2047] = 'x';
    line[2048] = '\0';
    REFUSED(&world, E2BIG, "2048 characters");
    world_destroy(&world);

    /* Too little memory for the kernel, then for the initrd, then just enough for both. */
    static uint8_t initrd[65536];
    line[10] = '\0';
    world_create(&world, 16 * MIB);
    world.request.kernel = world_file("kernel", image, FILE_LENGTH);
    REFUSED(&world, ENOSPC, "needs at least 18 MiB");
    world_destroy(&world);
    world_create(&world, 18 * MIB);
    world.request.kernel = world_file("kernel", image, FILE_LENGTH);
    BOOTS(&world);
    world.request.initrd = world_file("initrd", initrd, sizeof(initrd));
    REFUSED(&world, ENOSPC, "more memory");
    world_destroy(&world);
    world_create(&world, 18 * MIB + sizeof(initrd));
    world.request.kernel = world_file("kernel", image, FILE_LENGTH);
    world.request.initrd = world_file("initrd", initrd, sizeof(initrd));
    BOOTS(&world);
    CHECK_EQUAL(bytes_get32(world_at(&world, BOOT_INFORMATION_BASE + 0x218)), 18 * MIB);
    world_destroy(&world);
}

/* With much memory the initrd goes below initrd_addr_max, not to the end of RAM. */
static void test_initrd_ceiling(void)
{
    static const uint8_t initrd[4096] = {1};
    struct world world;
    world_create(&world, 5 * 1024 * MIB);
    make_image();
    use_image(&world, FILE_LENGTH);
    world.request.initrd = world_file("initrd", initrd, sizeof(initrd));
    BOOTS(&world);
    const uint8_t *params = world_at(&world, BOOT_INFORMATION_BASE);
    CHECK_EQUAL(bytes_get32(params + 0x218), 0x7ffff000);
    unsigned int count = params[0x1e8];
    CHECK_EQUAL(bytes_get64(params + 0x2d0 + (count - 1) * 20), BOOT_FOUR_GIB);
    CHECK_EQUAL(bytes_get64(params + 0x2d0 + (count - 1) * 20 + 8), 2 * 1024 * MIB);
    world_destroy(&world);
}

int main(void)
{
    world_begin();
    test_good();
    test_bare();
    test_bad_fields();
    test_truncated();
    test_limits();
    test_initrd_ceiling();
    world_end();
    return check_summary();
}
