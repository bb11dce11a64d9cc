/*
 * Finding translated blocks, making those that are worth it, and what the links and the jump cache
 * between them depend on.
 */
#include <string.h>

#include "base/clock.h"
#include "engines/soft/block.h"
#include "engines/soft/fpu.h"
#include "engines/soft/time_stamp.h"
#include "engines/soft/translate.h"
#include "engines/soft/translate/lockstep.h"
#include "engines/soft/translate/measure.h"
#include "engines/soft/translate/translate.h"
#include "engines/soft/translate/translator.h"

#define KEY_MODE_BITS 4

#define RUNS_COUNTED_MAX  (4u << TRANSLATE_RUNS_BITS)
#define CHURN_DROPS_MAX   12
#define CHURN_EPOCH_SHIFT 28 /* some tenth of a second */

/* --- modes and keys --- */

static bool vectors_raise_nothing(const struct soft_cpu *cpu)
{
    const uint64_t states = X86_XCR0_SSE | X86_XCR0_AVX, enabled = X86_CR4_OSFXSR | X86_CR4_OSXSAVE;
    const uint64_t avx = UINT64_C(1) << X86_FEATURE_AVX;
    return (cpu->translate.translator->host_features & avx) != 0 &&
           (cpu->cr0 & (X86_CR0_EM | X86_CR0_TS)) == 0 && (cpu->cr4 & enabled) == enabled &&
           (cpu->xcr0 & states) == states && (cpu->fpu->mxcsr & MXCSR_MASKS) == MXCSR_MASKS;
}

/* Nor is there an exception pending: that takes one that is not masked. */
static bool x87_raises_nothing(const struct soft_cpu *cpu)
{
    return (cpu->cr0 & (X86_CR0_EM | X86_CR0_TS)) == 0 && !cpu->fpu->may_pend;
}

uint16_t translate_mode_of(const struct soft_cpu *cpu)
{
    unsigned int mode = cpu->mode;
    mode |= vectors_raise_nothing(cpu) ? TRANSLATE_VECTORS : 0;
    mode |= x87_raises_nothing(cpu) ? TRANSLATE_X87 : 0;
    mode |= cpu->rip >> 63 != 0 ? TRANSLATE_UPPER : 0;
    return (uint16_t)mode;
}

static void set_keys(struct soft_cpu *cpu, uint16_t mode)
{
    struct translator *translator = cpu->translate.translator;
    unsigned int bits = ((mode & SOFT_MODE_USER) != 0 ? 1u : 0) |
                        ((mode & SOFT_MODE_DECODE) == X86_DECODE_64 ? 2u : 0) |
                        ((mode & TRANSLATE_VECTORS) != 0 ? 4u : 0) |
                        ((mode & TRANSLATE_X87) != 0 ? 8u : 0);
    for (unsigned int half = 0; half < 2; half++) {
        cpu->translate.key[half] = translator->serial[half] << KEY_MODE_BITS | bits;
    }
    translator->key_mode = mode;
}

/* From now on no entry of the jump cache for a half matches. */
static void renew_key(struct soft_cpu *cpu, unsigned int half)
{
    struct translator *translator = cpu->translate.translator;
    translator->serial[half] = ++translator->last_serial;
    set_keys(cpu, translator->key_mode);
}

/* Links and the jump cache hold as long as linear addresses keep their meaning. */
static void forget_if_changed(struct soft_cpu *cpu)
{
    struct translator *translator = cpu->translate.translator;
    for (unsigned int half = 0; half < 2; half++) {
        if (translator->generation[half] != cpu->code_generation[half]) {
            translator->generation[half] = cpu->code_generation[half];
            translate_cache_unbind(translator->cache, half);
            renew_key(cpu, half);
        }
    }
}

static struct translate_churn *churn_of(struct translator *translator, uint64_t page)
{
    return &translator->churn[page * UINT64_C(0x9e3779b97f4a7c15) >> (64 - TRANSLATE_CHURN_BITS)];
}

static void note_drop(struct translator *translator, uint64_t page)
{
    struct translate_churn *churn = churn_of(translator, page);
    uint32_t epoch = (uint32_t)(soft_host_tsc() >> CHURN_EPOCH_SHIFT);
    if (epoch != churn->epoch) {
        churn->epoch = epoch;
        churn->drops /= 2;
    }
    if (churn->drops < CHURN_DROPS_MAX) {
        churn->drops++;
    }
    churn->wait = (uint16_t)(1u << churn->drops);
}

