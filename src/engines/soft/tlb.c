#include "engines/soft/tlb.h"

#include <string.h>
#include <sys/mman.h>

#include "engines/soft/code.h"
#include "engines/soft/tlb_set.h"
#include "engines/soft/translate.h"
#include "engines/soft/undo.h"
#include "vm/guestmem.h"
#include "x86/paging.h"

static void clear_entry(struct soft_tlb *table, unsigned int index)
{
    struct soft_tlb_entry *entry = &table->entry[index];
    uint64_t empty = soft_tlb_empty_tag(index);
    entry->read_tag = empty;
    __atomic_store_n(&entry->write_tag, empty, __ATOMIC_RELAXED);
    entry->fetch_tag = empty;
}

/*
 * A table is mapped, not allocated: an entry of zeroes is an empty one but for index 0, whose tag
 * would match linear 0, so that one is set by hand.
 */
struct soft_tlb *soft_tlb_table_create(void)
{
    struct soft_tlb *table =
        mmap(NULL, sizeof(*table), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (table == MAP_FAILED) {
        return NULL;
    }
    clear_entry(table, 0);
    return table;
}

void soft_tlb_table_destroy(struct soft_tlb *table)
{
    if (table != NULL) {
        munmap(table, sizeof(*table));
    }
}

/* --- filters: atomic, as other vCPUs look at one of them --- */

static uint64_t *filter_word(struct soft_tlb_filter *filter, uint64_t number, uint64_t *bit)
{
    uint64_t hash = number * UINT64_C(0x9e3779b97f4a7c15) >> 52;
    *bit = UINT64_C(1) << (hash & 63);
    return &filter->words[hash >> 6];
}

static bool filter_may_have(struct soft_tlb_filter *filter, uint64_t number)
{
    uint64_t bit;
    const uint64_t *word = filter_word(filter, number, &bit);
    return (__atomic_load_n(word, __ATOMIC_SEQ_CST) & bit) != 0;
}

/* Only the owner adds and clears, so that nothing is lost between the load and the store. */
static void filter_add(struct soft_tlb_filter *filter, uint64_t number)
{
    uint64_t bit;
    uint64_t *word = filter_word(filter, number, &bit);
    uint64_t value = __atomic_load_n(word, __ATOMIC_RELAXED);
    if ((value & bit) == 0) {
        __atomic_store_n(word, value | bit, __ATOMIC_SEQ_CST);
        filter->used = true;
    }
}

static void filter_clear(struct soft_tlb_filter *filter)
{
    for (unsigned int i = 0; filter->used && i < sizeof filter->words / sizeof(uint64_t); i++) {
        __atomic_store_n(&filter->words[i], 0, __ATOMIC_RELEASE);
    }
    filter->used = false;
}

/* --- flushes --- */

/* What has become global since it was logged as not global stays, and is in the other log. */
static void flush_log(struct soft_tlb *table, bool global)
{
    struct soft_tlb_log *log = &table->logs[global];
    for (unsigned int i = 0; i < log->count; i++) {
        unsigned int index = log->index[i];
        struct soft_tlb_detail *detail = &table->detail[index];
        detail->logged &= (uint8_t) ~(1u << global);
        if (detail->global == global) {
            clear_entry(table, index);
        }
    }
    log->count = 0;
}

void soft_tlb_table_flush(struct soft_tlb *table, bool keep_global)
{
    flush_log(table, false);
    if (!keep_global) {
        flush_log(table, true);
    }
    if (table->logs[1].count == 0) {
        table->large_sizes = 0;
        table->global_halves = 0;
        filter_clear(&table->large);
        filter_clear(&table->stores); /* after the tags: who sees it clear finds no tag either */
    }
}

/* True if the entry holds the page of that size which linear lies in. */
static bool holds(const struct soft_tlb *table, unsigned int index, uint64_t linear, uint64_t size)
{
    const struct soft_tlb_entry *entry = &table->entry[index];
    uint64_t page = linear & ~(size - 1);
    return (entry->read_tag & ~(size - 1)) == page || (entry->fetch_tag & ~(size - 1)) == page;
}

/* Which large page it is, for the filter. */
static uint64_t large_page(uint64_t linear, uint64_t size)
{
    return (linear & ~(size - 1)) | size;
}

static void flush_large(struct soft_tlb *table, uint64_t linear, uint64_t size, bool only_global)
{
    uint64_t first = linear & ~(size - 1);
    uint64_t pieces = size / SOFT_PAGE_SIZE;
    for (uint64_t i = 0; i < pieces && i < SOFT_TLB_ENTRIES; i++) {
        unsigned int index = soft_tlb_index(first + i * SOFT_PAGE_SIZE);
        const struct soft_tlb_detail *detail = &table->detail[index];
        if (detail->page_size == size && (detail->global || !only_global) &&
            holds(table, index, linear, size)) {
            clear_entry(table, index);
        }
    }
}

void soft_tlb_table_flush_page(struct soft_tlb *table, uint64_t linear, bool only_global)
{
    if (only_global && (table->global_halves >> (linear >> 63) & 1) == 0) {
        return;
    }
    unsigned int index = soft_tlb_index(linear);
    if ((table->detail[index].global || !only_global) &&
        holds(table, index, linear, SOFT_PAGE_SIZE)) {
        clear_entry(table, index);
    }
    for (uint64_t sizes = table->large_sizes; sizes != 0; sizes &= sizes - 1) {
        uint64_t size = sizes & (~sizes + 1);
        if (filter_may_have(&table->large, large_page(linear, size))) {
            flush_large(table, linear, size, only_global);
        }
    }
}

void soft_tlb_table_take_write_tags(struct soft_tlb *table, const uint8_t *page_host)
{
    if (!filter_may_have(&table->stores, (uintptr_t)page_host >> 12)) {
        return;
    }
    for (unsigned int i = 0; i < SOFT_TLB_ENTRIES; i++) {
        struct soft_tlb_entry *entry = &table->entry[i];
        if (__atomic_load_n(&entry->host, __ATOMIC_RELAXED) == page_host) {
            __atomic_store_n(&entry->write_tag, soft_tlb_empty_tag(i), __ATOMIC_RELAXED);
        }
    }
}

/* --- misses --- */

/* An entry of eight bytes is aligned and slots are made of pages: where four are, there are eight.
 */
static void *table_entry(void *context, uint64_t physical)
{
    struct soft_cpu *cpu = context;
    void *entry = guestmem_pointer(cpu->vm->memory, gpa(physical), 4);
    if (cpu->undo != NULL && entry != NULL) {
        soft_undo_note_walk(cpu, entry);
    }
    return entry;
}

static void paging_context(struct soft_cpu *cpu, enum soft_regime regime,
                           struct paging_context *context)
{
    *context = (struct paging_context){.cr0 = cpu->cr0,
                                       .cr3 = cpu->cr3,
                                       .cr4 = cpu->cr4,
                                       .efer = cpu->efer,
                                       .pkru = cpu->pkru,
                                       .smap_lifted = regime == SOFT_REGIME_KERNEL_AC,
                                       .physical_bits = SOFT_PHYSICAL_BITS,
                                       .pdpte = cpu->pdpte,
                                       .entry = table_entry,
                                       .context = cpu};
}

bool soft_load_pdptes(struct soft_cpu *cpu, uint64_t cr3)
{
    struct paging_context context;
    uint64_t pdptes[4];
    paging_context(cpu, SOFT_REGIME_KERNEL, &context);
    if (!paging_load_pdptes(&context, cr3, pdptes)) {
        return false;
    }
    memcpy(cpu->pdpte, pdptes, sizeof(pdptes));
    return true;
}

/*
 * Sets the write tag, then looks whether the page has meanwhile become code: with the marking
 * side's order (mark, then look into the filter and clear tags) one of the two always sees the
 * other.
 */
static void grant_write(struct soft_cpu *cpu, struct soft_tlb *table, unsigned int index,
                        uint64_t page, uint64_t physical)
{
    const _Atomic(uint64_t) *granules = soft_code_word(cpu->vm, physical);
    if (!soft_code_is_plain(cpu, granules)) {
        return;
    }
    struct soft_tlb_entry *entry = &table->entry[index];
    filter_add(&table->stores, (uintptr_t)entry->host >> 12);
    __atomic_store_n(&entry->write_tag, page, __ATOMIC_SEQ_CST);
    if (!soft_code_is_plain(cpu, granules)) {
        __atomic_store_n(&entry->write_tag, soft_tlb_empty_tag(index), __ATOMIC_RELAXED);
    }
}

/* What is flushed together may share an entry. */
static bool same_mapping(const struct soft_tlb_detail *detail, const struct paging_result *result)
{
    return detail->page_size == result->page_size && detail->global == result->global;
}

static void note_detail(struct soft_tlb *table, unsigned int index, uint64_t linear,
                        const struct paging_result *result)
{
    struct soft_tlb_detail *detail = &table->detail[index];
    detail->physical = result->physical & ~SOFT_PAGE_MASK;
    detail->page_size = result->page_size;
    detail->global = result->global;
    uint8_t logged = (uint8_t)(1u << result->global);
    if ((detail->logged & logged) == 0) {
        struct soft_tlb_log *log = &table->logs[result->global];
        log->index[log->count++] = (uint16_t)index;
        detail->logged |= logged;
    }
    if (result->global) {
        table->global_halves |= (uint8_t)(1u << (linear >> 63));
    }
    if (result->page_size != SOFT_PAGE_SIZE) {
        table->large_sizes |= result->page_size;
        filter_add(&table->large, large_page(linear, result->page_size));
    }
}

static void fill(struct soft_cpu *cpu, enum soft_regime regime, uint64_t linear, uint8_t *page_host,
                 const struct paging_result *result, enum soft_access access, bool read_only)
{
    struct soft_tlb *table = cpu->tlbs[regime];
    unsigned int index = soft_tlb_index(linear);
    struct soft_tlb_entry *entry = &table->entry[index];
    uint64_t page = linear & ~SOFT_PAGE_MASK;
    cpu->tlb_sets->statistics.fills[regime]++;
    if (entry->host != page_host || !holds(table, index, linear, SOFT_PAGE_SIZE) ||
        !same_mapping(&table->detail[index], result)) {
        clear_entry(table, index);
        __atomic_store_n(&entry->host, page_host, __ATOMIC_RELAXED);
    }
    note_detail(table, index, linear, result);
    if (access == SOFT_FETCH) {
        soft_tlb_note_code(cpu, linear, result->page_size, result->global);
        entry->fetch_tag = page;
        return;
    }
    entry->read_tag = page;
    if (result->writable && !read_only) {
        grant_write(cpu, table, index, page, result->physical);
    }
}

struct soft_translation soft_translate(struct soft_cpu *cpu, enum soft_regime regime,
                                       uint64_t linear, enum soft_access access)
{
    static const enum paging_access kinds[] = {
        [SOFT_READ] = PAGING_READ, [SOFT_WRITE] = PAGING_WRITE, [SOFT_FETCH] = PAGING_FETCH};
    struct paging_context context;
    struct paging_result result;
    if (soft_long_mode(cpu) && !soft_canonical(cpu, linear)) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0); /* a descriptor table that runs into the hole */
    }
    paging_context(cpu, regime, &context);
    switch (
        paging_walk(&context, linear, kinds[access], regime == SOFT_REGIME_USER, true, &result)) {
    case PAGING_OK:
        break;
    case PAGING_FAULT:
        soft_raise_page_fault(cpu, linear, result.error);
    case PAGING_RETRY:
    default:
        soft_restart(cpu);
    }
    struct soft_translation translation = {.physical = result.physical};
    const struct memory_slot *slot = guestmem_find(cpu->vm->memory, gpa(result.physical));
    if (slot == NULL) {
        return translation;
    }
    translation.host = slot->host + (result.physical - slot->base.v);
    translation.read_only = (slot->flags & GUESTMEM_READ_ONLY) != 0;
    fill(cpu, regime, linear, translation.host - (linear & SOFT_PAGE_MASK), &result, access,
         translation.read_only);
    return translation;
}
