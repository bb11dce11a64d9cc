/*
 * A small guest for one test: memory, a vCPU in a mode, and what a test asks of it.
 *
 * Owner:   the test's; made and ended by it. There is no chipset: each exit is the test's.
 * Thread:  the first processor.
 */
#ifndef TRAPEZE_VTX_BARE_SMALL_GUEST_H
#define TRAPEZE_VTX_BARE_SMALL_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "boot/request.h"
#include "vtx/bare/guest_memory.h"
#include "vtx/bare/root_mode.h"
#include "vtx/bare/small_guest_layout.h"
#include "vtx/core/vcpu.h"

/* A test as it runs. */
struct small_test {
    struct root_mode *root;
    const char *name;
    uint8_t *memory; /* GUEST_SIZE bytes and two pages, aligned to 2 MiB */
    bool failed;
};

/* A guest's code, from guests.S: use SMALL_GUEST(name). */
struct small_code {
    const uint8_t *begin, *end;
};

#define SMALL_GUEST_CODE(name) extern const uint8_t guest_##name[], guest_##name##_end[]
#define SMALL_GUEST(name)      ((struct small_code){guest_##name, guest_##name##_end})

struct small_guest {
    struct small_test *test;
    struct guestmem memory;
    struct vtx_vm vm;
    struct vtx_vcpu vcpu;
    struct cpuid_table cpuid;
    struct x86_state state;
};

/* Says what was found wrong; the first line of a test names it. */
void small_test_fail(struct small_test *test, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Fails the test if the condition is false; what: a phrase of what should be. */
bool small_test_check(struct small_test *test, bool condition, const char *what);

/*
 * Makes the guest, loads its code, and sets the state of the mode; general registers may be set in
 * guest->state before small_guest_start. False if it could not be made, which fails the test.
 */
bool small_guest_make(struct small_guest *guest, struct small_test *test, struct small_code code,
                      enum boot_mode mode);
void small_guest_start(struct small_guest *guest);
void small_guest_end(struct small_guest *guest);

/* Runs until something leaves that is not the machine's own interrupt. */
enum vtx_outcome small_guest_run(struct small_guest *guest);

/* Runs, and fails the test unless the next exit is that one. */
bool small_guest_expect(struct small_guest *guest, enum exit_reason reason);
/* Likewise: a write of this value to this port, in one element. */
bool small_guest_expect_out(struct small_guest *guest, uint16_t port, uint32_t value);
/* The same without looking at the value. Returns it. */
uint32_t small_guest_out(struct small_guest *guest, uint16_t port);

/* Gives the guest, in protected mode, an IDT whose 32 vectors show their number and error code. */
void small_guest_give_idt(struct small_guest *guest);

#define IDT_PORT_VECTOR 0x30
#define IDT_PORT_ERROR  0x31

#endif
