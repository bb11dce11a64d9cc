/* KVM's exits put into the neutral ones of vm/exit.h. */
#include <stdio.h>
#include <string.h>

#include "engines/kvm/kvm_internal.h"

static void internal(struct vcpu_exit *exit, uint32_t code, const char *text)
{
    exit->reason = EXIT_INTERNAL;
    exit->internal.code = code;
    snprintf(exit->internal.text, sizeof(exit->internal.text), "%s", text);
}

static void translate_io(struct kvm_run *run, struct vcpu_exit *exit)
{
    exit->reason = EXIT_PIO;
    exit->pio.port = run->io.port;
    exit->pio.size = run->io.size;
    exit->pio.is_write = run->io.direction == KVM_EXIT_IO_OUT;
    exit->pio.count = run->io.count;
    exit->pio.data = (uint8_t *)run + run->io.data_offset;
}

static void translate_mmio(const struct kvm_run *run, struct vcpu_exit *exit)
{
    exit->reason = EXIT_MMIO;
    exit->mmio.address = run->mmio.phys_addr;
    exit->mmio.size = (uint8_t)run->mmio.len;
    exit->mmio.is_write = run->mmio.is_write != 0;
    memcpy(exit->mmio.data, run->mmio.data, sizeof(exit->mmio.data));
}

static void translate_msr(const struct kvm_run *run, struct vcpu_exit *exit)
{
    exit->reason = run->exit_reason == KVM_EXIT_X86_RDMSR ? EXIT_RDMSR : EXIT_WRMSR;
    exit->msr.index = run->msr.index;
    exit->msr.value = exit->reason == EXIT_WRMSR ? run->msr.data : 0;
    exit->msr.refused = true;
}

static void translate_hypercall(const struct kvm_run *run, struct vcpu_exit *exit)
{
    exit->reason = EXIT_HYPERCALL;
    exit->hypercall.number = run->hypercall.nr;
    for (unsigned int i = 0; i < 4; i++) {
        exit->hypercall.arguments[i] = run->hypercall.args[i];
    }
    exit->hypercall.result = 0;
}

#define DATA_WORDS_SHOWN 5u

/* The words that KVM adds to an internal error; nothing if there are none. */
static void describe_data(const struct kvm_run *run, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < run->internal.ndata && i < DATA_WORDS_SHOWN && used < size; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s 0x%llx", i == 0 ? ", data" : "",
                                 (unsigned long long)run->internal.data[i]);
    }
}

static void translate_internal(struct engine_vcpu *vcpu, struct vcpu_exit *exit)
{
    const struct kvm_run *run = vcpu->run;
    char text[sizeof(exit->internal.text)], data[8 + DATA_WORDS_SHOWN * 19];
    describe_data(run, data, sizeof(data));
    switch (run->internal.suberror) {
    case KVM_INTERNAL_ERROR_EMULATION:
        kvm_describe_emulation(vcpu, text, sizeof(text));
        break;
    case KVM_INTERNAL_ERROR_SIMUL_EX:
        snprintf(text, sizeof(text),
                 "KVM met an exception while it delivered another (is the guest's IDT or stack not "
                 "in memory?)%s",
                 data);
        break;
    case KVM_INTERNAL_ERROR_DELIVERY_EV:
        snprintf(text, sizeof(text),
                 "KVM met an exit while it delivered an event (exit 0x%llx; is the guest's IDT or "
                 "stack not in memory?)%s",
                 (unsigned long long)(run->internal.ndata > 1 ? run->internal.data[1] : 0), data);
        break;
    case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
        snprintf(text, sizeof(text),
                 "KVM does not know the hardware's exit 0x%llx (update the kernel, or use --engine "
                 "soft)",
                 (unsigned long long)(run->internal.ndata > 0 ? run->internal.data[0] : 0));
        break;
    default:
        snprintf(text, sizeof(text),
                 "KVM gave up with internal error %u (0x%llx; the kernel's log may say more)",
                 run->internal.suberror,
                 (unsigned long long)(run->internal.ndata > 0 ? run->internal.data[0] : 0));
        break;
    }
    internal(exit, run->internal.suberror, text);
}

