/* What to do about each exit reason: the one table, and the handlers that need few lines. */
#include "vtx/core/internal.h"
#include "x86/control_rules.h"
#include "x86/msr.h"
#include "x86/vmx_operand.h"
#include "x86/vmx_text.h"

/* ---- the next instruction ---- */

#define SHADOWS ((uint64_t)(ENTRY_BLOCKING_STI | ENTRY_BLOCKING_MOV_SS))

bool vtx_is_shadowed(struct vtx_vcpu *vcpu)
{
    return (vtx_get(vcpu, VMCS_GUEST_INTERRUPTIBILITY_STATE) & SHADOWS) != 0;
}

/* With IA32_DEBUGCTL.BTF only branches are steps; no guest's WRMSR sets it, but a state may. */
void vtx_make_step_due(struct vtx_vcpu *vcpu)
{
    if ((vtx_get(vcpu, VMCS_GUEST_RFLAGS) & X86_FLAGS_TF) != 0 &&
        (vtx_get(vcpu, VMCS_GUEST_IA32_DEBUGCTL) & ENTRY_DEBUGCTL_BTF) == 0) {
        uint64_t pending = vtx_get(vcpu, VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS);
        vtx_set(vcpu, VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, pending | ENTRY_PENDING_BS);
    }
}

void vtx_end_instruction(struct vtx_vcpu *vcpu)
{
    if (vtx_is_shadowed(vcpu)) {
        uint64_t blocking = vtx_get(vcpu, VMCS_GUEST_INTERRUPTIBILITY_STATE);
        vtx_set(vcpu, VMCS_GUEST_INTERRUPTIBILITY_STATE, blocking & ~SHADOWS);
    }
    vtx_make_step_due(vcpu);
}

enum vtx_step vtx_skip(struct vtx_vcpu *vcpu)
{
    uint64_t rip = vtx_get(vcpu, VMCS_GUEST_RIP);
    uint64_t next = rip + vtx_get(vcpu, VMCS_VM_EXIT_INSTRUCTION_LENGTH);
    bool may_wrap = (rip ^ next) >> 32 != 0; /* only there the mode matters */
    vtx_set(vcpu, VMCS_GUEST_RIP, may_wrap && !vtx_guest_is_64bit(vcpu) ? (uint32_t)next : next);
    vtx_end_instruction(vcpu);
    return VTX_STEP_RESUME;
}

/* ---- events that are not the guest's instructions ---- */

static enum vtx_step external_interrupt(struct vtx_vcpu *vcpu)
{
    (void)vcpu;
    return VTX_STEP_INTERRUPT; /* still pending: it comes when the embedder enables interrupts */
}

static enum vtx_step preemption_timer(struct vtx_vcpu *vcpu)
{
    return vtx_leave(vcpu, EXIT_KICKED);
}

/* ---- instructions ---- */

static enum vtx_step invalid_opcode(struct vtx_vcpu *vcpu)
{
    return vtx_raise(vcpu, X86_VECTOR_UD, 0);
}

static enum vtx_step general_protection(struct vtx_vcpu *vcpu)
{
    return vtx_raise(vcpu, X86_VECTOR_GP, 0);
}

static enum vtx_step hlt(struct vtx_vcpu *vcpu)
{
    vtx_skip(vcpu);
    return vtx_leave(vcpu, EXIT_HLT);
}

/* A guest that CPUID shows no MONITOR gets #UD; to others both are hints. */
static enum vtx_step monitor_or_mwait(struct vtx_vcpu *vcpu)
{
    return cpuid_has(vcpu->cpuid, X86_FEATURE_MONITOR) ? vtx_skip(vcpu) : invalid_opcode(vcpu);
}

static enum vtx_step invlpg(struct vtx_vcpu *vcpu)
{
    if (vcpu->vpid != 0) {
        bool one = (vcpu->vm->capabilities->ept_vpid & VMX_VPID_INVVPID_ADDRESS) != 0;
        vtx_invvpid(one ? VMX_INVVPID_ADDRESS : VMX_INVVPID_SINGLE, vcpu->vpid,
                    one ? vtx_get(vcpu, VMCS_EXIT_QUALIFICATION) : 0);
    }
    return vtx_skip(vcpu);
}

