/*
 * Segment descriptors and gates: from the bytes of a table to values, and back.
 *
 * Purpose: one place that knows how the fields are scattered. Checks (present, privilege, type)
 *          are the caller's.
 * Source:  Intel SDM volume 3, "Segment Descriptors", "System Descriptor Types", "Call Gates",
 *          "IDT Descriptors", "64-Bit Mode Call Gates", "64-Bit Mode IDT".
 * Owner:   values only. Thread: any. Freestanding.
 */
#ifndef TRAPEZE_X86_DESCRIPTOR_H
#define TRAPEZE_X86_DESCRIPTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "x86/state.h"

/* Type field with S = 0. In IA-32e mode only the 32-bit ones are left, and mean 64-bit. */
enum x86_system_type {
    X86_SYSTEM_TSS16_AVAILABLE = 0x1,
    X86_SYSTEM_LDT = 0x2,
    X86_SYSTEM_TSS16_BUSY = 0x3,
    X86_SYSTEM_CALL_GATE16 = 0x4,
    X86_SYSTEM_TASK_GATE = 0x5,
    X86_SYSTEM_INTERRUPT_GATE16 = 0x6,
    X86_SYSTEM_TRAP_GATE16 = 0x7,
    X86_SYSTEM_TSS_AVAILABLE = 0x9,
    X86_SYSTEM_TSS_BUSY = 0xb,
    X86_SYSTEM_CALL_GATE = 0xc,
    X86_SYSTEM_INTERRUPT_GATE = 0xe,
    X86_SYSTEM_TRAP_GATE = 0xf
};

/* Turns an available TSS descriptor's type into the busy one (both widths). */
#define X86_SYSTEM_TSS_BUSY_BIT 0x2u

/* A selector's parts. */
#define X86_SELECTOR_RPL   0x3u
#define X86_SELECTOR_TI    0x4u /* 1: the LDT */
#define X86_SELECTOR_INDEX 0xfff8u

/* Bits within the 8 bytes of a descriptor, read as one little-endian value. */
#define X86_DESCRIPTOR_TYPE_SHIFT 40
#define X86_DESCRIPTOR_ACCESSED   (UINT64_C(1) << 40)
#define X86_DESCRIPTOR_TSS_BUSY   (UINT64_C(1) << 41)
#define X86_DESCRIPTOR_S          (UINT64_C(1) << 44)
#define X86_DESCRIPTOR_P          (UINT64_C(1) << 47)
#define X86_DESCRIPTOR_L          (UINT64_C(1) << 53)
#define X86_DESCRIPTOR_DB         (UINT64_C(1) << 54)
#define X86_DESCRIPTOR_G          (UINT64_C(1) << 55)

/* The attribute bits of struct x86_segment that a descriptor stores: all but unusable. */
#define X86_DESCRIPTOR_ATTRIBUTES 0xf0ffu

/*
 * The hidden part of a segment register as loading it from a descriptor fills it in.
 *
 * raw:      the descriptor's 8 bytes.
 * selector: copied into the result.
 */
static inline struct x86_segment x86_segment_from_descriptor(uint64_t raw, uint16_t selector)
{
    uint32_t attributes = (uint32_t)(raw >> 40) & X86_DESCRIPTOR_ATTRIBUTES;
    uint32_t limit = (uint32_t)(raw & 0xffff) | ((uint32_t)(raw >> 32) & 0xf0000);
    if ((attributes & X86_SEGMENT_G) != 0) {
        limit = (limit << 12) | 0xfff;
    }
    return (struct x86_segment){
        .base = ((raw >> 16) & 0xffffff) | ((raw >> 32) & 0xff000000),
        .limit = limit,
        .attributes = attributes,
        .selector = selector,
    };
}

/*
 * The same for the 16-byte system descriptors of IA-32e mode (LDT, TSS): `high` is the second
 * eight bytes, which hold bits 63..32 of the base.
 */
static inline struct x86_segment x86_segment_from_descriptor64(uint64_t low, uint64_t high,
                                                               uint16_t selector)
{
    struct x86_segment segment = x86_segment_from_descriptor(low, selector);
    segment.base |= high << 32;
    return segment;
}

/*
 * The eight bytes that describe a segment; for the 16-byte form the first half.
 * The low 12 bits of the limit are lost when G is set, as the format has no place for them. An
 * unusable segment becomes a null descriptor.
 */
static inline uint64_t x86_segment_to_descriptor(const struct x86_segment *segment)
{
    if ((segment->attributes & X86_SEGMENT_UNUSABLE) != 0) {
        return 0;
    }
    uint64_t limit = segment->limit;
    if ((segment->attributes & X86_SEGMENT_G) != 0) {
        limit >>= 12;
    }
    return (limit & 0xffff) | ((limit & 0xf0000) << 32) | ((segment->base & 0xffffff) << 16) |
           ((segment->base & 0xff000000) << 32) |
           ((uint64_t)(segment->attributes & X86_DESCRIPTOR_ATTRIBUTES) << 40);
}

/* The second eight bytes of a 16-byte system descriptor. */
static inline uint64_t x86_segment_to_descriptor_high(const struct x86_segment *segment)
{
    return segment->base >> 32;
}

static inline unsigned int x86_segment_type(const struct x86_segment *segment)
{
    return segment->attributes & X86_SEGMENT_TYPE;
}

