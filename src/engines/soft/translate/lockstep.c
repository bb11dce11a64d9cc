#include "engines/soft/translate/lockstep.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "engines/soft/block.h"
#include "engines/soft/exclusive.h"
#include "engines/soft/tlb.h"
#include "engines/soft/translate.h"
#include "engines/soft/translate/lockstep_state.h"
#include "x86/decode/facts.h"

/*
 * The reference fills the TLB, so that translated code would never meet a miss. Each time that so
 * many blocks have been compared it does: data tags are dropped, which the architecture always
 * allows. A prime, so that loops do not fall in step with it.
 */
#define MISSES_EVERY 61

struct lockstep {
    struct lockstep_state start, reference, translated, second;
    struct soft_undo undo, undo_second;
    struct soft_undo undo_translated; /* the first one's entries, with what translated code left */
    struct lockstep_path path;
    bool comparing; /* between lockstep_before and what follows it */
    uint64_t turns;
    struct lockstep_statistics statistics;
    struct vcpu_exit exit; /* where an exit of the reference goes */
    char *report;
    struct error failure; /* empty: none */
};

int lockstep_create(struct soft_cpu *cpu, struct lockstep **out)
{
    (void)cpu;
    size_t size = (sizeof(struct lockstep) + 63) & ~(size_t)63;
    struct lockstep *lockstep = aligned_alloc(64, size);
    if (lockstep == NULL) {
        return -ENOMEM;
    }
    memset(lockstep, 0, sizeof(*lockstep));
    *out = lockstep;
    return 0;
}

void lockstep_destroy(struct lockstep *lockstep)
{
    if (lockstep != NULL) {
        free(lockstep->report);
        free(lockstep);
    }
}

const char *lockstep_report(const struct lockstep *lockstep)
{
    return lockstep->report != NULL ? lockstep->report : "";
}

const char *lockstep_failure(const struct lockstep *lockstep)
{
    return lockstep->failure.text[0] != '\0' ? lockstep->failure.text : NULL;
}

void lockstep_statistics(const struct lockstep *lockstep, struct lockstep_statistics *statistics)
{
    *statistics = lockstep->statistics;
}

/* --- the path --- */

enum step_kind {
    STEP_PLAIN,
    STEP_CONDITIONAL, /* may go elsewhere */
    STEP_BRANCH,      /* goes elsewhere */
    STEP_ONCE         /* must not run twice, or changes more than is taken back */
};

static enum step_kind kind_of(enum x86_operation operation)
{
    switch (operation) {
    case X86_OP_JCC:
    case X86_OP_LOOP:
    case X86_OP_LOOPE:
    case X86_OP_LOOPNE:
    case X86_OP_JCXZ:
        return STEP_CONDITIONAL;
    case X86_OP_JMP:
    case X86_OP_JMP_INDIRECT:
    case X86_OP_CALL:
    case X86_OP_CALL_INDIRECT:
    case X86_OP_RET:
        return STEP_BRANCH;
    case X86_OP_MOVS: /* these end the interpreter's blocks for reasons of its own */
    case X86_OP_CMPS:
    case X86_OP_STOS:
    case X86_OP_LODS:
    case X86_OP_SCAS:
    case X86_OP_CLI:
    case X86_OP_CPUID:
    case X86_OP_PAUSE:
        return STEP_PLAIN;
    case X86_OP_RDTSC: /* another answer each time */
    case X86_OP_RDTSCP:
    case X86_OP_RDPMC:
    case X86_OP_RDRAND:
    case X86_OP_RDSEED:
        return STEP_ONCE;
    default:
        break;
    }
    bool ends = (soft_execute_table[operation].flags & SOFT_ENDS_BLOCK) != 0;
    return ends ? STEP_ONCE : STEP_PLAIN;
}

bool lockstep_can_repeat(enum x86_operation operation)
{
    return kind_of(operation) != STEP_ONCE;
}

