/*
 * The functions of vm/vm.h that the shared code calls, for a VM of one vCPU and no threads.
 *
 * Owner:   struct guest_machine has the struct vm.
 * Thread:  the first processor.
 */
#include <stdio.h>

#include "base/log.h"
#include "vm/vm.h"
#include "vm/vm_timers.h"
#include "vtx/core/injection.h"

struct timer_host *vm_timer_host(struct vm *vm)
{
    return vm_timers_host(vm->timers);
}

void vm_stop_by(struct vm *vm, unsigned int vcpu, enum vm_outcome outcome, int code,
                const char *text)
{
    if (vm->outcome != VM_RUNNING) {
        return;
    }
    vm->outcome = outcome;
    vm->outcome_code = code;
    vm->outcome_vcpu = vcpu;
    snprintf(vm->outcome_text, sizeof(vm->outcome_text), "%s", text != NULL ? text : "");
}

void vm_stop(struct vm *vm, enum vm_outcome outcome, int code, const char *text)
{
    vm_stop_by(vm, VM_VCPUS_MAX, outcome, code, text);
}

/* The run loop asks the interrupt source before each entry: nobody needs to be woken. */
void vm_signal_interrupt(struct vm *vm, unsigned int vcpu)
{
    (void)vm;
    (void)vcpu;
}

void vm_signal_nmi(struct vm *vm, unsigned int vcpu)
{
    vtx_inject_nmi((struct vtx_vcpu *)(void *)vm->vcpus[vcpu].engine_vcpu);
}

/* There is one processor, which has nobody to be started by. */
void vm_signal_init(struct vm *vm, unsigned int vcpu)
{
    (void)vcpu;
    vm_stop(vm, VM_RESET, 0, NULL);
}

void vm_signal_sipi(struct vm *vm, unsigned int vcpu, uint8_t vector)
{
    (void)vm;
    log_info("vCPU %u was sent a SIPI with vector 0x%x, and runs already", vcpu,
             (unsigned int)vector);
}
