/*
 * The smallest guests: a few bytes of code in one of four CPU modes.
 *
 * Purpose: the probe tries this host's KVM with them, and so do the tests.
 * Owner:   none; works on the caller's memory and state.
 * Thread:  any.
 */
#ifndef TRAPEZE_ENGINES_KVM_KVM_GUEST_H
#define TRAPEZE_ENGINES_KVM_KVM_GUEST_H

#include "vm/guestmem.h"
#include "x86/state.h"

enum kvm_guest_mode {
    KVM_GUEST_REAL,
    KVM_GUEST_PROTECTED, /* 32 bits, flat segments, no paging */
    KVM_GUEST_PAGED,     /* the same with 4 MiB pages */
    KVM_GUEST_LONG,
    KVM_GUEST_MODES
};

#define KVM_GUEST_ENTRY  0x8000u  /* where its code goes */
#define KVM_GUEST_STACK  0x7000u  /* grows down from here */
#define KVM_GUEST_TABLES 0x2000u  /* page tables, three pages; 64 MiB are mapped one to one */
#define KVM_GUEST_MEMORY 0x10000u /* what it needs at least */

/* "real mode" and so on; a string constant. */
const char *kvm_guest_mode_name(enum kvm_guest_mode mode);

/*
 * Writes code and page tables into memory and turns *state, a vCPU's state after RESET, into
 * that at the code's first instruction. Returns 0 or -EFAULT (too little memory).
 */
int kvm_guest_prepare(struct guestmem *memory, enum kvm_guest_mode mode, const uint8_t *code,
                      size_t length, struct x86_state *state);

#endif
