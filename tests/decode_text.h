/*
 * The machine code of ELF files and programs on this machine, as material for the decoder.
 *
 * Owner:  the caller, of the copy. Thread: any.
 */
#ifndef TRAPEZE_TESTS_DECODE_TEXT_H
#define TRAPEZE_TESTS_DECODE_TEXT_H

#include <elf.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct decode_text {
    uint8_t *bytes;
    size_t size;
};

static inline bool decode_text_section(FILE *file, const Elf64_Shdr *section,
                                       struct decode_text *text)
{
    uint8_t *bytes = realloc(text->bytes, text->size + section->sh_size);
    if (bytes == NULL) {
        return false;
    }
    text->bytes = bytes;
    if (fseek(file, (long)section->sh_offset, SEEK_SET) != 0 ||
        fread(bytes + text->size, 1, section->sh_size, file) != section->sh_size) {
        return false;
    }
    text->size += section->sh_size;
    return true;
}

/* All executable sections one after the other; size 0 if the file is no 64-bit ELF file. */
static inline struct decode_text decode_text_load(const char *path)
{
    struct decode_text text = {0};
    Elf64_Ehdr header;
    FILE *file = fopen(path, "rb");

    if (file == NULL) {
        return text;
    }
    if (fread(&header, sizeof(header), 1, file) == 1 &&
        memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 && header.e_ident[EI_CLASS] == ELFCLASS64 &&
        header.e_shentsize == sizeof(Elf64_Shdr)) {
        for (unsigned int i = 0; i < header.e_shnum; i++) {
            Elf64_Shdr section;
            long where = (long)(header.e_shoff + i * sizeof(section));
            if (fseek(file, where, SEEK_SET) != 0 ||
                fread(&section, sizeof(section), 1, file) != 1) {
                break;
            }
            if ((section.sh_flags & SHF_EXECINSTR) && section.sh_type == SHT_PROGBITS &&
                !decode_text_section(file, &section, &text)) {
                break;
            }
        }
    }
    fclose(file);
    return text;
}

static inline void decode_text_free(struct decode_text *text)
{
    free(text->bytes);
    *text = (struct decode_text){0};
}

#endif
