#include "vtx/bare/guest_machine.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "boot/boot.h"
#include "cli/outcome_report.h"
#include "machine/cpu_template.h"
#include "vm/vcpu_exit.h"
#include "vm/vm_timers.h"
#include "vtx/bare/console.h"
#include "vtx/bare/ports.h"
#include "vtx/bare/services.h"
#include "vtx/bare/show.h"
#include "vtx/core/injection.h"
#include "x86/vmx_text.h"

#define ESCAPE_KEY       1 /* Ctrl-A: x after it ends the guest */
#define INPUT_BYTES_MAX  16
#define LEAF_TSC         0x15u
#define LEAF_FREQUENCY   0x16u
#define BUS_MHZ          100
#define DEBUG_EXIT       0xf4
#define WATCH_HZ         20
#define TSC_LEAF_MAXIMUM UINT64_C(0xffffffff)

/* ---- making ---- */

/* machine/interrupts.c asks for it when the guest writes its TSC deadline. */
static uint64_t tsc_offset(const struct engine_vcpu *vcpu)
{
    return ((const struct vtx_vcpu *)(const void *)vcpu)->tsc_offset;
}

/* What the shared code asks an engine in src/engines; the rest this image does itself. */
static const struct engine_ops engine = {.name = "vtx", .tsc_offset = tsc_offset};

static size_t write_console(void *context, const uint8_t *bytes, size_t length)
{
    panic_watcher_see(&((struct guest_machine *)context)->panic, bytes, length);
    console_write(bytes, length);
    return length;
}

static void stopped_by_device(void *context, enum vm_outcome outcome, int code)
{
    struct guest_machine *machine = context;
    const char *words = panic_watcher_words(&machine->panic);
    bool panicked = outcome == VM_PANICKED || (outcome == VM_RESET && words != NULL);
    vm_stop(&machine->vm, panicked ? VM_PANICKED : outcome, code, panicked ? words : NULL);
}

/*
 * How fast the TSC runs, so that the guest need not measure it: "Time Stamp Counter and Nominal
 * Core Crystal Clock Information Leaf", "Processor Frequency Information Leaf".
 */
static bool tell_frequency(struct cpuid_table *table, uint64_t tsc_hz)
{
    struct cpuid_entry *basic = cpuid_find(table, 0, 0);
    if (basic == NULL || tsc_hz > TSC_LEAF_MAXIMUM) {
        return true; /* the guest will measure */
    }
    if (basic->registers.eax < LEAF_FREQUENCY) {
        basic->registers.eax = LEAF_FREQUENCY;
    }
    uint32_t mhz = (uint32_t)(tsc_hz / 1000000u);
    struct cpuid_registers crystal = {.eax = 1, .ebx = 1, .ecx = (uint32_t)tsc_hz};
    struct cpuid_registers frequency = {.eax = mhz, .ebx = mhz, .ecx = BUS_MHZ};
    return cpuid_set(table, LEAF_TSC, 0, false, crystal) &&
           cpuid_set(table, LEAF_FREQUENCY, 0, false, frequency);
}

/* CPUID: what processor and core can do, made into a PC's. */
static bool make_cpuid(struct guest_machine *machine, uint64_t tsc_hz, struct error *error)
{
    static struct cpuid_table supported; /* too large for the stack */
    memset(&supported, 0, sizeof(supported));
    vtx_cpuid_supported(&machine->root->capabilities, &supported);
    struct cpu_template template = {.vcpu_count = 1,
                                    .tsc_hz = tsc_hz,
                                    .has_local_apic = true,
                                    .has_x2apic = true,
                                    .has_tsc_deadline = true};
    if (cpu_template_apply(&template, 0, &supported, &machine->cpuid, error) != 0) {
        return false;
    }
    if (!tell_frequency(&machine->cpuid, tsc_hz)) {
        error_set(error, ENOSPC, "the table of CPUID leaves is full");
        return false;
    }
    return true;
}

static bool make_vtx(struct guest_machine *machine, const struct guest_options *options,
                     struct error *error)
{
    struct root_mode *root = machine->root;
    struct vtx_memory_slot slot = {.start = 0, .length = options->memory};
    if (vtx_vm_create(&machine->vtx_vm, &root->host, &root->capabilities, options->policy) !=
            VTX_OK ||
        vtx_vm_set_memory(&machine->vtx_vm, &slot, 1) != VTX_OK ||
        vtx_ept_map(&machine->vtx_vm.ept, 0, (uint64_t)options->piece, options->memory, VTX_EPT_ALL,
                    VTX_WRITE_BACK, VTX_SIZE_1G) != VTX_OK) {
        error_set(error, ENOMEM,
                  "there is no memory for the guest's page tables: give the machine more");
        return false;
    }
    struct vtx_vcpu_options vcpu = {.vm = &machine->vtx_vm, .cpuid = &machine->cpuid, .vpid = 1};
    return vtx_vcpu_create(&machine->vcpu, &vcpu, error) == VTX_OK;
}

