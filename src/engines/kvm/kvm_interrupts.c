/* Interrupt controllers in the kernel: all, the local APICs alone, or none; routes and events. */
#include <errno.h>
#include <string.h>

#include "engines/kvm/kvm_internal.h"

#define IOAPIC_PINS 24u
#define ISA_IRQS    16u

/* Which controllers */

static const struct {
    const char *name;
    enum irqchip_mode mode;
} irqchip_names[] = {
    {"kernel", IRQCHIP_KERNEL},
    {"split", IRQCHIP_SPLIT},
    {"none", IRQCHIP_NONE},
};

int kvm_parse_arguments(const char *arguments, enum irqchip_mode *mode, struct error *error)
{
    static const char key[] = "irqchip=";
    *mode = IRQCHIP_BEST;
    if (arguments == NULL || arguments[0] == '\0') {
        return 0;
    }
    for (size_t i = 0; i < sizeof(irqchip_names) / sizeof(irqchip_names[0]); i++) {
        if (strncmp(arguments, key, sizeof(key) - 1) == 0 &&
            strcmp(arguments + sizeof(key) - 1, irqchip_names[i].name) == 0) {
            *mode = irqchip_names[i].mode;
            return 0;
        }
    }
    return error_set(error, EINVAL,
                     "the engine kvm knows irqchip=kernel, irqchip=split and irqchip=none, not "
                     "\"%s\"",
                     arguments);
}

