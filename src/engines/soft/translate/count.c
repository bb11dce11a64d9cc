/*
 * Counters in translated code, for --stats: nothing is emitted unless struct soft_options.count
 * asks for it. Flags stay as they are where the guest's may be in EFLAGS: sums are made by LEA.
 */
#include "engines/soft/translate/generate.h"

#include "engines/soft/vm.h"

static void add(struct generate *generate, struct emit_memory counter, int32_t value,
                unsigned int scratch)
{
    struct emitter *emitter = &generate->emitter;
    generate->cached[scratch - T0] = false;
    emit_load(emitter, scratch, counter, 8);
    emit_load_effective(emitter, scratch, emit_at(scratch, value), 8);
    emit_store(emitter, counter, scratch, 8);
}

void generate_count_block(struct generate *generate)
{
    if (generate->counts) {
        add(generate, GS_FIELD(statistics.blocks_run), 1, T0);
    }
}

void generate_count_instructions(struct generate *generate, unsigned int done, unsigned int scratch)
{
    if (generate->counts && done > generate->counted) {
        add(generate, GS_FIELD(instructions), (int32_t)(done - generate->counted), scratch);
        generate->counted = done;
    }
}

void generate_count_access(struct generate *generate)
{
    if (generate->counts) {
        emit_alu_memory_immediate(&generate->emitter, EMIT_ADD, GS_FIELD(statistics.tlb_accesses),
                                  1, 8);
    }
}

void generate_count_jump(struct generate *generate)
{
    if (generate->counts) {
        emit_alu_memory_immediate(&generate->emitter, EMIT_ADD, GS_FIELD(statistics.jump_hits), 1,
                                  8);
    }
}
