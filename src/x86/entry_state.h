/*
 * A guest's state as VM entry sees it: the VMCS guest-state area, the controls that decide what is
 * checked there, and the facts of the processor on which the checks depend.
 *
 * Purpose: the entry checks (x86/entry_checks.h) read it; a monitor fills it in from a VMCS, from
 *          the neutral struct x86_state or from a file. Every value has its row in one table of
 *          fields, by which it can be named, shown, read and written.
 * Source:  Intel SDM volume 3, "Guest-State Area", "VM-Execution Control Fields",
 *          "VM-Entry Control Fields", appendix "Field Encoding in VMCS".
 * Owner:   the caller; plain data.
 * Thread:  any. Freestanding.
 */
#ifndef TRAPEZE_X86_ENTRY_STATE_H
#define TRAPEZE_X86_ENTRY_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "x86/cpuid.h"
#include "x86/state.h"
#include "x86/vmx.h"

#define ENTRY_PDPTES 4

enum entry_table_register { ENTRY_GDTR, ENTRY_IDTR, ENTRY_TABLE_COUNT };

struct entry_table {
    uint64_t base;
    uint32_t limit; /* 32 bits wide in the VMCS, whose upper half must be zero */
};

/* What the processor that enters the guest can do. Reserved bits are those not in a _valid mask. */
struct entry_processor {
    uint8_t physical_address_bits, linear_address_bits; /* CPUID leaf 80000008H, EAX */
    uint64_t cr0_fixed0, cr0_fixed1;                    /* IA32_VMX_CR0_FIXED0 and so on */
    uint64_t cr4_fixed0, cr4_fixed1;
    uint64_t efer_valid, debugctl_valid, perf_global_ctrl_valid, rtit_ctl_valid, lbr_ctl_valid;
    uint8_t activity_states; /* IA32_VMX_MISC bits 8:6: bit 0 HLT, 1 shutdown, 2 wait-for-SIPI */
    uint8_t has_lam, has_rtm, has_sgx; /* flags: 0 or 1 */
    uint8_t in_smm;                    /* VM entry is executed in system-management mode */
    uint8_t nmi_needs_no_sti;          /* refuses an NMI into blocking by STI; some do */
    uint32_t vmcs_revision;            /* bits 30:0 of IA32_VMX_BASIC */
    uint64_t current_vmcs;             /* the current-VMCS pointer */
    uint32_t linked_vmcs_revision;     /* the first four bytes in memory at the link pointer */
};

struct entry_guest_state {
    /* Guest register state. The attributes of struct x86_segment are VMCS access rights. */
    struct x86_segment segment[X86_SEGMENT_ALL_COUNT]; /* by enum x86_segment_register */
    struct entry_table table[ENTRY_TABLE_COUNT];
    uint64_t cr0, cr3, cr4, dr7;
    uint64_t rsp, rip, rflags;
    uint64_t ssp, s_cet, interrupt_ssp_table;
    uint32_t sysenter_cs;
    uint64_t sysenter_esp, sysenter_eip;
    uint64_t debugctl, pat, efer, perf_global_ctrl, bndcfgs, rtit_ctl, lbr_ctl, pkrs;
    uint16_t uinv;

    /* Guest non-register state. */
    uint32_t activity; /* enum entry_activity, and whatever else somebody wrote */
    uint32_t interruptibility;
    uint64_t pending_debug;
    uint64_t vmcs_link;
    uint64_t pdpte[ENTRY_PDPTES];

    /* Controls. */
    uint32_t pin_based, primary, secondary, entry;
    uint32_t interruption; /* the VM-entry interruption-information field */
    uint64_t executive_vmcs;

    struct entry_processor processor;
};

/* "Guest Non-Register State": the activity state. */
enum entry_activity {
    ENTRY_ACTIVE,
    ENTRY_HLT,
    ENTRY_SHUTDOWN,
    ENTRY_WAIT_FOR_SIPI,
    ENTRY_ACTIVITY_COUNT
};

/* "Format of Interruptibility State" */
#define ENTRY_BLOCKING_STI    (1u << 0)
#define ENTRY_BLOCKING_MOV_SS (1u << 1)
#define ENTRY_BLOCKING_SMI    (1u << 2)
#define ENTRY_BLOCKING_NMI    (1u << 3)
#define ENTRY_ENCLAVE         (1u << 4) /* enclave interruption */

/* "Format of Pending-Debug-Exceptions" */
#define ENTRY_PENDING_BLD        (UINT64_C(1) << 11) /* a bus lock was detected */
#define ENTRY_PENDING_BREAKPOINT (UINT64_C(1) << 12) /* an enabled one was met */
#define ENTRY_PENDING_BS         (UINT64_C(1) << 14)
#define ENTRY_PENDING_RTM        (UINT64_C(1) << 16)

