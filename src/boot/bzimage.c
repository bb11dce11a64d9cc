#include "boot/bzimage.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "boot/bytes.h"
#include "boot/cpu_state.h"
#include "boot/layout.h"
#include "boot/place.h"

/* "Details of Header Fields": offsets in the file, and the same in boot_params. */
#define HEADER_SETUP_SECTS    0x1f1
#define HEADER_SYSSIZE        0x1f4
#define HEADER_BOOT_FLAG      0x1fe
#define HEADER_JUMP_LENGTH    0x201
#define HEADER_MAGIC          0x202
#define HEADER_VERSION        0x206
#define HEADER_TYPE_OF_LOADER 0x210
#define HEADER_LOADFLAGS      0x211
#define HEADER_RAMDISK_IMAGE  0x218
#define HEADER_RAMDISK_SIZE   0x21c
#define HEADER_CMD_LINE_PTR   0x228
#define HEADER_INITRD_MAX     0x22c
#define HEADER_ALIGNMENT      0x230
#define HEADER_RELOCATABLE    0x234
#define HEADER_XLOADFLAGS     0x236
#define HEADER_CMDLINE_SIZE   0x238
#define HEADER_SETUP_DATA     0x250
#define HEADER_PREF_ADDRESS   0x258
#define HEADER_INIT_SIZE      0x260
#define HEADER_END_2_12       0x268 /* what version 2.12 promises to be there */
#define HEADER_END_MAX        0x290 /* boot_params has other things from here on */

#define HEADER_BOOT_FLAG_VALUE 0xaa55
#define HEADER_MAGIC_VALUE     0x53726448 /* "HdrS" */
#define HEADER_VERSION_MIN     0x020c
#define LOADFLAG_LOADED_HIGH   0x01
#define LOADFLAG_QUIET         0x20
#define XLOADFLAG_KERNEL_64    0x0001
#define LOADER_UNDEFINED       0xff

/* zero-page.rst. */
#define PARAMS_SIZE         0x1000
#define PARAMS_ACPI_RSDP    0x070
#define PARAMS_E820_ENTRIES 0x1e8
#define PARAMS_E820_TABLE   0x2d0
#define PARAMS_E820_ENTRY   20

#define SETUP_DATA_RNG_SEED 9
#define SETUP_DATA_HEADER   16
#define RANDOM_SEED_MAX     256

#define ENTRY_64_OFFSET 0x200 /* "64-bit Boot Protocol" */
#define SECTOR          512
#define PARAGRAPH       16
#define IDENTITY_MAPPED BOOT_FOUR_GIB

/* A header whose every field that is used has been validated. */
struct bzimage {
    uint8_t header[HEADER_END_MAX]; /* the file's first bytes */
    uint32_t header_end;            /* one past the last byte of the setup header */
    uint64_t payload_offset;        /* of the protected-mode kernel in the file */
    uint64_t payload_length;
    uint64_t load_address;
    uint64_t init_size;
    uint64_t command_line_maximum;
    uint64_t initrd_ceiling; /* exclusive */
};

static bool has_signatures(const uint8_t *header)
{
    return bytes_get16(header + HEADER_BOOT_FLAG) == HEADER_BOOT_FLAG_VALUE &&
           bytes_get32(header + HEADER_MAGIC) == HEADER_MAGIC_VALUE;
}

bool bzimage_recognise(const struct kernel_file *file)
{
    uint8_t header[HEADER_VERSION + 2];
    return file->length >= sizeof(header) &&
           kernel_file_read(file, 0, header, sizeof(header), NULL) == 0 && has_signatures(header);
}

static int broken(const struct kernel_file *kernel, const char *what, struct error *error)
{
    return error_set(error, ENOEXEC, "the kernel '%s' is broken (%s): get it again", kernel->path,
                     what);
}

