/* The KVM engine: each group of struct x86_state, set and read back. */
#include "kvm_bench.h"

static void fill_pattern(struct x86_state *state)
{
    for (unsigned int i = 0; i < X86_GPR_COUNT; i++) {
        state->gpr[i] = UINT64_C(0x0101010101010101) * (i + 1);
    }
    state->rip = 0x12345;
    state->rflags = X86_FLAGS_ONE | X86_FLAGS_CF | X86_FLAGS_IF | X86_FLAGS_AC;
    state->segment[X86_FS].base = 0x7fff12345678;
    state->segment[X86_GS].base = UINT64_C(0xffffffff81000000);
    state->segment[X86_LDTR] = (struct x86_segment){.attributes = X86_SEGMENT_UNUSABLE};
    state->gdtr = (struct x86_table_register){.base = UINT64_C(0xffffffff82001000), .limit = 0x7f};
    state->idtr = (struct x86_table_register){.base = UINT64_C(0xffffffff82002000), .limit = 0xfff};
    state->cr2 = UINT64_C(0xffff888812345000);
    state->dr[0] = 0x1000;
    state->dr[3] = 0x4000;
    state->dr[6] = X86_DR6_ONES | X86_DR6_BS;
    state->dr[7] = X86_DR7_ONE | 3;
    state->msr.lstar = UINT64_C(0xffffffff81800000);
    state->msr.star = UINT64_C(0x0023001000000000);
    state->msr.fmask = 0x47700;
    state->msr.kernel_gs_base = 0x7f0011223344;
    state->msr.sysenter_cs = 0x10;
    state->msr.sysenter_eip = 0x01801000; /* AMD keeps 32 bits of it */
    state->msr.pat = UINT64_C(0x0007010600070106);
    state->xsave[0] = 0x7f; /* FCW 0x037f */
    state->xsave[1] = 0x03;
    state->xsave[24] = 0x80; /* MXCSR 0x1f80 */
    state->xsave[25] = 0x1f;
    memset(state->xsave + 160, 0xa5, 256); /* XMM0..15 */
    state->xsave[512] = X86_XCR0_X87 | X86_XCR0_SSE;
    state->sti_shadow = true;
    state->nmi_blocked = true;
    state->exception_pending = true;
    state->exception_vector = X86_VECTOR_PF;
    state->exception_has_error = true;
    state->exception_error = X86_PF_WRITE;
}

#define YMM_OFFSET 576u /* of the upper halves in the standard format */

/* What this host's guests may have beyond SSE: the upper halves of YMM, and PKRU. */
static uint64_t fill_extended_pattern(struct bench *bench)
{
    struct cpuid_table table;
    kvm_engine.cpuid_supported(bench->vm, &table, &bench->error);
    uint64_t offered = cpuid_answer(&table, 0xd, 0).eax;
    if ((offered & X86_XCR0_AVX) != 0) {
        bench->state.xcr0 |= X86_XCR0_SSE | X86_XCR0_AVX;
        bench->state.xsave[512] |= X86_XCR0_AVX;
        memset(bench->state.xsave + YMM_OFFSET, 0x3c, 256);
    }
    if ((offered & X86_XCR0_PKRU) != 0) {
        bench->state.xcr0 |= X86_XCR0_PKRU;
        bench->state.pkru = 0x55555554;
    }
    return offered;
}

