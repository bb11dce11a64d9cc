#include "x86/vmx_text.h"

#include <stdbool.h>
#include <stddef.h>

#include "x86/vmx.h"

static const char *const reasons[VMX_REASON_COUNT] = {
    [VMX_REASON_EXCEPTION_OR_NMI] = "exception or NMI",
    [VMX_REASON_EXTERNAL_INTERRUPT] = "external interrupt",
    [VMX_REASON_TRIPLE_FAULT] = "triple fault",
    [VMX_REASON_INIT_SIGNAL] = "INIT signal",
    [VMX_REASON_SIPI] = "start-up IPI",
    [VMX_REASON_IO_SMI] = "I/O SMI",
    [VMX_REASON_OTHER_SMI] = "other SMI",
    [VMX_REASON_INTERRUPT_WINDOW] = "interrupt window",
    [VMX_REASON_NMI_WINDOW] = "NMI window",
    [VMX_REASON_TASK_SWITCH] = "task switch",
    [VMX_REASON_CPUID] = "CPUID",
    [VMX_REASON_GETSEC] = "GETSEC",
    [VMX_REASON_HLT] = "HLT",
    [VMX_REASON_INVD] = "INVD",
    [VMX_REASON_INVLPG] = "INVLPG",
    [VMX_REASON_RDPMC] = "RDPMC",
    [VMX_REASON_RDTSC] = "RDTSC",
    [VMX_REASON_RSM] = "RSM",
    [VMX_REASON_VMCALL] = "VMCALL",
    [VMX_REASON_VMCLEAR] = "VMCLEAR",
    [VMX_REASON_VMLAUNCH] = "VMLAUNCH",
    [VMX_REASON_VMPTRLD] = "VMPTRLD",
    [VMX_REASON_VMPTRST] = "VMPTRST",
    [VMX_REASON_VMREAD] = "VMREAD",
    [VMX_REASON_VMRESUME] = "VMRESUME",
    [VMX_REASON_VMWRITE] = "VMWRITE",
    [VMX_REASON_VMXOFF] = "VMXOFF",
    [VMX_REASON_VMXON] = "VMXON",
    [VMX_REASON_CONTROL_REGISTER] = "control-register access",
    [VMX_REASON_MOV_DR] = "MOV DR",
    [VMX_REASON_IO_INSTRUCTION] = "I/O instruction",
    [VMX_REASON_RDMSR] = "RDMSR",
    [VMX_REASON_WRMSR] = "WRMSR",
    [VMX_REASON_ENTRY_GUEST_STATE] = "VM-entry failure due to invalid guest state",
    [VMX_REASON_ENTRY_MSR_LOADING] = "VM-entry failure due to MSR loading",
    [VMX_REASON_MWAIT] = "MWAIT",
    [VMX_REASON_MONITOR_TRAP] = "monitor trap flag",
    [VMX_REASON_MONITOR] = "MONITOR",
    [VMX_REASON_PAUSE] = "PAUSE",
    [VMX_REASON_ENTRY_MACHINE_CHECK] = "VM-entry failure due to machine-check event",
    [VMX_REASON_TPR_BELOW_THRESHOLD] = "TPR below threshold",
    [VMX_REASON_APIC_ACCESS] = "APIC access",
    [VMX_REASON_VIRTUALIZED_EOI] = "virtualized EOI",
    [VMX_REASON_GDTR_OR_IDTR] = "access to GDTR or IDTR",
    [VMX_REASON_LDTR_OR_TR] = "access to LDTR or TR",
    [VMX_REASON_EPT_VIOLATION] = "EPT violation",
    [VMX_REASON_EPT_MISCONFIGURATION] = "EPT misconfiguration",
    [VMX_REASON_INVEPT] = "INVEPT",
    [VMX_REASON_RDTSCP] = "RDTSCP",
    [VMX_REASON_PREEMPTION_TIMER] = "VMX-preemption timer expired",
    [VMX_REASON_INVVPID] = "INVVPID",
    [VMX_REASON_WBINVD] = "WBINVD or WBNOINVD",
    [VMX_REASON_XSETBV] = "XSETBV",
    [VMX_REASON_APIC_WRITE] = "APIC write",
    [VMX_REASON_RDRAND] = "RDRAND",
    [VMX_REASON_INVPCID] = "INVPCID",
    [VMX_REASON_VMFUNC] = "VMFUNC",
    [VMX_REASON_ENCLS] = "ENCLS",
    [VMX_REASON_RDSEED] = "RDSEED",
    [VMX_REASON_PAGE_MODIFICATION_LOG_FULL] = "page-modification log full",
    [VMX_REASON_XSAVES] = "XSAVES",
    [VMX_REASON_XRSTORS] = "XRSTORS",
    [VMX_REASON_PCONFIG] = "PCONFIG",
    [VMX_REASON_SPP] = "SPP-related event",
    [VMX_REASON_UMWAIT] = "UMWAIT",
    [VMX_REASON_TPAUSE] = "TPAUSE",
    [VMX_REASON_LOADIWKEY] = "LOADIWKEY",
    [VMX_REASON_ENCLV] = "ENCLV",
    [VMX_REASON_ENQCMD_PASID] = "ENQCMD PASID translation failure",
    [VMX_REASON_ENQCMDS_PASID] = "ENQCMDS PASID translation failure",
    [VMX_REASON_BUS_LOCK] = "bus lock",
    [VMX_REASON_INSTRUCTION_TIMEOUT] = "instruction timeout",
    [VMX_REASON_SEAMCALL] = "SEAMCALL",
    [VMX_REASON_TDCALL] = "TDCALL",
};

