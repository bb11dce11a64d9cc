/* Stack, branch, string, port and system instructions of the software CPU, one rule at a time. */
#include <string.h>
#include <time.h>

#include "check.h"
#include "engines/soft/control.h"
#include "engines/soft/debug.h"
#include "engines/soft/io.h"
#include "engines/soft/msr.h"
#include "engines/soft/system.h"
#include "soft_identity.h"
#include "vm/paravirt_clock.h"
#include "x86/msr.h"

#define CPU          (&identity_cpu)
#define NONCANONICAL UINT64_C(0x0000800000000000)

static uint8_t memory[3 * 4096] __attribute__((aligned(4096)));

static uint64_t at(unsigned int offset)
{
    return (uint64_t)(memory + offset);
}

static uint64_t quad(unsigned int offset)
{
    uint64_t value;
    memcpy(&value, memory + offset, 8);
    return value;
}

static uint32_t doubleword(unsigned int offset)
{
    return (uint32_t)quad(offset);
}

static void put_quad(unsigned int offset, uint64_t value)
{
    memcpy(memory + offset, &value, 8);
}

/* --- stack --- */

static void test_push_pop_rsp(void)
{
    identity_reset();
    CPU->gpr[X86_RSP] = at(256);
    CHECK_EQUAL(RUN(0x54), IDENTITY_DONE); /* push rsp */
    CHECK_EQUAL(quad(248), at(256));
    put_quad(248, at(512));
    CHECK_EQUAL(RUN(0x5c), IDENTITY_DONE); /* pop rsp */
    CHECK_EQUAL(CPU->gpr[X86_RSP], at(512));
    CPU->gpr[X86_RSP] = at(256);
    put_quad(256, 77);
    CHECK_EQUAL(RUN(0x8f, 0x44, 0x24, 0x08), IDENTITY_DONE); /* pop [rsp + 8] */
    CHECK_EQUAL(quad(272), 77); /* the address is computed after the increment */
    CHECK_EQUAL(CPU->gpr[X86_RSP], at(264));
    CHECK_EQUAL(RUN(0x6a, 0xff), IDENTITY_DONE); /* push -1 */
    CHECK_EQUAL(quad(256), UINT64_MAX);
    CHECK_EQUAL(RUN(0x66, 0x6a, 0xfe), IDENTITY_DONE); /* a word */
    CHECK_EQUAL(CPU->gpr[X86_RSP], at(254));
}

static void test_pop_fault_changes_nothing(void)
{
    identity_reset();
    CPU->gpr[X86_RSP] = at(256);
    identity_wall = at(4096);
    CPU->gpr[X86_RAX] = at(5000);
    CHECK(FAULTS(X86_VECTOR_PF, X86_PF_WRITE, 0x8f, 0x00)); /* pop [rax] */
    CHECK_EQUAL(CPU->gpr[X86_RSP], at(256));
    CPU->gpr[X86_RSP] = NONCANONICAL + 8;
    CHECK(FAULTS(X86_VECTOR_SS, 0, 0x50));
    CHECK_EQUAL(CPU->gpr[X86_RSP], NONCANONICAL + 8);
}

static void test_enter_leave(void)
{
    identity_reset();
    CPU->gpr[X86_RSP] = at(1024);
    CPU->gpr[X86_RBP] = at(2048);
    put_quad(2040, 11);
    put_quad(2032, 22);
    CHECK_EQUAL(RUN(0xc8, 0x20, 0x00, 0x03), IDENTITY_DONE); /* enter 32, 3 */
    CHECK_EQUAL(quad(1016), at(2048));
    CHECK_EQUAL(quad(1008), 11);
    CHECK_EQUAL(quad(1000), 22);
    CHECK_EQUAL(quad(992), at(1016));
    CHECK_EQUAL(CPU->gpr[X86_RBP], at(1016));
    CHECK_EQUAL(CPU->gpr[X86_RSP], at(992 - 32));
    CHECK_EQUAL(RUN(0xc9), IDENTITY_DONE); /* leave */
    CHECK_EQUAL(CPU->gpr[X86_RBP], at(2048));
    CHECK_EQUAL(CPU->gpr[X86_RSP], at(1024));
}

static void test_pusha_popa(void)
{
    identity_reset_32((uint64_t)memory);
    for (unsigned int i = 0; i < 8; i++) {
        CPU->gpr[i] = 100 + i;
    }
    CPU->gpr[X86_RSP] = 256;
    CHECK_EQUAL(RUN(0x60), IDENTITY_DONE);
    CHECK_EQUAL(CPU->gpr[X86_RSP], 224);
    CHECK_EQUAL(doubleword(252), 100);
    CHECK_EQUAL(doubleword(236), 256); /* ESP as it was */
    CHECK_EQUAL(doubleword(224), 107);
    memset(CPU->gpr, 0, 4 * sizeof CPU->gpr[0]);
    CHECK_EQUAL(RUN(0x61), IDENTITY_DONE);
    CHECK_EQUAL(CPU->gpr[X86_RAX], 100);
    CHECK_EQUAL(CPU->gpr[X86_RBX], 103);
    CHECK_EQUAL(CPU->gpr[X86_RSP], 256);
    CPU->segment[X86_SS].limit = 239; /* the last ones fit, the first does not */
    CHECK(FAULTS(X86_VECTOR_SS, 0, 0x60));
    CHECK_EQUAL(CPU->gpr[X86_RSP], 256);
}

