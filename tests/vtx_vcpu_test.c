/* VT-x: a vCPU from creation to its end; what is entered with, and why an entry failed. */
#include "vtx/core/vcpu.h"

#include <string.h>

#include "check.h"
#include "vtx_fake.h"
#include "x86/msr.h"
#include "x86/vmx_text.h"

static struct fake_machine machine;

/* VMLAUNCH, then VMRESUME, and after VMCLEAR VMLAUNCH again: the fake insists. */
static void test_launch_and_resume(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    struct vtx_vcpu *vcpu = machine.vcpu;
    CHECK_EQUAL(vtx_vcpu_run(vcpu), VTX_INTERRUPT);
    CHECK_EQUAL(vtx_vcpu_run(vcpu), VTX_INTERRUPT);
    vtx_vcpu_leave_context(vcpu);
    vtx_vcpu_unload(vcpu);
    CHECK_EQUAL(vtx_vcpu_load(vcpu, &machine.cpu, &machine.error), VTX_OK);
    vtx_vcpu_enter_context(vcpu);
    CHECK_EQUAL(vtx_vcpu_run(vcpu), VTX_INTERRUPT);
    CHECK_EQUAL(vcpu->entries, 3);
    CHECK_EQUAL(vcpu->exits[VMX_REASON_EXTERNAL_INTERRUPT], 3);
    CHECK(fake_machine_stop(&machine));
}

/* Guests of every mode, and with both policies, pass the checks of VM entry. */
static void test_modes(void)
{
    for (int policy = VTX_TRAP_SHADOW; policy <= VTX_TRAP_ALL; policy++) {
        fake_machine_begin(&machine, (enum vtx_policy)policy, FAKE_LONG);
        for (int mode = FAKE_REAL; mode < FAKE_MODES; mode++) {
            fake_machine_set_mode(&machine, (enum fake_mode)mode);
            CHECK_EQUAL(vtx_vcpu_run(machine.vcpu), VTX_INTERRUPT);
            CHECK_EQUAL((fake_field(VMCS_VM_ENTRY_CONTROLS) & ENTRY_IA32E_MODE_GUEST) != 0,
                        mode == FAKE_LONG);
        }
        CHECK_EQUAL(machine.vcpu->entries, FAKE_MODES);
        CHECK(fake_machine_stop(&machine));
    }
}

static void fill(void *at, size_t size, uint8_t with)
{
    memset(at, with, size);
}

/* What exits under which policy, as controls. */
static void test_policies(void)
{
    static const struct {
        uint32_t encoding, shadow,
            all; /* bits that one policy must have, and which the other adds */
    } rows[] = {
        {VMCS_PIN_BASED_CONTROLS, VMX_PIN_EXTERNAL_INTERRUPT | VMX_PIN_NMI | VMX_PIN_VIRTUAL_NMIS,
         0},
        {VMCS_PRIMARY_CONTROLS,
         VMX_PRIMARY_TSC_OFFSETTING | VMX_PRIMARY_HLT | VMX_PRIMARY_MWAIT | VMX_PRIMARY_RDPMC |
             VMX_PRIMARY_CR8_LOAD | VMX_PRIMARY_CR8_STORE | VMX_PRIMARY_MSR_BITMAPS |
             VMX_PRIMARY_MONITOR | VMX_PRIMARY_SECONDARY,
         VMX_PRIMARY_INVLPG | VMX_PRIMARY_RDTSC | VMX_PRIMARY_CR3_LOAD | VMX_PRIMARY_CR3_STORE |
             VMX_PRIMARY_MOV_DR | VMX_PRIMARY_IO | VMX_PRIMARY_PAUSE},
        {VMCS_SECONDARY_CONTROLS,
         VMX_SECONDARY_EPT | VMX_SECONDARY_UNRESTRICTED_GUEST | VMX_SECONDARY_RDTSCP |
             VMX_SECONDARY_WBINVD | VMX_SECONDARY_INVPCID | VMX_SECONDARY_VPID,
         VMX_SECONDARY_DESCRIPTOR_TABLES | VMX_SECONDARY_RDRAND | VMX_SECONDARY_RDSEED},
    };
    for (int policy = VTX_TRAP_SHADOW; policy <= VTX_TRAP_ALL; policy++) {
        fake_machine_begin(&machine, (enum vtx_policy)policy, FAKE_LONG);
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            uint64_t value = fake_field(rows[i].encoding);
            CHECK_EQUAL(value & rows[i].shadow, rows[i].shadow);
            CHECK_EQUAL(value & rows[i].all, policy == VTX_TRAP_ALL ? rows[i].all : 0);
        }
        CHECK(policy == VTX_TRAP_ALL ||
              (fake_field(VMCS_PRIMARY_CONTROLS) & VMX_PRIMARY_IO_BITMAPS) != 0);
        CHECK(fake_machine_stop(&machine));
    }
}

