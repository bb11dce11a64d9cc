#include "vm/engine_counters.h"

#include <inttypes.h>
#include <string.h>

static struct engine_counter *find(struct engine_counters *sum,
                                   const struct engine_counter *counter)
{
    for (unsigned int i = 0; i < sum->count; i++) {
        if (strcmp(sum->each[i].name, counter->name) == 0) {
            return &sum->each[i];
        }
    }
    if (sum->count == ENGINE_COUNTERS_MAX) {
        return NULL;
    }
    struct engine_counter *added = &sum->each[sum->count++];
    *added = (struct engine_counter){.name = counter->name, .unit = counter->unit};
    return added;
}

void engine_counters_add(struct engine_counters *sum, const struct engine_counters *more)
{
    for (unsigned int i = 0; i < more->count; i++) {
        struct engine_counter *counter = find(sum, &more->each[i]);
        if (counter != NULL) {
            counter->value += more->each[i].value;
            counter->of += more->each[i].of;
        }
    }
}

static double quotient(const struct engine_counter *counter)
{
    return (double)counter->value / (double)counter->of;
}

/* 1023 bytes, then KiB and MiB with enough digits to compare two runs. */
static void print_bytes(uint64_t bytes, FILE *out)
{
    if (bytes < 1024) {
        fprintf(out, "%14" PRIu64 " bytes", bytes);
    } else if (bytes < UINT64_C(1024) * 1024) {
        fprintf(out, "%14.1f KiB", (double)bytes / 1024);
    } else {
        fprintf(out, "%14.2f MiB", (double)bytes / (1024 * 1024));
    }
}

static void print_value(const struct engine_counter *counter, FILE *out)
{
    switch (counter->unit) {
    case ENGINE_BYTES:
        print_bytes(counter->value, out);
        break;
    case ENGINE_NANOSECONDS:
        fprintf(out, "%14.3f ms", (double)counter->value / 1e6);
        break;
    case ENGINE_PERCENT:
        fprintf(out, "%14.2f %% of %" PRIu64, 100 * quotient(counter), counter->of);
        return;
    case ENGINE_RATIO:
        fprintf(out, "%14.2f", quotient(counter));
        return;
    case ENGINE_NANOSECONDS_EACH:
        fprintf(out, "%14.1f ns", quotient(counter));
        return;
    case ENGINE_COUNT:
    default:
        fprintf(out, "%14" PRIu64, counter->value);
        break;
    }
    if (counter->of != 0) {
        fprintf(out, " (%.2f %%)", 100 * quotient(counter));
    }
}

/* A quotient of nothing says nothing. */
static bool is_shown(const struct engine_counter *counter)
{
    bool is_quotient = counter->unit == ENGINE_PERCENT || counter->unit == ENGINE_RATIO ||
                       counter->unit == ENGINE_NANOSECONDS_EACH;
    return !is_quotient || counter->of != 0;
}

void engine_counters_print(const struct engine_counters *counters, const char *title, FILE *out)
{
    if (counters->count != 0) {
        fprintf(out, "%s\n", title);
    }
    for (unsigned int i = 0; i < counters->count; i++) {
        if (is_shown(&counters->each[i])) {
            fprintf(out, "  %-44s", counters->each[i].name);
            print_value(&counters->each[i], out);
            fputc('\n', out);
        }
    }
}
