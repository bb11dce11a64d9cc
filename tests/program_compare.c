/* What must be the same after a program; programs for people to read, as files, and smaller. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "comparison.h"
#include "program.h"
#include "x86/disassemble.h"

#define BYTES_SHOWN 16

/* --- one difference after the other --- */

static void compare_word(struct comparison *comparison, const char *name, uint64_t expected,
                         uint64_t actual)
{
    if (expected != actual) {
        differ(comparison, "  %s: expected %" PRIx64 ", is %" PRIx64 "\n", name, expected, actual);
    }
}

static void compare_bytes(struct comparison *comparison, const char *name, uint32_t first,
                          const uint8_t *expected, const uint8_t *actual, size_t bytes)
{
    unsigned int shown = 0;
    if (memcmp(expected, actual, bytes) == 0) {
        return;
    }
    for (size_t i = 0; i < bytes; i++) {
        if (expected[i] != actual[i] && shown++ < BYTES_SHOWN) {
            differ(comparison, "  %s[%zx]: expected %02x, is %02x\n", name, first + i, expected[i],
                   actual[i]);
        }
    }
}

static void compare_record(struct comparison *comparison, unsigned int number,
                           const struct program_record *expected,
                           const struct program_record *actual,
                           const struct program_tolerance *tolerance)
{
    struct comparison one = {.to = comparison->to, .equal = true};
    compare_word(&one, "vector", expected->vector, actual->vector);
    compare_word(&one, "error code", expected->error, actual->error);
    compare_word(&one, "CR2", expected->cr2, actual->cr2);
    compare_word(&one, "saved RIP", expected->rip, actual->rip);
    compare_word(&one, "saved CS", expected->cs, actual->cs);
    compare_word(&one, "saved RFLAGS", expected->rflags & ~tolerance->rflags,
                 actual->rflags & ~tolerance->rflags);
    compare_word(&one, "saved RSP", expected->rsp, actual->rsp);
    compare_word(&one, "RCX then", expected->rcx, actual->rcx);
    if (!one.equal) {
        differ(comparison, "  in exception %u: #%" PRIu64 " at %" PRIx64 "\n", number,
               expected->vector, expected->rip);
    }
}

static void compare_records(struct comparison *comparison, const struct program_outcome *expected,
                            const struct program_outcome *actual,
                            const struct program_tolerance *tolerance)
{
    compare_word(comparison, "exceptions", expected->record_count, actual->record_count);
    for (unsigned int i = 0; i < expected->record_count && i < actual->record_count; i++) {
        compare_record(comparison, i, &expected->records[i], &actual->records[i], tolerance);
        if (!comparison->equal) {
            return; /* what comes later is no news */
        }
    }
}

static void compare_registers(struct comparison *comparison,
                              const struct differential_registers *expected,
                              const struct differential_registers *actual)
{
    static const char *const names[] = {"RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
                                        "R8",  "R9",  "R10", "R11", "R12", "R13", "R14", "R15"};
    char name[16];
    for (unsigned int i = 0; i < X86_GPR_COUNT; i++) {
        compare_word(comparison, names[i], expected->gpr[i], actual->gpr[i]);
    }
    compare_word(comparison, "RIP", expected->rip, actual->rip);
    compare_word(comparison, "RFLAGS", expected->rflags, actual->rflags);
    compare_word(comparison, "FS base", expected->fs_base, actual->fs_base);
    compare_word(comparison, "GS base", expected->gs_base, actual->gs_base);
    for (unsigned int i = 0; i < 16; i++) {
        snprintf(name, sizeof(name), "YMM%u", i);
        compare_bytes(comparison, name, 0, expected->ymm[i], actual->ymm[i], 32);
    }
    compare_bytes(comparison, "FCW, FSW, FTW", 0, expected->x87, actual->x87, 5);
    compare_bytes(comparison, "FOP, FIP, FDP", 0, expected->x87 + 6, actual->x87 + 6, 18);
    compare_bytes(comparison, "MXCSR", 0, expected->x87 + DIFFERENTIAL_X87_MXCSR,
                  actual->x87 + DIFFERENTIAL_X87_MXCSR, 4);
    for (unsigned int i = 0; i < 8; i++) {
        snprintf(name, sizeof(name), "ST%u", i);
        compare_bytes(comparison, name, 0, expected->x87 + 32 + 16 * i, actual->x87 + 32 + 16 * i,
                      10);
    }
}

