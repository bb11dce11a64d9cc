#include "x86/vmx_cpuid.h"

#define LEAF_FEATURES 1u
#define LEAF_EXTENDED 7u
#define LEAF_XSAVE    0xdu
#define LEAF_AMD      0x80000001u
#define LEAF_APM      0x80000007u
#define LEAF_SIZES    0x80000008u

#define FLAG(number) (1u << (number))

#define FEATURES_ECX_OF_XSAVE                                                                      \
    (FLAG(12) /* FMA */ | FLAG(26) /* XSAVE */ | FLAG(28) /* AVX */ | FLAG(29) /* F16C */)
#define EXTENDED_EBX_INVPCID  FLAG(10)
#define EXTENDED_EBX_OF_XSAVE FLAG(5) /* AVX2 */
#define EXTENDED_ECX_OF_XSAVE (FLAG(9) /* VAES */ | FLAG(10) /* VPCLMULQDQ */)
#define AMD_EDX_RDTSCP        FLAG(27)

/* What the processor must have as well; and what is the machine's to do, so that it need not. */
#define FEATURES_ECX                                                                               \
    (FLAG(0) /* SSE3 */ | FLAG(1) /* PCLMULQDQ */ | FLAG(9) /* SSSE3 */ | FLAG(13) /* CX16 */ |    \
     FLAG(17) /* PCID */ | FLAG(19) /* SSE4.1 */ | FLAG(20) /* SSE4.2 */ | FLAG(22) /* MOVBE */ |  \
     FLAG(23) /* POPCNT */ | FLAG(25) /* AES */ | FLAG(30) /* RDRAND */ | FEATURES_ECX_OF_XSAVE)
#define FEATURES_ECX_OWN                                                                           \
    (FLAG(21) /* x2APIC */ | FLAG(24) /* TSC-deadline */ | FLAG(31) /* hypervisor */)
#define FEATURES_EDX 0x078bfbffu /* FPU to SSE2, but for PSN, DS and ACPI */
#define EXTENDED_EBX                                                                               \
    (FLAG(0) /* FSGSBASE */ | FLAG(3) /* BMI1 */ | EXTENDED_EBX_OF_XSAVE | FLAG(7) /* SMEP */ |    \
     FLAG(8) /* BMI2 */ | FLAG(9) /* ERMS */ | EXTENDED_EBX_INVPCID | FLAG(18) /* RDSEED */ |      \
     FLAG(19) /* ADX */ | FLAG(20) /* SMAP */ | FLAG(23) /* CLFLUSHOPT */ | FLAG(24) /* CLWB */ |  \
     FLAG(29) /* SHA */)
#define EXTENDED_ECX                                                                               \
    (FLAG(2) /* UMIP */ | FLAG(8) /* GFNI */ | EXTENDED_ECX_OF_XSAVE | FLAG(22) /* RDPID */)
#define EXTENDED_EDX FLAG(4) /* FSRM */
#define AMD_ECX      (FLAG(0) /* LAHF */ | FLAG(5) /* LZCNT */ | FLAG(8) /* PREFETCHW */)
#define AMD_EDX                                                                                    \
    (FLAG(11) /* SYSCALL */ | FLAG(20) /* NX */ | FLAG(26) /* 1-GByte pages */ | AMD_EDX_RDTSCP |  \
     FLAG(29) /* 64-bit mode */)
#define APM_EDX FLAG(8) /* invariant TSC */

/* Bits of one leaf. */
struct shown {
    uint32_t leaf, subleaf;
    struct cpuid_registers mask;
};

#define ALL UINT32_MAX
#define WHOLE(leaf, subleaf)                                                                       \
    {                                                                                              \
        leaf, subleaf,                                                                             \
        {                                                                                          \
            ALL, ALL, ALL, ALL                                                                     \
        }                                                                                          \
    }

/*
 * Left out: what needs MSRs, XCR0 components or controls that our monitors do not have (VMX itself,
 * SMX, MONITOR, the performance counters, thermal and power leaves, MPX, AVX-512, PKU, CET, SGX,
 * processor trace, speculation controls), and what the machine decides (topology, the hypervisor's
 * leaves).
 */
static const struct shown shown[] = {
    WHOLE(0, 0),
    {LEAF_FEATURES, 0, {ALL, ALL, FEATURES_ECX, FEATURES_EDX}},
    WHOLE(2, 0),
    WHOLE(4, 0),
    WHOLE(4, 1),
    WHOLE(4, 2),
    WHOLE(4, 3),
    {LEAF_EXTENDED, 0, {0, EXTENDED_EBX, EXTENDED_ECX, EXTENDED_EDX}},
    {LEAF_XSAVE, 0, {7 /* x87, SSE, AVX */, ALL, ALL, 0}},
    {LEAF_XSAVE, 1, {FLAG(0) /* XSAVEOPT */, 0, 0, 0}},
    WHOLE(LEAF_XSAVE, 2),
    WHOLE(0x80000000, 0),
    {LEAF_AMD, 0, {ALL, 0, AMD_ECX, AMD_EDX}},
    WHOLE(0x80000002, 0),
    WHOLE(0x80000003, 0),
    WHOLE(0x80000004, 0),
    WHOLE(0x80000006, 0),
    {LEAF_APM, 0, {0, 0, 0, APM_EDX}},
    {LEAF_SIZES, 0, {0xffff, 0, 0, 0}},
};

static bool has_subleaves(uint32_t leaf)
{
    return leaf == 4 || leaf == LEAF_EXTENDED || leaf == LEAF_XSAVE;
}

static uint32_t minimum(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* What depends on more than the leaf. */
static void adapt(const struct vmx_cpuid_limits *limits, uint32_t leaf,
                  struct cpuid_registers *answer)
{
    if (leaf == 0) {
        answer->eax = minimum(answer->eax, LEAF_XSAVE);
    } else if (leaf == 0x80000000) {
        answer->eax = minimum(answer->eax, LEAF_SIZES);
    } else if (leaf == LEAF_EXTENDED) {
        answer->ebx &= limits->lacks_invpcid ? ~EXTENDED_EBX_INVPCID : ALL;
        answer->ebx &= limits->lacks_xsave ? ~EXTENDED_EBX_OF_XSAVE : ALL;
        answer->ecx &= limits->lacks_xsave ? ~EXTENDED_ECX_OF_XSAVE : ALL;
    } else if (leaf == LEAF_AMD && limits->lacks_rdtscp) {
        answer->edx &= ~AMD_EDX_RDTSCP;
    } else if (leaf == LEAF_FEATURES) {
        answer->ecx &= limits->lacks_xsave ? ~FEATURES_ECX_OF_XSAVE : ALL;
        answer->ecx |= FEATURES_ECX_OWN;
    }
}

void vmx_pass_cpuid_on(struct cpuid_table *table,
                       struct cpuid_registers (*cpuid)(uint32_t leaf, uint32_t subleaf),
                       const struct vmx_cpuid_limits *limits)
{
    table->count = 0;
    for (unsigned int i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        const struct shown *row = &shown[i];
        struct cpuid_registers answer = cpuid(row->leaf, row->subleaf);
        answer.eax &= row->mask.eax;
        answer.ebx &= row->mask.ebx;
        answer.ecx &= row->mask.ecx;
        answer.edx &= row->mask.edx;
        adapt(limits, row->leaf, &answer);
        if (row->leaf != LEAF_XSAVE || !limits->lacks_xsave) {
            cpuid_set(table, row->leaf, row->subleaf, has_subleaves(row->leaf), answer);
        }
    }
}
