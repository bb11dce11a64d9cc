/*
 * From a selector to the hidden part of a segment register: the steps every load shares.
 *
 * Purpose: fetch a descriptor, check it, and return what the register will hold. Nothing changes
 *          here, so that a caller can check all it loads before it commits any of it. Setting the
 *          accessed bits in memory (soft_mark_accessed) is the last step that may fault.
 * Source:  Intel SDM volume 3, "Segment Descriptors", "Privilege Level Checking When Accessing Data
 *          Segments", "Privilege Level Checking When Loading the SS Register", "Null Segment
 *          Selector Checking", "Segment Descriptor Tables in IA-32e Mode".
 * Owner, thread: the vCPU's.
 */
#ifndef TRAPEZE_ENGINES_SOFT_SEGMENT_LOAD_H
#define TRAPEZE_ENGINES_SOFT_SEGMENT_LOAD_H

#include "engines/soft/cpu.h"
#include "engines/soft/execute.h"
#include "x86/descriptor.h"

struct soft_descriptor {
    uint64_t low;
    uint64_t high;   /* of a 16-byte system descriptor, else 0 */
    uint64_t linear; /* where it lies */
};

/* What a segment register will hold, checked. Assign `segment` after soft_mark_accessed. */
struct soft_load {
    struct x86_segment segment;
    uint64_t type_byte; /* where the descriptor's accessed bit lies … */
    bool unmarked;      /* … and that it is not set yet */
};

/*
 * Which exception a bad selector raises, and EXT for its error code: loads by instructions raise
 * #GP, loads of an inner stack or by a task switch #TS.
 */
struct soft_blame {
    enum x86_vector invalid;
    uint32_t external; /* 0, or 1: EXT in the error code */
};

static inline bool soft_selector_is_null(uint16_t selector)
{
    return (selector & ~X86_SELECTOR_RPL) == 0;
}

static inline unsigned int soft_selector_rpl(uint16_t selector)
{
    return selector & X86_SELECTOR_RPL;
}

/* The error code that names a selector ("Error Code"). */
static inline uint32_t soft_selector_error(uint16_t selector, uint32_t external)
{
    return (selector & ~X86_SELECTOR_RPL) | external;
}

/* Linear addresses of tables are 32 bits wide outside IA-32e mode. */
static inline uint64_t soft_table_address(const struct soft_cpu *cpu, uint64_t address)
{
    return soft_long_mode(cpu) ? address : (uint32_t)address;
}

/* Reads 8 bytes. False: the index is beyond the table's limit, or there is no LDT. */
bool soft_fetch_descriptor(struct soft_cpu *cpu, uint16_t selector,
                           struct soft_descriptor *descriptor);

/*
 * Completes a system descriptor, fetched by the above: in IA-32e mode it has 16 bytes. False: its
 * second half is beyond the limit or carries a type that is not zero.
 */
bool soft_fetch_high(struct soft_cpu *cpu, uint16_t selector, struct soft_descriptor *descriptor);

/* The load that a checked descriptor makes. */
struct soft_load soft_load_of(const struct soft_cpu *cpu, const struct soft_descriptor *descriptor,
                              uint16_t selector);

/* Sets the accessed bit in the descriptor that a load came from. May raise #PF. */
void soft_mark_accessed(struct soft_cpu *cpu, const struct soft_load *load);

/* A load that needs no mark: a null selector, a paragraph. */
static inline struct soft_load soft_plain_load(struct x86_segment segment)
{
    return (struct soft_load){.segment = segment};
}

/* What a null selector leaves in a register. */
struct x86_segment soft_null_segment(uint16_t selector);

/* A null SS of 64-bit mode: it still tells the CPL. */
struct x86_segment soft_null_stack(uint16_t selector, unsigned int cpl);

/* Real-address and virtual-8086 mode: what loading the register gives. Never faults. */
struct x86_segment soft_real_segment(const struct soft_cpu *cpu, unsigned int segment,
                                     uint16_t selector);
struct x86_segment soft_virtual_8086_segment(uint16_t selector);

/* Checks a load of DS, ES, FS or GS at privilege level cpl, in protected mode. */
struct soft_load soft_check_data_segment(struct soft_cpu *cpu, uint16_t selector, unsigned int cpl,
                                         struct soft_blame blame);

/* Checks a load of SS for privilege level cpl, in protected mode; a null selector is refused. */
struct soft_load soft_check_stack_segment(struct soft_cpu *cpu, uint16_t selector, unsigned int cpl,
                                          struct soft_blame blame);

/*
 * True if a code segment can't be used in IA-32e mode: L and D together are reserved.
 */
static inline bool soft_code_is_reserved(const struct soft_cpu *cpu, uint64_t descriptor)
{
    return soft_long_mode(cpu) && (descriptor & X86_DESCRIPTOR_L) != 0 &&
           (descriptor & X86_DESCRIPTOR_DB) != 0;
}

static inline bool soft_descriptor_is_code(uint64_t descriptor)
{
    return x86_descriptor_is_segment(descriptor) &&
           (x86_descriptor_type(descriptor) & X86_TYPE_CODE) != 0;
}

/* Writable data, whichever way it expands. */
static inline bool soft_descriptor_is_stack(uint64_t descriptor)
{
    return x86_descriptor_is_segment(descriptor) &&
           (x86_descriptor_type(descriptor) & (X86_TYPE_CODE | X86_TYPE_WRITABLE)) ==
               X86_TYPE_WRITABLE;
}

static inline bool soft_descriptor_is_conforming(uint64_t descriptor)
{
    return (x86_descriptor_type(descriptor) & X86_TYPE_CONFORMING) != 0;
}

/*
 * Raises #GP(external) unless offset lies within the code segment's limit, or is canonical where
 * the segment is a 64-bit one.
 */
void soft_check_code_offset(struct soft_cpu *cpu, const struct x86_segment *code, uint64_t offset,
                            uint32_t external);

/* The hidden part of CS for a descriptor that was checked: its selector's RPL becomes cpl. */
struct soft_load soft_code_segment(const struct soft_cpu *cpu,
                                   const struct soft_descriptor *descriptor, uint16_t selector,
                                   unsigned int cpl);

/* A far pointer in memory: m16:16, m16:32, m16:64. Raises #UD for a register operand. */
struct soft_far_pointer {
    uint64_t offset;
    uint16_t selector;
};
struct soft_far_pointer soft_read_far_pointer(struct soft_cpu *cpu,
                                              const struct soft_instruction *in);

#endif
