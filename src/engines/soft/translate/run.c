/*
 * From block to block, and what translated code asks of C.
 */
#include <asm/prctl.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "engines/soft/block.h"
#include "engines/soft/code.h"
#include "engines/soft/fast_memory.h"
#include "engines/soft/fpu.h"
#include "engines/soft/host_access.h"
#include "engines/soft/native_fault.h"
#include "engines/soft/time_stamp.h"
#include "engines/soft/translate.h"
#include "engines/soft/translate/lockstep.h"
#include "engines/soft/translate/measure.h"
#include "engines/soft/translate/translate.h"
#include "engines/soft/translate/translator.h"
#include "vm/guestmem.h"

#define KEY_MODE_BITS 4

#define RUNS_COUNTED_MAX  (4u << TRANSLATE_RUNS_BITS)
#define CHURN_DROPS_MAX   12
#define CHURN_EPOCH_SHIFT 28 /* some tenth of a second */

/* --- creation --- */

static uint64_t host_features(void)
{
    static const uint32_t leaves[][2] = {{0, 0},   {1, 0},          {7, 0},         {7, 1},
                                         {0xd, 1}, {0x80000000, 0}, {0x80000001, 0}};
    struct cpuid_table table = {0};
    uint64_t features = 0;
    for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
        bool has_subleaves = leaves[i][0] == 7 || leaves[i][0] == 0xd;
        cpuid_set(&table, leaves[i][0], leaves[i][1], has_subleaves,
                  cpuid_host(leaves[i][0], leaves[i][1]));
    }
    for (unsigned int i = 0; i < X86_FEATURE_COUNT; i++) {
        if (i == X86_FEATURE_BASE || cpuid_has(&table, (enum x86_feature)i)) {
            features |= UINT64_C(1) << i;
        }
    }
    if (!__builtin_cpu_supports("avx")) { /* the kernel must save the registers, too */
        features &= ~(UINT64_C(1) << X86_FEATURE_AVX);
    }
    return features;
}

/* GS belongs to nobody else in the process; each thread keeps its own. */
static bool set_gs(const struct soft_cpu *cpu)
{
    static _Thread_local const struct soft_cpu *gs;
    if (gs != cpu) {
        if (syscall(SYS_arch_prctl, ARCH_SET_GS, cpu) != 0) {
            return false;
        }
        gs = cpu;
    }
    return true;
}

