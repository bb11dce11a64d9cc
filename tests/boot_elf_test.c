/* ELF kernels made here: PVH in both classes, notes, and one image for each field that can be
 * wrong. */
#include "boot/elf.h"

#include "boot/pvh.h"
#include "boot_helper.h"

#define TEXT_OFFSET  0x400
#define TEXT_LENGTH  0x300
#define NOTE_OFFSET  0x800
#define FILE_LENGTH  0x900
#define LOAD_ADDRESS 0x200000
#define BSS_LENGTH   0x10000
#define ENTRY        (LOAD_ADDRESS + 0x10)

static uint8_t image[FILE_LENGTH];

static void put_note(uint8_t *at, const char *name, uint32_t type, uint32_t value)
{
    uint32_t name_size = (uint32_t)strlen(name) + 1;
    bytes_put32(at, name_size);
    bytes_put32(at + 4, 4);
    bytes_put32(at + 8, type);
    memcpy(at + 12, name, name_size);
    bytes_put32(at + 12 + ((name_size + 3) & ~3u), value);
}

/* Notes as vmlinux has them: another owner's first, then Xen's others, then the entry. */
static void put_notes(uint32_t entry)
{
    put_note(image + NOTE_OFFSET, "Linux", 0x101, 1);
    put_note(image + NOTE_OFFSET + 24, "Xen", 6, 7);
    put_note(image + NOTE_OFFSET + 44, "Xen", 18, entry);
}

#define NOTES_LENGTH 64

static void put_identity(uint8_t class, uint16_t machine)
{
    memset(image, 0, sizeof(image));
    memcpy(image, "\177ELF", 4);
    image[4] = class;
    image[5] = 1;
    image[6] = 1;
    bytes_put16(image + 16, 2);
    bytes_put16(image + 18, machine);
    bytes_put32(image + 20, 1);
    for (unsigned int i = 0; i < TEXT_LENGTH; i++) {
        image[TEXT_OFFSET + i] = (uint8_t)(i * 3 + 1);
    }
    put_notes(ENTRY);
}

static void put_program_header64(unsigned int index, uint32_t type, const uint64_t fields[6])
{
    uint8_t *at = image + 64 + index * 56;
    bytes_put32(at, type);
    for (unsigned int i = 0; i < 6; i++) {
        bytes_put64(at + 8 + 8 * i, fields[i]);
    }
}

static void make_elf64(void)
{
    put_identity(2, 62);
    bytes_put64(image + 24, 0xffffffff81000000);
    bytes_put64(image + 32, 64);
    bytes_put16(image + 54, 56);
    bytes_put16(image + 56, 3);
    put_program_header64(0, 1,
                         (uint64_t[]){TEXT_OFFSET, 0xffffffff81000000, LOAD_ADDRESS, TEXT_LENGTH,
                                      TEXT_LENGTH + BSS_LENGTH, 0x1000});
    put_program_header64(1, 4, (uint64_t[]){NOTE_OFFSET, 0, 0, NOTES_LENGTH, NOTES_LENGTH, 4});
    /* GNU_STACK and the like: whatever it says is not looked at. */
    put_program_header64(2, 0x6474e551, (uint64_t[]){UINT64_MAX, 0, 0, UINT64_MAX, 0, 16});
}

static void make_elf32(void)
{
    put_identity(1, 3);
    bytes_put32(image + 24, ENTRY);
    bytes_put32(image + 28, 52);
    bytes_put16(image + 42, 32);
    bytes_put16(image + 44, 2);
    const uint32_t headers[2][8] = {
        {1, TEXT_OFFSET, LOAD_ADDRESS, LOAD_ADDRESS, TEXT_LENGTH, TEXT_LENGTH + 64, 7, 4096},
        {4, NOTE_OFFSET, 0, 0, NOTES_LENGTH, NOTES_LENGTH, 4, 4},
    };
    memcpy(image + 52, headers, sizeof(headers));
}

static void use_image(struct world *world, size_t length)
{
    world->request.kernel = world_file("kernel", image, length);
}

static void check_start_info(const struct world *world, uint64_t initrd_length)
{
    const uint8_t *info = world_at(world, world->state.gpr[X86_RBX]);
    CHECK_EQUAL(bytes_get32(info), 0x336ec578);
    CHECK_EQUAL(bytes_get32(info + 4), 1);
    CHECK_EQUAL(bytes_get32(info + 8), 0);
    CHECK_EQUAL(bytes_get64(info + 32), BOOT_ACPI_BASE);
    CHECK(strcmp((const char *)world_at(world, bytes_get64(info + 24)), "a b") == 0);
    CHECK_EQUAL(bytes_get32(info + 12), initrd_length != 0);
    if (initrd_length != 0) {
        const uint8_t *module = world_at(world, bytes_get64(info + 16));
        CHECK_EQUAL(bytes_get64(module + 8), initrd_length);
        CHECK_EQUAL(*world_at(world, bytes_get64(module)), 0x77);
    }
    CHECK_EQUAL(bytes_get32(info + 48), world->layout.map.count);
    const uint8_t *map = world_at(world, bytes_get64(info + 40));
    CHECK_EQUAL(bytes_get64(map + 3 * 24), 0x100000);
    CHECK_EQUAL(bytes_get64(map + 3 * 24 + 8), 15 * MIB);
    CHECK_EQUAL(bytes_get32(map + 3 * 24 + 16), 1);
}

