#include "engines/soft/memory.h"

#include <string.h>

#include "engines/soft/code.h"
#include "engines/soft/debug.h"
#include "engines/soft/exclusive.h"
#include "engines/soft/fast_memory.h"
#include "engines/soft/translate.h"
#include "engines/soft/undo.h"

enum soft_regime soft_current_regime(const struct soft_cpu *cpu)
{
    if (cpu->cpl == 3) {
        return SOFT_REGIME_USER;
    }
    return (cpu->flags & X86_FLAGS_AC) != 0 ? SOFT_REGIME_KERNEL_AC : SOFT_REGIME_KERNEL;
}

static enum soft_regime regime_as(const struct soft_cpu *cpu, bool user)
{
    (void)cpu;
    return user ? SOFT_REGIME_USER : SOFT_REGIME_KERNEL;
}

/* Bytes from linear to the end of its page. */
static uint64_t page_rest(uint64_t linear)
{
    return SOFT_PAGE_SIZE - (linear & SOFT_PAGE_MASK);
}

/* Before every store to RAM: a run that will be taken back says what it changes. */
static inline void note_store(struct soft_cpu *cpu, void *host, uint64_t linear, unsigned int size)
{
    if (__builtin_expect(cpu->undo != NULL, 0)) {
        soft_undo_note(cpu, host, linear, size);
    }
}

/* --- one access within a page --- */

static uint64_t read_within(struct soft_cpu *cpu, enum soft_regime regime, uint64_t linear,
                            unsigned int size)
{
    const struct soft_tlb_entry *entry = &cpu->tlbs[regime]->entry[soft_tlb_index(linear)];
    uint64_t offset = linear - entry->read_tag;
    if (offset <= SOFT_PAGE_SIZE - size) {
        return soft_host_load(entry->host + offset, size);
    }
    struct soft_translation at = soft_translate(cpu, regime, linear, SOFT_READ);
    if (at.host == NULL) {
        return soft_mmio_read(cpu, at.physical, size);
    }
    return soft_host_load(at.host, size);
}

/* Stores to a page that was translated the slow way, and sees whether it hit code. */
static void store_translated(struct soft_cpu *cpu, const struct soft_translation *at,
                             uint64_t linear, uint64_t value, unsigned int size)
{
    if (at->host == NULL || at->read_only) {
        soft_mmio_write(cpu, at->physical, value, size);
        return;
    }
    note_store(cpu, at->host, linear, size);
    soft_host_store(at->host, value, size);
    if (soft_code_stored(cpu, at->physical, size)) {
        cpu->code_changed = true;
    }
}

/*
 * The tag went away between its first check and the store's end (or was never there): the page is
 * being decoded by some vCPU. The TLB is our own: what it says of the page is what the store used,
 * so that nothing can fault here, after the store.
 */
static bool store_raced(struct soft_cpu *cpu, enum soft_regime regime, uint64_t linear,
                        uint64_t length)
{
    uint64_t page = cpu->tlbs[regime]->detail[soft_tlb_index(linear)].physical;
    if (soft_code_stored(cpu, page + (linear & SOFT_PAGE_MASK), length)) {
        cpu->code_changed = true;
    }
    return cpu->code_changed;
}

/* A hit that is noted. Out of line, for the sake of those that are not: nothing to be kept over it.
 */
static __attribute__((noinline, cold)) void
write_noted(struct soft_cpu *cpu, uint8_t *host, uint64_t linear, uint64_t value, unsigned int size)
{
    soft_undo_note(cpu, host, linear, size); /* one vCPU: no other takes tags away meanwhile */
    soft_host_store(host, value, size);
}

static void write_within(struct soft_cpu *cpu, enum soft_regime regime, uint64_t linear,
                         uint64_t value, unsigned int size)
{
    const struct soft_tlb_entry *entry = &cpu->tlbs[regime]->entry[soft_tlb_index(linear)];
    uint64_t offset = linear - __atomic_load_n(&entry->write_tag, __ATOMIC_RELAXED);
    if (offset <= SOFT_PAGE_SIZE - size) {
        if (__builtin_expect(cpu->undo != NULL, 0)) {
            write_noted(cpu, entry->host + offset, linear, value, size);
            return;
        }
        soft_host_store(entry->host + offset, value, size);
        if (!soft_tlb_still_writable(entry, linear)) {
            store_raced(cpu, regime, linear, size);
        }
        return;
    }
    struct soft_translation at = soft_translate(cpu, regime, linear, SOFT_WRITE);
    store_translated(cpu, &at, linear, value, size);
}

/* --- any alignment --- */

