#include "engines/soft/cpuid.h"

#include <string.h>

#include "engines/soft/vm.h"
#include "engines/soft/xsave.h"
#include "x86/msr.h"

#define BIT(number) (UINT32_C(1) << (number))

/*
 * What the guest takes the processor for: family 6, a server model without a list of errata in
 * stock kernels; their drivers for that model ask for features that are not shown here.
 */
#define SIGNATURE 0x000806f8u

/* Leaf 1. "Own": done by the interpreter alone; "host": run by the host's processor. */
#define LEAF1_ECX_OWN                                                                              \
    (BIT(17) /* PCID */ | BIT(21) /* x2APIC */ | BIT(22) /* MOVBE */ |                             \
     BIT(24) /* TSC-deadline */ | BIT(31) /* hypervisor */)
#define LEAF1_ECX_HOST                                                                             \
    (BIT(0) /* SSE3 */ | BIT(1) /* PCLMULQDQ */ | BIT(9) /* SSSE3 */ | BIT(12) /* FMA */ |         \
     BIT(13) /* CX16 */ | BIT(19) /* SSE4.1 */ | BIT(20) /* SSE4.2 */ | BIT(23) /* POPCNT */ |     \
     BIT(25) /* AES */ | BIT(26) /* XSAVE */ | BIT(28) /* AVX */ | BIT(29) /* F16C */ |            \
     BIT(30) /* RDRAND */)
#define LEAF1_EDX_OWN                                                                              \
    (BIT(1) /* VME */ | BIT(2) /* DE */ | BIT(3) /* PSE */ | BIT(4) /* TSC */ | BIT(5) /* MSR */ | \
     BIT(6) /* PAE */ | BIT(7) /* MCE */ | BIT(8) /* CX8 */ | BIT(9) /* APIC */ |                  \
     BIT(11) /* SEP */ | BIT(12) /* MTRR */ | BIT(13) /* PGE */ | BIT(14) /* MCA */ |              \
     BIT(16) /* PAT */ | BIT(17) /* PSE-36 */ | BIT(19) /* CLFSH */)
#define LEAF1_EDX_HOST                                                                             \
    (BIT(0) /* FPU */ | BIT(15) /* CMOV */ | BIT(23) /* MMX */ | BIT(24) /* FXSR */ |              \
     BIT(25) /* SSE */ | BIT(26) /* SSE2 */)
#define LEAF1_EBX_CLFLUSH_LINE (8u << 8) /* in units of 8 bytes */

/* Leaf 7. LA57 is implemented but not offered. */
#define LEAF7_EBX_OWN                                                                              \
    (BIT(0) /* FSGSBASE */ | BIT(7) /* SMEP */ | BIT(9) /* ERMS */ | BIT(10) /* INVPCID */ |       \
     BIT(19) /* ADX */ | BIT(20) /* SMAP */ | BIT(23) /* CLFLUSHOPT */ | BIT(24) /* CLWB */)
#define LEAF7_EBX_HOST                                                                             \
    (BIT(3) /* BMI1 */ | BIT(5) /* AVX2 */ | BIT(8) /* BMI2 */ | BIT(18) /* RDSEED */ |            \
     BIT(29) /* SHA */)
#define LEAF7_ECX_OWN  (BIT(2) /* UMIP */ | BIT(3) /* PKU */ | BIT(22) /* RDPID */)
#define LEAF7_ECX_HOST (BIT(8) /* GFNI */ | BIT(9) /* VAES */ | BIT(10) /* VPCLMULQDQ */)
#define LEAF7_EDX_OWN                                                                              \
    (BIT(4) /* FSRM */ | BIT(26) /* IBRS */ | BIT(27) /* STIBP */ |                                \
     BIT(29) /* ARCH_CAPABILITIES */ | BIT(31) /* SSBD */)
#define LEAF7_1_EAX_HOST BIT(4) /* AVX-VNNI */
#define LEAF7_2_EDX_OWN  BIT(4) /* BHI_CTRL */

