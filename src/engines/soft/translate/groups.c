#include "engines/soft/translate/groups.h"

#include <string.h>

#include "engines/soft/translate/select.h"

#define RANGE_MAX 512 /* bytes; the wider, the more often a group runs over the end of a page */

#define REGISTERS      18 /* the general registers, none, RIP */
#define CANDIDATES_MAX (UNIT_MAX * UNIT_ACCESSES)
#define NOBODY         0xff

/* A register's value as far as it is known: some unknown one, and a distance from it. */
struct value {
    uint32_t unknown;
    int32_t offset;
};

/* A group being collected. Addresses are relative to base.unknown and index.unknown. */
struct candidate {
    uint32_t base, index;
    uint8_t scale;
    bool write;
    bool committed; /* from the leader control is sure to come to here */
    uint8_t members;
    int8_t slot;
    int32_t leader_at, from, to;
};

struct analysis {
    struct unit *unit;
    struct value values[REGISTERS];
    uint32_t next_unknown;
    struct candidate candidates[CANDIDATES_MAX];
    unsigned int count;
    uint8_t owner[UNIT_MAX][UNIT_ACCESSES]; /* the candidate that an access belongs to */
    int32_t from[UNIT_MAX][UNIT_ACCESSES];  /* its address, as its candidate's are told */
};

_Static_assert(CANDIDATES_MAX < NOBODY, "candidates are numbered by bytes");

static void forget(struct analysis *analysis, unsigned int reg)
{
    analysis->values[reg] = (struct value){.unknown = analysis->next_unknown++};
}

static void forget_all(struct analysis *analysis)
{
    for (unsigned int reg = 0; reg < REGISTERS; reg++) {
        forget(analysis, reg);
    }
}

/* --- accesses --- */

static struct candidate *find(struct analysis *analysis, const struct candidate *wanted)
{
    for (unsigned int i = analysis->count; i-- > 0;) {
        struct candidate *at = &analysis->candidates[i];
        if (at->base == wanted->base && at->index == wanted->index && at->scale == wanted->scale) {
            return at;
        }
    }
    return NULL;
}

/* Takes an access into a candidate's group, if that stays a good one. */
static bool join(struct candidate *candidate, const struct candidate *one)
{
    int32_t from = candidate->from < one->from ? candidate->from : one->from;
    int32_t to = candidate->to > one->to ? candidate->to : one->to;
    bool upgrade = one->write && !candidate->write;
    if ((int64_t)to - from > RANGE_MAX || (upgrade && !candidate->committed)) {
        return false;
    }
    candidate->from = from;
    candidate->to = to;
    candidate->write |= one->write;
    candidate->members++;
    return true;
}

static void note(struct analysis *analysis, struct candidate *one, unsigned int place,
                 enum unit_access access)
{
    struct candidate *candidate = find(analysis, one);
    analysis->from[place][access] = one->from;
    if (candidate == NULL || !join(candidate, one)) {
        one->leader_at = one->from;
        one->committed = true;
        one->members = 1;
        candidate = &analysis->candidates[analysis->count++];
        *candidate = *one;
    }
    analysis->owner[place][access] = (uint8_t)(candidate - analysis->candidates);
}

static void note_operand(struct analysis *analysis, const struct unit_instruction *at,
                         unsigned int place)
{
    const struct x86_instruction *in = &at->in.decoded;
    bool code64 = unit_is_64bit(analysis->unit);
    if (in->segment == X86_FS || in->segment == X86_GS || in->memory_size == 0 ||
        in->address_size != (code64 ? 8 : 4) || in->memory_size > 64) {
        return;
    }
    struct value base = analysis->values[in->base], index = analysis->values[in->index];
    int64_t offset =
        (int64_t)in->displacement + base.offset + (int64_t)index.offset * (INT64_C(1) << in->scale);
    if (in->base == X86_REGISTER_RIP) {
        offset += at->offset + in->length;
    }
    if (offset != (int16_t)offset && in->base != X86_REGISTER_RIP) {
        return; /* far from its register: hardly with others, and sums must not overflow */
    }
    if (offset != (int32_t)offset || offset > INT32_MAX - 64) {
        return;
    }
    struct candidate one = {.base = base.unknown,
                            .index = index.unknown,
                            .scale = in->index == X86_REGISTER_NONE ? 0 : in->scale,
                            .from = (int32_t)offset,
                            .to = (int32_t)offset + in->memory_size,
                            .write = translate_writes_operand(at)};
    note(analysis, &one, place, UNIT_OPERAND);
}

