/*
 * A machine of one vCPU that random programs run on: paging, descriptors and handlers are laid out
 * anew for each, the engine's VM stays.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engines/soft/soft.h"
#include "no_cr8.h"
#include "program.h"
#include "x86/descriptor.h"

#define MEMORY_BYTES 0x100000

#define AT_PML4      0x1000
#define AT_PDPT      0x2000
#define AT_DIRECTORY 0x3000
#define AT_TABLES    0x10000 /* one for each 2 MiB that is used */
#define AT_DEVICE    UINT64_C(0xfe000000)

#define ENTRY_P  UINT64_C(1)
#define ENTRY_W  UINT64_C(2)
#define ENTRY_U  UINT64_C(4)
#define ENTRY_AD UINT64_C(0x60)
#define ENTRY_NX (UINT64_C(1) << 63)

/* A program goes on behind an exception without these. */
#define FLAGS_NEVER_KEPT (X86_FLAGS_TF | X86_FLAGS_NT | X86_FLAGS_RF)

#define EXITS_MAX        20000u
#define LOOK_NS          5000000 /* how often the watch looks whether a program has an end */
#define INSTRUCTIONS_MAX UINT64_C(3000000)

/* What a page is for. */
enum use { FOR_PROGRAM, FOR_OTHERS, FOR_KERNEL };

struct page {
    uint32_t linear;
    uint64_t physical, flags;
    enum use use;
    bool compared; /* its contents; others are aliases, or the handlers' own */
};

static const struct page pages[] = {
    {PROGRAM_CODE, 0x45000, ENTRY_W, FOR_PROGRAM, true},
    {PROGRAM_CODE + 0x1000, 0x33000, ENTRY_W | ENTRY_AD, FOR_PROGRAM, true},
    {PROGRAM_CODE + 0x2000, 0x52000, ENTRY_W, FOR_PROGRAM, true},
    {PROGRAM_CODE + 0x3000, 0x4e000, ENTRY_W | ENTRY_AD, FOR_PROGRAM, true},
    {PROGRAM_DATA, 0x80000, ENTRY_W | ENTRY_AD | ENTRY_NX, FOR_PROGRAM, true},
    {PROGRAM_DATA + 0x1000, 0x7e000, ENTRY_W | ENTRY_NX, FOR_PROGRAM, true},
    {PROGRAM_READ_ONLY, 0x90000, ENTRY_NX, FOR_PROGRAM, true},
    {PROGRAM_DATA + 0x4000, 0x70000, ENTRY_W | ENTRY_NX, FOR_PROGRAM, true},
    {PROGRAM_CODE_ALIAS, 0x45000, ENTRY_W | ENTRY_NX, FOR_PROGRAM, false},
    {PROGRAM_CODE_ALIAS + 0x1000, 0x33000, ENTRY_W | ENTRY_AD, FOR_PROGRAM, false},
    {PROGRAM_DATA_ALIAS, 0x80000, ENTRY_W | ENTRY_NX, FOR_PROGRAM, false},
    {PROGRAM_DEVICE, AT_DEVICE, ENTRY_W | ENTRY_AD, FOR_PROGRAM, false},
    {PROGRAM_OTHERS, 0x60000, ENTRY_W | ENTRY_AD, FOR_OTHERS, true},
    {PROGRAM_STACK, 0x62000, ENTRY_W | ENTRY_NX, FOR_PROGRAM, true},
    {PROGRAM_STACK + 0x1000, 0x61000, ENTRY_W | ENTRY_AD, FOR_PROGRAM, true},
    {PROGRAM_CONTROL, 0x64000, ENTRY_W | ENTRY_AD, FOR_PROGRAM, true},
    {PROGRAM_END, 0x65000, 0, FOR_PROGRAM, false},
    {PROGRAM_KERNEL, 0xa0000, ENTRY_AD, FOR_KERNEL, false},
    {PROGRAM_RECOVERY, 0xa1000, ENTRY_AD, FOR_KERNEL, false},
    {PROGRAM_LOG, 0xa2000, ENTRY_W | ENTRY_AD, FOR_KERNEL, false},
    {PROGRAM_TABLES, 0xa3000, ENTRY_W | ENTRY_AD, FOR_KERNEL, false},
    {PROGRAM_TABLES + 0x1000, 0xa4000, ENTRY_W | ENTRY_AD, FOR_KERNEL, false},
    {PROGRAM_CODE_ENTRIES, AT_TABLES, ENTRY_W | ENTRY_AD, FOR_KERNEL, false},
    {PROGRAM_DATA_ENTRIES, AT_TABLES + 0x1000, ENTRY_W | ENTRY_AD, FOR_KERNEL, false},
    {PROGRAM_INTERRUPTS - 0x1000, 0xa5000, ENTRY_W | ENTRY_AD, FOR_KERNEL, false},
};
#define PAGES (sizeof(pages) / sizeof(pages[0]))

