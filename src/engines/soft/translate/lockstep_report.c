/* The lockstep check's report: what differs, by name, and the code of both sides. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engines/soft/translate/lockstep_state.h"
#include "x86/disassemble.h"

static const char *const general_names[X86_GPR_COUNT] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
                                                         "rsi", "rdi", "r8",  "r9",  "r10", "r11",
                                                         "r12", "r13", "r14", "r15"};

struct report {
    FILE *to;
    char *summary; /* names, with commas */
    size_t size;
};

/* One line of a difference; the name goes into the summary too. */
__attribute__((format(printf, 3, 4))) static void differ(struct report *report, const char *name,
                                                         const char *format, ...)
{
    va_list arguments;
    size_t used = strlen(report->summary);
    if (used < report->size) {
        snprintf(report->summary + used, report->size - used, "%s%s", used > 0 ? ", " : "", name);
    }
    fprintf(report->to, "  %-8s ", name);
    va_start(arguments, format);
    vfprintf(report->to, format, arguments);
    va_end(arguments);
    fputc('\n', report->to);
}

static void compare(struct report *report, const char *name, uint64_t interpreter,
                    uint64_t translated)
{
    if (interpreter != translated) {
        differ(report, name, "interpreter 0x%016" PRIx64 ", translated 0x%016" PRIx64, interpreter,
               translated);
    }
}

/* Bytes as hexadecimal digits, the most significant first. */
static const char *digits(const uint8_t *bytes, size_t size, char *text)
{
    for (size_t i = 0; i < size; i++) {
        sprintf(text + 2 * i, "%02x", bytes[size - 1 - i]);
    }
    return text;
}

#define DIGITS_MAX 65 /* of 32 bytes, with the terminating zero */

static void compare_bytes(struct report *report, const char *name, const uint8_t *interpreter,
                          const uint8_t *translated, size_t size)
{
    char first[DIGITS_MAX], second[DIGITS_MAX];
    if (memcmp(interpreter, translated, size) != 0) {
        differ(report, name, "interpreter 0x%s, translated 0x%s", digits(interpreter, size, first),
               digits(translated, size, second));
    }
}

static void compare_general(struct report *report, const struct lockstep_state *a,
                            const struct lockstep_state *b)
{
    for (unsigned int i = 0; i < X86_GPR_COUNT; i++) {
        compare(report, general_names[i], a->gpr[i], b->gpr[i]);
    }
    compare(report, "rip", a->rip, b->rip);
}

/* The arithmetic flags by name; the rest of RFLAGS together. */
static void compare_flags(struct report *report, const struct lockstep_state *a,
                          const struct lockstep_state *b, uint64_t undefined)
{
    static const struct {
        const char *name;
        uint64_t flag;
    } flags[] = {{"CF", X86_FLAGS_CF}, {"PF", X86_FLAGS_PF}, {"AF", X86_FLAGS_AF},
                 {"ZF", X86_FLAGS_ZF}, {"SF", X86_FLAGS_SF}, {"OF", X86_FLAGS_OF}};
    uint64_t first = lockstep_arithmetic(a), second = lockstep_arithmetic(b);
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if (((first ^ second) & ~undefined & flags[i].flag) != 0) {
            differ(report, flags[i].name, "interpreter %d, translated %d",
                   (first & flags[i].flag) != 0, (second & flags[i].flag) != 0);
        }
    }
    compare(report, "rflags", a->flags, b->flags);
}

static void compare_vector(struct report *report, const struct soft_fpu *a,
                           const struct soft_fpu *b)
{
    for (unsigned int i = 0; i < 16; i++) {
        char name[8];
        snprintf(name, sizeof(name), "ymm%u", i);
        compare_bytes(report, name, a->ymm[i], b->ymm[i], sizeof(a->ymm[i]));
    }
    compare(report, "mxcsr", a->mxcsr, b->mxcsr);
}

static void compare_x87(struct report *report, const struct soft_fpu *a, const struct soft_fpu *b)
{
    compare(report, "fcw", a->image.fcw, b->image.fcw);
    compare(report, "fsw", a->image.fsw, b->image.fsw);
    compare(report, "ftw", a->image.ftw, b->image.ftw);
    for (unsigned int i = 0; i < 8; i++) {
        char name[8];
        snprintf(name, sizeof(name), "st%u", i);
        compare_bytes(report, name, a->image.st[i], b->image.st[i], 10);
    }
    compare(report, "fip", a->pointers.fip, b->pointers.fip);
    compare(report, "fdp", a->pointers.fdp, b->pointers.fdp);
    compare(report, "fcs", a->pointers.fcs, b->pointers.fcs);
    compare(report, "fds", a->pointers.fds, b->pointers.fds);
    compare(report, "fop", a->pointers.fop, b->pointers.fop);
}

