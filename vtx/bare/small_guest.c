#include "vtx/bare/small_guest.h"

#include <stdarg.h>
#include <string.h>

#include "boot/cpu_state.h"
#include "vtx/bare/console.h"
#include "vtx/bare/ports.h"
#include "x86/vmcs_fields.h"
#include "x86/vmx_text.h"

#define LATE_PAGES              2 /* read-only, and mapped when asked for */
#define HANDLER_SIZE            32
#define HANDLERS                (GUEST_IDT + 0x1000)
#define INTERRUPTS_IN_A_ROW_MAX 1000

void small_test_fail(struct small_test *test, const char *format, ...)
{
    va_list arguments;
    print(test->failed ? "        " : "FAILED  %s: ", test->name);
    test->failed = true;
    va_start(arguments, format);
    print_arguments(format, arguments);
    va_end(arguments);
    print("\n");
}

bool small_test_check(struct small_test *test, bool condition, const char *what)
{
    if (!condition) {
        small_test_fail(test, "not so: %s", what);
    }
    return condition;
}

static int set_mode(struct small_guest *guest, enum boot_mode mode, struct error *error)
{
    switch (mode) {
    case BOOT_MODE_PROTECTED:
        return cpu_state_protected(&guest->memory, GUEST_CODE, &guest->state, error);
    case BOOT_MODE_PAGED:
        return cpu_state_paged(&guest->memory, GUEST_CODE, &guest->state, error);
    case BOOT_MODE_LONG:
        return cpu_state_long(&guest->memory, GUEST_CODE, &guest->state, error);
    case BOOT_MODE_REAL:
    default:
        cpu_state_real(GUEST_CODE, &guest->state);
        return 0;
    }
}

static enum vtx_status make_vm(struct small_guest *guest, struct error *error)
{
    struct root_mode *root = guest->test->root;
    const struct vtx_memory_slot slots[] = {
        {.start = 0, .length = GUEST_SIZE},
        {.start = GUEST_READ_ONLY, .length = PAGE_SIZE, .is_read_only = true},
        {.start = GUEST_LATE, .length = PAGE_SIZE},
    };
    uint64_t memory = (uint64_t)guest->test->memory;
    enum vtx_status status =
        vtx_vm_create(&guest->vm, &root->host, &root->capabilities, VTX_TRAP_SHADOW);
    if (status == VTX_OK) {
        status = vtx_vm_set_memory(&guest->vm, slots, sizeof(slots) / sizeof(slots[0]));
    }
    if (status == VTX_OK) {
        status = vtx_ept_map(&guest->vm.ept, 0, memory, GUEST_SIZE, VTX_EPT_ALL, VTX_WRITE_BACK,
                             VTX_SIZE_2M);
    }
    if (status == VTX_OK) {
        status = vtx_ept_map(&guest->vm.ept, GUEST_READ_ONLY, memory + GUEST_READ_ONLY, PAGE_SIZE,
                             VTX_EPT_READ, VTX_WRITE_BACK, VTX_SIZE_4K);
    }
    vtx_cpuid_supported(&root->capabilities, &guest->cpuid);
    struct vtx_vcpu_options options = {.vm = &guest->vm, .cpuid = &guest->cpuid, .vpid = 2};
    return status == VTX_OK ? vtx_vcpu_create(&guest->vcpu, &options, error) : status;
}

bool small_guest_make(struct small_guest *guest, struct small_test *test, struct small_code code,
                      enum boot_mode mode)
{
    struct error error = {"there is no memory"};
    memset(guest, 0, sizeof(*guest));
    memset(test->memory, 0, GUEST_SIZE + LATE_PAGES * PAGE_SIZE);
    guest->test = test;
    guest->memory.slot = (struct memory_slot){.length = GUEST_SIZE, .host = test->memory};
    memcpy(test->memory + GUEST_CODE, code.begin, (size_t)(code.end - code.begin));
    if (make_vm(guest, &error) != VTX_OK || set_mode(guest, mode, &error) != 0 ||
        vtx_vcpu_load(&guest->vcpu, &test->root->processors[0], &error) != VTX_OK) {
        small_test_fail(test, "the guest cannot be made: %s", error.text);
        return false;
    }
    return true;
}

void small_guest_start(struct small_guest *guest)
{
    vtx_vcpu_set_state(&guest->vcpu, X86_STATE_ALL, &guest->state);
    vtx_vcpu_enter_context(&guest->vcpu);
}

