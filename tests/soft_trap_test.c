/*
 * `--trap all` and `--trap shadow` on the software CPU: each row of the table of sensitive
 * instructions leaves the engine before it runs, once, or not at all, and the guest sees the same.
 */
#include <string.h>

#include "check.h"
#include "engines/soft/cpuid.h"
#include "engines/soft/execute.h"
#include "engines/soft/soft.h"
#include "soft_guest.h"
#include "x86/sensitive.h"

#define EXITS_MAX 50u

/* Machine code that runs the operation once; it may fault, and HLT stands behind it. */
struct sample {
    enum x86_operation operation;
    enum soft_guest_mode mode;
    const char *hex;
    bool changes; /* what it reads is another value each time */
};

static const struct sample samples[] = {
    {X86_OP_SGDT, SOFT_GUEST_64, "0f 01 04 25 00 00 30 00", false},
    {X86_OP_SIDT, SOFT_GUEST_64, "0f 01 0c 25 00 00 30 00", false},
    {X86_OP_SLDT, SOFT_GUEST_64, "0f 00 c0", false},
    {X86_OP_STR, SOFT_GUEST_64, "0f 00 c8", false},
    {X86_OP_LGDT, SOFT_GUEST_64, "0f 01 14 25 00 00 30 00", false},
    {X86_OP_LIDT, SOFT_GUEST_64, "0f 01 1c 25 00 00 30 00", false},
    {X86_OP_LLDT, SOFT_GUEST_64, "31 c0 0f 00 d0", false},
    {X86_OP_LTR, SOFT_GUEST_64, "31 c0 0f 00 d8", false},
    {X86_OP_PUSHF, SOFT_GUEST_64, "9c", false},
    {X86_OP_POPF, SOFT_GUEST_64, "9c 9d", false},
    {X86_OP_CLI, SOFT_GUEST_64, "fa", false},
    {X86_OP_STI, SOFT_GUEST_64, "fb 90", false},
    {X86_OP_CLAC, SOFT_GUEST_64, "0f 01 ca", false},
    {X86_OP_STAC, SOFT_GUEST_64, "0f 01 cb", false},
    {X86_OP_LAR, SOFT_GUEST_64, "0f 02 c3", false},
    {X86_OP_LSL, SOFT_GUEST_64, "0f 03 c3", false},
    {X86_OP_VERR, SOFT_GUEST_64, "0f 00 e0", false},
    {X86_OP_VERW, SOFT_GUEST_64, "0f 00 e8", false},
    {X86_OP_MOV_FROM_SEGMENT, SOFT_GUEST_64, "8c d0", false},
    {X86_OP_MOV_TO_SEGMENT, SOFT_GUEST_64, "31 c0 8e d8", false},
    {X86_OP_PUSH_SEGMENT, SOFT_GUEST_64, "0f a0", false},
    {X86_OP_POP_SEGMENT, SOFT_GUEST_64, "6a 00 0f a1", false},
    {X86_OP_LDS, SOFT_GUEST_32, "c5 05 00 00 30 00", false},
    {X86_OP_LES, SOFT_GUEST_32, "c4 05 00 00 30 00", false},
    {X86_OP_LSS, SOFT_GUEST_64, "0f b2 04 25 00 00 30 00", false},
    {X86_OP_LFS, SOFT_GUEST_64, "0f b4 04 25 00 00 30 00", false},
    {X86_OP_LGS, SOFT_GUEST_64, "0f b5 04 25 00 00 30 00", false},
    {X86_OP_SWAPGS, SOFT_GUEST_64, "0f 01 f8", false},
    {X86_OP_CALL_FAR, SOFT_GUEST_32, "9a 00 00 00 00 00 00", false},
    {X86_OP_CALL_FAR_INDIRECT, SOFT_GUEST_64, "ff 1c 25 00 00 30 00", false},
    {X86_OP_JMP_FAR, SOFT_GUEST_32, "ea 00 00 00 00 00 00", false},
    {X86_OP_JMP_FAR_INDIRECT, SOFT_GUEST_64, "ff 2c 25 00 00 30 00", false},
    {X86_OP_RET_FAR, SOFT_GUEST_64, "6a 00 6a 00 cb", false},
    {X86_OP_IRET, SOFT_GUEST_64, "6a 00 6a 00 6a 00 48 cf", false},
    {X86_OP_INT, SOFT_GUEST_64, "cd 40", false},
    {X86_OP_INT3, SOFT_GUEST_64, "cc", false},
    {X86_OP_INTO, SOFT_GUEST_32, "b0 7f fe c0 ce", false},
    {X86_OP_INT1, SOFT_GUEST_64, "f1", false},
    {X86_OP_SYSCALL, SOFT_GUEST_64, "0f 05", false},
    {X86_OP_SYSENTER, SOFT_GUEST_64, "0f 34", false},
    {X86_OP_SYSRET, SOFT_GUEST_64, "48 0f 07", false},
    {X86_OP_SYSEXIT, SOFT_GUEST_64, "48 0f 35", false},
    {X86_OP_SMSW, SOFT_GUEST_64, "0f 01 e0", false},
    {X86_OP_LMSW, SOFT_GUEST_64, "0f 01 f0", false},
    {X86_OP_CLTS, SOFT_GUEST_64, "0f 06", false},
    {X86_OP_MOV_FROM_CR, SOFT_GUEST_64, "0f 20 c0", false},
    {X86_OP_MOV_TO_CR, SOFT_GUEST_64, "0f 20 e0 0f 22 e0", false},
    {X86_OP_MOV_FROM_DR, SOFT_GUEST_64, "0f 21 f8", false},
    {X86_OP_MOV_TO_DR, SOFT_GUEST_64, "0f 21 f8 0f 23 f8", false},
    {X86_OP_XGETBV, SOFT_GUEST_64, "0f 01 d0", false},
    {X86_OP_XSETBV, SOFT_GUEST_64, "0f 01 d1", false},
    {X86_OP_XSAVES, SOFT_GUEST_64, "48 0f c7 2c 25 00 00 30 00", false},
    {X86_OP_XRSTORS, SOFT_GUEST_64, "48 0f c7 1c 25 00 00 30 00", false},
    {X86_OP_CPUID, SOFT_GUEST_64, "31 c0 0f a2", false},
    {X86_OP_RDTSC, SOFT_GUEST_64, "0f 31", true},
    {X86_OP_RDTSCP, SOFT_GUEST_64, "0f 01 f9", true},
    {X86_OP_RDPID, SOFT_GUEST_64, "f3 0f c7 f8", false},
    {X86_OP_RDPMC, SOFT_GUEST_64, "0f 33", false},
    {X86_OP_RDMSR, SOFT_GUEST_64, "b9 77 02 00 00 0f 32", false},
    {X86_OP_WRMSR, SOFT_GUEST_64, "b9 77 02 00 00 0f 32 0f 30", false},
    {X86_OP_INVLPG, SOFT_GUEST_64, "0f 01 38", false},
    {X86_OP_INVPCID, SOFT_GUEST_64, "66 0f 38 82 04 25 00 00 30 00", false},
    {X86_OP_INVD, SOFT_GUEST_64, "0f 08", false},
    {X86_OP_WBINVD, SOFT_GUEST_64, "0f 09", false},
    {X86_OP_IN, SOFT_GUEST_64, "e4 80", false},
    {X86_OP_OUT, SOFT_GUEST_64, "e6 80", false},
    {X86_OP_INS, SOFT_GUEST_64, "bf 00 00 30 00 6c", false},
    {X86_OP_OUTS, SOFT_GUEST_64, "be 00 00 30 00 6e", false},
    {X86_OP_HLT, SOFT_GUEST_64, "f4", false},
    {X86_OP_VMCALL, SOFT_GUEST_64, "0f 01 c1", false},
    {X86_OP_MONITOR, SOFT_GUEST_64, "0f 01 c8", false},
    {X86_OP_MWAIT, SOFT_GUEST_64, "0f 01 c9", false},
    {X86_OP_VMX, SOFT_GUEST_64, "0f 01 c2", false},
    {X86_OP_RSM, SOFT_GUEST_64, "0f aa", false},
};

