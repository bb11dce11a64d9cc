/*
 * The lockstep check: a reference run leaves nothing behind, and what differs from it is found.
 * Translated code is played by the interpreter, with an error put in by hand.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "check.h"
#include "engines/soft/block.h"
#include "engines/soft/memory.h"
#include "engines/soft/soft.h"
#include "engines/soft/tlb.h"
#include "engines/soft/translate/lockstep.h"
#include "engines/soft/translate/lockstep_state.h"
#include "engines/soft/vm.h"
#include "soft_guest.h"
#include "x86/registers.h"

#define OTHER_PAGE (SOFT_GUEST_DATA + 0x1000)

struct fixture {
    struct soft_guest guest;
    struct soft_cpu *cpu;
    struct lockstep *lockstep;
    struct vcpu_exit exit;
    uint8_t *memory; /* a copy of all of it */
    struct lockstep_state *before, *now;
};

static void *aligned(size_t size)
{
    return aligned_alloc(64, (size + 63) & ~(size_t)63);
}

static void put_state(struct fixture *fixture)
{
    struct error error;
    struct soft_guest *guest = &fixture->guest;
    CHECK_EQUAL(soft_engine.set_state(guest->vcpu, X86_STATE_ALL, &guest->state, &error), 0);
}

static bool open_fixture(struct fixture *fixture, enum soft_guest_mode mode)
{
    memset(fixture, 0, sizeof(*fixture));
    struct soft_guest *guest = &fixture->guest;
    if (!soft_guest_open(guest, mode)) {
        return false;
    }
    fixture->cpu = (struct soft_cpu *)guest->vcpu; /* its first member: cpu.h */
    fixture->cpu->exit = &fixture->exit;
    fixture->memory = malloc(SOFT_GUEST_MEMORY);
    fixture->before = aligned(sizeof(struct lockstep_state));
    fixture->now = aligned(sizeof(struct lockstep_state));
    guest->state.cr4 |= X86_CR4_OSFXSR | X86_CR4_OSXSAVE;
    guest->state.xcr0 = X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX;
    guest->state.gpr[X86_RAX] = 0x1122334455667788;
    guest->state.gpr[X86_RCX] = 3;
    guest->state.gpr[X86_RDX] = 0x99aabbccddeeff00;
    guest->state.gpr[X86_RBX] = SOFT_GUEST_DATA + 0x100;
    guest->state.gpr[X86_RSI] = SOFT_GUEST_DATA + 0x200;
    guest->state.gpr[X86_RDI] = SOFT_GUEST_DATA + 0x300;
    guest->state.gpr[X86_RBP] = OTHER_PAGE - 4; /* 8 bytes there cross into the next page */
    return CHECK(fixture->memory != NULL) && CHECK(fixture->before != NULL) &&
           CHECK(fixture->now != NULL) &&
           CHECK_EQUAL(lockstep_create(fixture->cpu, &fixture->lockstep), 0);
}

static void close_fixture(struct fixture *fixture)
{
    lockstep_destroy(fixture->lockstep);
    free(fixture->memory);
    free(fixture->before);
    free(fixture->now);
    soft_guest_close(&fixture->guest);
}

static uint8_t *guest_memory(struct fixture *fixture)
{
    return guestmem_pointer(fixture->guest.memory, gpa(0), SOFT_GUEST_MEMORY);
}

/* Loads code and leaves the vCPU in front of it, data filled with something that is not zero. */
static void load(struct fixture *fixture, const uint8_t *code, size_t length)
{
    for (uint64_t i = 0; i < 0x2000; i += 8) {
        soft_guest_write(&fixture->guest, SOFT_GUEST_DATA + i,
                         UINT64_C(0x0123456789abcdef) * (i + 1), 8);
        soft_guest_write(&fixture->guest, SOFT_GUEST_STACK - i, ~i, 8);
    }
    soft_guest_load(&fixture->guest, code, length);
    put_state(fixture);
    atomic_store(&fixture->cpu->attention, 0); /* the run loop has looked */
}

