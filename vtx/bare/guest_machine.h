/*
 * A guest with a PC around it: the devices of src/chipset wired as for every other engine.
 *
 * Purpose: what src/machine and the run loop of src/vm are to a process, for the image.
 * machine/pc.c wires the devices, vm/vcpu_exit.c serves the exits, boot/boot.c loads the kernel,
 * all unchanged; guest_machine.c brings them together with the VT-x core. Owner:   the image has
 * one at a time. Thread:  the first processor.
 */
#ifndef TRAPEZE_VTX_BARE_GUEST_MACHINE_H
#define TRAPEZE_VTX_BARE_GUEST_MACHINE_H

#include "backends/panic_watcher.h"
#include "boot/request.h"
#include "machine/pc.h"
#include "vm/vm.h"
#include "vtx/bare/guest_memory.h"
#include "vtx/bare/root_mode.h"
#include "vtx/core/vcpu.h"

struct guest_machine {
    struct root_mode *root;
    struct vm vm;
    struct pc pc;
    struct guestmem memory;
    struct boot_memory_layout layout;
    struct vtx_vm vtx_vm;
    struct vtx_vcpu vcpu;
    struct cpuid_table cpuid;
    struct panic_watcher panic;  /* listens to the guest's console */
    bool escaped;                /* Ctrl-A was typed */
    unsigned int shown, to_show; /* entries and exits: trace=N */
};

struct guest_options {
    uint64_t memory; /* bytes, a multiple of 2 MiB */
    uint8_t *piece;  /* so many bytes of the machine's memory, of zeroes, 2 MiB aligned */
    enum vtx_policy policy;
    unsigned int to_show; /* so many entries and exits are printed: docs/bare-metal.md */
};

/* Makes the machine; *machine is overwritten. The text says what failed. */
bool guest_machine_create(struct guest_machine *machine, struct root_mode *root,
                          const struct guest_options *options, struct error *error);

/* Loads what the request names; layout and ACPI tables are filled in here. */
bool guest_machine_load(struct guest_machine *machine, struct boot_request *request,
                        struct error *error);

/* Runs until the guest ends or, with a limit that is not 0, time is up. */
enum vm_outcome guest_machine_run(struct guest_machine *machine, uint64_t limit_ns);

void guest_machine_destroy(struct guest_machine *machine);

/*
 * How the run ended, in the words and with the exit code of `trapeze run`. text: room for size
 * characters.
 */
int guest_machine_outcome(const struct guest_machine *machine, char *text, size_t size);

/* VM exits by basic exit reason. */
void guest_machine_print_exits(const struct guest_machine *machine);

#endif
