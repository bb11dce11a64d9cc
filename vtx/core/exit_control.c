/*
 * Accesses to control and debug registers that exit.
 *
 * Source: Intel SDM volume 3, "Exit Qualification for Control-Register Accesses", "Exit
 *         Qualification for MOV DR", "Changes to Instruction Behavior in VMX Non-Root Operation".
 */
#include "vtx/core/internal.h"
#include "x86/control_rules.h"

#define LMSW_BITS (X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS)

static struct x86_control_state control_state(struct vtx_vcpu *vcpu)
{
    return (struct x86_control_state){
        .cr0 = vtx_guest_cr0(vcpu),
        .cr3 = vtx_get(vcpu, VMCS_GUEST_CR3),
        .cr4 = vtx_guest_cr4(vcpu),
        .efer = vtx_get(vcpu, VMCS_GUEST_IA32_EFER),
        .cs_attributes = (uint32_t)vtx_get(vcpu, VMCS_GUEST_CS_ACCESS_RIGHTS),
        .tr_attributes = (uint32_t)vtx_get(vcpu, VMCS_GUEST_TR_ACCESS_RIGHTS),
    };
}

bool vtx_write_efer(struct vtx_vcpu *vcpu, uint64_t value)
{
    struct x86_control_state before = control_state(vcpu);
    uint64_t efer;
    if (!x86_next_efer(&before, vcpu->cpuid, value, &efer)) {
        return false;
    }
    vtx_put_efer(vcpu, efer);
    vtx_flush_linear(vcpu);
    return true;
}

/* Bits that the guest sees a fake of keep what they are. */
static uint64_t keep_faked(const struct vtx_register_view *view, uint64_t old, uint64_t value)
{
    return (value & ~view->faked) | (old & view->faked);
}

static enum vtx_step write_cr0(struct vtx_vcpu *vcpu, uint64_t value)
{
    struct x86_control_state before = control_state(vcpu);
    uint64_t cr0, efer;
    enum vtx_step step;
    value = keep_faked(&vcpu->cr0_view, before.cr0, value);
    if (!x86_next_cr0(&before, value, &cr0, &efer)) {
        return vtx_raise(vcpu, X86_VECTOR_GP, 0);
    }
    if (x86_cr0_loads_pdptes(before.cr0 ^ cr0) &&
        !vtx_load_pdptes(vcpu, cr0, before.cr3, before.cr4, efer, &step)) {
        return step;
    }
    vtx_put_cr0(vcpu, cr0);
    if (efer != before.efer) {
        vtx_put_efer(vcpu, efer);
    }
    vtx_flush_linear(vcpu);
    return vtx_skip(vcpu);
}

static enum vtx_step write_cr3(struct vtx_vcpu *vcpu, uint64_t value)
{
    struct x86_control_state before = control_state(vcpu);
    bool keeps = (before.cr4 & X86_CR4_PCIDE) != 0 && (value & X86_CR3_NO_FLUSH) != 0;
    enum vtx_step step;
    if ((before.cr4 & X86_CR4_PCIDE) != 0) {
        value &= ~X86_CR3_NO_FLUSH;
    }
    if (value >> vcpu->vm->capabilities->physical_address_bits != 0) {
        return vtx_raise(vcpu, X86_VECTOR_GP, 0);
    }
    if (!vtx_load_pdptes(vcpu, before.cr0, value, before.cr4, before.efer, &step)) {
        return step;
    }
    vtx_set(vcpu, VMCS_GUEST_CR3, value);
    if (!keeps) {
        vtx_flush_linear(vcpu);
    }
    return vtx_skip(vcpu);
}

static enum vtx_step write_cr4(struct vtx_vcpu *vcpu, uint64_t value)
{
    struct x86_control_state before = control_state(vcpu);
    enum vtx_step step;
    value = keep_faked(&vcpu->cr4_view, before.cr4, value);
    if (!x86_is_next_cr4(&before, value, vcpu->cr4_allowed | vcpu->cr4_view.faked)) {
        return vtx_raise(vcpu, X86_VECTOR_GP, 0);
    }
    if (x86_cr4_loads_pdptes(before.cr4 ^ value) &&
        !vtx_load_pdptes(vcpu, before.cr0, before.cr3, value, before.efer, &step)) {
        return step;
    }
    vtx_put_cr4(vcpu, value);
    vtx_flush_linear(vcpu);
    return vtx_skip(vcpu);
}

/* The embedder, who has the local APIC, looks for interrupts that may come now. */
static enum vtx_step write_cr8(struct vtx_vcpu *vcpu, uint64_t value)
{
    if (value > 15) {
        return vtx_raise(vcpu, X86_VECTOR_GP, 0);
    }
    vtx_skip(vcpu);
    bool changed = vcpu->cr8 != value;
    vcpu->cr8 = (uint8_t)value;
    return changed ? vtx_leave(vcpu, EXIT_INTERRUPT_WINDOW) : VTX_STEP_RESUME;
}

