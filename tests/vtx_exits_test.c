/* VT-x: every exit reason is handled or comes out in words; the instructions behind them. */
#include <string.h>

#include "check.h"
#include "vtx/core/injection.h"
#include "vtx_fake.h"
#include "x86/msr.h"
#include "x86/vmx_text.h"

static struct fake_machine machine;

static uint64_t *gpr(enum x86_gpr number)
{
    return &machine.vcpu->registers.gpr[number];
}

static uint64_t rip(void)
{
    return fake_field(VMCS_GUEST_RIP);
}

/* Runs one exit that the core resolves itself: the run goes on, to the fake's next interrupt. */
static bool is_inside(struct fake_exit exit)
{
    uint64_t before = machine.vcpu->exits_inside;
    bool good = fake_run(&machine, exit) == VTX_INTERRUPT;
    return good && machine.vcpu->exits_inside == before + 1;
}

/* The guest's next entry delivers this exception. */
static bool raises(struct fake_exit exit, uint8_t vector)
{
    uint64_t before = rip();
    bool good = is_inside(exit);
    return good && (uint8_t)fake.injected == vector && (fake.injected & 0x700) == 0x300 &&
           rip() == before;
}

static bool leaves(struct fake_exit exit, enum exit_reason reason)
{
    return fake_run(&machine, exit) == VTX_EXIT && machine.vcpu->exit.reason == reason;
}

/* Whatever the processor says, something sensible happens, and it is counted. */
static void test_every_reason(void)
{
    for (uint32_t reason = 0; reason < VMX_REASON_COUNT + 10; reason++) {
        fake_machine_begin(&machine, VTX_TRAP_ALL, FAKE_LONG);
        enum vtx_outcome outcome =
            fake_run(&machine, (struct fake_exit){.reason = reason, .length = 2});
        const struct vcpu_exit *exit = &machine.vcpu->exit;
        if (reason < VMX_REASON_COUNT) {
            CHECK_EQUAL(machine.vcpu->exits[reason], 1);
        }
        if (outcome == VTX_EXIT && exit->reason == EXIT_INTERNAL) {
            CHECK(exit->internal.text[0] != '\0');
        }
        if (strstr(vmx_reason_name(reason), "did not have") != NULL) {
            CHECK(outcome == VTX_EXIT && exit->reason == EXIT_INTERNAL);
            CHECK(strstr(exit->internal.text, "not asked for") != NULL);
        }
        CHECK(outcome == VTX_EXIT || outcome == VTX_INTERRUPT || outcome == VTX_MEMORY);
        CHECK(fake_machine_stop(&machine));
    }
}

static void test_hints_and_refusals(void)
{
    static const uint32_t invalid[] = {
        VMX_REASON_GETSEC,  VMX_REASON_VMCLEAR, VMX_REASON_VMLAUNCH, VMX_REASON_VMPTRLD,
        VMX_REASON_VMPTRST, VMX_REASON_VMREAD,  VMX_REASON_VMRESUME, VMX_REASON_VMWRITE,
        VMX_REASON_VMXOFF,  VMX_REASON_VMXON,   VMX_REASON_INVEPT,   VMX_REASON_INVVPID,
        VMX_REASON_VMFUNC,  VMX_REASON_UMWAIT,  VMX_REASON_TPAUSE,   VMX_REASON_MWAIT,
        VMX_REASON_MONITOR,
    };
    fake_machine_begin(&machine, VTX_TRAP_ALL, FAKE_LONG);
    for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++) {
        CHECK(raises((struct fake_exit){.reason = invalid[i], .length = 3}, X86_VECTOR_UD));
        CHECK_EQUAL(fake.injected & ENTRY_INTERRUPTION_ERROR, 0);
    }
    CHECK(raises((struct fake_exit){.reason = VMX_REASON_RDPMC, .length = 2}, X86_VECTOR_GP));
    CHECK_EQUAL(fake.injected & ENTRY_INTERRUPTION_ERROR, ENTRY_INTERRUPTION_ERROR);
    uint64_t before = rip();
    CHECK(is_inside((struct fake_exit){.reason = VMX_REASON_PAUSE, .length = 2}));
    CHECK_EQUAL(rip(), before + 2);
    CHECK(is_inside((struct fake_exit){.reason = VMX_REASON_WBINVD, .length = 2}));
    CHECK(is_inside((struct fake_exit){.reason = VMX_REASON_INVD, .length = 2}));
    unsigned int flushes = fake.invvpid_count;
    CHECK(is_inside((struct fake_exit){.reason = VMX_REASON_INVLPG, .length = 3}));
    CHECK(is_inside((struct fake_exit){.reason = VMX_REASON_INVPCID, .length = 5}));
    CHECK_EQUAL(fake.invvpid_count, flushes + 2);
    CHECK_EQUAL(rip(), before + 14);
    /* A guest that is shown MONITOR may use it. */
    struct cpuid_entry *features = cpuid_find(&machine.cpuid, 1, 0);
    features->registers.ecx |= 1u << 3;
    CHECK(is_inside((struct fake_exit){.reason = VMX_REASON_MWAIT, .length = 3}));
    CHECK_EQUAL(rip(), before + 17);
    CHECK(fake_machine_stop(&machine));
}