/* What stands for the translated block. Where it would raise, so does the test. */
static bool play(struct fixture *fixture, unsigned int count)
{
    struct soft_cpu *cpu = fixture->cpu;
    if (sigsetjmp(cpu->escape, 0) != SOFT_ESCAPE_NONE) {
        return false;
    }
    for (unsigned int i = 0; i < count; i++) {
        soft_run_single(cpu);
    }
    return true;
}

/* --- what is taken back --- */

#define CODE_MAX 24

struct guest_case {
    const char *name;
    uint8_t code[CODE_MAX];
    uint8_t length, count;
};

static const struct guest_case stores[] = {
    {"mov [rbx], rax", {0x48, 0x89, 0x03}, 3, 1},
    {"mov [rbx], al; mov [rbx], rdx", {0x88, 0x03, 0x48, 0x89, 0x13}, 5, 2},
    {"mov [rbp], rax crosses a page", {0x48, 0x89, 0x45, 0x00}, 4, 1},
    {"add [rbx], rax", {0x48, 0x01, 0x03}, 3, 1},
    {"add [rbp], rax crosses a page", {0x48, 0x01, 0x45, 0x00}, 4, 1},
    {"lock xadd [rbx], rax", {0xf0, 0x48, 0x0f, 0xc1, 0x03}, 5, 1},
    {"lock add [rbp], rax crosses a page", {0xf0, 0x48, 0x01, 0x45, 0x00}, 5, 1},
    {"lock cmpxchg [rbx], rdx", {0xf0, 0x48, 0x0f, 0xb1, 0x13}, 5, 1},
    {"xchg [rbx], rax", {0x48, 0x87, 0x03}, 3, 1},
    {"lock cmpxchg16b [rbx]", {0xf0, 0x48, 0x0f, 0xc7, 0x0b}, 5, 1},
    {"bts [rbx], rcx", {0x48, 0x0f, 0xab, 0x0b}, 4, 1},
    {"push rax; push rdx; pop rcx", {0x50, 0x52, 0x59}, 3, 3},
    {"enter 32, 2", {0xc8, 0x20, 0x00, 0x02}, 4, 1},
    {"call +0x10", {0xe8, 0x10, 0x00, 0x00, 0x00}, 5, 1},
    {"stosq", {0x48, 0xab}, 2, 1},
    {"rep movsb", {0xf3, 0xa4}, 2, 1},
    {"rep stosq", {0xf3, 0x48, 0xab}, 3, 1},
    {"std; rep movsq", {0xfd, 0xf3, 0x48, 0xa5}, 4, 2},
    {"movq xmm1, rax; movaps [rbx], xmm1", {0x66, 0x48, 0x0f, 0x6e, 0xc8, 0x0f, 0x29, 0x0b}, 8, 2},
    {"vmovdqu ymm2, [rsi]; vmovdqu [rbx], ymm2",
     {0xc5, 0xfe, 0x6f, 0x16, 0xc5, 0xfe, 0x7f, 0x13},
     8,
     2},
    {"vmovdqu ymm2, [rsi]; vmovdqu [rbp], ymm2",
     {0xc5, 0xfe, 0x6f, 0x16, 0xc5, 0xfe, 0x7f, 0x55, 0x00},
     9,
     2},
    {"vextracti128 [rbx], ymm3, 1", {0xc4, 0xe3, 0x7d, 0x39, 0x1b, 0x01}, 6, 1},
    {"maskmovdqu xmm1, xmm2", {0x66, 0x0f, 0xf7, 0xca}, 4, 1},
    {"fninit; fldpi; fstp tbyte [rbx]", {0xdb, 0xe3, 0xd9, 0xeb, 0xdb, 0x3b}, 6, 3},
    {"fninit; fld1; fst qword [rbp]", {0xdb, 0xe3, 0xd9, 0xe8, 0xdd, 0x55, 0x00}, 7, 3},
    {"fxsave [rbx]", {0x0f, 0xae, 0x03}, 3, 1},
    {"stmxcsr [rbx]; ldmxcsr [rbx]", {0x0f, 0xae, 0x1b, 0x0f, 0xae, 0x13}, 6, 2},
    {"swapgs; mov [rbx], rax", {0x0f, 0x01, 0xf8, 0x48, 0x89, 0x03}, 6, 2},
    {"dec ecx; jnz -4", {0xff, 0xc9, 0x75, 0xfc}, 4, 2},
};

