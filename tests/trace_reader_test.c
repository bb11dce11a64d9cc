/* Reading traces of exits: records, and files that are cut off, damaged, hostile or of tomorrow. */
#include "report/trace_reader.h"

#include <errno.h>

#include "check.h"
#include "trace_file.h"

static void test_numbers(void)
{
    static const uint64_t numbers[] = {0, 1, 0x7f, 0x80, 0x3fff, 0x4000, UINT32_MAX, UINT64_MAX};
    for (unsigned int i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        uint8_t bytes[TRACE_RECORD_MAX];
        struct trace_record record = {.kind = 9,
                                      .flags = TRACE_RECORD_FLAGS,
                                      .size = 15,
                                      .count = (uint32_t)numbers[i],
                                      .since = numbers[i],
                                      .duration = ~numbers[i],
                                      .address = numbers[i] >> 1,
                                      .value = numbers[i] ^ 1};
        struct trace_record again;
        size_t length = trace_record_encode(&record, bytes);
        CHECK(length <= TRACE_RECORD_MAX);
        CHECK_EQUAL(trace_record_decode(bytes, length, &again), length);
        CHECK_EQUAL(again.kind, 9);
        CHECK_EQUAL(again.flags, TRACE_RECORD_FLAGS);
        CHECK_EQUAL(again.size, 15);
        CHECK_EQUAL(again.count, record.count);
        CHECK_EQUAL(again.since, record.since);
        CHECK_EQUAL(again.duration, record.duration);
        CHECK_EQUAL(again.address, record.address);
        CHECK_EQUAL(again.value, record.value);
        for (size_t part = 0; part < length; part++) {
            CHECK_EQUAL(trace_record_decode(bytes, part, &again), 0);
        }
    }
}

static void test_numbers_too_long(void)
{
    struct trace_record record;
    uint8_t bytes[16] = {0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0};
    CHECK_EQUAL(trace_record_decode(bytes, 13, &record), 13);
    CHECK_EQUAL(record.since, UINT64_MAX);
    bytes[11] = 2; /* bit 64 */
    CHECK_EQUAL(trace_record_decode(bytes, 13, &record), 0);
    bytes[11] = 0x81; /* an eleventh byte */
    CHECK_EQUAL(trace_record_decode(bytes, 13, &record), 0);
    const uint8_t count[] = {0, TRACE_RECORD_HAS_COUNT, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x1f};
    CHECK_EQUAL(trace_record_decode(count, sizeof(count), &record), 0); /* beyond 32 bits */
}

static struct trace_reader *open_reader(FILE *in)
{
    struct trace_reader *reader = NULL;
    struct error error = {""};
    if (!CHECK_EQUAL(trace_reader_create(in, &reader, &error), 0)) {
        fprintf(stderr, "    %s\n", error.text);
        exit(check_summary());
    }
    return reader;
}

static void test_small(void)
{
    struct trace_file *file = trace_file_small();
    FILE *in = trace_file_open(file, file->used);
    struct trace_reader *reader = open_reader(in);
    const struct trace_info *info = trace_reader_info(reader);
    struct trace_exit exit;
    CHECK(strcmp(info->engine, "test") == 0);
    CHECK_EQUAL(info->vcpu_count, 2);
    CHECK(strcmp(info->kinds[1].name, "hlt") == 0 && info->kinds[1].is_wait);
    CHECK(trace_info_device(info, TRACE_SPACE_PORT, 0x3ff) == &info->devices[0]);
    CHECK(trace_info_device(info, TRACE_SPACE_PORT, 0x400) == NULL);
    CHECK(trace_info_device(info, TRACE_SPACE_PORT, 0x3f7) == NULL);
    CHECK(trace_info_device(info, TRACE_SPACE_MEMORY, 0x3f8) == NULL);
    CHECK(trace_reader_next(reader, &exit));
    CHECK_EQUAL(exit.begin_ns, 100);
    CHECK_EQUAL(exit.duration_ns, 20);
    CHECK_EQUAL(exit.record.address, 0x3f8);
    CHECK_EQUAL(exit.record.value, 'a');
    CHECK(trace_reader_next(reader, &exit));
    CHECK_EQUAL(exit.begin_ns, 120);
    CHECK_EQUAL(exit.record.value, 0xffffffff);
    CHECK(trace_reader_next(reader, &exit));
    CHECK_EQUAL(exit.begin_ns, 425);
    CHECK_EQUAL(exit.vcpu, 0);
    CHECK(trace_reader_next(reader, &exit));
    CHECK_EQUAL(exit.vcpu, 1);
    CHECK(!trace_reader_next(reader, &exit));
    CHECK(!trace_reader_next(reader, &exit));
    const struct trace_ending *ending = trace_reader_ending(reader);
    CHECK(ending->is_complete);
    CHECK(ending->note[0] == '\0');
    CHECK_EQUAL(ending->records, 4);
    CHECK_EQUAL(ending->lost, 2);
    CHECK_EQUAL(ending->vcpu_lost[1], 2);
    CHECK_EQUAL(ending->end_ns, 200000);
    CHECK_EQUAL(ending->engine_ns[0], 105);
    CHECK_EQUAL(ending->vcpu_records[0], 3);
    trace_reader_destroy(reader);
    fclose(in);
    free(file);
}

