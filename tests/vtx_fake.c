#include "vtx_fake.h"

#include <stdlib.h>
#include <string.h>

#include "x86/entry_checks.h"
#include "x86/msr.h"

struct fake_processor fake;
unsigned int fake_pages_in_use, fake_pages_left;

/* ---- MSRs and CPUID ---- */

static uint64_t *find_msr(uint32_t index)
{
    for (unsigned int i = 0; i < fake.msr_count; i++) {
        if (fake.msr[i].index == index) {
            return &fake.msr[i].value;
        }
    }
    return NULL;
}

uint64_t fake_msr(uint32_t index)
{
    const uint64_t *found = find_msr(index);
    return found != NULL ? *found : 0;
}

void fake_set_msr(uint32_t index, uint64_t value)
{
    uint64_t *found = find_msr(index);
    if (found == NULL && fake.msr_count < FAKE_MSRS_MAX) {
        fake.msr[fake.msr_count].index = index;
        found = &fake.msr[fake.msr_count++].value;
    }
    if (found != NULL) {
        *found = value;
    }
}

uint64_t vtx_rdmsr(uint32_t index)
{
    fake.unknown_msrs += find_msr(index) == NULL;
    return fake_msr(index);
}

void vtx_wrmsr(uint32_t index, uint64_t value)
{
    fake.unknown_msrs += find_msr(index) == NULL;
    fake_set_msr(index, value);
}

struct cpuid_registers vtx_cpuid(uint32_t leaf, uint32_t subleaf)
{
    switch (leaf) {
    case 0:
        return (struct cpuid_registers){.eax = 0x16, .ebx = 0x756e6547};
    case 1:
        return fake.features;
    case 7:
        return subleaf == 0 ? fake.extended : (struct cpuid_registers){0};
    case 0xd:
        return subleaf == 0   ? (struct cpuid_registers){7, 832, 832, 0}
               : subleaf == 2 ? (struct cpuid_registers){256, 576, 0, 0}
                              : (struct cpuid_registers){0};
    case 0x80000000:
        return (struct cpuid_registers){.eax = 0x80000008};
    case 0x80000001:
        return fake.amd;
    case 0x80000008:
        return (struct cpuid_registers){.eax = 48 << 8 | 39};
    default:
        return (struct cpuid_registers){0};
    }
}

#define CONTROLS(ones, may) ((uint64_t)(may) << 32 | (ones))

/* As of Bochs' Haswell. */
static const struct {
    uint32_t index;
    uint64_t value;
} msrs_at_reset[] = {
    {X86_MSR_IA32_FEATURE_CONTROL, 5},
    {X86_MSR_IA32_VMX_BASIC, UINT64_C(0x00d810000000002b)},
    {X86_MSR_IA32_VMX_PINBASED_CTLS, CONTROLS(0x16, 0x7f)},
    {X86_MSR_IA32_VMX_PROCBASED_CTLS, CONTROLS(0x0401e172, 0xfff9fffe)},
    {X86_MSR_IA32_VMX_EXIT_CTLS, CONTROLS(0x36dff, 0x7fffff)},
    {X86_MSR_IA32_VMX_ENTRY_CTLS, CONTROLS(0x11ff, 0xffff)},
    {X86_MSR_IA32_VMX_MISC, 0x200401e0},
    {X86_MSR_IA32_VMX_CR0_FIXED0, 0x80000021},
    {X86_MSR_IA32_VMX_CR0_FIXED1, 0xffffffff},
    {X86_MSR_IA32_VMX_CR4_FIXED0, 0x2000},
    {X86_MSR_IA32_VMX_CR4_FIXED1, 0x3767ff},
    {X86_MSR_IA32_VMX_PROCBASED_CTLS2, CONTROLS(0, 0x00013fff)},
    {X86_MSR_IA32_VMX_EPT_VPID_CAP, UINT64_C(0xf0106334141) | VMX_EPT_1G},
    {X86_MSR_IA32_VMX_TRUE_PINBASED_CTLS, CONTROLS(0x16, 0x7f)},
    {X86_MSR_IA32_VMX_TRUE_PROCBASED_CTLS, CONTROLS(0x04006172, 0xfff9fffe)},
    {X86_MSR_IA32_VMX_TRUE_EXIT_CTLS, CONTROLS(0x36dfb, 0x7fffff)},
    {X86_MSR_IA32_VMX_TRUE_ENTRY_CTLS, CONTROLS(0x11fb, 0xffff)},
    {X86_MSR_IA32_SYSENTER_CS, 0x10},
    {X86_MSR_IA32_SYSENTER_ESP, UINT64_C(0xffffc90000001000)},
    {X86_MSR_IA32_SYSENTER_EIP, UINT64_C(0xffffffff81000000)},
    {X86_MSR_IA32_EFER, 0xd01},
    {X86_MSR_IA32_PAT, X86_PAT_RESET},
    {X86_MSR_IA32_FS_BASE, 0x7000},
    {X86_MSR_IA32_GS_BASE, UINT64_C(0xffff888000000000)},
    {X86_MSR_IA32_STAR, 0x100},
    {X86_MSR_IA32_LSTAR, 0x200},
    {X86_MSR_IA32_CSTAR, 0x300},
    {X86_MSR_IA32_FMASK, 0x400},
    {X86_MSR_IA32_KERNEL_GS_BASE, 0x500},
    {X86_MSR_IA32_TSC_AUX, 0x600},
    {X86_MSR_IA32_MCG_STATUS, 0x5},
    {X86_MSR_IA32_DEBUGCTL, 0x4000},
};