/* What was set comes back. */
static void test_state(void)
{
    static struct x86_state set, got;
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    fake_state(FAKE_LONG, &set);
    for (unsigned int i = 0; i < X86_GPR_COUNT; i++) {
        set.gpr[i] = 0x1000 + i;
    }
    set.cr0 |= X86_CR0_CD | X86_CR0_TS;
    set.cr2 = 0x1234;
    set.cr8 = 5;
    set.rflags = X86_FLAGS_ONE | X86_FLAGS_CF;
    set.gdtr = (struct x86_table_register){0x5000, 0x77};
    set.dr[0] = 0x111;
    set.dr[7] = 0x401;
    set.msr = (struct x86_msrs){.lstar = 0x777,
                                .star = 8,
                                .kernel_gs_base = 9,
                                .pat = X86_PAT_RESET,
                                .misc_enable = 1,
                                .sysenter_eip = 0x99,
                                .tsc_aux = 3};
    fill(set.xsave + 576, 256, 0x5a);
    set.xcr0 = 7;
    set.nmi_blocked = true;
    set.exception_pending = true;
    set.exception_vector = X86_VECTOR_GP;
    set.exception_has_error = true;
    set.exception_error = 0x18;
    vtx_vcpu_leave_context(machine.vcpu);
    vtx_vcpu_set_state(machine.vcpu, X86_STATE_ALL, &set);
    vtx_vcpu_get_state(machine.vcpu, X86_STATE_ALL, &got);
    CHECK(memcmp(got.gpr, set.gpr, sizeof(set.gpr)) == 0);
    CHECK_EQUAL(got.rip, set.rip);
    CHECK_EQUAL(got.rflags, set.rflags);
    CHECK(memcmp(got.segment, set.segment, sizeof(set.segment)) == 0);
    CHECK_EQUAL(got.gdtr.base, 0x5000);
    CHECK_EQUAL(got.gdtr.limit, 0x77);
    CHECK_EQUAL(got.cr0, set.cr0);
    CHECK_EQUAL(got.cr2, set.cr2);
    CHECK_EQUAL(got.cr3, set.cr3);
    CHECK_EQUAL(got.cr4, set.cr4);
    CHECK_EQUAL(got.cr8, 5);
    CHECK_EQUAL(got.efer, set.efer);
    CHECK_EQUAL(got.dr[0], 0x111);
    CHECK_EQUAL(got.dr[7], 0x401);
    CHECK_EQUAL(got.msr.lstar, 0x777);
    CHECK_EQUAL(got.msr.sysenter_eip, 0x99);
    CHECK_EQUAL(got.msr.pat, X86_PAT_RESET);
    CHECK_EQUAL(got.xcr0, 7);
    CHECK(memcmp(got.xsave + 576, set.xsave + 576, 256) == 0);
    CHECK(got.nmi_blocked && got.exception_pending && got.exception_has_error);
    CHECK_EQUAL(got.exception_vector, X86_VECTOR_GP);
    CHECK_EQUAL(got.exception_error, 0x18);
    /* The real CR0 has no CD: caches stay on; NE is what VMX operation wants. */
    CHECK_EQUAL(fake_field(VMCS_GUEST_CR0) & (X86_CR0_CD | X86_CR0_NW), 0);
    CHECK((fake_field(VMCS_GUEST_CR4) & X86_CR4_VMXE) != 0);
    vtx_vcpu_enter_context(machine.vcpu);
    CHECK_EQUAL(vtx_vcpu_run(machine.vcpu), VTX_INTERRUPT);
    CHECK_EQUAL(fake.injected, 0x80000b0d);
    CHECK_EQUAL(fake.injected_error, 0x18);
    CHECK(fake_machine_stop(&machine));
}

