/*
 * What VM entry and VM exit leave alone, and the guest must have of its own: extended state, debug
 * registers, and the MSRs of SYSCALL. Switched where the embedder begins and ends a series of runs,
 * not at each exit, which the core's own code and the host's interrupt handlers do not notice.
 */
#include "vtx/core/internal.h"
#include "x86/msr.h"

/* In the order of vcpu->host_msr; TSC_AUX is last, as not every processor has it. */
struct switched {
    uint32_t index;
    uint32_t offset; /* in struct x86_msrs */
};

static const struct switched switched[VTX_SWITCHED_MSRS] = {
    {X86_MSR_IA32_STAR, offsetof(struct x86_msrs, star)},
    {X86_MSR_IA32_LSTAR, offsetof(struct x86_msrs, lstar)},
    {X86_MSR_IA32_CSTAR, offsetof(struct x86_msrs, cstar)},
    {X86_MSR_IA32_FMASK, offsetof(struct x86_msrs, fmask)},
    {X86_MSR_IA32_KERNEL_GS_BASE, offsetof(struct x86_msrs, kernel_gs_base)},
    {X86_MSR_IA32_TSC_AUX, offsetof(struct x86_msrs, tsc_aux)},
};

static unsigned int switched_count(const struct vtx_vcpu *vcpu)
{
    return vcpu->vm->capabilities->has_rdtscp ? VTX_SWITCHED_MSRS : VTX_SWITCHED_MSRS - 1;
}

static uint64_t *guest_value(struct vtx_vcpu *vcpu, const struct switched *msr)
{
    return (uint64_t *)(void *)((char *)&vcpu->msr + msr->offset);
}

static void enter_msrs(struct vtx_vcpu *vcpu)
{
    for (unsigned int i = 0; i < switched_count(vcpu); i++) {
        uint64_t guest = *guest_value(vcpu, &switched[i]);
        vcpu->host_msr[i] = vtx_rdmsr(switched[i].index);
        if (guest != vcpu->host_msr[i]) {
            vtx_wrmsr(switched[i].index, guest);
        }
    }
}

static void leave_msrs(struct vtx_vcpu *vcpu)
{
    for (unsigned int i = 0; i < switched_count(vcpu); i++) {
        uint64_t *guest = guest_value(vcpu, &switched[i]);
        *guest = vtx_rdmsr(switched[i].index);
        if (*guest != vcpu->host_msr[i]) {
            vtx_wrmsr(switched[i].index, vcpu->host_msr[i]);
        }
    }
}

/* A VM exit sets DR7 to 400H: no breakpoint of the host's is on while the guest's are loaded. */
static void enter_debug_registers(struct vtx_vcpu *vcpu)
{
    vcpu->host_dr7 = vtx_read_dr(7);
    vtx_write_dr(7, X86_DR7_ONE);
    for (unsigned int i = 0; i < 4; i++) {
        vcpu->host_dr[i] = vtx_read_dr(i);
        vtx_write_dr(i, vcpu->dr[i]);
    }
    vtx_write_dr(6, vcpu->dr6);
}

static void leave_debug_registers(struct vtx_vcpu *vcpu)
{
    vcpu->dr6 = vtx_read_dr(6);
    for (unsigned int i = 0; i < 4; i++) {
        vcpu->dr[i] = vtx_read_dr(i);
        vtx_write_dr(i, vcpu->host_dr[i]);
    }
    vtx_write_dr(6, X86_DR6_ONES);
    vtx_write_dr(7, vcpu->host_dr7);
}

/* XCR0 of the moment decides what XSAVE and XRSTOR see: all components that a guest may have. */
static void change_xcr0(uint64_t from, uint64_t to)
{
    if (from != to) {
        vtx_xsetbv(to);
    }
}

static void enter_extended_state(struct vtx_vcpu *vcpu)
{
    const struct vtx_capabilities *capabilities = vcpu->vm->capabilities;
    if (!capabilities->has_xsave) {
        vtx_fxrstor(vcpu->xsave);
        return;
    }
    vcpu->host_xcr0 = vtx_xgetbv();
    change_xcr0(vcpu->host_xcr0, capabilities->xcr0_host);
    vtx_xrstor(vcpu->xsave, capabilities->xcr0_host);
    change_xcr0(capabilities->xcr0_host, vcpu->xcr0);
}

static void leave_extended_state(struct vtx_vcpu *vcpu)
{
    const struct vtx_capabilities *capabilities = vcpu->vm->capabilities;
    if (!capabilities->has_xsave) {
        vtx_fxsave(vcpu->xsave);
        return;
    }
    change_xcr0(vcpu->xcr0, capabilities->xcr0_host);
    vtx_xsave(vcpu->xsave, capabilities->xcr0_host);
    change_xcr0(capabilities->xcr0_host, vcpu->host_xcr0);
}

void vtx_vcpu_enter_context(struct vtx_vcpu *vcpu)
{
    if (!vcpu->in_context) {
        vtx_refresh_host_state(vcpu);
        vtx_read_host_registers(&vcpu->host_registers);
        vcpu->host_debugctl = vtx_rdmsr(X86_MSR_IA32_DEBUGCTL);
        enter_msrs(vcpu);
        enter_debug_registers(vcpu);
        enter_extended_state(vcpu);
        vcpu->in_context = true;
    }
}

void vtx_vcpu_leave_context(struct vtx_vcpu *vcpu)
{
    if (vcpu->in_context) {
        leave_extended_state(vcpu);
        leave_debug_registers(vcpu);
        leave_msrs(vcpu);
        vtx_restore_host_registers(&vcpu->host_registers);
        if (vcpu->host_debugctl != 0) { /* which a VM exit clears */
            vtx_wrmsr(X86_MSR_IA32_DEBUGCTL, vcpu->host_debugctl);
        }
        vcpu->in_context = false;
    }
}
