/* What a person is told of a vCPU whose state the processor refused: the report, and the file. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/cpu_state.h"
#include "cli/crash_report.h"
#include "cli/dump_state.h"
#include "engines/kvm/kvm.h"
#include "scripted_engine.h"
#include "x86/entry_checks.h"

/* Runs one vCPU that starts with a state and comes back with "entry failed" at once. */
static struct vm *run_refused(uint64_t extra_rflags)
{
    struct vm *vm = make_scripted(1);
    script.steps[0][0] = exit_step(EXIT_ENTRY_FAILED);
    script.steps[0][0].exit.entry_failed.hardware_reason = 0x80000021;
    snprintf(script.steps[0][0].exit.entry_failed.text,
             sizeof(script.steps[0][0].exit.entry_failed.text), "refused (0x80000021)");
    script.steps[0][0].rflags = X86_FLAGS_ONE | extra_rflags;
    x86_state_reset(&vm->vcpus[0].initial);
    start(vm);
    CHECK_EQUAL(vm_wait(vm), VM_ENGINE_FAILED);
    return vm;
}

static char *report_of(struct vm *vm)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    CHECK(out != NULL);
    crash_report_print(vm, 0, out);
    fclose(out);
    return text;
}

static void test_broken_rule(void)
{
    struct vm *vm = run_refused(1u << 3);
    CHECK(crash_report_is_due(vm, VM_ENGINE_FAILED));
    char *text = report_of(vm);
    CHECK(strstr(text, "refused the state of vCPU 0") != NULL);
    CHECK(strstr(text, "\n  rflags-reserved is broken\n") != NULL);
    CHECK(strstr(text, "\n      see \"Checks on Guest RIP, RFLAGS, and SSP\"\n") != NULL);
    CHECK(strstr(text, "\n  rip 000000000000fff0") != NULL);
    CHECK(strstr(vm->outcome_text, "0x80000021") != NULL);
    free(text);
    vm_destroy(vm);
}

static void test_nothing_broken(void)
{
    struct vm *vm = run_refused(0);
    char *text = report_of(vm);
    CHECK(strstr(text, "keeps every rule") != NULL);
    CHECK(strstr(text, "is broken") == NULL);
    free(text);
    vm_destroy(vm);
}

/* Registers help where the guest's doing ended the run; rules are for entries alone. */
static void test_other_failures(void)
{
    struct vm *vm = make_scripted(1);
    script.steps[0][0] = exit_step(EXIT_INTERNAL);
    start(vm);
    CHECK_EQUAL(vm_wait(vm), VM_ENGINE_FAILED);
    CHECK(crash_report_is_due(vm, VM_ENGINE_FAILED));
    CHECK(crash_report_is_due(vm, VM_TRIPLE_FAULT));
    CHECK(!crash_report_is_due(vm, VM_POWERED_OFF));
    char *text = report_of(vm);
    CHECK(strstr(text, "vCPU 0 could not go on") != NULL);
    CHECK(strstr(text, "rule") == NULL);
    free(text);
    vm_destroy(vm);
}

