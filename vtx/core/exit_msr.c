/* RDMSR and WRMSR that exit: which MSRs the core keeps, and where. */
#include <stddef.h>

#include "vtx/core/internal.h"
#include "x86/control_rules.h"
#include "x86/msr.h"

/* Where a row's MSRs live. */
enum place {
    CONSTANT, /* reads as `bits`; writes are ignored */
    FIELD,    /* in the VMCS, at `where` */
    LIVE,     /* in the processor, while the vCPU is in context */
    KEPT,     /* in vcpu->msr, at offset `where` */
    TIME,     /* the TSC */
    EFER
};

struct row {
    uint32_t first, last; /* of a range, KEPT values follow one another */
    enum place place;
    enum x86_msr_kind kind;
    uint32_t where;
    uint64_t bits;
};

#define ONE(index)   (index), (index)
#define MEMBER(name) offsetof(struct x86_msrs, name)
#define LOW_HALF     UINT64_C(0xffffffff)

#define MTRR_CAPABILITIES (8 | X86_MTRRCAP_FIX | X86_MTRRCAP_WC)
#define MTRR_DEF_TYPE     (0xff | X86_MTRR_DEF_TYPE_FE | X86_MTRR_DEF_TYPE_E)
#define MICROCODE         (UINT64_C(1) << 32)
#define FIXED(number)     (offsetof(struct x86_msrs, mtrr_fixed) + 8 * (number))

/* By ascending index. MSRs that are not here are the embedder's: EXIT_RDMSR, EXIT_WRMSR. */
static const struct row rows[] = {
    {ONE(X86_MSR_IA32_TSC), TIME, X86_MSR_ANY, 0, 0},
    {ONE(X86_MSR_IA32_PLATFORM_ID), CONSTANT, X86_MSR_READ_ONLY, 0, 0},
    {ONE(X86_MSR_IA32_FEATURE_CONTROL), CONSTANT, X86_MSR_READ_ONLY, 0, VMX_FEATURE_CONTROL_LOCK},
    {ONE(X86_MSR_IA32_BIOS_SIGN_ID), CONSTANT, X86_MSR_ANY, 0, MICROCODE},
    {ONE(X86_MSR_IA32_MTRRCAP), CONSTANT, X86_MSR_READ_ONLY, 0, MTRR_CAPABILITIES},
    {ONE(X86_MSR_IA32_SYSENTER_CS), FIELD, X86_MSR_WITHIN_BITS, VMCS_GUEST_IA32_SYSENTER_CS,
     LOW_HALF},
    {ONE(X86_MSR_IA32_SYSENTER_ESP), FIELD, X86_MSR_CANONICAL, VMCS_GUEST_IA32_SYSENTER_ESP, 0},
    {ONE(X86_MSR_IA32_SYSENTER_EIP), FIELD, X86_MSR_CANONICAL, VMCS_GUEST_IA32_SYSENTER_EIP, 0},
    {ONE(X86_MSR_IA32_MCG_CAP), CONSTANT, X86_MSR_READ_ONLY, 0, 0},
    {ONE(X86_MSR_IA32_MCG_STATUS), CONSTANT, X86_MSR_ANY, 0, 0},
    {ONE(X86_MSR_IA32_PERF_STATUS), CONSTANT, X86_MSR_READ_ONLY, 0, 0},
    {ONE(X86_MSR_IA32_MISC_ENABLE), KEPT, X86_MSR_ANY, MEMBER(misc_enable), 0},
    {ONE(X86_MSR_IA32_DEBUGCTL), CONSTANT, X86_MSR_ANY, 0, 0},
    {X86_MSR_IA32_MTRR_PHYSBASE0, X86_MSR_IA32_MTRR_PHYSMASK7, KEPT, X86_MSR_ANY,
     MEMBER(mtrr_variable), 0},
    {ONE(X86_MSR_IA32_MTRR_FIX64K_00000), KEPT, X86_MSR_FIXED_TYPES, FIXED(0), 0},
    {X86_MSR_IA32_MTRR_FIX16K_80000, X86_MSR_IA32_MTRR_FIX16K_A0000, KEPT, X86_MSR_FIXED_TYPES,
     FIXED(1), 0},
    {X86_MSR_IA32_MTRR_FIX4K_C0000, X86_MSR_IA32_MTRR_FIX4K_F8000, KEPT, X86_MSR_FIXED_TYPES,
     FIXED(3), 0},
    {ONE(X86_MSR_IA32_PAT), FIELD, X86_MSR_PAT_TYPES, VMCS_GUEST_IA32_PAT, 0},
    {ONE(X86_MSR_IA32_MTRR_DEF_TYPE), KEPT, X86_MSR_DEFAULT_TYPE, MEMBER(mtrr_def_type),
     MTRR_DEF_TYPE},
    {ONE(X86_MSR_IA32_EFER), EFER, X86_MSR_ANY, 0, 0},
    {ONE(X86_MSR_IA32_STAR), LIVE, X86_MSR_ANY, MEMBER(star), 0},
    {ONE(X86_MSR_IA32_LSTAR), LIVE, X86_MSR_CANONICAL, MEMBER(lstar), 0},
    {ONE(X86_MSR_IA32_CSTAR), LIVE, X86_MSR_CANONICAL, MEMBER(cstar), 0},
    {ONE(X86_MSR_IA32_FMASK), LIVE, X86_MSR_WITHIN_BITS, MEMBER(fmask), LOW_HALF},
    {ONE(X86_MSR_IA32_FS_BASE), FIELD, X86_MSR_CANONICAL, VMCS_GUEST_FS_BASE, 0},
    {ONE(X86_MSR_IA32_GS_BASE), FIELD, X86_MSR_CANONICAL, VMCS_GUEST_GS_BASE, 0},
    {ONE(X86_MSR_IA32_KERNEL_GS_BASE), LIVE, X86_MSR_CANONICAL, MEMBER(kernel_gs_base), 0},
    {ONE(X86_MSR_IA32_TSC_AUX), LIVE, X86_MSR_WITHIN_BITS, MEMBER(tsc_aux), LOW_HALF},
};