static void test_state_round_trip(void)
{
    struct bench bench;
    if (open_bench(&bench, "irqchip=none", NULL)) {
        static const uint8_t code[] = {0xf4};
        CHECK_EQUAL(
            kvm_guest_prepare(bench.memory, KVM_GUEST_LONG, code, sizeof(code), &bench.state), 0);
        fill_pattern(&bench.state);
        uint64_t offered = fill_extended_pattern(&bench);
        struct x86_state *in = &bench.state;
        struct x86_state out;
        memset(&out, 0xcc, sizeof(out));
        succeeded(&bench, kvm_engine.set_state(bench.vcpu, X86_STATE_ALL, in, &bench.error), "set");
        succeeded(&bench, kvm_engine.get_state(bench.vcpu, X86_STATE_ALL, &out, &bench.error),
                  "get");
        CHECK(memcmp(out.gpr, in->gpr, sizeof(out.gpr)) == 0);
        CHECK_EQUAL(out.rip, in->rip);
        CHECK_EQUAL(out.rflags, in->rflags);
        for (unsigned int i = 0; i < X86_SEGMENT_ALL_COUNT; i++) {
            bool unusable = (in->segment[i].attributes & X86_SEGMENT_UNUSABLE) != 0;
            CHECK_EQUAL(out.segment[i].selector, in->segment[i].selector);
            CHECK_EQUAL(out.segment[i].attributes & X86_SEGMENT_UNUSABLE,
                        in->segment[i].attributes & X86_SEGMENT_UNUSABLE);
            if (!unusable) {
                CHECK_EQUAL(out.segment[i].base, in->segment[i].base);
                CHECK_EQUAL(out.segment[i].limit, in->segment[i].limit);
                CHECK_EQUAL(out.segment[i].attributes, in->segment[i].attributes);
            }
        }
        CHECK_EQUAL(out.gdtr.base, in->gdtr.base);
        CHECK_EQUAL(out.gdtr.limit, in->gdtr.limit);
        CHECK_EQUAL(out.idtr.base, in->idtr.base);
        CHECK_EQUAL(out.idtr.limit, in->idtr.limit);
        CHECK_EQUAL(out.cr0, in->cr0);
        CHECK_EQUAL(out.cr2, in->cr2);
        CHECK_EQUAL(out.cr3, in->cr3);
        CHECK_EQUAL(out.cr4, in->cr4);
        CHECK_EQUAL(out.efer, in->efer);
        CHECK(memcmp(out.dr, in->dr, sizeof(out.dr)) == 0);
        CHECK_EQUAL(out.msr.lstar, in->msr.lstar);
        CHECK_EQUAL(out.msr.star, in->msr.star);
        CHECK_EQUAL(out.msr.fmask, in->msr.fmask);
        CHECK_EQUAL(out.msr.kernel_gs_base, in->msr.kernel_gs_base);
        CHECK_EQUAL(out.msr.sysenter_cs, in->msr.sysenter_cs);
        CHECK_EQUAL(out.msr.sysenter_eip, in->msr.sysenter_eip);
        CHECK_EQUAL(out.msr.pat, in->msr.pat);
        CHECK_EQUAL(out.msr.apic_base, in->msr.apic_base);
        CHECK(out.msr.tsc >= in->msr.tsc);
        CHECK(memcmp(out.xsave, in->xsave, 24) == 0);
        CHECK(memcmp(out.xsave + 160, in->xsave + 160, 256) == 0);
        if ((offered & X86_XCR0_AVX) != 0) {
            CHECK(memcmp(out.xsave + YMM_OFFSET, in->xsave + YMM_OFFSET, 256) == 0);
        }
        CHECK_EQUAL(out.xcr0, in->xcr0);
        CHECK_EQUAL(out.pkru, in->pkru);
        CHECK_EQUAL(out.sti_shadow, in->sti_shadow);
        CHECK_EQUAL(out.nmi_blocked, in->nmi_blocked);
        CHECK_EQUAL(out.exception_pending, in->exception_pending);
        CHECK_EQUAL(out.exception_vector, in->exception_vector);
        CHECK_EQUAL(out.exception_has_error, in->exception_has_error);
        CHECK_EQUAL(out.exception_error, in->exception_error);
    }
    close_bench(&bench);
}

/* A PKRU of 0 replaces another, though the XSAVE image still has the old one. */
static void test_pkru_cleared(void)
{
    struct bench bench;
    if (open_bench(&bench, "irqchip=none", NULL) &&
        (fill_extended_pattern(&bench) & X86_XCR0_PKRU) != 0) {
        struct x86_state *state = &bench.state;
        succeeded(&bench, kvm_engine.set_state(bench.vcpu, X86_STATE_FPU, state, &bench.error),
                  "set PKRU");
        succeeded(&bench, kvm_engine.get_state(bench.vcpu, X86_STATE_FPU, state, &bench.error),
                  "get it");
        CHECK_EQUAL(state->pkru, 0x55555554);
        state->pkru = 0;
        succeeded(&bench, kvm_engine.set_state(bench.vcpu, X86_STATE_FPU, state, &bench.error),
                  "clear it");
        succeeded(&bench, kvm_engine.get_state(bench.vcpu, X86_STATE_FPU, state, &bench.error),
                  "get 0");
        CHECK_EQUAL(state->pkru, 0);
    } else {
        SKIP("this host's guests have no PKRU");
    }
    close_bench(&bench);
}