void small_guest_end(struct small_guest *guest)
{
    if (guest->vcpu.in_context) {
        vtx_vcpu_leave_context(&guest->vcpu);
    }
    if (guest->vcpu.cpu != NULL) {
        vtx_vcpu_unload(&guest->vcpu);
    }
    vtx_vcpu_destroy(&guest->vcpu);
    vtx_vm_destroy(&guest->vm);
}

enum vtx_outcome small_guest_run(struct small_guest *guest)
{
    enum vtx_outcome outcome = VTX_INTERRUPT;
    for (unsigned int i = 0; outcome == VTX_INTERRUPT && i < INTERRUPTS_IN_A_ROW_MAX; i++) {
        processor_let_interrupts_in();
        outcome = vtx_vcpu_run(&guest->vcpu);
    }
    return outcome;
}

static void fail_with_exit(struct small_guest *guest, const char *expected)
{
    const struct vcpu_exit *exit = &guest->vcpu.exit;
    const char *words = exit->reason == EXIT_ENTRY_FAILED ? exit->entry_failed.text
                        : exit->reason == EXIT_INTERNAL   ? exit->internal.text
                                                          : "";
    uint32_t value = 0;
    uint64_t rip = 0;
    if (exit->reason == EXIT_PIO) {
        memcpy(&value, exit->pio.data, exit->pio.size);
        small_test_fail(guest->test, "expected %s, and got %u bytes %s port 0x%x: 0x%x", expected,
                        exit->pio.size, exit->pio.is_write ? "to" : "from", exit->pio.port, value);
    } else {
        vtx_vmread(VMCS_GUEST_RIP, &rip);
        small_test_fail(guest->test, "expected %s, and got: %s %s (VM exit: %s, rip 0x%lx)",
                        expected, exit_reason_name(exit->reason), words,
                        vmx_reason_name((uint32_t)guest->vcpu.reason & VMX_REASON_BASIC), rip);
    }
}

bool small_guest_expect(struct small_guest *guest, enum exit_reason reason)
{
    if (guest->test->failed) {
        return false;
    }
    if (small_guest_run(guest) == VTX_EXIT && guest->vcpu.exit.reason == reason) {
        return true;
    }
    fail_with_exit(guest, exit_reason_name(reason));
    return false;
}

uint32_t small_guest_out(struct small_guest *guest, uint16_t port)
{
    const struct vcpu_exit *exit = &guest->vcpu.exit;
    uint32_t value = 0;
    if (!small_guest_expect(guest, EXIT_PIO)) {
        return 0;
    }
    if (!exit->pio.is_write || exit->pio.port != port || exit->pio.count != 1) {
        fail_with_exit(guest, "a write to another port");
        return 0;
    }
    memcpy(&value, exit->pio.data, exit->pio.size);
    return value;
}

bool small_guest_expect_out(struct small_guest *guest, uint16_t port, uint32_t value)
{
    uint32_t found = small_guest_out(guest, port);
    if (!guest->test->failed && found != value) {
        small_test_fail(guest->test, "port 0x%x got 0x%x, expected 0x%x", port, found, value);
    }
    return !guest->test->failed;
}

/* Vectors with an error code: #DF, #TS, #NP, #SS, #GP, #PF, #AC. */
static bool has_error_code(unsigned int vector)
{
    return ((UINT32_C(0x00027d00) >> vector) & 1) != 0;
}

void small_guest_give_idt(struct small_guest *guest)
{
    uint8_t *memory = guest->test->memory;
    for (unsigned int vector = 0; vector < 32; vector++) {
        uint32_t handler = HANDLERS + vector * HANDLER_SIZE;
        uint64_t gate = (handler & 0xffff) | (uint64_t)BOOT_SELECTOR_CODE << 16 |
                        UINT64_C(0x8e00) << 32 | (uint64_t)(handler >> 16) << 48;
        const uint8_t error = has_error_code(vector) ? 0x58 : 0x90; /* pop %eax, or nop */
        const uint8_t code[] = {0xb0,           (uint8_t)vector,
                                0xe6,           IDT_PORT_VECTOR, /* out */
                                error,          0xe7,
                                IDT_PORT_ERROR, 0xf4}; /* out, hlt */
        memcpy(memory + GUEST_IDT + (size_t)vector * 8, &gate, sizeof(gate));
        memcpy(memory + handler, code, sizeof(code));
    }
    guest->state.idtr = (struct x86_table_register){.base = GUEST_IDT, .limit = 32 * 8 - 1};
}