#define EXTENDED1_ECX_OWN  (BIT(0) /* LAHF */ | BIT(8) /* PREFETCHW */)
#define EXTENDED1_ECX_HOST BIT(5) /* LZCNT */
#define EXTENDED1_EDX_OWN                                                                          \
    (BIT(11) /* SYSCALL */ | BIT(20) /* NX */ | BIT(26) /* 1-GByte pages */ |                      \
     BIT(27) /* RDTSCP */ | BIT(29) /* 64-bit mode */)
#define EXTENDED7_EDX_HOST BIT(8) /* invariant TSC */

#define LEAF1_EDX_APIC    BIT(9)
#define LEAF1_ECX_OSXSAVE BIT(27)
#define LEAF7_ECX_OSPKE   BIT(4)

#define HIGHEST_BASIC    0xdu
#define HIGHEST_EXTENDED 0x80000008u
#define LINEAR_BITS      48u

static const char brand[48] = "Trapeze virtual CPU";

static struct cpuid_registers text_registers(const char text[16])
{
    struct cpuid_registers registers;
    memcpy(&registers.eax, text, 4);
    memcpy(&registers.ebx, text + 4, 4);
    memcpy(&registers.ecx, text + 8, 4);
    memcpy(&registers.edx, text + 12, 4);
    return registers;
}

static void add(struct cpuid_table *table, uint32_t leaf, struct cpuid_registers registers)
{
    cpuid_set(table, leaf, 0, false, registers);
}

static void add_subleaf(struct cpuid_table *table, uint32_t leaf, uint32_t subleaf,
                        struct cpuid_registers registers)
{
    cpuid_set(table, leaf, subleaf, true, registers);
}

static void add_features(struct cpuid_table *table)
{
    struct cpuid_registers host1 = cpuid_host(1, 0), host7 = cpuid_host(7, 0);
    struct cpuid_registers host7_1 =
        host7.eax >= 1 ? cpuid_host(7, 1) : (struct cpuid_registers){0};
    if (cpuid_host(0, 0).eax < 7) {
        host7 = host7_1 = (struct cpuid_registers){0};
    }
    add(table, 1,
        (struct cpuid_registers){.eax = SIGNATURE,
                                 .ebx = LEAF1_EBX_CLFLUSH_LINE,
                                 .ecx = LEAF1_ECX_OWN | (host1.ecx & LEAF1_ECX_HOST),
                                 .edx = LEAF1_EDX_OWN | (host1.edx & LEAF1_EDX_HOST)});
    add_subleaf(table, 7, 0,
                (struct cpuid_registers){.eax = 2,
                                         .ebx = LEAF7_EBX_OWN | (host7.ebx & LEAF7_EBX_HOST),
                                         .ecx = LEAF7_ECX_OWN | (host7.ecx & LEAF7_ECX_HOST),
                                         .edx = LEAF7_EDX_OWN});
    add_subleaf(table, 7, 1, (struct cpuid_registers){.eax = host7_1.eax & LEAF7_1_EAX_HOST});
    add_subleaf(table, 7, 2, (struct cpuid_registers){.edx = LEAF7_2_EDX_OWN});
}

/* Deterministic cache parameters: type, level, line size, ways, sets; 32 K, 32 K, 1 M, 16 M. */
static void add_caches(struct cpuid_table *table)
{
    static const struct {
        uint32_t type, level, ways, sets;
    } caches[] = {{1, 1, 8, 64}, {2, 1, 8, 64}, {3, 2, 8, 2048}, {3, 3, 16, 16384}};
    const uint32_t self_initializing = BIT(8), line = 64;
    for (uint32_t i = 0; i < 4; i++) {
        add_subleaf(table, 4, i,
                    (struct cpuid_registers){.eax = caches[i].type | caches[i].level << 5 |
                                                    self_initializing,
                                             .ebx = (line - 1) | (caches[i].ways - 1) << 22,
                                             .ecx = caches[i].sets - 1});
    }
    add_subleaf(table, 4, 4, (struct cpuid_registers){0});
}

static void add_xsave(struct cpuid_table *table)
{
    const struct cpuid_entry *leaf1 = cpuid_find(table, 1, 0);
    uint64_t components = X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_PKRU;
    if ((leaf1->registers.ecx & BIT(28)) != 0) {
        components |= X86_XCR0_AVX;
    }
    for (uint32_t i = 0; i < 10; i++) {
        struct cpuid_registers registers = soft_xsave_cpuid(components, i);
        if (i < 2 || registers.eax != 0) {
            add_subleaf(table, 0xd, i, registers);
        }
    }
}