/* Of IA32_DEBUGCTL. */
#define ENTRY_DEBUGCTL_BTF (UINT64_C(1) << 1) /* single steps go from branch to branch */
#define ENTRY_DEBUGCTL_BLD (UINT64_C(1) << 2) /* OS bus-lock detection */

/* "VM-Entry Controls" */
#define ENTRY_LOAD_DEBUG_CONTROLS   (1u << 2)
#define ENTRY_IA32E_MODE_GUEST      (1u << 9)
#define ENTRY_TO_SMM                (1u << 10)
#define ENTRY_LOAD_PERF_GLOBAL_CTRL (1u << 13)
#define ENTRY_LOAD_PAT              (1u << 14)
#define ENTRY_LOAD_EFER             (1u << 15)
#define ENTRY_LOAD_BNDCFGS          (1u << 16)
#define ENTRY_LOAD_RTIT_CTL         (1u << 18)
#define ENTRY_LOAD_UINV             (1u << 19)
#define ENTRY_LOAD_CET_STATE        (1u << 20)
#define ENTRY_LOAD_LBR_CTL          (1u << 21)
#define ENTRY_LOAD_PKRS             (1u << 22)

/* "VM-Entry Controls for Event Injection": the interruption information. */
#define ENTRY_INTERRUPTION_VECTOR     0xffu
#define ENTRY_INTERRUPTION_TYPE_SHIFT 8
#define ENTRY_INTERRUPTION_TYPE       (7u << ENTRY_INTERRUPTION_TYPE_SHIFT)
#define ENTRY_INTERRUPTION_ERROR      (1u << 11) /* an error code is delivered */
#define ENTRY_INTERRUPTION_VALID      (1u << 31)

enum entry_interruption_type {
    ENTRY_EXTERNAL_INTERRUPT = 0,
    ENTRY_NMI = 2,
    ENTRY_HARDWARE_EXCEPTION = 3,
    ENTRY_SOFTWARE_INTERRUPT = 4,
    ENTRY_PRIVILEGED_SOFTWARE_EXCEPTION = 5,
    ENTRY_SOFTWARE_EXCEPTION = 6,
    ENTRY_OTHER_EVENT = 7
};

/* Of VM-entry and VM-exit interruption information, and of IDT-vectoring information. */
static inline enum entry_interruption_type entry_interruption_type_of(uint32_t information)
{
    return (enum entry_interruption_type)((information & ENTRY_INTERRUPTION_TYPE) >>
                                          ENTRY_INTERRUPTION_TYPE_SHIFT);
}

#define ENTRY_NO_VMCS_LINK UINT64_MAX

/* Everything in the struct, by name. The order is that of the table. */
enum entry_field_id {
    ENTRY_FIELD_NONE,
    ENTRY_FIELD_SELECTOR, /* the first four: one for each segment register */
    ENTRY_FIELD_BASE,
    ENTRY_FIELD_LIMIT,
    ENTRY_FIELD_ACCESS_RIGHTS,
    ENTRY_FIELD_TABLE_BASE, /* these two: one each for GDTR and IDTR */
    ENTRY_FIELD_TABLE_LIMIT,
    ENTRY_FIELD_CR0,
    ENTRY_FIELD_CR3,
    ENTRY_FIELD_CR4,
    ENTRY_FIELD_DR7,
    ENTRY_FIELD_RSP,
    ENTRY_FIELD_RIP,
    ENTRY_FIELD_RFLAGS,
    ENTRY_FIELD_SSP,
    ENTRY_FIELD_S_CET,
    ENTRY_FIELD_INTERRUPT_SSP_TABLE,
    ENTRY_FIELD_SYSENTER_CS,
    ENTRY_FIELD_SYSENTER_ESP,
    ENTRY_FIELD_SYSENTER_EIP,
    ENTRY_FIELD_DEBUGCTL,
    ENTRY_FIELD_PAT,
    ENTRY_FIELD_EFER,
    ENTRY_FIELD_PERF_GLOBAL_CTRL,
    ENTRY_FIELD_BNDCFGS,
    ENTRY_FIELD_RTIT_CTL,
    ENTRY_FIELD_LBR_CTL,
    ENTRY_FIELD_PKRS,
    ENTRY_FIELD_UINV,
    ENTRY_FIELD_ACTIVITY,
    ENTRY_FIELD_INTERRUPTIBILITY,
    ENTRY_FIELD_PENDING_DEBUG,
    ENTRY_FIELD_VMCS_LINK,
    ENTRY_FIELD_PDPTE, /* four of them */
    ENTRY_FIELD_PIN_BASED,
    ENTRY_FIELD_PRIMARY,
    ENTRY_FIELD_SECONDARY,
    ENTRY_FIELD_ENTRY,
    ENTRY_FIELD_INTERRUPTION,
    ENTRY_FIELD_EXECUTIVE_VMCS,
    ENTRY_FIELD_PHYSICAL_ADDRESS_BITS,
    ENTRY_FIELD_LINEAR_ADDRESS_BITS,
    ENTRY_FIELD_CR0_FIXED0,
    ENTRY_FIELD_CR0_FIXED1,
    ENTRY_FIELD_CR4_FIXED0,
    ENTRY_FIELD_CR4_FIXED1,
    ENTRY_FIELD_EFER_VALID,
    ENTRY_FIELD_DEBUGCTL_VALID,
    ENTRY_FIELD_PERF_GLOBAL_CTRL_VALID,
    ENTRY_FIELD_RTIT_CTL_VALID,
    ENTRY_FIELD_LBR_CTL_VALID,
    ENTRY_FIELD_ACTIVITY_STATES,
    ENTRY_FIELD_HAS_LAM,
    ENTRY_FIELD_HAS_RTM,
    ENTRY_FIELD_HAS_SGX,
    ENTRY_FIELD_IN_SMM,
    ENTRY_FIELD_NMI_NEEDS_NO_STI,
    ENTRY_FIELD_VMCS_REVISION,
    ENTRY_FIELD_CURRENT_VMCS,
    ENTRY_FIELD_LINKED_VMCS_REVISION,
    ENTRY_FIELD_COUNT
};

