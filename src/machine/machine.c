#include "machine/machine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "boot/layout.h"
#include "machine/cpu_model.h"
#include "machine/cpu_template.h"
#include "machine/pc.h"

#define RANDOM_SEED_SIZE 64

struct machine {
    struct vm *vm;
    struct console *console;
    struct boot_memory_layout layout;
    uint64_t tsc_hz;
    /* Of clock_now_ns, 0 before; whoever wants statistics reads them at any time. */
    _Atomic uint64_t started_ns;
    _Atomic uint64_t stopped_ns;
    bool is_paused_by_key; /* the console's thread */
    struct pc pc;
};

/* ---- making ---- */

static int make_memory(struct machine *machine, uint64_t bytes, struct guestmem **memory,
                       struct error *error)
{
    int result = boot_memory_layout_make(bytes, &machine->layout, error);
    if (result != 0) {
        return result;
    }
    struct guestmem_options options = {.shared = false};
    result = guestmem_create(&options, memory, error);
    for (unsigned int i = 0; result == 0 && i < machine->layout.slot_count; i++) {
        const struct boot_memory_slot *slot = &machine->layout.slots[i];
        result = guestmem_add(*memory, slot->base, slot->length, 0, error);
        if (result != 0) {
            guestmem_destroy(*memory);
        }
    }
    return result;
}

static int make_vm(struct machine *machine, const struct machine_options *options,
                   struct error *error)
{
    struct guestmem *memory;
    int result = make_memory(machine, options->memory_bytes, &memory, error);
    if (result != 0) {
        return result;
    }
    struct vm_options vm_options = {.engine = options->engine,
                                    .engine_arguments = options->engine_arguments,
                                    .trap = options->trap,
                                    .memory = memory,
                                    .vcpu_count = options->vcpu_count,
                                    .affinity = options->affinity,
                                    .affinity_count = options->affinity_count,
                                    .tsc_hz = machine->tsc_hz,
                                    .trace = options->trace};
    result = vm_create(&vm_options, &machine->vm, error);
    if (result != 0) {
        guestmem_destroy(memory);
    }
    return result;
}

static int make_cpuid(struct machine *machine, const char *model, struct error *error)
{
    struct vm *vm = machine->vm;
    struct cpu_template template = {
        .vcpu_count = vm->vcpu_count,
        .tsc_hz = machine->tsc_hz,
        .has_local_apic = (vm->engine_features & ENGINE_HAS_LOCAL_APICS) == 0,
        .has_x2apic = (vm->engine_features & ENGINE_LACKS_APIC_MSRS) == 0,
        .has_tsc_deadline =
            vm->engine->tsc_offset != NULL && (vm->engine_features & ENGINE_LACKS_APIC_MSRS) == 0,
        .has_clock = (vm->engine_features & ENGINE_HAS_CLOCK) != 0,
    };
    int result = model != NULL ? cpu_model_apply(model, vm->cpuid, error) : 0;
    for (unsigned int i = 0; result == 0 && i < vm->vcpu_count; i++) {
        result = cpu_template_apply(&template, i, vm->cpuid, &vm->vcpus[i].cpuid, error);
    }
    if (result == 0) {
        cpu_model_log(&vm->vcpus[0].cpuid);
    }
    return result;
}

/* What devices call when the run is over, with the device lock held. */
static void stopped_by_device(void *context, enum vm_outcome outcome, int code)
{
    machine_stop(context, outcome, code, NULL);
}

static int make_pc(struct machine *machine, const struct machine_options *options,
                   struct error *error)
{
    struct pc_config config = {
        .vm = machine->vm,
        .tsc_hz = machine->tsc_hz,
        .physical_address_bits = cpu_template_physical_bits(machine->vm->cpuid),
        .memory_below_4g = machine->layout.low_ram_end,
        .memory_above_4g = machine->layout.high_ram_end - BOOT_FOUR_GIB,
        .debug_exit_port = options->debug_exit_port,
        .has_test_device = options->has_test_device,
        .console = console_character_backend(options->console),
        .control = {.stop = stopped_by_device, .context = machine},
    };
    return pc_init(&machine->pc, &config, error);
}

int machine_create(const struct machine_options *options, struct machine **out, struct error *error)
{
    struct machine *machine = calloc(1, sizeof(*machine));
    if (machine == NULL) {
        return error_set(error, ENOMEM, "no memory for the machine");
    }
    machine->console = options->console;
    machine->tsc_hz = clock_tsc_hz(NULL);
    int result = make_vm(machine, options, error);
    if (result == 0) {
        result = make_cpuid(machine, options->cpu, error);
    }
    if (result == 0) {
        result = make_pc(machine, options, error);
    }
    if (result != 0) {
        machine_destroy(machine);
        return result;
    }
    *out = machine;
    return 0;
}