/* With "INVLPG exiting". Its operand is not looked at: all is forgotten, which is never wrong. */
static enum vtx_step invpcid(struct vtx_vcpu *vcpu)
{
    vtx_flush_linear(vcpu);
    return vtx_skip(vcpu);
}

static enum vtx_step rdtsc(struct vtx_vcpu *vcpu)
{
    uint64_t tsc = vtx_rdtsc() + vcpu->tsc_offset;
    vcpu->registers.gpr[X86_RAX] = (uint32_t)tsc;
    vcpu->registers.gpr[X86_RDX] = tsc >> 32;
    return vtx_skip(vcpu);
}

static enum vtx_step rdtscp(struct vtx_vcpu *vcpu)
{
    vcpu->registers.gpr[X86_RCX] = (uint32_t)vtx_live_msr(vcpu, X86_MSR_IA32_TSC_AUX);
    return rdtsc(vcpu);
}

/* RDSEED, too. */
static enum vtx_step rdrand(struct vtx_vcpu *vcpu)
{
    uint32_t information = (uint32_t)vtx_get(vcpu, VMCS_VM_EXIT_INSTRUCTION_INFORMATION);
    unsigned int number = vmx_operand(information).number, size = vmx_operand_size(information);
    uint64_t value = 0;
    bool is_seed = (vcpu->reason & VMX_REASON_BASIC) == VMX_REASON_RDSEED;
    bool good = is_seed ? vtx_rdseed(&value) : vtx_rdrand(&value);
    uint64_t old = vtx_read_gpr(vcpu, number);
    vtx_write_gpr(vcpu, number, vtx_merge(old, good ? value : 0, size));
    uint64_t flags = vtx_get(vcpu, VMCS_GUEST_RFLAGS) & ~X86_FLAGS_ARITHMETIC;
    vtx_set(vcpu, VMCS_GUEST_RFLAGS, good ? flags | X86_FLAGS_CF : flags);
    return vtx_skip(vcpu);
}

static enum vtx_step xsetbv(struct vtx_vcpu *vcpu)
{
    const uint64_t *gpr = vcpu->registers.gpr;
    uint64_t value = (uint32_t)gpr[X86_RAX] | gpr[X86_RDX] << 32;
    if ((uint32_t)gpr[X86_RCX] != 0 || vtx_guest_cpl(vcpu) != 0 ||
        !x86_is_xcr0(vcpu->vm->capabilities->xcr0_host, value)) {
        return general_protection(vcpu);
    }
    vcpu->xcr0 = value;
    vtx_xsetbv(value);
    return vtx_skip(vcpu);
}

static enum vtx_step complete_hypercall(struct vtx_vcpu *vcpu)
{
    vcpu->registers.gpr[X86_RAX] = vcpu->exit.hypercall.result;
    return VTX_STEP_RESUME;
}

#define HYPERCALL_NOT_PERMITTED UINT64_MAX /* -EPERM */

/* Hypercalls are for the guest's kernel; outside 64-bit mode registers are 32 bits wide. */
static enum vtx_step vmcall(struct vtx_vcpu *vcpu)
{
    static const enum x86_gpr from[] = {X86_RBX, X86_RCX, X86_RDX, X86_RSI};
    uint64_t *gpr = vcpu->registers.gpr;
    uint64_t mask = vtx_guest_is_64bit(vcpu) ? UINT64_MAX : UINT32_MAX;
    if (vtx_guest_cpl(vcpu) != 0) {
        gpr[X86_RAX] = HYPERCALL_NOT_PERMITTED & mask;
        return vtx_skip(vcpu);
    }
    vcpu->exit.hypercall.number = gpr[X86_RAX] & mask;
    for (unsigned int i = 0; i < sizeof(from) / sizeof(from[0]); i++) {
        vcpu->exit.hypercall.arguments[i] = gpr[from[i]] & mask;
    }
    vcpu->exit.hypercall.result = 0;
    vcpu->completion = complete_hypercall;
    vtx_skip(vcpu);
    return vtx_leave(vcpu, EXIT_HYPERCALL);
}

static enum vtx_step ept_misconfiguration(struct vtx_vcpu *vcpu)
{
    return vtx_leave_in_words(vcpu, "the EPT has an entry that makes no sense, for guest physical",
                              vtx_get(vcpu, VMCS_GUEST_PHYSICAL_ADDRESS));
}

