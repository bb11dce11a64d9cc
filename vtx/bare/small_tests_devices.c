/* What leaves the guest to be served: ports, MSRs, memory that is none, and CPUID, which does not.
 */
#include <string.h>

#include "vtx/bare/small_guests.h"
#include "vtx/core/ept.h"
#include "x86/msr.h"

#define PIO_CALLS_MAX   16
#define LEAF_HYPERVISOR 0x40000000u
#define MSR_UNKNOWN     0x12345u
#define VECTOR_GP       13

SMALL_GUEST_CODE(ports);
SMALL_GUEST_CODE(msrs);
SMALL_GUEST_CODE(cpuid);
SMALL_GUEST_CODE(memory);

static void answer_in(struct small_guest *guest, uint16_t port, uint8_t size, uint32_t value)
{
    struct vcpu_exit *exit = &guest->vcpu.exit;
    if (!small_guest_expect(guest, EXIT_PIO)) {
        return;
    }
    small_test_check(guest->test, !exit->pio.is_write && exit->pio.port == port,
                     "it reads the port");
    if (small_test_check(guest->test, exit->pio.size == size, "with this width")) {
        memcpy(exit->pio.data, &value, size);
    }
}

/* Elements of a string instruction, in as many exits as the core likes. */
static void string_elements(struct small_guest *guest, uint16_t port, char *bytes, uint32_t length)
{
    struct vcpu_exit *exit = &guest->vcpu.exit;
    uint32_t done = 0;
    for (unsigned int i = 0; done < length && i < PIO_CALLS_MAX; i++) {
        if (!small_guest_expect(guest, EXIT_PIO)) {
            return;
        }
        bool good =
            exit->pio.port == port && exit->pio.size == 1 && exit->pio.count <= length - done;
        if (!small_test_check(guest->test, good, "a part of the string comes by its port")) {
            return;
        }
        if (exit->pio.is_write) {
            memcpy(bytes + done, exit->pio.data, exit->pio.count);
        } else {
            memcpy(exit->pio.data, bytes + done, exit->pio.count);
        }
        done += exit->pio.count;
    }
}

static void test_ports(struct small_guest *guest)
{
    char out[8] = {0};
    char in[8] = "abcd";
    small_guest_start(guest);
    small_guest_expect_out(guest, 0x20, 0x44);
    small_guest_expect_out(guest, 0x21, 0x3344);
    small_guest_expect_out(guest, 0x22, 0x11223344);
    answer_in(guest, 0x20, 1, 0x01);
    answer_in(guest, 0x21, 2, 0x0202);
    answer_in(guest, 0x22, 4, 0xa1b2c3d4);
    small_guest_expect_out(guest, 0x23, 0xa1b2c3d4);
    string_elements(guest, 0x24, out, 5);
    small_test_check(guest->test, strcmp(out, "hello") == 0, "OUTS writes the text");
    string_elements(guest, 0x25, in, 4);
    small_guest_expect_out(guest, 0x26, 0x64636261);
    small_guest_expect(guest, EXIT_HLT);
}

static void test_msrs(struct small_guest *guest)
{
    struct vcpu_exit *exit = &guest->vcpu.exit;
    small_guest_give_idt(guest);
    small_guest_start(guest);
    small_guest_expect_out(guest, 0x10, 0x5678);
    if (small_guest_expect(guest, EXIT_WRMSR)) {
        small_test_check(guest->test,
                         exit->msr.index == X86_MSR_IA32_TSC_DEADLINE && exit->msr.value == 0x99,
                         "the TSC deadline is for the local APIC");
        exit->msr.refused = false;
    }
    if (small_guest_expect(guest, EXIT_RDMSR)) {
        exit->msr.value = 0x4321;
        exit->msr.refused = false;
    }
    small_guest_expect_out(guest, 0x11, 0x4321);
    if (small_guest_expect(guest, EXIT_RDMSR)) {
        small_test_check(guest->test, exit->msr.index == MSR_UNKNOWN,
                         "an unknown MSR is asked for");
        exit->msr.refused = true;
    }
    small_guest_expect_out(guest, IDT_PORT_VECTOR, VECTOR_GP);
    small_guest_expect_out(guest, IDT_PORT_ERROR, 0);
}