static size_t bytes_of(const char *hex, uint8_t *bytes)
{
    size_t count = 0;
    unsigned int byte;
    int used;
    for (; sscanf(hex, "%2x%n", &byte, &used) == 1; hex += used) {
        bytes[count++] = (uint8_t)byte;
    }
    return count;
}

static const struct sample *sample_of(enum x86_operation operation)
{
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        if (samples[i].operation == operation) {
            return &samples[i];
        }
    }
    return NULL;
}

/* What a run of a sample came to. */
struct end {
    struct x86_state state;
    unsigned int trapped; /* how often the operation left before it ran */
    unsigned int others;  /* how often another one did */
    unsigned int served;  /* port accesses and hypercalls */
    int vector;
    uint64_t instructions;
};

static void serve(struct soft_guest *guest)
{
    if (guest->exit.reason == EXIT_PIO && !guest->exit.pio.is_write) {
        memset(guest->exit.pio.data, 0x5a, guest->exit.pio.size);
    } else if (guest->exit.reason == EXIT_HYPERCALL) {
        guest->exit.hypercall.result = 77;
    }
}

static void run_sample(const struct sample *sample, enum engine_trap trap, struct end *end)
{
    uint8_t code[32];
    size_t length = bytes_of(sample->hex, code);
    struct soft_guest guest;
    memset(end, 0, sizeof(*end));
    code[length++] = 0xf4;
    if (!soft_guest_open_trapping(&guest, sample->mode, trap)) {
        return;
    }
    soft_guest_load(&guest, code, length);
    unsigned int exits = 0;
    while (soft_guest_run(&guest) != EXIT_HLT && CHECK(exits++ < EXITS_MAX)) {
        if (guest.exit.reason == EXIT_INSTRUCTION) {
            bool is_it = guest.exit.instruction.operation == sample->operation;
            end->trapped += is_it;
            end->others += !is_it;
        } else {
            end->served++;
            serve(&guest);
        }
    }
    end->state = guest.state;
    end->vector = soft_guest_vector(&guest);
    end->instructions = soft_engine.instructions(guest.vcpu);
    soft_guest_close(&guest);
}

