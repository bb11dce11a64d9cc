/*
 * The ways into a handler, by mode; what soft_enter_event chooses between.
 *
 * Source:  Intel SDM volume 2, "INT n/INTO/INT3/INT1—Call to Interrupt Procedure"; volume 3,
 *          "Exception and Interrupt Handling in 64-bit Mode", "Interrupt and Exception Handling in
 *          Virtual-8086 Mode".
 * Owner, thread: the vCPU's.
 */
#ifndef TRAPEZE_ENGINES_SOFT_INTERRUPT_ENTER_H
#define TRAPEZE_ENGINES_SOFT_INTERRUPT_ENTER_H

#include "engines/soft/interrupt.h"
#include "x86/descriptor.h"

/* Protected and virtual-8086 mode through the IDT, IA-32e mode through its own. */
void soft_enter_event_protected(struct soft_cpu *cpu, const struct soft_event *event);
void soft_enter_event64(struct soft_cpu *cpu, const struct soft_event *event);

/* Virtual-8086 mode with CR4.VME: true if INT n goes through the program's own vector table. */
bool soft_int_is_redirected(struct soft_cpu *cpu, uint8_t vector);
void soft_enter_redirected(struct soft_cpu *cpu, uint8_t vector);

/* EXT in the error codes of faults on the way. */
uint32_t soft_event_external(const struct soft_event *event);

bool soft_event_is_fault(const struct soft_event *event);

/* RFLAGS as they are pushed, with RF by the rules of "Debug Exceptions". */
uint64_t soft_event_flags_image(const struct soft_cpu *cpu, const struct soft_event *event);

/* Loads CS and RIP, clears flags and recomputes the mode: the last step of every way in. */
void soft_event_commit(struct soft_cpu *cpu, const struct x86_segment *code, uint64_t rip,
                       uint64_t cleared_flags);

/*
 * The checks on a gate of the IDT that all modes share: a type of the given mask, privilege for
 * INT n, presence.
 */
void soft_check_event_gate(struct soft_cpu *cpu, const struct soft_event *event,
                           const struct x86_gate *gate, unsigned int types);

/* The code segment that the gate names, checked; `inner` tells that the CPL changes. */
struct soft_load soft_check_event_target(struct soft_cpu *cpu, const struct soft_event *event,
                                         const struct x86_gate *gate, bool *inner);

/* Raises #GP for an entry of the IDT that lies beyond its limit. */
_Noreturn void soft_refuse_event_vector(struct soft_cpu *cpu, enum x86_vector vector,
                                        const struct soft_event *event);

/* What a gate clears in RFLAGS: an interrupt gate IF too. */
uint64_t soft_gate_clears(const struct x86_gate *gate);

#endif