int machine_load(struct machine *machine, const struct boot_request *request, struct error *error)
{
    uint8_t seed[RANDOM_SEED_SIZE];
    ssize_t seed_length = getrandom(seed, sizeof(seed), 0);
    struct vm *vm = machine->vm;
    struct acpi_config acpi = pc_acpi_config(vm->vcpu_count);
    struct boot_request complete = *request;
    complete.layout = &machine->layout;
    complete.acpi = &acpi;
    complete.random_seed = seed_length > 0 ? seed : NULL;
    complete.random_seed_length = seed_length > 0 ? (size_t)seed_length : 0;
    int result = boot_load(&complete, vm->memory, &vm->vcpus[0].initial, error);
    for (unsigned int i = 1; i < vm->vcpu_count; i++) {
        boot_firmware_msrs(&vm->vcpus[i].initial.msr);
    }
    return result;
}

/* ---- running ---- */

static size_t deliver_input(void *context, const uint8_t *bytes, size_t count)
{
    struct machine *machine = context;
    pthread_mutex_lock(&machine->vm->device_lock);
    struct character_device device = uart_character_device(&machine->pc.com1);
    size_t room = device.room(device.context);
    size_t taken = count < room ? count : room;
    if (taken != 0) {
        device.receive(device.context, bytes, taken);
    }
    pthread_mutex_unlock(&machine->vm->device_lock);
    return taken;
}

static void quit_typed(void *context)
{
    machine_stop(context, VM_QUIT, 0, "Ctrl-A x");
}

/* The console's thread. */
static bool pause_typed(void *context)
{
    struct machine *machine = context;
    if (machine->is_paused_by_key) {
        vm_resume(machine->vm);
        machine->is_paused_by_key = false;
    } else {
        machine->is_paused_by_key = true;
        vm_pause(machine->vm);
    }
    return machine->is_paused_by_key;
}

static void console_failed(void *context, const char *text)
{
    machine_stop(context, VM_ENGINE_FAILED, EIO, text);
}

int machine_start(struct machine *machine, struct error *error)
{
    struct console_events events = {.deliver = deliver_input,
                                    .quit = quit_typed,
                                    .pause = pause_typed,
                                    .failed = console_failed,
                                    .context = machine};
    int result = console_start(machine->console, &events, error);
    if (result != 0) {
        return result;
    }
    atomic_store(&machine->started_ns, clock_now_ns());
    return vm_start(machine->vm, error);
}

/*
 * A kernel that panics and then resets asks for a reset like any other; its last words tell. They
 * are worth telling with other ends, too.
 */
void machine_stop(struct machine *machine, enum vm_outcome outcome, int code, const char *text)
{
    const char *words = console_panic_words(machine->console);
    if (words != NULL && outcome == VM_RESET) {
        outcome = VM_PANICKED;
    }
    if (words != NULL && (outcome == VM_PANICKED || outcome == VM_TIMED_OUT)) {
        text = words;
    }
    vm_stop(machine->vm, outcome, code, text);
}

void machine_wait(struct machine *machine, struct machine_result *result)
{
    struct vm *vm = machine->vm;
    enum vm_outcome outcome = vm_wait(vm);
    atomic_store(&machine->stopped_ns, clock_now_ns());
    *result = (struct machine_result){.outcome = outcome, .code = vm->outcome_code};
    memcpy(result->text, vm->outcome_text, sizeof(result->text));
    struct error error;
    if (console_finish(machine->console, &error) != 0 && outcome != VM_ENGINE_FAILED) {
        result->outcome = VM_ENGINE_FAILED;
        snprintf(result->text, sizeof(result->text), "%s", error.text);
    }
}

void machine_pause(struct machine *machine, bool pause)
{
    if (pause) {
        vm_pause(machine->vm);
    } else {
        vm_resume(machine->vm);
    }
}

struct vm *machine_vm(struct machine *machine)
{
    return machine->vm;
}

void machine_print_stats(struct machine *machine, FILE *out)
{
    struct vm *vm = machine->vm;
    if (atomic_load(&machine->stopped_ns) == 0) {
        vm_update_stats(vm);
    }
    uint64_t instructions = 0;
    for (unsigned int i = 0; i < vm->vcpu_count; i++) {
        instructions += atomic_load(&vm->vcpus[i].instructions);
    }
    uint64_t started = atomic_load(&machine->started_ns);
    uint64_t stopped = atomic_load(&machine->stopped_ns);
    uint64_t until = stopped != 0 ? stopped : clock_now_ns();
    double seconds = started != 0 ? (double)(until - started) / 1e9 : 0;
    vm_print_stats(vm, out);
    fprintf(out, "ran for %.3f s on the engine %s, %u vCPU%s\n", seconds, vm->engine->name,
            vm->vcpu_count, vm->vcpu_count == 1 ? "" : "s");
    if (instructions != 0 && seconds > 0) {
        fprintf(out, "guest instructions: %" PRIu64 ", %.1f million a second\n", instructions,
                (double)instructions / seconds / 1e6);
    }
}

void machine_destroy(struct machine *machine)
{
    if (machine == NULL) {
        return;
    }
    if (machine->console != NULL) {
        struct error ignored;
        /* Its thread calls into the machine; what went wrong was told by machine_wait. */
        console_finish(machine->console, &ignored);
    }
    vm_destroy(machine->vm);
    free(machine);
}