void fake_reset(void)
{
    memset(&fake, 0, sizeof(fake));
    fake.cr0 = 0x80050033;
    fake.cr3 = 0x1234000;
    fake.cr4 = 0x1406e0 | X86_CR4_OSXSAVE;
    fake.dr[6] = X86_DR6_ONES;
    fake.dr[7] = X86_DR7_ONE;
    fake.xcr0 = 7;
    fake.tsc = 1000000;
    fake.features = (struct cpuid_registers){0x306c3, 0, 0xffffffff, 0xffffffff};
    fake.extended = (struct cpuid_registers){0, 0xffffffff, 0, 0};
    fake.amd = (struct cpuid_registers){0, 0, 0x121, 0x2c100800};
    for (size_t i = 0; i < sizeof(msrs_at_reset) / sizeof(msrs_at_reset[0]); i++) {
        fake_set_msr(msrs_at_reset[i].index, msrs_at_reset[i].value);
    }
    fake_pages_left = FAKE_PAGES_MAX;
}

/* ---- VMX instructions ---- */

enum vtx_result vtx_vmxon(uint64_t physical)
{
    (void)physical;
    if (fake.vmxon_result == VTX_SUCCEED) {
        fake.in_root = true;
    }
    return fake.vmxon_result;
}

enum vtx_result vtx_vmxoff(void)
{
    fake.in_root = false;
    return VTX_SUCCEED;
}

enum vtx_result vtx_vmclear(uint64_t physical)
{
    if (fake.current == physical) {
        fake.current = 0;
    }
    fake.launched = false;
    return VTX_SUCCEED;
}

enum vtx_result vtx_vmptrld(uint64_t physical)
{
    if (fake.vmptrld_result == VTX_SUCCEED) {
        fake.current = physical;
    }
    return fake.vmptrld_result;
}

static bool is_there(uint32_t encoding)
{
    return vmcs_field_find(encoding) != NULL && encoding + 1 != fake.missing_field;
}

enum vtx_result vtx_vmread(uint32_t encoding, uint64_t *value)
{
    *value = 0;
    if (fake.current == 0) {
        return VTX_FAIL_INVALID;
    }
    if (!is_there(encoding)) {
        fake.vmcs[VMCS_VM_INSTRUCTION_ERROR] = 12;
        return VTX_FAIL_VALID;
    }
    *value = fake.vmcs[encoding];
    return VTX_SUCCEED;
}

