#include <cpuid.h>
#include <errno.h>
#include <string.h>

#include "engines/kvm/kvm_internal.h"

/* Segments */

static void segment_from_kvm(const struct kvm_segment *from, struct x86_segment *to)
{
    *to = (struct x86_segment){
        .base = from->base,
        .limit = from->limit,
        .selector = from->selector,
        .attributes = (uint32_t)(from->type & X86_SEGMENT_TYPE) | (from->s ? X86_SEGMENT_S : 0) |
                      ((uint32_t)(from->dpl & 3u) << X86_SEGMENT_DPL_SHIFT) |
                      (from->present ? X86_SEGMENT_P : 0) | (from->avl ? X86_SEGMENT_AVL : 0) |
                      (from->l ? X86_SEGMENT_L : 0) | (from->db ? X86_SEGMENT_DB : 0) |
                      (from->g ? X86_SEGMENT_G : 0) | (from->unusable ? X86_SEGMENT_UNUSABLE : 0),
    };
}

static void segment_to_kvm(const struct x86_segment *from, struct kvm_segment *to)
{
    uint32_t attributes = from->attributes;
    *to = (struct kvm_segment){
        .base = from->base,
        .limit = from->limit,
        .selector = from->selector,
        .type = (uint8_t)(attributes & X86_SEGMENT_TYPE),
        .s = (attributes & X86_SEGMENT_S) != 0,
        .dpl = (uint8_t)((attributes & X86_SEGMENT_DPL) >> X86_SEGMENT_DPL_SHIFT),
        .present = (attributes & X86_SEGMENT_P) != 0,
        .avl = (attributes & X86_SEGMENT_AVL) != 0,
        .l = (attributes & X86_SEGMENT_L) != 0,
        .db = (attributes & X86_SEGMENT_DB) != 0,
        .g = (attributes & X86_SEGMENT_G) != 0,
        .unusable = (attributes & X86_SEGMENT_UNUSABLE) != 0,
    };
}

/* Where each segment register is in struct kvm_sregs2, and in struct kvm_sregs as well. */
static const size_t segment_offsets[X86_SEGMENT_ALL_COUNT] = {
    [X86_ES] = offsetof(struct kvm_sregs2, es),    [X86_CS] = offsetof(struct kvm_sregs2, cs),
    [X86_SS] = offsetof(struct kvm_sregs2, ss),    [X86_DS] = offsetof(struct kvm_sregs2, ds),
    [X86_FS] = offsetof(struct kvm_sregs2, fs),    [X86_GS] = offsetof(struct kvm_sregs2, gs),
    [X86_LDTR] = offsetof(struct kvm_sregs2, ldt), [X86_TR] = offsetof(struct kvm_sregs2, tr),
};

static struct kvm_segment *segment_in(struct kvm_sregs2 *sregs, unsigned int segment)
{
    return (struct kvm_segment *)(void *)((uint8_t *)sregs + segment_offsets[segment]);
}

/* What both forms have, which is all but PDPTRs here and an interrupt under way there. */
#define SREGS_COMMON offsetof(struct kvm_sregs2, flags)
_Static_assert(SREGS_COMMON == offsetof(struct kvm_sregs, interrupt_bitmap), "one layout");

static int read_sregs(struct engine_vcpu *vcpu, struct kvm_sregs2 *sregs)
{
    struct kvm_sregs old;
    if (vcpu->vm->has_sregs2) {
        return device_ioctl(vcpu->fd, KVM_GET_SREGS2, sregs);
    }
    int code = device_ioctl(vcpu->fd, KVM_GET_SREGS, &old);
    *sregs = (struct kvm_sregs2){.flags = 0};
    memcpy(sregs, &old, SREGS_COMMON);
    return code;
}

static int write_sregs(struct engine_vcpu *vcpu, struct kvm_sregs2 *sregs)
{
    struct kvm_sregs old;
    if (vcpu->vm->has_sregs2) {
        return device_ioctl(vcpu->fd, KVM_SET_SREGS2, sregs);
    }
    int code = device_ioctl(vcpu->fd, KVM_GET_SREGS, &old); /* the interrupt under way stays */
    memcpy(&old, sregs, SREGS_COMMON);
    return code < 0 ? code : device_ioctl(vcpu->fd, KVM_SET_SREGS, &old);
}

