/*
 * The local APICs of all vCPUs, in xAPIC (MMIO) and x2APIC (MSR) mode.
 *
 * Purpose: interrupt messages in, one vector at a time out to each vCPU; the local timer; IPIs.
 * Source:  Intel SDM volume 3, "Advanced Programmable Interrupt Controller (APIC)".
 * Owner:   the machine embeds a struct lapics.
 * Thread:  everything under the device lock, lapic_pending_hint excepted. Freestanding.
 */
#ifndef TRAPEZE_CHIPSET_LAPIC_H
#define TRAPEZE_CHIPSET_LAPIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vm/bus.h"
#include "vm/irq.h"
#include "vm/timer.h"

#define LAPICS_MAX         64
#define LAPIC_DEFAULT_BASE UINT64_C(0xfee00000)
#define LAPIC_WINDOW_SIZE  0x1000u
/* The timer's input clock before its divider: 1 tick is 1 ns. */
#define LAPIC_TIMER_HZ UINT64_C(1000000000)

/* What the local APICs ask of the vCPUs. The machine binds these to vm_signal_…. */
struct lapic_signals {
    void (*interrupt_changed)(void *context, unsigned int vcpu);
    void (*init)(void *context, unsigned int vcpu);
    void (*sipi)(void *context, unsigned int vcpu, uint8_t vector);
    void (*nmi)(void *context, unsigned int vcpu);
    /*
     * The first CPU moves its registers to a page: bus_map of LAPIC_WINDOW_SIZE bytes with
     * lapic_window_io and this device; false if the page is taken. The last CPU leaves a page that
     * was mapped: bus_unmap. With NULL, registers are nowhere in memory.
     */
    bool (*map_window)(void *context, uint64_t base, void *device);
    void (*unmap_window)(void *context, uint64_t base);
};

struct lapics_config {
    unsigned int count; /* vCPUs, 1..LAPICS_MAX; the APIC id is the index */
    struct timer_host *timers;
    bool has_x2apic;          /* as CPUID tells the guest */
    bool has_tsc_deadline;    /* likewise */
    bool has_eoi_suppression; /* version register bit 24; only with an IOAPIC of version 0x20 */
    uint8_t physical_address_bits;       /* MAXPHYADDR, for the reserved bits of IA32_APIC_BASE */
    const struct lapic_signals *signals; /* kept, not copied */
    void *signals_context;
    /*
     * The timer_host time at which a vCPU's TSC reaches a value; any time that has passed if it
     * is there already, UINT64_MAX for never. Needed with has_tsc_deadline. Only ever called from
     * lapics_wrmsr and lapics_tsc_changed, that is, on the thread of the vCPU that is meant.
     */
    uint64_t (*time_of_tsc)(void *context, unsigned int vcpu, uint64_t tsc);
    void *tsc_context;
    /* The 8259A's INTA sequence; NULL if there is none. */
    int (*pic_acknowledge)(void *context);
    void *pic_context;
    /* End of a level-triggered interrupt, for the I/O APIC; NULL if there is none. */
    void (*eoi)(void *context, uint8_t vector);
    void *eoi_context;
};

enum lapic_lvt {
    LAPIC_LVT_TIMER,
    LAPIC_LVT_THERMAL,
    LAPIC_LVT_PERFORMANCE,
    LAPIC_LVT_LINT0,
    LAPIC_LVT_LINT1,
    LAPIC_LVT_ERROR,
    LAPIC_LVT_COUNT
};

/* A page of guest physical addresses at which some CPUs have their registers. */
struct lapic_window {
    struct lapics *lapics;
    uint64_t base;
    unsigned int users; /* 0: free */
    bool mapped;
};

/* One local APIC. Register names as in the manual. */
struct lapic {
    struct lapics *lapics;
    unsigned int index;
    uint64_t base; /* IA32_APIC_BASE */
    bool in_window;
    uint64_t window_base; /* the page it has joined */
    uint32_t id;          /* 8 bits in xAPIC mode */
    uint32_t ldr, dfr, tpr, svr;
    uint32_t isr[8], tmr[8], irr[8];
    uint32_t esr;    /* as read */
    uint32_t errors; /* collected since the last write to ESR */
    uint64_t icr;    /* destination in bits 63:32 (63:56 in xAPIC mode) */
    uint32_t lvt[LAPIC_LVT_COUNT];
    uint32_t initial_count;
    uint32_t divide_configuration;
    uint64_t timer_start; /* one-shot and periodic: when the count was (as if) loaded */
    uint64_t timer_next;  /* when it reaches zero next; 0: stopped */
    uint64_t tsc_deadline;
    struct timer timer;
    bool lint[2];          /* levels of the two pins */
    bool extint_requested; /* by a message of delivery mode ExtINT */
    atomic_bool pending_hint;
};

struct lapics {
    struct lapics_config config;
    unsigned int last_lowest; /* who took the last lowest-priority message: ties go round */
    struct lapic apics[LAPICS_MAX];
    struct lapic_window windows[LAPICS_MAX + 1];
};

/* After this every APIC is as after power-up; the first window is mapped through the signals. */
void lapics_init(struct lapics *lapics, const struct lapics_config *config);
void lapics_reset(struct lapics *lapics);

/*
 * What firmware leaves behind ("virtual wire mode"): vCPU 0's APIC software-enabled with LINT0 as
 * ExtINT, LINT1 as NMI. Call after a reset if no firmware runs.
 */
void lapics_set_virtual_wire(struct lapics *lapics);

/*
 * For struct interrupt_source. lapic_pending_hint is one atomic load and may be called without
 * the lock; the others need it. acknowledge returns a vector or -1.
 */
static inline bool lapic_pending_hint(const struct lapics *lapics, unsigned int vcpu)
{
    return atomic_load_explicit(&lapics->apics[vcpu].pending_hint, memory_order_acquire);
}
bool lapic_pending(struct lapics *lapics, unsigned int vcpu);
int lapic_acknowledge(struct lapics *lapics, unsigned int vcpu);
uint8_t lapic_get_cr8(const struct lapics *lapics, unsigned int vcpu);
void lapic_set_cr8(struct lapics *lapics, unsigned int vcpu, uint8_t value);

/* An interrupt message. Returns false if no local APIC accepted it. lapics is a struct lapics. */
bool lapics_msi(void *lapics, const struct msi_message *message);

/* irq_line targets: the pin of one vCPU's APIC (index). The PIC's output goes to LINT0 of 0. */
void lapics_set_lint0(void *lapics, unsigned int index, bool level);
void lapics_set_lint1(void *lapics, unsigned int index, bool level);

/* True for IA32_APIC_BASE, IA32_TSC_DEADLINE and the x2APIC range. */
bool lapics_owns_msr(uint32_t index);
/* Both return false for #GP(0). */
bool lapics_rdmsr(struct lapics *lapics, unsigned int vcpu, uint32_t index, uint64_t *value);
bool lapics_wrmsr(struct lapics *lapics, unsigned int vcpu, uint32_t index, uint64_t value);

/* The guest wrote IA32_TSC or TSC_ADJUST: an armed deadline moves. On that vCPU's thread. */
void lapics_tsc_changed(struct lapics *lapics, unsigned int vcpu);

/* The registers in memory; device is the struct lapic_window that map_window was given. */
bus_io_fn lapic_window_io;

#endif
