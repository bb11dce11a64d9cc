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

#define IOAPIC_PINS 24u
#define ISA_IRQS    16u

/* Creation */

static int parse_arguments(const char *arguments, bool *irqchip, struct error *error)
{
    *irqchip = true;
    if (arguments == NULL || arguments[0] == '\0' || strcmp(arguments, "irqchip=on") == 0) {
        return 0;
    }
    if (strcmp(arguments, "irqchip=off") == 0) {
        *irqchip = false;
        return 0;
    }
    return error_set(error, EINVAL, "the engine kvm knows irqchip=on and irqchip=off, not \"%s\"",
                     arguments);
}

static int place_tss(struct engine_vm *vm, struct error *error)
{
    uint64_t identity_map = IDENTITY_MAP_ADDRESS;
    int code = 0;
    if (kvm_extension(vm->device, KVM_CAP_SET_IDENTITY_MAP_ADDR) != 0) {
        code = kvm_ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
    }
    if (code >= 0 && kvm_extension(vm->device, KVM_CAP_SET_TSS_ADDR) != 0) {
        /* This one takes its argument by value. */
        code = ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_ADDRESS) < 0 ? -errno : 0;
    }
    return code < 0 ? error_set_errno(error, code, "KVM refuses a place for its TSS") : 0;
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
    int code = kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
    if (code < 0) {
        return error_set_errno(error, code, "KVM refuses %llu MiB of memory at 0x%llx",
                               (unsigned long long)(slot->length >> 20),
                               (unsigned long long)slot->base.v);
    }
    return 0;
}

static void route(struct kvm_irq_routing *table, unsigned int gsi, unsigned int chip,
                  unsigned int pin)
{
    table->entries[table->nr++] = (struct kvm_irq_routing_entry){
        .gsi = gsi,
        .type = KVM_IRQ_ROUTING_IRQCHIP,
        .u.irqchip = {.irqchip = chip, .pin = pin},
    };
}

/* The wiring of a PC, which vm/engine.h promises: ISA interrupt 0 is IOAPIC input 2. */
static int route_interrupts(struct engine_vm *vm, struct error *error)
{
    size_t size = sizeof(struct kvm_irq_routing) +
                  (ISA_IRQS + IOAPIC_PINS) * sizeof(struct kvm_irq_routing_entry);
    struct kvm_irq_routing *table = calloc(1, size);
    if (table == NULL) {
        return error_set(error, ENOMEM, "no memory for the routing of interrupts");
    }
    for (unsigned int irq = 0; irq < ISA_IRQS; irq++) {
        if (irq != 2) { /* the cascade */
            unsigned int chip = irq < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;
            route(table, irq, chip, irq % 8);
        }
    }
    for (unsigned int gsi = 0; gsi < IOAPIC_PINS; gsi++) {
        if (gsi != 2) {
            route(table, gsi, KVM_IRQCHIP_IOAPIC, gsi == 0 ? 2 : gsi);
        }
    }
    int code = kvm_ioctl(vm->fd, KVM_SET_GSI_ROUTING, table);
    free(table);
    return code < 0 ? error_set_errno(error, code, "KVM refuses the routing of interrupts") : 0;
}

static int create_controllers(struct engine_vm *vm, struct error *error)
{
    if (kvm_extension(vm->device, KVM_CAP_IRQCHIP) == 0 ||
        kvm_extension(vm->device, KVM_CAP_IRQ_ROUTING) == 0 ||
        kvm_extension(vm->device, KVM_CAP_SIGNAL_MSI) == 0) {
        return 0; /* then ours are used */
    }
    int code = kvm_ioctl(vm->fd, KVM_CREATE_IRQCHIP, NULL);
    if (code < 0) {
        return error_set_errno(error, code,
                               "KVM can't make its interrupt controllers "
                               "(--engine kvm,irqchip=off does without)");
    }
    vm->has_irqchip = true;
    if (kvm_extension(vm->device, KVM_CAP_PIT2) != 0) {
        struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
        code = kvm_ioctl(vm->fd, KVM_CREATE_PIT2, &pit);
        if (code < 0) {
            return error_set_errno(error, code, "KVM can't make its 8254");
        }
        vm->has_pit = true;
    }
    vm->has_deadline_timer = kvm_extension(vm->device, KVM_CAP_TSC_DEADLINE_TIMER) != 0;
    return route_interrupts(vm, error);
}

