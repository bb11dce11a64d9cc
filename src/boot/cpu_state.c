#include "boot/cpu_state.h"

#include <errno.h>
#include <string.h>

#include "boot/boot.h"
#include "boot/bytes.h"
#include "boot/layout.h"
#include "boot/place.h"
#include "x86/descriptor.h"
#include "x86/msr.h"

#define GDT_ENTRIES 6 /* null, unused, code, data, TSS in two */

#define PAGE_PRESENT  UINT64_C(0x01)
#define PAGE_WRITABLE UINT64_C(0x02)
#define PAGE_LARGE    UINT64_C(0x80)
#define PAGE_4K       UINT64_C(0x1000)
#define PAGE_2M       UINT64_C(0x200000)
#define PAGE_4M       UINT64_C(0x400000)
#define TABLE_ENTRIES 512

#define MEMORY_TYPE_WRITE_BACK 6u

#define CODE_ATTRIBUTES                                                                            \
    (X86_SEGMENT_P | X86_SEGMENT_S | X86_SEGMENT_G | X86_TYPE_CODE | X86_TYPE_READABLE |           \
     X86_TYPE_ACCESSED)
#define DATA_ATTRIBUTES                                                                            \
    (X86_SEGMENT_P | X86_SEGMENT_S | X86_SEGMENT_G | X86_SEGMENT_DB | X86_TYPE_WRITABLE |          \
     X86_TYPE_ACCESSED)

void boot_firmware_msrs(struct x86_msrs *msr)
{
    msr->mtrr_def_type = X86_MTRR_DEF_TYPE_E | MEMORY_TYPE_WRITE_BACK;
    msr->misc_enable |= X86_MISC_ENABLE_FAST_STRING;
    msr->pat = X86_PAT_RESET;
}

void cpu_state_firmware(struct x86_state *state)
{
    x86_state_reset(state);
    boot_firmware_msrs(&state->msr);
    state->msr.apic_base |= X86_APIC_BASE_BSP;
    state->activity = X86_ACTIVE;
    state->cr0 &= ~(X86_CR0_CD | X86_CR0_NW); /* firmware turns the caches on */
    memset(state->gpr, 0, sizeof(state->gpr));
    state->rflags = X86_FLAGS_ONE;
}

static void set_real_segment(struct x86_segment *segment, uint16_t selector)
{
    *segment = (struct x86_segment){
        .base = (uint64_t)selector << 4,
        .limit = 0xffff,
        .attributes = X86_SEGMENT_P | X86_SEGMENT_S | X86_TYPE_WRITABLE | X86_TYPE_ACCESSED,
        .selector = selector,
    };
}

void cpu_state_real(uint64_t address, struct x86_state *state)
{
    uint16_t selector = (uint16_t)((address & 0xf0000) >> 4);
    uint16_t stack_selector = (uint16_t)(BOOT_STRUCTURES_BASE >> 4);

    cpu_state_firmware(state);
    for (unsigned int i = 0; i < X86_SEGMENT_COUNT; i++) {
        set_real_segment(&state->segment[i], 0);
    }
    set_real_segment(&state->segment[X86_CS], selector);
    state->segment[X86_CS].attributes |= X86_TYPE_CODE;
    set_real_segment(&state->segment[X86_DS], selector);
    set_real_segment(&state->segment[X86_ES], selector);
    set_real_segment(&state->segment[X86_SS], stack_selector);
    state->rip = address & 0xffff;
    state->gpr[X86_RSP] = BOOT_STACK_TOP - BOOT_STRUCTURES_BASE;
}

static struct x86_segment flat_segment(uint32_t attributes, uint16_t selector)
{
    return (struct x86_segment){
        .limit = UINT32_MAX, .attributes = attributes, .selector = selector};
}

/*
 * Loads the segment registers and writes the GDT that they would have been loaded from.
 * code_size: X86_SEGMENT_DB for 32-bit code, X86_SEGMENT_L for 64-bit.
 */
static int set_flat_segments(struct guestmem *memory, uint32_t code_size, struct x86_state *state,
                             struct error *error)
{
    struct x86_segment data = flat_segment(DATA_ATTRIBUTES, BOOT_SELECTOR_DATA);
    struct x86_segment code = flat_segment(CODE_ATTRIBUTES | code_size, BOOT_SELECTOR_CODE);
    struct x86_segment tss = {
        .limit = 0x67,
        .attributes = X86_SEGMENT_P | X86_SYSTEM_TSS_BUSY,
        .selector = BOOT_SELECTOR_TSS,
    };