static bool engine_has(const struct sample *sample)
{
    struct cpuid_table cpuid;
    struct x86_instruction in;
    uint8_t code[32];
    size_t length = bytes_of(sample->hex, code);
    enum x86_decode_mode mode = sample->mode == SOFT_GUEST_64 ? X86_DECODE_64 : X86_DECODE_32;
    soft_cpuid_supported(&cpuid);
    for (size_t at = 0; at < length; at += in.length) {
        if (!CHECK_EQUAL(x86_decode(mode, code + at, length - at, &in), X86_DECODE_OK)) {
            return false;
        }
        if (in.operation == sample->operation) {
            return soft_execute_table[in.operation].execute != NULL &&
                   (in.feature == X86_FEATURE_BASE ||
                    cpuid_has(&cpuid, (enum x86_feature)in.feature));
        }
    }
    fprintf(stderr, "%s holds another instruction\n", sample->hex);
    return CHECK(false);
}

static bool is_same_segment(const struct x86_segment *a, const struct x86_segment *b)
{
    return a->base == b->base && a->limit == b->limit && a->attributes == b->attributes &&
           a->selector == b->selector;
}

static bool is_same(const struct end *a, const struct end *b, bool changes)
{
    uint64_t differing = changes ? 1u << X86_RAX | 1u << X86_RDX : 0;
    bool same = a->vector == b->vector && a->state.rip == b->state.rip &&
                a->state.rflags == b->state.rflags && a->served == b->served;
    for (unsigned int i = 0; i < X86_GPR_COUNT; i++) {
        same = same && ((differing >> i & 1) != 0 || a->state.gpr[i] == b->state.gpr[i]);
    }
    for (unsigned int i = 0; i < X86_SEGMENT_ALL_COUNT; i++) {
        same = same && is_same_segment(&a->state.segment[i], &b->state.segment[i]);
    }
    return same && a->state.cr0 == b->state.cr0 && a->state.cr4 == b->state.cr4 &&
           a->state.gdtr.base == b->state.gdtr.base && a->state.idtr.base == b->state.idtr.base;
}