/* --- branches --- */

static void test_branches(void)
{
    identity_reset();
    CPU->rip = 0x1000;
    CPU->gpr[X86_RSP] = at(256);
    CHECK_EQUAL(RUN(0xe8, 0x10, 0, 0, 0), IDENTITY_DONE);
    CHECK_EQUAL(CPU->rip, 0x1015);
    CHECK_EQUAL(quad(248), 0x1005);
    CHECK_EQUAL(RUN(0xc2, 0x10, 0), IDENTITY_DONE); /* ret 16 */
    CHECK_EQUAL(CPU->rip, 0x1005);
    CHECK_EQUAL(CPU->gpr[X86_RSP], at(272));
    CPU->gpr[X86_RAX] = NONCANONICAL;
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0xff, 0xe0));
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0xff, 0xd0));
    CHECK_EQUAL(CPU->gpr[X86_RSP], at(272));
    put_quad(272, NONCANONICAL);
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0xc3));
    CPU->gpr[X86_RCX] = UINT64_C(0x700000001);
    CHECK_EQUAL(RUN(0x67, 0xe2, 0x10), IDENTITY_DONE); /* loop by ECX: not taken */
    CHECK_EQUAL(CPU->rip, 0x1008);
    CHECK_EQUAL(CPU->gpr[X86_RCX], 0);
    CHECK_EQUAL(RUN(0xe3, 0xfe), IDENTITY_DONE); /* jrcxz to itself */
    CHECK_EQUAL(CPU->rip, 0x1008);
}

static void test_branch_limit(void)
{
    identity_reset_32((uint64_t)memory);
    CPU->segment[X86_CS].limit = 0x1fff;
    CPU->rip = 0x1ff0;
    CPU->gpr[X86_RCX] = 5;
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0xeb, 0x20));
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0xe2, 0x20));
    CHECK_EQUAL(CPU->gpr[X86_RCX], 5); /* the count is untouched */
    CHECK_EQUAL(RUN(0x66, 0xeb, 0x0e), IDENTITY_FAULT);
    CPU->rip = 0xfff0;
    CPU->segment[X86_CS].limit = 0xffffffff;
    CHECK_EQUAL(RUN(0x66, 0xeb, 0x20), IDENTITY_DONE); /* IP wraps at 16 bits */
    CHECK_EQUAL(CPU->rip, 0x13);
}

/* --- arithmetic that is not in 64-bit mode, and faults --- */

static void decimal(uint16_t ax, uint64_t flags, uint8_t opcode, uint16_t result, uint64_t expected)
{
    CPU->gpr[X86_RAX] = ax;
    soft_set_arithmetic_flags(CPU, flags);
    uint8_t bytes[1] = {opcode};
    CHECK_EQUAL(identity_run(bytes, 1), IDENTITY_DONE);
    CHECK_EQUAL(CPU->gpr[X86_RAX], result);
    CHECK_EQUAL(soft_arithmetic_flags(CPU) & (X86_FLAGS_CF | X86_FLAGS_AF), expected);
}

static void test_decimal(void)
{
    identity_reset_32((uint64_t)memory);
    const uint64_t cf = X86_FLAGS_CF, af = X86_FLAGS_AF;
    decimal(0x79 + 0x35, 0, 0x27, 0x14, cf | af); /* 79 + 35 = 114 */
    decimal(0x35, 0, 0x27, 0x35, 0);
    decimal(0x9a, 0, 0x27, 0x00, cf | af);
    decimal(0x35 - 0x47 + 0x100, cf | af, 0x2f, 0x88, cf | af); /* 35 - 47 */
    decimal(0x05, af, 0x2f, 0xff, cf | af);
    decimal(0x000f, 0, 0x37, 0x0105, cf | af);
    decimal(0x0009, 0, 0x37, 0x0009, 0);
    decimal(0x020f, 0, 0x3f, 0x0109, cf | af);
    CPU->gpr[X86_RAX] = 0x4b; /* 75 */
    CHECK_EQUAL(RUN(0xd4, 0x0a), IDENTITY_DONE);
    CHECK_EQUAL(CPU->gpr[X86_RAX], 0x0705);
    CHECK_EQUAL(RUN(0xd5, 0x0a), IDENTITY_DONE);
    CHECK_EQUAL(CPU->gpr[X86_RAX], 0x004b);
    CHECK(FAULTS(X86_VECTOR_DE, -1, 0xd4, 0x00));
    soft_set_arithmetic_flags(CPU, cf);
    CHECK_EQUAL(RUN(0xd6), IDENTITY_DONE);
    CHECK_EQUAL(CPU->gpr[X86_RAX], 0xff);
}

static void test_bound(void)
{
    identity_reset_32((uint64_t)memory);
    put_quad(64, UINT64_C(0x00000005fffffffe)); /* -2 … 5 */
    CPU->gpr[X86_RBX] = 64;
    CPU->gpr[X86_RAX] = 0xfffffffe;
    CHECK_EQUAL(RUN(0x62, 0x03), IDENTITY_DONE);
    CPU->gpr[X86_RAX] = 6;
    CHECK(FAULTS(X86_VECTOR_BR, -1, 0x62, 0x03));
}

