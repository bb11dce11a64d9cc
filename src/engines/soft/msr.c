#include "engines/soft/msr.h"

#include <stddef.h>

#include "engines/soft/control.h"
#include "engines/soft/memory.h"
#include "engines/soft/paravirt.h"
#include "engines/soft/time_stamp.h"
#include "engines/soft/vm.h"
#include "x86/control_rules.h"
#include "x86/msr.h"

/*
 * IA32_ARCH_CAPABILITIES: nothing that runs here speculates across the guest's privilege levels
 * with its addresses, so every vulnerability is reported as absent.
 */
#define ARCH_RDCL_NO        (UINT64_C(1) << 0)
#define ARCH_IBRS_ALL       (UINT64_C(1) << 1)
#define ARCH_SKIP_L1DFL     (UINT64_C(1) << 3)
#define ARCH_SSB_NO         (UINT64_C(1) << 4)
#define ARCH_MDS_NO         (UINT64_C(1) << 5)
#define ARCH_PSCHANGE_MC_NO (UINT64_C(1) << 6)
#define ARCH_TAA_NO         (UINT64_C(1) << 8)
#define ARCH_SBDR_SSDP_NO   (UINT64_C(1) << 13)
#define ARCH_FBSDP_NO       (UINT64_C(1) << 14)
#define ARCH_PSDP_NO        (UINT64_C(1) << 15)
#define ARCH_BHI_NO         (UINT64_C(1) << 20)
#define ARCH_PBRSB_NO       (UINT64_C(1) << 24)
#define ARCH_GDS_NO         (UINT64_C(1) << 26)
#define ARCH_RFDS_NO        (UINT64_C(1) << 27)
#define ARCH_ITS_NO         (UINT64_C(1) << 62)
#define ARCH_CAPABILITIES                                                                          \
    (ARCH_RDCL_NO | ARCH_IBRS_ALL | ARCH_SKIP_L1DFL | ARCH_SSB_NO | ARCH_MDS_NO |                  \
     ARCH_PSCHANGE_MC_NO | ARCH_TAA_NO | ARCH_SBDR_SSDP_NO | ARCH_FBSDP_NO | ARCH_PSDP_NO |        \
     ARCH_BHI_NO | ARCH_PBRSB_NO | ARCH_GDS_NO | ARCH_RFDS_NO | ARCH_ITS_NO)

/* Stock kernels clear branch history in software on every system call unless they can set this. */
#define SPEC_CTRL_BHI_DIS_S (UINT64_C(1) << 10)

#define MTRR_VARIABLE_COUNT   8u
#define MTRR_CAPABILITIES     (MTRR_VARIABLE_COUNT | X86_MTRRCAP_FIX | X86_MTRRCAP_WC)
#define PHYSICAL_ADDRESS_MASK ((UINT64_C(1) << SOFT_PHYSICAL_BITS) - 1)
#define FEATURE_CONTROL_LOCK  UINT64_C(1)
#define MICROCODE_REVISION    (UINT64_C(1) << 32) /* in the upper half */
#define MISC_ENABLE_WRITABLE                                                                       \
    (X86_MISC_ENABLE_FAST_STRING | X86_MISC_ENABLE_LIMIT_CPUID | X86_MISC_ENABLE_XD_DISABLE)
#define MISC_ENABLE_FIXED (X86_MISC_ENABLE_BTS_UNAVAILABLE | X86_MISC_ENABLE_PEBS_UNAVAILABLE)

struct msr_row;
typedef bool msr_read(struct soft_cpu *cpu, const struct msr_row *row, uint32_t index,
                      uint64_t *value);
typedef bool msr_write(struct soft_cpu *cpu, const struct msr_row *row, uint32_t index,
                       uint64_t value);

/* A range of MSRs; read or write NULL: #GP(0). */
struct msr_row {
    uint32_t first, last;
    msr_read *read;
    msr_write *write;
    uint64_t bits;   /* a constant, or the bits that may be set */
    uint32_t offset; /* of a plain field in struct soft_cpu */
};