/*
 * Addresses wrap at 4 GByte outside 64-bit mode; but what lies above is the system's (tables and
 * inner stacks, which compatibility mode reaches through interrupts and gates) and does not.
 */
static uint64_t next_linear(const struct soft_cpu *cpu, uint64_t linear, uint64_t bytes)
{
    return (linear + bytes) & (linear > UINT32_MAX ? UINT64_MAX : cpu->address_mask);
}

static uint64_t read_in(struct soft_cpu *cpu, enum soft_regime regime, uint64_t linear,
                        unsigned int size)
{
    if (soft_debug_armed(cpu)) {
        soft_debug_check_data(cpu, linear, size, false);
    }
    uint64_t rest = page_rest(linear);
    if (rest >= size) {
        return read_within(cpu, regime, linear, size);
    }
    /* Crossing a page: the first faults first, then the second; bytes are put together. */
    uint64_t value = 0;
    for (unsigned int i = 0; i < size; i++) {
        value |= read_within(cpu, regime, next_linear(cpu, linear, i), 1) << (8 * i);
    }
    return value;
}

/*
 * Checks both pages of a write that crosses from one into the next. True if the second is a device
 * and the first is not: then the device's part comes first, because what leaves for a device runs
 * again from its beginning and must find the memory that it read unchanged.
 */
static bool device_first(struct soft_cpu *cpu, enum soft_regime regime, uint64_t linear)
{
    struct soft_translation first = soft_translate(cpu, regime, linear, SOFT_WRITE);
    struct soft_translation second =
        soft_translate(cpu, regime, next_linear(cpu, linear, page_rest(linear)), SOFT_WRITE);
    return first.host != NULL && !first.read_only && (second.host == NULL || second.read_only);
}

static void write_in(struct soft_cpu *cpu, enum soft_regime regime, uint64_t linear, uint64_t value,
                     unsigned int size)
{
    if (soft_debug_armed(cpu)) {
        soft_debug_check_data(cpu, linear, size, true);
    }
    uint64_t rest = page_rest(linear);
    if (rest >= size) {
        write_within(cpu, regime, linear, value, size);
        return;
    }
    unsigned int start = device_first(cpu, regime, linear) ? (unsigned int)rest : 0;
    for (unsigned int i = 0; i < size; i++) {
        unsigned int byte = (start + i) % size;
        write_within(cpu, regime, next_linear(cpu, linear, byte), value >> (8 * byte) & 0xff, 1);
    }
}

static void check_write_in(struct soft_cpu *cpu, enum soft_regime regime, uint64_t linear,
                           size_t length)
{
    for (uint64_t done = 0; done < length; done += page_rest(next_linear(cpu, linear, done))) {
        uint64_t at = next_linear(cpu, linear, done);
        const struct soft_tlb_entry *entry = &cpu->tlbs[regime]->entry[soft_tlb_index(at)];
        if (at - __atomic_load_n(&entry->write_tag, __ATOMIC_RELAXED) >= SOFT_PAGE_SIZE) {
            soft_translate(cpu, regime, at, SOFT_WRITE);
        }
    }
}

uint64_t soft_read(struct soft_cpu *cpu, uint64_t linear, unsigned int size)
{
    return read_in(cpu, soft_current_regime(cpu), linear, size);
}

void soft_write(struct soft_cpu *cpu, uint64_t linear, uint64_t value, unsigned int size)
{
    write_in(cpu, soft_current_regime(cpu), linear, value, size);
}

void soft_check_write(struct soft_cpu *cpu, uint64_t linear, size_t length)
{
    check_write_in(cpu, soft_current_regime(cpu), linear, length);
}

uint64_t soft_system_read(struct soft_cpu *cpu, uint64_t linear, unsigned int size)
{
    return read_in(cpu, SOFT_REGIME_KERNEL, linear, size);
}

void soft_system_write(struct soft_cpu *cpu, uint64_t linear, uint64_t value, unsigned int size)
{
    write_in(cpu, SOFT_REGIME_KERNEL, linear, value, size);
}

void soft_system_check_write(struct soft_cpu *cpu, uint64_t linear, size_t length)
{
    check_write_in(cpu, SOFT_REGIME_KERNEL, linear, length);
}

void soft_write_as(struct soft_cpu *cpu, bool user, uint64_t linear, uint64_t value,
                   unsigned int size)
{
    write_in(cpu, regime_as(cpu, user), linear, value, size);
}

void soft_check_write_as(struct soft_cpu *cpu, bool user, uint64_t linear, size_t length)
{
    check_write_in(cpu, regime_as(cpu, user), linear, length);
}