/* Reads what there is; returns how many records, or -1 when there is no header. */
static int count_records(struct trace_file *file, size_t length, struct trace_ending *ending)
{
    FILE *in = trace_file_open(file, length);
    struct trace_reader *reader;
    struct trace_exit exit;
    struct error error = {""};
    int count = -1;
    if (trace_reader_create(in, &reader, &error) == 0) {
        for (count = 0; trace_reader_next(reader, &exit); count++) {
            CHECK(exit.vcpu < trace_reader_info(reader)->vcpu_count);
            CHECK(exit.record.kind < trace_reader_info(reader)->kind_count);
            CHECK(exit.begin_ns + exit.duration_ns <= TRACE_TIME_MAX);
        }
        *ending = *trace_reader_ending(reader);
        trace_reader_destroy(reader);
    } else {
        CHECK(error.text[0] != '\0');
    }
    fclose(in);
    return count;
}

/* However short: either the header is missing, or whole chunks are read and the end is told. */
static void test_cut_off(void)
{
    struct trace_file *file = trace_file_small();
    struct trace_ending ending;
    int before = -1;
    for (size_t length = 0; length < file->used; length++) {
        int count = count_records(file, length, &ending);
        CHECK(count >= before);
        CHECK(count < 0 || (!ending.is_complete && strstr(ending.note, "cut off") != NULL));
        before = count;
    }
    CHECK_EQUAL(before, 4);
    free(file);
}

/* Whatever bit of it is wrong: it is noticed. */
static void test_damaged(void)
{
    struct trace_file *file = trace_file_small();
    struct trace_ending ending;
    for (size_t at = 0; at < file->used; at++) {
        for (unsigned int bit = 0; bit < 8; bit++) {
            file->bytes[at] ^= (uint8_t)(1u << bit);
            int count = count_records(file, file->used, &ending);
            CHECK(count < 0 || (count <= 4 && !ending.is_complete && ending.note[0] != '\0'));
            file->bytes[at] ^= (uint8_t)(1u << bit);
        }
    }
    CHECK_EQUAL(count_records(file, file->used, &ending), 4);
    CHECK(ending.is_complete);
    free(file);
}

/* One part is damaged: the others are read. */
static void test_damaged_part(void)
{
    struct trace_file *file = trace_file_small();
    struct trace_ending ending;
    file->bytes[file->header.length + sizeof(struct trace_chunk_header)] ^= 1;
    CHECK_EQUAL(count_records(file, file->used, &ending), 1);
    CHECK(strstr(ending.note, "1 of its parts is damaged") != NULL);
    CHECK_EQUAL(ending.engine_ns[0], 105);
    free(file);
}

static void check_refused(struct trace_file *file, size_t length, const char *words)
{
    FILE *in = trace_file_open(file, length);
    struct trace_reader *reader;
    struct error error = {""};
    CHECK_EQUAL(trace_reader_create(in, &reader, &error), -EINVAL);
    if (!CHECK(strstr(error.text, words) != NULL)) {
        fprintf(stderr, "    no \"%s\" in \"%s\"\n", words, error.text);
    }
    fclose(in);
}

