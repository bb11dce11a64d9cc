/* The PC's wiring, driven through its buses with no CPU behind it; CPUID for each vCPU; page walks
 * for reports. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "check.h"
#include "engines/null/null.h"
#include "machine/cpu_template.h"
#include "machine/linear_memory.h"
#include "machine/machine.h"

/* ---- CPUID ---- */

static struct cpuid_table supported_table(void)
{
    struct cpuid_table table = {0};
    cpuid_set(&table, 0, 0, false, (struct cpuid_registers){.eax = 7});
    cpuid_set(&table, 1, 0, false,
              (struct cpuid_registers){.ebx = 0xff00ff00, .ecx = 1u << 24, .edx = 1u << 28});
    cpuid_set(&table, 4, 0, true, (struct cpuid_registers){.eax = 0xfc004121});
    cpuid_set(&table, 4, 1, true, (struct cpuid_registers){.eax = 0x00004163});
    cpuid_set(&table, 0x80000000, 0, false, (struct cpuid_registers){.eax = 0x80000008});
    cpuid_set(&table, 0x80000001, 0, false, (struct cpuid_registers){.ecx = 1u << 22});
    cpuid_set(&table, 0x80000008, 0, false, (struct cpuid_registers){.eax = 0x3027, .ecx = 0x7fff});
    return table;
}

static const struct cpu_template six_cpus = {.vcpu_count = 6,
                                             .tsc_hz = 2500000000,
                                             .has_local_apic = true,
                                             .has_x2apic = true,
                                             .has_tsc_deadline = true,
                                             .has_clock = true};

static void test_topology(void)
{
    struct cpuid_table supported = supported_table();
    struct cpuid_table table;
    struct error error;
    CHECK_EQUAL(cpu_template_apply(&six_cpus, 3, &supported, &table, &error), 0);
    struct cpuid_registers features = cpuid_answer(&table, 1, 0);
    CHECK_EQUAL(features.ebx, 0x0308ff00); /* id 3; ids for 8; the rest as it was */
    CHECK_EQUAL(features.edx, 1u << 28 | 1u << 9);
    CHECK_EQUAL(features.ecx, 1u << 31 | 1u << 24 | 1u << 21);
    CHECK_EQUAL(cpuid_answer(&table, 0, 0).eax, 0xb);
    CHECK_EQUAL(cpuid_answer(&table, 4, 0).eax, 7u << 26 | 0x121);            /* its own */
    CHECK_EQUAL(cpuid_answer(&table, 4, 1).eax, 7u << 26 | 7u << 14 | 0x163); /* shared */
    CHECK_EQUAL(cpuid_answer(&table, 0xb, 0).ebx, 1);
    CHECK_EQUAL(cpuid_answer(&table, 0xb, 1).eax, 3);
    CHECK_EQUAL(cpuid_answer(&table, 0xb, 1).ebx, 6);
    CHECK_EQUAL(cpuid_answer(&table, 0xb, 1).edx, 3);
    CHECK_EQUAL(cpuid_answer(&table, 0xb, 2).ecx, 2);
    CHECK_EQUAL(cpuid_answer(&table, 0x80000008, 0).ecx, 3u << 12 | 5);
    CHECK_EQUAL(cpuid_answer(&table, 0x80000001, 0).ecx, 2); /* TOPOEXT is gone */
    CHECK_EQUAL(cpu_template_physical_bits(&table), 0x27);
}

static void test_one_cpu(void)
{
    struct cpuid_table supported = supported_table();
    struct cpuid_table table;
    struct error error;
    struct cpu_template one = {.vcpu_count = 1, .has_local_apic = true, .has_x2apic = true};
    CHECK_EQUAL(cpu_template_apply(&one, 0, &supported, &table, &error), 0);
    struct cpuid_registers features = cpuid_answer(&table, 1, 0);
    CHECK_EQUAL(features.ebx, 0x0001ff00);
    CHECK_EQUAL(features.edx, 1u << 9);
    CHECK_EQUAL(features.ecx, 1u << 31 | 1u << 21); /* no TSC-deadline timer */
    CHECK_EQUAL(cpuid_answer(&table, 0x40000000, 0).eax, 0);
    CHECK_EQUAL(cpuid_answer(&table, 0x80000001, 0).ecx, 0);
}

