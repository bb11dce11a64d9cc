#include "engines/soft/tlb_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engines/soft/block.h"
#include "engines/soft/translate.h"
#include "engines/soft/translate/stack_page.h"

/* --- sets --- */

static bool has_table(unsigned int regime)
{
    return regime != SOFT_REGIME_KERNEL;
}

/* False when the host has no memory for them. Others may look for tables meanwhile. */
static bool map_tables(struct soft_tlb_set *set)
{
    for (unsigned int i = 0; i < SOFT_REGIME_COUNT; i++) {
        if (has_table(i) && atomic_load(&set->table[i]) == NULL) {
            struct soft_tlb *table = soft_tlb_table_create();
            if (table == NULL) {
                return false;
            }
            atomic_store(&set->table[i], table);
        }
    }
    return true;
}

static void clear_code_pages(struct soft_code_pages *pages)
{
    if (pages->used) {
        memset(pages, 0, sizeof(*pages));
    }
}

static void flush_set(struct soft_tlb_set *set, bool keep_global)
{
    for (unsigned int i = 0; i < SOFT_REGIME_COUNT; i++) {
        if (has_table(i)) {
            soft_tlb_table_flush(atomic_load(&set->table[i]), keep_global);
        }
    }
    clear_code_pages(&set->code_pages);
    set->code_generation = 0;
}

static void flush_set_page(struct soft_tlb_set *set, uint64_t linear, bool only_global)
{
    for (unsigned int i = 0; i < SOFT_REGIME_COUNT; i++) {
        if (has_table(i)) {
            soft_tlb_table_flush_page(atomic_load(&set->table[i]), linear, only_global);
        }
    }
}

/* "CR4.PCIDE = 0: the current PCID is 000H." */
static uint16_t current_pcid(const struct soft_cpu *cpu)
{
    bool enabled = (cpu->cr4 & X86_CR4_PCIDE) != 0;
    return enabled ? (uint16_t)(cpu->cr3 & X86_CR3_PCID_MASK) : 0;
}

static struct soft_tlb_set *find_set(struct soft_tlb_sets *sets, uint16_t pcid)
{
    for (unsigned int i = 0; i < SOFT_TLB_SETS; i++) {
        if (sets->set[i].live && sets->set[i].pcid == pcid) {
            return &sets->set[i];
        }
    }
    return NULL;
}

static unsigned int live_sets(const struct soft_tlb_sets *sets)
{
    unsigned int count = 0;
    for (unsigned int i = 0; i < SOFT_TLB_SETS; i++) {
        count += sets->set[i].live;
    }
    return count;
}

/* An empty set for a PCID that has none: a free one, else the one that was left longest ago. */
static struct soft_tlb_set *claim_set(struct soft_tlb_sets *sets, uint16_t pcid)
{
    struct soft_tlb_set *chosen = NULL;
    for (unsigned int i = 0; i < SOFT_TLB_SETS; i++) {
        struct soft_tlb_set *set = &sets->set[i];
        if (!set->live && map_tables(set)) {
            chosen = set;
            break;
        }
        if (set->live && (chosen == NULL || set->entered < chosen->entered)) {
            chosen = set;
        }
    }
    if (chosen->live) { /* there is always one: the current */
        flush_set(chosen, false);
        sets->statistics.recycled++;
    }
    chosen->live = true;
    chosen->pcid = pcid;
    chosen->code_generation = 0;
    return chosen;
}

static void enter_set(struct soft_cpu *cpu, struct soft_tlb_set *set)
{
    struct soft_tlb_sets *sets = cpu->tlb_sets;
    sets->current = set;
    set->entered = ++sets->clock;
    for (unsigned int i = 0; i < SOFT_REGIME_COUNT; i++) {
        if (has_table(i)) {
            cpu->tlbs[i] = atomic_load(&set->table[i]);
        }
    }
    cpu->tlb = cpu->tlbs[soft_current_regime(cpu)];
}

int soft_tlb_create(struct soft_cpu *cpu)
{
    struct soft_tlb_sets *sets = calloc(1, sizeof(*sets));
    struct soft_tlb *kernel = soft_tlb_table_create();
    cpu->tlb_sets = sets;
    cpu->tlbs[SOFT_REGIME_KERNEL] = kernel;
    if (sets == NULL || kernel == NULL || !map_tables(&sets->set[0])) {
        soft_tlb_destroy(cpu);
        return -ENOMEM;
    }
    sets->set[0].live = true;
    enter_set(cpu, &sets->set[0]);
    return 0;
}