static uint64_t *field_of(struct soft_cpu *cpu, const struct msr_row *row)
{
    return (uint64_t *)(void *)((char *)cpu + row->offset);
}

/* --- plain ones --- */

static bool read_constant(struct soft_cpu *cpu, const struct msr_row *row, uint32_t index,
                          uint64_t *value)
{
    (void)cpu, (void)index;
    *value = row->bits;
    return true;
}

static bool read_field(struct soft_cpu *cpu, const struct msr_row *row, uint32_t index,
                       uint64_t *value)
{
    (void)index;
    *value = *field_of(cpu, row);
    return true;
}

static bool write_ignored(struct soft_cpu *cpu, const struct msr_row *row, uint32_t index,
                          uint64_t value)
{
    (void)cpu, (void)row, (void)index, (void)value;
    return true;
}

/* Write-only commands: nothing to do here, but bits without meaning are refused. */
static bool write_command(struct soft_cpu *cpu, const struct msr_row *row, uint32_t index,
                          uint64_t value)
{
    (void)cpu, (void)index;
    return (value & ~row->bits) == 0;
}

static bool write_masked(struct soft_cpu *cpu, const struct msr_row *row, uint32_t index,
                         uint64_t value)
{
    (void)index;
    if ((value & ~row->bits) != 0) {
        return false;
    }
    *field_of(cpu, row) = value;
    return true;
}

static bool write_canonical(struct soft_cpu *cpu, const struct msr_row *row, uint32_t index,
                            uint64_t value)
{
    (void)index;
    if (!soft_canonical(cpu, value)) {
        return false;
    }
    *field_of(cpu, row) = value;
    return true;
}

/* --- those with effects --- */

static bool read_tsc(struct soft_cpu *cpu, const struct msr_row *row, uint32_t index,
                     uint64_t *value)
{
    (void)row, (void)index;
    *value = soft_guest_tsc(cpu);
    return true;
}

static bool write_tsc(struct soft_cpu *cpu, const struct msr_row *row, uint32_t index,
                      uint64_t value)
{
    (void)row, (void)index;
    cpu->tsc_offset = value - soft_host_tsc();
    soft_update_system_time(cpu);
    return true;
}

static bool write_misc_enable(struct soft_cpu *cpu, const struct msr_row *row, uint32_t index,
                              uint64_t value)
{
    (void)row, (void)index;
    cpu->msr.misc_enable = (value & MISC_ENABLE_WRITABLE) | MISC_ENABLE_FIXED;
    return true;
}

static bool read_misc_enable(struct soft_cpu *cpu, const struct msr_row *row, uint32_t index,
                             uint64_t *value)
{
    (void)row, (void)index;
    *value = cpu->msr.misc_enable | MISC_ENABLE_FIXED;
    return true;
}

static bool write_efer(struct soft_cpu *cpu, const struct msr_row *row, uint32_t index,
                       uint64_t value)
{
    (void)row, (void)index;
    return soft_write_efer(cpu, value);
}

static bool write_clock(struct soft_cpu *cpu, const struct msr_row *row, uint32_t index,
                        uint64_t value)
{
    (void)row;
    bool wall = index == X86_MSR_KVM_WALL_CLOCK || index == X86_MSR_KVM_WALL_CLOCK_NEW;
    return wall ? soft_write_wall_clock(cpu, value) : soft_write_system_time(cpu, value);
}

static struct x86_segment *segment_of_base(struct soft_cpu *cpu, uint32_t index)
{
    return &cpu->segment[index == X86_MSR_IA32_FS_BASE ? X86_FS : X86_GS];
}

static bool read_segment_base(struct soft_cpu *cpu, const struct msr_row *row, uint32_t index,
                              uint64_t *value)
{
    (void)row;
    *value = segment_of_base(cpu, index)->base;
    return true;
}

static bool write_segment_base(struct soft_cpu *cpu, const struct msr_row *row, uint32_t index,
                               uint64_t value)
{
    (void)row;
    if (!soft_canonical(cpu, value)) {
        return false;
    }
    segment_of_base(cpu, index)->base = value;
    soft_mode_changed(cpu);
    return true;
}

