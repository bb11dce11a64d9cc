/*
 * Guest memory from translated code: the look into the TLB, by one access or for a group.
 */
#include "engines/soft/tlb.h"
#include "engines/soft/translate/generate.h"

_Static_assert(offsetof(struct soft_tlb, entry) == 0, "cpu->tlb points at the first entry");

/* --- one access --- */

/* EFLAGS go where there is a base. */
static void add_segment_base(struct generate *generate, unsigned int segment)
{
    struct emitter *emitter = &generate->emitter;
    if (segment != X86_FS && segment != X86_GS) {
        return;
    }
    emit_alu_memory(emitter, EMIT_ADD, T0,
                    emit_gs(offsetof(struct soft_cpu, address_base) + 8u * segment));
    if (!unit_is_64bit(generate->unit)) {
        EMIT(emitter, 0x45, 0x89, 0xd2); /* MOV R10D, R10D: linear addresses are cut to 32 bits */
    }
}

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

/* reg, T0 or T1, becomes the address; the other keeps what it has, unless it is part of that. */
static void emit_address_into(struct generate *generate, unsigned int reg,
                              const struct address *address)
{
    struct emitter *emitter = &generate->emitter;
    if (address->found) {
        return;
    }
    if (address->base == X86_REGISTER_RIP) {
        emit_load(emitter, reg, GS_REGISTER(SOFT_GPR_CODE), 8);
        emit_load_effective(emitter, reg, emit_at(reg, address->displacement), 8);
    } else {
        generate_fill(generate, address->base);
        generate_fill(generate, address->index);
        struct emit_memory memory = {.base = (uint8_t)address->base,
                                     .index = (uint8_t)address->index,
                                     .scale = (uint8_t)address->scale,
                                     .displacement = address->displacement};
        if (memory.displacement == 0 && memory.index == X86_REGISTER_NONE && memory.base < 16 &&
            address->size == 8) {
            emit_move(emitter, reg, memory.base);
        } else {
            emit_load_effective(emitter, reg, memory, address->size);
        }
    }
    generate->cached[reg - T0] = false;
}

void generate_effective_address(struct generate *generate, const struct x86_instruction *in)
{
    struct address address = operand_address(generate, in);
    emit_address_into(generate, T0, &address);
    generate_scratch(generate);
}

/* T0 = the linear address. */
static void emit_linear(struct generate *generate, const struct address *address)
{
    emit_address_into(generate, T0, address);
    generate_scratch(generate);
    add_segment_base(generate, address->segment);
}

/* The write tag that was compared with may be another by now: so not by adding that again. */
void generate_linear_again(struct generate *generate, const struct address *address)
{
    generate_scratch(generate);
    emit_linear(generate, address);
}

static bool has_rorx(const struct generate *generate)
{
    return (generate->translator->host_features >> X86_FEATURE_BMI2 & 1) != 0;
}

/* T0 becomes the address's offset within its page; T1 points at the page's entry. EFLAGS go. */
static struct stub *emit_look_up(struct generate *generate, const struct address *address,
                                 unsigned int size, bool write)
{
    struct emitter *emitter = &generate->emitter;
    int32_t tag = (int32_t)(write ? offsetof(struct soft_tlb_entry, write_tag)
                                  : offsetof(struct soft_tlb_entry, read_tag));
    _Static_assert(sizeof(struct soft_tlb_entry) == 32 && SOFT_TLB_ENTRIES == 4096,
                   "the index is made of linear address bits 12 to 23, 32 bytes an entry");
    generate_count_access(generate);
    emit_linear(generate, address);
    if (has_rorx(generate)) {
        emit_rotate(emitter, T1, T0, 7); /* what goes around is cut off */
    } else {
        emit_move(emitter, T1, T0);
        emit_shift(emitter, true, T1, 7, 8);
    }
    emit_alu_immediate(emitter, EMIT_AND, T1, (SOFT_TLB_ENTRIES - 1) << 5, 4);
    emit_alu_memory(emitter, EMIT_ADD, T1, GS_FIELD(tlb));
    emit_alu_memory(emitter, EMIT_SUB, T0, emit_at(T1, tag));
    emit_alu_immediate(emitter, EMIT_CMP, T0, (int32_t)(SOFT_PAGE_SIZE - size), 8);
    struct stub *stub = generate_stub_if(generate, EMIT_IF_ABOVE, STUB_ACCESS);
    stub->address = *address;
    stub->site = generate_site(generate);
    if (stub->site != NULL) {
        stub->site->size = (uint16_t)size;
        stub->site->write = write;
    }
    return stub;
}

