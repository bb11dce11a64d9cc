#include "report/trace_reader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

#define NANOSECONDS_A_SECOND UINT64_C(1000000000)

struct trace_reader {
    FILE *in;
    struct trace_info info;
    struct trace_ending ending;
    uint64_t ticks_per_second, start_ticks;
    bool is_over;
    uint64_t damaged; /* chunks whose checksum or records are wrong */
    uint64_t offset;  /* of the next chunk in the file */
    /* The chunk at hand. */
    struct trace_chunk_header chunk;
    uint32_t position, records; /* read of it */
    uint64_t ticks;             /* of the end of the last record */
    uint8_t payload[TRACE_PAYLOAD_MAX];
};

/* ---- the header ---- */

/* Bytes that are still to be read; good turns false when they end too soon. */
struct cursor {
    const uint8_t *at, *end;
    bool good;
};

static void take(struct cursor *cursor, void *bytes, size_t length)
{
    if (!cursor->good || (size_t)(cursor->end - cursor->at) < length) {
        cursor->good = false;
        memset(bytes, 0, length);
        return;
    }
    memcpy(bytes, cursor->at, length);
    cursor->at += length;
}

static uint8_t take_byte(struct cursor *cursor)
{
    uint8_t byte;
    take(cursor, &byte, sizeof(byte));
    return byte;
}

/* A name, in which whatever a terminal or a page might take for more than text becomes '?'. */
static void take_name(struct cursor *cursor, char name[TRACE_NAME_MAX + 1])
{
    uint8_t length = take_byte(cursor);
    if (length > TRACE_NAME_MAX) {
        cursor->good = false;
        length = 0;
    }
    take(cursor, name, length);
    name[length] = '\0';
    for (uint8_t i = 0; i < length; i++) {
        name[i] = name[i] >= ' ' && name[i] <= '~' ? name[i] : '?';
    }
}

static enum trace_space take_space(struct cursor *cursor)
{
    uint8_t space = take_byte(cursor);
    if (space >= TRACE_SPACE_COUNT) {
        cursor->good = false;
        return TRACE_SPACE_NONE;
    }
    return (enum trace_space)space;
}

/* The counts of info are within their bounds. */
static bool take_names(struct trace_info *info, struct cursor *cursor)
{
    take_name(cursor, info->engine);
    for (unsigned int i = 0; i < info->kind_count; i++) {
        info->kinds[i].space = take_space(cursor);
        info->kinds[i].is_wait = (take_byte(cursor) & TRACE_KIND_IS_WAIT) != 0;
        take_name(cursor, info->kinds[i].name);
    }
    for (unsigned int i = 0; i < info->device_count; i++) {
        info->devices[i].space = take_space(cursor);
        take(cursor, &info->devices[i].base, sizeof(info->devices[i].base));
        take(cursor, &info->devices[i].length, sizeof(info->devices[i].length));
        take_name(cursor, info->devices[i].name);
    }
    return cursor->good;
}

static bool are_counts_possible(const struct trace_file_header *header)
{
    return header->length >= sizeof(*header) && header->length <= TRACE_HEADER_MAX &&
           header->ticks_per_second != 0 && header->vcpu_count >= 1 &&
           header->vcpu_count <= TRACE_VCPUS_MAX && header->kind_count >= 1 &&
           header->kind_count <= TRACE_KINDS_MAX && header->device_count <= TRACE_DEVICES_MAX;
}

static int check_start(const struct trace_file_header *header, size_t length, struct error *error)
{
    size_t compared = length < sizeof(header->magic) ? length : sizeof(header->magic);
    if (length == 0) {
        return error_set(error, EINVAL, "it is empty: the run may still be going on");
    }
    if (memcmp(header->magic, TRACE_MAGIC, compared) != 0) {
        return error_set(error, EINVAL, "it is no trace of exits, as 'trapeze run --trace' writes");
    }
    if (length < sizeof(*header)) {
        return error_set(error, EINVAL, "it is cut off within its header");
    }
    if (header->version != TRACE_VERSION) {
        return error_set(error, EINVAL,
                         "it has version %" PRIu32 " of the format, and this program reads %u; use "
                         "the trapeze that wrote it",
                         header->version, TRACE_VERSION);
    }
    if (!are_counts_possible(header)) {
        return error_set(error, EINVAL, "its header is damaged");
    }
    return 0;
}

