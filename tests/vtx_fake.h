/*
 * A processor with VT-x made of arrays: what the core's unit tests link in place of
 * x86/vmx_instructions.c and entry.S, and a machine on it.
 *
 * Purpose: the core runs in an ordinary process. A test queues VM exits, runs a vCPU, and looks at
 *          what the core made of VMCS, MSRs and registers. Every entry is checked as a processor
 *          would: launch state, allowed settings of the controls, and the guest state by the rules
 *          of x86/entry_checks.h.
 * Owner:   one of each per process; fake_reset begins anew.
 * Thread:  one.
 */
#ifndef TRAPEZE_TESTS_VTX_FAKE_H
#define TRAPEZE_TESTS_VTX_FAKE_H

#include "vtx/core/vcpu.h"
#include "x86/vmcs_fields.h"

#define FAKE_MSRS_MAX  128
#define FAKE_EXITS_MAX 64
#define FAKE_PAGES_MAX 512
#define FAKE_MEMORY    (UINT64_C(4) << 20)  /* bytes of guest memory, at guest physical 0 */
#define FAKE_PHYSICAL  UINT64_C(0x10000000) /* where allocated pages begin, physically */
#define FAKE_RAM       UINT64_C(0x40000000) /* where the guest's memory is, physically */

/* A VM exit that the next entry ends with. Fields that are not given are 0. */
struct fake_exit {
    uint32_t reason;
    uint32_t length; /* of the instruction */
    uint64_t qualification;
    uint32_t information;
    uint64_t linear, physical;
    uint32_t interruption, interruption_error; /* of an exception or NMI */
    uint32_t vectoring, vectoring_error;       /* of an event whose delivery was interrupted */
};

struct fake_processor {
    uint64_t cr0, cr2, cr3, cr4, dr[8], xcr0, tsc;
    struct {
        uint32_t index;
        uint64_t value;
    } msr[FAKE_MSRS_MAX];
    unsigned int msr_count;
    struct cpuid_registers features, extended, amd; /* leaves 1, 7, 80000001H */

    bool in_root;
    uint64_t current; /* the current-VMCS pointer; 0: none */
    bool launched;
    uint64_t vmcs[0x7000];  /* by encoding; one VMCS, whichever is current */
    uint32_t missing_field; /* an encoding that does not exist, + 1; 0: none */
    enum vtx_result vmxon_result, vmptrld_result;
    uint32_t entry_error; /* VMfailValid with this number; 0: none is forced */

    struct fake_exit exits[FAKE_EXITS_MAX];
    unsigned int exit_count, next_exit;
    void (*guest)(void); /* called at each entry that succeeds, before the exit; may be NULL */

    /* What happened. */
    unsigned int entries, invept_count, invvpid_count, nmi_count, machine_check_count, unknown_msrs;
    unsigned int moved_breakpoints; /* DR0-DR3 written while DR7 has any of them on */
    uint32_t injected, injected_error, injected_length; /* at the last entry */
    uint64_t last_xrstor, last_xsave;                   /* components */
    bool host_restored;
};

extern struct fake_processor fake;

/* A Haswell with all that the core uses, in 64-bit mode, not in root mode, nothing allocated. */
void fake_reset(void);

uint64_t fake_msr(uint32_t index);
void fake_set_msr(uint32_t index, uint64_t value);

uint64_t fake_field(uint32_t encoding);
void fake_set_field(uint32_t encoding, uint64_t value);

void fake_queue(struct fake_exit exit);

/* ---- memory ---- */

extern const struct vtx_host fake_host;
extern unsigned int fake_pages_in_use;
extern unsigned int fake_pages_left; /* that fake_host still gives; FAKE_PAGES_MAX at first */

/* The guest's memory. */
uint8_t *fake_memory(uint64_t guest_physical);

/* ---- a machine ---- */

/* Modes to start guests in. */
enum fake_mode { FAKE_REAL, FAKE_PROTECTED, FAKE_PAGED, FAKE_PAE, FAKE_LONG, FAKE_MODES };

struct fake_machine {
    struct vtx_capabilities capabilities;
    struct vtx_cpu cpu;
    struct vtx_vm vm;
    struct cpuid_table cpuid;
    struct x86_state state;
    struct error error;
    struct vtx_vcpu *vcpu;
};

/* In root mode, a vCPU loaded, in context, in 64-bit mode at RIP 1000H, memory mapped. */
void fake_machine_start(struct fake_machine *machine, enum vtx_policy policy);

/* fake_reset, fake_machine_start and fake_machine_set_mode in one. */
void fake_machine_begin(struct fake_machine *machine, enum vtx_policy policy, enum fake_mode mode);

/* Everything freed; false if something leaked or a field or MSR was touched that is not there. */
bool fake_machine_stop(struct fake_machine *machine);

/* Queues one exit and runs; the outcome. */
enum vtx_outcome fake_run(struct fake_machine *machine, struct fake_exit exit);

/* The state to start a guest in. */
void fake_state(enum fake_mode mode, struct x86_state *state);
void fake_machine_set_mode(struct fake_machine *machine, enum fake_mode mode);

#endif
