/*
 * A virtual CPU: its VMCS, its state, and the loop from one entry to the exit that leaves.
 *
 *   vtx_vcpu_create
 *   vtx_vcpu_set_state
 *   for each turn of the embedder's loop, interrupts off, on one processor in root mode:
 *       vtx_vcpu_load            VMPTRLD; host state if the processor is another one
 *       vtx_vcpu_enter_context   the guest's FPU and MSRs into the processor
 *       vtx_vcpu_run             as often as the embedder likes
 *       vtx_vcpu_leave_context
 *       vtx_vcpu_unload          VMCLEAR; only needed before the vCPU moves or goes
 *
 * Source:  Intel SDM volume 3, "Virtual-Machine Control Structures", "VM Entries", "VM Exits".
 * Owner:   the embedder provides the struct, 64-byte aligned; it is some 11 KiB. Fields are the
 *          core's but for `exit`, `cr8` and what a comment gives to the embedder.
 * Thread:  one at a time. Freestanding.
 */
#ifndef TRAPEZE_VTX_CORE_VCPU_H
#define TRAPEZE_VTX_CORE_VCPU_H

#include "vm/exit.h"
#include "vtx/core/cpu.h"
#include "vtx/core/hardware.h"
#include "vtx/core/vm.h"
#include "x86/cpuid.h"
#include "x86/entry_checks.h"
#include "x86/mmio_access.h"
#include "x86/state.h"
#include "x86/vmx.h"

/* Why vtx_vcpu_run came back. */
enum vtx_outcome {
    VTX_EXIT,      /* vcpu->exit says why; serve it in place, then run again */
    VTX_INTERRUPT, /* the host has an interrupt: let it in for a moment, then run again */
    VTX_MEMORY     /* vcpu->missing: map it in the EPT, then run again */
};

/* Which bits of CR0 or CR4 the guest does not own, and what it sees of them. */
struct vtx_register_view {
    uint64_t owned; /* of the monitor: a write that would change what is seen exits */
    uint64_t faked; /* of these the guest sees fake_value, whatever it writes */
    uint64_t fake_value;
};

/* What a handler of a VM exit says; for the core itself. */
enum vtx_step { VTX_STEP_RESUME, VTX_STEP_LEAVE, VTX_STEP_MEMORY, VTX_STEP_INTERRUPT };

/* An INS or OUTS that is under way; the bytes of every port access. */
struct vtx_string_io {
    uint64_t linear;
    unsigned int address_size; /* 2, 4 or 8 bytes */
    uint32_t size, count;      /* of an element, in bytes; elements in this turn */
    bool is_write, is_backwards, repeats;
    uint8_t data[VTX_PAGE_SIZE];
};

/* An instruction on device memory that is under way. */
struct vtx_mmio {
    struct x86_instruction instruction;
    struct mmio_mode mode;
    struct mmio_access access;
    struct x86_segment segment[X86_SEGMENT_COUNT];
    unsigned int reads_done;
    bool is_computed;
};

#define VTX_SWITCHED_MSRS 6

struct vtx_vcpu {
    /* ---- for the embedder ---- */
    struct vcpu_exit exit; /* after VTX_EXIT; filled in by whoever serves it */
    /*
     * The task priority, bits 3:0. The embedder, who has the local APIC, sets it before a run;
     * when a MOV to CR8 has changed it, the run ends with EXIT_INTERRUPT_WINDOW.
     */
    uint8_t cr8;
    struct {
        uint64_t address; /* guest physical, in a memory slot */
        bool is_write;
    } missing;                        /* after VTX_MEMORY */
    uint64_t exits[VMX_REASON_COUNT]; /* VM exits so far, by basic exit reason */
    uint64_t entries;                 /* VMLAUNCH and VMRESUME that reached the guest */
    uint64_t exits_inside;            /* exits that the core resolved itself */

    /* ---- the core's ---- */
    struct vtx_vm *vm;
    const struct cpuid_table *cpuid;
    struct vtx_registers registers; /* RSP, RIP and RFLAGS live in the VMCS */
    struct vtx_page vmcs;
    const struct vtx_cpu *cpu;      /* where it is loaded; NULL: nowhere */
    const struct vtx_cpu *host_cpu; /* whose host state is in the VMCS */
    bool launched, in_context;
    uint16_t vpid;
    uint32_t controls[VTX_CONTROLS_COUNT]; /* as in the VMCS, but for "IA-32e mode guest" */
    struct vtx_register_view cr0_view, cr4_view;
    uint64_t cr4_allowed;       /* what CPUID lets the guest set */
    uint32_t failed_field;      /* the first VMREAD or VMWRITE that failed, + 1; 0: none has */
    enum x86_activity activity; /* the VMCS says active always: who is not does not enter */
    uint64_t reason;            /* of the last VM exit */

