#include "x86/paging.h"

#include <stddef.h>

#include "x86/registers.h"

#define ENTRY_P   (UINT64_C(1) << 0)
#define ENTRY_RW  (UINT64_C(1) << 1)
#define ENTRY_US  (UINT64_C(1) << 2)
#define ENTRY_A   (UINT64_C(1) << 5)
#define ENTRY_D   (UINT64_C(1) << 6)
#define ENTRY_PS  (UINT64_C(1) << 7)
#define ENTRY_G   (UINT64_C(1) << 8)
#define ENTRY_XD  (UINT64_C(1) << 63)
#define KEY_SHIFT 59

#define LEVELS_MAX   5
#define ATTEMPTS_MAX 64

/* One table entry that the walk used, for setting its flags afterwards. */
struct used_entry {
    void *host;
    uint64_t value;
};

struct walk {
    const struct paging_context *context;
    uint64_t linear;
    enum paging_access access;
    bool user;
    bool wide; /* 8-byte entries */
    bool long_mode;
    struct used_entry used[LEVELS_MAX];
    unsigned int used_count;
    /* permissions so far: the conjunction over the levels */
    bool all_writable, all_user, any_xd;
    uint64_t leaf;
    uint64_t page_size;
};

static bool nx_enabled(const struct walk *walk)
{
    return walk->wide && (walk->context->efer & X86_EFER_NXE) != 0;
}

/* "Page-Fault Exceptions": the bits that do not depend on which rule was broken. */
static uint32_t base_error(const struct walk *walk)
{
    uint32_t error = walk->user ? X86_PF_USER : 0;
    if (walk->access == PAGING_WRITE) {
        error |= X86_PF_WRITE;
    }
    if (walk->access == PAGING_FETCH &&
        (nx_enabled(walk) || (walk->context->cr4 & X86_CR4_SMEP) != 0)) {
        error |= X86_PF_INSTRUCTION;
    }
    return error;
}

/* Reserved bits of an entry; large: it maps a page of page_bits (21, 22, 30). */
static uint64_t reserved_bits(const struct walk *walk, unsigned int level, bool large,
                              unsigned int page_bits)
{
    if (!walk->wide) {
        /* "32-Bit Paging": with PSE-36, bit 21 is reserved in a 4-MByte page's entry. */
        return large ? UINT64_C(1) << 21 : 0;
    }
    uint64_t address_top = walk->long_mode ? 51 : 62;
    uint64_t above = ~((UINT64_C(1) << walk->context->physical_bits) - 1);
    uint64_t bits = above & ((UINT64_C(1) << (address_top + 1)) - 1);
    if (!nx_enabled(walk)) {
        bits |= ENTRY_XD;
    }
    if (large) {
        bits |= ((UINT64_C(1) << page_bits) - 1) & ~UINT64_C(0x1fff);
    }
    if (level >= 4) {
        bits |= ENTRY_PS;
    }
    return bits;
}

/* Reads the entry at level; returns false with the fault's code in *error. */
static bool read_entry(struct walk *walk, unsigned int level, uint64_t physical, uint64_t *value,
                       uint32_t *error)
{
    void *host = walk->context->entry(walk->context->context, physical);
    uint64_t entry = 0; /* no RAM there: not present */
    if (host != NULL) {
        entry = walk->wide ? __atomic_load_n((const uint64_t *)host, __ATOMIC_ACQUIRE)
                           : __atomic_load_n((const uint32_t *)host, __ATOMIC_ACQUIRE);
    }
    if ((entry & ENTRY_P) == 0) {
        *error = base_error(walk);
        return false;
    }
    bool can_be_large =
        level == 3 || (level == 2 && (walk->wide || (walk->context->cr4 & X86_CR4_PSE) != 0));
    bool large = can_be_large && (entry & ENTRY_PS) != 0;
    unsigned int page_bits = level == 3 ? 30 : walk->wide ? 21 : 22;
    if ((entry & reserved_bits(walk, level, large, page_bits)) != 0) {
        *error = base_error(walk) | X86_PF_PRESENT | X86_PF_RESERVED;
        return false;
    }
    walk->used[walk->used_count++] = (struct used_entry){host, entry};
    walk->all_writable = walk->all_writable && (entry & ENTRY_RW) != 0;
    walk->all_user = walk->all_user && (entry & ENTRY_US) != 0;
    walk->any_xd = walk->any_xd || (nx_enabled(walk) && (entry & ENTRY_XD) != 0);
    if (level == 1 || large) {
        walk->leaf = entry;
        walk->page_size = level == 1 ? 4096 : UINT64_C(1) << page_bits;
    }
    *value = entry;
    return true;
}