/* Bits beyond a field's width are dropped; of the read-only fields none is written. */
enum vtx_result vtx_vmwrite(uint32_t encoding, uint64_t value)
{
    if (fake.current == 0) {
        return VTX_FAIL_INVALID;
    }
    if (!is_there(encoding) || (encoding >> 10 & 3) == 1) {
        fake.vmcs[VMCS_VM_INSTRUCTION_ERROR] = is_there(encoding) ? 13 : 12;
        return VTX_FAIL_VALID;
    }
    unsigned int bits = vmcs_field_bits(vmcs_field_find(encoding));
    fake.vmcs[encoding] = bits < 64 ? value & ((UINT64_C(1) << bits) - 1) : value;
    return VTX_SUCCEED;
}

enum vtx_result vtx_invept(uint64_t type, uint64_t ept_pointer)
{
    (void)type, (void)ept_pointer;
    fake.invept_count++;
    return VTX_SUCCEED;
}

enum vtx_result vtx_invvpid(uint64_t type, uint16_t vpid, uint64_t linear)
{
    (void)type, (void)vpid, (void)linear;
    fake.invvpid_count++;
    return VTX_SUCCEED;
}

uint64_t fake_field(uint32_t encoding)
{
    return fake.vmcs[encoding];
}

void fake_set_field(uint32_t encoding, uint64_t value)
{
    fake.vmcs[encoding] = value;
}

void fake_queue(struct fake_exit exit)
{
    if (fake.next_exit == fake.exit_count) {
        fake.next_exit = fake.exit_count = 0;
    }
    if (fake.exit_count < FAKE_EXITS_MAX) {
        fake.exits[fake.exit_count++] = exit;
    }
}

/* ---- entries ---- */

static bool controls_are_allowed(void)
{
    static const struct {
        uint32_t encoding, msr;
    } fields[] = {
        {VMCS_PIN_BASED_CONTROLS, X86_MSR_IA32_VMX_TRUE_PINBASED_CTLS},
        {VMCS_PRIMARY_CONTROLS, X86_MSR_IA32_VMX_TRUE_PROCBASED_CTLS},
        {VMCS_SECONDARY_CONTROLS, X86_MSR_IA32_VMX_PROCBASED_CTLS2},
        {VMCS_VM_EXIT_CONTROLS, X86_MSR_IA32_VMX_TRUE_EXIT_CTLS},
        {VMCS_VM_ENTRY_CONTROLS, X86_MSR_IA32_VMX_TRUE_ENTRY_CTLS},
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        uint64_t allowed = fake_msr(fields[i].msr), value = fake.vmcs[fields[i].encoding];
        if (((uint32_t)allowed & ~value) != 0 || (value & ~(allowed >> 32)) != 0) {
            return false;
        }
    }
    return true;
}

static bool guest_state_is_valid(void)
{
    struct entry_guest_state state;
    struct entry_violation violation;
    memset(&state, 0, sizeof(state));
    entry_processor_init(&state.processor);
    state.processor.cr4_fixed1 = fake_msr(X86_MSR_IA32_VMX_CR4_FIXED1);
    state.processor.cr0_fixed0 = fake_msr(X86_MSR_IA32_VMX_CR0_FIXED0);
    state.processor.physical_address_bits = 39;
    for (unsigned int id = 1; id < ENTRY_FIELD_COUNT; id++) {
        for (unsigned int k = 0; k < entry_instance_count(entry_fields[id].instances); k++) {
            if (entry_fields[id].encoding != 0) {
                uint32_t encoding = entry_fields[id].encoding + k * ENTRY_ENCODING_STRIDE;
                entry_field_set(&state, (enum entry_field_id)id, k, fake.vmcs[encoding]);
            }
        }
    }
    return entry_checks_run(&state, &violation, 1) == 0;
}

static enum vtx_result fail(uint32_t number)
{
    fake.vmcs[VMCS_VM_INSTRUCTION_ERROR] = number;
    return VTX_FAIL_VALID;
}

