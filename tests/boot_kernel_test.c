/* Debian's own kernel, when TRAPEZE_TEST_KERNEL names one: what the loader makes of it. */
#include "boot_helper.h"

int main(void)
{
    const char *path = getenv("TRAPEZE_TEST_KERNEL");
    if (path == NULL || access(path, R_OK) != 0) {
        SKIP("TRAPEZE_TEST_KERNEL names no kernel");
        return check_summary();
    }
    struct world world;
    world_create(&world, 512 * MIB);
    world.request.kernel = path;
    world.request.initrd = path; /* any large file will do */
    world.request.command_line = "console=ttyS0";
    BOOTS(&world);
    const uint8_t *params = world_at(&world, BOOT_INFORMATION_BASE);
    uint64_t preferred = bytes_get64(params + 0x258);
    CHECK_EQUAL(world.state.rip, preferred + 0x200);
    uint64_t ramdisk = bytes_get32(params + 0x218);
    CHECK(ramdisk >= preferred + bytes_get32(params + 0x260));
    CHECK(memcmp(world_at(&world, ramdisk + 0x202), "HdrS", 4) == 0);
    /* The last 16 bytes of the payload are where init_size's neighbours say they should be. */
    uint64_t payload = (uint64_t)bytes_get32(params + 0x1f4) * 16;
    uint64_t setup = ((uint64_t)params[0x1f1] + 1) * 512;
    CHECK(memcmp(world_at(&world, preferred + payload - 16),
                 world_at(&world, ramdisk + setup + payload - 16), 16) == 0);
    world_destroy(&world);

    world_create(&world, 32 * MIB);
    world.request.kernel = path;
    REFUSED(&world, ENOSPC, "MiB of guest memory");
    world_destroy(&world);
    return check_summary();
}
