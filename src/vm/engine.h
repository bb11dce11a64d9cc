/*
 * The contract between a VM and what virtualises its CPUs.
 *
 * Purpose: run the same VM under KVM, in software, on our own VT-x driver, or with no CPU at all.
 *          Nothing here imitates one engine's system calls.
 * Owner:   engine_vm and engine_vcpu belong to the engine; the VM creates and destroys them.
 * Thread:  noted at each function.
 */
#ifndef TRAPEZE_VM_ENGINE_H
#define TRAPEZE_VM_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "vm/exit.h"
#include "vm/guestmem.h"
#include "vm/irq.h"
#include "x86/cpuid.h"
#include "x86/state.h"

struct engine_vm;   /* each engine defines its own */
struct engine_vcpu; /* likewise */

/* What probe finds out; printed by `trapeze probe` and weighed by `--engine auto`. */
struct engine_probe {
    bool usable;
    char why[256];      /* one line: what it is, or why it can't be used and what to do */
    char details[2048]; /* further lines for `probe`, newline-separated; may be empty */
    double mips;        /* measured millions of guest instructions a second; 0 if not measured */
    double exit_us;     /* measured microseconds of one port exit; 0 if not measured */
};

/*
 * Where the guest's sensitive instructions (x86/sensitive.h) are carried out.
 *
 * ENGINE_TRAP_SHADOW: in the engine, on a state of the processor that is the guest's own; only what
 *                     a device or the monitor must answer leaves it.
 * ENGINE_TRAP_ALL:    each leaves the guest first, as on a machine that can be virtualised by trap
 *                     and emulate: EXIT_INSTRUCTION, or an exit that the engine counts itself.
 *
 * An engine that can't offer a policy refuses it at vm_create: -EINVAL, with the reason.
 */
enum engine_trap { ENGINE_TRAP_SHADOW, ENGINE_TRAP_ALL };

/* What an engine's VM is made from. */
struct engine_vm_options {
    struct guestmem *memory; /* slots are already there; the engine maps them at creation */
    unsigned int vcpu_count;
    uint64_t tsc_hz; /* frequency the guest is told; what the host's TSC runs at */
    enum engine_trap trap;
    const char *arguments; /* engine-specific "key=value,…" from --engine NAME,…; NULL if none */
};

/* What a vCPU is made from. */
struct engine_vcpu_options {
    unsigned int index; /* 0 is the bootstrap processor; the LAPIC id is the same number */
    const struct cpuid_table *cpuid;           /* what the guest is to see; copied */
    const struct interrupt_source *interrupts; /* NULL when ENGINE_HAS_INTERRUPT_CONTROLLERS */
};

#define ENGINE_HAS_INTERRUPT_CONTROLLERS (1u << 0) /* LAPICs, IOAPIC and PIC live in the engine */
#define ENGINE_HAS_CLOCK                 (1u << 1) /* serves the KVM clock MSRs itself */
#define ENGINE_RUNS_NOTHING              (1u << 2) /* null: run returns EXIT_HLT at once */
#define ENGINE_HAS_PIT                   (1u << 3) /* the 8254 and port 0x61 live there too */
/*
 * The LAPICs live in the engine, and with them HLT, INIT and SIPI. Set with
 * ENGINE_HAS_INTERRUPT_CONTROLLERS; without, IOAPIC and PIC are ours: they send their messages by
 * engine_ops.msi, and a vCPU's interrupt_source is the PIC's output.
 */
#define ENGINE_HAS_LOCAL_APICS (1u << 4)

/* MSRs of a local APIC of ours do not come out: no x2APIC and no TSC-deadline timer. */
#define ENGINE_LACKS_APIC_MSRS (1u << 5)

/* What a guest writes to instead of leaving the engine: a device's doorbell. */
struct engine_doorbell {
    uint64_t address; /* a port or a guest physical address */
    uint8_t size;     /* bytes: 1, 2, 4 or 8; 0: any, for memory alone */
    bool is_port;
    bool has_value; /* only writes of that value */
    uint64_t value;
};

#define ENGINE_ROUTES_MAX 256

/* How a counter reads. The last three are left out when `of` is 0. */
enum engine_counter_unit {
    ENGINE_COUNT, /* this and the next two with their share of `of`, if that is not 0 */
    ENGINE_BYTES,
    ENGINE_NANOSECONDS,
    ENGINE_PERCENT,          /* value of `of` */
    ENGINE_RATIO,            /* value for each one of `of` */
    ENGINE_NANOSECONDS_EACH, /* the same, of nanoseconds */
};

/* One line of an engine's statistics. */
struct engine_counter {
    const char *name; /* a string constant; the same name is the same counter on every vCPU */
    enum engine_counter_unit unit;
    uint64_t value, of;
};

#define ENGINE_COUNTERS_MAX 48

struct engine_ops {
    const char *name;    /* as --engine spells it */
    const char *summary; /* a phrase for help texts */
    /* An earlier one in the table that --engine auto prefers wherever it can be used, or NULL. */
    const char *yields_to;

    /* Finds out what this host offers; quick (some milliseconds). Any thread. */
    void (*probe)(struct engine_probe *probe);

