/*
 * A VM that stands still: vm_pause and vm_resume of vm/vm.h, and the vCPUs' side of them.
 *
 * Purpose: while a VM is paused each vCPU's thread waits between two runs of the engine, its last
 *          exit completed, and no timer of a device expires. Time goes on: the guest's clocks (its
 *          TSC, KVM's clock, the devices') show afterwards what they would have shown, timers that
 *          came due ring when it resumes, and engine_ops.stood_still tells the guest's kernel.
 * Owner:   the VM.
 * Thread:  noted at each function.
 */
#ifndef TRAPEZE_VM_PAUSE_H
#define TRAPEZE_VM_PAUSE_H

struct vcpu;

/* Serves VCPU_REQUEST_PAUSE: waits until the VM is resumed or stopped. The vCPU's thread. */
void pause_park(struct vcpu *vcpu);

#endif