/* What kind of kernel it is: one that the 64-bit protocol can start. */
static int check_protocol(const struct kernel_file *kernel, const uint8_t *header,
                          struct error *error)
{
    unsigned int version = bytes_get16(header + HEADER_VERSION);
    if (version < HEADER_VERSION_MIN) {
        return error_set(error, ENOEXEC,
                         "the kernel '%s' speaks boot protocol %u.%02u and 2.12 is needed: use "
                         "Linux 3.8 or later",
                         kernel->path, version >> 8, version & 0xff);
    }
    if ((header[HEADER_LOADFLAGS] & LOADFLAG_LOADED_HIGH) == 0) {
        return error_set(error, ENOEXEC,
                         "the kernel '%s' is a zImage that loads below 1 MiB: use a bzImage",
                         kernel->path);
    }
    if ((bytes_get16(header + HEADER_XLOADFLAGS) & XLOADFLAG_KERNEL_64) == 0) {
        return error_set(error, ENOEXEC,
                         "the kernel '%s' has no 64-bit entry point: use an x86-64 kernel",
                         kernel->path);
    }
    return 0;
}

static int parse_sizes(const struct kernel_file *kernel, struct bzimage *image, struct error *error)
{
    const uint8_t *header = image->header;
    uint64_t sectors = header[HEADER_SETUP_SECTS] != 0 ? header[HEADER_SETUP_SECTS] : 4;

    /* "Bit 7..0 of the jump instruction" give the header's end relative to 0x202. */
    image->header_end = HEADER_MAGIC + (uint32_t)header[HEADER_JUMP_LENGTH];
    if (image->header_end < HEADER_END_2_12) {
        return broken(kernel, "its header is too short for its version", error);
    }
    if (image->header_end > HEADER_END_MAX) {
        image->header_end = HEADER_END_MAX; /* later additions that this loader does not know */
    }
    image->payload_offset = (sectors + 1) * SECTOR;
    image->payload_length = (uint64_t)bytes_get32(header + HEADER_SYSSIZE) * PARAGRAPH;
    if (image->payload_length <= ENTRY_64_OFFSET) {
        return broken(kernel, "its header says that there is no code", error);
    }
    if (image->payload_offset >= kernel->length ||
        image->payload_length > kernel->length - image->payload_offset) {
        return error_set(error, ENOEXEC,
                         "the kernel '%s' is truncated: %" PRIu64 " of %" PRIu64
                         " bytes are there: get it again",
                         kernel->path, kernel->length,
                         image->payload_offset + image->payload_length);
    }
    image->init_size = bytes_get32(header + HEADER_INIT_SIZE);
    if (image->init_size < image->payload_length) {
        return broken(kernel, "init_size is smaller than the kernel itself", error);
    }
    return 0;
}

static int parse_placement(const struct kernel_file *kernel, struct bzimage *image,
                           struct error *error)
{
    const uint8_t *header = image->header;
    uint64_t alignment = bytes_get32(header + HEADER_ALIGNMENT);

    /*
     * A relocatable kernel loaded below its preferred address moves itself up to it, so the
     * preferred address is the one place for every kernel.
     */
    image->load_address = bytes_get64(header + HEADER_PREF_ADDRESS);
    if (header[HEADER_RELOCATABLE] != 0 && (alignment == 0 || (alignment & (alignment - 1)) != 0 ||
                                            image->load_address % alignment != 0)) {
        return broken(kernel, "its preferred address does not have its alignment", error);
    }
    if (image->load_address < BOOT_HIGH_BASE || image->load_address % 4096 != 0 ||
        image->load_address > IDENTITY_MAPPED - image->init_size) {
        return broken(kernel, "its preferred address is impossible", error);
    }
    image->command_line_maximum = bytes_get32(header + HEADER_CMDLINE_SIZE);
    image->initrd_ceiling = (uint64_t)bytes_get32(header + HEADER_INITRD_MAX) + 1;
    return 0;
}

static int parse(const struct kernel_file *kernel, struct bzimage *image, struct error *error)
{
    int status = kernel_file_read(kernel, 0, image->header, sizeof(image->header), error);
    if (status != 0) {
        return status;
    }
    if (!has_signatures(image->header)) {
        return error_set(error, ENOEXEC, "'%s' is not a Linux bzImage", kernel->path);
    }
    status = check_protocol(kernel, image->header, error);
    if (status == 0) {
        status = parse_sizes(kernel, image, error);
    }
    if (status == 0) {
        status = parse_placement(kernel, image, error);
    }
    return status;
}