static void test_hypervisor(void)
{
    struct cpuid_table supported = supported_table();
    struct cpuid_table table;
    struct error error;
    cpu_template_apply(&six_cpus, 0, &supported, &table, &error);
    struct cpuid_registers head = cpuid_answer(&table, 0x40000000, 0);
    CHECK_EQUAL(head.eax, 0x40000010);
    CHECK(memcmp(&head.ebx, "KVMK", 4) == 0 && memcmp(&head.ecx, "VMKV", 4) == 0);
    CHECK_EQUAL(head.edx, 'M');
    CHECK_EQUAL(cpuid_answer(&table, 0x40000001, 0).eax, 1u << 24 | 1u << 3 | 1u << 1);
    CHECK_EQUAL(cpuid_answer(&table, 0x40000010, 0).eax, 2500000);
    /* What an engine says of itself stays. */
    cpuid_set(&supported, 0x40000000, 0, false, (struct cpuid_registers){.eax = 0x40000001});
    cpuid_set(&supported, 0x40000001, 0, false, (struct cpuid_registers){.eax = 0x1234});
    cpu_template_apply(&six_cpus, 0, &supported, &table, &error);
    CHECK_EQUAL(cpuid_answer(&table, 0x40000001, 0).eax, 0x1234);

    for (uint32_t leaf = 0x100; supported.count < CPUID_ENTRIES_MAX; leaf++) {
        cpuid_set(&supported, leaf, 0, false, (struct cpuid_registers){0});
    }
    CHECK_EQUAL(cpu_template_apply(&six_cpus, 0, &supported, &table, &error), -ENOSPC);
}

/* ---- linear addresses ---- */

static void put(struct guestmem *memory, uint64_t address, uint64_t value, size_t size)
{
    CHECK_EQUAL(guestmem_write(memory, gpa(address), &value, size), 0);
}

static void test_linear(void)
{
    struct guestmem *memory;
    struct error error;
    struct guestmem_options options = {.shared = false};
    if (!CHECK(guestmem_create(&options, &memory, &error) == 0 &&
               guestmem_add(memory, gpa(0), 1 << 20, 0, &error) == 0)) {
        exit(1);
    }
    struct x86_state state;
    x86_state_reset(&state);
    char buffer[8] = {0};
    put(memory, 0x5ffc, 0x64636261, 4);
    put(memory, 0x9000, 0x68676665, 4);

    /* No paging: what is there is there, up to the end of memory. */
    CHECK_EQUAL(linear_read(memory, &state, 0x5ffc, buffer, 4), 4);
    CHECK(memcmp(buffer, "abcd", 4) == 0);
    CHECK_EQUAL(linear_read(memory, &state, 0xffffe, buffer, 8), 2);

    /* 64-bit: two neighbours that lie apart, and a third that is not there. */
    state.cr0 = X86_CR0_PE | X86_CR0_PG;
    state.cr4 = X86_CR4_PAE;
    state.efer = X86_EFER_LME | X86_EFER_LMA;
    state.cr3 = 0x1000;
    put(memory, 0x1000 + 8 * 511, 0x2003, 8);
    put(memory, 0x2000 + 8 * 510, 0x3003, 8);
    put(memory, 0x3000, 0x4003, 8);
    put(memory, 0x4000, 0x5003, 8);
    put(memory, 0x4008, 0x9003, 8);
    uint64_t linear = UINT64_C(0xffffffff80000ffc);
    memset(buffer, 0, sizeof(buffer));
    CHECK_EQUAL(linear_read(memory, &state, linear, buffer, 8), 8);
    CHECK(memcmp(buffer, "abcdefgh", 8) == 0);
    CHECK_EQUAL(linear_read(memory, &state, linear + 0x1000, buffer, 8), 4);
    CHECK_EQUAL(linear_read(memory, &state, 0x1000, buffer, 8), 0);
    uint64_t entry;
    guestmem_read(memory, gpa(0x4000), &entry, 8);
    CHECK_EQUAL(entry, 0x5003); /* a look leaves no accessed flag */

    /* PAE. */
    state.efer = 0;
    state.cr3 = 0x1020;
    put(memory, 0x1020 + 8, 0x3001, 8);
    CHECK_EQUAL(linear_read(memory, &state, 0x40000ffc, buffer, 8), 8);
    CHECK(memcmp(buffer, "abcdefgh", 8) == 0);

    /* 32-bit. */
    state.cr4 = X86_CR4_PSE;
    state.cr3 = 0x6000;
    put(memory, 0x6000 + 4 * 3, 0x83, 4); /* 4 MiB at 0 */
    CHECK_EQUAL(linear_read(memory, &state, 0xc05ffc, buffer, 4), 4);
    CHECK(memcmp(buffer, "abcd", 4) == 0);
    guestmem_destroy(memory);
}

