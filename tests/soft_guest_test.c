/* Tiny guests on the real software CPU: what public exams found, and the like of it. */
#include <string.h>

#include "check.h"
#include "engines/soft/soft.h"
#include "engines/soft/translate/select.h"
#include "soft_guest.h"
#include "x86/cpuid.h"
#include "x86/msr.h"
#include "x86/registers.h"

#define NON_CANONICAL UINT64_C(0x8000000000000000)
#define LOAD(guest, ...)                                                                           \
    do {                                                                                           \
        static const uint8_t code_[] = {__VA_ARGS__};                                              \
        soft_guest_load((guest), code_, sizeof code_);                                             \
    } while (0)

/* "Canonical Addressing": #GP(0), and #SS(0) through RSP and RBP, before any page is looked at. */
static void test_non_canonical_operands(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    guest.state.cr2 = 0x1234;
    guest.state.gpr[X86_RAX] = NON_CANONICAL;
    LOAD(&guest, 0x48, 0x83, 0x08, 0x00); /* or qword [rax], 0 */
    soft_guest_run(&guest);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_GP);
    CHECK_EQUAL(soft_guest_frame(&guest, 0), 0);
    LOAD(&guest, 0x48, 0x83, 0x0c, 0x04, 0x00); /* or qword [rsp+rax], 0 */
    soft_guest_run(&guest);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_SS);
    LOAD(&guest, 0x48, 0x83, 0x4c, 0x05, 0x00, 0x00); /* or qword [rbp+rax], 0 */
    soft_guest_run(&guest);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_SS);
    CHECK_EQUAL(guest.state.cr2, 0x1234);
    soft_guest_close(&guest);
}

/* IRET to an outer level makes GS null, but 64-bit code goes on using its base. */
static void test_base_of_nullified_segment(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    const uint64_t gdt = SOFT_GUEST_DATA;
    soft_guest_write(&guest, gdt + 0x20, UINT64_C(0x00affb000000ffff), 8); /* code, DPL 3 */
    soft_guest_write(&guest, gdt + 0x28, UINT64_C(0x00cff3000000ffff), 8); /* data, DPL 3 */
    guest.state.gdtr = (struct x86_table_register){.base = gdt, .limit = 0x2f};
    guest.state.segment[X86_GS].base = 0x5000;
    const uint64_t stack = SOFT_GUEST_STACK - 40;
    const uint64_t frame[] = {SOFT_GUEST_CODE + 0x100, 0x23, X86_FLAGS_ONE, SOFT_GUEST_STACK, 0x2b};
    for (unsigned int i = 0; i < 5; i++) {
        soft_guest_write(&guest, stack + 8 * i, frame[i], 8);
    }
    guest.state.gpr[X86_RSP] = stack;
    LOAD(&guest, 0x48, 0xcf); /* iretq, to a page that level 3 may not read */
    guest.state.segment[X86_TR].base = SOFT_GUEST_DATA + 0x1000;
    soft_guest_write(&guest, SOFT_GUEST_DATA + 0x1000 + 4, SOFT_GUEST_STACK, 8);
    soft_guest_write(&guest, gdt + 0x10, UINT64_C(0x00af9b000000ffff), 8);
    soft_guest_run(&guest);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_PF);
    CHECK_EQUAL(guest.state.segment[X86_GS].selector, 0);
    CHECK_EQUAL(guest.state.segment[X86_GS].base, 0x5000);
    soft_guest_close(&guest);
}

/* Of NMIs that come together two are taken, one after the other; a third is lost. */
static void test_several_nmis(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    LOAD(&guest, 0x90, 0xf4);
    for (unsigned int i = 0; i < 3; i++) {
        CHECK_EQUAL(soft_engine.nmi(guest.vcpu), 0);
    }
    soft_guest_run(&guest);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_NMI);
    CHECK(guest.state.nmi_blocked && guest.state.nmi_pending);
    CHECK_EQUAL(soft_engine.nmi(guest.vcpu), 0);
    soft_guest_run(&guest);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_NMI);
    CHECK(guest.state.nmi_blocked && !guest.state.nmi_pending);
    soft_guest_run(&guest);
    CHECK_EQUAL(soft_guest_vector(&guest), -1);
    CHECK_EQUAL(guest.state.rip, SOFT_GUEST_CODE + 2);
    soft_guest_close(&guest);
}

/* Maps the page at 0xffff800000000000, not global, beside what entry 0 of the first PML4 maps. */
static void make_space(struct soft_guest *guest, uint64_t tables, uint64_t page)
{
    const uint64_t entry = 3; /* present, writable */
    soft_guest_write(guest, tables, soft_guest_read(guest, guest->state.cr3, 8), 8);
    soft_guest_write(guest, tables + 256 * 8, (tables + 0x1000) | entry, 8);
    soft_guest_write(guest, tables + 0x1000, (tables + 0x2000) | entry, 8);
    soft_guest_write(guest, tables + 0x2000, (tables + 0x3000) | entry, 8);
    soft_guest_write(guest, tables + 0x3000, page | entry, 8);
}