/* True if the pages that load() fills are as they were when `memory` was copied. */
static bool same_data(struct fixture *fixture)
{
    const uint8_t *now = guest_memory(fixture);
    return memcmp(fixture->memory + SOFT_GUEST_DATA, now + SOFT_GUEST_DATA, 0x2000) == 0 &&
           memcmp(fixture->memory + SOFT_GUEST_STACK - 0x2000, now + SOFT_GUEST_STACK - 0x2000,
                  0x2008) == 0;
}

/*
 * A page's first walk sets its accessed and dirty flags; the second run must leave no trace at all.
 */
static void test_taken_back(struct fixture *fixture)
{
    for (size_t i = 0; i < sizeof(stores) / sizeof(stores[0]); i++) {
        const struct guest_case *guest_case = &stores[i];
        load(fixture, guest_case->code, guest_case->length);
        memcpy(fixture->memory, guest_memory(fixture), SOFT_GUEST_MEMORY);
        lockstep_before(fixture->lockstep, fixture->cpu, guest_case->count);
        CHECK(same_data(fixture));
        memcpy(fixture->memory, guest_memory(fixture), SOFT_GUEST_MEMORY);
        lockstep_capture(fixture->cpu, fixture->before);
        bool good = lockstep_before(fixture->lockstep, fixture->cpu, guest_case->count);
        lockstep_capture(fixture->cpu, fixture->now);
        good = good && memcmp(fixture->memory, guest_memory(fixture), SOFT_GUEST_MEMORY) == 0;
        good = good && lockstep_equal(fixture->before, fixture->now, 0);
        good = good && fixture->cpu->undo == NULL && fixture->cpu->exit == &fixture->exit;
        check_report(good, __FILE__, __LINE__, guest_case->name);
    }
}

static void test_equal_runs(struct fixture *fixture)
{
    for (size_t i = 0; i < sizeof(stores) / sizeof(stores[0]); i++) {
        const struct guest_case *guest_case = &stores[i];
        struct error error;
        load(fixture, guest_case->code, guest_case->length);
        bool good = lockstep_before(fixture->lockstep, fixture->cpu, guest_case->count);
        good = good && play(fixture, guest_case->count) &&
               lockstep_after(fixture->lockstep, fixture->cpu, NULL, 0, &error);
        check_report(good, __FILE__, __LINE__, guest_case->name);
    }
    struct lockstep_statistics statistics;
    lockstep_statistics(fixture->lockstep, &statistics);
    CHECK_EQUAL(statistics.compared, sizeof(stores) / sizeof(stores[0]));
    CHECK_EQUAL(statistics.unsteady, 0);
    CHECK_EQUAL(lockstep_report(fixture->lockstep)[0], 0);
    CHECK(lockstep_failure(fixture->lockstep) == NULL);
}

/* The x87 stack may be in the host's registers when the reference begins, and after it. */
static void test_live_x87(struct fixture *fixture)
{
    static const uint8_t code[] = {0xdb, 0xe3, 0xd9, 0xeb, 0xd9, 0xe8, 0xde, 0xc1};
    struct error error;
    load(fixture, code, sizeof(code)); /* fninit; fldpi; fld1; faddp */
    CHECK(play(fixture, 2));
    CHECK(fixture->cpu->fpu->live);
    CHECK(lockstep_before(fixture->lockstep, fixture->cpu, 2));
    CHECK(play(fixture, 2));
    CHECK(lockstep_after(fixture->lockstep, fixture->cpu, NULL, 0, &error));
}

/* --- what is found --- */

typedef void inject(struct fixture *fixture);

