#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engines/vtx/vtx_abi.h"
#include "engines/vtx/vtx_internal.h"

/* ---- creation ---- */

static int make_vcpu(struct engine_vcpu *vcpu, const struct cpuid_table *cpuid, struct error *error)
{
    struct trapeze_vtx_cpuid_entry entries[CPUID_ENTRIES_MAX];
    struct trapeze_vtx_vcpu options = {
        .index = vcpu->index, .cpuid_count = cpuid->count, .cpuid = (uint64_t)(uintptr_t)entries};
    vtx_cpuid_to_device(cpuid, entries);
    vcpu->fd = device_ioctl(vcpu->vm->fd, TRAPEZE_VTX_CREATE_VCPU, &options);
    if (vcpu->fd >= 0) {
        return 0;
    }
    options.message[sizeof(options.message) - 1] = '\0';
    return options.message[0] != '\0'
               ? error_set(error, vcpu->fd, "can't make vCPU %u: %s", vcpu->index, options.message)
               : error_set_errno(error, vcpu->fd, "can't make vCPU %u", vcpu->index);
}

static int build(struct engine_vcpu *vcpu, const struct cpuid_table *cpuid, struct error *error)
{
    int code = make_vcpu(vcpu, cpuid, error);
    if (code != 0) {
        return code;
    }
    vcpu->run = mmap(NULL, TRAPEZE_VTX_RUN_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
    if (vcpu->run == MAP_FAILED) {
        vcpu->run = NULL;
        return error_set_errno(error, errno, "can't map what the module shares of vCPU %u",
                               vcpu->index);
    }
    vcpu->kick.immediate_exit = &vcpu->run->immediate_exit;
    return 0;
}

int vtx_vcpu_create(struct engine_vm *vm, const struct engine_vcpu_options *options,
                    struct engine_vcpu **out, struct error *error)
{
    struct engine_vcpu *vcpu = calloc(1, sizeof(*vcpu));
    if (vcpu == NULL) {
        return error_set(error, ENOMEM, "no memory for vCPU %u", options->index);
    }
    vcpu->vm = vm;
    vcpu->index = options->index;
    vcpu->fd = -1;
    vcpu->interrupts = options->interrupts;
    run_kick_prepare(&vcpu->kick);
    int code = build(vcpu, options->cpuid, error);
    if (code != 0) {
        vtx_vcpu_destroy(vcpu);
        return code;
    }
    *out = vcpu;
    return 0;
}

void vtx_vcpu_destroy(struct engine_vcpu *vcpu)
{
    if (vcpu->run != NULL) {
        munmap(vcpu->run, TRAPEZE_VTX_RUN_SIZE);
    }
    if (vcpu->fd >= 0) {
        close(vcpu->fd);
    }
    free(vcpu);
}

/* ---- kicks ---- */

void vtx_vcpu_kick(struct engine_vcpu *vcpu)
{
    run_kick_send(&vcpu->kick);
}

void vtx_vcpu_interrupt_changed(struct engine_vcpu *vcpu)
{
    run_kick_interrupt(&vcpu->kick);
}

int vtx_vcpu_nmi(struct engine_vcpu *vcpu)
{
    atomic_fetch_add(&vcpu->nmis_waiting, 1);
    run_kick_interrupt(&vcpu->kick);
    return 0;
}

/* ---- state ---- */

int vtx_vcpu_get_state(struct engine_vcpu *vcpu, unsigned int groups, struct x86_state *state,
                       struct error *error)
{
    vcpu->state.groups = groups & TRAPEZE_VTX_ALL_GROUPS;
    vcpu->state.reserved = 0;
    int code = device_ioctl(vcpu->fd, TRAPEZE_VTX_GET_STATE, &vcpu->state);
    if (code < 0) {
        return error_set_errno(error, code, "the module does not give the state of vCPU %u",
                               vcpu->index);
    }
    if (!vtx_abi_to_state(&vcpu->state, state)) {
        return error_set(error, EPROTO, "the module's state of vCPU %u makes no sense",
                         vcpu->index);
    }
    if ((groups & X86_STATE_SYSTEM) != 0 && vcpu->interrupts != NULL) {
        state->cr8 = vcpu->interrupts->get_cr8(vcpu->interrupts->context);
    }
    if ((groups & X86_STATE_MSRS) != 0) {
        state->msr.kvm_system_time = vcpu->system_time_msr;
        state->msr.kvm_wall_clock = vcpu->wall_clock_msr;
    }
    if ((groups & X86_STATE_EVENTS) != 0 && vcpu->activity != X86_ACTIVE) {
        state->activity = vcpu->activity;
    }
    return 0;
}

int vtx_vcpu_set_state(struct engine_vcpu *vcpu, unsigned int groups, const struct x86_state *state,
                       struct error *error)
{
    vtx_abi_from_state(state, groups & TRAPEZE_VTX_ALL_GROUPS, &vcpu->state);
    int code = device_ioctl(vcpu->fd, TRAPEZE_VTX_SET_STATE, &vcpu->state);
    if (code < 0) {
        return error_set_errno(error, code, "the module refuses the state of vCPU %u", vcpu->index);
    }
    if ((groups & X86_STATE_EVENTS) != 0) {
        vcpu->activity = state->activity;
    }
    if ((groups & X86_STATE_MSRS) != 0) {
        vcpu->system_time_msr = state->msr.kvm_system_time;
        vcpu->wall_clock_msr = state->msr.kvm_wall_clock;
        vtx_update_clock(vcpu);
    }
    vcpu->run->interrupt_ready = 0; /* to be asked for again */
    return 0;
}

uint64_t vtx_vcpu_tsc_offset(const struct engine_vcpu *vcpu)
{
    return vcpu->run->tsc_offset;
}