/* RIP, shadows and single steps after an instruction that was emulated. */
static void test_skip(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    const struct fake_exit pause = {.reason = VMX_REASON_PAUSE, .length = 2};
    fake_set_field(VMCS_GUEST_INTERRUPTIBILITY_STATE, ENTRY_BLOCKING_STI);
    fake_set_field(VMCS_GUEST_RFLAGS, X86_FLAGS_ONE | X86_FLAGS_IF);
    CHECK(is_inside(pause));
    CHECK_EQUAL(fake_field(VMCS_GUEST_INTERRUPTIBILITY_STATE), 0);
    CHECK_EQUAL(fake_field(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS), 0);
    fake_set_field(VMCS_GUEST_RFLAGS, X86_FLAGS_ONE | X86_FLAGS_TF);
    CHECK(is_inside(pause));
    CHECK_EQUAL(fake_field(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS), ENTRY_PENDING_BS);
    fake_machine_set_mode(&machine, FAKE_PROTECTED);
    fake_set_field(VMCS_GUEST_RIP, 0xffffffff);
    CHECK(is_inside(pause));
    CHECK_EQUAL(rip(), 1);
    CHECK(fake_machine_stop(&machine));
}

static void test_cpuid(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    const struct fake_exit cpuid = {.reason = VMX_REASON_CPUID, .length = 2};
    *gpr(X86_RAX) = UINT64_C(0xffffffff00000001);
    *gpr(X86_RCX) = 0;
    CHECK(is_inside(cpuid));
    CHECK_EQUAL(*gpr(X86_RAX), 0x306c3);
    CHECK_EQUAL(*gpr(X86_RCX) & (1u << 5), 0);  /* no VMX */
    CHECK_EQUAL(*gpr(X86_RCX) & (1u << 27), 0); /* OSXSAVE follows CR4 */
    CHECK(*gpr(X86_RCX) >> 31 == 1);            /* a hypervisor */
    fake_set_field(VMCS_GUEST_CR4, fake_field(VMCS_GUEST_CR4) | X86_CR4_OSXSAVE);
    *gpr(X86_RAX) = 1;
    CHECK(is_inside(cpuid));
    CHECK((*gpr(X86_RCX) & (1u << 27)) != 0);
    /* Leaf 0DH: the size of what XCR0 enables. */
    *gpr(X86_RAX) = 0xd;
    *gpr(X86_RCX) = 0;
    machine.vcpu->xcr0 = 3;
    CHECK(is_inside(cpuid));
    CHECK_EQUAL(*gpr(X86_RBX), 576);
    *gpr(X86_RAX) = 0xd;
    *gpr(X86_RCX) = 0;
    machine.vcpu->xcr0 = 7;
    CHECK(is_inside(cpuid));
    CHECK_EQUAL(*gpr(X86_RBX), 832);
    machine.vcpu->xcr0 = 1;
    CHECK(fake_machine_stop(&machine));
}

