/*
 * A virtual machine: memory, buses, devices' lock and clock, vCPU threads, and how it ended.
 *
 * Purpose: everything that is the same for each engine and each machine type.
 * Owner:   whoever called vm_create; the machine (src/machine) wires devices to it.
 * Thread:  creation, start and destruction on one thread; vm_stop, vm_signal_* from any.
 *
 * Locks: vm->device_lock guards every device, both buses and the timers. It is taken by the run
 * loop around bus_serve, by the event thread around timers and backend events, and by the
 * interrupt_source functions. Devices never take it themselves. vm->lock is taken for moments by
 * vm_stop and vm_signal_*, which devices call: device_lock first, then vm->lock, never the reverse.
 */
#ifndef TRAPEZE_VM_VM_H
#define TRAPEZE_VM_VM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/event_count.h"
#include "vm/bus.h"
#include "vm/engine.h"
#include "vm/engine_counters.h"
#include "vm/outcome.h"
#include "vm/timer.h"

#define VM_VCPUS_MAX 64

struct exit_stats; /* vm/exit_stats.h: counts and times by reason and by port or address */
struct exit_trace; /* vm/exit_trace.h: each exit, into a file */
struct exit_trace_lane;
struct event_loop; /* base/event_loop.h */
struct vm_timers;  /* vm/vm_timers.h: the timer_host on the event loop */
struct vcpu;

struct vm_options {
    const struct engine_ops *engine;
    const char *engine_arguments; /* may be NULL */
    struct guestmem *memory;      /* taken over: destroyed with the VM */
    unsigned int vcpu_count;      /* 1..VM_VCPUS_MAX */
    /* Host CPUs: vCPU i's thread runs on affinity[i % affinity_count] alone; 0: anywhere. */
    const unsigned int *affinity;
    unsigned int affinity_count;
    uint64_t tsc_hz;          /* of the host's time-stamp counter, not 0 */
    enum engine_trap trap;    /* what leaves the engine */
    struct exit_trace *trace; /* of as many vCPUs; stays the caller's. NULL: none */
};

/* What a machine does about MSR and hypercall exits; NULL functions refuse. */
struct vm_platform {
    /* Returns false for #GP(0). Called with the device lock held. */
    bool (*rdmsr)(void *context, unsigned int vcpu, uint32_t index, uint64_t *value);
    bool (*wrmsr)(void *context, unsigned int vcpu, uint32_t index, uint64_t value);
    const struct interrupt_source *(*interrupts)(void *context, unsigned int vcpu);
    /* The end of an interrupt with this vector (EXIT_EOI). Called with the device lock held. */
    void (*end_of_interrupt)(void *context, uint8_t vector);
    /*
     * True while a device may yet wake a CPU that is halted with interrupts off (by NMI, INIT,
     * reset). NULL: never. Called with the device lock held; see VM_STUCK.
     */
    bool (*may_wake_halted)(void *context);
    void *context;
};

struct vcpu {
    struct vm *vm;
    unsigned int index;
    struct engine_vcpu *engine_vcpu; /* published and withdrawn by its thread under vm->lock */
    struct vcpu_exit exit; /* after vm_wait: the last one, with the exceptions of a triple fault */
    struct exit_stats *stats;
    struct exit_trace_lane *trace;             /* NULL: exits are not traced */
    const struct interrupt_source *interrupts; /* NULL: nothing to ask */
    pthread_t thread;
    bool thread_started;
    bool is_pinned; /* to the host's CPU host_cpu */
    unsigned int host_cpu;
    struct event_count wake; /* signalled when a request or an interrupt may have come */
    /* Requests from other threads, bits of VCPU_REQUEST_…; set, then kick. */
    atomic_uint requests;
    atomic_uint nmis; /* how many, with VCPU_REQUEST_NMI */
    atomic_uint sipi_vector;
    bool waiting_for_sipi; /* its thread only */
    bool halted;           /* likewise: in HLT, which the engine has left to us */
    uint64_t served; /* likewise: clock_tsc() when the last exit had been served; 0: long ago */
    /* What CPUID shows on it; filled in before vm_start, else vm->cpuid is taken as it is. */
    struct cpuid_table cpuid;
    struct x86_state initial; /* the state it starts with: after RESET, unless changed */
    int creation;             /* 0, or the -errno with which its engine part could not be made */
    struct error error;       /* why its engine failed */
    /* What its thread leaves behind when it ends, for people; to be read after vm_wait. */
    struct x86_state final;
    bool final_known;           /* false when the engine could not tell, or it never ran */
    atomic_ullong instructions; /* engine_ops.instructions, as of its last exit; any thread */
    /* engine_ops.statistics, under vm->lock: as of its last halt, its end, or when asked for. */
    struct engine_counters counters;
    /* Of vm/halt_watch.h, under vm->lock: answers in a row that it sleeps, and where. */
    unsigned int asleep_answers;
    unsigned int asleep_round; /* of the last answer */
    uint64_t asleep_rip;
    atomic_bool counters_wanted; /* at its next exit; set by any thread, cleared by its own */
};

