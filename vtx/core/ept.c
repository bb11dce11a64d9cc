#include "vtx/core/ept.h"

#include <stddef.h>

#include "base/checked.h"
#include "vtx/core/hardware.h"
#include "x86/vmx.h"

/* Level 4 is the root, level 1 has the 4 KiB pages; an entry has the level of its table. */
#define LEVELS         4u
#define ENTRIES        512u
#define ADDRESS        UINT64_C(0x000ffffffffff000)
#define TYPE           (UINT64_C(7) << VMX_EPT_TYPE_SHIFT)
#define GUEST_BITS_MAX 48u

static unsigned int shift_of(unsigned int level)
{
    return 12 + 9 * (level - 1);
}

static uint64_t size_of(unsigned int level)
{
    return UINT64_C(1) << shift_of(level);
}

static bool is_present(uint64_t entry)
{
    return (entry & VTX_EPT_ALL) != 0;
}

static bool is_page(uint64_t entry, unsigned int level)
{
    return level == 1 || (entry & VMX_EPT_LARGE) != 0;
}

/* Processors may be looking: an entry changes at once, after what it points to. */
static void set_entry(uint64_t *entry, uint64_t value)
{
    __atomic_store_n(entry, value, __ATOMIC_RELEASE);
}

static uint64_t *table_of(const struct vtx_ept *ept, uint64_t entry)
{
    return ept->host->pointer(ept->host->context, entry & ADDRESS);
}

static uint64_t *entry_in(uint64_t *table, uint64_t guest, unsigned int level)
{
    return &table[(guest >> shift_of(level)) % ENTRIES];
}

enum vtx_status vtx_ept_create(struct vtx_ept *ept, const struct vtx_host *host,
                               const struct vtx_capabilities *capabilities)
{
    *ept = (struct vtx_ept){.host = host, .capabilities = capabilities};
    ept->root.at = host->allocate_page(host->context, &ept->root.physical);
    if (ept->root.at == NULL) {
        return VTX_NO_MEMORY;
    }
    ept->pointer = ept->root.physical | VMX_EPT_POINTER_WALK_4 | VTX_WRITE_BACK;
    return VTX_OK;
}

/* The depth is that of the tables: at most three calls deep. */
static void free_tables(const struct vtx_ept *ept, uint64_t *table, unsigned int level)
{
    for (unsigned int i = 0; level > 1 && i < ENTRIES; i++) {
        if (is_present(table[i]) && !is_page(table[i], level)) {
            free_tables(ept, table_of(ept, table[i]), level - 1);
        }
    }
    ept->host->free_page(ept->host->context, table);
}

void vtx_ept_destroy(struct vtx_ept *ept)
{
    if (ept->root.at != NULL) {
        free_tables(ept, ept->root.at, LEVELS);
        ept->root.at = NULL;
    }
}

/*
 * Makes sure that an entry leads to a table: a new one if there is nothing, one that says the same
 * as the entry if that maps a large page. NULL: no memory.
 */
static uint64_t *next_table(const struct vtx_ept *ept, uint64_t *entry, unsigned int level)
{
    uint64_t old = *entry;
    if (is_present(old) && !is_page(old, level)) {
        return table_of(ept, old);
    }
    uint64_t physical;
    uint64_t *table = ept->host->allocate_page(ept->host->context, &physical);
    if (table == NULL) {
        return NULL;
    }
    if (is_present(old)) {
        uint64_t first = level == 2 ? old & ~VMX_EPT_LARGE : old;
        for (unsigned int i = 0; i < ENTRIES; i++) {
            table[i] = first + i * size_of(level - 1);
        }
    }
    set_entry(entry, physical | VTX_EPT_ALL);
    return table;
}

/* The largest page that may stand at an address: its level. */
static unsigned int page_level(const struct vtx_ept *ept, uint64_t guest, uint64_t physical,
                               uint64_t length, uint64_t size_max)
{
    const bool allowed[LEVELS] = {
        [2] = ept->capabilities->has_ept_2m,
        [3] = ept->capabilities->has_ept_1g,
    };
    for (unsigned int level = 3; level > 1; level--) {
        uint64_t size = size_of(level);
        if (allowed[level] && size <= size_max && size <= length &&
            ((guest | physical) & (size - 1)) == 0) {
            return level;
        }
    }
    return 1;
}

/*
 * Sets the entry for an address at the level that is asked for, or at a lower one where there is a
 * table already: tables stay until the end, as a processor may remember them. *level is the one
 * that it was in the end. A value of 0 unmaps, and leaves holes alone.
 */
