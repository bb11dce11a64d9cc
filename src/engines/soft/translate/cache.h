/*
 * Translated blocks: where they are kept, found, linked and dropped.
 *
 * Purpose: bounded memory. A vCPU's share of the code cache is cut into regions that are filled in
 *          turn; when the last is full, the oldest is emptied with all its blocks and filled again.
 *          A region holds code, and beside it what describes that code.
 * Owner:   one vCPU. Thread: its own. Blocks go only between two runs of translated code, so that
 *          no code vanishes while it runs.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TRANSLATE_CACHE_H
#define TRAPEZE_ENGINES_SOFT_TRANSLATE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engines/soft/translate/emit.h"
#include "engines/soft/translate/recipe.h"

struct translate_block;
struct translate_cache;

/*
 * A direct exit of a block. Unlinked, it leads to glue code that returns it to C. A link within a
 * page is a branch instruction that is patched; one into another page is bound to what linear
 * addresses mean now, and goes through `destination`, so that undoing it costs one store.
 */
struct translate_link {
    const uint8_t *destination; /* read by the code of links into other pages */
    const uint8_t *unlinked;    /* what the exit goes to as long as it has no target */
    uint8_t *patch;             /* end of the branch in the writable mapping; NULL: no patching */
    struct translate_block *from, *target;
    struct translate_link *next_incoming, **incoming_place; /* in the target's list */
    struct translate_link *next_bound;                      /* of those that address changes undo */
    uint16_t offset;                                        /* of the target within its page */
    bool native_flags; /* flags are in EFLAGS, else in cpu->arithmetic */
    bool bound;        /* in the list of its half */
    bool forward;      /* attention is not looked at on the way: must lead to higher addresses */
};

/*
 * A place in translated code that may call C, or that C must know: it says which guest instruction
 * it belongs to.
 */
struct translate_site {
    /* --- places: see translate_place --- */
    uint32_t resume; /* where to go on behind the instruction; none: nowhere, leave */
    /* An access: where to go on with the host's address in T0, or the stack's page noted. */
    uint32_t with_address;
    uint32_t instruction; /* callouts: a struct soft_instruction; else none */
    uint32_t block;       /* struct translate_block */

    struct translate_recipe recipe; /* of the flags before the instruction */
    uint16_t offset;                /* of the instruction within the page */
    uint16_t
        limit; /* its access must begin below it, in its page; of a store: 4097: somewhere in it */
    int16_t from; /* a group: its lowest address, relative to that of the leader's own access */
    int16_t stack_undo; /* to be added to RSP before the instruction can be run again */
    uint8_t length;     /* of the instruction */
    uint8_t uncounted;  /* instructions before it that are not yet in cpu->instructions */
    bool by_stack : 1;  /* the access is by RSP */
    bool leads : 1;     /* it is a group's */
    bool own_write : 1; /* … whose leader's own access is a store */
    bool write : 1;     /* what is looked up needs a write tag */
    bool alone : 1;     /* on a miss the interpreter runs the whole instruction */
    bool leaves : 1;    /* control goes back to the run loop behind it */
    bool keeps : 1;     /* … since what it had to keep is not kept (RECIPE_MEMORY) */
    bool vectors : 1;   /* code behind it counts on vector registers being loaded */
};

/*
 * In descriptions, what lies in the cache's memory is told by its distance from the memory's
 * beginning (struct translate_state has that, too). 0: none, for NULL.
 */
uint32_t translate_cache_place(const struct translate_cache *cache, const void *address);
const uint8_t *translate_cache_origin(const struct translate_cache *cache);

struct translate_block {
    /* what looking for it and entering it needs, in one line of the host's cache */
    struct translate_block *hash_next;
    uint64_t physical;
    const uint8_t *code, *entry_saved; /* entries for native and for saved flags */
    uint64_t second; /* if it crosses: the page, address >> 12, that its last bytes are in */
    struct translate_link *incoming;
    uint16_t mode;
    bool crosses; /* one instruction, which begins at the end of a page: see translator.h */
    bool dropped;
    uint16_t guest_length; /* bytes */
    uint16_t count;        /* instructions */
    uint32_t code_length;
    const uint8_t *bytes; /* of the guest's instructions, as they were translated */
    unsigned int link_count;
    struct translate_link *links; /* its own exits */
    struct translate_block *page_next, *second_next, *region_next;
};

int translate_cache_create(size_t bytes, struct translate_cache **out, struct error *error);
void translate_cache_destroy(struct translate_cache *cache); /* NULL is allowed */

/* For code that stays as long as the cache: the glue. */
struct emitter translate_cache_begin_fixed(struct translate_cache *cache);
void translate_cache_end_fixed(struct translate_cache *cache, const struct emitter *emitter);

/* Room to emit into, from the region being filled. */
struct emitter translate_cache_begin(struct translate_cache *cache);
/*
 * Memory for descriptions, which lives as long as the region. NULL: the region is full. What was
 * taken since translate_cache_begin is given back if no block is committed.
 */
void *translate_cache_take(struct translate_cache *cache, size_t bytes);
/* Empties the next region and makes it the one to fill. */
void translate_cache_next_region(struct translate_cache *cache);
/* Keeps the code between begin and emitter->at, and enters the block. */
void translate_cache_commit(struct translate_cache *cache, const struct emitter *emitter,
                            struct translate_block *block);

struct translate_block *translate_cache_find(struct translate_cache *cache, uint64_t physical,
                                             uint16_t mode);
/* A block that crosses begins like another: the one whose rest is in the page `second`. */
struct translate_block *translate_cache_find_rest(struct translate_block *block, uint64_t second);

/* target must be what the link's RIP means now. */
void translate_cache_link(struct translate_cache *cache, struct translate_link *link,
                          struct translate_block *target, unsigned int half);
/* Undoes the links that lead into other pages, of one half of the address space. */
void translate_cache_unbind(struct translate_cache *cache, unsigned int half);

/* page = physical address >> 12 */
void translate_cache_drop_page(struct translate_cache *cache, uint64_t page);
void translate_cache_drop_all(struct translate_cache *cache);

/* True if a host instruction pointer lies in the code. Async-signal-safe. */
bool translate_cache_contains(const struct translate_cache *cache, uintptr_t address);

struct translate_cache_statistics {
    uint64_t links_made, links_unmade, blocks_dropped, regions_evicted, code_bytes;
};
const struct translate_cache_statistics *
translate_cache_statistics(const struct translate_cache *cache);

#endif
