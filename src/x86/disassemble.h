/*
 * Instructions as text, for people: crash reports, traces, messages of tests.
 *
 * Purpose: Zydis writes the text, where it is installed; it is loaded for the call, or by whoever
 *          wants much text, so that the program runs without it.
 * Owner:   whoever opened a disassembler; one-off calls have no state.
 * Thread:  any; slow, never for a hot path.
 */
#ifndef TRAPEZE_X86_DISASSEMBLE_H
#define TRAPEZE_X86_DISASSEMBLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "x86/decode/decode.h"
#include "x86/state.h"

/* The mode of the code that a processor runs. */
enum x86_decode_mode disassemble_mode(const struct x86_state *state);

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

/* The loaded library, for text in bulk: constant, so that threads may share it. */
struct disassembler;

struct disassembler *disassembler_open(void);               /* NULL if there is none */
void disassembler_close(struct disassembler *disassembler); /* NULL is allowed */

/*
 * As above. Returns the length of the instruction, or 0 with an empty text; NULL for disassembler
 * is one to which nothing is an instruction.
 */
size_t disassembler_write(const struct disassembler *disassembler, enum x86_decode_mode mode,
                          uint64_t rip, const uint8_t *bytes, size_t n, char *text, size_t size);

#endif
