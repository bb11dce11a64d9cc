#include "engines/soft/translate/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engines/soft/code_memory.h"

#define REGIONS          8u
#define BUCKET_BITS      18
#define PAGE_BUCKET_BITS 7 /* of these within a page */
#define PAGE_BITS        11
#define FIXED_BYTES      8192u
#define PAGE_SIZE        UINT64_C(4096)
#define LINE_SIZE        UINT64_C(64) /* of the host's cache */

struct region {
    uint8_t *code; /* in the writable mapping */
    uint8_t *data;
    size_t code_used, data_used;
    size_t data_committed; /* data_used but for the block that is being made */
    struct translate_block *blocks;
};

struct translate_cache {
    struct code_memory *memory;
    ptrdiff_t displacement;
    size_t code_size, data_size; /* of one region */
    size_t fixed_used;
    struct region regions[REGIONS];
    unsigned int filling;
    struct translate_link *bound[2];
    struct translate_block *buckets[1u << BUCKET_BITS];
    struct translate_block *pages[1u << PAGE_BITS];
    struct translate_block *second_pages[1u << PAGE_BITS]; /* of those that cross */
    struct translate_cache_statistics statistics;
};

static size_t round_to_page(size_t bytes)
{
    return (bytes + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
}

int translate_cache_create(size_t bytes, struct translate_cache **out, struct error *error)
{
    struct translate_cache *cache =
        mmap(NULL, sizeof(*cache), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (cache == MAP_FAILED) {
        return error_set(error, ENOMEM, "no memory for the table of translated code");
    }
    /* Descriptions take about as much as the code that they describe. */
    cache->code_size = round_to_page(bytes / REGIONS / 2);
    cache->data_size = round_to_page(bytes / REGIONS / 2);
    int status = code_memory_create(FIXED_BYTES + REGIONS * cache->code_size,
                                    REGIONS * cache->data_size, &cache->memory, error);
    if (status != 0) {
        munmap(cache, sizeof(*cache));
        return status;
    }
    uint8_t *data = code_memory_beside(cache->memory);
    madvise(data, REGIONS * cache->data_size, MADV_HUGEPAGE); /* if the host knows how */
    uint8_t *writable = code_memory_writable(cache->memory);
    cache->displacement = code_memory_executable(cache->memory) - writable;
    for (unsigned int i = 0; i < REGIONS; i++) {
        cache->regions[i].code = writable + FIXED_BYTES + i * cache->code_size;
        cache->regions[i].data = data + i * cache->data_size;
    }
    *out = cache;
    return 0;
}

void translate_cache_destroy(struct translate_cache *cache)
{
    if (cache != NULL) {
        code_memory_destroy(cache->memory);
        munmap(cache, sizeof(*cache));
    }
}

bool translate_cache_contains(const struct translate_cache *cache, uintptr_t address)
{
    return code_memory_contains(cache->memory, address);
}

const struct translate_cache_statistics *
translate_cache_statistics(const struct translate_cache *cache)
{
    return &cache->statistics;
}

const uint8_t *translate_cache_origin(const struct translate_cache *cache)
{
    return code_memory_executable(cache->memory);
}

uint32_t translate_cache_place(const struct translate_cache *cache, const void *address)
{
    return address == NULL ? 0
                           : (uint32_t)((const uint8_t *)address - translate_cache_origin(cache));
}

/* --- room --- */

struct emitter translate_cache_begin_fixed(struct translate_cache *cache)
{
    uint8_t *writable = code_memory_writable(cache->memory);
    return (struct emitter){.at = writable + cache->fixed_used,
                            .end = writable + FIXED_BYTES,
                            .displacement = cache->displacement,
                            .origin = code_memory_executable(cache->memory)};
}

void translate_cache_end_fixed(struct translate_cache *cache, const struct emitter *emitter)
{
    cache->fixed_used = (size_t)(emitter->at - code_memory_writable(cache->memory));
}

struct emitter translate_cache_begin(struct translate_cache *cache)
{
    struct region *region = &cache->regions[cache->filling];
    region->data_used = (region->data_committed + LINE_SIZE - 1) & ~(LINE_SIZE - 1);
    return (struct emitter){.at = region->code + region->code_used,
                            .end = region->code + cache->code_size,
                            .displacement = cache->displacement,
                            .origin = code_memory_executable(cache->memory)};
}

void *translate_cache_take(struct translate_cache *cache, size_t bytes)
{
    struct region *region = &cache->regions[cache->filling];
    bytes = (bytes + 7) & ~(size_t)7;
    if (bytes > cache->data_size - region->data_used) {
        return NULL;
    }
    void *at = region->data + region->data_used;
    region->data_used += bytes;
    memset(at, 0, bytes);
    return at;
}

/* The blocks of a page have their buckets side by side: who looks for one looks for others, too. */
static struct translate_block **bucket_of(struct translate_cache *cache, uint64_t physical)
{
    uint64_t page = physical / PAGE_SIZE * UINT64_C(0x9e3779b97f4a7c15);
    uint64_t within = physical % PAGE_SIZE >> (12 - PAGE_BUCKET_BITS);
    return &cache->buckets[page >> (64 - BUCKET_BITS + PAGE_BUCKET_BITS) << PAGE_BUCKET_BITS |
                           within];
}

static unsigned int page_hash(uint64_t page)
{
    return (unsigned int)(page ^ page >> PAGE_BITS) & ((1u << PAGE_BITS) - 1);
}

static struct translate_block **page_list(struct translate_cache *cache, uint64_t page)
{
    return &cache->pages[page_hash(page)];
}

void translate_cache_commit(struct translate_cache *cache, const struct emitter *emitter,
                            struct translate_block *block)
{
    struct region *region = &cache->regions[cache->filling];
    size_t used = (size_t)(emitter->at - region->code);
    used = (used + 15) & ~(size_t)15; /* sizes of regions are multiples of it */
    cache->statistics.code_bytes += used - region->code_used;
    region->code_used = used;
    region->data_committed = region->data_used;
    struct translate_block **bucket = bucket_of(cache, block->physical);
    struct translate_block **page = page_list(cache, block->physical >> 12);
    block->hash_next = *bucket;
    block->page_next = *page;
    block->region_next = region->blocks;
    *bucket = block;
    *page = block;
    region->blocks = block;
    if (block->crosses) {
        struct translate_block **second = &cache->second_pages[page_hash(block->second)];
        block->second_next = *second;
        *second = block;
    }
}

struct translate_block *translate_cache_find(struct translate_cache *cache, uint64_t physical,
                                             uint16_t mode)
{
    struct translate_block *block = *bucket_of(cache, physical);
    while (block != NULL && (block->physical != physical || block->mode != mode)) {
        block = block->hash_next;
    }
    return block;
}

struct translate_block *translate_cache_find_rest(struct translate_block *block, uint64_t second)
{
    uint64_t physical = block->physical;
    uint16_t mode = block->mode;
    while (block != NULL &&
           (block->physical != physical || block->mode != mode || block->second != second)) {
        block = block->hash_next;
    }
    return block;
}

/* --- links --- */

static void set_destination(struct translate_cache *cache, struct translate_link *link,
                            const uint8_t *destination)
{
    link->destination = destination;
    if (link->patch != NULL) {
        emit_patch(link->patch, cache->displacement, destination);
    }
}

void translate_cache_link(struct translate_cache *cache, struct translate_link *link,
                          struct translate_block *target, unsigned int half)
{
    if (link->target != NULL || link->from->dropped) {
        return;
    }
    link->target = target;
    link->next_incoming = target->incoming;
    link->incoming_place = &target->incoming;
    if (target->incoming != NULL) {
        target->incoming->incoming_place = &link->next_incoming;
    }
    target->incoming = link;
    /* What a block that crosses is made of depends on addresses even where its page is ours. */
    if ((link->patch == NULL || target->crosses) && !link->bound) {
        link->bound = true;
        link->next_bound = cache->bound[half];
        cache->bound[half] = link;
    }
    set_destination(cache, link, link->native_flags ? target->code : target->entry_saved);
    cache->statistics.links_made++;
}

static void forget_incoming(struct translate_link *link)
{
    *link->incoming_place = link->next_incoming;
    if (link->next_incoming != NULL) {
        link->next_incoming->incoming_place = link->incoming_place;
    }
}

static void unlink_exit(struct translate_cache *cache, struct translate_link *link)
{
    forget_incoming(link);
    link->target = NULL;
    set_destination(cache, link, link->unlinked);
    cache->statistics.links_unmade++;
}

/* A link of the list may have been undone otherwise; it stays in the list until here. */
void translate_cache_unbind(struct translate_cache *cache, unsigned int half)
{
    struct translate_link *link = cache->bound[half];
    cache->bound[half] = NULL;
    while (link != NULL) {
        struct translate_link *next = link->next_bound;
        link->bound = false;
        if (link->target != NULL) {
            unlink_exit(cache, link);
        }
        link = next;
    }
}

/* --- dropping --- */

static void unhash(struct translate_cache *cache, const struct translate_block *block)
{
    struct translate_block **at = bucket_of(cache, block->physical);
    while (*at != block) {
        at = &(*at)->hash_next;
    }
    *at = block->hash_next;
}

static void unlist(struct translate_cache *cache, const struct translate_block *block)
{
    struct translate_block **at = page_list(cache, block->physical >> 12);
    while (*at != block) {
        at = &(*at)->page_next;
    }
    *at = block->page_next;
}

static void unlist_second(struct translate_cache *cache, const struct translate_block *block)
{
    struct translate_block **at = &cache->second_pages[page_hash(block->second)];
    while (*at != block) {
        at = &(*at)->second_next;
    }
    *at = block->second_next;
}

/* All but the lists of pages. */
static void drop(struct translate_cache *cache, struct translate_block *block)
{
    unhash(cache, block);
    while (block->incoming != NULL) {
        unlink_exit(cache, block->incoming);
    }
    for (unsigned int i = 0; i < block->link_count; i++) {
        if (block->links[i].target != NULL) {
            unlink_exit(cache, &block->links[i]);
        }
    }
    block->dropped = true;
    cache->statistics.blocks_dropped++;
}

void translate_cache_drop_page(struct translate_cache *cache, uint64_t page)
{
    struct translate_block **at = page_list(cache, page);
    while (*at != NULL) {
        struct translate_block *block = *at;
        if (block->physical >> 12 != page) {
            at = &block->page_next;
            continue;
        }
        *at = block->page_next;
        if (block->crosses) {
            unlist_second(cache, block);
        }
        drop(cache, block);
    }
    at = &cache->second_pages[page_hash(page)];
    while (*at != NULL) {
        struct translate_block *block = *at;
        if (block->second != page) {
            at = &block->second_next;
            continue;
        }
        *at = block->second_next;
        unlist(cache, block);
        drop(cache, block);
    }
}

static void empty_region(struct translate_cache *cache, struct region *region)
{
    for (struct translate_block *block = region->blocks; block != NULL;
         block = block->region_next) {
        if (!block->dropped) {
            unlist(cache, block);
            if (block->crosses) {
                unlist_second(cache, block);
            }
            drop(cache, block);
        }
    }
    cache->statistics.code_bytes -= region->code_used;
    region->blocks = NULL;
    region->code_used = 0;
    region->data_used = 0;
    region->data_committed = 0;
}

void translate_cache_next_region(struct translate_cache *cache)
{
    /* The lists of links into other pages may run through the region's memory. */
    translate_cache_unbind(cache, 0);
    translate_cache_unbind(cache, 1);
    cache->filling = (cache->filling + 1) % REGIONS;
    struct region *region = &cache->regions[cache->filling];
    cache->statistics.regions_evicted += region->blocks != NULL ? 1 : 0;
    empty_region(cache, region);
}

void translate_cache_drop_all(struct translate_cache *cache)
{
    for (unsigned int i = 0; i < REGIONS; i++) {
        translate_cache_next_region(cache);
    }
}