static bool make_pc(struct guest_machine *machine, uint64_t tsc_hz, struct error *error)
{
    struct vm *vm = &machine->vm;
    vm->engine = &engine;
    vm->memory = &machine->memory;
    vm->vcpu_count = 1;
    vm->vcpus[0].vm = vm;
    vm->vcpus[0].engine_vcpu = (struct engine_vcpu *)(void *)&machine->vcpu;
    bus_init(&vm->ports, "port");
    bus_init(&vm->mmio, "memory");
    if (vm_timers_create(services_event_loop(), &vm->device_lock, &vm->timers, error) != 0) {
        return false;
    }
    struct pc_config config = {.vm = vm,
                               .tsc_hz = tsc_hz,
                               .physical_address_bits = cpu_template_physical_bits(&machine->cpuid),
                               .memory_below_4g = machine->layout.low_ram_end,
                               .debug_exit_port = DEBUG_EXIT,
                               .console = {.write = write_console, .context = machine},
                               .control = {.stop = stopped_by_device, .context = machine}};
    return pc_init(&machine->pc, &config, error) == 0;
}

bool guest_machine_create(struct guest_machine *machine, struct root_mode *root,
                          const struct guest_options *options, struct error *error)
{
    uint64_t tsc_hz = clock_tsc_hz(NULL);
    memset(machine, 0, sizeof(*machine));
    machine->root = root;
    machine->to_show = options->to_show;
    machine->memory.slot = (struct memory_slot){.length = options->memory, .host = options->piece};
    return boot_memory_layout_make(options->memory, &machine->layout, error) == 0 &&
           make_cpuid(machine, tsc_hz, error) && make_vtx(machine, options, error) &&
           make_pc(machine, tsc_hz, error);
}

void guest_machine_destroy(struct guest_machine *machine)
{
    vtx_vcpu_destroy(&machine->vcpu);
    vtx_vm_destroy(&machine->vtx_vm);
    vm_timers_destroy(machine->vm.timers);
}

bool guest_machine_load(struct guest_machine *machine, struct boot_request *request,
                        struct error *error)
{
    struct acpi_config acpi = pc_acpi_config(1);
    request->layout = &machine->layout;
    request->acpi = &acpi;
    struct x86_state *initial = &machine->vm.vcpus[0].initial;
    if (boot_load(request, &machine->memory, initial, error) != 0) {
        return false;
    }
    if (vtx_vcpu_load(&machine->vcpu, &machine->root->processors[0], error) != VTX_OK) {
        return false;
    }
    vtx_vcpu_set_state(&machine->vcpu, X86_STATE_ALL, initial);
    return true;
}

/* ---- running ---- */

/* Keys for the guest's UART; Ctrl-A x ends the run, as with `trapeze run`. */
static void take_input(struct guest_machine *machine)
{
    static const char ended[] = "Ctrl-A x";
    size_t room = uart_receive_room(&machine->pc.com1);
    for (unsigned int i = 0; i < INPUT_BYTES_MAX && room > 0; i++, room--) {
        int key = console_read();
        if (key < 0) {
            return;
        }
        bool escaped = machine->escaped;
        machine->escaped = !escaped && key == ESCAPE_KEY;
        if (escaped && key == 'x') {
            vm_stop(&machine->vm, VM_QUIT, 0, ended);
        } else if (!machine->escaped) {
            uint8_t byte = (uint8_t)key;
            uart_receive(&machine->pc.com1, &byte, 1);
        }
    }
}

/* After an interrupt of the machine: what it may have been about. */
static void look_around(struct guest_machine *machine)
{
    processor_let_interrupts_in();
    take_input(machine);
    services_run_deadline(services_event_loop());
}

/* Gives the guest the interrupt that its local APIC has for it, or asks to be told when it can. */
static void offer_interrupt(struct vtx_vcpu *vcpu, const struct interrupt_source *source)
{
    if (!source->pending(source->context)) {
        return;
    }
    if (!vtx_can_interrupt(vcpu)) {
        vtx_want_interrupt_window(vcpu, true);
        return;
    }
    int vector = source->acknowledge(source->context);
    if (vector >= 0) {
        vtx_inject_interrupt(vcpu, (uint8_t)vector);
    }
}