bool program_compare(const struct program_outcome *expected, const struct program_outcome *actual,
                     const struct program_tolerance *tolerance, FILE *to)
{
    struct comparison comparison = {.to = to, .equal = true};
    compare_word(&comparison, "end", expected->end, actual->end);
    if (expected->end == PROGRAM_STOPPED && actual->end == PROGRAM_STOPPED) {
        compare_word(&comparison, "exit", expected->exit_reason, actual->exit_reason);
    }
    compare_records(&comparison, expected, actual, tolerance);
    compare_registers(&comparison, &expected->registers, &actual->registers);
    compare_word(&comparison, "accesses to the device", expected->device_accesses,
                 actual->device_accesses);
    compare_word(&comparison, "hash of what the device saw", expected->device_hash,
                 actual->device_hash);
    for (unsigned int i = 0; i < expected->page_count; i++) {
        char name[40];
        snprintf(name, sizeof(name), "page table entry of %x", expected->linear[i]);
        compare_word(&comparison, name, expected->entries[i], actual->entries[i]);
        compare_bytes(&comparison, "", expected->linear[i], expected->pages[i], actual->pages[i],
                      4096);
    }
    return comparison.equal;
}

bool program_is_open(const struct program *program, const struct program_outcome *outcome)
{
    const enum x86_decode_mode mode = program->is_32 ? X86_DECODE_32 : X86_DECODE_64;
    /* The pages of code are the first in the outcome. */
    const uint8_t *now = (const uint8_t *)outcome->pages + program->start;
    unsigned int offset = 0;
    for (unsigned int i = 0; i < program->count; i++) {
        unsigned int length = program->instructions[i];
        struct x86_instruction in;
        if (x86_decode(mode, program->code + offset, length, &in) == X86_DECODE_OK &&
            (in.operation == X86_OP_MOVS || in.operation == X86_OP_STOS) &&
            memcmp(program->code + offset, now + offset, length) != 0) {
            return true;
        }
        offset += length;
    }
    return false;
}

/* --- showing --- */

static bool is_nop(const struct program *program, unsigned int offset, unsigned int length)
{
    for (unsigned int i = 0; i < length; i++) {
        if (program->code[offset + i] != 0x90) {
            return false;
        }
    }
    return true;
}

static bool is_segment(const struct program *program, unsigned int offset)
{
    for (unsigned int i = 0; i < program->segment_count; i++) {
        if (program->segments[i] == program->start + offset) {
            return true;
        }
    }
    return false;
}

void program_show(const struct program *program, FILE *to)
{
    unsigned int offset = 0;
    fprintf(to, "%s-bit %s code%s, seed 0x%" PRIx64 "\n", program->is_32 ? "32" : "64",
            program->is_kernel ? "kernel" : "user", program->smap ? ", SMAP" : "", program->seed);
    for (unsigned int i = 0; i < program->count; i++) {
        unsigned int length = program->instructions[i];
        uint32_t address = PROGRAM_CODE + program->start + offset;
        char text[160] = "";
        if (is_segment(program, offset)) {
            fprintf(to, "  segment:\n");
        }
        if (!is_nop(program, offset, length)) {
            disassemble(program->is_32 ? X86_DECODE_32 : X86_DECODE_64, address,
                        program->code + offset, length, text, sizeof(text));
            fprintf(to, "  %08x ", address);
            for (unsigned int n = 0; n < length; n++) {
                fprintf(to, " %02x", program->code[offset + n]);
            }
            fprintf(to, "%*s%s\n", length < 12 ? (int)(3 * (12 - length)) : 1, "", text);
        }
        offset += length;
    }
}

