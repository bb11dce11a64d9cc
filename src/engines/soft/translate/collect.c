/*
 * The instructions of a block, as they stand in guest memory.
 */
#include "engines/soft/block.h"
#include "engines/soft/translate/lockstep.h"
#include "engines/soft/translate/select.h"
#include "engines/soft/translate/translator.h"

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
    if (at->facts.known && at->in.execute != soft_undefined &&
        translate_can_select(cpu, unit, at)) {
        at->kind = UNIT_NATIVE;
    } else {
        at->kind = (flags & SOFT_ENDS_BLOCK) != 0 ? UNIT_CALLOUT_LAST : UNIT_CALLOUT;
    }
}

bool translate_collect(struct soft_cpu *cpu, struct unit *unit, uint64_t physical,
                       const uint8_t *host, uint16_t mode, unsigned int limit)
{
    struct soft_code_reader reader;
    soft_code_reader_start(&reader, physical, host);
    unit->count = 0;
    unit->physical = physical;
    unit->mode = mode;
    unit->ends_in_transfer = false;
    while (!unit->ends_in_transfer && unit->count < limit && reader.offset < SOFT_PAGE_SIZE) {
        struct unit_instruction *at = &unit->instruction[unit->count];
        memset(&at->in, 0, sizeof(at->in));
        enum x86_decode_result result = soft_code_reader_decode(cpu, &reader, &at->in);
        if (result == X86_DECODE_TRUNCATED) {
            break;
        }
        if (cpu->lockstep != NULL && unit->count > 0 && result == X86_DECODE_OK &&
            !lockstep_can_repeat(at->in.decoded.operation)) {
            break; /* what stands before it can still be compared */
        }
        at->offset = (uint16_t)reader.offset;
        classify(cpu, unit, at, result);
        unit->ends_in_transfer = at->kind == UNIT_CALLOUT_LAST ||
                                 (at->kind == UNIT_NATIVE && is_transfer(&at->in.decoded));
        reader.offset += at->in.decoded.length;
        unit->count++;
        if (cpu->lockstep != NULL && result == X86_DECODE_OK && may_change_mode(&at->in.decoded)) {
            break; /* both runs end behind it */
        }
    }
    unit->end = (uint16_t)reader.offset;
    return unit->count > 0;
}
