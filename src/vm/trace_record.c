#include "vm/trace_record.h"

#include <string.h>

#include "vm/trace_format.h"

#define HEAD_BYTES       2u
#define VARINT_BYTES_MAX 10u

_Static_assert(HEAD_BYTES + 5 * VARINT_BYTES_MAX <= TRACE_RECORD_MAX, "a record fits");
_Static_assert(EXIT_REASON_COUNT <= TRACE_KINDS_MAX, "each reason is a kind");

static void describe_access(struct trace_record *record, uint64_t address, uint8_t size,
                            bool is_write)
{
    record->address = address;
    record->size = size & 15;
    record->flags = TRACE_RECORD_HAS_ADDRESS | TRACE_RECORD_HAS_VALUE;
    record->flags |= is_write ? TRACE_RECORD_WRITE : 0;
}

static void describe_pio(const struct vcpu_exit *exit, struct trace_record *record)
{
    describe_access(record, exit->pio.port, exit->pio.size, exit->pio.is_write);
    if (exit->pio.count != 0) {
        memcpy(&record->value, exit->pio.data, exit->pio.size > 4 ? 4 : exit->pio.size);
    }
    if (exit->pio.count != 1) {
        record->count = exit->pio.count;
        record->flags |= TRACE_RECORD_HAS_COUNT;
    }
}

static void describe_value(struct trace_record *record, uint64_t value)
{
    record->value = value;
    record->flags = TRACE_RECORD_HAS_VALUE;
}

void trace_record_describe(const struct vcpu_exit *exit, struct trace_record *record)
{
    *record = (struct trace_record){.kind = (uint8_t)exit->reason, .count = 1};
    switch (exit->reason) {
    case EXIT_PIO:
        describe_pio(exit, record);
        break;
    case EXIT_MMIO:
        describe_access(record, exit->mmio.address, exit->mmio.size, exit->mmio.is_write);
        memcpy(&record->value, exit->mmio.data, exit->mmio.size > 8 ? 8 : exit->mmio.size);
        break;
    case EXIT_RDMSR:
    case EXIT_WRMSR:
        describe_access(record, exit->msr.index, 8, exit->reason == EXIT_WRMSR);
        record->value = exit->msr.value;
        break;
    case EXIT_HYPERCALL:
        describe_value(record, exit->hypercall.result);
        record->address = exit->hypercall.number;
        record->flags |= TRACE_RECORD_HAS_ADDRESS;
        break;
    case EXIT_INSTRUCTION:
        record->address = exit->instruction.operation;
        record->flags = TRACE_RECORD_HAS_ADDRESS;
        break;
    case EXIT_ENTRY_FAILED:
        describe_value(record, exit->entry_failed.hardware_reason);
        break;
    case EXIT_SYSTEM_EVENT:
        describe_value(record, exit->system_event.type);
        break;
    case EXIT_INTERNAL:
        describe_value(record, exit->internal.code);
        break;
    case EXIT_DEBUG:
        describe_value(record, exit->debug.dr6);
        break;
    default:
        break; /* the kind says it all */
    }
}

static uint8_t *put_number(uint8_t *at, uint64_t number)
{
    while (number > 0x7f) {
        *at++ = (uint8_t)(number | 0x80);
        number >>= 7;
    }
    *at++ = (uint8_t)number;
    return at;
}

size_t trace_record_encode(const struct trace_record *record, uint8_t *bytes)
{
    uint8_t *at = bytes;
    *at++ = record->kind;
    *at++ = (uint8_t)(record->flags | record->size << TRACE_RECORD_SIZE_SHIFT);
    at = put_number(at, record->since);
    at = put_number(at, record->duration);
    if ((record->flags & TRACE_RECORD_HAS_ADDRESS) != 0) {
        at = put_number(at, record->address);
    }
    if ((record->flags & TRACE_RECORD_HAS_VALUE) != 0) {
        at = put_number(at, record->value);
    }
    if ((record->flags & TRACE_RECORD_HAS_COUNT) != 0) {
        at = put_number(at, record->count);
    }
    return (size_t)(at - bytes);
}

/* Bytes that are still to be read; good turns false when they end too soon or make no number. */
struct cursor {
    const uint8_t *at, *end;
    bool good;
};

static uint64_t take_number(struct cursor *cursor)
{
    uint64_t number = 0;
    for (unsigned int i = 0; i < VARINT_BYTES_MAX && cursor->at < cursor->end; i++) {
        uint64_t byte = *cursor->at++;
        if (i == VARINT_BYTES_MAX - 1 && byte > 1) {
            break; /* beyond 64 bits */
        }
        number |= (byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            return number;
        }
    }
    cursor->good = false;
    return 0;
}

size_t trace_record_decode(const uint8_t *bytes, size_t length, struct trace_record *record)
{
    if (length < HEAD_BYTES) {
        return 0;
    }
    struct cursor cursor = {.at = bytes + HEAD_BYTES, .end = bytes + length, .good = true};
    *record = (struct trace_record){.kind = bytes[0],
                                    .flags = bytes[1] & TRACE_RECORD_FLAGS,
                                    .size = bytes[1] >> TRACE_RECORD_SIZE_SHIFT,
                                    .count = 1};
    record->since = take_number(&cursor);
    record->duration = take_number(&cursor);
    if ((record->flags & TRACE_RECORD_HAS_ADDRESS) != 0) {
        record->address = take_number(&cursor);
    }
    if ((record->flags & TRACE_RECORD_HAS_VALUE) != 0) {
        record->value = take_number(&cursor);
    }
    if ((record->flags & TRACE_RECORD_HAS_COUNT) != 0) {
        uint64_t count = take_number(&cursor);
        record->count = (uint32_t)count;
        cursor.good = cursor.good && count <= UINT32_MAX;
    }
    return cursor.good ? (size_t)(cursor.at - bytes) : 0;
}
