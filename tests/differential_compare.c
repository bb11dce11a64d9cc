/* What must be the same after a case, and cases for people to read. */
#include <inttypes.h>
#include <string.h>

#include "comparison.h"
#include "differential.h"
#include "x86/disassemble.h"

/*
 * Flags that the manual leaves undefined and that the engine does not take from the host. The
 * reasons cite Intel SDM volume 2, "Flags Affected" of the instruction's page.
 */
struct undefined_flags {
    enum x86_operation operation;
    uint64_t flags;
};

static const struct undefined_flags undefined_flags[] = {
    /* 64-bit hosts have no such instruction to take them from. "AAA", "AAS", "AAM", "AAD", "DAA" */
    {X86_OP_AAA, X86_FLAGS_OF | X86_FLAGS_SF | X86_FLAGS_ZF | X86_FLAGS_PF},
    {X86_OP_AAS, X86_FLAGS_OF | X86_FLAGS_SF | X86_FLAGS_ZF | X86_FLAGS_PF},
    {X86_OP_AAM, X86_FLAGS_OF | X86_FLAGS_AF | X86_FLAGS_CF},
    {X86_OP_AAD, X86_FLAGS_OF | X86_FLAGS_AF | X86_FLAGS_CF},
    {X86_OP_DAA, X86_FLAGS_OF},
    {X86_OP_DAS, X86_FLAGS_OF},
};

/* TF, RF and what only a system sees are left out: the handler of the native side clears TF. */
#define FLAGS_COMPARED                                                                             \
    (X86_FLAGS_ARITHMETIC | X86_FLAGS_DF | X86_FLAGS_IF | X86_FLAGS_IOPL | X86_FLAGS_NT |          \
     X86_FLAGS_AC | X86_FLAGS_ID)

/* From here on it reports all pages as present. */
#define LINUX_OWN_ADDRESSES UINT64_C(0x7ffffffff000)

static enum x86_decode_mode mode_of(const struct differential_case *what)
{
    return what->is_32 ? X86_DECODE_32 : X86_DECODE_64;
}

uint64_t differential_undefined_flags(enum x86_operation operation)
{
    for (size_t n = 0; n < sizeof(undefined_flags) / sizeof(undefined_flags[0]); n++) {
        if (undefined_flags[n].operation == operation) {
            return undefined_flags[n].flags;
        }
    }
    return 0;
}

static uint64_t flags_compared(const struct differential_case *what)
{
    uint64_t flags = FLAGS_COMPARED;
    for (unsigned int i = 0; i < what->count; i++) {
        struct x86_instruction in;
        if (x86_decode(mode_of(what), what->code + what->instructions[i].offset,
                       what->instructions[i].length, &in) != X86_DECODE_OK) {
            continue;
        }
        flags &= ~differential_undefined_flags(in.operation);
    }
    return flags;
}

/* --- one difference after the other --- */

static void compare_word(struct comparison *comparison, const char *name, uint64_t native,
                         uint64_t soft)
{
    if (native != soft) {
        differ(comparison, "  %s: native %" PRIx64 ", soft %" PRIx64 "\n", name, native, soft);
    }
}

static void compare_bytes(struct comparison *comparison, const char *name, unsigned int number,
                          const uint8_t *native, const uint8_t *soft, unsigned int bytes)
{
    if (memcmp(native, soft, bytes) == 0) {
        return;
    }
    differ(comparison, "  %s%u:\n", name, number);
    for (unsigned int side = 0; side < 2 && comparison->to != NULL; side++) {
        fprintf(comparison->to, "    %s ", side == 0 ? "native" : "soft  ");
        for (unsigned int i = bytes; i-- > 0;) {
            fprintf(comparison->to, "%02x%s", (side == 0 ? native : soft)[i],
                    i % 8 == 0 ? " " : "");
        }
        fputc('\n', comparison->to);
    }
}

/*
 * What processors differ in about faults, and the manual leaves open: where in a long operand CR2
 * points; which of two operands in memory faults first; which of two reasons that one operand has
 * to fault comes first ("Priority Among Concurrent Events" stops at the class); and whether a near
 * call to a non-canonical address faults before the push of the return address may.
 */
static enum x86_operation operation_at(const struct differential_case *what, uint64_t rip)
{
    struct x86_instruction in;
    uint64_t offset = rip - what->start;
    if (offset < what->length && x86_decode(mode_of(what), what->code + offset,
                                            what->length - offset, &in) == X86_DECODE_OK) {
        return in.operation;
    }
    return X86_OP_INVALID;
}

