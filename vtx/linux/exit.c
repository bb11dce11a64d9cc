/* Exits between the core and the area that a vCPU shares with its program. */
#include "vtx/linux/run.h"

#include <linux/minmax.h>
#include <linux/string.h>

_Static_assert(TRAPEZE_VTX_DATA_SIZE >= sizeof(((struct vtx_vcpu *)NULL)->io.data),
               "the program's area has room for a string's elements");

static u8 *data_of(struct vcpu *vcpu)
{
    return (u8 *)vcpu->shared + TRAPEZE_VTX_DATA_OFFSET;
}

/* Bytes of a port access; never more than there is room for. */
static size_t data_size(const struct vcpu_exit *exit)
{
    return min_t(size_t, (size_t)exit->pio.size * exit->pio.count, TRAPEZE_VTX_DATA_SIZE);
}

static void publish_pio(struct vcpu *vcpu, struct trapeze_vtx_exit *to)
{
    const struct vcpu_exit *from = &vcpu->core.exit;
    to->reason = TRAPEZE_VTX_EXIT_PIO;
    to->pio.port = from->pio.port;
    to->pio.size = from->pio.size;
    to->pio.is_write = from->pio.is_write;
    to->pio.count = from->pio.count;
    if (from->pio.is_write) {
        memcpy(data_of(vcpu), from->pio.data, data_size(from));
    }
}

static void publish_shutdown(const struct vcpu_exit *from, struct trapeze_vtx_exit *to)
{
    unsigned int i,
        count = min_t(unsigned int, from->shutdown.exception_count, TRAPEZE_VTX_EXCEPTIONS_MAX);
    to->reason = TRAPEZE_VTX_EXIT_SHUTDOWN;
    to->shutdown.exception_count = count;
    for (i = 0; i < count; i++) {
        const struct exit_exception *exception = &from->shutdown.exceptions[i];
        to->shutdown.exceptions[i] =
            (struct trapeze_vtx_exception){.vector = exception->vector,
                                           .has_error = exception->has_error,
                                           .error = exception->error,
                                           .rip = exception->rip,
                                           .address = exception->address};
    }
}

static void publish_hypercall(const struct vcpu_exit *from, struct trapeze_vtx_exit *to)
{
    to->reason = TRAPEZE_VTX_EXIT_HYPERCALL;
    to->hypercall.number = from->hypercall.number;
    memcpy(to->hypercall.arguments, from->hypercall.arguments, sizeof(to->hypercall.arguments));
}

static void publish_internal(u32 code, const char *text, struct trapeze_vtx_exit *to)
{
    to->reason = TRAPEZE_VTX_EXIT_INTERNAL;
    to->internal.code = code;
    strscpy(to->internal.text, text, sizeof(to->internal.text));
}

void exit_publish(struct vcpu *vcpu)
{
    const struct vcpu_exit *from = &vcpu->core.exit;
    struct trapeze_vtx_exit *to = &vcpu->shared->exit;
    switch (from->reason) {
    case EXIT_PIO:
        publish_pio(vcpu, to);
        break;
    case EXIT_MMIO:
        to->reason = TRAPEZE_VTX_EXIT_MMIO;
        to->mmio.address = from->mmio.address;
        to->mmio.size = from->mmio.size;
        to->mmio.is_write = from->mmio.is_write;
        memcpy(to->mmio.data, from->mmio.data, sizeof(to->mmio.data));
        break;
    case EXIT_RDMSR:
    case EXIT_WRMSR:
        to->reason = from->reason == EXIT_RDMSR ? TRAPEZE_VTX_EXIT_RDMSR : TRAPEZE_VTX_EXIT_WRMSR;
        to->msr.index = from->msr.index;
        to->msr.value = from->msr.value;
        to->msr.refused = 1;
        break;
    case EXIT_HLT:
        to->reason = TRAPEZE_VTX_EXIT_HLT;
        break;
    case EXIT_HYPERCALL:
        publish_hypercall(from, to);
        break;
    case EXIT_INTERRUPT_WINDOW:
        to->reason = TRAPEZE_VTX_EXIT_INTERRUPT_WINDOW;
        break;
    case EXIT_DEBUG:
        to->reason = TRAPEZE_VTX_EXIT_DEBUG;
        to->debug.rip = from->debug.rip;
        to->debug.dr6 = from->debug.dr6;
        break;
    case EXIT_SHUTDOWN:
        publish_shutdown(from, to);
        break;
    case EXIT_ENTRY_FAILED:
        to->reason = TRAPEZE_VTX_EXIT_ENTRY_FAILED;
        to->entry_failed.hardware_reason = from->entry_failed.hardware_reason;
        strscpy(to->entry_failed.text, from->entry_failed.text, sizeof(to->entry_failed.text));
        break;
    case EXIT_INTERNAL:
        publish_internal(from->internal.code, from->internal.text, to);
        break;
    case EXIT_NONE:
    case EXIT_KICKED:
        to->reason = TRAPEZE_VTX_EXIT_NONE;
        break;
    default: /* an engine's own, which the core does not make */
        publish_internal(from->reason, "the core left the guest for no reason that is known", to);
        break;
    }
}

/* What was asked is the core's own copy, so that only values come from the program. */
void exit_take_answer(struct vcpu *vcpu)
{
    struct vcpu_exit *to = &vcpu->core.exit;
    const struct trapeze_vtx_exit *from = &vcpu->shared->exit;
    switch (to->reason) {
    case EXIT_PIO:
        if (!to->pio.is_write) {
            memcpy(to->pio.data, data_of(vcpu), data_size(to));
        }
        break;
    case EXIT_MMIO:
        if (!to->mmio.is_write) {
            memcpy(to->mmio.data, from->mmio.data, sizeof(to->mmio.data));
        }
        break;
    case EXIT_RDMSR:
        to->msr.value = READ_ONCE(from->msr.value);
        to->msr.refused = READ_ONCE(from->msr.refused) != 0;
        break;
    case EXIT_WRMSR:
        to->msr.refused = READ_ONCE(from->msr.refused) != 0;
        break;
    case EXIT_HYPERCALL:
        to->hypercall.result = READ_ONCE(from->hypercall.result);
        break;
    default:
        break;
    }
}
