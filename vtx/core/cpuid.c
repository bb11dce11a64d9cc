/* The answer of CPUID at an exit. */
#include "vtx/core/internal.h"
#include "x86/vmx_cpuid.h"

#define LEAF_FEATURES 1u
#define LEAF_EXTENDED 7u
#define LEAF_XSAVE    0xdu

#define FEATURES_ECX_OSXSAVE (1u << 27)
#define EXTENDED_ECX_OSPKE   (1u << 4)

void vtx_cpuid_supported(const struct vtx_capabilities *capabilities, struct cpuid_table *table)
{
    uint32_t may = capabilities->allowed[VTX_CONTROLS_SECONDARY].may;
    const struct vmx_cpuid_limits limits = {.lacks_xsave = !capabilities->has_xsave,
                                            .lacks_invpcid = (may & VMX_SECONDARY_INVPCID) == 0,
                                            .lacks_rdtscp = (may & VMX_SECONDARY_RDTSCP) == 0};
    vmx_pass_cpuid_on(table, vtx_cpuid, &limits);
}

#define XSAVE_LEGACY_AND_HEADER 576u

/* "CPUID leaf 0DH": the size of what XCR0 enables now. */
static uint32_t xsave_size(const struct vtx_vcpu *vcpu)
{
    struct cpuid_registers avx = cpuid_answer(vcpu->cpuid, LEAF_XSAVE, 2);
    return (vcpu->xcr0 & X86_XCR0_AVX) != 0 ? avx.ebx + avx.eax : XSAVE_LEGACY_AND_HEADER;
}

enum vtx_step vtx_exit_cpuid(struct vtx_vcpu *vcpu)
{
    uint64_t *gpr = vcpu->registers.gpr;
    uint32_t leaf = (uint32_t)gpr[X86_RAX], subleaf = (uint32_t)gpr[X86_RCX];
    struct cpuid_registers answer = cpuid_answer(vcpu->cpuid, leaf, subleaf);
    bool saves = (vtx_guest_cr4(vcpu) & X86_CR4_OSXSAVE) != 0;
    if (leaf == LEAF_FEATURES) {
        answer.ecx = saves ? answer.ecx | FEATURES_ECX_OSXSAVE : answer.ecx & ~FEATURES_ECX_OSXSAVE;
    } else if (leaf == LEAF_EXTENDED && subleaf == 0) {
        answer.ecx &= ~EXTENDED_ECX_OSPKE;
    } else if (leaf == LEAF_XSAVE && subleaf == 0 && answer.ebx != 0) {
        answer.ebx = xsave_size(vcpu);
    }
    gpr[X86_RAX] = answer.eax;
    gpr[X86_RBX] = answer.ebx;
    gpr[X86_RCX] = answer.ecx;
    gpr[X86_RDX] = answer.edx;
    return vtx_skip(vcpu);
}
