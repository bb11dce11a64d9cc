#include "report/summary.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SHIFT 10u                      /* bins of a microsecond to begin with */
#define PLACES_FULL (SUMMARY_PLACES / 8 * 7) /* so that looking for a free one is short */
#define DIRECTIONS  2u

/* Sums of what a file claims: too large is as large as can be. */
static void add(uint64_t *sum, uint64_t amount)
{
    if (__builtin_add_overflow(*sum, amount, sum)) {
        *sum = UINT64_MAX;
    }
}

/* ---- time ---- */

static void halve(uint64_t bins[SUMMARY_BINS])
{
    for (unsigned int i = 0; i < SUMMARY_BINS / 2; i++) {
        bins[i] = bins[2 * i];
        add(&bins[i], bins[2 * i + 1]);
    }
    memset(&bins[SUMMARY_BINS / 2], 0, SUMMARY_BINS / 2 * sizeof(bins[0]));
}

static void widen_bins(struct summary *summary)
{
    summary->bin_shift++;
    summary->bins = (summary->bins + 1) / 2;
    for (unsigned int i = 0; i < SUMMARY_SERIES; i++) {
        if (summary->series[i].count != 0) {
            halve(summary->series[i].bin_count);
            halve(summary->series[i].bin_ns);
        }
    }
    for (unsigned int i = 0; i < summary->info->vcpu_count; i++) {
        halve(summary->vcpus[i].bin_served_ns);
        halve(summary->vcpus[i].bin_wait_ns);
    }
}

/* The bin of a moment, which is at most TRACE_TIME_MAX: some forty steps at most. */
static unsigned int bin_of(struct summary *summary, uint64_t ns)
{
    while (ns >> summary->bin_shift >= SUMMARY_BINS) {
        widen_bins(summary);
    }
    unsigned int bin = (unsigned int)(ns >> summary->bin_shift);
    summary->bins = bin < summary->bins ? summary->bins : bin + 1;
    return bin;
}

/* Adds a time to the bins that it lies in, for its series and its vCPU. */
static void spread(const struct summary *summary, const struct trace_exit *exit, uint64_t *series,
                   uint64_t *vcpu)
{
    uint64_t end = exit->begin_ns + exit->duration_ns;
    for (uint64_t at = exit->begin_ns; at < end;) {
        uint64_t bin = at >> summary->bin_shift;
        uint64_t next = (bin + 1) << summary->bin_shift;
        uint64_t part = (next < end ? next : end) - at;
        add(&series[bin], part);
        add(&vcpu[bin], part);
        at += part;
    }
}

/* ---- cost ---- */

uint64_t summary_cost_ns(unsigned int index)
{
    uint64_t octave = UINT64_C(1) << index / 2;
    return index == 0 ? 0 : index % 2 == 0 ? octave : octave + octave / 2;
}

static unsigned int cost_index(uint64_t ns)
{
    if (ns < 2) {
        return 0;
    }
    unsigned int octave = 63u - (unsigned int)__builtin_clzll(ns);
    return 2 * octave + (unsigned int)(ns >> (octave - 1) & 1);
}

uint64_t summary_percentile(const struct summary_series *series, double share)
{
    double wanted = share * (double)series->count;
    double seen = 0;
    for (unsigned int i = 0; i + 1 < SUMMARY_COSTS; i++) {
        seen += (double)series->costs[i];
        if (seen >= wanted && series->costs[i] != 0) {
            uint64_t end = summary_cost_ns(i + 1);
            return end < series->longest_ns ? end : series->longest_ns;
        }
    }
    return series->longest_ns;
}

/* ---- addresses ---- */

static void add_place(struct summary *summary, unsigned int series, const struct trace_exit *exit)
{
    uint64_t hash =
        (exit->record.address + series * UINT64_C(0x10001)) * UINT64_C(0x9e3779b97f4a7c15);
    for (unsigned int i = 0; i < SUMMARY_PLACES; i++) {
        struct summary_place *place = &summary->places[((hash >> 40) + i) % SUMMARY_PLACES];
        if (place->count == 0) {
            if (summary->place_count == PLACES_FULL) {
                break;
            }
            summary->place_count++;
            place->series = (uint16_t)series;
            place->address = exit->record.address;
        }
        if (place->series == series && place->address == exit->record.address) {
            place->count++;
            add(&place->ns, exit->duration_ns);
            if (exit->duration_ns > place->longest_ns) {
                place->longest_ns = exit->duration_ns;
            }
            return;
        }
    }
    summary->untold++;
}

/* ---- exits ---- */