static void test_alignment_of_cmpxchg16b(void)
{
    identity_reset();
    CPU->gpr[X86_RBX] = at(8);
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0xf0, 0x48, 0x0f, 0xc7, 0x0b));
}

/* --- strings --- */

static void test_string_fault_is_precise(void)
{
    identity_reset();
    for (unsigned int i = 0; i < 2048; i++) {
        memory[i] = (uint8_t)(i * 7);
    }
    identity_wall = at(8192);
    CPU->gpr[X86_RSI] = at(0);
    CPU->gpr[X86_RDI] = at(8192 - 1000);
    CPU->gpr[X86_RCX] = 2000;
    CHECK(FAULTS(X86_VECTOR_PF, X86_PF_WRITE, 0xf3, 0xa4));
    CHECK_EQUAL(CPU->gpr[X86_RCX], 1000);
    CHECK_EQUAL(CPU->gpr[X86_RSI], at(1000));
    CHECK_EQUAL(CPU->gpr[X86_RDI], at(8192));
    CHECK(memcmp(memory + 8192 - 1000, memory, 1000) == 0);
    identity_chunks = false; /* element by element it is the same */
    CPU->gpr[X86_RDI] = at(8192 - 1000);
    CHECK(FAULTS(X86_VECTOR_PF, X86_PF_WRITE, 0xf3, 0xab));
    CHECK_EQUAL(CPU->gpr[X86_RCX], 1000 - 250);
}

static void test_string_pauses(void)
{
    identity_reset();
    CPU->rip = 0x1000;
    CPU->gpr[X86_RDI] = at(100);
    CPU->gpr[X86_RCX] = 8000;
    soft_attend(CPU, SOFT_ATTENTION_KICK);
    CHECK_EQUAL(RUN(0xf3, 0xaa), IDENTITY_DONE);
    CHECK_EQUAL(CPU->rip, 0x1000); /* to be resumed */
    CHECK_EQUAL(CPU->gpr[X86_RCX], 8000 - 3996);
    atomic_store(&CPU->attention, 0);
    CHECK_EQUAL(RUN(0xf3, 0xaa), IDENTITY_DONE);
    CHECK_EQUAL(CPU->rip, 0x1002);
    CHECK_EQUAL(CPU->gpr[X86_RCX], 0);
}

static void test_string_limits(void)
{
    identity_reset_32((uint64_t)memory);
    CPU->segment[X86_ES].limit = 1001; /* the last doubleword does not fit */
    CPU->gpr[X86_RDI] = 0;
    CPU->gpr[X86_RCX] = 300;
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0xf3, 0xab));
    CHECK_EQUAL(CPU->gpr[X86_RDI], 1000);
    CHECK_EQUAL(CPU->gpr[X86_RCX], 50);
    CPU->segment[X86_ES].limit = 0xffffffff;
    CPU->gpr[X86_RDI] = 0xabcdfffe;
    CPU->gpr[X86_RCX] = 0x55550004;
    memset(memory, 0xee, 16);
    identity_reset_32((uint64_t)memory); /* 16-bit addresses wrap within the segment */
    CPU->gpr[X86_RSI] = 0xabcd0ffe;
    CPU->gpr[X86_RDI] = 0xabcd1ffe;
    CPU->gpr[X86_RCX] = 0x55550004;
    CHECK_EQUAL(RUN(0x67, 0xf3, 0xa4), IDENTITY_DONE);
    CHECK_EQUAL(CPU->gpr[X86_RSI], 0xabcd1002);
    CHECK_EQUAL(CPU->gpr[X86_RCX], 0x55550000);
}

/* --- ports --- */

static void test_ports(void)
{
    identity_reset();
    CPU->gpr[X86_RAX] = UINT64_C(0x1122334455667788);
    CPU->gpr[X86_RDX] = 0x3f8;
    CHECK_EQUAL(RUN(0xef), IDENTITY_DONE);
    CHECK(identity_left);
    CHECK_EQUAL(identity_exit.reason, EXIT_PIO);
    CHECK_EQUAL(identity_exit.pio.port, 0x3f8);
    CHECK_EQUAL(identity_exit.pio.size, 4);
    CHECK(identity_exit.pio.is_write);
    CHECK_EQUAL(*(uint32_t *)(void *)identity_exit.pio.data, 0x55667788);
    CHECK(!CPU->completing);
    CHECK_EQUAL(RUN(0xe4, 0x60), IDENTITY_DONE); /* in al, 0x60 */
    CHECK_EQUAL(identity_exit.pio.port, 0x60);
    CHECK(CPU->completing && !identity_exit.pio.is_write);
    identity_exit.pio.data[0] = 0x42;
    soft_io_complete(CPU);
    CHECK_EQUAL(CPU->gpr[X86_RAX], UINT64_C(0x1122334455667742));
}