static void test_good(void (*make)(void), bool with_initrd)
{
    static const uint8_t initrd[3] = {0x77, 1, 2};
    struct world world;
    world_create(&world, 16 * MIB);
    make();
    use_image(&world, FILE_LENGTH);
    world.request.command_line = "a b";
    if (with_initrd) {
        world.request.initrd = world_file("initrd", initrd, sizeof(initrd));
    }
    BOOTS(&world);
    check_protected_state(&world);
    CHECK_EQUAL(world.state.rip, ENTRY);
    CHECK(memcmp(world_at(&world, LOAD_ADDRESS), image + TEXT_OFFSET, TEXT_LENGTH) == 0);
    CHECK_EQUAL(*world_at(&world, LOAD_ADDRESS + TEXT_LENGTH), 0);
    check_start_info(&world, with_initrd ? sizeof(initrd) : 0);
    world_destroy(&world);
}

/* One field changed in an otherwise good 64-bit image. Program header 0 is at 64, 1 at 120. */
static const struct {
    unsigned int offset, size;
    uint64_t value;
    int code;
    const char *words;
} bad_fields[] = {
    {4, 1, 3, ENOEXEC, "class"},
    {4, 1, 0, ENOEXEC, "class"},
    {5, 1, 2, ENOEXEC, "another processor"},
    {6, 1, 0, ENOEXEC, "version"},
    {16, 2, 1, ENOEXEC, "no executable"},
    {16, 2, 3, ENOEXEC, "no executable"},
    {18, 2, 183, ENOEXEC, "another processor"},
    {18, 2, 3, ENOEXEC, "32-bit processor"},
    {32, 8, FILE_LENGTH - 100, ENOEXEC, "truncated"},
    {32, 8, UINT64_MAX - 60, ENOEXEC, "truncated"},
    {32, 8, UINT64_MAX, ENOEXEC, "truncated"},
    {54, 2, 32, ENOEXEC, "wrong size"},
    {54, 2, 0, ENOEXEC, "wrong size"},
    {56, 2, 0, ENOEXEC, "program headers"},
    {56, 2, 65, ENOEXEC, "program headers"},
    {56, 2, 0xffff, ENOEXEC, "program headers"},
    {64, 4, 0, ENOEXEC, "outside"},                     /* nothing is loaded */
    {64 + 8, 8, FILE_LENGTH + 1, ENOEXEC, "truncated"}, /* p_offset */
    {64 + 8, 8, UINT64_MAX, ENOEXEC, "truncated"},
    {64 + 24, 8, LOAD_ADDRESS + 0x100, ENOEXEC, "outside"}, /* p_paddr */
    {64 + 24, 8, UINT64_MAX - 0x1000, ENOEXEC, "impossible"},
    {64 + 32, 8, UINT64_MAX, ENOEXEC, "truncated"}, /* p_filesz */
    {64 + 32, 8, FILE_LENGTH, ENOEXEC, "truncated"},
    {64 + 32, 8, 8, ENOEXEC, "outside"},
    {64 + 40, 8, TEXT_LENGTH - 1, ENOEXEC, "impossible"}, /* p_memsz */
    {64 + 40, 8, 16 * MIB, ENOSPC, "give the guest more"},
    {64 + 40, 8, UINT64_C(1) << 63, ENOSPC, "give the guest more"},
    {64 + 40, 8, UINT64_MAX, ENOEXEC, "impossible"},
    {120, 4, 5, ENOEXEC, "CONFIG_PVH"},                  /* no notes at all */
    {120 + 8, 8, FILE_LENGTH - 1, ENOEXEC, "truncated"}, /* notes' p_offset */
    {120 + 32, 8, 44, ENOEXEC, "CONFIG_PVH"},            /* ends before the entry's note */
    {120 + 32, 8, 50, ENOEXEC, "CONFIG_PVH"},            /* or in its header */
    {120 + 32, 8, 60, ENOEXEC, "a note ends"},           /* or in its descriptor */
    {NOTE_OFFSET, 4, 0xffffffff, ENOEXEC, "a note ends"},
    {NOTE_OFFSET, 4, 0xfffffff0, ENOEXEC, "a note ends"},
    {NOTE_OFFSET + 4, 4, 0xffffffff, ENOEXEC, "a note ends"},
    {NOTE_OFFSET + 52, 4, 19, ENOEXEC, "CONFIG_PVH"},
    {NOTE_OFFSET + 60, 4, LOAD_ADDRESS - 1, ENOEXEC, "outside"},
    {NOTE_OFFSET + 60, 4, LOAD_ADDRESS + TEXT_LENGTH, ENOEXEC, "outside"},
};