/*
 * Code in the upper half that is not global is another one in another address space, also when
 * blocks were dropped between its fetch and the switch.
 */
static void test_upper_code_of_each_space(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    const uint64_t first = SOFT_GUEST_DATA, second = SOFT_GUEST_DATA + 0x4000;
    const uint64_t page = SOFT_GUEST_DATA + 0x8000;
    make_space(&guest, first, page);
    make_space(&guest, second, page + 0x1000);
    soft_guest_write(&guest, page, 0xc301c283, 4);          /* add edx, 1; ret */
    soft_guest_write(&guest, page + 0x1000, 0xc310c283, 4); /* add edx, 16; ret */
    /* call rax; mov byte [rip + 8], 0 (beside this code); call rax; mov cr3, rbx; call rax; hlt */
    LOAD(&guest, 0xff, 0xd0, 0xc6, 0x05, 0x08, 0x00, 0x00, 0x00, 0x00, 0xff, 0xd0, 0x0f, 0x22, 0xdb,
         0xff, 0xd0, 0xf4, 0x00);
    guest.state.cr3 = first;
    guest.state.gpr[X86_RAX] = UINT64_C(0xffff800000000000);
    guest.state.gpr[X86_RBX] = second;
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
    CHECK_EQUAL(guest.state.gpr[X86_RDX], 1 + 1 + 16);
    soft_guest_close(&guest);
}

/* IA32_FLUSH_CMD is not there: CPUID does not show L1D_FLUSH. */
static void test_absent_msr(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    LOAD(&guest, 0x0f, 0x30); /* wrmsr */
    guest.state.gpr[X86_RCX] = X86_MSR_IA32_FLUSH_CMD;
    guest.state.gpr[X86_RAX] = 1;
    soft_guest_run(&guest);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_GP);
    CHECK_EQUAL(soft_guest_frame(&guest, 0), 0);
    soft_guest_close(&guest);
}

/*
 * The instruction that reads a device most often: every component, with PKRU far out in the area.
 * It comes to its end, and reads nothing but the components.
 */
static void test_xrstor_from_device(void)
{
    static uint8_t area[0x1000];
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    area[24] = 0x80, area[25] = 0x1f;   /* MXCSR */
    area[512] = 0x03, area[513] = 0x02; /* XSTATE_BV: PKRU, SSE, x87 */
    area[2688] = 0x54;
    guest.state.cr4 |= X86_CR4_OSXSAVE | X86_CR4_OSFXSR | X86_CR4_PKE;
    guest.state.xcr0 = 0x203;
    guest.state.gpr[X86_RBX] = SOFT_GUEST_DEVICE;
    guest.state.gpr[X86_RAX] = 0x203;
    guest.state.gpr[X86_RCX] = guest.state.gpr[X86_RDX] = 0;
    LOAD(&guest, 0x0f, 0xae, 0x2b, 0x0f, 0x01, 0xee, 0xf4); /* xrstor [rbx]; rdpkru */
    unsigned int reads = 0;
    while (reads < 1000 && soft_guest_run(&guest) == EXIT_MMIO) {
        uint64_t offset = guest.exit.mmio.address - SOFT_GUEST_DEVICE;
        CHECK(!guest.exit.mmio.is_write && offset < sizeof area);
        CHECK(offset < 576 || offset == 2688);
        memcpy(guest.exit.mmio.data, area + (offset & 0xfff), guest.exit.mmio.size);
        reads++;
    }
    CHECK_EQUAL(reads, 576 / 8 + 1);
    CHECK_EQUAL(soft_guest_vector(&guest), -1);
    CHECK_EQUAL(guest.state.gpr[X86_RAX], 0x54);
    soft_guest_close(&guest);
}

/* CALL through memory: it is the push that finds RSP not canonical, not the operand. */
static void test_non_canonical_push(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    soft_guest_write(&guest, SOFT_GUEST_DATA + 0x1004, SOFT_GUEST_STACK, 8);
    guest.state.segment[X86_TR].base = SOFT_GUEST_DATA + 0x1000;
    soft_guest_write(&guest, SOFT_GUEST_DATA + 0x1000 + 36, SOFT_GUEST_STACK, 8);
    const uint64_t gate = guest.state.idtr.base + X86_VECTOR_SS * 16;
    soft_guest_write(&guest, gate + 4, 1, 1); /* a stack of its own */
    guest.state.gpr[X86_RBX] = SOFT_GUEST_DATA;
    guest.state.gpr[X86_RSP] = NON_CANONICAL;
    LOAD(&guest, 0xff, 0x13); /* call [rbx] */
    soft_guest_run(&guest);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_SS);
    LOAD(&guest, 0xff, 0x33); /* push qword [rbx] */
    guest.state.gpr[X86_RSP] = NON_CANONICAL;
    soft_guest_run(&guest);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_SS);
    soft_guest_close(&guest);
}

