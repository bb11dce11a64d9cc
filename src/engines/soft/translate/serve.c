/*
 * What translated code asks of C.
 */
#include "engines/soft/block.h"
#include "engines/soft/code.h"
#include "engines/soft/fast_memory.h"
#include "engines/soft/fpu.h"
#include "engines/soft/translate.h"
#include "engines/soft/translate/lockstep.h"
#include "engines/soft/translate/measure.h"
#include "engines/soft/translate/translate.h"
#include "engines/soft/translate/translator.h"
#include "vm/guestmem.h"

/*
 * cpu->instructions: translated code adds a block's instructions where it leaves the block. C code
 * that may not come back adds those that have run, and takes that back if it does come back.
 */

static void at_site(struct soft_cpu *cpu, const struct translate_site *site)
{
    cpu->rip = (cpu->gpr[SOFT_GPR_CODE] + site->offset) & cpu->address_mask;
    cpu->next_rip = cpu->rip + site->length;
    translate_recipe_apply(cpu, &site->recipe);
    cpu->instructions += site->uncounted;
    if (!site->vectors) {
        cpu->translate.vectors_reload = 0; /* nobody waits for them: they stay in memory */
    }
}

static const uint8_t *code_at(const struct soft_cpu *cpu, uint32_t place)
{
    return place == 0 ? NULL : cpu->translate.origin + place;
}

static const struct translate_block *block_of(const struct soft_cpu *cpu,
                                              const struct translate_site *site)
{
    return (const void *)code_at(cpu, site->block);
}

static unsigned int size_of(const struct translate_site *site)
{
    return (unsigned int)SOFT_PAGE_SIZE + 1 - site->limit;
}

static void resume_at(struct soft_cpu *cpu, const uint8_t *code, uint64_t t0)
{
    cpu->translate.resume = code;
    cpu->translate.resume_t0 = t0;
}

/* Back to the run loop; cpu->rip says where it goes on. */
static void leave(struct soft_cpu *cpu)
{
    cpu->translate.vectors_reload = 0;
    resume_at(cpu, cpu->translate.translator->glue.leave_after, 0);
}

/*
 * Control has gone elsewhere: on there at once if the jump cache knows it, else by way of the run
 * loop. Vector registers stay in memory until somebody asks for them.
 */
static void resume_elsewhere(struct soft_cpu *cpu)
{
    cpu->translate.vectors_reload = 0;
    if (cpu->lockstep == NULL && translate_goes_on(cpu)) {
        translate_enter_mode(cpu);
        const uint8_t *code = translate_known_code(cpu);
        if (code != NULL) {
            translate_prepare_entry(cpu);
            resume_at(cpu, code, cpu->gpr[X86_R10]);
            return;
        }
    }
    leave(cpu);
}

/* Changes when linear addresses may mean other code: a block may not go on then. */
static uint64_t generations(const struct soft_cpu *cpu)
{
    return cpu->code_generation[0] + cpu->code_generation[1];
}

/* What an instruction that C runs must leave as it was for its block to go on. */
struct expected {
    uint64_t rip; /* of the next instruction */
    uint64_t generations;
};

/* C is about to run the site's instruction. */
static struct expected begin_instruction(struct soft_cpu *cpu, const struct translate_site *site)
{
    at_site(cpu, site);
    cpu->statistics.callouts++;
    return (struct expected){.rip = cpu->next_rip & cpu->address_mask,
                             .generations = generations(cpu)};
}

/* Behind an instruction that C has run: on in the block, if that still holds. */
static void resume_behind(struct soft_cpu *cpu, const struct translate_site *site,
                          const struct expected *expected)
{
    bool same =
        cpu->rip == expected->rip && site->resume != 0 &&
        translate_mode_of(cpu) == cpu->translate.translator->key_mode && /* MXCSR, x87 controls */
        generations(cpu) == expected->generations &&
        (atomic_load_explicit(&cpu->attention, memory_order_relaxed) &
         (SOFT_ATTENTION_CODE | SOFT_ATTENTION_LEAVE)) == 0;
    if (same) {
        cpu->instructions -= site->uncounted + 1u;
        resume_at(cpu, code_at(cpu, site->resume), cpu->gpr[X86_R10]);
    } else {
        resume_elsewhere(cpu);
    }
}