static void test_bad_fields(void)
{
    for (size_t i = 0; i < sizeof(bad_fields) / sizeof(bad_fields[0]); i++) {
        struct world world;
        world_create(&world, 16 * MIB);
        make_elf64();
        memcpy(image + bad_fields[i].offset, &bad_fields[i].value, bad_fields[i].size);
        use_image(&world, FILE_LENGTH);
        unsigned int failed = check_failed;
        REFUSED(&world, bad_fields[i].code, bad_fields[i].words);
        if (check_failed != failed) {
            fprintf(stderr, "    field 0x%x = 0x%" PRIx64 "\n", bad_fields[i].offset,
                    bad_fields[i].value);
        }
        world_destroy(&world);
    }
}

/* Segments where something else is: the boot structures, the tables, another segment. */
static void test_collisions(void)
{
    static const struct {
        uint64_t address, length;
        const char *words;
    } cases[] = {
        {0x90000, 0x300, "boot information"},   {0x8fe00, 0x300, "boot information"},
        {0x9effe, 0x300, "boot information"},   {0xe0000, 0x300, "boot information"},
        {0x10000, 0xf0000, "boot information"}, {LOAD_ADDRESS + 0x300, 0x300, "overlap"},
        {LOAD_ADDRESS - 1, 0x300, "overlap"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world world;
        world_create(&world, 16 * MIB);
        make_elf64();
        put_program_header64(
            2, 1, (uint64_t[]){TEXT_OFFSET, 0, cases[i].address, 0x100, cases[i].length, 0x1000});
        use_image(&world, FILE_LENGTH);
        REFUSED(&world, ENOEXEC, cases[i].words);
        world_destroy(&world);
    }
}

static void test_truncated(void)
{
    struct world world;
    world_create(&world, 16 * MIB);
    for (int class = 1; class <= 2; class ++) {
        class == 1 ? make_elf32() : make_elf64();
        for (size_t length = 1; length < NOTE_OFFSET + NOTES_LENGTH; length += 3) {
            struct kernel_file file = kernel_file_from_memory("kernel", "kernel", image, length);
            struct elf_image parsed;
            enum boot_protocol protocol;
            CHECK_EQUAL(elf_parse(&file, &parsed, &world.error), -ENOEXEC);
            CHECK_EQUAL(boot_detect(&file, &protocol, &world.error), -ENOEXEC);
        }
    }
    world_destroy(&world);
}

/* A note whose descriptor has eight bytes, in a segment aligned to eight. */
static void test_wide_note(void)
{
    struct world world;
    world_create(&world, 16 * MIB);
    make_elf64();
    uint8_t *note = image + NOTE_OFFSET;
    memset(note, 0, NOTES_LENGTH);
    put_note(note, "GNU", 5, 1);       /* 12 + 4 + 4, to 24 with the padding */
    put_note(note + 24, "Xen", 18, 0); /* 12 + 4 */
    bytes_put32(note + 24 + 4, 8);
    bytes_put64(note + 24 + 16, ENTRY);
    bytes_put64(image + 120 + 48, 8);
    use_image(&world, FILE_LENGTH);
    BOOTS(&world);
    CHECK_EQUAL(world.state.rip, ENTRY);
    world_destroy(&world);
}

static void test_little_memory(void)
{
    static const uint8_t initrd[8192] = {0x77};
    struct world world;
    world_create(&world, 2 * MIB);
    make_elf64();
    use_image(&world, FILE_LENGTH);
    REFUSED(&world, ENOSPC, "give the guest more");
    world_destroy(&world);
    world_create(&world, 2 * MIB + 0x11000);
    use_image(&world, FILE_LENGTH);
    BOOTS(&world);
    world.request.initrd = world_file("initrd", initrd, sizeof(initrd));
    REFUSED(&world, ENOSPC, "does not fit");
    world_destroy(&world);
}

int main(void)
{
    world_begin();
    test_good(make_elf64, false);
    test_good(make_elf64, true);
    test_good(make_elf32, true);
    test_bad_fields();
    test_collisions();
    test_truncated();
    test_wide_note();
    test_little_memory();
    world_end();
    return check_summary();
}
