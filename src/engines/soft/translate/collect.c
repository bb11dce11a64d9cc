/*
 * The instructions of a block, as they stand in guest memory.
 */
#include "engines/soft/block.h"
#include "engines/soft/translate/lockstep.h"
#include "engines/soft/translate/select.h"
#include "engines/soft/translate/translator.h"
#include "engines/soft/trap.h"

#include <string.h>

/* Never falls through to the next instruction. */
static bool is_transfer(const struct x86_instruction *in)
{
    switch ((enum x86_operation)in->operation) {
    case X86_OP_JMP:
    case X86_OP_JMP_INDIRECT:
    case X86_OP_CALL:
    case X86_OP_CALL_INDIRECT:
    case X86_OP_RET:
        return true;
    default:
        return false;
    }
}

/* It may change what the block's mode was made from, and then leaves the block. */
static bool may_change_mode(const struct x86_instruction *in)
{
    return in->operation == X86_OP_LDMXCSR || in->operation == X86_OP_FXRSTOR ||
           (in->operation == X86_OP_X87 && select_x87_may_change_masks(in));
}

static bool ends_unit(const struct unit_instruction *at)
{
    return at->kind == UNIT_CALLOUT_LAST ||
           (at->kind == UNIT_NATIVE && is_transfer(&at->in.decoded));
}

/*
 * Ends the interpreter's blocks, but whoever runs it here sees by RIP and attention whether the
 * block may go on behind it.
 */
static bool may_go_on_behind(const struct x86_instruction *in)
{
    switch ((enum x86_operation)in->operation) {
    case X86_OP_MOVS:
    case X86_OP_CMPS:
    case X86_OP_STOS:
    case X86_OP_LODS:
    case X86_OP_SCAS:
    case X86_OP_CPUID:
        return true;
    default:
        return false;
    }
}

static void classify(struct soft_cpu *cpu, struct unit *unit, struct unit_instruction *at,
                     enum x86_decode_result result)
{
    unsigned int flags = soft_instruction_prepare(cpu, &at->in, result);
    if (result != X86_DECODE_OK) {
        memset(&at->facts, 0, sizeof(at->facts));
        at->kind = UNIT_CALLOUT_LAST;
        return;
    }
    x86_instruction_facts(&at->in.decoded, unit->mode & SOFT_MODE_DECODE, &at->facts);
    if (at->facts.known && at->in.execute != soft_undefined && at->in.execute != soft_trap &&
        translate_can_select(cpu, unit, at)) {
        at->kind = UNIT_NATIVE;
    } else {
        bool last = (flags & SOFT_ENDS_BLOCK) != 0 && !may_go_on_behind(&at->in.decoded);
        at->kind = last ? UNIT_CALLOUT_LAST : UNIT_CALLOUT;
    }
}

/* The one instruction that stands at the reader's place and goes on in the next page. */
static bool collect_across(struct soft_cpu *cpu, struct unit *unit,
                           const struct soft_code_reader *reader)
{
    struct unit_instruction *at = &unit->instruction[0];
    struct soft_translation next = soft_block_fetch_next(cpu);
    if (next.host == NULL ||
        soft_code_reader_decode_across(cpu, reader, &next, &at->in) != X86_DECODE_OK) {
        return false;
    }
    at->offset = (uint16_t)reader->offset;
    classify(cpu, unit, at, X86_DECODE_OK);
    unit->crosses = true;
    unit->second = next.physical >> 12;
    unit->ends_in_transfer = ends_unit(at);
    unit->end = (uint16_t)(reader->offset + at->in.decoded.length);
    unit->count = 1;
    return true;
}

bool translate_collect(struct soft_cpu *cpu, struct unit *unit, uint64_t physical,
                       const uint8_t *host, uint16_t mode, unsigned int limit)
{
    struct soft_code_reader reader;
    soft_code_reader_start(&reader, physical, host);
    unit->count = 0;
    unit->physical = physical;
    unit->mode = mode;
    unit->ends_in_transfer = unit->end_crosses = unit->crosses = false;
    while (!unit->ends_in_transfer && unit->count < limit && reader.offset < SOFT_PAGE_SIZE) {
        struct unit_instruction *at = &unit->instruction[unit->count];
        memset(&at->in, 0, sizeof(at->in));
        enum x86_decode_result result = soft_code_reader_decode(cpu, &reader, &at->in);
        if (result == X86_DECODE_TRUNCATED && unit->count == 0) {
            return collect_across(cpu, unit, &reader);
        }
        if (result == X86_DECODE_TRUNCATED) {
            unit->end_crosses = true;
            break;
        }
        if (cpu->lockstep != NULL && unit->count > 0 && result == X86_DECODE_OK &&
            !lockstep_can_repeat(at->in.decoded.operation)) {
            break; /* what stands before it can still be compared */
        }
        at->offset = (uint16_t)reader.offset;
        classify(cpu, unit, at, result);
        unit->ends_in_transfer = ends_unit(at);
        reader.offset += at->in.decoded.length;
        unit->count++;
        if (cpu->lockstep != NULL && result == X86_DECODE_OK && may_change_mode(&at->in.decoded)) {
            break; /* both runs end behind it */
        }
    }
    unit->end = (uint16_t)reader.offset;
    return unit->count > 0;
}
