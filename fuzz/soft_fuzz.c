/*
 * A hostile guest on the soft engine: its state, tables and code are the input.
 *
 * Input: a header (struct header) that says mode, control registers, flags and segments; then code,
 * then bytes that are XORed onto sensible descriptor tables. Exits are answered for a while.
 * Whatever the guest does, the engine comes back when kicked and keeps within its memory.
 */
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "engines/soft/soft.h"
#include "x86/registers.h"

#define MEMORY_BYTES UINT64_C(0x100000)
#define AT_GDT       0x1000u
#define AT_IDT       0x1800u
#define AT_TSS       0x2800u
#define AT_LDT       0x3000u
#define AT_TABLES    0x4000u /* of pages */
#define AT_CODE      0x7c00u
#define AT_HANDLER   0x8000u
#define CODE_BYTES   192u
#define TABLE_BYTES  (AT_TABLES - AT_GDT)
#define EXITS_MAX    48u
#define KICKS_MAX    2u
#define TICK_US      1000

enum mode {
    REAL,
    VIRTUAL_8086,
    PROTECTED_16,
    PROTECTED_32,
    PAGED_32,
    PAGED_PAE,
    LONG_64,
    LONG_COMPAT
};

struct header {
    uint8_t mode, cpl, answers, shadows;
    uint32_t cr0, cr4, efer, flags;
    uint16_t code_offset, limits;
    uint8_t attributes[X86_SEGMENT_COUNT];
    uint8_t dr7[2];
    uint64_t registers[4];
};

static struct engine_vcpu *running;

static void tick(int number)
{
    (void)number;
    if (running != NULL) {
        soft_engine.kick(running);
    }
}

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void start_timer(void)
{
    static bool started;
    if (!started) {
        const struct timeval period = {.tv_usec = TICK_US};
        const struct itimerval timer = {.it_interval = period, .it_value = period};
        struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART | SA_ONSTACK};
        sigaction(SIGVTALRM, &action, NULL);
        setitimer(ITIMER_VIRTUAL, &timer, NULL);
        started = true;
    }
}

/* --- memory --- */

static void put(uint8_t *memory, uint32_t at, uint64_t value)
{
    memcpy(memory + at, &value, 8);
}

static void make_descriptors(uint8_t *memory)
{
    static const uint64_t gdt[] = {
        0,
        UINT64_C(0x00cf9b000000ffff), /* 08: 32-bit code */
        UINT64_C(0x00cf93000000ffff), /* 10: data */
        UINT64_C(0x00af9b000000ffff), /* 18: 64-bit code */
        UINT64_C(0x00008f000000ffff), /* 20: a trap gate, where none belongs */
        UINT64_C(0x00009b000000ffff), /* 28: 16-bit code */
        UINT64_C(0x00cffb000000ffff), /* 30: 32-bit code for users */
        UINT64_C(0x00cff3000000ffff), /* 38: data for users */
        UINT64_C(0x000089002800006f), /* 40: TSS */
        0,
        UINT64_C(0x0000820030000fff), /* 50: LDT */
        0,
        UINT64_C(0x0000ec0000088000), /* 60: call gate */
        0,
        UINT64_C(0x0000e50000400000), /* 70: task gate */
        UINT64_C(0x00affb000000ffff), /* 78: 64-bit code for users */
    };
    memcpy(memory + AT_GDT, gdt, sizeof(gdt));
    memcpy(memory + AT_LDT, gdt, sizeof(gdt));
}

static void make_gates(uint8_t *memory, bool is_long)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint64_t gate = UINT64_C(0x0000ee0000080000) | AT_HANDLER;
        if (is_long) {
            gate = UINT64_C(0x0000ee0000180000) | AT_HANDLER;
            put(memory, AT_IDT + 16 * i, gate);
            put(memory, AT_IDT + 16 * i + 8, 0);
        } else {
            put(memory, AT_IDT + 8 * i, gate);
        }
    }
}

/* Identity maps with large pages; the last entries lead into nothing or are odd. */
static uint64_t make_pages(uint8_t *memory, enum mode mode)
{
    uint32_t table = AT_TABLES;
    if (mode == PAGED_32) {
        for (uint32_t i = 0; i < 4; i++) {
            uint32_t entry = i << 22 | 0x87;
            memcpy(memory + table + 4 * i, &entry, 4);
        }
        return table;
    }
    bool is_long = mode >= LONG_64;
    uint32_t pointers = is_long ? table + 0x1000 : table, directory = pointers + 0x1000;
    put(memory, table, pointers | 7);
    put(memory, pointers, directory | (is_long ? 7u : 1u));
    put(memory, directory, 0x87);
    put(memory, directory + 8, (directory + 0x1000) | 7);
    put(memory, directory + 0x1000, AT_CODE & ~0xfffu ? 0x7007 : 7);
    return table;
}