/* --- longer operands: in pieces of 8, 4, 2, 1 bytes that do not cross a page --- */

static unsigned int piece_size(uint64_t linear, size_t left)
{
    uint64_t room = page_rest(linear);
    if (room > left) {
        room = left;
    }
    return room >= 8 ? 8 : room >= 4 ? 4 : room >= 2 ? 2 : 1;
}

void soft_read_bytes(struct soft_cpu *cpu, uint64_t linear, void *buffer, size_t length)
{
    enum soft_regime regime = soft_current_regime(cpu);
    if (soft_debug_armed(cpu)) {
        soft_debug_check_data(cpu, linear, length, false);
    }
    uint8_t *to = buffer;
    while (length > 0) {
        unsigned int size = piece_size(linear, length);
        uint64_t value = read_within(cpu, regime, linear, size);
        memcpy(to, &value, size);
        to += size;
        length -= size;
        linear = next_linear(cpu, linear, size);
    }
}

static void write_pieces(struct soft_cpu *cpu, enum soft_regime regime, uint64_t linear,
                         const uint8_t *from, size_t length)
{
    while (length > 0) {
        unsigned int size = piece_size(linear, length);
        uint64_t value = 0;
        memcpy(&value, from, size);
        write_within(cpu, regime, linear, value, size);
        from += size;
        length -= size;
        linear = next_linear(cpu, linear, size);
    }
}

void soft_write_bytes(struct soft_cpu *cpu, uint64_t linear, const void *buffer, size_t length)
{
    enum soft_regime regime = soft_current_regime(cpu);
    if (soft_debug_armed(cpu)) {
        soft_debug_check_data(cpu, linear, length, true);
    }
    const uint8_t *from = buffer;
    uint64_t rest = page_rest(linear);
    if (rest >= length) {
        write_pieces(cpu, regime, linear, from, length);
        return;
    }
    bool reversed = device_first(cpu, regime, linear);
    if (!reversed) {
        write_pieces(cpu, regime, linear, from, rest);
    }
    write_pieces(cpu, regime, next_linear(cpu, linear, rest), from + rest, length - rest);
    if (reversed) {
        write_pieces(cpu, regime, linear, from, rest);
    }
}

/* --- read, modify, write --- */

static void rmw_begin_in(struct soft_cpu *cpu, enum soft_regime regime, struct soft_rmw *rmw,
                         uint64_t linear, unsigned int size, bool locked)
{
    *rmw = (struct soft_rmw){.linear = linear, .size = size};
    if (soft_debug_armed(cpu)) {
        soft_debug_check_data(cpu, linear, size, true);
    }
    if (page_rest(linear) >= size) {
        const struct soft_tlb_entry *entry = &cpu->tlbs[regime]->entry[soft_tlb_index(linear)];
        uint64_t offset = linear - __atomic_load_n(&entry->write_tag, __ATOMIC_RELAXED);
        if (offset < SOFT_PAGE_SIZE) {
            rmw->host = entry->host + offset;
            note_store(cpu, rmw->host, linear, size);
            return;
        }
        struct soft_translation at = soft_translate(cpu, regime, linear, SOFT_WRITE);
        if (at.host != NULL && !at.read_only) {
            rmw->host = at.host;
            note_store(cpu, rmw->host, linear, size);
            return;
        }
    } else {
        check_write_in(cpu, regime, linear, size);
        if (locked) {
            soft_exclusive_begin(cpu);
            rmw->exclusive = true;
        }
    }
    /* Both pages may be written (just checked), so only MMIO can leave from here on: a device that
       a LOCKed access crosses into gets its bytes without the others standing still. */
    soft_read_bytes(cpu, linear, rmw->copy, size);
    rmw->is_copy = true;
    rmw->host = rmw->copy;
}

void soft_rmw_begin(struct soft_cpu *cpu, struct soft_rmw *rmw, uint64_t linear, unsigned int size,
                    bool locked)
{
    rmw_begin_in(cpu, soft_current_regime(cpu), rmw, linear, size, locked);
}

void soft_rmw_end(struct soft_cpu *cpu, struct soft_rmw *rmw)
{
    if (rmw->is_copy) {
        soft_write_bytes(cpu, rmw->linear, rmw->copy, rmw->size);
        if (rmw->exclusive) {
            soft_exclusive_end(cpu);
        }
        return;
    }
    const struct soft_tlb_entry *entry;
    if (soft_tlb_write(cpu, rmw->linear, rmw->size, &entry) == NULL) {
        soft_store_raced(cpu, rmw->linear, rmw->size);
    }
}