_Static_assert(PAGES <= PROGRAM_PAGES_MAX, "room in the outcome");

struct program_machine {
    struct program_machine_options options;
    struct guestmem *memory;
    uint8_t *ram;
    struct engine_vm *vm;
    struct cpuid_table cpuid;
    struct engine_vcpu *vcpu;
    struct x86_state state;
    struct interrupt_source interrupts;
    uint8_t image[MEMORY_BYTES]; /* what memory is to hold at the start */
    bool used[MEMORY_BYTES >> 12];
    uint64_t device_accesses, device_hash;
    /* the vCPU's thread: an engine has a right to its own */
    pthread_t thread;
    bool has_thread;
    sem_t wanted, done;
    const struct program *program; /* to be run; NULL: it is to end */
    struct program_outcome *outcome;
    int creation; /* 0 or the -errno with which the vCPU could not be made */
    struct error *error;
    /* the thread that kicks */
    pthread_t helper;
    bool has_helper;
    atomic_bool running, over, interrupt_waits;
    atomic_uint interrupts_taken;
};

extern const uint8_t program_handlers[], program_handlers_end[];

/* --- the image --- */

static void put(struct program_machine *machine, uint64_t physical, uint64_t value,
                unsigned int size)
{
    machine->used[physical >> 12] = true;
    memcpy(machine->image + physical, &value, size);
}

static uint64_t physical_of(uint32_t linear)
{
    for (size_t i = 0; i < PAGES; i++) {
        if (pages[i].linear == (linear & ~0xfffu)) {
            return pages[i].physical | (linear & 0xfff);
        }
    }
    return 0;
}

static uint64_t entry_at(size_t page)
{
    uint64_t table = AT_TABLES;
    uint32_t seen = UINT32_MAX;
    for (size_t i = 0; i <= page; i++) {
        if (pages[i].linear >> 21 != seen) {
            table += seen == UINT32_MAX ? 0 : 0x1000;
            seen = pages[i].linear >> 21;
        }
    }
    return table + 8 * (pages[page].linear >> 12 & 511);
}

static void make_page_tables(struct program_machine *machine, bool is_kernel)
{
    const uint64_t upper = ENTRY_P | ENTRY_W | ENTRY_U | ENTRY_AD;
    put(machine, AT_PML4, AT_PDPT | upper, 8);
    put(machine, AT_PDPT, AT_DIRECTORY | upper, 8);
    for (size_t i = 0; i < PAGES; i++) {
        uint64_t table = entry_at(i) & ~UINT64_C(0xfff);
        if (pages[i].physical < MEMORY_BYTES) {
            machine->used[pages[i].physical >> 12] = true;
        }
        bool is_user = pages[i].use == (is_kernel ? FOR_OTHERS : FOR_PROGRAM);
        put(machine, AT_DIRECTORY + 8 * (pages[i].linear >> 21), table | upper, 8);
        put(machine, entry_at(i),
            pages[i].physical | pages[i].flags | ENTRY_P | (is_user ? ENTRY_U : 0), 8);
    }
}

static void make_gates(struct program_machine *machine)
{
    for (unsigned int i = 0; i < PROGRAM_VECTORS; i++) {
        uint64_t at = physical_of(PROGRAM_IDT) + 16 * i;
        uint64_t handler = PROGRAM_KERNEL + PROGRAM_HANDLER_STRIDE * i;
        uint64_t stack = i == PROGRAM_IRQ ? 2 : 1;
        uint64_t for_users = i == X86_VECTOR_BP || i == X86_VECTOR_OF ? UINT64_C(0x6000) << 32 : 0;
        put(machine, at,
            (handler & 0xffff) | PROGRAM_CS_KERNEL_64 << 16 | stack << 32 | UINT64_C(0x8e00) << 32 |
                for_users | handler >> 16 << 48,
            8);
        put(machine, at + 8, 0, 8);
    }
}