/* --- state --- */

static struct x86_segment segment(const struct header *header, unsigned int number, bool code,
                                  uint16_t selector)
{
    enum mode mode = header->mode & 7;
    struct x86_segment result = {.limit = UINT32_MAX, .selector = selector};
    uint32_t type = code ? 0xb : 3;
    uint32_t size = mode == LONG_64 && code ? X86_SEGMENT_L : X86_SEGMENT_DB;
    if (mode == REAL || mode == VIRTUAL_8086 || mode == PROTECTED_16) {
        size = 0;
        result.limit = 0xffff;
    }
    uint32_t dpl = mode == VIRTUAL_8086 ? 3 : mode == REAL ? 0 : header->cpl & 3;
    result.attributes = type | X86_SEGMENT_S | X86_SEGMENT_P | size | dpl << X86_SEGMENT_DPL_SHIFT;
    if (mode == VIRTUAL_8086) {
        result.attributes = 0xf3;
    } else if (!code && number != X86_SS) {
        result.attributes ^= header->attributes[number] & X86_SEGMENT_TYPE;
        if ((header->attributes[number] & 0x80) != 0) {
            result.attributes |= X86_SEGMENT_UNUSABLE;
        }
    }
    if ((header->limits >> number & 1) != 0 && !code) {
        result.limit >>= 4 + (header->limits >> 12);
    }
    return result;
}

static void set_registers(struct x86_state *state, const struct header *header)
{
    const uint64_t allowed_cr4 = X86_CR4_VME | X86_CR4_PVI | X86_CR4_TSD | X86_CR4_DE |
                                 X86_CR4_PGE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_UMIP |
                                 X86_CR4_FSGSBASE | X86_CR4_OSXSAVE | X86_CR4_SMEP | X86_CR4_SMAP;
    enum mode mode = header->mode & 7;
    bool paged = mode >= PAGED_32;
    state->cr0 = X86_CR0_ET | (header->cr0 & (X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_NE |
                                              X86_CR0_WP | X86_CR0_AM));
    state->cr0 |= mode == REAL ? 0 : X86_CR0_PE;
    state->cr0 |= paged ? X86_CR0_PG : 0;
    state->cr4 = header->cr4 & allowed_cr4;
    state->cr4 |= mode == PAGED_32 ? X86_CR4_PSE : mode > PAGED_32 ? X86_CR4_PAE : 0;
    state->efer = header->efer & (X86_EFER_SCE | X86_EFER_NXE);
    state->efer |= mode >= LONG_64 ? X86_EFER_LME | X86_EFER_LMA : 0;
    state->rflags =
        (header->flags & (X86_FLAGS_ARITHMETIC | X86_FLAGS_TF | X86_FLAGS_IF | X86_FLAGS_DF |
                          X86_FLAGS_IOPL | X86_FLAGS_NT | X86_FLAGS_AC)) |
        X86_FLAGS_ONE | (mode == VIRTUAL_8086 ? X86_FLAGS_VM : 0);
    state->xcr0 = X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX;
    for (unsigned int i = 0; i < X86_GPR_COUNT; i++) {
        state->gpr[i] = header->registers[i % 4] >> (i / 4 * 16);
    }
    state->gpr[X86_RSP] = 0x7000;
    state->dr[0] = AT_CODE + 8;
    state->dr[1] = 0x7000 - 4;
    state->dr[7] = X86_DR7_ONE | header->dr7[0] | (uint64_t)(header->dr7[1] & 0x33) << 16;
}

static void make_state(struct x86_state *state, const struct header *header, uint8_t *memory)
{
    static const uint16_t code_selectors[8] = {0, 0, 0x28, 0x08, 0x08, 0x08, 0x18, 0x08};
    enum mode mode = header->mode & 7;
    bool sixteen = mode == REAL || mode == VIRTUAL_8086;
    x86_state_reset(state);
    set_registers(state, header);
    if (mode >= PAGED_32) {
        state->cr3 = make_pages(memory, mode);
    }
    for (unsigned int i = 0; i < X86_SEGMENT_COUNT; i++) {
        uint16_t selector = i == X86_CS ? code_selectors[mode] : sixteen ? 0 : 0x10;
        state->segment[i] = segment(header, i, i == X86_CS, selector);
    }
    state->segment[X86_TR] =
        (struct x86_segment){.base = AT_TSS, .limit = 0x6f, .attributes = 0x8b, .selector = 0x40};
    state->segment[X86_LDTR] =
        (struct x86_segment){.base = AT_LDT, .limit = 0xfff, .attributes = 0x82, .selector = 0x50};
    state->gdtr = (struct x86_table_register){.base = AT_GDT, .limit = 0x7f};
    state->idtr = (struct x86_table_register){.base = mode == REAL ? 0 : AT_IDT, .limit = 0xfff};
    state->rip = AT_CODE + header->code_offset % 2 * 0x3f8u;
    state->sti_shadow = (header->shadows & 1) != 0;
    state->mov_ss_shadow = (header->shadows & 6) == 2;
    state->nmi_pending = (header->shadows & 8) != 0;
}

