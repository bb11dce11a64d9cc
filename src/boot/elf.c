#include "boot/elf.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "boot/bytes.h"
#include "boot/layout.h"
#include "boot/place.h"

/* "ELF Identification" */
#define IDENT_SIZE         16
#define IDENT_CLASS        4
#define IDENT_DATA         5
#define IDENT_VERSION      6
#define CLASS_32           1
#define CLASS_64           2
#define DATA_LITTLE_ENDIAN 1
#define VERSION_CURRENT    1
#define TYPE_EXECUTABLE    2
#define MACHINE_386        3
#define MACHINE_X86_64     62
#define HEADER_SIZE_32     52
#define HEADER_SIZE_64     64
#define PROGRAM_HEADER_32  32
#define PROGRAM_HEADER_64  56

/* "Note Section" */
#define NOTE_HEADER      12
#define NOTE_NAME_MAX    16
#define NOTES_MAX        1024
#define NOTE_SEGMENT_MAX 0x100000

static int broken(const struct kernel_file *file, const char *what, struct error *error)
{
    return error_set(error, ENOEXEC, "the ELF file '%s' is broken (%s): get it or build it again",
                     file->path, what);
}

bool elf_recognise(const struct kernel_file *file)
{
    uint8_t magic[4];
    return file->length >= sizeof(magic) &&
           kernel_file_read(file, 0, magic, sizeof(magic), NULL) == 0 &&
           memcmp(magic, "\177ELF", sizeof(magic)) == 0;
}

/* What both classes have at the same place: identification, type, machine. */
static int check_identity(const struct kernel_file *file, const uint8_t *header,
                          struct error *error)
{
    if (memcmp(header, "\177ELF", 4) != 0) {
        return error_set(error, ENOEXEC, "'%s' is not an ELF file", file->path);
    }
    if ((header[IDENT_CLASS] != CLASS_32 && header[IDENT_CLASS] != CLASS_64) ||
        header[IDENT_VERSION] != VERSION_CURRENT) {
        return broken(file, "unknown class or version", error);
    }
    unsigned int machine = bytes_get16(header + 18);
    if (header[IDENT_DATA] != DATA_LITTLE_ENDIAN ||
        (machine != MACHINE_386 && machine != MACHINE_X86_64)) {
        return error_set(error, ENOEXEC,
                         "the ELF file '%s' is for another processor: use one for x86", file->path);
    }
    if (header[IDENT_CLASS] == CLASS_64 && machine != MACHINE_X86_64) {
        return broken(file, "64 bits for a 32-bit processor", error);
    }
    if (bytes_get16(header + 16) != TYPE_EXECUTABLE) {
        return error_set(error, ENOEXEC,
                         "the ELF file '%s' is no executable (an object, a library, or position-"
                         "independent): link it as a static executable",
                         file->path);
    }
    return 0;
}

static struct elf_segment decode_segment(const uint8_t *at, bool is_64_bit)
{
    if (is_64_bit) {
        return (struct elf_segment){
            .type = bytes_get32(at),
            .offset = bytes_get64(at + 8),
            .virtual_address = bytes_get64(at + 16),
            .physical_address = bytes_get64(at + 24),
            .file_size = bytes_get64(at + 32),
            .memory_size = bytes_get64(at + 40),
            .alignment = bytes_get64(at + 48),
        };
    }
    return (struct elf_segment){
        .type = bytes_get32(at),
        .offset = bytes_get32(at + 4),
        .virtual_address = bytes_get32(at + 8),
        .physical_address = bytes_get32(at + 12),
        .file_size = bytes_get32(at + 16),
        .memory_size = bytes_get32(at + 20),
        .alignment = bytes_get32(at + 28),
    };
}

static int check_segment(const struct kernel_file *file, const struct elf_segment *segment,
                         struct error *error)
{
    if (segment->type != ELF_SEGMENT_LOAD && segment->type != ELF_SEGMENT_NOTE) {
        return 0;
    }
    if (segment->offset > file->length || segment->file_size > file->length - segment->offset) {
        return broken(file, "truncated: a segment ends after the file", error);
    }
    if (segment->type == ELF_SEGMENT_LOAD &&
        (segment->file_size > segment->memory_size ||
         segment->memory_size > UINT64_MAX - segment->physical_address)) {
        return broken(file, "a segment's size is impossible", error);
    }
    return 0;
}

