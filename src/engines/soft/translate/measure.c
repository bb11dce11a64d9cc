#include "engines/soft/translate/measure.h"

#include "base/clock.h"
#include "engines/soft/translate/translator.h"

void translate_switch_tier(struct soft_cpu *cpu, enum translate_tier tier)
{
    struct translate_state *state = &cpu->translate;
    struct translate_statistics *statistics = &cpu->statistics;
    uint64_t now = clock_now_ns();
    if (state->tier == TRANSLATE_TIER_TRANSLATED) {
        statistics->ns_translated += now - state->tier_since;
    } else if (state->tier == TRANSLATE_TIER_INTERPRETER) {
        statistics->ns_interpreter += now - state->tier_since;
        statistics->interpreted_instructions += cpu->instructions - state->tier_instructions;
    }
    state->tier = tier;
    state->tier_since = now;
    state->tier_instructions = cpu->instructions;
}

void translate_measure_made(struct soft_cpu *cpu, uint64_t since)
{
    if (since == 0) {
        return; /* nobody counts */
    }
    uint64_t took = clock_now_ns() - since;
    cpu->statistics.translate_ns += took;
    cpu->translate.tier_since += took;
}

void translate_statistics(const struct soft_cpu *cpu, struct translate_statistics *statistics)
{
    *statistics = cpu->statistics;
    if (cpu->translate.translator != NULL) {
        const struct translate_cache_statistics *cache =
            translate_cache_statistics(cpu->translate.translator->cache);
        statistics->blocks_dropped = cache->blocks_dropped;
        statistics->regions_evicted = cache->regions_evicted;
        statistics->links_made = cache->links_made;
        statistics->links_unmade = cache->links_unmade;
    }
}
