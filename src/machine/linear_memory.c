#include "machine/linear_memory.h"

#include "x86/paging.h"

#define PAGE_SIZE          UINT64_C(4096)
#define PHYSICAL_BITS      52 /* a report does not look for reserved bits */
#define PDPTE_ADDRESS_MASK UINT64_C(0xffffffe0)

/* struct paging_context's entry function. */
static void *find_entry(void *context, uint64_t physical)
{
    /* Entries are 4 or 8 bytes and aligned: where 4 are RAM, 8 are. */
    return guestmem_pointer(context, gpa(physical), 4);
}

bool linear_translate(struct guestmem *memory, const struct x86_state *state, uint64_t linear,
                      uint64_t *physical)
{
    uint64_t pdptes[4] = {0};
    struct paging_context context = {.cr0 = state->cr0,
                                     .cr3 = state->cr3,
                                     .cr4 = state->cr4,
                                     .efer = state->efer,
                                     .smap_lifted = true,
                                     .physical_bits = PHYSICAL_BITS,
                                     .pdpte = pdptes,
                                     .entry = find_entry,
                                     .context = memory};
    /* The registers' copies are not known any more: what is in memory now has to do. */
    if (guestmem_read(memory, gpa(state->cr3 & PDPTE_ADDRESS_MASK), pdptes, sizeof(pdptes)) != 0) {
        pdptes[0] = 0;
    }
    struct paging_result result;
    if (paging_walk(&context, linear, PAGING_READ, false, false, &result) != PAGING_OK) {
        return false;
    }
    *physical = result.physical;
    return true;
}

size_t linear_read(struct guestmem *memory, const struct x86_state *state, uint64_t linear,
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
