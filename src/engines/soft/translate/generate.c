#include "engines/soft/translate/generate.h"

#include <string.h>

#include "engines/soft/translate/select.h"
#include "engines/soft/vm.h"

#define ALL_FLAGS ((uint16_t)X86_FLAGS_ARITHMETIC)

/* --- registers --- */

void generate_fill(struct generate *generate, unsigned int reg)
{
    if ((reg == T0 || reg == T1) && !generate->cached[reg - T0]) {
        emit_load(&generate->emitter, reg, GS_REGISTER(reg), 8);
        generate->cached[reg - T0] = true;
    }
}

void generate_spill(struct generate *generate, unsigned int reg)
{
    if (reg == T0 || reg == T1) {
        emit_store(&generate->emitter, GS_REGISTER(reg), reg, 8);
        generate->cached[reg - T0] = true;
    }
}

void generate_fill_read(struct generate *generate)
{
    for (unsigned int reg = T0; reg <= T1; reg++) {
        if ((generate->at->facts.reads >> reg & 1) != 0) {
            generate_fill(generate, reg);
        }
    }
}

void generate_spill_written(struct generate *generate)
{
    for (unsigned int reg = T0; reg <= T1; reg++) {
        if ((generate->at->facts.writes >> reg & 1) != 0) {
            generate_spill(generate, reg);
        }
    }
}

/* --- sites and stubs --- */

uint32_t generate_place(const struct generate *generate, const void *address)
{
    return translate_cache_place(generate->translator->cache, address);
}

uint32_t generate_here(const struct generate *generate)
{
    return generate_place(generate, emit_address(&generate->emitter));
}

struct translate_site *generate_site(struct generate *generate)
{
    struct translate_site *site =
        translate_cache_take(generate->translator->cache, sizeof(struct translate_site));
    if (site == NULL || generate->pending_count == SITES_PENDING_MAX) {
        generate->failed = true;
        return NULL;
    }
    site->offset = generate->at->offset;
    site->length = generate->at->in.decoded.length;
    site->block = generate_place(generate, generate->block);
    bool counts = generate->counts && generate->index > generate->counted;
    site->uncounted = (uint8_t)(counts ? generate->index - generate->counted : 0);
    site->recipe = generate->recipe;
    site->vectors = generate->vectors;
    generate->pending[generate->pending_count++] = site;
    return site;
}

struct stub *generate_stub(struct generate *generate, enum stub_kind kind)
{
    if (generate->stub_count == STUBS_MAX) {
        generate->failed = true;
        return &generate->nowhere;
    }
    struct stub *stub = &generate->stubs[generate->stub_count++];
    *stub = (struct stub){.kind = kind, .branch = generate->emitter.at};
    return stub;
}

struct stub *generate_stub_if(struct generate *generate, unsigned int condition,
                              enum stub_kind kind)
{
    emit_jump_if(&generate->emitter, condition, emit_address(&generate->emitter));
    return generate_stub(generate, kind);
}

/* --- exits --- */

static struct translate_link *new_link(struct generate *generate, uint16_t offset)
{
    if (generate->link_count == generate->links_max) {
        generate->failed = true;
        return NULL;
    }
    struct translate_link *link = &generate->links[generate->link_count++];
    link->from = generate->block;
    link->offset = offset;
    link->native_flags = generate->native;
    return link;
}

static const uint8_t *leave_of(const struct generate *generate)
{
    const struct translate_glue *glue = &generate->translator->glue;
    return generate->native ? glue->leave_native : glue->leave_saved;
}

static void branch_to_stub(struct generate *generate, int condition)
{
    const uint8_t *here = emit_address(&generate->emitter);
    if (condition >= 0) {
        emit_jump_if(&generate->emitter, (unsigned int)condition, here);
    } else {
        emit_jump(&generate->emitter, here);
    }
}