static void test_cpuid(struct small_guest *guest)
{
    struct cpuid_registers hypervisor = {.eax = LEAF_HYPERVISOR, .ebx = 0x7a617274};
    cpuid_set(&guest->cpuid, LEAF_HYPERVISOR, 0, false, hypervisor);
    small_guest_start(guest);
    small_guest_expect_out(guest, 0x10, cpuid_answer(&guest->cpuid, 0, 0).ebx);
    small_guest_expect_out(guest, 0x11, hypervisor.ebx);
    small_test_check(guest->test, guest->vcpu.exits[VMX_REASON_CPUID] == 2,
                     "two VM exits by CPUID");
}

/* The next access to memory that no slot holds. */
static void expect_mmio(struct small_guest *guest, uint64_t address, uint8_t size, bool is_write)
{
    const struct vcpu_exit *exit = &guest->vcpu.exit;
    if (small_guest_expect(guest, EXIT_MMIO)) {
        small_test_check(guest->test,
                         exit->mmio.address == address && exit->mmio.size == size &&
                             exit->mmio.is_write == is_write,
                         "the access has this address, width and direction");
    }
}

static void expect_late_page(struct small_guest *guest)
{
    struct small_test *test = guest->test;
    if (test->failed) {
        return;
    }
    small_test_check(test, small_guest_run(guest) == VTX_MEMORY, "memory is missing");
    small_test_check(test, guest->vcpu.missing.address / PAGE_SIZE == GUEST_LATE / PAGE_SIZE,
                     "it is that page");
    small_test_check(test, guest->vcpu.missing.is_write, "it is to be written to");
    enum vtx_status status =
        vtx_ept_map(&guest->vm.ept, GUEST_LATE, (uint64_t)test->memory + GUEST_LATE, PAGE_SIZE,
                    VTX_EPT_ALL, VTX_WRITE_BACK, VTX_SIZE_4K);
    small_test_check(test, status == VTX_OK, "the page can be mapped");
}

static void test_memory(struct small_guest *guest)
{
    struct vcpu_exit *exit = &guest->vcpu.exit;
    const uint32_t constant = 0x600d;
    memcpy(guest->test->memory + GUEST_READ_ONLY, &constant, sizeof(constant));
    small_guest_start(guest);
    expect_mmio(guest, GUEST_NOWHERE, 4, false);
    memcpy(exit->mmio.data, "\x78\x56\x34\x12", 4);
    small_guest_expect_out(guest, 0x10, 0x12345678);
    expect_mmio(guest, GUEST_NOWHERE + 4, 1, true);
    small_test_check(guest->test, exit->mmio.data[0] == 0x77, "it writes 0x77");
    expect_mmio(guest, GUEST_NOWHERE + 8, 2, false);
    memcpy(exit->mmio.data, "\xcd\xab", 2);
    small_guest_expect_out(guest, 0x11, 0xabcd);
    expect_late_page(guest);
    small_guest_expect_out(guest, 0x12, 0x5151);
    small_guest_expect_out(guest, 0x13, constant);
    expect_mmio(guest, GUEST_READ_ONLY, 4, true);
    small_guest_expect(guest, EXIT_HLT);
}

static const struct small_test_entry entries[] = {
    {"ports", SMALL_GUEST(ports), BOOT_MODE_PROTECTED, test_ports, NULL},
    {"msrs", SMALL_GUEST(msrs), BOOT_MODE_PROTECTED, test_msrs, NULL},
    {"cpuid", SMALL_GUEST(cpuid), BOOT_MODE_PROTECTED, test_cpuid, NULL},
    {"memory", SMALL_GUEST(memory), BOOT_MODE_PROTECTED, test_memory, NULL},
};

const struct small_test_table small_tests_devices = {entries, sizeof(entries) / sizeof(entries[0])};