static int get_system(struct engine_vcpu *vcpu, struct x86_state *state, struct error *error)
{
    struct kvm_sregs2 sregs;
    int code = read_sregs(vcpu, &sregs);
    if (code < 0) {
        return kvm_error(error, code, "KVM does not give the system registers");
    }
    for (unsigned int i = 0; i < X86_SEGMENT_ALL_COUNT; i++) {
        segment_from_kvm(segment_in(&sregs, i), &state->segment[i]);
    }
    state->gdtr = (struct x86_table_register){.base = sregs.gdt.base, .limit = sregs.gdt.limit};
    state->idtr = (struct x86_table_register){.base = sregs.idt.base, .limit = sregs.idt.limit};
    state->cr0 = sregs.cr0;
    state->cr2 = sregs.cr2;
    state->cr3 = sregs.cr3;
    state->cr4 = sregs.cr4;
    state->cr8 = sregs.cr8;
    state->efer = sregs.efer;
    state->pdptrs_known = (sregs.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID) != 0;
    for (unsigned int i = 0; i < 4; i++) {
        state->pdptr[i] = state->pdptrs_known ? sregs.pdptrs[i] : 0;
    }
    return 0;
}

static bool is_pae_paging(const struct x86_state *state)
{
    return (state->cr0 & X86_CR0_PG) != 0 && (state->cr4 & X86_CR4_PAE) != 0 &&
           (state->efer & X86_EFER_LMA) == 0;
}

static int set_system(struct engine_vcpu *vcpu, const struct x86_state *state, struct error *error)
{
    /* The APIC base and, in the old form, an interrupt under way are in there too and stay. */
    struct kvm_sregs2 sregs;
    int code = read_sregs(vcpu, &sregs);
    if (code < 0) {
        return kvm_error(error, code, "KVM does not give the system registers");
    }
    for (unsigned int i = 0; i < X86_SEGMENT_ALL_COUNT; i++) {
        segment_to_kvm(&state->segment[i], segment_in(&sregs, i));
    }
    sregs.gdt = (struct kvm_dtable){.base = state->gdtr.base, .limit = state->gdtr.limit};
    sregs.idt = (struct kvm_dtable){.base = state->idtr.base, .limit = state->idtr.limit};
    sregs.cr0 = state->cr0;
    sregs.cr2 = state->cr2;
    sregs.cr3 = state->cr3;
    sregs.cr4 = state->cr4;
    sregs.cr8 = state->cr8;
    sregs.efer = state->efer;
    sregs.flags = state->pdptrs_known && is_pae_paging(state) ? KVM_SREGS2_FLAGS_PDPTRS_VALID : 0;
    memcpy(sregs.pdptrs, state->pdptr, sizeof(sregs.pdptrs));
    code = write_sregs(vcpu, &sregs);
    if (code < 0) {
        error_set_errno(error, code,
                        "KVM refuses the system registers (cr0 0x%llx cr4 0x%llx efer 0x%llx)",
                        (unsigned long long)state->cr0, (unsigned long long)state->cr4,
                        (unsigned long long)state->efer);
        kvm_explain_refusal(vcpu, state, code, error);
        return kvm_failure(code);
    }
    return 0;
}

/* General registers */

/* Where each register is in struct kvm_regs, whose order is not that of the encoding. */
static const size_t gpr_offsets[X86_GPR_COUNT] = {
    [X86_RAX] = offsetof(struct kvm_regs, rax), [X86_RCX] = offsetof(struct kvm_regs, rcx),
    [X86_RDX] = offsetof(struct kvm_regs, rdx), [X86_RBX] = offsetof(struct kvm_regs, rbx),
    [X86_RSP] = offsetof(struct kvm_regs, rsp), [X86_RBP] = offsetof(struct kvm_regs, rbp),
    [X86_RSI] = offsetof(struct kvm_regs, rsi), [X86_RDI] = offsetof(struct kvm_regs, rdi),
    [X86_R8] = offsetof(struct kvm_regs, r8),   [X86_R9] = offsetof(struct kvm_regs, r9),
    [X86_R10] = offsetof(struct kvm_regs, r10), [X86_R11] = offsetof(struct kvm_regs, r11),
    [X86_R12] = offsetof(struct kvm_regs, r12), [X86_R13] = offsetof(struct kvm_regs, r13),
    [X86_R14] = offsetof(struct kvm_regs, r14), [X86_R15] = offsetof(struct kvm_regs, r15),
};

