/* CPUID tables: rules for leaves that are not there, and where features are told. */
#include "check.h"
#include "x86/cpuid.h"
#include "x86/state.h"

static struct cpuid_table small_table(void)
{
    struct cpuid_table table = {0};
    cpuid_set(&table, 0, 0, false, (struct cpuid_registers){.eax = 0xb, .ebx = 0x11});
    cpuid_set(&table, 1, 0, false, (struct cpuid_registers){.ecx = 1u << 20, .edx = 1u << 26});
    cpuid_set(&table, 7, 0, true, (struct cpuid_registers){.ebx = 1u << 5});
    cpuid_set(&table, 0xb, 0, true, (struct cpuid_registers){.ecx = 0x100, .edx = 3});
    cpuid_set(&table, 0xb, 1, true, (struct cpuid_registers){.ecx = 0x201, .edx = 3});
    cpuid_set(&table, 0x40000000, 0, false, (struct cpuid_registers){.eax = 0x40000001});
    cpuid_set(&table, 0x40000001, 0, false, (struct cpuid_registers){.eax = 0x77});
    cpuid_set(&table, 0x80000000, 0, false, (struct cpuid_registers){.eax = 0x80000001});
    cpuid_set(&table, 0x80000001, 0, false, (struct cpuid_registers){.edx = 1u << 11});
    return table;
}

static void test_answers(void)
{
    struct cpuid_table table = small_table();
    CHECK_EQUAL(cpuid_answer(&table, 0, 9).ebx, 0x11);
    CHECK_EQUAL(cpuid_answer(&table, 7, 0).ebx, 1u << 5);
    CHECK_EQUAL(cpuid_answer(&table, 7, 1).ebx, 0);
    CHECK_EQUAL(cpuid_answer(&table, 5, 0).eax, 0); /* in range, but not there */
    CHECK_EQUAL(cpuid_get(&table, 7, 0).ebx, 1u << 5);
    CHECK_EQUAL(cpuid_get(&table, 0x20, 0).ecx, 0); /* of no other leaf */
    /* Beyond the last basic leaf: the last one's, also for extended leaves. */
    CHECK_EQUAL(cpuid_answer(&table, 0x20, 1).ecx, 0x201);
    CHECK_EQUAL(cpuid_answer(&table, 0x80000002, 0).ecx, 0x100);
    CHECK_EQUAL(cpuid_answer(&table, 0x40000001, 0).eax, 0x77);
    CHECK_EQUAL(cpuid_answer(&table, 0x40000002, 0).eax, 0);
    CHECK_EQUAL(cpuid_answer(&table, 0xb, 7).ecx, 7);
    CHECK_EQUAL(cpuid_answer(&table, 0xb, 7).edx, 3);
    struct cpuid_table empty = {0};
    CHECK_EQUAL(cpuid_answer(&empty, 1, 0).edx, 0);
}

static void test_features(void)
{
    struct cpuid_table table = small_table();
    CHECK(cpuid_has(&table, X86_FEATURE_BASE));
    CHECK(cpuid_has(&table, X86_FEATURE_SSE2));
    CHECK(cpuid_has(&table, X86_FEATURE_SSE4_2));
    CHECK(cpuid_has(&table, X86_FEATURE_AVX2));
    CHECK(cpuid_has(&table, X86_FEATURE_SYSCALL));
    CHECK(!cpuid_has(&table, X86_FEATURE_SSE3));
    CHECK(!cpuid_has(&table, X86_FEATURE_XSAVES)); /* leaf 0xD is out of range */
    CHECK(!cpuid_has(&table, X86_FEATURE_COUNT));
    struct cpuid_table empty = {0};
    for (int i = 1; i < X86_FEATURE_COUNT; i++) {
        CHECK(!cpuid_has(&empty, (enum x86_feature)i));
    }
}