/* Within the page, but not to an instruction that crosses, as far as we know. */
static bool is_patched(const struct generate *generate, int64_t target)
{
    const struct unit *unit = generate->unit;
    return target >= 0 && target < (int64_t)SOFT_PAGE_SIZE &&
           !(unit->end_crosses && target == unit->end);
}

void generate_exit(struct generate *generate, int condition, int64_t target)
{
    bool code64 = unit_is_64bit(generate->unit);
    bool backward = target <= generate->at->offset;
    generate_count_instructions(generate, generate->index + 1, T0);
    struct translate_link *link = new_link(generate, (uint16_t)(target & (int64_t)SOFT_PAGE_MASK));
    if (link == NULL) {
        return;
    }
    branch_to_stub(generate, condition);
    if (backward && !generate->polled) {
        struct stub *stub = generate_stub(generate, STUB_POLL_AND_LEAVE);
        stub->link = link;
        stub->native = generate->native;
        stub->wide = code64;
        stub->pages = (int32_t)(target & ~(int64_t)SOFT_PAGE_MASK);
        link->native_flags = false;
        link->unlinked = generate->translator->glue.leave_saved;
    } else if (is_patched(generate, target)) {
        struct stub *stub = generate_stub(generate, STUB_LEAVE);
        stub->link = link;
        stub->target = leave_of(generate);
        link->patch = generate->emitter.at;
    } else {
        struct stub *stub = generate_stub(generate, STUB_ANOTHER_PAGE);
        stub->link = link;
        stub->wide = code64;
        stub->pages = (int32_t)(target & ~(int64_t)SOFT_PAGE_MASK);
        link->unlinked = leave_of(generate);
    }
    link->destination = link->unlinked;
    link->forward = !backward && !generate->polled;
}

/* A field of the jump cache's entry, whose place in it is in T1. */
static struct emit_memory jump_field(size_t field)
{
    _Static_assert(sizeof(struct translate_jump) == 32, "the index is shifted by 5 bits");
    struct emit_memory at = emit_gs(offsetof(struct soft_cpu, translate.jumps) + field);
    at.base = T1;
    return at;
}

void generate_indirect_exit(struct generate *generate, int16_t stack_undo)
{
    struct emitter *emitter = &generate->emitter;
    struct emit_memory key =
        emit_gs(offsetof(struct soft_cpu, translate.key) + (generate->upper ? 8 : 0));
    generate_scratch(generate);
    generate_count_instructions(generate, generate->index + 1, T1);
    emit_move(emitter, T1, T0);
    emit_shift(emitter, true, T1, TRANSLATE_JUMP_BITS, 8);
    emit_alu_register(emitter, EMIT_XOR, T1, T0, 4);
    emit_alu_immediate(emitter, EMIT_AND, T1, (1 << TRANSLATE_JUMP_BITS) - 1, 4);
    emit_shift(emitter, false, T1, 5, 4);
    emit_alu_memory(emitter, EMIT_CMP, T0, jump_field(offsetof(struct translate_jump, rip)));
    struct translate_site *site = generate_site(generate);
    if (site == NULL) {
        return;
    }
    site->stack_undo = stack_undo;
    struct stub *miss = generate_stub_if(generate, EMIT_IF_NOT_EQUAL, STUB_INDIRECT);
    miss->site = site;
    emit_load(emitter, T0, jump_field(offsetof(struct translate_jump, key)), 8);
    emit_alu_memory(emitter, EMIT_CMP, T0, key);
    struct stub *stale = generate_stub_if(generate, EMIT_IF_NOT_EQUAL, STUB_INDIRECT);
    stale->site = site;
    stale->reload = true;
    emit_alu_memory_immediate(emitter, EMIT_CMP, GS_FIELD(attention), 0, 4);
    struct stub *attention = generate_stub_if(generate, EMIT_IF_NOT_EQUAL, STUB_INDIRECT);
    attention->site = site;
    attention->reload = true;
    generate_count_jump(generate);
    emit_load(emitter, T0, jump_field(offsetof(struct translate_jump, page)), 8);
    emit_store(emitter, GS_REGISTER(SOFT_GPR_CODE), T0, 8);
    emit_jump_memory(emitter, jump_field(offsetof(struct translate_jump, code)));
}

