#include "vtx/core/cpu.h"

#include <string.h>

#include "vtx/core/hardware.h"

enum vtx_status vtx_cpu_prepare(struct vtx_cpu *cpu, const struct vtx_host *host,
                                const struct vtx_capabilities *capabilities, struct error *error)
{
    *cpu = (struct vtx_cpu){.host = host, .capabilities = capabilities};
    cpu->region.at = host->allocate_page(host->context, &cpu->region.physical);
    if (cpu->region.at == NULL) {
        return vtx_fail(VTX_NO_MEMORY, error,
                        "there is no memory for the VMXON region of a processor");
    }
    memcpy(cpu->region.at, &capabilities->revision, sizeof(capabilities->revision));
    return VTX_OK;
}

enum vtx_status vtx_cpu_enter(struct vtx_cpu *cpu, struct error *error)
{
    uint64_t cr4 = vtx_read_cr4();
    if (cpu->in_root || (cr4 & X86_CR4_VMXE) != 0) {
        return vtx_fail(
            VTX_ALREADY_ROOT, error,
            "the processor is in VMX operation already: another monitor uses it; unload it "
            "first (rmmod kvm_intel)");
    }
    enum vtx_status status = vtx_feature_control_enable(error);
    if (status != VTX_OK) {
        return status;
    }
    cpu->cr0_before = vtx_read_cr0();
    cpu->cr4_before = cr4;
    vtx_write_cr0(vtx_cr0_adjust(cpu->capabilities, cpu->cr0_before, false));
    vtx_write_cr4(vtx_cr4_adjust(cpu->capabilities, cr4 | X86_CR4_VMXE));
    if (vtx_vmxon(cpu->region.physical) != VTX_SUCCEED) {
        vtx_write_cr4(cpu->cr4_before);
        vtx_write_cr0(cpu->cr0_before);
        return vtx_fail(
            VTX_FAILED, error,
            "VMXON failed: the processor is in root mode, or does not take the region's "
            "address or revision identifier");
    }
    cpu->in_root = true;
    return VTX_OK;
}

void vtx_cpu_leave(struct vtx_cpu *cpu)
{
    if (!cpu->in_root) {
        return;
    }
    vtx_vmxoff();
    vtx_write_cr4(vtx_read_cr4() & ~X86_CR4_VMXE);
    vtx_write_cr0(cpu->cr0_before);
    cpu->in_root = false;
}

void vtx_cpu_release(struct vtx_cpu *cpu)
{
    if (cpu->region.at != NULL) {
        cpu->host->free_page(cpu->host->context, cpu->region.at);
        cpu->region.at = NULL;
    }
}
