/*
 * Guest memory from translated code: the check of one access, or for a group (check.h).
 */
#include "engines/soft/translate/check.h"

static struct address operand_address(const struct generate *generate,
                                      const struct x86_instruction *in)
{
    struct address address = {.base = in->base,
                              .index = in->index,
                              .scale = in->scale,
                              .displacement = in->displacement,
                              .size = in->address_size,
                              .segment = in->segment};
    if (in->base == X86_REGISTER_RIP) {
        address.displacement += generate->at->offset + in->length;
    }
    return address;
}

static struct address stack_address(const struct generate *generate, unsigned int base,
                                    int32_t displacement)
{
    bool code64 = unit_is_64bit(generate->unit);
    return (struct address){.base = base,
                            .index = X86_REGISTER_NONE,
                            .displacement = displacement,
                            .size = code64 ? 8 : 4,
                            .segment = X86_SS};
}

void generate_effective_address(struct generate *generate, const struct x86_instruction *in)
{
    struct address address = operand_address(generate, in);
    check_address_into(generate, T0, &address);
    generate_scratch(generate);
}

/* --- groups --- */

static struct emit_memory slot_of(int group)
{
    return emit_gs(offsetof(struct soft_cpu, translate.group) + 8 * (size_t)group);
}

/* The leader's check. T0, and the slot: the host's address of the lowest. */
static void lead_group(struct generate *generate, int slot, struct address address, bool own_write)
{
    struct emitter *emitter = &generate->emitter;
    const struct unit_group *group = &generate->unit->groups[slot];
    generate_clobber_flags_before(generate);
    address.displacement += group->from;
    struct check check = {.address = address,
                          .size = group->size,
                          .write = group->write,
                          .leader = group,
                          .own_write = own_write};
    if (check_is_by_stack(&address)) {
        struct emit_memory lowest = {
            .base = X86_RSP, .index = T0, .displacement = address.displacement};
        check_stack(generate, &check, T0);
        emit_load_effective(emitter, T0, lowest, 8);
    } else {
        check_to_host(generate, &check);
    }
    emit_store(emitter, slot_of(slot), T0, 8);
}

/* The operand of a group's member. */
static struct emit_memory group_memory(struct generate *generate, struct unit_grouping grouping,
                                       const struct access *access)
{
    unsigned int reg = access->spares_r10 ? T1 : T0;
    if (!grouping.leads || reg != T0) { /* else it is there */
        emit_load(&generate->emitter, reg, slot_of(grouping.group), 8);
    }
    generate->cached[reg - T0] = false;
    return emit_at(reg, grouping.distance);
}

/* --- for the instructions --- */

static struct check check_of(const struct address *address, const struct access *access)
{
    return (struct check){
        .address = *address, .size = access->size, .write = access->write, .alone = access->alone};
}

/*
 * The guest's own operand with the distance to host addresses as an index: nothing that the access
 * waits for comes from the check then.
 */
static struct emit_memory stack_memory(struct generate *generate, const struct check *check,
                                       const struct access *access)
{
    unsigned int delta = access->spares_r10 ? T1 : T0;
    check_stack(generate, check, delta);
    return (struct emit_memory){
        .base = X86_RSP, .index = (uint8_t)delta, .displacement = check->address.displacement};
}

/* Is RSP the same behind the instruction, if that is a store that is looked at once more? */
static bool rsp_stays(const struct generate *generate, enum unit_access which,
                      const struct access *access)
{
    return !access->write || !generate->translator->smp || which == UNIT_STACK ||
           (generate->at->facts.writes >> X86_RSP & 1) == 0;
}

static struct emit_memory single_memory(struct generate *generate, enum unit_access which,
                                        const struct address *address, const struct access *access)
{
    struct check check = check_of(address, access);
    generate_clobber_flags_before(generate);
    if (check_is_by_stack(address) && !access->in_r10 && rsp_stays(generate, which, access)) {
        return stack_memory(generate, &check, access);
    }
    check_to_host(generate, &check);
    if (!access->spares_r10) {
        return emit_at(T0, 0);
    }
    emit_move(&generate->emitter, T1, T0);
    return emit_at(T1, 0);
}

/*
 * The address must be a multiple of the operand's size, else the interpreter raises #GP, which
 * comes before a page fault.
 */