static void make_tables(struct program_machine *machine)
{
    static const uint64_t descriptors[] = {
        0,
        UINT64_C(0x00af9b000000ffff), /* 08: 64-bit code */
        UINT64_C(0x00cf93000000ffff), /* 10: data */
        UINT64_C(0x00cf9b000000ffff), /* 18: 32-bit code */
        UINT64_C(0x00cffb000000ffff), /* 20: 32-bit code for users */
        UINT64_C(0x00cff3000000ffff), /* 28: data for users */
        UINT64_C(0x00affb000000ffff), /* 30: 64-bit code for users */
    };
    const uint64_t segment = physical_of(PROGRAM_TSS);
    memcpy(machine->image + physical_of(PROGRAM_GDT), descriptors, sizeof(descriptors));
    put(machine, segment + 4, PROGRAM_KERNEL_STACK, 8);
    put(machine, segment + 36, PROGRAM_KERNEL_STACK, 8);
    put(machine, segment + 44, PROGRAM_INTERRUPTS, 8);
    memcpy(machine->image + physical_of(PROGRAM_KERNEL), program_handlers,
           (size_t)(program_handlers_end - program_handlers));
    static const uint8_t undefined[2] = {0x0f, 0x0b};
    memcpy(machine->image + physical_of(PROGRAM_END), undefined, 2);
    make_gates(machine);
}

/* To the first segment that begins behind the place of the fault. */
static void make_recovery(struct program_machine *machine, const struct program *program)
{
    uint64_t at = physical_of(PROGRAM_RECOVERY);
    unsigned int next = 0, count = program->segment_count;
    for (unsigned int i = 0; i < PROGRAM_CODE_BYTES >> PROGRAM_RECOVERY_SHIFT; i++) {
        while (next + 1 < count && program->segments[next] < (i + 1) << PROGRAM_RECOVERY_SHIFT) {
            next++;
        }
        put(machine, at, program->segments[next], 2);
        at += 2;
    }
    for (unsigned int i = 0; i < PROGRAM_RECOVERY_ELSEWHERE; i++) {
        put(machine, at + 2 * i, program->segments[(i + 1) % count], 2);
        put(machine, physical_of(PROGRAM_TABLE) + 8 * i,
            PROGRAM_CODE + program->segments[i % count], 8);
    }
}

static void put_code(struct program_machine *machine, const struct program *program)
{
    for (unsigned int i = 0; i < PROGRAM_CODE_PAGES; i++) {
        memset(machine->image + physical_of(PROGRAM_CODE + i * 0x1000), 0xcc, 0x1000);
    }
    for (unsigned int i = 0; i < program->length; i++) {
        machine->image[physical_of(PROGRAM_CODE + program->start + i)] = program->code[i];
    }
}

static void make_image(struct program_machine *machine, const struct program *program,
                       const struct differential_outcome *start)
{
    for (uint64_t at = 0; at < MEMORY_BYTES; at += 0x1000) {
        if (machine->used[at >> 12]) {
            memset(machine->image + at, 0, 0x1000);
        }
    }
    make_page_tables(machine, program->is_kernel);
    make_tables(machine);
    for (unsigned int i = 0; i < DIFFERENTIAL_DATA_PAGES; i++) {
        uint64_t at = physical_of(PROGRAM_DATA + i * 0x1000);
        if (at != 0) {
            memcpy(machine->image + at, start->memory.data[i], 0x1000);
        }
    }
    memcpy(machine->image + physical_of(PROGRAM_STACK), start->memory.data[1], 0x1000);
    memcpy(machine->image + physical_of(PROGRAM_STACK + 0x1000), start->memory.data[0], 0x1000);
    put_code(machine, program);
    make_recovery(machine, program);
    put(machine, physical_of(PROGRAM_FLAGS_KEPT), ~(FLAGS_NEVER_KEPT | machine->options.lost_flags),
        8);
    put(machine, physical_of(PROGRAM_FUEL), 20 + (program->seed >> 8) % 80, 8);
    put(machine, physical_of(PROGRAM_FUEL) + 8, 20 + (program->seed >> 16) % 80, 8);
}

static void load_memory(struct program_machine *machine)
{
    for (uint64_t at = 0; at < MEMORY_BYTES; at += 0x1000) {
        if (machine->used[at >> 12] &&
            memcmp(machine->ram + at, machine->image + at, 0x1000) != 0) {
            memcpy(machine->ram + at, machine->image + at, 0x1000);
            guestmem_written(machine->memory, gpa(at), 0x1000);
        }
    }
}

