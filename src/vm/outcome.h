/*
 * How a VM's run ends. src/cli turns each into an exit code and a sentence.
 *
 * Owner, thread: constants and plain data. Freestanding.
 */
#ifndef TRAPEZE_VM_OUTCOME_H
#define TRAPEZE_VM_OUTCOME_H

enum vm_outcome {
    VM_RUNNING,
    VM_POWERED_OFF,  /* ACPI S5 */
    VM_DEBUG_EXIT,   /* the debug-exit port; code is what the guest asked for */
    VM_RESET,        /* the guest asked for a reset: 0xCF9, i8042, ACPI reset register */
    VM_PANICKED,     /* pvpanic, or a reset after the kernel said it panicked */
    VM_TRIPLE_FAULT, /* shutdown state */
    VM_TIMED_OUT,    /* --timeout */
    VM_STUCK,        /* halted with interrupts off on every vCPU: nothing can wake it */
    VM_QUIT,         /* a person asked: Ctrl-A x, SIGTERM, SIGINT */
    VM_ENGINE_FAILED /* the engine or the host: see the error text */
};

/* How devices tell the machine that the run is over; the first one wins. */
struct machine_control {
    void (*stop)(void *context, enum vm_outcome outcome, int code);
    void *context;
};

#endif