/* Every feature has a place: a table of ones shows all, and each needs just one bit of it. */
static void test_all_features(void)
{
    static const uint32_t places[][2] = {{1, 0}, {7, 0}, {7, 1}, {0xd, 1}, {0x80000001, 0}};
    const struct cpuid_registers ones = {~0u, ~0u, ~0u, ~0u};

    for (int feature = 1; feature < X86_FEATURE_COUNT; feature++) {
        unsigned int shown = 0;
        for (unsigned int place = 0; place < 5; place++) {
            struct cpuid_table table = {0};
            cpuid_set(&table, 0, 0, false, (struct cpuid_registers){.eax = 0xd});
            cpuid_set(&table, 0x80000000, 0, false, (struct cpuid_registers){.eax = 0x80000001});
            cpuid_set(&table, places[place][0], places[place][1], true, ones);
            shown += cpuid_has(&table, (enum x86_feature)feature);
        }
        CHECK_EQUAL(shown, 1);
    }
}

/* The host knows the features of x86-64. */
static void test_host(void)
{
    struct cpuid_table table = {0};
    cpuid_set(&table, 0, 0, false, cpuid_host(0, 0));
    cpuid_set(&table, 1, 0, false, cpuid_host(1, 0));
    cpuid_set(&table, 0x80000000, 0, false, cpuid_host(0x80000000, 0));
    cpuid_set(&table, 0x80000001, 0, false, cpuid_host(0x80000001, 0));
    CHECK(cpuid_has(&table, X86_FEATURE_SSE2));
    CHECK(cpuid_has(&table, X86_FEATURE_CMOV));
    CHECK(cpuid_has(&table, X86_FEATURE_SYSCALL));
    CHECK(cpuid_has(&table, X86_FEATURE_FXSR));
}

static void test_full_table(void)
{
    struct cpuid_table table = {0};
    for (uint32_t i = 0; i < CPUID_ENTRIES_MAX; i++) {
        CHECK(cpuid_set(&table, i, 0, false, (struct cpuid_registers){.eax = i}));
    }
    CHECK(!cpuid_set(&table, 1000, 0, false, (struct cpuid_registers){0}));
    CHECK(cpuid_set(&table, 3, 0, false, (struct cpuid_registers){.eax = 99}));
    CHECK_EQUAL(cpuid_find(&table, 3, 0)->registers.eax, 99);
}

static void test_reset_and_init(void)
{
    struct x86_state state = {.msr.lstar = 5, .gpr = {1, 2, 3}};
    x86_state_reset(&state);
    CHECK_EQUAL(state.segment[X86_CS].base + state.rip, 0xfffffff0);
    CHECK_EQUAL(state.segment[X86_CS].attributes, 0x9b);
    CHECK_EQUAL(state.cr0, 0x60000010);
    CHECK_EQUAL(state.rflags, 2);
    CHECK_EQUAL(state.msr.lstar, 0);
    CHECK_EQUAL(state.gpr[X86_RAX], 0);
    CHECK_EQUAL(state.dr[6], 0xffff0ff0);
    CHECK_EQUAL(state.xsave[0], 0x40);

    state.cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_NW | X86_CR0_ET;
    state.cr4 = X86_CR4_PAE;
    state.efer = X86_EFER_LME;
    state.xcr0 = 7;
    state.msr.lstar = 5;
    state.activity = X86_HALTED;
    x86_state_init(&state);
    CHECK_EQUAL(state.cr0, X86_CR0_NW | X86_CR0_ET);
    CHECK_EQUAL(state.cr4 | state.efer, 0);
    CHECK_EQUAL(state.xcr0, 7);
    CHECK_EQUAL(state.msr.lstar, 5);
    CHECK_EQUAL(state.activity, X86_ACTIVE);
    CHECK_EQUAL(state.segment[X86_CS].selector, 0xf000);
}

int main(void)
{
    test_answers();
    test_features();
    test_all_features();
    test_host();
    test_full_table();
    test_reset_and_init();
    return check_summary();
}
