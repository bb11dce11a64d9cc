#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engines/kvm/kvm_internal.h"

static int set_cpuid(struct engine_vcpu *vcpu, const struct cpuid_table *table, struct error *error)
{
    struct kvm_cpuid2 *cpuid =
        calloc(1, sizeof(*cpuid) + CPUID_ENTRIES_MAX * sizeof(struct kvm_cpuid_entry2));
    if (cpuid == NULL) {
        return error_set(error, ENOMEM, "no memory for the CPUID table of vCPU %u", vcpu->index);
    }
    cpuid->nent = table->count;
    for (unsigned int i = 0; i < table->count; i++) {
        const struct cpuid_entry *entry = &table->entries[i];
        cpuid->entries[i] = (struct kvm_cpuid_entry2){
            .function = entry->leaf,
            .index = entry->subleaf,
            .flags = entry->has_subleaf ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
            .eax = entry->registers.eax,
            .ebx = entry->registers.ebx,
            .ecx = entry->registers.ecx,
            .edx = entry->registers.edx,
        };
    }
    int code = device_ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid);
    free(cpuid);
    return code < 0 ? kvm_error(error, code, "KVM refuses the CPUID of vCPU %u", vcpu->index) : 0;
}

/*
 * The kernel looks interrupt destinations up in a table that it last built while this vCPU was
 * not in its list yet: an INIT sent before any LAPIC changes would be lost. Writing the LAPIC
 * back as it is rebuilds the table.
 */
static int announce_lapic(struct engine_vcpu *vcpu, struct error *error)
{
    struct kvm_lapic_state lapic;
    int code = device_ioctl(vcpu->fd, KVM_GET_LAPIC, &lapic);
    if (code >= 0) {
        code = device_ioctl(vcpu->fd, KVM_SET_LAPIC, &lapic);
    }
    return code < 0 ? kvm_error(error, code, "KVM refuses the LAPIC of vCPU %u", vcpu->index) : 0;
}

static int build(struct engine_vcpu *vcpu, const struct engine_vcpu_options *options,
                 struct error *error)
{
    /* The argument is the number itself, not a pointer. */
    vcpu->fd = ioctl(vcpu->vm->fd, KVM_CREATE_VCPU, (unsigned long)options->index);
    if (vcpu->fd < 0) {
        return kvm_error(error, errno, "KVM can't make vCPU %u", options->index);
    }
    vcpu->run = mmap(NULL, vcpu->vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
    if (vcpu->run == MAP_FAILED) {
        vcpu->run = NULL;
        return kvm_error(error, errno, "can't map what KVM shares of vCPU %u", options->index);
    }
    vcpu->kick.immediate_exit = &vcpu->run->immediate_exit;
    int code = set_cpuid(vcpu, options->cpuid, error);
    return code == 0 && kvm_has_lapics(vcpu->vm) ? announce_lapic(vcpu, error) : code;
}

int kvm_vcpu_create(struct engine_vm *vm, const struct engine_vcpu_options *options,
                    struct engine_vcpu **out, struct error *error)
{
    struct engine_vcpu *vcpu = calloc(1, sizeof(*vcpu));
    if (vcpu == NULL) {
        return error_set(error, ENOMEM, "no memory for vCPU %u", options->index);
    }
    vcpu->vm = vm;
    vcpu->index = options->index;
    vcpu->fd = -1;
    vcpu->interrupts = vm->irqchip == IRQCHIP_KERNEL ? NULL : options->interrupts;
    run_kick_prepare(&vcpu->kick);
    int code = build(vcpu, options, error);
    if (code != 0) {
        kvm_vcpu_destroy(vcpu);
        return code;
    }
    *out = vcpu;
    return 0;
}

void kvm_vcpu_destroy(struct engine_vcpu *vcpu)
{
    if (vcpu->run != NULL) {
        munmap(vcpu->run, vcpu->vm->run_size);
    }
    if (vcpu->fd >= 0) {
        close(vcpu->fd);
    }
    free(vcpu);
}

void kvm_vcpu_kick(struct engine_vcpu *vcpu)
{
    run_kick_send(&vcpu->kick);
}

void kvm_vcpu_interrupt_changed(struct engine_vcpu *vcpu)
{
    if (vcpu->vm->irqchip != IRQCHIP_KERNEL) {
        run_kick_interrupt(&vcpu->kick);
    }
}

int kvm_vcpu_nmi(struct engine_vcpu *vcpu)
{
    /* KVM_NMI from another thread would wait until KVM_RUN ends: the vCPU's thread does it. */
    atomic_store(&vcpu->nmi_waiting, true);
    run_kick_interrupt(&vcpu->kick);
    return 0;
}

/*
 * Sets "stopped" in what the guest reads of KVM's clock, which its watchdogs look at. Refused when
 * the guest uses no such clock, and then there is nothing to tell.
 */
void kvm_vcpu_stood_still(struct engine_vcpu *vcpu)
{
    device_ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, NULL);
}

uint64_t kvm_vcpu_tsc_offset(const struct engine_vcpu *vcpu)
{
    uint64_t offset = 0;
    struct kvm_device_attr attribute = {
        .group = KVM_VCPU_TSC_CTRL,
        .attr = KVM_VCPU_TSC_OFFSET,
        .addr = (uint64_t)(uintptr_t)&offset,
    };
    /* A kernel before 5.16 does not say; the guest's TSC is then taken to be the host's. */
    return device_ioctl(vcpu->fd, KVM_GET_DEVICE_ATTR, &attribute) < 0 ? 0 : offset;
}