static bool tolerated(const struct differential_case *what,
                      const struct differential_outcome *native,
                      const struct differential_outcome *soft)
{
    if (native->registers.rip != soft->registers.rip) {
        return false;
    }
    uint64_t apart = native->address - soft->address;
    bool memory = native->vector >= X86_VECTOR_SS && soft->vector >= X86_VECTOR_SS;
    /* an offset that is not canonical, with a base that makes it so */
    bool upper_half = (soft->vector == X86_VECTOR_PF && soft->address >> 63 != 0) ||
                      soft->vector == X86_VECTOR_AC;
    if ((native->vector == X86_VECTOR_PF && soft->vector == X86_VECTOR_AC) ||
        (native->vector == X86_VECTOR_GP && upper_half) ||
        (native->vector == X86_VECTOR_GP && soft->vector == X86_VECTOR_SS)) {
        return true; /* the latter: for want of alignment, or for being non-canonical */
    }
    switch (operation_at(what, native->registers.rip)) {
    case X86_OP_CALL_INDIRECT:
        return memory && soft->vector == X86_VECTOR_GP;
    case X86_OP_MOVS:
    case X86_OP_CMPS:
    case X86_OP_BOUND:
    case X86_OP_VMASKMOV:
    case X86_OP_GATHER:
        return memory;
    case X86_OP_FXSAVE:
    case X86_OP_FXRSTOR: /* nor is #AC rather than #GP guaranteed */
        return memory;
    case X86_OP_X87:
        return memory && (native->vector != soft->vector || apart < 108);
    default:
        return false;
    }
}

/* FXSAVE after x87 instructions: some store the pointers only with an exception pending. */
static bool stores_pointers(const struct differential_case *what)
{
    bool x87 = false;
    for (unsigned int i = 0; i < what->count; i++) {
        enum x86_operation operation =
            operation_at(what, what->start + what->instructions[i].offset);
        x87 |= operation == X86_OP_X87;
        if (x87 && operation == X86_OP_FXSAVE) {
            return true;
        }
    }
    return false;
}

/* A REP that overwrites itself: nobody says when it is fetched again. */
static bool repeats_over_code(const struct differential_case *what,
                              const struct differential_outcome *start,
                              const struct differential_outcome *native)
{
    bool is_string = false;
    for (unsigned int i = 0; i < what->count; i++) {
        enum x86_operation operation =
            operation_at(what, what->start + what->instructions[i].offset);
        is_string |= operation == X86_OP_STOS || operation == X86_OP_MOVS;
    }
    return is_string &&
           memcmp(start->memory.code, native->memory.code, sizeof(start->memory.code)) != 0;
}

bool differential_is_open(const struct differential_case *what,
                          const struct differential_outcome *start,
                          const struct differential_outcome *native)
{
    if (native->vector == DIFFERENTIAL_BLOCKED || stores_pointers(what) ||
        repeats_over_code(what, start, native)) {
        return true;
    }
    if (native->vector < 0) {
        return false;
    }
    switch (operation_at(what, native->registers.rip)) {
    case X86_OP_MASKMOV: /* "MASKMOVDQU": with a mask of zeroes faults are up to the processor */
    case X86_OP_POPA:    /* some have loaded registers when it faults: it runs again anyway */
        return true;
    case X86_OP_MMX: /* "CVTPS2PI": has it entered MMX state when #XM comes? */
        return native->vector == X86_VECTOR_XM;
    default:
        return false;
    }
}

static void compare_faults(struct comparison *comparison, const struct differential_outcome *native,
                           const struct differential_outcome *soft)
{
    if (native->vector != soft->vector) {
        differ(comparison, "  exception: native %d, soft %d (%u)\n", native->vector, soft->vector,
               soft->error);
    }
    compare_word(comparison, "rip", native->registers.rip, soft->registers.rip);
    if (native->vector != soft->vector ||
        (native->vector != X86_VECTOR_PF && native->vector != X86_VECTOR_GP)) {
        return;
    }
    uint32_t error_mask = UINT32_MAX;
    if (native->vector == X86_VECTOR_PF) {
        compare_word(comparison, "cr2", native->address, soft->address);
        if (native->address >= LINUX_OWN_ADDRESSES) {
            error_mask = ~X86_PF_PRESENT;
        }
    }
    compare_word(comparison, "error code", native->error & error_mask, soft->error & error_mask);
}

