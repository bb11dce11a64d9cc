/*
 * What the files of the KVM engine share.
 *
 *   kvm_error.c   what to say, and to do, when the kernel refuses something
 *   kvm_device.c  opening /dev/kvm, the API version and the extensions it must have
 *   kvm_vm.c      the VM: settings, memory slots, CPUID; the table of functions
 *   kvm_interrupts.c  interrupt controllers, routes, events
 *   kvm_clock.c   KVM's clock, the rate of the TSC
 *   kvm_vcpu.c    a vCPU: creation, CPUID, kicks
 *   kvm_run.c     KVM_RUN, injection of interrupts, the kernel's exits put into ours
 *   kvm_report.c  what KVM could not go on with, in words
 *   kvm_state.c   registers, segments, FPU, events
 *   kvm_msrs.c    the MSRs of struct x86_msrs
 *   kvm_doctor.c  why KVM refuses system registers
 *   kvm_probe.c   what this host's KVM can do, and how fast
 *
 * Owner: the engine. Thread: as vm/engine.h says for each function.
 */
#ifndef TRAPEZE_ENGINES_KVM_KVM_INTERNAL_H
#define TRAPEZE_ENGINES_KVM_KVM_INTERNAL_H

#include <errno.h>
#include <linux/kvm.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/device_call.h"
#include "vm/engine.h"

#define KVM_DEVICE_PATH "/dev/kvm"

/* More than any kernel has asked for so far; KVM_GET_SUPPORTED_CPUID says when it is too few. */
#define KVM_CPUID_ENTRIES 256

/* Routes: those of the kernel's 8259 pair and IOAPIC, and messages. */
#define KVM_ROUTES_MAX (ENGINE_ROUTES_MAX + 16)

/* Which interrupt controllers live in the kernel. */
enum irqchip_mode {
    IRQCHIP_NONE,
    IRQCHIP_SPLIT,  /* the local APICs */
    IRQCHIP_KERNEL, /* IOAPIC, 8259 pair and 8254 too */
    IRQCHIP_BEST    /* as an argument: KERNEL where the kernel has it all, else NONE */
};

struct engine_vm {
    int device; /* /dev/kvm */
    int fd;
    struct guestmem *memory;
    size_t run_size;           /* of struct kvm_run and what follows it */
    enum irqchip_mode irqchip; /* never IRQCHIP_BEST */
    struct kvm_irq_routing_entry routes[KVM_ROUTES_MAX];
    uint32_t route_count;
    bool has_xcrs;
    bool has_sregs2;
    bool has_apic_msr_exits; /* those of a local APIC of ours */
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
    struct run_kick kick;
    atomic_bool nmi_waiting; /* to be handed to the kernel before the next entry */
    /*
     * The rest is the owner's. What run->ready_for_interrupt_injection said, unless the state was
     * changed since.
     */
    bool ready_for_interrupt;
    uint8_t cr8;                /* as last seen by the guest; without LAPICs in the kernel */
    enum x86_activity activity; /* the kernel keeps it only with LAPICs */
};

static inline bool kvm_has_lapics(const struct engine_vm *vm)
{
    return vm->irqchip != IRQCHIP_NONE;
}

/*
 * As error_set_errno of base/error.h, for what the kernel has refused: adds what a person can do
 * about it. Returns kvm_failure(code).
 */
