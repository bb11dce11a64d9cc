/*
 * Little-endian fields at any alignment in byte buffers.
 *
 * Purpose: boot headers and tables are byte layouts fixed by documents; they are read and written
 *          by offset, never by casting a pointer to a struct.
 * Owner, thread: the caller's buffers. The host is x86, so no byte is swapped.
 */
#ifndef TRAPEZE_BOOT_BYTES_H
#define TRAPEZE_BOOT_BYTES_H

#include <stdint.h>
#include <string.h>

static inline uint16_t bytes_get16(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static inline uint32_t bytes_get32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static inline uint64_t bytes_get64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static inline void bytes_put16(uint8_t *at, uint16_t value)
{
    memcpy(at, &value, sizeof(value));
}

static inline void bytes_put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
}

static inline void bytes_put64(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, sizeof(value));
}

#endif
