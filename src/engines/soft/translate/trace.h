/*
 * `--trace code`: a block's guest instructions and, beside each, the host code made of it.
 *
 * Purpose: see what the translator does. Text is Zydis's where that is installed, else bytes.
 * Owner:   the engine_vm.
 * Thread:  code_trace_block from any, a block at a time; the others while no vCPU runs.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TRANSLATE_TRACE_H
#define TRAPEZE_ENGINES_SOFT_TRANSLATE_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "x86/decode/decode.h"

struct code_trace;

/* One guest instruction, or code that belongs to none: an entry, the slow paths behind a block. */
struct code_trace_row {
    uint64_t guest_rip;
    const uint8_t *guest_bytes;
    unsigned int guest_length;            /* 0: it is no instruction */
    const char *label;                    /* what is shown then; NULL: nothing */
    const uint8_t *host_start, *host_end; /* where it runs; equal if nothing was made of it */
};

struct code_trace_block {
    unsigned int vcpu;
    uint64_t rip, physical;
    bool user; /* CPL 3 */
    enum x86_decode_mode mode;
    const struct code_trace_row *rows; /* in the order in which they are shown */
    size_t row_count;
};

/*
 * out: a file that stays open while the trace is there; NULL: stderr, where a terminal may be raw.
 *
 * Returns NULL with a warning when there is no memory. Says once if there is no disassembler.
 */
struct code_trace *code_trace_create(FILE *out);
void code_trace_destroy(struct code_trace *trace); /* NULL is allowed */

/* Prints a block. NULL is allowed for trace. */
void code_trace_block(struct code_trace *trace, const struct code_trace_block *block);

#endif
