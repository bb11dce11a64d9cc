#include "engines/soft/statistics.h"

/* Lines on their way out. */
struct rows {
    struct engine_counter *at;
    unsigned int count, max;
};

static void add(struct rows *rows, const char *name, enum engine_counter_unit unit, uint64_t value,
                uint64_t of)
{
    if (rows->count < rows->max) {
        rows->at[rows->count++] =
            (struct engine_counter){.name = name, .unit = unit, .value = value, .of = of};
    }
}

static void add_count(struct rows *rows, const char *name, uint64_t value)
{
    add(rows, name, ENGINE_COUNT, value, 0);
}

/* What is left of a whole; the counters of one vCPU may have been set back, the other not. */
static uint64_t rest(uint64_t whole, uint64_t part)
{
    return part < whole ? whole - part : 0;
}

static void add_interpreter(struct rows *rows, const struct soft_statistics_source *source)
{
    const struct soft_block_statistics *blocks = source->blocks;
    const struct translate_statistics *translator = source->translator;
    add_count(rows, "interpreter: blocks decoded", blocks->built);
    add_count(rows, "interpreter: blocks dropped", blocks->dropped);
    add_count(rows, "interpreter: times that all were dropped", blocks->flushes);
    add(rows, "interpreter: memory for blocks", ENGINE_BYTES, blocks->arena_bytes, 0);
    if (translator->interpreted_blocks != 0) {
        add_count(rows, "interpreter: blocks run", translator->interpreted_blocks);
    }
    if (translator->blocks_translated != 0 && source->instructions != 0) {
        add(rows, "interpreter: instructions run", ENGINE_COUNT,
            translator->interpreted_instructions, source->instructions);
    }
}

static void add_translation(struct rows *rows, const struct translate_statistics *translator)
{
    uint64_t instructions = translator->guest_instructions_translated;
    add_count(rows, "blocks translated", translator->blocks_translated);
    add_count(rows, "... instructions in them", instructions);
    add(rows, "... guest code", ENGINE_BYTES, translator->guest_bytes, 0);
    add(rows, "... host code", ENGINE_BYTES, translator->host_bytes, 0);
    add(rows, "... host bytes for a guest byte", ENGINE_RATIO, translator->host_bytes,
        translator->guest_bytes);
    add(rows, "... time for an instruction", ENGINE_NANOSECONDS_EACH, translator->translate_ns,
        instructions);
    add_count(rows, "... dropped: code changed", translator->blocks_dropped);
    add_count(rows, "... regions evicted: cache full", translator->regions_evicted);
    if (translator->lockstep_blocks != 0) {
        add_count(rows, "... runs compared in lockstep", translator->lockstep_blocks);
    }
}

static void add_control_flow(struct rows *rows, const struct translate_statistics *translator)
{
    uint64_t jumps = translator->jump_hits + translator->jump_misses;
    add_count(rows, "links between blocks made", translator->links_made);
    add_count(rows, "... undone", translator->links_unmade);
    add(rows, "chain rate (blocks entered without C)", ENGINE_PERCENT,
        rest(translator->blocks_run, translator->translated_entries), translator->blocks_run);
    add_count(rows, "translated code entered from C", translator->translated_entries);
    add_count(rows, "... left by a jump without a link", translator->direct_exits);
    add(rows, "jump cache hits, indirect jumps", ENGINE_PERCENT, translator->jump_hits, jumps);
    add(rows, "jump cache hits, from C", ENGINE_PERCENT, translator->dispatch_hits,
        translator->dispatches);
}

static void add_memory(struct rows *rows, const struct soft_statistics_source *source)
{
    const struct translate_statistics *translator = source->translator;
    uint64_t slow = translator->slow_reads + translator->slow_writes;
    add(rows, "TLB hits", ENGINE_PERCENT, rest(translator->tlb_accesses, slow),
        translator->tlb_accesses);
    add_count(rows, "... slow reads", translator->slow_reads);
    add_count(rows, "... slow writes", translator->slow_writes);
    add_count(rows, "... shared checks made again", translator->group_misses);
    add(rows, "instructions called out to C", ENGINE_COUNT, translator->callouts,
        source->instructions);
}

static void add_times(struct rows *rows, const struct translate_statistics *translator)
{
    uint64_t in_tiers = translator->ns_translated + translator->ns_interpreter;
    uint64_t all = in_tiers + translator->translate_ns;
    if (in_tiers == 0) {
        return; /* not measured */
    }
    add(rows, "time in translated code", ENGINE_NANOSECONDS, translator->ns_translated, all);
    add(rows, "time in the interpreter", ENGINE_NANOSECONDS, translator->ns_interpreter, all);
    add(rows, "time translating", ENGINE_NANOSECONDS, translator->translate_ns, all);
}

unsigned int soft_statistics_rows(const struct soft_statistics_source *source,
                                  struct engine_counter *counters, unsigned int max)
{
    struct rows rows = {.at = counters, .max = max};
    if (source->translator->blocks_translated != 0) {
        add_translation(&rows, source->translator);
        add_control_flow(&rows, source->translator);
        add_memory(&rows, source);
        add_times(&rows, source->translator);
    }
    add_interpreter(&rows, source);
    return rows.count;
}