/* --- state --- */

static struct x86_segment flat(uint16_t selector, uint32_t attributes)
{
    return (struct x86_segment){
        .limit = UINT32_MAX, .attributes = attributes, .selector = selector};
}

static void set_system(struct x86_state *state, const struct program *program)
{
    uint16_t data = program->is_kernel ? PROGRAM_SS_KERNEL : PROGRAM_SS_USER;
    uint16_t code = program->is_kernel
                        ? (program->is_32 ? PROGRAM_CS_KERNEL_32 : PROGRAM_CS_KERNEL_64)
                        : (program->is_32 ? PROGRAM_CS_USER_32 : PROGRAM_CS_USER_64);
    uint32_t level = program->is_kernel ? 0 : 3u << X86_SEGMENT_DPL_SHIFT;
    for (unsigned int i = 0; i < X86_SEGMENT_COUNT; i++) {
        state->segment[i] = flat(data, 0xc093 | level);
    }
    state->segment[X86_CS] = flat(code, (program->is_32 ? 0xc09b : 0xa09b) | level);
    state->segment[X86_LDTR] = (struct x86_segment){.attributes = X86_SEGMENT_UNUSABLE};
    state->segment[X86_TR] = (struct x86_segment){
        .base = PROGRAM_TSS, .limit = 0x67, .attributes = 0x8b, .selector = PROGRAM_TR};
    state->gdtr = (struct x86_table_register){.base = PROGRAM_GDT, .limit = 0x4f};
    state->idtr =
        (struct x86_table_register){.base = PROGRAM_IDT, .limit = 16 * PROGRAM_VECTORS - 1};
    state->cr0 = X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_PG;
    state->cr3 = AT_PML4;
    state->cr4 = X86_CR4_PAE | X86_CR4_PGE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE |
                 X86_CR4_FSGSBASE | X86_CR4_UMIP | X86_CR4_TSD;
    state->cr4 |= program->smap ? X86_CR4_SMAP : 0;
    state->efer = X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE;
    state->xcr0 = X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX;
    state->activity = X86_ACTIVE;
}

static void set_registers(struct x86_state *state, const struct program *program,
                          const struct differential_registers *from)
{
    differential_load_registers(state, from);
    state->gpr[X86_RSP] = PROGRAM_STACK + 0x1000;
    state->rip = PROGRAM_CODE + program->start;
}

static void load(struct program_machine *machine, const struct program *program)
{
    static _Thread_local struct differential_outcome start;
    struct differential_case what = {
        .seed = program->seed, .is_32 = program->is_32, .start = DIFFERENTIAL_CODE};
    differential_start(&what, &start);
    make_image(machine, program, &start);
    load_memory(machine);
    x86_state_reset(&machine->state);
    set_system(&machine->state, program);
    set_registers(&machine->state, program, &start.registers);
    /* A breakpoint far away keeps it in single steps. */
    machine->state.dr[0] = UINT64_C(0x7ffffffff000);
    machine->state.dr[7] = X86_DR7_ONE | (machine->options.steps ? 1 : 0);
}

/* --- the thread that kicks --- */

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void *help(void *context)
{
    struct program_machine *machine = context;
    struct differential_random random = {1};
    while (!machine->over) {
        struct timespec pause = {.tv_nsec = LOOK_NS};
        if (machine->options.disturbed) {
            pause.tv_nsec = 1000 + (long)differential_below(&random, 40000);
        }
        nanosleep(&pause, NULL);
        if (!machine->running) {
            continue;
        }
        uint32_t roll = differential_below(&random, 100);
        if (!machine->options.disturbed || roll < 45) {
            soft_engine.kick(machine->vcpu);
        } else if (roll < 60) { /* a device has written there: what was there already */
            uint32_t offset = differential_below(&random, PROGRAM_CODE_BYTES - 8);
            guestmem_written(machine->memory, gpa(physical_of(PROGRAM_CODE + offset)), 1);
        } else {
            machine->interrupt_waits = true;
            soft_engine.interrupt_changed(machine->vcpu);
        }
    }
    return NULL;
}

static bool interrupt_pending(void *context)
{
    return ((struct program_machine *)context)->interrupt_waits;
}

