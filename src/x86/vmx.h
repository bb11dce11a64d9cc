/*
 * VT-x's constants: exit reasons, controls, capability bits, formats of VMCS fields.
 *
 * Purpose: one spelling for the whole project, the manual's own. The fields themselves are in
 *          x86/vmcs_fields.h; what the entry checks look at besides is in x86/entry_state.h.
 * Source:  Intel SDM volume 3, the chapters on VMX, and its appendices; a title stands at each.
 * Owner, thread: constants only. Freestanding.
 */
#ifndef TRAPEZE_X86_VMX_H
#define TRAPEZE_X86_VMX_H

#include <stdint.h>

/* Appendix "VMX Basic Exit Reasons". Numbers that are missing are not used. */
enum vmx_exit_reason {
    VMX_REASON_EXCEPTION_OR_NMI = 0,
    VMX_REASON_EXTERNAL_INTERRUPT = 1,
    VMX_REASON_TRIPLE_FAULT = 2,
    VMX_REASON_INIT_SIGNAL = 3,
    VMX_REASON_SIPI = 4,
    VMX_REASON_IO_SMI = 5,
    VMX_REASON_OTHER_SMI = 6,
    VMX_REASON_INTERRUPT_WINDOW = 7,
    VMX_REASON_NMI_WINDOW = 8,
    VMX_REASON_TASK_SWITCH = 9,
    VMX_REASON_CPUID = 10,
    VMX_REASON_GETSEC = 11,
    VMX_REASON_HLT = 12,
    VMX_REASON_INVD = 13,
    VMX_REASON_INVLPG = 14,
    VMX_REASON_RDPMC = 15,
    VMX_REASON_RDTSC = 16,
    VMX_REASON_RSM = 17,
    VMX_REASON_VMCALL = 18,
    VMX_REASON_VMCLEAR = 19,
    VMX_REASON_VMLAUNCH = 20,
    VMX_REASON_VMPTRLD = 21,
    VMX_REASON_VMPTRST = 22,
    VMX_REASON_VMREAD = 23,
    VMX_REASON_VMRESUME = 24,
    VMX_REASON_VMWRITE = 25,
    VMX_REASON_VMXOFF = 26,
    VMX_REASON_VMXON = 27,
    VMX_REASON_CONTROL_REGISTER = 28,
    VMX_REASON_MOV_DR = 29,
    VMX_REASON_IO_INSTRUCTION = 30,
    VMX_REASON_RDMSR = 31,
    VMX_REASON_WRMSR = 32,
    VMX_REASON_ENTRY_GUEST_STATE = 33,
    VMX_REASON_ENTRY_MSR_LOADING = 34,
    VMX_REASON_MWAIT = 36,
    VMX_REASON_MONITOR_TRAP = 37,
    VMX_REASON_MONITOR = 39,
    VMX_REASON_PAUSE = 40,
    VMX_REASON_ENTRY_MACHINE_CHECK = 41,
    VMX_REASON_TPR_BELOW_THRESHOLD = 43,
    VMX_REASON_APIC_ACCESS = 44,
    VMX_REASON_VIRTUALIZED_EOI = 45,
    VMX_REASON_GDTR_OR_IDTR = 46,
    VMX_REASON_LDTR_OR_TR = 47,
    VMX_REASON_EPT_VIOLATION = 48,
    VMX_REASON_EPT_MISCONFIGURATION = 49,
    VMX_REASON_INVEPT = 50,
    VMX_REASON_RDTSCP = 51,
    VMX_REASON_PREEMPTION_TIMER = 52,
    VMX_REASON_INVVPID = 53,
    VMX_REASON_WBINVD = 54,
    VMX_REASON_XSETBV = 55,
    VMX_REASON_APIC_WRITE = 56,
    VMX_REASON_RDRAND = 57,
    VMX_REASON_INVPCID = 58,
    VMX_REASON_VMFUNC = 59,
    VMX_REASON_ENCLS = 60,
    VMX_REASON_RDSEED = 61,
    VMX_REASON_PAGE_MODIFICATION_LOG_FULL = 62,
    VMX_REASON_XSAVES = 63,
    VMX_REASON_XRSTORS = 64,
    VMX_REASON_PCONFIG = 65,
    VMX_REASON_SPP = 66,
    VMX_REASON_UMWAIT = 67,
    VMX_REASON_TPAUSE = 68,
    VMX_REASON_LOADIWKEY = 69,
    VMX_REASON_ENCLV = 70,
    VMX_REASON_ENQCMD_PASID = 72,
    VMX_REASON_ENQCMDS_PASID = 73,
    VMX_REASON_BUS_LOCK = 74,
    VMX_REASON_INSTRUCTION_TIMEOUT = 75,
    VMX_REASON_SEAMCALL = 76,
    VMX_REASON_TDCALL = 77,
    VMX_REASON_COUNT
};