/* What the host's processor would fault on never gets there. */
static void test_hostile_state(void)
{
    static struct x86_state set;
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    fake_state(FAKE_LONG, &set);
    fill(set.xsave, sizeof(set.xsave), 0xff);
    fill(&set.msr, sizeof(set.msr), 0xee);
    fill(set.dr, sizeof(set.dr), 0xff);
    set.xcr0 = UINT64_MAX;
    vtx_vcpu_leave_context(machine.vcpu);
    vtx_vcpu_set_state(machine.vcpu, X86_STATE_ALL, &set);
    const struct vtx_vcpu *vcpu = machine.vcpu;
    uint64_t header[8];
    uint32_t mxcsr;
    memcpy(header, vcpu->xsave + 512, sizeof(header));
    memcpy(&mxcsr, vcpu->xsave + 24, sizeof(mxcsr));
    CHECK_EQUAL(header[0], 7);
    CHECK(header[1] == 0 && header[2] == 0 && header[7] == 0);
    CHECK_EQUAL(mxcsr, 0xffff);
    CHECK_EQUAL(vcpu->xcr0, 1);
    CHECK_EQUAL(vcpu->msr.lstar, UINT64_C(0xffffeeeeeeeeeeee));
    CHECK_EQUAL(vcpu->msr.fmask, 0xeeeeeeee);
    CHECK_EQUAL(vcpu->dr6, 0xffffffff);
    CHECK_EQUAL(fake_field(VMCS_GUEST_DR7), 0xffffffff);
    CHECK(fake_machine_stop(&machine));
}

/* Guest values in the processor between the two calls, the host's again afterwards. */
static void test_context(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    struct vtx_vcpu *vcpu = machine.vcpu;
    vtx_vcpu_leave_context(vcpu);
    vcpu->msr.lstar = 0x4444;
    vcpu->dr[1] = 0x5555;
    vcpu->xcr0 = 3;
    fake.dr[1] = 0x6666;
    fake.dr[7] = 0x404;
    fake.xcr0 = 1; /* a host that has not enabled AVX */
    vtx_vcpu_enter_context(vcpu);
    CHECK_EQUAL(fake_msr(X86_MSR_IA32_LSTAR), 0x4444);
    CHECK_EQUAL(fake.dr[1], 0x5555);
    CHECK_EQUAL(fake.dr[7], X86_DR7_ONE);
    CHECK_EQUAL(fake.moved_breakpoints, 0); /* a guest's must not be on in the host */
    CHECK_EQUAL(fake.xcr0, 3);
    CHECK_EQUAL(fake.last_xrstor, 7);
    fake_set_msr(X86_MSR_IA32_LSTAR, 0x4445); /* the guest's own WRMSR */
    fake.host_restored = false;
    vtx_vcpu_leave_context(vcpu);
    CHECK_EQUAL(vcpu->msr.lstar, 0x4445);
    CHECK_EQUAL(fake_msr(X86_MSR_IA32_LSTAR), 0x200);
    CHECK_EQUAL(fake.dr[1], 0x6666);
    CHECK_EQUAL(fake.dr[7], 0x404);
    CHECK_EQUAL(fake.xcr0, 1);
    CHECK_EQUAL(fake.last_xsave, 7);
    CHECK(fake.host_restored);
    vtx_vcpu_leave_context(vcpu); /* twice is once */
    CHECK_EQUAL(vcpu->msr.lstar, 0x4445);
    CHECK(fake_machine_stop(&machine));
}

static void test_host_state(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    CHECK_EQUAL(fake_field(VMCS_HOST_CS_SELECTOR), 0x10);
    CHECK_EQUAL(fake_field(VMCS_HOST_DS_SELECTOR), 0); /* RPL 3 may not stand there */
    CHECK_EQUAL(fake_field(VMCS_HOST_CR3), 0x1234000);
    CHECK_EQUAL(fake_field(VMCS_HOST_CR4), fake.cr4);
    CHECK_EQUAL(fake_field(VMCS_HOST_RIP), vtx_exit_address());
    /* Another thread, with another address space and FS. */
    vtx_vcpu_leave_context(machine.vcpu);
    fake.cr3 = 0x5678000;
    fake_set_msr(X86_MSR_IA32_FS_BASE, 0x8888);
    vtx_vcpu_enter_context(machine.vcpu);
    CHECK_EQUAL(fake_field(VMCS_HOST_CR3), 0x5678000);
    CHECK_EQUAL(fake_field(VMCS_HOST_FS_BASE), 0x8888);
    /* Another processor: host state once more, and nothing remembered of translations there. */
    struct vtx_cpu other = machine.cpu;
    unsigned int invept = fake.invept_count;
    vtx_vcpu_leave_context(machine.vcpu);
    vtx_vcpu_unload(machine.vcpu);
    fake.cr0 ^= X86_CR0_AM;
    CHECK_EQUAL(vtx_vcpu_load(machine.vcpu, &other, &machine.error), VTX_OK);
    CHECK_EQUAL(fake_field(VMCS_HOST_CR0), fake.cr0);
    CHECK_EQUAL(fake.invept_count, invept + 1);
    vtx_vcpu_unload(machine.vcpu);
    CHECK_EQUAL(vtx_vcpu_load(machine.vcpu, &machine.cpu, &machine.error), VTX_OK);
    CHECK(fake_machine_stop(&machine));
}