/* --- files --- */

bool program_write(const char *path, const struct program *program)
{
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        perror(path);
        return false;
    }
    fprintf(file, "mode %s %s%s\nseed 0x%" PRIx64 "\nstart 0x%x\nsegments",
            program->is_32 ? "32" : "64", program->is_kernel ? "kernel" : "user",
            program->smap ? " smap" : "", program->seed, program->start);
    for (unsigned int i = 0; i < program->segment_count; i++) {
        fprintf(file, " 0x%x", program->segments[i]);
    }
    fprintf(file, "\n");
    for (unsigned int i = 0, offset = 0; i < program->count; i++) {
        fprintf(file, "code");
        for (unsigned int n = 0; n < program->instructions[i]; n++) {
            fprintf(file, " %02x", program->code[offset + n]);
        }
        offset += program->instructions[i];
        fprintf(file, "\n");
    }
    return fclose(file) == 0;
}

/* Numbers up to the end of the line; returns how many. */
static unsigned int read_numbers(const char *text, int base, uint16_t *numbers, unsigned int room)
{
    unsigned int count = 0;
    char *end;
    unsigned long number = strtoul(text, &end, base);
    while (end != text && count < room) {
        numbers[count++] = (uint16_t)number;
        text = end;
        number = strtoul(text, &end, base);
    }
    return count;
}

static void read_instruction(const char *text, struct program *program)
{
    uint16_t bytes[16];
    unsigned int count = read_numbers(text, 16, bytes, 16);
    if (program->length + count > PROGRAM_LENGTH_MAX ||
        program->count == PROGRAM_INSTRUCTIONS_MAX || count == 0) {
        return;
    }
    for (unsigned int i = 0; i < count; i++) {
        program->code[program->length++] = (uint8_t)bytes[i];
    }
    program->instructions[program->count++] = (uint8_t)count;
}

static void read_line(const char *line, struct program *program)
{
    if (strncmp(line, "mode ", 5) == 0) {
        program->is_32 = strstr(line, "32") != NULL;
        program->is_kernel = strstr(line, "kernel") != NULL;
        program->smap = strstr(line, "smap") != NULL;
    } else if (strncmp(line, "seed ", 5) == 0) {
        program->seed = strtoull(line + 5, NULL, 0);
    } else if (strncmp(line, "start ", 6) == 0) {
        program->start = (uint16_t)strtoul(line + 6, NULL, 0);
    } else if (strncmp(line, "segments ", 9) == 0) {
        program->segment_count = read_numbers(line + 9, 0, program->segments, PROGRAM_SEGMENTS_MAX);
    } else if (strncmp(line, "code ", 5) == 0) {
        read_instruction(line + 5, program);
    }
}

bool program_read(const char *path, struct program *program)
{
    FILE *file = fopen(path, "r");
    char line[1024];
    memset(program, 0, sizeof(*program));
    if (file == NULL) {
        return false;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        read_line(line, program);
    }
    fclose(file);
    return program->length > 0 && program->segment_count > 0 &&
           program->start + program->length <= PROGRAM_CODE_BYTES;
}

/* --- smaller --- */

static void erase(struct program *program, unsigned int first, unsigned int count)
{
    unsigned int offset = 0, bytes = 0;
    for (unsigned int i = 0; i < first + count; i++) {
        *(i < first ? &offset : &bytes) += program->instructions[i];
    }
    memset(program->code + offset, 0x90, bytes);
}

void program_reduce(struct program *program,
                    bool (*still_fails)(void *context, const struct program *program),
                    void *context)
{
    static struct program smaller;
    /* The jump at its end stays. */
    for (unsigned int size = program->count / 2; size > 0; size /= 2) {
        for (unsigned int first = 0; first + size < program->count; first += size) {
            smaller = *program;
            erase(&smaller, first, size);
            if (memcmp(&smaller, program, sizeof(smaller)) != 0 && still_fails(context, &smaller)) {
                *program = smaller;
            }
        }
    }
}