static enum vtx_step task_switch(struct vtx_vcpu *vcpu)
{
    return vtx_leave_in_words(
        vcpu,
        "the guest switches tasks by hardware, which VT-x leaves to the monitor and this one "
        "does not do (the engine soft does); the new task's selector is",
        vtx_get(vcpu, VMCS_EXIT_QUALIFICATION) & 0xffff);
}

/* ---- the table ---- */

/*
 * WBINVD and INVD do nothing: memory is write-back for everyone, no device looks past the caches,
 * and a guest must not empty the host's. Reasons without a handler come only with controls that the
 * core does not set; should one come all the same, the embedder gets its name.
 */
static enum vtx_step (*const handlers[VMX_REASON_COUNT])(struct vtx_vcpu *vcpu) = {
    [VMX_REASON_EXCEPTION_OR_NMI] = vtx_exit_exception_or_nmi,
    [VMX_REASON_EXTERNAL_INTERRUPT] = external_interrupt,
    [VMX_REASON_TRIPLE_FAULT] = vtx_shut_down,
    [VMX_REASON_INTERRUPT_WINDOW] = vtx_exit_interrupt_window,
    [VMX_REASON_NMI_WINDOW] = vtx_exit_nmi_window,
    [VMX_REASON_TASK_SWITCH] = task_switch,
    [VMX_REASON_CPUID] = vtx_exit_cpuid,
    [VMX_REASON_GETSEC] = invalid_opcode,
    [VMX_REASON_HLT] = hlt,
    [VMX_REASON_INVD] = vtx_skip,
    [VMX_REASON_INVLPG] = invlpg,
    [VMX_REASON_RDPMC] = general_protection,
    [VMX_REASON_RDTSC] = rdtsc,
    [VMX_REASON_VMCALL] = vmcall,
    [VMX_REASON_VMCLEAR... VMX_REASON_VMXON] = invalid_opcode,
    [VMX_REASON_CONTROL_REGISTER] = vtx_exit_control_register,
    [VMX_REASON_MOV_DR] = vtx_exit_mov_dr,
    [VMX_REASON_IO_INSTRUCTION] = vtx_exit_io,
    [VMX_REASON_RDMSR] = vtx_exit_rdmsr,
    [VMX_REASON_WRMSR] = vtx_exit_wrmsr,
    [VMX_REASON_MWAIT] = monitor_or_mwait,
    [VMX_REASON_MONITOR] = monitor_or_mwait,
    [VMX_REASON_PAUSE] = vtx_skip,
    [VMX_REASON_GDTR_OR_IDTR] = vtx_exit_table_register,
    [VMX_REASON_LDTR_OR_TR] = vtx_exit_segment_register,
    [VMX_REASON_EPT_VIOLATION] = vtx_exit_ept_violation,
    [VMX_REASON_EPT_MISCONFIGURATION] = ept_misconfiguration,
    [VMX_REASON_INVEPT] = invalid_opcode,
    [VMX_REASON_RDTSCP] = rdtscp,
    [VMX_REASON_PREEMPTION_TIMER] = preemption_timer,
    [VMX_REASON_INVVPID] = invalid_opcode,
    [VMX_REASON_WBINVD] = vtx_skip,
    [VMX_REASON_XSETBV] = xsetbv,
    [VMX_REASON_RDRAND] = rdrand,
    [VMX_REASON_INVPCID] = invpcid,
    [VMX_REASON_VMFUNC] = invalid_opcode,
    [VMX_REASON_RDSEED] = rdrand,
    [VMX_REASON_UMWAIT... VMX_REASON_TPAUSE] = invalid_opcode,
};

enum vtx_step vtx_handle_exit(struct vtx_vcpu *vcpu, uint32_t basic_reason)
{
    if (basic_reason < VMX_REASON_COUNT && handlers[basic_reason] != NULL) {
        return handlers[basic_reason](vcpu);
    }
    vcpu->exit.internal.code = basic_reason;
    struct text text = text_start(vcpu->exit.internal.text, sizeof(vcpu->exit.internal.text));
    text_put(&text, "a VM exit that was not asked for: ");
    text_put(&text, vmx_reason_name(basic_reason));
    text_put(&text, ", exit reason ");
    text_put_decimal(&text, basic_reason);
    return vtx_leave(vcpu, EXIT_INTERNAL);
}