/* What a field, or a rule, exists several times for. */
enum entry_instances { ENTRY_ONCE, ENTRY_SEGMENTS, ENTRY_TABLES, ENTRY_PAGE_POINTERS };

enum entry_group { ENTRY_GROUP_GUEST, ENTRY_GROUP_CONTROLS, ENTRY_GROUP_PROCESSOR };

struct entry_field {
    const char *name;  /* as files spell it, without the instance's; "" where that is all */
    const char *title; /* as the manual spells it; likewise */
    enum entry_group group;
    enum entry_instances instances;
    uint16_t encoding; /* in the VMCS, of the first instance; 0: no field of the VMCS */
    uint8_t bits;      /* its width: 1, 8, 16, 32 or 64 */
    uint16_t offset;   /* of the first instance in struct entry_guest_state */
    uint16_t stride;   /* from one instance to the next */
};

#define ENTRY_ENCODING_STRIDE 2 /* from one instance's encoding to the next one's */

/* By enum entry_field_id; row 0 is empty. */
extern const struct entry_field entry_fields[ENTRY_FIELD_COUNT];

/* How many there are of a kind: 1, 8, 2, 4. */
unsigned int entry_instance_count(enum entry_instances instances);

/* "cs", "gdtr", "pdpte0"; "" for ENTRY_ONCE and for numbers beyond the count. */
const char *entry_instance_name(enum entry_instances instances, unsigned int instance);

/* id and instance must exist. */
uint64_t entry_field_get(const struct entry_guest_state *state, enum entry_field_id id,
                         unsigned int instance);

/* The same; bits of value beyond the field's width are dropped. */
void entry_field_set(struct entry_guest_state *state, enum entry_field_id id, unsigned int instance,
                     uint64_t value);

/*
 * A recent processor with 46 physical and 48 linear address bits, that has what the masks name and
 * none of the flags.
 */
void entry_processor_init(struct entry_processor *processor);

/*
 * Takes widths and flags from what CPUID answers: leaf 7 with its subleaves 0 and 1, and leaf
 * 80000008H.
 */
void entry_processor_from_cpuid(struct entry_processor *processor, struct cpuid_registers features,
                                struct cpuid_registers features1,
                                struct cpuid_registers address_sizes);

/*
 * What a monitor would put into a VMCS for a neutral state: "unrestricted guest" and EPT on, the
 * mode taken from EFER.LMA, IA32_EFER, IA32_PAT and the debug controls loaded, a pending exception
 * as the event to inject. Bits of CR0 and CR4 that VMX operation wants set (NE, VMXE), and that the
 * guest does not see, are set; so are the accessed bits of segments. PDPTEs are taken where
 * pdptrs_known; else they are in memory, of which nothing is known here: not present, which breaks
 * no rule. The processor is that of entry_processor_init.
 */
void entry_state_from_x86(const struct x86_state *from, struct entry_guest_state *to);

/*
 * The other way: what a VMCS's guest state has of the groups (enum x86_state_group), and nothing
 * else of *to. CR0 and CR4 are taken as they are; the activity state and the event to inject are
 * left to the caller.
 */
void entry_state_to_x86(const struct entry_guest_state *from, unsigned int groups,
                        struct x86_state *to);

#endif
