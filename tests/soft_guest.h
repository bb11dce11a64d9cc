/*
 * Tiny machine-code guests on the real software CPU: one vCPU, flat segments, an IDT that tells.
 *
 * Use:    soft_guest_open(&guest, MODE); soft_guest_load(&guest, code, sizeof code); change
 *         guest.state if need be; soft_guest_run(&guest) until it has what it wants; close.
 * Owner:  the test. Thread: one, the same from open to close.
 *
 * Every vector leads to a stub of its own: HLT, then IRET. So an exception or interrupt ends the
 * run with EXIT_HLT, soft_guest_vector tells which, the frame stands at guest.state.gpr[X86_RSP],
 * and the next run returns from it (first drop an error code yourself).
 */
#ifndef TRAPEZE_TESTS_SOFT_GUEST_H
#define TRAPEZE_TESTS_SOFT_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vm/engine.h"
#include "vm/guestmem.h"

#define SOFT_GUEST_MEMORY UINT64_C(0x400000)
#define SOFT_GUEST_CODE   UINT64_C(0x200000) /* where loaded code goes and starts */
#define SOFT_GUEST_DATA   UINT64_C(0x300000) /* free for the guest, up to the end */
#define SOFT_GUEST_STACK  UINT64_C(0x1f0000)
#define SOFT_GUEST_DEVICE UINT64_C(0x10000000) /* no memory there; mapped in long mode */

enum soft_guest_mode { SOFT_GUEST_32, SOFT_GUEST_64 };

struct soft_guest {
    struct guestmem *memory;
    struct engine_vm *vm;
    struct engine_vcpu *vcpu;
    struct x86_state state; /* put into the vCPU by run, and taken from it afterwards */
    struct vcpu_exit exit;
    bool is_64bit;
    struct interrupt_source interrupts; /* forwards to the one set below, if any */
    const struct interrupt_source *source;
};

/* False (and a failed check printed) when the engine can't be had. */
bool soft_guest_open(struct soft_guest *guest, enum soft_guest_mode mode);
bool soft_guest_open_trapping(struct soft_guest *guest, enum soft_guest_mode mode,
                              enum engine_trap trap);
void soft_guest_close(struct soft_guest *guest);

/* Interrupts come from there from now on. */
void soft_guest_set_interrupts(struct soft_guest *guest, const struct interrupt_source *source);

/* Puts code at SOFT_GUEST_CODE and lets RIP point there. */
void soft_guest_load(struct soft_guest *guest, const uint8_t *code, size_t length);

void soft_guest_write(struct soft_guest *guest, uint64_t address, uint64_t value,
                      unsigned int size);
uint64_t soft_guest_read(struct soft_guest *guest, uint64_t address, unsigned int size);

/*
 * Runs until an exit that is more than a kick. MMIO and port exits come back as they are: fill in
 * what was read and run again.
 */
enum exit_reason soft_guest_run(struct soft_guest *guest);

/* The vector whose stub the guest halted in, or -1. */
int soft_guest_vector(const struct soft_guest *guest);

/* An item of the frame that the vector pushed: 0 is RIP (or the error code, where there is one). */
uint64_t soft_guest_frame(struct soft_guest *guest, unsigned int item);
void soft_guest_set_frame(struct soft_guest *guest, unsigned int item, uint64_t value);

#endif
