/*
 * The guest's flags while a block is made: where they are, when they must be saved, and when a
 * recipe will do.
 */
#include "engines/soft/translate/generate.h"
#include "engines/soft/translate/select.h"

#define ALL_FLAGS ((uint16_t)X86_FLAGS_ARITHMETIC)

void generate_save_flags(struct generate *generate, unsigned int scratch)
{
    struct emitter *emitter = &generate->emitter;
    generate->cached[scratch - T0] = false;
    emit_move(emitter, scratch, X86_RAX);
    EMIT(emitter, LAHF_SETO);
    emit_store(emitter, GS_FIELD(arithmetic), X86_RAX, 2);
    emit_move(emitter, X86_RAX, scratch);
    generate->saved = true;
}

void generate_restore_flags(struct generate *generate, unsigned int scratch)
{
    struct emitter *emitter = &generate->emitter;
    emit_move(emitter, scratch, X86_RAX);
    emit_load(emitter, X86_RAX, GS_FIELD(arithmetic), 2);
    EMIT(emitter, ADD_SAHF);
    emit_move(emitter, X86_RAX, scratch);
}

bool generate_overwrites_flags(const struct unit_instruction *at)
{
    return at->kind == UNIT_NATIVE && at->facts.flags_read == 0 &&
           at->facts.flags_written == ALL_FLAGS;
}

bool generate_may_show_flags(const struct unit *unit, unsigned int from)
{
    for (unsigned int i = from; i < unit->count; i++) {
        if (!translate_is_quiet(&unit->instruction[i])) {
            return true;
        }
        if (generate_overwrites_flags(&unit->instruction[i])) {
            return false;
        }
    }
    return true;
}

/*
 * Does it look once more behind its store (generate_after_store), when its registers have changed?
 * Said of more instructions than do.
 */
static bool looks_behind_store(const struct generate *generate, const struct unit_instruction *at)
{
    bool loads = translate_has_operand_access(at) && !translate_writes_operand(at);
    return generate->translator->smp && !translate_is_quiet(at) && !loads;
}

/*
 * True if the flags of the instruction at `from`, which nobody wants from `here` on, can be told by
 * the recipe until they are overwritten: what it looks at stays in its registers up to the last
 * place that might show them. That is an instruction's checks, before its first change, or behind a
 * store.
 */
static bool recipe_lasts(const struct generate *generate, unsigned int from, unsigned int here,
                         uint32_t needs)
{
    const struct unit *unit = generate->unit;
    bool holds = true;
    for (unsigned int i = from + 1; i < unit->count; i++) {
        const struct unit_instruction *at = &unit->instruction[i];
        bool counts = i >= here;
        if (counts && !holds && !translate_is_quiet(at)) {
            return false;
        }
        if (counts && generate_overwrites_flags(at)) {
            return true;
        }
        holds &= (at->facts.writes & needs) == 0;
        if (counts && !holds && looks_behind_store(generate, at)) {
            return false;
        }
    }
    return false;
}

static bool looks_at_memory(const struct translate_recipe *recipe)
{
    return recipe->kind != RECIPE_LOGIC &&
           (recipe->first == RECIPE_MEMORY || recipe->second == RECIPE_MEMORY);
}

static bool find_recipe(struct generate *generate)
{
    uint32_t needs;
    if (generate->producer < 0) {
        return false;
    }
    unsigned int from = (unsigned int)generate->producer;
    generate->recipe = translate_recipe_of(&generate->unit->instruction[from], &needs);
    if (generate->recipe.kind != RECIPE_NONE &&
        (generate->operand_kept || !looks_at_memory(&generate->recipe)) &&
        recipe_lasts(generate, from, generate->index, needs)) {
        return true;
    }
    generate->recipe.kind = RECIPE_NONE;
    return false;
}

/* An access by itself, or a group's first: it makes a check, and that destroys EFLAGS. */
static bool makes_check(const struct unit_instruction *at)
{
    if (translate_is_quiet(at)) {
        return false;
    }
    for (unsigned int i = 0; i < UNIT_ACCESSES; i++) {
        if (at->grouping[i].group != NO_GROUP && !at->grouping[i].leads) {
            return false;
        }
    }
    return true;
}

bool generate_should_keep_operand(const struct generate *generate)
{
    const struct unit *unit = generate->unit;
    uint32_t needs;
    struct translate_recipe recipe = translate_recipe_of(generate->at, &needs);
    if (recipe.kind == RECIPE_NONE || !looks_at_memory(&recipe)) {
        return false;
    }
    for (unsigned int i = generate->index + 1; i < unit->count; i++) {
        const struct unit_instruction *at = &unit->instruction[i];
        if (makes_check(at)) {
            return translate_flags_before(at) == 0 &&
                   recipe_lasts(generate, generate->index, i, needs);
        }
        if (generate_overwrites_flags(at)) {
            return false;
        }
    }
    return false;
}

void generate_clobber_flags_by(struct generate *generate, uint16_t wanted, unsigned int scratch)
{
    if (generate->native && !generate->saved &&
        (wanted != 0 ||
         (generate_may_show_flags(generate->unit, generate->index) && !find_recipe(generate)))) {
        generate_save_flags(generate, scratch);
    }
    generate->native = false;
}

void generate_clobber_flags(struct generate *generate, uint16_t wanted)
{
    generate_clobber_flags_by(generate, wanted, T0);
}

void generate_clobber_flags_before(struct generate *generate)
{
    generate_clobber_flags(generate, translate_flags_before(generate->at));
}

void generate_need_flags(struct generate *generate, unsigned int scratch)
{
    if (!generate->native && generate->saved) {
        generate->cached[scratch - T0] = false;
        generate_restore_flags(generate, scratch);
    }
    generate->native = true;
}

void generate_note_flags(struct generate *generate)
{
    if ((generate->at->facts.flags_changed | generate->at->facts.flags_written) != 0) {
        generate->native = true;
        generate->saved = false;
        generate->producer = (int)generate->index;
        generate->operand_kept = false;
        generate->recipe.kind = RECIPE_NONE;
    }
}