/* --- memory types --- */

static bool write_pat(struct soft_cpu *cpu, const struct msr_row *row, uint32_t index,
                      uint64_t value)
{
    (void)row, (void)index;
    if (!x86_are_memory_types(value, true)) {
        return false;
    }
    cpu->msr.pat = value;
    return true;
}

static bool write_mtrr_default(struct soft_cpu *cpu, const struct msr_row *row, uint32_t index,
                               uint64_t value)
{
    (void)index;
    if ((value & ~row->bits) != 0 || !x86_is_mtrr_type(value)) {
        return false;
    }
    cpu->msr.mtrr_def_type = value;
    return true;
}

static bool read_mtrr_variable(struct soft_cpu *cpu, const struct msr_row *row, uint32_t index,
                               uint64_t *value)
{
    *value = cpu->msr.mtrr_variable[index - row->first];
    return true;
}

static bool write_mtrr_variable(struct soft_cpu *cpu, const struct msr_row *row, uint32_t index,
                                uint64_t value)
{
    bool is_mask = (index & 1) != 0;
    uint64_t allowed = (PHYSICAL_ADDRESS_MASK & ~SOFT_PAGE_MASK) |
                       (is_mask ? X86_MTRR_PHYSMASK_VALID : UINT64_C(0xff));
    if ((value & ~allowed) != 0 || (!is_mask && !x86_is_mtrr_type(value))) {
        return false;
    }
    cpu->msr.mtrr_variable[index - row->first] = value;
    return true;
}

/* The eleven fixed ranges are spread over three runs of indices. */
static uint64_t *mtrr_fixed(struct soft_cpu *cpu, uint32_t index)
{
    unsigned int number = 0;
    if (index >= X86_MSR_IA32_MTRR_FIX4K_C0000) {
        number = index - X86_MSR_IA32_MTRR_FIX4K_C0000 + 3;
    } else if (index >= X86_MSR_IA32_MTRR_FIX16K_80000) {
        number = index - X86_MSR_IA32_MTRR_FIX16K_80000 + 1;
    }
    return &cpu->msr.mtrr_fixed[number];
}

static bool read_mtrr_fixed(struct soft_cpu *cpu, const struct msr_row *row, uint32_t index,
                            uint64_t *value)
{
    (void)row;
    *value = *mtrr_fixed(cpu, index);
    return true;
}

static bool write_mtrr_fixed(struct soft_cpu *cpu, const struct msr_row *row, uint32_t index,
                             uint64_t value)
{
    (void)row;
    if (!x86_are_memory_types(value, false)) {
        return false;
    }
    *mtrr_fixed(cpu, index) = value;
    return true;
}

/* --- the table, by ascending index --- */

#define ONE(index)             .first = (index), .last = (index)
#define FIELD(name)            .read = read_field, .offset = offsetof(struct soft_cpu, name)
#define CONSTANT(value)        .read = read_constant, .bits = (value)
#define MTRR_DEF_TYPE_WRITABLE (0xff | X86_MTRR_DEF_TYPE_FE | X86_MTRR_DEF_TYPE_E)