/* ---- a machine ---- */

struct fixture {
    struct console *console;
    struct machine *machine;
    struct vm *vm;
    char path[64];
};

static void set_up(struct fixture *fixture, unsigned int vcpu_count)
{
    struct error error = {{0}};
    static const char spin[] = {(char)0xeb, (char)0xfe};
    strcpy(fixture->path, "/tmp/trapeze-machine-XXXXXX");
    int file = mkstemp(fixture->path);
    CHECK_EQUAL(write(file, spin, sizeof(spin)), sizeof(spin));
    close(file);
    bool good = console_open("none", &fixture->console, &error) == 0;
    struct machine_options options = {.engine = &null_engine,
                                      .memory_bytes = 16 << 20,
                                      .vcpu_count = vcpu_count,
                                      .debug_exit_port = 0xf4,
                                      .console = fixture->console};
    struct boot_request request = {.kernel = fixture->path,
                                   .protocol = BOOT_PROTOCOL_FLAT,
                                   .flat_mode = BOOT_MODE_LONG,
                                   .flat_address = 0x10000};
    good = good && machine_create(&options, &fixture->machine, &error) == 0 &&
           machine_load(fixture->machine, &request, &error) == 0;
    if (!CHECK(good)) {
        fprintf(stderr, "    %s\n", error.text);
        exit(1);
    }
    fixture->vm = machine_vm(fixture->machine);
}

static void tear_down(struct fixture *fixture)
{
    machine_destroy(fixture->machine);
    console_close(fixture->console);
    unlink(fixture->path);
}

static void serve(struct fixture *fixture, struct bus *bus, uint64_t address,
                  struct bus_access *access)
{
    pthread_mutex_lock(&fixture->vm->device_lock);
    bus_serve(bus, address, access);
    pthread_mutex_unlock(&fixture->vm->device_lock);
}

static void out(struct fixture *fixture, uint16_t port, uint8_t size, uint32_t value)
{
    struct bus_access access = {.value = value, .size = size, .is_write = true};
    serve(fixture, &fixture->vm->ports, port, &access);
}

static uint32_t in(struct fixture *fixture, uint16_t port, uint8_t size)
{
    struct bus_access access = {.size = size};
    serve(fixture, &fixture->vm->ports, port, &access);
    return (uint32_t)(access.value & (size == 4 ? 0xffffffffu : (1u << (8 * size)) - 1));
}

static void say(struct fixture *fixture, const char *text)
{
    for (; *text != '\0'; text++) {
        out(fixture, 0x3f8, 1, (uint8_t)*text);
    }
}

/* Runs a machine, lets it do something, and returns how it ended. */
static struct machine_result ended_by(void (*act)(struct fixture *fixture))
{
    struct fixture fixture;
    struct error error;
    struct machine_result result = {.outcome = VM_RUNNING};
    set_up(&fixture, 1);
    CHECK_EQUAL(machine_start(fixture.machine, &error), 0);
    act(&fixture);
    machine_wait(fixture.machine, &result);
    tear_down(&fixture);
    return result;
}

static void act_debug_exit(struct fixture *fixture)
{
    out(fixture, 0xf4, 4, 0x1234);
}

static void act_power_off(struct fixture *fixture)
{
    out(fixture, 0x604, 2, 5 << 10 | 1 << 13);
}

static void act_reset(struct fixture *fixture)
{
    out(fixture, 0xcf8, 4, 0x80000600); /* a PCI address, not a reset */
    out(fixture, 0xcf9, 1, 6);
}

static void act_keyboard_reset(struct fixture *fixture)
{
    out(fixture, 0x64, 1, 0xfe);
}