    /* What the VMCS does not switch: the guest's, and the host's while the guest's are loaded. */
    uint64_t cr2, dr[4], dr6, xcr0;
    struct x86_msrs msr;
    uint64_t host_dr[4], host_dr7, host_xcr0, host_debugctl, host_msr[VTX_SWITCHED_MSRS];
    struct vtx_host_registers host_registers;

    /* To be injected at the next entry: as "VM-Entry Controls for Event Injection" have it. */
    uint32_t event, event_error, event_length;
    bool nmi_pending;
    bool pdptes_due;     /* the next entry loads the PDPTEs from memory: see vtx_vcpu_set_state */
    uint32_t timer;      /* what the preemption timer starts at in each run */
    uint64_t tsc_offset; /* guest - host */

    /* What is left to be done of the instruction behind vcpu->exit; NULL: nothing. */
    enum vtx_step (*completion)(struct vtx_vcpu *vcpu);
    struct vtx_string_io io;
    struct vtx_mmio mmio;

    struct entry_guest_state entry_state; /* the VMCS's guest state, when it comes or goes */
    struct entry_violation violation;

    uint8_t xsave[X86_XSAVE_SIZE] __attribute__((aligned(64)));
};

struct vtx_vcpu_options {
    struct vtx_vm *vm;
    const struct cpuid_table *cpuid; /* what the guest is shown; must live as long */
    uint16_t vpid; /* unique on the processor; 0: translations are flushed at each entry */
};

/*
 * Allocates the VMCS and chooses the controls. Fills in all of *vcpu. Nothing is executed. The
 * guest has no state before vtx_vcpu_set_state of all groups. VTX_NO_MEMORY, VTX_MISSING.
 */
enum vtx_status vtx_vcpu_create(struct vtx_vcpu *vcpu, const struct vtx_vcpu_options *options,
                                struct error *error);

/* Not loaded. */
void vtx_vcpu_destroy(struct vtx_vcpu *vcpu);

/*
 * VMPTRLD on this processor, whose struct is cpu. It must not be loaded elsewhere. The first time
 * VMCLEARs the region and writes every field. Interrupts off, in root mode. VTX_FAILED.
 */
enum vtx_status vtx_vcpu_load(struct vtx_vcpu *vcpu, const struct vtx_cpu *cpu,
                              struct error *error);

/* VMCLEAR; on the processor where it is loaded. */
void vtx_vcpu_unload(struct vtx_vcpu *vcpu);

/*
 * The guest's extended state, debug registers and the MSRs that no VMCS field switches into the
 * processor, and the host's into the struct; and back. The embedder has saved the host's FPU.
 * Loaded, interrupts off.
 */
void vtx_vcpu_enter_context(struct vtx_vcpu *vcpu);
void vtx_vcpu_leave_context(struct vtx_vcpu *vcpu);

/*
 * Completes vcpu->exit as it was served, then runs the guest until something leaves. Loaded, in
 * context, interrupts off; they stay off. A refused state is EXIT_ENTRY_FAILED with words.
 */
enum vtx_outcome vtx_vcpu_run(struct vtx_vcpu *vcpu);

/*
 * Groups of enum x86_state_group. Loaded, out of context, and no exit waits for completion: see
 * vtx_vcpu_complete. The TSC is read, but not set: see vtx_vcpu_set_tsc_offset. An interrupt that
 * was injected, but not yet delivered, is not in the state: setting one keeps it if that takes it.
 */
void vtx_vcpu_get_state(struct vtx_vcpu *vcpu, unsigned int groups, struct x86_state *state);
void vtx_vcpu_set_state(struct vtx_vcpu *vcpu, unsigned int groups, const struct x86_state *state);

/*
 * Writes the answer of vcpu->exit into the guest without running it. False: the instruction makes
 * another access, and vcpu->exit is that one; or its reason is EXIT_NONE: vcpu->missing is to be
 * mapped first. Loaded, in context.
 */
bool vtx_vcpu_complete(struct vtx_vcpu *vcpu);

/* What the guest's TSC is ahead of the processor's; counts from the next entry. Loaded. */
void vtx_vcpu_set_tsc_offset(struct vtx_vcpu *vcpu, uint64_t offset);

/* Bits that the monitor must own are owned whatever the view says. Loaded. */
void vtx_vcpu_set_views(struct vtx_vcpu *vcpu, const struct vtx_register_view *cr0,
                        const struct vtx_register_view *cr4);

/* The most that a guest may be shown: the processor's CPUID without what the core does not do. */
void vtx_cpuid_supported(const struct vtx_capabilities *capabilities, struct cpuid_table *table);

#endif
