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

/* Files that tests have made, by name; removed by world_end. */
#define WORLD_FILES_MAX 8
static char world_paths[WORLD_FILES_MAX][64];
static unsigned int world_path_count;

/* The path for a name in the directory; the same name gives the same path. */
static inline const char *world_path(const char *name)
{
    char path[sizeof(world_paths[0])];
    snprintf(path, sizeof(path), "%s/%s", world_directory, name);
    for (unsigned int i = 0; i < world_path_count; i++) {
        if (strcmp(world_paths[i], path) == 0) {
            return world_paths[i];
        }
    }
    if (world_path_count == WORLD_FILES_MAX) {
        exit(2);
    }
    return strcpy(world_paths[world_path_count++], path);
}

/* Removes the directory with everything in it. */
static inline void world_end(void)
{
    for (unsigned int i = 0; i < world_path_count; i++) {
        unlink(world_paths[i]);
    }
    CHECK(rmdir(world_directory) == 0);
}

/* Writes a file and gives its path, valid until the end. */
static inline const char *world_file(const char *name, const void *bytes, size_t length)
{
    const char *path = world_path(name);
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

#endif