/* Where the runs of a block are counted. */
static uint8_t *runs_of(struct translator *translator, uint64_t physical)
{
    uint64_t code = churn_of(translator, physical >> 12)->code;
    uint64_t hash = (physical ^ code << 48) * UINT64_C(0x9e3779b97f4a7c15);
    return &translator->runs[hash >> (64 - TRANSLATE_RUNS_BITS)];
}

void translate_drop_page(struct soft_cpu *cpu, uint64_t page)
{
    struct translator *translator = cpu->translate.translator;
    const struct translate_cache_statistics *statistics =
        translate_cache_statistics(translator->cache);
    uint64_t before = statistics->blocks_dropped;
    translate_cache_drop_page(translator->cache, page);
    churn_of(translator, page)->code++;
    if (statistics->blocks_dropped != before) {
        note_drop(translator, page);
    }
}

void translate_drop_all(struct soft_cpu *cpu)
{
    translate_cache_drop_all(cpu->translate.translator->cache);
}

/* --- finding and making blocks --- */

static struct translate_jump *jump_of(struct soft_cpu *cpu, uint64_t rip)
{
    uint32_t hash = (uint32_t)(rip >> TRANSLATE_JUMP_BITS) ^ (uint32_t)rip;
    return &cpu->translate.jumps[hash & ((1u << TRANSLATE_JUMP_BITS) - 1)];
}

static void next_region(struct soft_cpu *cpu)
{
    struct translator *translator = cpu->translate.translator;
    const struct translate_cache_statistics *statistics =
        translate_cache_statistics(translator->cache);
    uint64_t before = statistics->regions_evicted;
    translate_cache_next_region(translator->cache);
    renew_key(cpu, 0);
    renew_key(cpu, 1);
    if (statistics->regions_evicted != before && translator->translate_after != 0) {
        translate_pressure_evicted(&translator->pressure, soft_host_tsc());
    }
}

struct translate_block *translate_make_block(struct soft_cpu *cpu, uint64_t physical,
                                             const uint8_t *host, uint16_t mode)
{
    struct translator *translator = cpu->translate.translator;
    struct translate_block *block = NULL;
    bool fresh = false;
    for (unsigned int limit = UNIT_MAX; limit > 0 && block == NULL;) {
        if (!translate_collect(cpu, &translator->unit, physical, host, mode, limit)) {
            return NULL;
        }
        block = translate_generate(cpu);
        if (block == NULL && !fresh) {
            next_region(cpu);
            fresh = true;
        } else {
            limit /= 2; /* too much even for an empty region */
        }
    }
    return block;
}

static void count_made(struct soft_cpu *cpu, const struct translate_block *block)
{
    struct translate_statistics *statistics = &cpu->statistics;
    statistics->blocks_translated++;
    statistics->guest_instructions_translated += block->count;
    statistics->guest_bytes += block->guest_length;
    statistics->host_bytes += block->code_length;
}

/* Is it time to translate what stands at a physical address? Collisions do no harm. */
static bool is_hot(struct translator *translator, uint64_t physical)
{
    struct translate_churn *churn = churn_of(translator, physical >> 12);
    if (churn->wait != 0 && translator->translate_after != 0) {
        churn->wait--;
        return false;
    }
    uint8_t *runs = runs_of(translator, physical);
    if (*runs >= translator->translate_after) {
        return true;
    }
    (*runs)++;
    if (++translator->runs_counted == RUNS_COUNTED_MAX) { /* else in the end all were hot */
        translator->runs_counted = 0;
        memset(translator->runs, 0, sizeof(translator->runs));
    }
    return false;
}

/* Links out of a page are bound to the linear address that it runs at: one at a time. */
static void note_home(struct soft_cpu *cpu, uint64_t physical)
{
    struct translator *translator = cpu->translate.translator;
    if (!translate_home_enter(&translator->homes, physical, cpu->rip, translator->serial)) {
        for (unsigned int half = 0; half < 2; half++) {
            translate_cache_unbind(translator->cache, half);
            renew_key(cpu, half);
        }
        translate_home_enter(&translator->homes, physical, cpu->rip, translator->serial);
    }
}

