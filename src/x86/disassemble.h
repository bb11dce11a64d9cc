/*
 * Instructions as text, for people: crash reports, traces, messages of tests.
 *
 * Purpose: Zydis writes the text, where it is installed; it is loaded for the call, so that the
 *          program runs without it.
 * Owner:   no state. Thread: any; slow, never for a hot path.
 */
#ifndef TRAPEZE_X86_DISASSEMBLE_H
#define TRAPEZE_X86_DISASSEMBLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "x86/decode/decode.h"

/*
 * Writes the instruction at bytes[0] in Intel syntax into text.
 *
 * rip:  its address, which relative operands are resolved with.
 * n:    bytes that there are.
 * text: receives at most size bytes, the terminating zero included; size must not be 0.
 *
 * Returns false, with an empty text, if there is no disassembler or the bytes are no instruction
 * to it; the caller then shows the bytes.
 */
bool disassemble(enum x86_decode_mode mode, uint64_t rip, const uint8_t *bytes, size_t n,
                 char *text, size_t size);

#endif
