/*
 * The instructions that are served on device memory, one row each: private to mmio_access.c.
 *
 * Source:  Intel SDM volume 2, "Instruction Set Reference".
 * Owner, thread: as mmio_access.h. Freestanding.
 */
#ifndef TRAPEZE_X86_MMIO_OPERATION_H
#define TRAPEZE_X86_MMIO_OPERATION_H

#include "x86/mmio_access.h"
#include "x86/registers.h"

enum mmio_kind {
    MMIO_KIND_MODRM,       /* one memory operand by ModRM */
    MMIO_KIND_STRING,      /* DS:rSI, ES:rDI */
    MMIO_KIND_ACCUMULATOR, /* MOV with moffs, XLAT */
    MMIO_KIND_PUSH,
    MMIO_KIND_POP
};

/* Reads access->value, writes access->write_value, access->after.gpr and .rflags. */
typedef void mmio_compute_function(const struct x86_instruction *in, struct mmio_access *access);

struct mmio_operation {
    mmio_compute_function *compute; /* NULL for strings and the stack: theirs are below */
    uint8_t kind;                   /* enum mmio_kind */
    bool reads, writes;             /* the ModRM operand; of a string, writes is to ES:rDI */
    bool by_direction;              /* the opcode tells which of both; see mmio_writes_modrm */
    bool reads_source, reads_destination; /* strings */
};

/* NULL if there is no row. */
const struct mmio_operation *mmio_operation_find(enum x86_operation operation);

/* What the instruction does to its ModRM operand: bit 1 of an opcode below 90H is its direction. */
bool mmio_reads_modrm(const struct mmio_operation *operation, const struct x86_instruction *in);
bool mmio_writes_modrm(const struct mmio_operation *operation, const struct x86_instruction *in);

mmio_compute_function mmio_compute_bit;

void mmio_compute_push(const struct mmio_mode *mode, const struct x86_instruction *in,
                       struct mmio_access *access);
void mmio_compute_pop(const struct mmio_mode *mode, const struct x86_instruction *in,
                      struct mmio_access *access);

/* One element; true if REP goes on with the next. */
bool mmio_compute_string(const struct x86_instruction *in, const struct mmio_operation *operation,
                         struct mmio_access *access);

static inline bool mmio_repeats(const struct x86_instruction *in)
{
    return (in->flags & (X86_INSTRUCTION_REP | X86_INSTRUCTION_REPNE)) != 0;
}

/* BT and its kin: 0F BA has the bit's number in the instruction. */
static inline bool mmio_bit_is_immediate(const struct x86_instruction *in)
{
    return in->opcode == 0xba;
}

/* All ones in the low size bytes (1 to 8). */
static inline uint64_t mmio_size_mask(unsigned int size)
{
    return UINT64_MAX >> (64 - 8 * size);
}

static inline int64_t mmio_sign_extend(uint64_t value, unsigned int size)
{
    unsigned int shift = 64 - 8 * size;
    return (int64_t)(value << shift) >> shift;
}

/* "Stack Address Size": how much of RSP counts. */
static inline uint64_t mmio_stack_mask(const struct mmio_mode *mode)
{
    if (mode->code == X86_DECODE_64) {
        return UINT64_MAX;
    }
    return (mode->segment[X86_SS].attributes & X86_SEGMENT_DB) != 0 ? UINT32_MAX : UINT16_MAX;
}

#endif
