#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "engines/kvm/kvm.h"
#include "engines/kvm/kvm_internal.h"

/*
 * Three pages and one that VT-x without unrestricted guest uses for real mode; by convention just
 * below the firmware, where no machine has memory.
 */
#define TSS_ADDRESS          0xfffbd000ul
#define IDENTITY_MAP_ADDRESS UINT64_C(0xfffbc000)

/* Creation */

static int place_tss(struct engine_vm *vm, struct error *error)
{
    uint64_t identity_map = IDENTITY_MAP_ADDRESS;
    int code = 0;
    if (kvm_extension(vm->device, KVM_CAP_SET_IDENTITY_MAP_ADDR) != 0) {
        code = device_ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
    }
    if (code >= 0 && kvm_extension(vm->device, KVM_CAP_SET_TSS_ADDR) != 0) {
        /* This one takes its argument by value. */
        code = ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_ADDRESS) < 0 ? -errno : 0;
    }
    return code < 0 ? kvm_error(error, code, "KVM refuses a place for its TSS") : 0;
}

static int map_slot(struct engine_vm *vm, const struct memory_slot *slot, struct error *error)
{
    bool read_only = (slot->flags & GUESTMEM_READ_ONLY) != 0;
    if (read_only && kvm_extension(vm->device, KVM_CAP_READONLY_MEM) == 0) {
        read_only = false; /* the guest may then scribble over its own copy of the ROM */
    }
    struct kvm_userspace_memory_region region = {
        .slot = slot->index,
        .flags = read_only ? KVM_MEM_READONLY : 0,
        .guest_phys_addr = slot->base.v,
        .memory_size = slot->length,
        .userspace_addr = (uint64_t)(uintptr_t)slot->host,
    };
    int code = device_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
    if (code < 0) {
        return kvm_error(error, code, "KVM refuses %llu MiB of memory at 0x%llx",
                         (unsigned long long)(slot->length >> 20),
                         (unsigned long long)slot->base.v);
    }
    return 0;
}

/* Everything that can fail; kvm_vm_destroy takes back what was done, wherever it stopped. */
static int build(struct engine_vm *vm, const struct engine_vm_options *options,
                 enum irqchip_mode irqchip, struct error *error)
{
    vm->device = kvm_open_device(KVM_DEVICE_PATH, error);
    if (vm->device < 0) {
        return vm->device;
    }
    /* A signal while the kernel allocates ends in EINTR: device_ioctl tries again. */
    vm->fd = device_ioctl(vm->device, KVM_CREATE_VM, NULL);
    if (vm->fd < 0) {
        return kvm_error(error, vm->fd, "KVM can't make a VM");
    }
    int size = device_ioctl(vm->device, KVM_GET_VCPU_MMAP_SIZE, NULL);
    if (size < 0) {
        return kvm_error(error, size, "KVM does not say how large its shared area is");
    }
    if (size < (int)sizeof(struct kvm_run)) {
        return error_set(error, EPROTO, "KVM's shared area of %d bytes is too small", size);
    }
    vm->run_size = (size_t)size;
    vm->has_xcrs = kvm_extension(vm->device, KVM_CAP_XCRS) != 0;
    vm->has_sregs2 = kvm_extension(vm->device, KVM_CAP_SREGS2) != 0;
    int code = place_tss(vm, error);
    if (code == 0) {
        code = kvm_create_controllers(vm, irqchip, error);
    }
    if (code == 0) {
        kvm_enable_msr_exits(vm);
    }
    for (unsigned int i = 0; i < guestmem_slot_count(options->memory) && code == 0; i++) {
        code = map_slot(vm, guestmem_slot(options->memory, i), error);
    }
    return code;
}

int kvm_vm_create(const struct engine_vm_options *options, struct engine_vm **out,
                  struct error *error)
{
    enum irqchip_mode irqchip;
    int code = kvm_parse_arguments(options->arguments, &irqchip, error);
    if (code != 0) {
        return code;
    }
    if (options->trap != ENGINE_TRAP_SHADOW) {
        return error_set(error, EINVAL,
                         "--trap all is not for --engine kvm: the kernel decides what leaves its "
                         "guests; take --engine soft");
    }
    struct engine_vm *vm = calloc(1, sizeof(*vm));
    if (vm == NULL) {
        return error_set(error, ENOMEM, "no memory for a KVM VM");
    }
    vm->device = -1;
    vm->fd = -1;
    vm->memory = options->memory;
    code = build(vm, options, irqchip, error);
    if (code != 0) {
        kvm_vm_destroy(vm);
        return kvm_failure(code);
    }
    *out = vm;
    return 0;
}