static void wrong_register(struct fixture *fixture)
{
    fixture->cpu->gpr[X86_R13] ^= 0x80;
}

static void wrong_flag(struct fixture *fixture)
{
    soft_set_arithmetic_flags(fixture->cpu, soft_arithmetic_flags(fixture->cpu) ^ X86_FLAGS_AF);
}

static void wrong_direction(struct fixture *fixture)
{
    fixture->cpu->flags ^= X86_FLAGS_DF;
}

static void wrong_rip(struct fixture *fixture)
{
    fixture->cpu->rip++;
}

static void wrong_byte(struct fixture *fixture)
{
    guest_memory(fixture)[SOFT_GUEST_DATA + 0x107] ^= 1;
}

static void wrong_vector(struct fixture *fixture)
{
    fixture->cpu->fpu->ymm[7][31] ^= 1;
}

static void wrong_x87(struct fixture *fixture)
{
    soft_fpu_save(fixture->cpu->fpu);
    fixture->cpu->fpu->image.st[3][9] ^= 1;
}

static void wrong_base(struct fixture *fixture)
{
    fixture->cpu->segment[X86_FS].base += 8;
}

static const struct {
    inject *inject;
    const char *line; /* the beginning of the line that the report must have */
} errors[] = {
    {wrong_register,
     "\n  r13      interpreter 0x0000000000000000, translated 0x0000000000000080\n"},
    {wrong_flag, "\n  AF       interpreter "},
    {wrong_direction, "\n  rflags   interpreter "},
    {wrong_rip, "\n  rip      interpreter 0x0000000000200006, translated 0x0000000000200007\n"},
    {wrong_byte, "\n  memory   at 0x300100 (physical 0x300100), 8 bytes: was 0x"},
    {wrong_vector, "\n  ymm7     interpreter 0x00000000"},
    {wrong_x87, "\n  st3      interpreter 0x"},
    {wrong_base, "\n  system   byte "},
};

static const uint8_t add_and_store[] = {0x48, 0x01, 0xd0, 0x48, 0x89, 0x03};

static void test_errors_found(struct fixture *fixture)
{
    static const uint8_t host_code[] = {0x90, 0x0f, 0xa2};
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        struct error error = {""};
        load(fixture, add_and_store, sizeof(add_and_store));
        lockstep_capture(fixture->cpu, fixture->before);
        CHECK(lockstep_before(fixture->lockstep, fixture->cpu, 2));
        CHECK(play(fixture, 2));
        errors[i].inject(fixture);
        CHECK(
            !lockstep_after(fixture->lockstep, fixture->cpu, host_code, sizeof(host_code), &error));
        const char *report = lockstep_report(fixture->lockstep);
        if (!CHECK(strstr(report, errors[i].line) != NULL)) {
            fprintf(stderr, "%s", report);
        }
        CHECK(strstr(report, "0x0000000000200003  488903 ") != NULL); /* the guest's code */
        CHECK(strstr(report, "  0fa2 ") != NULL);                     /* the host's */
        CHECK(strstr(error.text, "0x200000") != NULL);
        lockstep_capture(fixture->cpu, fixture->now);
        CHECK(lockstep_equal(fixture->before, fixture->now, 0)); /* back at the block's start */
    }
}

/* Translated code that stored nothing where the interpreter did. */
static void test_missing_store(struct fixture *fixture)
{
    static const uint8_t code[] = {0x48, 0x89, 0x03}; /* mov [rbx], rax */
    struct error error;
    load(fixture, code, sizeof(code));
    CHECK(lockstep_before(fixture->lockstep, fixture->cpu, 1));
    fixture->cpu->rip += sizeof(code);
    CHECK(!lockstep_after(fixture->lockstep, fixture->cpu, NULL, 0, &error));
    CHECK(strstr(error.text, "memory") != NULL);
}

