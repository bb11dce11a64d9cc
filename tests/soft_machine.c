#include "soft_machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "soft_tier.h"
#include "x86/descriptor.h"
#include "x86/registers.h"

#define PAGE_P  UINT64_C(0x01)
#define PAGE_W  UINT64_C(0x02)
#define PAGE_PS UINT64_C(0x80)
#define PAGE_AD UINT64_C(0x60)

#define TABLES UINT64_C(0x1000)
#define GDT    UINT64_C(0x5000)

/* An engine that makes one access to a device again and again must not hang the test. */
#define EXITS_MAX (UINT64_C(1) << 23)

static void complain(const char *what, const struct error *error)
{
    fprintf(stderr, "%s: %s\n", what, error->text);
}

uint64_t soft_machine_get64(const struct soft_machine *machine, uint64_t address)
{
    uint64_t value;
    memcpy(&value, machine->ram + address, sizeof(value));
    return value;
}

void soft_machine_put64(struct soft_machine *machine, uint64_t address, uint64_t value)
{
    memcpy(machine->ram + address, &value, sizeof(value));
}

static void write_page_tables(struct soft_machine *machine)
{
    soft_machine_put64(machine, TABLES, (TABLES + 0x1000) | PAGE_P | PAGE_W);
    soft_machine_put64(machine, TABLES + 0x1000, (TABLES + 0x2000) | PAGE_P | PAGE_W);
    for (uint64_t i = 0; i < 512; i++) {
        soft_machine_put64(machine, TABLES + 0x2000 + 8 * i,
                           i << 21 | PAGE_PS | PAGE_AD | PAGE_P | PAGE_W);
        soft_machine_put64(machine, MACHINE_PAGE_TABLE + 8 * i,
                           i << 12 | PAGE_AD | PAGE_P | PAGE_W);
    }
    soft_machine_put64(machine, TABLES + 0x2000, MACHINE_PAGE_TABLE | PAGE_P | PAGE_W);
    soft_machine_put64(machine, TABLES + 0x2000 + 8 * (MACHINE_ALIAS >> 21),
                       MACHINE_PAGE_TABLE | PAGE_P | PAGE_W);
}

uint64_t *soft_machine_page_entry(struct soft_machine *machine, uint64_t linear)
{
    uint64_t index = (linear & 0x1fffff) >> 12;
    return (uint64_t *)(void *)(machine->ram + MACHINE_PAGE_TABLE + 8 * index);
}

void soft_machine_set_gate(struct soft_machine *machine, unsigned int vector, uint64_t handler)
{
    uint64_t low = (handler & 0xffff) | UINT64_C(8) << 16 | UINT64_C(0x8e00) << 32 |
                   (handler >> 16 & 0xffff) << 48;
    soft_machine_put64(machine, MACHINE_IDT + 16 * vector, low);
    soft_machine_put64(machine, MACHINE_IDT + 16 * vector + 8, handler >> 32);
}

static struct x86_segment segment(uint16_t selector, uint32_t attributes)
{
    return (struct x86_segment){
        .selector = selector, .limit = UINT32_MAX, .attributes = attributes | X86_SEGMENT_P};
}

static const uint32_t code_attributes = X86_SEGMENT_S | X86_SEGMENT_G | X86_SEGMENT_L |
                                        X86_TYPE_CODE | X86_TYPE_READABLE | X86_TYPE_ACCESSED;
static const uint32_t data_attributes =
    X86_SEGMENT_S | X86_SEGMENT_G | X86_SEGMENT_DB | X86_TYPE_WRITABLE | X86_TYPE_ACCESSED;

static void write_gdt(struct soft_machine *machine)
{
    struct x86_segment code = segment(8, code_attributes), data = segment(16, data_attributes);
    soft_machine_put64(machine, GDT + 8, x86_segment_to_descriptor(&code));
    soft_machine_put64(machine, GDT + 16, x86_segment_to_descriptor(&data));
}