static void take_event(void)
{
    uint64_t *information = &fake.vmcs[VMCS_VM_ENTRY_INTERRUPTION_INFORMATION];
    bool valid = (*information & ENTRY_INTERRUPTION_VALID) != 0;
    fake.injected = valid ? (uint32_t)*information : 0;
    fake.injected_error = (uint32_t)fake.vmcs[VMCS_VM_ENTRY_EXCEPTION_ERROR_CODE];
    fake.injected_length = (uint32_t)fake.vmcs[VMCS_VM_ENTRY_INSTRUCTION_LENGTH];
    *information &= ~(uint64_t)ENTRY_INTERRUPTION_VALID;
}

static void take_exit(struct fake_exit exit)
{
    fake_set_msr(X86_MSR_IA32_DEBUGCTL, 0);
    fake.vmcs[VMCS_EXIT_REASON] = exit.reason;
    fake.vmcs[VMCS_EXIT_QUALIFICATION] = exit.qualification;
    fake.vmcs[VMCS_VM_EXIT_INSTRUCTION_LENGTH] = exit.length;
    fake.vmcs[VMCS_VM_EXIT_INSTRUCTION_INFORMATION] = exit.information;
    fake.vmcs[VMCS_GUEST_LINEAR_ADDRESS] = exit.linear;
    fake.vmcs[VMCS_GUEST_PHYSICAL_ADDRESS] = exit.physical;
    fake.vmcs[VMCS_VM_EXIT_INTERRUPTION_INFORMATION] = exit.interruption;
    fake.vmcs[VMCS_VM_EXIT_INTERRUPTION_ERROR_CODE] = exit.interruption_error;
    fake.vmcs[VMCS_IDT_VECTORING_INFORMATION] = exit.vectoring;
    fake.vmcs[VMCS_IDT_VECTORING_ERROR_CODE] = exit.vectoring_error;
    if (exit.reason == VMX_REASON_EXCEPTION_OR_NMI && (uint8_t)exit.interruption == X86_VECTOR_DB) {
        fake.vmcs[VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS] = 0; /* it is no longer pending */
    }
    uint64_t efer = fake.vmcs[VMCS_GUEST_IA32_EFER];
    if ((efer & X86_EFER_LMA) != 0) {
        fake.vmcs[VMCS_VM_ENTRY_CONTROLS] |= ENTRY_IA32E_MODE_GUEST;
    } else {
        fake.vmcs[VMCS_VM_ENTRY_CONTROLS] &= ~(uint64_t)ENTRY_IA32E_MODE_GUEST;
    }
}

enum vtx_result vtx_enter(struct vtx_registers *registers, bool launched)
{
    (void)registers;
    if (fake.current == 0) {
        return VTX_FAIL_INVALID;
    }
    if (fake.entry_error != 0) {
        return fail(fake.entry_error);
    }
    if (launched != fake.launched) {
        return fail(launched ? 5 : 4);
    }
    if (!controls_are_allowed()) {
        return fail(7);
    }
    if (!guest_state_is_valid()) {
        /* Nothing of the guest's is saved. */
        fake.vmcs[VMCS_EXIT_REASON] = VMX_REASON_ENTRY_GUEST_STATE | VMX_REASON_ENTRY_FAILED;
        fake.vmcs[VMCS_EXIT_QUALIFICATION] = 0;
        return VTX_SUCCEED;
    }
    fake.launched = true;
    fake.entries++;
    take_event();
    if (fake.guest != NULL) {
        fake.guest();
    }
    struct fake_exit exit = {.reason = VMX_REASON_EXTERNAL_INTERRUPT};
    if (fake.next_exit < fake.exit_count) {
        exit = fake.exits[fake.next_exit++];
    }
    take_exit(exit);
    return VTX_SUCCEED;
}

uint64_t vtx_exit_address(void)
{
    return UINT64_C(0xffffffffa0001000);
}

void vtx_call_nmi_handler(void)
{
    fake.nmi_count++;
}

void vtx_call_machine_check_handler(void)
{
    fake.machine_check_count++;
}

void vtx_read_host_registers(struct vtx_host_registers *registers)
{
    *registers = (struct vtx_host_registers){.cs = 0x10,
                                             .ss = 0x18,
                                             .ds = 0x2b, /* a user's: not for the VMCS */
                                             .tr = 0x40,
                                             .gdt_base = UINT64_C(0xfffffe0000001000),
                                             .idt_base = UINT64_C(0xfffffe0000000000),
                                             .tr_base = UINT64_C(0xfffffe0000003000)};
}

