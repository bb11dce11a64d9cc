#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "engines/soft/block.h"
#include "engines/soft/code.h"
#include "engines/soft/cpuid.h"
#include "engines/soft/fpu.h"
#include "engines/soft/native_fault.h"
#include "engines/soft/options.h"
#include "engines/soft/paravirt.h"
#include "engines/soft/probe.h"
#include "engines/soft/run.h"
#include "engines/soft/soft.h"
#include "engines/soft/state.h"
#include "engines/soft/statistics.h"
#include "engines/soft/time_stamp.h"
#include "engines/soft/translate.h"
#include "engines/soft/translate/lockstep.h"
#include "engines/soft/translate/measure.h"
#include "engines/soft/translate/perf_map.h"
#include "engines/soft/translate/trace.h"
#include "engines/soft/translate/translate.h"

struct engine_vm {
    struct soft_vm soft;
};

struct engine_vcpu {
    struct soft_cpu cpu;
    struct native_fault_thread *faults;
};

/* --- VM --- */

static void vm_destroy(struct engine_vm *vm)
{
    if (vm == NULL) {
        return;
    }
    guestmem_set_listener(vm->soft.memory, NULL, NULL);
    soft_code_destroy(&vm->soft);
    thunk_cache_destroy(vm->soft.thunks);
    code_trace_destroy(vm->soft.code_trace);
    perf_map_destroy(vm->soft.perf_map);
    pthread_mutex_destroy(&vm->soft.cpus_lock);
    pthread_mutex_destroy(&vm->soft.code_marks_lock);
    pthread_mutex_destroy(&vm->soft.exclusive_lock);
    free(vm);
}

static int vm_create(const struct engine_vm_options *options, struct engine_vm **out,
                     struct error *error)
{
    struct soft_options settings;
    int status = soft_options_parse(options->arguments, &settings, error);
    if (status != 0) {
        return status;
    }
    if (settings.check_lockstep && options->vcpu_count > 1) {
        return error_set(error, EINVAL,
                         "--engine soft,check=lockstep runs each block twice and so takes one "
                         "virtual CPU, not %u; add --cpus 1",
                         options->vcpu_count);
    }
    if (settings.check_lockstep && options->trap == ENGINE_TRAP_ALL) {
        return error_set(error, EINVAL,
                         "--trap all leaves no sensitive instruction to translated code, and "
                         "check=lockstep checks that; take one of them away");
    }
    struct engine_vm *vm = calloc(1, sizeof(*vm));
    if (vm == NULL) {
        return error_set(error, ENOMEM, "no memory for the software CPU's VM");
    }
    vm->soft.options = settings;
    vm->soft.memory = options->memory;
    vm->soft.vcpu_count = options->vcpu_count;
    vm->soft.traps_all = options->trap == ENGINE_TRAP_ALL;
    vm->soft.tsc_hz = options->tsc_hz;
    vm->soft.tsc_origin = soft_host_tsc();
    pthread_mutex_init(&vm->soft.cpus_lock, NULL);
    pthread_mutex_init(&vm->soft.code_marks_lock, NULL);
    pthread_mutex_init(&vm->soft.exclusive_lock, NULL);
    status = thunk_cache_create(&vm->soft.thunks, error);
    if (status == 0) {
        status = soft_code_create(&vm->soft, error);
    }
    if (status != 0) {
        vm_destroy(vm);
        return status;
    }
    if (settings.perf_map) {
        vm->soft.perf_map = perf_map_create(PERF_MAP_DIRECTORY);
    }
    if (settings.trace_code) {
        vm->soft.code_trace = code_trace_create(NULL);
    }
    guestmem_set_listener(options->memory, soft_code_external, &vm->soft);
    *out = vm;
    return 0;
}

static unsigned int features(const struct engine_vm *vm)
{
    (void)vm;
    return ENGINE_HAS_CLOCK;
}

static int cpuid_supported(struct engine_vm *vm, struct cpuid_table *table, struct error *error)
{
    (void)vm;
    (void)error;
    soft_cpuid_supported(table);
    return 0;
}

/* --- vCPU --- */

static void vcpu_destroy(struct engine_vcpu *vcpu)
{
    if (vcpu == NULL) {
        return;
    }
    struct soft_cpu *cpu = &vcpu->cpu;
    /* Others look at vCPUs under either lock. */
    pthread_mutex_lock(&cpu->vm->exclusive_lock);
    pthread_mutex_lock(&cpu->vm->cpus_lock);
    atomic_store(&cpu->vm->cpus[cpu->index], NULL);
    pthread_mutex_unlock(&cpu->vm->cpus_lock);
    pthread_mutex_unlock(&cpu->vm->exclusive_lock);
    lockstep_destroy(cpu->lockstep);
    native_fault_leave(vcpu->faults);
    soft_fpu_destroy(cpu->fpu);
    translate_destroy(cpu);
    soft_block_cache_destroy(cpu);
    soft_tlb_destroy(cpu);
    soft_code_leave(cpu);
    pthread_mutex_destroy(&cpu->code_lock);
    free(vcpu);
}

static void note_features(struct soft_cpu *cpu)
{
    for (unsigned int i = 0; i < X86_FEATURE_COUNT; i++) {
        if (i == X86_FEATURE_BASE || cpuid_has(&cpu->cpuid, (enum x86_feature)i)) {
            cpu->features |= UINT64_C(1) << i;
        }
    }
}

/* Without executable memory (a security policy, say) there is still the interpreter. */
static void create_translator(struct soft_cpu *cpu)
{
    struct error error = {0};
    if (cpu->vm->options.translate && translate_create(cpu, &error) != 0 &&
        !atomic_exchange(&cpu->vm->interpretation_told, true)) { /* the others are no better off */
        log_warn("vCPU %u only interprets, which is slower: %s", cpu->index, error.text);
    }
}