/* Where the next instruction's first byte is. May raise #PF. */
static struct soft_translation fetch(struct soft_cpu *cpu)
{
    uint64_t linear = (cpu->rip + cpu->code_base) & cpu->address_mask;
    unsigned int index = soft_tlb_index(linear);
    const struct soft_tlb_entry *entry = &cpu->tlb->entry[index];
    uint64_t offset = linear - entry->fetch_tag;
    if (offset < SOFT_PAGE_SIZE) {
        return (struct soft_translation){.physical = cpu->tlb->detail[index].physical + offset,
                                         .host = entry->host + offset};
    }
    return soft_translate(cpu, soft_current_regime(cpu), linear, SOFT_FETCH);
}

/*
 * What becomes of the undefined flags. False if the instruction reads one: then what it does is
 * undefined, too, and may well differ.
 */
static bool follow_flags(struct lockstep_path *path, const struct x86_instruction *in)
{
    struct x86_facts facts;
    x86_instruction_facts(in, path->mode, &facts);
    if ((!facts.known && path->undefined != 0) || (facts.flags_read & path->undefined) != 0) {
        return false;
    }
    unsigned int defined = facts.flags_written & ~(unsigned int)facts.flags_undefined;
    path->undefined = (path->undefined & ~(uint64_t)defined) | facts.flags_undefined;
    return true;
}

/* Notes the instruction at cpu->rip. False if it is not one for a translated block. */
static bool look_ahead(struct lockstep *lockstep, struct soft_cpu *cpu, enum step_kind *kind)
{
    struct lockstep_path *path = &lockstep->path;
    struct soft_translation at = fetch(cpu);
    if (at.host == NULL || path->count == LOCKSTEP_STEPS_MAX) {
        return false;
    }
    struct lockstep_step *step = &path->step[path->count];
    uint64_t rest = SOFT_PAGE_SIZE - (at.physical & SOFT_PAGE_MASK);
    size_t available = rest < X86_INSTRUCTION_MAX ? (size_t)rest : X86_INSTRUCTION_MAX;
    memcpy(step->bytes, at.host, available);
    struct x86_instruction in;
    if (x86_decode(path->mode, step->bytes, available, &in) != X86_DECODE_OK) {
        return false;
    }
    step->rip = cpu->rip;
    step->length = in.length;
    if (path->count == 0) {
        path->physical = at.physical;
    }
    path->count++;
    *kind = kind_of(in.operation);
    if (!follow_flags(path, &in)) {
        return false;
    }
    /* Taken or not, a branch to the next instruction arrives there: the block's end is not told. */
    return *kind != STEP_ONCE && !(*kind == STEP_CONDITIONAL && in.immediate == 0);
}

/* Runs the path; true if it came to its end. Leaves by cpu->escape as any instruction may. */
static bool follow(struct lockstep *lockstep, struct soft_cpu *cpu, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        enum step_kind kind;
        if (!look_ahead(lockstep, cpu, &kind)) {
            return false;
        }
        uint64_t next = (cpu->rip + lockstep->path.step[i].length) & cpu->address_mask;
        soft_run_single(cpu);
        if (cpu->mid_string) {
            return false; /* it paused for an event */
        }
        if (kind == STEP_BRANCH || cpu->rip != next) {
            break;
        }
    }
    return count > 0;
}

/*
 * Runs the reference with its stores noted in undo, which then also has what became of memory; true
 * if it came to its end. Nothing is taken back yet.
 */
static bool run_reference(struct lockstep *lockstep, struct soft_cpu *cpu, unsigned int count,
                          struct soft_undo *undo)
{
    struct vcpu_exit *exit = cpu->exit;
    sigjmp_buf outer;
    memcpy(&outer, &cpu->escape, sizeof(outer));
    lockstep->path.mode = (enum x86_decode_mode)(cpu->mode & SOFT_MODE_DECODE);
    lockstep->path.count = 0;
    lockstep->path.undefined = 0;
    undo->count = 0;
    cpu->undo = undo;
    cpu->exit = &lockstep->exit;
    volatile bool arrived = false;
    if (sigsetjmp(cpu->escape, 0) == SOFT_ESCAPE_NONE) {
        arrived = follow(lockstep, cpu, count);
    }
    memcpy(&cpu->escape, &outer, sizeof(outer));
    cpu->exit = exit;
    cpu->undo = NULL;
    if (cpu->exclusive_held) {
        soft_exclusive_end(cpu);
    }
    cpu->code_changed = false;
    soft_undo_collect(undo);
    return arrived;
}

