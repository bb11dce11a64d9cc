#include "boot/aml.h"

#include <string.h>

/* "AML Byte Stream Byte Values" */
#define OP_NAME        0x08
#define OP_BYTE        0x0a
#define OP_WORD        0x0b
#define OP_DWORD       0x0c
#define OP_STRING      0x0d
#define OP_QWORD       0x0e
#define OP_SCOPE       0x10
#define OP_BUFFER      0x11
#define OP_PACKAGE     0x12
#define OP_DUAL_NAME   0x2e
#define OP_MULTI_NAME  0x2f
#define OP_EXTENDED    0x5b
#define OP_EXT_DEVICE  0x82
#define ROOT_CHARACTER '\\'
#define NAME_LENGTH    4
#define PKG_LENGTH_MAX 4

/* "Small Resource Data Type", "Large Resource Data Type": tag bytes with their lengths. */
#define RESOURCE_IRQ      0x22
#define RESOURCE_IO       0x47
#define RESOURCE_END      0x79
#define RESOURCE_MEMORY32 0x86
#define RESOURCE_DWORD    0x87
#define RESOURCE_WORD     0x88

/* "Address Space Resource Descriptors" */
#define SPACE_MEMORY          0
#define SPACE_IO              1
#define SPACE_BUS_NUMBER      2
#define SPACE_FIXED           0x0c /* _MIF, _MAF: neither end can move */
#define SPACE_MEMORY_WRITABLE 0x01 /* and not cacheable */
#define SPACE_IO_ENTIRE       0x03 /* neither ISA ranges only nor without them */

void aml_start(struct aml *aml, uint8_t *buffer, size_t capacity)
{
    *aml = (struct aml){.bytes = buffer, .capacity = capacity};
}

bool aml_finished(const struct aml *aml)
{
    return !aml->failed && aml->depth == 0;
}

static void append(struct aml *aml, const void *bytes, size_t length)
{
    if (aml->failed || length > aml->capacity - aml->length) {
        aml->failed = true;
        return;
    }
    memcpy(aml->bytes + aml->length, bytes, length);
    aml->length += length;
}

static void append_byte(struct aml *aml, unsigned int value)
{
    uint8_t byte = (uint8_t)value;
    append(aml, &byte, 1);
}

static void append_little_endian(struct aml *aml, uint64_t value, unsigned int size)
{
    for (unsigned int i = 0; i < size; i++) {
        append_byte(aml, (unsigned int)(value >> (8 * i)) & 0xff);
    }
}

/* Moves what follows `at` up and puts bytes there. */
static void insert(struct aml *aml, size_t at, const uint8_t *bytes, size_t length)
{
    if (aml->failed || length > aml->capacity - aml->length) {
        aml->failed = true;
        return;
    }
    memmove(aml->bytes + at + length, aml->bytes + at, aml->length - at);
    memcpy(aml->bytes + at, bytes, length);
    aml->length += length;
}

/*
 * "Package Length Encoding": the length counts its own bytes. One byte holds 6 bits; with n more
 * bytes the first one's low nibble holds the lowest 4 bits and says n in its top two.
 */
static size_t encode_package_length(size_t content, uint8_t encoded[PKG_LENGTH_MAX])
{
    if (content + 1 < 64) {
        encoded[0] = (uint8_t)(content + 1);
        return 1;
    }
    size_t more = content + 2 < (1u << 12) ? 1 : content + 3 < (1u << 20) ? 2 : 3;
    size_t total = content + 1 + more;
    encoded[0] = (uint8_t)(more << 6 | (total & 0xf));
    for (size_t i = 0; i < more; i++) {
        encoded[1 + i] = (uint8_t)(total >> (4 + 8 * i));
    }
    return 1 + more;
}

static void open_term(struct aml *aml)
{
    if (aml->depth == AML_DEPTH_MAX) {
        aml->failed = true;
        return;
    }
    aml->open[aml->depth++] = aml->length;
}

static size_t close_term(struct aml *aml)
{
    if (aml->depth == 0) {
        aml->failed = true;
        return aml->length;
    }
    return aml->open[--aml->depth];
}

void aml_end(struct aml *aml)
{
    uint8_t encoded[PKG_LENGTH_MAX];
    size_t start = close_term(aml);
    insert(aml, start, encoded, encode_package_length(aml->length - start, encoded));
}

/* "Name Objects Encoding" */
static void append_path(struct aml *aml, const char *path)
{
    if (*path == ROOT_CHARACTER) {
        append_byte(aml, ROOT_CHARACTER);
        path++;
    }
    size_t length = strlen(path);
    size_t names = (length + 1) / (NAME_LENGTH + 1);
    if (names == 0 || names > UINT8_MAX || length != names * (NAME_LENGTH + 1) - 1) {
        aml->failed = true;
        return;
    }
    if (names == 2) {
        append_byte(aml, OP_DUAL_NAME);
    } else if (names > 2) {
        append_byte(aml, OP_MULTI_NAME);
        append_byte(aml, (unsigned int)names);
    }
    for (size_t i = 0; i < names; i++) {
        append(aml, path + i * (NAME_LENGTH + 1), NAME_LENGTH);
    }
}

void aml_scope_begin(struct aml *aml, const char *path)
{
    append_byte(aml, OP_SCOPE);
    open_term(aml);
    append_path(aml, path);
}