static void test_string_ports(void)
{
    identity_reset();
    CPU->rip = 0x1000;
    CPU->gpr[X86_RDX] = 0x1f0;
    CPU->gpr[X86_RDI] = at(64);
    CPU->gpr[X86_RCX] = 2;
    for (unsigned int i = 0; i < 2; i++) {
        CHECK_EQUAL(RUN(0xf3, 0x66, 0x6d), IDENTITY_EXIT); /* rep insw: exit, then again */
        CHECK_EQUAL(CPU->gpr[X86_RCX], 2 - i);
        memcpy(identity_exit.pio.data, i == 0 ? "ab" : "cd", 2);
        soft_io_complete(CPU);
        CHECK_EQUAL(RUN(0xf3, 0x66, 0x6d), IDENTITY_DONE);
        CHECK_EQUAL(CPU->mmio_done, 0);
    }
    CHECK_EQUAL(CPU->rip, 0x1003);
    CHECK(memcmp(memory + 64, "abcd", 4) == 0);
    identity_wall = at(4096);
    CPU->gpr[X86_RDI] = at(5000);
    CHECK(FAULTS(X86_VECTOR_PF, X86_PF_WRITE, 0x6c)); /* before the port is read */
    CPU->gpr[X86_RSI] = at(64);
    CPU->gpr[X86_RCX] = 2;
    CPU->rip = 0x1000;
    CHECK_EQUAL(RUN(0xf3, 0x6e), IDENTITY_DONE);
    CHECK(identity_left && identity_exit.pio.data[0] == 'a');
    CHECK_EQUAL(CPU->rip, 0x1000);
    CHECK_EQUAL(RUN(0xf3, 0x6e), IDENTITY_DONE);
    CHECK(identity_exit.pio.data[0] == 'b');
    CHECK_EQUAL(CPU->rip, 0x1002);
}

static void test_port_permission(void)
{
    identity_reset();
    identity_set_cpl(3);
    memset(memory, 0, sizeof memory);
    CPU->segment[X86_TR] =
        (struct x86_segment){.base = at(0), .limit = 0x68 + 8, .attributes = 0x8b};
    memory[0x66] = 0x68;
    memory[0x68] = 0x02; /* port 1 is forbidden */
    CHECK_EQUAL(RUN(0xe4, 0x00), IDENTITY_DONE);
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0xe4, 0x01));
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0x66, 0xe5, 0x00)); /* ports 0 and 1 */
    CHECK_EQUAL(RUN(0xe5, 0x02), IDENTITY_DONE);
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0xe4, 0x40)); /* its bit lies beyond the limit */
    CPU->flags |= X86_FLAGS_IOPL;
    CHECK_EQUAL(RUN(0xe4, 0x01), IDENTITY_DONE);
}

/* --- control registers --- */

static void test_cr0(void)
{
    identity_reset();
    CHECK(!soft_write_cr0(CPU, X86_CR0_PE)); /* paging off from 64-bit mode */
    CHECK(!soft_write_cr0(CPU, X86_CR0_PG)); /* PG without PE */
    CHECK(!soft_write_cr0(CPU, CPU->cr0 | X86_CR0_NW));
    CHECK(!soft_write_cr0(CPU, CPU->cr0 | UINT64_C(1) << 32));
    CHECK(soft_write_cr0(CPU, CPU->cr0 | X86_CR0_WP | 0x40));
    CHECK_EQUAL(CPU->cr0, X86_CR0_PE | X86_CR0_PG | X86_CR0_ET | X86_CR0_WP);
    identity_reset_32(0);
    CPU->efer = X86_EFER_LME;
    CHECK(!soft_write_cr0(CPU, CPU->cr0 | X86_CR0_PG)); /* LME needs PAE */
    CPU->cr4 = X86_CR4_PAE;
    CPU->segment[X86_CS].attributes |= X86_SEGMENT_L;
    CHECK(!soft_write_cr0(CPU, CPU->cr0 | X86_CR0_PG));
    CPU->segment[X86_CS].attributes &= ~X86_SEGMENT_L;
    CHECK(soft_write_cr0(CPU, CPU->cr0 | X86_CR0_PG));
    CHECK_EQUAL(CPU->efer, X86_EFER_LME | X86_EFER_LMA);
    CHECK(!soft_write_efer(CPU, 0)); /* LME while paging */
    CHECK(soft_write_cr0(CPU, CPU->cr0 & ~X86_CR0_PG));
    CHECK_EQUAL(CPU->efer, X86_EFER_LME);
    CPU->efer = 0;
    identity_pdptes_good = false;
    CHECK(!soft_write_cr0(CPU, CPU->cr0 | X86_CR0_PG));
    identity_pdptes_good = true;
    CHECK(soft_write_cr0(CPU, CPU->cr0 | X86_CR0_PG));
    identity_pdptes_good = false;
    CHECK(!soft_write_cr3(CPU, 0x1000));
    CHECK(!soft_write_cr4(CPU, CPU->cr4 | X86_CR4_PGE));
}

