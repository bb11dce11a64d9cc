#include "scripted_engine.h"

#include <errno.h>
#include <stdlib.h>

struct engine_vcpu {
    struct engine_vm *vm;
    unsigned int index;
    const struct interrupt_source *interrupts;
    struct event_count wake;
    atomic_bool kicked;
    struct x86_state state;
    unsigned int position;
};

struct engine_vm {
    unsigned int features;
};

struct script script;

static void script_probe(struct engine_probe *probe)
{
    *probe = (struct engine_probe){.usable = true};
}

static int script_vm_create(const struct engine_vm_options *options, struct engine_vm **out,
                            struct error *error)
{
    (void)options;
    if (script.vm_create_code != 0) {
        return error_set(error, script.vm_create_code, "the script refuses");
    }
    *out = calloc(1, sizeof(**out));
    (*out)->features = script.features;
    return 0;
}

static void script_vm_destroy(struct engine_vm *vm)
{
    free(vm);
}

static unsigned int script_features(const struct engine_vm *vm)
{
    return vm->features;
}

static int script_cpuid_supported(struct engine_vm *vm, struct cpuid_table *table,
                                  struct error *error)
{
    (void)vm;
    (void)error;
    table->count = 1;
    table->entries[0] = (struct cpuid_entry){.leaf = 0x1234};
    return 0;
}

static int script_vcpu_create(struct engine_vm *vm, const struct engine_vcpu_options *options,
                              struct engine_vcpu **out, struct error *error)
{
    if (script.create_code[options->index] != 0) {
        return error_set(error, script.create_code[options->index], "the script refuses");
    }
    struct engine_vcpu *vcpu = calloc(1, sizeof(*vcpu));
    vcpu->vm = vm;
    vcpu->index = options->index;
    vcpu->interrupts = options->interrupts;
    atomic_fetch_add(&script.alive, 1);
    *out = vcpu;
    return 0;
}

static void script_vcpu_destroy(struct engine_vcpu *vcpu)
{
    atomic_fetch_sub(&script.alive, 1);
    free(vcpu);
}

static int wait_for_kick(struct engine_vcpu *vcpu, struct vcpu_exit *exit)
{
    for (;;) {
        unsigned int ticket = event_count_ticket(&vcpu->wake);
        if (atomic_exchange(&vcpu->kicked, false)) {
            exit->reason = EXIT_KICKED;
            return 0;
        }
        event_count_wait(&vcpu->wake, ticket);
    }
}

static void script_kick(struct engine_vcpu *vcpu)
{
    atomic_fetch_add(&script.kicks[vcpu->index], 1);
    atomic_store(&vcpu->kicked, true);
    event_count_signal(&vcpu->wake);
}

static int play(struct engine_vcpu *vcpu, const struct step *step, struct vcpu_exit *exit,
                struct error *error)
{
    vcpu->state.rflags = step->rflags == 0 ? X86_FLAGS_ONE | X86_FLAGS_IF : step->rflags;
    vcpu->state.nmi_blocked = step->nmi_blocked;
    switch (step->kind) {
    case STEP_CODE:
        return step->code == -EINTR || step->code == -EAGAIN
                   ? step->code
                   : error_set(error, step->code, "the script breaks down");
    case STEP_EXIT:
        *exit = step->exit;
        return 0;
    case STEP_KICK_ITSELF:
        script_kick(vcpu);
        return wait_for_kick(vcpu, exit);
    case STEP_WAIT:
    case STEP_REPEAT:
    default:
        return wait_for_kick(vcpu, exit);
    }
}

static int script_run(struct engine_vcpu *vcpu, struct vcpu_exit *exit, struct error *error)
{
    unsigned int position = vcpu->position;
    if (position > 0 && position <= SCRIPT_MAX) {
        script.served[vcpu->index][position - 1] = *exit;
    }
    const struct step *step = &script.steps[vcpu->index][position < SCRIPT_MAX ? position : 0];
    if (step->kind == STEP_REPEAT) {
        step--;
    } else if (step->kind != STEP_WAIT) {
        vcpu->position++;
    }
    atomic_fetch_add(&script.runs[vcpu->index], 1);
    event_count_signal(&script.progress);
    return play(vcpu, step, exit, error);
}

static void script_interrupt_changed(struct engine_vcpu *vcpu)
{
    atomic_fetch_add(&script.interrupts_seen[vcpu->index], 1);
    event_count_signal(&script.progress);
}

static int script_nmi(struct engine_vcpu *vcpu)
{
    atomic_fetch_add(&script.nmis[vcpu->index], 1);
    event_count_signal(&script.progress);
    return 0;
}

static int script_get_state(struct engine_vcpu *vcpu, unsigned int groups, struct x86_state *state,
                            struct error *error)
{
    (void)groups;
    (void)error;
    *state = vcpu->state;
    return 0;
}

static int script_set_state(struct engine_vcpu *vcpu, unsigned int groups,
                            const struct x86_state *state, struct error *error)
{
    (void)groups;
    (void)error;
    vcpu->state = *state;
    atomic_fetch_add(&script.states_set[vcpu->index], 1);
    return 0;
}

static void script_stood_still(struct engine_vcpu *vcpu)
{
    atomic_fetch_add(&script.standstills[vcpu->index], 1);
}

static uint64_t script_instructions(const struct engine_vcpu *vcpu)
{
    return vcpu->position * 1000u;
}

static unsigned int script_statistics(const struct engine_vcpu *vcpu,
                                      struct engine_counter *counters, unsigned int max)
{
    if (max == 0) {
        return 0;
    }
    counters[0] = (struct engine_counter){
        .name = "steps played", .unit = ENGINE_COUNT, .value = vcpu->position};
    return 1;
}

#define SCRIPT_ENGINE(interrupt_changed_fn)                                                        \
    {                                                                                              \
        .name = "script", .summary = "plays what a test wrote down", .probe = script_probe,        \
        .vm_create = script_vm_create, .vm_destroy = script_vm_destroy,                            \
        .features = script_features, .cpuid_supported = script_cpuid_supported,                    \
        .vcpu_create = script_vcpu_create, .vcpu_destroy = script_vcpu_destroy, .run = script_run, \
        .kick = script_kick, .interrupt_changed = interrupt_changed_fn, .nmi = script_nmi,         \
        .get_state = script_get_state, .set_state = script_set_state,                              \
        .stood_still = script_stood_still, .instructions = script_instructions,                    \
        .statistics = script_statistics,                                                           \
    }

const struct engine_ops script_engine = SCRIPT_ENGINE(NULL);
const struct engine_ops attentive_engine = SCRIPT_ENGINE(script_interrupt_changed);