static int parse_segments(const struct kernel_file *file, struct elf_image *image, uint64_t table,
                          unsigned int entry_size, struct error *error)
{
    uint8_t entry[PROGRAM_HEADER_64];
    for (unsigned int i = 0; i < image->segment_count; i++) {
        /* Can't wrap: the first entry was within the file. */
        uint64_t offset = table + (uint64_t)i * entry_size;
        int status = kernel_file_read(file, offset, entry, entry_size, error);
        if (status != 0) {
            return status;
        }
        image->segments[i] = decode_segment(entry, image->is_64_bit);
        status = check_segment(file, &image->segments[i], error);
        if (status != 0) {
            return status;
        }
    }
    return 0;
}

int elf_parse(const struct kernel_file *file, struct elf_image *image, struct error *error)
{
    uint8_t header[HEADER_SIZE_64] = {0};
    int status = kernel_file_read(file, 0, header, HEADER_SIZE_32, error);
    if (status == 0) {
        status = check_identity(file, header, error);
    }
    if (status != 0) {
        return status;
    }
    *image = (struct elf_image){.is_64_bit = header[IDENT_CLASS] == CLASS_64};
    if (image->is_64_bit) {
        status = kernel_file_read(file, 0, header, HEADER_SIZE_64, error);
        if (status != 0) {
            return status;
        }
    }
    image->entry = image->is_64_bit ? bytes_get64(header + 24) : bytes_get32(header + 24);
    uint64_t table = image->is_64_bit ? bytes_get64(header + 32) : bytes_get32(header + 28);
    const uint8_t *sizes = header + (image->is_64_bit ? 54 : 42); /* e_phentsize, e_phnum */
    unsigned int entry_size = bytes_get16(sizes);
    image->segment_count = bytes_get16(sizes + 2);
    if (image->segment_count == 0 || image->segment_count > ELF_SEGMENTS_MAX) {
        image->segment_count = 0;
        return broken(file, "it has no program headers, or too many", error);
    }
    if (entry_size != (image->is_64_bit ? PROGRAM_HEADER_64 : PROGRAM_HEADER_32)) {
        return broken(file, "its program headers have a wrong size", error);
    }
    return parse_segments(file, image, table, entry_size, error);
}

static uint64_t align_up(uint64_t value, uint64_t alignment)
{
    return (value + alignment - 1) & ~(alignment - 1);
}

/* Looks through one PT_NOTE segment; results as elf_find_note's. */
static int search_notes(const struct kernel_file *file, const struct elf_segment *segment,
                        const char *name, uint32_t type, uint64_t *descriptor, struct error *error)
{
    size_t name_size = strlen(name) + 1;
    uint64_t alignment = segment->alignment == 8 ? 8 : 4;
    uint64_t position = 0;

    if (segment->file_size > NOTE_SEGMENT_MAX) {
        return broken(file, "its notes are too large", error);
    }
    for (unsigned int i = 0; i < NOTES_MAX && segment->file_size - position >= NOTE_HEADER; i++) {
        uint8_t header[NOTE_HEADER + NOTE_NAME_MAX] = {0};
        uint64_t left = segment->file_size - position;
        size_t wanted = left < sizeof(header) ? (size_t)left : sizeof(header);
        int status = kernel_file_read(file, segment->offset + position, header, wanted, error);
        if (status != 0) {
            return status;
        }
        uint64_t note_name = bytes_get32(header);
        uint64_t note_length = bytes_get32(header + 4);
        uint64_t at = align_up(NOTE_HEADER + note_name, alignment);
        if (at > left || note_length > left - at) {
            return broken(file, "a note ends after its segment", error);
        }
        if (bytes_get32(header + 8) == type && note_name == name_size &&
            name_size <= NOTE_NAME_MAX && memcmp(header + NOTE_HEADER, name, name_size) == 0) {
            uint8_t value[8] = {0};
            size_t length = note_length < sizeof(value) ? (size_t)note_length : sizeof(value);
            status = kernel_file_read(file, segment->offset + position + at, value, length, error);
            *descriptor = bytes_get64(value);
            return status != 0 ? status : 1;
        }
        uint64_t next = position + align_up(at + note_length, alignment);
        position = next < segment->file_size ? next : segment->file_size;
    }
    return 0;
}

