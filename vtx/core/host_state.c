/*
 * What the processor returns to at a VM exit.
 *
 * Source: Intel SDM volume 3, "Host-State Area", "Checks on Host Segment and Descriptor-Table
 *         Registers".
 */
#include "vtx/core/internal.h"
#include "x86/descriptor.h"
#include "x86/msr.h"

/* A user's selector, or an LDT's, may not stand there; none at all may, but for CS and TR. */
static uint64_t selector(uint16_t of_host)
{
    return (of_host & (X86_SELECTOR_RPL | X86_SELECTOR_TI)) != 0 ? 0 : of_host;
}

void vtx_write_host_state(struct vtx_vcpu *vcpu)
{
    struct vtx_host_registers *host = &vcpu->host_registers;
    vtx_read_host_registers(host);
    vtx_set(vcpu, VMCS_HOST_ES_SELECTOR, selector(host->es));
    vtx_set(vcpu, VMCS_HOST_CS_SELECTOR, host->cs);
    vtx_set(vcpu, VMCS_HOST_SS_SELECTOR, selector(host->ss));
    vtx_set(vcpu, VMCS_HOST_DS_SELECTOR, selector(host->ds));
    vtx_set(vcpu, VMCS_HOST_FS_SELECTOR, selector(host->fs));
    vtx_set(vcpu, VMCS_HOST_GS_SELECTOR, selector(host->gs));
    vtx_set(vcpu, VMCS_HOST_TR_SELECTOR, host->tr);
    vtx_set(vcpu, VMCS_HOST_TR_BASE, host->tr_base);
    vtx_set(vcpu, VMCS_HOST_GDTR_BASE, host->gdt_base);
    vtx_set(vcpu, VMCS_HOST_IDTR_BASE, host->idt_base);
    vtx_set(vcpu, VMCS_HOST_CR0, vtx_read_cr0());
    vtx_set(vcpu, VMCS_HOST_IA32_SYSENTER_CS, vtx_rdmsr(X86_MSR_IA32_SYSENTER_CS));
    vtx_set(vcpu, VMCS_HOST_IA32_SYSENTER_ESP, vtx_rdmsr(X86_MSR_IA32_SYSENTER_ESP));
    vtx_set(vcpu, VMCS_HOST_IA32_SYSENTER_EIP, vtx_rdmsr(X86_MSR_IA32_SYSENTER_EIP));
    vtx_set(vcpu, VMCS_HOST_IA32_EFER, vtx_rdmsr(X86_MSR_IA32_EFER));
    if ((vcpu->controls[VTX_CONTROLS_EXIT] & VMX_EXIT_LOAD_PAT) != 0) {
        vtx_set(vcpu, VMCS_HOST_IA32_PAT, vtx_rdmsr(X86_MSR_IA32_PAT));
    }
    vtx_set(vcpu, VMCS_HOST_RIP, vtx_exit_address());
    vtx_refresh_host_state(vcpu);
}

/* The thread that runs the vCPU may be another one than last time. */
void vtx_refresh_host_state(struct vtx_vcpu *vcpu)
{
    vtx_set(vcpu, VMCS_HOST_CR3, vtx_read_cr3());
    vtx_set(vcpu, VMCS_HOST_CR4, vtx_read_cr4());
    vtx_set(vcpu, VMCS_HOST_FS_BASE, vtx_rdmsr(X86_MSR_IA32_FS_BASE));
    vtx_set(vcpu, VMCS_HOST_GS_BASE, vtx_rdmsr(X86_MSR_IA32_GS_BASE));
}