void kvm_vm_destroy(struct engine_vm *vm)
{
    if (vm->fd >= 0) {
        close(vm->fd);
    }
    if (vm->device >= 0) {
        close(vm->device);
    }
    free(vm);
}

static unsigned int kvm_features(const struct engine_vm *vm)
{
    static const unsigned int controllers[] = {
        [IRQCHIP_NONE] = 0,
        [IRQCHIP_SPLIT] = ENGINE_HAS_LOCAL_APICS,
        [IRQCHIP_KERNEL] =
            ENGINE_HAS_LOCAL_APICS | ENGINE_HAS_INTERRUPT_CONTROLLERS | ENGINE_HAS_PIT,
    };
    bool lacks_msrs = !kvm_has_lapics(vm) && !vm->has_apic_msr_exits;
    return ENGINE_HAS_CLOCK | controllers[vm->irqchip] | (lacks_msrs ? ENGINE_LACKS_APIC_MSRS : 0);
}

/* CPUID */

#define CPUID_1_ECX_TSC_DEADLINE (1u << 24)

/* Paravirtual features that go through the kernel's local APICs (cpuid.rst of the kernel). */
#define LEAF_KVM_FEATURES 0x40000001u
#define FEATURES_OF_LAPICS                                                                         \
    (1u << 4 /* asynchronous page faults */ | 1u << 6 /* end of interrupt */ |                     \
     1u << 7 /* waking a halted vCPU */ | 1u << 9 /* TLB flushes */ | 1u << 11 /* IPIs */ |        \
     1u << 13 /* yielding */ | 1u << 14 /* asynchronous page faults by interrupt */)

static bool is_empty(const struct kvm_cpuid_entry2 *entry)
{
    return (entry->eax | entry->ebx | entry->ecx | entry->edx) == 0;
}

static void take_entry(const struct engine_vm *vm, const struct kvm_cpuid_entry2 *from,
                       struct cpuid_table *table)
{
    if (table->count == CPUID_ENTRIES_MAX || (is_empty(from) && from->function != 0)) {
        return; /* a leaf that is not there is answered with zeroes too */
    }
    struct cpuid_entry *to = &table->entries[table->count++];
    *to = (struct cpuid_entry){
        .leaf = from->function,
        .subleaf = from->index,
        .has_subleaf = (from->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0,
        .registers = {from->eax, from->ebx, from->ecx, from->edx},
    };
    if (to->leaf == 1 && vm->has_deadline_timer) {
        /* KVM leaves it to us to show it: it depends on the LAPIC being in the kernel. */
        to->registers.ecx |= CPUID_1_ECX_TSC_DEADLINE;
    }
    if (to->leaf == LEAF_KVM_FEATURES && !kvm_has_lapics(vm)) {
        to->registers.eax &= ~FEATURES_OF_LAPICS;
    }
}

int kvm_cpuid_supported(struct engine_vm *vm, struct cpuid_table *table, struct error *error)
{
    struct kvm_cpuid2 *supported =
        calloc(1, sizeof(*supported) + KVM_CPUID_ENTRIES * sizeof(struct kvm_cpuid_entry2));
    if (supported == NULL) {
        return error_set(error, ENOMEM, "no memory for KVM's CPUID table");
    }
    supported->nent = KVM_CPUID_ENTRIES;
    int code = device_ioctl(vm->device, KVM_GET_SUPPORTED_CPUID, supported);
    table->count = 0;
    for (uint32_t i = 0; code >= 0 && i < supported->nent; i++) {
        take_entry(vm, &supported->entries[i], table);
    }
    free(supported);
    if (code < 0) {
        return kvm_error(error, code, "KVM does not say which CPUID it supports");
    }
    return 0;
}

const struct engine_ops kvm_engine = {
    .name = "kvm",
    .summary = "Linux KVM, through " KVM_DEVICE_PATH,
    .probe = kvm_probe,
    .vm_create = kvm_vm_create,
    .vm_destroy = kvm_vm_destroy,
    .features = kvm_features,
    .cpuid_supported = kvm_cpuid_supported,
    .vcpu_create = kvm_vcpu_create,
    .vcpu_destroy = kvm_vcpu_destroy,
    .run = kvm_vcpu_run,
    .kick = kvm_vcpu_kick,
    .interrupt_changed = kvm_vcpu_interrupt_changed,
    .nmi = kvm_vcpu_nmi,
    .get_state = kvm_vcpu_get_state,
    .set_state = kvm_vcpu_set_state,
    .stood_still = kvm_vcpu_stood_still,
    .tsc_offset = kvm_vcpu_tsc_offset,
    .irq_line = kvm_irq_line,
    .msi = kvm_msi,
    .msi_route = kvm_msi_route,
    .irq_event = kvm_irq_event,
    .doorbell = kvm_doorbell,
};