int elf_find_note(const struct kernel_file *file, const struct elf_image *image, const char *name,
                  uint32_t type, uint64_t *descriptor, struct error *error)
{
    for (unsigned int i = 0; i < image->segment_count; i++) {
        if (image->segments[i].type == ELF_SEGMENT_NOTE) {
            int status = search_notes(file, &image->segments[i], name, type, descriptor, error);
            if (status != 0) {
                return status;
            }
        }
    }
    return 0;
}

static bool is_loaded(const struct elf_segment *segment)
{
    return segment->type == ELF_SEGMENT_LOAD && segment->memory_size > 0;
}

static bool segments_overlap(const struct elf_segment *a, const struct elf_segment *b)
{
    return a->physical_address < b->physical_address + b->memory_size &&
           b->physical_address < a->physical_address + a->memory_size;
}

static int check_placement(const struct boot_context *context, const struct kernel_file *file,
                           const struct elf_image *image, unsigned int index, struct error *error)
{
    const struct elf_segment *segment = &image->segments[index];
    uint64_t end = segment->physical_address + segment->memory_size;

    if (end > context->layout->low_ram_end) {
        return error_set(error, ENOSPC,
                         "the kernel '%s' wants memory from 0x%" PRIx64 " to 0x%" PRIx64
                         " and the guest's ends at 0x%" PRIx64 ": give the guest more",
                         file->path, segment->physical_address, end, context->layout->low_ram_end);
    }
    if (place_collides(context, segment->physical_address, segment->memory_size)) {
        return error_set(error, ENOEXEC,
                         "the kernel '%s' covers 0x%" PRIx64 "..0x%" PRIx64
                         ", where the boot information goes: link it at another address, 1 MiB "
                         "for instance",
                         file->path, segment->physical_address, end);
    }
    for (unsigned int i = 0; i < index; i++) {
        if (is_loaded(&image->segments[i]) && segments_overlap(&image->segments[i], segment)) {
            return broken(file, "two of its segments overlap", error);
        }
    }
    return 0;
}

int elf_load(const struct boot_context *context, const struct kernel_file *file,
             const struct elf_image *image, struct loaded_range *range, struct error *error)
{
    *range = (struct loaded_range){.start = UINT64_MAX, .end = 0};
    for (unsigned int i = 0; i < image->segment_count; i++) {
        const struct elf_segment *segment = &image->segments[i];
        if (!is_loaded(segment)) {
            continue;
        }
        int status = check_placement(context, file, image, i, error);
        if (status == 0) {
            status = kernel_file_load(file, segment->offset, segment->file_size, context->memory,
                                      gpa(segment->physical_address), error);
        }
        if (status != 0) {
            return status;
        }
        uint64_t end = segment->physical_address + segment->memory_size;
        if (segment->physical_address < range->start) {
            range->start = segment->physical_address;
        }
        if (end > range->end) {
            range->end = end;
        }
    }
    if (range->end == 0) {
        return broken(file, "it has nothing to load", error);
    }
    return 0;
}

bool elf_physical_entry(const struct elf_image *image, uint64_t *entry)
{
    for (unsigned int i = 0; i < image->segment_count; i++) {
        const struct elf_segment *segment = &image->segments[i];
        if (is_loaded(segment) && image->entry >= segment->virtual_address &&
            image->entry - segment->virtual_address < segment->file_size) {
            *entry = image->entry - segment->virtual_address + segment->physical_address;
            return true;
        }
    }
    for (unsigned int i = 0; i < image->segment_count; i++) {
        const struct elf_segment *segment = &image->segments[i];
        if (is_loaded(segment) && image->entry >= segment->physical_address &&
            image->entry - segment->physical_address < segment->file_size) {
            *entry = image->entry;
            return true;
        }
    }
    return false;
}
