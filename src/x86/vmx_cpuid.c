#include "x86/vmx_cpuid.h"

#define LEAF_FEATURES 1u
#define LEAF_EXTENDED 7u
#define LEAF_XSAVE    0xdu
#define LEAF_AMD      0x80000001u
#define LEAF_APM      0x80000007u
#define LEAF_SIZES    0x80000008u

#define CPUID_BIT(number) (1u << (number))

#define FEATURES_ECX_OF_XSAVE                                                                      \
    (CPUID_BIT(12) /* FMA */ | CPUID_BIT(26) /* XSAVE */ | CPUID_BIT(28) /* AVX */ |               \
     CPUID_BIT(29) /* F16C */)
#define EXTENDED_EBX_INVPCID CPUID_BIT(10)
#define AMD_EDX_RDTSCP       CPUID_BIT(27)

/* What the processor must have as well; and what is the machine's to do, so that it need not. */
#define FEATURES_ECX                                                                               \
    (CPUID_BIT(0) /* SSE3 */ | CPUID_BIT(1) /* PCLMULQDQ */ | CPUID_BIT(9) /* SSSE3 */ |           \
     CPUID_BIT(13) /* CX16 */ | CPUID_BIT(17) /* PCID */ | CPUID_BIT(19) /* SSE4.1 */ |            \
     CPUID_BIT(20) /* SSE4.2 */ | CPUID_BIT(22) /* MOVBE */ | CPUID_BIT(23) /* POPCNT */ |         \
     CPUID_BIT(25) /* AES */ | CPUID_BIT(30) /* RDRAND */ | FEATURES_ECX_OF_XSAVE)
#define FEATURES_ECX_OWN                                                                           \
    (CPUID_BIT(21) /* x2APIC */ | CPUID_BIT(24) /* TSC-deadline */ | CPUID_BIT(31) /* hypervisor   \
                                                                                    */)
#define FEATURES_EDX 0x078bfbffu /* FPU to SSE2, but for PSN, DS and ACPI */
#define EXTENDED_EBX                                                                               \
    (CPUID_BIT(0) /* FSGSBASE */ | CPUID_BIT(3) /* BMI1 */ | CPUID_BIT(5) /* AVX2 */ |             \
     CPUID_BIT(7) /* SMEP */ | CPUID_BIT(8) /* BMI2 */ | CPUID_BIT(9) /* ERMS */ |                 \
     EXTENDED_EBX_INVPCID | CPUID_BIT(18) /* RDSEED */ | CPUID_BIT(19) /* ADX */ |                 \
     CPUID_BIT(20) /* SMAP */ | CPUID_BIT(23) /* CLFLUSHOPT */ | CPUID_BIT(24) /* CLWB */ |        \
     CPUID_BIT(29) /* SHA */)
#define EXTENDED_ECX                                                                               \
    (CPUID_BIT(2) /* UMIP */ | CPUID_BIT(8) /* GFNI */ | CPUID_BIT(9) /* VAES */ |                 \
     CPUID_BIT(10) /* VPCLMULQDQ */ | CPUID_BIT(22) /* RDPID */)
#define EXTENDED_EDX CPUID_BIT(4)                                                       /* FSRM */
#define AMD_ECX      (CPUID_BIT(0) /* LAHF */ | CPUID_BIT(5) /* LZCNT */ | CPUID_BIT(8) /* PREFETCHW \
                                                                                         */)
#define AMD_EDX                                                                                    \
    (CPUID_BIT(11) /* SYSCALL */ | CPUID_BIT(20) /* NX */ | CPUID_BIT(26) /* 1-GByte pages */ |    \
     AMD_EDX_RDTSCP | CPUID_BIT(29) /* 64-bit mode */)
#define APM_EDX CPUID_BIT(8) /* invariant TSC */

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
    {LEAF_XSAVE, 1, {CPUID_BIT(0) /* XSAVEOPT */, 0, 0, 0}},
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
    } else if (leaf == LEAF_EXTENDED && limits->lacks_invpcid) {
        answer->ebx &= ~EXTENDED_EBX_INVPCID;
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