/* MSRs that KVM does not know come to the monitor, instead of #GP without a word. */
static void enable_msr_exits(struct engine_vm *vm)
{
    if (kvm_extension(vm->device, KVM_CAP_X86_USER_SPACE_MSR) == 0) {
        return;
    }
    struct kvm_enable_cap cap = {.cap = KVM_CAP_X86_USER_SPACE_MSR,
                                 .args = {KVM_MSR_EXIT_REASON_UNKNOWN}};
    vm->has_msr_exits = kvm_ioctl(vm->fd, KVM_ENABLE_CAP, &cap) == 0;
}

/* Everything that can fail; kvm_vm_destroy takes back what was done, wherever it stopped. */
static int build(struct engine_vm *vm, const struct engine_vm_options *options, bool irqchip,
                 struct error *error)
{
    vm->device = kvm_open_device(KVM_DEVICE_PATH, error);
    if (vm->device < 0) {
        return vm->device;
    }
    /* A signal while the kernel allocates ends in EINTR: kvm_ioctl tries again. */
    vm->fd = kvm_ioctl(vm->device, KVM_CREATE_VM, NULL);
    if (vm->fd < 0) {
        return error_set_errno(error, vm->fd, "KVM can't make a VM");
    }
    int size = kvm_ioctl(vm->device, KVM_GET_VCPU_MMAP_SIZE, NULL);
    if (size < (int)sizeof(struct kvm_run)) {
        return error_set(error, EPROTO, "KVM's shared area of %d bytes is too small", size);
    }
    vm->run_size = (size_t)size;
    vm->has_xcrs = kvm_extension(vm->device, KVM_CAP_XCRS) != 0;
    enable_msr_exits(vm);
    int code = place_tss(vm, error);
    if (code == 0 && irqchip) {
        code = create_controllers(vm, error);
    }
    for (unsigned int i = 0; i < guestmem_slot_count(options->memory) && code == 0; i++) {
        code = map_slot(vm, guestmem_slot(options->memory, i), error);
    }
    return code;
}

int kvm_vm_create(const struct engine_vm_options *options, struct engine_vm **out,
                  struct error *error)
{
    bool irqchip;
    int code = parse_arguments(options->arguments, &irqchip, error);
    if (code != 0) {
        return code;
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
        return code;
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
    return ENGINE_HAS_CLOCK | (vm->has_irqchip ? ENGINE_HAS_INTERRUPT_CONTROLLERS : 0) |
           (vm->has_pit ? ENGINE_HAS_PIT : 0);
}

/* CPUID */

#define CPUID_1_ECX_TSC_DEADLINE (1u << 24)

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
}

int kvm_cpuid_supported(struct engine_vm *vm, struct cpuid_table *table, struct error *error)
{
    struct kvm_cpuid2 *supported =
        calloc(1, sizeof(*supported) + KVM_CPUID_ENTRIES * sizeof(struct kvm_cpuid_entry2));
    if (supported == NULL) {
        return error_set(error, ENOMEM, "no memory for KVM's CPUID table");
    }
    supported->nent = KVM_CPUID_ENTRIES;
    int code = kvm_ioctl(vm->device, KVM_GET_SUPPORTED_CPUID, supported);
    table->count = 0;
    for (uint32_t i = 0; code >= 0 && i < supported->nent; i++) {
        take_entry(vm, &supported->entries[i], table);
    }
    free(supported);
    return code < 0 ? error_set_errno(error, code, "KVM does not say which CPUID it supports") : 0;
}

/* Interrupts */

static int kvm_irq_line(struct engine_vm *vm, unsigned int gsi, bool level)
{
    struct kvm_irq_level line = {.irq = gsi, .level = level};
    return kvm_ioctl(vm->fd, KVM_IRQ_LINE, &line);
}

static int kvm_msi(struct engine_vm *vm, const struct msi_message *message)
{
    struct kvm_msi msi = {
        .address_lo = (uint32_t)message->address,
        .address_hi = (uint32_t)(message->address >> 32),
        .data = message->data,
    };
    /* A positive answer means delivered, 0 that the guest masks it: neither is a failure. */
    int code = kvm_ioctl(vm->fd, KVM_SIGNAL_MSI, &msi);
    return code < 0 ? code : 0;
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
    .tsc_offset = kvm_vcpu_tsc_offset,
    .irq_line = kvm_irq_line,
    .msi = kvm_msi,
};