static void compare_x87(struct comparison *comparison, const uint8_t *native, const uint8_t *soft)
{
    static const struct {
        const char *name;
        unsigned int at, bytes;
    } words[] = {{"FCW", 0, 2}, {"FSW", 2, 2}, {"abridged FTW", 4, 1}, {"MXCSR", 24, 4}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        uint32_t of_native = 0, of_soft = 0;
        memcpy(&of_native, native + words[i].at, words[i].bytes);
        memcpy(&of_soft, soft + words[i].at, words[i].bytes);
        compare_word(comparison, words[i].name, of_native, of_soft);
    }
    for (unsigned int i = 0; i < 8; i++) {
        compare_bytes(comparison, "ST", i, native + 32 + 16 * i, soft + 32 + 16 * i, 10);
    }
}

static void compare_pages(struct comparison *comparison, uint32_t address, const uint8_t *native,
                          const uint8_t *soft, size_t bytes)
{
    if (memcmp(native, soft, bytes) == 0) {
        return;
    }
    unsigned int shown = 0;
    for (size_t i = 0; i < bytes && shown < 24; i++) {
        if (native[i] != soft[i]) {
            differ(comparison, "  [%zx]: native %02x, soft %02x\n", address + i, native[i],
                   soft[i]);
            shown++;
        }
    }
}

bool differential_compare(const struct differential_case *what,
                          const struct differential_outcome *native,
                          const struct differential_outcome *soft, FILE *to)
{
    static const char *const names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                        "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    struct comparison comparison = {.to = to, .equal = true};
    const struct differential_registers *a = &native->registers, *b = &soft->registers;
    if (!tolerated(what, native, soft)) {
        compare_faults(&comparison, native, soft);
    }
    for (unsigned int i = 0; i < (what->is_32 ? 8 : 16); i++) {
        compare_word(&comparison, names[i], a->gpr[i], b->gpr[i]);
    }
    uint64_t flags = flags_compared(what);
    compare_word(&comparison, "rflags", a->rflags & flags, b->rflags & flags);
    if (!what->is_32) {
        compare_word(&comparison, "FS base", a->fs_base, b->fs_base);
        compare_word(&comparison, "GS base", a->gs_base, b->gs_base);
    }
    for (unsigned int i = 0; i < (what->is_32 ? 8 : 16); i++) {
        compare_bytes(&comparison, "YMM", i, a->ymm[i], b->ymm[i], 32);
    }
    compare_x87(&comparison, a->x87, b->x87);
    compare_pages(&comparison, DIFFERENTIAL_CODE, native->memory.code[0], soft->memory.code[0],
                  sizeof(native->memory.code));
    for (unsigned int page = 0; page < DIFFERENTIAL_DATA_PAGES; page++) {
        if (page != DIFFERENTIAL_PAGE_HOLE) {
            compare_pages(&comparison, DIFFERENTIAL_DATA + page * 0x1000, native->memory.data[page],
                          soft->memory.data[page], 4096);
        }
    }
    return comparison.equal;
}

/* --- showing --- */

void differential_show(const struct differential_case *what, FILE *to)
{
    static struct differential_outcome start;
    differential_start(what, &start);
    fprintf(to, "%s-bit code, seed 0x%" PRIx64 "\n", what->is_32 ? "32" : "64", what->seed);
    for (unsigned int i = 0; i < what->count; i++) {
        unsigned int offset = what->instructions[i].offset, length = what->instructions[i].length;
        char text[160] = "";
        disassemble(mode_of(what), what->start + offset, what->code + offset, length, text,
                    sizeof(text));
        fprintf(to, "  %08x ", what->start + offset);
        for (unsigned int n = 0; n < length; n++) {
            fprintf(to, " %02x", what->code[offset + n]);
        }
        fprintf(to, "%*s%s\n", length < 12 ? (int)(3 * (12 - length)) : 1, "", text);
    }
    const struct differential_registers *registers = &start.registers;
    for (unsigned int i = 0; i < X86_GPR_COUNT; i++) {
        fprintf(to, "  r%-2u %016" PRIx64 "%s", i, registers->gpr[i], i % 4 == 3 ? "\n" : "");
    }
    uint32_t mxcsr;
    memcpy(&mxcsr, registers->x87 + DIFFERENTIAL_X87_MXCSR, 4);
    fprintf(to, "  rflags %" PRIx64 ", FS %" PRIx64 ", GS %" PRIx64 ", MXCSR %x\n",
            registers->rflags, registers->fs_base, registers->gs_base, mxcsr);
}
