#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "engines/vtx/vtx.h"
#include "engines/vtx/vtx_internal.h"

_Static_assert(TRAPEZE_VTX_CPUID_MAX == CPUID_ENTRIES_MAX &&
                   TRAPEZE_VTX_SLOTS_MAX >= GUESTMEM_SLOTS_MAX,
               "the module has room for what the machine has");

/* ---- creation ---- */

static int map_slot(struct engine_vm *vm, const struct memory_slot *slot, struct error *error)
{
    struct trapeze_vtx_memory memory = {
        .flags = (slot->flags & GUESTMEM_READ_ONLY) != 0 ? TRAPEZE_VTX_READ_ONLY : 0,
        .guest_address = slot->base.v,
        .length = slot->length,
        .user_address = (uint64_t)(uintptr_t)slot->host,
    };
    int code = device_ioctl(vm->fd, TRAPEZE_VTX_SET_MEMORY, &memory);
    return code < 0
               ? error_set_errno(error, code, "the module refuses %llu MiB of memory at 0x%llx",
                                 (unsigned long long)(slot->length >> 20),
                                 (unsigned long long)slot->base.v)
               : 0;
}

/* Where the module has words of its own, these; else errno's. */
static int explain(int code, char *message, size_t size, struct error *error, const char *what)
{
    message[size - 1] = '\0';
    return message[0] != '\0' ? error_set(error, code, "%s: %s", what, message)
                              : error_set_errno(error, code, "%s", what);
}

/* Everything that can fail; vtx_vm_destroy takes back what was done, wherever it stopped. */
static int build(struct engine_vm *vm, enum engine_trap trap, struct error *error)
{
    struct trapeze_vtx_vm options = {.policy = trap == ENGINE_TRAP_ALL ? TRAPEZE_VTX_TRAP_ALL
                                                                       : TRAPEZE_VTX_TRAP_SHADOW};
    vm->device = vtx_open_device(TRAPEZE_VTX_DEVICE, error);
    if (vm->device < 0) {
        return vm->device;
    }
    vm->fd = device_ioctl(vm->device, TRAPEZE_VTX_CREATE_VM, &options);
    if (vm->fd < 0) {
        return explain(vm->fd, options.message, sizeof(options.message), error,
                       "VT-x can't be used");
    }
    int code = 0;
    for (unsigned int i = 0; i < guestmem_slot_count(vm->memory) && code == 0; i++) {
        code = map_slot(vm, guestmem_slot(vm->memory, i), error);
    }
    return code;
}

/* EINVAL means "bad options" to the program; from the kernel it is a failure like any other. */
static int failure_of_host(int code)
{
    return code == -EINVAL ? -EIO : code;
}

int vtx_vm_create(const struct engine_vm_options *options, struct engine_vm **out,
                  struct error *error)
{
    if (options->arguments != NULL && options->arguments[0] != '\0') {
        return error_set(error, EINVAL, "the engine vtx has no settings, and so none of '%s'",
                         options->arguments);
    }
    struct engine_vm *vm = calloc(1, sizeof(*vm));
    if (vm == NULL) {
        return error_set(error, ENOMEM, "no memory for a VM");
    }
    vm->device = -1;
    vm->fd = -1;
    vm->memory = options->memory;
    vm->tsc_hz = options->tsc_hz != 0 ? options->tsc_hz : clock_tsc_hz(NULL);
    int code = build(vm, options->trap, error);
    if (code != 0) {
        vtx_vm_destroy(vm);
        return failure_of_host(code);
    }
    *out = vm;
    return 0;
}

void vtx_vm_destroy(struct engine_vm *vm)
{
    if (vm->fd >= 0) {
        close(vm->fd);
    }
    if (vm->device >= 0) {
        close(vm->device);
    }
    free(vm);
}

static unsigned int features(const struct engine_vm *vm)
{
    (void)vm;
    return ENGINE_HAS_CLOCK;
}