static bool set_page(const struct vtx_ept *ept, uint64_t guest, uint64_t value, unsigned int *level)
{
    uint64_t *table = ept->root.at;
    for (unsigned int at = LEVELS;; at--) {
        uint64_t *entry = entry_in(table, guest, at);
        bool is_table = is_present(*entry) && !is_page(*entry, at);
        if ((at <= *level && !is_table) || (value == 0 && !is_present(*entry))) {
            set_entry(entry, value == 0 || at == 1 ? value : value | VMX_EPT_LARGE);
            *level = at;
            return true;
        }
        table = next_table(ept, entry, at);
        if (table == NULL) {
            return false;
        }
    }
}

static bool is_range(const struct vtx_ept *ept, uint64_t guest, uint64_t length)
{
    unsigned int bits = ept->capabilities->physical_address_bits;
    uint64_t total = UINT64_C(1) << (bits < GUEST_BITS_MAX ? bits : GUEST_BITS_MAX);
    return ((guest | length) & (VTX_SIZE_4K - 1)) == 0 && range_within(guest, length, total);
}

/* "EPT Misconfigurations": what an entry may not say. */
static bool are_permissions(const struct vtx_ept *ept, unsigned int permissions)
{
    bool executes_only = permissions == VTX_EPT_EXECUTE;
    return (permissions & ~VTX_EPT_ALL) == 0 &&
           ((permissions & VTX_EPT_READ) != 0 || executes_only) &&
           (!executes_only || ept->capabilities->has_execute_only);
}

enum vtx_status vtx_ept_map(struct vtx_ept *ept, uint64_t guest, uint64_t physical, uint64_t length,
                            unsigned int permissions, enum vtx_memory_type type, uint64_t size_max)
{
    if (!is_range(ept, guest, length) || !is_range(ept, physical, length) ||
        !are_permissions(ept, permissions)) {
        return VTX_INVALID;
    }
    /* The guest's own PAT would make memory that the host has cached uncached. */
    uint64_t attributes = permissions | (uint64_t)type << VMX_EPT_TYPE_SHIFT | VMX_EPT_IGNORE_PAT;
    while (length != 0) {
        unsigned int level = page_level(ept, guest, physical, length, size_max);
        if (!set_page(ept, guest, physical | attributes, &level)) {
            return VTX_NO_MEMORY;
        }
        uint64_t size = size_of(level);
        guest += size;
        physical += size;
        length -= size;
    }
    return VTX_OK;
}

enum vtx_status vtx_ept_unmap(struct vtx_ept *ept, uint64_t guest, uint64_t length)
{
    if (!is_range(ept, guest, length)) {
        return VTX_INVALID;
    }
    for (uint64_t end = guest + length; guest < end;) {
        unsigned int level = page_level(ept, guest, 0, end - guest, VTX_SIZE_1G);
        if (!set_page(ept, guest, 0, &level)) {
            return VTX_NO_MEMORY;
        }
        guest = align_down(guest, size_of(level)) + size_of(level);
    }
    return VTX_OK;
}

bool vtx_ept_walk(const struct vtx_ept *ept, uint64_t guest, struct vtx_ept_entry *entry)
{
    *entry = (struct vtx_ept_entry){.size = size_of(LEVELS)};
    if (guest >> GUEST_BITS_MAX != 0) {
        return false;
    }
    uint64_t *table = ept->root.at;
    for (unsigned int level = LEVELS;; level--) {
        uint64_t value = __atomic_load_n(entry_in(table, guest, level), __ATOMIC_ACQUIRE);
        entry->size = size_of(level);
        if (!is_present(value)) {
            return false;
        }
        if (is_page(value, level)) {
            entry->physical =
                (value & ADDRESS & ~(size_of(level) - 1)) | (guest & (size_of(level) - 1));
            entry->permissions = (unsigned int)value & VTX_EPT_ALL;
            entry->type = (enum vtx_memory_type)((value & TYPE) >> VMX_EPT_TYPE_SHIFT);
            return true;
        }
        table = table_of(ept, value);
    }
}

/* "Guidelines for Use of the INVEPT Instruction" */
void vtx_ept_invalidate(const struct vtx_ept *ept)
{
    bool single = ept->capabilities->has_invept_single;
    vtx_invept(single ? VMX_INVEPT_SINGLE : VMX_INVEPT_ALL, single ? ept->pointer : 0);
}