static void note_stack(struct analysis *analysis, unsigned int place, unsigned int base,
                       int32_t displacement, bool write)
{
    bool code64 = unit_is_64bit(analysis->unit);
    struct value value = analysis->values[base];
    struct candidate one = {.base = value.unknown,
                            .index = analysis->values[X86_REGISTER_NONE].unknown,
                            .from = value.offset + displacement,
                            .to = value.offset + displacement + (code64 ? 8 : 4),
                            .write = write};
    note(analysis, &one, place, UNIT_STACK);
}

/* --- what instructions do to registers --- */

static void set(struct analysis *analysis, unsigned int reg, struct value value, int64_t add)
{
    int64_t offset = value.offset + add;
    if (offset == (int16_t)offset) {
        analysis->values[reg] = (struct value){.unknown = value.unknown, .offset = (int32_t)offset};
    } else {
        forget(analysis, reg);
    }
}

/* True if the instruction's effect on its only destination has been followed. */
static bool follow(struct analysis *analysis, const struct unit_instruction *at)
{
    const struct x86_instruction *in = &at->in.decoded;
    unsigned int width = unit_width(analysis->unit);
    bool memory = x86_has_memory_operand(in);
    bool immediate = in->immediate_size != 0 && (in->flags & X86_INSTRUCTION_MODRM) != 0;
    if (at->kind != UNIT_NATIVE || in->operand_size != width) {
        return false;
    }
    switch ((enum x86_operation)in->operation) {
    case X86_OP_ADD:
    case X86_OP_SUB:
        if (memory || !immediate) {
            return false;
        }
        set(analysis, in->rm, analysis->values[in->rm],
            in->operation == X86_OP_ADD ? in->immediate : -in->immediate);
        return true;
    case X86_OP_LEA:
        if (in->index != X86_REGISTER_NONE || in->base >= 16 || in->address_size != width) {
            return false;
        }
        set(analysis, in->reg, analysis->values[in->base], in->displacement);
        return true;
    case X86_OP_MOV:
        if (memory || in->immediate_size != 0 || (in->opcode != 0x89 && in->opcode != 0x8b)) {
            return false;
        }
        if (in->opcode == 0x89) {
            analysis->values[in->rm] = analysis->values[in->reg];
        } else {
            analysis->values[in->reg] = analysis->values[in->rm];
        }
        return true;
    default:
        return false;
    }
}

static void forget_written(struct analysis *analysis, const struct unit_instruction *at)
{
    if (!at->facts.known || at->kind != UNIT_NATIVE) {
        forget_all(analysis);
        return;
    }
    for (unsigned int reg = 0; reg < 16; reg++) {
        if ((at->facts.writes >> reg & 1) != 0) {
            forget(analysis, reg);
        }
    }
}

static bool pops_rsp(const struct x86_instruction *in)
{
    unsigned int reg = (in->opcode & 0xf8) == 0x58 ? in->reg : in->rm;
    return !x86_has_memory_operand(in) && reg == X86_RSP;
}

