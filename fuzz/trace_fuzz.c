/*
 * Hostile traces of exits, through the reader, the summary and both reports. Checksums are made
 * good first: they are no defence, and would hide what is behind them.
 */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "report/report.h"

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void mend_checksums(uint8_t *bytes, size_t size)
{
    struct trace_file_header header;
    if (size < sizeof(header)) {
        return;
    }
    memcpy(&header, bytes, sizeof(header));
    if (header.length < sizeof(header) || header.length > size) {
        return;
    }
    header.checksum = trace_header_checksum(header, bytes);
    memcpy(bytes, &header, sizeof(header));
    struct trace_chunk_header chunk;
    for (size_t at = header.length; range_within(at, sizeof(chunk), size);
         at += sizeof(chunk) + chunk.length) {
        memcpy(&chunk, bytes + at, sizeof(chunk));
        if (!range_within(at + sizeof(chunk), chunk.length, size)) {
            return;
        }
        chunk.checksum = trace_chunk_checksum(chunk, bytes + at + sizeof(chunk));
        memcpy(bytes + at, &chunk, sizeof(chunk));
    }
}

static uint64_t sum(const uint64_t *numbers, unsigned int count)
{
    uint64_t total = 0;
    for (unsigned int i = 0; i < count; i++) {
        total += numbers[i];
    }
    return total;
}

/* Each exit is in exactly one bin and one cell of its series. */
static void check_sums(const struct summary *summary)
{
    uint64_t total = 0;
    require(summary->bins >= 1 && summary->bins <= SUMMARY_BINS);
    for (unsigned int i = 0; i < SUMMARY_SERIES; i++) {
        const struct summary_series *series = &summary->series[i];
        require(sum(series->bin_count, SUMMARY_BINS) == series->count);
        require(sum(series->costs, SUMMARY_COSTS) == series->count);
        total += series->count;
    }
    require(total == summary->ending->records);
}

static void report_all(FILE *in)
{
    struct trace_reader *reader;
    struct summary *summary;
    struct error error;
    if (trace_reader_create(in, &reader, &error) != 0) {
        return;
    }
    require(summary_create(reader, &summary, &error) == 0);
    check_sums(summary);
    FILE *out = fopen("/dev/null", "we");
    require(out != NULL);
    report_text(summary, "fuzz", out);
    report_page(summary, "fuzz", out);
    fclose(out);
    summary_destroy(summary);
    trace_reader_destroy(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *bytes = malloc(size + 1);
    require(bytes != NULL);
    memcpy(bytes, data, size);
    mend_checksums(bytes, size);
    FILE *in = fmemopen(bytes, size != 0 ? size : 1, "r");
    require(in != NULL);
    report_all(in);
    fclose(in);
    free(bytes);
    return 0;
}