static void test_row(const struct x86_sensitive *row, const struct sample *sample)
{
    struct end shadow, all;
    bool traps = engine_has(sample) && !row->always_leaves;
    run_sample(sample, ENGINE_TRAP_SHADOW, &shadow);
    run_sample(sample, ENGINE_TRAP_ALL, &all);
    bool good = CHECK_EQUAL(shadow.trapped + shadow.others, 0);
    good = CHECK_EQUAL(all.trapped, traps ? 1 : 0) && good;
    good = CHECK(is_same(&shadow, &all, sample->changes)) && good;
    if (row->always_leaves && sample->operation != X86_OP_HLT) {
        good = CHECK_EQUAL(shadow.served, 1) && good;
    }
    if (!good) {
        fprintf(stderr, "    %s: %s\n", row->name, sample->hex);
    }
}

/* Each row has a sample, and each sample a row. */
static void test_rows(void)
{
    unsigned int rows = 0, of_pentium = 0;
    for (unsigned int i = 0; i < X86_OP_COUNT; i++) {
        const struct x86_sensitive *row = x86_sensitive_find((enum x86_operation)i);
        const struct sample *sample = sample_of((enum x86_operation)i);
        if (!CHECK((row != NULL) == (sample != NULL))) {
            fprintf(stderr, "    %s\n", x86_operation_name((enum x86_operation)i));
        }
        if (row != NULL && sample != NULL) {
            rows++;
            of_pentium += row->is_of_pentium;
            test_row(row, sample);
        }
    }
    CHECK_EQUAL(rows, sizeof samples / sizeof samples[0]);
    CHECK_EQUAL(of_pentium, 21); /* operations of the decoder: CALL and JMP are two each … */
}

/* --- between the exit and the work --- */

static bool open(struct soft_guest *guest, const uint8_t *code, size_t length)
{
    if (!soft_guest_open_trapping(guest, SOFT_GUEST_64, ENGINE_TRAP_ALL)) {
        return false;
    }
    soft_guest_load(guest, code, length);
    return true;
}

static void check_trapped(const struct soft_guest *guest, enum x86_operation operation,
                          uint64_t offset)
{
    CHECK_EQUAL(guest->exit.reason, EXIT_INSTRUCTION);
    CHECK_EQUAL(guest->exit.instruction.operation, operation);
    CHECK_EQUAL(guest->state.rip, SOFT_GUEST_CODE + offset);
}

static bool one_pending(void *context)
{
    return *(const bool *)context;
}

static int one_acknowledge(void *context)
{
    *(bool *)context = false;
    return 0x50;
}

static uint8_t no_cr8(void *context)
{
    (void)context;
    return 0;
}

static void ignore_cr8(void *context, uint8_t value)
{
    (void)context;
    (void)value;
}

/* An interrupt that comes while CLI is outside is held off by it: it comes behind STI and NOP. */
static void test_interrupt(void)
{
    static const uint8_t code[] = {0x90, 0xfa, 0x90, 0xfb, 0x90, 0xf4};
    struct soft_guest guest;
    bool pending = false;
    struct interrupt_source source = {.pending = one_pending,
                                      .acknowledge = one_acknowledge,
                                      .get_cr8 = no_cr8,
                                      .set_cr8 = ignore_cr8,
                                      .context = &pending};
    if (!open(&guest, code, sizeof code)) {
        return;
    }
    soft_guest_set_interrupts(&guest, &source);
    guest.state.rflags |= X86_FLAGS_IF;
    soft_guest_run(&guest);
    check_trapped(&guest, X86_OP_CLI, 1);
    CHECK((guest.state.rflags & X86_FLAGS_IF) != 0); /* it has not run yet */
    pending = true;
    soft_engine.interrupt_changed(guest.vcpu);
    soft_guest_run(&guest);
    check_trapped(&guest, X86_OP_STI, 3);
    CHECK((guest.state.rflags & X86_FLAGS_IF) == 0);
    CHECK(pending);
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
    CHECK_EQUAL(soft_guest_vector(&guest), 0x50);
    CHECK_EQUAL(soft_guest_frame(&guest, 0), SOFT_GUEST_CODE + 5); /* STI's shadow has held */
    soft_guest_close(&guest);
}