static void act_panic(struct fixture *fixture)
{
    say(fixture, "Kernel panic - not syncing: out of ideas\r\n");
    out(fixture, 0xcf9, 1, 6);
}

static void act_pvpanic(struct fixture *fixture)
{
    say(fixture, "Kernel panic - not syncing: words\r\n");
    out(fixture, 0x505, 1, 1);
}

static void act_two_ends(struct fixture *fixture)
{
    machine_stop(fixture->machine, VM_QUIT, 0, "first");
    out(fixture, 0xf4, 1, 1);
}

static void act_time_out_after_panic(struct fixture *fixture)
{
    say(fixture, "Kernel panic - not syncing: for ever\r\n");
    machine_stop(fixture->machine, VM_TIMED_OUT, 0, NULL);
}

static void test_outcomes(void)
{
    struct machine_result result = ended_by(act_debug_exit);
    CHECK(result.outcome == VM_DEBUG_EXIT && result.code == 0x1234);
    CHECK_EQUAL(ended_by(act_power_off).outcome, VM_POWERED_OFF);
    CHECK_EQUAL(ended_by(act_reset).outcome, VM_RESET);
    CHECK_EQUAL(ended_by(act_keyboard_reset).outcome, VM_RESET);
    result = ended_by(act_panic);
    CHECK_EQUAL(result.outcome, VM_PANICKED);
    CHECK(strcmp(result.text, "Kernel panic - not syncing: out of ideas") == 0);
    result = ended_by(act_pvpanic);
    CHECK_EQUAL(result.outcome, VM_PANICKED);
    CHECK(strcmp(result.text, "Kernel panic - not syncing: words") == 0);
    result = ended_by(act_two_ends);
    CHECK(result.outcome == VM_QUIT && strcmp(result.text, "first") == 0);
    result = ended_by(act_time_out_after_panic);
    CHECK(result.outcome == VM_TIMED_OUT && strstr(result.text, "for ever") != NULL);
}

static int acknowledge(struct fixture *fixture, unsigned int vcpu)
{
    const struct interrupt_source *source =
        fixture->vm->platform.interrupts(fixture->vm->platform.context, vcpu);
    return source->pending(source->context) ? source->acknowledge(source->context) : -1;
}

/* A UART interrupt by way of the 8259s, as before any APIC is set up. */
static void test_lines_to_pic(void)
{
    struct fixture fixture;
    set_up(&fixture, 2);
    out(&fixture, 0x20, 1, 0x11);
    out(&fixture, 0x21, 1, 0x20);
    out(&fixture, 0x21, 1, 4);
    out(&fixture, 0x21, 1, 1);
    out(&fixture, 0x21, 1, 0xef); /* line 4 only */
    CHECK_EQUAL(acknowledge(&fixture, 0), -1);
    out(&fixture, 0x3fc, 1, 8); /* OUT2 */
    out(&fixture, 0x3f9, 1, 2); /* transmitter empty */
    CHECK_EQUAL(acknowledge(&fixture, 1), -1);
    CHECK_EQUAL(acknowledge(&fixture, 0), 0x24);
    CHECK_EQUAL(acknowledge(&fixture, 0), -1);
    tear_down(&fixture);
}

static void write_memory(struct fixture *fixture, uint64_t address, uint32_t value)
{
    struct bus_access access = {.value = value, .size = 4, .is_write = true};
    serve(fixture, &fixture->vm->mmio, address, &access);
}

static void write_redirection(struct fixture *fixture, unsigned int input, uint32_t high,
                              uint32_t low)
{
    write_memory(fixture, 0xfec00000, 0x11 + 2 * input);
    write_memory(fixture, 0xfec00010, high);
    write_memory(fixture, 0xfec00000, 0x10 + 2 * input);
    write_memory(fixture, 0xfec00010, low);
}

