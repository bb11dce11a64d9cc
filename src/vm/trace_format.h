/*
 * The file of exits that --trace writes and `trapeze report` reads; docs/tracing.md has it in
 * words.
 *
 * Purpose: the layout that writer and reader share. The file describes itself: the names of the
 *          kinds of exits and of the devices are in its header, so that a reader needs no table of
 *          the writer's version. All numbers are little-endian.
 * Owner:   constants and plain data. Thread: any.
 *
 * A file is the header with its names, then chunks. A chunk holds records of one vCPU and can be
 * read without those before it; the last one, of kind TRACE_CHUNK_END, holds the totals.
 */
#ifndef TRAPEZE_VM_TRACE_FORMAT_H
#define TRAPEZE_VM_TRACE_FORMAT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TRACE_MAGIC          "TRPZEXIT"
#define TRACE_VERSION        1u
#define TRACE_CHUNK_MAGIC    0x4b4e4843u /* "CHNK" */
#define TRACE_HEADER_MAX     65536u      /* with its names */
#define TRACE_CHUNK_MAX      65536u      /* with its header */
#define TRACE_PAYLOAD_MAX    (TRACE_CHUNK_MAX - 40u)
#define TRACE_RECORD_MAX     64u /* no record is longer */
#define TRACE_VCPUS_MAX      64u
#define TRACE_KINDS_MAX      64u
#define TRACE_DEVICES_MAX    256u
#define TRACE_NAME_MAX       63u
#define TRACE_KIND_IS_WAIT   1u /* the time is the guest's own wait, not work of the monitor */
#define TRACE_CHECKSUM_START UINT64_C(0x74726170657a6531)

/* What the address of an exit counts. */
enum trace_space {
    TRACE_SPACE_NONE,
    TRACE_SPACE_PORT,
    TRACE_SPACE_MEMORY,
    TRACE_SPACE_MSR,
    TRACE_SPACE_OTHER,       /* a number, such as a hypercall's */
    TRACE_SPACE_INSTRUCTION, /* sensitive instructions: the number says nothing, the name all */
    TRACE_SPACE_COUNT
};

/*
 * Behind it: the engine's name; for each kind a byte of trace_space, one of TRACE_KIND_… flags and
 * its name; for each device a byte of trace_space, its first address and its length (8 bytes each)
 * and its name. A name is a byte with its length, and so many bytes.
 */
struct trace_file_header {
    char magic[8];
    uint32_t version;
    uint32_t length;   /* of the header with the names */
    uint64_t checksum; /* of the header, this being 0, and the names */
    uint64_t ticks_per_second;
    uint64_t start_ticks;
    uint64_t start_unix_ns; /* the same moment as the wall clock has it */
    uint32_t vcpu_count;
    uint32_t kind_count;
    uint32_t device_count;
    uint32_t reserved; /* 0 */
};

enum trace_chunk_kind { TRACE_CHUNK_EXITS = 1, TRACE_CHUNK_END = 2 };

struct trace_chunk_header {
    uint32_t magic;
    uint16_t kind;
    uint16_t vcpu;   /* 0 in the last chunk */
    uint32_t length; /* of the payload in bytes */
    uint32_t records;
    uint64_t start_ticks; /* what the first record counts from; in the last chunk: the end */
    uint64_t lost;        /* exits that found no room between the chunk before and this one */
    uint64_t checksum;    /* of this header, this being 0, and the payload */
};

/* The payload of the last chunk is one for each vCPU. */
struct trace_vcpu_end {
    uint64_t records;
    uint64_t lost;
    uint64_t engine_ticks; /* spent in the engine: the guest running, or ready to */
};

_Static_assert(sizeof(struct trace_file_header) == 64 && sizeof(struct trace_chunk_header) == 40 &&
                   sizeof(struct trace_vcpu_end) == 24,
               "the file's layout has no padding");

/*
 * Extends a checksum, TRACE_CHECKSUM_START at first. Each step can be undone, so no change of a
 * single word goes unseen; it is against disks and copies, not against people.
 */
static inline uint64_t trace_checksum(uint64_t sum, const void *bytes, size_t length)
{
    const uint8_t *at = bytes;
    while (length != 0) {
        uint64_t word = 0;
        size_t part = length < sizeof(word) ? length : sizeof(word);
        memcpy(&word, at, part);
        sum = (sum ^ word) * UINT64_C(0x9fb21c651e98df25);
        sum ^= sum >> 32;
        at += part;
        length -= part;
    }
    return sum;
}

static inline uint64_t trace_chunk_checksum(struct trace_chunk_header header, const void *payload)
{
    header.checksum = 0;
    uint64_t sum = trace_checksum(TRACE_CHECKSUM_START, &header, sizeof(header));
    return trace_checksum(sum, payload, header.length);
}

/* bytes: header->length of them, the header included. */
static inline uint64_t trace_header_checksum(struct trace_file_header header, const void *bytes)
{
    header.checksum = 0;
    uint64_t sum = trace_checksum(TRACE_CHECKSUM_START, &header, sizeof(header));
    return trace_checksum(sum, (const uint8_t *)bytes + sizeof(header),
                          header.length - sizeof(header));
}

#endif
