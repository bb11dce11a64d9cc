/*
 * Notices guests that have halted for good where the engine keeps HLT to itself.
 *
 * Purpose: an engine with local APICs of its own (ENGINE_HAS_LOCAL_APICS) does not come back for
 *          HLT, so that nobody would see the last vCPU halt with interrupts off. Every half second
 *          each vCPU is asked whether it sleeps so; one answer may be chance, several are not.
 * Owner:   struct vm embeds it. Other engines report each HLT, and need none of this.
 * Thread:  noted at each function.
 */
#ifndef TRAPEZE_VM_HALT_WATCH_H
#define TRAPEZE_VM_HALT_WATCH_H

#include <stdbool.h>
#include <stdint.h>

struct vm;
struct vcpu;

/* Starts to ask. The thread that starts the VM. */
void halt_watch_start(struct vm *vm);

/*
 * The answer to VCPU_REQUEST_HALT_WATCH, by the vCPU's thread. asleep: nothing but another vCPU
 * could wake it; rip: where. Ends the VM as VM_STUCK when all have slept where they are for
 * several answers.
 */
void halt_watch_answer(struct vcpu *vcpu, bool asleep, uint64_t rip);

#endif
