/*
 * What the files of the KVM engine share.
 *
 *   kvm_device.c  opening /dev/kvm, the API version and the extensions it must have
 *   kvm_vm.c      the VM: memory slots, interrupt controllers, routing; the table of functions
 *   kvm_vcpu.c    a vCPU: creation, CPUID, kicks
 *   kvm_run.c     KVM_RUN, injection of interrupts, the kernel's exits put into ours
 *   kvm_state.c   registers, segments, FPU, events
 *   kvm_msrs.c    the MSRs of struct x86_msrs
 *   kvm_doctor.c  why KVM refuses system registers
 *   kvm_probe.c   what this host's KVM can do, and how fast
 *
 * Owner: the engine. Thread: as vm/engine.h says for each function.
 */
#ifndef TRAPEZE_ENGINES_KVM_KVM_INTERNAL_H
#define TRAPEZE_ENGINES_KVM_KVM_INTERNAL_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "vm/engine.h"

#define KVM_DEVICE_PATH "/dev/kvm"

/* More than any kernel has asked for so far; KVM_GET_SUPPORTED_CPUID says when it is too few. */
#define KVM_CPUID_ENTRIES 256

struct engine_vm {
    int device; /* /dev/kvm */
    int fd;
    struct guestmem *memory;
    size_t run_size; /* of struct kvm_run and what follows it */
    bool has_irqchip;
    bool has_pit;
    bool has_xcrs;
    bool has_msr_exits;
    bool has_deadline_timer;
    /* One bit for each MSR of the table in kvm_msrs.c that this KVM has refused. */
    _Atomic uint64_t refused_msrs;
};

struct engine_vcpu {
    struct engine_vm *vm;
    unsigned int index;
    int fd;
    struct kvm_run *run; /* shared with the kernel */
    const struct interrupt_source *interrupts;
    pthread_t owner;
    pid_t thread;
    atomic_bool kicked;      /* a kick that no run has reported yet */
    atomic_bool nmi_waiting; /* to be handed to the kernel before the next entry */
    /*
     * The rest is the owner's. What run->ready_for_interrupt_injection said, unless the state was
     * changed since.
     */
    bool ready_for_interrupt;
    uint8_t cr8;                /* as last seen by the guest; without irqchip */
    enum x86_activity activity; /* the kernel keeps it only with irqchip */
};

/* ioctl that is repeated when a signal interrupts it; returns the result or -errno. */
int kvm_ioctl(int fd, unsigned long request, void *argument);

/* The value of an extension: 0 when it is not there. */
int kvm_extension(int fd, int extension);

/* Opens path, checks the version and the extensions. Returns the descriptor or -errno. */
int kvm_open_device(const char *path, struct error *error);

/* The VM without an engine's options: for the VM itself and for the probe. */
int kvm_vm_create(const struct engine_vm_options *options, struct engine_vm **out,
                  struct error *error);
void kvm_vm_destroy(struct engine_vm *vm);

int kvm_cpuid_supported(struct engine_vm *vm, struct cpuid_table *table, struct error *error);

int kvm_vcpu_create(struct engine_vm *vm, const struct engine_vcpu_options *options,
                    struct engine_vcpu **out, struct error *error);
void kvm_vcpu_destroy(struct engine_vcpu *vcpu);
void kvm_vcpu_kick(struct engine_vcpu *vcpu);
void kvm_vcpu_interrupt_changed(struct engine_vcpu *vcpu);
int kvm_vcpu_nmi(struct engine_vcpu *vcpu);
uint64_t kvm_vcpu_tsc_offset(const struct engine_vcpu *vcpu);

int kvm_vcpu_run(struct engine_vcpu *vcpu, struct vcpu_exit *exit, struct error *error);

/* Puts the exit that run->exit_reason names into *exit. The vCPU's thread. */
void kvm_translate_exit(struct engine_vcpu *vcpu, struct vcpu_exit *exit);

int kvm_vcpu_get_state(struct engine_vcpu *vcpu, unsigned int groups, struct x86_state *state,
                       struct error *error);
int kvm_vcpu_set_state(struct engine_vcpu *vcpu, unsigned int groups, const struct x86_state *state,
                       struct error *error);

/* Adds to an error which rules the system registers break that KVM has refused (kvm_doctor.c). */
void kvm_explain_refusal(struct engine_vcpu *vcpu, const struct x86_state *state, int code,
                         struct error *error);

int kvm_get_msrs(struct engine_vcpu *vcpu, struct x86_msrs *msrs, struct error *error);
int kvm_set_msrs(struct engine_vcpu *vcpu, const struct x86_msrs *msrs, struct error *error);

void kvm_probe(struct engine_probe *probe);

#endif