static void fill(uint8_t *memory, const struct header *header, const uint8_t *data, size_t size)
{
    enum mode mode = header->mode & 7;
    size_t code = size < CODE_BYTES ? size : CODE_BYTES;
    make_descriptors(memory);
    make_gates(memory, mode >= LONG_64);
    put(memory, AT_TSS + 4, 0x0010000000006800); /* ESP0 or the middle of RSP0 */
    memcpy(memory + AT_CODE + header->code_offset % 2 * 0x3f8u, data, code);
    memory[AT_HANDLER] = 0xcf; /* IRET */
    for (size_t i = code; i < size && i - code < TABLE_BYTES; i++) {
        memory[AT_GDT + (i - code)] ^= data[i];
    }
}

/* --- running --- */

/* False: the run is over. */
static bool answer(struct vcpu_exit *exit, uint8_t answers, unsigned int *kicks)
{
    switch (exit->reason) {
    case EXIT_KICKED:
        return ++*kicks < KICKS_MAX;
    case EXIT_PIO:
        require(exit->pio.count > 0 && exit->pio.data != NULL && exit->pio.size <= 4);
        if (!exit->pio.is_write) {
            memset(exit->pio.data, answers, (size_t)exit->pio.size * exit->pio.count);
        }
        return true;
    case EXIT_MMIO:
        require(exit->mmio.size >= 1 && exit->mmio.size <= 8);
        if (!exit->mmio.is_write) {
            memset(exit->mmio.data, answers, sizeof(exit->mmio.data));
        }
        return true;
    case EXIT_RDMSR:
    case EXIT_WRMSR:
        exit->msr.refused = (answers & 1) != 0;
        exit->msr.value = exit->reason == EXIT_RDMSR ? answers : exit->msr.value;
        return true;
    case EXIT_HYPERCALL:
        exit->hypercall.result = answers;
        return true;
    case EXIT_HLT:
    case EXIT_SHUTDOWN:
        return false;
    default:
        abort();
    }
}

static void run(struct engine_vcpu *vcpu, const struct header *header)
{
    struct vcpu_exit exit = {.reason = EXIT_NONE};
    struct error error;
    unsigned int kicks = 0;
    running = vcpu;
    for (unsigned int i = 0; i < EXITS_MAX; i++) {
        require(soft_engine.run(vcpu, &exit, &error) == 0);
        if (!answer(&exit, header->answers, &kicks)) {
            break;
        }
    }
    running = NULL;
}

static void test(const struct header *header, const uint8_t *data, size_t size)
{
    static struct x86_state state, after;
    struct error error = {{0}};
    struct guestmem *memory;
    struct engine_vm *vm;
    struct engine_vcpu *vcpu;
    struct cpuid_table cpuid = {.count = 0};
    const struct guestmem_options memory_options = {.shared = false};
    require(guestmem_create(&memory_options, &memory, &error) == 0);
    require(guestmem_add(memory, gpa(0), MEMORY_BYTES, 0, &error) == 0);
    uint8_t *bytes = guestmem_pointer(memory, gpa(0), MEMORY_BYTES);
    fill(bytes, header, data, size);
    make_state(&state, header, bytes);
    const struct engine_vm_options options = {
        .memory = memory, .vcpu_count = 1, .tsc_hz = 1000000000};
    require(soft_engine.vm_create(&options, &vm, &error) == 0);
    require(soft_engine.cpuid_supported(vm, &cpuid, &error) == 0);
    const struct engine_vcpu_options vcpu_options = {.cpuid = &cpuid};
    require(soft_engine.vcpu_create(vm, &vcpu_options, &vcpu, &error) == 0);
    if (soft_engine.set_state(vcpu, X86_STATE_ALL, &state, &error) == 0) {
        run(vcpu, header);
        require(soft_engine.get_state(vcpu, X86_STATE_ALL, &after, &error) == 0);
    }
    soft_engine.vcpu_destroy(vcpu);
    soft_engine.vm_destroy(vm);
    guestmem_destroy(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct header header;
    if (size < sizeof(header)) {
        return 0;
    }
    memcpy(&header, data, sizeof(header));
    start_timer();
    test(&header, data + sizeof(header), size - sizeof(header));
    return 0;
}