static void drop_data_tags(struct soft_tlb *tlb)
{
    for (unsigned int i = 0; i < SOFT_TLB_ENTRIES; i++) {
        uint64_t empty = soft_tlb_empty_tag(i);
        tlb->entry[i].read_tag = empty;
        __atomic_store_n(&tlb->entry[i].write_tag, empty, __ATOMIC_RELAXED);
    }
}

bool lockstep_before(struct lockstep *lockstep, struct soft_cpu *cpu, unsigned int count)
{
    cpu->mid_string = false; /* of an instruction that ran long ago: now it tells of the new ones */
    lockstep_capture(cpu, &lockstep->start);
    lockstep->comparing = run_reference(lockstep, cpu, count, &lockstep->undo);
    if (lockstep->comparing) {
        lockstep_capture(cpu, &lockstep->reference);
    } else {
        lockstep->statistics.refused++;
    }
    soft_undo_take_back(&lockstep->undo);
    lockstep_restore(cpu, &lockstep->start);
    if (lockstep->comparing && ++lockstep->turns % MISSES_EVERY == 0) {
        drop_data_tags(cpu->tlb);
    }
    return lockstep->comparing;
}

/* --- the comparison --- */

static bool memory_is_as_after(const struct soft_undo *undo)
{
    for (unsigned int i = 0; i < undo->count; i++) {
        const struct soft_undo_entry *entry = &undo->entry[i];
        if (memcmp(entry->host, entry->after, entry->size) != 0) {
            return false;
        }
    }
    return true;
}

static bool same_stores(const struct soft_undo *a, const struct soft_undo *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (unsigned int i = 0; i < a->count; i++) {
        const struct soft_undo_entry *p = &a->entry[i], *q = &b->entry[i];
        if (p->host != q->host || p->size != q->size || memcmp(p->after, q->after, p->size) != 0) {
            return false;
        }
    }
    return true;
}

/*
 * Somebody's attention was asked for, and translated code has left its block between two
 * instructions: how many it has run. 0: that is not what happened.
 */
static unsigned int left_after(const struct lockstep *lockstep, const struct soft_cpu *cpu)
{
    if (atomic_load(&cpu->attention) == 0) {
        return 0;
    }
    for (unsigned int i = 1; i < lockstep->path.count; i++) {
        if (lockstep->path.step[i].rip == cpu->rip) {
            return i;
        }
    }
    return 0;
}

static void log_lines(const char *text)
{
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        log_warn("%.*s", (int)length, text);
        text += length + (text[length] == '\n' ? 1 : 0);
    }
}

static void report(struct lockstep *lockstep, struct lockstep_difference *difference,
                   struct error *error)
{
    char summary[200];
    difference->path = &lockstep->path;
    difference->start = &lockstep->start;
    difference->interpreter =
        (struct lockstep_result){.state = &lockstep->reference, .memory = &lockstep->undo};
    difference->translated = (struct lockstep_result){.state = &lockstep->translated,
                                                      .memory = &lockstep->undo_translated};
    free(lockstep->report);
    lockstep->report = lockstep_describe(difference, summary, sizeof(summary));
    if (lockstep->report != NULL) {
        log_lines(lockstep->report);
    }
    error_set(&lockstep->failure, EPROTO,
              "translated code at 0x%llx did not do what the interpreter does: %s",
              (unsigned long long)lockstep->start.rip, summary);
    error_set(error, EPROTO, "%s", lockstep->failure.text);
}

/* Memory and registers are the translated run's: keeps them aside and goes back to the start. */
static void put_aside(struct lockstep *lockstep, struct soft_cpu *cpu)
{
    lockstep_capture(cpu, &lockstep->translated);
    memcpy(&lockstep->undo_translated, &lockstep->undo, sizeof(lockstep->undo));
    soft_undo_collect(&lockstep->undo_translated);
    soft_undo_take_back(&lockstep->undo);
    lockstep_restore(cpu, &lockstep->start);
}