static int read_header(struct trace_reader *reader, struct error *error)
{
    uint8_t bytes[TRACE_HEADER_MAX];
    struct trace_file_header header = {.length = 0};
    errno = EIO; /* for a stream that fails and does not say why */
    size_t length = fread(bytes, 1, sizeof(header), reader->in);
    int code = errno;
    memcpy(&header, bytes, length);
    if (ferror(reader->in)) {
        return error_set_errno(error, code, "it cannot be read");
    }
    int result = check_start(&header, length, error);
    if (result != 0) {
        return result;
    }
    size_t rest = header.length - sizeof(header);
    if (fread(bytes + sizeof(header), 1, rest, reader->in) != rest) {
        return error_set(error, EINVAL, "it is cut off within its header");
    }
    struct cursor cursor = {
        .at = bytes + sizeof(header), .end = bytes + header.length, .good = true};
    reader->info.vcpu_count = header.vcpu_count;
    reader->info.kind_count = header.kind_count;
    reader->info.device_count = header.device_count;
    reader->info.start_unix_ns = header.start_unix_ns;
    reader->ticks_per_second = header.ticks_per_second;
    reader->start_ticks = header.start_ticks;
    reader->offset = header.length;
    if (trace_header_checksum(header, bytes) != header.checksum ||
        !take_names(&reader->info, &cursor)) {
        return error_set(error, EINVAL, "its header is damaged");
    }
    return 0;
}

int trace_reader_create(FILE *in, struct trace_reader **out, struct error *error)
{
    struct trace_reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL) {
        return error_set(error, ENOMEM, "there is no memory to read it");
    }
    reader->in = in;
    int result = read_header(reader, error);
    if (result != 0) {
        free(reader);
        return result;
    }
    *out = reader;
    return 0;
}

void trace_reader_destroy(struct trace_reader *reader)
{
    free(reader);
}

const struct trace_info *trace_reader_info(const struct trace_reader *reader)
{
    return &reader->info;
}

/* ---- times ---- */

/* Ticks as nanoseconds; false beyond TRACE_TIME_MAX. */
static bool to_ns(const struct trace_reader *reader, uint64_t ticks, uint64_t *ns)
{
    unsigned __int128 wide =
        (unsigned __int128)ticks * NANOSECONDS_A_SECOND / reader->ticks_per_second;
    *ns = (uint64_t)wide;
    return wide <= TRACE_TIME_MAX;
}

/* The same, of a moment; one before the trace's start is none. */
static bool to_moment(const struct trace_reader *reader, uint64_t ticks, uint64_t *ns)
{
    return ticks >= reader->start_ticks && to_ns(reader, ticks - reader->start_ticks, ns);
}

/* ---- chunks ---- */

/* Ends the reading, with a note about why the file's own end was not reached. */
static __attribute__((format(printf, 2, 3))) void give_up(struct trace_reader *reader,
                                                          const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reader->ending.note, sizeof(reader->ending.note), format, arguments);
    va_end(arguments);
    reader->is_over = true;
}

/* The totals; false if they cannot be. */
static bool take_end(struct trace_reader *reader)
{
    struct trace_ending *ending = &reader->ending;
    uint64_t end_ns;
    if (reader->chunk.length != reader->info.vcpu_count * sizeof(struct trace_vcpu_end) ||
        !to_moment(reader, reader->chunk.start_ticks, &end_ns)) {
        return false;
    }
    for (unsigned int i = 0; i < reader->info.vcpu_count; i++) {
        struct trace_vcpu_end end;
        memcpy(&end, reader->payload + i * sizeof(end), sizeof(end));
        if (!to_ns(reader, end.engine_ticks, &ending->engine_ns[i])) {
            return false;
        }
        ending->vcpu_lost[i] = end.lost;
    }
    ending->end_ns = end_ns > ending->end_ns ? end_ns : ending->end_ns;
    ending->is_complete = reader->damaged == 0;
    reader->is_over = true;
    return true;
}

/*
 * Makes the chunk that was read the one at hand; false if its content is not to be trusted. Its
 * length is, so that the next one can be found.
 */
