#include "engines/kvm/kvm_guest.h"

#include <string.h>

#define LARGE_PAGES 32u /* of 2 MiB in long mode: 64 MiB; half as many of 4 MiB */

/* Bits of paging-structure entries ("Paging", Intel SDM volume 3). */
#define ENTRY_PRESENT    0x1u
#define ENTRY_WRITABLE   0x2u
#define ENTRY_ACCESSED   0x20u
#define ENTRY_DIRTY      0x40u
#define ENTRY_LARGE_PAGE 0x80u
#define TABLE_ENTRY      (ENTRY_PRESENT | ENTRY_WRITABLE | ENTRY_ACCESSED)
#define PAGE_ENTRY       (TABLE_ENTRY | ENTRY_DIRTY | ENTRY_LARGE_PAGE)

const char *kvm_guest_mode_name(enum kvm_guest_mode mode)
{
    static const char *const names[KVM_GUEST_MODES] = {
        [KVM_GUEST_REAL] = "real mode",
        [KVM_GUEST_PROTECTED] = "32-bit protected mode",
        [KVM_GUEST_PAGED] = "32-bit protected mode with paging",
        [KVM_GUEST_LONG] = "64-bit long mode",
    };
    return names[mode];
}

static void use_real_segments(struct x86_state *state)
{
    for (unsigned int i = 0; i < X86_SEGMENT_COUNT; i++) {
        state->segment[i].base = 0;
        state->segment[i].selector = 0;
        state->segment[i].limit = 0xffff;
    }
}

/* Flat segments of 4 GiB; code is 64-bit code in long mode. */
static void use_flat_segments(struct x86_state *state, bool is_long)
{
    struct x86_segment flat = {
        .limit = UINT32_MAX,
        .attributes = X86_SEGMENT_P | X86_SEGMENT_S | X86_SEGMENT_G | X86_SEGMENT_DB |
                      X86_TYPE_WRITABLE | X86_TYPE_ACCESSED,
        .selector = 16,
    };
    for (unsigned int i = 0; i < X86_SEGMENT_COUNT; i++) {
        state->segment[i] = flat;
    }
    struct x86_segment *code = &state->segment[X86_CS];
    code->selector = 8;
    code->attributes = X86_SEGMENT_P | X86_SEGMENT_S | X86_SEGMENT_G | X86_TYPE_CODE |
                       X86_TYPE_READABLE | X86_TYPE_ACCESSED |
                       (is_long ? X86_SEGMENT_L : X86_SEGMENT_DB);
}

static int build_32_bit_tables(struct guestmem *memory)
{
    uint32_t directory[1024] = {0};
    for (uint32_t i = 0; i < LARGE_PAGES / 2; i++) {
        directory[i] = i << 22 | PAGE_ENTRY;
    }
    return guestmem_write(memory, gpa(KVM_GUEST_TABLES), directory, sizeof(directory));
}

static int build_long_tables(struct guestmem *memory)
{
    uint64_t tables[3][512] = {{0}};
    tables[0][0] = (KVM_GUEST_TABLES + 0x1000) | TABLE_ENTRY;
    tables[1][0] = (KVM_GUEST_TABLES + 0x2000) | TABLE_ENTRY;
    for (uint64_t i = 0; i < LARGE_PAGES; i++) {
        tables[2][i] = i << 21 | PAGE_ENTRY;
    }
    return guestmem_write(memory, gpa(KVM_GUEST_TABLES), tables, sizeof(tables));
}

int kvm_guest_prepare(struct guestmem *memory, enum kvm_guest_mode mode, const uint8_t *code,
                      size_t length, struct x86_state *state)
{
    int result = guestmem_write(memory, gpa(KVM_GUEST_ENTRY), code, length);
    memset(state->gpr, 0, sizeof(state->gpr));
    state->gpr[X86_RSP] = KVM_GUEST_STACK;
    state->rip = KVM_GUEST_ENTRY;
    state->rflags = X86_FLAGS_ONE;
    if (mode == KVM_GUEST_REAL) {
        use_real_segments(state);
        return result;
    }
    use_flat_segments(state, mode == KVM_GUEST_LONG);
    state->cr0 |= X86_CR0_PE;
    if (mode == KVM_GUEST_PROTECTED || result != 0) {
        return result;
    }
    state->cr0 |= X86_CR0_PG;
    state->cr3 = KVM_GUEST_TABLES;
    if (mode == KVM_GUEST_PAGED) {
        state->cr4 |= X86_CR4_PSE;
        return build_32_bit_tables(memory);
    }
    state->cr4 |= X86_CR4_PAE;
    state->efer |= X86_EFER_LME | X86_EFER_LMA;
    return build_long_tables(memory);
}
