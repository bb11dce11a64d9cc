#include "machine/linear_memory.h"

#define PAGE_SIZE     UINT64_C(4096)
#define ENTRY_PRESENT UINT64_C(0x001)
#define ENTRY_LARGE   UINT64_C(0x080)
#define ADDRESS_MASK  UINT64_C(0x000ffffffffff000)

/* One level of the paging structures: how many bits index it, and where they stand. */
struct level {
    unsigned int shift;
    unsigned int bits;
    bool may_be_large; /* an entry can map a page itself */
};

struct paging_mode {
    unsigned int entry_size;
    unsigned int level_count;
    struct level levels[5]; /* the top one first */
};

static const struct paging_mode mode_32_bit = {4, 2, {{22, 10, true}, {12, 10, false}}};
static const struct paging_mode mode_pae = {8, 3, {{30, 2, false}, {21, 9, true}, {12, 9, false}}};
static const struct paging_mode mode_4_level = {
    8, 4, {{39, 9, false}, {30, 9, true}, {21, 9, true}, {12, 9, false}}};
static const struct paging_mode mode_5_level = {
    8, 5, {{48, 9, false}, {39, 9, false}, {30, 9, true}, {21, 9, true}, {12, 9, false}}};

static const struct paging_mode *paging_mode(const struct x86_state *state)
{
    if ((state->cr0 & X86_CR0_PG) == 0) {
        return NULL;
    }
    if ((state->cr4 & X86_CR4_PAE) == 0) {
        return &mode_32_bit;
    }
    if ((state->efer & X86_EFER_LMA) == 0) {
        return &mode_pae;
    }
    return (state->cr4 & X86_CR4_LA57) != 0 ? &mode_5_level : &mode_4_level;
}

/* The address in an entry that maps a page of 1 << shift bytes. */
static uint64_t page_base(const struct paging_mode *mode, uint64_t entry, unsigned int shift)
{
    uint64_t base = entry & ADDRESS_MASK & ~((UINT64_C(1) << shift) - 1);
    if (mode == &mode_32_bit) {
        base &= UINT64_C(0xffffffff);
        if (shift > 12) {
            base |= (entry >> 13 & 0xff) << 32; /* PSE-36 */
        }
    }
    return base;
}

bool linear_translate(const struct guestmem *memory, const struct x86_state *state, uint64_t linear,
                      uint64_t *physical)
{
    const struct paging_mode *mode = paging_mode(state);
    if (mode == NULL) {
        *physical = linear & UINT64_C(0xffffffff);
        return true;
    }
    bool large_allowed = mode != &mode_32_bit || (state->cr4 & X86_CR4_PSE) != 0;
    uint64_t table =
        state->cr3 & (mode == &mode_pae ? ~UINT64_C(0x1f) & UINT64_C(0xffffffff) : ADDRESS_MASK);
    for (unsigned int i = 0; i < mode->level_count; i++) {
        const struct level *level = &mode->levels[i];
        uint64_t index = linear >> level->shift & ((UINT64_C(1) << level->bits) - 1);
        uint64_t entry = 0;
        if (guestmem_read(memory, gpa(table + index * mode->entry_size), &entry,
                          mode->entry_size) != 0 ||
            (entry & ENTRY_PRESENT) == 0) {
            return false;
        }
        bool is_large = level->may_be_large && large_allowed && (entry & ENTRY_LARGE) != 0;
        if (is_large || i + 1 == mode->level_count) {
            uint64_t offset = linear & ((UINT64_C(1) << level->shift) - 1);
            *physical = page_base(mode, entry, level->shift) | offset;
            return true;
        }
        table = page_base(mode, entry, 12);
    }
    return false;
}

size_t linear_read(const struct guestmem *memory, const struct x86_state *state, uint64_t linear,
                   void *buffer, size_t length)
{
    size_t done = 0;
    while (done < length) {
        uint64_t physical;
        uint64_t address = linear + done;
        uint64_t in_page = PAGE_SIZE - address % PAGE_SIZE;
        size_t piece = length - done < in_page ? length - done : (size_t)in_page;
        if (!linear_translate(memory, state, address, &physical) ||
            guestmem_read(memory, gpa(physical), (char *)buffer + done, piece) != 0) {
            break;
        }
        done += piece;
    }
    return done;
}