/* Where the kernel has the LAPIC it keeps the activity too; without, the engine does. */
static void test_activity(const char *arguments)
{
    static const enum x86_activity activities[] = {X86_HALTED, X86_WAIT_FOR_SIPI, X86_ACTIVE};
    struct bench bench;
    if (open_bench(&bench, arguments, NULL)) {
        for (unsigned int i = 0; i < 3; i++) {
            bench.state.activity = activities[i];
            succeeded(
                &bench,
                kvm_engine.set_state(bench.vcpu, X86_STATE_EVENTS, &bench.state, &bench.error),
                "set the activity");
            struct x86_state out;
            succeeded(&bench,
                      kvm_engine.get_state(bench.vcpu, X86_STATE_EVENTS, &out, &bench.error),
                      "get the activity");
            CHECK_EQUAL(out.activity, activities[i]);
        }
    }
    close_bench(&bench);
}

/* PAE paging keeps its four pointers in registers: what is set there stays, whatever memory says.
 */
static void test_pdptrs(void)
{
    struct bench bench;
    if (open_bench(&bench, "irqchip=none", NULL) && bench.vm->has_sregs2) {
        static const uint8_t code[] = {0xf4};
        kvm_guest_prepare(bench.memory, KVM_GUEST_PROTECTED, code, sizeof(code), &bench.state);
        bench.state.cr0 |= X86_CR0_PG;
        bench.state.cr4 |= X86_CR4_PAE;
        bench.state.cr3 = 0x3000;
        bench.state.pdptrs_known = true;
        for (unsigned int i = 0; i < 4; i++) {
            bench.state.pdptr[i] = (0x4000 + 0x1000 * i) | 1;
        }
        struct x86_state out = {.pdptrs_known = false};
        succeeded(&bench,
                  kvm_engine.set_state(bench.vcpu, X86_STATE_SYSTEM, &bench.state, &bench.error),
                  "set PDPTRs");
        succeeded(&bench, kvm_engine.get_state(bench.vcpu, X86_STATE_SYSTEM, &out, &bench.error),
                  "get PDPTRs");
        CHECK_EQUAL(out.cr3, 0x3000);
        if (out.pdptrs_known) {
            CHECK(memcmp(out.pdptr, bench.state.pdptr, sizeof(out.pdptr)) == 0);
        } else {
            SKIP("with nested paging AMD's processors keep no PDPTRs");
        }
        /* Without PAE paging, as after INIT, they are of no account. */
        bench.state.cr0 &= ~X86_CR0_PG;
        succeeded(&bench,
                  kvm_engine.set_state(bench.vcpu, X86_STATE_SYSTEM, &bench.state, &bench.error),
                  "set the registers without paging");
    } else {
        SKIP("this KVM has no KVM_CAP_SREGS2");
    }
    close_bench(&bench);
}

#define LAPIC_SPURIOUS 0xf0u
#define LAPIC_LVT0     0x350u
#define LAPIC_LVT1     0x360u
#define LAPIC_TPR      0x80u

static void test_lapic(const char *arguments)
{
    struct bench bench;
    if (open_bench(&bench, arguments, NULL)) {
        struct x86_state *in = &bench.state;
        struct x86_state out = {.lapic = {0}};
        succeeded(&bench, kvm_engine.get_state(bench.vcpu, X86_STATE_LAPIC, in, &bench.error),
                  "get the LAPIC");
        in->lapic[LAPIC_SPURIOUS] = 0xff;
        in->lapic[LAPIC_SPURIOUS + 1] = 1; /* enabled */
        in->lapic[LAPIC_TPR] = 0x40;
        in->lapic[LAPIC_LVT1 + 1] = 4; /* NMI */
        in->lapic[LAPIC_LVT1 + 2] = 0;
        succeeded(&bench, kvm_engine.set_state(bench.vcpu, X86_STATE_LAPIC, in, &bench.error),
                  "set the LAPIC");
        succeeded(&bench, kvm_engine.get_state(bench.vcpu, X86_STATE_LAPIC, &out, &bench.error),
                  "get it back");
        static const unsigned int registers[] = {LAPIC_SPURIOUS, LAPIC_TPR, LAPIC_LVT0, LAPIC_LVT1};
        for (unsigned int i = 0; i < 4; i++) {
            CHECK(memcmp(out.lapic + registers[i], in->lapic + registers[i], 4) == 0);
        }
    }
    close_bench(&bench);
}

