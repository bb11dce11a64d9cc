#include "engines/soft/translate/trace.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/log.h"
#include "x86/disassemble.h"

#define TEXT_MAX      96
#define LEFT_WIDTH    62 /* of the guest's side */
#define BYTES_IN_LINE 12 /* of host code that can't be disassembled */

struct code_trace {
    pthread_mutex_t lock; /* blocks come out whole */
    FILE *out;            /* NULL: stderr, by way of the log */
    struct disassembler *disassembler;
};

struct code_trace *code_trace_create(FILE *out)
{
    struct code_trace *trace = calloc(1, sizeof(*trace));
    if (trace == NULL) {
        log_warn("no memory for the trace of code: there will be none");
        return NULL;
    }
    pthread_mutex_init(&trace->lock, NULL);
    trace->out = out;
    trace->disassembler = disassembler_open();
    if (trace->disassembler == NULL) {
        log_warn("there is no disassembler: code is traced as bytes (install the Zydis library)");
    }
    return trace;
}

void code_trace_destroy(struct code_trace *trace)
{
    if (trace == NULL) {
        return;
    }
    disassembler_close(trace->disassembler);
    pthread_mutex_destroy(&trace->lock);
    free(trace);
}

static void write_bytes(const uint8_t *bytes, size_t length, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < length && used + 4 < size; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s%02x", i == 0 ? "" : " ", bytes[i]);
    }
}

/* The guest's side of a row's first line. */
static void write_left(const struct code_trace *trace, const struct code_trace_block *block,
                       const struct code_trace_row *row, char *text, size_t size)
{
    char instruction[TEXT_MAX] = "";
    if (row->guest_length == 0) {
        snprintf(text, size, "%18s%s", "", row->label != NULL ? row->label : "");
        return;
    }
    if (disassembler_write(trace->disassembler, block->mode, row->guest_rip, row->guest_bytes,
                           row->guest_length, instruction, sizeof(instruction)) == 0) {
        write_bytes(row->guest_bytes, row->guest_length, instruction, sizeof(instruction));
    }
    snprintf(text, size, "%16" PRIx64 "  %s", row->guest_rip, instruction);
}

/* The host's side of a line. Returns how many bytes it tells of: at least one. */
static size_t write_right(const struct code_trace *trace, const uint8_t *at, const uint8_t *end,
                          char *text, size_t size)
{
    char instruction[TEXT_MAX];
    size_t left = (size_t)(end - at);
    size_t length = disassembler_write(trace->disassembler, X86_DECODE_64, (uintptr_t)at, at, left,
                                       instruction, sizeof(instruction));
    if (length == 0) {
        length = left < BYTES_IN_LINE ? left : BYTES_IN_LINE;
        write_bytes(at, length, instruction, sizeof(instruction));
    }
    snprintf(text, size, "%12" PRIxPTR "  %s", (uintptr_t)at, instruction);
    return length;
}

static void print_row(const struct code_trace *trace, const struct code_trace_block *block,
                      const struct code_trace_row *row, FILE *out)
{
    char left[TEXT_MAX + 24], right[TEXT_MAX + 24];
    write_left(trace, block, row, left, sizeof(left));
    if (row->host_start >= row->host_end) {
        fprintf(out, "%s\n", left);
    }
    for (const uint8_t *at = row->host_start; at < row->host_end; left[0] = '\0') {
        at += write_right(trace, at, row->host_end, right, sizeof(right));
        fprintf(out, "%-*s | %s\n", LEFT_WIDTH, left, right);
    }
}

static void print_head(const struct code_trace_block *block, FILE *out)
{
    size_t instructions = 0, guest_bytes = 0, host_bytes = 0;
    for (size_t i = 0; i < block->row_count; i++) {
        const struct code_trace_row *row = &block->rows[i];
        instructions += row->guest_length != 0 ? 1 : 0;
        guest_bytes += row->guest_length;
        host_bytes +=
            row->host_start < row->host_end ? (size_t)(row->host_end - row->host_start) : 0;
    }
    fprintf(out,
            "vCPU %u, block 0x%" PRIx64 " (%s, physical 0x%" PRIx64
            "): %zu instruction%s, %zu bytes; %zu bytes of host code\n",
            block->vcpu, block->rip, block->user ? "user" : "kernel", block->physical, instructions,
            instructions == 1 ? "" : "s", guest_bytes, host_bytes);
}

static void put(struct code_trace *trace, const char *text)
{
    pthread_mutex_lock(&trace->lock);
    if (trace->out != NULL) {
        fputs(text, trace->out);
    } else {
        log_text(text);
    }
    pthread_mutex_unlock(&trace->lock);
}

void code_trace_block(struct code_trace *trace, const struct code_trace_block *block)
{
    char *text = NULL;
    size_t size;
    FILE *out = trace != NULL ? open_memstream(&text, &size) : NULL;
    if (out == NULL) {
        return; /* no trace, or for want of memory not of this block */
    }
    print_head(block, out);
    for (size_t i = 0; i < block->row_count; i++) {
        print_row(trace, block, &block->rows[i], out);
    }
    if (fclose(out) == 0) {
        put(trace, text);
    }
    free(text);
}
