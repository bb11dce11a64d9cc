/*
 * Events into the guest: interrupts, NMIs, exceptions; the windows for them; and the timer.
 *
 * Purpose: whoever has the local APIC asks whether the guest can take an interrupt, and gives it
 *          one, or asks to be told when it can. What a VM exit has interrupted in its delivery is
 *          delivered again by the core itself.
 * Source:  Intel SDM volume 3, "Event Injection", "VM-Entry Controls for Event Injection",
 *          "Information for VM Exits That Occur During Event Delivery",
 *          "VMX-Preemption Timer", "Interrupt-Window Exiting and Virtual-Interrupt Delivery".
 * Owner:   the vCPU.
 * Thread:  the one that runs the vCPU, loaded, interrupts off. Freestanding.
 */
#ifndef TRAPEZE_VTX_CORE_INJECTION_H
#define TRAPEZE_VTX_CORE_INJECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "vtx/core/vcpu.h"

/* RFLAGS.IF is set, nothing blocks, and no other event waits. No exit waits for completion. */
bool vtx_can_interrupt(struct vtx_vcpu *vcpu);

/* Only if it can take one. Wakes it from HLT. */
void vtx_inject_interrupt(struct vtx_vcpu *vcpu, uint8_t vector);

/* EXIT_INTERRUPT_WINDOW as soon as the guest can take an interrupt; once. */
void vtx_want_interrupt_window(struct vtx_vcpu *vcpu, bool wanted);

/* Delivered as soon as the guest can take one; a second one while it waits is lost. */
void vtx_inject_nmi(struct vtx_vcpu *vcpu);

/* A hardware exception at the next entry. error is ignored where the vector has none. */
void vtx_inject_exception(struct vtx_vcpu *vcpu, uint8_t vector, uint32_t error);

/* An event waits that the next entry delivers. */
bool vtx_event_pending(const struct vtx_vcpu *vcpu);

/*
 * Ends each run with EXIT_KICKED after so many ticks of the processor's TSC, rounded up to what the
 * timer counts in. 0: off. False: there is no timer.
 */
bool vtx_set_timer(struct vtx_vcpu *vcpu, uint64_t tsc_ticks);

#endif
