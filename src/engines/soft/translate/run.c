/*
 * From block to block.
 */
#include "engines/soft/block.h"
#include "engines/soft/native_fault.h"
#include "engines/soft/translate/lockstep.h"
#include "engines/soft/translate/measure.h"
#include "engines/soft/translate/translate.h"
#include "engines/soft/translate/translator.h"

/* A branch to an address that can't be is a fault of the branch itself. */
static void check_indirect(struct soft_cpu *cpu, const struct translate_site *site)
{
    if (soft_64bit(cpu) && !soft_canonical(cpu, cpu->rip)) {
        cpu->gpr[X86_RSP] += (uint64_t)(int64_t)site->stack_undo;
        cpu->rip = cpu->gpr[SOFT_GPR_CODE] + site->offset;
        cpu->instructions--; /* it was counted when it left */
        soft_run_single(cpu);
    }
}

/* Rings 1 and 2 are left to the interpreter: translated code without SOFT_MODE_USER is of ring 0.
 */
static bool may_be_translated(const struct soft_cpu *cpu)
{
    return (cpu->mode & SOFT_MODE_FAST) != 0 && (cpu->cpl == 0 || cpu->cpl == 3);
}

bool translate_goes_on(const struct soft_cpu *cpu)
{
    return atomic_load_explicit(&cpu->attention, memory_order_relaxed) == 0 && !cpu->sti_shadow &&
           !cpu->mov_ss_shadow && may_be_translated(cpu);
}

void translate_prepare_entry(struct soft_cpu *cpu)
{
    cpu->gpr[SOFT_GPR_CODE] = cpu->rip & ~SOFT_PAGE_MASK;
    if (__atomic_load_n(&cpu->write_revoked, __ATOMIC_RELAXED) != 0) {
        translate_stack_clear_stores(cpu);
        __atomic_exchange_n(&cpu->write_revoked, 0, __ATOMIC_SEQ_CST); /* code.h */
    }
    cpu->statistics.translated_entries++;
}

typedef uintptr_t enter_function(struct soft_cpu *cpu, const uint8_t *code);

/* Runs code, and leaves cpu->rip at what follows; the direct exit that led there, or NULL. */
static struct translate_link *run_code(struct soft_cpu *cpu, const uint8_t *code)
{
    enter_function *enter = (enter_function *)(uintptr_t)cpu->translate.translator->glue.enter;
    translate_prepare_entry(cpu);
    uintptr_t left = enter(cpu, code);
    if (left == 0) {
        return NULL;
    }
    if ((left & 1) != 0) {
        cpu->statistics.jump_misses += cpu->vm->options.count ? 1 : 0;
        check_indirect(cpu, (const struct translate_site *)(left - 1));
        return NULL;
    }
    struct translate_link *link = (struct translate_link *)left;
    cpu->rip = (cpu->gpr[SOFT_GPR_CODE] + link->offset) & cpu->address_mask;
    cpu->statistics.direct_exits++;
    return link;
}

/*
 * --- check=lockstep: one block at a time, and none knows where it leads: no links are made, and
 * the jump cache stays empty ---
 */

/* The run loop is left, and lockstep_failure has the words. */
static void end_by_difference(struct soft_cpu *cpu)
{
    cpu->exit->reason = EXIT_KICKED;
    soft_leave_after(cpu);
}

static bool run_in_lockstep(struct soft_cpu *cpu)
{
    struct error error;
    const struct translate_block *block =
        translate_find_block(cpu, translate_enter_mode(cpu), true);
    cpu->translate.translator->checked = block;
    if (block == NULL || !lockstep_before(cpu->lockstep, cpu, block->count)) {
        return false;
    }
    run_code(cpu, block->entry_saved);
    if (!lockstep_after(cpu->lockstep, cpu, block->code, block->code_length, &error)) {
        end_by_difference(cpu);
    }
    cpu->statistics.lockstep_blocks++;
    return true;
}

bool translate_escaped(struct soft_cpu *cpu, enum soft_escape *how)
{
    struct error error;
    const struct translate_block *block = cpu->translate.translator->checked;
    return cpu->lockstep == NULL || block == NULL ||
           lockstep_escaped(cpu->lockstep, cpu, how, block->code, block->code_length, &error);
}

/* False: the block at cpu->rip is the interpreter's. */
static bool run(struct soft_cpu *cpu)
{
    if (!may_be_translated(cpu)) {
        return false;
    }
    translate_measure(cpu, TRANSLATE_TIER_TRANSLATED);
    translate_set_gs(cpu);
    native_fault_translated(cpu->translate.translator->cache,
                            cpu->translate.translator->glue.single);
    cpu->translate.vectors_live = 0;
    cpu->translate.vectors_reload = 0;
    if (cpu->lockstep != NULL) {
        return run_in_lockstep(cpu);
    }
    const uint8_t *code = translate_find_code(cpu, NULL);
    if (code == NULL) {
        return false;
    }
    while (code != NULL) {
        struct translate_link *link = run_code(cpu, code);
        if (!translate_goes_on(cpu)) {
            return true;
        }
        code = translate_find_code(cpu, link);
    }
    return false;
}

bool translate_run(struct soft_cpu *cpu)
{
    if (run(cpu)) {
        return true;
    }
    translate_measure(cpu, TRANSLATE_TIER_INTERPRETER);
    cpu->statistics.interpreted_blocks++;
    return false;
}