static void test_cpuid_supported(void)
{
    static struct cpuid_table table;
    fake_reset();
    struct error error;
    vtx_capabilities_read(&machine.capabilities, &error);
    vtx_cpuid_supported(&machine.capabilities, &table);
    CHECK(cpuid_has(&table, X86_FEATURE_AVX) && cpuid_has(&table, X86_FEATURE_INVPCID));
    CHECK(cpuid_has(&table, X86_FEATURE_RDTSCP) && !cpuid_has(&table, X86_FEATURE_MONITOR));
    CHECK(!cpuid_has(&table, X86_FEATURE_VMX) && !cpuid_has(&table, X86_FEATURE_PKU));
    CHECK_EQUAL(cpuid_answer(&table, 0, 0).eax, 0xd);
    /* Without the control, or the host's CR4.OSXSAVE, the feature is not for guests. */
    machine.capabilities.allowed[VTX_CONTROLS_SECONDARY].may &=
        ~(VMX_SECONDARY_INVPCID | VMX_SECONDARY_RDTSCP);
    machine.capabilities.has_xsave = false;
    vtx_cpuid_supported(&machine.capabilities, &table);
    CHECK(!cpuid_has(&table, X86_FEATURE_AVX) && !cpuid_has(&table, X86_FEATURE_XSAVE));
    CHECK(!cpuid_has(&table, X86_FEATURE_INVPCID) && !cpuid_has(&table, X86_FEATURE_RDTSCP));
    CHECK_EQUAL(cpuid_answer(&table, 7, 0).ebx & 1u << 5, 0);              /* AVX2 */
    CHECK_EQUAL(cpuid_answer(&table, 7, 0).ecx & (1u << 9 | 1u << 10), 0); /* VAES, VPCLMULQDQ */
}

static void test_time_and_chance(void)
{
    fake_machine_begin(&machine, VTX_TRAP_ALL, FAKE_LONG);
    vtx_vcpu_set_tsc_offset(machine.vcpu, UINT64_C(0x500000000));
    CHECK_EQUAL(fake_field(VMCS_TSC_OFFSET), UINT64_C(0x500000000));
    CHECK(is_inside((struct fake_exit){.reason = VMX_REASON_RDTSC, .length = 2}));
    CHECK_EQUAL(*gpr(X86_RAX), 1000000);
    CHECK_EQUAL(*gpr(X86_RDX), 5);
    fake_set_msr(X86_MSR_IA32_TSC_AUX, 0x77);
    CHECK(is_inside((struct fake_exit){.reason = VMX_REASON_RDTSCP, .length = 3}));
    CHECK_EQUAL(*gpr(X86_RCX), 0x77);
    /* RDRAND r64 into R9, r16 into RBX; RDSEED has nothing at the moment. */
    *gpr(X86_RBX) = UINT64_MAX;
    CHECK(is_inside((struct fake_exit){
        .reason = VMX_REASON_RDRAND, .length = 4, .information = X86_R9 << 3 | 2u << 11}));
    CHECK_EQUAL(*gpr(X86_R9), UINT64_C(0x1122334455667788));
    CHECK((fake_field(VMCS_GUEST_RFLAGS) & X86_FLAGS_CF) != 0);
    CHECK(is_inside(
        (struct fake_exit){.reason = VMX_REASON_RDRAND, .length = 4, .information = X86_RBX << 3}));
    CHECK_EQUAL(*gpr(X86_RBX), UINT64_C(0xffffffffffff7788));
    CHECK(is_inside((struct fake_exit){
        .reason = VMX_REASON_RDSEED, .length = 4, .information = X86_RBX << 3 | 1u << 11}));
    CHECK_EQUAL(*gpr(X86_RBX), 0);
    CHECK_EQUAL(fake_field(VMCS_GUEST_RFLAGS) & X86_FLAGS_ARITHMETIC, 0);
    CHECK(fake_machine_stop(&machine));
}

static void test_xsetbv(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    const struct fake_exit xsetbv = {.reason = VMX_REASON_XSETBV, .length = 3};
    *gpr(X86_RAX) = 7;
    *gpr(X86_RDX) = 0;
    CHECK(is_inside(xsetbv));
    CHECK_EQUAL(machine.vcpu->xcr0, 7);
    CHECK_EQUAL(fake.xcr0, 7);
    static const struct {
        uint64_t rcx, rdx, rax;
    } refused[] = {{1, 0, 7}, {0, 1, 7}, {0, 0, 0}, {0, 0, 5}, {0, 0, 0xf}, {0, 0, 0x207}};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        *gpr(X86_RCX) = refused[i].rcx;
        *gpr(X86_RDX) = refused[i].rdx;
        *gpr(X86_RAX) = refused[i].rax;
        CHECK(raises(xsetbv, X86_VECTOR_GP));
    }
    CHECK_EQUAL(machine.vcpu->xcr0, 7);
    CHECK(fake_machine_stop(&machine));
}

