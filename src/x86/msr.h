/*
 * Model-specific register indices and the bits of those that more than one file reads.
 *
 * Purpose: one spelling for the whole project, the manuals' own.
 * Source:  Intel SDM volume 4, "Architectural MSRs"; AMD APM volume 2, "MSR Cross-Reference";
 *          the paravirtual ones: Linux, Documentation/virt/kvm/x86/msr.rst.
 * Owner, thread: constants only. Freestanding.
 */
#ifndef TRAPEZE_X86_MSR_H
#define TRAPEZE_X86_MSR_H

#include <stdint.h>

/* Machine check of the P5 family, and the counter that every family has. */
#define X86_MSR_IA32_P5_MC_ADDR 0x0u
#define X86_MSR_IA32_P5_MC_TYPE 0x1u
#define X86_MSR_IA32_TSC        0x10u

#define X86_MSR_IA32_PLATFORM_ID       0x17u
#define X86_MSR_IA32_APIC_BASE         0x1bu
#define X86_MSR_EBL_CR_POWERON         0x2au
#define X86_MSR_SMI_COUNT              0x34u
#define X86_MSR_IA32_FEATURE_CONTROL   0x3au
#define X86_MSR_IA32_TSC_ADJUST        0x3bu
#define X86_MSR_IA32_SPEC_CTRL         0x48u
#define X86_MSR_IA32_PRED_CMD          0x49u
#define X86_MSR_IA32_BIOS_UPDT_TRIG    0x79u
#define X86_MSR_IA32_BIOS_SIGN_ID      0x8bu
#define X86_MSR_IA32_SMM_MONITOR_CTL   0x9bu
#define X86_MSR_IA32_SMBASE            0x9eu
#define X86_MSR_IA32_PMC0              0xc1u
#define X86_MSR_IA32_CORE_CAPABILITIES 0xcfu
#define X86_MSR_PLATFORM_INFO          0xceu
#define X86_MSR_IA32_UMWAIT_CONTROL    0xe1u
#define X86_MSR_IA32_MPERF             0xe7u
#define X86_MSR_IA32_APERF             0xe8u
#define X86_MSR_IA32_MTRRCAP           0xfeu
#define X86_MSR_IA32_ARCH_CAPABILITIES 0x10au
#define X86_MSR_IA32_FLUSH_CMD         0x10bu
#define X86_MSR_BBL_CR_CTL3            0x11eu
#define X86_MSR_IA32_TSX_CTRL          0x122u
#define X86_MSR_MISC_FEATURES_ENABLES  0x140u

#define X86_MSR_IA32_SYSENTER_CS  0x174u
#define X86_MSR_IA32_SYSENTER_ESP 0x175u
#define X86_MSR_IA32_SYSENTER_EIP 0x176u

#define X86_MSR_IA32_MCG_CAP     0x179u
#define X86_MSR_IA32_MCG_STATUS  0x17au
#define X86_MSR_IA32_MCG_CTL     0x17bu
#define X86_MSR_IA32_PERFEVTSEL0 0x186u

#define X86_MSR_IA32_PERF_STATUS          0x198u
#define X86_MSR_IA32_PERF_CTL             0x199u
#define X86_MSR_IA32_CLOCK_MODULATION     0x19au
#define X86_MSR_IA32_THERM_INTERRUPT      0x19bu
#define X86_MSR_IA32_THERM_STATUS         0x19cu
#define X86_MSR_IA32_MISC_ENABLE          0x1a0u
#define X86_MSR_IA32_ENERGY_PERF_BIAS     0x1b0u
#define X86_MSR_IA32_PACKAGE_THERM_STATUS 0x1b1u
#define X86_MSR_IA32_XFD                  0x1c4u
#define X86_MSR_IA32_XFD_ERR              0x1c5u