/* The same line by way of the I/O APIC, to the second vCPU; and ISA line 0 at input 2. */
static void test_lines_to_ioapic(void)
{
    struct fixture fixture;
    set_up(&fixture, 2);
    struct vm_platform *platform = &fixture.vm->platform;
    pthread_mutex_lock(&fixture.vm->device_lock);
    CHECK(platform->wrmsr(platform->context, 1, 0x1b, 0xfee00c00)); /* x2APIC */
    CHECK(platform->wrmsr(platform->context, 1, 0x80f, 0x1ff));     /* enabled by software */
    uint64_t id = 99;
    CHECK(platform->rdmsr(platform->context, 1, 0x802, &id));
    CHECK_EQUAL(id, 1);
    CHECK(!platform->rdmsr(platform->context, 1, 0x12345678, &id));
    pthread_mutex_unlock(&fixture.vm->device_lock);

    write_redirection(&fixture, 4, 1 << 24, 0x51);
    out(&fixture, 0x3fc, 1, 8);
    out(&fixture, 0x3f9, 1, 2);
    CHECK_EQUAL(acknowledge(&fixture, 1), 0x51);
    CHECK_EQUAL(acknowledge(&fixture, 0), -1);

    out(&fixture, 0x43, 1, 0x30); /* channel 0, mode 0: its output falls */
    out(&fixture, 0x40, 1, 0xff);
    out(&fixture, 0x40, 1, 0xff);
    write_redirection(&fixture, 2, 1 << 24, 0x8061); /* level, so that it shows without an edge */
    CHECK_EQUAL(acknowledge(&fixture, 1), -1);
    out(&fixture, 0x43, 1, 0x34); /* mode 2: its output is high */
    CHECK_EQUAL(acknowledge(&fixture, 1), 0x61);
    tear_down(&fixture);
}

/* Ports that every PC has, and what none has. */
static void test_ports(void)
{
    struct fixture fixture;
    set_up(&fixture, 1);
    log_set_level(LOG_SILENT);
    CHECK_EQUAL(in(&fixture, 0x3fd, 1), 0x60);
    CHECK_EQUAL(in(&fixture, 0x505, 1) & 1, 1);
    CHECK_EQUAL(in(&fixture, 0x1234, 1), 0xff);
    CHECK_EQUAL(in(&fixture, 0x1234, 4), 0xffffffff);
    out(&fixture, 0x80, 1, 0x55);
    CHECK_EQUAL(in(&fixture, 0x80, 1), 0x55);
    out(&fixture, 0x70, 1, 0x35); /* memory above 16 MiB: none */
    CHECK_EQUAL(in(&fixture, 0x71, 1), 0);
    log_set_level(LOG_WARN);
    tear_down(&fixture);
}

static void test_refused(void)
{
    struct error error;
    struct machine *machine;
    struct console *console;
    CHECK_EQUAL(console_open("none", &console, &error), 0);
    struct machine_options options = {.engine = &null_engine,
                                      .memory_bytes = 16 << 20,
                                      .vcpu_count = 1,
                                      .debug_exit_port = 0x3fa,
                                      .console = console};
    CHECK_EQUAL(machine_create(&options, &machine, &error), -EINVAL);
    CHECK(strstr(error.text, "0x3fa") != NULL);
    options.debug_exit_port = 0xf4;
    options.memory_bytes = 4096;
    CHECK_EQUAL(machine_create(&options, &machine, &error), -EINVAL);
    options.memory_bytes = 16 << 20;
    options.vcpu_count = VM_VCPUS_MAX + 1;
    CHECK_EQUAL(machine_create(&options, &machine, &error), -EINVAL);
    console_close(console);
}

/* The other vCPUs start as the first one's firmware left them, waiting. */
static void test_other_vcpus(void)
{
    struct fixture fixture;
    set_up(&fixture, 3);
    const struct x86_state *first = &fixture.vm->vcpus[0].initial;
    const struct x86_state *last = &fixture.vm->vcpus[2].initial;
    CHECK_EQUAL(first->rip, 0x10000);
    CHECK((first->efer & X86_EFER_LMA) != 0);
    CHECK_EQUAL(last->activity, X86_WAIT_FOR_SIPI);
    CHECK_EQUAL(last->msr.mtrr_def_type, first->msr.mtrr_def_type);
    tear_down(&fixture);
}

int main(void)
{
    test_topology();
    test_one_cpu();
    test_hypervisor();
    test_linear();
    test_outcomes();
    test_lines_to_pic();
    test_lines_to_ioapic();
    test_ports();
    test_refused();
    test_other_vcpus();
    return check_summary();
}