/* Translated code that faults where the interpreter went through. */
static void test_wrong_escape(struct fixture *fixture)
{
    struct error error;
    enum soft_escape how = SOFT_ESCAPE_EXCEPTION;
    load(fixture, add_and_store, sizeof(add_and_store));
    CHECK(lockstep_escaped(fixture->lockstep, fixture->cpu, &how, NULL, 0, &error));
    CHECK_EQUAL(how, SOFT_ESCAPE_EXCEPTION); /* nothing was being compared */
    CHECK(lockstep_before(fixture->lockstep, fixture->cpu, 2));
    fixture->cpu->exception_vector = X86_VECTOR_PF;
    fixture->cpu->exception_has_error = true;
    fixture->cpu->exception_error = X86_PF_WRITE;
    CHECK(!lockstep_escaped(fixture->lockstep, fixture->cpu, &how, NULL, 0, &error));
    CHECK(strstr(lockstep_report(fixture->lockstep), "exception 14, error code 0x2") != NULL);
}

/* A device writes to what the block reads, after the reference: that is no difference. */
static void test_unsteady_memory(struct fixture *fixture)
{
    static const uint8_t code[] = {0x48, 0x8b, 0x0e,
                                   0x48, 0x89, 0x0b}; /* rcx = [rsi]; [rbx] = rcx */
    struct error error;
    load(fixture, code, sizeof(code));
    CHECK(lockstep_before(fixture->lockstep, fixture->cpu, 2));
    soft_guest_write(&fixture->guest, SOFT_GUEST_DATA + 0x200, 0x77, 8);
    CHECK(play(fixture, 2));
    CHECK(lockstep_after(fixture->lockstep, fixture->cpu, NULL, 0, &error));
    CHECK_EQUAL(fixture->cpu->gpr[X86_RCX], 0x77);
    CHECK_EQUAL(fixture->cpu->rip, SOFT_GUEST_CODE + sizeof(code));
    CHECK_EQUAL(soft_guest_read(&fixture->guest, SOFT_GUEST_DATA + 0x100, 8), 0x77);
    struct lockstep_statistics statistics;
    lockstep_statistics(fixture->lockstep, &statistics);
    CHECK_EQUAL(statistics.unsteady, 1);
}

/* --- what is not compared --- */

static const struct guest_case refused[] = {
    {"ud2", {0x48, 0x89, 0x03, 0x0f, 0x0b}, 5, 2},
    {"#DE after a store", {0x48, 0x89, 0x03, 0x31, 0xf6, 0xf7, 0xf6}, 7, 3},
    {"#GP: mov [rdx], rax", {0x48, 0x89, 0x03, 0x48, 0x89, 0x02}, 6, 2},
    {"a store to a device", {0x48, 0x89, 0x03, 0xb8, 0x00, 0x00, 0x00, 0x10, 0x89, 0x10}, 10, 3},
    {"half of a store to a device: crosses into it",
     {0x48, 0x89, 0x03, 0xb8, 0xfe, 0xff, 0xff, 0x0f, 0x89, 0x10},
     10,
     3},
    {"rdtsc", {0x48, 0x89, 0x03, 0x0f, 0x31}, 5, 2},
    {"hlt", {0x48, 0x89, 0x03, 0xf4}, 4, 2},
    {"out", {0x48, 0x89, 0x03, 0xee}, 4, 2},
    {"jz to the next instruction", {0x48, 0x89, 0x03, 0x74, 0x00, 0x90}, 6, 3},
    {"more stores than are noted: rep stosb", {0xb9, 0x00, 0x20, 0x00, 0x00, 0xf3, 0xaa}, 7, 2},
};

static void test_refused(struct fixture *fixture)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        const struct guest_case *guest_case = &refused[i];
        load(fixture, guest_case->code, guest_case->length);
        memset(&fixture->exit, 0, sizeof(fixture->exit));
        lockstep_before(fixture->lockstep, fixture->cpu, guest_case->count);
        memcpy(fixture->memory, guest_memory(fixture), SOFT_GUEST_MEMORY);
        lockstep_capture(fixture->cpu, fixture->before);
        bool good = !lockstep_before(fixture->lockstep, fixture->cpu, guest_case->count);
        lockstep_capture(fixture->cpu, fixture->now);
        good = good && memcmp(fixture->memory, guest_memory(fixture), SOFT_GUEST_MEMORY) == 0;
        good = good && lockstep_equal(fixture->before, fixture->now, 0);
        good = good && fixture->exit.reason == 0 && fixture->cpu->mmio_done == 0;
        good = good && !fixture->cpu->exclusive_held && fixture->cpu->attention == 0;
        check_report(good, __FILE__, __LINE__, guest_case->name);
    }
}

