/*
 * Blocks: runs of predecoded instructions, cached by guest physical address and mode.
 *
 * Purpose: decode each instruction once. A block begins where control enters, follows the fall-
 *          through path past conditional branches, and ends at an unconditional one, at an
 *          instruction that may change the mode, or at the end of the page. An instruction that
 *          crosses a page is run from a one-instruction block that is not cached.
 * Owner:   one vCPU; a bounded arena. Blocks are dropped by page when code changes, all at once
 * when the arena is full; a dropped block's memory stays until then, so running code never loses
 * the ground under its feet. Thread:  the vCPU's own.
 */
#ifndef TRAPEZE_ENGINES_SOFT_BLOCK_H
#define TRAPEZE_ENGINES_SOFT_BLOCK_H

#include "engines/soft/op.h"
#include "engines/soft/translate.h"

struct soft_block_cache;

struct soft_block_statistics {
    uint64_t built, dropped, flushes, arena_bytes;
};

int soft_block_cache_create(struct soft_cpu *cpu);
void soft_block_cache_destroy(struct soft_cpu *cpu);

/*
 * Linear addresses may mean other memory from now on (TLB flushes): all of them under every PCID,
 * or those in the same half as one, under the current PCID if that is the lower. Blocks themselves
 * stay.
 */
void soft_block_cache_forget_addresses(struct soft_cpu *cpu);
void soft_block_cache_forget_half(struct soft_cpu *cpu, uint64_t linear);

/* Drops the blocks that hold code of a physical page; page = address >> 12. */
void soft_block_cache_drop_page(struct soft_cpu *cpu, uint64_t page);
void soft_block_cache_drop_all(struct soft_cpu *cpu);

/*
 * The first op to run at cpu->rip, with gpr[SOFT_GPR_CODE] set; builds the block if need be. Raises
 * #PF, #GP (limit, canonicality, too long), #UD only when its first instruction can't be fetched or
 * decoded. cpu->link_from, the branch that led here, is linked to it.
 */
const struct soft_op *soft_block_enter(struct soft_cpu *cpu);

/* Does a linear address lead to the block that begins with these ops, as far as is known now? */
bool soft_block_is_at(const struct soft_cpu *cpu, const struct soft_op *ops, uint64_t rip);

/* --- for the translator, which reads code as blocks are built --- */

/* Where the byte at cpu->rip lies. Raises #PF, #GP. */
struct soft_translation soft_block_fetch(struct soft_cpu *cpu);
/*
 * Where the byte at the next page's start lies, which an instruction at cpu->rip reaches into.
 * Raises #PF. host is NULL if that is no place for translated code, or no place at all.
 */
struct soft_translation soft_block_fetch_next(struct soft_cpu *cpu);

/* Reads instructions one after the other, up to the end of a page. */
struct soft_code_reader {
    uint64_t physical; /* of the page */
    const uint8_t *host;
    unsigned int offset; /* in the page, of the next instruction */
    unsigned int marked; /* granules up to this offset are marked */
};

/* physical, host: of the first byte */
void soft_code_reader_start(struct soft_code_reader *reader, uint64_t physical,
                            const uint8_t *host);
/*
 * Decodes what stands at reader->offset, from a copy that nobody else can change; the bytes are
 * marked as code. Fills in->decoded and in->bytes.
 */
enum x86_decode_result soft_code_reader_decode(struct soft_cpu *cpu,
                                               struct soft_code_reader *reader,
                                               struct soft_instruction *in);
/*
 * The same for an instruction of which that has found only the beginning: its rest is at `next`,
 * the start of another page.
 */
enum x86_decode_result soft_code_reader_decode_across(struct soft_cpu *cpu,
                                                      const struct soft_code_reader *reader,
                                                      const struct soft_translation *next,
                                                      struct soft_instruction *in);
/* Decides how tier 2 runs it (in->execute); returns SOFT_ENDS_BLOCK or 0. */
unsigned int soft_instruction_prepare(struct soft_cpu *cpu, struct soft_instruction *in,
                                      enum x86_decode_result result);

/* Fetches, decodes and runs the instruction at cpu->rip through tier 2, without the cache. Returns
   what it was. */
enum x86_operation soft_run_single(struct soft_cpu *cpu);

/* The same for the bytes of one instruction, whatever stands at cpu->rip by now. */
void soft_run_bytes(struct soft_cpu *cpu, const uint8_t *bytes, unsigned int length);

void soft_block_cache_statistics(const struct soft_block_cache *cache,
                                 struct soft_block_statistics *statistics);

#endif
