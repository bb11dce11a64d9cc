#include "x86/entry_state.h"

#include <string.h>

#include "x86/vmcs_fields.h"

#define SEGMENT(field)                                                                             \
    .instances = ENTRY_SEGMENTS, .offset = offsetof(struct entry_guest_state, segment[0].field),   \
    .stride = sizeof(struct x86_segment)
#define TABLE(field)                                                                               \
    .instances = ENTRY_TABLES, .offset = offsetof(struct entry_guest_state, table[0].field),       \
    .stride = sizeof(struct entry_table)
#define GUEST(field)     .offset = offsetof(struct entry_guest_state, field)
#define CONTROL(field)   .group = ENTRY_GROUP_CONTROLS, GUEST(field)
#define PROCESSOR(field) .group = ENTRY_GROUP_PROCESSOR, GUEST(processor.field)

const struct entry_field entry_fields[ENTRY_FIELD_COUNT] = {
    [ENTRY_FIELD_SELECTOR] = {"selector", "selector", .encoding = VMCS_GUEST_ES_SELECTOR,
                              .bits = 16, SEGMENT(selector)},
    [ENTRY_FIELD_BASE] = {"base", "base", .encoding = VMCS_GUEST_ES_BASE, .bits = 64,
                          SEGMENT(base)},
    [ENTRY_FIELD_LIMIT] = {"limit", "limit", .encoding = VMCS_GUEST_ES_LIMIT, .bits = 32,
                           SEGMENT(limit)},
    [ENTRY_FIELD_ACCESS_RIGHTS] = {"access_rights", "access rights",
                                   .encoding = VMCS_GUEST_ES_ACCESS_RIGHTS, .bits = 32,
                                   SEGMENT(attributes)},
    [ENTRY_FIELD_TABLE_BASE] = {"base", "base", .encoding = VMCS_GUEST_GDTR_BASE, .bits = 64,
                                TABLE(base)},
    [ENTRY_FIELD_TABLE_LIMIT] = {"limit", "limit", .encoding = VMCS_GUEST_GDTR_LIMIT, .bits = 32,
                                 TABLE(limit)},
    [ENTRY_FIELD_CR0] = {"cr0", "CR0", .encoding = VMCS_GUEST_CR0, .bits = 64, GUEST(cr0)},
    [ENTRY_FIELD_CR3] = {"cr3", "CR3", .encoding = VMCS_GUEST_CR3, .bits = 64, GUEST(cr3)},
    [ENTRY_FIELD_CR4] = {"cr4", "CR4", .encoding = VMCS_GUEST_CR4, .bits = 64, GUEST(cr4)},
    [ENTRY_FIELD_DR7] = {"dr7", "DR7", .encoding = VMCS_GUEST_DR7, .bits = 64, GUEST(dr7)},
    [ENTRY_FIELD_RSP] = {"rsp", "RSP", .encoding = VMCS_GUEST_RSP, .bits = 64, GUEST(rsp)},
    [ENTRY_FIELD_RIP] = {"rip", "RIP", .encoding = VMCS_GUEST_RIP, .bits = 64, GUEST(rip)},
    [ENTRY_FIELD_RFLAGS] = {"rflags", "RFLAGS", .encoding = VMCS_GUEST_RFLAGS, .bits = 64,
                            GUEST(rflags)},
    [ENTRY_FIELD_SSP] = {"ssp", "SSP", .encoding = VMCS_GUEST_SSP, .bits = 64, GUEST(ssp)},
    [ENTRY_FIELD_S_CET] = {"ia32_s_cet", "IA32_S_CET", .encoding = VMCS_GUEST_IA32_S_CET,
                           .bits = 64, GUEST(s_cet)},
    [ENTRY_FIELD_INTERRUPT_SSP_TABLE] = {"ia32_interrupt_ssp_table_addr",
                                         "IA32_INTERRUPT_SSP_TABLE_ADDR",
                                         .encoding = VMCS_GUEST_IA32_INTERRUPT_SSP_TABLE_ADDR,
                                         .bits = 64, GUEST(interrupt_ssp_table)},
    [ENTRY_FIELD_SYSENTER_CS] = {"ia32_sysenter_cs", "IA32_SYSENTER_CS",
                                 .encoding = VMCS_GUEST_IA32_SYSENTER_CS, .bits = 32,
                                 GUEST(sysenter_cs)},
    [ENTRY_FIELD_SYSENTER_ESP] = {"ia32_sysenter_esp", "IA32_SYSENTER_ESP",
                                  .encoding = VMCS_GUEST_IA32_SYSENTER_ESP, .bits = 64,
                                  GUEST(sysenter_esp)},
    [ENTRY_FIELD_SYSENTER_EIP] = {"ia32_sysenter_eip", "IA32_SYSENTER_EIP",
                                  .encoding = VMCS_GUEST_IA32_SYSENTER_EIP, .bits = 64,
                                  GUEST(sysenter_eip)},
    [ENTRY_FIELD_DEBUGCTL] = {"ia32_debugctl", "IA32_DEBUGCTL",
                              .encoding = VMCS_GUEST_IA32_DEBUGCTL, .bits = 64, GUEST(debugctl)},
    [ENTRY_FIELD_PAT] = {"ia32_pat", "IA32_PAT", .encoding = VMCS_GUEST_IA32_PAT, .bits = 64,
                         GUEST(pat)},
    [ENTRY_FIELD_EFER] = {"ia32_efer", "IA32_EFER", .encoding = VMCS_GUEST_IA32_EFER, .bits = 64,
                          GUEST(efer)},
    [ENTRY_FIELD_PERF_GLOBAL_CTRL] = {"ia32_perf_global_ctrl", "IA32_PERF_GLOBAL_CTRL",
                                      .encoding = VMCS_GUEST_IA32_PERF_GLOBAL_CTRL, .bits = 64,
                                      GUEST(perf_global_ctrl)},
    [ENTRY_FIELD_BNDCFGS] = {"ia32_bndcfgs", "IA32_BNDCFGS", .encoding = VMCS_GUEST_IA32_BNDCFGS,
                             .bits = 64, GUEST(bndcfgs)},
    [ENTRY_FIELD_RTIT_CTL] = {"ia32_rtit_ctl", "IA32_RTIT_CTL",
                              .encoding = VMCS_GUEST_IA32_RTIT_CTL, .bits = 64, GUEST(rtit_ctl)},
    [ENTRY_FIELD_LBR_CTL] = {"ia32_lbr_ctl", "IA32_LBR_CTL", .encoding = VMCS_GUEST_IA32_LBR_CTL,
                             .bits = 64, GUEST(lbr_ctl)},
    [ENTRY_FIELD_PKRS] = {"ia32_pkrs", "IA32_PKRS", .encoding = VMCS_GUEST_IA32_PKRS, .bits = 64,
                          GUEST(pkrs)},
    [ENTRY_FIELD_UINV] = {"uinv", "UINV", .encoding = VMCS_GUEST_UINV, .bits = 16, GUEST(uinv)},
    [ENTRY_FIELD_ACTIVITY] = {"activity_state", "activity state",
                              .encoding = VMCS_GUEST_ACTIVITY_STATE, .bits = 32, GUEST(activity)},
    [ENTRY_FIELD_INTERRUPTIBILITY] = {"interruptibility_state", "interruptibility state",
                                      .encoding = VMCS_GUEST_INTERRUPTIBILITY_STATE, .bits = 32,
                                      GUEST(interruptibility)},
    [ENTRY_FIELD_PENDING_DEBUG] = {"pending_debug_exceptions", "pending debug exceptions",
                                   .encoding = VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, .bits = 64,
                                   GUEST(pending_debug)},
    [ENTRY_FIELD_VMCS_LINK] = {"vmcs_link_pointer", "VMCS link pointer",
                               .encoding = VMCS_VMCS_LINK_POINTER, .bits = 64, GUEST(vmcs_link)},
    [ENTRY_FIELD_PDPTE] = {"", "", .encoding = VMCS_GUEST_PDPTE0, .bits = 64,
                           .instances = ENTRY_PAGE_POINTERS, GUEST(pdpte),
                           .stride = sizeof(uint64_t)},
    [ENTRY_FIELD_PIN_BASED] = {"pin_based_controls", "pin-based VM-execution controls",
                               .encoding = VMCS_PIN_BASED_CONTROLS, .bits = 32, CONTROL(pin_based)},
    [ENTRY_FIELD_PRIMARY] = {"primary_processor_based_controls",
                             "primary processor-based VM-execution controls",
                             .encoding = VMCS_PRIMARY_CONTROLS, .bits = 32, CONTROL(primary)},
    [ENTRY_FIELD_SECONDARY] = {"secondary_processor_based_controls",
                               "secondary processor-based VM-execution controls",
                               .encoding = VMCS_SECONDARY_CONTROLS, .bits = 32, CONTROL(secondary)},
    [ENTRY_FIELD_ENTRY] = {"vm_entry_controls", "VM-entry controls",
                           .encoding = VMCS_VM_ENTRY_CONTROLS, .bits = 32, CONTROL(entry)},
    [ENTRY_FIELD_INTERRUPTION] = {"vm_entry_interruption_information",
                                  "VM-entry interruption information",
                                  .encoding = VMCS_VM_ENTRY_INTERRUPTION_INFORMATION, .bits = 32,
                                  CONTROL(interruption)},
    [ENTRY_FIELD_EXECUTIVE_VMCS] = {"executive_vmcs_pointer", "executive-VMCS pointer",
                                    .encoding = VMCS_EXECUTIVE_VMCS_POINTER, .bits = 64,
                                    CONTROL(executive_vmcs)},
    [ENTRY_FIELD_PHYSICAL_ADDRESS_BITS] = {"processor.physical_address_bits",
                                           "physical-address width", .bits = 8,
                                           PROCESSOR(physical_address_bits)},
    [ENTRY_FIELD_LINEAR_ADDRESS_BITS] = {"processor.linear_address_bits", "linear-address width",
                                         .bits = 8, PROCESSOR(linear_address_bits)},
    [ENTRY_FIELD_CR0_FIXED0] = {"processor.cr0_fixed0", "IA32_VMX_CR0_FIXED0", .bits = 64,
                                PROCESSOR(cr0_fixed0)},
    [ENTRY_FIELD_CR0_FIXED1] = {"processor.cr0_fixed1", "IA32_VMX_CR0_FIXED1", .bits = 64,
                                PROCESSOR(cr0_fixed1)},
    [ENTRY_FIELD_CR4_FIXED0] = {"processor.cr4_fixed0", "IA32_VMX_CR4_FIXED0", .bits = 64,
                                PROCESSOR(cr4_fixed0)},
    [ENTRY_FIELD_CR4_FIXED1] = {"processor.cr4_fixed1", "IA32_VMX_CR4_FIXED1", .bits = 64,
                                PROCESSOR(cr4_fixed1)},
    [ENTRY_FIELD_EFER_VALID] = {"processor.efer_valid", "valid bits of IA32_EFER", .bits = 64,
                                PROCESSOR(efer_valid)},
    [ENTRY_FIELD_DEBUGCTL_VALID] = {"processor.debugctl_valid", "valid bits of IA32_DEBUGCTL",
                                    .bits = 64, PROCESSOR(debugctl_valid)},
    [ENTRY_FIELD_PERF_GLOBAL_CTRL_VALID] = {"processor.perf_global_ctrl_valid",
                                            "valid bits of IA32_PERF_GLOBAL_CTRL", .bits = 64,
                                            PROCESSOR(perf_global_ctrl_valid)},
    [ENTRY_FIELD_RTIT_CTL_VALID] = {"processor.rtit_ctl_valid", "valid bits of IA32_RTIT_CTL",
                                    .bits = 64, PROCESSOR(rtit_ctl_valid)},
    [ENTRY_FIELD_LBR_CTL_VALID] = {"processor.lbr_ctl_valid", "valid bits of IA32_LBR_CTL",
                                   .bits = 64, PROCESSOR(lbr_ctl_valid)},
    [ENTRY_FIELD_ACTIVITY_STATES] = {"processor.activity_states",
                                     "activity states that are supported", .bits = 8,
                                     PROCESSOR(activity_states)},
    [ENTRY_FIELD_HAS_LAM] = {"processor.has_lam", "linear-address masking", .bits = 1,
                             PROCESSOR(has_lam)},
    [ENTRY_FIELD_HAS_RTM] = {"processor.has_rtm", "RTM is supported", .bits = 1,
                             PROCESSOR(has_rtm)},
    [ENTRY_FIELD_HAS_SGX] = {"processor.has_sgx", "SGX is supported", .bits = 1,
                             PROCESSOR(has_sgx)},
    [ENTRY_FIELD_IN_SMM] = {"processor.in_smm", "the processor is in SMM", .bits = 1,
                            PROCESSOR(in_smm)},
    [ENTRY_FIELD_NMI_NEEDS_NO_STI] = {"processor.nmi_needs_no_sti",
                                      "no NMI is injected into blocking by STI", .bits = 1,
                                      PROCESSOR(nmi_needs_no_sti)},
    [ENTRY_FIELD_VMCS_REVISION] = {"processor.vmcs_revision", "VMCS revision identifier",
                                   .bits = 32, PROCESSOR(vmcs_revision)},
    [ENTRY_FIELD_CURRENT_VMCS] = {"processor.current_vmcs", "current-VMCS pointer", .bits = 64,
                                  PROCESSOR(current_vmcs)},
    [ENTRY_FIELD_LINKED_VMCS_REVISION] = {"processor.linked_vmcs_revision",
                                          "first four bytes of the linked VMCS", .bits = 32,
                                          PROCESSOR(linked_vmcs_revision)},
};

