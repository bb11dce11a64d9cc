/*
 * What Zydis says of an instruction, compared with what the decoder says.
 *
 * Owner:  no state. Thread: any.
 */
#ifndef TRAPEZE_TESTS_DECODE_ORACLE_H
#define TRAPEZE_TESTS_DECODE_ORACLE_H

#include <stddef.h>
#include <stdint.h>

#include "x86/decode/decode.h"

struct decode_oracle;

/* NULL when the test was built without Zydis. */
struct decode_oracle *decode_oracle_open(void);
void decode_oracle_close(struct decode_oracle *oracle);

/*
 * Compares one instruction.
 *
 * length: receives the length that Zydis sees, 0 if it sees none; may be NULL.
 *
 * Returns NULL if both agree or differ for a reason that is listed in decode_oracle.c, else the
 * name of what differs.
 */
const char *decode_oracle_compare(const struct decode_oracle *oracle, enum x86_decode_mode mode,
                                  const uint8_t *bytes, size_t available, uint8_t *length);

/* Zydis's mnemonic, for messages. */
const char *decode_oracle_mnemonic(const struct decode_oracle *oracle, enum x86_decode_mode mode,
                                   const uint8_t *bytes, size_t available);

#endif