/* A store into decoded code ends the reference before the code is dropped. */
static void test_store_into_code(struct fixture *fixture)
{
    static const uint8_t code[] = {0x88, 0x05, 0x10, 0x00, 0x00, 0x00, 0x90}; /* mov [rip+16], al */
    struct soft_block_statistics before, after;
    load(fixture, code, sizeof(code));
    soft_block_enter(fixture->cpu); /* decodes and marks */
    soft_block_cache_statistics(fixture->cpu->blocks, &before);
    CHECK(!lockstep_before(fixture->lockstep, fixture->cpu, 2));
    soft_block_cache_statistics(fixture->cpu->blocks, &after);
    CHECK_EQUAL(after.dropped, before.dropped);
    CHECK(!fixture->cpu->code_changed);
    CHECK_EQUAL(soft_guest_read(&fixture->guest, SOFT_GUEST_CODE + 0x16, 1), 0);
}

/* The same in the middle of a locked access over two pages, while all others stand still. */
static void test_locked_store_into_code(struct fixture *fixture)
{
    static const uint8_t code[] = {0xf0, 0x48, 0x01, 0x45, 0x00}; /* lock add [rbp], rax */
    fixture->guest.state.gpr[X86_RBP] = SOFT_GUEST_CODE - 4;
    load(fixture, code, sizeof(code));
    soft_guest_write(&fixture->guest, SOFT_GUEST_CODE - 4, 0x55555555, 4);
    soft_block_enter(fixture->cpu);
    CHECK(!lockstep_before(fixture->lockstep, fixture->cpu, 1));
    CHECK(!fixture->cpu->exclusive_held);
    CHECK(!atomic_load(&fixture->cpu->vm->exclusive_wanted));
    CHECK_EQUAL(soft_guest_read(&fixture->guest, SOFT_GUEST_CODE - 4, 4), 0x55555555);
}

/* A store to a page-table entry that the block then walks through. */
static void test_store_into_walk(struct fixture *fixture)
{
    /* mov rax, [rbx]; mov [rbx], rax; mov rcx, [rsi] */
    static const uint8_t code[] = {0x48, 0x8b, 0x03, 0x48, 0x89, 0x03, 0x48, 0x8b, 0x0e};
    struct soft_guest *guest = &fixture->guest;
    uint64_t pml4 = guest->state.cr3 & ~UINT64_C(0xfff);
    guest->state.gpr[X86_RBX] = pml4;
    load(fixture, code, sizeof(code));
    soft_tlb_flush_all(fixture->cpu);
    CHECK(!lockstep_before(fixture->lockstep, fixture->cpu, 3));
    CHECK(lockstep_before(fixture->lockstep, fixture->cpu, 2));
    guest->state.gpr[X86_RBX] = SOFT_GUEST_DATA + 0x100;
}

/* With an event waiting a string instruction pauses: its end is not told. */
static void test_paused_string(struct fixture *fixture)
{
    static const uint8_t code[] = {0xfd, 0xf3, 0xa4}; /* std; rep movsb: no chunks */
    struct error error;
    load(fixture, code, sizeof(code));
    soft_attend(fixture->cpu, SOFT_ATTENTION_INTERRUPT);
    CHECK(!lockstep_before(fixture->lockstep, fixture->cpu, 2));
    CHECK(!fixture->cpu->mid_string);
    atomic_store(&fixture->cpu->attention, 0);
    CHECK(lockstep_before(fixture->lockstep, fixture->cpu, 2));
    soft_attend(fixture->cpu, SOFT_ATTENTION_INTERRUPT); /* now translated code pauses */
    CHECK(play(fixture, 2));
    CHECK(lockstep_after(fixture->lockstep, fixture->cpu, NULL, 0, &error));
    CHECK_EQUAL(fixture->cpu->gpr[X86_RCX], 2);
    atomic_store(&fixture->cpu->attention, 0);
    CHECK(lockstep_before(fixture->lockstep, fixture->cpu, 1));
}