/* T1 = what describes the place in the code: a site or a link. */
static void emit_description(struct generate *generate, const void *description)
{
    struct emitter *emitter = &generate->emitter;
    emit_load_effective(emitter, T1, emit_near(emitter, description), 8);
}

void generate_callout(struct generate *generate, bool last)
{
    generate_clobber_flags(generate, ALL_FLAGS);
    struct translate_site *site = generate_site(generate);
    struct soft_instruction *instruction =
        translate_cache_take(generate->translator->cache, sizeof(*instruction));
    if (site == NULL || instruction == NULL) {
        generate->failed = true;
        return;
    }
    *instruction = generate->at->in;
    site->instruction = generate_place(generate, instruction);
    site->leaves = last;
    emit_description(generate, site);
    emit_jump(&generate->emitter, generate->translator->glue.callout);
    generate->x87 = false; /* it may want the image in memory */
    generate_scratch(generate);
    generate->native = generate->saved = true; /* the glue leaves them in both places */
    generate->recipe.kind = RECIPE_NONE;
}

/* --- stubs --- */

/* Moves gpr[SOFT_GPR_CODE] to another page, without touching flags. */
static void emit_turn_page(struct generate *generate, const struct stub *stub)
{
    if (stub->pages != 0) {
        unsigned int size = stub->wide ? 8 : 4; /* outside 64-bit mode it wraps at 4 GByte */
        emit_load(&generate->emitter, T0, GS_REGISTER(SOFT_GPR_CODE), 8);
        emit_load_effective(&generate->emitter, T0, emit_at(T0, stub->pages), size);
        emit_store(&generate->emitter, GS_REGISTER(SOFT_GPR_CODE), T0, 8);
    }
}

static void emit_through_link(struct generate *generate, const struct stub *stub)
{
    emit_turn_page(generate, stub);
    emit_description(generate, stub->link);
    emit_jump_memory(&generate->emitter,
                     emit_at(T1, (int32_t)offsetof(struct translate_link, destination)));
}

static void emit_poll_and_leave(struct generate *generate, const struct stub *stub)
{
    struct emitter *emitter = &generate->emitter;
    if (stub->native) {
        generate->saved = false;
        generate_save_flags(generate, T0);
    }
    emit_alu_memory_immediate(emitter, EMIT_CMP, GS_FIELD(attention), 0, 4);
    emit_jump_if(emitter, EMIT_IF_NOT_EQUAL, emit_address(emitter));
    uint8_t *branch = emitter->at;
    emit_through_link(generate, stub);
    emit_patch_here(emitter, branch);
    emit_turn_page(generate, stub);
    emit_description(generate, stub->link);
    emit_jump(emitter, generate->translator->glue.leave_saved);
}

static void emit_stub(struct generate *generate, const struct stub *stub)
{
    struct emitter *emitter = &generate->emitter;
    emit_patch_here(emitter, stub->branch);
    switch (stub->kind) {
    case STUB_ACCESS:
        generate_linear_again(generate, &stub->address);
        emit_description(generate, stub->site);
        emit_jump(emitter, stub->target);
        break;
    case STUB_RACED:
        emit_load_effective(emitter, T0, stub->memory, 8);
        emit_description(generate, stub->site);
        emit_jump(emitter, stub->target);
        break;
    case STUB_SITE:
        emit_description(generate, stub->site);
        emit_jump(emitter, stub->target);
        break;
    case STUB_LOAD_VECTORS:
        emit_load_effective(emitter, T1, emit_near(emitter, stub->resume), 8);
        emit_jump(emitter, generate->translator->glue.load_vectors);
        break;
    case STUB_LEAVE:
        stub->link->unlinked = emit_address(emitter);
        stub->link->destination = stub->link->unlinked;
        emit_description(generate, stub->link);
        emit_jump(emitter, stub->target);
        break;
    case STUB_ANOTHER_PAGE:
        emit_through_link(generate, stub);
        break;
    case STUB_POLL_AND_LEAVE:
        emit_poll_and_leave(generate, stub);
        break;
    case STUB_INDIRECT:
        if (stub->reload) {
            emit_load(emitter, T0, jump_field(offsetof(struct translate_jump, rip)), 8);
        }
        emit_store(emitter, GS_FIELD(rip), T0, 8);
        emit_description(generate, (const uint8_t *)stub->site + 1);
        emit_jump(emitter, generate->translator->glue.leave_saved);
        break;
    }
}