static const char *const segment_names[] = {"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};
static const char *const table_names[] = {"gdtr", "idtr"};
static const char *const pointer_names[] = {"pdpte0", "pdpte1", "pdpte2", "pdpte3"};

unsigned int entry_instance_count(enum entry_instances instances)
{
    static const unsigned int counts[] = {
        [ENTRY_ONCE] = 1,
        [ENTRY_SEGMENTS] = X86_SEGMENT_ALL_COUNT,
        [ENTRY_TABLES] = ENTRY_TABLE_COUNT,
        [ENTRY_PAGE_POINTERS] = ENTRY_PDPTES,
    };
    return counts[instances];
}

const char *entry_instance_name(enum entry_instances instances, unsigned int instance)
{
    static const char *const *const names[] = {
        [ENTRY_SEGMENTS] = segment_names,
        [ENTRY_TABLES] = table_names,
        [ENTRY_PAGE_POINTERS] = pointer_names,
    };
    if (instances == ENTRY_ONCE || instance >= entry_instance_count(instances)) {
        return "";
    }
    return names[instances][instance];
}

static size_t place_of(const struct entry_field *field, unsigned int instance)
{
    return field->offset + (size_t)field->stride * instance;
}

/* Flags are kept in a byte. */
static size_t bytes_of(const struct entry_field *field)
{
    return field->bits < 8 ? 1 : field->bits / 8u;
}

uint64_t entry_field_get(const struct entry_guest_state *state, enum entry_field_id id,
                         unsigned int instance)
{
    const struct entry_field *field = &entry_fields[id];
    uint64_t value = 0; /* little-endian, as the processor is */
    memcpy(&value, (const uint8_t *)state + place_of(field, instance), bytes_of(field));
    return value;
}

void entry_field_set(struct entry_guest_state *state, enum entry_field_id id, unsigned int instance,
                     uint64_t value)
{
    const struct entry_field *field = &entry_fields[id];
    if (field->bits == 1) {
        value &= 1;
    }
    memcpy((uint8_t *)state + place_of(field, instance), &value, bytes_of(field));
}

/* ---- from the neutral state ---- */

#define CR0_FIXED0_USUAL (X86_CR0_PE | X86_CR0_NE | X86_CR0_PG)
#define CR0_FIXED1_USUAL UINT64_C(0xffffffff)
#define CR4_FIXED0_USUAL X86_CR4_VMXE

/* Bits that the manual defines, as of processors that have everything. */
#define CR4_DEFINED              UINT64_C(0x11bff7fff) /* up to LAM_SUP, and FRED */
#define DEBUGCTL_DEFINED         UINT64_C(0xffc7)
#define PERF_GLOBAL_CTRL_DEFINED UINT64_C(0x7000000ff) /* 8 counters, 3 fixed ones */
#define RTIT_CTL_DEFINED         UINT64_C(0x180ffff8f7bffff)
#define LBR_CTL_DEFINED          UINT64_C(0x7f000f)
#define ALL_ACTIVITY_STATES      7

void entry_processor_init(struct entry_processor *processor)
{
    *processor = (struct entry_processor){
        .physical_address_bits = 46,
        .linear_address_bits = 48,
        .cr0_fixed0 = CR0_FIXED0_USUAL,
        .cr0_fixed1 = CR0_FIXED1_USUAL,
        .cr4_fixed0 = CR4_FIXED0_USUAL,
        .cr4_fixed1 = CR4_DEFINED,
        .efer_valid = X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE,
        .debugctl_valid = DEBUGCTL_DEFINED,
        .perf_global_ctrl_valid = PERF_GLOBAL_CTRL_DEFINED,
        .rtit_ctl_valid = RTIT_CTL_DEFINED,
        .lbr_ctl_valid = LBR_CTL_DEFINED,
        .activity_states = ALL_ACTIVITY_STATES,
    };
}

#define FEATURES_EBX_SGX      (1u << 2)
#define FEATURES_EBX_RTM      (1u << 11)
#define FEATURES_ECX_BUS_LOCK (1u << 24)
#define FEATURES1_EAX_LAM     (1u << 26)

void entry_processor_from_cpuid(struct entry_processor *processor, struct cpuid_registers features,
                                struct cpuid_registers features1,
                                struct cpuid_registers address_sizes)
{
    processor->has_sgx = (features.ebx & FEATURES_EBX_SGX) != 0;
    processor->has_rtm = (features.ebx & FEATURES_EBX_RTM) != 0;
    if ((features.ecx & FEATURES_ECX_BUS_LOCK) == 0) {
        processor->debugctl_valid &= ~ENTRY_DEBUGCTL_BLD;
    }
    processor->has_lam = (features1.eax & FEATURES1_EAX_LAM) != 0;
    if (address_sizes.eax != 0) {
        processor->physical_address_bits = (uint8_t)address_sizes.eax;
        processor->linear_address_bits = (uint8_t)(address_sizes.eax >> 8);
    }
}

/* "VM-Entry Controls for Event Injection": INT3 and INTO raise software exceptions. */
static uint32_t interruption_of(const struct x86_state *state)
{
    if (!state->exception_pending) {
        return 0;
    }
    uint32_t type = ENTRY_HARDWARE_EXCEPTION;
    if (state->exception_vector == X86_VECTOR_BP || state->exception_vector == X86_VECTOR_OF) {
        type = ENTRY_SOFTWARE_EXCEPTION;
    }
    return ENTRY_INTERRUPTION_VALID | (type << ENTRY_INTERRUPTION_TYPE_SHIFT) |
           state->exception_vector | (state->exception_has_error ? ENTRY_INTERRUPTION_ERROR : 0);
}

static void convert_events(const struct x86_state *from, struct entry_guest_state *to)
{
    static const uint32_t activities[] = {
        [X86_ACTIVE] = ENTRY_ACTIVE,
        [X86_HALTED] = ENTRY_HLT,
        [X86_WAIT_FOR_SIPI] = ENTRY_WAIT_FOR_SIPI,
        [X86_SHUTDOWN] = ENTRY_SHUTDOWN,
    };
    size_t activity = (size_t)from->activity;
    to->activity = activity < ENTRY_ACTIVITY_COUNT ? activities[activity] : (uint32_t)activity;
    to->interruptibility = (from->sti_shadow ? ENTRY_BLOCKING_STI : 0) |
                           (from->mov_ss_shadow ? ENTRY_BLOCKING_MOV_SS : 0) |
                           (from->nmi_blocked ? ENTRY_BLOCKING_NMI : 0);
    to->interruption = interruption_of(from);
    to->vmcs_link = ENTRY_NO_VMCS_LINK;
    bool steps = (from->rflags & X86_FLAGS_TF) != 0;
    uint32_t shadows = to->interruptibility & (ENTRY_BLOCKING_STI | ENTRY_BLOCKING_MOV_SS);
    if (steps && (shadows != 0 || to->activity == ENTRY_HLT)) {
        to->pending_debug = ENTRY_PENDING_BS; /* the step's trap is what the shadow holds back */
    }
}

/*
 * Intel's processors set the accessed bit of what they load; AMD's, and so their KVM, may have it
 * clear. "Checks on Guest Segment Registers" want it set.
 */
static void mark_accessed(struct x86_segment *segment)
{
    if ((segment->attributes & X86_SEGMENT_S) != 0) {
        segment->attributes |= X86_TYPE_ACCESSED;
    }
}

void entry_state_from_x86(const struct x86_state *from, struct entry_guest_state *to)
{
    memset(to, 0, sizeof(*to));
    entry_processor_init(&to->processor);
    memcpy(to->segment, from->segment, sizeof(to->segment));
    for (unsigned int i = 0; i < X86_SEGMENT_COUNT; i++) {
        mark_accessed(&to->segment[i]);
    }
    to->table[ENTRY_GDTR] = (struct entry_table){from->gdtr.base, from->gdtr.limit};
    to->table[ENTRY_IDTR] = (struct entry_table){from->idtr.base, from->idtr.limit};
    if (from->pdptrs_known) {
        memcpy(to->pdpte, from->pdptr, sizeof(to->pdpte));
    }
    to->cr0 = from->cr0 | (to->processor.cr0_fixed0 & ~(X86_CR0_PE | X86_CR0_PG));
    to->cr3 = from->cr3;
    to->cr4 = from->cr4 | to->processor.cr4_fixed0;
    to->dr7 = from->dr[7];
    to->rsp = from->gpr[X86_RSP];
    to->rip = from->rip;
    to->rflags = from->rflags;
    to->sysenter_cs = (uint32_t)from->msr.sysenter_cs;
    to->sysenter_esp = from->msr.sysenter_esp;
    to->sysenter_eip = from->msr.sysenter_eip;
    to->pat = from->msr.pat;
    to->efer = from->efer;
    to->primary = VMX_PRIMARY_SECONDARY;
    to->secondary = VMX_SECONDARY_EPT | VMX_SECONDARY_UNRESTRICTED_GUEST;
    to->entry = ENTRY_LOAD_DEBUG_CONTROLS | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER |
                ((from->efer & X86_EFER_LMA) != 0 ? ENTRY_IA32E_MODE_GUEST : 0);
    convert_events(from, to);
}

static void system_to_x86(const struct entry_guest_state *from, struct x86_state *to)
{
    const struct entry_table *gdtr = &from->table[ENTRY_GDTR], *idtr = &from->table[ENTRY_IDTR];
    memcpy(to->segment, from->segment, sizeof(to->segment));
    to->gdtr = (struct x86_table_register){gdtr->base, (uint16_t)gdtr->limit};
    to->idtr = (struct x86_table_register){idtr->base, (uint16_t)idtr->limit};
    to->cr0 = from->cr0;
    to->cr3 = from->cr3;
    to->cr4 = from->cr4;
    to->efer = from->efer;
    memcpy(to->pdptr, from->pdpte, sizeof(to->pdptr));
    to->pdptrs_known = true;
}

void entry_state_to_x86(const struct entry_guest_state *from, unsigned int groups,
                        struct x86_state *to)
{
    if ((groups & X86_STATE_GENERAL) != 0) {
        to->gpr[X86_RSP] = from->rsp;
        to->rip = from->rip;
        to->rflags = from->rflags;
    }
    if ((groups & X86_STATE_SYSTEM) != 0) {
        system_to_x86(from, to);
    }
    if ((groups & X86_STATE_DEBUG) != 0) {
        to->dr[7] = from->dr7;
    }
    if ((groups & X86_STATE_MSRS) != 0) {
        to->msr.sysenter_cs = from->sysenter_cs;
        to->msr.sysenter_esp = from->sysenter_esp;
        to->msr.sysenter_eip = from->sysenter_eip;
        to->msr.pat = from->pat;
    }
    if ((groups & X86_STATE_EVENTS) != 0) {
        to->sti_shadow = (from->interruptibility & ENTRY_BLOCKING_STI) != 0;
        to->mov_ss_shadow = (from->interruptibility & ENTRY_BLOCKING_MOV_SS) != 0;
        to->nmi_blocked = (from->interruptibility & ENTRY_BLOCKING_NMI) != 0;
    }
}