static void test_headers(void)
{
    struct trace_file *file = trace_file_small();
    check_refused(file, 0, "empty");
    check_refused(file, 20, "cut off within its header");
    check_refused(file, sizeof(file->header) + 3, "cut off within its header");
    file->header.version = TRACE_VERSION + 1;
    file->header.checksum = trace_header_checksum(file->header, file->bytes);
    memcpy(file->bytes, &file->header, sizeof(file->header));
    check_refused(file, file->used, "version 2 of the format");
    file->bytes[0] = 'X';
    check_refused(file, file->used, "no trace of exits");
    free(file);
}

/* Headers with a good checksum that claim what cannot be. */
static void test_impossible_headers(void)
{
    static const size_t fields[] = {offsetof(struct trace_file_header, length),
                                    offsetof(struct trace_file_header, vcpu_count),
                                    offsetof(struct trace_file_header, kind_count),
                                    offsetof(struct trace_file_header, device_count)};
    static const uint32_t values[] = {0, 1, 3, 65, 257, 65537, UINT32_MAX};
    for (unsigned int i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        for (unsigned int k = 0; k < sizeof(values) / sizeof(values[0]); k++) {
            struct trace_file *file = trace_file_small();
            struct trace_ending ending;
            memcpy((uint8_t *)&file->header + fields[i], &values[k], sizeof(values[k]));
            if (file->header.length >= sizeof(file->header) &&
                file->header.length <= sizeof(file->bytes)) {
                file->header.checksum = trace_header_checksum(file->header, file->bytes);
            }
            memcpy(file->bytes, &file->header, sizeof(file->header));
            count_records(file, file->used, &ending); /* the sanitizers look on */
            free(file);
        }
    }
}

/* Times and kinds that cannot be, with good checksums. */
static void test_impossible_records(void)
{
    static const struct trace_record records[] = {
        {.kind = 2, .since = 1},                             /* no such kind */
        {.kind = 0, .since = UINT64_MAX},                    /* beyond the end of time */
        {.kind = 0, .duration = UINT64_MAX},                 /* likewise */
        {.kind = 0, .since = TRACE_TIME_MAX, .duration = 1}, /* a nanosecond too long */
    };
    for (unsigned int i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
        struct trace_file *file = trace_file_small();
        struct trace_ending ending;
        file->used = file->header.length;
        trace_file_put_exits(file, 0, 5000, &records[i], 1);
        trace_file_put_exits(file, 0, 4999, (struct trace_record[]){{.kind = 0}}, 1);
        trace_file_put_exits(file, 2, 5000, (struct trace_record[]){{.kind = 0}}, 1);
        CHECK_EQUAL(count_records(file, file->used, &ending), 0);
        CHECK(strstr(ending.note, "3 of its parts are damaged") != NULL);
        free(file);
    }
}

/* What might be more than text to a terminal or a browser is not let through. */
static void test_names(void)
{
    struct trace_file *file = trace_file_new(1, 1, 0);
    trace_file_put_name(file, "\x1b[2J\xc3\xa4\n~");
    trace_file_put_kind(file, TRACE_SPACE_NONE, 0, "<b>");
    trace_file_end_header(file);
    FILE *in = trace_file_open(file, file->used);
    struct trace_reader *reader = open_reader(in);
    CHECK(strcmp(trace_reader_info(reader)->engine, "?[2J???~") == 0);
    trace_reader_destroy(reader);
    fclose(in);
    free(file);
}

/* Other clocks than nanoseconds. */
static void test_clock(void)
{
    struct trace_file *file = trace_file_new(1, 1, 0);
    struct trace_exit exit;
    file->header.ticks_per_second = 3000000000;
    trace_file_put_name(file, "test");
    trace_file_put_kind(file, TRACE_SPACE_NONE, 0, "kicked");
    trace_file_end_header(file);
    trace_file_put_exits(file, 0, 5000,
                         (struct trace_record[]){{.kind = 0, .since = 3000, .duration = 6000}}, 1);
    FILE *in = trace_file_open(file, file->used);
    struct trace_reader *reader = open_reader(in);
    CHECK(trace_reader_next(reader, &exit));
    CHECK_EQUAL(exit.begin_ns, 1000);
    CHECK_EQUAL(exit.duration_ns, 2000);
    trace_reader_destroy(reader);
    fclose(in);
    free(file);
}

int main(void)
{
    test_numbers();
    test_numbers_too_long();
    test_small();
    test_cut_off();
    test_damaged();
    test_damaged_part();
    test_headers();
    test_impossible_headers();
    test_impossible_records();
    test_names();
    test_clock();
    return check_summary();
}