/* "Exit reason": above the basic one. */
#define VMX_REASON_BASIC        0xffffu
#define VMX_REASON_ENTRY_FAILED (1u << 31)

/* "Pin-Based VM-Execution Controls" */
#define VMX_PIN_EXTERNAL_INTERRUPT (1u << 0)
#define VMX_PIN_NMI                (1u << 3)
#define VMX_PIN_VIRTUAL_NMIS       (1u << 5)
#define VMX_PIN_PREEMPTION_TIMER   (1u << 6)

/* "Processor-Based VM-Execution Controls", primary */
#define VMX_PRIMARY_INTERRUPT_WINDOW (1u << 2)
#define VMX_PRIMARY_TSC_OFFSETTING   (1u << 3)
#define VMX_PRIMARY_HLT              (1u << 7)
#define VMX_PRIMARY_INVLPG           (1u << 9)
#define VMX_PRIMARY_MWAIT            (1u << 10)
#define VMX_PRIMARY_RDPMC            (1u << 11)
#define VMX_PRIMARY_RDTSC            (1u << 12)
#define VMX_PRIMARY_CR3_LOAD         (1u << 15)
#define VMX_PRIMARY_CR3_STORE        (1u << 16)
#define VMX_PRIMARY_CR8_LOAD         (1u << 19)
#define VMX_PRIMARY_CR8_STORE        (1u << 20)
#define VMX_PRIMARY_TPR_SHADOW       (1u << 21)
#define VMX_PRIMARY_NMI_WINDOW       (1u << 22)
#define VMX_PRIMARY_MOV_DR           (1u << 23)
#define VMX_PRIMARY_IO               (1u << 24) /* unconditional I/O exiting */
#define VMX_PRIMARY_IO_BITMAPS       (1u << 25)
#define VMX_PRIMARY_MONITOR_TRAP     (1u << 27)
#define VMX_PRIMARY_MSR_BITMAPS      (1u << 28)
#define VMX_PRIMARY_MONITOR          (1u << 29)
#define VMX_PRIMARY_PAUSE            (1u << 30)
#define VMX_PRIMARY_SECONDARY        (1u << 31)

/* "Processor-Based VM-Execution Controls", secondary */
#define VMX_SECONDARY_EPT                (1u << 1)
#define VMX_SECONDARY_DESCRIPTOR_TABLES  (1u << 2)
#define VMX_SECONDARY_RDTSCP             (1u << 3)
#define VMX_SECONDARY_VPID               (1u << 5)
#define VMX_SECONDARY_WBINVD             (1u << 6)
#define VMX_SECONDARY_UNRESTRICTED_GUEST (1u << 7)
#define VMX_SECONDARY_PAUSE_LOOP         (1u << 10)
#define VMX_SECONDARY_RDRAND             (1u << 11)
#define VMX_SECONDARY_INVPCID            (1u << 12)
#define VMX_SECONDARY_RDSEED             (1u << 16)
#define VMX_SECONDARY_VMCS_SHADOWING     (1u << 14)
#define VMX_SECONDARY_XSAVES             (1u << 20)

/* "VM-Exit Controls" */
#define VMX_EXIT_SAVE_DEBUG_CONTROLS (1u << 2)
#define VMX_EXIT_HOST_64             (1u << 9) /* host address-space size */
#define VMX_EXIT_ACKNOWLEDGE         (1u << 15)
#define VMX_EXIT_SAVE_PAT            (1u << 18)
#define VMX_EXIT_LOAD_PAT            (1u << 19)
#define VMX_EXIT_SAVE_EFER           (1u << 20)
#define VMX_EXIT_LOAD_EFER           (1u << 21)
#define VMX_EXIT_SAVE_TIMER          (1u << 22)

/* IA32_FEATURE_CONTROL */
#define VMX_FEATURE_CONTROL_LOCK   (UINT64_C(1) << 0)
#define VMX_FEATURE_CONTROL_ENABLE (UINT64_C(1) << 2) /* VMX outside SMX operation */

/* "Basic VMX Information" */
#define VMX_BASIC_REVISION       UINT64_C(0x7fffffff)
#define VMX_BASIC_IO_INFORMATION (UINT64_C(1) << 54)
#define VMX_BASIC_TRUE_CONTROLS  (UINT64_C(1) << 55)

/* "Miscellaneous Data" */
#define VMX_MISC_TIMER_SHIFT     UINT64_C(0x1f)
#define VMX_MISC_ACTIVITY_SHIFT  6
#define VMX_MISC_ACTIVITY_STATES UINT64_C(7)