/* What the manual leaves undefined may differ until it is defined again; if it is read, all may. */
static void test_undefined_flags(struct fixture *fixture)
{
    /* imul rdx, rdx, 3: SF, ZF, AF and PF; then setz al, or add eax, ecx */
    static const uint8_t code[] = {0x48, 0x6b, 0xd2, 0x03, 0x0f, 0x94, 0xc0};
    static const uint8_t defined[] = {0x48, 0x6b, 0xd2, 0x03, 0x01, 0xc8};
    struct soft_cpu *cpu = fixture->cpu;
    struct error error;
    load(fixture, code, sizeof(code));
    CHECK(lockstep_before(fixture->lockstep, cpu, 1));
    CHECK(play(fixture, 1));
    soft_set_arithmetic_flags(cpu, soft_arithmetic_flags(cpu) ^ X86_FLAGS_ZF);
    CHECK(lockstep_after(fixture->lockstep, cpu, NULL, 0, &error));
    put_state(fixture);
    atomic_store(&cpu->attention, 0);
    CHECK(!lockstep_before(fixture->lockstep, cpu, 2));
    CHECK(lockstep_before(fixture->lockstep, cpu, 1));
    CHECK(play(fixture, 1));
    soft_set_arithmetic_flags(cpu, soft_arithmetic_flags(cpu) ^ X86_FLAGS_CF);
    CHECK(!lockstep_after(fixture->lockstep, cpu, NULL, 0, &error));
    load(fixture, defined, sizeof(defined));
    CHECK(lockstep_before(fixture->lockstep, cpu, 2));
    CHECK(play(fixture, 2));
    soft_set_arithmetic_flags(cpu, soft_arithmetic_flags(cpu) ^ X86_FLAGS_ZF);
    CHECK(!lockstep_after(fixture->lockstep, cpu, NULL, 0, &error));
}

/* Translated code leaves where attention is asked for: compared as far as it went. */
static void test_left_early(struct fixture *fixture)
{
    /* mov [rbx], rax; mov [rbx], rdx; inc rcx */
    static const uint8_t code[] = {0x48, 0x89, 0x03, 0x48, 0x89, 0x13, 0x48, 0xff, 0xc1};
    struct error error;
    load(fixture, code, sizeof(code));
    CHECK(lockstep_before(fixture->lockstep, fixture->cpu, 3));
    soft_attend(fixture->cpu, SOFT_ATTENTION_INTERRUPT);
    CHECK(play(fixture, 1));
    CHECK(lockstep_after(fixture->lockstep, fixture->cpu, NULL, 0, &error));
    CHECK_EQUAL(fixture->cpu->rip, SOFT_GUEST_CODE + 3);
    CHECK_EQUAL(soft_guest_read(&fixture->guest, SOFT_GUEST_DATA + 0x100, 8),
                fixture->cpu->gpr[X86_RAX]);
    put_state(fixture);
    CHECK(lockstep_before(fixture->lockstep, fixture->cpu, 3));
    CHECK(play(fixture, 2));
    fixture->cpu->gpr[X86_RCX]++;
    CHECK(!lockstep_after(fixture->lockstep, fixture->cpu, NULL, 0, &error));
    CHECK(strstr(error.text, "rcx") != NULL);
    CHECK(lockstep_failure(fixture->lockstep) != NULL);
    atomic_store(&fixture->cpu->attention, 0);
}