static int get_general(struct engine_vcpu *vcpu, struct x86_state *state, struct error *error)
{
    struct kvm_regs regs;
    int code = device_ioctl(vcpu->fd, KVM_GET_REGS, &regs);
    if (code < 0) {
        return kvm_error(error, code, "KVM does not give the general registers");
    }
    for (unsigned int i = 0; i < X86_GPR_COUNT; i++) {
        memcpy(&state->gpr[i], (uint8_t *)&regs + gpr_offsets[i], sizeof(state->gpr[i]));
    }
    state->rip = regs.rip;
    state->rflags = regs.rflags;
    return 0;
}

static int set_general(struct engine_vcpu *vcpu, const struct x86_state *state, struct error *error)
{
    struct kvm_regs regs = {.rip = state->rip, .rflags = state->rflags | X86_FLAGS_ONE};
    for (unsigned int i = 0; i < X86_GPR_COUNT; i++) {
        memcpy((uint8_t *)&regs + gpr_offsets[i], &state->gpr[i], sizeof(state->gpr[i]));
    }
    int code = device_ioctl(vcpu->fd, KVM_SET_REGS, &regs);
    return code < 0 ? kvm_error(error, code, "KVM refuses the general registers") : 0;
}

/* Debug registers */

static int get_debug(struct engine_vcpu *vcpu, struct x86_state *state, struct error *error)
{
    struct kvm_debugregs debug;
    int code = device_ioctl(vcpu->fd, KVM_GET_DEBUGREGS, &debug);
    if (code < 0) {
        return kvm_error(error, code, "KVM does not give the debug registers");
    }
    memset(state->dr, 0, sizeof(state->dr));
    for (unsigned int i = 0; i < 4; i++) {
        state->dr[i] = debug.db[i];
    }
    state->dr[6] = debug.dr6;
    state->dr[7] = debug.dr7;
    return 0;
}

static int set_debug(struct engine_vcpu *vcpu, const struct x86_state *state, struct error *error)
{
    struct kvm_debugregs debug = {.dr6 = state->dr[6], .dr7 = state->dr[7]};
    for (unsigned int i = 0; i < 4; i++) {
        debug.db[i] = state->dr[i];
    }
    int code = device_ioctl(vcpu->fd, KVM_SET_DEBUGREGS, &debug);
    return code < 0 ? kvm_error(error, code, "KVM refuses the debug registers") : 0;
}

/* FPU */

_Static_assert(sizeof(struct kvm_xsave) >= X86_XSAVE_SIZE, "KVM's area holds ours");

#define XSTATE_BV_OFFSET 512u

/*
 * Where PKRU is in the standard format (CPUID leaf 0DH, sub-leaf 9), which KVM takes from the
 * host; 0 when the host has none.
 */
static uint32_t pkru_offset(void)
{
    unsigned int eax, ebx, ecx, edx;
    if (__get_cpuid_count(0xd, 9, &eax, &ebx, &ecx, &edx) == 0 || eax < sizeof(uint32_t) ||
        ebx > X86_XSAVE_SIZE - sizeof(uint32_t)) {
        return 0;
    }
    return ebx;
}

static int get_fpu(struct engine_vcpu *vcpu, struct x86_state *state, struct error *error)
{
    struct kvm_xsave xsave;
    int code = device_ioctl(vcpu->fd, KVM_GET_XSAVE, &xsave);
    if (code < 0) {
        return kvm_error(error, code, "KVM does not give the FPU state");
    }
    memcpy(state->xsave, &xsave, X86_XSAVE_SIZE);
    uint64_t present;
    memcpy(&present, state->xsave + XSTATE_BV_OFFSET, sizeof(present));
    uint32_t offset = pkru_offset();
    state->pkru = 0;
    if (offset != 0 && (present & X86_XCR0_PKRU) != 0) {
        memcpy(&state->pkru, state->xsave + offset, sizeof(state->pkru));
    }
    state->xcr0 = X86_XCR0_X87;
    struct kvm_xcrs xcrs;
    if (vcpu->vm->has_xcrs) {
        code = device_ioctl(vcpu->fd, KVM_GET_XCRS, &xcrs);
        if (code < 0) {
            return kvm_error(error, code, "KVM does not give XCR0");
        }
        for (uint32_t i = 0; i < xcrs.nr_xcrs && i < KVM_MAX_XCRS; i++) {
            state->xcr0 = xcrs.xcrs[i].xcr == 0 ? xcrs.xcrs[i].value : state->xcr0;
        }
    }
    return 0;
}