#define EXIT_MEMORY_FAULT 39u /* KVM_EXIT_MEMORY_FAULT of newer headers */

static void translate_others(const struct kvm_run *run, struct vcpu_exit *exit)
{
    /* Exits that must be asked for, and that nobody here asks for. */
    static const struct {
        uint32_t reason;
        const char *text;
    } names[] = {
        {KVM_EXIT_EXCEPTION, "KVM passed on an exception"},
        {KVM_EXIT_HYPERV, "KVM passed on a Hyper-V call"},
        {KVM_EXIT_X86_BUS_LOCK, "KVM passed on a bus lock"},
        {KVM_EXIT_DIRTY_RING_FULL, "KVM's ring of dirty pages is full"},
        {KVM_EXIT_XEN, "KVM passed on a Xen call"},
        {KVM_EXIT_NOTIFY, "the guest kept the processor from taking events"},
        {EXIT_MEMORY_FAULT,
         "KVM can't get at the guest's memory (out of huge pages, or of memory?)"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (names[i].reason == run->exit_reason) {
            internal(exit, run->exit_reason, names[i].text);
            return;
        }
    }
    char text[sizeof(exit->internal.text)];
    snprintf(
        text, sizeof(text),
        "KVM came back with reason %u, which is not known here (--engine soft does without KVM)",
        run->exit_reason);
    internal(exit, run->exit_reason, text);
}

static void translate_unknown(const struct kvm_run *run, struct vcpu_exit *exit)
{
    char text[sizeof(exit->internal.text)];
    snprintf(
        text, sizeof(text),
        "KVM does not know the hardware's exit 0x%llx (update the kernel, or use --engine soft)",
        (unsigned long long)run->hw.hardware_exit_reason);
    internal(exit, KVM_EXIT_UNKNOWN, text);
}

void kvm_translate_exit(struct engine_vcpu *vcpu, struct vcpu_exit *exit)
{
    struct kvm_run *run = vcpu->run;
    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        translate_io(run, exit);
        break;
    case KVM_EXIT_MMIO:
        translate_mmio(run, exit);
        break;
    case KVM_EXIT_X86_RDMSR:
    case KVM_EXIT_X86_WRMSR:
        translate_msr(run, exit);
        break;
    case KVM_EXIT_HYPERCALL:
        translate_hypercall(run, exit);
        break;
    case KVM_EXIT_IOAPIC_EOI:
        exit->reason = EXIT_EOI;
        exit->eoi.vector = run->eoi.vector;
        break;
    case KVM_EXIT_HLT:
        exit->reason = EXIT_HLT;
        vcpu->activity = X86_HALTED;
        break;
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_SET_TPR:
    case KVM_EXIT_TPR_ACCESS:
    case KVM_EXIT_NMI:
        exit->reason = EXIT_INTERRUPT_WINDOW; /* nothing to serve: CR8 has been taken over */
        break;
    case KVM_EXIT_DEBUG:
        exit->reason = EXIT_DEBUG;
        exit->debug.rip = run->debug.arch.pc;
        exit->debug.dr6 = run->debug.arch.dr6;
        break;
    case KVM_EXIT_SHUTDOWN:
        exit->reason = EXIT_SHUTDOWN;
        exit->shutdown.exception_count = 0; /* KVM does not tell */
        vcpu->activity = X86_SHUTDOWN;
        break;
    case KVM_EXIT_FAIL_ENTRY:
        exit->reason = EXIT_ENTRY_FAILED;
        exit->entry_failed.hardware_reason = run->fail_entry.hardware_entry_failure_reason;
        kvm_describe_failed_entry(exit->entry_failed.hardware_reason, exit->entry_failed.text,
                                  sizeof(exit->entry_failed.text));
        break;
    case KVM_EXIT_SYSTEM_EVENT:
        exit->reason = EXIT_SYSTEM_EVENT;
        exit->system_event.type = run->system_event.type;
        break;
    case KVM_EXIT_INTERNAL_ERROR:
        translate_internal(vcpu, exit);
        break;
    case KVM_EXIT_UNKNOWN:
        translate_unknown(run, exit);
        break;
    default:
        translate_others(run, exit);
        break;
    }
}
