/*
 * MMX, SSE and AVX instructions of the guest, put together again from what the decoder says of
 * them.
 *
 * Purpose: only encodings that the manual documents are run: what a decoder accepts and a processor
 *          might not (fields that it ignores, prefixes without meaning) is left out. So a guest
 *          can't make the monitor's thread meet #UD.
 * Owner:   the caller. Thread: any.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TRANSLATE_EMIT_VECTOR_H
#define TRAPEZE_ENGINES_SOFT_TRANSLATE_EMIT_VECTOR_H

#include "engines/soft/translate/emit.h"

/*
 * in:     X86_OP_MMX, X86_OP_SSE or X86_OP_AVX, decoded in 64-bit mode or not. Register operands
 * keep their numbers. memory: takes the place of its memory operand; NULL if it has none.
 */
void emit_vector(struct emitter *emitter, const struct x86_instruction *in, bool is_64bit,
                 const struct emit_memory *memory);

#endif
