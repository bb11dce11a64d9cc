/*
 * What the boot tests share: guest memory made from a layout, files in a directory of their own,
 * and checks that a request is refused with the right code and words.
 *
 * Owner: the including test. Thread: one.
 */
#ifndef TRAPEZE_TESTS_BOOT_HELPER_H
#define TRAPEZE_TESTS_BOOT_HELPER_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boot/boot.h"
#include "boot/bytes.h"
#include "boot/bzimage.h"
#include "boot/layout.h"
#include "check.h"
#include "x86/descriptor.h"

#define MIB (UINT64_C(1) << 20)

/* A machine to boot in. */
struct world {
    struct boot_memory_layout layout;
    struct guestmem *memory;
    struct acpi_config acpi;
    struct boot_request request;
    struct x86_state state;
    struct error error;
};

static char world_directory[] = "/tmp/trapeze-boot-test-XXXXXX";

/* Makes the directory for files; call first, once. */
static inline void world_begin(void)
{
    if (mkdtemp(world_directory) == NULL) {
        perror("mkdtemp");
        exit(2);
    }
}

/* Removes the directory with the named files in it. */
static inline void world_end(const char *const *names, size_t count)
{
    char path[128];
    for (size_t i = 0; i < count; i++) {
        snprintf(path, sizeof(path), "%s/%s", world_directory, names[i]);
        unlink(path);
    }
    rmdir(world_directory);
}

/* Writes a file; the path is valid for ever (a few are made per test). */
static inline const char *world_file(const char *name, const void *bytes, size_t length)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", world_directory, name) < 0) {
        exit(2);
    }
    FILE *file = fopen(path, "wb");
    if (file == NULL || (length != 0 && fwrite(bytes, 1, length, file) != length) ||
        fclose(file) != 0) {
        perror(path);
        exit(2);
    }
    return path;
}

static inline void world_create(struct world *world, uint64_t ram)
{
    struct guestmem_options options = {.shared = false};
    memset(world, 0, sizeof(*world));
    CHECK(boot_memory_layout_make(ram, &world->layout, &world->error) == 0);
    CHECK(guestmem_create(&options, &world->memory, &world->error) == 0);
    for (unsigned int i = 0; i < world->layout.slot_count; i++) {
        CHECK(guestmem_add(world->memory, world->layout.slots[i].base,
                           world->layout.slots[i].length, 0, &world->error) == 0);
    }
    world->acpi = acpi_config_default(2);
    world->request.layout = &world->layout;
    world->request.acpi = &world->acpi;
}

static inline void world_destroy(struct world *world)
{
    guestmem_destroy(world->memory);
}

static inline int world_boot(struct world *world)
{
    world->error.text[0] = '\0';
    int status = boot_load(&world->request, world->memory, &world->state, &world->error);
    if (status != 0) {
        CHECK(world->error.text[0] != '\0');
        CHECK(strchr(world->error.text, '\n') == NULL);
    }
    return status;
}

/* Boots and expects success; prints what was said otherwise. */
static inline void world_boot_well(struct world *world, const char *file, int line)
{
    if (!check_report(world_boot(world) == 0, file, line, "boot_load succeeds")) {
        fprintf(stderr, "    %s\n", world->error.text);
    }
}

static inline void world_boot_badly(struct world *world, int code, const char *words,
                                    const char *file, int line)
{
    check_equal((uint64_t)(int64_t)world_boot(world), (uint64_t)(int64_t)-code, file, line,
                "boot_load's code");
    if (!check_report(strstr(world->error.text, words) != NULL, file, line, words)) {
        fprintf(stderr, "    it said: %s\n", world->error.text);
    }
}

#define BOOTS(world)              world_boot_well((world), __FILE__, __LINE__)
#define REFUSED(world, code, why) world_boot_badly((world), (code), (why), __FILE__, __LINE__)

static inline const uint8_t *world_at(const struct world *world, uint64_t address)
{
    return guestmem_pointer(world->memory, gpa(address), 1);
}

/* What every entry in flat 32-bit protected mode promises. */
static inline void check_protected_state(const struct world *world)
{
    const struct x86_state *state = &world->state;
    CHECK_EQUAL(state->cr0 & (X86_CR0_PE | X86_CR0_PG), X86_CR0_PE);
    CHECK_EQUAL(state->cr4, 0);
    CHECK_EQUAL(state->efer, 0);
    CHECK_EQUAL(state->rflags, X86_FLAGS_ONE);
    for (unsigned int i = 0; i < X86_SEGMENT_COUNT; i++) {
        const struct x86_segment *segment = &state->segment[i];
        CHECK_EQUAL(segment->base, 0);
        CHECK_EQUAL(segment->limit, UINT32_MAX);
        CHECK_EQUAL(segment->attributes, i == X86_CS ? 0xc09b : 0xc093);
        /* The GDT holds what the registers hold. */
        uint64_t raw = bytes_get64(world_at(world, state->gdtr.base + segment->selector));
        CHECK_EQUAL(x86_segment_from_descriptor(raw, 0).attributes, segment->attributes);
    }
    CHECK_EQUAL(state->segment[X86_TR].attributes, 0x8b);
    CHECK((state->segment[X86_LDTR].attributes & X86_SEGMENT_UNUSABLE) != 0);
}

/* A stand-in until src/x86 has the real one, which then takes its place. */
__attribute__((weak)) void x86_state_reset(struct x86_state *state)
{
    memset(state, 0, sizeof(*state));
    state->cr0 = X86_CR0_CD | X86_CR0_NW | X86_CR0_ET;
    state->dr[6] = X86_DR6_ONES;
    state->dr[7] = X86_DR7_ONE;
}

#endif