    for (unsigned int i = 0; i < X86_SEGMENT_COUNT; i++) {
        state->segment[i] = data;
    }
    state->segment[X86_CS] = code;
    state->segment[X86_LDTR] =
        (struct x86_segment){.attributes = X86_SEGMENT_UNUSABLE | X86_SYSTEM_LDT};
    state->segment[X86_TR] = tss;

    uint8_t gdt[GDT_ENTRIES * 8] = {0};
    bytes_put64(gdt + BOOT_SELECTOR_CODE, x86_segment_to_descriptor(&code));
    bytes_put64(gdt + BOOT_SELECTOR_DATA, x86_segment_to_descriptor(&data));
    bytes_put64(gdt + BOOT_SELECTOR_TSS, x86_segment_to_descriptor(&tss));
    state->gdtr = (struct x86_table_register){.base = BOOT_GDT_BASE, .limit = sizeof(gdt) - 1};
    state->idtr = (struct x86_table_register){.base = 0, .limit = 0};
    return place_bytes(memory, BOOT_GDT_BASE, gdt, sizeof(gdt), error);
}

static int enter_flat(struct guestmem *memory, uint64_t entry, uint32_t code_size,
                      struct x86_state *state, struct error *error)
{
    cpu_state_firmware(state);
    state->rip = entry;
    state->gpr[X86_RSP] = BOOT_STACK_TOP;
    state->cr0 |= X86_CR0_PE;
    return set_flat_segments(memory, code_size, state, error);
}

int cpu_state_protected(struct guestmem *memory, uint64_t entry, struct x86_state *state,
                        struct error *error)
{
    return enter_flat(memory, entry, X86_SEGMENT_DB, state, error);
}

int cpu_state_paged(struct guestmem *memory, uint64_t entry, struct x86_state *state,
                    struct error *error)
{
    uint8_t directory[PAGE_4K];
    for (uint32_t i = 0; i < PAGE_4K / 4; i++) {
        bytes_put32(directory + 4 * i,
                    (uint32_t)(i * PAGE_4M | PAGE_LARGE | PAGE_WRITABLE | PAGE_PRESENT));
    }
    int status = enter_flat(memory, entry, X86_SEGMENT_DB, state, error);
    if (status != 0) {
        return status;
    }
    state->cr3 = BOOT_PAGE_TABLES_BASE;
    state->cr4 |= X86_CR4_PSE;
    state->cr0 |= X86_CR0_PG;
    return place_bytes(memory, BOOT_PAGE_TABLES_BASE, directory, sizeof(directory), error);
}

/* One PML4 entry, four page directory pointers, four directories of 2 MiB pages. */
static int write_long_tables(struct guestmem *memory, struct error *error)
{
    uint8_t tables[BOOT_PAGE_TABLES_SIZE] = {0};
    uint8_t *pml4 = tables;
    uint8_t *pointers = tables + PAGE_4K;
    uint8_t *directories = tables + 2 * PAGE_4K;

    bytes_put64(pml4, (BOOT_PAGE_TABLES_BASE + PAGE_4K) | PAGE_WRITABLE | PAGE_PRESENT);
    for (uint64_t i = 0; i < 4; i++) {
        uint64_t directory = BOOT_PAGE_TABLES_BASE + (2 + i) * PAGE_4K;
        bytes_put64(pointers + 8 * i, directory | PAGE_WRITABLE | PAGE_PRESENT);
    }
    for (uint64_t i = 0; i < UINT64_C(4) * TABLE_ENTRIES; i++) {
        bytes_put64(directories + 8 * i, i * PAGE_2M | PAGE_LARGE | PAGE_WRITABLE | PAGE_PRESENT);
    }
    return place_bytes(memory, BOOT_PAGE_TABLES_BASE, tables, sizeof(tables), error);
}

int cpu_state_long(struct guestmem *memory, uint64_t entry, struct x86_state *state,
                   struct error *error)
{
    int status = enter_flat(memory, entry, X86_SEGMENT_L, state, error);
    if (status != 0) {
        return status;
    }
    state->cr3 = BOOT_PAGE_TABLES_BASE;
    state->cr4 |= X86_CR4_PAE;
    state->efer |= X86_EFER_LME | X86_EFER_LMA;
    state->cr0 |= X86_CR0_PG;
    return write_long_tables(memory, error);
}