static int load_payload(const struct boot_context *context, const struct kernel_file *kernel,
                        const struct bzimage *image, struct error *error)
{
    uint64_t end = image->load_address + image->init_size;
    if (end > context->layout->low_ram_end) {
        return error_set(error, ENOSPC,
                         "the kernel '%s' needs at least %" PRIu64
                         " MiB of guest memory and there are %" PRIu64 ": give the guest more",
                         kernel->path, (end + 0xfffff) >> 20, context->layout->low_ram_end >> 20);
    }
    return kernel_file_load(kernel, image->payload_offset, image->payload_length, context->memory,
                            gpa(image->load_address), error);
}

/* Writes a setup_data node with the seed; *address is 0 when there is none. */
static int place_random_seed(const struct boot_context *context, uint64_t *address,
                             struct error *error)
{
    const struct boot_request *request = context->request;
    uint8_t node[SETUP_DATA_HEADER + RANDOM_SEED_MAX] = {0};
    size_t length = request->random_seed_length;

    *address = 0;
    if (request->random_seed == NULL || length == 0) {
        return 0;
    }
    if (length > RANDOM_SEED_MAX) {
        length = RANDOM_SEED_MAX;
    }
    bytes_put64(node, 0); /* the last of its list */
    bytes_put32(node + 8, SETUP_DATA_RNG_SEED);
    bytes_put32(node + 12, (uint32_t)length);
    memcpy(node + SETUP_DATA_HEADER, request->random_seed, length);
    int status =
        place_bytes(context->memory, BOOT_LISTS_BASE, node, SETUP_DATA_HEADER + length, error);
    explicit_bzero(node, sizeof(node));
    *address = BOOT_LISTS_BASE;
    return status;
}

static void fill_e820(uint8_t *params, const struct e820_map *map)
{
    params[PARAMS_E820_ENTRIES] = (uint8_t)map->count;
    for (unsigned int i = 0; i < map->count; i++) {
        uint8_t *entry = params + PARAMS_E820_TABLE + PARAMS_E820_ENTRY * i;
        bytes_put64(entry, map->entries[i].base);
        bytes_put64(entry + 8, map->entries[i].length);
        bytes_put32(entry + 16, map->entries[i].type);
    }
}

static int place_boot_params(const struct boot_context *context, const struct bzimage *image,
                             const struct placed_file *initrd, uint64_t setup_data,
                             struct error *error)
{
    uint8_t params[PARAMS_SIZE] = {0};

    memcpy(params + HEADER_SETUP_SECTS, image->header + HEADER_SETUP_SECTS,
           image->header_end - HEADER_SETUP_SECTS);
    params[HEADER_TYPE_OF_LOADER] = LOADER_UNDEFINED;
    params[HEADER_LOADFLAGS] &= (uint8_t)~LOADFLAG_QUIET;
    bytes_put32(params + HEADER_RAMDISK_IMAGE, (uint32_t)initrd->address);
    bytes_put32(params + HEADER_RAMDISK_SIZE, (uint32_t)initrd->length);
    bytes_put32(params + HEADER_CMD_LINE_PTR, (uint32_t)BOOT_STRINGS_BASE);
    bytes_put64(params + HEADER_SETUP_DATA, setup_data);
    bytes_put64(params + PARAMS_ACPI_RSDP, context->rsdp);
    fill_e820(params, &context->layout->map);
    return place_bytes(context->memory, BOOT_INFORMATION_BASE, params, sizeof(params), error);
}

int bzimage_load(const struct boot_context *context, const struct kernel_file *kernel,
                 struct x86_state *bootstrap, struct error *error)
{
    struct bzimage image;
    struct placed_file initrd;
    uint64_t setup_data;

    int status = parse(kernel, &image, error);
    if (status == 0) {
        status = place_command_line(context, image.command_line_maximum, error);
    }
    if (status == 0) {
        status = load_payload(context, kernel, &image, error);
    }
    if (status == 0) {
        status = place_initrd(context, image.load_address + image.init_size, image.initrd_ceiling,
                              &initrd, error);
    }
    if (status == 0) {
        status = place_random_seed(context, &setup_data, error);
    }
    if (status == 0) {
        status = place_boot_params(context, &image, &initrd, setup_data, error);
    }
    if (status == 0) {
        status =
            cpu_state_long(context->memory, image.load_address + ENTRY_64_OFFSET, bootstrap, error);
        bootstrap->gpr[X86_RSI] = BOOT_INFORMATION_BASE;
    }
    return status;
}