/* ---- failures ---- */

static const char *failure(void)
{
    CHECK_EQUAL(vtx_vcpu_run(machine.vcpu), VTX_EXIT);
    CHECK_EQUAL(machine.vcpu->exit.reason, EXIT_ENTRY_FAILED);
    return machine.vcpu->exit.entry_failed.text;
}

static bool mentions(const char *text, const char *words)
{
    bool found = strstr(text, words) != NULL;
    if (!found) {
        fprintf(stderr, "\"%s\" does not say \"%s\"\n", text, words);
    }
    return found;
}

/* Each kind of inconsistency in the guest state, by rule and field. */
static void test_guest_state_refused(void)
{
    static const struct {
        uint32_t encoding;
        uint64_t value;
        const char *rule, *field;
    } rows[] = {
        {VMCS_GUEST_RFLAGS, 0, "rflags", "RFLAGS"},
        {VMCS_GUEST_CR4, 0, "cr4", "CR4"},
        {VMCS_GUEST_CR3, UINT64_C(1) << 50, "cr3", "CR3"},
        {VMCS_GUEST_TR_ACCESS_RIGHTS, 0x10000, "tr", "TR"},
        {VMCS_GUEST_CS_ACCESS_RIGHTS, 0xe09b, "l", "CS"},
        {VMCS_GUEST_SS_ACCESS_RIGHTS, 0x13, "", "SS"},
        {VMCS_GUEST_RIP, UINT64_C(1) << 62, "rip", "RIP"},
        {VMCS_GUEST_GDTR_LIMIT, 0x10000, "limit", "GDTR"},
        {VMCS_GUEST_ACTIVITY_STATE, 9, "activity", "activity"},
        {VMCS_GUEST_INTERRUPTIBILITY_STATE, 3, "", "interruptibility"},
        {VMCS_VMCS_LINK_POINTER, 5, "link", "link"},
        {VMCS_GUEST_IA32_EFER, 2, "efer", "EFER"},
    };
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t before = fake_field(rows[i].encoding);
        fake_set_field(rows[i].encoding, rows[i].value);
        const char *text = failure();
        CHECK(mentions(text, "invalid guest state"));
        CHECK(mentions(text, rows[i].rule));
        CHECK(mentions(text, rows[i].field));
        CHECK_EQUAL(machine.vcpu->exit.entry_failed.hardware_reason, 0x80000021);
        fake_set_field(rows[i].encoding, before);
    }
    CHECK_EQUAL(machine.vcpu->entries, 0);
    CHECK_EQUAL(vtx_vcpu_run(machine.vcpu), VTX_INTERRUPT); /* still to be launched, and launches */
    CHECK(fake_machine_stop(&machine));
}