void aml_device_begin(struct aml *aml, const char *path)
{
    append_byte(aml, OP_EXTENDED);
    append_byte(aml, OP_EXT_DEVICE);
    open_term(aml);
    append_path(aml, path);
}

void aml_package_begin(struct aml *aml, uint8_t elements)
{
    append_byte(aml, OP_PACKAGE);
    open_term(aml);
    append_byte(aml, elements);
}

void aml_name(struct aml *aml, const char *path)
{
    append_byte(aml, OP_NAME);
    append_path(aml, path);
}

void aml_integer(struct aml *aml, uint64_t value)
{
    if (value <= 1) {
        append_byte(aml, (unsigned int)value); /* ZeroOp, OneOp */
    } else if (value <= UINT8_MAX) {
        append_byte(aml, OP_BYTE);
        append_little_endian(aml, value, 1);
    } else if (value <= UINT16_MAX) {
        append_byte(aml, OP_WORD);
        append_little_endian(aml, value, 2);
    } else if (value <= UINT32_MAX) {
        append_byte(aml, OP_DWORD);
        append_little_endian(aml, value, 4);
    } else {
        append_byte(aml, OP_QWORD);
        append_little_endian(aml, value, 8);
    }
}

void aml_string(struct aml *aml, const char *text)
{
    append_byte(aml, OP_STRING);
    append(aml, text, strlen(text) + 1);
}

static unsigned int hexadecimal(char digit)
{
    return (unsigned int)(digit <= '9' ? digit - '0' : digit - 'A' + 10) & 0xf;
}

/* "EISAID (EISA ID String To Integer Conversion)": five bits a letter, big-endian. */
void aml_eisa_id(struct aml *aml, const char *id)
{
    if (strlen(id) != 7) {
        aml->failed = true;
        return;
    }
    uint32_t value = 0;
    for (unsigned int i = 0; i < 3; i++) {
        value = value << 5 | ((unsigned int)(id[i] - 'A' + 1) & 0x1f);
    }
    for (unsigned int i = 3; i < 7; i++) {
        value = value << 4 | hexadecimal(id[i]);
    }
    append_byte(aml, OP_DWORD);
    append_little_endian(aml, __builtin_bswap32(value), 4);
}

void aml_resources_begin(struct aml *aml)
{
    append_byte(aml, OP_BUFFER);
    open_term(aml);
}

void aml_resources_end(struct aml *aml)
{
    append_byte(aml, RESOURCE_END);
    append_byte(aml, 0); /* checksum: 0 means that there is none */

    /* In front of the bytes go their number and the PkgLength of both. */
    size_t start = close_term(aml);
    size_t length = aml->length - start;
    uint8_t head[PKG_LENGTH_MAX + 3];
    size_t size_length = length <= UINT8_MAX ? 2 : 3;
    size_t head_length = encode_package_length(length + size_length, head);
    head[head_length++] = length <= UINT8_MAX ? OP_BYTE : OP_WORD;
    head[head_length++] = (uint8_t)length;
    if (length > UINT8_MAX) {
        head[head_length++] = (uint8_t)(length >> 8);
    }
    insert(aml, start, head, head_length);
}

void aml_resource_io(struct aml *aml, uint16_t port, uint8_t length)
{
    append_byte(aml, RESOURCE_IO);
    append_byte(aml, 1); /* decodes 16 bits */
    append_little_endian(aml, port, 2);
    append_little_endian(aml, port, 2);
    append_byte(aml, 1); /* alignment */
    append_byte(aml, length);
}

void aml_resource_irq(struct aml *aml, unsigned int irq)
{
    append_byte(aml, RESOURCE_IRQ);
    append_little_endian(aml, UINT64_C(1) << (irq & 0xf), 2);
}

void aml_resource_memory32(struct aml *aml, uint32_t base, uint32_t length)
{
    append_byte(aml, RESOURCE_MEMORY32);
    append_little_endian(aml, 9, 2);
    append_byte(aml, 1); /* writable */
    append_little_endian(aml, base, 4);
    append_little_endian(aml, length, 4);
}

/* A "Word" (size 2) or "DWord" (size 4) "Address Space Descriptor" of a resource producer. */
static void append_address_space(struct aml *aml, unsigned int size, unsigned int space,
                                 unsigned int space_flags, uint32_t first, uint32_t last)
{
    append_byte(aml, size == 2 ? RESOURCE_WORD : RESOURCE_DWORD);
    append_little_endian(aml, 3 + 5 * size, 2);
    append_byte(aml, space);
    append_byte(aml, SPACE_FIXED);
    append_byte(aml, space_flags);
    append_little_endian(aml, 0, size); /* granularity */
    append_little_endian(aml, first, size);
    append_little_endian(aml, last, size);
    append_little_endian(aml, 0, size); /* translation offset */
    append_little_endian(aml, (uint64_t)last - first + 1, size);
}

void aml_resource_bus_numbers(struct aml *aml, uint16_t first, uint16_t last)
{
    append_address_space(aml, 2, SPACE_BUS_NUMBER, 0, first, last);
}

void aml_resource_io_window(struct aml *aml, uint16_t first, uint16_t last)
{
    append_address_space(aml, 2, SPACE_IO, SPACE_IO_ENTIRE, first, last);
}

void aml_resource_memory_window(struct aml *aml, uint32_t first, uint32_t last)
{
    append_address_space(aml, 4, SPACE_MEMORY, SPACE_MEMORY_WRITABLE, first, last);
}