void vtx_restore_host_registers(const struct vtx_host_registers *registers)
{
    fake.host_restored = registers->gdt_base == UINT64_C(0xfffffe0000001000);
}

/* ---- registers ---- */

uint64_t vtx_read_cr0(void)
{
    return fake.cr0;
}

uint64_t vtx_read_cr2(void)
{
    return fake.cr2;
}

uint64_t vtx_read_cr3(void)
{
    return fake.cr3;
}

uint64_t vtx_read_cr4(void)
{
    return fake.cr4;
}

void vtx_write_cr0(uint64_t value)
{
    fake.cr0 = value;
}

void vtx_write_cr2(uint64_t value)
{
    fake.cr2 = value;
}

void vtx_write_cr4(uint64_t value)
{
    fake.cr4 = value;
}

uint64_t vtx_read_dr(unsigned int number)
{
    return fake.dr[number];
}

void vtx_write_dr(unsigned int number, uint64_t value)
{
    fake.moved_breakpoints += number < 4 && (fake.dr[7] & 0xff) != 0;
    fake.dr[number] = value;
}

uint64_t vtx_rdtsc(void)
{
    return fake.tsc;
}

bool vtx_rdrand(uint64_t *value)
{
    *value = UINT64_C(0x1122334455667788);
    return true;
}

bool vtx_rdseed(uint64_t *value)
{
    *value = 0;
    return false;
}

uint64_t vtx_xgetbv(void)
{
    return fake.xcr0;
}

void vtx_xsetbv(uint64_t value)
{
    fake.xcr0 = value;
}

void vtx_xsave(void *area, uint64_t components)
{
    (void)area;
    fake.last_xsave = components & fake.xcr0;
}

void vtx_xrstor(const void *area, uint64_t components)
{
    (void)area;
    fake.last_xrstor = components & fake.xcr0;
}

void vtx_fxsave(void *area)
{
    (void)area;
}

void vtx_fxrstor(const void *area)
{
    (void)area;
}

/* ---- memory ---- */

static uint8_t pages[FAKE_PAGES_MAX][VTX_PAGE_SIZE] __attribute__((aligned(4096)));
static bool page_used[FAKE_PAGES_MAX];
static uint8_t memory[FAKE_MEMORY] __attribute__((aligned(4096)));

static void *allocate_page(void *context, uint64_t *physical)
{
    (void)context;
    for (unsigned int i = 0; fake_pages_left != 0 && i < FAKE_PAGES_MAX; i++) {
        if (!page_used[i]) {
            page_used[i] = true;
            memset(pages[i], 0, sizeof(pages[i]));
            *physical = FAKE_PHYSICAL + i * VTX_PAGE_SIZE;
            fake_pages_in_use++;
            fake_pages_left--;
            return pages[i];
        }
    }
    return NULL;
}

static void free_page(void *context, void *page)
{
    (void)context;
    size_t number = (size_t)((uint8_t *)page - pages[0]) / VTX_PAGE_SIZE;
    if (number < FAKE_PAGES_MAX && page_used[number]) {
        page_used[number] = false;
        fake_pages_in_use--;
    } else {
        abort(); /* freed twice, or never allocated */
    }
}

static void *pointer(void *context, uint64_t physical)
{
    (void)context;
    if (physical >= FAKE_RAM && physical - FAKE_RAM < FAKE_MEMORY) {
        return memory + (physical - FAKE_RAM);
    }
    if (physical >= FAKE_PHYSICAL && physical - FAKE_PHYSICAL < sizeof(pages)) {
        return pages[0] + (physical - FAKE_PHYSICAL);
    }
    return NULL;
}

const struct vtx_host fake_host = {
    .allocate_page = allocate_page, .free_page = free_page, .pointer = pointer};

uint8_t *fake_memory(uint64_t guest_physical)
{
    return memory + guest_physical;
}