static enum vtx_step move_to(struct vtx_vcpu *vcpu, unsigned int number, uint64_t value)
{
    switch (number) {
    case 0:
        return write_cr0(vcpu, value);
    case 3:
        return write_cr3(vcpu, value);
    case 4:
        return write_cr4(vcpu, value);
    default:
        return write_cr8(vcpu, value);
    }
}

/* CR0 and CR4 are never read by an exit: the read shadow answers. */
static uint64_t read_register(struct vtx_vcpu *vcpu, unsigned int number)
{
    return number == 3 ? vtx_get(vcpu, VMCS_GUEST_CR3) : vcpu->cr8;
}

/* LMSW sets PE but cannot clear it. */
static enum vtx_step lmsw(struct vtx_vcpu *vcpu, uint64_t source)
{
    uint64_t cr0 = vtx_guest_cr0(vcpu);
    return write_cr0(vcpu, (cr0 & ~LMSW_BITS) | (source & LMSW_BITS) | (cr0 & X86_CR0_PE));
}

/* Outside 64-bit mode a move is 32 bits wide. */
static uint64_t narrow(struct vtx_vcpu *vcpu, uint64_t value)
{
    return vtx_guest_is_64bit(vcpu) ? value : (uint32_t)value;
}

enum vtx_step vtx_exit_control_register(struct vtx_vcpu *vcpu)
{
    uint64_t qualification = vtx_get(vcpu, VMCS_EXIT_QUALIFICATION);
    unsigned int number = (unsigned int)qualification & VMX_CR_NUMBER;
    unsigned int gpr = (unsigned int)(qualification >> VMX_CR_GPR_SHIFT) & 0xf;
    switch (qualification >> VMX_CR_TYPE_SHIFT & VMX_CR_TYPE) {
    case VMX_MOV_TO_CR:
        return move_to(vcpu, number, narrow(vcpu, vtx_read_gpr(vcpu, gpr)));
    case VMX_MOV_FROM_CR:
        vtx_write_gpr(vcpu, gpr, narrow(vcpu, read_register(vcpu, number)));
        return vtx_skip(vcpu);
    case VMX_CLTS:
        return write_cr0(vcpu, vtx_guest_cr0(vcpu) & ~X86_CR0_TS);
    default:
        return lmsw(vcpu, qualification >> VMX_CR_SOURCE_SHIFT);
    }
}

/* ---- debug registers ---- */

static uint64_t read_dr(struct vtx_vcpu *vcpu, unsigned int number)
{
    return number == 7 ? vtx_get(vcpu, VMCS_GUEST_DR7) : vtx_read_dr(number);
}

static void write_dr(struct vtx_vcpu *vcpu, unsigned int number, uint64_t value)
{
    if (number == 7) {
        vtx_set(vcpu, VMCS_GUEST_DR7, value | X86_DR7_ONE);
    } else {
        vtx_write_dr(number, number == 6 ? value | X86_DR6_ONES : value);
    }
}

/* The exit comes before the instruction's own faults ("MOV DR"), so they are up to us. */
enum vtx_step vtx_exit_mov_dr(struct vtx_vcpu *vcpu)
{
    uint64_t qualification = vtx_get(vcpu, VMCS_EXIT_QUALIFICATION);
    unsigned int number = (unsigned int)qualification & VMX_DR_NUMBER;
    unsigned int gpr = (unsigned int)(qualification >> VMX_DR_GPR_SHIFT) & 0xf;
    if (vtx_guest_cpl(vcpu) != 0) {
        return vtx_raise(vcpu, X86_VECTOR_GP, 0);
    }
    if (number == 4 || number == 5) {
        if ((vtx_guest_cr4(vcpu) & X86_CR4_DE) != 0) {
            return vtx_raise(vcpu, X86_VECTOR_UD, 0);
        }
        number += 2;
    }
    if ((vtx_get(vcpu, VMCS_GUEST_DR7) & X86_DR7_GD) != 0) {
        vtx_write_dr(6, vtx_read_dr(6) | X86_DR6_BD);
        vtx_set(vcpu, VMCS_GUEST_DR7, vtx_get(vcpu, VMCS_GUEST_DR7) & ~X86_DR7_GD);
        return vtx_raise(vcpu, X86_VECTOR_DB, 0);
    }
    if ((qualification & VMX_DR_READ) != 0) {
        vtx_write_gpr(vcpu, gpr, narrow(vcpu, read_dr(vcpu, number)));
        return vtx_skip(vcpu);
    }
    uint64_t value = narrow(vcpu, vtx_read_gpr(vcpu, gpr));
    if (number >= 6 && value >> 32 != 0) {
        return vtx_raise(vcpu, X86_VECTOR_GP, 0);
    }
    write_dr(vcpu, number, value);
    return vtx_skip(vcpu);
}