/* HLT: sleeps until an interrupt is there for the guest. */
static void halt(struct guest_machine *machine, const struct interrupt_source *source)
{
    struct vm *vm = &machine->vm;
    vtx_vcpu_complete(&machine->vcpu);
    if (!vtx_can_interrupt(&machine->vcpu)) {
        vm_stop_by(vm, 0, VM_STUCK, 0, NULL);
    }
    while (vm->outcome == VM_RUNNING && !source->pending(source->context)) {
        processor_sleep();
        look_around(machine);
    }
}

static void serve_exit(struct guest_machine *machine, const struct interrupt_source *source)
{
    struct vcpu *vcpu = &machine->vm.vcpus[0];
    if (machine->vcpu.exit.reason == EXIT_HLT) {
        halt(machine, source);
        return;
    }
    if (machine->vcpu.exit.reason == EXIT_KICKED) {
        look_around(machine);
        return;
    }
    vcpu->exit = machine->vcpu.exit;
    vcpu_serve_exit(vcpu);
    machine->vcpu.exit = vcpu->exit;
}

/* vtx_vcpu_run, shown as long as trace=N wants it. */
static enum vtx_outcome enter_guest(struct guest_machine *machine)
{
    if (machine->shown == machine->to_show) {
        return vtx_vcpu_run(&machine->vcpu);
    }
    machine->shown++;
    show_entry(&machine->vcpu, machine->shown);
    enum vtx_outcome outcome = vtx_vcpu_run(&machine->vcpu);
    show_exit(&machine->vcpu, machine->shown, outcome);
    return outcome;
}

static void run_once(struct guest_machine *machine, const struct interrupt_source *source)
{
    struct vtx_vcpu *vcpu = &machine->vcpu;
    offer_interrupt(vcpu, source);
    uint8_t cr8 = source->get_cr8(source->context);
    vcpu->cr8 = cr8;
    enum vtx_outcome outcome = enter_guest(machine);
    if (vcpu->cr8 != cr8) {
        source->set_cr8(source->context, vcpu->cr8);
    }
    switch (outcome) {
    case VTX_EXIT:
        serve_exit(machine, source);
        break;
    case VTX_INTERRUPT:
        look_around(machine);
        break;
    case VTX_MEMORY: /* all of it was mapped at the start */
    default:
        vm_stop_by(&machine->vm, 0, VM_ENGINE_FAILED, 0, "guest memory is not mapped");
        break;
    }
}

enum vm_outcome guest_machine_run(struct guest_machine *machine, uint64_t limit_ns)
{
    struct vm *vm = &machine->vm;
    const struct interrupt_source *source = vm->platform.interrupts(vm->platform.context, 0);
    uint64_t end = limit_ns != 0 ? clock_now_ns() + limit_ns : UINT64_MAX;
    /* Bochs 2.7 does not let the machine's interrupts end a guest's run while IF is clear. */
    vtx_set_timer(&machine->vcpu, clock_tsc_hz(NULL) / WATCH_HZ);
    vtx_vcpu_enter_context(&machine->vcpu);
    while (vm->outcome == VM_RUNNING) {
        run_once(machine, source);
        if (end != UINT64_MAX && clock_now_ns() > end) {
            vm_stop(vm, VM_TIMED_OUT, 0, NULL);
        }
    }
    vtx_vcpu_leave_context(&machine->vcpu);
    vtx_vcpu_unload(&machine->vcpu);
    return vm->outcome;
}

/* ---- afterwards ---- */

int guest_machine_outcome(const struct guest_machine *machine, char *text, size_t size)
{
    const struct vm *vm = &machine->vm;
    outcome_sentence(vm->outcome, vm->outcome_code, vm->outcome_text, text, size);
    return outcome_exit_code(vm->outcome, vm->outcome_code);
}

void guest_machine_print_exits(const struct guest_machine *machine)
{
    const struct vtx_vcpu *vcpu = &machine->vcpu;
    print("  %-32s %12s\n", "VM exits", "count");
    for (uint32_t reason = 0; reason < VMX_REASON_COUNT; reason++) {
        if (vcpu->exits[reason] != 0) {
            print("  %-32s %12lu\n", vmx_reason_name(reason), vcpu->exits[reason]);
        }
    }
    print("  %-32s %12lu\n", "entries", vcpu->entries);
    print("  %-32s %12lu\n", "resolved in the core", vcpu->exits_inside);
}