/* --- the block --- */

/* The place where the instruction before ends, for the sites that resume there; NULL: nowhere. */
static void place_pending(struct generate *generate, const uint8_t *code)
{
    uint32_t place = generate_place(generate, code);
    for (unsigned int i = 0; i < generate->pending_count; i++) {
        generate->pending[i]->resume = generate->pending[i]->leaves ? 0 : place;
    }
    generate->pending_count = 0;
}

/*
 * Attention is looked at where that costs least: before an instruction that overwrites all flags,
 * so that none need be saved. If there is some, that one instruction is run by itself and the
 * flags are exact when the run loop takes over.
 */
static bool is_poll_place(const struct unit_instruction *at)
{
    return generate_overwrites_flags(at) && !x86_has_memory_operand(&at->in.decoded);
}

static bool goes_back(const struct unit_instruction *at)
{
    const struct x86_instruction *in = &at->in.decoded;
    return at->kind == UNIT_NATIVE && (in->flags & X86_INSTRUCTION_RELATIVE) != 0 &&
           at->offset + in->length + in->immediate <= at->offset;
}

/* The last poll place before the first exit that goes back; the unit's count if there is none. */
static unsigned int choose_poll(const struct unit *unit)
{
    unsigned int place = unit->count;
    for (unsigned int i = 0; i < unit->count; i++) {
        if (goes_back(&unit->instruction[i])) {
            return place;
        }
        if (is_poll_place(&unit->instruction[i])) {
            place = i;
        }
    }
    return unit->count;
}

static void emit_poll(struct generate *generate)
{
    generate->native = false;
    generate->recipe.kind = RECIPE_NONE;
    emit_alu_memory_immediate(&generate->emitter, EMIT_CMP, GS_FIELD(attention), 0, 4);
    struct stub *stub = generate_stub_if(generate, EMIT_IF_NOT_EQUAL, STUB_SITE);
    stub->target = generate->translator->glue.single;
    stub->site = generate_site(generate);
    if (stub->site != NULL) {
        stub->site->leaves = true;
    }
    generate->polled = true;
}

static void generate_instructions(struct generate *generate)
{
    struct unit *unit = generate->unit;
    unsigned int poll = choose_poll(unit);
    for (unsigned int i = 0; i < unit->count && !generate->failed; i++) {
        generate->at = &unit->instruction[i];
        generate->index = i;
        place_pending(generate, emit_address(&generate->emitter));
        generate->translator->code_of[i] = emit_address(&generate->emitter);
        if (i == poll) {
            emit_poll(generate);
        }
        if (generate->at->kind == UNIT_NATIVE) {
            translate_select(generate);
        } else {
            generate_callout(generate, generate->at->kind == UNIT_CALLOUT_LAST);
        }
    }
    const uint8_t *end = emit_address(&generate->emitter);
    generate->translator->code_of[unit->count] = end;
    place_pending(generate, unit->ends_in_transfer ? NULL : end);
    if (!unit->ends_in_transfer) {
        generate_exit(generate, -1, unit->end);
    }
}

/* How many direct exits there may be. */
static unsigned int exits_of(const struct unit *unit)
{
    unsigned int exits = 1; /* the fall through */
    for (unsigned int i = 0; i < unit->count; i++) {
        const struct unit_instruction *at = &unit->instruction[i];
        exits += (at->in.decoded.flags & X86_INSTRUCTION_RELATIVE) != 0 ? 1 : 0;
    }
    return exits;
}

