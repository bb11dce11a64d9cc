#include "engines/soft/block.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engines/soft/code.h"
#include "engines/soft/dispatch.h"
#include "engines/soft/fast.h"
#include "engines/soft/fast_operand.h"
#include "engines/soft/tlb_set.h"
#include "engines/soft/translate.h"
#include "engines/soft/translate/translate.h"
#include "engines/soft/trap.h"

#define ARENA_BYTES     (UINT64_C(32) << 20)
#define BLOCK_OPS_MAX   64
#define BUCKET_BITS     16
#define PAGE_BITS       11
#define JUMP_BITS       12
#define FETCH_BYTES_MAX 16

struct block {
    struct block *hash_next;
    struct block *page_next;
    uint64_t physical;
    /* Where it was entered last, and when: blocks may run at several linear addresses. */
    uint64_t rip;
    uint64_t generation;
    uint8_t mode;
    struct soft_op ops[];
};

/* Where a RIP leads, as long as no address has changed its meaning. */
struct jump {
    uint64_t rip;
    uint64_t stamp; /* generation and mode; 0 never matches */
    const struct soft_op *ops;
};

struct soft_block_cache {
    struct jump jumps[1u << JUMP_BITS];
    struct block *buckets[1u << BUCKET_BITS]; /* by physical address and mode */
    struct block *pages[1u << PAGE_BITS];     /* by physical page */
    uint8_t *arena;
    size_t used;
    /* for an instruction that crosses a page: run by soft_run_single each time */
    struct soft_op crossing[1];
    struct soft_block_statistics statistics;
};

/*
 * The arena between two pages that nobody may touch: nothing runs over its ends unseen, and in the
 * process's memory map it stands by itself, so that tools tell it from the rest.
 */