/* The module has doorbells at ports alone, and only before there are vCPUs. */
int vtx_doorbell(struct engine_vm *vm, int event, const struct engine_doorbell *doorbell, bool on,
                 struct error *error)
{
    if (!on || !doorbell->is_port || doorbell->address > UINT16_MAX) {
        return error_set(error, EOPNOTSUPP,
                         "the engine vtx has doorbells at ports alone, and until its VM ends");
    }
    struct trapeze_vtx_doorbell argument = {.event = event,
                                            .port = (uint16_t)doorbell->address,
                                            .size = doorbell->size,
                                            .has_value = doorbell->has_value,
                                            .value = (uint32_t)doorbell->value};
    int code = device_ioctl(vm->fd, TRAPEZE_VTX_SET_DOORBELL, &argument);
    return code < 0 ? error_set_errno(error, code, "the module refuses a doorbell at port 0x%x",
                                      argument.port)
                    : 0;
}

/* ---- CPUID ---- */

static void take_entries(const struct trapeze_vtx_cpuid_entry *entries, uint32_t count,
                         struct cpuid_table *table)
{
    table->count = count < CPUID_ENTRIES_MAX ? count : CPUID_ENTRIES_MAX;
    for (unsigned int i = 0; i < table->count; i++) {
        const struct trapeze_vtx_cpuid_entry *from = &entries[i];
        table->entries[i] =
            (struct cpuid_entry){.leaf = from->leaf,
                                 .subleaf = from->subleaf,
                                 .has_subleaf = from->has_subleaf != 0,
                                 .registers = {from->eax, from->ebx, from->ecx, from->edx}};
    }
}

void vtx_cpuid_to_device(const struct cpuid_table *table, struct trapeze_vtx_cpuid_entry *entries)
{
    for (unsigned int i = 0; i < table->count; i++) {
        const struct cpuid_entry *from = &table->entries[i];
        entries[i] = (struct trapeze_vtx_cpuid_entry){.leaf = from->leaf,
                                                      .subleaf = from->subleaf,
                                                      .has_subleaf = from->has_subleaf,
                                                      .eax = from->registers.eax,
                                                      .ebx = from->registers.ebx,
                                                      .ecx = from->registers.ecx,
                                                      .edx = from->registers.edx};
    }
}

int vtx_cpuid_supported(struct engine_vm *vm, struct cpuid_table *table, struct error *error)
{
    struct trapeze_vtx_cpuid_entry entries[CPUID_ENTRIES_MAX];
    struct trapeze_vtx_cpuid argument = {.count = CPUID_ENTRIES_MAX,
                                         .entries = (uint64_t)(uintptr_t)entries};
    int code = device_ioctl(vm->device, TRAPEZE_VTX_GET_CPUID, &argument);
    if (code < 0) {
        explain(code, argument.message, sizeof(argument.message), error,
                "the module does not say which CPUID it supports");
        return failure_of_host(code);
    }
    take_entries(entries, argument.count, table);
    return 0;
}

const struct engine_ops vtx_engine = {
    .name = "vtx",
    .summary = "our own VT-x driver, through " TRAPEZE_VTX_DEVICE,
    .yields_to = "kvm",
    .probe = vtx_probe,
    .vm_create = vtx_vm_create,
    .vm_destroy = vtx_vm_destroy,
    .features = features,
    .cpuid_supported = vtx_cpuid_supported,
    .vcpu_create = vtx_vcpu_create,
    .vcpu_destroy = vtx_vcpu_destroy,
    .run = vtx_vcpu_run,
    .kick = vtx_vcpu_kick,
    .interrupt_changed = vtx_vcpu_interrupt_changed,
    .nmi = vtx_vcpu_nmi,
    .get_state = vtx_vcpu_get_state,
    .set_state = vtx_vcpu_set_state,
    .statistics = vtx_vcpu_statistics,
    .tsc_offset = vtx_vcpu_tsc_offset,
    .doorbell = vtx_doorbell,
};