/* Stack instructions: their access, and what becomes of RSP. False: it is none of them. */
static bool take_stack(struct analysis *analysis, const struct unit_instruction *at,
                       unsigned int place)
{
    int32_t width = (int32_t)unit_width(analysis->unit);
    struct value rsp = analysis->values[X86_RSP];
    bool is_memory = x86_has_memory_operand(&at->in.decoded);
    switch ((enum x86_operation)at->in.decoded.operation) {
    case X86_OP_PUSH:
    case X86_OP_PUSHF:
    case X86_OP_CALL:
    case X86_OP_CALL_INDIRECT:
        /* A pushed memory operand comes first: where that is the interpreter's, no group is led. */
        if (at->in.decoded.operation != X86_OP_PUSH || !is_memory) {
            note_stack(analysis, place, X86_RSP, -width, true);
        }
        set(analysis, X86_RSP, rsp, -width);
        return true;
    case X86_OP_POP:
        note_stack(analysis, place, X86_RSP, 0, false);
        forget_written(analysis, at);
        if (!pops_rsp(&at->in.decoded)) {
            set(analysis, X86_RSP, rsp, width);
        }
        return true;
    case X86_OP_RET:
        note_stack(analysis, place, X86_RSP, 0, false);
        return true;
    case X86_OP_LEAVE: {
        struct value rbp = analysis->values[X86_RBP];
        note_stack(analysis, place, X86_RBP, 0, false);
        set(analysis, X86_RSP, rbp, width);
        forget(analysis, X86_RBP);
        return true;
    }
    default:
        return false;
    }
}

/* Behind a conditional jump it is not sure that control gets there. */
static void uncommit(struct analysis *analysis)
{
    for (unsigned int i = 0; i < analysis->count; i++) {
        analysis->candidates[i].committed = false;
    }
}

static void take(struct analysis *analysis, unsigned int place)
{
    const struct unit_instruction *at = &analysis->unit->instruction[place];
    if (at->kind == UNIT_NATIVE && translate_has_operand_access(at)) {
        note_operand(analysis, at, place);
    }
    if (at->kind == UNIT_NATIVE && take_stack(analysis, at, place)) {
        return;
    }
    if (at->in.decoded.operation == X86_OP_JCC) {
        uncommit(analysis);
    }
    if (at->in.decoded.operation == X86_OP_CLAC || at->in.decoded.operation == X86_OP_STAC) {
        forget_all(analysis); /* other accesses are allowed behind it */
    }
    if (!follow(analysis, at)) {
        forget_written(analysis, at);
    }
}

/* --- the result --- */

/* Gives slots to the candidates that more than one access belongs to. */
static void give_slots(struct analysis *analysis)
{
    struct unit *unit = analysis->unit;
    int8_t slots = 0;
    for (unsigned int i = 0; i < analysis->count; i++) {
        struct candidate *at = &analysis->candidates[i];
        at->slot = NO_GROUP;
        if (at->members > 1 && slots < TRANSLATE_GROUPS) {
            unit->groups[slots] = (struct unit_group){.from = at->from - at->leader_at,
                                                      .size = (uint16_t)(at->to - at->from),
                                                      .write = at->write};
            at->slot = slots++;
        }
    }
}

static void publish(const struct analysis *analysis, struct unit *unit)
{
    bool led[TRANSLATE_GROUPS] = {false};
    for (unsigned int i = 0; i < unit->count; i++) {
        for (unsigned int access = 0; access < UNIT_ACCESSES; access++) {
            unsigned int owner = analysis->owner[i][access];
            const struct candidate *candidate =
                owner == NOBODY ? NULL : &analysis->candidates[owner];
            int8_t slot = candidate == NULL ? NO_GROUP : candidate->slot;
            struct unit_grouping *grouping = &unit->instruction[i].grouping[access];
            *grouping = (struct unit_grouping){.group = slot};
            if (slot != NO_GROUP) {
                grouping->leads = !led[slot];
                led[slot] = true;
                grouping->low = (uint8_t)analysis->from[i][access];
                grouping->distance = (uint16_t)(analysis->from[i][access] - candidate->from);
            }
        }
    }
}

void translate_find_groups(struct unit *unit)
{
    struct analysis analysis;
    analysis.unit = unit;
    analysis.next_unknown = 0;
    analysis.count = 0;
    forget_all(&analysis);
    memset(analysis.owner, NOBODY, sizeof(analysis.owner));
    if ((unit->mode & TRANSLATE_PLAIN) == 0) {
        for (unsigned int i = 0; i < unit->count; i++) {
            take(&analysis, i);
        }
    }
    give_slots(&analysis);
    publish(&analysis, unit);
}