static const struct row *find_row(uint32_t index)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (index >= rows[i].first && index <= rows[i].last) {
            return &rows[i];
        }
    }
    return NULL;
}

static uint64_t *kept(struct vtx_vcpu *vcpu, const struct row *row, uint32_t index)
{
    return (uint64_t *)(void *)((char *)&vcpu->msr + row->where) + (index - row->first);
}

/* A processor without RDTSCP has no TSC_AUX. */
static bool is_live(const struct vtx_vcpu *vcpu, uint32_t index)
{
    return index != X86_MSR_IA32_TSC_AUX || vcpu->vm->capabilities->has_rdtscp;
}

uint64_t vtx_live_msr(struct vtx_vcpu *vcpu, uint32_t index)
{
    return is_live(vcpu, index) ? vtx_rdmsr(index) : 0;
}

static uint64_t read_row(struct vtx_vcpu *vcpu, const struct row *row, uint32_t index)
{
    switch (row->place) {
    case FIELD:
        return vtx_get(vcpu, row->where);
    case LIVE:
        return vtx_live_msr(vcpu, index);
    case KEPT:
        return *kept(vcpu, row, index);
    case TIME:
        return vtx_rdtsc() + vcpu->tsc_offset;
    case EFER:
        return vtx_get(vcpu, VMCS_GUEST_IA32_EFER);
    default:
        return row->bits;
    }
}

/* False: #GP(0). */
static bool write_row(struct vtx_vcpu *vcpu, const struct row *row, uint32_t index, uint64_t value)
{
    uint8_t linear_bits = vcpu->vm->capabilities->linear_address_bits;
    if (!x86_msr_takes(row->kind, row->bits, linear_bits, value)) {
        return false;
    }
    switch (row->place) {
    case FIELD:
        vtx_set(vcpu, row->where, value);
        return true;
    case LIVE:
        if (is_live(vcpu, index)) {
            vtx_wrmsr(index, value);
        }
        return true;
    case KEPT:
        *kept(vcpu, row, index) = value;
        return true;
    case TIME:
        vtx_vcpu_set_tsc_offset(vcpu, value - vtx_rdtsc());
        return true;
    case EFER:
        return vtx_write_efer(vcpu, value);
    default:
        return true;
    }
}

static void put_result(struct vtx_vcpu *vcpu, uint64_t value)
{
    vcpu->registers.gpr[X86_RAX] = (uint32_t)value;
    vcpu->registers.gpr[X86_RDX] = value >> 32;
}

static enum vtx_step complete_msr(struct vtx_vcpu *vcpu)
{
    if (vcpu->exit.msr.refused) {
        return vtx_raise(vcpu, X86_VECTOR_GP, 0);
    }
    if (vcpu->exit.reason == EXIT_RDMSR) {
        put_result(vcpu, vcpu->exit.msr.value);
    }
    return vtx_skip(vcpu);
}

static enum vtx_step leave_for(struct vtx_vcpu *vcpu, enum exit_reason reason, uint32_t index,
                               uint64_t value)
{
    vcpu->exit.msr.index = index;
    vcpu->exit.msr.value = value;
    vcpu->exit.msr.refused = false;
    vcpu->completion = complete_msr;
    return vtx_leave(vcpu, reason);
}

enum vtx_step vtx_exit_rdmsr(struct vtx_vcpu *vcpu)
{
    uint32_t index = (uint32_t)vcpu->registers.gpr[X86_RCX];
    const struct row *row = find_row(index);
    if (row == NULL) {
        return leave_for(vcpu, EXIT_RDMSR, index, 0);
    }
    put_result(vcpu, read_row(vcpu, row, index));
    return vtx_skip(vcpu);
}

enum vtx_step vtx_exit_wrmsr(struct vtx_vcpu *vcpu)
{
    const uint64_t *gpr = vcpu->registers.gpr;
    uint32_t index = (uint32_t)gpr[X86_RCX];
    uint64_t value = (uint32_t)gpr[X86_RAX] | gpr[X86_RDX] << 32;
    const struct row *row = find_row(index);
    if (row == NULL) {
        return leave_for(vcpu, EXIT_WRMSR, index, value);
    }
    return write_row(vcpu, row, index, value) ? vtx_skip(vcpu) : vtx_raise(vcpu, X86_VECTOR_GP, 0);
}