#define X86_MSR_IA32_DEBUGCTL  0x1d9u
#define X86_MSR_LASTBRANCHFROM 0x1dbu
#define X86_MSR_LASTBRANCHTO   0x1dcu
#define X86_MSR_LASTINTFROM    0x1ddu
#define X86_MSR_LASTINTTO      0x1deu

/* Memory type range registers: base at even, mask at odd indices, eight pairs. */
#define X86_MSR_IA32_MTRR_PHYSBASE0       0x200u
#define X86_MSR_IA32_MTRR_PHYSMASK0       0x201u
#define X86_MSR_IA32_MTRR_PHYSMASK7       0x20fu
#define X86_MSR_IA32_MTRR_FIX64K_00000    0x250u
#define X86_MSR_IA32_MTRR_FIX16K_80000    0x258u
#define X86_MSR_IA32_MTRR_FIX16K_A0000    0x259u
#define X86_MSR_IA32_MTRR_FIX4K_C0000     0x268u
#define X86_MSR_IA32_MTRR_FIX4K_C8000     0x269u
#define X86_MSR_IA32_MTRR_FIX4K_D0000     0x26au
#define X86_MSR_IA32_MTRR_FIX4K_D8000     0x26bu
#define X86_MSR_IA32_MTRR_FIX4K_E0000     0x26cu
#define X86_MSR_IA32_MTRR_FIX4K_E8000     0x26du
#define X86_MSR_IA32_MTRR_FIX4K_F0000     0x26eu
#define X86_MSR_IA32_MTRR_FIX4K_F8000     0x26fu
#define X86_MSR_IA32_PAT                  0x277u
#define X86_MSR_IA32_MTRR_DEF_TYPE        0x2ffu
#define X86_MSR_IA32_FIXED_CTR0           0x309u
#define X86_MSR_IA32_PERF_CAPABILITIES    0x345u
#define X86_MSR_IA32_FIXED_CTR_CTRL       0x38du
#define X86_MSR_IA32_PERF_GLOBAL_STATUS   0x38eu
#define X86_MSR_IA32_PERF_GLOBAL_CTRL     0x38fu
#define X86_MSR_IA32_PERF_GLOBAL_OVF_CTRL 0x390u
#define X86_MSR_IA32_PEBS_ENABLE          0x3f1u

/* Machine check banks: four registers each. */
#define X86_MSR_IA32_MC0_CTL    0x400u
#define X86_MSR_IA32_MC0_STATUS 0x401u
#define X86_MSR_IA32_MC0_ADDR   0x402u
#define X86_MSR_IA32_MC0_MISC   0x403u

/* VMX capability reporting. */
#define X86_MSR_IA32_VMX_BASIC               0x480u
#define X86_MSR_IA32_VMX_PINBASED_CTLS       0x481u
#define X86_MSR_IA32_VMX_PROCBASED_CTLS      0x482u
#define X86_MSR_IA32_VMX_EXIT_CTLS           0x483u
#define X86_MSR_IA32_VMX_ENTRY_CTLS          0x484u
#define X86_MSR_IA32_VMX_MISC                0x485u
#define X86_MSR_IA32_VMX_CR0_FIXED0          0x486u
#define X86_MSR_IA32_VMX_CR0_FIXED1          0x487u
#define X86_MSR_IA32_VMX_CR4_FIXED0          0x488u
#define X86_MSR_IA32_VMX_CR4_FIXED1          0x489u
#define X86_MSR_IA32_VMX_VMCS_ENUM           0x48au
#define X86_MSR_IA32_VMX_PROCBASED_CTLS2     0x48bu
#define X86_MSR_IA32_VMX_EPT_VPID_CAP        0x48cu
#define X86_MSR_IA32_VMX_TRUE_PINBASED_CTLS  0x48du
#define X86_MSR_IA32_VMX_TRUE_PROCBASED_CTLS 0x48eu
#define X86_MSR_IA32_VMX_TRUE_EXIT_CTLS      0x48fu
#define X86_MSR_IA32_VMX_TRUE_ENTRY_CTLS     0x490u
#define X86_MSR_IA32_VMX_VMFUNC              0x491u

