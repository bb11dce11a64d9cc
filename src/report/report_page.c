#include <inttypes.h>
#include <string.h>

#include "report/page_template.h"
#include "report/report.h"

#define SERIES_MAX 12u  /* with colours of their own; the rest is one series "others" */
#define PLACES_MAX 200u /* rows of the table */
#define DATA_MARK  "@DATA@"

/*
 * A string for JSON within a script element: there nothing may look like the element's end or a
 * comment, so everything but the plainest ASCII is written by its number.
 */
static void put_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte < ' ' || byte > '~' || strchr("\"\\<>&'", byte) != NULL) {
            fprintf(out, "\\u%04x", byte);
        } else {
            fputc(byte, out);
        }
    }
    fputc('"', out);
}

static void put_field(FILE *out, const char *name, uint64_t value)
{
    /* Scripts count exactly up to 2^53; beyond that a number is only large. */
    fprintf(out, "\"%s\":%" PRIu64 ",", name, value);
}

/* Numbers without the zeros at their end. */
static void put_numbers(FILE *out, const char *name, const uint64_t *numbers, unsigned int count)
{
    while (count > 0 && numbers[count - 1] == 0) {
        count--;
    }
    fprintf(out, "\"%s\":[", name);
    for (unsigned int i = 0; i < count; i++) {
        fprintf(out, i == 0 ? "%" PRIu64 : ",%" PRIu64, numbers[i]);
    }
    fputc(']', out);
}

/* ---- the parts ---- */

static void put_head(FILE *out, const struct summary *summary, const char *name)
{
    const struct trace_ending *ending = summary->ending;
    fputs("{\"name\":", out);
    put_string(out, name);
    fputs(",\"engine\":", out);
    put_string(out, summary->info->engine);
    fputs(",\"note\":", out);
    put_string(out, ending->note);
    fputs(",\n", out);
    put_field(out, "startMs", summary->info->start_unix_ns / 1000000);
    put_field(out, "records", ending->records);
    put_field(out, "lost", ending->lost);
    put_field(out, "endNs", ending->end_ns);
    put_field(out, "binNs", UINT64_C(1) << summary->bin_shift);
    put_field(out, "bins", summary->bins);
    put_field(out, "places", summary->place_count);
    put_field(out, "untold", summary->untold);
    fputs("\"complete\":", out);
    fputs(ending->is_complete ? "true" : "false", out);
}

static void put_one_series(FILE *out, const struct summary_series *series, unsigned int bins)
{
    fputs("{\"name\":", out);
    put_string(out, series->name);
    fprintf(out, ",\"wait\":%s,", series->is_wait ? "true" : "false");
    put_field(out, "count", series->count);
    put_field(out, "ns", series->ns);
    put_field(out, "median", summary_percentile(series, 0.5));
    put_field(out, "most", summary_percentile(series, 0.99));
    put_field(out, "longest", series->longest_ns);
    put_numbers(out, "costs", series->costs, SUMMARY_COSTS);
    fputc(',', out);
    put_numbers(out, "binCount", series->bin_count, bins);
    fputc(',', out);
    put_numbers(out, "binNs", series->bin_ns, bins);
    fputc('}', out);
}

static void add_numbers(uint64_t *sum, const uint64_t *numbers, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        sum[i] += numbers[i];
    }
}

/* What has no colour of its own any more, as one. */
static void add_series(struct summary_series *sum, const struct summary_series *series)
{
    sum->count += series->count;
    sum->ns += series->ns;
    if (series->longest_ns > sum->longest_ns) {
        sum->longest_ns = series->longest_ns;
    }
    add_numbers(sum->costs, series->costs, SUMMARY_COSTS);
    add_numbers(sum->bin_count, series->bin_count, SUMMARY_BINS);
    add_numbers(sum->bin_ns, series->bin_ns, SUMMARY_BINS);
}

static void put_series(FILE *out, const struct summary *summary)
{
    struct summary_series others = {.name = "others"};
    unsigned int count = summary->used_series_count;
    unsigned int shown = count <= SERIES_MAX ? count : SERIES_MAX - 1;
    fputs(",\n\"series\":[", out);
    for (unsigned int i = 0; i < count; i++) {
        const struct summary_series *series = &summary->series[summary->used_series[i]];
        if (i < shown) {
            fputs(i == 0 ? "\n" : ",\n", out);
            put_one_series(out, series, summary->bins);
        } else {
            add_series(&others, series);
        }
    }
    if (shown < count) {
        fputs(",\n", out);
        put_one_series(out, &others, summary->bins);
    }
    fputc(']', out);
}

static void put_cost_bounds(FILE *out)
{
    uint64_t bounds[SUMMARY_COSTS];
    for (unsigned int i = 0; i < SUMMARY_COSTS; i++) {
        bounds[i] = summary_cost_ns(i);
    }
    fputs(",\n", out);
    put_numbers(out, "costNs", bounds, SUMMARY_COSTS);
}

static void put_places(FILE *out, const struct summary *summary)
{
    char address[32];
    fputs(",\n\"hottest\":[", out);
    for (unsigned int i = 0; i < summary->place_count && i < PLACES_MAX; i++) {
        const struct summary_place *place = &summary->places[i];
        summary_address_text(summary, place, address, sizeof(address));
        fputs(i == 0 ? "\n{\"kind\":" : ",\n{\"kind\":", out);
        put_string(out, summary->series[place->series].name);
        fputs(",\"device\":", out);
        put_string(out, summary_device(summary, place));
        fputs(",\"address\":", out);
        put_string(out, address);
        fputc(',', out);
        put_field(out, "count", place->count);
        put_field(out, "ns", place->ns);
        fprintf(out, "\"longest\":%" PRIu64 "}", place->longest_ns);
    }
    fputc(']', out);
}

/* Times in bins as thousandths of the bin: four digits at most, whatever the trace. */
static void put_shares(FILE *out, const char *name, const uint64_t *bins,
                       const struct summary *summary)
{
    uint64_t shares[SUMMARY_BINS];
    uint64_t width = UINT64_C(1) << summary->bin_shift;
    for (unsigned int i = 0; i < SUMMARY_BINS; i++) {
        shares[i] = bins[i] >= width ? 1000 : bins[i] * 1000 / width;
    }
    put_numbers(out, name, shares, SUMMARY_BINS);
}

static void put_vcpus(FILE *out, const struct summary *summary)
{
    const struct trace_ending *ending = summary->ending;
    fputs(",\n\"vcpus\":[", out);
    for (unsigned int i = 0; i < summary->info->vcpu_count; i++) {
        const struct summary_vcpu *vcpu = &summary->vcpus[i];
        fputs(i == 0 ? "\n{" : ",\n{", out);
        put_field(out, "count", vcpu->count);
        put_field(out, "lost", ending->vcpu_lost[i]);
        put_field(out, "engineNs", ending->engine_ns[i]);
        put_field(out, "servedNs", vcpu->served_ns);
        put_field(out, "waitNs", vcpu->wait_ns);
        put_shares(out, "served", vcpu->bin_served_ns, summary);
        fputc(',', out);
        put_shares(out, "wait", vcpu->bin_wait_ns, summary);
        fputc('}', out);
    }
    fputs("]}\n", out);
}

void report_page(const struct summary *summary, const char *name, FILE *out)
{
    const char *mark = strstr(page_template, DATA_MARK);
    fwrite(page_template, 1, (size_t)(mark - page_template), out);
    put_head(out, summary, name);
    put_series(out, summary);
    put_cost_bounds(out);
    put_places(out, summary);
    put_vcpus(out, summary);
    fputs(mark + strlen(DATA_MARK), out);
}