/* "VPID and EPT Capabilities" */
#define VMX_EPT_EXECUTE_ONLY     (UINT64_C(1) << 0)
#define VMX_EPT_WALK_4           (UINT64_C(1) << 6)
#define VMX_EPT_UNCACHEABLE      (UINT64_C(1) << 8)
#define VMX_EPT_WRITE_BACK       (UINT64_C(1) << 14)
#define VMX_EPT_2M               (UINT64_C(1) << 16)
#define VMX_EPT_1G               (UINT64_C(1) << 17)
#define VMX_EPT_INVEPT           (UINT64_C(1) << 20)
#define VMX_EPT_DIRTY            (UINT64_C(1) << 21)
#define VMX_EPT_INVEPT_SINGLE    (UINT64_C(1) << 25)
#define VMX_EPT_INVEPT_ALL       (UINT64_C(1) << 26)
#define VMX_VPID_INVVPID         (UINT64_C(1) << 32)
#define VMX_VPID_INVVPID_ADDRESS (UINT64_C(1) << 40)
#define VMX_VPID_INVVPID_SINGLE  (UINT64_C(1) << 41)

/* "INVEPT—Invalidate Translations Derived from EPT", "INVVPID—Invalidate … Based on VPID" */
#define VMX_INVEPT_SINGLE   UINT64_C(1)
#define VMX_INVEPT_ALL      UINT64_C(2)
#define VMX_INVVPID_ADDRESS UINT64_C(0)
#define VMX_INVVPID_SINGLE  UINT64_C(1)

/* "Exit Qualification for Control-Register Accesses" */
#define VMX_CR_NUMBER       0xfu
#define VMX_CR_TYPE_SHIFT   4
#define VMX_CR_TYPE         3u
#define VMX_CR_LMSW_MEMORY  (1u << 6)
#define VMX_CR_GPR_SHIFT    8
#define VMX_CR_SOURCE_SHIFT 16

enum vmx_cr_access { VMX_MOV_TO_CR, VMX_MOV_FROM_CR, VMX_CLTS, VMX_LMSW };

/* "Exit Qualification for MOV DR" */
#define VMX_DR_NUMBER    7u
#define VMX_DR_READ      (1u << 4)
#define VMX_DR_GPR_SHIFT 8

/* "Exit Qualification for I/O Instructions" */
#define VMX_IO_SIZE       7u /* bytes - 1 */
#define VMX_IO_IN         (1u << 3)
#define VMX_IO_STRING     (1u << 4)
#define VMX_IO_REP        (1u << 5)
#define VMX_IO_PORT_SHIFT 16

/* "Exit Qualification for EPT Violations" */
#define VMX_EPT_VIOLATION_READ          (1u << 0)
#define VMX_EPT_VIOLATION_WRITE         (1u << 1)
#define VMX_EPT_VIOLATION_FETCH         (1u << 2)
#define VMX_EPT_VIOLATION_MAPPED        (7u << 3) /* any: the address is readable, writable … */
#define VMX_EPT_VIOLATION_LINEAR        (1u << 7) /* the guest linear-address field is valid */
#define VMX_EPT_VIOLATION_ACCESS        (1u << 8) /* 0: the walk of the guest's own tables */
#define VMX_EPT_VIOLATION_NMI_UNBLOCKED (1u << 12)

/*
 * "Information for VM Exits Due to Vectored Events", "Information for VM Exits That Occur During
 * Event Delivery": both have the format of x86/entry_state.h, and one bit more.
 */
#define VMX_INTERRUPTION_NMI_UNBLOCKED (1u << 12) /* by an IRET that faulted */

/* "Extended-Page-Table Pointer (EPTP)" and the formats of EPT paging-structure entries */
#define VMX_EPT_POINTER_WALK_4 (UINT64_C(3) << 3)
#define VMX_EPT_POINTER_DIRTY  (UINT64_C(1) << 6)
#define VMX_EPT_TYPE_SHIFT     3
#define VMX_EPT_IGNORE_PAT     (UINT64_C(1) << 6)
#define VMX_EPT_LARGE          (UINT64_C(1) << 7)
#define VMX_EPT_ACCESSED       (UINT64_C(1) << 8)

/*
 * What a guest's CR4 may have: the features whose state our monitor switches, or that have none.
 * PKE and CET come with registers of their own.
 */
#define VMX_CR4_SUPPORTED                                                                          \
    (X86_CR4_VME | X86_CR4_PVI | X86_CR4_TSD | X86_CR4_DE | X86_CR4_PSE | X86_CR4_PAE |            \
     X86_CR4_MCE | X86_CR4_PGE | X86_CR4_PCE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT |               \
     X86_CR4_UMIP | X86_CR4_FSGSBASE | X86_CR4_PCIDE | X86_CR4_OSXSAVE | X86_CR4_SMEP |            \
     X86_CR4_SMAP)

#endif
