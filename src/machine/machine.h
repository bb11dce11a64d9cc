/*
 * A machine: a VM, the devices of a PC, and what boots on it.
 *
 * Purpose: src/cli parses and prints; everything between "these options" and "this is how it
 *          ended" is here.
 * Owner:   whoever called machine_create; the console stays the caller's and outlives the machine.
 * Thread:  all on one thread, but for machine_stop and machine_print_stats: any.
 */
#ifndef TRAPEZE_MACHINE_MACHINE_H
#define TRAPEZE_MACHINE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "backends/console.h"
#include "base/error.h"
#include "boot/boot.h"
#include "vm/vm.h"

struct machine;

struct machine_options {
    const struct engine_ops *engine;
    const char *engine_arguments; /* may be NULL */
    enum engine_trap trap;        /* what leaves the engine */
    const char *cpu;              /* a model of machine/cpu_model.h; NULL: all that there is */
    uint64_t memory_bytes;
    unsigned int vcpu_count;
    const unsigned int *affinity; /* as struct vm_options has it */
    unsigned int affinity_count;
    uint16_t debug_exit_port;
    bool has_test_device;     /* chipset/test_device.h */
    struct console *console;  /* COM1; opened, not started */
    struct exit_trace *trace; /* of as many vCPUs; stays the caller's. NULL: none */
};

/*
 * Makes the VM and its devices. Nothing runs yet.
 * Errors: -EINVAL for options that make no machine; what the engine or the host says.
 */
int machine_create(const struct machine_options *options, struct machine **out,
                   struct error *error);

/*
 * Loads what is to be booted. The request's layout, acpi and random_seed are filled in here.
 * Errors: those of boot_load.
 */
int machine_load(struct machine *machine, const struct boot_request *request, struct error *error);

/* Starts the console and the vCPUs. Errors: the host's. */
int machine_start(struct machine *machine, struct error *error);

/* Ends the run; the first call decides the outcome. text may be NULL. */
void machine_stop(struct machine *machine, enum vm_outcome outcome, int code, const char *text);

/*
 * Makes the guest stand still, or undoes one such call; vm_pause of vm/vm.h has the rules. Any
 * thread but a vCPU's, also before the start and after the end.
 */
void machine_pause(struct machine *machine, bool pause);

/* How a run ended. */
struct machine_result {
    enum vm_outcome outcome;
    int code;
    char text[512]; /* the panic's words, the engine's error; may be empty */
};

/* Waits for the end. The console is finished then: all output is written. */
void machine_wait(struct machine *machine, struct machine_result *result);

/* The VM, for reports: its vCPUs' last states after machine_wait. */
struct vm *machine_vm(struct machine *machine);

/* The table of exits, and the guest instructions so far. */
void machine_print_stats(struct machine *machine, FILE *out);

/* Stops it first if it still runs. NULL is allowed. */
void machine_destroy(struct machine *machine);

#endif