static int set_fpu(struct engine_vcpu *vcpu, const struct x86_state *state, struct error *error)
{
    int code = 0;
    if (vcpu->vm->has_xcrs) {
        struct kvm_xcrs xcrs = {.nr_xcrs = 1};
        xcrs.xcrs[0].value = state->xcr0 | X86_XCR0_X87;
        code = device_ioctl(vcpu->fd, KVM_SET_XCRS, &xcrs);
        if (code < 0) {
            return kvm_error(error, code,
                             "KVM refuses 0x%llx in XCR0, perhaps as this host has not all of it",
                             (unsigned long long)state->xcr0);
        }
    }
    struct kvm_xsave xsave = {0};
    memcpy(&xsave, state->xsave, X86_XSAVE_SIZE);
    uint32_t offset = pkru_offset();
    uint64_t present;
    memcpy(&present, state->xsave + XSTATE_BV_OFFSET, sizeof(present));
    /* Also when it is 0: the image may have an older value. A guest without PKRU has none of it. */
    bool has_pkru = state->pkru != 0 || ((present | state->xcr0) & X86_XCR0_PKRU) != 0;
    if (offset != 0 && has_pkru) {
        present |= X86_XCR0_PKRU;
        memcpy((uint8_t *)&xsave + XSTATE_BV_OFFSET, &present, sizeof(present));
        memcpy((uint8_t *)&xsave + offset, &state->pkru, sizeof(state->pkru));
    }
    code = device_ioctl(vcpu->fd, KVM_SET_XSAVE, &xsave);
    return code < 0 ? kvm_error(error, code, "KVM refuses the FPU state") : 0;
}

/* The local APIC */

_Static_assert(sizeof(struct kvm_lapic_state) == X86_LAPIC_SIZE, "KVM's page is ours");

static int get_lapic(struct engine_vcpu *vcpu, struct x86_state *state, struct error *error)
{
    memset(state->lapic, 0, sizeof(state->lapic));
    if (!kvm_has_lapics(vcpu->vm)) {
        return 0;
    }
    int code = device_ioctl(vcpu->fd, KVM_GET_LAPIC, state->lapic);
    return code < 0 ? kvm_error(error, code, "KVM does not give the local APIC") : 0;
}

static int set_lapic(struct engine_vcpu *vcpu, const struct x86_state *state, struct error *error)
{
    if (!kvm_has_lapics(vcpu->vm)) {
        return 0;
    }
    struct kvm_lapic_state lapic;
    memcpy(&lapic, state->lapic, sizeof(lapic));
    int code = device_ioctl(vcpu->fd, KVM_SET_LAPIC, &lapic);
    return code < 0 ? kvm_error(error, code, "KVM refuses the local APIC") : 0;
}

/* Events and activity */

static int get_activity(struct engine_vcpu *vcpu, struct x86_state *state, struct error *error)
{
    state->activity = vcpu->activity;
    if (!kvm_has_lapics(vcpu->vm)) {
        return 0;
    }
    struct kvm_mp_state mp;
    int code = device_ioctl(vcpu->fd, KVM_GET_MP_STATE, &mp);
    if (code < 0) {
        return kvm_error(error, code, "KVM does not say whether the vCPU runs");
    }
    switch (mp.mp_state) {
    case KVM_MP_STATE_UNINITIALIZED:
    case KVM_MP_STATE_INIT_RECEIVED:
        state->activity = X86_WAIT_FOR_SIPI;
        break;
    case KVM_MP_STATE_HALTED:
        state->activity = X86_HALTED;
        break;
    default:
        break;
    }
    return 0;
}

static int set_activity(struct engine_vcpu *vcpu, enum x86_activity activity, struct error *error)
{
    vcpu->activity = activity;
    if (!kvm_has_lapics(vcpu->vm)) {
        return 0; /* vm/vcpu.c does the waiting */
    }
    static const uint32_t states[] = {
        [X86_ACTIVE] = KVM_MP_STATE_RUNNABLE,
        [X86_HALTED] = KVM_MP_STATE_HALTED,
        [X86_WAIT_FOR_SIPI] = KVM_MP_STATE_UNINITIALIZED,
        [X86_SHUTDOWN] = KVM_MP_STATE_RUNNABLE,
    };
    struct kvm_mp_state mp = {.mp_state = states[activity]};
    int code = device_ioctl(vcpu->fd, KVM_SET_MP_STATE, &mp);
    return code < 0 ? kvm_error(error, code, "KVM refuses to let the vCPU wait or run") : 0;
}

