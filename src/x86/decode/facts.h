/*
 * What a decoded instruction reads and writes of the general registers and the arithmetic flags.
 *
 * Purpose: data for a translator: which registers it must provide, which flags are still needed.
 * Source:  Intel SDM volume 1, "EFLAGS Cross-Reference"; volume 2, "Instruction Set Reference".
 * Owner:   the caller; struct x86_facts is plain data.
 * Thread:  any; the tables are constant. Freestanding.
 */
#ifndef TRAPEZE_X86_DECODE_FACTS_H
#define TRAPEZE_X86_DECODE_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "x86/decode/decode.h"

/*
 * Registers are bits by the decoder's numbers 0 to 15; AH to BH count as registers 0 to 3. A write
 * that leaves a part of the register, or all of it, as it was (8 and 16-bit destinations, CMOVcc,
 * BSF, REP LODS) is a read too. Base and index of a memory operand are read even if nothing uses
 * the address (NOP). Flags are X86_FLAGS_CF, PF, AF, ZF, SF and OF.
 */
struct x86_facts {
    uint32_t reads;           /* registers whose old value matters */
    uint32_t writes;          /* registers that may change */
    uint16_t flags_read;      /* flags whose old value matters to the operation */
    uint16_t flags_written;   /* flags that certainly do not keep their old value; undefined ones
                                 too, except where processors leave them (BT, IMUL, DIV, BSF …) */
    uint16_t flags_changed;   /* flags that may change: all of flags_written, undefined ones that
                                 processors leave, and more where a count (CL, rCX of REP) may be 0 */
    uint16_t flags_undefined; /* those of flags_changed that the manual leaves undefined */
    bool known; /* false: system and far control transfers; then every register and flag is read
                   and may change, and no flag is certainly written */
};

/*
 * Tells the facts of an instruction that x86_decode() has decoded in the same mode. Faults and
 * traps are not among them: whoever delivers one needs all registers and flags.
 */
void x86_instruction_facts(const struct x86_instruction *in, enum x86_decode_mode mode,
                           struct x86_facts *facts);

#endif