/* The length of the instruction at cpu->rip, which lies within a page; 0 if that is no RAM now. */
static unsigned int length_at_rip(struct soft_cpu *cpu)
{
    struct x86_instruction in;
    struct soft_translation at = soft_block_fetch(cpu);
    if (at.host == NULL) {
        return 0;
    }
    size_t rest = (size_t)(SOFT_PAGE_SIZE - (at.physical & SOFT_PAGE_MASK));
    x86_decode(cpu->mode & SOFT_MODE_DECODE, at.host, rest, &in);
    return in.length;
}

/* Under check=lockstep the block ends where it would have ended. */
static void interpret_rest(struct soft_cpu *cpu)
{
    const struct translate_block *block = cpu->translate.translator->checked;
    uint64_t before = generations(cpu);
    uint64_t end = cpu->gpr[SOFT_GPR_CODE] + (block->physical & SOFT_PAGE_MASK);
    end += block->guest_length;
    uint64_t next = cpu->rip;
    while (cpu->rip == next && cpu->rip < end && generations(cpu) == before) {
        next = cpu->rip + length_at_rip(cpu);
        soft_run_single(cpu);
    }
}

void translate_single(struct soft_cpu *cpu, const struct translate_site *site, uint64_t unused)
{
    (void)unused;
    struct expected expected = begin_instruction(cpu, site);
    bool x87 = cpu->fpu->live;
    const struct translate_block *block = block_of(cpu, site);
    unsigned int first = (unsigned int)(block->physical & SOFT_PAGE_MASK);
    soft_run_bytes(cpu, block->bytes + (site->offset - first), site->length);
    if (x87) {
        soft_fpu_load(cpu->fpu); /* code behind it may count on that */
    }
    if (cpu->lockstep != NULL && site->keeps && cpu->rip == expected.rip) {
        interpret_rest(cpu);
    }
    resume_behind(cpu, site, &expected);
}

void translate_callout(struct soft_cpu *cpu, const struct translate_site *site, uint64_t unused)
{
    (void)unused;
    struct expected expected = begin_instruction(cpu, site);
    const struct soft_instruction *instruction = (const void *)code_at(cpu, site->instruction);
    instruction->execute(cpu, instruction);
    cpu->rip = cpu->next_rip & (soft_64bit(cpu) ? UINT64_MAX : UINT32_MAX);
    cpu->instructions++;
    if (cpu->code_changed) {
        cpu->code_changed = false;
        resume_elsewhere(cpu);
        return;
    }
    resume_behind(cpu, site, &expected);
}

/*
 * The host address for all that the site looked up, from linear on, once the TLB has an entry for
 * it; NULL if it gets none. Raises what the instruction's own access, at `own`, raises.
 */
static uint8_t *fill_tlb(struct soft_cpu *cpu, const struct translate_site *site, uint64_t linear,
                         uint64_t own, bool own_write)
{
    const struct soft_tlb_entry *entry;
    unsigned int size = size_of(site);
    uint64_t last = SOFT_PAGE_SIZE - size;
    if ((linear & SOFT_PAGE_MASK) > last || (soft_64bit(cpu) && !soft_canonical(cpu, linear))) {
        return NULL;
    }
    enum soft_access access = own_write ? SOFT_WRITE : SOFT_READ;
    soft_translate(cpu, soft_current_regime(cpu), own, access);
    return site->write ? soft_tlb_write(cpu, linear, size, &entry)
                       : soft_tlb_read(cpu, linear, size);
}