#define X86_MSR_RAPL_POWER_UNIT   0x606u
#define X86_MSR_IA32_TSC_DEADLINE 0x6e0u
#define X86_MSR_IA32_PM_ENABLE    0x770u

/* x2APIC: the register at xAPIC offset N is MSR 0x800 + N / 16. */
#define X86_MSR_IA32_X2APIC_FIRST       0x800u
#define X86_MSR_IA32_X2APIC_APICID      0x802u
#define X86_MSR_IA32_X2APIC_VERSION     0x803u
#define X86_MSR_IA32_X2APIC_TPR         0x808u
#define X86_MSR_IA32_X2APIC_PPR         0x80au
#define X86_MSR_IA32_X2APIC_EOI         0x80bu
#define X86_MSR_IA32_X2APIC_LDR         0x80du
#define X86_MSR_IA32_X2APIC_SIVR        0x80fu
#define X86_MSR_IA32_X2APIC_ISR0        0x810u
#define X86_MSR_IA32_X2APIC_TMR0        0x818u
#define X86_MSR_IA32_X2APIC_IRR0        0x820u
#define X86_MSR_IA32_X2APIC_ESR         0x828u
#define X86_MSR_IA32_X2APIC_LVT_CMCI    0x82fu
#define X86_MSR_IA32_X2APIC_ICR         0x830u
#define X86_MSR_IA32_X2APIC_LVT_TIMER   0x832u
#define X86_MSR_IA32_X2APIC_LVT_THERMAL 0x833u
#define X86_MSR_IA32_X2APIC_LVT_PMI     0x834u
#define X86_MSR_IA32_X2APIC_LVT_LINT0   0x835u
#define X86_MSR_IA32_X2APIC_LVT_LINT1   0x836u
#define X86_MSR_IA32_X2APIC_LVT_ERROR   0x837u
#define X86_MSR_IA32_X2APIC_INIT_COUNT  0x838u
#define X86_MSR_IA32_X2APIC_CUR_COUNT   0x839u
#define X86_MSR_IA32_X2APIC_DIV_CONF    0x83eu
#define X86_MSR_IA32_X2APIC_SELF_IPI    0x83fu
#define X86_MSR_IA32_X2APIC_LAST        0x8ffu

#define X86_MSR_IA32_XSS 0xda0u

/* Extended functions. */
#define X86_MSR_IA32_EFER           0xc0000080u
#define X86_MSR_IA32_STAR           0xc0000081u
#define X86_MSR_IA32_LSTAR          0xc0000082u
#define X86_MSR_IA32_CSTAR          0xc0000083u
#define X86_MSR_IA32_FMASK          0xc0000084u
#define X86_MSR_IA32_FS_BASE        0xc0000100u
#define X86_MSR_IA32_GS_BASE        0xc0000101u
#define X86_MSR_IA32_KERNEL_GS_BASE 0xc0000102u
#define X86_MSR_IA32_TSC_AUX        0xc0000103u

/* AMD's own. */
#define X86_MSR_AMD_PERF_EVT_SEL0 0xc0010000u
#define X86_MSR_AMD_PERF_CTR0     0xc0010004u
#define X86_MSR_AMD_SYSCFG        0xc0010010u
#define X86_MSR_AMD_HWCR          0xc0010015u
#define X86_MSR_AMD_TOP_MEM       0xc001001au
#define X86_MSR_AMD_TOP_MEM2      0xc001001du
#define X86_MSR_AMD_NB_CFG        0xc001001fu
#define X86_MSR_AMD_PATCH_LEVEL   0x0000008bu
#define X86_MSR_AMD_PATCH_LOADER  0xc0010020u
#define X86_MSR_AMD_INT_PENDING   0xc0010055u
#define X86_MSR_AMD_PSTATE_LIMIT  0xc0010061u
#define X86_MSR_AMD_VM_CR         0xc0010114u
#define X86_MSR_AMD_VM_HSAVE_PA   0xc0010117u
#define X86_MSR_AMD_OSVW_ID_LEN   0xc0010140u
#define X86_MSR_AMD_OSVW_STATUS   0xc0010141u
#define X86_MSR_AMD_VIRT_SPEC_CTL 0xc001011fu
#define X86_MSR_AMD_LS_CFG        0xc0011020u
#define X86_MSR_AMD_IC_CFG        0xc0011021u
#define X86_MSR_AMD_DC_CFG        0xc0011022u
#define X86_MSR_AMD_BU_CFG2       0xc001102au
#define X86_MSR_AMD_DE_CFG        0xc0011029u