/* Goes down the levels until a page is found. */
static bool descend(struct walk *walk, uint32_t *error)
{
    const struct paging_context *context = walk->context;
    unsigned int level;
    uint64_t table;
    if (!walk->wide) {
        level = 2;
        table = context->cr3 & UINT64_C(0xfffff000);
    } else if (walk->long_mode) {
        level = (context->cr4 & X86_CR4_LA57) != 0 ? 5 : 4;
        table = context->cr3 & UINT64_C(0x000ffffffffff000);
    } else {
        uint64_t pdpte = context->pdpte[walk->linear >> 30 & 3];
        if ((pdpte & ENTRY_P) == 0) {
            *error = base_error(walk);
            return false;
        }
        level = 2;
        table = pdpte & UINT64_C(0x000ffffffffff000);
    }
    unsigned int index_bits = walk->wide ? 9 : 10;
    unsigned int entry_shift = walk->wide ? 3 : 2;
    for (; level > 0; level--) {
        unsigned int shift = 12 + (level - 1) * index_bits;
        uint64_t index = walk->linear >> shift & ((UINT64_C(1) << index_bits) - 1);
        uint64_t value;
        if (!read_entry(walk, level, table + (index << entry_shift), &value, error)) {
            return false;
        }
        if (walk->page_size != 0) {
            return true;
        }
        table = value & UINT64_C(0x000ffffffffff000);
    }
    return false; /* not reached: level 1 always maps a page */
}

/* "Determination of Access Rights"; the same without SMEP, SMAP and keys is just a subset. */
static bool fetch_allowed(const struct walk *walk, bool user)
{
    if (walk->any_xd) {
        return false;
    }
    if (user) {
        return walk->all_user;
    }
    return !(walk->all_user && (walk->context->cr4 & X86_CR4_SMEP) != 0);
}

static bool write_allowed(const struct walk *walk, bool user)
{
    if (user) {
        return walk->all_user && walk->all_writable;
    }
    return walk->all_writable || (walk->context->cr0 & X86_CR0_WP) == 0;
}

/* "Protection Keys": 0 allowed, else X86_PF_KEY. Data accesses to user-mode pages only. */
static uint32_t key_violation(const struct walk *walk, bool write)
{
    const struct paging_context *context = walk->context;
    if ((context->cr4 & X86_CR4_PKE) == 0 || !walk->long_mode || !walk->all_user) {
        return 0;
    }
    unsigned int key = (unsigned int)(walk->leaf >> KEY_SHIFT & 15);
    uint32_t rights = context->pkru >> (2 * key) & 3;
    bool access_disabled = (rights & 1) != 0;
    bool write_disabled = (rights & 2) != 0 && (walk->user || (context->cr0 & X86_CR0_WP) != 0);
    return access_disabled || (write && write_disabled) ? X86_PF_KEY : 0;
}

static bool check_rights(const struct walk *walk, uint32_t *error)
{
    uint32_t violation = 0;
    bool allowed;
    if (walk->access == PAGING_FETCH) {
        allowed = fetch_allowed(walk, walk->user);
    } else {
        bool write = walk->access == PAGING_WRITE;
        allowed = !write || write_allowed(walk, walk->user);
        if (walk->user) {
            allowed = allowed && walk->all_user;
        } else if (walk->all_user && (walk->context->cr4 & X86_CR4_SMAP) != 0 &&
                   !walk->context->smap_lifted) {
            allowed = false;
        }
        violation = key_violation(walk, write);
    }
    if (allowed && violation == 0) {
        return true;
    }
    *error = base_error(walk) | X86_PF_PRESENT | violation;
    return false;
}

