#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "engines/vtx/vtx_internal.h"

/* ---- answers and interrupts in ---- */

/* Hands what was served back to the module, which completes the instruction at the next entry. */
static void complete_exit(struct engine_vcpu *vcpu, struct vcpu_exit *exit)
{
    struct trapeze_vtx_exit *shared = &vcpu->run->exit;
    switch (exit->reason) {
    case EXIT_MMIO:
        if (!exit->mmio.is_write) {
            memcpy(shared->mmio.data, exit->mmio.data, sizeof(shared->mmio.data));
        }
        break;
    case EXIT_RDMSR:
    case EXIT_WRMSR:
        shared->msr.value = exit->msr.value;
        shared->msr.refused = exit->msr.refused ? 1 : 0;
        break;
    case EXIT_HYPERCALL:
        shared->hypercall.result = exit->hypercall.result;
        break;
    default:
        break; /* port data went straight into the shared area */
    }
    exit->reason = EXIT_NONE;
}

/* Injects what our LAPIC or PIC has, or asks to be told when the guest can take it. */
static void prepare_interrupts(struct engine_vcpu *vcpu)
{
    struct trapeze_vtx_run *run = vcpu->run;
    const struct interrupt_source *source = vcpu->interrupts;
    if (source == NULL) {
        return;
    }
    vcpu->cr8 = source->get_cr8(source->context);
    run->cr8 = vcpu->cr8;
    bool pending = source->pending(source->context);
    if (pending && run->interrupt_ready != 0) {
        int vector = source->acknowledge(source->context);
        if (vector >= 0) {
            run->interrupt = (uint8_t)vector;
            run->has_interrupt = 1;
            run->interrupt_ready = 0; /* one at a time */
        }
        pending = source->pending(source->context);
    }
    run->window_wanted = pending ? 1 : 0;
}

static void note_task_priority(struct engine_vcpu *vcpu)
{
    const struct interrupt_source *source = vcpu->interrupts;
    if (source != NULL && vcpu->run->cr8 != vcpu->cr8) {
        vcpu->cr8 = vcpu->run->cr8;
        source->set_cr8(source->context, vcpu->cr8);
    }
}

/* ---- exits out ---- */

static void take_io(struct engine_vcpu *vcpu, const struct trapeze_vtx_exit *from,
                    struct vcpu_exit *exit)
{
    exit->reason = EXIT_PIO;
    exit->pio.port = from->pio.port;
    exit->pio.size = from->pio.size;
    exit->pio.is_write = from->pio.is_write != 0;
    exit->pio.count = from->pio.count;
    exit->pio.data = (uint8_t *)vcpu->run + TRAPEZE_VTX_DATA_OFFSET;
}

static void take_mmio(const struct trapeze_vtx_exit *from, struct vcpu_exit *exit)
{
    exit->reason = EXIT_MMIO;
    exit->mmio.address = from->mmio.address;
    exit->mmio.size = from->mmio.size;
    exit->mmio.is_write = from->mmio.is_write != 0;
    memcpy(exit->mmio.data, from->mmio.data, sizeof(exit->mmio.data));
}

static void take_hypercall(const struct trapeze_vtx_exit *from, struct vcpu_exit *exit)
{
    exit->reason = EXIT_HYPERCALL;
    exit->hypercall.number = from->hypercall.number;
    memcpy(exit->hypercall.arguments, from->hypercall.arguments, sizeof(exit->hypercall.arguments));
    exit->hypercall.result = 0;
}

static void take_shutdown(const struct trapeze_vtx_exit *from, struct vcpu_exit *exit)
{
    uint32_t count = from->shutdown.exception_count;
    exit->reason = EXIT_SHUTDOWN;
    exit->shutdown.exception_count = count < EXIT_EXCEPTIONS_MAX ? count : EXIT_EXCEPTIONS_MAX;
    for (unsigned int i = 0; i < exit->shutdown.exception_count; i++) {
        const struct trapeze_vtx_exception *exception = &from->shutdown.exceptions[i];
        exit->shutdown.exceptions[i] =
            (struct exit_exception){.vector = exception->vector,
                                    .has_error = exception->has_error != 0,
                                    .error = exception->error,
                                    .rip = exception->rip,
                                    .address = exception->address};
    }
}

static void take_internal(uint32_t code, const char *text, struct vcpu_exit *exit)
{
    exit->reason = EXIT_INTERNAL;
    exit->internal.code = code;
    snprintf(exit->internal.text, sizeof(exit->internal.text), "%.*s",
             (int)sizeof(exit->internal.text) - 1, text);
}

static void take_entry_failed(const struct trapeze_vtx_exit *from, struct vcpu_exit *exit)
{
    exit->reason = EXIT_ENTRY_FAILED;
    exit->entry_failed.hardware_reason = from->entry_failed.hardware_reason;
    snprintf(exit->entry_failed.text, sizeof(exit->entry_failed.text), "%.*s",
             (int)sizeof(exit->entry_failed.text) - 1, from->entry_failed.text);
}