static void add_exit(struct summary *summary, const struct trace_exit *exit)
{
    bool is_write = (exit->record.flags & TRACE_RECORD_WRITE) != 0;
    unsigned int index = exit->record.kind * DIRECTIONS + is_write;
    struct summary_series *series = &summary->series[index];
    struct summary_vcpu *vcpu = &summary->vcpus[exit->vcpu];
    if (series->count == 0 || exit->duration_ns < series->shortest_ns) {
        series->shortest_ns = exit->duration_ns;
    }
    if (exit->duration_ns > series->longest_ns) {
        series->longest_ns = exit->duration_ns;
    }
    series->count++;
    vcpu->count++;
    add(&series->ns, exit->duration_ns);
    add(series->is_wait ? &vcpu->wait_ns : &vcpu->served_ns, exit->duration_ns);
    series->costs[cost_index(exit->duration_ns)]++;
    bin_of(summary, exit->begin_ns + exit->duration_ns); /* makes the bins wide enough */
    series->bin_count[bin_of(summary, exit->begin_ns)]++;
    spread(summary, exit, series->bin_ns,
           series->is_wait ? vcpu->bin_wait_ns : vcpu->bin_served_ns);
    if ((exit->record.flags & TRACE_RECORD_HAS_ADDRESS) != 0) {
        add_place(summary, index, exit);
    }
}

/* ---- the whole ---- */

static void name_series(struct summary *summary)
{
    for (unsigned int i = 0; i < summary->info->kind_count * DIRECTIONS; i++) {
        const struct trace_kind *kind = summary_kind(summary, i);
        bool has_direction = kind->space == TRACE_SPACE_PORT || kind->space == TRACE_SPACE_MEMORY;
        summary->series[i].is_wait = kind->is_wait;
        snprintf(summary->series[i].name, sizeof(summary->series[i].name), "%s%s", kind->name,
                 !has_direction        ? ""
                 : i % DIRECTIONS != 0 ? " write"
                                       : " read");
    }
}

/* Insertion into a short list. */
static void sort_series(struct summary *summary)
{
    for (unsigned int i = 0; i < SUMMARY_SERIES; i++) {
        if (summary->series[i].count == 0) {
            continue;
        }
        unsigned int at = summary->used_series_count++;
        for (; at > 0 &&
               summary->series[summary->used_series[at - 1]].count < summary->series[i].count;
             at--) {
            summary->used_series[at] = summary->used_series[at - 1];
        }
        summary->used_series[at] = i;
    }
}

static int compare_places(const void *left, const void *right)
{
    const struct summary_place *a = left, *b = right;
    if (a->ns != b->ns) {
        return a->ns > b->ns ? -1 : 1;
    }
    if (a->count != b->count) {
        return a->count > b->count ? -1 : 1;
    }
    if (a->series != b->series) {
        return a->series < b->series ? -1 : 1;
    }
    return a->address == b->address ? 0 : a->address < b->address ? -1 : 1;
}

int summary_create(struct trace_reader *reader, struct summary **out, struct error *error)
{
    struct summary *summary = calloc(1, sizeof(*summary));
    if (summary == NULL) {
        return error_set(error, ENOMEM, "there is no memory to add it up");
    }
    summary->info = trace_reader_info(reader);
    summary->bin_shift = FIRST_SHIFT;
    name_series(summary);
    struct trace_exit exit;
    while (trace_reader_next(reader, &exit)) {
        add_exit(summary, &exit);
    }
    summary->ending = trace_reader_ending(reader);
    bin_of(summary, summary->ending->end_ns);
    sort_series(summary);
    qsort(summary->places, SUMMARY_PLACES, sizeof(summary->places[0]), compare_places);
    *out = summary;
    return 0;
}

void summary_destroy(struct summary *summary)
{
    free(summary);
}

const struct trace_kind *summary_kind(const struct summary *summary, unsigned int series)
{
    return &summary->info->kinds[series / DIRECTIONS];
}

void summary_address_text(const struct summary *summary, const struct summary_place *place,
                          char *text, size_t size)
{
    enum trace_space space = summary_kind(summary, place->series)->space;
    if (space == TRACE_SPACE_INSTRUCTION) {
        text[0] = '\0';
        return;
    }
    snprintf(text, size, space == TRACE_SPACE_OTHER ? "%" PRIu64 : "0x%" PRIx64, place->address);
}

const char *summary_device(const struct summary *summary, const struct summary_place *place)
{
    const struct trace_device *device = trace_info_device(
        summary->info, summary_kind(summary, place->series)->space, place->address);
    return device == NULL ? "" : device->name;
}