/* KVM's paravirtual interface. */
#define X86_MSR_KVM_WALL_CLOCK        0x11u
#define X86_MSR_KVM_SYSTEM_TIME       0x12u
#define X86_MSR_KVM_WALL_CLOCK_NEW    0x4b564d00u
#define X86_MSR_KVM_SYSTEM_TIME_NEW   0x4b564d01u
#define X86_MSR_KVM_ASYNC_PF_EN       0x4b564d02u
#define X86_MSR_KVM_STEAL_TIME        0x4b564d03u
#define X86_MSR_KVM_EOI_EN            0x4b564d04u
#define X86_MSR_KVM_POLL_CONTROL      0x4b564d05u
#define X86_MSR_KVM_ASYNC_PF_INT      0x4b564d06u
#define X86_MSR_KVM_ASYNC_PF_ACK      0x4b564d07u
#define X86_MSR_KVM_MIGRATION_CONTROL 0x4b564d08u

/* IA32_APIC_BASE ("Local APIC Status and Location"). */
#define X86_APIC_BASE_BSP     (UINT64_C(1) << 8)
#define X86_APIC_BASE_EXTD    (UINT64_C(1) << 10) /* x2APIC mode */
#define X86_APIC_BASE_EN      (UINT64_C(1) << 11)
#define X86_APIC_BASE_DEFAULT UINT64_C(0xfee00000)

/* IA32_MISC_ENABLE. */
#define X86_MISC_ENABLE_FAST_STRING      (UINT64_C(1) << 0)
#define X86_MISC_ENABLE_PERFMON          (UINT64_C(1) << 7)
#define X86_MISC_ENABLE_BTS_UNAVAILABLE  (UINT64_C(1) << 11)
#define X86_MISC_ENABLE_PEBS_UNAVAILABLE (UINT64_C(1) << 12)
#define X86_MISC_ENABLE_MWAIT            (UINT64_C(1) << 18)
#define X86_MISC_ENABLE_LIMIT_CPUID      (UINT64_C(1) << 22)
#define X86_MISC_ENABLE_XD_DISABLE       (UINT64_C(1) << 34)

/* IA32_MTRRCAP and IA32_MTRR_DEF_TYPE ("Memory Type Range Registers"). */
#define X86_MTRRCAP_FIX         (UINT64_C(1) << 8)
#define X86_MTRRCAP_WC          (UINT64_C(1) << 10)
#define X86_MTRR_DEF_TYPE_FE    (UINT64_C(1) << 10)
#define X86_MTRR_DEF_TYPE_E     (UINT64_C(1) << 11)
#define X86_MTRR_PHYSMASK_VALID (UINT64_C(1) << 11)

/* IA32_PAT after reset: WB, WT, UC-, UC, twice. */
#define X86_PAT_RESET UINT64_C(0x0007040600070406)

/* IA32_SPEC_CTRL. */
#define X86_SPEC_CTRL_IBRS  (UINT64_C(1) << 0)
#define X86_SPEC_CTRL_STIBP (UINT64_C(1) << 1)
#define X86_SPEC_CTRL_SSBD  (UINT64_C(1) << 2)

#endif
