/*
 * The MSRs of the paravirtual clock. The module knows nothing of it: they come out as all MSRs do
 * that VT-x does not keep, and are served before the run loop sees them.
 */
#include "base/clock.h"
#include "engines/vtx/vtx_internal.h"
#include "vm/paravirt_clock.h"
#include "x86/msr.h"

void vtx_update_clock(struct engine_vcpu *vcpu)
{
    uint64_t msr = vcpu->system_time_msr;
    if ((msr & PARAVIRT_SYSTEM_TIME_ON) == 0) {
        return;
    }
    struct paravirt_system_time image =
        paravirt_system_time(vcpu->vm->tsc_hz, clock_tsc(), vcpu->run->tsc_offset, false);
    /* The vCPU that reads it is this one; an address without memory is the guest's mistake. */
    (void)guestmem_write(vcpu->vm->memory, gpa(msr & ~PARAVIRT_SYSTEM_TIME_ON), &image,
                         sizeof(image));
}

static void write_wall_clock(struct engine_vcpu *vcpu)
{
    struct paravirt_wall_clock image = paravirt_wall_clock(vcpu->vm->tsc_hz, clock_tsc());
    (void)guestmem_write(vcpu->vm->memory, gpa(vcpu->wall_clock_msr), &image, sizeof(image));
}

bool vtx_serve_clock(struct engine_vcpu *vcpu, struct vcpu_exit *exit)
{
    bool is_write = exit->reason == EXIT_WRMSR;
    if (!is_write && exit->reason != EXIT_RDMSR) {
        return false;
    }
    uint64_t *msr;
    switch (exit->msr.index) {
    case X86_MSR_KVM_SYSTEM_TIME:
    case X86_MSR_KVM_SYSTEM_TIME_NEW:
        msr = &vcpu->system_time_msr;
        break;
    case X86_MSR_KVM_WALL_CLOCK:
    case X86_MSR_KVM_WALL_CLOCK_NEW:
        msr = &vcpu->wall_clock_msr;
        break;
    default:
        return false;
    }
    exit->msr.refused = false;
    if (!is_write) {
        exit->msr.value = *msr;
        return true;
    }
    *msr = exit->msr.value;
    if (msr == &vcpu->system_time_msr) {
        vtx_update_clock(vcpu);
    } else {
        write_wall_clock(vcpu);
    }
    return true;
}
