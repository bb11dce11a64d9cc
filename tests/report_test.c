/* What is made of a trace: sums, bins, percentiles, the tables, and a page that nothing breaks. */
#include "report/report.h"

#include <stdlib.h>

#include "check.h"
#include "trace_file.h"

#define PAGE_MAX (1u << 20)

/* A trace on its way into a summary. */
struct reading {
    struct trace_file *file;
    FILE *in;
    struct trace_reader *reader;
    struct summary *summary;
};

static struct reading summarise(struct trace_file *file)
{
    struct reading reading = {.file = file, .in = trace_file_open(file, file->used)};
    struct error error = {""};
    if (!CHECK_EQUAL(trace_reader_create(reading.in, &reading.reader, &error), 0) ||
        !CHECK_EQUAL(summary_create(reading.reader, &reading.summary, &error), 0)) {
        fprintf(stderr, "    %s\n", error.text);
        exit(check_summary());
    }
    return reading;
}

static void finish(struct reading *reading)
{
    summary_destroy(reading->summary);
    trace_reader_destroy(reading->reader);
    fclose(reading->in);
    free(reading->file);
}

static uint64_t sum(const uint64_t *numbers, unsigned int count)
{
    uint64_t total = 0;
    for (unsigned int i = 0; i < count; i++) {
        total += numbers[i];
    }
    return total;
}

static void test_sums(void)
{
    struct reading reading = summarise(trace_file_small());
    const struct summary *summary = reading.summary;
    CHECK_EQUAL(summary->used_series_count, 3);
    const struct summary_series *waits = &summary->series[summary->used_series[0]];
    CHECK(strcmp(waits->name, "hlt") == 0 && waits->is_wait);
    CHECK_EQUAL(waits->count, 2);
    CHECK_EQUAL(waits->ns, 107000);
    CHECK_EQUAL(waits->shortest_ns, 7000);
    CHECK_EQUAL(waits->longest_ns, 100000);
    CHECK_EQUAL(sum(waits->bin_ns, SUMMARY_BINS), 107000);
    CHECK_EQUAL(sum(waits->bin_count, SUMMARY_BINS), 2);
    CHECK_EQUAL(sum(waits->costs, SUMMARY_COSTS), 2);
    CHECK(strcmp(summary->series[1].name, "pio write") == 0);
    CHECK_EQUAL(summary->series[1].ns, 20);
    CHECK(strcmp(summary->series[0].name, "pio read") == 0);
    CHECK_EQUAL(summary->vcpus[0].served_ns, 320);
    CHECK_EQUAL(summary->vcpus[0].wait_ns, 100000);
    CHECK_EQUAL(summary->vcpus[1].wait_ns, 7000);
    CHECK_EQUAL(summary->place_count, 2);
    CHECK_EQUAL(summary->places[0].address, 0xcfc);
    CHECK(strcmp(summary_device(summary, &summary->places[0]), "") == 0);
    CHECK(strcmp(summary_device(summary, &summary->places[1]), "com1") == 0);
    finish(&reading);
}

/* The cells of costs follow each other without a gap, and each time is in its own. */
static void test_costs(void)
{
    static const uint64_t times[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 1023, 1024, 1535, 1536, 1u << 30};
    for (unsigned int i = 1; i < SUMMARY_COSTS; i++) {
        CHECK(summary_cost_ns(i) >= summary_cost_ns(i - 1));
    }
    for (unsigned int i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        struct trace_file *file = trace_file_small();
        file->used = file->header.length;
        struct trace_record record = {.kind = 0, .duration = times[i]};
        trace_file_put_exits(file, 0, 5000, &record, 1);
        struct reading reading = summarise(file);
        unsigned int cell = 0;
        while (reading.summary->series[0].costs[cell] == 0 && cell < SUMMARY_COSTS - 1) {
            cell++;
        }
        CHECK(summary_cost_ns(cell) <= times[i] && times[i] < summary_cost_ns(cell + 2));
        CHECK(cell % 2 == 1 || times[i] < summary_cost_ns(cell + 1) || times[i] < 2);
        CHECK_EQUAL(summary_percentile(&reading.summary->series[0], 0.5), times[i]);
        finish(&reading);
    }
}