/* Not for user programs; and 32 bits wide outside 64-bit mode. */
static void test_refused_hypercall(void)
{
    const struct fake_exit vmcall = {.reason = VMX_REASON_VMCALL, .length = 3};
    uint64_t before = rip(), cs = fake_field(VMCS_GUEST_CS_ACCESS_RIGHTS);
    fake_set_field(VMCS_GUEST_CS_ACCESS_RIGHTS, (cs & ~X86_SEGMENT_L) | X86_SEGMENT_DB);
    *gpr(X86_RAX) = UINT64_C(0x100000005);
    CHECK(leaves(vmcall, EXIT_HYPERCALL));
    CHECK_EQUAL(machine.vcpu->exit.hypercall.number, 5);
    CHECK(vtx_vcpu_complete(machine.vcpu));
    fake_set_field(VMCS_GUEST_CS_ACCESS_RIGHTS, cs | X86_SEGMENT_DPL);
    uint64_t ss = fake_field(VMCS_GUEST_SS_ACCESS_RIGHTS);
    fake_set_field(VMCS_GUEST_SS_ACCESS_RIGHTS, ss | X86_SEGMENT_DPL);
    fake_set_field(VMCS_GUEST_CS_SELECTOR, 0xb);
    fake_set_field(VMCS_GUEST_SS_SELECTOR, 0x13);
    CHECK_EQUAL(fake_run(&machine, vmcall), VTX_INTERRUPT);
    CHECK_EQUAL(*gpr(X86_RAX), (uint64_t)-1);
    CHECK_EQUAL(rip(), before + 6);
    fake_machine_set_mode(&machine, FAKE_LONG);
}

static void test_leaving(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    uint64_t before = rip();
    CHECK(leaves((struct fake_exit){.reason = VMX_REASON_HLT, .length = 1}, EXIT_HLT));
    CHECK_EQUAL(rip(), before + 1);
    *gpr(X86_RAX) = 5;
    *gpr(X86_RBX) = 6;
    *gpr(X86_RSI) = 7;
    CHECK(leaves((struct fake_exit){.reason = VMX_REASON_VMCALL, .length = 3}, EXIT_HYPERCALL));
    CHECK_EQUAL(machine.vcpu->exit.hypercall.number, 5);
    CHECK_EQUAL(machine.vcpu->exit.hypercall.arguments[0], 6);
    CHECK_EQUAL(machine.vcpu->exit.hypercall.arguments[3], 7);
    machine.vcpu->exit.hypercall.result = 99;
    CHECK(vtx_vcpu_complete(machine.vcpu));
    CHECK_EQUAL(*gpr(X86_RAX), 99);
    CHECK_EQUAL(rip(), before + 4);
    test_refused_hypercall();
    CHECK(leaves((struct fake_exit){.reason = VMX_REASON_TASK_SWITCH, .qualification = 0x28},
                 EXIT_INTERNAL));
    CHECK(strstr(machine.vcpu->exit.internal.text, "0x28") != NULL);
    CHECK(leaves((struct fake_exit){.reason = VMX_REASON_EPT_MISCONFIGURATION, .physical = 0x4000},
                 EXIT_INTERNAL));
    CHECK(leaves((struct fake_exit){.reason = VMX_REASON_TRIPLE_FAULT}, EXIT_SHUTDOWN));
    unsigned int entries = fake.entries;
    vtx_inject_nmi(machine.vcpu);
    CHECK_EQUAL(vtx_vcpu_run(machine.vcpu), VTX_EXIT); /* dead is dead */
    CHECK_EQUAL(machine.vcpu->exit.reason, EXIT_SHUTDOWN);
    CHECK_EQUAL(fake.entries, entries);
    CHECK(fake_machine_stop(&machine));
}

/* A guest that does nothing but exit does not keep its embedder from anything else. */
static void storm(void)
{
    fake.exit_count = fake.next_exit = 0;
    fake_queue((struct fake_exit){.reason = VMX_REASON_CPUID, .length = 0});
}

static void test_storm(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    fake.guest = storm;
    CHECK_EQUAL(vtx_vcpu_run(machine.vcpu), VTX_INTERRUPT);
    CHECK(machine.vcpu->exits[VMX_REASON_CPUID] >= 1000);
    CHECK_EQUAL(machine.vcpu->exits[VMX_REASON_EXTERNAL_INTERRUPT], 0);
    CHECK(fake_machine_stop(&machine));
}

/* ---- MSRs ---- */

static const struct fake_exit rdmsr = {.reason = VMX_REASON_RDMSR, .length = 2};
static const struct fake_exit wrmsr = {.reason = VMX_REASON_WRMSR, .length = 2};