#define VCPU_REQUEST_STOP       1u
#define VCPU_REQUEST_INIT       2u
#define VCPU_REQUEST_SIPI       4u
#define VCPU_REQUEST_NMI        8u
#define VCPU_REQUEST_HALT_WATCH 16u /* whether it has halted for good: vm/halt_watch.h */
#define VCPU_REQUEST_PAUSE      32u /* to stand still: vm/pause.h */

struct vm {
    const struct engine_ops *engine;
    struct engine_vm *engine_vm;
    struct guestmem *memory;
    struct exit_trace *trace; /* NULL: none */
    struct bus ports, mmio;
    pthread_mutex_t device_lock;
    struct event_loop *events;
    struct vm_timers *timers; /* its timer_host is what devices get */
    struct timer halt_watch;
    struct vm_platform platform;
    uint64_t ns_of_ticks; /* nanoseconds of 2^32 ticks of the host's time-stamp counter */
    unsigned int vcpu_count;
    struct vcpu vcpus[VM_VCPUS_MAX];
    unsigned int engine_features; /* ENGINE_… */
    /* What the engine supports: the template from which the machine makes each vcpu.cpuid. */
    struct cpuid_table cpuid[1];

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    enum vm_outcome outcome; /* VM_RUNNING until the first vm_stop */
    int outcome_code;
    unsigned int outcome_vcpu; /* whose exit decided it; VM_VCPUS_MAX when none did */
    char outcome_text[512];    /* details for people: the panic's words, the engine's error */
    unsigned int halt_round;   /* how often halt_watch.h has asked all vCPUs */
    unsigned int halted;       /* vCPUs that wait in HLT or for SIPI and no interrupt can wake */
    unsigned int created;      /* vCPUs whose engine part is there, or could not be made */
    unsigned int running;      /* of these, those that are there and have not ended */
    unsigned int pauses;       /* vm_pause without vm_resume so far */
    unsigned int parked;       /* vCPUs that stand still */
    bool go;                   /* all are: the vCPUs may run */
};

/* On an error options->memory still belongs to the caller. */
int vm_create(const struct vm_options *options, struct vm **out, struct error *error);
void vm_destroy(struct vm *vm); /* stops it first if it still runs */

/*
 * Starts the vCPU threads and the event thread. Before that the machine has filled in
 * vm->platform, mapped its devices and given vCPU 0 its initial state (the others start waiting
 * for SIPI unless their initial.activity says otherwise).
 */
int vm_start(struct vm *vm, struct error *error);

/* Ends the run; the first call decides the outcome. Any thread. text may be NULL. */
void vm_stop(struct vm *vm, enum vm_outcome outcome, int code, const char *text);

/* The same on account of a vCPU's exit, so that its registers are worth showing. */
void vm_stop_by(struct vm *vm, unsigned int vcpu, enum vm_outcome outcome, int code,
                const char *text);

/*
 * Waits until the VM has stopped and every vCPU thread and the event thread have ended. Returns
 * the outcome. One thread, the one that will destroy the VM.
 */
enum vm_outcome vm_wait(struct vm *vm);

/*
 * Makes the guest stand still: when it returns no vCPU runs or serves an exit, and until vm_resume
 * no timer of a device expires (vm/pause.h has the rules for clocks). Pauses nest: each is undone
 * by one vm_resume, whatever it returned. Interrupts that come meanwhile are taken afterwards.
 * False if the run is over instead. Any thread but a vCPU's and the event thread, without locks.
 */
bool vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);

/* From an interrupt controller, with or without the device lock. */
void vm_signal_interrupt(struct vm *vm, unsigned int vcpu); /* its interrupt_source changed */
void vm_signal_init(struct vm *vm, unsigned int vcpu);
void vm_signal_sipi(struct vm *vm, unsigned int vcpu, uint8_t vector);
void vm_signal_nmi(struct vm *vm, unsigned int vcpu);

/* The timer host for devices. */
struct timer_host *vm_timer_host(struct vm *vm);

/*
 * Makes the vCPUs account for what they have done so far: a guest that needs no service may not
 * have left the engine for minutes. Waits some milliseconds for that, not for ever. Any thread.
 */
void vm_update_stats(struct vm *vm);

/* Prints the table of exits and the engine's counters over all vCPUs; may be called while the VM
 * runs. */
void vm_print_stats(struct vm *vm, FILE *out);

#endif
