#include <inttypes.h>
#include <string.h>

#include "report/report.h"

#define COLUMNS    64u /* of the timeline */
#define PLACES_MAX 20u

/* A time with a unit that suits it: "1.23 us". */
static const char *duration(uint64_t ns, char text[24])
{
    static const struct {
        double ns;
        const char *unit;
    } units[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}, {1, "ns"}};
    unsigned int i = 0;
    while (i < 3 && (double)ns < units[i].ns) {
        i++;
    }
    double value = (double)ns / units[i].ns;
    int digits = i == 3 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
    snprintf(text, 24, "%.*f %s", digits, value, units[i].unit);
    return text;
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : 100.0 * (double)part / (double)whole;
}

static uint64_t mean(uint64_t sum, uint64_t count)
{
    return count == 0 ? 0 : sum / count;
}

static void print_head(const struct summary *summary, const char *name, FILE *out)
{
    const struct trace_ending *ending = summary->ending;
    char time[24];
    fprintf(out, "%s: %" PRIu64 " exit%s in %s, engine %s, %u vCPU%s", name, ending->records,
            ending->records == 1 ? "" : "s", duration(ending->end_ns, time), summary->info->engine,
            summary->info->vcpu_count, summary->info->vcpu_count == 1 ? "" : "s");
    fprintf(out, ending->lost != 0 ? "; %" PRIu64 " more were lost\n" : "\n", ending->lost);
    if (ending->note[0] != '\0') {
        fprintf(out, "NOTE: %s\n", ending->note);
    }
}

static void print_kinds(const struct summary *summary, FILE *out)
{
    char total[24], average[24], half[24], most[24], longest[24];
    fprintf(out, "\n%-20s %10s %10s %9s %9s %9s %9s\n", "exit", "count", "time", "mean", "median",
            "99 %", "longest");
    for (unsigned int i = 0; i < summary->used_series_count; i++) {
        const struct summary_series *series = &summary->series[summary->used_series[i]];
        fprintf(out, "%-20s %10" PRIu64 " %10s %9s %9s %9s %9s%s\n", series->name, series->count,
                duration(series->ns, total), duration(mean(series->ns, series->count), average),
                duration(summary_percentile(series, 0.5), half),
                duration(summary_percentile(series, 0.99), most),
                duration(series->longest_ns, longest),
                series->is_wait ? "  (the guest waits)" : "");
    }
}

/* How many exits began in a bin, on average over one of the equal parts of the time. */
static double column_height(const struct summary *summary, const uint64_t *bins,
                            unsigned int column)
{
    unsigned int first = column * summary->bins / COLUMNS;
    unsigned int end = (column + 1) * summary->bins / COLUMNS;
    double count = 0;
    end = end == first ? first + 1 : end;
    for (unsigned int i = first; i < end; i++) {
        count += (double)bins[i];
    }
    return count / (end - first);
}

static void print_timeline_row(const struct summary *summary, const struct summary_series *series,
                               FILE *out)
{
    static const char *const levels[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    double heights[COLUMNS], most = 0;
    for (unsigned int i = 0; i < COLUMNS; i++) {
        heights[i] = column_height(summary, series->bin_count, i);
        most = heights[i] > most ? heights[i] : most;
    }
    fprintf(out, "%-20s ", series->name);
    for (unsigned int i = 0; i < COLUMNS; i++) {
        unsigned int level = (unsigned int)(heights[i] * 7.99 / most);
        fputs(heights[i] <= 0 ? " " : levels[level & 7], out);
    }
    fputc('\n', out);
}

static void print_timeline(const struct summary *summary, FILE *out)
{
    char time[24];
    uint64_t width = (uint64_t)summary->bins << summary->bin_shift;
    fprintf(out, "\nexits over time, each kind by its own highest; a column is %s\n",
            duration(width / COLUMNS, time));
    for (unsigned int i = 0; i < summary->used_series_count; i++) {
        print_timeline_row(summary, &summary->series[summary->used_series[i]], out);
    }
}

static void print_places(const struct summary *summary, FILE *out)
{
    uint64_t whole = 0;
    char address[32], total[24], average[24], longest[24];
    for (unsigned int i = 0; i < summary->used_series_count; i++) {
        const struct summary_series *series = &summary->series[summary->used_series[i]];
        whole += series->is_wait ? 0 : series->ns;
    }
    fprintf(out, "\n%-20s %-18s %10s %10s %7s %9s %9s  %s\n", "exit", "address", "count", "time",
            "share", "mean", "longest", "device");
    for (unsigned int i = 0; i < summary->place_count && i < PLACES_MAX; i++) {
        const struct summary_place *place = &summary->places[i];
        summary_address_text(summary, place, address, sizeof(address));
        fprintf(out, "%-20s %-18s %10" PRIu64 " %10s %5.1f %% %9s %9s  %s\n",
                summary->series[place->series].name, address, place->count,
                duration(place->ns, total), percent(place->ns, whole),
                duration(mean(place->ns, place->count), average),
                duration(place->longest_ns, longest), summary_device(summary, place));
    }
    if (summary->place_count > PLACES_MAX) {
        fprintf(out, "… and %u more\n", summary->place_count - PLACES_MAX);
    }
    if (summary->untold != 0) {
        fprintf(out, "%" PRIu64 " exits were at still other addresses\n", summary->untold);
    }
}

static void print_vcpus(const struct summary *summary, FILE *out)
{
    const struct trace_ending *ending = summary->ending;
    char engine[24], served[24], wait[24];
    fprintf(out, "\n%-6s %10s %10s %16s %18s %18s\n", "vCPU", "exits", "lost", "in the engine",
            "served", "waited");
    for (unsigned int i = 0; i < summary->info->vcpu_count; i++) {
        const struct summary_vcpu *vcpu = &summary->vcpus[i];
        fprintf(out, "%-6u %10" PRIu64 " %10" PRIu64 " %16s %9s (%4.1f %%) %9s (%4.1f %%)\n", i,
                vcpu->count, ending->vcpu_lost[i],
                ending->engine_ns[i] != 0 ? duration(ending->engine_ns[i], engine) : "unknown",
                duration(vcpu->served_ns, served), percent(vcpu->served_ns, ending->end_ns),
                duration(vcpu->wait_ns, wait), percent(vcpu->wait_ns, ending->end_ns));
    }
}

void report_text(const struct summary *summary, const char *name, FILE *out)
{
    print_head(summary, name, out);
    if (summary->ending->records == 0) {
        return;
    }
    print_kinds(summary, out);
    print_timeline(summary, out);
    print_places(summary, out);
    print_vcpus(summary, out);
}
