/*
 * ELF executables for x86, 32 and 64 bits: header, segments, notes, loading.
 *
 * Purpose: what PVH and multiboot share. Everything read from the file is validated here.
 * Source:  System V ABI, "ELF Header", "Program Header", "Note Section".
 * Owner:   plain values. Thread: any.
 */
#ifndef TRAPEZE_BOOT_ELF_H
#define TRAPEZE_BOOT_ELF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "boot/kernel_file.h"
#include "boot/request.h"

#define ELF_SEGMENTS_MAX 64

#define ELF_SEGMENT_LOAD 1u
#define ELF_SEGMENT_NOTE 4u

struct elf_segment {
    uint32_t type;
    uint64_t offset; /* in the file */
    uint64_t virtual_address;
    uint64_t physical_address; /* where it is loaded */
    uint64_t file_size;        /* within the file */
    uint64_t memory_size;      /* at least file_size; the rest is zero; does not wrap */
    uint64_t alignment;
};

struct elf_image {
    bool is_64_bit;
    uint64_t entry; /* virtual, as the header says */
    unsigned int segment_count;
    struct elf_segment segments[ELF_SEGMENTS_MAX];
};

/* Guest memory that an image covers: [start, end). */
struct loaded_range {
    uint64_t start;
    uint64_t end;
};

/* True if the file starts with ELF's magic number. */
bool elf_recognise(const struct kernel_file *file);

/* Reads and validates the headers. -ENOEXEC: not an x86 executable, or a broken one. */
int elf_parse(const struct kernel_file *file, struct elf_image *image, struct error *error);

/*
 * Finds a note by its owner's name and type.
 *
 * descriptor: receives the first eight bytes of the note's descriptor, zero-extended.
 * Returns 1 when found, 0 when not, -ENOEXEC for notes that make no sense.
 */
int elf_find_note(const struct kernel_file *file, const struct elf_image *image, const char *name,
                  uint32_t type, uint64_t *descriptor, struct error *error);

/*
 * Loads the segments at their physical addresses below 4 GiB.
 *
 * Errors: -ENOEXEC (segments that overlap each other or the loader's own structures), -ENOSPC (not
 * RAM), the file's.
 */
int elf_load(const struct boot_context *context, const struct kernel_file *file,
             const struct elf_image *image, struct loaded_range *range, struct error *error);

/*
 * The entry point as a physical address, for loaders that start without paging: some link it as a
 * virtual one. False when no loaded segment's file contents hold it.
 */
bool elf_physical_entry(const struct elf_image *image, uint64_t *entry);

#endif
