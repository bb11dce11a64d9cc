/*
 * A trace added up: what a report shows, in memory that does not grow with the trace.
 *
 * Purpose: one pass over the exits gives counts and times by kind and direction, over time, by cost
 *          and by address. The timeline has SUMMARY_BINS bins; when time goes on beyond the last,
 *          pairs of them become one and each is twice as wide.
 * Owner:   the caller. Thread: one.
 */
#ifndef TRAPEZE_REPORT_SUMMARY_H
#define TRAPEZE_REPORT_SUMMARY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "report/trace_reader.h"

#define SUMMARY_BINS      512u
#define SUMMARY_COSTS     128u /* two an octave of nanoseconds */
#define SUMMARY_SERIES    (2 * TRACE_KINDS_MAX)
#define SUMMARY_PLACES    16384u /* addresses that are told apart; a power of two */
#define SUMMARY_NAME_SIZE (TRACE_NAME_MAX + 16)

/* Exits of one kind and direction. */
struct summary_series {
    char name[SUMMARY_NAME_SIZE]; /* "pio write" */
    bool is_wait;
    uint64_t count, ns, shortest_ns, longest_ns;
    uint64_t costs[SUMMARY_COSTS];    /* how many took so long; see summary_cost_ns */
    uint64_t bin_count[SUMMARY_BINS]; /* of those that began then */
    uint64_t bin_ns[SUMMARY_BINS];    /* the part of their time that lies there */
};

/* Exits of one series at one address. */
struct summary_place {
    uint64_t address, count, ns, longest_ns;
    uint16_t series;
};

struct summary_vcpu {
    uint64_t count;              /* read from the file */
    uint64_t served_ns, wait_ns; /* outside of the guest: work, and the guest's own waiting */
    uint64_t bin_served_ns[SUMMARY_BINS], bin_wait_ns[SUMMARY_BINS];
};

struct summary {
    const struct trace_info *info;     /* the reader's */
    const struct trace_ending *ending; /* the reader's */
    unsigned int bin_shift;            /* a bin is 2^bin_shift ns wide */
    unsigned int bins;                 /* that have something, or lie before one that has */
    struct summary_series series[SUMMARY_SERIES];
    unsigned int used_series[SUMMARY_SERIES]; /* those with exits, most exits first */
    unsigned int used_series_count;
    struct summary_place places[SUMMARY_PLACES]; /* those with exits first, most time first */
    unsigned int place_count;
    uint64_t untold; /* exits at further addresses, which found no place any more */
    struct summary_vcpu vcpus[TRACE_VCPUS_MAX];
};

/* Reads the whole trace. The reader must outlive the summary. Errors: -ENOMEM. */
int summary_create(struct trace_reader *reader, struct summary **out, struct error *error);
void summary_destroy(struct summary *summary); /* NULL is allowed */

/* The least nanoseconds that are counted in a cell of costs[]. */
uint64_t summary_cost_ns(unsigned int index);

/* The time that a share of the exits, 0 to 1, did not exceed; good to the width of a cell. */
uint64_t summary_percentile(const struct summary_series *series, double share);

/* The kind that a series is of. */
const struct trace_kind *summary_kind(const struct summary *summary, unsigned int series);

/* "0x3f8", or a number where the address is none; "" where its name says it all. */
void summary_address_text(const struct summary *summary, const struct summary_place *place,
                          char *text, size_t size);

/* The device at a place; "" if none is known. */
const char *summary_device(const struct summary *summary, const struct summary_place *place);

#endif