static bool writes(uint32_t index, uint64_t value)
{
    *gpr(X86_RCX) = index;
    *gpr(X86_RAX) = (uint32_t)value;
    *gpr(X86_RDX) = value >> 32;
    return is_inside(wrmsr) && fake.injected == 0;
}

static bool refuses(uint32_t index, uint64_t value)
{
    *gpr(X86_RCX) = index;
    *gpr(X86_RAX) = (uint32_t)value;
    *gpr(X86_RDX) = value >> 32;
    return raises(wrmsr, X86_VECTOR_GP);
}

static uint64_t reads(uint32_t index)
{
    *gpr(X86_RCX) = UINT64_C(0xf00000000) | index; /* only ECX counts */
    CHECK(is_inside(rdmsr));
    return (uint32_t)*gpr(X86_RAX) | *gpr(X86_RDX) << 32;
}

static void test_msrs(void)
{
    const uint64_t high = UINT64_C(0xffff800000001234), bad = UINT64_C(0x8000000000001234);
    fake_machine_begin(&machine, VTX_TRAP_ALL, FAKE_LONG);
    static const uint32_t canonical[] = {X86_MSR_IA32_SYSENTER_ESP,  X86_MSR_IA32_SYSENTER_EIP,
                                         X86_MSR_IA32_LSTAR,         X86_MSR_IA32_CSTAR,
                                         X86_MSR_IA32_FS_BASE,       X86_MSR_IA32_GS_BASE,
                                         X86_MSR_IA32_KERNEL_GS_BASE};
    for (size_t i = 0; i < sizeof(canonical) / sizeof(canonical[0]); i++) {
        CHECK(writes(canonical[i], high));
        CHECK_EQUAL(reads(canonical[i]), high);
        CHECK(refuses(canonical[i], bad));
        CHECK_EQUAL(reads(canonical[i]), high);
    }
    CHECK_EQUAL(fake_field(VMCS_GUEST_FS_BASE), high);
    CHECK_EQUAL(fake_msr(X86_MSR_IA32_LSTAR), high); /* live in the processor */
    CHECK(writes(X86_MSR_IA32_STAR, bad) && reads(X86_MSR_IA32_STAR) == bad);
    CHECK(writes(X86_MSR_IA32_FMASK, 0xffffffff) && refuses(X86_MSR_IA32_FMASK, bad));
    CHECK(writes(X86_MSR_IA32_TSC_AUX, 3) && refuses(X86_MSR_IA32_TSC_AUX, bad));
    CHECK(writes(X86_MSR_IA32_PAT, 0x0706050401000000) && refuses(X86_MSR_IA32_PAT, 0x2));
    CHECK_EQUAL(fake_field(VMCS_GUEST_IA32_PAT), 0x0706050401000000);
    CHECK(writes(X86_MSR_IA32_MTRR_DEF_TYPE, 0xc06) && refuses(X86_MSR_IA32_MTRR_DEF_TYPE, 0xc07));
    CHECK(refuses(X86_MSR_IA32_MTRR_DEF_TYPE, 0x10000));
    for (uint32_t i = 0; i < 16; i++) {
        CHECK(writes(X86_MSR_IA32_MTRR_PHYSBASE0 + i, 0x1000 * i + 6));
    }
    for (uint32_t i = 0; i < 8; i++) {
        CHECK(writes(X86_MSR_IA32_MTRR_FIX4K_C0000 + i, UINT64_C(0x0606060606060600) + i % 2));
    }
    CHECK(refuses(X86_MSR_IA32_MTRR_FIX16K_80000, 7));
    CHECK_EQUAL(reads(X86_MSR_IA32_MTRR_PHYSBASE0 + 5), 0x5006);
    CHECK_EQUAL(reads(X86_MSR_IA32_MTRR_FIX4K_F8000), UINT64_C(0x0606060606060601));
    CHECK_EQUAL(machine.vcpu->msr.mtrr_fixed[10], UINT64_C(0x0606060606060601));
    CHECK(refuses(X86_MSR_IA32_MTRRCAP, 0));
    CHECK_EQUAL(reads(X86_MSR_IA32_FEATURE_CONTROL), 1); /* VMX is locked off for guests */
    CHECK(writes(X86_MSR_IA32_TSC, UINT64_C(0x123456789a)));
    CHECK_EQUAL(reads(X86_MSR_IA32_TSC), UINT64_C(0x123456789a));
    CHECK_EQUAL(fake_field(VMCS_TSC_OFFSET), UINT64_C(0x123456789a) - fake.tsc);
    CHECK(writes(X86_MSR_IA32_EFER, 0xd01) && refuses(X86_MSR_IA32_EFER, 0xc01)); /* LME, PG on */
    CHECK(refuses(X86_MSR_IA32_EFER, 0x8d01));
    CHECK_EQUAL(fake_field(VMCS_GUEST_IA32_EFER), 0xd01);
    CHECK(fake_machine_stop(&machine));
}