void soft_tlb_destroy(struct soft_cpu *cpu)
{
    soft_tlb_table_destroy(cpu->tlbs[SOFT_REGIME_KERNEL]);
    for (unsigned int i = 0; cpu->tlb_sets != NULL && i < SOFT_TLB_SETS; i++) {
        for (unsigned int j = 0; j < SOFT_REGIME_COUNT; j++) {
            soft_tlb_table_destroy(atomic_load(&cpu->tlb_sets->set[i].table[j]));
        }
    }
    free(cpu->tlb_sets);
    cpu->tlb_sets = NULL;
    for (unsigned int i = 0; i < SOFT_REGIME_COUNT; i++) {
        cpu->tlbs[i] = NULL;
    }
    cpu->tlb = NULL;
}

/* --- what jumps remember of code --- */

/* Which word has a page's bit. A page's number says its size, too. */
static unsigned int code_page_word(uint64_t linear, uint64_t page_size, uint64_t *bit)
{
    uint64_t number = (linear & ~(page_size - 1)) | page_size >> 1;
    uint64_t hash = number * UINT64_C(0x9e3779b97f4a7c15) >> (64 - SOFT_CODE_PAGES_BITS);
    *bit = UINT64_C(1) << hash % 64;
    return (unsigned int)(hash / 64);
}

/* May code have been fetched from a page, of whatever size, that linear lies in? */
static bool has_code(const struct soft_code_pages *pages, uint64_t linear)
{
    static const uint64_t sizes[] = {SOFT_PAGE_SIZE, UINT64_C(2) << 20, UINT64_C(4) << 20,
                                     UINT64_C(1) << 30};
    for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint64_t bit;
        unsigned int word = code_page_word(linear, sizes[i], &bit);
        if ((pages->words[word] & bit) != 0) {
            return true;
        }
    }
    return false;
}

void soft_tlb_note_code(struct soft_cpu *cpu, uint64_t linear, uint64_t page_size, bool global)
{
    struct soft_tlb_sets *sets = cpu->tlb_sets;
    bool upper = linear >> 63 != 0;
    uint64_t bit;
    unsigned int word = code_page_word(linear, page_size, &bit);
    struct soft_code_pages *pages = upper ? &sets->upper_code_pages : &sets->current->code_pages;
    pages->words[word] |= bit;
    pages->used = true;
    sets->upper_code_not_global |= upper && !global;
    sets->lower_code_global |= !upper && global;
}

void soft_tlb_forget_code_of_others(struct soft_cpu *cpu)
{
    for (unsigned int i = 0; i < SOFT_TLB_SETS; i++) {
        cpu->tlb_sets->set[i].code_generation = 0;
    }
}

/*
 * After what is not global in the kernel's table and maybe in the current set was dropped. Upper
 * code that is not global may come back with a set, so that this is forgotten only with the last.
 */
static void forget_upper_not_global(struct soft_cpu *cpu)
{
    struct soft_tlb_sets *sets = cpu->tlb_sets;
    if (sets->upper_code_not_global) {
        soft_block_cache_forget_half(cpu, UINT64_MAX);
        sets->upper_code_not_global = live_sets(sets) > 1;
    }
}

/* May what jumps remember, in the current address space, be from what a flush of linear drops? */
static bool may_be_code(const struct soft_cpu *cpu, uint64_t linear)
{
    const struct soft_tlb_sets *sets = cpu->tlb_sets;
    if (linear >> 63 != 0) {
        return has_code(&sets->upper_code_pages, linear);
    }
    return sets->lower_code_global || has_code(&sets->current->code_pages, linear);
}

/* --- switches and flushes --- */