int kvm_error(struct error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds it to an error's text, for those who made theirs otherwise. */
void kvm_add_remedy(struct error *error, int code);

/* EINVAL means "bad options" to the program; from the kernel it is a failure like any other. */
static inline int kvm_failure(int code)
{
    return code == -EINVAL ? -EIO : code;
}

/* The value of an extension: 0 when it is not there. */
int kvm_extension(int fd, int extension);

/* Opens path, checks the version and the extensions. Returns the descriptor or -errno. */
int kvm_open_device(const char *path, struct error *error);

/* The VM without an engine's options: for the VM itself and for the probe. */
int kvm_vm_create(const struct engine_vm_options *options, struct engine_vm **out,
                  struct error *error);
void kvm_vm_destroy(struct engine_vm *vm);

int kvm_cpuid_supported(struct engine_vm *vm, struct cpuid_table *table, struct error *error);

/* The engine's arguments. -EINVAL with the words that are known. */
int kvm_parse_arguments(const char *arguments, enum irqchip_mode *mode, struct error *error);

/* Makes the interrupt controllers; vm->irqchip says which. Before there are vCPUs. */
int kvm_create_controllers(struct engine_vm *vm, enum irqchip_mode mode, struct error *error);
int kvm_irq_line(struct engine_vm *vm, unsigned int gsi, bool level);
int kvm_msi(struct engine_vm *vm, const struct msi_message *message);
int kvm_msi_route(struct engine_vm *vm, unsigned int gsi, const struct msi_message *message);
int kvm_irq_event(struct engine_vm *vm, int event, unsigned int gsi, bool on, struct error *error);
int kvm_doorbell(struct engine_vm *vm, int event, const struct engine_doorbell *doorbell, bool on,
                 struct error *error);

int kvm_vcpu_create(struct engine_vm *vm, const struct engine_vcpu_options *options,
                    struct engine_vcpu **out, struct error *error);
void kvm_vcpu_destroy(struct engine_vcpu *vcpu);
void kvm_vcpu_kick(struct engine_vcpu *vcpu);
void kvm_vcpu_interrupt_changed(struct engine_vcpu *vcpu);
int kvm_vcpu_nmi(struct engine_vcpu *vcpu);
void kvm_vcpu_stood_still(struct engine_vcpu *vcpu);
uint64_t kvm_vcpu_tsc_offset(const struct engine_vcpu *vcpu);

int kvm_vcpu_run(struct engine_vcpu *vcpu, struct vcpu_exit *exit, struct error *error);

/* Puts the exit that run->exit_reason names into *exit. The vCPU's thread. */
void kvm_translate_exit(struct engine_vcpu *vcpu, struct vcpu_exit *exit);

/* Why KVM could not emulate: the instruction, or that there is none where the guest is. */
void kvm_describe_emulation(struct engine_vcpu *vcpu, char *text, size_t size);

/* KVM_EXIT_FAIL_ENTRY with the hardware's reason. */
void kvm_describe_failed_entry(uint64_t reason, char *text, size_t size);

int kvm_vcpu_get_state(struct engine_vcpu *vcpu, unsigned int groups, struct x86_state *state,
                       struct error *error);
int kvm_vcpu_set_state(struct engine_vcpu *vcpu, unsigned int groups, const struct x86_state *state,
                       struct error *error);

/* Adds to an error which rules the system registers break that KVM has refused (kvm_doctor.c). */
void kvm_explain_refusal(struct engine_vcpu *vcpu, const struct x86_state *state, int code,
                         struct error *error);

/*
 * Makes MSRs that the kernel does not keep come to the monitor, instead of #GP without a word;
 * without local APICs in the kernel theirs, too. After kvm_create_controllers.
 */
void kvm_enable_msr_exits(struct engine_vm *vm);

int kvm_get_msrs(struct engine_vcpu *vcpu, struct x86_msrs *msrs, struct error *error);
int kvm_set_msrs(struct engine_vcpu *vcpu, const struct x86_msrs *msrs, struct error *error);

/* IA32_APIC_BASE alone, which is the LAPIC's mode. If KVM refuses it, kvm_set_msrs notes that. */
int kvm_set_apic_base(struct engine_vcpu *vcpu, const struct x86_msrs *msrs, struct error *error);

/* The clock that the guests of KVM know, in nanoseconds; before vCPUs run or while they stand. */
int kvm_get_clock(struct engine_vm *vm, uint64_t *ns, struct error *error);
int kvm_set_clock(struct engine_vm *vm, uint64_t ns, struct error *error);

/* The rate of a vCPU's TSC. Other rates than the host's need a processor that scales it. */
int kvm_get_tsc_khz(struct engine_vcpu *vcpu, uint32_t *khz, struct error *error);
int kvm_set_tsc_khz(struct engine_vcpu *vcpu, uint32_t khz, struct error *error);

void kvm_probe(struct engine_probe *probe);

#endif
