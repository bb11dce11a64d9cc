/*
 * Cases on the soft engine: user mode, paging, the native addresses; no interrupt table, so that
 * the first fault ends in a shutdown exit with everything still as the fault left it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "differential.h"
#include "engines/soft/soft.h"
#include "soft_tier.h"

#define MEMORY_BYTES 0x100000

/* Where things are in guest memory; pages that follow each other to the guest don't here. */
#define AT_PML4          0x1000
#define AT_PDPT          0x2000
#define AT_DIRECTORY     0x3000
#define AT_TABLES        0x10000 /* one for each 2 MiB that is used */
#define AT_EXIT          0x20000
#define AT_STATE_SEGMENT 0x21000

#define ENTRY_USER  0x67u /* P, R/W, U/S, A, D: as Linux leaves them */
#define ENTRY_WRITE 0x02u
#define ENTRY_NX    (UINT64_C(1) << 63)

struct page {
    uint32_t linear, physical;
    uint64_t flags;
};

static const struct page pages[] = {
    {DIFFERENTIAL_CODE, 0x45000, ENTRY_USER},
    {DIFFERENTIAL_CODE + 0x1000, 0x33000, ENTRY_USER},
    {DIFFERENTIAL_EXIT, AT_EXIT, ENTRY_USER & ~ENTRY_WRITE},
    {DIFFERENTIAL_DATA, 0x80000, ENTRY_USER | ENTRY_NX},
    {DIFFERENTIAL_DATA + 0x1000, 0x7e000, ENTRY_USER | ENTRY_NX},
    {DIFFERENTIAL_DATA + 0x3000, 0x90000, (ENTRY_USER & ~ENTRY_WRITE) | ENTRY_NX},
    {DIFFERENTIAL_DATA + 0x4000, 0x70000, ENTRY_USER | ENTRY_NX},
};
#define PAGES (sizeof(pages) / sizeof(pages[0]))

struct differential_soft {
    struct guestmem *memory;
    uint8_t *host;
    struct engine_vm *vm;
    struct cpuid_table cpuid;
    struct engine_vcpu *vcpus[DIFFERENTIAL_VCPUS];
    struct x86_state state;
};

static void set_entry(uint8_t *host, uint32_t table, uint32_t index, uint64_t entry)
{
    memcpy(host + table + 8 * (index & 511), &entry, 8);
}

static void map_pages(uint8_t *host)
{
    uint32_t tables[512] = {0}, next = AT_TABLES;
    set_entry(host, AT_PML4, 0, AT_PDPT | ENTRY_USER);
    set_entry(host, AT_PDPT, 0, AT_DIRECTORY | ENTRY_USER);
    for (unsigned int i = 0; i < PAGES; i++) {
        uint32_t directory_index = pages[i].linear >> 21;
        if (tables[directory_index] == 0) {
            tables[directory_index] = next;
            set_entry(host, AT_DIRECTORY, directory_index, next | ENTRY_USER);
            next += 0x1000;
        }
        set_entry(host, tables[directory_index], pages[i].linear >> 12,
                  pages[i].physical | pages[i].flags);
    }
    static const uint8_t undefined[2] = {0x0f, 0x0b};
    memcpy(host + AT_EXIT, undefined, 2);
    memcpy(host + AT_EXIT + (DIFFERENTIAL_EXIT_32 - DIFFERENTIAL_EXIT), undefined, 2);
}

/* User mode under a 64-bit system, with the selectors of Linux. */
static void fill_state(struct x86_state *state)
{
    const struct x86_segment null = {.attributes = X86_SEGMENT_UNUSABLE};
    x86_state_reset(state);
    state->segment[X86_SS] = (struct x86_segment){
        .limit = UINT32_MAX, .attributes = 0xc0f3, .selector = DIFFERENTIAL_SS};
    state->segment[X86_FS] = state->segment[X86_GS] = state->segment[X86_LDTR] = null;
    state->segment[X86_TR] = (struct x86_segment){
        .base = AT_STATE_SEGMENT, .limit = 0x66, .attributes = 0x8b, .selector = 0x40};
    state->gdtr = state->idtr = (struct x86_table_register){.base = 0, .limit = 0};
    state->cr0 =
        X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM | X86_CR0_PG;
    state->cr3 = AT_PML4;
    state->cr4 = X86_CR4_PAE | X86_CR4_PGE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE |
                 X86_CR4_FSGSBASE | X86_CR4_UMIP;
    state->efer = X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE;
    state->xcr0 = X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX;
}

static int create_vcpus(struct differential_soft *soft, struct error *error)
{
    int status = 0;
    for (unsigned int i = 0; i < DIFFERENTIAL_VCPUS && status == 0; i++) {
        struct engine_vcpu_options options = {.index = i, .cpuid = &soft->cpuid};
        status = soft_engine.vcpu_create(soft->vm, &options, &soft->vcpus[i], error);
        if (status == 0) {
            soft->state.dr[0] = UINT64_C(0x7ffffffff000);
            soft->state.dr[7] = X86_DR7_ONE | (i == DIFFERENTIAL_STEPPED ? 1 : 0);
            status = soft_engine.set_state(soft->vcpus[i], X86_STATE_ALL, &soft->state, error);
        }
    }
    return status;
}