static int get_events(struct engine_vcpu *vcpu, struct x86_state *state, struct error *error)
{
    struct kvm_vcpu_events events;
    int code = device_ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events);
    if (code < 0) {
        return kvm_error(error, code, "KVM does not give the pending events");
    }
    state->sti_shadow = (events.interrupt.shadow & KVM_X86_SHADOW_INT_STI) != 0;
    state->mov_ss_shadow = (events.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS) != 0;
    state->nmi_blocked = events.nmi.masked != 0;
    state->nmi_pending = events.nmi.pending != 0;
    state->exception_pending = events.exception.injected != 0;
    state->exception_has_error = events.exception.has_error_code != 0;
    state->exception_vector = events.exception.nr;
    state->exception_error = events.exception.error_code;
    return get_activity(vcpu, state, error);
}

static int set_events(struct engine_vcpu *vcpu, const struct x86_state *state, struct error *error)
{
    /* An external interrupt under way is in there too and stays as it is. */
    struct kvm_vcpu_events events;
    int code = device_ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events);
    if (code < 0) {
        return kvm_error(error, code, "KVM does not give the pending events");
    }
    events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
    events.interrupt.shadow = (uint8_t)((state->sti_shadow ? KVM_X86_SHADOW_INT_STI : 0) |
                                        (state->mov_ss_shadow ? KVM_X86_SHADOW_INT_MOV_SS : 0));
    events.nmi.masked = state->nmi_blocked;
    events.nmi.pending = state->nmi_pending;
    events.exception.injected = state->exception_pending;
    events.exception.pending = 0;
    events.exception.nr = state->exception_vector;
    events.exception.has_error_code = state->exception_has_error;
    events.exception.error_code = state->exception_error;
    code = device_ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
    if (code < 0) {
        return kvm_error(error, code, "KVM refuses the pending events");
    }
    return set_activity(vcpu, state->activity, error);
}

/* All groups */

int kvm_vcpu_get_state(struct engine_vcpu *vcpu, unsigned int groups, struct x86_state *state,
                       struct error *error)
{
    int code = 0;
    if ((groups & X86_STATE_GENERAL) != 0) {
        code = get_general(vcpu, state, error);
    }
    if (code == 0 && (groups & X86_STATE_SYSTEM) != 0) {
        code = get_system(vcpu, state, error);
    }
    if (code == 0 && (groups & X86_STATE_DEBUG) != 0) {
        code = get_debug(vcpu, state, error);
    }
    if (code == 0 && (groups & X86_STATE_MSRS) != 0) {
        code = kvm_get_msrs(vcpu, &state->msr, error);
    }
    if (code == 0 && (groups & X86_STATE_FPU) != 0) {
        code = get_fpu(vcpu, state, error);
    }
    if (code == 0 && (groups & X86_STATE_EVENTS) != 0) {
        code = get_events(vcpu, state, error);
    }
    if (code == 0 && (groups & X86_STATE_LAPIC) != 0) {
        code = get_lapic(vcpu, state, error);
    }
    return code;
}

int kvm_vcpu_set_state(struct engine_vcpu *vcpu, unsigned int groups, const struct x86_state *state,
                       struct error *error)
{
    int code = 0;
    bool has_msrs = (groups & X86_STATE_MSRS) != 0, has_lapic = (groups & X86_STATE_LAPIC) != 0;
    vcpu->ready_for_interrupt = false; /* to be asked for again */
    /* System registers first: KVM checks FPU, MSRs and flags against the mode. */
    if ((groups & X86_STATE_SYSTEM) != 0) {
        code = set_system(vcpu, state, error);
    }
    if (code == 0 && (groups & X86_STATE_GENERAL) != 0) {
        code = set_general(vcpu, state, error);
    }
    if (code == 0 && (groups & X86_STATE_DEBUG) != 0) {
        code = set_debug(vcpu, state, error);
    }
    /* The LAPIC's mode, its registers, then the rest: a new LAPIC cancels IA32_TSC_DEADLINE. */
    if (code == 0 && has_msrs && has_lapic) {
        code = kvm_set_apic_base(vcpu, &state->msr, error);
    }
    if (code == 0 && has_lapic) {
        code = set_lapic(vcpu, state, error);
    }
    if (code == 0 && has_msrs) {
        code = kvm_set_msrs(vcpu, &state->msr, error);
    }
    if (code == 0 && (groups & X86_STATE_FPU) != 0) {
        code = set_fpu(vcpu, state, error);
    }
    if (code == 0 && (groups & X86_STATE_EVENTS) != 0) {
        code = set_events(vcpu, state, error);
    }
    return code;
}