/* Makes the reference one of the path's first instructions only. False if it did not get there. */
static bool shorten(struct lockstep *lockstep, struct soft_cpu *cpu, unsigned int count)
{
    put_aside(lockstep, cpu);
    bool arrived = run_reference(lockstep, cpu, count, &lockstep->undo);
    lockstep_capture(cpu, &lockstep->reference);
    soft_undo_take_back(&lockstep->undo);
    soft_undo_put_again(&lockstep->undo_translated);
    lockstep_restore(cpu, &lockstep->translated);
    return arrived;
}

/*
 * The two runs differ. Once more through the interpreter: if that does not do what it did the first
 * time, a device has written to what the block reads, and its second result stands. Otherwise true,
 * and the vCPU is back at the start.
 */
static bool differs_again(struct lockstep *lockstep, struct soft_cpu *cpu)
{
    put_aside(lockstep, cpu);
    bool arrived = run_reference(lockstep, cpu, lockstep->path.count, &lockstep->undo_second);
    lockstep_capture(cpu, &lockstep->second);
    bool steady = arrived && lockstep_equal(&lockstep->second, &lockstep->reference, 0) &&
                  same_stores(&lockstep->undo, &lockstep->undo_second);
    if (steady || !arrived) { /* what did not arrive will be met by the run loop */
        soft_undo_take_back(&lockstep->undo_second);
        lockstep_restore(cpu, &lockstep->start);
    }
    lockstep->statistics.unsteady += steady ? 0 : 1;
    return steady;
}

static bool is_equal(const struct lockstep *lockstep)
{
    return lockstep_equal(&lockstep->translated, &lockstep->reference, lockstep->path.undefined) &&
           memory_is_as_after(&lockstep->undo);
}

/* The same after as much of the path as translated code went, if it left early. */
static bool is_equal_so_far(struct lockstep *lockstep, struct soft_cpu *cpu)
{
    unsigned int count = left_after(lockstep, cpu);
    return count > 0 && shorten(lockstep, cpu, count) && is_equal(lockstep);
}

bool lockstep_after(struct lockstep *lockstep, struct soft_cpu *cpu, const void *host_code,
                    size_t host_length, struct error *error)
{
    if (!lockstep->comparing) {
        return true;
    }
    lockstep->comparing = false;
    if (cpu->mid_string) { /* paused between two iterations: how far it got is not the path's */
        lockstep->statistics.unsteady++;
        return true;
    }
    lockstep_capture(cpu, &lockstep->translated);
    if (is_equal(lockstep) || is_equal_so_far(lockstep, cpu)) {
        lockstep->statistics.compared++;
        return true;
    }
    if (!differs_again(lockstep, cpu)) {
        return true;
    }
    struct lockstep_difference difference = {
        .vcpu = cpu->index, .host_code = host_code, .host_length = host_length};
    report(lockstep, &difference, error);
    return false;
}

bool lockstep_escaped(struct lockstep *lockstep, struct soft_cpu *cpu, enum soft_escape *how,
                      const void *host_code, size_t host_length, struct error *error)
{
    if (!lockstep->comparing || *how == SOFT_ESCAPE_NONE) {
        return true;
    }
    lockstep->comparing = false;
    if (*how == SOFT_ESCAPE_RESTART) {
        lockstep->statistics.unsteady++;
        return true;
    }
    if (cpu->exclusive_held) {
        soft_exclusive_end(cpu);
    }
    char left_by[80];
    if (*how == SOFT_ESCAPE_EXCEPTION) {
        snprintf(left_by, sizeof(left_by), "exception %u, error code 0x%x",
                 (unsigned int)cpu->exception_vector,
                 cpu->exception_has_error ? cpu->exception_error : 0);
    } else {
        snprintf(left_by, sizeof(left_by), "an exit");
    }
    *how = SOFT_ESCAPE_NONE;
    if (!differs_again(lockstep, cpu)) {
        return true;
    }
    struct lockstep_difference difference = {
        .vcpu = cpu->index, .left_by = left_by, .host_code = host_code, .host_length = host_length};
    report(lockstep, &difference, error);
    return false;
}
