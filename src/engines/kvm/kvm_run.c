#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "engines/kvm/kvm_internal.h"

/* Hands what was served back to the kernel, which completes the instruction at the next entry. */
static void complete_exit(struct engine_vcpu *vcpu, struct vcpu_exit *exit)
{
    struct kvm_run *run = vcpu->run;
    switch (exit->reason) {
    case EXIT_MMIO:
        if (!exit->mmio.is_write) {
            memcpy(run->mmio.data, exit->mmio.data, sizeof(run->mmio.data));
        }
        break;
    case EXIT_RDMSR:
        run->msr.data = exit->msr.value;
        run->msr.error = exit->msr.refused ? 1 : 0;
        break;
    case EXIT_WRMSR:
        run->msr.error = exit->msr.refused ? 1 : 0;
        break;
    case EXIT_HYPERCALL:
        run->hypercall.ret = exit->hypercall.result;
        break;
    default:
        break; /* port data went straight into the shared area */
    }
    exit->reason = EXIT_NONE;
}

/*
 * Without all interrupt controllers in the kernel: injects what our LAPIC or PIC has, or asks to be
 * told when the guest can take it.
 */
static int prepare_interrupts(struct engine_vcpu *vcpu, struct error *error)
{
    struct kvm_run *run = vcpu->run;
    const struct interrupt_source *source = vcpu->interrupts;
    if (source == NULL) {
        return 0;
    }
    if (!kvm_has_lapics(vcpu->vm)) {
        vcpu->cr8 = source->get_cr8(source->context);
        run->cr8 = vcpu->cr8;
    }
    bool pending = source->pending(source->context);
    if (pending && vcpu->ready_for_interrupt) {
        int vector = source->acknowledge(source->context);
        if (vector >= 0) {
            struct kvm_interrupt interrupt = {.irq = (uint32_t)vector};
            int code = device_ioctl(vcpu->fd, KVM_INTERRUPT, &interrupt);
            if (code < 0) {
                return kvm_error(error, code, "KVM refuses interrupt %d", vector);
            }
            vcpu->ready_for_interrupt = false; /* one at a time */
        }
        pending = source->pending(source->context);
    }
    run->request_interrupt_window = pending ? 1 : 0;
    return 0;
}

static void note_interrupt_state(struct engine_vcpu *vcpu)
{
    const struct interrupt_source *source = vcpu->interrupts;
    vcpu->ready_for_interrupt = vcpu->run->ready_for_interrupt_injection != 0;
    if (source != NULL && !kvm_has_lapics(vcpu->vm) && (uint8_t)vcpu->run->cr8 != vcpu->cr8) {
        vcpu->cr8 = (uint8_t)vcpu->run->cr8;
        source->set_cr8(source->context, vcpu->cr8);
    }
}

/*
 * KVM_RUN came back with an error. -EINTR: a signal or immediate_exit. -EAGAIN: a processor that
 * waited for SIPI has been started.
 */
static int failed_run(struct engine_vcpu *vcpu, int code, bool kicked, struct vcpu_exit *exit,
                      struct error *error)
{
    if (code == -EINTR || code == -EAGAIN) {
        if (run_kick_ended_it(&vcpu->kick, kicked)) {
            exit->reason = EXIT_KICKED;
            return 0;
        }
        return code;
    }
    if (code == -EFAULT) {
        return error_set(error, EFAULT,
                         "KVM can't reach the guest's memory (is the host out of memory or huge "
                         "pages?)");
    }
    if (code == -ENOMEM) {
        return error_set(error, ENOMEM,
                         "KVM has no memory left to run vCPU %u: free some on the host, raise the "
                         "limit of the control group, or use a smaller --memory",
                         vcpu->index);
    }
    return kvm_error(error, code, "KVM_RUN of vCPU %u", vcpu->index);
}

int kvm_vcpu_run(struct engine_vcpu *vcpu, struct vcpu_exit *exit, struct error *error)
{
    bool kicked = run_kick_begin(&vcpu->kick);
    complete_exit(vcpu, exit);
    if (atomic_exchange(&vcpu->nmi_waiting, false)) {
        int code = device_ioctl(vcpu->fd, KVM_NMI, NULL);
        if (code < 0) {
            return kvm_error(error, code, "KVM refuses an NMI");
        }
    }
    int code = prepare_interrupts(vcpu, error);
    if (code != 0) {
        return code;
    }
    vcpu->activity = X86_ACTIVE;
    code = ioctl(vcpu->fd, KVM_RUN, 0) < 0 ? -errno : 0;
    note_interrupt_state(vcpu);
    if (code != 0) {
        return failed_run(vcpu, code, kicked, exit, error);
    }
    run_kick_keep(&vcpu->kick, kicked);
    if (vcpu->run->exit_reason == KVM_EXIT_INTR) {
        return -EINTR;
    }
    kvm_translate_exit(vcpu, exit);
    return 0;
}