/* However long it goes on, nothing is lost from the bins, and they stay as many. */
static void test_bins(void)
{
    struct trace_file *file = trace_file_small();
    struct trace_record records[40];
    file->used = file->header.length;
    uint64_t since = 1, total = 0;
    for (unsigned int i = 0; i < 40; i++, since *= 2) {
        records[i] = (struct trace_record){.kind = 0, .since = since, .duration = since / 3};
        total += since / 3;
    }
    trace_file_put_exits(file, 0, 5000, records, 40);
    trace_file_put_exits(file, 1, 5000, records, 20); /* earlier again, on another vCPU */
    struct reading reading = summarise(file);
    const struct summary_series *series = &reading.summary->series[0];
    CHECK_EQUAL(sum(series->bin_count, SUMMARY_BINS), 60);
    CHECK_EQUAL(sum(reading.summary->vcpus[0].bin_served_ns, SUMMARY_BINS), total);
    CHECK_EQUAL(sum(series->bin_ns, SUMMARY_BINS), series->ns);
    CHECK(reading.summary->bins > SUMMARY_BINS / 2 && reading.summary->bins <= SUMMARY_BINS);
    finish(&reading);
}

/* When bins become wider, what was in the 300th is where its time is now. */
static void test_wider_bins(void)
{
    struct trace_file *file = trace_file_small();
    const struct trace_record records[] = {
        {.kind = 0, .since = 300 << 10, .duration = 7},
        {.kind = 0, .since = 3 << 20, .duration = 5},
    };
    file->used = file->header.length;
    trace_file_put_exits(file, 0, 5000, records, 2);
    struct reading reading = summarise(file);
    const struct summary *summary = reading.summary;
    const struct summary_series *series = &summary->series[0];
    unsigned int first = (300u << 10) >> summary->bin_shift;
    unsigned int second = ((300u << 10) + (3u << 20) + 7) >> summary->bin_shift;
    CHECK(summary->bin_shift > 10 && first != second);
    CHECK_EQUAL(series->bin_count[first], 1);
    CHECK_EQUAL(series->bin_ns[first], 7);
    CHECK_EQUAL(summary->vcpus[0].bin_served_ns[first], 7);
    CHECK_EQUAL(series->bin_count[second], 1);
    CHECK_EQUAL(series->bin_ns[second], 5);
    CHECK_EQUAL(summary->bins, second + 1);
    finish(&reading);
}

static void test_percentiles(void)
{
    struct trace_file *file = trace_file_small();
    struct trace_record records[100];
    file->used = file->header.length;
    for (unsigned int i = 0; i < 100; i++) {
        records[i] = (struct trace_record){.kind = 0, .duration = i < 98 ? 100 : 1000000};
    }
    trace_file_put_exits(file, 0, 5000, records, 100);
    struct reading reading = summarise(file);
    const struct summary_series *series = &reading.summary->series[0];
    CHECK_EQUAL(summary_percentile(series, 0.5), 128); /* the end of the cell of 100 */
    CHECK_EQUAL(summary_percentile(series, 0.98), 128);
    CHECK_EQUAL(summary_percentile(series, 0.99), 1000000);
    finish(&reading);
}

/* More addresses than are told apart: the rest is counted. */
static void test_many_addresses(void)
{
    struct trace_file *file = trace_file_small();
    file->used = file->header.length;
    for (unsigned int i = 0; i < 20; i++) {
        struct trace_record records[1000];
        for (unsigned int k = 0; k < 1000; k++) {
            records[k] = (struct trace_record){
                .kind = 0, .flags = TRACE_RECORD_HAS_ADDRESS, .address = 1000 * i + k, .since = 1};
        }
        trace_file_put_exits(file, 0, 5000 + 1000 * i, records, 1000);
    }
    struct reading reading = summarise(file);
    CHECK_EQUAL(reading.summary->place_count + reading.summary->untold, 20000);
    CHECK(reading.summary->place_count > 10000 && reading.summary->untold > 1000);
    finish(&reading);
}

/* What a report writes, as a string to be freed. */
static char *render(const struct summary *summary, const char *name, size_t *size,
                    void (*write)(const struct summary *, const char *, FILE *))
{
    char *text = NULL;
    FILE *out = open_memstream(&text, size);
    write(summary, name, out);
    fclose(out);
    return text;
}

static void test_text(void)
{
    struct reading reading = summarise(trace_file_small());
    size_t size;
    char *text = render(reading.summary, "some.trace", &size, report_text);
    CHECK(strstr(text, "some.trace: 4 exits in 200 us, engine test, 2 vCPUs; 2 more were lost"));
    CHECK(strstr(text, "pio read             0xcfc"));
    CHECK(strstr(text, "com1"));
    CHECK(strstr(text, "(the guest waits)"));
    CHECK(strstr(text, "NOTE") == NULL);
    free(text);
    finish(&reading);
}

static unsigned int count_of(const char *text, const char *part)
{
    unsigned int count = 0;
    for (; (text = strstr(text, part)) != NULL; text++) {
        count++;
    }
    return count;
}