static const struct msr_row msr_rows[] = {
    {.first = X86_MSR_IA32_P5_MC_ADDR,
     .last = X86_MSR_IA32_P5_MC_TYPE,
     CONSTANT(0),
     .write = write_ignored},
    {ONE(X86_MSR_IA32_TSC), .read = read_tsc, .write = write_tsc},
    {ONE(X86_MSR_KVM_WALL_CLOCK), FIELD(clock_wall_msr), .write = write_clock},
    {ONE(X86_MSR_KVM_SYSTEM_TIME), FIELD(clock_system_time_msr), .write = write_clock},
    {ONE(X86_MSR_IA32_PLATFORM_ID), CONSTANT(0)},
    {ONE(X86_MSR_EBL_CR_POWERON), CONSTANT(0), .write = write_ignored},
    {ONE(X86_MSR_SMI_COUNT), CONSTANT(0)},
    {ONE(X86_MSR_IA32_FEATURE_CONTROL), CONSTANT(FEATURE_CONTROL_LOCK)},
    {ONE(X86_MSR_IA32_SPEC_CTRL), FIELD(msr.spec_ctrl), .write = write_masked,
     .bits = X86_SPEC_CTRL_IBRS | X86_SPEC_CTRL_STIBP | X86_SPEC_CTRL_SSBD | SPEC_CTRL_BHI_DIS_S},
    {ONE(X86_MSR_IA32_PRED_CMD), .write = write_command, .bits = 1},
    {ONE(X86_MSR_IA32_BIOS_UPDT_TRIG), .write = write_ignored},
    {ONE(X86_MSR_IA32_BIOS_SIGN_ID), CONSTANT(MICROCODE_REVISION), .write = write_ignored},
    {ONE(X86_MSR_PLATFORM_INFO), CONSTANT(0)},
    {ONE(X86_MSR_IA32_MTRRCAP), CONSTANT(MTRR_CAPABILITIES)},
    {ONE(X86_MSR_IA32_ARCH_CAPABILITIES), CONSTANT(ARCH_CAPABILITIES)},
    {ONE(X86_MSR_MISC_FEATURES_ENABLES), CONSTANT(0), .write = write_command},
    {ONE(X86_MSR_IA32_SYSENTER_CS), FIELD(msr.sysenter_cs), .write = write_masked,
     .bits = 0xffffffff},
    {ONE(X86_MSR_IA32_SYSENTER_ESP), FIELD(msr.sysenter_esp), .write = write_canonical},
    {ONE(X86_MSR_IA32_SYSENTER_EIP), FIELD(msr.sysenter_eip), .write = write_canonical},
    {ONE(X86_MSR_IA32_MCG_CAP), CONSTANT(0)},
    {ONE(X86_MSR_IA32_MCG_STATUS), CONSTANT(0), .write = write_ignored},
    {ONE(X86_MSR_IA32_PERF_STATUS), CONSTANT(0)},
    {ONE(X86_MSR_IA32_MISC_ENABLE), .read = read_misc_enable, .write = write_misc_enable},
    {ONE(X86_MSR_IA32_DEBUGCTL), CONSTANT(0), .write = write_ignored},
    {.first = X86_MSR_IA32_MTRR_PHYSBASE0,
     .last = X86_MSR_IA32_MTRR_PHYSBASE0 + 2 * MTRR_VARIABLE_COUNT - 1,
     .read = read_mtrr_variable,
     .write = write_mtrr_variable},
    {ONE(X86_MSR_IA32_MTRR_FIX64K_00000), .read = read_mtrr_fixed, .write = write_mtrr_fixed},
    {.first = X86_MSR_IA32_MTRR_FIX16K_80000,
     .last = X86_MSR_IA32_MTRR_FIX16K_A0000,
     .read = read_mtrr_fixed,
     .write = write_mtrr_fixed},
    {.first = X86_MSR_IA32_MTRR_FIX4K_C0000,
     .last = X86_MSR_IA32_MTRR_FIX4K_F8000,
     .read = read_mtrr_fixed,
     .write = write_mtrr_fixed},
    {ONE(X86_MSR_IA32_PAT), FIELD(msr.pat), .write = write_pat},
    {ONE(X86_MSR_IA32_MTRR_DEF_TYPE), FIELD(msr.mtrr_def_type), .write = write_mtrr_default,
     .bits = MTRR_DEF_TYPE_WRITABLE},
    {ONE(X86_MSR_IA32_XSS), FIELD(msr.xss), .write = write_masked, .bits = 0},
    {ONE(X86_MSR_KVM_WALL_CLOCK_NEW), FIELD(clock_wall_msr), .write = write_clock},
    {ONE(X86_MSR_KVM_SYSTEM_TIME_NEW), FIELD(clock_system_time_msr), .write = write_clock},
    {ONE(X86_MSR_IA32_EFER), FIELD(efer), .write = write_efer},
    {ONE(X86_MSR_IA32_STAR), FIELD(msr.star), .write = write_masked, .bits = UINT64_MAX},
    {ONE(X86_MSR_IA32_LSTAR), FIELD(msr.lstar), .write = write_canonical},
    {ONE(X86_MSR_IA32_CSTAR), FIELD(msr.cstar), .write = write_canonical},
    {ONE(X86_MSR_IA32_FMASK), FIELD(msr.fmask), .write = write_masked, .bits = 0xffffffff},
    {ONE(X86_MSR_IA32_FS_BASE), .read = read_segment_base, .write = write_segment_base},
    {ONE(X86_MSR_IA32_GS_BASE), .read = read_segment_base, .write = write_segment_base},
    {ONE(X86_MSR_IA32_KERNEL_GS_BASE), FIELD(msr.kernel_gs_base), .write = write_canonical},
    {ONE(X86_MSR_IA32_TSC_AUX), FIELD(msr.tsc_aux), .write = write_masked, .bits = 0xffffffff},
};