void soft_tlb_switch(struct soft_cpu *cpu, bool keep)
{
    struct soft_tlb_sets *sets = cpu->tlb_sets;
    struct soft_tlb_set *set = sets->current;
    uint16_t pcid = current_pcid(cpu);
    bool stays = set->pcid == pcid;
    if (stays && keep) {
        return;
    }
    translate_stack_clear(cpu);
    soft_tlb_table_flush(cpu->tlbs[SOFT_REGIME_KERNEL], true);
    if (!stays) {
        set->code_generation = cpu->code_generation[0];
        set = find_set(sets, pcid);
        sets->statistics.switches++;
        sets->statistics.returns += set != NULL;
        set = set != NULL ? set : claim_set(sets, pcid);
        enter_set(cpu, set);
    }
    if (!keep) {
        flush_set(set, true);
    }
    if (set->code_generation == 0) {
        soft_block_cache_forget_half(cpu, 0);
    } else {
        cpu->code_generation[0] = set->code_generation;
    }
    forget_upper_not_global(cpu);
}

void soft_tlb_flush_all(struct soft_cpu *cpu)
{
    struct soft_tlb_sets *sets = cpu->tlb_sets;
    translate_stack_clear(cpu);
    soft_tlb_table_flush(cpu->tlbs[SOFT_REGIME_KERNEL], false);
    for (unsigned int i = 0; i < SOFT_TLB_SETS; i++) {
        if (sets->set[i].live) {
            flush_set(&sets->set[i], false);
            sets->set[i].live = false;
        }
    }
    sets->current->live = true;
    sets->current->pcid = current_pcid(cpu); /* which may have changed by other ways than CR3 */
    sets->upper_code_not_global = false;
    sets->lower_code_global = false;
    clear_code_pages(&sets->upper_code_pages);
    soft_block_cache_forget_addresses(cpu);
}

void soft_tlb_flush_non_global(struct soft_cpu *cpu)
{
    struct soft_tlb_sets *sets = cpu->tlb_sets;
    for (unsigned int i = 0; i < SOFT_TLB_SETS; i++) {
        if (sets->set[i].live) {
            flush_set(&sets->set[i], true);
        }
    }
    soft_tlb_switch(cpu, false);
}

void soft_tlb_flush_context(struct soft_cpu *cpu, uint16_t pcid)
{
    struct soft_tlb_set *set = find_set(cpu->tlb_sets, pcid);
    if (set == cpu->tlb_sets->current) {
        soft_tlb_switch(cpu, false);
    } else if (set != NULL) {
        flush_set(set, true);
    }
}

void soft_tlb_flush_page(struct soft_cpu *cpu, uint64_t linear)
{
    struct soft_tlb_sets *sets = cpu->tlb_sets;
    bool code = may_be_code(cpu, linear);
    translate_stack_clear(cpu);
    soft_tlb_table_flush_page(cpu->tlbs[SOFT_REGIME_KERNEL], linear, false);
    for (unsigned int i = 0; i < SOFT_TLB_SETS; i++) {
        struct soft_tlb_set *set = &sets->set[i];
        if (set->live) {
            flush_set_page(set, linear, set != sets->current);
        }
    }
    if (sets->lower_code_global) {
        soft_tlb_forget_code_of_others(cpu);
    }
    if (code) {
        soft_block_cache_forget_half(cpu, linear);
    }
}

/* In the upper half nothing is to be forgotten: the switch to that PCID will. */
void soft_tlb_flush_page_of(struct soft_cpu *cpu, uint16_t pcid, uint64_t linear)
{
    struct soft_tlb_set *set = find_set(cpu->tlb_sets, pcid);
    if (set == cpu->tlb_sets->current) {
        soft_tlb_flush_page(cpu, linear);
    } else if (set != NULL) {
        if (has_code(&set->code_pages, linear)) {
            set->code_generation = 0;
        }
        flush_set_page(set, linear, false);
    }
}

/* --- for code.c --- */

void soft_tlb_take_write_tags(struct soft_cpu *cpu, const uint8_t *page_host)
{
    soft_tlb_table_take_write_tags(cpu->tlbs[SOFT_REGIME_KERNEL], page_host);
    for (unsigned int i = 0; i < SOFT_TLB_SETS; i++) {
        for (unsigned int j = 0; j < SOFT_REGIME_COUNT; j++) {
            struct soft_tlb *table = atomic_load(&cpu->tlb_sets->set[i].table[j]);
            if (table != NULL) {
                soft_tlb_table_take_write_tags(table, page_host);
            }
        }
    }
}