static int interrupt_acknowledge(void *context)
{
    struct program_machine *machine = context;
    if (!atomic_exchange(&machine->interrupt_waits, false)) {
        return -1;
    }
    machine->interrupts_taken++;
    return PROGRAM_IRQ;
}

/* --- running --- */

static void note_access(struct program_machine *machine, uint64_t value)
{
    struct differential_random mix = {machine->device_hash ^ value};
    machine->device_hash = differential_bits(&mix);
}

/* What is read depends on all accesses before: one too many, or in another order, is seen. */
static void serve_device(struct program_machine *machine, struct vcpu_exit *exit)
{
    uint64_t value = 0;
    machine->device_accesses++;
    note_access(machine, exit->mmio.address);
    note_access(machine, exit->mmio.size);
    if (exit->mmio.is_write) {
        memcpy(&value, exit->mmio.data, exit->mmio.size);
        note_access(machine, ~value);
    } else {
        memcpy(exit->mmio.data, &machine->device_hash, 8);
    }
}

/* False: the program has ended, as *end says. */
static bool serve(struct program_machine *machine, struct vcpu_exit *exit, enum program_end *end)
{
    switch (exit->reason) {
    case EXIT_KICKED:
    case EXIT_INSTRUCTION:
        return true;
    case EXIT_MMIO:
        serve_device(machine, exit);
        return true;
    case EXIT_RDMSR:
    case EXIT_WRMSR:
        exit->msr.refused = true;
        return true;
    case EXIT_PIO:
        if (exit->pio.port == PROGRAM_EXIT_PORT && exit->pio.is_write) {
            *end = PROGRAM_DONE;
            return false;
        }
        if (!exit->pio.is_write) {
            memset(exit->pio.data, 0xff, (size_t)exit->pio.size * exit->pio.count);
        }
        return true;
    default:
        *end = PROGRAM_STOPPED;
        return false;
    }
}

static enum program_end run(struct program_machine *machine, struct vcpu_exit *exit)
{
    struct error error = {0};
    enum program_end end = PROGRAM_ENDLESS;
    uint64_t before = soft_engine.instructions(machine->vcpu),
             deadline = now() + machine->options.patience_ms * 1000000;
    unsigned int services = 0;
    exit->reason = EXIT_NONE;
    do {
        if (soft_engine.run(machine->vcpu, exit, &error) != 0) {
            fprintf(stderr, "the engine failed: %s\n", error.text);
            return PROGRAM_FAILED;
        }
        services += exit->reason != EXIT_KICKED && exit->reason != EXIT_INSTRUCTION;
    } while (serve(machine, exit, &end) && services < EXITS_MAX &&
             soft_engine.instructions(machine->vcpu) - before < INSTRUCTIONS_MAX &&
             (exit->reason != EXIT_KICKED || now() < deadline));
    return end;
}

static void store_memory(const struct program_machine *machine, struct program_outcome *outcome)
{
    const uint8_t *log = machine->ram + physical_of(PROGRAM_LOG);
    outcome->page_count = PAGES;
    for (size_t i = 0; i < PAGES; i++) {
        outcome->linear[i] = pages[i].linear;
        memcpy(&outcome->entries[i], machine->ram + entry_at(i), 8);
        if (pages[i].compared) {
            memcpy(outcome->pages[i], machine->ram + pages[i].physical, 0x1000);
        } else {
            memset(outcome->pages[i], 0, 0x1000);
        }
    }
    memcpy(&outcome->record_count, log, 8);
    if (outcome->record_count > PROGRAM_LOG_MAX) {
        outcome->record_count = PROGRAM_LOG_MAX;
    }
    memcpy(outcome->records, log + PROGRAM_LOG_RECORDS, sizeof(outcome->records));
}

static void run_program(struct program_machine *machine, const struct program *program,
                        struct program_outcome *outcome)
{
    struct error error = {0};
    struct vcpu_exit exit;
    load(machine, program);
    machine->device_accesses = 0;
    machine->device_hash = 0;
    machine->interrupts_taken = 0;
    outcome->end = PROGRAM_FAILED;
    if (soft_engine.set_state(machine->vcpu, X86_STATE_ALL, &machine->state, &error) == 0) {
        machine->running = true;
        outcome->end = run(machine, &exit);
        machine->running = false;
        outcome->exit_reason = (uint32_t)exit.reason;
    }
    if (soft_engine.get_state(machine->vcpu, X86_STATE_ALL, &machine->state, &error) != 0) {
        outcome->end = PROGRAM_FAILED;
    }
    differential_store_registers(&machine->state, &outcome->registers);
    store_memory(machine, outcome);
    outcome->device_accesses = machine->device_accesses;
    outcome->device_hash = machine->device_hash;
    outcome->interrupts = machine->interrupts_taken;
}

