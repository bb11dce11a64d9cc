/*
 * What the files of the engine vtx share.
 *
 *   vtx_device.c      opening /dev/trapeze, and what to say when that fails
 *   vtx_vm.c          the VM: memory, CPUID; the table of functions
 *   vtx_vcpu.c        a vCPU: creation, kicks, state
 *   vtx_run.c         running: interrupts, the module's exits put into ours
 *   vtx_clock.c       MSRs of the paravirtual clock
 *   vtx_statistics.c  counters for --stats
 *   vtx_probe.c       whether it works here, and how fast
 *   vtx_abi.c         state in the form of the device; the module compiles it, too
 *
 * Owner: the engine. Thread: as vm/engine.h says for each function.
 */
#ifndef TRAPEZE_ENGINES_VTX_VTX_INTERNAL_H
#define TRAPEZE_ENGINES_VTX_VTX_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/device_call.h"
#include "trapeze/vtx.h"
#include "vm/engine.h"

struct engine_vm {
    int device; /* /dev/trapeze */
    int fd;
    struct guestmem *memory;
    uint64_t tsc_hz;
};

struct engine_vcpu {
    struct engine_vm *vm;
    unsigned int index;
    int fd;
    struct trapeze_vtx_run *run; /* shared with the module */
    const struct interrupt_source *interrupts;
    struct run_kick kick;
    atomic_uint nmis_waiting; /* to be handed to the module before the next entry */
    /* The rest is the owner's. */
    uint8_t cr8;                              /* as last seen by the guest */
    enum x86_activity activity;               /* what the last exit has made of it */
    uint64_t system_time_msr, wall_clock_msr; /* of the paravirtual clock */
    struct trapeze_vtx_state state;           /* for a call: too large for a stack, and aligned */
};

/*
 * Opens path, checks that it is the module and speaks our version. Returns the descriptor or
 * -errno. Whether VT-x works on this processor is another question: vtx_check_processor.
 */
int vtx_open_device(const char *path, struct error *error);
int vtx_check_processor(int device, struct error *error);

int vtx_vm_create(const struct engine_vm_options *options, struct engine_vm **out,
                  struct error *error);
void vtx_vm_destroy(struct engine_vm *vm);
int vtx_cpuid_supported(struct engine_vm *vm, struct cpuid_table *table, struct error *error);

int vtx_doorbell(struct engine_vm *vm, int event, const struct engine_doorbell *doorbell, bool on,
                 struct error *error);

/* The table in the form of the device; entries has room for CPUID_ENTRIES_MAX. */
void vtx_cpuid_to_device(const struct cpuid_table *table, struct trapeze_vtx_cpuid_entry *entries);

int vtx_vcpu_create(struct engine_vm *vm, const struct engine_vcpu_options *options,
                    struct engine_vcpu **out, struct error *error);
void vtx_vcpu_destroy(struct engine_vcpu *vcpu);
void vtx_vcpu_kick(struct engine_vcpu *vcpu);
void vtx_vcpu_interrupt_changed(struct engine_vcpu *vcpu);
int vtx_vcpu_nmi(struct engine_vcpu *vcpu);
int vtx_vcpu_get_state(struct engine_vcpu *vcpu, unsigned int groups, struct x86_state *state,
                       struct error *error);
int vtx_vcpu_set_state(struct engine_vcpu *vcpu, unsigned int groups, const struct x86_state *state,
                       struct error *error);
uint64_t vtx_vcpu_tsc_offset(const struct engine_vcpu *vcpu);

int vtx_vcpu_run(struct engine_vcpu *vcpu, struct vcpu_exit *exit, struct error *error);

/* Serves *exit if it is of an MSR of the clock: then it returns true, and the guest goes on. */
bool vtx_serve_clock(struct engine_vcpu *vcpu, struct vcpu_exit *exit);

/* After the TSC was set: the guest's picture of the clock again. */
void vtx_update_clock(struct engine_vcpu *vcpu);

unsigned int vtx_vcpu_statistics(const struct engine_vcpu *vcpu, struct engine_counter *counters,
                                 unsigned int max);

/* The lines that show what was counted; apart from the call so that it can be tested. */
unsigned int vtx_statistics_rows(const struct trapeze_vtx_statistics *statistics,
                                 struct engine_counter *counters, unsigned int max);

void vtx_probe(struct engine_probe *probe);

#endif