static void initial_state(const struct machine_cpu *cpu, struct x86_state *state)
{
    x86_state_reset(state);
    for (unsigned int i = 0; i < X86_SEGMENT_COUNT; i++) {
        state->segment[i] = segment(16, data_attributes);
    }
    state->segment[X86_CS] = segment(8, code_attributes);
    state->segment[X86_TR] = segment(0x18, X86_SYSTEM_TSS_BUSY);
    state->segment[X86_TR].limit = 0x67;
    state->gdtr = (struct x86_table_register){.base = GDT, .limit = 0x2f};
    state->idtr =
        (struct x86_table_register){.base = MACHINE_IDT, .limit = 16 * MACHINE_VECTORS - 1};
    state->cr0 = X86_CR0_PG | X86_CR0_PE | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_MP;
    state->cr3 = TABLES;
    state->cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE;
    state->xcr0 = X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX;
    state->efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE | X86_EFER_SCE;
    state->activity = X86_ACTIVE;
    memset(state->gpr, 0, sizeof(state->gpr));
    state->gpr[X86_RSP] = MACHINE_STACKS + MACHINE_STACK_BYTES * (cpu->index + 1u);
    state->gpr[X86_RDI] = cpu->rdi;
    state->gpr[X86_RSI] = cpu->rsi;
    state->rip = cpu->entry;
    state->rflags = X86_FLAGS_ONE;
}

static bool create_vm(struct soft_machine *machine)
{
    struct error error = {{0}};
    struct guestmem_options memory_options = {.shared = false};
    if (guestmem_create(&memory_options, &machine->memory, &error) != 0 ||
        guestmem_add(machine->memory, gpa(0), MACHINE_RAM, 0, &error) != 0) {
        complain("guest memory", &error);
        return false;
    }
    machine->ram = guestmem_pointer(machine->memory, gpa(0), MACHINE_RAM);
    struct engine_vm_options options = {.memory = machine->memory,
                                        .vcpu_count = machine->cpu_count,
                                        .tsc_hz = 1000000000,
                                        .arguments = soft_tier_arguments()};
    if (soft_engine.vm_create(&options, &machine->vm, &error) != 0 ||
        soft_engine.cpuid_supported(machine->vm, &machine->cpuid, &error) != 0) {
        complain("vm_create", &error);
        return false;
    }
    return true;
}

struct soft_machine *soft_machine_create(unsigned int cpu_count)
{
    struct soft_machine *machine = calloc(1, sizeof(*machine));
    if (machine == NULL) {
        return NULL;
    }
    machine->cpu_count = cpu_count;
    pthread_mutex_init(&machine->lock, NULL);
    for (unsigned int i = 0; i < cpu_count; i++) {
        machine->cpus[i].machine = machine;
        machine->cpus[i].index = i;
    }
    if (!create_vm(machine)) {
        soft_machine_destroy(machine);
        return NULL;
    }
    write_page_tables(machine);
    write_gdt(machine);
    return machine;
}

void soft_machine_destroy(struct soft_machine *machine)
{
    if (machine->vm != NULL) {
        soft_engine.vm_destroy(machine->vm);
    }
    if (machine->memory != NULL) {
        guestmem_destroy(machine->memory);
    }
    pthread_mutex_destroy(&machine->lock);
    free(machine);
}

void soft_machine_load(struct soft_machine *machine, uint64_t address, const void *bytes,
                       size_t length)
{
    guestmem_write(machine->memory, gpa(address), bytes, length);
}

static void serve(struct machine_cpu *cpu, struct vcpu_exit *exit)
{
    struct soft_machine *machine = cpu->machine;
    switch (exit->reason) {
    case EXIT_KICKED:
        cpu->kicked++;
        if (machine->kicked != NULL) {
            machine->kicked(machine->context, cpu);
        }
        return;
    case EXIT_PIO:
        if (exit->pio.port == MACHINE_EXIT_PORT && exit->pio.is_write) {
            memcpy(&cpu->result, exit->pio.data, sizeof(cpu->result));
            cpu->end = MACHINE_DONE;
            return;
        }
        break;
    case EXIT_MMIO:
        break;
    case EXIT_HLT:
        cpu->end = MACHINE_HALTED;
        return;
    case EXIT_SHUTDOWN:
        memcpy(cpu->exceptions, exit->shutdown.exceptions, sizeof(cpu->exceptions));
        cpu->end = MACHINE_SHUTDOWN;
        return;
    default:
        cpu->end = MACHINE_FAILED;
        return;
    }
    if (machine->serve != NULL) {
        machine->serve(machine->context, exit);
    }
    if (machine->kick_after_each) {
        soft_engine.kick(cpu->vcpu);
    }
}