int differential_soft_create(struct differential_soft **out, struct error *error)
{
    struct differential_soft *soft = aligned_alloc(64, (sizeof(*soft) + 63) & ~(size_t)63);
    if (soft == NULL) {
        return error_set(error, ENOMEM, "no memory");
    }
    memset(soft, 0, sizeof(*soft));
    *out = soft;
    struct guestmem_options memory = {.shared = false};
    int status = guestmem_create(&memory, &soft->memory, error);
    if (status == 0) {
        status = guestmem_add(soft->memory, gpa(0), MEMORY_BYTES, 0, error);
    }
    if (status != 0) {
        return status;
    }
    soft->host = guestmem_pointer(soft->memory, gpa(0), MEMORY_BYTES);
    map_pages(soft->host);
    fill_state(&soft->state);
    struct engine_vm_options options = {.memory = soft->memory,
                                        .vcpu_count = DIFFERENTIAL_VCPUS,
                                        .tsc_hz = 1000000000,
                                        .arguments = soft_tier_arguments()};
    status = soft_engine.vm_create(&options, &soft->vm, error);
    if (status == 0) {
        status = soft_engine.cpuid_supported(soft->vm, &soft->cpuid, error);
    }
    return status == 0 ? create_vcpus(soft, error) : status;
}

void differential_soft_destroy(struct differential_soft *soft)
{
    for (unsigned int i = 0; i < DIFFERENTIAL_VCPUS; i++) {
        soft_engine.vcpu_destroy(soft->vcpus[i]);
    }
    soft_engine.vm_destroy(soft->vm);
    guestmem_destroy(soft->memory);
    free(soft);
}

const struct cpuid_table *differential_soft_cpuid(const struct differential_soft *soft)
{
    return &soft->cpuid;
}

/* The bytes of a case's page, NULL if it is none of them. */
static uint8_t *page_of(struct differential_memory *memory, uint32_t linear)
{
    if (linear >= DIFFERENTIAL_DATA) {
        return memory->data[(linear - DIFFERENTIAL_DATA) >> 12];
    }
    return linear < DIFFERENTIAL_EXIT ? memory->code[(linear - DIFFERENTIAL_CODE) >> 12] : NULL;
}

static void load_memory(struct differential_soft *soft, const struct differential_memory *from)
{
    for (unsigned int i = 0; i < PAGES; i++) {
        /* page_of serves both directions */
        const uint8_t *bytes =
            page_of((struct differential_memory *)(uintptr_t)from, pages[i].linear);
        if (bytes != NULL && memcmp(soft->host + pages[i].physical, bytes, 4096) != 0) {
            memcpy(soft->host + pages[i].physical, bytes, 4096);
            guestmem_written(soft->memory, gpa(pages[i].physical), 4096);
        }
    }
}

static void store_memory(const struct differential_soft *soft, struct differential_memory *to)
{
    for (unsigned int i = 0; i < PAGES; i++) {
        uint8_t *bytes = page_of(to, pages[i].linear);
        if (bytes != NULL) {
            memcpy(bytes, soft->host + pages[i].physical, 4096);
        }
    }
}

#define GROUPS (X86_STATE_GENERAL | X86_STATE_SYSTEM | X86_STATE_FPU | X86_STATE_EVENTS)

static void load_registers(struct x86_state *state, const struct differential_case *what,
                           const struct differential_registers *from)
{
    const struct x86_segment flat = state->segment[X86_SS];
    const struct x86_segment null = {.attributes = X86_SEGMENT_UNUSABLE};
    differential_load_registers(state, from);
    state->activity = X86_ACTIVE;
    state->segment[X86_CS] =
        (struct x86_segment){.limit = UINT32_MAX,
                             .attributes = what->is_32 ? 0xc0fb : 0xa0fb,
                             .selector = what->is_32 ? DIFFERENTIAL_CS_32 : DIFFERENTIAL_CS_64};
    state->segment[X86_DS] = what->is_32 ? flat : null;
    state->segment[X86_ES] = what->is_32 ? flat : null;
}

static void judge(const struct differential_case *what, const struct vcpu_exit *exit,
                  struct differential_outcome *end)
{
    const struct exit_exception *first = &exit->shutdown.exceptions[0];
    uint64_t exit_at = what->is_32 ? DIFFERENTIAL_EXIT_32 : DIFFERENTIAL_EXIT;
    end->vector = DIFFERENTIAL_STRANGE;
    end->error = (uint32_t)exit->reason;
    end->address = 0;
    if (exit->reason != EXIT_SHUTDOWN || exit->shutdown.exception_count == 0) {
        return;
    }
    if (first->vector == X86_VECTOR_UD && first->rip == exit_at) {
        end->vector = DIFFERENTIAL_ENDED;
        end->registers.rip = DIFFERENTIAL_EXIT;
        end->error = 0;
        return;
    }
    end->vector = first->vector;
    end->error = first->has_error ? first->error : 0;
    end->address = first->address;
    end->registers.rip = first->rip;
}

void differential_soft_run(struct differential_soft *soft, enum differential_vcpu which,
                           const struct differential_case *what,
                           const struct differential_outcome *start,
                           struct differential_outcome *end)
{
    struct error error = {0};
    struct vcpu_exit exit = {.reason = EXIT_NONE};
    struct engine_vcpu *vcpu = soft->vcpus[which];
    load_memory(soft, &start->memory);
    load_registers(&soft->state, what, &start->registers);
    int status = soft_engine.set_state(vcpu, GROUPS, &soft->state, &error);
    if (status == 0) {
        status = soft_engine.run(vcpu, &exit, &error);
    }
    if (status == 0) {
        status = soft_engine.get_state(vcpu, GROUPS, &soft->state, &error);
    }
    differential_store_registers(&soft->state, &end->registers);
    store_memory(soft, &end->memory);
    judge(what, &exit, end);
    if (status != 0) {
        end->vector = DIFFERENTIAL_STRANGE;
        fprintf(stderr, "the soft engine failed: %s\n", error.text);
    }
}