/* Back to the site's access, with what its check would have found. */
static void resume_access(struct soft_cpu *cpu, const struct translate_site *site, uint64_t linear,
                          const uint8_t *host)
{
    cpu->instructions -= site->uncounted;
    if (site->by_stack) {
        unsigned int kind = translate_stack_kind((cpu->mode & SOFT_MODE_USER) != 0, site->write);
        translate_stack_clear(cpu); /* the distance may be another page's */
        cpu->translate.stack[kind].delta = (uint64_t)(uintptr_t)host - linear;
    }
    resume_at(cpu, code_at(cpu, site->with_address), (uint64_t)(uintptr_t)host);
}

/* The same code with each access checked by itself, from the leader on. */
static const uint8_t *plain_code(struct soft_cpu *cpu)
{
    uint16_t mode = translate_mode_of(cpu) | TRANSLATE_PLAIN;
    struct soft_translation at = soft_block_fetch(cpu);
    if (at.host == NULL) {
        return NULL;
    }
    struct translate_block *block = translate_find_made(cpu, at.physical, mode);
    if (block == NULL) {
        block = translate_make_block(cpu, at.physical, at.host, mode);
    }
    return block == NULL ? NULL : block->entry_saved;
}

/* For a group's leader. */
static void access_group(struct soft_cpu *cpu, const struct translate_site *site, uint64_t linear)
{
    uint64_t own = (linear - (uint64_t)(int64_t)site->from) & cpu->address_mask;
    const uint8_t *host = fill_tlb(cpu, site, linear, own, site->own_write);
    if (host != NULL) {
        resume_access(cpu, site, linear, host);
        return;
    }
    cpu->statistics.group_misses++;
    const uint8_t *code = NULL;
    if (cpu->lockstep != NULL) {
        interpret_rest(cpu);
    } else {
        code = plain_code(cpu);
    }
    if (code != NULL) {
        resume_at(cpu, code, 0);
    } else {
        leave(cpu);
    }
}

void translate_access(struct soft_cpu *cpu, const struct translate_site *site, uint64_t linear)
{
    if (site->alone) {
        translate_single(cpu, site, 0);
        return;
    }
    at_site(cpu, site);
    *(site->write ? &cpu->statistics.slow_writes : &cpu->statistics.slow_reads) += 1;
    if (site->leads) {
        access_group(cpu, site, linear);
        return;
    }
    const uint8_t *host = fill_tlb(cpu, site, linear, linear, site->write);
    if (host != NULL) {
        resume_access(cpu, site, linear, host);
    } else {
        cpu->instructions -= site->uncounted;
        translate_single(cpu, site, 0);
    }
}

/*
 * A store that may have met a page that has just become code. The instruction is complete (or has
 * nothing left to do but to transfer control); what the block knows about pages that may be written
 * is not to be used any longer.
 */
void translate_raced(struct soft_cpu *cpu, const struct translate_site *site, uint64_t host)
{
    at_site(cpu, site);
    cpu->rip = cpu->next_rip & cpu->address_mask;
    for (unsigned int i = 0; i < guestmem_slot_count(cpu->vm->memory); i++) {
        const struct memory_slot *slot = guestmem_slot(cpu->vm->memory, i);
        uint64_t offset = host - (uint64_t)(uintptr_t)slot->host;
        if (offset < slot->length && size_of(site) != 0) {
            soft_code_stored(cpu, slot->base.v + offset, size_of(site));
        } else if (offset < slot->length) {
            soft_code_stored(cpu, (slot->base.v + offset) & ~SOFT_PAGE_MASK, SOFT_PAGE_SIZE);
        }
    }
    if (site->with_address != 0) {
        cpu->instructions -= site->uncounted;
        soft_attend(cpu, SOFT_ATTENTION_CODE); /* leaves before long */
        resume_at(cpu, code_at(cpu, site->with_address), cpu->gpr[X86_R10]);
    } else {
        cpu->instructions++;
        leave(cpu);
    }
}

void translate_load_x87(struct soft_cpu *cpu, const struct translate_site *site, uint64_t unused)
{
    (void)unused;
    soft_fpu_load(cpu->fpu);
    resume_at(cpu, code_at(cpu, site->with_address), 0);
}