/* A name can neither leave its string nor the element that the data are in. */
static void test_page_escapes(void)
{
    struct trace_file *file = trace_file_new(1, 1, 1);
    trace_file_put_name(file, "</script><script>x()</script>");
    trace_file_put_kind(file, TRACE_SPACE_PORT, 0, "<!--\"\\'&");
    trace_file_put_device(file, TRACE_SPACE_PORT, 0, 0x100, "<img src=x onerror=x()>");
    trace_file_end_header(file);
    struct trace_record record = {.kind = 0, .flags = TRACE_RECORD_HAS_ADDRESS, .address = 3};
    trace_file_put_exits(file, 0, 5000, &record, 1);
    struct reading reading = summarise(file), plain = summarise(trace_file_small());
    size_t size;
    char *page = render(reading.summary, "\"><script>\n", &size, report_page);
    char *usual = render(plain.summary, "usual", &size, report_page);
    CHECK_EQUAL(count_of(page, "<script"), count_of(usual, "<script"));
    CHECK_EQUAL(count_of(page, "</script"), count_of(usual, "</script"));
    CHECK_EQUAL(count_of(page, "<!--"), count_of(usual, "<!--"));
    CHECK_EQUAL(count_of(page, "<img"), 0);
    CHECK(strstr(page, "\\u003c/script\\u003e") != NULL);
    CHECK(strstr(page, "\\u0022\\u003e\\u003cscript\\u003e\\u000a") != NULL);
    CHECK(strstr(page, "@DATA@") == NULL);
    CHECK(strstr(page, "</html>") != NULL);
    free(page);
    free(usual);
    finish(&reading);
    finish(&plain);
}

/* The page asks for nothing: no address of anything but the names of XML's own. */
static void test_page_is_alone(void)
{
    struct reading reading = summarise(trace_file_small());
    size_t size;
    char *page = render(reading.summary, "some.trace", &size, report_page);
    CHECK_EQUAL(count_of(page, "http"),
                count_of(page, "http-equiv") + count_of(page, "www.w3.org"));
    CHECK_EQUAL(count_of(page, " src="), 0);
    CHECK_EQUAL(count_of(page, "@import"), 0);
    CHECK_EQUAL(count_of(page, "url("), 0);
    free(page);
    finish(&reading);
}

/* The largest numbers, names and counts that a file can hold. */
static void test_page_size(void)
{
    char name[TRACE_NAME_MAX + 1];
    struct trace_file *file = trace_file_new(TRACE_VCPUS_MAX, TRACE_KINDS_MAX, 1);
    memset(name, '<', TRACE_NAME_MAX);
    name[TRACE_NAME_MAX] = '\0';
    trace_file_put_name(file, name);
    for (unsigned int i = 0; i < TRACE_KINDS_MAX; i++) {
        trace_file_put_kind(file, TRACE_SPACE_PORT, 0, name);
    }
    trace_file_put_device(file, TRACE_SPACE_PORT, 0, UINT64_MAX, name);
    trace_file_end_header(file);
    for (unsigned int vcpu = 0; vcpu < TRACE_VCPUS_MAX; vcpu++) {
        struct trace_record records[TRACE_KINDS_MAX * 2];
        for (unsigned int i = 0; i < 2 * TRACE_KINDS_MAX; i++) {
            records[i] = (struct trace_record){.kind = (uint8_t)(i / 2),
                                               .flags = TRACE_RECORD_HAS_ADDRESS |
                                                        (i % 2 != 0 ? TRACE_RECORD_WRITE : 0),
                                               .address = UINT64_MAX - 128 * vcpu - i,
                                               .duration = TRACE_TIME_MAX / (2 * TRACE_KINDS_MAX)};
        }
        trace_file_put_exits(file, vcpu, 5000, records, 2 * TRACE_KINDS_MAX);
    }
    struct reading reading = summarise(file);
    size_t size;
    CHECK_EQUAL(reading.summary->ending->records, 64 * 128);
    free(render(reading.summary, name, &size, report_page));
    CHECK(size > 100000 && size < PAGE_MAX);
    finish(&reading);
}

/* Without a single exit there is still something to say. */
static void test_nothing(void)
{
    struct trace_file *file = trace_file_small();
    file->used = file->header.length;
    struct reading reading = summarise(file);
    size_t size;
    char *text = render(reading.summary, "t", &size, report_text);
    CHECK(strstr(text, "0 exits") != NULL && strstr(text, "NOTE: the file is cut off") != NULL);
    free(text);
    text = render(reading.summary, "t", &size, report_page);
    CHECK(strstr(text, "\"series\":[]") != NULL);
    free(text);
    finish(&reading);
}

int main(void)
{
    test_sums();
    test_costs();
    test_bins();
    test_wider_bins();
    test_percentiles();
    test_many_addresses();
    test_text();
    test_page_escapes();
    test_page_is_alone();
    test_page_size();
    test_nothing();
    return check_summary();
}
