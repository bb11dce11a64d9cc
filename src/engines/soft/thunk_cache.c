/*
 * Which form of instruction has which thunk: a hash table in front of the emitter.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "engines/soft/code_memory.h"
#include "engines/soft/thunk.h"
#include "engines/soft/thunk_emit.h"

/* Every form that exists, at some 100 bytes each, fits; pages are taken only as they are used. */
#define CODE_SIZE (UINT64_C(16) << 20)

#define INITIAL_CAPACITY 1024u /* a power of two */

struct cache_entry {
    struct thunk_form form;
    const void *code; /* NULL: empty */
};

struct thunk_cache {
    pthread_mutex_t lock; /* over all that follows */
    struct code_memory *memory;
    struct cache_entry *entries;
    size_t capacity, count;
};

int thunk_cache_create(struct thunk_cache **out, struct error *error)
{
    struct thunk_cache *cache = calloc(1, sizeof(*cache));
    struct cache_entry *entries = calloc(INITIAL_CAPACITY, sizeof(*entries));
    if (cache == NULL || entries == NULL) {
        free(cache);
        free(entries);
        return error_set(error, ENOMEM, "no memory for the table of thunks");
    }
    int result = code_memory_create(CODE_SIZE, 0, &cache->memory, error);
    if (result != 0) {
        free(cache);
        free(entries);
        return result;
    }
    pthread_mutex_init(&cache->lock, NULL);
    cache->entries = entries;
    cache->capacity = INITIAL_CAPACITY;
    *out = cache;
    return 0;
}

void thunk_cache_destroy(struct thunk_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    pthread_mutex_destroy(&cache->lock);
    code_memory_destroy(cache->memory);
    free(cache->entries);
    free(cache);
}

const struct code_memory *thunk_cache_memory(const struct thunk_cache *cache)
{
    return cache->memory;
}

static size_t hash(const struct thunk_form *form)
{
    uint64_t mixed = (form->opcode_part * UINT64_C(0x9e3779b97f4a7c15)) ^
                     (form->operand_part * UINT64_C(0xc2b2ae3d27d4eb4f));
    return (size_t)(mixed ^ mixed >> 29);
}

/* The entry that holds the form, or the empty one where it belongs. The table is never full. */
static struct cache_entry *find(struct cache_entry *entries, size_t capacity,
                                const struct thunk_form *form)
{
    size_t i = hash(form) & (capacity - 1);
    while (entries[i].code != NULL && (entries[i].form.opcode_part != form->opcode_part ||
                                       entries[i].form.operand_part != form->operand_part)) {
        i = (i + 1) & (capacity - 1);
    }
    return &entries[i];
}

static bool grow(struct thunk_cache *cache)
{
    struct cache_entry *entries = calloc(cache->capacity * 2, sizeof(*entries));
    if (entries == NULL) {
        return false;
    }
    for (size_t i = 0; i < cache->capacity; i++) {
        if (cache->entries[i].code != NULL) {
            *find(entries, cache->capacity * 2, &cache->entries[i].form) = cache->entries[i];
        }
    }
    free(cache->entries);
    cache->entries = entries;
    cache->capacity *= 2;
    return true;
}

static const void *look_up(struct thunk_cache *cache, const struct thunk_form *form)
{
    pthread_mutex_lock(&cache->lock);
    struct cache_entry *entry = find(cache->entries, cache->capacity, form);
    const void *code = entry->code;
    if (code == NULL && (cache->count < cache->capacity / 2 || grow(cache))) {
        struct thunk_code emitted;
        thunk_emit(form, &emitted);
        if (emitted.length < THUNK_CODE_MAX) { /* else it did not fit: none is that long */
            code = code_memory_add(cache->memory, emitted.bytes, emitted.length);
        }
        if (code != NULL) {
            *find(cache->entries, cache->capacity, form) = (struct cache_entry){*form, code};
            cache->count++;
        }
    }
    pthread_mutex_unlock(&cache->lock);
    return code;
}

const void *thunk_for_vector(struct thunk_cache *cache, const struct x86_instruction *in,
                             enum x86_decode_mode mode)
{
    struct thunk_form form = thunk_form_of_vector(in, mode);
    return look_up(cache, &form);
}

const void *thunk_for_x87(struct thunk_cache *cache, uint8_t opcode, uint8_t modrm)
{
    struct thunk_form form = thunk_form_of_x87(opcode, modrm);
    return look_up(cache, &form);
}