/* T0 = the host address. */
static void emit_check(struct generate *generate, const struct address *address,
                       const struct access *access)
{
    const struct translate_glue *glue = &generate->translator->glue;
    struct stub *stub = emit_look_up(generate, address, access->size, access->write);
    stub->target = access->alone ? glue->single : glue->access;
    emit_alu_memory(&generate->emitter, EMIT_ADD, T0,
                    emit_at(T1, (int32_t)offsetof(struct soft_tlb_entry, host)));
    if (stub->site != NULL) {
        stub->site->with_address = emit_address(&generate->emitter);
    }
}

/* --- groups --- */

static struct emit_memory slot_of(int group)
{
    return emit_gs(offsetof(struct soft_cpu, translate.group_delta) + 8 * (size_t)group);
}

/* The leader's check: puts the distance from linear to host addresses into the group's slot. */
static void emit_group_check(struct generate *generate, int slot, struct address address,
                             const struct access *access)
{
    struct emitter *emitter = &generate->emitter;
    const struct unit_group *group = &generate->unit->groups[slot];
    generate_clobber_flags_before(generate);
    generate_scratch(generate);
    const uint8_t *again = emit_address(emitter);
    address.displacement += group->from;
    struct stub *stub = emit_look_up(generate, &address, group->size, group->write);
    stub->target = generate->translator->glue.group;
    if (stub->site != NULL) {
        stub->site->with_address = again;
        stub->site->from = group->from;
        stub->site->own_write = access->write;
    }
    emit_load(emitter, T0, emit_at(T1, (int32_t)offsetof(struct soft_tlb_entry, host)), 8);
    /* Not the write tag, which another vCPU may take away just now; it implies the read tag. */
    emit_alu_memory(emitter, EMIT_SUB, T0,
                    emit_at(T1, (int32_t)offsetof(struct soft_tlb_entry, read_tag)));
    emit_store(emitter, slot_of(slot), T0, 8);
}

/* A store's address is looked at once more behind it (emit_revoked_check). */
static bool outlives(const struct generate *generate, const struct address *address)
{
    uint32_t parts = (address->base < 16 ? UINT32_C(1) << address->base : 0) |
                     (address->index < 16 ? UINT32_C(1) << address->index : 0);
    return (generate->at->facts.writes & parts) == 0;
}

/* A member's operand; what the check found is added to the guest's own address. */
static struct emit_memory group_memory(struct generate *generate, enum unit_access which, int slot,
                                       const struct address *address, const struct access *access)
{
    struct emitter *emitter = &generate->emitter;
    unsigned int first = access->spares_r10 ? T1 : T0;
    unsigned int other = first == T0 ? T1 : T0;
    bool simple = address->size == 8 && address->index == X86_REGISTER_NONE && address->base < 16 &&
                  address->base != T0 && address->base != T1 &&
                  (!access->write || !generate->translator->smp || which == UNIT_STACK ||
                   outlives(generate, address));
    if (simple) {
        if (!generate->at->grouping[which].leads || first != T0) { /* else it is there */
            emit_load(emitter, first, slot_of(slot), 8);
        }
        generate->cached[first - T0] = false;
        return (struct emit_memory){.base = (uint8_t)address->base,
                                    .index = (uint8_t)first,
                                    .displacement = address->displacement};
    }
    emit_address_into(generate, other, address);
    emit_load(emitter, first, slot_of(slot), 8);
    struct emit_memory sum = {.base = (uint8_t)first, .index = (uint8_t)other};
    emit_load_effective(emitter, first, sum, 8);
    generate_scratch(generate);
    return emit_at(first, 0);
}

/* --- for the instructions --- */

static struct emit_memory checked_access(struct generate *generate, const struct address *address,
                                         const struct access *access)
{
    generate_clobber_flags_before(generate);
    emit_check(generate, address, access);
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
    emit_linear(generate, address);
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
        return checked_access(generate, address, access);
    }
    if (grouping.leads) {
        emit_group_check(generate, grouping.group, *address, access);
    }
    return group_memory(generate, which, grouping.group, address, access);
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
    emit_check(generate, &address, access);
}

void generate_found_address(struct generate *generate, unsigned int segment,
                            const struct access *access)
{
    struct address address = {.segment = segment, .found = true};
    emit_check(generate, &address, access);
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
        stub->site->size = (uint16_t)size;
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
            stub->site->with_address = emit_address(&generate->emitter);
        }
    }
}