static void test_cr3_cr4(void)
{
    identity_reset();
    CHECK(!soft_write_cr4(CPU, 0));                       /* PAE in IA-32e mode */
    CHECK(!soft_write_cr4(CPU, CPU->cr4 | X86_CR4_VMXE)); /* CPUID does not show it */
    CHECK(!soft_write_cr4(CPU, CPU->cr4 | UINT64_C(1) << 40));
    CPU->cr3 = 1;
    CHECK(!soft_write_cr4(CPU, CPU->cr4 | X86_CR4_PCIDE)); /* CR3's low bits must be 0 */
    CPU->cr3 = 0;
    CHECK(!soft_write_cr3(CPU, X86_CR3_NO_FLUSH));
    CHECK(!soft_write_cr3(CPU, UINT64_C(1) << 45));
    CHECK(soft_write_cr4(CPU, CPU->cr4 | X86_CR4_PCIDE));
    CHECK(soft_write_cr3(CPU, X86_CR3_NO_FLUSH | 0x5001));
    CHECK_EQUAL(CPU->cr3, 0x5001);
    identity_set_cpl(3);
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0x0f, 0x20, 0xc0));
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0x0f, 0x01, 0x38)); /* invlpg [rax] */
}

static void test_machine_status_word(void)
{
    identity_reset_32((uint64_t)memory);
    CPU->gpr[X86_RAX] = X86_CR0_MP | X86_CR0_TS;
    CHECK_EQUAL(RUN(0x0f, 0x01, 0xf0), IDENTITY_DONE); /* lmsw ax: PE stays */
    CHECK_EQUAL(CPU->cr0, X86_CR0_PE | X86_CR0_ET | X86_CR0_MP | X86_CR0_TS);
    CHECK_EQUAL(RUN(0x0f, 0x01, 0xe3), IDENTITY_DONE); /* smsw ebx */
    CHECK_EQUAL(CPU->gpr[X86_RBX], CPU->cr0);
    CHECK_EQUAL(RUN(0x0f, 0x06), IDENTITY_DONE); /* clts */
    CHECK_EQUAL(CPU->cr0, X86_CR0_PE | X86_CR0_ET | X86_CR0_MP);
    identity_set_cpl(3);
    CHECK_EQUAL(RUN(0x0f, 0x01, 0xe3), IDENTITY_DONE); /* it does not trap … */
    CPU->cr4 |= X86_CR4_UMIP;
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0x0f, 0x01, 0xe3)); /* … unless UMIP says so */
}

static void test_invpcid(void)
{
    identity_reset();
    CPU->gpr[X86_RBX] = at(64);
    put_quad(64, 0);
    put_quad(72, NONCANONICAL);
    CPU->gpr[X86_RAX] = 4;
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0x66, 0x0f, 0x38, 0x82, 0x03));
    CPU->gpr[X86_RAX] = 0;
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0x66, 0x0f, 0x38, 0x82, 0x03));
    CPU->gpr[X86_RAX] = 2;
    CHECK_EQUAL(RUN(0x66, 0x0f, 0x38, 0x82, 0x03), IDENTITY_DONE);
    put_quad(64, 1);
    CPU->gpr[X86_RAX] = 1;
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0x66, 0x0f, 0x38, 0x82, 0x03)); /* a PCID without PCIDE */
    CPU->cr4 |= X86_CR4_PCIDE;
    CHECK_EQUAL(RUN(0x66, 0x0f, 0x38, 0x82, 0x03), IDENTITY_DONE);
}

/* --- model-specific registers --- */

static bool write_reads_back(uint32_t index, uint64_t value)
{
    uint64_t back;
    return soft_write_msr(CPU, index, value) && soft_read_msr(CPU, index, &back) && back == value;
}

static void test_msr_values(void)
{
    identity_reset();
    uint64_t value;
    CHECK(!soft_read_msr(CPU, 0x12345, &value));
    CHECK(!soft_write_msr(CPU, X86_MSR_IA32_MTRRCAP, 0));
    CHECK(write_reads_back(X86_MSR_IA32_LSTAR, UINT64_C(0xffffffff81000000)));
    CHECK(!soft_write_msr(CPU, X86_MSR_IA32_LSTAR, NONCANONICAL));
    CHECK(!soft_write_msr(CPU, X86_MSR_IA32_GS_BASE, NONCANONICAL));
    CHECK(write_reads_back(X86_MSR_IA32_GS_BASE, UINT64_C(0xffff888000000000)));
    CHECK(!soft_write_msr(CPU, X86_MSR_IA32_EFER, 2));
    CHECK(write_reads_back(X86_MSR_IA32_PAT, UINT64_C(0x0407050600070106)));
    CHECK(!soft_write_msr(CPU, X86_MSR_IA32_PAT, 2));
    CHECK(write_reads_back(X86_MSR_IA32_MTRR_DEF_TYPE, 0xc06));
    CHECK(!soft_write_msr(CPU, X86_MSR_IA32_MTRR_DEF_TYPE, 0x1000));
    CHECK(write_reads_back(X86_MSR_IA32_MTRR_FIX4K_F8000, UINT64_C(0x0606060606060606)));
    CHECK(!soft_write_msr(CPU, X86_MSR_IA32_MTRR_FIX64K_00000, 3));
    CHECK(write_reads_back(X86_MSR_IA32_MTRR_PHYSMASK7, UINT64_C(0xff80000800)));
    CHECK(!soft_write_msr(CPU, X86_MSR_IA32_MTRR_PHYSBASE0, 0x100));
    CHECK(!soft_write_msr(CPU, X86_MSR_IA32_XSS, 1));
    CHECK(soft_write_msr(CPU, X86_MSR_IA32_TSC, UINT64_C(1) << 60));
    CHECK(soft_read_msr(CPU, X86_MSR_IA32_TSC, &value) && value >= UINT64_C(1) << 60);
    CHECK(soft_read_msr(CPU, X86_MSR_KVM_SYSTEM_TIME_NEW, &value)); /* the table's last rows */
    CHECK(write_reads_back(X86_MSR_IA32_TSC_AUX, 5));
}