/* The first extension that a mode needs and this kernel lacks; NULL if there is none. */
static const char *missing_extension(const struct engine_vm *vm, enum irqchip_mode mode)
{
    static const struct {
        int extension;
        const char *name;
        bool for_split;
    } needed[] = {
        {KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP", true},
        {KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING", true},
        {KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI", true},
        {KVM_CAP_SPLIT_IRQCHIP, "KVM_CAP_SPLIT_IRQCHIP", true},
        {KVM_CAP_PIT2, "KVM_CAP_PIT2", false},
    };
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        bool is_split = needed[i].extension == KVM_CAP_SPLIT_IRQCHIP;
        bool matters = mode == IRQCHIP_SPLIT ? needed[i].for_split : !is_split;
        if (matters && kvm_extension(vm->device, needed[i].extension) == 0) {
            return needed[i].name;
        }
    }
    return NULL;
}

/* Routes */

static void route_to_chip(struct engine_vm *vm, unsigned int gsi, unsigned int chip,
                          unsigned int pin)
{
    vm->routes[vm->route_count++] = (struct kvm_irq_routing_entry){
        .gsi = gsi,
        .type = KVM_IRQ_ROUTING_IRQCHIP,
        .u.irqchip = {.irqchip = chip, .pin = pin},
    };
}

/* struct kvm_irq_routing with room for the entries that follow it. */
struct route_table {
    uint32_t count;
    uint32_t flags;
    struct kvm_irq_routing_entry entries[KVM_ROUTES_MAX];
};
_Static_assert(offsetof(struct route_table, entries) == sizeof(struct kvm_irq_routing),
               "KVM's layout");

static int set_routes(struct engine_vm *vm)
{
    struct route_table table = {.count = vm->route_count};
    memcpy(table.entries, vm->routes, vm->route_count * sizeof(vm->routes[0]));
    return device_ioctl(vm->fd, KVM_SET_GSI_ROUTING, &table);
}

/* The wiring of a PC, which vm/engine.h promises: ISA interrupt 0 is IOAPIC input 2. */
static int route_isa(struct engine_vm *vm, struct error *error)
{
    for (unsigned int irq = 0; irq < ISA_IRQS; irq++) {
        if (irq != 2) { /* the cascade */
            unsigned int chip = irq < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;
            route_to_chip(vm, irq, chip, irq % 8);
        }
    }
    for (unsigned int gsi = 0; gsi < IOAPIC_PINS; gsi++) {
        if (gsi != 2) {
            route_to_chip(vm, gsi, KVM_IRQCHIP_IOAPIC, gsi == 0 ? 2 : gsi);
        }
    }
    int code = set_routes(vm);
    return code < 0 ? kvm_error(error, code, "KVM refuses the routing of interrupts") : 0;
}

/* Where gsi's message is in the table; a new place at the end if it has none; NULL: full. */
static struct kvm_irq_routing_entry *route_of(struct engine_vm *vm, unsigned int gsi)
{
    for (uint32_t i = 0; i < vm->route_count; i++) {
        if (vm->routes[i].gsi == gsi) {
            return &vm->routes[i];
        }
    }
    return vm->route_count < KVM_ROUTES_MAX ? &vm->routes[vm->route_count++] : NULL;
}

static bool is_route_to(const struct kvm_irq_routing_entry *route,
                        const struct msi_message *message)
{
    return route->type == KVM_IRQ_ROUTING_MSI &&
           route->u.msi.address_lo == (uint32_t)message->address &&
           route->u.msi.address_hi == (uint32_t)(message->address >> 32) &&
           route->u.msi.data == message->data;
}

int kvm_msi_route(struct engine_vm *vm, unsigned int gsi, const struct msi_message *message)
{
    bool is_the_kernels = vm->irqchip == IRQCHIP_KERNEL && gsi < IOAPIC_PINS;
    if (is_the_kernels || vm->irqchip == IRQCHIP_NONE) {
        return -EINVAL;
    }
    uint32_t count = vm->route_count;
    struct kvm_irq_routing_entry *route = gsi < ENGINE_ROUTES_MAX ? route_of(vm, gsi) : NULL;
    if (route == NULL) {
        return -ENOSPC;
    }
    bool is_new = vm->route_count != count;
    struct kvm_irq_routing_entry before = *route;
    if (!is_new && is_route_to(&before, message)) {
        return 0; /* the kernel takes its time over a new table */
    }
    *route = (struct kvm_irq_routing_entry){
        .gsi = gsi,
        .type = KVM_IRQ_ROUTING_MSI,
        .u.msi = {.address_lo = (uint32_t)message->address,
                  .address_hi = (uint32_t)(message->address >> 32),
                  .data = message->data},
    };
    int code = set_routes(vm);
    if (code < 0) {
        /* An entry that is refused would make every later table be refused. */
        *route = before;
        vm->route_count = count;
    }
    return code;
}

/* Creation */

static int create_all(struct engine_vm *vm, struct error *error)
{
    int code = device_ioctl(vm->fd, KVM_CREATE_IRQCHIP, NULL);
    if (code < 0) {
        return error_set_errno(error, code,
                               "KVM can't make its interrupt controllers (--irqchip none does "
                               "without)");
    }
    vm->irqchip = IRQCHIP_KERNEL;
    struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
    code = device_ioctl(vm->fd, KVM_CREATE_PIT2, &pit);
    if (code < 0) {
        return error_set_errno(error, code,
                               "KVM can't make its 8254 (--irqchip split does without)");
    }
    return route_isa(vm, error);
}

static int create_local_apics(struct engine_vm *vm, struct error *error)
{
    /* The argument is how many routes, from 0 on, are inputs of our IOAPIC. */
    struct kvm_enable_cap cap = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {IOAPIC_PINS}};
    int code = device_ioctl(vm->fd, KVM_ENABLE_CAP, &cap);
    if (code < 0) {
        return error_set_errno(error, code,
                               "KVM can't make local APICs alone (--irqchip none does without)");
    }
    vm->irqchip = IRQCHIP_SPLIT;
    return 0;
}

int kvm_create_controllers(struct engine_vm *vm, enum irqchip_mode mode, struct error *error)
{
    vm->irqchip = IRQCHIP_NONE;
    if (mode == IRQCHIP_NONE) {
        return 0;
    }
    const char *missing = missing_extension(vm, mode);
    if (missing != NULL && mode == IRQCHIP_BEST) {
        return 0; /* then ours are used */
    }
    if (missing != NULL) {
        return error_set(error, EOPNOTSUPP,
                         "this kernel's KVM has no %s, which --irqchip %s needs: update the "
                         "kernel, or use --irqchip none",
                         missing, mode == IRQCHIP_SPLIT ? "split" : "kernel");
    }
    vm->has_deadline_timer = kvm_extension(vm->device, KVM_CAP_TSC_DEADLINE_TIMER) != 0;
    return mode == IRQCHIP_SPLIT ? create_local_apics(vm, error) : create_all(vm, error);
}

/* Lines, messages, events */

int kvm_irq_line(struct engine_vm *vm, unsigned int gsi, bool level)
{
    struct kvm_irq_level line = {.irq = gsi, .level = level};
    return device_ioctl(vm->fd, KVM_IRQ_LINE, &line);
}

int kvm_msi(struct engine_vm *vm, const struct msi_message *message)
{
    struct kvm_msi msi = {
        .address_lo = (uint32_t)message->address,
        .address_hi = (uint32_t)(message->address >> 32),
        .data = message->data,
    };
    /* A positive answer means delivered, 0 that the guest masks it: neither is a failure. */
    int code = device_ioctl(vm->fd, KVM_SIGNAL_MSI, &msi);
    return code < 0 ? code : 0;
}

static int require(struct engine_vm *vm, int extension, const char *name, struct error *error)
{
    return kvm_extension(vm->device, extension) != 0
               ? 0
               : error_set(error, EOPNOTSUPP, "this kernel's KVM has no %s: update the kernel",
                           name);
}

int kvm_irq_event(struct engine_vm *vm, int event, unsigned int gsi, bool on, struct error *error)
{
    int code = require(vm, KVM_CAP_IRQFD, "KVM_CAP_IRQFD", error);
    if (code != 0) {
        return code;
    }
    if (!kvm_has_lapics(vm)) {
        return error_set(error, EOPNOTSUPP,
                         "without local APICs in the kernel (--irqchip none) no event can raise an "
                         "interrupt");
    }
    struct kvm_irqfd irqfd = {
        .fd = (uint32_t)event, .gsi = gsi, .flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN};
    code = device_ioctl(vm->fd, KVM_IRQFD, &irqfd);
    return code < 0 ? kvm_error(error, code, "KVM refuses an event for interrupt %u", gsi) : 0;
}

int kvm_doorbell(struct engine_vm *vm, int event, const struct engine_doorbell *doorbell, bool on,
                 struct error *error)
{
    int code = require(vm, KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD", error);
    if (code == 0 && doorbell->size == 0) {
        code = require(vm, KVM_CAP_IOEVENTFD_ANY_LENGTH, "KVM_CAP_IOEVENTFD_ANY_LENGTH", error);
    }
    if (code != 0) {
        return code;
    }
    struct kvm_ioeventfd ioeventfd = {
        .addr = doorbell->address,
        .len = doorbell->size,
        .fd = event,
        .datamatch = doorbell->value,
        .flags = (on ? 0u : KVM_IOEVENTFD_FLAG_DEASSIGN) |
                 (doorbell->is_port ? KVM_IOEVENTFD_FLAG_PIO : 0u) |
                 (doorbell->has_value ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0u),
    };
    code = device_ioctl(vm->fd, KVM_IOEVENTFD, &ioeventfd);
    return code < 0 ? kvm_error(error, code, "KVM refuses a doorbell at 0x%llx",
                                (unsigned long long)doorbell->address)
                    : 0;
}