/*
 * "Accessed and Dirty Flags": sets A in every entry used and D in the leaf for a write, each with a
 * locked operation on the value that was checked. False: an entry changed meanwhile, walk again.
 */
static bool set_flags(struct walk *walk)
{
    for (unsigned int i = 0; i < walk->used_count; i++) {
        struct used_entry *used = &walk->used[i];
        bool leaf = i + 1 == walk->used_count;
        uint64_t wanted = used->value | ENTRY_A;
        if (leaf && walk->access == PAGING_WRITE) {
            wanted |= ENTRY_D;
        }
        if (wanted == used->value) {
            continue;
        }
        bool stored;
        if (walk->wide) {
            uint64_t expected = used->value;
            stored = __atomic_compare_exchange_n((uint64_t *)used->host, &expected, wanted, false,
                                                 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        } else {
            uint32_t expected = (uint32_t)used->value;
            stored =
                __atomic_compare_exchange_n((uint32_t *)used->host, &expected, (uint32_t)wanted,
                                            false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        }
        if (!stored) {
            return false;
        }
        used->value = wanted;
        if (leaf) {
            walk->leaf = wanted;
        }
    }
    return true;
}

static uint64_t physical_address(const struct walk *walk)
{
    uint64_t offset = walk->linear & (walk->page_size - 1);
    uint64_t frame = walk->leaf & UINT64_C(0x000ffffffffff000) & ~(walk->page_size - 1);
    if (!walk->wide) {
        frame &= UINT64_C(0xffffffff);
        if (walk->page_size != 4096) {
            frame |= (walk->leaf >> 13 & 0xff) << 32; /* PSE-36 */
        }
    }
    return frame | offset;
}

static void fill_result(const struct walk *walk, struct paging_result *result)
{
    bool dirty = (walk->leaf & ENTRY_D) != 0;
    result->physical = physical_address(walk);
    result->page_size = walk->page_size;
    result->error = 0;
    result->writable = dirty && write_allowed(walk, walk->user) && key_violation(walk, true) == 0;
    result->executable = fetch_allowed(walk, walk->user);
    result->global = (walk->leaf & ENTRY_G) != 0 && (walk->context->cr4 & X86_CR4_PGE) != 0;
    result->user = walk->all_user;
}

enum paging_outcome paging_walk(const struct paging_context *context, uint64_t linear,
                                enum paging_access access, bool user, bool update,
                                struct paging_result *result)
{
    if ((context->cr0 & X86_CR0_PG) == 0) {
        *result = (struct paging_result){.physical = linear & UINT64_C(0xffffffff),
                                         .page_size = 4096,
                                         .writable = true,
                                         .executable = true,
                                         .user = true};
        return PAGING_OK;
    }
    for (unsigned int attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        struct walk walk = {.context = context,
                            .linear = linear,
                            .access = access,
                            .user = user,
                            .wide = (context->cr4 & X86_CR4_PAE) != 0,
                            .long_mode = (context->efer & X86_EFER_LMA) != 0,
                            .all_writable = true,
                            .all_user = true};
        uint32_t error;
        if (!descend(&walk, &error) || !check_rights(&walk, &error)) {
            *result = (struct paging_result){.error = error};
            return PAGING_FAULT;
        }
        if (!update || set_flags(&walk)) {
            fill_result(&walk, result);
            return PAGING_OK;
        }
    }
    return PAGING_RETRY;
}

bool paging_load_pdptes(const struct paging_context *context, uint64_t cr3, uint64_t pdptes[4])
{
    uint64_t above = ~((UINT64_C(1) << context->physical_bits) - 1);
    /* "PAE Paging": bits 1, 2, 5..8 and those from MAXPHYADDR up are reserved. */
    uint64_t reserved = above | UINT64_C(0x1e6);
    for (unsigned int i = 0; i < 4; i++) {
        const uint64_t *host =
            context->entry(context->context, (cr3 & UINT64_C(0xffffffe0)) + i * 8u);
        uint64_t value = host == NULL ? 0 : __atomic_load_n(host, __ATOMIC_ACQUIRE);
        if ((value & ENTRY_P) != 0 && (value & reserved) != 0) {
            return false;
        }
        pdptes[i] = value;
    }
    return true;
}
