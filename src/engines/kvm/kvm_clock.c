/* The guest's clocks: KVM's own, which all vCPUs share, and the rate of each vCPU's TSC. */
#include <errno.h>
#include <sys/ioctl.h>

#include "engines/kvm/kvm_internal.h"

int kvm_get_clock(struct engine_vm *vm, uint64_t *ns, struct error *error)
{
    struct kvm_clock_data data = {.clock = 0};
    int code = device_ioctl(vm->fd, KVM_GET_CLOCK, &data);
    *ns = data.clock;
    return code < 0 ? kvm_error(error, code, "KVM does not give its clock") : 0;
}

int kvm_set_clock(struct engine_vm *vm, uint64_t ns, struct error *error)
{
    struct kvm_clock_data data = {.clock = ns};
    int code = device_ioctl(vm->fd, KVM_SET_CLOCK, &data);
    return code < 0 ? kvm_error(error, code, "KVM does not take its clock") : 0;
}

int kvm_get_tsc_khz(struct engine_vcpu *vcpu, uint32_t *khz, struct error *error)
{
    int code = device_ioctl(vcpu->fd, KVM_GET_TSC_KHZ, NULL);
    *khz = code > 0 ? (uint32_t)code : 0;
    return code < 0 ? kvm_error(error, code, "KVM does not give the TSC's rate") : 0;
}

int kvm_set_tsc_khz(struct engine_vcpu *vcpu, uint32_t khz, struct error *error)
{
    /* The argument is the number itself. */
    int code = ioctl(vcpu->fd, KVM_SET_TSC_KHZ, (unsigned long)khz) < 0 ? -errno : 0;
    return code < 0 ? kvm_error(error, code,
                                "KVM cannot run the TSC of vCPU %u at %u kHz on this "
                                "processor",
                                vcpu->index, khz)
                    : 0;
}
