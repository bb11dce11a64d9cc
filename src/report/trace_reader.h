/*
 * Reads a trace of exits (vm/trace_format.h), record after record.
 *
 * Purpose: the one place that looks at a file from somewhere. Nothing in it is believed: what comes
 *          out has names of printable ASCII, vCPUs and kinds that exist, and times of at most
 *          TRACE_TIME_MAX. A file that is cut off or damaged gives what can be read of it, and a
 *          note that says what is missing.
 * Owner:   the caller; the stream stays the caller's, too. Memory is a few hundred KiB, however
 *          long the file.
 * Thread:  one.
 */
#ifndef TRAPEZE_REPORT_TRACE_READER_H
#define TRAPEZE_REPORT_TRACE_READER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "vm/trace_format.h"
#include "vm/trace_record.h"

#define TRACE_TIME_MAX (UINT64_C(1) << 53) /* ns: 104 days; a page's scripts can count so far */

struct trace_kind {
    char name[TRACE_NAME_MAX + 1];
    enum trace_space space;
    bool is_wait; /* its time is the guest's own wait */
};

struct trace_device {
    char name[TRACE_NAME_MAX + 1];
    enum trace_space space;
    uint64_t base, length;
};

/* What the header says. */
struct trace_info {
    char engine[TRACE_NAME_MAX + 1];
    uint64_t start_unix_ns;
    unsigned int vcpu_count, kind_count, device_count;
    struct trace_kind kinds[TRACE_KINDS_MAX];
    struct trace_device devices[TRACE_DEVICES_MAX];
};

/* One exit. */
struct trace_exit {
    unsigned int vcpu;          /* below vcpu_count */
    struct trace_record record; /* its kind is below kind_count; its ticks are those of the file */
    uint64_t begin_ns;          /* when the engine came back, from the start of the trace */
    uint64_t duration_ns;
};

/* What is known at the end. */
struct trace_ending {
    bool is_complete;                       /* the totals are there, and nothing was damaged */
    char note[256];                         /* what is missing, in a sentence; else empty */
    uint64_t records, lost;                 /* read; and lost while they were written */
    uint64_t end_ns;                        /* of the trace, or of the last record read */
    uint64_t engine_ns[TRACE_VCPUS_MAX];    /* in the engine; 0 without totals */
    uint64_t vcpu_records[TRACE_VCPUS_MAX]; /* read */
    uint64_t vcpu_lost[TRACE_VCPUS_MAX];
};

struct trace_reader;

/*
 * Reads the header. Errors: -EINVAL (no trace, another version, a damaged header), -ENOMEM, -EIO;
 * the text is a sentence about "it", the file.
 */
int trace_reader_create(FILE *in, struct trace_reader **out, struct error *error);
void trace_reader_destroy(struct trace_reader *reader); /* NULL is allowed */

const struct trace_info *trace_reader_info(const struct trace_reader *reader);

/* The next exit; false at the end, of whatever kind. Those of a vCPU come in order. */
bool trace_reader_next(struct trace_reader *reader, struct trace_exit *exit);

/* After trace_reader_next has returned false. */
const struct trace_ending *trace_reader_ending(const struct trace_reader *reader);

/* The device at an address, NULL if none is known. */
const struct trace_device *trace_info_device(const struct trace_info *info, enum trace_space space,
                                             uint64_t address);

#endif
