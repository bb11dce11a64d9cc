/* Where a vCPU's VMCS is active. */
#include "vtx/linux/vcpu.h"

#include <linux/preempt.h>
#include <linux/printk.h>
#include <linux/smp.h>

#include "vtx/linux/processors.h"

/* On the processor where it is, interrupts off. */
static void unload_here(struct vcpu *vcpu)
{
    struct processor *processor = processors_this();
    if (vcpu->processor != smp_processor_id()) {
        return; /* the processor was switched off meanwhile, and all were unloaded */
    }
    vtx_vcpu_unload(&vcpu->core);
    if (processor->current_vcpu == vcpu) {
        processor->current_vcpu = NULL;
    }
    list_del(&vcpu->entry);
    WRITE_ONCE(vcpu->processor, NO_PROCESSOR);
}

static void unload_by_message(void *context)
{
    unload_here(context);
}

void vcpus_unload_all(struct processor *processor)
{
    struct vcpu *vcpu, *next;
    list_for_each_entry_safe(vcpu, next, &processor->loaded, entry)
    {
        unload_here(vcpu);
    }
}

void vcpu_unload(struct vcpu *vcpu)
{
    int where = READ_ONCE(vcpu->processor);
    if (where != NO_PROCESSOR) {
        smp_call_function_single(where, unload_by_message, vcpu, 1);
    }
}

static int load_anew(struct vcpu *vcpu, struct processor *processor)
{
    struct error error = {""};
    processor->current_vcpu = NULL; /* a load that fails may have made another VMCS current */
    if (vtx_vcpu_load(&vcpu->core, &processor->root, &error) != VTX_OK) {
        pr_err_ratelimited("trapeze: vCPU %u: %s\n", vcpu->index, error.text);
        return -EIO;
    }
    if (vcpu->processor == NO_PROCESSOR) {
        list_add(&vcpu->entry, &processor->loaded);
        WRITE_ONCE(vcpu->processor, smp_processor_id());
    }
    processor->current_vcpu = vcpu;
    vcpu->loads++;
    return 0;
}

int vcpu_load(struct vcpu *vcpu)
{
    struct processor *processor = processors_this();
    int code = 0;
    if (READ_ONCE(vcpu->processor) != smp_processor_id()) {
        vcpu_unload(vcpu);
    }
    local_irq_disable();
    if (!processor->root.in_root) {
        pr_warn_ratelimited("trapeze: vCPU %u: processor %u is not in root mode\n", vcpu->index,
                            smp_processor_id());
        code = -EIO;
    } else if (processor->current_vcpu != vcpu) {
        code = load_anew(vcpu, processor);
    }
    if (code != 0) {
        local_irq_enable();
    }
    return code;
}

int vcpu_with_loaded(struct vcpu *vcpu, void (*act)(struct vcpu *vcpu))
{
    int code;
    preempt_disable();
    code = vcpu_load(vcpu);
    if (code == 0) {
        act(vcpu);
        local_irq_enable();
    }
    preempt_enable();
    return code;
}