/* The file has the state and the widths that the guest's CPUID shows. */
static void test_dump(void)
{
    char path[] = "/tmp/trapeze-state-XXXXXX";
    int descriptor = mkstemp(path);
    CHECK(descriptor >= 0);
    close(descriptor);
    struct vm *vm = run_refused(1u << 3);
    struct cpuid_table *cpuid = &vm->vcpus[0].cpuid;
    cpuid_set(cpuid, 0x80000000, 0, false, (struct cpuid_registers){.eax = 0x80000008});
    cpuid_set(cpuid, 0x80000008, 0, false, (struct cpuid_registers){.eax = 52 | 57 << 8});
    dump_state_write(vm, VM_ENGINE_FAILED, path);
    struct saved_state state;
    struct error error;
    CHECK_EQUAL(state_file_read(path, &state, &error), 0);
    CHECK_EQUAL(state.entry.rflags, X86_FLAGS_ONE | 1u << 3);
    CHECK_EQUAL(state.entry.processor.physical_address_bits, 52);
    CHECK_EQUAL(state.entry.processor.linear_address_bits, 57);
    struct entry_violation violation;
    CHECK_EQUAL(entry_checks_run(&state.entry, &violation, 1), 1);
    /* A run that ended well leaves a state that is there, and an empty file empty. */
    CHECK_EQUAL(dump_state_prepare(path, NULL, &error), 0);
    dump_state_write(vm, VM_POWERED_OFF, path);
    CHECK_EQUAL(state_file_read(path, &state, &error), 0);
    unlink(path);
    CHECK_EQUAL(dump_state_prepare(path, NULL, &error), 0);
    dump_state_write(vm, VM_POWERED_OFF, path);
    struct stat status;
    CHECK(stat(path, &status) == 0 && status.st_size == 0);
    unlink(path);
    vm_destroy(vm);
}

/* A state that the engine does not take at all is the one that is worth looking at. */
static void test_creation_failed(void)
{
    struct vm *vm = make_scripted(1);
    struct error error;
    script.create_code[0] = -EINVAL;
    x86_state_reset(&vm->vcpus[0].initial);
    vm->vcpus[0].initial.rip = 0x1234;
    CHECK(vm_start(vm, &error) < 0);
    struct saved_state state;
    CHECK(dump_state_of(&vm->vcpus[0], &state));
    CHECK_EQUAL(state.entry.rip, 0x1234);
    vm_destroy(vm);
}

/*
 * A real one: 64-bit code with D/B set, which KVM takes and the processor does not. A KVM that
 * interprets its guests runs it, until the HLT or the kick.
 */
static struct vm *make_impossible_vm(void)
{
    static const uint8_t code[] = {0xfa, 0xf4, 0xeb, 0xfd}; /* cli; hlt; jmp to the hlt */
    struct guestmem *memory = NULL;
    struct vm *vm = NULL;
    struct error error;
    CHECK_EQUAL(guestmem_create(&(struct guestmem_options){false}, &memory, &error), 0);
    CHECK_EQUAL(guestmem_add(memory, gpa(0), 1 << 20, 0, &error), 0);
    struct vm_options options = {.engine = &kvm_engine,
                                 .engine_arguments = "irqchip=none",
                                 .memory = memory,
                                 .vcpu_count = 1,
                                 .tsc_hz = 1000000000};
    CHECK_EQUAL(vm_create(&options, &vm, &error), 0);
    struct x86_state *state = &vm->vcpus[0].initial;
    CHECK_EQUAL(guestmem_write(memory, gpa(0x8000), code, sizeof(code)), 0);
    CHECK_EQUAL(cpu_state_long(memory, 0x8000, state, &error), 0);
    state->segment[X86_CS].attributes |= X86_SEGMENT_DB;
    return vm;
}

static void test_on_kvm(void)
{
    struct vm *vm = make_impossible_vm();
    start(vm);
    if (vm_wait(vm) != VM_ENGINE_FAILED || vm->vcpus[0].exit.reason != EXIT_ENTRY_FAILED) {
        SKIP("this KVM runs 64-bit code with D/B set");
    } else {
        char *text = report_of(vm);
        CHECK(strstr(text, "refused the state of vCPU 0") != NULL);
        CHECK(strstr(text, "\n  cs-db-with-l (CS) is broken\n") != NULL);
        free(text);
    }
    vm_destroy(vm);
}

static bool kvm_is_usable(void)
{
    struct engine_probe probe = {.usable = false};
    kvm_engine.probe(&probe);
    if (!probe.usable) {
        SKIP(probe.why);
    }
    return probe.usable;
}

int main(void)
{
    test_broken_rule();
    test_nothing_broken();
    test_other_failures();
    test_dump();
    test_creation_failed();
    if (kvm_is_usable()) {
        test_on_kvm();
    }
    return check_summary();
}
