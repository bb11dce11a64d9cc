#include "vtx/linux/processors.h"

#include "vtx/linux/vcpu.h"

#include <asm/perf_event.h>
#include <asm/tlbflush.h>
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/printk.h>
#include <linux/reboot.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <linux/syscore_ops.h>

#include "vtx/linux/host.h"

/* The one set of processors that there is. The lock guards users, state and failure. */
static struct {
    struct mutex lock;
    unsigned int users;
    enum cpuhp_state state; /* of the callbacks, while there are users */
    struct processor __percpu *each;
    struct vtx_capabilities capabilities;
    int error; /* why there can be no users, ever */
    char message[sizeof(((struct error *)NULL)->text)];
    struct error failure; /* of a processor's VMXON */
    bool is_over;         /* the machine goes down, or another kernel comes: no VMXON any more */
} processors = {.lock = __MUTEX_INITIALIZER(processors.lock)};

static int errno_of(enum vtx_status status)
{
    switch (status) {
    case VTX_OK:
        return 0;
    case VTX_NO_VTX:
        return -ENODEV;
    case VTX_ALREADY_ROOT:
        return -EBUSY;
    case VTX_NO_MEMORY:
        return -ENOMEM;
    case VTX_INVALID:
        return -EINVAL;
    case VTX_LOCKED_OFF:
    case VTX_MISSING:
    case VTX_FAILED:
    default:
        return -EOPNOTSUPP;
    }
}

struct processor *processors_this(void)
{
    return this_cpu_ptr(processors.each);
}

struct processor *processors_at(unsigned int number)
{
    return per_cpu_ptr(processors.each, number);
}

/* ---- one processor ---- */

/*
 * The kernel keeps what it last wrote to CR4, and would take VMXE away with its next change. Its
 * tracing of branches (Intel PT) must be off in VMX operation on some processors: it is told.
 */
static enum vtx_status enter_root_irqsoff(struct processor *processor, struct error *error)
{
    enum vtx_status status;
    if (READ_ONCE(processors.is_over)) {
        return vtx_fail(VTX_FAILED, error, "the machine is being shut down");
    }
    intel_pt_handle_vmx(1);
    status = vtx_cpu_enter(&processor->root, error);
    if (status == VTX_OK) {
        cr4_set_bits_irqsoff(X86_CR4_VMXE);
    } else {
        intel_pt_handle_vmx(0);
    }
    return status;
}

static enum vtx_status enter_root(struct processor *processor, struct error *error)
{
    unsigned long flags;
    enum vtx_status status;
    local_irq_save(flags);
    status = enter_root_irqsoff(processor, error);
    local_irq_restore(flags);
    return status;
}

static void leave_root(struct processor *processor)
{
    unsigned long flags;
    local_irq_save(flags);
    if (processor->root.in_root) {
        vcpus_unload_all(processor);
        vtx_cpu_leave(&processor->root);
        cr4_clear_bits_irqsoff(X86_CR4_VMXE);
        intel_pt_handle_vmx(0);
    }
    local_irq_restore(flags);
}

/* Called on each processor, by its hotplug thread; the lock is held by who started that. */
static int processor_comes(unsigned int number)
{
    struct processor *processor = processors_at(number);
    struct error error = {""};
    enum vtx_status status = VTX_OK;
    if (processor->root.region.at == NULL) {
        status =
            vtx_cpu_prepare(&processor->root, &linux_vtx_host, &processors.capabilities, &error);
    }
    if (status == VTX_OK) {
        status = enter_root(processor, &error);
    }
    if (status != VTX_OK) {
        processors.failure = error;
        pr_warn("trapeze: processor %u: %s\n", number, error.text);
    }
    return errno_of(status);
}

static int processor_goes(unsigned int number)
{
    leave_root(processors_at(number));
    return 0;
}

/* ---- sleep of the machine: the last processor has no callbacks then ---- */

static int suspend(void)
{
    leave_root(processors_this());
    return 0;
}

static void resume(void)
{
    struct error error = {""};
    if (processors.users != 0 && enter_root(processors_this(), &error) != VTX_OK) {
        pr_err("trapeze: VT-x after the machine's sleep: %s\n", error.text);
    }
}

static struct syscore_ops power_ops = {.suspend = suspend, .resume = resume};

/* ---- the end of this kernel: kexec starts another one, which wants to find VT-x unused ---- */

static void leave_by_message(void *context)
{
    leave_root(processors_this());
}

/* With interrupts off a processor sees the note, or is in root mode when the message comes. */
static int kernel_ends(struct notifier_block *block, unsigned long event, void *data)
{
    WRITE_ONCE(processors.is_over, true);
    on_each_cpu(leave_by_message, NULL, 1);
    return NOTIFY_OK;
}

static struct notifier_block end_notifier = {.notifier_call = kernel_ends};

/* ---- all of them ---- */

int processors_acquire(char *message, size_t size)
{
    int code = processors_check(message, size);
    if (code != 0) {
        return code;
    }
    if (mutex_lock_killable(&processors.lock) != 0) {
        return -EINTR;
    }
    if (processors.users == 0) {
        processors.failure.text[0] = '\0';
        /* Where one fails those before it are taken back. */
        code = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "virt/trapeze:online", processor_comes,
                                 processor_goes);
        if (code >= 0) {
            processors.state = code;
            code = 0;
        } else {
            strscpy(message, processors.failure.text, size);
        }
    }
    if (code == 0) {
        processors.users++;
    }
    mutex_unlock(&processors.lock);
    return code;
}

void processors_put(void)
{
    mutex_lock(&processors.lock);
    if (--processors.users == 0) {
        cpuhp_remove_state(processors.state);
    }
    mutex_unlock(&processors.lock);
}

const struct vtx_capabilities *processors_capabilities(void)
{
    return &processors.capabilities;
}

int processors_check(char *message, size_t size)
{
    if (processors.error != 0) {
        strscpy(message, processors.message, size);
    }
    return processors.error;
}

/* Reads and judges, and changes nothing: IA32_FEATURE_CONTROL is dealt with when it is needed. */
static enum vtx_status examine(struct error *error)
{
    enum vtx_status status;
    preempt_disable();
    status = vtx_capabilities_read(&processors.capabilities, error);
    if (status == VTX_OK && vtx_feature_control_state(vtx_rdmsr(X86_MSR_IA32_FEATURE_CONTROL)) ==
                                VTX_FEATURE_LOCKED_OFF) {
        status = vtx_feature_control_enable(error);
    }
    preempt_enable();
    return status;
}

int processors_prepare(void)
{
    struct error error = {""};
    unsigned int number;
    processors.each = alloc_percpu(struct processor);
    if (processors.each == NULL) {
        return -ENOMEM;
    }
    for_each_possible_cpu(number)
    {
        INIT_LIST_HEAD(&processors_at(number)->loaded);
    }
    processors.error = errno_of(examine(&error));
    if (processors.error != 0) {
        strscpy(processors.message, error.text, sizeof(processors.message));
    }
    register_syscore_ops(&power_ops);
    register_reboot_notifier(&end_notifier);
    return 0;
}

void processors_release(void)
{
    unsigned int number;
    unregister_reboot_notifier(&end_notifier);
    unregister_syscore_ops(&power_ops);
    for_each_possible_cpu(number)
    {
        if (processors_at(number)->root.region.at != NULL) {
            vtx_cpu_release(&processors_at(number)->root);
        }
    }
    free_percpu(processors.each);
}