static void test_msr_exits(void)
{
    identity_reset();
    CPU->rip = 0x1000;
    CPU->gpr[X86_RCX] = X86_MSR_IA32_X2APIC_ICR;
    CPU->gpr[X86_RAX] = 0xc4500;
    CPU->gpr[X86_RDX] = 1;
    CHECK_EQUAL(RUN(0x0f, 0x30), IDENTITY_DONE);
    CHECK(identity_left && CPU->completing);
    CHECK_EQUAL(identity_exit.reason, EXIT_WRMSR);
    CHECK_EQUAL(identity_exit.msr.value, UINT64_C(0x1000c4500));
    identity_exit.msr.refused = true;
    CHECK_EQUAL(identity_try(soft_msr_complete), IDENTITY_FAULT);
    CHECK_EQUAL(CPU->exception_vector, X86_VECTOR_GP);
    CHECK_EQUAL(CPU->rip, 0x1000);
    CPU->gpr[X86_RCX] = X86_MSR_IA32_APIC_BASE;
    CHECK_EQUAL(RUN(0x0f, 0x32), IDENTITY_DONE);
    CHECK_EQUAL(identity_exit.reason, EXIT_RDMSR);
    identity_exit.msr.value = UINT64_C(0x5fee00900);
    CHECK_EQUAL(identity_try(soft_msr_complete), IDENTITY_DONE);
    CHECK_EQUAL(CPU->gpr[X86_RAX], 0xfee00900);
    CHECK_EQUAL(CPU->gpr[X86_RDX], 5);
    identity_set_cpl(3);
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0x0f, 0x32));
}

static void test_cpuid(void)
{
    identity_reset();
    CPU->xcr0 = X86_XCR0_X87 | X86_XCR0_SSE;
    CHECK_EQUAL(RUN(0x0f, 0xa2), IDENTITY_DONE);
    CHECK_EQUAL(CPU->gpr[X86_RBX], 0x756e6547); /* "Genu" "ineI" "ntel" */
    CHECK_EQUAL(CPU->gpr[X86_RDX], 0x49656e69);
    CHECK_EQUAL(CPU->gpr[X86_RCX], 0x6c65746e);
    CPU->gpr[X86_RAX] = 1;
    CHECK_EQUAL(RUN(0x0f, 0xa2), IDENTITY_DONE);
    CHECK_EQUAL(CPU->gpr[X86_RCX] >> 27 & 1, 0);
    CHECK_EQUAL(CPU->gpr[X86_RDX] >> 9 & 1, 0); /* the APIC is off */
    CPU->cr4 |= X86_CR4_OSXSAVE | X86_CR4_PKE;
    CPU->msr.apic_base = X86_APIC_BASE_EN;
    CPU->gpr[X86_RAX] = 1;
    CHECK_EQUAL(RUN(0x0f, 0xa2), IDENTITY_DONE);
    CHECK_EQUAL(CPU->gpr[X86_RCX] >> 27 & 1, 1);
    CHECK_EQUAL(CPU->gpr[X86_RDX] >> 9 & 1, 1);
    CPU->gpr[X86_RAX] = 7;
    CPU->gpr[X86_RCX] = 0;
    CHECK_EQUAL(RUN(0x0f, 0xa2), IDENTITY_DONE);
    CHECK_EQUAL(CPU->gpr[X86_RCX] >> 3 & 3, 3); /* PKU, OSPKE */
    CPU->gpr[X86_RAX] = 0xd;
    CPU->gpr[X86_RCX] = 0;
    CHECK_EQUAL(RUN(0x0f, 0xa2), IDENTITY_DONE);
    CHECK_EQUAL(CPU->gpr[X86_RBX], 576); /* no AVX enabled */
}

/* --- system calls and the rest --- */

static void test_syscall(void)
{
    identity_reset();
    identity_set_cpl(3);
    CPU->msr.star = UINT64_C(0x0023001000000000);
    CPU->msr.lstar = UINT64_C(0xffffffff81000000);
    CPU->msr.fmask = X86_FLAGS_IF | X86_FLAGS_DF;
    soft_set_rflags(CPU, X86_FLAGS_ONE | X86_FLAGS_IF | X86_FLAGS_CF | X86_FLAGS_DF);
    CPU->rip = 0x401000;
    CHECK_EQUAL(RUN(0x0f, 0x05), IDENTITY_DONE);
    CHECK_EQUAL(CPU->rip, CPU->msr.lstar);
    CHECK_EQUAL(CPU->gpr[X86_RCX], 0x401002);
    CHECK_EQUAL(CPU->gpr[X86_R11], 0x603);
    CHECK_EQUAL(soft_rflags(CPU), 0x3);
    CHECK_EQUAL(CPU->cpl, 0);
    CHECK_EQUAL(CPU->segment[X86_CS].selector, 0x10);
    CHECK_EQUAL(CPU->segment[X86_SS].selector, 0x18);
    CPU->gpr[X86_RCX] = NONCANONICAL;
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0x48, 0x0f, 0x07));
    CPU->gpr[X86_RCX] = 0x401002;
    CHECK_EQUAL(RUN(0x48, 0x0f, 0x07), IDENTITY_DONE);
    CHECK_EQUAL(CPU->rip, 0x401002);
    CHECK_EQUAL(CPU->cpl, 3);
    CHECK_EQUAL(CPU->segment[X86_CS].selector, 0x33);
    CHECK_EQUAL(CPU->segment[X86_SS].selector, 0x2b);
    CHECK_EQUAL(soft_rflags(CPU), 0x603);
    CHECK(soft_64bit(CPU));
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0x48, 0x0f, 0x07)); /* SYSRET at CPL 3 */
    CPU->efer &= ~X86_EFER_SCE;
    CHECK(FAULTS(X86_VECTOR_UD, -1, 0x0f, 0x05));
}