static bool accept_chunk(struct trace_reader *reader)
{
    const struct trace_chunk_header *chunk = &reader->chunk;
    if (trace_chunk_checksum(*chunk, reader->payload) != chunk->checksum) {
        return false;
    }
    if (chunk->kind == TRACE_CHUNK_END) {
        return take_end(reader);
    }
    if (chunk->kind != TRACE_CHUNK_EXITS || chunk->vcpu >= reader->info.vcpu_count) {
        return false;
    }
    reader->ending.vcpu_lost[chunk->vcpu] += chunk->lost;
    reader->records = chunk->records;
    reader->position = 0;
    reader->ticks = chunk->start_ticks;
    return true;
}

static void read_chunk(struct trace_reader *reader)
{
    struct trace_chunk_header *chunk = &reader->chunk;
    size_t length = fread(chunk, 1, sizeof(*chunk), reader->in);
    if (length != sizeof(*chunk)) {
        give_up(reader,
                ferror(reader->in) ? "the file cannot be read beyond byte %" PRIu64
                                   : "the file is cut off at byte %" PRIu64
                                     ": the run was killed, the disk was full, or it still goes on",
                reader->offset + length);
        return;
    }
    if (chunk->magic != TRACE_CHUNK_MAGIC || chunk->length > TRACE_PAYLOAD_MAX) {
        give_up(reader, "the file is damaged from byte %" PRIu64 " on", reader->offset);
        return;
    }
    length = fread(reader->payload, 1, chunk->length, reader->in);
    if (length != chunk->length) {
        give_up(reader,
                "the file is cut off at byte %" PRIu64
                ": the run was killed, the disk was full, or it still goes on",
                reader->offset + sizeof(*chunk) + length);
        return;
    }
    reader->offset += sizeof(*chunk) + chunk->length;
    if (!accept_chunk(reader)) {
        reader->damaged++;
        reader->records = 0;
    }
}

/* ---- records ---- */

/* The next record of the chunk at hand; false if there is none, or it is not to be trusted. */
static bool read_record(struct trace_reader *reader, struct trace_exit *exit)
{
    struct trace_record *record = &exit->record;
    size_t length = trace_record_decode(reader->payload + reader->position,
                                        reader->chunk.length - reader->position, record);
    uint64_t begin, end;
    uint64_t end_ns;
    if (length == 0 || record->kind >= reader->info.kind_count ||
        !checked_add(reader->ticks, record->since, &begin) ||
        !checked_add(begin, record->duration, &end) || !to_moment(reader, begin, &exit->begin_ns) ||
        !to_moment(reader, end, &end_ns)) {
        return false;
    }
    exit->vcpu = reader->chunk.vcpu;
    exit->duration_ns = end_ns - exit->begin_ns;
    reader->position += (uint32_t)length;
    reader->ticks = end;
    reader->ending.end_ns = end_ns > reader->ending.end_ns ? end_ns : reader->ending.end_ns;
    return true;
}

static void finish(struct trace_reader *reader)
{
    struct trace_ending *ending = &reader->ending;
    for (unsigned int i = 0; i < reader->info.vcpu_count; i++) {
        ending->lost += ending->vcpu_lost[i];
    }
    size_t used = strlen(ending->note);
    if (reader->damaged != 0) {
        snprintf(ending->note + used, sizeof(ending->note) - used,
                 "%s%" PRIu64 " of its parts %s damaged and left out", used != 0 ? "; " : "",
                 reader->damaged, reader->damaged == 1 ? "is" : "are");
    }
}

bool trace_reader_next(struct trace_reader *reader, struct trace_exit *exit)
{
    bool was_over = reader->is_over;
    while (!reader->is_over) {
        if (reader->records == 0) {
            read_chunk(reader);
        } else if (read_record(reader, exit)) {
            reader->records--;
            reader->ending.records++;
            reader->ending.vcpu_records[exit->vcpu]++;
            return true;
        } else {
            reader->damaged++;
            reader->records = 0;
        }
    }
    if (!was_over) {
        finish(reader);
    }
    return false;
}

const struct trace_ending *trace_reader_ending(const struct trace_reader *reader)
{
    return &reader->ending;
}

const struct trace_device *trace_info_device(const struct trace_info *info, enum trace_space space,
                                             uint64_t address)
{
    for (unsigned int i = 0; i < info->device_count; i++) {
        const struct trace_device *device = &info->devices[i];
        if (device->space == space && address - device->base < device->length) {
            return device;
        }
    }
    return NULL;
}
