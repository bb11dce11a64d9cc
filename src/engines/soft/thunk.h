/*
 * Native code that runs one guest instruction on the host's own CPU.
 *
 * Purpose: vector, MMX and x87 instructions have no semantics written in C. A thunk loads the
 *          operands from where pointers say into registers of its own choice, runs the guest's
 *          opcode on these, and stores what the instruction writes. The choice of registers being
 *          fixed, all guest instructions of one form (opcode, prefix, W, L, immediate; memory or
 *          register) share one thunk, so there are only so many: some 80,000 at the very most,
 *          most of them for the values of immediate bytes.
 * Owner:   the cache belongs to the VM. Thread: lookups from any vCPU's; a lock inside.
 *
 * What the instruction raises on the host comes back as the thunk's value: native_fault.h.
 */
#ifndef TRAPEZE_ENGINES_SOFT_THUNK_H
#define TRAPEZE_ENGINES_SOFT_THUNK_H

#include <stdint.h>

#include "base/error.h"
#include "x86/decode/decode.h"

struct soft_fpu;
struct thunk_cache;
struct code_memory;

/*
 * The operands, by their place in the encoding. Pointers that the form does not use may be NULL.
 *
 * reg:   ModRM.reg: 8 bytes (general, MMX) or a vector register (32 bytes).
 * rm:    ModRM.rm likewise; for memory forms the bytes of the operand.
 * vvvv:  likewise; PCMPxSTRx: the 16 general registers.
 * extra: the register that imm8[7:4] names, or XMM0 where that is implied.
 * fpu:   for MXCSR.
 *
 * Vector registers are read and written whole by VEX forms, their lower halves by legacy ones.
 *
 * Returns THUNK_FAULT and a host signal's number in the low byte, or, for forms that write the
 * arithmetic flags, these as struct soft_cpu keeps them in `arithmetic`, else 0. After a fault no
 * operand has changed; MXCSR has.
 */
typedef uint32_t thunk_function(void *reg, void *rm, void *vvvv, void *extra, struct soft_fpu *fpu);

#define THUNK_FAULT (UINT32_C(1) << 31)

int thunk_cache_create(struct thunk_cache **out, struct error *error);
void thunk_cache_destroy(struct thunk_cache *cache); /* NULL is allowed */

/* The thunk for a vector or MMX instruction; NULL when there is no memory for it. */
const void *thunk_for_vector(struct thunk_cache *cache, const struct x86_instruction *in,
                             enum x86_decode_mode mode);

/*
 * The thunk for an x87 instruction, which runs on the host's live x87 registers. rm points at the
 * memory operand. reg points at the arithmetic flags (struct soft_cpu's) for FCMOVcc and
 * FCOMI.
 */
const void *thunk_for_x87(struct thunk_cache *cache, uint8_t opcode, uint8_t modrm);

/* For native_fault.c. */
const struct code_memory *thunk_cache_memory(const struct thunk_cache *cache);

/* Which operand of a vector instruction is written. */
enum thunk_destination {
    THUNK_DESTINATION_REG,
    THUNK_DESTINATION_RM,
    THUNK_DESTINATION_VVVV,
    THUNK_DESTINATION_IMPLIED /* PCMPxSTRx: ECX or XMM0 */
};
enum thunk_destination thunk_destination(const struct x86_instruction *in);

#endif
