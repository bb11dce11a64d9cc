#include "engines/null/null.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct engine_vm {
    unsigned int vcpu_count;
};

struct engine_vcpu {
    atomic_bool kicked;
    struct x86_state state;
};

static void null_probe(struct engine_probe *probe)
{
    *probe = (struct engine_probe){.usable = true};
    snprintf(probe->why, sizeof(probe->why), "no CPU: for driving devices in tests");
}

static int null_vm_create(const struct engine_vm_options *options, struct engine_vm **out,
                          struct error *error)
{
    if (options->trap != ENGINE_TRAP_SHADOW) {
        return error_set(error, EINVAL,
                         "--trap all is not for --engine null: it runs no instructions");
    }
    struct engine_vm *vm = calloc(1, sizeof(*vm));
    if (vm == NULL) {
        return error_set(error, ENOMEM, "no memory for a VM without a CPU");
    }
    vm->vcpu_count = options->vcpu_count;
    *out = vm;
    return 0;
}

static void null_vm_destroy(struct engine_vm *vm)
{
    free(vm);
}

static unsigned int null_features(const struct engine_vm *vm)
{
    (void)vm;
    return ENGINE_RUNS_NOTHING;
}

static int null_cpuid_supported(struct engine_vm *vm, struct cpuid_table *table,
                                struct error *error)
{
    (void)vm;
    (void)error;
    table->count = 0;
    return 0;
}

static int null_vcpu_create(struct engine_vm *vm, const struct engine_vcpu_options *options,
                            struct engine_vcpu **out, struct error *error)
{
    struct engine_vcpu *vcpu = calloc(1, sizeof(*vcpu));
    if (vcpu == NULL || options->index >= vm->vcpu_count) {
        free(vcpu);
        return error_set(error, ENOMEM, "no memory for vCPU %u", options->index);
    }
    x86_state_reset(&vcpu->state);
    *out = vcpu;
    return 0;
}

static void null_vcpu_destroy(struct engine_vcpu *vcpu)
{
    free(vcpu);
}

static int null_run(struct engine_vcpu *vcpu, struct vcpu_exit *exit, struct error *error)
{
    (void)error;
    exit->reason = atomic_exchange(&vcpu->kicked, false) ? EXIT_KICKED : EXIT_HLT;
    return 0;
}

static void null_kick(struct engine_vcpu *vcpu)
{
    atomic_store(&vcpu->kicked, true);
}

static int null_nmi(struct engine_vcpu *vcpu)
{
    (void)vcpu; /* it would never be taken */
    return 0;
}

/* Whatever groups are asked for, all of it is here and costs nothing. */
static int null_get_state(struct engine_vcpu *vcpu, unsigned int groups, struct x86_state *state,
                          struct error *error)
{
    (void)groups;
    (void)error;
    *state = vcpu->state;
    return 0;
}

static void set_general(struct x86_state *to, const struct x86_state *from)
{
    memcpy(to->gpr, from->gpr, sizeof(to->gpr));
    to->rip = from->rip;
    to->rflags = from->rflags;
}

static void set_system(struct x86_state *to, const struct x86_state *from)
{
    memcpy(to->segment, from->segment, sizeof(to->segment));
    to->gdtr = from->gdtr;
    to->idtr = from->idtr;
    to->cr0 = from->cr0;
    to->cr2 = from->cr2;
    to->cr3 = from->cr3;
    to->cr4 = from->cr4;
    to->cr8 = from->cr8;
    to->efer = from->efer;
}

static void set_fpu(struct x86_state *to, const struct x86_state *from)
{
    to->xcr0 = from->xcr0;
    to->pkru = from->pkru;
    memcpy(to->xsave, from->xsave, sizeof(to->xsave));
}

static void set_events(struct x86_state *to, const struct x86_state *from)
{
    to->activity = from->activity;
    to->sti_shadow = from->sti_shadow;
    to->mov_ss_shadow = from->mov_ss_shadow;
    to->nmi_blocked = from->nmi_blocked;
    to->nmi_pending = from->nmi_pending;
    to->exception_pending = from->exception_pending;
    to->exception_has_error = from->exception_has_error;
    to->exception_vector = from->exception_vector;
    to->exception_error = from->exception_error;
}

static int null_set_state(struct engine_vcpu *vcpu, unsigned int groups,
                          const struct x86_state *state, struct error *error)
{
    (void)error;
    if ((groups & X86_STATE_GENERAL) != 0) {
        set_general(&vcpu->state, state);
    }
    if ((groups & X86_STATE_SYSTEM) != 0) {
        set_system(&vcpu->state, state);
    }
    if ((groups & X86_STATE_DEBUG) != 0) {
        memcpy(vcpu->state.dr, state->dr, sizeof(state->dr));
    }
    if ((groups & X86_STATE_MSRS) != 0) {
        vcpu->state.msr = state->msr;
    }
    if ((groups & X86_STATE_FPU) != 0) {
        set_fpu(&vcpu->state, state);
    }
    if ((groups & X86_STATE_EVENTS) != 0) {
        set_events(&vcpu->state, state);
    }
    return 0;
}

const struct engine_ops null_engine = {
    .name = "null",
    .summary = "no CPU at all; for driving devices in tests",
    .probe = null_probe,
    .vm_create = null_vm_create,
    .vm_destroy = null_vm_destroy,
    .features = null_features,
    .cpuid_supported = null_cpuid_supported,
    .vcpu_create = null_vcpu_create,
    .vcpu_destroy = null_vcpu_destroy,
    .run = null_run,
    .kick = null_kick,
    .nmi = null_nmi,
    .get_state = null_get_state,
    .set_state = null_set_state,
};