    /* VM. One thread, before vCPUs run and after they stopped. */
    int (*vm_create)(const struct engine_vm_options *options, struct engine_vm **out,
                     struct error *error);
    void (*vm_destroy)(struct engine_vm *vm);
    unsigned int (*features)(const struct engine_vm *vm); /* ENGINE_… */
    /* The most that CPUID may show on this engine; the machine takes away and adds topology. */
    int (*cpuid_supported)(struct engine_vm *vm, struct cpuid_table *table, struct error *error);

    /* vCPU. Created and destroyed by the vCPU's own thread. The state is that after RESET. */
    int (*vcpu_create)(struct engine_vm *vm, const struct engine_vcpu_options *options,
                       struct engine_vcpu **out, struct error *error);
    void (*vcpu_destroy)(struct engine_vcpu *vcpu);

    /*
     * Completes what *exit (as served) left open, then runs the guest until the next exit.
     * Returns 0 with *exit filled in; -EINTR or -EAGAIN: nothing happened that needs serving, call
     * again with the same *exit, which the engine has set to EXIT_NONE if it completed it;
     * another -errno: the engine failed, the text in *error. The vCPU's thread.
     * What was left open is an instruction's PIO, MMIO, MSR or hypercall. A run that was kicked
     * completes it and no more; of a string instruction that has more elements to transfer it may
     * return a bounded number of further exits before EXIT_KICKED.
     */
    int (*run)(struct engine_vcpu *vcpu, struct vcpu_exit *exit, struct error *error);

    /*
     * Makes a run in progress return EXIT_KICKED (or the next one, if none is): a kick is never
     * lost. Any thread; async-signal-safe.
     */
    void (*kick)(struct engine_vcpu *vcpu);

    /*
     * Tells the engine that its interrupt_source may have something (or INTR changed): a running
     * guest looks at it before long; no EXIT_KICKED follows. Any thread. NULL if not needed.
     */
    void (*interrupt_changed)(struct engine_vcpu *vcpu);

    /* Queues an NMI. Any thread. */
    int (*nmi)(struct engine_vcpu *vcpu);

    /*
     * groups: a mask of enum x86_state_group. The vCPU's thread, between runs; what an exit left
     * open must have been completed, as of such an instruction half the effects are still to come.
     */
    int (*get_state)(struct engine_vcpu *vcpu, unsigned int groups, struct x86_state *state,
                     struct error *error);
    int (*set_state)(struct engine_vcpu *vcpu, unsigned int groups, const struct x86_state *state,
                     struct error *error);

    /* Guest instructions executed so far, 0 if the engine does not count. The vCPU's thread. */
    uint64_t (*instructions)(const struct engine_vcpu *vcpu);

    /*
     * What else the engine has counted on this vCPU, for --stats: at most max lines, in the order
     * in which they are shown. Returns how many. The vCPU's thread, between runs. NULL: nothing.
     */
    unsigned int (*statistics)(const struct engine_vcpu *vcpu, struct engine_counter *counters,
                               unsigned int max);

    /*
     * The vCPU has not run for a while on purpose, but its clocks went on: tells the guest's kernel
     * where there is a way to, so that its watchdogs do not take it for a lockup. The vCPU's
     * thread, between runs. NULL: there is none.
     */
    void (*stood_still)(struct engine_vcpu *vcpu);

    /*
     * What the guest's TSC is ahead of the host's, modulo 2^64: the local APIC's TSC-deadline
     * timer needs it. The vCPU's thread, also while it serves an exit. NULL: the guest gets no
     * TSC-deadline timer of ours.
     */
    uint64_t (*tsc_offset)(const struct engine_vcpu *vcpu);

    /*
     * Only with ENGINE_HAS_INTERRUPT_CONTROLLERS. Any thread. gsi 0..15 are the ISA interrupts:
     * the 8259 input and the IOAPIC input of that number, but for 0, which is IOAPIC input 2 as
     * on every PC; 16..23 are IOAPIC inputs.
     */
    int (*irq_line)(struct engine_vm *vm, unsigned int gsi, bool level);

    /* Only with ENGINE_HAS_LOCAL_APICS. Sends a message to them. Any thread. */
    int (*msi)(struct engine_vm *vm, const struct msi_message *message);

    /*
     * Only with ENGINE_HAS_LOCAL_APICS. From now on gsi means this message. Where the IOAPIC is
     * ours, 0..23 are its inputs: the engine learns so of which vectors the end of interrupt
     * matters (EXIT_EOI); others are for irq_event. Under the device lock. At most
     * ENGINE_ROUTES_MAX; -ENOSPC beyond.
     */
    int (*msi_route)(struct engine_vm *vm, unsigned int gsi, const struct msi_message *message);

    /*
     * Signals of an eventfd raise a gsi of msi_route (or stop to do so). Any thread. NULL: not
     * offered. -EOPNOTSUPP: by this engine, but not on this host; the device then calls msi.
     */
    int (*irq_event)(struct engine_vm *vm, int event, unsigned int gsi, bool on,
                     struct error *error);

    /*
     * Writes to a doorbell signal an eventfd, and do not leave the engine. Any thread. NULL and
     * -EOPNOTSUPP as with irq_event; the writes then come out as exits.
     */
    int (*doorbell)(struct engine_vm *vm, int event, const struct engine_doorbell *doorbell,
                    bool on, struct error *error);
};

/*
 * The engines that are built in, best first; ends with NULL. The one table is in
 * src/machine/engines.c, the lowest layer that may see every engine.
 */
extern const struct engine_ops *const engine_table[];

#endif