/* A block decoded in real-address mode, where VEX is no prefix, does not serve protected mode. */
static void test_vex_after_real_mode(void)
{
    struct soft_guest guest;
    if ((cpuid_host(7, 0).ebx & 8) == 0) {
        return; /* the host has no BMI1 to show */
    }
    if (!soft_guest_open(&guest, SOFT_GUEST_32)) {
        return;
    }
    const struct x86_table_register idtr = guest.state.idtr;
    struct x86_segment *code = &guest.state.segment[X86_CS];
    const uint16_t selector = code->selector;
    LOAD(&guest, 0xc4, 0xe2, 0x60, 0xf2, 0xc1, 0xf4); /* andn eax, ebx, ecx; hlt */
    code->base = SOFT_GUEST_CODE;
    code->limit = 0xffff;
    code->attributes &= ~X86_SEGMENT_DB;
    guest.state.rip = 0;
    guest.state.gpr[X86_RBX] = 0x0f;
    guest.state.gpr[X86_RCX] = 0x3c;
    guest.state.gpr[X86_RSP] = 0x8000;
    guest.state.cr0 &= ~X86_CR0_PE;
    guest.state.idtr = (struct x86_table_register){.base = SOFT_GUEST_DATA, .limit = 0x3ff};
    soft_guest_write(&guest, SOFT_GUEST_DATA + X86_VECTOR_UD * 4, UINT64_C(0x60000000), 4);
    soft_guest_write(&guest, 0x60000, 0xf4, 1);
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
    CHECK_EQUAL(code->selector, 0x6000); /* the handler of #UD */
    code->base = SOFT_GUEST_CODE;
    code->selector = selector;
    guest.state.rip = 0;
    guest.state.cr0 |= X86_CR0_PE;
    guest.state.idtr = idtr;
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
    CHECK_EQUAL(guest.state.rip, 6);
    CHECK_EQUAL(guest.state.gpr[X86_RAX], 0x30);
    soft_guest_close(&guest);
}

/* "TZCNT", "LZCNT": BSF and BSR to a guest that is shown no such feature. */
static void test_count_without_feature(void)
{
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    struct soft_cpu *cpu = (void *)guest.vcpu; /* it begins with that (engine.c) */
    cpu->features &= ~(UINT64_C(1) << X86_FEATURE_BMI1 | UINT64_C(1) << X86_FEATURE_LZCNT);
    LOAD(&guest, 0xf3, 0x0f, 0xbc, 0xc3, 0xf3, 0x0f, 0xbd, 0xcb, 0xf4); /* eax, ecx of ebx */
    guest.state.gpr[X86_RBX] = 0x100;
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
    CHECK_EQUAL(guest.state.gpr[X86_RAX], 8);
    CHECK_EQUAL(guest.state.gpr[X86_RCX], 8); /* not 23 */
    soft_guest_close(&guest);
}

/* The host need not have what the interpreter does by itself. */
static void test_feature_that_host_lacks(void)
{
    static const uint8_t code[] = {0x66, 0x0f, 0x38, 0xf6, 0xc3}; /* adcx eax, ebx */
    struct soft_guest guest;
    if (!soft_guest_open(&guest, SOFT_GUEST_64)) {
        return;
    }
    struct soft_cpu *cpu = (void *)guest.vcpu;
    if (cpu->translate.translator != NULL) {
        struct unit unit = {.mode = X86_DECODE_64};
        struct unit_instruction at = {.kind = UNIT_NATIVE};
        const uint64_t adx = UINT64_C(1) << X86_FEATURE_ADX;
        CHECK_EQUAL(x86_decode(X86_DECODE_64, code, sizeof code, &at.in.decoded), X86_DECODE_OK);
        cpu->translate.translator->host_features |= adx;
        CHECK(translate_can_select(cpu, &unit, &at));
        cpu->translate.translator->host_features &= ~adx;
        CHECK(!translate_can_select(cpu, &unit, &at));
    }
    soft_guest_close(&guest);
}

int main(void)
{
    test_count_without_feature();
    test_feature_that_host_lacks();
    test_vex_after_real_mode();
    test_xrstor_from_device();
    test_non_canonical_push();
    test_upper_code_of_each_space();
    test_non_canonical_operands();
    test_base_of_nullified_segment();
    test_several_nmis();
    test_absent_msr();
    return check_summary();
}