static inline unsigned int x86_segment_dpl(const struct x86_segment *segment)
{
    return (segment->attributes & X86_SEGMENT_DPL) >> X86_SEGMENT_DPL_SHIFT;
}

/* True for code segments (S = 1 and the type's top bit). */
static inline bool x86_segment_is_code(const struct x86_segment *segment)
{
    return (segment->attributes & (X86_SEGMENT_S | X86_TYPE_CODE)) ==
           (X86_SEGMENT_S | X86_TYPE_CODE);
}

/* The fields of the eight bytes that checks want before anything is loaded. */
static inline unsigned int x86_descriptor_type(uint64_t raw)
{
    return (unsigned int)(raw >> X86_DESCRIPTOR_TYPE_SHIFT) & 0xf;
}

static inline unsigned int x86_descriptor_dpl(uint64_t raw)
{
    return (unsigned int)(raw >> 45) & 3;
}

static inline bool x86_descriptor_present(uint64_t raw)
{
    return (raw & X86_DESCRIPTOR_P) != 0;
}

/* Code or data (S = 1), not a system descriptor. */
static inline bool x86_descriptor_is_segment(uint64_t raw)
{
    return (raw & X86_DESCRIPTOR_S) != 0;
}

/*
 * The exception that LLDT (or LTR) raises on a descriptor, with its selector as the error code; 0:
 * none. high: the second half of a 16-byte descriptor, 0 for one of 8 bytes.
 */
static inline uint8_t x86_system_descriptor_fault(uint64_t raw, uint64_t high, bool is_task,
                                                  bool ia32e)
{
    unsigned int type = x86_descriptor_type(raw);
    bool is_tss =
        type == X86_SYSTEM_TSS_AVAILABLE || (type == X86_SYSTEM_TSS16_AVAILABLE && !ia32e);
    if (!(is_task ? is_tss : type == X86_SYSTEM_LDT) || x86_descriptor_is_segment(raw) ||
        ((high >> 40) & 0x1f) != 0) {
        return X86_VECTOR_GP;
    }
    return x86_descriptor_present(raw) ? 0 : X86_VECTOR_NP;
}

/* A call, interrupt, trap or task gate. */
struct x86_gate {
    uint64_t offset; /* 16, 32 or 64 bits; 0 for a task gate */
    uint16_t selector;
    uint8_t type; /* enum x86_system_type */
    uint8_t dpl;
    uint8_t parameter_count; /* call gates outside IA-32e mode: words or doublewords to copy */
    uint8_t ist;             /* 64-bit interrupt and trap gates: interrupt stack table index */
    bool present;
    bool is_segment; /* S = 1: no gate at all */
};

/* Decodes an 8-byte gate (outside IA-32e mode); the type says how wide the offset is. */
static inline struct x86_gate x86_gate_from_descriptor(uint64_t raw)
{
    struct x86_gate gate = {
        .offset = raw & 0xffff,
        .selector = (uint16_t)(raw >> 16),
        .type = (uint8_t)x86_descriptor_type(raw),
        .dpl = (uint8_t)x86_descriptor_dpl(raw),
        .parameter_count = (uint8_t)((raw >> 32) & 0x1f),
        .present = x86_descriptor_present(raw),
        .is_segment = x86_descriptor_is_segment(raw),
    };
    if (gate.type >= X86_SYSTEM_CALL_GATE) {
        gate.offset |= (raw >> 32) & 0xffff0000;
    } else if (gate.type == X86_SYSTEM_TASK_GATE) {
        gate.offset = 0;
    }
    return gate;
}

/* Decodes the 16-byte gate of IA-32e mode. */
static inline struct x86_gate x86_gate_from_descriptor64(uint64_t low, uint64_t high)
{
    struct x86_gate gate = x86_gate_from_descriptor(low);
    gate.offset = (low & 0xffff) | ((low >> 32) & 0xffff0000) | (high << 32);
    gate.ist = (uint8_t)((low >> 32) & 7);
    gate.parameter_count = 0;
    return gate;
}

/*
 * "64-Bit Mode Call Gates": the type field of the second half (bits 8..12 of its upper
 * doubleword) must be zero, else the descriptor is refused with #GP.
 */
static inline bool x86_descriptor_high_valid(uint64_t high)
{
    return ((high >> 40) & 0x1f) == 0;
}

/* The first (or only) eight bytes of a gate. */
static inline uint64_t x86_gate_to_descriptor(const struct x86_gate *gate)
{
    uint64_t low_bits = gate->ist != 0 ? gate->ist : gate->parameter_count;
    uint64_t raw = (gate->offset & 0xffff) | ((uint64_t)gate->selector << 16) |
                   ((low_bits & 0x1f) << 32) | ((uint64_t)(gate->type & 0xf) << 40) |
                   ((uint64_t)(gate->dpl & 3) << 45) | (gate->present ? X86_DESCRIPTOR_P : 0);
    if (gate->type >= X86_SYSTEM_CALL_GATE) {
        raw |= (gate->offset & 0xffff0000) << 32;
    }
    return raw;
}

/* The second eight bytes of a 16-byte gate. */
static inline uint64_t x86_gate_to_descriptor_high(const struct x86_gate *gate)
{
    return gate->offset >> 32;
}

#endif