/* By the offset in struct soft_cpu: translated code changes none of it but segments' bases. */
static void compare_system(struct report *report, const struct lockstep_state *a,
                           const struct lockstep_state *b)
{
    for (size_t i = 0; i < LOCKSTEP_SYSTEM_BYTES; i++) {
        if (a->system[i] != b->system[i]) {
            differ(report, "system",
                   "byte %zu of struct soft_cpu: interpreter %02x, translated %02x",
                   i + offsetof(struct soft_cpu, segment), a->system[i], b->system[i]);
            return;
        }
    }
}

static void compare_memory(struct report *report, const struct soft_undo *a,
                           const struct soft_undo *b)
{
    for (unsigned int i = 0; i < a->count; i++) {
        const struct soft_undo_entry *first = &a->entry[i], *second = &b->entry[i];
        char digits1[DIGITS_MAX], digits2[DIGITS_MAX], digits3[DIGITS_MAX];
        if (memcmp(first->after, second->after, first->size) == 0) {
            continue;
        }
        differ(report, "memory",
               "at 0x%" PRIx64 " (physical 0x%" PRIx64
               "), %u bytes: was 0x%s, interpreter 0x%s, translated 0x%s",
               first->linear, first->physical, (unsigned int)first->size,
               digits(first->before, first->size, digits1),
               digits(first->after, first->size, digits2),
               digits(second->after, second->size, digits3));
    }
}

/* --- code --- */

static void write_instruction(FILE *to, enum x86_decode_mode mode, uint64_t address,
                              const uint8_t *bytes, size_t length)
{
    char hex[2 * X86_INSTRUCTION_MAX + 1] = "", text[128];
    for (size_t i = 0; i < length; i++) {
        sprintf(hex + 2 * i, "%02x", bytes[i]);
    }
    disassemble(mode, address, bytes, length, text, sizeof(text));
    fprintf(to, "  0x%016" PRIx64 "  %-30s  %s\n", address, hex, text);
}

static void write_guest(FILE *to, const struct lockstep_path *path)
{
    fprintf(to, "guest code, as it was run:\n");
    for (unsigned int i = 0; i < path->count; i++) {
        const struct lockstep_step *step = &path->step[i];
        write_instruction(to, path->mode, step->rip, step->bytes, step->length);
    }
}

/* What the decoder takes for no instruction is shown byte by byte. */
static void write_host(FILE *to, const uint8_t *code, size_t length)
{
    fprintf(to, "host code:\n");
    size_t at = 0;
    while (at < length) {
        struct x86_instruction in;
        size_t rest = length - at;
        size_t step = 1;
        if (x86_decode(X86_DECODE_64, code + at, rest, &in) == X86_DECODE_OK) {
            step = in.length;
        }
        write_instruction(to, X86_DECODE_64, (uintptr_t)(code + at), code + at, step);
        at += step;
    }
}

static void write_start(FILE *to, const struct lockstep_state *start)
{
    fprintf(to, "registers before:\n");
    for (unsigned int i = 0; i < X86_GPR_COUNT; i++) {
        fprintf(to, "%s%-3s %016" PRIx64 "%s", i % 4 == 0 ? "  " : " ", general_names[i],
                start->gpr[i], i % 4 == 3 ? "\n" : "");
    }
    fprintf(to, "  rflags %" PRIx64 ", arithmetic %04x\n", start->flags,
            (unsigned int)start->arithmetic);
}

char *lockstep_describe(const struct lockstep_difference *difference, char *summary, size_t size)
{
    char *text = NULL;
    size_t length;
    summary[0] = '\0';
    FILE *to = open_memstream(&text, &length);
    if (to == NULL) {
        return NULL;
    }
    struct report report = {.to = to, .summary = summary, .size = size};
    const struct lockstep_result *a = &difference->interpreter, *b = &difference->translated;
    fprintf(to,
            "lockstep: vCPU %u, block at 0x%" PRIx64 " (physical 0x%" PRIx64
            "): translated code and the interpreter differ\n",
            difference->vcpu, difference->start->rip, difference->path->physical);
    if (difference->left_by != NULL) {
        differ(&report, "left", "translated code was left by %s at rip 0x%" PRIx64,
               difference->left_by, b->state->rip);
    } else {
        compare_general(&report, a->state, b->state);
        compare_flags(&report, a->state, b->state, difference->path->undefined);
        compare_vector(&report, &a->state->fpu, &b->state->fpu);
        compare_x87(&report, &a->state->fpu, &b->state->fpu);
        compare_system(&report, a->state, b->state);
        compare_memory(&report, a->memory, b->memory);
    }
    write_start(to, difference->start);
    write_guest(to, difference->path);
    if (difference->host_code != NULL) {
        write_host(to, difference->host_code, difference->host_length);
    }
    if (fclose(to) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