/* SGDT to a device: it leaves once, then for each of its two accesses. */
static void test_device(void)
{
    static const uint8_t code[] = {0x0f, 0x01, 0x04, 0x25, 0x00, 0x00, 0x00, 0x10, 0xf4};
    struct soft_guest guest;
    unsigned int accesses = 0;
    if (!open(&guest, code, sizeof code)) {
        return;
    }
    soft_guest_run(&guest);
    check_trapped(&guest, X86_OP_SGDT, 0);
    while (soft_guest_run(&guest) == EXIT_MMIO && accesses < EXITS_MAX) {
        accesses++;
    }
    CHECK(accesses >= 1 && accesses <= 10);
    CHECK_EQUAL(guest.exit.reason, EXIT_HLT);
    soft_guest_close(&guest);
}

/* INIT between the two (the exit became EXIT_NONE): what runs then leaves again. */
static void test_abandoned(void)
{
    static const uint8_t code[] = {0xfa, 0xf4};
    struct soft_guest guest;
    if (!open(&guest, code, sizeof code)) {
        return;
    }
    soft_guest_run(&guest);
    check_trapped(&guest, X86_OP_CLI, 0);
    guest.exit.reason = EXIT_NONE;
    soft_guest_run(&guest);
    check_trapped(&guest, X86_OP_CLI, 0);
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
    soft_guest_close(&guest);
}

/* An instruction that faults has left once; it leaves again when it is run again. */
static void test_fault(void)
{
    static const uint8_t code[] = {0xb8, 0xff, 0xff, 0x00, 0x00, 0x8e, 0xd8, 0xf4};
    struct soft_guest guest;
    if (!open(&guest, code, sizeof code)) {
        return;
    }
    soft_guest_run(&guest);
    check_trapped(&guest, X86_OP_MOV_TO_SEGMENT, 5);
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
    CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_GP);
    guest.state.gpr[X86_RSP] += 8; /* the error code */
    guest.state.gpr[X86_RAX] = 0;  /* now it is fine */
    soft_guest_run(&guest);
    CHECK_EQUAL(guest.exit.instruction.operation, X86_OP_IRET);
    soft_guest_run(&guest);
    check_trapped(&guest, X86_OP_MOV_TO_SEGMENT, 5);
    CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
    CHECK_EQUAL(soft_guest_vector(&guest), -1);
    soft_guest_close(&guest);
}

/* mov ecx, 100; 1: pushf; pop rax; sub rsp, 8; popf; add ebx, eax; dec ecx; jnz 1b; hlt */
static void test_loop(void)
{
    static const struct sample loop = {X86_OP_PUSHF, SOFT_GUEST_64,
                                       "b9 0a 00 00 00 9c 58 48 83 ec 08 9d 01 c3 ff c9 75 f3",
                                       false};
    struct end shadow, all;
    run_sample(&loop, ENGINE_TRAP_SHADOW, &shadow);
    run_sample(&loop, ENGINE_TRAP_ALL, &all);
    CHECK_EQUAL(shadow.trapped + shadow.others, 0);
    CHECK_EQUAL(all.trapped, 10);
    CHECK_EQUAL(all.others, 10);
    CHECK(is_same(&shadow, &all, false));
    CHECK(shadow.instructions == 0 || all.instructions == 0 ||
          shadow.instructions == all.instructions);
}

static void test_refused(void)
{
    struct engine_vm_options options = {
        .arguments = "check=lockstep", .vcpu_count = 1, .trap = ENGINE_TRAP_ALL};
    struct engine_vm *vm;
    struct error error;
    CHECK_EQUAL(soft_engine.vm_create(&options, &vm, &error), -22);
    CHECK(strstr(error.text, "--trap all") != NULL);
}

int main(void)
{
    test_rows();
    test_interrupt();
    test_device();
    test_abandoned();
    test_fault();
    test_loop();
    test_refused();
    return check_summary();
}
