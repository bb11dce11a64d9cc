/*
 * Memory operands: SIB and displacement after ModRM. Private to the decoder.
 *
 * Source:  Intel SDM volume 2, "Addressing-Mode Encoding of ModR/M and SIB Bytes".
 * Owner:   the caller. Thread: any. Freestanding.
 */
#ifndef TRAPEZE_X86_DECODE_ADDRESS_H
#define TRAPEZE_X86_DECODE_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "x86/decode/decode.h"

/*
 * Fills in base, index, scale, displacement and the default segment.
 *
 * next:        the byte after ModRM; moved past what was read.
 * rex:         X in bit 1 and B in bit 0, as in the REX prefix.
 * instruction: modrm, mod (not 3), address_size and shape are filled in already.
 *
 * Returns false if the bytes end before the operand does.
 */
bool x86_read_address(const uint8_t **next, const uint8_t *end, uint8_t rex, bool is_64,
                      struct x86_instruction *instruction);

#endif
