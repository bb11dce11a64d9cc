#include "engines/soft/tlb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engines/soft/block.h"
#include "engines/soft/code.h"
#include "engines/soft/translate.h"
#include "engines/soft/undo.h"
#include "vm/guestmem.h"
#include "x86/paging.h"

static void clear_entry(struct soft_tlb *tlb, unsigned int index)
{
    struct soft_tlb_entry *entry = &tlb->entry[index];
    uint64_t empty = soft_tlb_empty_tag(index);
    entry->read_tag = empty;
    __atomic_store_n(&entry->write_tag, empty, __ATOMIC_RELAXED);
    entry->fetch_tag = empty;
    tlb->detail[index].logged = false;
}

/*
 * The tables are mapped, not allocated: an entry of zeroes is an empty one but for index 4095,
 * whose empty tag is page 0 by construction, so index 0 (whose tag would match linear 0) is set by
 * hand.
 */
int soft_tlb_create(struct soft_cpu *cpu)
{
    for (unsigned int i = 0; i < SOFT_REGIME_COUNT; i++) {
        void *table = mmap(NULL, sizeof(struct soft_tlb), PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (table == MAP_FAILED) {
            return -errno;
        }
        cpu->tlbs[i] = table;
        clear_entry(cpu->tlbs[i], 0);
    }
    return 0;
}

void soft_tlb_destroy(struct soft_cpu *cpu)
{
    for (unsigned int i = 0; i < SOFT_REGIME_COUNT; i++) {
        if (cpu->tlbs[i] != NULL) {
            munmap(cpu->tlbs[i], sizeof(struct soft_tlb));
            cpu->tlbs[i] = NULL;
        }
    }
}

static uint64_t *region_word(struct soft_tlb *tlb, uint64_t region, uint64_t *bit)
{
    uint64_t hash = (region ^ region >> 8) & 255;
    *bit = UINT64_C(1) << (hash & 63);
    return &tlb->large_regions[hash >> 6];
}

static void flush(struct soft_tlb *tlb, bool keep_global)
{
    unsigned int kept = 0;
    for (unsigned int i = 0; i < tlb->log_count; i++) {
        unsigned int index = tlb->log[i];
        if (!tlb->detail[index].logged) {
            continue;
        }
        if (keep_global && tlb->detail[index].global) {
            tlb->log[kept++] = (uint16_t)index;
        } else {
            clear_entry(tlb, index);
        }
    }
    tlb->log_count = kept;
    if (kept == 0) {
        memset(tlb->large_regions, 0, sizeof(tlb->large_regions));
        tlb->has_wider_pages = false;
    }
}

void soft_tlb_flush_all(struct soft_cpu *cpu)
{
    for (unsigned int i = 0; i < SOFT_REGIME_COUNT; i++) {
        flush(cpu->tlbs[i], false);
    }
    soft_block_cache_forget_addresses(cpu);
    cpu->upper_code_not_global = false;
}

void soft_tlb_flush_non_global(struct soft_cpu *cpu)
{
    for (unsigned int i = 0; i < SOFT_REGIME_COUNT; i++) {
        flush(cpu->tlbs[i], true);
    }
    soft_block_cache_forget_non_global(cpu);
}

/* Drops every piece of the large page that linear may lie in. */
static void flush_large(struct soft_tlb *tlb, uint64_t linear)
{
    for (unsigned int i = 0; i < tlb->log_count; i++) {
        unsigned int index = tlb->log[i];
        const struct soft_tlb_detail *detail = &tlb->detail[index];
        if (!detail->logged || detail->page_size == SOFT_PAGE_SIZE) {
            continue;
        }
        uint64_t tag = tlb->entry[index].read_tag;
        if (tag == soft_tlb_empty_tag(index)) {
            tag = tlb->entry[index].fetch_tag;
        }
        if (((tag ^ linear) & ~(detail->page_size - 1)) == 0) {
            clear_entry(tlb, index);
        }
    }
}

void soft_tlb_flush_page(struct soft_cpu *cpu, uint64_t linear)
{
    for (unsigned int i = 0; i < SOFT_REGIME_COUNT; i++) {
        struct soft_tlb *tlb = cpu->tlbs[i];
        unsigned int index = soft_tlb_index(linear);
        if (tlb->detail[index].logged) {
            /* The entry may be another page's: dropping that too is harmless. It stays in the log
               list as a hole, which the next flush passes over. */
            clear_entry(tlb, index);
            tlb->detail[index].logged = true;
        }
        uint64_t bit;
        uint64_t *word = region_word(tlb, linear >> 21, &bit);
        if ((*word & bit) != 0 || tlb->has_wider_pages) {
            flush_large(tlb, linear);
        }
    }
    soft_block_cache_forget_half(cpu, linear);
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
 * side's order (mark, then clear tags) one of the two always sees the other.
 */
static void grant_write(struct soft_cpu *cpu, struct soft_tlb_entry *entry, unsigned int index,
                        uint64_t page, uint64_t physical)
{
    const _Atomic(uint64_t) *granules = soft_code_word(cpu->vm, physical);
    if (!soft_code_is_plain(cpu, granules)) {
        return;
    }
    __atomic_store_n(&entry->write_tag, page, __ATOMIC_SEQ_CST);
    if (!soft_code_is_plain(cpu, granules)) {
        __atomic_store_n(&entry->write_tag, soft_tlb_empty_tag(index), __ATOMIC_RELAXED);
    }
}

static void log_entry(struct soft_tlb *tlb, unsigned int index, uint64_t linear)
{
    struct soft_tlb_detail *detail = &tlb->detail[index];
    if (!detail->logged) {
        if (tlb->log_count == SOFT_TLB_ENTRIES) {
            /* Holes left by page flushes filled the list: rebuild it from what is marked. */
            tlb->log_count = 0;
            for (unsigned int i = 0; i < SOFT_TLB_ENTRIES; i++) {
                if (tlb->detail[i].logged) {
                    tlb->log[tlb->log_count++] = (uint16_t)i;
                }
            }
        }
        detail->logged = true;
        tlb->log[tlb->log_count++] = (uint16_t)index;
    }
    if (detail->page_size != SOFT_PAGE_SIZE) {
        uint64_t bit;
        uint64_t *word = region_word(tlb, linear >> 21, &bit);
        *word |= bit;
        tlb->has_wider_pages |= detail->page_size > (UINT64_C(2) << 20);
    }
}

static void fill(struct soft_cpu *cpu, enum soft_regime regime, uint64_t linear, uint8_t *page_host,
                 const struct paging_result *result, enum soft_access access, bool read_only)
{
    struct soft_tlb *tlb = cpu->tlbs[regime];
    unsigned int index = soft_tlb_index(linear);
    struct soft_tlb_entry *entry = &tlb->entry[index];
    uint64_t page = linear & ~SOFT_PAGE_MASK;
    uint64_t empty = soft_tlb_empty_tag(index);
    bool same = entry->host == page_host && (entry->read_tag == page || entry->fetch_tag == page);
    if (!same) {
        entry->read_tag = empty;
        __atomic_store_n(&entry->write_tag, empty, __ATOMIC_RELAXED);
        entry->fetch_tag = empty;
        __atomic_store_n(&entry->host, page_host, __ATOMIC_RELAXED);
    }
    tlb->detail[index].physical = result->physical & ~SOFT_PAGE_MASK;
    tlb->detail[index].page_size = result->page_size;
    tlb->detail[index].global = result->global;
    log_entry(tlb, index, linear);
    if (access == SOFT_FETCH) {
        cpu->upper_code_not_global |= !result->global && linear >> 63 != 0;
        entry->fetch_tag = page;
        return;
    }
    entry->read_tag = page;
    if (result->writable && !read_only) {
        grant_write(cpu, entry, index, page, result->physical);
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