static void take_exit(struct engine_vcpu *vcpu, struct vcpu_exit *exit)
{
    const struct trapeze_vtx_exit *from = &vcpu->run->exit;
    switch ((enum trapeze_vtx_exit_reason)from->reason) {
    case TRAPEZE_VTX_EXIT_PIO:
        take_io(vcpu, from, exit);
        break;
    case TRAPEZE_VTX_EXIT_MMIO:
        take_mmio(from, exit);
        break;
    case TRAPEZE_VTX_EXIT_RDMSR:
    case TRAPEZE_VTX_EXIT_WRMSR:
        exit->reason = from->reason == TRAPEZE_VTX_EXIT_RDMSR ? EXIT_RDMSR : EXIT_WRMSR;
        exit->msr.index = from->msr.index;
        exit->msr.value = from->msr.value;
        exit->msr.refused = true;
        break;
    case TRAPEZE_VTX_EXIT_HLT:
        exit->reason = EXIT_HLT;
        vcpu->activity = X86_HALTED;
        break;
    case TRAPEZE_VTX_EXIT_HYPERCALL:
        take_hypercall(from, exit);
        break;
    case TRAPEZE_VTX_EXIT_NONE:
    case TRAPEZE_VTX_EXIT_INTERRUPT_WINDOW:
        exit->reason = EXIT_INTERRUPT_WINDOW; /* nothing to serve: CR8 has been taken over */
        break;
    case TRAPEZE_VTX_EXIT_DEBUG:
        exit->reason = EXIT_DEBUG;
        exit->debug.rip = from->debug.rip;
        exit->debug.dr6 = from->debug.dr6;
        break;
    case TRAPEZE_VTX_EXIT_SHUTDOWN:
        take_shutdown(from, exit);
        vcpu->activity = X86_SHUTDOWN;
        break;
    case TRAPEZE_VTX_EXIT_ENTRY_FAILED:
        take_entry_failed(from, exit);
        break;
    case TRAPEZE_VTX_EXIT_INTERNAL:
        take_internal(from->internal.code, from->internal.text, exit);
        break;
    default:
        take_internal(from->reason, "the module came back for a reason that is not known here",
                      exit);
        break;
    }
}

/* ---- running ---- */

static int failed_run(struct engine_vcpu *vcpu, int code, bool kicked, struct vcpu_exit *exit,
                      struct error *error)
{
    switch (code) {
    case -EINTR:
        if (run_kick_ended_it(&vcpu->kick, kicked)) {
            exit->reason = EXIT_KICKED;
            return 0;
        }
        return code;
    case -EFAULT:
    case -ENOMEM:
        return error_set(error, -code,
                         "the module can't pin the guest's memory for vCPU %u: free some on the "
                         "host, raise the limit of the control group, or use a smaller --memory",
                         vcpu->index);
    case -EDQUOT:
        return error_set(error, EDQUOT,
                         "the limit of pinned memory is too low for the guest's: raise it (ulimit "
                         "-l, LimitMEMLOCK of systemd) to what --memory says, or be root");
    case -EOPNOTSUPP:
        return error_set(error, EOPNOTSUPP,
                         "the module does not pin a file's pages but those of tmpfs and "
                         "hugetlbfs: the guest's memory must be one of these, or anonymous");
    case -EPERM:
        return error_set(error, EPERM,
                         "the VM of vCPU %u is another process's: only the one that made a VM can "
                         "run it",
                         vcpu->index);
    case -EIO:
        return error_set(error, EIO,
                         "the processor of vCPU %u is not in root mode any more; the kernel's log "
                         "(dmesg) says why",
                         vcpu->index);
    default:
        return error_set_errno(error, code, "running vCPU %u", vcpu->index);
    }
}

/* One call; 0 with *exit filled in, or what failed_run says. */
static int run_once(struct engine_vcpu *vcpu, struct vcpu_exit *exit, struct error *error)
{
    bool kicked = run_kick_begin(&vcpu->kick);
    complete_exit(vcpu, exit);
    unsigned int nmis = atomic_exchange(&vcpu->nmis_waiting, 0);
    if (nmis != 0) {
        vcpu->run->nmi = 1; /* a second one would be lost: "Handling Multiple NMIs" */
    }
    prepare_interrupts(vcpu);
    vcpu->activity = X86_ACTIVE;
    int code = ioctl(vcpu->fd, TRAPEZE_VTX_RUN, 0) < 0 ? -errno : 0;
    note_task_priority(vcpu);
    if (code != 0) {
        return failed_run(vcpu, code, kicked, exit, error);
    }
    run_kick_keep(&vcpu->kick, kicked);
    take_exit(vcpu, exit);
    return 0;
}

int vtx_vcpu_run(struct engine_vcpu *vcpu, struct vcpu_exit *exit, struct error *error)
{
    int code;
    do {
        code = run_once(vcpu, exit, error);
    } while (code == 0 && vtx_serve_clock(vcpu, exit));
    return code;
}