static uint8_t *arena_map(void)
{
    uint8_t *whole = mmap(NULL, ARENA_BYTES + 2 * SOFT_PAGE_SIZE, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (whole == MAP_FAILED) {
        return NULL;
    }
    uint8_t *arena = whole + SOFT_PAGE_SIZE;
    if (mprotect(arena, ARENA_BYTES, PROT_READ | PROT_WRITE) != 0) {
        int code = errno;
        munmap(whole, ARENA_BYTES + 2 * SOFT_PAGE_SIZE);
        errno = code;
        return NULL;
    }
    return arena;
}

static void arena_unmap(uint8_t *arena)
{
    munmap(arena - SOFT_PAGE_SIZE, ARENA_BYTES + 2 * SOFT_PAGE_SIZE);
}

int soft_block_cache_create(struct soft_cpu *cpu)
{
    struct soft_block_cache *cache =
        mmap(NULL, sizeof(*cache), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (cache == MAP_FAILED) {
        return -errno;
    }
    cache->arena = arena_map();
    if (cache->arena == NULL) {
        int code = errno;
        munmap(cache, sizeof(*cache));
        return -code;
    }
    cpu->code_generation[0] = cpu->code_generation[1] = cpu->last_code_generation = 1;
    cache->crossing[0].handler = soft_op_single;
    cpu->blocks = cache;
    return 0;
}

void soft_block_cache_destroy(struct soft_cpu *cpu)
{
    if (cpu->blocks != NULL) {
        arena_unmap(cpu->blocks->arena);
        munmap(cpu->blocks, sizeof(*cpu->blocks));
        cpu->blocks = NULL;
    }
}

/* Links remember 32 bits of a generation, so that none may live through a whole round of them. */
static bool round_ends(const struct soft_cpu *cpu)
{
    return (uint32_t)cpu->last_code_generation >= UINT32_MAX - 2;
}

void soft_block_cache_forget_half(struct soft_cpu *cpu, uint64_t linear)
{
    if (round_ends(cpu)) {
        soft_block_cache_drop_all(cpu);
    } else {
        cpu->code_generation[linear >> 63] = ++cpu->last_code_generation;
    }
}

void soft_block_cache_forget_addresses(struct soft_cpu *cpu)
{
    soft_block_cache_forget_half(cpu, 0);
    soft_block_cache_forget_half(cpu, UINT64_MAX);
    soft_tlb_forget_code_of_others(cpu);
}

/* --- finding and dropping --- */

static struct block **bucket_of(struct soft_block_cache *cache, uint64_t physical)
{
    /* Fibonacci hashing: neighbouring blocks are a few bytes apart, their pages a few thousand. */
    uint64_t hash = physical * UINT64_C(0x9e3779b97f4a7c15) >> (64 - BUCKET_BITS);
    return &cache->buckets[hash];
}

static struct block **page_list(struct soft_block_cache *cache, uint64_t page)
{
    return &cache->pages[(page ^ page >> PAGE_BITS) & ((1u << PAGE_BITS) - 1)];
}

static void unhash(struct soft_block_cache *cache, const struct block *block)
{
    struct block **link = bucket_of(cache, block->physical);
    while (*link != NULL && *link != block) {
        link = &(*link)->hash_next;
    }
    if (*link != NULL) {
        *link = block->hash_next;
    }
}

void soft_block_cache_drop_page(struct soft_cpu *cpu, uint64_t page)
{
    struct soft_block_cache *cache = cpu->blocks;
    if (!soft_code_is_held(cpu, page << 12)) {
        return;
    }
    struct block **link = page_list(cache, page);
    while (*link != NULL) {
        struct block *block = *link;
        if (block->physical >> 12 != page) {
            link = &block->page_next;
            continue;
        }
        unhash(cache, block);
        *link = block->page_next;
        cache->statistics.dropped++;
    }
    if (translate_is_on(cpu)) {
        translate_drop_page(cpu, page);
    }
    soft_code_release(cpu, page << 12);
    soft_block_cache_forget_addresses(cpu);
}

void soft_block_cache_drop_all(struct soft_cpu *cpu)
{
    struct soft_block_cache *cache = cpu->blocks;
    memset(cache->buckets, 0, sizeof(cache->buckets));
    memset(cache->pages, 0, sizeof(cache->pages));
    if (round_ends(cpu)) {
        cpu->last_code_generation |= UINT32_MAX; /* the next number begins a round */
    }
    cpu->code_generation[0] = ++cpu->last_code_generation;
    cpu->code_generation[1] = ++cpu->last_code_generation;
    soft_tlb_forget_code_of_others(cpu);
    cpu->link_from = NULL; /* it was in the arena */
    cache->used = 0;
    cache->statistics.flushes++;
}

static struct block *find(struct soft_block_cache *cache, uint64_t physical, uint8_t mode)
{
    struct block *block = *bucket_of(cache, physical);
    while (block != NULL && (block->physical != physical || block->mode != mode)) {
        block = block->hash_next;
    }
    return block;
}

void soft_block_cache_statistics(const struct soft_block_cache *cache,
                                 struct soft_block_statistics *statistics)
{
    *statistics = cache->statistics;
    statistics->arena_bytes = cache->used;
}

/* --- building --- */

static void *arena_take(struct soft_block_cache *cache, size_t bytes)
{
    void *at = cache->arena + cache->used;
    cache->used += (bytes + 15) & ~(size_t)15;
    return at;
}

static void undefined_too_long(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    soft_raise_error(cpu, X86_VECTOR_GP, 0);
}

static bool vex_in_wrong_mode(const struct soft_cpu *cpu, const struct x86_instruction *decoded)
{
    return decoded->encoding == X86_ENCODING_VEX && (cpu->mode & SOFT_MODE_REAL) != 0;
}

/* Decides how an instruction is to be run in tier 2. */
unsigned int soft_instruction_prepare(struct soft_cpu *cpu, struct soft_instruction *in,
                                      enum x86_decode_result result)
{
    static const struct soft_execute_entry undefined = {soft_undefined, SOFT_ENDS_BLOCK, NULL};
    const struct soft_execute_entry *entry = &undefined;
    if (result == X86_DECODE_TOO_LONG) {
        in->execute = undefined_too_long;
        return SOFT_ENDS_BLOCK;
    }
    if (result == X86_DECODE_OK && soft_has(cpu, (enum x86_feature)in->decoded.feature) &&
        !vex_in_wrong_mode(cpu, &in->decoded) &&
        soft_execute_table[in->decoded.operation].execute != NULL) {
        entry = &soft_execute_table[in->decoded.operation];
    }
    in->execute = entry->execute;
    if (entry->prepare != NULL) {
        entry->prepare(cpu, in);
    }
    if (cpu->vm->traps_all && entry != &undefined && soft_must_trap(in->decoded.operation)) {
        in->execute = soft_trap;
        return SOFT_ENDS_BLOCK;
    }
    return entry->flags;
}

void soft_code_reader_start(struct soft_code_reader *reader, uint64_t physical, const uint8_t *host)
{
    reader->offset = (unsigned int)(physical & SOFT_PAGE_MASK);
    reader->physical = physical - reader->offset;
    reader->host = host - reader->offset;
    reader->marked = reader->offset & ~((1u << SOFT_GRANULE_SHIFT) - 1);
}

static void mark(struct soft_cpu *cpu, struct soft_code_reader *reader, unsigned int end)
{
    if (end > reader->marked) {
        unsigned int from = reader->marked;
        soft_code_mark(cpu, reader->physical + from, end - from);
        reader->marked = (end + (1u << SOFT_GRANULE_SHIFT) - 1) & ~((1u << SOFT_GRANULE_SHIFT) - 1);
    }
}

enum x86_decode_result soft_code_reader_decode(struct soft_cpu *cpu,
                                               struct soft_code_reader *reader,
                                               struct soft_instruction *in)
{
    unsigned int available = (unsigned int)SOFT_PAGE_SIZE - reader->offset;
    if (available > X86_INSTRUCTION_MAX) {
        available = X86_INSTRUCTION_MAX;
    }
    mark(cpu, reader, reader->offset + available);
    memcpy(in->bytes, reader->host + reader->offset, available);
    enum x86_decode_mode mode = cpu->mode & SOFT_MODE_DECODE;
    return x86_decode(mode, in->bytes, available, &in->decoded);
}

enum x86_decode_result soft_code_reader_decode_across(struct soft_cpu *cpu,
                                                      const struct soft_code_reader *reader,
                                                      const struct soft_translation *next,
                                                      struct soft_instruction *in)
{
    unsigned int have = (unsigned int)SOFT_PAGE_SIZE - reader->offset;
    unsigned int rest = X86_INSTRUCTION_MAX - have;
    soft_code_mark(cpu, next->physical, rest);
    memcpy(in->bytes + have, next->host, rest);
    enum x86_decode_mode mode = cpu->mode & SOFT_MODE_DECODE;
    return x86_decode(mode, in->bytes, X86_INSTRUCTION_MAX, &in->decoded);
}

struct builder {
    struct soft_cpu *cpu;
    struct soft_block_cache *cache;
    struct soft_code_reader reader;
    struct soft_op ops[BLOCK_OPS_MAX + 1];
    unsigned int count;
};

/* Appends one instruction; returns true if the block must end after it. */
static bool append(struct builder *builder, const struct soft_instruction *decoded,
                   enum x86_decode_result result)
{
    struct soft_cpu *cpu = builder->cpu;
    struct soft_op *op = &builder->ops[builder->count++];
    memset(op, 0, sizeof(*op));
    op->offset = (uint16_t)builder->reader.offset;
    op->length = decoded->decoded.length;
    if (result == X86_DECODE_OK && (cpu->mode & SOFT_MODE_FAST) != 0 &&
        soft_has(cpu, (enum x86_feature)decoded->decoded.feature)) {
        enum soft_fast_kind kind = soft_fast_lower(cpu, &decoded->decoded, op, builder->count);
        if (kind != SOFT_FAST_NONE) {
            return kind == SOFT_FAST_LAST;
        }
    }
    struct soft_instruction *in = arena_take(builder->cache, sizeof(*in));
    *in = *decoded;
    bool last = (soft_instruction_prepare(cpu, in, result) & SOFT_ENDS_BLOCK) != 0;
    op->instruction = in;
    op->count = (uint8_t)builder->count;
    /* What leaves from here must have counted the instructions before it. */
    op->handler = in->execute == soft_trap ? fast_give_up : soft_op_tier2(cpu, last);
    return last;
}

static void append_end(struct builder *builder)
{
    struct soft_op *op = &builder->ops[builder->count];
    memset(op, 0, sizeof(*op));
    op->handler = soft_op_end;
    op->offset = (uint16_t)builder->reader.offset;
    op->displacement = (int32_t)builder->reader.offset;
    op->branch_is_local = builder->reader.offset < SOFT_PAGE_SIZE;
    op->count = (uint8_t)builder->count;
    builder->count++;
}

static const struct soft_op *commit(struct builder *builder, uint64_t physical)
{
    struct soft_block_cache *cache = builder->cache;
    size_t bytes = builder->count * sizeof(struct soft_op);
    struct block *block = arena_take(cache, sizeof(*block) + bytes);
    memcpy(block->ops, builder->ops, bytes);
    block->physical = physical;
    block->rip = 0;
    block->generation = 0;
    block->mode = builder->cpu->mode;
    struct block **bucket = bucket_of(cache, physical);
    struct block **page = page_list(cache, physical >> 12);
    block->hash_next = *bucket;
    block->page_next = *page;
    *bucket = block;
    *page = block;
    cache->statistics.built++;
    return block->ops;
}

/* The block at a physical address; NULL if its first instruction crosses the page. */
static const struct soft_op *build(struct soft_cpu *cpu, uint64_t physical, const uint8_t *host)
{
    struct soft_block_cache *cache = cpu->blocks;
    size_t worst = sizeof(struct block) + (BLOCK_OPS_MAX + 1) * (sizeof(struct soft_op) + 16 +
                                                                 sizeof(struct soft_instruction));
    if (cache->used + worst > ARENA_BYTES) {
        soft_block_cache_drop_all(cpu);
    }
    struct builder builder = {.cpu = cpu, .cache = cache};
    soft_code_reader_start(&builder.reader, physical, host);
    bool last = false;
    while (!last && builder.count < BLOCK_OPS_MAX && builder.reader.offset < SOFT_PAGE_SIZE) {
        struct soft_instruction in;
        memset(&in, 0, sizeof(in));
        enum x86_decode_result result = soft_code_reader_decode(cpu, &builder.reader, &in);
        if (result == X86_DECODE_TRUNCATED) {
            if (builder.count == 0) {
                return NULL;
            }
            break;
        }
        last = append(&builder, &in, result);
        builder.reader.offset += in.decoded.length;
    }
    if (!last) {
        append_end(&builder);
    }
    return commit(&builder, physical);
}

/* --- entering --- */

static uint64_t stamp(const struct soft_cpu *cpu, uint64_t rip)
{
    return cpu->code_generation[rip >> 63] << 8 | cpu->mode;
}

static struct jump *jump_of(struct soft_block_cache *cache, uint64_t rip)
{
    uint64_t hash = rip ^ rip >> JUMP_BITS;
    return &cache->jumps[hash & ((1u << JUMP_BITS) - 1)];
}

/* What runs often is for the translator, which must see each block that is entered. */
static bool is_for_translator(const struct soft_cpu *cpu)
{
    return translate_is_on(cpu) && (cpu->mode & SOFT_MODE_FAST) != 0;
}

const struct soft_op *soft_jump(struct soft_cpu *cpu, uint64_t rip)
{
    const struct jump *jump = jump_of(cpu->blocks, rip);
    cpu->rip = rip;
    if (jump->rip == rip && jump->stamp == stamp(cpu, rip) && !is_for_translator(cpu) &&
        atomic_load_explicit(&cpu->attention, memory_order_relaxed) == 0) {
        cpu->gpr[SOFT_GPR_CODE] = rip - jump->ops->offset;
        return jump->ops;
    }
    return NULL;
}

/* "Limit Checking" and canonicality of the instruction pointer. */
static uint64_t fetch_linear(struct soft_cpu *cpu)
{
    if (soft_64bit(cpu)) {
        if (!soft_canonical(cpu, cpu->rip)) {
            soft_raise_error(cpu, X86_VECTOR_GP, 0);
        }
        return cpu->rip;
    }
    if (cpu->rip > cpu->segment[X86_CS].limit) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    return (cpu->rip + cpu->segment[X86_CS].base) & 0xffffffff;
}

static struct soft_translation translate_fetch(struct soft_cpu *cpu, uint64_t linear)
{
    const struct soft_tlb *tlb = cpu->tlb;
    unsigned int index = soft_tlb_index(linear);
    const struct soft_tlb_entry *entry = &tlb->entry[index];
    uint64_t offset = linear - entry->fetch_tag;
    if (offset < SOFT_PAGE_SIZE) {
        return (struct soft_translation){.physical = tlb->detail[index].physical + offset,
                                         .host = entry->host + offset};
    }
    return soft_translate(cpu, soft_current_regime(cpu), linear, SOFT_FETCH);
}

static const struct block *block_of(const struct soft_op *ops)
{
    return (const struct block *)((const char *)ops - offsetof(struct block, ops));
}

bool soft_block_is_at(const struct soft_cpu *cpu, const struct soft_op *ops, uint64_t rip)
{
    const struct block *block = block_of(ops);
    return block->rip == rip && block->generation == cpu->code_generation[rip >> 63];
}

/*
 * Makes the direct branch that led here remember it. Within a page the link is good as long as the
 * blocks are: both go when the page changes. Into another page it holds at one linear address and
 * while none changes its meaning (soft_block_is_at).
 */
static void link_branch(struct soft_cpu *cpu, const struct soft_op *ops)
{
    struct soft_op *from = cpu->link_from;
    cpu->link_from = NULL;
    if (from == NULL || is_for_translator(cpu)) {
        return;
    }
    if (from->branch_is_local) {
        /* An end has the count of the last instruction, but stands behind it. */
        unsigned int position = from->count - (from->handler == soft_op_end ? 0u : 1u);
        const struct block *here = block_of(from - position);
        if (here->physical >> 12 != block_of(ops)->physical >> 12) {
            return; /* the page was remapped under us */
        }
    }
    struct block *block = (struct block *)(uintptr_t)block_of(ops); /* it lies in the arena */
    block->rip = cpu->rip;
    block->generation = cpu->code_generation[cpu->rip >> 63];
    from->target = ops;
}

struct soft_translation soft_block_fetch(struct soft_cpu *cpu)
{
    return translate_fetch(cpu, fetch_linear(cpu));
}

struct soft_translation soft_block_fetch_next(struct soft_cpu *cpu)
{
    uint64_t linear = (cpu->rip | SOFT_PAGE_MASK) + 1;
    bool exists = soft_64bit(cpu) ? soft_canonical(cpu, linear) && linear != 0
                                  : linear <= cpu->segment[X86_CS].limit;
    if (!exists) {
        return (struct soft_translation){0};
    }
    return translate_fetch(cpu, linear + cpu->code_base);
}

const struct soft_op *soft_block_enter(struct soft_cpu *cpu)
{
    struct soft_block_cache *cache = cpu->blocks;
    uint64_t rip = cpu->rip;
    struct jump *jump = jump_of(cache, rip);
    if (jump->rip == rip && jump->stamp == stamp(cpu, rip)) {
        cpu->gpr[SOFT_GPR_CODE] = rip - jump->ops->offset;
        link_branch(cpu, jump->ops);
        return jump->ops;
    }
    uint64_t linear = fetch_linear(cpu);
    struct soft_translation at = translate_fetch(cpu, linear);
    if (at.host == NULL) {
        cpu->link_from = NULL;
        return cache->crossing; /* code in a device: through the bus, a byte at a time */
    }
    struct block *block = find(cache, at.physical, cpu->mode);
    const struct soft_op *ops = block != NULL ? block->ops : build(cpu, at.physical, at.host);
    if (ops == NULL) {
        cpu->link_from = NULL;
        return cache->crossing;
    }
    jump = jump_of(cache, rip);
    *jump = (struct jump){.rip = rip, .stamp = stamp(cpu, rip), .ops = ops};
    cpu->gpr[SOFT_GPR_CODE] = rip - ops->offset;
    link_branch(cpu, ops);
    return ops;
}

/* --- one instruction at a time --- */

/* Fetches bytes at cpu->rip up to a page's end, then beyond it only as far as they are needed. */
static enum x86_decode_result fetch_decode(struct soft_cpu *cpu, struct soft_instruction *in)
{
    enum x86_decode_mode mode = cpu->mode & SOFT_MODE_DECODE;
    unsigned int have = 0;
    enum x86_decode_result result = X86_DECODE_TRUNCATED;
    uint64_t limit = soft_64bit(cpu) ? UINT64_MAX : cpu->segment[X86_CS].limit;
    while (result == X86_DECODE_TRUNCATED && have < X86_INSTRUCTION_MAX) {
        if (cpu->rip + have > limit) {
            soft_raise_error(cpu, X86_VECTOR_GP, 0);
        }
        uint64_t linear = cpu->rip + have;
        linear = soft_64bit(cpu) ? linear : (linear + cpu->segment[X86_CS].base) & 0xffffffff;
        if (soft_64bit(cpu) && !soft_canonical(cpu, linear)) {
            soft_raise_error(cpu, X86_VECTOR_GP, 0);
        }
        struct soft_translation at = translate_fetch(cpu, linear);
        unsigned int rest = (unsigned int)(SOFT_PAGE_SIZE - (linear & SOFT_PAGE_MASK));
        if (at.host == NULL) {
            in->bytes[have++] = (uint8_t)soft_mmio_read(cpu, at.physical, 1);
        } else {
            unsigned int room = X86_INSTRUCTION_MAX - have;
            unsigned int piece = rest < room ? rest : room;
            memcpy(in->bytes + have, at.host, piece);
            have += piece;
        }
        result = x86_decode(mode, in->bytes, have, &in->decoded);
    }
    if (result == X86_DECODE_OK && cpu->rip + in->decoded.length - 1 > limit) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    return result;
}

static void run_decoded(struct soft_cpu *cpu, struct soft_instruction *in,
                        enum x86_decode_result result)
{
    cpu->next_rip = cpu->rip + in->decoded.length;
    soft_instruction_prepare(cpu, in, result);
    in->execute(cpu, in);
    cpu->rip = soft_64bit(cpu) ? cpu->next_rip : cpu->next_rip & 0xffffffff;
    cpu->instructions++;
    cpu->code_changed = false;
}

enum x86_operation soft_run_single(struct soft_cpu *cpu)
{
    struct soft_instruction in;
    memset(&in, 0, sizeof(in));
    fetch_linear(cpu);
    enum x86_decode_result result = fetch_decode(cpu, &in);
    run_decoded(cpu, &in, result);
    return in.decoded.operation;
}

void soft_run_bytes(struct soft_cpu *cpu, const uint8_t *bytes, unsigned int length)
{
    struct soft_instruction in;
    memset(&in, 0, sizeof(in));
    memcpy(in.bytes, bytes, length);
    enum x86_decode_result result =
        x86_decode(cpu->mode & SOFT_MODE_DECODE, in.bytes, length, &in.decoded);
    run_decoded(cpu, &in, result);
}