static const char *const errors[] = {
    [1] = "VMCALL in VMX root operation",
    [2] = "VMCLEAR with an invalid physical address",
    [3] = "VMCLEAR with the VMXON pointer",
    [4] = "VMLAUNCH with a VMCS that is not clear",
    [5] = "VMRESUME with a VMCS that is not launched",
    [6] = "VMRESUME after VMXOFF",
    [7] = "VM entry with invalid control fields",
    [8] = "VM entry with invalid host-state fields",
    [9] = "VMPTRLD with an invalid physical address",
    [10] = "VMPTRLD with the VMXON pointer",
    [11] = "VMPTRLD with an incorrect VMCS revision identifier",
    [12] = "VMREAD or VMWRITE of a VMCS field that is not supported",
    [13] = "VMWRITE to a read-only VMCS field",
    [15] = "VMXON in VMX root operation",
    [16] = "VM entry with an invalid executive-VMCS pointer",
    [17] = "VM entry with an executive VMCS that is not launched",
    [18] = "VM entry with an executive-VMCS pointer that is not the VMXON pointer",
    [19] = "VMCALL with a VMCS that is not clear",
    [20] = "VMCALL with invalid VM-exit control fields",
    [22] = "VMCALL with an incorrect MSEG revision identifier",
    [23] = "VMXOFF under dual-monitor treatment of SMIs and SMM",
    [24] = "VMCALL with invalid SMM-monitor features",
    [25] = "VM entry with invalid execution-control fields in the executive VMCS",
    [26] = "VM entry with events blocked by MOV SS",
    [28] = "an invalid operand of INVEPT or INVVPID",
};

const char *vmx_reason_name(uint32_t basic_reason)
{
    bool known = basic_reason < VMX_REASON_COUNT && reasons[basic_reason] != NULL;
    return known ? reasons[basic_reason] : "an exit reason that the manual did not have";
}

const char *vmx_instruction_error(uint32_t number)
{
    bool known = number < sizeof(errors) / sizeof(errors[0]) && errors[number] != NULL;
    return known ? errors[number] : "an error number that the manual did not have";
}
