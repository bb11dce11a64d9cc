/*
 * One exit as the bytes of a trace file, and back.
 *
 * Purpose: writing and reading stand side by side, so that they agree.
 * Owner:   plain data. Thread: any; no state.
 *
 * The bytes: the kind; the flags, with the size in their upper half; then numbers of seven bits a
 * byte, low ones first, the eighth bit saying that more follow: since, duration, and address,
 * value and count where a flag says so.
 */
#ifndef TRAPEZE_VM_TRACE_RECORD_H
#define TRAPEZE_VM_TRACE_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "vm/exit.h"

#define TRACE_RECORD_WRITE       0x01u /* from the guest; else it reads, or neither */
#define TRACE_RECORD_HAS_ADDRESS 0x02u
#define TRACE_RECORD_HAS_VALUE   0x04u
#define TRACE_RECORD_HAS_COUNT   0x08u /* more than one element: string instructions */
#define TRACE_RECORD_FLAGS       0x0fu
#define TRACE_RECORD_SIZE_SHIFT  4

struct trace_record {
    uint8_t kind;      /* an index into the file's table; written here: enum exit_reason */
    uint8_t flags;     /* TRACE_RECORD_… but the size */
    uint8_t size;      /* bytes of one element, 0..15; 0: says nothing */
    uint32_t count;    /* elements; 1 unless TRACE_RECORD_HAS_COUNT */
    uint64_t since;    /* ticks from the end of the exit before: the guest's own time */
    uint64_t duration; /* ticks until it was served */
    uint64_t address;  /* port, guest physical address, MSR, number of a hypercall, instruction */
    uint64_t value;    /* what was written, or read; the first of several elements */
};

/* What there is to say about an exit that has been served; since and duration are left at 0. */
void trace_record_describe(const struct vcpu_exit *exit, struct trace_record *record);

/* Writes at most TRACE_RECORD_MAX bytes; returns how many. */
size_t trace_record_encode(const struct trace_record *record, uint8_t *bytes);

/* Reads a record from at most length bytes; returns how many it took, 0 if they are none. */
size_t trace_record_decode(const uint8_t *bytes, size_t length, struct trace_record *record);

#endif