#define LAPIC_LVT_TIMER 0x320u

/* Only a LAPIC whose timer is in TSC-deadline mode keeps a deadline: both come back together. */
static void test_deadline(const char *arguments)
{
    struct bench bench;
    const unsigned int groups = X86_STATE_MSRS | X86_STATE_LAPIC;
    if (open_bench(&bench, arguments, NULL) && bench.vm->has_deadline_timer) {
        struct x86_state *in = &bench.state;
        struct x86_state out = {.pdptrs_known = false};
        succeeded(&bench, kvm_engine.get_state(bench.vcpu, groups, in, &bench.error), "get");
        in->lapic[LAPIC_SPURIOUS] = 0xff;
        in->lapic[LAPIC_SPURIOUS + 1] = 1;     /* enabled */
        in->lapic[LAPIC_LVT_TIMER] = 0x40;     /* the vector */
        in->lapic[LAPIC_LVT_TIMER + 2] = 0x05; /* TSC-deadline mode, masked */
        in->msr.tsc_deadline = in->msr.tsc + (UINT64_C(1) << 40);
        succeeded(&bench, kvm_engine.set_state(bench.vcpu, groups, in, &bench.error), "set");
        succeeded(&bench, kvm_engine.get_state(bench.vcpu, groups, &out, &bench.error), "get back");
        CHECK(memcmp(out.lapic + LAPIC_LVT_TIMER, in->lapic + LAPIC_LVT_TIMER, 4) == 0);
        CHECK_EQUAL(out.msr.tsc_deadline, in->msr.tsc_deadline);
        CHECK_EQUAL(out.msr.apic_base, in->msr.apic_base);
    } else {
        SKIP("this KVM has no deadline timer");
    }
    close_bench(&bench);
}

static void test_clocks(void)
{
    struct bench bench;
    if (open_bench(&bench, "irqchip=none", NULL)) {
        const uint64_t day = UINT64_C(86400000000000);
        uint64_t ns = 0;
        uint32_t khz = 0;
        succeeded(&bench, kvm_set_clock(bench.vm, day, &bench.error), "set the clock");
        succeeded(&bench, kvm_get_clock(bench.vm, &ns, &bench.error), "get the clock");
        CHECK(ns >= day && ns < 2 * day);
        succeeded(&bench, kvm_get_tsc_khz(bench.vcpu, &khz, &bench.error), "get the TSC's rate");
        succeeded(&bench, kvm_set_tsc_khz(bench.vcpu, khz, &bench.error), "set the same rate");
        uint32_t again = 0;
        kvm_get_tsc_khz(bench.vcpu, &again, &bench.error);
        CHECK(khz != 0);
        CHECK_EQUAL(again, khz);
    }
    close_bench(&bench);
}

/* Where the KVM clock writes to, and what the guest has added to the TSC. */
static void test_clock_msrs(void)
{
    struct bench bench;
    if (open_bench(&bench, "irqchip=none", NULL)) {
        struct x86_state out = {.pdptrs_known = false};
        bench.state.msr.kvm_system_time = 0x5001; /* bit 0: on */
        bench.state.msr.tsc_adjust = 0x1000;
        bench.state.msr.tsc_aux = 7;
        succeeded(&bench,
                  kvm_engine.set_state(bench.vcpu, X86_STATE_MSRS, &bench.state, &bench.error),
                  "set the MSRs");
        succeeded(&bench, kvm_engine.get_state(bench.vcpu, X86_STATE_MSRS, &out, &bench.error),
                  "get the MSRs");
        if (atomic_load(&bench.vm->refused_msrs) == 0) {
            CHECK_EQUAL(out.msr.kvm_system_time, 0x5001);
            CHECK_EQUAL(out.msr.tsc_adjust, 0x1000);
            CHECK_EQUAL(out.msr.tsc_aux, 7);
        } else {
            SKIP("this KVM refuses some MSRs");
        }
    }
    close_bench(&bench);
}

