#include "engines/soft/translate/check.h"

#include "engines/soft/tlb.h"

/* --- addresses --- */

static bool has_segment_base(const struct address *address)
{
    return address->segment == X86_FS || address->segment == X86_GS;
}

/* EFLAGS go where there is a base. */
static void add_segment_base(struct generate *generate, const struct address *address)
{
    struct emitter *emitter = &generate->emitter;
    if (!has_segment_base(address)) {
        return;
    }
    emit_alu_memory(emitter, EMIT_ADD, T0,
                    emit_gs(offsetof(struct soft_cpu, address_base) + 8u * address->segment));
    if (!unit_is_64bit(generate->unit)) {
        EMIT(emitter, 0x45, 0x89, 0xd2); /* MOV R10D, R10D: linear addresses are cut to 32 bits */
    }
}

void check_address_into(struct generate *generate, unsigned int reg, const struct address *address)
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

void check_linear_address(struct generate *generate, const struct address *address)
{
    check_address_into(generate, T0, address);
    generate_scratch(generate);
    add_segment_base(generate, address);
}

void generate_linear_again(struct generate *generate, const struct address *address)
{
    generate_scratch(generate);
    check_linear_address(generate, address);
}

bool check_is_by_stack(const struct address *address)
{
    return address->base == X86_RSP && address->index == X86_REGISTER_NONE && address->size == 8 &&
           !has_segment_base(address) && !address->found;
}

/* The stub for the branch that has just been made, to glue. */
static struct stub *describe(struct generate *generate, const struct check *check,
                             enum emit_condition condition)
{
    struct stub *stub = generate_stub_if(generate, condition, STUB_ACCESS);
    struct translate_site *site = generate_site(generate);
    stub->address = check->address;
    stub->site = site;
    stub->target = generate->translator->glue.access;
    if (site != NULL) {
        site->limit = (uint16_t)(SOFT_PAGE_SIZE + 1 - check->size);
        site->write = check->write;
        site->alone = check->alone;
        site->leads = check->leader != NULL;
        site->from = (int16_t)(check->leader != NULL ? check->leader->from : 0);
        site->own_write = check->own_write;
    }
    return stub;
}

static void resume_here(struct generate *generate, struct stub *stub)
{
    if (stub->site != NULL) {
        stub->site->with_address = generate_here(generate);
    }
}

/* --- by the stack's page --- */

void check_stack(struct generate *generate, const struct check *check, unsigned int result)
{
    struct emitter *emitter = &generate->emitter;
    bool user = (generate->unit->mode & SOFT_MODE_USER) != 0;
    unsigned int kind = translate_stack_kind(user, check->write);
    size_t page =
        offsetof(struct soft_cpu, translate.stack) + kind * sizeof(struct translate_stack_page);
    size_t limit = offsetof(struct translate_stack_page, limit) +
                   sizeof(uint64_t) * translate_stack_size(check->size);
    generate_count_access(generate);
    check_address_into(generate, result, &check->address);
    emit_alu_memory(emitter, EMIT_SUB, result,
                    emit_gs(page + offsetof(struct translate_stack_page, tag)));
    emit_alu_memory(emitter, EMIT_CMP, result, emit_gs(page + limit));
    struct stub *stub = describe(generate, check, EMIT_IF_NOT_BELOW);
    stub->target = generate->translator->glue.stack[kind];
    if (stub->site != NULL) {
        stub->site->by_stack = true;
    }
    resume_here(generate, stub);
    emit_load(emitter, result, emit_gs(page + offsetof(struct translate_stack_page, delta)), 8);
    generate->cached[0] = generate->cached[result - T0] = false;
}

/* --- by the TLB --- */

static bool has_rorx(const struct generate *generate)
{
    return (generate->translator->host_features >> X86_FEATURE_BMI2 & 1) != 0;
}

/* T0 becomes the address's offset within its page; T1 points at the page's entry. EFLAGS go. */
static struct stub *look_up(struct generate *generate, const struct check *check)
{
    struct emitter *emitter = &generate->emitter;
    int32_t tag = (int32_t)(check->write ? offsetof(struct soft_tlb_entry, write_tag)
                                         : offsetof(struct soft_tlb_entry, read_tag));
    generate_count_access(generate);
    check_linear_address(generate, &check->address);
    if (has_rorx(generate)) {
        emit_rotate(emitter, T1, T0, 7); /* what goes around is cut off */
    } else {
        emit_move(emitter, T1, T0);
        emit_shift(emitter, true, T1, 7, 8);
    }
    emit_alu_immediate(emitter, EMIT_AND, T1, (SOFT_TLB_ENTRIES - 1) << 5, 4);
    emit_alu_memory(emitter, EMIT_ADD, T1, GS_FIELD(tlb));
    emit_alu_memory(emitter, EMIT_SUB, T0, emit_at(T1, tag));
    emit_alu_immediate(emitter, EMIT_CMP, T0, (int32_t)(SOFT_PAGE_SIZE - check->size), 8);
    return describe(generate, check, EMIT_IF_ABOVE);
}

void check_to_host(struct generate *generate, const struct check *check)
{
    struct stub *stub = look_up(generate, check);
    /* Not by adding the tag that was compared: another vCPU may have taken it away just now. */
    emit_alu_memory(&generate->emitter, EMIT_ADD, T0,
                    emit_at(T1, (int32_t)offsetof(struct soft_tlb_entry, host)));
    resume_here(generate, stub);
}
