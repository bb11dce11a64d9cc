/*
 * Executable memory: the one place in the monitor that makes any.
 *
 * Purpose: hold generated code under W^X. Shared memory is mapped twice, once to write and once to
 *          execute; no address is ever both. Pages cost memory only once code is put into them.
 * Owner:   whoever created it. Code that was added stays until the whole is destroyed.
 * Thread:  code_memory_add: one at a time (the caller's lock). Running and asking: any.
 */
#ifndef TRAPEZE_ENGINES_SOFT_CODE_MEMORY_H
#define TRAPEZE_ENGINES_SOFT_CODE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct code_memory;

/*
 * size: bytes of address space for code; beside: for data behind the executable mapping, where code
 * reaches it relative to RIP if both together are less than 2 GByte. Multiples of the page size.
 * Returns 0 or -errno.
 */
int code_memory_create(size_t size, size_t beside, struct code_memory **out, struct error *error);
void code_memory_destroy(struct code_memory *memory); /* NULL is allowed */

/* Copies code in and returns where it can be called, 16-byte aligned; NULL when it is full. */
const void *code_memory_add(struct code_memory *memory, const uint8_t *code, size_t length);

/*
 * The whole in its two mappings, for who manages the space himself (and then does not use
 * code_memory_add).
 */
uint8_t *code_memory_writable(struct code_memory *memory);
const uint8_t *code_memory_executable(const struct code_memory *memory);
/* The data: zeroes to begin with, like code only there where it is used. */
uint8_t *code_memory_beside(const struct code_memory *memory);

/* True if an instruction pointer lies within. Async-signal-safe. */
bool code_memory_contains(const struct code_memory *memory, uintptr_t address);

/* Bytes in use. */
size_t code_memory_used(const struct code_memory *memory);

#endif