uint8_t soft_system_update(struct soft_cpu *cpu, uint64_t linear, uint8_t clear, uint8_t set)
{
    struct soft_translation at = soft_translate(cpu, SOFT_REGIME_KERNEL, linear, SOFT_WRITE);
    if (at.host == NULL || at.read_only) {
        uint8_t before = (uint8_t)soft_system_read(cpu, linear, 1);
        soft_system_write(cpu, linear, (uint8_t)((before & ~clear) | set), 1);
        return before;
    }
    note_store(cpu, at.host, linear, 1);
    uint8_t before = __atomic_load_n(at.host, __ATOMIC_RELAXED);
    uint8_t after;
    do {
        after = (uint8_t)((before & ~clear) | set);
    } while (!__atomic_compare_exchange_n(at.host, &before, after, false, __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED));
    if (soft_code_stored(cpu, at.physical, 1)) {
        cpu->code_changed = true;
    }
    return before;
}

/* --- strings --- */

uint8_t *soft_chunk(struct soft_cpu *cpu, uint64_t linear, enum soft_access access,
                    uint64_t *available)
{
    *available = page_rest(linear);
    bool write = access == SOFT_WRITE;
    if (soft_debug_armed(cpu)) {
        soft_translate(cpu, soft_current_regime(cpu), linear, access);
        return NULL; /* each access is to be looked at */
    }
    if (write && cpu->undo != NULL) {
        return NULL; /* each store is to be noted */
    }
    const struct soft_tlb_entry *entry = &cpu->tlb->entry[soft_tlb_index(linear)];
    for (int attempt = 0; attempt < 2; attempt++) {
        uint64_t tag =
            write ? __atomic_load_n(&entry->write_tag, __ATOMIC_RELAXED) : entry->read_tag;
        uint64_t offset = linear - tag;
        if (offset < SOFT_PAGE_SIZE) {
            return entry->host + offset;
        }
        if (attempt == 0) {
            soft_translate(cpu, soft_current_regime(cpu), linear, access);
        }
    }
    return NULL;
}

void soft_chunk_written(struct soft_cpu *cpu, uint64_t linear, uint64_t length)
{
    const struct soft_tlb_entry *entry = &cpu->tlb->entry[soft_tlb_index(linear)];
    if (length > 0 && !soft_tlb_still_writable(entry, linear)) {
        store_raced(cpu, soft_current_regime(cpu), linear, length);
    }
}

/* --- tier 1's slow halves --- */

/* Canonical addresses in 64-bit mode, else the limit of flat segments: 4 GiB. */
static void check_range(struct soft_cpu *cpu, unsigned int segment, uint64_t linear,
                        unsigned int size)
{
    uint64_t last = linear + size - 1;
    bool good = soft_64bit(cpu) ? soft_canonical(cpu, linear) && soft_canonical(cpu, last)
                                : last <= UINT32_MAX;
    if (!good) {
        soft_raise_error(cpu, segment == X86_SS ? X86_VECTOR_SS : X86_VECTOR_GP, 0);
    }
}

uint64_t soft_load_slow(struct soft_cpu *cpu, const struct soft_op *op, uint64_t linear,
                        unsigned int size)
{
    soft_sync(cpu, op);
    check_range(cpu, op->segment, linear, size);
    return soft_read(cpu, linear, size);
}

bool soft_store_slow(struct soft_cpu *cpu, const struct soft_op *op, uint64_t linear,
                     uint64_t value, unsigned int size)
{
    soft_sync(cpu, op);
    check_range(cpu, op->segment, linear, size);
    soft_write(cpu, linear, value, size);
    return cpu->code_changed;
}

bool soft_push_slow(struct soft_cpu *cpu, const struct soft_op *op, uint64_t linear, uint64_t value,
                    unsigned int size)
{
    soft_sync(cpu, op);
    check_range(cpu, X86_SS, linear, size);
    soft_write(cpu, linear, value, size);
    return cpu->code_changed;
}

void soft_modify_slow(struct soft_cpu *cpu, const struct soft_op *op, uint64_t linear,
                      unsigned int size)
{
    soft_sync(cpu, op);
    check_range(cpu, op->segment, linear, size);
    soft_check_write(cpu, linear, size);
}

bool soft_store_raced(struct soft_cpu *cpu, uint64_t linear, unsigned int size)
{
    return store_raced(cpu, soft_current_regime(cpu), linear, size);
}

/* --- physical memory for the CPU's own purposes --- */

bool soft_physical_write(struct soft_cpu *cpu, uint64_t address, const void *buffer, size_t length)
{
    return guestmem_write(cpu->vm->memory, gpa(address), buffer, length) == 0;
}