static const struct msr_row *find_row(uint32_t index)
{
    size_t low = 0, high = sizeof msr_rows / sizeof msr_rows[0];
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (index > msr_rows[middle].last) {
            low = middle + 1;
        } else if (index < msr_rows[middle].first) {
            high = middle;
        } else {
            return &msr_rows[middle];
        }
    }
    return NULL;
}

bool soft_read_msr(struct soft_cpu *cpu, uint32_t index, uint64_t *value)
{
    const struct msr_row *row = find_row(index);
    return row != NULL && row->read != NULL && row->read(cpu, row, index, value);
}

bool soft_write_msr(struct soft_cpu *cpu, uint32_t index, uint64_t value)
{
    const struct msr_row *row = find_row(index);
    return row != NULL && row->write != NULL && row->write(cpu, row, index, value);
}

/* --- instructions --- */

static bool belongs_to_apic(uint32_t index)
{
    return index == X86_MSR_IA32_APIC_BASE || index == X86_MSR_IA32_TSC_DEADLINE ||
           (index >= X86_MSR_IA32_X2APIC_FIRST && index <= X86_MSR_IA32_X2APIC_LAST);
}

static void leave_for_apic(struct soft_cpu *cpu, enum exit_reason reason, uint32_t index,
                           uint64_t value)
{
    cpu->exit->reason = reason;
    cpu->exit->msr.index = index;
    cpu->exit->msr.value = value;
    cpu->exit->msr.refused = false;
    cpu->completing = true;
    cpu->completing_rip = cpu->rip;
    soft_leave_after(cpu);
}

static void set_edx_eax(struct soft_cpu *cpu, uint64_t value)
{
    cpu->gpr[X86_RAX] = value & 0xffffffff;
    cpu->gpr[X86_RDX] = value >> 32;
}

void soft_rdmsr(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    soft_require_cpl0(cpu);
    uint32_t index = (uint32_t)cpu->gpr[X86_RCX];
    uint64_t value;
    if (belongs_to_apic(index)) {
        leave_for_apic(cpu, EXIT_RDMSR, index, 0);
        return;
    }
    if (!soft_read_msr(cpu, index, &value)) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    set_edx_eax(cpu, value);
}

void soft_wrmsr(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    soft_require_cpl0(cpu);
    uint32_t index = (uint32_t)cpu->gpr[X86_RCX];
    uint64_t value = cpu->gpr[X86_RDX] << 32 | (cpu->gpr[X86_RAX] & 0xffffffff);
    if (belongs_to_apic(index)) {
        leave_for_apic(cpu, EXIT_WRMSR, index, value);
        return;
    }
    if (!soft_write_msr(cpu, index, value)) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
}

void soft_msr_complete(struct soft_cpu *cpu)
{
    const struct vcpu_exit *exit = cpu->exit;
    cpu->completing = false;
    if (exit->msr.refused) {
        cpu->rip = cpu->completing_rip;
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    if (exit->reason == EXIT_RDMSR) {
        set_edx_eax(cpu, exit->msr.value);
    }
    if (exit->msr.index == X86_MSR_IA32_APIC_BASE) {
        cpu->msr.apic_base = exit->msr.value; /* CPUID shows its enable bit */
    }
}
