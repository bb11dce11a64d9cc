/* Flat images in every mode, files that can't be opened or are no kernels, and requests that clash.
 */
#include <sys/stat.h>

#include "boot_helper.h"

static const uint8_t code[] = {0xf4, 0xeb, 0xfd}; /* hlt in a loop */

static void start_flat(struct world *world, enum boot_mode mode, uint64_t address)
{
    world_create(world, 16 * MIB);
    world->request.kernel = world_file("image", code, sizeof(code));
    world->request.protocol = BOOT_PROTOCOL_FLAT;
    world->request.flat_mode = mode;
    world->request.flat_address = address;
}

static void test_real(void)
{
    struct world world;
    start_flat(&world, BOOT_MODE_REAL, 0x8000);
    BOOTS(&world);
    CHECK_EQUAL(world.state.cr0 & (X86_CR0_PE | X86_CR0_PG), 0);
    CHECK_EQUAL(world.state.segment[X86_CS].base, 0);
    CHECK_EQUAL(world.state.rip, 0x8000);
    CHECK_EQUAL(world.state.segment[X86_SS].base + world.state.gpr[X86_RSP], BOOT_STACK_TOP);
    CHECK(memcmp(world_at(&world, 0x8000), code, sizeof(code)) == 0);
    CHECK_EQUAL(*world_at(&world, BOOT_ACPI_BASE), 0);
    world.request.flat_address = 0x12345;
    BOOTS(&world);
    CHECK_EQUAL(world.state.segment[X86_CS].selector, 0x1000);
    CHECK_EQUAL(world.state.segment[X86_CS].base, 0x10000);
    CHECK_EQUAL(world.state.segment[X86_DS].selector, 0x1000);
    CHECK_EQUAL(world.state.rip, 0x2345);
    world.request.flat_address = BOOT_HIGH_BASE;
    REFUSED(&world, EINVAL, "below 1 MiB");
    world_destroy(&world);
}

static void test_protected_and_paged(void)
{
    struct world world;
    start_flat(&world, BOOT_MODE_PROTECTED, 0x100000);
    BOOTS(&world);
    check_protected_state(&world);
    CHECK_EQUAL(world.state.rip, 0x100000);
    CHECK_EQUAL(world.state.gpr[X86_RSP], BOOT_STACK_TOP);
    world_destroy(&world);

    start_flat(&world, BOOT_MODE_PAGED, 0x100000);
    BOOTS(&world);
    CHECK((world.state.cr0 & X86_CR0_PG) != 0);
    CHECK_EQUAL(world.state.cr4, X86_CR4_PSE);
    CHECK_EQUAL(world.state.efer, 0);
    for (uint32_t i = 0; i < 1024; i++) {
        CHECK_EQUAL(bytes_get32(world_at(&world, world.state.cr3 + 4 * i)), i << 22 | 0x83);
    }
    world_destroy(&world);
}

static void test_long(void)
{
    struct world world;
    start_flat(&world, BOOT_MODE_LONG, 0x8000);
    BOOTS(&world);
    CHECK_EQUAL(world.state.rip, 0x8000);
    CHECK_EQUAL(world.state.gpr[X86_RSP], BOOT_STACK_TOP);
    CHECK_EQUAL(world.state.efer, X86_EFER_LME | X86_EFER_LMA);
    CHECK_EQUAL(world.state.segment[X86_CS].attributes & (X86_SEGMENT_L | X86_SEGMENT_DB),
                X86_SEGMENT_L);
    world_destroy(&world);
}

static void test_bad_places(void)
{
    static const uint64_t covered[] = {0x90000, 0x8ffff, 0x9efff, 0x95000};
    struct world world;
    start_flat(&world, BOOT_MODE_LONG, 0);
    for (size_t i = 0; i < sizeof(covered) / sizeof(covered[0]); i++) {
        world.request.flat_address = covered[i];
        REFUSED(&world, EINVAL, "0x90000..0x9f000");
    }
    static const uint64_t outside[] = {16 * MIB, 16 * MIB - 2, BOOT_LAPIC_BASE, UINT64_MAX};
    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        world.request.flat_address = outside[i];
        REFUSED(&world, ENOSPC, "does not fit");
    }
    world.request.flat_address = 16 * MIB - 3;
    BOOTS(&world);
    world.request.flat_mode = (enum boot_mode)17;
    REFUSED(&world, EINVAL, "mode");
    world.request.flat_mode = BOOT_MODE_LONG;
    world.request.command_line = "x";
    REFUSED(&world, EINVAL, "command line");
    world.request.command_line = "";
    world.request.initrd = world.request.kernel;
    REFUSED(&world, EINVAL, "initrd");
    world_destroy(&world);
}

static void test_files(void)
{
    struct world world;
    world_create(&world, 16 * MIB);
    REFUSED(&world, EINVAL, "--kernel");
    world.request.kernel = "/nonexistent/vmlinuz";
    REFUSED(&world, ENOENT, "/nonexistent/vmlinuz");
    world.request.kernel = world_directory;
    REFUSED(&world, EISDIR, "directory");
    world.request.kernel = "/dev/zero";
    REFUSED(&world, EINVAL, "device");
    world.request.kernel = world_file("kernel", "", 0);
    REFUSED(&world, EINVAL, "empty");
    const char *pipe_path = world_path("pipe");
    CHECK(mkfifo(pipe_path, 0600) == 0);
    world.request.kernel = pipe_path;
    REFUSED(&world, EINVAL, "pipe");
    world_destroy(&world);
}

