/*
 * From a form of instruction to the bytes of its thunk.
 *
 * Owner:   values only. Thread: any. For thunk_cache.c and tests.
 */
#ifndef TRAPEZE_ENGINES_SOFT_THUNK_EMIT_H
#define TRAPEZE_ENGINES_SOFT_THUNK_EMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engines/soft/thunk.h"

/* All that the code depends on, packed for comparison. */
struct thunk_form {
    uint64_t opcode_part;  /* see thunk_emit.c */
    uint64_t operand_part; /* immediate << 16 | X86_SHAPE_… */
};

#define THUNK_CODE_MAX 192u

struct thunk_code {
    uint8_t bytes[THUNK_CODE_MAX];
    size_t length;
};

struct thunk_form thunk_form_of_vector(const struct x86_instruction *in, enum x86_decode_mode mode);
struct thunk_form thunk_form_of_x87(uint8_t opcode, uint8_t modrm);

void thunk_emit(const struct thunk_form *form, struct thunk_code *code);

#endif