/* What is nonsense is refused with words, not taken. */
static void test_bad_state(void)
{
    struct bench bench;
    if (open_bench(&bench, "irqchip=none", NULL)) {
        bench.state.cr0 = X86_CR0_PG; /* paging without protection */
        bench.state.cr4 = UINT64_C(1) << 63;
        CHECK(kvm_engine.set_state(bench.vcpu, X86_STATE_SYSTEM, &bench.state, &bench.error) < 0);
        CHECK(strstr(bench.error.text, "system registers") != NULL);
    }
    close_bench(&bench);
}

/* Each breaks one rule, which the error names. */
static void test_refusal_is_explained(void)
{
    static const struct {
        uint64_t cr0, cr4, efer;
        uint32_t cs_attributes;
        const char *rule;
    } refused[] = {
        {X86_CR0_PG | X86_CR0_ET, 0, 0, 0, "cr0-paging-needs-protection (CR0 0x80000030)"},
        {X86_CR0_ET, UINT64_C(1) << 63, 0, 0, "cr4-fixed"},
        {X86_CR0_PE | X86_CR0_PG, X86_CR4_PAE, X86_EFER_LME, 0, "efer-lma-is-lme"},
        {X86_CR0_PE, X86_CR4_PAE, X86_EFER_LME | X86_EFER_LMA, 0, "ia32e-needs-paging"},
        {X86_CR0_PE | X86_CR0_PG, 0, X86_EFER_LME | X86_EFER_LMA, 0, "ia32e-needs-pae"},
        {X86_CR0_PE | X86_CR0_NW, 0, 0, 0, "cr0-nw-needs-cd"},
        {X86_CR0_PE, 0, 0, X86_SEGMENT_L, "cs-l-needs-ia32e (CS access rights"},
    };
    struct bench bench;
    if (open_bench(&bench, "irqchip=none", NULL)) {
        struct x86_state start = bench.state;
        for (unsigned int i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
            bench.state = start;
            bench.state.cr0 = refused[i].cr0;
            bench.state.cr4 = refused[i].cr4;
            bench.state.efer = refused[i].efer;
            bench.state.segment[X86_CS].attributes |= refused[i].cs_attributes;
            bench.error.text[0] = '\0';
            int code =
                kvm_engine.set_state(bench.vcpu, X86_STATE_SYSTEM, &bench.state, &bench.error);
            if (code == 0) {
                SKIP("this KVM takes a state that others refuse");
            } else if (!CHECK(strstr(bench.error.text, refused[i].rule) != NULL)) {
                fprintf(stderr, "    no '%s' in '%s'\n", refused[i].rule, bench.error.text);
            }
        }
    }
    close_bench(&bench);
}

/* KVM takes bad PDPTRs and the processor refuses them: the doctor is asked here, without KVM. */
static void test_explained_pdptrs(void)
{
    struct bench bench;
    if (open_bench(&bench, "irqchip=none", NULL)) {
        bench.state.cr0 |= X86_CR0_PE | X86_CR0_PG;
        bench.state.cr4 |= X86_CR4_PAE;
        bench.state.pdptrs_known = true;
        bench.state.pdptr[1] = 0x4003; /* bit 1 is reserved */
        error_set(&bench.error, EINVAL, "refused");
        kvm_explain_refusal(bench.vcpu, &bench.state, -EINVAL, &bench.error);
        CHECK(strstr(bench.error.text, "refused: it breaks pdpte-reserved (") == bench.error.text);
    }
    close_bench(&bench);
}

int main(void)
{
    if (kvm_is_usable()) {
        test_state_round_trip();
        test_pkru_cleared();
        test_bad_state();
        test_refusal_is_explained();
        test_explained_pdptrs();
        test_pdptrs();
        test_lapic("irqchip=kernel");
        test_lapic("irqchip=split");
        test_deadline("irqchip=kernel");
        test_deadline("irqchip=split");
        test_clocks();
        test_clock_msrs();
        test_activity(NULL);
        test_activity("irqchip=split");
        test_activity("irqchip=none");
    }
    return check_summary();
}