/* What people name instead of a kernel, and the advice they get. */
static void test_not_kernels(void)
{
    static const struct {
        const char *bytes;
        size_t length;
        const char *words;
    } cases[] = {
        {"\x1f\x8b\x08", 3, "gzip"},
        {"\xfd"
         "7zXZ\0",
         6, "xz"},
        {"\x28\xb5\x2f\xfd", 4, "zstd"},
        {"\x04\x22\x4d\x18", 4, "lz4"},
        {"070701", 6, "initrd"},
        {"QFI\xfb", 4, "qcow2"},
        {"#!/bin/sh\n", 10, "no kernel"},
        {"x", 1, "no kernel"},
        {"\177EL", 3, "no kernel"},
        {"\177ELF", 4, "truncated"},
    };
    struct world world;
    uint8_t padded[1024];
    world_create(&world, 16 * MIB);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        world.request.kernel = world_file("kernel", cases[i].bytes, cases[i].length);
        REFUSED(&world, ENOEXEC, cases[i].words);
        if (i < 7) {
            memset(padded, 0, sizeof(padded));
            memcpy(padded, cases[i].bytes, cases[i].length);
            world.request.kernel = world_file("kernel", padded, sizeof(padded));
            REFUSED(&world, ENOEXEC, cases[i].words);
        }
    }
    memset(padded, 0, sizeof(padded));
    memcpy(padded + 0x38, "ARMd", 4);
    world.request.kernel = world_file("kernel", padded, sizeof(padded));
    REFUSED(&world, ENOEXEC, "ARM");
    world_destroy(&world);
}

/* A file that shrinks while it is open is an error, not a crash. */
static void test_shrinking_file(void)
{
    struct kernel_file file;
    struct error error;
    uint8_t buffer[sizeof(code)];
    const char *path = world_file("image", code, sizeof(code));
    CHECK_EQUAL(kernel_file_open(path, "image", &file, &error), 0);
    CHECK_EQUAL(truncate(path, 1), 0);
    CHECK_EQUAL(kernel_file_read(&file, 0, buffer, sizeof(buffer), &error), -ENOEXEC);
    CHECK(strstr(error.text, "truncated") != NULL);
    kernel_file_close(&file);
}

static void test_descriptors(void)
{
    /* As Linux has them: 64-bit kernel code and data; then an uneven base and limit. */
    struct x86_segment segment = x86_segment_from_descriptor(UINT64_C(0x00af9b000000ffff), 0x10);
    CHECK_EQUAL(segment.limit, UINT32_MAX);
    CHECK_EQUAL(segment.attributes, 0xa09b);
    CHECK(x86_segment_is_code(&segment));
    segment = x86_segment_from_descriptor(UINT64_C(0x12408934567abcde), 0x33);
    CHECK_EQUAL(segment.base, 0x1234567a);
    CHECK_EQUAL(segment.limit, 0x0bcde);
    CHECK_EQUAL(segment.attributes, 0x4089);
    CHECK_EQUAL(segment.selector, 0x33);
    CHECK_EQUAL(x86_segment_to_descriptor(&segment), UINT64_C(0x12408934567abcde));
    segment = x86_segment_from_descriptor64(UINT64_C(0x12408b34567abcde), 0xfffffe00, 0x40);
    CHECK_EQUAL(segment.base, UINT64_C(0xfffffe001234567a));
    CHECK_EQUAL(x86_segment_to_descriptor_high(&segment), 0xfffffe00);
    CHECK_EQUAL(x86_segment_type(&segment), X86_SYSTEM_TSS_BUSY);
    segment.attributes |= X86_SEGMENT_UNUSABLE;
    CHECK_EQUAL(x86_segment_to_descriptor(&segment), 0);

    struct x86_gate gate =
        x86_gate_from_descriptor64(UINT64_C(0x8765ee0300104321), UINT64_C(0xfffffff0));
    CHECK_EQUAL(gate.offset, UINT64_C(0xfffffff087654321));
    CHECK_EQUAL(gate.selector, 0x10);
    CHECK_EQUAL(gate.ist, 3);
    CHECK_EQUAL(gate.dpl, 3);
    CHECK_EQUAL(gate.type, X86_SYSTEM_INTERRUPT_GATE);
    CHECK(gate.present && !gate.is_segment);
    CHECK_EQUAL(x86_gate_to_descriptor(&gate), UINT64_C(0x8765ee0300104321));
    gate = x86_gate_from_descriptor(UINT64_C(0xffff840512345678)); /* 16-bit call gate */
    CHECK_EQUAL(gate.offset, 0x5678);
    CHECK_EQUAL(gate.parameter_count, 5);
    CHECK_EQUAL(gate.type, X86_SYSTEM_CALL_GATE16);
}

int main(void)
{
    world_begin();
    test_real();
    test_protected_and_paged();
    test_long();
    test_bad_places();
    test_files();
    test_not_kernels();
    test_shrinking_file();
    test_descriptors();
    world_end();
    return check_summary();
}