static void test_controls_refused(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    uint64_t before = fake_field(VMCS_PIN_BASED_CONTROLS);
    fake_set_field(VMCS_PIN_BASED_CONTROLS, before & ~UINT64_C(2));
    const char *text = failure();
    CHECK(mentions(text, "VMLAUNCH failed with error 7"));
    CHECK(mentions(text, "Pin-based VM-execution controls"));
    CHECK(mentions(text, "must have bits 0x2"));
    fake_set_field(VMCS_PIN_BASED_CONTROLS, before | 0x80);
    CHECK(mentions(failure(), "must not have bits 0x80"));
    fake_set_field(VMCS_PIN_BASED_CONTROLS, before);
    /* The fake does not look at these; the explanation does. */
    static const struct {
        uint32_t encoding;
        uint64_t clear, set;
        uint32_t error;
        const char *words;
    } rows[] = {
        {VMCS_PIN_BASED_CONTROLS, VMX_PIN_NMI, 0, 7, "must have NMI exiting"},
        {VMCS_PRIMARY_CONTROLS, 0, VMX_PRIMARY_NMI_WINDOW, 7, NULL},
        {VMCS_SECONDARY_CONTROLS, VMX_SECONDARY_EPT, 0, 7, "must have EPT"},
        {VMCS_VM_EXIT_CONTROLS, 0, VMX_EXIT_SAVE_TIMER, 7, "preemption timer"},
        {VMCS_CR3_TARGET_COUNT, 0, 5, 7, "CR3-target count (0x5)"},
        {VMCS_VIRTUAL_PROCESSOR_IDENTIFIER, UINT64_MAX, 0, 7, "Virtual-processor identifier"},
        {VMCS_EPT_POINTER, UINT64_MAX, 0, 7, "EPT pointer"},
        {VMCS_MSR_BITMAPS, 0, 0x123, 7, "MSR bitmaps"},
        {VMCS_IO_BITMAP_B, 0, UINT64_C(1) << 45, 7, "I/O bitmap B"},
        {VMCS_VM_ENTRY_INTERRUPTION_INFORMATION, 0, 0x80000100, 7, "interruption-information"},
        {VMCS_VM_ENTRY_INTERRUPTION_INFORMATION, 0, 0x80000320, 7, "interruption-information"},
        {VMCS_HOST_CR0, UINT64_MAX, 0, 8, "Host CR0"},
        {VMCS_HOST_CR3, 0, UINT64_C(1) << 40, 8, "Host CR3"},
        {VMCS_HOST_CR4, UINT64_MAX, 0, 8, "Host CR4"},
        {VMCS_HOST_IA32_EFER, X86_EFER_LMA, 0, 8, "Host IA32_EFER"},
        {VMCS_HOST_IA32_EFER, 0, 2, 8, "Host IA32_EFER"},
        {VMCS_HOST_IA32_PAT, 0xff, 2, 8, "Host IA32_PAT"},
        {VMCS_HOST_CS_SELECTOR, UINT64_MAX, 0, 8, "Host CS selector"},
        {VMCS_HOST_TR_SELECTOR, 0, 3, 8, "Host TR selector"},
        {VMCS_HOST_ES_SELECTOR, 0, 4, 8, "Host ES selector"},
        {VMCS_HOST_FS_BASE, 0, UINT64_C(1) << 63, 8, "Host FS base"},
        {VMCS_HOST_RIP, UINT64_C(1) << 50, 0, 8, "Host RIP"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        before = fake_field(rows[i].encoding);
        fake_set_field(rows[i].encoding, (before & ~rows[i].clear) | rows[i].set);
        fake.entry_error = rows[i].error;
        text = failure();
        bool names = strstr(text, vmcs_field_find(rows[i].encoding)->name) != NULL;
        CHECK(rows[i].words != NULL ? names && mentions(text, rows[i].words) : !names);
        CHECK_EQUAL(machine.vcpu->exit.entry_failed.hardware_reason, rows[i].error);
        fake_set_field(rows[i].encoding, before);
    }
    /* What only the number tells; and no current VMCS. */
    fake.entry_error = 26;
    CHECK(mentions(failure(), "blocked by MOV SS"));
    fake.entry_error = 0;
    CHECK_EQUAL(vtx_vcpu_run(machine.vcpu), VTX_INTERRUPT);
    fake.entry_error = 5;
    CHECK(mentions(failure(), "VMRESUME failed with error 5"));
    fake.entry_error = 0;
    fake.current = 0;
    CHECK_EQUAL(vtx_vcpu_run(machine.vcpu), VTX_EXIT);
    CHECK(machine.vcpu->exit.reason == EXIT_ENTRY_FAILED ||
          machine.vcpu->exit.reason == EXIT_INTERNAL);
    machine.vcpu->failed_field = 0;
    CHECK_EQUAL(vtx_vcpu_load(machine.vcpu, &machine.cpu, &machine.error), VTX_OK);
    CHECK(fake_machine_stop(&machine));
}

/* A field that the processor does not have is named. */
static void test_missing_field(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    vtx_vcpu_leave_context(machine.vcpu);
    vtx_vcpu_unload(machine.vcpu);
    vtx_vcpu_destroy(machine.vcpu);
    const struct vtx_vcpu_options options = {.vm = &machine.vm, .cpuid = &machine.cpuid};
    CHECK_EQUAL(vtx_vcpu_create(machine.vcpu, &options, &machine.error), VTX_OK);
    fake.missing_field = VMCS_TSC_OFFSET + 1;
    CHECK_EQUAL(vtx_vcpu_load(machine.vcpu, &machine.cpu, &machine.error), VTX_FAILED);
    CHECK(mentions(machine.error.text, "TSC offset"));
    fake.missing_field = 0;
    fake.vmptrld_result = VTX_FAIL_VALID;
    CHECK_EQUAL(vtx_vcpu_load(machine.vcpu, &machine.cpu, &machine.error), VTX_FAILED);
    CHECK(mentions(machine.error.text, "VMPTRLD"));
    fake.vmptrld_result = VTX_SUCCEED;
    machine.vcpu->failed_field = 0;
    CHECK(fake_machine_stop(&machine));
}

static void test_no_memory(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    struct vtx_vm other;
    static struct vtx_vcpu vcpu;
    for (unsigned int left = 0; left < 4; left++) {
        fake_pages_left = left;
        CHECK_EQUAL(vtx_vm_create(&other, &fake_host, &machine.capabilities, VTX_TRAP_ALL),
                    VTX_NO_MEMORY);
    }
    fake_pages_left = 0;
    const struct vtx_vcpu_options options = {.vm = &machine.vm, .cpuid = &machine.cpuid};
    CHECK_EQUAL(vtx_vcpu_create(&vcpu, &options, &machine.error), VTX_NO_MEMORY);
    CHECK(mentions(machine.error.text, "VMCS"));
    CHECK(fake_machine_stop(&machine));
}

static void test_memory_slots(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    struct vtx_vm *vm = &machine.vm;
    const struct vtx_memory_slot good[] = {{0, 0x1000, false}, {0x2000, 0x1000, true}};
    const struct vtx_memory_slot overlap[] = {{0, 0x2000, false}, {0x1000, 0x1000, false}};
    const struct vtx_memory_slot unaligned[] = {{0x10, 0x1000, false}};
    const struct vtx_memory_slot wraps[] = {{UINT64_MAX - 0xfff, 0x2000, false}};
    CHECK_EQUAL(vtx_vm_set_memory(vm, good, 2), VTX_OK);
    CHECK_EQUAL(vtx_vm_set_memory(vm, overlap, 2), VTX_INVALID);
    CHECK_EQUAL(vtx_vm_set_memory(vm, unaligned, 1), VTX_INVALID);
    CHECK_EQUAL(vtx_vm_set_memory(vm, wraps, 1), VTX_INVALID);
    CHECK_EQUAL(vtx_vm_set_memory(vm, good, VTX_MEMORY_SLOTS_MAX + 1), VTX_INVALID);
    CHECK(vtx_vm_slot(vm, 0xfff) == &vm->slots[0] && vtx_vm_slot(vm, 0x2fff) == &vm->slots[1]);
    CHECK(vtx_vm_slot(vm, 0x1000) == NULL && vtx_vm_slot(vm, 0x3000) == NULL);
    CHECK(fake_machine_stop(&machine));
}

static void test_ports(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    const uint8_t *a = machine.vm.io_bitmap_a.at, *b = machine.vm.io_bitmap_b.at;
    CHECK(a[0] == 0xff && a[4095] == 0xff && b[0] == 0xff && b[4095] == 0xff);
    vtx_vm_pass_ports(&machine.vm, 0x7fff, 2, true);
    CHECK(a[4095] == 0x7f && b[0] == 0xfe);
    vtx_vm_pass_ports(&machine.vm, 0xffff, 5, true);
    CHECK(b[4095] == 0x7f && a[0] == 0xff);
    vtx_vm_pass_ports(&machine.vm, 0, 0x10000, false);
    CHECK(a[4095] == 0xff && b[0] == 0xff && b[4095] == 0xff);
    CHECK(fake_machine_stop(&machine));
}

static void test_texts(void)
{
    for (uint32_t number = 0; number < 100; number++) {
        CHECK(vmx_reason_name(number)[0] != '\0');
        CHECK(vmx_instruction_error(number)[0] != '\0');
    }
    CHECK(strcmp(vmx_reason_name(VMX_REASON_EPT_VIOLATION), "EPT violation") == 0);
    CHECK(strstr(vmx_instruction_error(7), "control fields") != NULL);
}

int main(void)
{
    test_launch_and_resume();
    test_modes();
    test_policies();
    test_state();
    test_hostile_state();
    test_context();
    test_host_state();
    test_guest_state_refused();
    test_controls_refused();
    test_missing_field();
    test_no_memory();
    test_memory_slots();
    test_ports();
    test_texts();
    return check_summary();
}