static void add_extended(struct cpuid_table *table)
{
    struct cpuid_registers vendor = {.eax = HIGHEST_EXTENDED};
    struct cpuid_registers host1 = cpuid_host(0x80000001, 0), host7 = cpuid_host(0x80000007, 0);
    add(table, 0x80000000, vendor);
    add(table, 0x80000001,
        (struct cpuid_registers){.ecx = EXTENDED1_ECX_OWN | (host1.ecx & EXTENDED1_ECX_HOST),
                                 .edx = EXTENDED1_EDX_OWN});
    for (uint32_t i = 0; i < 3; i++) {
        add(table, 0x80000002 + i, text_registers(brand + 16 * i));
    }
    add(table, 0x80000005, (struct cpuid_registers){0});
    /* the second-level cache: 1 MByte, 8 ways, lines of 64 bytes */
    add(table, 0x80000006, (struct cpuid_registers){.ecx = 1024u << 16 | 6u << 12 | 64});
    add(table, 0x80000007, (struct cpuid_registers){.edx = host7.edx & EXTENDED7_EDX_HOST});
    add(table, 0x80000008, (struct cpuid_registers){.eax = SOFT_PHYSICAL_BITS | LINEAR_BITS << 8});
}

void soft_cpuid_supported(struct cpuid_table *table)
{
    *table = (struct cpuid_table){0};
    struct cpuid_registers vendor = text_registers("\0\0\0\0GenuntelineI");
    vendor.eax = HIGHEST_BASIC;
    add(table, 0, vendor);
    add_features(table);
    /* leaf 2: no descriptors, see leaf 4 */
    add(table, 2, (struct cpuid_registers){.eax = 0x00feff01});
    add(table, 3, (struct cpuid_registers){0});
    add_caches(table);
    add(table, 5, (struct cpuid_registers){0});
    add(table, 6, (struct cpuid_registers){.eax = BIT(2)}); /* ARAT */
    add(table, 9, (struct cpuid_registers){0});
    add(table, 0xa, (struct cpuid_registers){0});
    add_xsave(table);
    add_extended(table);
}

/* The bits that follow the vCPU's state. */
static void patch_dynamic(const struct soft_cpu *cpu, uint32_t leaf, uint32_t subleaf,
                          struct cpuid_registers *registers)
{
    switch (leaf) {
    case 1:
        registers->ecx &= ~LEAF1_ECX_OSXSAVE;
        if ((cpu->cr4 & X86_CR4_OSXSAVE) != 0) {
            registers->ecx |= LEAF1_ECX_OSXSAVE;
        }
        if ((cpu->msr.apic_base & X86_APIC_BASE_EN) == 0) {
            registers->edx &= ~LEAF1_EDX_APIC;
        }
        break;
    case 7:
        if (subleaf == 0) {
            registers->ecx &= ~LEAF7_ECX_OSPKE;
            registers->ecx |= (cpu->cr4 & X86_CR4_PKE) != 0 ? LEAF7_ECX_OSPKE : 0;
        }
        break;
    case 0xd:
        if (subleaf == 0) {
            registers->ebx = soft_xsave_size(cpu->xcr0, false);
        } else if (subleaf == 1 && registers->eax != 0) {
            registers->ebx = soft_xsave_size(cpu->xcr0 | cpu->msr.xss, true);
        }
        break;
    default:
        break;
    }
}

void soft_cpuid(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    uint32_t leaf = (uint32_t)cpu->gpr[X86_RAX], subleaf = (uint32_t)cpu->gpr[X86_RCX];
    struct cpuid_registers registers = cpuid_answer(&cpu->cpuid, leaf, subleaf);
    patch_dynamic(cpu, leaf, subleaf, &registers);
    cpu->gpr[X86_RAX] = registers.eax;
    cpu->gpr[X86_RBX] = registers.ebx;
    cpu->gpr[X86_RCX] = registers.ecx;
    cpu->gpr[X86_RDX] = registers.edx;
}