/* A branch back into the block ends where an early leave might have been. */
static void test_branch_into_block(struct fixture *fixture)
{
    /* inc rax; inc rcx; dec edx; jnz to inc rcx */
    static const uint8_t code[] = {0x48, 0xff, 0xc0, 0x48, 0xff, 0xc1, 0xff, 0xca, 0x75, 0xf9};
    struct error error;
    load(fixture, code, sizeof(code));
    CHECK(lockstep_before(fixture->lockstep, fixture->cpu, 4));
    soft_attend(fixture->cpu, SOFT_ATTENTION_INTERRUPT);
    CHECK(play(fixture, 4));
    CHECK_EQUAL(fixture->cpu->rip, SOFT_GUEST_CODE + 3);
    CHECK(lockstep_after(fixture->lockstep, fixture->cpu, NULL, 0, &error));
    atomic_store(&fixture->cpu->attention, 0);
}

/* Every so often translated code must meet an empty TLB. */
static void test_misses(struct fixture *fixture)
{
    unsigned int missing = 0;
    const unsigned int turns = 1000;
    load(fixture, add_and_store, sizeof(add_and_store));
    const struct soft_tlb_entry *entry = &fixture->cpu->tlb->entry[soft_tlb_index(SOFT_GUEST_DATA)];
    for (unsigned int i = 0; i < turns; i++) {
        CHECK(lockstep_before(fixture->lockstep, fixture->cpu, 2));
        missing += entry->write_tag != SOFT_GUEST_DATA ? 1 : 0;
    }
    CHECK(missing > 0 && missing < turns / 10);
}

static void test_32_bit(void)
{
    static const uint8_t code[] = {0x60, 0x89, 0x03, 0x01, 0x55, 0x00, 0x40}; /* pusha … inc eax */
    struct fixture fixture;
    struct error error;
    if (open_fixture(&fixture, SOFT_GUEST_32)) {
        load(&fixture, code, sizeof(code));
        CHECK(lockstep_before(fixture.lockstep, fixture.cpu, 4));
        CHECK(play(&fixture, 4));
        CHECK(lockstep_after(fixture.lockstep, fixture.cpu, NULL, 0, &error));
    }
    close_fixture(&fixture);
}

/* --- the setting --- */

static void test_one_vcpu_only(void)
{
    struct guestmem_options memory_options = {.shared = false};
    struct guestmem *memory;
    struct error error;
    CHECK_EQUAL(guestmem_create(&memory_options, &memory, &error), 0);
    CHECK_EQUAL(guestmem_add(memory, gpa(0), 0x1000, 0, &error), 0);
    struct engine_vm_options options = {
        .memory = memory, .vcpu_count = 2, .tsc_hz = 1000000000, .arguments = "check=lockstep"};
    struct engine_vm *vm = NULL;
    CHECK(soft_engine.vm_create(&options, &vm, &error) < 0);
    CHECK(strstr(error.text, "check=lockstep") != NULL);
    options.vcpu_count = 1;
    CHECK_EQUAL(soft_engine.vm_create(&options, &vm, &error), 0);
    soft_engine.vm_destroy(vm);
    guestmem_destroy(memory);
}

static void with_fixture(void (*test)(struct fixture *fixture))
{
    struct fixture fixture;
    if (open_fixture(&fixture, SOFT_GUEST_64)) {
        test(&fixture);
    }
    close_fixture(&fixture);
}

int main(void)
{
    log_set_level(LOG_SILENT);
    with_fixture(test_taken_back);
    with_fixture(test_equal_runs);
    with_fixture(test_live_x87);
    with_fixture(test_errors_found);
    with_fixture(test_missing_store);
    with_fixture(test_wrong_escape);
    with_fixture(test_unsteady_memory);
    with_fixture(test_refused);
    with_fixture(test_store_into_code);
    with_fixture(test_locked_store_into_code);
    with_fixture(test_store_into_walk);
    with_fixture(test_paused_string);
    with_fixture(test_undefined_flags);
    with_fixture(test_left_early);
    with_fixture(test_branch_into_block);
    with_fixture(test_misses);
    test_32_bit();
    test_one_vcpu_only();
    return check_summary();
}