int translate_create(struct soft_cpu *cpu, struct error *error)
{
    struct translator *translator =
        mmap(NULL, sizeof(*translator), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (translator == MAP_FAILED) {
        return error_set(error, ENOMEM, "no memory for vCPU %u's translator", cpu->index);
    }
    const struct soft_options *options = &cpu->vm->options;
    if (!set_gs(cpu)) { /* later ones are not checked */
        int code = errno;
        munmap(translator, sizeof(*translator));
        return error_set_errno(error, code, "setting GS (a security policy may forbid it)");
    }
    int status = translate_cache_create((size_t)options->code_cache / cpu->vm->vcpu_count,
                                        &translator->cache, error);
    if (status != 0) {
        munmap(translator, sizeof(*translator));
        return status;
    }
    translator->translate_after = options->translate_after;
    translator->smp = cpu->vm->vcpu_count > 1;
    translator->host_features = host_features();
    translator->serial[0] = 1;
    translator->serial[1] = translator->last_serial = 2;
    cpu->translate.self = cpu;
    cpu->translate.translator = translator;
    if (!translate_make_glue(cpu)) {
        translate_destroy(cpu);
        return error_set(error, ENOMEM, "the translator's glue code does not fit");
    }
    return 0;
}

void translate_destroy(struct soft_cpu *cpu)
{
    struct translator *translator = cpu->translate.translator;
    if (translator != NULL) {
        native_fault_translated(NULL, NULL);
        translate_cache_destroy(translator->cache);
        munmap(translator, sizeof(*translator));
        cpu->translate.translator = NULL;
    }
}

/* --- modes and keys --- */

static bool vectors_raise_nothing(const struct soft_cpu *cpu)
{
    const uint64_t states = X86_XCR0_SSE | X86_XCR0_AVX, enabled = X86_CR4_OSFXSR | X86_CR4_OSXSAVE;
    const uint64_t avx = UINT64_C(1) << X86_FEATURE_AVX;
    return (cpu->translate.translator->host_features & avx) != 0 &&
           (cpu->cr0 & (X86_CR0_EM | X86_CR0_TS)) == 0 && (cpu->cr4 & enabled) == enabled &&
           (cpu->xcr0 & states) == states && (cpu->fpu->mxcsr & MXCSR_MASKS) == MXCSR_MASKS;
}

/* Nor is there an exception pending: that takes one that is not masked. */
static bool x87_raises_nothing(const struct soft_cpu *cpu)
{
    return (cpu->cr0 & (X86_CR0_EM | X86_CR0_TS)) == 0 && !cpu->fpu->may_pend;
}

static uint16_t mode_of(const struct soft_cpu *cpu)
{
    unsigned int mode = cpu->mode;
    mode |= vectors_raise_nothing(cpu) ? TRANSLATE_VECTORS : 0;
    mode |= x87_raises_nothing(cpu) ? TRANSLATE_X87 : 0;
    mode |= cpu->rip >> 63 != 0 ? TRANSLATE_UPPER : 0;
    return (uint16_t)mode;
}

static void set_keys(struct soft_cpu *cpu, uint16_t mode)
{
    struct translator *translator = cpu->translate.translator;
    unsigned int bits = ((mode & SOFT_MODE_USER) != 0 ? 1u : 0) |
                        ((mode & SOFT_MODE_DECODE) == X86_DECODE_64 ? 2u : 0) |
                        ((mode & TRANSLATE_VECTORS) != 0 ? 4u : 0) |
                        ((mode & TRANSLATE_X87) != 0 ? 8u : 0);
    for (unsigned int half = 0; half < 2; half++) {
        cpu->translate.key[half] = translator->serial[half] << KEY_MODE_BITS | bits;
    }
    translator->key_mode = mode;
}

/* From now on no entry of the jump cache for a half matches. */
static void renew_key(struct soft_cpu *cpu, unsigned int half)
{
    struct translator *translator = cpu->translate.translator;
    translator->serial[half] = ++translator->last_serial;
    set_keys(cpu, translator->key_mode);
}

/* Links and the jump cache hold as long as linear addresses keep their meaning. */
static void forget_if_changed(struct soft_cpu *cpu)
{
    struct translator *translator = cpu->translate.translator;
    for (unsigned int half = 0; half < 2; half++) {
        if (translator->generation[half] != cpu->code_generation[half]) {
            translator->generation[half] = cpu->code_generation[half];
            translate_cache_unbind(translator->cache, half);
            renew_key(cpu, half);
        }
    }
}

static struct translate_churn *churn_of(struct translator *translator, uint64_t page)
{
    return &translator->churn[page * UINT64_C(0x9e3779b97f4a7c15) >> (64 - TRANSLATE_CHURN_BITS)];
}

static void note_drop(struct translator *translator, uint64_t page)
{
    struct translate_churn *churn = churn_of(translator, page);
    uint32_t epoch = (uint32_t)(soft_host_tsc() >> CHURN_EPOCH_SHIFT);
    if (epoch != churn->epoch) {
        churn->epoch = epoch;
        churn->drops /= 2;
    }
    if (churn->drops < CHURN_DROPS_MAX) {
        churn->drops++;
    }
    churn->wait = (uint16_t)(1u << churn->drops);
}

/* Where the runs of a block are counted. */
static uint8_t *runs_of(struct translator *translator, uint64_t physical)
{
    uint64_t code = churn_of(translator, physical >> 12)->code;
    uint64_t hash = (physical ^ code << 48) * UINT64_C(0x9e3779b97f4a7c15);
    return &translator->runs[hash >> (64 - TRANSLATE_RUNS_BITS)];
}

void translate_drop_page(struct soft_cpu *cpu, uint64_t page)
{
    struct translator *translator = cpu->translate.translator;
    const struct translate_cache_statistics *statistics =
        translate_cache_statistics(translator->cache);
    uint64_t before = statistics->blocks_dropped;
    translate_cache_drop_page(translator->cache, page);
    churn_of(translator, page)->code++;
    if (statistics->blocks_dropped != before) {
        note_drop(translator, page);
    }
}

void translate_drop_all(struct soft_cpu *cpu)
{
    translate_cache_drop_all(cpu->translate.translator->cache);
}

/* --- finding and making blocks --- */

static struct translate_jump *jump_of(struct soft_cpu *cpu, uint64_t rip)
{
    uint32_t hash = (uint32_t)(rip >> TRANSLATE_JUMP_BITS) ^ (uint32_t)rip;
    return &cpu->translate.jumps[hash & ((1u << TRANSLATE_JUMP_BITS) - 1)];
}

static void next_region(struct soft_cpu *cpu)
{
    struct translator *translator = cpu->translate.translator;
    const struct translate_cache_statistics *statistics =
        translate_cache_statistics(translator->cache);
    uint64_t before = statistics->regions_evicted;
    translate_cache_next_region(translator->cache);
    renew_key(cpu, 0);
    renew_key(cpu, 1);
    if (statistics->regions_evicted != before && translator->translate_after != 0) {
        translate_pressure_evicted(&translator->pressure, soft_host_tsc());
    }
}

static struct translate_block *make_block(struct soft_cpu *cpu, uint64_t physical,
                                          const uint8_t *host, uint16_t mode)
{
    struct translator *translator = cpu->translate.translator;
    struct translate_block *block = NULL;
    bool fresh = false;
    for (unsigned int limit = UNIT_MAX; limit > 0 && block == NULL;) {
        if (!translate_collect(cpu, &translator->unit, physical, host, mode, limit)) {
            return NULL;
        }
        block = translate_generate(cpu);
        if (block == NULL && !fresh) {
            next_region(cpu);
            fresh = true;
        } else {
            limit /= 2; /* too much even for an empty region */
        }
    }
    return block;
}

static void count_made(struct soft_cpu *cpu, const struct translate_block *block)
{
    struct translate_statistics *statistics = &cpu->statistics;
    statistics->blocks_translated++;
    statistics->guest_instructions_translated += block->count;
    statistics->guest_bytes += block->guest_length;
    statistics->host_bytes += block->code_length;
}

/* Is it time to translate what stands at a physical address? Collisions do no harm. */
static bool is_hot(struct translator *translator, uint64_t physical)
{
    struct translate_churn *churn = churn_of(translator, physical >> 12);
    if (churn->wait != 0 && translator->translate_after != 0) {
        churn->wait--;
        return false;
    }
    uint8_t *runs = runs_of(translator, physical);
    if (*runs >= translator->translate_after) {
        return true;
    }
    (*runs)++;
    if (++translator->runs_counted == RUNS_COUNTED_MAX) { /* else in the end all were hot */
        translator->runs_counted = 0;
        memset(translator->runs, 0, sizeof(translator->runs));
    }
    return false;
}

/* Links out of a page are bound to the linear address that it runs at: one at a time. */
static void note_home(struct soft_cpu *cpu, uint64_t physical)
{
    struct translator *translator = cpu->translate.translator;
    if (!translate_home_enter(&translator->homes, physical, cpu->rip, translator->serial)) {
        for (unsigned int half = 0; half < 2; half++) {
            translate_cache_unbind(translator->cache, half);
            renew_key(cpu, half);
        }
        translate_home_enter(&translator->homes, physical, cpu->rip, translator->serial);
    }
}

/* May an exit be linked to what stands at cpu->rip, where it led this time? */
static bool can_link(const struct soft_cpu *cpu, const struct translate_link *link,
                     const struct translate_block *target)
{
    const struct translator *translator = cpu->translate.translator;
    unsigned int half = (unsigned int)(cpu->rip >> 63);
    uint64_t home;
    if (link->patch != NULL && link->from->physical >> 12 != target->physical >> 12) {
        return false; /* it led within its page, but that was remapped under it */
    }
    if (link->patch != NULL && !target->crosses) {
        return true;
    }
    if (half != ((link->from->mode & TRANSLATE_UPPER) != 0 ? 1 : 0) ||
        !translate_home_find(&translator->homes, link->from->physical, half, translator->serial,
                             &home)) {
        return false;
    }
    /* Going round the address space is no way forward: a loop must look at attention. */
    return !link->forward || cpu->rip > home;
}

/* The block that has been made of what stands at cpu->rip. Raises what its second page does. */
static struct translate_block *find_translated(struct soft_cpu *cpu, uint64_t physical,
                                               uint16_t mode)
{
    struct translate_block *block =
        translate_cache_find(cpu->translate.translator->cache, physical, mode);
    if (block == NULL || !block->crosses) {
        return block;
    }
    struct soft_translation next = soft_block_fetch_next(cpu);
    return next.host == NULL ? NULL : translate_cache_find_rest(block, next.physical >> 12);
}

/* Makes the block at cpu->rip; NULL if there is none. */
static struct translate_block *make_here(struct soft_cpu *cpu, struct soft_translation at,
                                         uint16_t mode)
{
    uint64_t begin = cpu->vm->options.count ? clock_now_ns() : 0;
    uint64_t stamp = soft_host_tsc();
    struct translate_block *block = make_block(cpu, at.physical, at.host, mode);
    cpu->translate.translator->pressure.making += soft_host_tsc() - stamp;
    translate_measure_made(cpu, begin);
    if (block != NULL) {
        count_made(cpu, block);
        translate_show(cpu, block);
    }
    return block;
}

/*
 * The block at cpu->rip; NULL if that is to be interpreted. Raises what the fetch raises. make:
 * one may be made.
 */
static struct translate_block *find_block(struct soft_cpu *cpu, uint16_t mode, bool make)
{
    struct translator *translator = cpu->translate.translator;
    struct soft_translation at = soft_block_fetch(cpu);
    if (at.host == NULL) {
        return NULL;
    }
    struct translate_block *block = find_translated(cpu, at.physical, mode);
    if (block == NULL && make && is_hot(translator, at.physical)) {
        block = make_here(cpu, at, mode);
    }
    if (block != NULL && cpu->lockstep == NULL) {
        note_home(cpu, block->physical);
        *jump_of(cpu, cpu->rip) = (struct translate_jump){.rip = cpu->rip,
                                                          .key = cpu->translate.key[cpu->rip >> 63],
                                                          .page = cpu->rip & ~SOFT_PAGE_MASK,
                                                          .code = block->entry_saved};
    }
    return block;
}

/* The mode that code at cpu->rip runs in; from now on the keys are of that. */
static uint16_t enter_mode(struct soft_cpu *cpu)
{
    uint16_t mode = mode_of(cpu);
    forget_if_changed(cpu);
    if (mode != cpu->translate.translator->key_mode) {
        set_keys(cpu, mode);
    }
    return mode;
}

/* What the jump cache has for cpu->rip; NULL if it has nothing. */
static const uint8_t *known_code(struct soft_cpu *cpu)
{
    const struct translate_jump *jump = jump_of(cpu, cpu->rip);
    cpu->statistics.dispatches++;
    if (jump->rip != cpu->rip || jump->key != cpu->translate.key[cpu->rip >> 63]) {
        return NULL;
    }
    cpu->statistics.dispatch_hits++;
    return jump->code;
}

/* May code be made for the place that control has come to? */
static bool considers(struct translator *translator)
{
    struct translate_pressure *pressure = &translator->pressure;
    if (!translate_pressure_considers(pressure)) {
        return false;
    }
    if (pressure->level > 0) {
        translate_pressure_relax(pressure, soft_host_tsc());
    }
    return true;
}

/* The code to run at cpu->rip; NULL if there is none. link: the exit that led here, or NULL. */
static const uint8_t *find_code(struct soft_cpu *cpu, struct translate_link *link)
{
    struct translator *translator = cpu->translate.translator;
    uint16_t mode = enter_mode(cpu);
    const uint8_t *known = link == NULL ? known_code(cpu) : NULL;
    if (known != NULL) {
        return known;
    }
    uint64_t evictions = translate_cache_statistics(translator->cache)->regions_evicted;
    struct translate_block *block = find_block(cpu, mode, considers(translator));
    if (block == NULL) {
        return NULL;
    }
    if (link != NULL &&
        evictions == translate_cache_statistics(translator->cache)->regions_evicted &&
        can_link(cpu, link, block)) {
        translate_cache_link(translator->cache, link, block, (unsigned int)(cpu->rip >> 63));
    }
    return block->entry_saved;
}

/* --- running --- */

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

/* Nothing stands between one instruction and the next but where it is found. */
static bool goes_on(const struct soft_cpu *cpu)
{
    return atomic_load_explicit(&cpu->attention, memory_order_relaxed) == 0 && !cpu->sti_shadow &&
           !cpu->mov_ss_shadow && may_be_translated(cpu);
}

/* What every way into a block that is not a link sees to; cpu->rip is where it begins. */
static void prepare_entry(struct soft_cpu *cpu)
{
    cpu->gpr[SOFT_GPR_CODE] = cpu->rip & ~SOFT_PAGE_MASK;
    if (__atomic_load_n(&cpu->write_revoked, __ATOMIC_RELAXED) != 0) {
        __atomic_exchange_n(&cpu->write_revoked, 0, __ATOMIC_SEQ_CST); /* code.h */
    }
    cpu->statistics.translated_entries++;
}

typedef uintptr_t enter_function(struct soft_cpu *cpu, const uint8_t *code);

/* Runs code, and leaves cpu->rip at what follows; the direct exit that led there, or NULL. */
static struct translate_link *run_code(struct soft_cpu *cpu, const uint8_t *code)
{
    enter_function *enter = (enter_function *)(uintptr_t)cpu->translate.translator->glue.enter;
    prepare_entry(cpu);
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
    const struct translate_block *block = find_block(cpu, enter_mode(cpu), true);
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
    set_gs(cpu);
    native_fault_translated(cpu->translate.translator->cache,
                            cpu->translate.translator->glue.single);
    cpu->translate.vectors_live = 0;
    cpu->translate.vectors_reload = 0;
    if (cpu->lockstep != NULL) {
        return run_in_lockstep(cpu);
    }
    const uint8_t *code = find_code(cpu, NULL);
    if (code == NULL) {
        return false;
    }
    while (code != NULL) {
        struct translate_link *link = run_code(cpu, code);
        if (!goes_on(cpu)) {
            return true;
        }
        code = find_code(cpu, link);
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

/*
 * --- what translated code asks for ---
 *
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

static void resume_at(struct soft_cpu *cpu, const uint8_t *code, uint64_t t0)
{
    cpu->translate.resume = code;
    cpu->translate.host_address = t0;
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
    if (cpu->lockstep == NULL && goes_on(cpu)) {
        enter_mode(cpu);
        const uint8_t *code = known_code(cpu);
        if (code != NULL) {
            prepare_entry(cpu);
            resume_at(cpu, code, cpu->gpr[X86_R10]);
            return;
        }
    }
    leave(cpu);
}

/* Behind an instruction that C has run: on in the block, if that still holds. */
static void resume_behind(struct soft_cpu *cpu, const struct translate_site *site,
                          uint64_t expected, uint64_t generations)
{
    bool same = cpu->rip == expected && site->resume != NULL &&
                mode_of(cpu) == cpu->translate.translator->key_mode && /* MXCSR, x87 controls */
                generations == cpu->code_generation[0] + cpu->code_generation[1] &&
                (atomic_load_explicit(&cpu->attention, memory_order_relaxed) &
                 (SOFT_ATTENTION_CODE | SOFT_ATTENTION_LEAVE)) == 0;
    if (same) {
        cpu->instructions -= site->uncounted + 1u;
        resume_at(cpu, site->resume, cpu->gpr[X86_R10]);
    } else {
        resume_elsewhere(cpu);
    }
}

/* The length of the instruction at cpu->rip, which lies within a page. */
static unsigned int length_at_rip(struct soft_cpu *cpu)
{
    struct x86_instruction in;
    struct soft_translation at = soft_block_fetch(cpu);
    size_t rest = (size_t)(SOFT_PAGE_SIZE - (at.physical & SOFT_PAGE_MASK));
    x86_decode(cpu->mode & SOFT_MODE_DECODE, at.host, rest, &in);
    return in.length;
}

/* Under check=lockstep the block ends where it would have ended. */
static void interpret_rest(struct soft_cpu *cpu)
{
    const struct translate_block *block = cpu->translate.translator->checked;
    uint64_t generations = cpu->code_generation[0] + cpu->code_generation[1];
    uint64_t end = cpu->gpr[SOFT_GPR_CODE] + (block->physical & SOFT_PAGE_MASK);
    end += block->guest_length;
    uint64_t next = cpu->rip;
    while (cpu->rip == next && cpu->rip < end &&
           generations == cpu->code_generation[0] + cpu->code_generation[1]) {
        next = cpu->rip + length_at_rip(cpu);
        soft_run_single(cpu);
    }
}

void translate_single(struct soft_cpu *cpu, const struct translate_site *site, uint64_t unused)
{
    (void)unused;
    at_site(cpu, site);
    cpu->statistics.callouts++;
    uint64_t expected = cpu->next_rip & cpu->address_mask;
    uint64_t generations = cpu->code_generation[0] + cpu->code_generation[1];
    bool x87 = cpu->fpu->live;
    soft_run_single(cpu);
    if (x87) {
        soft_fpu_load(cpu->fpu); /* code behind it may count on that */
    }
    if (cpu->lockstep != NULL && site->keeps && cpu->rip == expected) {
        interpret_rest(cpu);
    }
    resume_behind(cpu, site, expected, generations);
}

void translate_callout(struct soft_cpu *cpu, const struct translate_site *site, uint64_t unused)
{
    (void)unused;
    at_site(cpu, site);
    cpu->statistics.callouts++;
    uint64_t expected = cpu->next_rip & cpu->address_mask;
    uint64_t generations = cpu->code_generation[0] + cpu->code_generation[1];
    site->instruction->execute(cpu, site->instruction);
    cpu->rip = cpu->next_rip & (soft_64bit(cpu) ? UINT64_MAX : UINT32_MAX);
    cpu->instructions++;
    if (cpu->code_changed) {
        cpu->code_changed = false;
        resume_elsewhere(cpu);
        return;
    }
    resume_behind(cpu, site, expected, generations);
}

/* The host address for an access, once the TLB has an entry for it; NULL if it gets none. */
static uint8_t *fill_tlb(struct soft_cpu *cpu, const struct translate_site *site, uint64_t linear)
{
    const struct soft_tlb_entry *entry;
    uint64_t last = SOFT_PAGE_SIZE - site->size;
    if ((linear & SOFT_PAGE_MASK) > last || (soft_64bit(cpu) && !soft_canonical(cpu, linear))) {
        return NULL;
    }
    enum soft_access access = site->write ? SOFT_WRITE : SOFT_READ;
    soft_translate(cpu, soft_current_regime(cpu), linear, access);
    return site->write ? soft_tlb_write(cpu, linear, site->size, &entry)
                       : soft_tlb_read(cpu, linear, site->size);
}

void translate_access(struct soft_cpu *cpu, const struct translate_site *site, uint64_t linear)
{
    at_site(cpu, site);
    *(site->write ? &cpu->statistics.slow_writes : &cpu->statistics.slow_reads) += 1;
    uint8_t *host = fill_tlb(cpu, site, linear);
    cpu->instructions -= site->uncounted;
    if (host != NULL) {
        resume_at(cpu, site->with_address, (uint64_t)(uintptr_t)host);
    } else {
        translate_single(cpu, site, 0);
    }
}

/* May a group's range be touched as it is? Raises what the leader's own access raises. */
static bool fill_for_group(struct soft_cpu *cpu, const struct translate_site *site, uint64_t linear)
{
    const struct soft_tlb_entry *entry;
    uint64_t own = (linear - (uint64_t)(int64_t)site->from) & cpu->address_mask;
    if ((linear & SOFT_PAGE_MASK) > SOFT_PAGE_SIZE - site->size ||
        (soft_64bit(cpu) && !soft_canonical(cpu, linear))) {
        return false;
    }
    enum soft_access access = site->own_write ? SOFT_WRITE : SOFT_READ;
    soft_translate(cpu, soft_current_regime(cpu), own, access);
    return (site->write ? soft_tlb_write(cpu, linear, site->size, &entry)
                        : soft_tlb_read(cpu, linear, site->size)) != NULL;
}

/* The same code with each access checked by itself, from the leader on. */
static const uint8_t *plain_code(struct soft_cpu *cpu)
{
    uint16_t mode = mode_of(cpu) | TRANSLATE_PLAIN;
    struct soft_translation at = soft_block_fetch(cpu);
    struct translate_block *block =
        translate_cache_find(cpu->translate.translator->cache, at.physical, mode);
    if (block == NULL && at.host != NULL) {
        block = make_block(cpu, at.physical, at.host, mode);
    }
    return block == NULL ? NULL : block->entry_saved;
}

void translate_group(struct soft_cpu *cpu, const struct translate_site *site, uint64_t linear)
{
    at_site(cpu, site);
    if (fill_for_group(cpu, site, linear)) {
        resume_at(cpu, site->with_address, 0);
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
        if (offset < slot->length && site->size != 0) {
            soft_code_stored(cpu, slot->base.v + offset, site->size);
        } else if (offset < slot->length) {
            soft_code_stored(cpu, (slot->base.v + offset) & ~SOFT_PAGE_MASK, SOFT_PAGE_SIZE);
        }
    }
    if (site->with_address != NULL) {
        cpu->instructions -= site->uncounted;
        soft_attend(cpu, SOFT_ATTENTION_CODE); /* leaves before long */
        resume_at(cpu, site->with_address, cpu->gpr[X86_R10]);
    } else {
        cpu->instructions++;
        leave(cpu);
    }
}

void translate_load_x87(struct soft_cpu *cpu, const struct translate_site *site, uint64_t unused)
{
    (void)unused;
    soft_fpu_load(cpu->fpu);
    resume_at(cpu, site->with_address, 0);
}