static int create_parts(struct engine_vcpu *vcpu, struct error *error)
{
    struct soft_cpu *cpu = &vcpu->cpu;
    int status = soft_code_enter(cpu);
    if (status == 0) {
        status = soft_tlb_create(cpu);
    }
    if (status == 0) {
        status = soft_block_cache_create(cpu);
    }
    if (status == 0 && cpu->vm->options.check_lockstep) {
        status = lockstep_create(cpu, &cpu->lockstep);
    }
    if (status != 0) {
        return error_set_errno(error, status, "no memory for vCPU %u's caches", cpu->index);
    }
    status = soft_fpu_create(cpu->vm->thunks, &cpu->fpu, error);
    if (status == 0) {
        status = native_fault_enter(thunk_cache_memory(cpu->vm->thunks), &vcpu->faults, error);
    }
    if (status == 0) {
        create_translator(cpu);
    }
    return status;
}

static int vcpu_create(struct engine_vm *vm, const struct engine_vcpu_options *options,
                       struct engine_vcpu **out, struct error *error)
{
    struct engine_vcpu *vcpu = calloc(1, sizeof(*vcpu));
    if (vcpu == NULL) {
        return error_set(error, ENOMEM, "no memory for vCPU %u", options->index);
    }
    struct soft_cpu *cpu = &vcpu->cpu;
    cpu->vm = &vm->soft;
    cpu->index = options->index;
    cpu->cpuid = *options->cpuid;
    cpu->interrupts = options->interrupts;
    pthread_mutex_init(&cpu->code_lock, NULL);
    note_features(cpu);
    int status = create_parts(vcpu, error);
    if (status != 0) {
        vcpu_destroy(vcpu);
        return status;
    }
    struct x86_state reset;
    x86_state_reset(&reset);
    status = soft_set_state(cpu, X86_STATE_ALL, &reset, error);
    if (status != 0) {
        vcpu_destroy(vcpu);
        return status;
    }
    pthread_mutex_lock(&vm->soft.cpus_lock);
    atomic_store(&vm->soft.cpus[cpu->index], cpu);
    pthread_mutex_unlock(&vm->soft.cpus_lock);
    *out = vcpu;
    return 0;
}

static int run(struct engine_vcpu *vcpu, struct vcpu_exit *exit, struct error *error)
{
    struct soft_cpu *cpu = &vcpu->cpu;
    soft_run(cpu, exit);
    soft_fpu_save(cpu->fpu);
    if (cpu->lockstep != NULL && lockstep_failure(cpu->lockstep) != NULL) {
        return error_set(error, EPROTO, "%s", lockstep_failure(cpu->lockstep));
    }
    return 0;
}

static void kick(struct engine_vcpu *vcpu)
{
    soft_attend(&vcpu->cpu, SOFT_ATTENTION_KICK);
}

static void interrupt_changed(struct engine_vcpu *vcpu)
{
    soft_attend(&vcpu->cpu, SOFT_ATTENTION_INTERRUPT);
}

static int nmi(struct engine_vcpu *vcpu)
{
    atomic_fetch_add(&vcpu->cpu.nmi_arrivals, 1);
    soft_attend(&vcpu->cpu, SOFT_ATTENTION_NMI);
    return 0;
}

static int get_state(struct engine_vcpu *vcpu, unsigned int groups, struct x86_state *state,
                     struct error *error)
{
    (void)error;
    soft_get_state(&vcpu->cpu, groups, state);
    return 0;
}

static int set_state(struct engine_vcpu *vcpu, unsigned int groups, const struct x86_state *state,
                     struct error *error)
{
    return soft_set_state(&vcpu->cpu, groups, state, error);
}

/* Translated code counts only when asked to; the interpreter's part alone would mislead. */
static uint64_t instructions(const struct engine_vcpu *vcpu)
{
    const struct soft_cpu *cpu = &vcpu->cpu;
    bool are_all = cpu->vm->options.count || cpu->statistics.blocks_translated == 0;
    return are_all ? cpu->instructions : 0;
}

static unsigned int statistics(const struct engine_vcpu *vcpu, struct engine_counter *counters,
                               unsigned int max)
{
    const struct soft_cpu *cpu = &vcpu->cpu;
    struct soft_block_statistics blocks;
    struct translate_statistics translator;
    translate_statistics(cpu, &translator);
    soft_block_cache_statistics(cpu->blocks, &blocks);
    struct soft_statistics_source source = {
        .blocks = &blocks, .translator = &translator, .instructions = instructions(vcpu)};
    return soft_statistics_rows(&source, counters, max);
}

static void stood_still(struct engine_vcpu *vcpu)
{
    soft_note_standstill(&vcpu->cpu);
}

static uint64_t tsc_offset(const struct engine_vcpu *vcpu)
{
    return vcpu->cpu.tsc_offset;
}

const struct engine_ops soft_engine = {
    .name = "soft",
    .summary = "a software CPU; needs no hardware virtualization",
    .probe = soft_probe,
    .vm_create = vm_create,
    .vm_destroy = vm_destroy,
    .features = features,
    .cpuid_supported = cpuid_supported,
    .vcpu_create = vcpu_create,
    .vcpu_destroy = vcpu_destroy,
    .run = run,
    .kick = kick,
    .interrupt_changed = interrupt_changed,
    .nmi = nmi,
    .get_state = get_state,
    .set_state = set_state,
    .instructions = instructions,
    .statistics = statistics,
    .stood_still = stood_still,
    .tsc_offset = tsc_offset,
};
