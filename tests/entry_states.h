/*
 * States that VM entry accepts, one for each mode: where the tests of the entry checks start.
 *
 * Owner: plain data. Thread: any.
 */
#ifndef TRAPEZE_TESTS_ENTRY_STATES_H
#define TRAPEZE_TESTS_ENTRY_STATES_H

#include "x86/entry_state.h"

enum entry_start {
    START_REAL,
    START_PROTECTED, /* 32 bits, no paging */
    START_PAGED,     /* the same with 32-bit paging */
    START_PAE,
    START_LONG,
    START_COMPATIBILITY, /* 32-bit code in IA-32e mode */
    START_VIRTUAL_8086,
    START_RESTRICTED, /* as paged, without "unrestricted guest" */
    START_COUNT
};

void entry_start(enum entry_start start, struct entry_guest_state *state);

#endif