/* Those of the local APIC, and whatever nobody knows, are the embedder's. */
static void test_msrs_outside(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    uint64_t before = rip();
    *gpr(X86_RCX) = X86_MSR_IA32_TSC_DEADLINE;
    *gpr(X86_RAX) = 0x11;
    *gpr(X86_RDX) = 0x22;
    CHECK(leaves(wrmsr, EXIT_WRMSR));
    CHECK_EQUAL(machine.vcpu->exit.msr.index, X86_MSR_IA32_TSC_DEADLINE);
    CHECK_EQUAL(machine.vcpu->exit.msr.value, UINT64_C(0x2200000011));
    CHECK_EQUAL(rip(), before); /* until it is served */
    CHECK_EQUAL(vtx_vcpu_run(machine.vcpu), VTX_INTERRUPT);
    CHECK_EQUAL(rip(), before + 2);
    *gpr(X86_RCX) = X86_MSR_IA32_X2APIC_APICID;
    CHECK(leaves(rdmsr, EXIT_RDMSR));
    machine.vcpu->exit.msr.value = UINT64_C(0x300000004);
    CHECK_EQUAL(vtx_vcpu_run(machine.vcpu), VTX_INTERRUPT);
    CHECK_EQUAL(*gpr(X86_RAX), 4);
    CHECK_EQUAL(*gpr(X86_RDX), 3);
    CHECK_EQUAL(rip(), before + 4);
    *gpr(X86_RCX) = 0x12345;
    CHECK(leaves(rdmsr, EXIT_RDMSR));
    machine.vcpu->exit.msr.refused = true;
    CHECK_EQUAL(vtx_vcpu_run(machine.vcpu), VTX_INTERRUPT);
    CHECK_EQUAL(fake.injected, 0x80000b0d);
    CHECK_EQUAL(rip(), before + 4);
    CHECK(fake_machine_stop(&machine));
}

static bool lets_through(const uint8_t *bitmap, uint32_t index, bool write)
{
    const uint8_t *half = bitmap + (index >= 0xc0000000 ? 1024 : 0) + (write ? 2048 : 0);
    return (half[index % 0x2000 / 8] >> (index % 8) & 1) == 0;
}

static void test_msr_bitmap(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    const uint8_t *bitmap = machine.vm.msr_bitmap.at;
    CHECK(lets_through(bitmap, X86_MSR_IA32_LSTAR, true));
    CHECK(lets_through(bitmap, X86_MSR_IA32_FS_BASE, false));
    CHECK(lets_through(bitmap, X86_MSR_IA32_SYSENTER_CS, true));
    CHECK(!lets_through(bitmap, X86_MSR_IA32_EFER, true));
    CHECK(!lets_through(bitmap, X86_MSR_IA32_APIC_BASE, false));
    CHECK(!lets_through(bitmap, X86_MSR_IA32_TSC, true));
    CHECK(!lets_through(bitmap, X86_MSR_IA32_FEATURE_CONTROL, true));
    unsigned int open = 0;
    for (unsigned int i = 0; i < VTX_PAGE_SIZE; i++) {
        open += (unsigned int)__builtin_popcount((uint8_t)~bitmap[i]);
    }
    CHECK_EQUAL(open, 20);
    CHECK(fake_machine_stop(&machine));
    fake_machine_begin(&machine, VTX_TRAP_ALL, FAKE_LONG);
    bitmap = machine.vm.msr_bitmap.at;
    for (unsigned int i = 0; i < VTX_PAGE_SIZE; i++) {
        if (bitmap[i] != 0xff) {
            CHECK(bitmap[i] == 0xff);
        }
    }
    CHECK(fake_machine_stop(&machine));
}

int main(void)
{
    test_every_reason();
    test_hints_and_refusals();
    test_skip();
    test_cpuid();
    test_cpuid_supported();
    test_time_and_chance();
    test_xsetbv();
    test_leaving();
    test_storm();
    test_msrs();
    test_msrs_outside();
    test_msr_bitmap();
    return check_summary();
}
