/*
 * The sensitive instructions of x86: those that show or change the state of the machine as a whole.
 *
 * Purpose: one table for whoever lets a guest run and wants to know of them: the soft engine's
 *          `--trap all`, the names in statistics and traces, docs/hardware-assist.md.
 * Source:  Popek and Goldberg, "Formal Requirements for Virtualizable Third Generation
 *          Architectures" (1974); Robin and Irvine, "Analysis of the Intel Pentium's Ability to
 *          Support a Secure Virtual Machine Monitor" (2000); Intel SDM volume 2, "Instruction Set
 *          Reference"; volume 3, "Instructions That Cause VM Exits" and "VM-Execution Control
 *          Fields".
 * Owner, thread: constants only. Freestanding.
 */
#ifndef TRAPEZE_X86_SENSITIVE_H
#define TRAPEZE_X86_SENSITIVE_H

#include <stdbool.h>

#include "x86/decode/operation.h"

/* What user mode, which a classical monitor gives a guest, does with it. */
enum x86_sensitivity {
    X86_SENSITIVE_NOT,         /* innocuous: there is no row */
    X86_SENSITIVE_PRIVILEGED,  /* it faults: a monitor learns of it */
    X86_SENSITIVE_BY_IOPL,     /* it faults if CPL > IOPL (or the ports' bitmap says so) */
    X86_SENSITIVE_UNPRIVILEGED /* it runs, and shows or does the wrong thing: nobody learns of it */
};

struct x86_sensitive {
    const char *name;    /* as people call it: "mov to cr"; NULL: no row */
    const char *why;     /* what it shows or changes */
    const char *section; /* title of its page in volume 2 of the manual */
    const char *vtx; /* the VM-execution control by which VT-x makes it exit; NULL: there is none */
    enum x86_sensitivity sensitivity;
    bool is_of_pentium; /* one of those that Robin and Irvine found in the Pentium's set */
    /*
     * What it asks for is the monitor's to do (a device, a halt, a hypercall), so it leaves the
     * guest under every policy, by an exit of its own.
     */
    bool always_leaves;
};

/* The row of an operation, or NULL if it is innocuous. */
const struct x86_sensitive *x86_sensitive_find(enum x86_operation operation);

#endif
