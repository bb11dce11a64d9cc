/* Cases as text files. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "differential.h"

bool differential_write(const char *path, const struct differential_case *what)
{
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        perror(path);
        return false;
    }
    fprintf(file, "mode %s\nseed 0x%" PRIx64 "\nstart 0x%x\ncode", what->is_32 ? "32" : "64",
            what->seed, what->start);
    for (unsigned int i = 0; i < what->length; i++) {
        fprintf(file, " %02x", what->code[i]);
    }
    fputc('\n', file);
    return fclose(file) == 0;
}

static void read_code(const char *text, struct differential_case *what)
{
    char *end;
    unsigned long byte = strtoul(text, &end, 16);
    while (end != text && what->length < DIFFERENTIAL_CODE_MAX) {
        what->code[what->length++] = (uint8_t)byte;
        text = end;
        byte = strtoul(text, &end, 16);
    }
}

static void read_line(const char *line, struct differential_case *what)
{
    if (strncmp(line, "mode ", 5) == 0) {
        what->is_32 = strtoul(line + 5, NULL, 10) == 32;
    } else if (strncmp(line, "seed ", 5) == 0) {
        what->seed = strtoull(line + 5, NULL, 0);
    } else if (strncmp(line, "start ", 6) == 0) {
        what->start = (uint32_t)strtoul(line + 6, NULL, 0);
    } else if (strncmp(line, "code ", 5) == 0) {
        read_code(line + 5, what);
    }
}

bool differential_read(const char *path, struct differential_case *what)
{
    FILE *file = fopen(path, "r");
    char line[4 * DIFFERENTIAL_CODE_MAX];
    memset(what, 0, sizeof(*what));
    if (file == NULL) {
        return false;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        read_line(line, what);
    }
    fclose(file);
    const uint32_t end = DIFFERENTIAL_CODE + DIFFERENTIAL_CODE_PAGES * 0x1000;
    if (what->length == 0 || what->start < DIFFERENTIAL_CODE || what->start >= end ||
        what->length > end - what->start) {
        return false;
    }
    differential_split(what);
    return true;
}