/* May an exit be linked to what stands at cpu->rip, where it led this time? */
static bool can_link(const struct soft_cpu *cpu, const struct translate_link *link,
                     const struct translate_block *target)
{
    const struct translator *translator = cpu->translate.translator;
    unsigned int half = (unsigned int)(cpu->rip >> 63);
    uint64_t home;
    if (link->patch != NULL && link->from->physical >> 12 != target->physical >> 12) {
        return false; /* it led within its page, but that was remapped under it */
    }
    if (link->patch != NULL && !target->crosses) {
        return true;
    }
    if (half != ((link->from->mode & TRANSLATE_UPPER) != 0 ? 1 : 0) ||
        !translate_home_find(&translator->homes, link->from->physical, half, translator->serial,
                             &home)) {
        return false;
    }
    /* Going round the address space is no way forward: a loop must look at attention. */
    return !link->forward || cpu->rip > home;
}

struct translate_block *translate_find_made(struct soft_cpu *cpu, uint64_t physical, uint16_t mode)
{
    struct translate_block *block =
        translate_cache_find(cpu->translate.translator->cache, physical, mode);
    if (block == NULL || !block->crosses) {
        return block;
    }
    struct soft_translation next = soft_block_fetch_next(cpu);
    return next.host == NULL ? NULL : translate_cache_find_rest(block, next.physical >> 12);
}

/* Makes the block at cpu->rip; NULL if there is none. */
static struct translate_block *make_here(struct soft_cpu *cpu, struct soft_translation at,
                                         uint16_t mode)
{
    uint64_t begin = cpu->vm->options.count ? clock_now_ns() : 0;
    uint64_t stamp = soft_host_tsc();
    struct translate_block *block = translate_make_block(cpu, at.physical, at.host, mode);
    cpu->translate.translator->pressure.making += soft_host_tsc() - stamp;
    translate_measure_made(cpu, begin);
    if (block != NULL) {
        count_made(cpu, block);
        translate_show(cpu, block);
    }
    return block;
}

struct translate_block *translate_find_block(struct soft_cpu *cpu, uint16_t mode, bool make)
{
    struct translator *translator = cpu->translate.translator;
    struct soft_translation at = soft_block_fetch(cpu);
    if (at.host == NULL) {
        return NULL;
    }
    struct translate_block *block = translate_find_made(cpu, at.physical, mode);
    if (block == NULL && make && is_hot(translator, at.physical)) {
        block = make_here(cpu, at, mode);
    }
    if (block != NULL && cpu->lockstep == NULL) {
        note_home(cpu, block->physical);
        *jump_of(cpu, cpu->rip) = (struct translate_jump){.rip = cpu->rip,
                                                          .key = cpu->translate.key[cpu->rip >> 63],
                                                          .page = cpu->rip & ~SOFT_PAGE_MASK,
                                                          .code = block->entry_saved};
    }
    return block;
}

uint16_t translate_enter_mode(struct soft_cpu *cpu)
{
    uint16_t mode = translate_mode_of(cpu);
    forget_if_changed(cpu);
    if (mode != cpu->translate.translator->key_mode) {
        set_keys(cpu, mode);
    }
    return mode;
}

const uint8_t *translate_known_code(struct soft_cpu *cpu)
{
    const struct translate_jump *jump = jump_of(cpu, cpu->rip);
    cpu->statistics.dispatches++;
    if (jump->rip != cpu->rip || jump->key != cpu->translate.key[cpu->rip >> 63]) {
        return NULL;
    }
    cpu->statistics.dispatch_hits++;
    return jump->code;
}

/* May code be made for the place that control has come to? */
static bool considers(struct translator *translator)
{
    struct translate_pressure *pressure = &translator->pressure;
    if (!translate_pressure_considers(pressure)) {
        return false;
    }
    if (pressure->level > 0) {
        translate_pressure_relax(pressure, soft_host_tsc());
    }
    return true;
}

const uint8_t *translate_find_code(struct soft_cpu *cpu, struct translate_link *link)
{
    struct translator *translator = cpu->translate.translator;
    uint16_t mode = translate_enter_mode(cpu);
    const uint8_t *known = link == NULL ? translate_known_code(cpu) : NULL;
    if (known != NULL) {
        return known;
    }
    uint64_t evictions = translate_cache_statistics(translator->cache)->regions_evicted;
    struct translate_block *block = translate_find_block(cpu, mode, considers(translator));
    if (block == NULL) {
        return NULL;
    }
    if (link != NULL &&
        evictions == translate_cache_statistics(translator->cache)->regions_evicted &&
        can_link(cpu, link, block)) {
        translate_cache_link(translator->cache, link, block, (unsigned int)(cpu->rip >> 63));
    }
    return block->entry_saved;
}
