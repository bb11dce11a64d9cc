/*
 * What an instruction that met a device's memory wants of it, and what the instruction then does.
 *
 * Purpose: hardware that leaves the guest because of an access (an EPT violation) tells the address
 *          but not the value, nor the register that waits for it. This takes the decoded
 *          instruction apart: which accesses it makes, what it writes, and the registers after.
 * Source:  Intel SDM volume 2, "Instruction Set Reference"; volume 1, "EFLAGS Register".
 * Owner:   the caller; plain data, nothing is kept between calls.
 * Thread:  any. Freestanding.
 *
 * How it is used:
 *   1. mmio_access_plan()      where it reads and writes; nothing has changed
 *   2. the caller fills in value[] from device or memory, as the linear addresses say
 *   3. mmio_access_compute()   write_value and the registers after
 *   4. the caller writes write_value, if has_write
 *   5. the caller makes `after` the registers: the instruction, or one element of a repeated string
 *      instruction, is complete. If 2 or 4 fail, nothing has happened.
 *
 * It serves what compilers and kernels use on device memory: moves, arithmetic, bits, exchanges,
 * PUSH, POP and the string instructions, up to 8 bytes. The rest (vectors, x87, shifts, branches,
 * system instructions) is MMIO_ACCESS_UNSERVED. Left to the caller: single steps (RFLAGS.TF), the
 * shadow of STI and MOV SS, alignment checks, and accesses that cross a page. A LOCKed instruction
 * is a read and a write like any other.
 */
#ifndef TRAPEZE_X86_MMIO_ACCESS_H
#define TRAPEZE_X86_MMIO_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "x86/decode/decode.h"
#include "x86/state.h"

/* What an instruction of this kind can change. */
struct mmio_registers {
    uint64_t gpr[X86_GPR_COUNT];
    uint64_t rip; /* before: of the instruction; relative to CS */
    uint64_t rflags;
};

/* What addresses depend on. */
struct mmio_mode {
    enum x86_decode_mode code; /* as the instruction was decoded */
    bool real_or_v86;          /* CR0.PE = 0 or RFLAGS.VM = 1: no types, no null selectors */
    uint8_t linear_bits;       /* 48, or 57 with CR4.LA57; matters in 64-bit mode only */
    const struct x86_segment *segment; /* ES to GS, by enum x86_segment_register */
};

struct mmio_operand {
    uint64_t linear;
    uint8_t size; /* 1, 2, 4 or 8 bytes */
};

#define MMIO_READS_MAX 2

struct mmio_access {
    struct mmio_operand read[MMIO_READS_MAX]; /* to be made in this order */
    struct mmio_operand write;                /* if has_write, after the reads */
    uint64_t value[MMIO_READS_MAX]; /* what was read; bits beyond the size do not matter */
    uint64_t write_value;
    struct mmio_registers after;
    uint8_t read_count; /* 0 with REP and a count of zero, and for CLFLUSH: nothing to access */
    bool has_write;
    uint8_t vector;  /* MMIO_ACCESS_FAULT: X86_VECTOR_GP or X86_VECTOR_SS; the error code is 0 */
    const char *why; /* MMIO_ACCESS_UNSERVED: a string constant that ends a sentence */
};

enum mmio_access_result {
    MMIO_ACCESS_OK,
    MMIO_ACCESS_FAULT,   /* an operand that its segment, or canonical form, does not allow */
    MMIO_ACCESS_UNSERVED /* no such access is served for this instruction */
};

/*
 * Tells which accesses an instruction makes.
 *
 * before: the registers as the instruction found them.
 * access: filled in, but for value and write_value; `after` is a copy of *before that
 *         mmio_access_compute() goes on with.
 */
enum mmio_access_result mmio_access_plan(const struct mmio_mode *mode,
                                         const struct x86_instruction *in,
                                         const struct mmio_registers *before,
                                         struct mmio_access *access);

/*
 * Carries the instruction out on values: fills in write_value and brings `after` up to date. Once
 * for each plan that was MMIO_ACCESS_OK, with its value[] filled in.
 */
void mmio_access_compute(const struct mmio_mode *mode, const struct x86_instruction *in,
                         struct mmio_access *access);

#endif
