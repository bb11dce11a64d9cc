/*
 * The small guests: what they test is VT-x and the core, on this very machine.
 *
 * Owner:   nothing is kept.
 * Thread:  the first processor, in root mode.
 */
#ifndef TRAPEZE_VTX_BARE_SMALL_GUESTS_H
#define TRAPEZE_VTX_BARE_SMALL_GUESTS_H

#include <stdbool.h>

#include "vtx/bare/root_mode.h"
#include "vtx/bare/small_guest.h"

/*
 * One test. With code, run gets a guest that has been made in that mode but not started (registers
 * may yet be set), and which is ended afterwards; without, alone is called.
 */
struct small_test_entry {
    const char *name;
    struct small_code code;
    enum boot_mode mode;
    void (*run)(struct small_guest *guest);
    void (*alone)(struct small_test *test);
};

/* One table a file: small_tests_….c. */
struct small_test_table {
    const struct small_test_entry *entries;
    unsigned int count;
};

extern const struct small_test_table small_tests_modes, small_tests_devices, small_tests_registers,
    small_tests_events, small_tests_refusals, small_tests_machine;

/*
 * Runs the tests whose names begin with `name` (NULL: all) and prints, as the last line,
 * "N passed, N failed, N skipped". True if none has failed.
 */
bool small_guests_run(struct root_mode *root, const char *name);

#endif
