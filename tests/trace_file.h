/*
 * Traces of exits made by hand, byte by byte, for the tests of what reads them.
 *
 * Owner:  the test. Thread: one.
 */
#ifndef TRAPEZE_TESTS_TRACE_FILE_H
#define TRAPEZE_TESTS_TRACE_FILE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vm/trace_format.h"
#include "vm/trace_record.h"

#define TRACE_FILE_MAX (4u << 20)

struct trace_file {
    struct trace_file_header header; /* to be changed before trace_file_begin, if wanted */
    size_t used;
    uint8_t bytes[TRACE_FILE_MAX];
};

static inline void trace_file_put(struct trace_file *file, const void *bytes, size_t length)
{
    memcpy(file->bytes + file->used, bytes, length);
    file->used += length;
}

static inline void trace_file_put_name(struct trace_file *file, const char *name)
{
    uint8_t length = (uint8_t)strlen(name);
    trace_file_put(file, &length, 1);
    trace_file_put(file, name, length);
}

/* To be freed. Nothing is in it yet; ticks are nanoseconds. */
static inline struct trace_file *trace_file_new(unsigned int vcpus, unsigned int kinds,
                                                unsigned int devices)
{
    struct trace_file *file = calloc(1, sizeof(*file));
    if (file == NULL) {
        abort();
    }
    file->header = (struct trace_file_header){.magic = TRACE_MAGIC,
                                              .version = TRACE_VERSION,
                                              .ticks_per_second = 1000000000,
                                              .start_ticks = 5000,
                                              .vcpu_count = vcpus,
                                              .kind_count = kinds,
                                              .device_count = devices};
    file->used = sizeof(file->header);
    return file;
}

static inline void trace_file_put_kind(struct trace_file *file, enum trace_space space,
                                       unsigned int flags, const char *name)
{
    uint8_t bytes[2] = {(uint8_t)space, (uint8_t)flags};
    trace_file_put(file, bytes, sizeof(bytes));
    trace_file_put_name(file, name);
}

static inline void trace_file_put_device(struct trace_file *file, enum trace_space space,
                                         uint64_t base, uint64_t length, const char *name)
{
    uint8_t byte = (uint8_t)space;
    trace_file_put(file, &byte, 1);
    trace_file_put(file, &base, sizeof(base));
    trace_file_put(file, &length, sizeof(length));
    trace_file_put_name(file, name);
}

/* After the engine's name, the kinds and the devices. */
static inline void trace_file_end_header(struct trace_file *file)
{
    file->header.length = (uint32_t)file->used;
    file->header.checksum = trace_header_checksum(file->header, file->bytes);
    memcpy(file->bytes, &file->header, sizeof(file->header));
}

/* Appends a chunk with a good magic, length and checksum. */
static inline void trace_file_put_chunk(struct trace_file *file, struct trace_chunk_header header,
                                        const void *payload, uint32_t length)
{
    header.magic = TRACE_CHUNK_MAGIC;
    header.length = length;
    header.checksum = trace_chunk_checksum(header, payload);
    trace_file_put(file, &header, sizeof(header));
    trace_file_put(file, payload, length);
}

/* A chunk of records that begins at a tick. */
static inline void trace_file_put_exits(struct trace_file *file, unsigned int vcpu, uint64_t start,
                                        const struct trace_record *records, unsigned int count)
{
    uint8_t payload[TRACE_PAYLOAD_MAX];
    uint32_t length = 0;
    for (unsigned int i = 0; i < count; i++) {
        length += (uint32_t)trace_record_encode(&records[i], payload + length);
    }
    struct trace_chunk_header header = {
        .kind = TRACE_CHUNK_EXITS, .vcpu = (uint16_t)vcpu, .records = count, .start_ticks = start};
    trace_file_put_chunk(file, header, payload, length);
}

static inline void trace_file_put_end(struct trace_file *file, uint64_t ticks,
                                      const struct trace_vcpu_end *ends)
{
    struct trace_chunk_header header = {
        .kind = TRACE_CHUNK_END, .records = file->header.vcpu_count, .start_ticks = ticks};
    trace_file_put_chunk(file, header, ends, (uint32_t)(file->header.vcpu_count * sizeof(ends[0])));
}

/* The first length bytes as a stream; to be closed. */
static inline FILE *trace_file_open(struct trace_file *file, size_t length)
{
    FILE *in = length != 0 ? fmemopen(file->bytes, length, "r") : fopen("/dev/null", "r");
    if (in == NULL) {
        abort();
    }
    return in;
}

/*
 * A small one: "test" with two vCPUs, the kinds pio and hlt and the device com1; three records on
 * vCPU 0 and one on vCPU 1, with the totals.
 */
static inline struct trace_file *trace_file_small(void)
{
    struct trace_file *file = trace_file_new(2, 2, 1);
    trace_file_put_name(file, "test");
    trace_file_put_kind(file, TRACE_SPACE_PORT, 0, "pio");
    trace_file_put_kind(file, TRACE_SPACE_NONE, TRACE_KIND_IS_WAIT, "hlt");
    trace_file_put_device(file, TRACE_SPACE_PORT, 0x3f8, 8, "com1");
    trace_file_end_header(file);
    const uint8_t access = TRACE_RECORD_HAS_ADDRESS | TRACE_RECORD_HAS_VALUE;
    const struct trace_record first[] = {
        {.kind = 0,
         .flags = access | TRACE_RECORD_WRITE,
         .size = 1,
         .since = 100,
         .duration = 20,
         .address = 0x3f8,
         .value = 'a'},
        {.kind = 0,
         .flags = access,
         .size = 4,
         .since = 0,
         .duration = 300,
         .address = 0xcfc,
         .value = 0xffffffff},
        {.kind = 1, .since = 5, .duration = 100000},
    };
    const struct trace_record second[] = {{.kind = 1, .since = 1000, .duration = 7000}};
    const struct trace_vcpu_end ends[] = {{.records = 3, .engine_ticks = 105},
                                          {.records = 1, .lost = 2, .engine_ticks = 1000}};
    trace_file_put_exits(file, 0, 5000, first, 3);
    trace_file_put_exits(file, 1, 5000, second, 1);
    trace_file_put_end(file, 205000, ends);
    return file;
}

#endif
