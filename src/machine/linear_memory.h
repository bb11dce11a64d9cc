/*
 * Guest memory by linear address, as a debugger sees it: nothing in the guest changes.
 *
 * Purpose: reports show the instruction at RIP. Unlike a CPU's walk this sets no accessed bits and
 *          looks with the supervisor's eyes.
 * Owner:   no state. Thread: any, while no vCPU runs.
 */
#ifndef TRAPEZE_MACHINE_LINEAR_MEMORY_H
#define TRAPEZE_MACHINE_LINEAR_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vm/guestmem.h"
#include "x86/state.h"

/* Translates a linear address by the state's control registers. False: nothing is mapped there. */
bool linear_translate(struct guestmem *memory, const struct x86_state *state, uint64_t linear,
                      uint64_t *physical);

/* Copies up to `length` bytes; returns how many could be read. */
size_t linear_read(struct guestmem *memory, const struct x86_state *state, uint64_t linear,
                   void *buffer, size_t length);

#endif
