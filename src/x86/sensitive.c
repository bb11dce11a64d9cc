#include "x86/sensitive.h"

#include <stddef.h>

#define PRIVILEGED   .sensitivity = X86_SENSITIVE_PRIVILEGED
#define BY_IOPL      .sensitivity = X86_SENSITIVE_BY_IOPL
#define UNPRIVILEGED .sensitivity = X86_SENSITIVE_UNPRIVILEGED
#define OF_PENTIUM   .sensitivity = X86_SENSITIVE_UNPRIVILEGED, .is_of_pentium = true

#define DESCRIPTOR_TABLES "Descriptor-table exiting"
#define PORTS             "Unconditional I/O exiting, Use I/O bitmaps"
#define ALWAYS            "always exits"

static const struct x86_sensitive sensitive[X86_OP_COUNT] = {
    /* --- the descriptor tables' registers --- */
    [X86_OP_SGDT] = {"sgdt", "address of the GDT", "SGDT—Store Global Descriptor Table Register",
                     DESCRIPTOR_TABLES, OF_PENTIUM},
    [X86_OP_SIDT] = {"sidt", "address of the IDT", "SIDT—Store Interrupt Descriptor Table Register",
                     DESCRIPTOR_TABLES, OF_PENTIUM},
    [X86_OP_SLDT] = {"sldt", "selector of the LDT", "SLDT—Store Local Descriptor Table Register",
                     DESCRIPTOR_TABLES, OF_PENTIUM},
    [X86_OP_STR] = {"str", "selector of the TSS", "STR—Store Task Register", DESCRIPTOR_TABLES,
                    OF_PENTIUM},
    [X86_OP_LGDT] = {"lgdt", "the GDT", "LGDT/LIDT—Load Global/Interrupt Descriptor Table Register",
                     DESCRIPTOR_TABLES, PRIVILEGED},
    [X86_OP_LIDT] = {"lidt", "the IDT", "LGDT/LIDT—Load Global/Interrupt Descriptor Table Register",
                     DESCRIPTOR_TABLES, PRIVILEGED},
    [X86_OP_LLDT] = {"lldt", "the LDT", "LLDT—Load Local Descriptor Table Register",
                     DESCRIPTOR_TABLES, PRIVILEGED},
    [X86_OP_LTR] = {"ltr", "the TSS", "LTR—Load Task Register", DESCRIPTOR_TABLES, PRIVILEGED},

    /* --- flags --- */
    [X86_OP_PUSHF] = {"pushf", "IF and IOPL", "PUSHF/PUSHFD/PUSHFQ—Push EFLAGS Register Onto Stack",
                      NULL, OF_PENTIUM},
    [X86_OP_POPF] = {"popf", "IF and IOPL, or silently not",
                     "POPF/POPFD/POPFQ—Pop Stack Into EFLAGS Register", NULL, OF_PENTIUM},
    [X86_OP_CLI] = {"cli", "IF", "CLI—Clear Interrupt Flag", NULL, BY_IOPL},
    [X86_OP_STI] = {"sti", "IF", "STI—Set Interrupt Flag", NULL, BY_IOPL},
    [X86_OP_CLAC] = {"clac", "AC, and so SMAP", "CLAC—Clear AC Flag in EFLAGS Register", NULL,
                     PRIVILEGED},
    [X86_OP_STAC] = {"stac", "AC, and so SMAP", "STAC—Set AC Flag in EFLAGS Register", NULL,
                     PRIVILEGED},

    /* --- segments: the tables, and the privilege level in selectors --- */
    [X86_OP_LAR] = {"lar", "a descriptor, by CPL", "LAR—Load Access Rights Byte", NULL, OF_PENTIUM},
    [X86_OP_LSL] = {"lsl", "a descriptor, by CPL", "LSL—Load Segment Limit", NULL, OF_PENTIUM},
    [X86_OP_VERR] = {"verr", "a descriptor, by CPL",
                     "VERR/VERW—Verify a Segment for Reading or Writing", NULL, OF_PENTIUM},
    [X86_OP_VERW] = {"verw", "a descriptor, by CPL",
                     "VERR/VERW—Verify a Segment for Reading or Writing", NULL, OF_PENTIUM},
    [X86_OP_MOV_FROM_SEGMENT] = {"mov from segment", "CPL, in CS and SS", "MOV—Move", NULL,
                                 OF_PENTIUM},
    [X86_OP_MOV_TO_SEGMENT] = {"mov to segment", "a descriptor, by CPL", "MOV—Move", NULL,
                               OF_PENTIUM},
    [X86_OP_PUSH_SEGMENT] = {"push segment", "CPL, in CS and SS",
                             "PUSH—Push Word, Doubleword, or Quadword Onto the Stack", NULL,
                             OF_PENTIUM},
    [X86_OP_POP_SEGMENT] = {"pop segment", "a descriptor, by CPL", "POP—Pop a Value From the Stack",
                            NULL, OF_PENTIUM},
    [X86_OP_LDS] = {"lds", "a descriptor, by CPL", "LDS/LES/LFS/LGS/LSS—Load Far Pointer", NULL,
                    UNPRIVILEGED},
    [X86_OP_LES] = {"les", "a descriptor, by CPL", "LDS/LES/LFS/LGS/LSS—Load Far Pointer", NULL,
                    UNPRIVILEGED},
    [X86_OP_LSS] = {"lss", "a descriptor, by CPL", "LDS/LES/LFS/LGS/LSS—Load Far Pointer", NULL,
                    UNPRIVILEGED},
    [X86_OP_LFS] = {"lfs", "a descriptor, by CPL", "LDS/LES/LFS/LGS/LSS—Load Far Pointer", NULL,
                    UNPRIVILEGED},
    [X86_OP_LGS] = {"lgs", "a descriptor, by CPL", "LDS/LES/LFS/LGS/LSS—Load Far Pointer", NULL,
                    UNPRIVILEGED},
    [X86_OP_SWAPGS] = {"swapgs", "the kernel's GS base", "SWAPGS—Swap GS Base Register", NULL,
                       PRIVILEGED},

    /* --- control transfers through tables --- */
    [X86_OP_CALL_FAR] = {"call far", "CPL, descriptors, gates", "CALL—Call Procedure", NULL,
                         OF_PENTIUM},
    [X86_OP_CALL_FAR_INDIRECT] = {"call far indirect", "CPL, descriptors, gates",
                                  "CALL—Call Procedure", NULL, OF_PENTIUM},
    [X86_OP_JMP_FAR] = {"jmp far", "CPL, descriptors, gates", "JMP—Jump", NULL, OF_PENTIUM},
    [X86_OP_JMP_FAR_INDIRECT] = {"jmp far indirect", "CPL, descriptors, gates", "JMP—Jump", NULL,
                                 OF_PENTIUM},
    [X86_OP_RET_FAR] = {"ret far", "CPL, descriptors", "RET—Return From Procedure", NULL,
                        OF_PENTIUM},
    [X86_OP_IRET] = {"iret", "CPL, IF, descriptors", "IRET/IRETD/IRETQ—Interrupt Return", NULL,
                     UNPRIVILEGED},
    [X86_OP_INT] = {"int", "the IDT, by CPL", "INT n/INTO/INT3/INT1—Call to Interrupt Procedure",
                    NULL, OF_PENTIUM},
    [X86_OP_INT3] = {"int3", "the IDT, by CPL", "INT n/INTO/INT3/INT1—Call to Interrupt Procedure",
                     "Exception bitmap (#BP)", UNPRIVILEGED},
    [X86_OP_INTO] = {"into", "the IDT, by CPL", "INT n/INTO/INT3/INT1—Call to Interrupt Procedure",
                     "Exception bitmap (#OF)", UNPRIVILEGED},
    [X86_OP_INT1] = {"int1", "the IDT", "INT n/INTO/INT3/INT1—Call to Interrupt Procedure",
                     "Exception bitmap (#DB)", UNPRIVILEGED},
    [X86_OP_SYSCALL] = {"syscall", "CPL; entry point in MSRs", "SYSCALL—Fast System Call", NULL,
                        UNPRIVILEGED},
    [X86_OP_SYSENTER] = {"sysenter", "CPL; entry point in MSRs", "SYSENTER—Fast System Call", NULL,
                         UNPRIVILEGED},
    [X86_OP_SYSRET] = {"sysret", "CPL", "SYSRET—Return From Fast System Call", NULL, PRIVILEGED},
    [X86_OP_SYSEXIT] = {"sysexit", "CPL", "SYSEXIT—Fast Return from Fast System Call", NULL,
                        PRIVILEGED},

    /* --- control, debug and extended control registers --- */
    [X86_OP_SMSW] = {"smsw", "CR0", "SMSW—Store Machine Status Word", NULL, OF_PENTIUM},
    [X86_OP_LMSW] = {"lmsw", "CR0", "LMSW—Load Machine Status Word",
                     "CR0 guest/host mask (bits that differ from the read shadow)", PRIVILEGED},
    [X86_OP_CLTS] = {"clts", "CR0.TS", "CLTS—Clear Task-Switched Flag in CR0",
                     "CR0 guest/host mask (TS set in the read shadow)", PRIVILEGED},
    [X86_OP_MOV_FROM_CR] = {"mov from cr", "CR0, CR2, CR3, CR4, CR8",
                            "MOV—Move to/from Control Registers",
                            "CR3-store exiting, CR8-store exiting; never CR0, CR2, CR4",
                            PRIVILEGED},
    [X86_OP_MOV_TO_CR] = {"mov to cr", "modes, the address space, priorities",
                          "MOV—Move to/from Control Registers",
                          "CR0 and CR4 guest/host masks, CR3-load exiting, CR8-load exiting",
                          PRIVILEGED},
    [X86_OP_MOV_FROM_DR] = {"mov from dr", "breakpoints", "MOV—Move to/from Debug Registers",
                            "MOV-DR exiting", PRIVILEGED},
    [X86_OP_MOV_TO_DR] = {"mov to dr", "breakpoints", "MOV—Move to/from Debug Registers",
                          "MOV-DR exiting", PRIVILEGED},
    [X86_OP_XGETBV] = {"xgetbv", "XCR0", "XGETBV—Get Value of Extended Control Register", NULL,
                       UNPRIVILEGED},
    [X86_OP_XSETBV] = {"xsetbv", "XCR0", "XSETBV—Set Extended Control Register", ALWAYS,
                       PRIVILEGED},
    [X86_OP_XSAVES] = {"xsaves", "supervisor state",
                       "XSAVES—Save Processor Extended States Supervisor", "XSS-exiting bitmap",
                       PRIVILEGED},
    [X86_OP_XRSTORS] = {"xrstors", "supervisor state",
                        "XRSTORS—Restore Processor Extended States Supervisor",
                        "XSS-exiting bitmap", PRIVILEGED},

    /* --- what the processor is, and its clocks and counters --- */
    [X86_OP_CPUID] = {"cpuid", "what processor there is", "CPUID—CPU Identification", ALWAYS,
                      UNPRIVILEGED},
    [X86_OP_RDTSC] = {"rdtsc", "the time-stamp counter", "RDTSC—Read Time-Stamp Counter",
                      "RDTSC exiting", UNPRIVILEGED},
    [X86_OP_RDTSCP] = {"rdtscp", "the time-stamp counter, TSC_AUX",
                       "RDTSCP—Read Time-Stamp Counter and Processor ID", "RDTSC exiting",
                       UNPRIVILEGED},
    [X86_OP_RDPID] = {"rdpid", "TSC_AUX", "RDPID—Read Processor ID", NULL, UNPRIVILEGED},
    [X86_OP_RDPMC] = {"rdpmc", "performance counters", "RDPMC—Read Performance-Monitoring Counters",
                      "RDPMC exiting", UNPRIVILEGED},
    [X86_OP_RDMSR] = {"rdmsr", "an MSR", "RDMSR—Read From Model Specific Register",
                      "Use MSR bitmaps", PRIVILEGED},
    [X86_OP_WRMSR] = {"wrmsr", "an MSR", "WRMSR—Write to Model Specific Register",
                      "Use MSR bitmaps", PRIVILEGED},

    /* --- caches and translations --- */
    [X86_OP_INVLPG] = {"invlpg", "translations", "INVLPG—Invalidate TLB Entries", "INVLPG exiting",
                       PRIVILEGED},
    [X86_OP_INVPCID] = {"invpcid", "translations", "INVPCID—Invalidate Process-Context Identifier",
                        "INVLPG exiting (with Enable INVPCID)", PRIVILEGED},
    [X86_OP_INVD] = {"invd", "caches", "INVD—Invalidate Internal Caches", ALWAYS, PRIVILEGED},
    [X86_OP_WBINVD] = {"wbinvd", "caches", "WBINVD—Write Back and Invalidate Cache",
                       "WBINVD exiting", PRIVILEGED},

    /* --- what is the monitor's to do --- */
    [X86_OP_IN] = {"in", "a device", "IN—Input From Port", PORTS, BY_IOPL, .always_leaves = true},
    [X86_OP_OUT] = {"out", "a device", "OUT—Output to Port", PORTS, BY_IOPL, .always_leaves = true},
    [X86_OP_INS] = {"ins", "a device", "INS/INSB/INSW/INSD—Input from Port to String", PORTS,
                    BY_IOPL, .always_leaves = true},
    [X86_OP_OUTS] = {"outs", "a device", "OUTS/OUTSB/OUTSW/OUTSD—Output String to Port", PORTS,
                     BY_IOPL, .always_leaves = true},
    [X86_OP_HLT] = {"hlt", "the processor's time", "HLT—Halt", "HLT exiting", PRIVILEGED,
                    .always_leaves = true},
    [X86_OP_MONITOR] = {"monitor", "the processor's time", "MONITOR—Set Up Monitor Address",
                        "MONITOR exiting", PRIVILEGED},
    [X86_OP_MWAIT] = {"mwait", "the processor's time", "MWAIT—Monitor Wait", "MWAIT exiting",
                      PRIVILEGED},
    [X86_OP_VMCALL] = {"vmcall", "the monitor", "VMCALL—Call to VM Monitor", ALWAYS, PRIVILEGED,
                       .always_leaves = true},
    [X86_OP_VMX] = {"vmx instructions", "VMX operation", "VMX Instructions", ALWAYS, PRIVILEGED},
    [X86_OP_RSM] = {"rsm", "system-management mode", "RSM—Resume From System Management Mode", NULL,
                    PRIVILEGED},
};

const struct x86_sensitive *x86_sensitive_find(enum x86_operation operation)
{
    if ((unsigned int)operation >= X86_OP_COUNT || sensitive[operation].name == NULL) {
        return NULL;
    }
    return &sensitive[operation];
}