static void test_sysenter(void)
{
    identity_reset_32(0);
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0x0f, 0x34)); /* IA32_SYSENTER_CS = 0 */
    CPU->msr.sysenter_cs = 0x60;
    CPU->msr.sysenter_esp = 0x7000;
    CPU->msr.sysenter_eip = 0x12345;
    identity_set_cpl(3);
    CHECK_EQUAL(RUN(0x0f, 0x34), IDENTITY_DONE);
    CHECK_EQUAL(CPU->rip, 0x12345);
    CHECK_EQUAL(CPU->gpr[X86_RSP], 0x7000);
    CHECK_EQUAL(CPU->segment[X86_SS].selector, 0x68);
    CHECK_EQUAL(CPU->cpl, 0);
    CPU->gpr[X86_RCX] = 0x8000;
    CPU->gpr[X86_RDX] = 0x4000;
    CHECK_EQUAL(RUN(0x0f, 0x35), IDENTITY_DONE);
    CHECK_EQUAL(CPU->rip, 0x4000);
    CHECK_EQUAL(CPU->gpr[X86_RSP], 0x8000);
    CHECK_EQUAL(CPU->segment[X86_CS].selector, 0x73);
    CHECK_EQUAL(CPU->segment[X86_SS].selector, 0x7b);
    CHECK_EQUAL(CPU->cpl, 3);
}

static void test_bases(void)
{
    identity_reset();
    CPU->segment[X86_GS].base = 0x1111;
    CPU->msr.kernel_gs_base = 0x2222;
    CHECK_EQUAL(RUN(0x0f, 0x01, 0xf8), IDENTITY_DONE);
    CHECK_EQUAL(CPU->segment[X86_GS].base, 0x2222);
    CHECK_EQUAL(CPU->address_base[X86_GS], 0x2222);
    CHECK_EQUAL(CPU->msr.kernel_gs_base, 0x1111);
    CHECK(FAULTS(X86_VECTOR_UD, -1, 0xf3, 0x48, 0x0f, 0xae, 0xd0)); /* CR4.FSGSBASE = 0 */
    CPU->cr4 |= X86_CR4_FSGSBASE;
    CPU->gpr[X86_RAX] = NONCANONICAL;
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0xf3, 0x48, 0x0f, 0xae, 0xd0));
    CPU->gpr[X86_RAX] = 0x3333;
    CHECK_EQUAL(RUN(0xf3, 0x48, 0x0f, 0xae, 0xd0), IDENTITY_DONE);
    CHECK_EQUAL(CPU->segment[X86_FS].base, 0x3333);
    CHECK_EQUAL(RUN(0xf3, 0x48, 0x0f, 0xae, 0xcb), IDENTITY_DONE); /* rdgsbase rbx */
    CHECK_EQUAL(CPU->gpr[X86_RBX], 0x2222);
    identity_set_cpl(3);
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0x0f, 0x01, 0xf8));
}

static void test_privileged(void)
{
    identity_reset();
    CHECK_EQUAL(RUN(0xf4), IDENTITY_DONE);
    CHECK(identity_left && CPU->halted && identity_exit.reason == EXIT_HLT);
    CPU->gpr[X86_RAX] = 9;
    CHECK_EQUAL(RUN(0x0f, 0x01, 0xc1), IDENTITY_DONE); /* vmcall */
    CHECK(CPU->completing && identity_exit.hypercall.number == 9);
    identity_exit.hypercall.result = UINT64_MAX;
    soft_hypercall_complete(CPU);
    CHECK_EQUAL(CPU->gpr[X86_RAX], UINT64_MAX);
    CHECK_EQUAL(RUN(0x0f, 0x01, 0xcb), IDENTITY_DONE); /* stac */
    CHECK((CPU->flags & X86_FLAGS_AC) != 0);
    CHECK(FAULTS(X86_VECTOR_UD, -1, 0x0f, 0x01, 0xee)); /* rdpkru without CR4.PKE */
    CHECK_EQUAL(RUN(0x0f, 0x31), IDENTITY_DONE);
    CPU->cr4 |= X86_CR4_TSD;
    identity_set_cpl(3);
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0x0f, 0x31));
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0xf4));
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0x0f, 0x09));
    CHECK(FAULTS(X86_VECTOR_UD, -1, 0x0f, 0x01, 0xca));
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0x0f, 0x33)); /* rdpmc: no counters */
}