static void emit_alignment_check(struct generate *generate, const struct address *address,
                                 unsigned int size)
{
    generate_clobber_flags_before(generate);
    check_linear_address(generate, address);
    EMIT(&generate->emitter, 0x41, 0xf6, 0xc2, (uint8_t)(size - 1)); /* TEST R10B, size - 1 */
    struct stub *stub = generate_stub_if(generate, EMIT_IF_NOT_EQUAL, STUB_SITE);
    stub->target = generate->translator->glue.single;
    stub->site = generate_site(generate);
    if (stub->site != NULL) {
        stub->site->leaves = true; /* a group's check would not have been made */
    }
}

/* Does it follow from what was found out about another address of its group? */
static bool is_known_aligned(const struct generate *generate, struct unit_grouping grouping,
                             unsigned int size)
{
    if (grouping.group == NO_GROUP) {
        return false;
    }
    struct aligned_place place = generate->aligned[grouping.group];
    return place.size >= size && ((place.low ^ grouping.low) & (size - 1)) == 0;
}

static struct emit_memory make_access(struct generate *generate, enum unit_access which,
                                      const struct address *address, const struct access *access)
{
    struct unit_grouping grouping = generate->at->grouping[which];
    if (access->aligned && !is_known_aligned(generate, grouping, access->size)) {
        emit_alignment_check(generate, address, access->size);
        if (grouping.group != NO_GROUP) {
            generate->aligned[grouping.group] =
                (struct aligned_place){.size = (uint8_t)access->size, .low = grouping.low};
        }
    }
    if (grouping.group == NO_GROUP) {
        return single_memory(generate, which, address, access);
    }
    if (grouping.leads) {
        lead_group(generate, grouping.group, *address, access->write);
    }
    return group_memory(generate, grouping, access);
}

struct emit_memory generate_operand(struct generate *generate, const struct x86_instruction *in,
                                    const struct access *access)
{
    struct address address = operand_address(generate, in);
    return make_access(generate, UNIT_OPERAND, &address, access);
}

struct emit_memory generate_stack(struct generate *generate, unsigned int base,
                                  int32_t displacement, const struct access *access)
{
    struct address address = stack_address(generate, base, displacement);
    return make_access(generate, UNIT_STACK, &address, access);
}

void generate_pointer(struct generate *generate, unsigned int reg, const struct access *access)
{
    struct address address = {
        .base = reg, .index = X86_REGISTER_NONE, .size = 8, .segment = X86_DS};
    struct check check = check_of(&address, access);
    check_to_host(generate, &check);
}

void generate_found_address(struct generate *generate, unsigned int segment,
                            const struct access *access)
{
    struct address address = {.segment = segment, .found = true};
    struct check check = check_of(&address, access);
    check_to_host(generate, &check);
}

unsigned int generate_free_scratch(struct emit_memory memory)
{
    return memory.base == T0 || memory.index == T0 ? T1 : T0;
}

/* --- stores, and code --- */

static struct stub *emit_revoked_check(struct generate *generate, struct emit_memory memory,
                                       unsigned int size)
{
    generate_clobber_flags_by(generate, generate->at->flags_after, generate_free_scratch(memory));
    emit_alu_memory_immediate(&generate->emitter, EMIT_CMP, GS_FIELD(write_revoked), 0, 1);
    struct stub *stub = generate_stub_if(generate, EMIT_IF_NOT_EQUAL, STUB_RACED);
    stub->target = generate->translator->glue.raced;
    stub->memory = memory;
    stub->site = generate_site(generate);
    if (stub->site != NULL) {
        stub->site->limit = (uint16_t)(SOFT_PAGE_SIZE + 1 - size);
    }
    return stub;
}

void generate_after_store(struct generate *generate, struct emit_memory memory, unsigned int size)
{
    if (generate->translator->smp) {
        emit_revoked_check(generate, memory, size);
    }
}

void generate_within_store(struct generate *generate, struct emit_memory memory, unsigned int size)
{
    if (generate->translator->smp) {
        struct stub *stub = emit_revoked_check(generate, memory, size);
        if (stub->site != NULL) {
            stub->site->with_address = generate_here(generate);
        }
    }
}
