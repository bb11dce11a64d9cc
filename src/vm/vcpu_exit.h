/*
 * Serving an exit: the buses, the platform's MSRs, and the exits that end the run.
 *
 * Purpose: used by vcpu.c only.
 * Thread:  the vCPU's own; takes the device lock where it calls devices.
 */
#ifndef TRAPEZE_VM_VCPU_EXIT_H
#define TRAPEZE_VM_VCPU_EXIT_H

#include "vm/vm.h"

/* What an exit is counted under. */
struct exit_account {
    uint64_t key;
    const char *name; /* of the device; NULL if none */
};

/* Serves vcpu->exit and fills in what the guest reads. EXIT_HLT is not for it: vcpu.c waits. */
struct exit_account vcpu_serve_exit(struct vcpu *vcpu);

#endif