/* --- debug registers --- */

static void test_debug_registers(void)
{
    identity_reset();
    CPU->gpr[X86_RAX] = UINT64_MAX;
    CHECK(FAULTS(X86_VECTOR_GP, 0, 0x0f, 0x23, 0xf8)); /* upper half of DR7 */
    CPU->gpr[X86_RAX] = 0xffffffff;
    CHECK_EQUAL(RUN(0x0f, 0x23, 0xf0), IDENTITY_DONE);
    CHECK_EQUAL(RUN(0x0f, 0x21, 0xe3), IDENTITY_DONE); /* DR4 is DR6 … */
    CHECK_EQUAL(CPU->gpr[X86_RBX], 0xffffefff);
    CPU->cr4 |= X86_CR4_DE;
    CHECK(FAULTS(X86_VECTOR_UD, -1, 0x0f, 0x21, 0xe3)); /* … unless CR4.DE is set */
    CPU->dr[6] = X86_DR6_ONES;
    CPU->dr[7] |= X86_DR7_GD;
    CHECK(FAULTS(X86_VECTOR_DB, -1, 0x0f, 0x21, 0xc3));
    CHECK_EQUAL(CPU->dr[6], X86_DR6_ONES | X86_DR6_BD);
    CHECK_EQUAL(CPU->dr[7] & X86_DR7_GD, 0);
}

static void test_breakpoints(void)
{
    identity_reset();
    CPU->dr[0] = 0x1004;
    CPU->dr[1] = 0x2000;
    CPU->dr[2] = 0x60;
    CPU->dr[3] = 0x3000;
    /* 0: write of 4 bytes; 1: execution; 2: port of 1 byte; 3: read or write of 8, disabled */
    CPU->dr[7] = X86_DR7_ONE | 0x15 | 0x1u << 16 | 0x3u << 18 | 0x2u << 24 | 0xbu << 28;
    soft_debug_check_data(CPU, 0x1000, 4, true);
    soft_debug_check_data(CPU, 0x1008, 8, true);
    soft_debug_check_data(CPU, 0x1004, 4, false);
    soft_debug_check_data(CPU, 0x3000, 8, true);
    CHECK_EQUAL(CPU->pending_dr6, 0);
    soft_debug_check_data(CPU, 0x1007, 1, true);
    CHECK_EQUAL(CPU->pending_dr6, 1);
    CHECK_EQUAL(soft_debug_execute_hits(CPU, 0x2000), 2);
    CHECK_EQUAL(soft_debug_execute_hits(CPU, 0x1004), 0);
    CPU->pending_dr6 = 0;
    soft_debug_check_io(CPU, 0x60, 1);
    CHECK_EQUAL(CPU->pending_dr6, 0); /* CR4.DE = 0 */
    CPU->cr4 |= X86_CR4_DE;
    soft_debug_check_io(CPU, 0x5f, 2);
    CHECK_EQUAL(CPU->pending_dr6, 4);
}

/* --- the paravirtual clock --- */

static void test_clock(void)
{
    static const uint64_t frequencies[] = {1000000, 999999999, 2000000000, 2894561000, 5700000000};
    for (unsigned int i = 0; i < sizeof frequencies / sizeof frequencies[0]; i++) {
        struct paravirt_clock_scale scale = paravirt_clock_scale(frequencies[i]);
        uint64_t hour = paravirt_clock_nanoseconds(scale, frequencies[i] * 3600);
        uint64_t exact = UINT64_C(3600000000000);
        CHECK(hour <= exact && exact - hour < exact / 1000000); /* within one in a million */
    }
    identity_reset();
    CHECK(soft_write_msr(CPU, X86_MSR_KVM_SYSTEM_TIME_NEW, at(64) | 1));
    CHECK_EQUAL(doubleword(64) & 1, 0); /* no update in progress */
    CHECK(quad(64 + 8) != 0 && quad(64 + 16) != 0);
    CHECK_EQUAL(memory[64 + 29], 1); /* the TSC is stable */
    CHECK(soft_write_msr(CPU, X86_MSR_KVM_WALL_CLOCK_NEW, at(128)));
    uint64_t base = doubleword(132) * UINT64_C(1000000000) + doubleword(136);
    uint64_t now = (base + quad(64 + 16)) / 1000000000;
    uint64_t real = (uint64_t)time(NULL);
    CHECK(now + 5 > real && now < real + 5);
}

int main(void)
{
    test_push_pop_rsp();
    test_pop_fault_changes_nothing();
    test_enter_leave();
    test_pusha_popa();
    test_branches();
    test_branch_limit();
    test_decimal();
    test_bound();
    test_alignment_of_cmpxchg16b();
    test_string_fault_is_precise();
    test_string_pauses();
    test_string_limits();
    test_ports();
    test_string_ports();
    test_port_permission();
    test_cr0();
    test_cr3_cr4();
    test_machine_status_word();
    test_invpcid();
    test_msr_values();
    test_msr_exits();
    test_cpuid();
    test_syscall();
    test_sysenter();
    test_bases();
    test_privileged();
    test_debug_registers();
    test_breakpoints();
    test_clock();
    return check_summary();
}
