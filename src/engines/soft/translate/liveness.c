/*
 * Which arithmetic flags matter where.
 *
 * Backward from the block's end: at every place where control may leave the block all flags are
 * wanted, since nobody knows what comes next; an instruction that overwrites a flag ends the
 * interest in its old value. A conditional jump is such a place.
 */
#include "engines/soft/translate/translator.h"

static const uint16_t all_flags = (uint16_t)X86_FLAGS_ARITHMETIC;

/*
 * Flags that an instruction keeps, or may keep, while it changes others (INC and CF; a shift by CL
 * that is zero): an exception behind it shows them all, so it must find them, though nobody may
 * read them.
 */
static unsigned int kept_for_show(const struct x86_facts *facts)
{
    return facts->flags_changed == 0 ? 0 : all_flags & ~(unsigned int)facts->flags_written;
}

uint16_t translate_flags_before(const struct unit_instruction *at)
{
    if (at->kind != UNIT_NATIVE || (at->in.decoded.flags & X86_INSTRUCTION_BRANCH) != 0) {
        return all_flags; /* it may leave the block */
    }
    unsigned int kept = at->flags_after & ~(unsigned int)at->facts.flags_written;
    return (uint16_t)(kept | at->facts.flags_read | kept_for_show(&at->facts));
}

void translate_liveness(struct unit *unit)
{
    uint16_t wanted = all_flags;
    for (unsigned int i = unit->count; i-- > 0;) {
        struct unit_instruction *at = &unit->instruction[i];
        at->flags_after = wanted;
        wanted = translate_flags_before(at);
    }
}
