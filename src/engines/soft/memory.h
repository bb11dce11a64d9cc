/*
 * The software CPU's view of memory: linear addresses, checked, translated, atomic where asked.
 *
 * Purpose: the only way an instruction reaches guest memory. Everything here may raise #PF (or #GP,
 *          #SS, #AC for the segmented forms) and then does not return, and may leave the run loop
 *          for MMIO and restart the instruction later (cpu.h).
 * Source:  Intel SDM volume 3, "Paging", "Protection", "Bus Locking".
 * Owner:   the vCPU. Thread: its own.
 */
#ifndef TRAPEZE_ENGINES_SOFT_MEMORY_H
#define TRAPEZE_ENGINES_SOFT_MEMORY_H

#include "engines/soft/cpu.h"
#include "engines/soft/execute.h"

enum soft_access { SOFT_READ, SOFT_WRITE, SOFT_FETCH };

/* --- segmented: offset in a segment to a checked linear address --- */

/*
 * Checks [offset, offset + size) against the segment's type, limit and (64-bit mode) canonicality,
 * alignment if #AC is enabled, and returns the linear address. Raises #GP(0) or #SS(0), #AC(0).
 */
uint64_t soft_linear(struct soft_cpu *cpu, unsigned int segment, uint64_t offset, unsigned int size,
                     enum soft_access access);

/* The offset that ModRM/SIB/displacement name, cut to the address size. No checks. */
uint64_t soft_effective_address(const struct soft_cpu *cpu, const struct x86_instruction *in);

/* The two together for the ModRM memory operand. */
uint64_t soft_operand_linear(struct soft_cpu *cpu, const struct x86_instruction *in,
                             unsigned int size, enum soft_access access);

/* --- linear, at the current privilege. size 1, 2, 4, 8; any alignment, page crossings too --- */

uint64_t soft_read(struct soft_cpu *cpu, uint64_t linear, unsigned int size);
void soft_write(struct soft_cpu *cpu, uint64_t linear, uint64_t value, unsigned int size);

/* Any length up to 4096: all pages are checked before the first byte is written. */
void soft_read_bytes(struct soft_cpu *cpu, uint64_t linear, void *buffer, size_t length);
void soft_write_bytes(struct soft_cpu *cpu, uint64_t linear, const void *buffer, size_t length);

/* Raises what a write of [linear, linear + length) would raise, and writes nothing. */
void soft_check_write(struct soft_cpu *cpu, uint64_t linear, size_t length);

/*
 * As the processor itself, whatever the CPL: descriptor tables, TSS, interrupt stacks ("implicit
 * supervisor accesses": SMAP is not lifted by EFLAGS.AC).
 */
uint64_t soft_system_read(struct soft_cpu *cpu, uint64_t linear, unsigned int size);
void soft_system_write(struct soft_cpu *cpu, uint64_t linear, uint64_t value, unsigned int size);
void soft_system_check_write(struct soft_cpu *cpu, uint64_t linear, size_t length);
/*
 * Changes one byte as a locked access: the accessed bit of a descriptor, the busy bit of a TSS.
 * Returns the byte before. May raise what a write raises, before anything changed.
 */
uint8_t soft_system_update(struct soft_cpu *cpu, uint64_t linear, uint8_t clear, uint8_t set);

/* At another privilege level: stacks of inner levels (user = a CPL of 3). */
void soft_write_as(struct soft_cpu *cpu, bool user, uint64_t linear, uint64_t value,
                   unsigned int size);
void soft_check_write_as(struct soft_cpu *cpu, bool user, uint64_t linear, size_t length);

/* --- read, modify, write --- */

/*
 * begin translates for writing (so a read-only page faults as a write) and gives a host address at
 * which size (1..16) bytes may be read and changed, with host atomics for LOCK. It is the guest's
 * memory itself; for page-crossing operands and MMIO it is a copy, made while every other vCPU
 * stands still if locked is asked for. end stores the copy back and sees to modified code.
 * Nothing between begin and end may raise.
 */
struct soft_rmw {
    void *host;
    uint64_t linear;
    unsigned int size;
    bool is_copy, exclusive;
    uint8_t copy[16];
};
void soft_rmw_begin(struct soft_cpu *cpu, struct soft_rmw *rmw, uint64_t linear, unsigned int size,
                    bool locked);
void soft_rmw_end(struct soft_cpu *cpu, struct soft_rmw *rmw);

/* --- string instructions: as much as lies in one page --- */

/*
 * A host pointer for reading or writing at linear and, in *available, the bytes up to the end of
 * the page; NULL if only the general functions will do (MMIO, a page with code, for writes).
 * Raises as an access of 1 byte. The pointer is good until the instruction ends. After writing
 * through it call soft_chunk_written (another vCPU may have begun to execute the page meanwhile).
 */
uint8_t *soft_chunk(struct soft_cpu *cpu, uint64_t linear, enum soft_access access,
                    uint64_t *available);
void soft_chunk_written(struct soft_cpu *cpu, uint64_t linear, uint64_t length);

/* --- operands --- */

/* The r/m operand of an instruction: a register when mod = 3, else memory. */
uint64_t soft_read_rm(struct soft_cpu *cpu, const struct x86_instruction *in, unsigned int size);
void soft_write_rm(struct soft_cpu *cpu, const struct x86_instruction *in, unsigned int size,
                   uint64_t value);

/* --- stack --- */

/* 2, 4 or 8: how wide SP is (64-bit mode 8, else by SS.B). */
unsigned int soft_stack_width(const struct soft_cpu *cpu);
/* Adds to RSP within the stack's width. */
void soft_add_rsp(struct soft_cpu *cpu, int64_t delta);
/* The write comes first, then RSP changes. size 2, 4, 8. */
void soft_push(struct soft_cpu *cpu, uint64_t value, unsigned int size);
uint64_t soft_pop(struct soft_cpu *cpu, unsigned int size);
/* Reads at SS:RSP + displacement without moving RSP. */
uint64_t soft_stack_peek(struct soft_cpu *cpu, uint64_t displacement, unsigned int size);

/* --- translation lookaside buffers --- */

/*
 * CR3 has been written: goes over to the PCID that it names. keep (its bit 63): the entries of that
 * PCID stay, else those go that are not global.
 */
void soft_tlb_switch(struct soft_cpu *cpu, bool keep);
void soft_tlb_flush_all(struct soft_cpu *cpu);        /* of all PCIDs, global entries too */
void soft_tlb_flush_non_global(struct soft_cpu *cpu); /* of all PCIDs */
void soft_tlb_flush_context(struct soft_cpu *cpu, uint16_t pcid); /* what is not global */
/* The page's entries of the current PCID, and global ones (INVLPG); those of any PCID. */
void soft_tlb_flush_page(struct soft_cpu *cpu, uint64_t linear);
void soft_tlb_flush_page_of(struct soft_cpu *cpu, uint16_t pcid, uint64_t linear);

/*
 * A copy to guest physical memory, as the CPU's own devices make it (paravirtual clock); false if
 * any of it is not RAM.
 */
bool soft_physical_write(struct soft_cpu *cpu, uint64_t address, const void *buffer, size_t length);

#endif
