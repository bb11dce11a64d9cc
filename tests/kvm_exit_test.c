/* Each exit that a kernel may report, put into ours or into words; needs no /dev/kvm. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "engines/kvm/kvm_internal.h"

static struct kvm_run *page;

static struct vcpu_exit translate(uint32_t reason)
{
    struct engine_vm vm = {.fd = -1};
    struct engine_vcpu vcpu = {.vm = &vm, .fd = -1, .run = page};
    struct vcpu_exit exit = {.reason = EXIT_NONE};
    page->exit_reason = reason;
    kvm_translate_exit(&vcpu, &exit);
    return exit;
}

static void test_in_words(void)
{
    static const struct {
        uint32_t reason;
        const char *words;
    } cases[] = {
        {KVM_EXIT_EXCEPTION, "an exception"},
        {KVM_EXIT_HYPERV, "a Hyper-V call"},
        {KVM_EXIT_X86_BUS_LOCK, "a bus lock"},
        {KVM_EXIT_DIRTY_RING_FULL, "ring of dirty pages is full"},
        {KVM_EXIT_XEN, "a Xen call"},
        {KVM_EXIT_NOTIFY, "from taking events"},
        {39, "can't get at the guest's memory"},
        {12345, "12345"},
    };
    memset(page, 0, sizeof(*page));
    for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct vcpu_exit exit = translate(cases[i].reason);
        CHECK_EQUAL(exit.reason, EXIT_INTERNAL);
        CHECK(strstr(exit.internal.text, cases[i].words) != NULL);
    }
    page->hw.hardware_exit_reason = 0xabc;
    CHECK(strstr(translate(KVM_EXIT_UNKNOWN).internal.text, "0xabc") != NULL);
}

static void test_internal_errors(void)
{
    static const struct {
        uint32_t suberror;
        const char *words;
    } cases[] = {
        {KVM_INTERNAL_ERROR_EMULATION, "can't emulate an instruction"},
        {KVM_INTERNAL_ERROR_SIMUL_EX,
         "delivered another (is the guest's IDT or stack not in memory?), data 0x44 0x55"},
        {KVM_INTERNAL_ERROR_DELIVERY_EV,
         "(exit 0x55; is the guest's IDT or stack not in memory?), data 0x44 0x55"},
        {KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON, "does not know the hardware's exit 0x44"},
        {77, "internal error 77 (0x44; the kernel's log"},
    };
    memset(page, 0, sizeof(*page));
    page->internal.ndata = 2;
    page->internal.data[0] = 0x44;
    page->internal.data[1] = 0x55;
    for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        page->internal.suberror = cases[i].suberror;
        struct vcpu_exit exit = translate(KVM_EXIT_INTERNAL_ERROR);
        CHECK_EQUAL(exit.reason, EXIT_INTERNAL);
        CHECK_EQUAL(exit.internal.code, cases[i].suberror);
        CHECK(strstr(exit.internal.text, cases[i].words) != NULL);
    }
}

static void test_failed_entry(void)
{
    static const struct {
        uint64_t reason;
        const char *words;
    } cases[] = {
        {0x80000021, "(0x80000021, VM-entry failure due to invalid guest state)"},
        {0x80000022, "MSR loading"},
        {UINT64_MAX, "VMEXIT_INVALID"},
        {7, "(0x7, a reason that is not known here)"},
    };
    memset(page, 0, sizeof(*page));
    for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        page->fail_entry.hardware_entry_failure_reason = cases[i].reason;
        struct vcpu_exit exit = translate(KVM_EXIT_FAIL_ENTRY);
        CHECK_EQUAL(exit.reason, EXIT_ENTRY_FAILED);
        CHECK_EQUAL(exit.entry_failed.hardware_reason, cases[i].reason);
        CHECK(strstr(exit.entry_failed.text, cases[i].words) != NULL);
    }
}

static void test_served(void)
{
    memset(page, 0, sizeof(*page));
    page->io.direction = KVM_EXIT_IO_IN;
    page->io.size = 2;
    page->io.port = 0x1f0;
    page->io.count = 256;
    page->io.data_offset = 4096;
    struct vcpu_exit exit = translate(KVM_EXIT_IO);
    CHECK_EQUAL(exit.reason, EXIT_PIO);
    CHECK(!exit.pio.is_write && exit.pio.size == 2 && exit.pio.count == 256);
    CHECK(exit.pio.data == (uint8_t *)page + 4096);

    memset(page, 0, sizeof(*page));
    page->hypercall.nr = 5;
    page->hypercall.args[3] = 9;
    exit = translate(KVM_EXIT_HYPERCALL);
    CHECK_EQUAL(exit.reason, EXIT_HYPERCALL);
    CHECK(exit.hypercall.number == 5 && exit.hypercall.arguments[3] == 9);

    memset(page, 0, sizeof(*page));
    page->msr.index = 0x123;
    page->msr.data = 0x456;
    exit = translate(KVM_EXIT_X86_WRMSR);
    CHECK(exit.reason == EXIT_WRMSR && exit.msr.index == 0x123 && exit.msr.value == 0x456);
    CHECK(exit.msr.refused); /* unless somebody serves it */
    CHECK_EQUAL(translate(KVM_EXIT_X86_RDMSR).reason, EXIT_RDMSR);

    memset(page, 0, sizeof(*page));
    page->system_event.type = KVM_SYSTEM_EVENT_RESET;
    exit = translate(KVM_EXIT_SYSTEM_EVENT);
    CHECK(exit.reason == EXIT_SYSTEM_EVENT && exit.system_event.type == KVM_SYSTEM_EVENT_RESET);

    page->debug.arch.pc = 0x1000;
    page->debug.arch.dr6 = 0xffff4ff0;
    exit = translate(KVM_EXIT_DEBUG);
    CHECK(exit.reason == EXIT_DEBUG && exit.debug.rip == 0x1000 && exit.debug.dr6 == 0xffff4ff0);

    page->eoi.vector = 0x31;
    exit = translate(KVM_EXIT_IOAPIC_EOI);
    CHECK(exit.reason == EXIT_EOI && exit.eoi.vector == 0x31);
    CHECK_EQUAL(translate(KVM_EXIT_SHUTDOWN).reason, EXIT_SHUTDOWN);
    CHECK_EQUAL(translate(KVM_EXIT_HLT).reason, EXIT_HLT);
    CHECK_EQUAL(translate(KVM_EXIT_IRQ_WINDOW_OPEN).reason, EXIT_INTERRUPT_WINDOW);
    CHECK_EQUAL(translate(KVM_EXIT_SET_TPR).reason, EXIT_INTERRUPT_WINDOW);
    CHECK_EQUAL(translate(KVM_EXIT_TPR_ACCESS).reason, EXIT_INTERRUPT_WINDOW);
}

int main(void)
{
    page = calloc(2, 4096);
    if (page == NULL) {
        return 1;
    }
    test_in_words();
    test_internal_errors();
    test_failed_entry();
    test_served();
    free(page);
    return check_summary();
}