/* A fuzzer's signals may come meanwhile. */
static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0 && errno == EINTR) {
    }
}

static void *live(void *context)
{
    struct program_machine *machine = context;
    struct engine_vcpu_options options = {.cpuid = &machine->cpuid,
                                          .interrupts = &machine->interrupts};
    machine->creation =
        soft_engine.vcpu_create(machine->vm, &options, &machine->vcpu, machine->error);
    sem_post(&machine->done);
    for (;;) {
        wait_for(&machine->wanted);
        if (machine->program == NULL) {
            break;
        }
        run_program(machine, machine->program, machine->outcome);
        sem_post(&machine->done);
    }
    if (machine->creation == 0) {
        soft_engine.vcpu_destroy(machine->vcpu);
    }
    return NULL;
}

void program_machine_run(struct program_machine *machine, const struct program *program,
                         struct program_outcome *outcome)
{
    machine->program = program;
    machine->outcome = outcome;
    sem_post(&machine->wanted);
    wait_for(&machine->done);
}

/* --- creation --- */

static int create(struct program_machine *machine, struct error *error)
{
    struct guestmem_options memory = {.shared = false};
    int status = guestmem_create(&memory, &machine->memory, error);
    if (status == 0) {
        status = guestmem_add(machine->memory, gpa(0), MEMORY_BYTES, 0, error);
    }
    if (status != 0) {
        return status;
    }
    machine->ram = guestmem_pointer(machine->memory, gpa(0), MEMORY_BYTES);
    struct engine_vm_options options = {.memory = machine->memory,
                                        .vcpu_count = machine->options.vcpu_count,
                                        .tsc_hz = 1000000000,
                                        .trap = machine->options.traps_all ? ENGINE_TRAP_ALL
                                                                           : ENGINE_TRAP_SHADOW,
                                        .arguments = machine->options.arguments};
    status = soft_engine.vm_create(&options, &machine->vm, error);
    if (status != 0) {
        return status;
    }
    status = soft_engine.cpuid_supported(machine->vm, &machine->cpuid, error);
    if (status != 0) {
        return status;
    }
    machine->interrupts = (struct interrupt_source){.pending = interrupt_pending,
                                                    .acknowledge = interrupt_acknowledge,
                                                    .get_cr8 = no_get_cr8,
                                                    .set_cr8 = no_set_cr8,
                                                    .context = machine};
    machine->error = error;
    machine->has_thread = pthread_create(&machine->thread, NULL, live, machine) == 0;
    if (!machine->has_thread) {
        return error_set(error, EAGAIN, "no thread");
    }
    wait_for(&machine->done);
    machine->error = NULL;
    if (machine->creation == 0) {
        machine->has_helper = pthread_create(&machine->helper, NULL, help, machine) == 0;
    }
    return machine->creation;
}

int program_machine_create(const struct program_machine_options *options,
                           struct program_machine **out, struct error *error)
{
    struct program_machine *machine = aligned_alloc(64, (sizeof(*machine) + 63) & ~(size_t)63);
    if (machine == NULL) {
        return error_set(error, ENOMEM, "no memory");
    }
    memset(machine, 0, sizeof(*machine));
    machine->options = *options;
    sem_init(&machine->wanted, 0, 0);
    sem_init(&machine->done, 0, 0);
    int status = create(machine, error);
    if (status != 0) {
        program_machine_destroy(machine);
        return status;
    }
    *out = machine;
    return 0;
}

void program_machine_destroy(struct program_machine *machine)
{
    if (machine == NULL) {
        return;
    }
    if (machine->has_helper) {
        machine->over = true;
        pthread_join(machine->helper, NULL);
    }
    if (machine->has_thread) {
        machine->program = NULL;
        sem_post(&machine->wanted);
        pthread_join(machine->thread, NULL);
    }
    if (machine->vm != NULL) {
        soft_engine.vm_destroy(machine->vm);
    }
    if (machine->memory != NULL) {
        guestmem_destroy(machine->memory);
    }
    free(machine);
}

const struct cpuid_table *program_machine_cpuid(const struct program_machine *machine)
{
    return &machine->cpuid;
}