static void run_to_end(struct machine_cpu *cpu)
{
    struct error error = {{0}};
    struct x86_state *state = &cpu->final;
    initial_state(cpu, state);
    if (soft_engine.set_state(cpu->vcpu, X86_STATE_ALL, state, &error) != 0) {
        complain("set_state", &error);
        cpu->end = MACHINE_FAILED;
        return;
    }
    struct vcpu_exit exit = {.reason = EXIT_NONE};
    for (uint64_t exits = 0; cpu->end == MACHINE_RUNNING; exits++) {
        if (exits == EXITS_MAX) {
            fprintf(stderr, "no end of exits, the last a %s\n", exit_reason_name(exit.reason));
            cpu->end = MACHINE_FAILED;
            return;
        }
        int status = soft_engine.run(cpu->vcpu, &exit, &error);
        if (status != 0) {
            complain("run", &error);
            cpu->end = MACHINE_FAILED;
            return;
        }
        serve(cpu, &exit);
    }
    soft_engine.get_state(cpu->vcpu, X86_STATE_ALL, state, &error);
}

static void *live(void *context)
{
    struct machine_cpu *cpu = context;
    struct soft_machine *machine = cpu->machine;
    struct error error = {{0}};
    struct engine_vcpu_options options = {
        .index = cpu->index, .cpuid = &machine->cpuid, .interrupts = cpu->interrupts};
    struct engine_vcpu *vcpu = NULL;
    if (soft_engine.vcpu_create(machine->vm, &options, &vcpu, &error) != 0) {
        complain("vcpu_create", &error);
        cpu->end = MACHINE_FAILED;
        return NULL;
    }
    pthread_mutex_lock(&machine->lock);
    cpu->vcpu = vcpu;
    pthread_mutex_unlock(&machine->lock);
    run_to_end(cpu);
    pthread_mutex_lock(&machine->lock);
    cpu->vcpu = NULL;
    pthread_mutex_unlock(&machine->lock);
    soft_engine.vcpu_destroy(vcpu);
    return NULL;
}

enum machine_end soft_machine_run(struct soft_machine *machine, uint64_t entry)
{
    struct machine_cpu *cpu = &machine->cpus[0];
    cpu->entry = entry;
    cpu->end = MACHINE_RUNNING;
    cpu->result = 0;
    live(cpu);
    return (enum machine_end)cpu->end;
}

void soft_machine_start(struct soft_machine *machine, unsigned int cpu, uint64_t entry)
{
    struct machine_cpu *started = &machine->cpus[cpu];
    started->entry = entry;
    started->end = MACHINE_RUNNING;
    started->result = 0;
    started->started = pthread_create(&started->thread, NULL, live, started) == 0;
}

void soft_machine_wait(struct soft_machine *machine, unsigned int cpu)
{
    if (machine->cpus[cpu].started) {
        pthread_join(machine->cpus[cpu].thread, NULL);
        machine->cpus[cpu].started = false;
    }
}

static void tell(struct soft_machine *machine, unsigned int cpu,
                 void (*operation)(struct engine_vcpu *vcpu))
{
    pthread_mutex_lock(&machine->lock);
    if (machine->cpus[cpu].vcpu != NULL) {
        operation(machine->cpus[cpu].vcpu);
    }
    pthread_mutex_unlock(&machine->lock);
}

void soft_machine_kick(struct soft_machine *machine, unsigned int cpu)
{
    tell(machine, cpu, soft_engine.kick);
}

void soft_machine_interrupt_changed(struct soft_machine *machine, unsigned int cpu)
{
    tell(machine, cpu, soft_engine.interrupt_changed);
}