/*
 * If nobody wants the flags that the block finds, but something may show them before they are
 * overwritten, they are best in cpu->arithmetic from the start.
 */
static bool wants_flags_saved(const struct unit *unit)
{
    if (translate_flags_before(&unit->instruction[0]) != 0) {
        return false;
    }
    return generate_may_show_flags(unit, 0);
}

static void generate_entry(struct generate *generate)
{
    generate->native = true;
    if (wants_flags_saved(generate->unit)) {
        generate_save_flags(generate, T0);
        generate->native = false;
    }
    generate->block->entry_saved = emit_address(&generate->emitter);
}

/* Where the flags are wanted in EFLAGS, the entry for saved ones brings them there. */
static void generate_entry_saved(struct generate *generate)
{
    if (translate_flags_before(&generate->unit->instruction[0]) != 0) {
        generate->block->entry_saved = emit_address(&generate->emitter);
        generate_restore_flags(generate, T0);
        emit_jump(&generate->emitter, generate->block->code);
    }
}

/*
 * The guest's code as it was read: whatever of it C runs later must be the instruction that the
 * code behind it was made for, even if the page has been changed or remapped meanwhile. NULL: the
 * region is full.
 */
static uint8_t *keep_bytes(struct translate_cache *cache, const struct unit *unit)
{
    unsigned int first = unit->instruction[0].offset;
    uint8_t *bytes = translate_cache_take(cache, unit->end - first);
    for (unsigned int i = 0; bytes != NULL && i < unit->count; i++) {
        const struct unit_instruction *at = &unit->instruction[i];
        memcpy(bytes + (at->offset - first), at->in.bytes, at->in.decoded.length);
    }
    return bytes;
}

struct translate_block *translate_generate(struct soft_cpu *cpu)
{
    struct translator *translator = cpu->translate.translator;
    struct translate_cache *cache = translator->cache;
    struct unit *unit = &translator->unit;
    struct generate generate;
    memset(&generate, 0, offsetof(struct generate, stubs));
    generate.stub_count = 0;
    generate.cpu = cpu;
    generate.translator = translator;
    generate.unit = unit;
    generate.producer = -1;
    generate.counts = cpu->vm->options.count;
    generate.upper = (unit->mode & TRANSLATE_UPPER) != 0;
    generate.emitter = translate_cache_begin(cache);
    uint8_t *start = generate.emitter.at;
    generate.block = translate_cache_take(cache, sizeof(*generate.block));
    generate.links_max = exits_of(unit);
    generate.links =
        translate_cache_take(cache, generate.links_max * sizeof(struct translate_link));
    uint8_t *bytes = keep_bytes(cache, unit);
    if (generate.block == NULL || generate.links == NULL || bytes == NULL) {
        return NULL;
    }
    struct translate_block *block = generate.block;
    block->bytes = bytes;
    block->code = emit_address(&generate.emitter);
    translate_liveness(unit);
    translate_find_groups(unit);
    generate_entry(&generate);
    generate_count_block(&generate);
    generate_instructions(&generate);
    generate_entry_saved(&generate);
    for (unsigned int i = 0; i < generate.stub_count && !generate.failed; i++) {
        emit_stub(&generate, &generate.stubs[i]);
    }
    if (generate.failed || generate.emitter.full) {
        return NULL;
    }
    block->physical = unit->physical;
    block->mode = unit->mode;
    block->crosses = unit->crosses;
    block->second = unit->second;
    block->count = (uint16_t)unit->count;
    block->guest_length = (uint16_t)(unit->end - (unit->physical & SOFT_PAGE_MASK));
    block->code_length = (uint32_t)(generate.emitter.at - start);
    block->links = generate.links;
    block->link_count = generate.link_count;
    translate_cache_commit(cache, &generate.emitter, block);
    return block;
}
