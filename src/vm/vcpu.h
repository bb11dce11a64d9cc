/*
 * A vCPU's thread: runs the engine, serves its exits, waits while the guest is halted.
 *
 * Purpose: the part of the VM that is per vCPU; used by vm.c only.
 * Owner:   the VM.
 * Thread:  noted at each function.
 */
#ifndef TRAPEZE_VM_VCPU_H
#define TRAPEZE_VM_VCPU_H

#include "vm/vm.h"

/* Starts the thread; it creates its engine vCPU, reports it in vm->created and waits for go. */
int vcpu_start(struct vcpu *vcpu, struct error *error);

/* Waits for the thread's end. The thread that called vcpu_start. */
void vcpu_join(struct vcpu *vcpu);

/* Sets bits of VCPU_REQUEST_… and makes the thread look at them soon. Any thread. */
void vcpu_request(struct vcpu *vcpu, unsigned int requests);

/* Makes the thread look at its interrupt source soon, be it in the engine or halted. Any thread. */
void vcpu_interrupt(struct vcpu *vcpu);

#endif
